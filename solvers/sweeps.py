"""Point-based value iteration by sweeps over a set of beliefs: PBVI and Perseus.

Both raise a lower bound of alpha-vectors (see `solvers.search` for backups and why they hold) at beliefs that can
occur, and know nothing of an upper bound: that at the start is the fast informed bound.

*PBVI* (Pineau, Gordon and Thrun 2003) backs up every belief of its set until none gains, and then adds to each belief
the successor, one sampled for each action, that is farthest from the set (L1).

*Perseus* (Spaan and Vlassis 2005) samples its set by random walks once, and backs up beliefs in random order, each only
if no vector of the same sweep has raised it already.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from solvers._search_model import Floats, Ints
from solvers._search_policies import policy
from solvers.policies import AlphaVectorPolicy
from solvers.pomdp import POMDP
from solvers.search import Progress, Searcher, compile_kernels, compiling, kept_from_interrupt
from solvers.solution import Bounds, Solution

_SLICE = 2_000_000  # work between looks at the clock


def pbvi(
    pomdp: POMDP,
    *,
    precision: float = 1e-3,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    beliefs: int = 1000,
) -> Solution:
    """Raise a lower bound by PBVI; see the module.

    Parameters
    ----------
    pomdp : POMDP
        With a discount below 1, or one of 1 where every policy ends.
    precision : float
        Sweeps over a set end when no belief gains more than (1 - γ) times as much; all ends when the gap to the fast
        informed bound is no larger.
    time_limit : float, optional
        Seconds of wall time; as for `sarsop`.
    progress : callable, optional
        Called with seconds, lower and upper bound after each sweep.
    seed : int
        Of the sampled successors.
    beliefs : int
        Size at which the set stops growing.

    Raises
    ------
    ModelError
        If the discount is 1 and some policy need not end.
    KeyboardInterrupt
        If Ctrl-C comes before the sweeps have begun; from then on, what was found is returned.
    """
    run = _Sweeps.begin(pomdp, precision, time_limit, progress)
    if not run.searcher.model.roots:
        return run.solution("pbvi", "precision")
    rng = np.random.default_rng(seed)
    points = run.roots()
    try:
        while True:
            ended = run.sweep_until_still(points)
            if ended is None:
                more = run.farthest(points, beliefs, rng)
                if more.size == points.size:
                    ended = "time limit" if run.late() else "converged"
                points = more
            if ended is not None:
                return run.solution("pbvi", ended)
    except KeyboardInterrupt:
        return run.solution("pbvi", "interrupted")


def perseus(
    pomdp: POMDP,
    *,
    precision: float = 1e-3,
    time_limit: float | None = None,
    progress: Progress | None = None,
    seed: int = 0,
    beliefs: int = 1000,
) -> Solution:
    """Raise a lower bound by Perseus; see the module, and `pbvi` for parameters and errors."""
    run = _Sweeps.begin(pomdp, precision, time_limit, progress)
    if not run.searcher.model.roots:
        return run.solution("perseus", "precision")
    rng = np.random.default_rng(seed)
    try:
        points = run.walk(beliefs, rng)
        ended = run.sweep_until_still(points, rng)
        return run.solution("perseus", ended or "converged")
    except KeyboardInterrupt:
        return run.solution("perseus", "interrupted")


class _Rows:
    """Beliefs by their class, to measure distances from."""

    def __init__(self) -> None:
        self.rows: dict[int, Floats] = {}
        self.size: dict[int, int] = {}

    def add(self, cls: int, row: Floats) -> None:
        """Add a belief on the states of a class."""
        i = self.size.get(cls, 0)
        if cls not in self.rows or i == len(self.rows[cls]):
            larger = np.zeros((max(8, 2 * i), row.size))
            larger[:i] = self.rows.get(cls, larger)[:i]
            self.rows[cls] = larger
        self.rows[cls][i] = row
        self.size[cls] = i + 1

    def distance(self, cls: int, row: Floats) -> float:
        """L1 distance to the nearest; beliefs of different classes are 2 apart."""
        if cls not in self.rows:
            return 2.0
        return float(np.abs(self.rows[cls][: self.size[cls]] - row).sum(axis=1).min())


@dataclass
class _Sweeps:
    """A searcher of which the lower bound alone is used, and when to stop."""

    searcher: Searcher
    precision: float
    time_limit: float | None
    progress: Progress | None
    compile_s: float
    began: float
    history: list[Bounds] = field(default_factory=list)
    upper: float = 0.0

    @classmethod
    def begin(cls, pomdp: POMDP, precision: float, time_limit: float | None, progress: Progress | None) -> "_Sweeps":
        compile_s = compile_kernels() + compiling(_sweep_once)
        began = time.monotonic()
        searcher = Searcher(pomdp, precision, deadline=np.inf if time_limit is None else began + time_limit)
        run = cls(searcher, precision, time_limit, progress, compile_s, began)
        for root in run.searcher.model.roots:
            run.upper += root.weight * float((run.searcher.state.q[:, root.state] @ root.prob).max())
        run.raise_low(run.roots(), np.full(run.roots().size, np.inf))
        return run

    def roots(self) -> Ints:
        """Beliefs at the start."""
        return np.arange(len(self.searcher.model.roots))

    def note(self) -> str | None:
        """Put the bounds down; why all ends, if it does."""
        bounds = Bounds(time.monotonic() - self.began, self.searcher.lower, self.upper)
        self.history.append(bounds)
        if self.progress is not None:
            self.progress(*bounds)
        if bounds.upper - bounds.lower <= self.precision:
            return "precision"
        return "time limit" if self.time_limit is not None and bounds.elapsed_s >= self.time_limit else None

    def raise_low(self, points: Ints, before: Floats) -> str | None:
        """Back up the beliefs that are still at `before`."""
        from solvers import _search_kernels as kernels

        done = 0
        while done < points.size:
            if not self.searcher.make_room():
                return "memory"
            done = kernels.raise_each(self.searcher.state, points, before, done, _SLICE)
            if self.late():
                return "time limit"
        return None

    def late(self) -> bool:
        """Whether the time limit has passed."""
        return self.time_limit is not None and time.monotonic() - self.began >= self.time_limit

    def sweep_until_still(self, points: Ints, rng: np.random.Generator | None = None) -> str | None:
        """Sweep until no belief gains; why all ends, if it does. With `rng`: in random order, sparing the raised."""
        still = self.precision / float(self.searcher.time_to_go.max())
        while True:
            points = points if rng is None else rng.permutation(points)
            before = self.searcher.state.belief["low"][points]
            ended = self.raise_low(points, np.full(points.size, np.inf) if rng is None else before) or self.note()
            gain = self.searcher.state.belief["low"][points] - before
            if ended is not None or not (gain > still).any():
                return ended

    def walk(self, size: int, rng: np.random.Generator) -> Ints:
        """So many different beliefs from random walks, or as many as are found in a hundred times as many steps."""
        found = dict.fromkeys(self.roots().tolist())
        here = self.roots()[:1]
        for _ in range(100 * size):
            if len(found) >= size or self.late():
                break
            here = self._step(here, rng.random((1, 2)))
            if here[0] < 0:
                here = self.roots()[rng.integers(self.roots().size, size=1)]
            found[int(here[0])] = None
        points = np.fromiter(found, np.int64)
        self.raise_low(points, np.full(points.size, -np.inf))
        return points

    def farthest(self, points: Ints, most: int, rng: np.random.Generator) -> Ints:
        """The set, and for each of its beliefs the successor that is farthest from the set as it grows."""
        A = self.searcher.pomdp.n_actions
        known = dict.fromkeys(points.tolist())
        near = _Rows()
        for n in points.tolist():
            near.add(*self._row(n))
        for n in points.tolist():
            if len(known) >= most or self.late():
                break
            uniform = np.stack([(np.arange(A) + 0.5) / A, rng.random(A)], axis=1)
            best, far = -1, 1e-9
            for c in self._step(np.full(A, n), uniform).tolist():
                if c >= 0 and c not in known:
                    apart = near.distance(*self._row(c))
                    if apart > far:
                        best, far = c, apart
            if best >= 0:
                near.add(*self._row(best))
                known[best] = None
        return np.fromiter(known, np.int64)

    def _step(self, beliefs: Ints, uniform: Floats) -> Ints:
        from solvers import _search_kernels as kernels

        out = np.full(beliefs.size, -1)
        done = 0
        while done < beliefs.size:
            if not self.searcher.make_room():
                return out
            done = kernels.walk(self.searcher.state, beliefs, uniform, out, done)
        return out

    def _row(self, n: int) -> tuple[int, Floats]:
        """Class of a belief, and its shares."""
        z = self.searcher.state
        b = z.belief[n]
        link = z.chain[b["cls"]]
        row = np.zeros(link["n_states"])
        row[z.state[b["first"] : b["end"]] - link["first_state"]] = z.prob[b["first"] : b["end"]]
        return int(b["cls"]), row

    def solution(self, method: str, ended: str) -> Solution:
        searcher = self.searcher
        elapsed = time.monotonic() - self.began
        found: AlphaVectorPolicy = kept_from_interrupt(lambda: policy(searcher))
        return Solution(
            pomdp=searcher.pomdp,
            method=method,
            lower=searcher.lower,
            upper=self.upper,
            policy=found,
            guarantee="the policy attains the lower bound; the upper one is the fast informed bound at the start",
            ended_by=ended,
            horizon=None,
            elapsed_s=elapsed,
            compile_s=self.compile_s,
            history=tuple(self.history),
        )


def _sweep_once(pomdp: POMDP) -> None:
    run = _Sweeps(Searcher(pomdp, 1e-2), 1e-2, None, None, 0.0, time.monotonic())
    run.raise_low(run.walk(2, np.random.default_rng(0)), np.full(2, np.inf))
