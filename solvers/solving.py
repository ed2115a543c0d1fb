"""The front door: `solve` bounds the optimal value of a POMDP, by whichever method.

With a discount below 1 and no horizon the default is heuristic search between two bounds (`solvers.search`); with a
horizon it is point-based backups between two bounds at the start (`solvers.epoch_solver`), and "exact" finds all
vectors. Every bound holds at every moment, so a solve can be stopped at any: by its time limit, or by Ctrl-C.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from solvers.compilation import compilation_told
from solvers.errors import SolverError
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP
from solvers.pruning import LEAST
from solvers.solution import Bounds, Solution

if TYPE_CHECKING:
    from solvers.epoch_solver import EpochSolution

_SHARE_TO_IMPROVE = 0.2  # of a time limit
_MOST_STATES_TO_IMPROVE = 2000
_MOST_CELLS_TO_PRUNE = 3_000_000
_SHARE_TO_PRUNE = 5e-4  # of the precision, or the gap, that pruning may cost
_log = logging.getLogger("solvers")
Progress = Callable[[float, float, float], object]
"""Called with the seconds so far and both bounds."""


@dataclass(frozen=True)
class Options:
    """What was asked of a method; see `solve`."""

    method: str
    precision: float
    time_limit: float | None
    horizon: int | None
    progress: Progress | None
    warm_start: Solution | None
    seed: int


def solve(
    pomdp: POMDP,
    method: str = "auto",
    *,
    precision: float = 1e-3,
    time_limit: float | None = None,
    horizon: int | None = None,
    progress: Progress | None = None,
    warm_start: Solution | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Solution:
    """Bound the optimal value at the start belief, and find a policy that attains the lower bound.

    Parameters
    ----------
    pomdp : POMDP
    method : str
        "auto"; "sarsop" (heuristic search between two bounds), "pbvi", "perseus" (a lower bound by sweeps over sampled
        beliefs); "mdp", "qmdp", "fib" (fast upper bounds), "blind" (a fast lower bound); and with a horizon "epochs"
        (both bounds at the start) and "exact" (all vectors).
    precision : float
        Stop when upper - lower is no larger, in units of the value.
    time_limit : float, optional
        Seconds of wall time, compilation apart; the result says if it was reached. What cannot be cut short: taking
        the model apart, the first epoch of "exact" and its linear programs that are left to HiGHS, a sweep of
        "epochs"; and after a search, pruning its vectors (of at most three million entries) and a round of policy
        iteration, so that "sarsop" may take half as long again.
    horizon : int, optional
        Number of actions; by default the model's own.
    progress : callable, optional
        Called now and then with the seconds so far, the lower and the upper bound.
    warm_start : Solution, optional
        By "sarsop", for "sarsop": of a POMDP that differs in its rewards alone. Its beliefs and vectors are used again.
    seed : int
        Of all chance.
    report : callable, optional
        Called with a line when kernels have to be compiled, once per installation; by default the line goes to the
        logger "solvers", as information.

    Raises
    ------
    SolverError
        If the method is unknown or cannot solve this model, or an argument makes no sense.
    KeyboardInterrupt
        If Ctrl-C comes before there are bounds; from then on, what was found is returned, with `ended_by`
        "interrupted".

    Examples
    --------
    >>> from solvers.examples import tiger
    >>> solution = solve(tiger(), horizon=3)
    >>> print(solution.ended_by, round(solution.lower, 4))
    precision 2.3098
    """
    _check_types(pomdp, method, warm_start)
    _check_number("precision", precision)
    if time_limit is not None:
        _check_number("time_limit", time_limit)
    if horizon is not None:
        _check_whole("horizon", horizon, 1)
    _check_whole("seed", seed, 0)
    steps = pomdp.horizon if horizon is None else int(horizon)
    chosen = ("sarsop" if steps is None else "epochs") if method == "auto" else method
    if chosen not in _METHODS:
        raise SolverError(_no_such_method(method))
    of_horizon, run = _METHODS[chosen]
    if warm_start is not None and chosen != "sarsop":
        raise SolverError(f"method {chosen!r} cannot use warm_start; sarsop can")
    if report is None and _log.isEnabledFor(logging.INFO):
        report = _log.info
    if of_horizon and steps is None:
        raise SolverError(f"method {chosen!r} needs a horizon")
    if not of_horizon and steps is not None:
        whose = f"the model has one of {steps} steps" if horizon is None else f"{steps} steps were asked for"
        raise SolverError(f"method {chosen!r} knows no horizon, and {whose}; epochs and exact know one")
    with contextlib.nullcontext() if report is None else compilation_told(report):
        return run(pomdp, Options(chosen, precision, time_limit, steps, progress, warm_start, seed))


def _check_types(pomdp: object, method: object, warm_start: object) -> None:
    if isinstance(pomdp, str | PathLike):
        raise SolverError(f"solve needs a POMDP, not a path; read it first: solve(read({str(pomdp)!r}))")
    if not isinstance(pomdp, POMDP):
        raise SolverError(
            f"solve needs a POMDP, got {type(pomdp).__name__}; POMDP(transition=…, …) makes one of arrays"
        )
    if not isinstance(method, str):
        hint = "; precision is given by name, as precision=…" if isinstance(method, Real) else ""
        raise SolverError(f"method must be a name, got {method!r}{hint}")
    if warm_start is not None and not isinstance(warm_start, Solution):
        raise SolverError(f"warm_start must be a Solution, got {type(warm_start).__name__}")


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, Real) or isinstance(value, bool) or not float(value) > 0.0:
        raise SolverError(f"{name} must be a number above 0, got {value!r}")


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise SolverError(f"{name} must be a whole number, at least {least}, got {value!r}")


def _no_such_method(method: str) -> str:
    names = ["auto", *_METHODS]
    close = get_close_matches(method.lower(), names, 1)
    hint = f", perhaps {close[0]!r}" if close else ""
    return f"no method {method!r}{hint} (there are {', '.join(names)})"


# Finite horizons ------------------------------------------------------------------------------------------------


def _exact(pomdp: POMDP, options: Options) -> Solution:
    from solvers.exact import ExactEpoch, exact
    from solvers.search import compiling

    def told(epoch: ExactEpoch) -> None:
        if options.progress is not None:
            options.progress(epoch.elapsed_s, epoch.lower, epoch.upper)

    compile_s = compiling(_exact_once)
    found = exact(pomdp, options.horizon, time_limit=options.time_limit, progress=told)
    done = "" if found.horizon == options.horizon else f" (of {options.horizon} that were asked for)"
    return Solution(
        pomdp=pomdp,
        method="exact",
        lower=found.lower,
        upper=found.upper,
        policy=found.policy,
        guarantee=f"both bounds hold for {found.horizon} steps{done}; the policy is optimal to within them everywhere",
        ended_by=found.ended_by,
        horizon=found.horizon,
        elapsed_s=found.elapsed_s,
        compile_s=compile_s,
        history=(Bounds(found.elapsed_s, found.lower, found.upper),),
    )


def _epochs(pomdp: POMDP, options: Options) -> Solution:
    from solvers.epoch_solver import Round, solve_epochs
    from solvers.search import compiling, kept_from_interrupt

    compile_s = compiling(_epochs_once)
    model = pomdp.finite_horizon(options.horizon)
    history: list[Bounds] = []
    began = time.monotonic()

    def told(sweep: Round) -> None:
        history.append(Bounds(time.monotonic() - began, sweep.lower, sweep.upper))
        if options.progress is not None:
            options.progress(*history[-1])

    found = solve_epochs(model, gap=options.precision, time_limit=options.time_limit, progress=told)
    return Solution(
        pomdp=pomdp,
        method="epochs",
        lower=found.lower,
        upper=found.upper,
        policy=kept_from_interrupt(lambda: _by_steps_to_go(pomdp, found)),
        guarantee=f"both bounds hold for {options.horizon} steps, and the policy attains the lower one",
        ended_by="precision" if found.ended == "gap reached" else found.ended,
        horizon=options.horizon,
        elapsed_s=time.monotonic() - began,
        compile_s=compile_s,
        history=tuple(history),
    )


def _exact_once(pomdp: POMDP) -> None:
    from solvers.exact import exact

    exact(pomdp, 2)


def _epochs_once(pomdp: POMDP) -> None:
    from solvers.epoch_solver import solve_epochs

    solve_epochs(pomdp.finite_horizon(2))


def _by_steps_to_go(pomdp: POMDP, found: "EpochSolution") -> FiniteHorizonPolicy:
    """Vectors of every node as a policy for each number of steps to go; nodes are as in `POMDP.finite_horizon`."""
    factor = pomdp.observed
    Y = 1 if factor is None else int(factor.max()) + 1
    h = (found.model.n_nodes - 1) // Y
    start = None if factor is None else int(factor[pomdp.start.argmax()])
    actions_of, policies = found.first_actions(), []
    for t in reversed(range(h)):
        values = range(Y) if t or start is None else (start,)
        parts = []
        for y in values:
            node = t if factor is None else (1 + (t - 1) * Y + y if t else 0)
            states = np.arange(pomdp.n_states) if factor is None else np.flatnonzero(factor == y)
            vectors = found.vectors(node)
            spread = np.zeros((len(vectors), pomdp.n_states))
            spread[:, states] = vectors[:, : states.size]
            parts.append((spread, actions_of[node], np.full(len(vectors), y)))
        vectors, actions, seen = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        policies.append(AlphaVectorPolicy(pomdp, vectors, actions, None if factor is None else seen))
    return FiniteHorizonPolicy(tuple(policies))


# No horizon -----------------------------------------------------------------------------------------------------


def _sarsop(pomdp: POMDP, options: Options) -> Solution:
    """Search; where its time is not enough, the last of it goes to policy iteration, which lifts the lower bound."""
    from solvers.search import sarsop

    limit, improves = options.time_limit, pomdp.discount < 1.0 and pomdp.n_states <= _MOST_STATES_TO_IMPROVE
    found = sarsop(
        pomdp,
        precision=options.precision,
        time_limit=limit if limit is None or not improves else (1.0 - _SHARE_TO_IMPROVE) * limit,
        progress=options.progress,
        warm_start=options.warm_start,
    )
    try:
        assert isinstance(found.policy, AlphaVectorPolicy)
        found = _without_idle_vectors(found, found.policy, options.precision)
        if found.ended_by == "time limit" and improves and limit is not None:
            assert isinstance(found.policy, AlphaVectorPolicy)
            return _improved(found, found.policy, limit - found.elapsed_s)
    except KeyboardInterrupt:  # what was found is not lost to what would polish it
        return replace(found, ended_by="interrupted")
    return found


def _without_idle_vectors(found: Solution, policy: AlphaVectorPolicy, precision: float) -> Solution:
    """Without the vectors that are nowhere the best, where finding them is quick.

    Pruning by δ makes a policy worth γ δ / (1 - γ) less than its vectors say, at most: each V with V ≤ HV that loses δ
    still has V - δ ≤ H(V - δ) + γ δ. The lower bound counts that; a search leaves room for it (`search.SPARE`).
    """
    discount = found.pomdp.discount
    if policy.n_vectors * found.pomdp.n_states > _MOST_CELLS_TO_PRUNE or discount >= 1.0:
        return found
    most = _SHARE_TO_PRUNE * min(precision, found.gap)
    tolerance = most * (1.0 - discount)
    if tolerance < LEAST * float(abs(policy.vectors).max()):
        return found
    began = time.monotonic()
    pruned = policy.pruned(tolerance)
    lower = min(found.lower, pruned.value(found.pomdp.start) - most * discount)
    elapsed = found.elapsed_s + time.monotonic() - began
    return replace(found, policy=pruned, lower=lower, elapsed_s=elapsed)


def _improved(found: Solution, policy: AlphaVectorPolicy, seconds: float) -> Solution:
    """With a policy whose worth is known better, and may be more than the search had for certain."""
    from solvers.policy_iteration import improve

    began = time.monotonic()
    try:
        better = improve(policy, time_limit=max(0.6 * seconds, 1e-3))  # rounds grow longer
    except SolverError:  # the start leaves the value of an observed factor open, or an equation is not solved
        return found
    elapsed = found.elapsed_s + time.monotonic() - began
    if better.lower <= found.lower:
        return replace(found, elapsed_s=elapsed)
    bounds = Bounds(elapsed, better.lower, found.upper)
    return replace(found, policy=better.policy, lower=better.lower, elapsed_s=elapsed, history=(*found.history, bounds))


def _sweeps(pomdp: POMDP, options: Options) -> Solution:
    from solvers.sweeps import pbvi, perseus

    return {"pbvi": pbvi, "perseus": perseus}[options.method](
        pomdp,
        precision=options.precision,
        time_limit=options.time_limit,
        progress=options.progress,
        seed=options.seed,
    )


def _fast(pomdp: POMDP, options: Options) -> Solution:
    from solvers.bounds import FastMethod, fast_bound

    method: FastMethod = options.method  # type: ignore[assignment]  # the table below names these four
    return fast_bound(pomdp, method, precision=options.precision, time_limit=options.time_limit)


_METHODS: dict[str, tuple[bool, Callable[[POMDP, Options], Solution]]] = {
    "sarsop": (False, _sarsop),
    "pbvi": (False, _sweeps),
    "perseus": (False, _sweeps),
    "mdp": (False, _fast),
    "qmdp": (False, _fast),
    "fib": (False, _fast),
    "blind": (False, _fast),
    "epochs": (True, _epochs),
    "exact": (True, _exact),
}
"""Whether a method is for finite horizons, and what runs it."""
