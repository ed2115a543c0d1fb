"""Maximum (penalised) likelihood over any combination of terms, with profile and bootstrap intervals.

The joint log-likelihood is the sum of the terms. It is maximised within bounds by L-BFGS-B from several starts;
a profile interval holds every value of a parameter at which, with all others refitted, the log-likelihood stays
within χ²₁(level)/2 of its maximum. A parameter whose interval is wide against its range is reported as not
identified: the data leave it open.

With a prior (`trim_pomdp.fitting.priors`) estimates maximise log-likelihood + log prior density. Log-likelihoods that
are reported, and intervals, are those of the data alone, so that no prior passes for knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from trim_pomdp.errors import InputError
from trim_pomdp.fitting.likelihood import SmoothTerm, Term
from trim_pomdp.fitting.optimise import Optimum, minimise
from trim_pomdp.fitting.parameters import PARAMETERS, Explanation, bounds_of
from trim_pomdp.fitting.priors import PRIORS, Prior
from trim_pomdp.model.dynamics import Interval

FloatArray = NDArray[np.float64]
# Of differences, for terms that do not know their slopes.
_STEP = 1e-6
# Not identified: a probability with an interval wider than this, or a positive number known to less than a factor.
WIDE_PROBABILITY = 0.25
_WIDE_FACTOR = 3.0
# How well the end of an interval is located, as a share of its distance from the estimate.
_END_TOLERANCE = 0.03
# In standard deviations of the prior: over how far curvature is measured, and how far others may follow.
_NEAR, _FAR = 0.05, 3.0
# Log-likelihood within which the data leave a parameter open: what one standard error costs.
_OPEN = 0.5
# What a search that goes on may still gain where it had arrived, in nats.
_NOTHING = 1e-3
# Relative precision of the log-likelihood along a profile, or on a bootstrap sample: 1e-4 where it is in the thousands.
ROUGH = 3e-8


@dataclass(frozen=True)
class Estimate:
    """A maximum-likelihood fit of one explanation.

    Attributes
    ----------
    explanation : Explanation
        With its free parameters reduced to those that some term informs.
    terms : tuple of Term
        The data.
    free : dict of str to float
        Estimates of the free parameters.
    log_likelihood : float
        Of the data, at the estimates.
    prior : Prior or None
        What else was maximised.
    trouble : str or None
        What the optimiser says where it did not converge.
    """

    explanation: Explanation
    terms: tuple[Term, ...]
    free: dict[str, float]
    log_likelihood: float
    prior: Prior | None = None
    trouble: str | None = None

    @property
    def parameters(self) -> dict[str, float]:
        """All known parameters: free, fixed and tied ones."""
        return self.explanation.complete(self.free)


def fit(
    explanation: Explanation,
    terms: Sequence[Term],
    *,
    start: dict[str, float] | None = None,
    n_starts: int = 6,
    seed: int = 0,
    precision: float = 1e-11,
    prior: bool = False,
) -> Estimate:
    """Fit an explanation to the sum of the terms' log-likelihoods.

    Parameters
    ----------
    start : dict, optional
        Where to begin (defaults otherwise).
    n_starts : int
        Number of starting points, the first being `start`, the others random.
    seed : int
        Of the random starting points.
    precision : float
        Relative precision of the log-likelihood at which to stop.
    prior : bool
        Whether to add the log-density of the prior.

    Raises
    ------
    InputError
        If there is no term.
    """
    if not terms:
        raise InputError("nothing to fit the dynamics on: give step counts, sequences, labelled steps or a pilot")
    informed = frozenset().union(*(term.informs for term in terms))
    names = tuple(name for name in explanation.free if _matters(name, informed, explanation))
    reduced = replace(explanation, free=names)
    lower, upper = bounds_of(names)
    first = np.array([(start or {}).get(name, _start(name)) for name in names])
    rng = np.random.default_rng(seed)
    penalty = Prior(names) if prior else None
    objective = [*terms, *([penalty] if penalty else ())]
    best: Optimum | None = None
    for trial in range(max(n_starts, 1)):
        begin = first if trial == 0 else _random_start(rng, names, first)
        found = _maximise(reduced, objective, np.clip(begin, lower, upper), precision=precision)
        if best is None or found.value > best.value:
            best = found
    assert best is not None
    if not best.converged:
        best = _once_more(reduced, objective, best, precision=precision)
    free = dict(zip(names, best.point.tolist(), strict=True))
    value = best.value if penalty is None else best.value - penalty.log_likelihood(reduced.complete(free))
    return Estimate(reduced, tuple(terms), free, value, penalty, None if best.converged else best.message)


def _once_more(explanation: Explanation, terms: Sequence[Term], best: Optimum, *, precision: float) -> Optimum:
    """Go on from where a search stopped short; where nothing is to be gained any more, it had arrived."""
    again = _maximise(explanation, terms, best.point, precision=precision)
    return replace(again, converged=again.converged or again.value - best.value < _NOTHING)


def _matters(name: str, informed: frozenset[str], explanation: Explanation) -> bool:
    followers = {follower for follower, leader in explanation.tied.items() if leader == name}
    return name in informed or bool(followers & informed)


def _start(name: str) -> float:
    return PARAMETERS[name][2]


def _random_start(rng: np.random.Generator, names: tuple[str, ...], first: FloatArray) -> FloatArray:
    out = first.copy()
    for i, name in enumerate(names):
        if "tokens" not in name:
            low, high, _ = PARAMETERS[name]
            out[i] = first[i] + rng.uniform(-0.35, 0.35) * min(high - low, 1.0)
    return out


def _maximise(explanation: Explanation, terms: Sequence[Term], begin: FloatArray, *, precision: float) -> Optimum:
    """The largest sum of the terms from one starting point, and where it is."""
    names = explanation.free
    if not names:
        return Optimum(begin, _log_likelihood(explanation, terms, {}), True, "nothing to choose")
    lower, upper = bounds_of(names)
    scale = np.where(upper > 10.0, 50.0, 1.0)

    def negative(x: FloatArray) -> tuple[float, FloatArray]:
        value, slopes = _with_slopes(explanation, terms, dict(zip(names, (x * scale).tolist(), strict=True)), scale)
        return -value, -slopes * scale

    found = minimise(negative, begin / scale, (lower / scale, upper / scale), gradient=True, precision=precision)
    return replace(found, point=found.point * scale, value=-found.value)


def _log_likelihood(explanation: Explanation, terms: Sequence[Term], free: dict[str, float]) -> float:
    complete = explanation.complete(free)
    return sum(term.log_likelihood(complete) for term in terms)


def _with_slopes(
    explanation: Explanation, terms: Sequence[Term], free: dict[str, float], scale: FloatArray
) -> tuple[float, FloatArray]:
    """Joint log-likelihood and its slopes in the free parameters, shape (n,)."""
    complete = explanation.complete(free)
    known = [term.slopes(complete) for term in terms if _is_smooth(term)]
    rest = [term for term in terms if not _is_smooth(term)]
    value = sum(item for item, _ in known)
    # A parameter moves those that are tied to it.
    slopes = np.array(
        [sum(by.get(key, 0.0) for _, by in known for key in _moved(explanation, name)) for name in free],
        dtype=np.float64,
    )
    if rest:
        here = _log_likelihood(explanation, rest, free)
        value += here
        for i, (name, at) in enumerate(free.items()):
            step = _STEP * scale[i] * (1.0 if at + _STEP * scale[i] <= PARAMETERS[name][1] else -1.0)
            slopes[i] += (_log_likelihood(explanation, rest, {**free, name: at + step}) - here) / step
    return value, slopes


def _is_smooth(term: Term) -> TypeGuard[SmoothTerm]:
    # Checking all of a protocol takes as long as a small term itself.
    return hasattr(term, "slopes")


def _moved(explanation: Explanation, name: str) -> list[str]:
    """The parameter, and those tied to it."""
    return [name, *(follower for follower, leader in explanation.tied.items() if leader == name)]


def profile_intervals(
    estimate: Estimate,
    *,
    names: Sequence[str] | None = None,
    level: float = 0.95,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Interval]:
    """Profile-likelihood interval of every free parameter.

    Parameters
    ----------
    names : sequence of str, optional
        Only these parameters.
    progress : callable, optional
        Called with the name of each parameter before its interval is computed.
    """
    drop = float(chi2.ppf(level, 1)) / 2.0
    out = {}
    alone = without_prior(estimate)
    for name in estimate.explanation.free if names is None else names:
        if progress is not None:
            progress(name)
        low, high = (_profile_end(alone, name, drop, side) for side in (-1, 1))
        value = estimate.free[name]
        out[name] = Interval(
            estimate=value,
            low=min(low, value),
            high=max(high, value),
            level=level,
            method="profile",
            identified=is_identified(name, low, high),
        )
    return out


def without_prior(estimate: Estimate) -> Estimate:
    """What the data alone say, from the estimates on."""
    if estimate.prior is None:
        return estimate
    return fit(estimate.explanation, estimate.terms, start=estimate.free, n_starts=1)


def prior_decides(estimate: Estimate) -> tuple[str, ...]:
    """Parameters that the prior decides: those that the data, by themselves, leave open by its standard deviation.

    The data's log-likelihood is taken as quadratic around the estimates. A parameter is decided by the prior if it can
    be moved by one standard deviation of the prior (up or down, within its bounds), the others following, and stay
    within 1/2 of the maximum: the data then know it worse than the prior does.
    """
    names = estimate.explanation.free
    if estimate.prior is None or not names:
        return ()
    at = np.array([estimate.free[name] for name in names])
    spread = np.array([_prior_spread(name, estimate.parameters) for name in names])
    lower, upper = ((bound - at) / spread for bound in bounds_of(names))
    box = np.clip(lower, -_FAR, 0.0), np.clip(upper, 0.0, _FAR)
    slope, curvature = _quadratic(estimate, at, spread, box)

    def fall(free: NDArray[np.bool_], held: FloatArray) -> float:
        """How far the quadratic is below its value at the estimates, at most favourable values of what is free."""

        def value(x: FloatArray) -> tuple[float, FloatArray]:
            u = held.copy()
            u[free] = x
            return -float(slope @ u + 0.5 * u @ curvature @ u), -(slope + curvature @ u)[free]

        return minimise(value, np.zeros(int(free.sum())), (box[0][free], box[1][free]), gradient=True).value

    top = fall(np.ones(len(names), dtype=np.bool_), np.zeros(len(names)))
    out = []
    for j, name in enumerate(names):
        room = -box[0][j], box[1][j]
        moves = [move for move in (-min(room[0], 1.0), min(room[1], 1.0)) if abs(move) >= min(1.0, max(room))]
        held = [np.where(np.arange(len(names)) == j, move, 0.0) for move in moves]
        if name in PRIORS and any(fall(np.arange(len(names)) != j, item) - top < _OPEN for item in held):
            out.append(name)
    return tuple(out)


def _prior_spread(name: str, values: Mapping[str, float]) -> float:
    return PRIORS[name].spread(name, values) if name in PRIORS else values[name]


def _quadratic(
    estimate: Estimate, at: FloatArray, unit: FloatArray, box: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Slope and curvature of the data's log-likelihood at the estimates, in units of each parameter."""
    names = estimate.explanation.free
    scale = np.where(bounds_of(names)[1] > 10.0, 50.0, 1.0)

    def slopes(u: FloatArray) -> FloatArray:
        free = dict(zip(names, (at + u * unit).tolist(), strict=True))
        return _with_slopes(estimate.explanation, estimate.terms, free, scale)[1] * unit

    rows = []
    for j, step in enumerate(np.eye(len(names))):
        below, above = max(box[0][j], -_NEAR), min(box[1][j], _NEAR)
        rows.append((slopes(above * step) - slopes(below * step)) / max(above - below, 1e-9))
    curvature = 0.5 * (np.array(rows) + np.array(rows).T)
    values, vectors = np.linalg.eigh(curvature)
    return slopes(np.zeros(len(names))), np.asarray((vectors * np.minimum(values, 0.0)) @ vectors.T)


