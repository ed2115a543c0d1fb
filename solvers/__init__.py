"""POMDP solvers: finite-horizon point-based value iteration with certified bounds, any model.

>>> from solvers import POMDP, solve_epochs
>>> coin = POMDP(transition=[[[1.0]]], observation=[[[1.0]]], reward=[[2.0]], start=[1.0], discount=0.5)
>>> solve_epochs(coin.finite_horizon(3)).lower
3.5
"""

from solvers.compilation import compilation_told
from solvers.controllers import FiniteStateController, controller
from solvers.epoch_policies import EpochPolicy, PolicyGraph
from solvers.epoch_solver import EpochSolution, solve_epochs, solve_epochs_many
from solvers.epochs import EpochModel
from solvers.errors import ModelError, PomdpFormatError, SolverError
from solvers.formats import read, read_pomdp, read_pomdpx, write, write_pomdp, write_pomdpx
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP
from solvers.pruning import prune
from solvers.reward_rules import RewardRules
from solvers.simulation import Simulated, simulate

__all__ = [
    "POMDP",
    "AlphaVectorPolicy",
    "EpochModel",
    "EpochPolicy",
    "EpochSolution",
    "FiniteHorizonPolicy",
    "FiniteStateController",
    "ModelError",
    "PolicyGraph",
    "PomdpFormatError",
    "RewardRules",
    "Simulated",
    "SolverError",
    "compilation_told",
    "controller",
    "prune",
    "read",
    "read_pomdp",
    "read_pomdpx",
    "simulate",
    "solve_epochs",
    "solve_epochs_many",
    "write",
    "write_pomdp",
    "write_pomdpx",
]
