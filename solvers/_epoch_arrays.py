"""Arrays that the kernels of `solvers.epoch_solver` share.

Arrays of all nodes lie behind each other; node n owns `offset[n]:offset[n + 1]`. Terminal nodes own one slot.
"""
# ruff: noqa: E741 (O is the number of observations)

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TIE = 1e-12  # beliefs that are so near to two cells are in the first of them


class Model(NamedTuple):
    """An `EpochModel` for one weighting: N nodes, T tables, K signals, A actions, O observations, S states."""

    joint: Floats  # (T, K, A, O, S, S)
    reward: Floats  # (T, K, A, S), weighted
    successor: Ints  # (T, K, A, O)
    children: Ints  # (N, C)
    table_of: Ints  # (N,), -1: terminal
    terminal: Floats  # (N, S), weighted
    discount: float
    tie: float  # a later action must be better by more than this, per unit of probability
    fixed: Any  # its length tells the compiler how bounds are looked up: 2 with two states, 3 in cells, else 0


class Cells(NamedTuple):
    """Simplices that the beliefs of each node are divided into, as a tree; node n owns offset[n]:offset[n + 1].

    A cell is split at a point: in the middle between two corners, or anywhere. Each child has the point in place of
    one of the corners whose share in it is positive; children lie behind each other, in the order of those corners.
    """

    offset: Ints  # (N + 1,) the first cell of a node is all of it
    corner: Ints  # (C, S) points
    child: Ints  # (C,) the first of its children, or -1
    pair: Ints  # (C, 2) the corners (0 … S - 1) between which it is split, or -1
    share: Floats  # (C, S) otherwise: barycentric coordinates of the point


class Mesh(NamedTuple):
    """Belief points of all nodes, and the cells between them; node n owns offset[n]:offset[n + 1]."""

    offset: Ints  # (N + 1,)
    points: Floats  # (P, S)
    cells: Cells


class Bounds(NamedTuple):
    """Both bounds at P belief points, and the plan behind each alpha-vector."""

    offset: Ints  # (N + 1,)
    points: Floats  # (P, S)
    upper: Floats  # (P,) upper bound at the point
    chord: Floats  # (P, S) two states: linear piece from this point to the next; many: [0] is the sawtooth drop
    n_vectors: Ints  # (N,)
    vectors: Floats  # (P, S)
    left: Ints  # (P,) vector that is best at the point, but with many states
    bend: Floats  # (P,) two states: share of state 1 above which, before the next point, the next one is; or 2
    witness: Ints  # (P,) the point whose backup gave the vector
    action: NDArray[np.int16]  # (P, K)
    follow: NDArray[np.int32]  # (P, K, O) vector of the child
    action_up: NDArray[np.int16]  # (P, K) greedy in the upper bound
    cells: Cells  # a few states


class Epoch(NamedTuple):
    """The epoch of one node, laid out for loops over beliefs, with room for one backup.

    An outcome is a signal, an action and an observation that lead to a node that is not terminal. Those of one
    action and observation that lead to the same child, in the order of their signals, make up a *run*.
    """

    gain: Floats  # (S, A, K) reward, and what follows in terminal nodes, where both bounds are linear
    run: Ints  # (R + 1,) run r is made up of the outcomes run[r]:run[r + 1]
    action: Ints  # (R,)
    seen: Ints  # (R,) observation
    child: Ints  # (R,) node that follows
    signal: Ints  # (L,) of each outcome
    move: Floats  # (S, S, L) discounted probability
    low: Floats  # (A, K) lower bound of each action after each signal
    up: Floats  # (A, K)
    plan: NDArray[np.int16]  # (1, K) room for greedy actions
    plan_up: NDArray[np.int16]  # (1, K)


class Beliefs(NamedTuple):
    """Unnormalised beliefs, and what the bounds of their nodes are there."""

    x: Floats  # (S, L)
    mass: Floats  # (L,)
    low: Floats  # (L,)
    up: Floats  # (L,)
    best: Ints  # (L,) best alpha-vector of the node
    piece: Ints  # (L,) piece of the upper bound; a few states: the cell
    share: Floats  # (S, L) a few states: barycentric coordinates in the cell, times mass
    here: Floats  # (S,) a few states: room for those of one belief


def room_for(m: Model) -> tuple[Epoch, Beliefs]:
    """Room for one node's epoch, see `_open`, and for the beliefs that follow."""
    K, A, O, S = m.joint.shape[1:5]
    L = K * A * O
    epoch = Epoch(
        gain=np.empty((S, A, K)),
        run=np.zeros(L + 1, np.int64),
        action=np.empty(L, np.int64),
        seen=np.empty(L, np.int64),
        child=np.empty(L, np.int64),
        signal=np.empty(L, np.int64),
        move=np.empty((S, S, L)),
        low=np.empty((A, K)),
        up=np.empty((A, K)),
        plan=np.zeros((1, K), np.int16),
        plan_up=np.zeros((1, K), np.int16),
    )
    beliefs = Beliefs(
        x=np.empty((S, L)),
        mass=np.empty(L),
        low=np.empty(L),
        up=np.empty(L),
        best=np.empty(L, np.int64),
        piece=np.empty(L, np.int64),
        share=np.empty((S, L)),
        here=np.empty(S),
    )
    return epoch, beliefs


def no_cells(n_states: int) -> Cells:
    """Cells of a model that is solved without them."""
    return Cells(
        offset=np.zeros(1, np.int64),
        corner=np.zeros((0, n_states), np.int64),
        child=np.zeros(0, np.int64),
        pair=np.zeros((0, 2), np.int64),
        share=np.zeros((0, n_states)),
    )


def shares_at(cells: Cells, node: int, belief: Floats) -> tuple[int, Floats]:
    """The cell that holds a belief (S,), and its barycentric coordinates there; as the kernels find them."""
    here, q = np.array(belief), int(cells.offset[node])
    while cells.child[q] >= 0:
        i, j = cells.pair[q]
        if i >= 0:
            nearer, other = (i, j) if here[i] <= here[j] + TIE else (j, i)
            here[other] = max(0.0, here[other] - here[nearer])
            here[nearer] *= 2.0
            q = int(cells.child[q] + (nearer == j))
            continue
        at = np.flatnonzero(cells.share[q] > 0.0)
        ratio = here[at] / cells.share[q, at]
        behind = 0
        for k in range(1, at.size):
            behind = k if ratio[k] < ratio[behind] - TIE else behind
        least = here[at[behind]] / cells.share[q, at[behind]]
        here = np.maximum(here - least * cells.share[q], 0.0)
        here[at[behind]] = least
        q = int(cells.child[q] + behind)
    return q, here
