"""POMDPs in, certified policies out: solvers with bounds from both sides, in Python and Numba.

>>> from solvers import solve
>>> from solvers.examples import tiger
>>> solution = solve(tiger(), precision=0.01)
>>> solution.lower <= 19.3714 <= solution.upper
True
>>> solution.pomdp.actions[solution.action([0.5, 0.5])]
'listen'
"""

from solvers.compilation import compilation_told
from solvers.controllers import FiniteStateController, controller
from solvers.epoch_policies import EpochPolicy, PolicyGraph
from solvers.epoch_solver import EpochSolution, solve_epochs, solve_epochs_many
from solvers.epochs import EpochModel
from solvers.errors import ModelError, PomdpFormatError, SolverError
from solvers.families import Family, solve_family
from solvers.formats import read, read_pomdp, read_pomdpx, write, write_pomdp, write_pomdpx
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.policy_files import read_policy, write_policy
from solvers.pomdp import POMDP
from solvers.pruning import prune
from solvers.reward_rules import RewardRules
from solvers.simulation import Simulated, simulate
from solvers.solution import Bounds, Solution
from solvers.solving import solve

__all__ = [
    "POMDP",
    "AlphaVectorPolicy",
    "Bounds",
    "EpochModel",
    "EpochPolicy",
    "EpochSolution",
    "Family",
    "FiniteHorizonPolicy",
    "FiniteStateController",
    "ModelError",
    "PolicyGraph",
    "PomdpFormatError",
    "RewardRules",
    "Simulated",
    "Solution",
    "SolverError",
    "compilation_told",
    "controller",
    "prune",
    "read",
    "read_policy",
    "read_pomdp",
    "read_pomdpx",
    "simulate",
    "solve",
    "solve_epochs",
    "solve_epochs_many",
    "solve_family",
    "write",
    "write_policy",
    "write_pomdp",
    "write_pomdpx",
]
