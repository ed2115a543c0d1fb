"""Compiled kernels for what plans are worth, component by component; see `solvers.epoch_solver`."""
# mypy: disallow-untyped-decorators=False
# ruff: noqa: E741 (O is the number of observations)

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers._epoch_arrays import Bounds, Floats, Ints, Model
from solvers._epoch_kernels import entry


@entry
def start_components(
    fixed: Any, m: Model, z: Bounds, mass: Floats, taken: Floats, reward: Floats, terminal: Floats, out: Floats
) -> None:
    """Reward components of plans of node 0, added to out (D,): follow the hidden states of all plans they use.

    mass (P, S) comes in as the start belief at the plan to start with, and zero elsewhere; taken (K, A, S) is room.
    """
    K, A, O = m.joint.shape[1:4]
    S = len(fixed) if len(fixed) == 2 else mass.shape[1]
    D = out.size
    for node in range(m.table_of.size):
        t = m.table_of[node]
        if t < 0:
            for s in range(S):
                for d in range(D):
                    out[d] += mass[z.offset[node], s] * terminal[node, s, d]
            continue
        for k in range(K):
            for a in range(A):
                for s in range(S):
                    taken[k, a, s] = 0.0
        for i in range(z.offset[node], z.offset[node] + z.n_vectors[node]):
            total = 0.0
            for s in range(S):
                total += mass[i, s]
            if total <= 0.0:
                continue
            for k in range(K):
                a = z.action[i, k]
                for s in range(S):
                    taken[k, a, s] += mass[i, s]
                for o in range(O):
                    below = z.offset[m.children[node, m.successor[t, k, a, o]]] + z.follow[i, k, o]
                    for s in range(S):
                        for s2 in range(S):
                            mass[below, s2] += mass[i, s] * m.discount * m.joint[t, k, a, o, s, s2]
        for k in range(K):
            for a in range(A):
                for s in range(S):
                    for d in range(D):
                        out[d] += taken[k, a, s] * reward[t, k, a, s, d]


@entry
def evaluate(
    m: Model,
    reward: Floats,
    terminal: Floats,
    offset: Ints,
    n_vectors: Ints,
    action: NDArray[np.int16],
    follow: NDArray[np.int32],
    out: Floats,
) -> None:
    """Reward components out (P, S, D) of every plan: reward (T, K, A, S, D), terminal (N, S, D)."""
    K, _, O, S = m.joint.shape[1:5]
    D = out.shape[2]
    for node in range(m.table_of.size - 1, -1, -1):
        t = m.table_of[node]
        for i in range(offset[node], offset[node] + n_vectors[node]):
            for s in range(S):
                for d in range(D):
                    out[i, s, d] = terminal[node, s, d] if t < 0 else 0.0
            if t < 0:
                continue
            for k in range(K):
                a = action[i, k]
                for s in range(S):
                    for d in range(D):
                        out[i, s, d] += reward[t, k, a, s, d]
                for o in range(O):
                    below = offset[m.children[node, m.successor[t, k, a, o]]] + follow[i, k, o]
                    for s in range(S):
                        for s2 in range(S):
                            p = m.discount * m.joint[t, k, a, o, s, s2]
                            if p > 0.0:
                                for d in range(D):
                                    out[i, s, d] += p * out[below, s2, d]


@entry
def follow_start(
    m: Model,
    reward: Floats,
    terminal: Floats,
    offset: Ints,
    action: NDArray[np.int16],
    follow: NDArray[np.int32],
    mass: Floats,
    taken: Floats,
    out: Floats,
) -> int:
    """Reward components of the first plan of node 0, added to out (D,): follow the hidden states of plans it leads to.

    mass (P, S) comes in as the start belief at that plan, and zero elsewhere; taken (K, A, S) is room. Returns the node
    from which nothing follows, as the graph has it, or -1.
    """
    K, A, O, S = m.joint.shape[1:5]
    D = out.size
    for node in range(m.table_of.size):
        t = m.table_of[node]
        if t < 0:
            for i in range(offset[node], offset[node + 1]):
                for s in range(S):
                    for d in range(D):
                        out[d] += mass[i, s] * terminal[node, s, d]
            continue
        for k in range(K):
            for a in range(A):
                for s in range(S):
                    taken[k, a, s] = 0.0
        reached = False
        for i in range(offset[node], offset[node + 1]):
            total = 0.0
            for s in range(S):
                total += mass[i, s]
            if total == 0.0:
                continue
            reached = True
            for k in range(K):
                a = action[i, k]
                if a < 0 or a >= A:
                    return node
                for s in range(S):
                    taken[k, a, s] += mass[i, s]
                for o in range(O):
                    child = m.children[node, m.successor[t, k, a, o]]
                    below = offset[child] + follow[i, k, o]
                    for s2 in range(S):
                        moved = 0.0
                        for s in range(S):
                            moved += mass[i, s] * m.joint[t, k, a, o, s, s2]
                        if moved != 0.0:
                            if below < offset[child] or below >= offset[child + 1]:
                                return node
                            mass[below, s2] += m.discount * moved
        if reached:
            for k in range(K):
                for a in range(A):
                    for s in range(S):
                        for d in range(D):
                            out[d] += taken[k, a, s] * reward[t, k, a, s, d]
    return -1
