"""File formats of POMDPs and of their policies: readers are liberal, writers strict, and errors name file and line."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from solvers.errors import PomdpFormatError
from solvers.formats.alpha import VectorSet, read_alpha, write_alpha
from solvers.formats.appl_policy import read_appl_policy, write_appl_policy
from solvers.formats.policy_graph import GraphNodes, read_policy_graph, write_policy_graph
from solvers.formats.pomdp_reader import read_pomdp
from solvers.formats.pomdp_writer import write_pomdp
from solvers.formats.pomdpx_reader import read_pomdpx
from solvers.formats.pomdpx_writer import write_pomdpx
from solvers.pomdp import POMDP

__all__ = [
    "GraphNodes",
    "VectorSet",
    "read",
    "read_alpha",
    "read_appl_policy",
    "read_policy_graph",
    "read_pomdp",
    "read_pomdpx",
    "write",
    "write_alpha",
    "write_appl_policy",
    "write_policy_graph",
    "write_pomdp",
    "write_pomdpx",
]

_READERS: dict[str, Callable[[str | PathLike[str]], POMDP]] = {".pomdp": read_pomdp, ".pomdpx": read_pomdpx}
_WRITERS = {".pomdp": write_pomdp, ".pomdpx": write_pomdpx}


def read(path: str | PathLike[str]) -> POMDP:
    """Read a model in the format that the file's name ends in: ``.pomdp`` (`read_pomdp`), ``.pomdpx`` (`read_pomdpx`).

    Raises
    ------
    PomdpFormatError
        If the name ends otherwise, or the file is not such a model.
    OSError
        If the file cannot be read.
    """
    return _READERS[_suffix(path)](path)


def write(pomdp: POMDP, path: str | PathLike[str], *, names: bool = True) -> None:
    """Write a model in the format that the name ends in: ``.pomdp`` (`write_pomdp`), ``.pomdpx`` (`write_pomdpx`).

    Parameters
    ----------
    pomdp : POMDP
    path : str or path
    names : bool
        False: write numbers instead of the names of states, actions and observations, of which formats allow few.

    Raises
    ------
    PomdpFormatError
        If the name ends otherwise, or the format cannot say what the model has.
    """
    _WRITERS[_suffix(path)](pomdp, path, names=names)


def _suffix(path: str | PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        found = f"not in {suffix!r}" if suffix else "but this name has no ending"
        raise PomdpFormatError(f"{path}: a model's file ends in {' or '.join(_READERS)}, {found}")
    return suffix