def is_identified(name: str, low: float, high: float) -> bool:
    """Whether an interval pins a parameter down: a probability within .25, a positive number within a factor of 3."""
    positive = "tokens" in name if name not in PARAMETERS else PARAMETERS[name][1] > 1.0
    if not positive:
        return high - low <= WIDE_PROBABILITY
    return high <= _WIDE_FACTOR * low


def _profile_end(estimate: Estimate, name: str, drop: float, side: int) -> float:
    """The value on one side of the estimate where the profile has fallen by `drop`, or the bound."""
    bound = PARAMETERS[name][0 if side < 0 else 1]
    centre = estimate.free[name]
    others = {key: value for key, value in estimate.free.items() if key != name}
    order = tuple(others)

    def loss(value: float) -> float:
        nonlocal others
        held = estimate.explanation.fixing(**{name: value})
        begin = np.array([others[key] for key in order])
        found = _maximise(held, estimate.terms, begin, precision=ROUGH)
        others = dict(zip(order, found.point.tolist(), strict=True))
        return estimate.log_likelihood - found.value

    step = 0.02 * max(abs(centre), 0.1)
    inside, outside = centre, centre
    while True:
        outside = inside + side * step
        if side * (outside - bound) >= 0:
            outside = bound
        value = loss(outside)
        if value >= drop:
            break
        if outside == bound:
            return bound
        inside, step = outside, 2.0 * step
    while abs(outside - inside) > _END_TOLERANCE * max(abs(outside - centre), 1e-3):
        middle = 0.5 * (inside + outside)
        if loss(middle) >= drop:
            outside = middle
        else:
            inside = middle
    return 0.5 * (inside + outside)


def bootstrap_intervals(
    refit: Callable[[np.random.Generator], dict[str, float]],
    estimate: dict[str, float],
    *,
    level: float = 0.95,
    n: int = 100,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals from `n` refits on resampled data.

    Parameters
    ----------
    refit : callable
        Resamples the data with the generator it is given, and returns the free parameters fitted to them.
    estimate : dict
        Estimates on the data themselves.
    """
    rng = np.random.default_rng(seed)
    draws = [refit(rng) for _ in range(n)]
    tail = (1.0 - level) / 2.0
    out = {}
    for name, value in estimate.items():
        low, high = np.quantile([draw[name] for draw in draws], [tail, 1.0 - tail])
        out[name] = Interval(
            estimate=value,
            low=float(min(low, value)),
            high=float(max(high, value)),
            level=level,
            method="bootstrap",
            identified=is_identified(name, float(low), float(high)),
        )
    return out
