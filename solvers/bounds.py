"""Fast bounds on the optimal value: of the MDP, QMDP, the fast informed bound, and of single actions for ever.

From above, for states s, actions a, with r the reward and γ the discount:

* MDP: V(s) = max_a [r(s, a) + γ Σ_s' T(s'|s, a) V(s')], as if the state were seen.
* QMDP: Q(s, a) = r(s, a) + γ Σ_s' T(s'|s, a) V(s'), as if it were seen after one action
  (Littman, Cassandra and Kaelbling 1995).
* FIB: Q(s, a) = r(s, a) + γ Σ_o max_a' Σ_s' T(s'|s, a) O(o|a, s') Q(s', a'), as if it were seen with one action's
  delay (Hauskrecht 2000). The bound at a belief is max_a Σ_s b(s) Q(s, a), and MDP ≥ QMDP ≥ FIB ≥ V*.

From below, *blind* plans: α_a(s) = r(s, a) + γ Σ_s' T(s'|s, a) α_a(s'), the same action for ever.

All start from r_max w, or r_min w, where w(s) bounds the discounted number of steps (`_search_model.time_to_go`), and
move in one direction only. So they hold wherever iteration ends.
"""

import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from solvers._search_model import Floats, SearchModel, Table, build, time_to_go
from solvers.policies import AlphaVectorPolicy
from solvers.pomdp import POMDP
from solvers.solution import Bounds, Solution

_MOST_WORK = 2e9
_SLICE_S = 0.05  # sweeps run about so long before Python looks at the clock

FastMethod = Literal["mdp", "qmdp", "fib", "blind"]


def fast_bound(
    pomdp: POMDP, method: FastMethod, *, precision: float = 1e-3, time_limit: float | None = None
) -> Solution:
    """Bound the optimal value from one side, fast; see the module for what the methods are.

    Parameters
    ----------
    pomdp : POMDP
        With a discount below 1, or one of 1 where every policy ends.
    method : str
        "mdp", "qmdp" and "fib" bound from above, "blind" from below.
    precision : float
        Values are iterated until none changes by more than a ten-thousandth of it.
    time_limit : float, optional
        Seconds; the sweep, that is under way then is finished.

    Returns
    -------
    Solution
        Its policy has a vector for each action: what the method believes the action to be worth. For "mdp" these are
        of QMDP, as the value of the MDP says nothing about actions at beliefs. It has ended by "converged", by the
        "time limit", or by "sweeps": after so much work as takes a few seconds.

    Raises
    ------
    ModelError
        If the discount is 1 and some policy need not end.
    """
    compile_s = _compile()
    began = time.monotonic()
    model = build(pomdp)
    w = time_to_go(model.table)
    sweeps = Sweeps(1e-4 * precision, np.inf if time_limit is None else began + time_limit)
    vectors = np.zeros((pomdp.n_actions, model.n_states))
    value = np.zeros(model.n_states)
    if model.n_states:
        if method == "blind":
            vectors = _blind(model, w, model.table.reward, sweeps)
        elif method == "fib":
            vectors = _fib(model, w, sweeps)
        else:
            value = _mdp(model, w, sweeps)
            vectors = _one_step(model, value)
    at_start = 0.0
    for root in model.roots:
        best = (root.prob @ value[root.state]) if method == "mdp" else (vectors[:, root.state] @ root.prob).max()
        at_start += root.weight * float(best)
    full = np.zeros((pomdp.n_actions, pomdp.n_states))
    full[:, model.original] = vectors
    lower, upper = (at_start, np.inf) if method == "blind" else (-np.inf, at_start)
    elapsed = time.monotonic() - began
    side = "lower" if method == "blind" else "upper"
    return Solution(
        pomdp=pomdp,
        method=method,
        lower=lower,
        upper=upper,
        policy=AlphaVectorPolicy(pomdp, full, np.arange(pomdp.n_actions)),
        guarantee=f"the {side} bound holds at the start"
        + ("; the policy attains it" if side == "lower" else "; the policy may be worth less than it believes"),
        ended_by=sweeps.ended_by,
        horizon=None,
        elapsed_s=elapsed,
        compile_s=compile_s,
        history=(Bounds(elapsed, lower, upper),),
    )


