"""Compiled sweeps of the fast bounds; see `solvers.bounds` for what they are and why they hold.

All work in place, state by state, and move a bound in one direction only, so that it holds whenever one stops.
"""
# mypy: disallow-untyped-decorators=False

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from solvers._search_model import Table

Floats = NDArray[np.float64]
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
entry = numba.njit(cache=True, **_OPTIONS)


@entry
def expected_steps(m: Table, w: Floats, most: int) -> bool:
    """Raise w (S,) to a bound of the number of steps under any policy; whether that came to an end."""
    A, S = m.reward.shape
    for _ in range(most):
        change = 0.0
        for s in range(S):
            best = 0.0
            for a in range(A):
                total = 1.0
                for k in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
                    total += m.t_prob[k] * w[m.t_state[k]]
                best = max(best, total)
            change = max(change, best - w[s])
            w[s] = best
        if change < 0.01:
            # In place, a state may have moved after others had read it: what counts is the worst excess of a last look.
            excess = 0.0
            for s in range(S):
                for a in range(A):
                    total = 1.0 - w[s]
                    for k in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
                        total += m.t_prob[k] * w[m.t_state[k]]
                    excess = max(excess, total)
            if excess < 0.5:
                w /= 1.0 - excess
                return True
    return False


@entry
def lower_mdp(m: Table, v: Floats, tolerance: float, most: int) -> int:
    """Lower v (S,) from above towards the value of the MDP; number of sweeps, `most` if they were too few."""
    A, S = m.reward.shape
    for sweep in range(most):
        change = 0.0
        for s in range(S):
            best = -np.inf
            for a in range(A):
                total = 0.0
                for k in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
                    total += m.t_prob[k] * v[m.t_state[k]]
                best = max(best, m.reward[a, s] + m.discount * total)
            if best < v[s]:
                change = max(change, v[s] - best)
                v[s] = best
        if change <= tolerance:
            return sweep
    return most


@entry
def lower_fib(m: Table, q: Floats, tolerance: float, most: int) -> int:
    """Lower q (S, A) from above towards the fast informed bound; number of sweeps, as `lower_mdp`."""
    A, S = m.reward.shape
    after = np.zeros((m.n_seen, A))
    touched = np.empty(m.n_seen, np.int64)
    known = np.zeros(m.n_seen, np.bool_)
    for sweep in range(most):
        change = 0.0
        for s in range(S):
            for a in range(A):
                n = 0
                base = m.o_table[a] * S
                for k in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
                    s2 = m.t_state[k]
                    for j in range(m.o_start[base + s2], m.o_start[base + s2 + 1]):
                        o = m.o_seen[j]
                        if not known[o]:
                            known[o] = True
                            touched[n] = o
                            n += 1
                        p = m.t_prob[k] * m.o_prob[j]
                        for a2 in range(A):
                            after[o, a2] += p * q[s2, a2]
                total = 0.0
                for i in range(n):
                    o = touched[i]
                    best = -np.inf
                    for a2 in range(A):
                        best = max(best, after[o, a2])
                        after[o, a2] = 0.0
                    known[o] = False
                    total += best
                value = m.reward[a, s] + m.discount * total
                if value < q[s, a]:
                    change = max(change, q[s, a] - value)
                    q[s, a] = value
        if change <= tolerance:
            return sweep
    return most


@entry
def raise_blind(m: Table, v: Floats, tolerance: float, most: int) -> int:
    """Raise v (A, S) from below towards the values of one action for ever; number of sweeps, as `lower_mdp`."""
    A, S = m.reward.shape
    sweeps = 0
    for a in range(A):
        for sweep in range(most):
            change = 0.0
            for s in range(S):
                total = 0.0
                for k in range(m.t_start[a * S + s], m.t_start[a * S + s + 1]):
                    total += m.t_prob[k] * v[a, m.t_state[k]]
                value = m.reward[a, s] + m.discount * total
                if value > v[a, s]:
                    change = max(change, value - v[a, s])
                    v[a, s] = value
            if change <= tolerance:
                sweeps = max(sweeps, sweep)
                break
        else:
            sweeps = most
    return sweeps
