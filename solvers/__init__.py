"""POMDP solvers: finite-horizon point-based value iteration with certified bounds, any model.

>>> from solvers import POMDP, solve
>>> coin = POMDP(transition=[[[1.0]]], observation=[[[1.0]]], reward=[[2.0]], start=[1.0], discount=0.5)
>>> solve(coin.finite_horizon(3)).lower
3.5
"""

from solvers.compilation import compilation_told
from solvers.errors import ModelError, PomdpFormatError, SolverError
from solvers.model import EpochModel
from solvers.point_based import Solution, solve, solve_many
from solvers.policies import AlphaVectorPolicy, PolicyGraph
from solvers.pomdp import POMDP
from solvers.pomdp_format import read_pomdp, write_pomdp

__all__ = [
    "POMDP",
    "AlphaVectorPolicy",
    "EpochModel",
    "ModelError",
    "PolicyGraph",
    "PomdpFormatError",
    "Solution",
    "SolverError",
    "compilation_told",
    "read_pomdp",
    "solve",
    "solve_many",
    "write_pomdp",
]