class Sweeps:
    """Runs sweeps until values change little, so many at a time that the clock and Ctrl-C are looked at.

    Parameters
    ----------
    tolerance : float
        Iteration ends when no value changes by more.
    deadline : float
        Or when `time.monotonic` has come to this.
    """

    def __init__(self, tolerance: float, deadline: float = np.inf) -> None:
        self.tolerance = tolerance
        self.deadline = deadline
        self.ended_by = "converged"  # that which sweeps ended by that did not converge, if any

    def run(self, kernel: Callable[[Table, Floats, float, int], int], table: Table, value: Floats, most: int) -> None:
        """Improve values in place by a kernel of `_bound_kernels`."""
        done, together = 0, 1
        while done < most:
            before = time.monotonic()
            together = min(together, most - done)
            if kernel(table, value, self.tolerance, together) < together:
                return
            done += together
            now = time.monotonic()
            if now >= self.deadline:
                self.ended_by = "time limit"
                return
            if now - before < _SLICE_S:
                together *= 2
        self.ended_by = "sweeps"


def fast_bounds(
    model: SearchModel, time_to_go: Floats, tolerance: float, deadline: float = np.inf
) -> tuple[Floats, Floats]:
    """The fast informed bound (A, S), and values of single actions for ever (A, S).

    Parameters
    ----------
    model : SearchModel
    time_to_go : array, shape (S,)
    tolerance, deadline : float
        See `Sweeps`.
    """
    # Plans end in single actions, so that what these lack is never made up for; and they are cheap.
    q = _fib(model, time_to_go, Sweeps(tolerance, deadline))
    return q, _blind(model, time_to_go, model.table.reward, Sweeps(1e-3 * tolerance, deadline))


def blind_values(model: SearchModel, time_to_go: Floats, reward: Floats) -> Floats:
    """Values of single actions for ever (A, S), from below, for rewards (A, S)."""
    return _blind(model, time_to_go, reward, Sweeps(1e-10))


def _mdp(model: SearchModel, time_to_go: Floats, sweeps: Sweeps) -> Floats:
    """Value of each state if states were seen (S,), from above."""
    from solvers._bound_kernels import lower_mdp

    value = max(float(model.table.reward.max()), 0.0) * time_to_go
    sweeps.run(lower_mdp, model.table, value, _most_sweeps(model, 1))
    return value


def _fib(model: SearchModel, time_to_go: Floats, sweeps: Sweeps) -> Floats:
    """The fast informed bound (A, S)."""
    from solvers._bound_kernels import lower_fib

    q = np.ascontiguousarray(_one_step(model, _mdp(model, time_to_go, sweeps)).T)
    sweeps.run(lower_fib, model.table, q, _most_sweeps(model, len(q[0])))
    return np.ascontiguousarray(q.T)


def _blind(model: SearchModel, time_to_go: Floats, reward: Floats, sweeps: Sweeps) -> Floats:
    """Values of single actions for ever (A, S), from below."""
    from solvers._bound_kernels import raise_blind

    table = model.table._replace(reward=np.ascontiguousarray(reward))
    blind = np.tile(min(float(reward.min()), 0.0) * time_to_go, (reward.shape[0], 1))
    sweeps.run(raise_blind, table, blind, _most_sweeps(model, 1))
    return blind


def _most_sweeps(model: SearchModel, per_outcome: int) -> int:
    """Sweeps that take a few seconds: values need not be close to their limit to be bounds."""
    m = model.table
    outcomes = m.t_prob.size * (1.0 if per_outcome == 1 else m.o_prob.size / max(m.o_start.size - 1, 1))
    return int(max(50.0, _MOST_WORK / (1.0 + outcomes * per_outcome)))


def _one_step(model: SearchModel, value: Floats) -> Floats:
    """r(s, a) + γ Σ_s' T(s'|s, a) V(s'); (A, S)."""
    m = model.table
    A, S = m.reward.shape
    row = np.repeat(np.arange(A * S), np.diff(m.t_start))
    after = np.bincount(row, weights=m.t_prob * value[m.t_state], minlength=A * S)
    return np.asarray(m.reward + m.discount * after.reshape(A, S))


def _compile() -> float:
    from solvers.search import compile_kernels

    return compile_kernels()
