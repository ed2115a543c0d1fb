"""Heuristic search for discounted POMDPs: trials through the beliefs that matter, between two bounds.

With V* the optimal value and H the Bellman operator, two bounds are kept.

*Below*: alpha-vectors, V_low(b) = max α·b. First those of single actions for ever. A backup at b scores every action by
the best vectors at the beliefs that follow, and adds the vector of the best one: the value of the plan that takes the
action and goes on with these vectors. So every vector is the value of a plan, whatever the belief.

*Above*: points (b_i, v_i) with v_i ≥ V*(b_i), and the fast informed bound Q_FIB. V* is convex, so V*(b) ≤ Σ λ_i v_i
whenever b = Σ λ_i b_i, with single states among the points. The *sawtooth* takes one point beside the single states;
in classes of few states a linear program takes as many as it needs. A backup gives v = max_a Q_up(b, a). HV_up ≥ V*.

*Trials* (Smith and Simmons 2004, 2005) go down from the start: the action with the highest upper bound, then the
observation with the largest excess of the gap over a target ε γ^-t, weighted by its chance; then they back up the way
they came. The target halves the gap at the start; the search ends when that gap is below the precision. An action is
looked into only when its upper bound, at first by Q_FIB, is the highest: its successors come into being late, or never.

What else makes it fast: beliefs that are equal are one (a graph, not a tree), each remembers its bounds and looks only
at vectors and points that are new; and wherever the state has a *fully observed factor*, declared or not, both bounds
live on the states of its classes (Ong et al. 2010; `solvers._search_model`).

Guarantee: at every moment V_low ≤ V* ≤ V_up at the start, up to rounding of about 1e-12 of the largest value, and the
greedy policy of the vectors attains V_low at least. After Kurniawati, Hsu and Lee 2008 (SARSOP), which scores before it
builds and samples by the gap, and Pineau, Gordon and Thrun 2003.
"""

import copy
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import _search_state as at
from solvers._search_model import Floats, SearchModel, build, time_to_go
from solvers._search_policies import policy
from solvers._search_state import State, allocate, grown, size_after_growing, write_single_actions
from solvers.bounds import blind_values, fast_bounds
from solvers.checks import check_beliefs
from solvers.errors import SolverError
from solvers.pomdp import POMDP
from solvers.solution import Bounds, Solution

T = TypeVar("T")
Progress = Callable[[float, float, float], object]
_SLICE_S = 0.05  # a kernel runs about so long before Python looks at the clock and at Ctrl-C
_SHRINK = 0.5  # a trial aims at so much of the gap at the start
_MEMORY = 4_000_000_000
_ROUNDING = 1e-9  # of the largest value: bounds that cross by more are a mistake
SPARE = 1e-3  # of the precision: what pruning and rounding may take afterwards


