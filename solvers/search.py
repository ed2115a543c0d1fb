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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import _search_state as at
from solvers._search_model import Floats, Ints, SearchModel, build, time_to_go
from solvers._search_state import LANES, State, allocate, grown, size_after_growing
from solvers.bounds import blind_values, fast_bounds
from solvers.epochs import check_beliefs
from solvers.errors import SolverError
from solvers.policies import AlphaVectorPolicy
from solvers.pomdp import POMDP
from solvers.solution import Bounds, Solution

Progress = Callable[[float, float, float], object]
_SLICE_S = 0.05  # a kernel runs about so long before Python looks at the clock and at Ctrl-C
_MOST_CELLS = 25_000_000  # entries of the vectors of a policy; beyond, those that the start needs are kept alone
_SHRINK = 0.5  # a trial aims at so much of the gap at the start
_MEMORY = 4_000_000_000


class Searcher:
    """A graph of beliefs with both bounds, and what it takes to run kernels on it in slices."""

    def __init__(
        self, pomdp: POMDP, precision: float, memory: int = _MEMORY, worth: NDArray[np.bool_] | None = None
    ) -> None:
        self.pomdp = pomdp
        self.model: SearchModel = build(pomdp, worth)
        self.memory = memory
        m = self.model.table
        self.time_to_go = time_to_go(m)
        if not self.model.roots:
            return
        q, blind = fast_bounds(self.model, self.time_to_go, 1e-4 * precision)
        self.state: State = allocate(self.model, q, blind)
        self._set(precision)
        for root in self.model.roots:
            self.add(int(m.class_of[root.state[0]]), root.state, root.prob)

    def _set(self, precision: float) -> None:
        number = self.state.number
        number[at.PRECISION] = precision
        # Improvements below this are forgone; all of them together lose 1 % of the precision.
        number[at.TIE] = 0.01 * precision / float(self.time_to_go.max())
        number[at.SHRINK] = _SHRINK
        number[at.TOP] = max(0.0, float(self.state.corner.max()))

    def reweigh(self, reward: Floats, precision: float) -> None:
        """Go over to other rewards (A, S) in place: beliefs and plans stay, bounds are worked out anew."""
        from solvers import _search_kernels as kernels

        table = self.model.table._replace(reward=np.ascontiguousarray(reward))
        self.model = self.model._replace(table=table)
        q, blind = fast_bounds(self.model, self.time_to_go, 1e-4 * precision)
        z = self.state = self.state._replace(reward=table.reward, q=q, corner=q.max(axis=0))
        self._set(precision)
        self.write_blind(z, blind)
        kernels.refill(z)
        kernels.restart(z)

    def look_closer(self) -> bool:
        """After a trial that changed nothing, take smaller improvements; False if they would be rounding."""
        number, count = self.state.number, self.state.count
        number[at.TIE] /= 10.0
        count[at.CHANGES_BEFORE] = -1
        return bool(number[at.TIE] > 1e-13 * float(np.abs(self.state.corner).max()))

    def write_blind(self, z: State, blind: Floats) -> None:
        """Put values (A, S) into the vectors of single actions."""
        for v in z.made[: z.count[at.VECTORS]]:
            described = z.vector[v]
            if described["follow_end"] == 0:
                link = z.chain[described["cls"]]
                states = np.arange(link["n_states"])
                first = z.block["at"][v // LANES] + v % LANES
                z.pool[first + states * LANES] = blind[described["action"], link["first_state"] + states]

    def plan_value(self, reward: Floats) -> float:
        """What the plan of the lower bound is worth at the start for other rewards (A, S), exactly."""
        from solvers import _search_kernels as kernels

        z = self.state._replace(reward=np.ascontiguousarray(reward), pool=self.state.pool.copy())
        self.write_blind(z, blind_values(self.model, self.time_to_go, reward))
        kernels.refill(z)
        total = 0.0
        for n, weight in enumerate(z.root):
            b = z.belief[n]
            shares, v = slice(b["first"], b["end"]), b["vector"]
            local = z.state[shares] - z.chain[b["cls"]]["first_state"]
            total += weight * float(z.prob[shares] @ z.pool[z.block["at"][v // LANES] + v % LANES + local * LANES])
        return total

    def add(self, cls: int, state: NDArray[np.int32], prob: Floats) -> int:
        """Add a belief on the states of a class."""
        from solvers import _search_kernels as kernels

        self.make_room(state.size)
        return int(kernels.add_belief(self.state, cls, state, prob))

    def make_room(self, shares: int = 0) -> bool:
        """See to it that a step finds room, and a belief of so many states; False if that takes too much memory."""
        from solvers import _search_kernels as kernels

        need = self.state.need
        need[at.SHARES] = max(need[at.SHARES], shares)
        if not (self.state.count[: at.KINDS] + need > self.state.capacity).any():
            return True
        if size_after_growing(self.state) > self.memory:
            return False
        state = grown(self.state)
        if state.table is not self.state.table:
            kernels.rehash(state)
        self.state = state
        return True

    @property
    def lower(self) -> float:
        """Lower bound at the start."""
        if not self.model.roots:
            return 0.0
        return float(self.state.root @ self.state.belief["low"][: self.state.root.size])

    @property
    def upper(self) -> float:
        """Upper bound at the start."""
        if not self.model.roots:
            return 0.0
        # Where both have met, rounding may let them cross.
        return max(self.lower, float(self.state.root @ self.state.belief["up"][: self.state.root.size]))

    def upper_at(self, belief: ArrayLike) -> float:
        """Upper bound at a belief over states of the POMDP (S,); over several classes, as if the class were seen."""
        from solvers import _search_kernels as kernels

        row = np.asarray(belief, np.float64)
        model = self.model
        if not model.roots:
            return 0.0
        self.make_room(model.n_states)
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
        With a discount below 1, or one of 1 where every policy ends.
    precision : float
        Largest gap at the start to end with.
    time_limit : float, optional
        Seconds of wall time.
    progress : callable, optional
        Called with seconds, lower and upper bound, about twenty times a second.
    warm_start : Solution, optional
        Of this method, for a POMDP that differs in its rewards alone.
    memory : int
        Bytes; the search ends rather than take more. Policies are made beside them.

    Raises
    ------
    ModelError
        If the discount is 1 and some policy need not end.
    SolverError
        If `warm_start` is of another method, or of a POMDP that differs in more than its rewards.
    """
    compile_s = compile_kernels()
    began = time.monotonic()
    searcher = Searcher(pomdp, precision, memory) if warm_start is None else _reused(warm_start, pomdp, precision)
    history: list[Bounds] = []
    ended = "precision" if not searcher.model.roots else run_search(searcher, began, time_limit, progress, history)
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
    return Solution(
        pomdp=searcher.pomdp,
        method=method,
        lower=searcher.lower,
        upper=searcher.upper,
        policy=policy(searcher),
        guarantee="both bounds hold at the start, and the policy attains the lower one",
        ended_by=ended,
        horizon=None,
        elapsed_s=elapsed,
        compile_s=compile_s,
        history=tuple(history),
        upper_bound=UpperBound(searcher),
    )


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


# Policies -------------------------------------------------------------------------------------------------------


def policy(searcher: Searcher) -> AlphaVectorPolicy:
    """The vectors that are best at some belief of the search, and those that their plans go on with."""
    pomdp = searcher.pomdp
    if not searcher.model.roots:
        return AlphaVectorPolicy(pomdp, np.zeros((1, pomdp.n_states)), np.zeros(1, np.int64))
    state = searcher.state
    beliefs = np.concatenate([np.arange(state.root.size), state.expanded[: state.count[at.EXPANDED]]])
    kept = _kept(state, beliefs)
    if kept.size * pomdp.n_states > _MOST_CELLS:
        kept = _kept(state, beliefs[: state.root.size])
    if pomdp.observed is not None:
        return _policy_by_value(searcher, kept, pomdp, pomdp.observed)
    labels = searcher.model.labels
    one_class = searcher.model.n_classes == labels.max() + 1
    if kept.size * pomdp.n_states > _MOST_CELLS and one_class:
        found = np.unique(labels, return_inverse=True)[1]
        return _policy_by_value(searcher, kept, _with_factor(pomdp, found), found)
    floor = _floor(searcher)
    rows = np.tile(floor, (kept.size, 1))
    for states, mine, block in _blocks(searcher, kept):
        rows[mine[:, None], states] = block
    return AlphaVectorPolicy(pomdp, rows, state.vector["action"][kept])


def _kept(state: State, beliefs: Ints) -> Ints:
    """Vectors that are best at beliefs, with what their plans need, in the order in which they were made."""
    from solvers import _search_kernels as kernels

    wanted = np.zeros(state.vector.size, bool)
    best = state.belief["vector"][beliefs]
    wanted[best[best >= 0]] = True
    kernels.needed(state, wanted)
    made = state.made[: state.count[at.VECTORS]]
    return made[wanted[made]]


def _blocks(searcher: Searcher, kept: Ints) -> Any:
    """For each class: its states of the POMDP, which of the kept vectors are for it, and these (V, states)."""
    z, start = searcher.state, searcher.model.table.class_start
    of_class = z.vector["cls"][kept]
    for cls in np.unique(of_class).tolist():
        states = searcher.model.original[start[cls] : start[cls + 1]]
        mine = np.flatnonzero(of_class == cls)
        first = z.block["at"][kept[mine] // LANES] + kept[mine] % LANES
        yield states, mine, z.pool[first[:, None] + np.arange(states.size) * LANES]


def _floor(searcher: Searcher) -> Floats:
    """What no policy does worse than, in each state of the POMDP (S,)."""
    model = searcher.model
    floor = np.zeros(model.n_original)
    floor[model.original] = min(float(model.table.reward.min()), 0.0) * searcher.time_to_go
    return floor


def _policy_by_value(searcher: Searcher, kept: Ints, pomdp: POMDP, value: Ints) -> AlphaVectorPolicy:
    """Sparse vectors, each for one value of an observed factor, of which the classes are parts."""
    from scipy.sparse import coo_array, csr_array

    floor = _floor(searcher)
    observed = np.zeros(kept.size, np.int64)
    rows, columns, entries = [], [], []
    for states, mine, block in _blocks(searcher, kept):
        observed[mine] = y = value[states[0]]
        others = np.setdiff1d(np.flatnonzero((value == y) & (floor < 0.0)), states)
        both = np.concatenate([states, others])
        rows.append(np.repeat(mine, both.size))
        columns.append(np.tile(both, mine.size))
        entries.append(np.hstack([block, np.tile(floor[others], (mine.size, 1))]).reshape(-1))
    cells = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    vectors = csr_array(coo_array(cells, shape=(kept.size, pomdp.n_states)))
    return AlphaVectorPolicy(pomdp, vectors, searcher.state.vector["action"][kept], observed)


def _with_factor(pomdp: POMDP, value: Ints) -> POMDP:
    """The same POMDP with the observed factor that was found in it."""
    return POMDP(
        transition=pomdp.transition,
        observation=pomdp.observation,
        reward=pomdp.reward,
        rewards=pomdp.rewards,
        start=pomdp.start,
        discount=pomdp.discount,
        states=pomdp.states,
        actions=pomdp.actions,
        observations=pomdp.observations,
        observed=value,
    )


# Other rewards --------------------------------------------------------------------------------------------------


def _reused(solution: Solution, pomdp: POMDP, precision: float) -> Searcher:
    """A copy of the search behind a solution, for the rewards of another POMDP."""
    found = solution.upper_bound
    if not isinstance(found, UpperBound):
        raise SolverError(f"warm_start must be a solution by search, not by {solution.method!r}")
    old = found.searcher
    model = build(pomdp, old.model.worth | _has_reward(pomdp))
    for name, array in old.model.table._asdict().items():
        if name != "reward" and not np.array_equal(array, getattr(model.table, name)):
            raise SolverError("warm_start is of a POMDP that differs in more than its rewards")
    searcher = copy.copy(old)
    searcher.pomdp, searcher.model = pomdp, model
    searcher.state = old.state._replace(**{name: array.copy() for name, array in old.state._asdict().items()})
    searcher.reweigh(model.table.reward, precision)
    return searcher


def _has_reward(pomdp: POMDP) -> NDArray[np.bool_]:
    return np.asarray((pomdp.reward != 0.0).any(axis=0))
