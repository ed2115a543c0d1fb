"""File formats of POMDPs and of their policies: readers are liberal, writers strict, and errors name file and line."""

from solvers.formats.pomdp_reader import read_pomdp
from solvers.formats.pomdp_writer import write_pomdp

__all__ = ["read_pomdp", "write_pomdp"]