class Searcher:
    """A graph of beliefs with both bounds, and what it takes to run kernels on it in slices.

    Where no state is of any worth there is nothing to search, and no `state`. A start that is worthless alone has no
    roots, but the bounds hold elsewhere. Fast bounds end at the `deadline`, a time of `time.monotonic`.
    """

    def __init__(
        self,
        pomdp: POMDP,
        precision: float,
        memory: int = _MEMORY,
        worth: NDArray[np.bool_] | None = None,
        deadline: float = np.inf,
    ) -> None:
        self.pomdp = pomdp
        self.model: SearchModel = build(pomdp, worth)
        self.memory = memory
        m = self.model.table
        self.time_to_go = time_to_go(m)
        if not self.model.n_states:
            return
        q, blind = fast_bounds(self.model, self.time_to_go, 1e-4 * precision, deadline)
        self.state: State = allocate(self.model, q, blind)
        self._set(precision)
        for root in self.model.roots:
            self.add(int(m.class_of[root.state[0]]), root.state, root.prob)

    def _set(self, precision: float) -> None:
        number = self.state.number
        number[at.PRECISION] = (1.0 - SPARE) * precision
        # Improvements below this are forgone; all of them together lose 1 % of the precision.
        number[at.TIE] = 0.01 * precision / float(self.time_to_go.max())
        number[at.SHRINK] = _SHRINK
        number[at.TOP] = max(0.0, float(self.state.corner.max()))

    def reweigh(self, reward: Floats, precision: float, deadline: float = np.inf) -> None:
        """Go over to other rewards (A, S) in place: beliefs and plans stay, bounds are worked out anew."""
        from solvers import _search_kernels as kernels

        table = self.model.table._replace(reward=np.ascontiguousarray(reward))
        self.model = self.model._replace(table=table)
        q, blind = fast_bounds(self.model, self.time_to_go, 1e-4 * precision, deadline)
        z = self.state = self.state._replace(reward=table.reward, q=q, corner=q.max(axis=0))
        self._set(precision)
        write_single_actions(z.pool, z.block, z.chain, blind)
        kernels.refill(z)
        kernels.restart(z)

    def look_closer(self) -> bool:
        """After a trial that changed nothing, take smaller improvements; False if they would be rounding."""
        number, count = self.state.number, self.state.count
        number[at.TIE] /= 10.0
        count[at.CHANGES_BEFORE] = -1
        return bool(number[at.TIE] > 1e-13 * float(np.abs(self.state.corner).max()))

    def plan_value(self, reward: Floats) -> float:
        """What the plan of the lower bound is worth at the start for other rewards (A, S), exactly."""
        from solvers import _search_kernels as kernels

        z = self.state._replace(reward=np.ascontiguousarray(reward), pool=self.state.pool.copy())
        write_single_actions(z.pool, z.block, z.chain, blind_values(self.model, self.time_to_go, reward))
        kernels.refill(z)
        total = 0.0
        for n, weight in enumerate(z.root):
            b = z.belief[n]
            shares, v = slice(b["first"], b["end"]), b["vector"]
            local = z.state[shares] - z.chain[b["cls"]]["first_state"]
            first = z.block["at"][v // at.LANES] + v % at.LANES
            total += weight * float(z.prob[shares] @ z.pool[first + local * at.LANES])
        return total

    def add(self, cls: int, state: NDArray[np.int32], prob: Floats) -> int:
        """Add a belief on the states of a class."""
        from solvers import _search_kernels as kernels

        self._room_for(state.size)
        return int(kernels.add_belief(self.state, cls, state, prob))

    def _room_for(self, shares: int) -> None:
        """See to it that a belief of so many states finds room, whatever memory that takes."""
        need = self.state.need.copy()
        need[at.SHARES] = max(need[at.SHARES], shares)
        self.state = self.state._replace(need=need)
        if not self.make_room(np.inf):
            raise SolverError("no room for a belief")

    def make_room(self, memory: float | None = None) -> bool:
        """See to it that a step finds room; False, and nothing done, if that takes more memory than is allowed."""
        from solvers import _search_kernels as kernels

        need = self.state.need
        if not (self.state.count[: at.KINDS] + need > self.state.capacity).any():
            return True
        if size_after_growing(self.state) > (self.memory if memory is None else memory):
            return False
        state = grown(self.state)
        if state.table is not self.state.table:
            kernels.rehash(state)
        self.state = state
        return True

    @property
    def lower(self) -> float:
        """Lower bound at the start; 0 if that is worthless."""
        if not self.model.roots:
            return 0.0
        return float(self.state.root @ self.state.belief["low"][: self.state.root.size])

    @property
    def upper(self) -> float:
        """Upper bound at the start.

        Raises
        ------
        SolverError
            If it lies below the lower one by more than rounding explains.
        """
        if not self.model.roots:
            return 0.0
        lower, upper = self.lower, float(self.state.root @ self.state.belief["up"][: self.state.root.size])
        if lower - upper > _ROUNDING * max(float(np.abs(self.state.corner).max()), abs(lower)):
            raise SolverError(f"the bounds have crossed, {lower!r} > {upper!r}: this is a mistake in the solver")
        return max(lower, upper)

    def upper_at(self, belief: ArrayLike) -> float:
        """Upper bound at a belief over states of the POMDP (S,); over several classes, as if the class were seen.

        At the start, the search knows better.
        """
        from solvers import _search_kernels as kernels

        row = np.asarray(belief, np.float64)
        model = self.model
        if not model.n_states:
            return 0.0
        if np.abs(row - self.pomdp.start).max() <= 1e-12:
            return self.upper
        self._room_for(model.n_states)
        total = 0.0
        for cls in np.unique(model.labels[(row > 0.0) & (model.labels >= 0)]).tolist():
            first, last = model.table.class_start[cls : cls + 2]
            states = np.arange(first, last, dtype=np.int32)
            shares = row[model.original[first:last]]
            mass = float(shares.sum())
            total += mass * kernels.upper_at(self.state, cls, states[shares > 0.0], shares[shares > 0.0] / mass)
        return total


class UpperBound:
    """Upper bound on the optimal value at any belief, by what a search found."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher

    def value(self, belief: ArrayLike) -> Any:
        """Upper bound at a belief (S,), a float; or at beliefs (B, S), an array (B,).

        Raises
        ------
        ModelError
            If a belief is no distribution over the states.
        """
        rows = check_beliefs("belief", belief, self.searcher.pomdp.n_states)
        values = np.array([self.searcher.upper_at(row) for row in rows])
        return values if np.ndim(belief) == 2 else float(values[0])


def sarsop(
    pomdp: POMDP,
    *,
    precision: float = 1e-3,
    time_limit: float | None = None,
    progress: Progress | None = None,
    warm_start: Solution | None = None,
    memory: int = _MEMORY,
) -> Solution:
    """Solve by heuristic search between two bounds; see the module for the mathematics.

    Parameters
    ----------
    pomdp : POMDP
        With a discount below 1, or one of 1 where every policy ends. Its horizon, if it has one, is not used.
    precision : float
        Largest gap at the start to end with.
    time_limit : float, optional
        Seconds of wall time. Compilation does not count; taking the model apart, and one sweep of the fast bounds,
        are never cut short.
    progress : callable, optional
        Called with seconds, lower and upper bound, about twenty times a second.
    warm_start : Solution, optional
        Of this method, for a POMDP that differs in its rewards alone. Where states are of worth that were of none,
        there is nothing to begin with, and the search begins anew.
    memory : int
        Bytes; the search ends rather than take more. Policies are made beside them.

    Raises
    ------
    ModelError
        If the discount is 1 and some policy need not end.
    SolverError
        If `warm_start` is of another method, or of a POMDP that differs in more than its rewards.
    KeyboardInterrupt
        If Ctrl-C comes before the search has begun; from then on, what was found is returned.
    """
    compile_s = compile_kernels()
    began = time.monotonic()
    deadline = np.inf if time_limit is None else began + time_limit
    if warm_start is None:
        searcher = Searcher(pomdp, precision, memory, deadline=deadline)
    else:
        searcher = _reused(warm_start, pomdp, precision, memory, deadline)
    history: list[Bounds] = []
    ended = "precision" if not searcher.model.n_states else run_search(searcher, began, time_limit, progress, history)
    return solution(searcher, "sarsop", ended, began, compile_s, history)


def run_search(
    searcher: Searcher, began: float, time_limit: float | None, progress: Progress | None, history: list[Bounds]
) -> str:
    """Run trials until the gap is closed or something else ends them: why they ended."""
    from solvers import _search_kernels as kernels

    budget = 20_000
    try:
        while True:
            before = time.monotonic()
            why = kernels.search(searcher.state, budget)
            now = time.monotonic()
            bounds = Bounds(now - began, searcher.lower, searcher.upper)
            if not history or bounds[1:] != history[-1][1:]:
                history.append(bounds)
            if progress is not None:
                progress(*bounds)
            if why == kernels.CLOSED:
                return "precision"
            if why == kernels.STALLED and not searcher.look_closer():
                return "stalled"
            if time_limit is not None and bounds.elapsed_s >= time_limit:
                return "time limit"
            if why == kernels.FULL:
                if not searcher.make_room():
                    return "memory"
            elif now - before < _SLICE_S:
                budget *= 2
            elif now - before > 2.0 * _SLICE_S:
                budget = max(budget // 2, 1000)
    except KeyboardInterrupt:
        return "interrupted"


def solution(
    searcher: Searcher, method: str, ended: str, began: float, compile_s: float, history: list[Bounds]
) -> Solution:
    """What a search found, as people get it."""
    elapsed = time.monotonic() - began
    found = kept_from_interrupt(lambda: policy(searcher))
    return Solution(
        pomdp=searcher.pomdp,
        method=method,
        lower=searcher.lower,
        upper=searcher.upper,
        policy=found,
        guarantee="both bounds hold at the start, and the policy attains the lower one",
        ended_by=ended,
        horizon=None,
        elapsed_s=elapsed,
        compile_s=compile_s,
        history=tuple(history),
        upper_bound=UpperBound(searcher),
    )


def kept_from_interrupt(make: Callable[[], T]) -> T:
    """What is made of a finished search; Ctrl-C makes it begin once more, and a second one gives it up."""
    try:
        return make()
    except KeyboardInterrupt:
        return make()


def _coin() -> POMDP:
    """The model that kernels are compiled with."""
    half = np.full((2, 2, 2), 0.5)
    return POMDP(transition=half, observation=half, reward=np.eye(2), start=[0.5, 0.5], discount=0.5)


def compiling(run: Callable[[POMDP], object]) -> float:
    """Run something once in a process, so that Numba compiles its kernels or loads them; seconds that it took now."""
    before = _first_run.cache_info().misses
    seconds = _first_run(run)
    return seconds if _first_run.cache_info().misses > before else 0.0


@cache
def _first_run(run: Callable[[POMDP], object]) -> float:
    began = time.monotonic()
    run(_coin())
    return time.monotonic() - began


def _search_once(pomdp: POMDP) -> None:
    from solvers import _search_kernels as kernels

    searcher = Searcher(pomdp, 1e-2)
    kernels.search(searcher.state, 100)
    kernels.rehash(searcher.state)
    policy(searcher)


def compile_kernels() -> float:
    """Compile what a search needs, or load it from Numba's cache, once in a process; seconds that it took now."""
    return compiling(_search_once)


# Other rewards --------------------------------------------------------------------------------------------------


def _reused(warm_start: Solution, pomdp: POMDP, precision: float, memory: int, deadline: float) -> Searcher:
    """A copy of the search behind a solution, for the rewards of another POMDP."""
    found = warm_start.upper_bound
    if not isinstance(found, UpperBound):
        raise SolverError(
            f"warm_start must be a solution that keeps its search: by 'sarsop', and not of a family; "
            f"this one, by {warm_start.method!r}, keeps none"
        )
    old = found.searcher
    differs = "warm_start is of a POMDP that differs in more than its rewards"
    if (old.pomdp.n_states, old.pomdp.n_actions) != (pomdp.n_states, pomdp.n_actions):
        raise SolverError(f"{differs}: in its states or actions")
    if not np.array_equal(old.pomdp.start, pomdp.start):
        raise SolverError(f"{differs}: in its start")
    model = build(pomdp, old.model.worth | _has_reward(pomdp))
    if not np.array_equal(old.model.worth, model.worth) or not old.model.n_states:
        return Searcher(pomdp, precision, memory, deadline=deadline)
    for name, array in old.model.table._asdict().items():
        if name != "reward" and not np.array_equal(array, getattr(model.table, name)):
            raise SolverError(differs)
    searcher = copy.copy(old)
    searcher.pomdp, searcher.model, searcher.memory = pomdp, model, memory
    searcher.state = old.state._replace(**{name: array.copy() for name, array in old.state._asdict().items()})
    searcher.reweigh(model.table.reward, precision, deadline)
    return searcher


def _has_reward(pomdp: POMDP) -> NDArray[np.bool_]:
    return np.asarray((pomdp.reward != 0.0).any(axis=0))
