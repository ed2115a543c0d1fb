"""pomdp-solve's .pg files: for each node of a policy graph its number, its action, and where observations lead."""

from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError
from solvers.formats.text import MAX_ACTIONS, MAX_CELLS, failed, index_of, lines_of, read_text, shown, write_texts

IMPOSSIBLE = -1
"""Successor after an observation that cannot occur (`-` in files)."""
MISSING = -2
"""Successor that is no node (`X` in files)."""
_SIGNS = {"-": IMPOSSIBLE, "X": MISSING, "x": MISSING}
_WRITTEN = {IMPOSSIBLE: "-", MISSING: "X"}


@dataclass(frozen=True, eq=False)
class GraphNodes:
    """Nodes of a policy graph: what a .pg file holds. Node n belongs to vector n of the .alpha file beside it.

    No node is the first: it is that of the best vector at the belief.

    Parameters
    ----------
    actions : int array, shape (N,)
    successors : int array, shape (N, O)
        Node that follows after each observation: of this graph, or, of a finite horizon's file, of that with one step
        less to go; -1 where the observation cannot occur, -2 where there is no node.

    Raises
    ------
    ModelError
        If shapes do not agree.
    """

    actions: NDArray[np.int64]
    successors: NDArray[np.int64]

    def __post_init__(self) -> None:
        actions, successors = np.array(self.actions), np.array(self.successors)
        if successors.ndim != 2 or actions.shape != successors.shape[:1] or not successors.size:
            raise ModelError(f"actions (N,) and successors (N, O) are needed, got {actions.shape}, {successors.shape}")
        if actions.dtype.kind not in "iu" or successors.dtype.kind not in "iu":
            raise ModelError("actions and successors must be whole numbers")
        if actions.min() < 0 or successors.min() < MISSING:
            raise ModelError(f"actions start at 0 and successors at {MISSING}")
        for name, array in (("actions", actions.astype(np.int64)), ("successors", successors.astype(np.int64))):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self.actions)


def read_policy_graph(path: str | PathLike[str], *, n_next: int | None = None) -> GraphNodes:
    """Read a policy graph as pomdp-solve writes it: a line `node action next_0 … next_{O-1}` for each node.

    Parameters
    ----------
    path : str or path
    n_next : int, optional
        Number of nodes that successors may be; by default, as many as the file has. For a file of a finite horizon,
        `NAME.pgK`, give the number of nodes of `NAME.pg(K-1)`; and 1 for `NAME.pg1`, after which there is nothing.

    Raises
    ------
    PomdpFormatError
        If the file is something else; the message names file, line and what is wrong.
    OSError
        If the file cannot be read.
    """
    rows: list[list[int]] = []
    lines: list[int] = []
    for number, line in lines_of(read_text(path)):
        words = line.partition("#")[0].split()
        if words:
            rows.append(_row(words, len(rows), len(rows[0]) if rows else None, path, number))
            lines.append(number)
    if not rows:
        raise failed(path, 1, "there is no node")
    table = np.array(rows)
    most = len(rows) if n_next is None else n_next
    beyond = (table[:, 1:] >= most).any(axis=1)
    if beyond.any():
        i = int(beyond.argmax())
        raise failed(
            path,
            lines[i],
            f"node {i} leads to node {table[i, 1:].max()}, but there are {most}"
            + ("; for a finite horizon, say how many the next file has (n_next)" if n_next is None else ""),
        )
    return GraphNodes(table[:, 0], table[:, 1:])


def write_policy_graph(nodes: GraphNodes, path: str | PathLike[str]) -> None:
    """Write a policy graph as pomdp-solve does."""
    write_texts({path: graph_text(nodes)})


def graph_text(nodes: GraphNodes) -> str:
    """What a .pg file of these nodes holds."""
    lines = [
        f"{n} {action}  " + " ".join(_WRITTEN.get(i, str(i)) for i in after)
        for n, (action, after) in enumerate(zip(nodes.actions.tolist(), nodes.successors.tolist(), strict=True))
    ]
    return "\n".join(lines) + "\n"


def _row(words: list[str], node: int, length: int | None, path: str | PathLike[str], line: int) -> list[int]:
    """Action and successors of a line."""
    if words[0] != str(node):
        raise failed(path, line, f"nodes are numbered from 0: expected {node}, found {shown(words[0])}")
    if len(words) < 3:
        raise failed(path, line, "a node needs an action and a successor for each observation")
    if length is not None and len(words) != length + 1:
        raise failed(path, line, f"node {node} has {len(words) - 2} successors, the first one has {length - 1}")
    row = [_SIGNS[word] if word in _SIGNS and i else index_of(word) for i, word in enumerate(words[1:])]
    limits = [MAX_ACTIONS] + [MAX_CELLS] * (len(row) - 1)
    found = [value for value, most in zip(row, limits, strict=True) if value is not None and value <= most]
    if len(found) < len(row):
        bad = next(w for w, value, most in zip(words[1:], row, limits, strict=True) if value is None or value > most)
        raise failed(path, line, f"expected a node's number, '-' or 'X', found {shown(bad)}")
    return found
