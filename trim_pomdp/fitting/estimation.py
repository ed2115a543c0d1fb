"""Maximum (penalised) likelihood over any combination of terms, with profile and bootstrap intervals.

The joint log-likelihood is the sum of the terms. It is maximised within bounds by L-BFGS-B from several starts;
a profile interval holds every value of a parameter at which, with all others refitted, the log-likelihood stays
within χ²₁(level)/2 of its maximum. A parameter whose interval is wide against its range is reported as not
identified: the data leave it open.

With a prior (`trim_pomdp.fitting.priors`) estimates maximise log-likelihood + log prior density. Log-likelihoods that
are reported, and intervals, are those of the data alone, so that no prior passes for knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
# In standard deviations of the prior: over how far curvature is measured, and how far others may follow at most.
_NEAR, _FAR = 0.05, 3.0
# Half of what one standard deviation costs.
_HALF = 0.25
_TINY = 1e-9
_HALVINGS = 8
# What a search that goes on may still gain where it had arrived, in nats, and how steep it may be there.
_NOTHING = 1e-3
_EVEN = 0.1
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
        """All known parameters, be they free, fixed or tied."""
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
    """Go on from where a search stopped short; on even ground, with nothing to be gained, it had arrived."""
    again = _maximise(explanation, terms, best.point, precision=precision)
    if again.converged or again.value - best.value >= _NOTHING:
        return again
    lower, upper = bounds_of(explanation.free)
    scale = _scale(upper)
    free = dict(zip(explanation.free, again.point.tolist(), strict=True))
    slopes = _with_slopes(explanation, terms, free, scale)[1] * scale
    blocked = ((again.point <= lower) & (slopes < 0.0)) | ((again.point >= upper) & (slopes > 0.0))
    return replace(again, converged=bool(np.abs(np.where(blocked, 0.0, slopes)).max() < _EVEN))


def _scale(upper: FloatArray) -> FloatArray:
    """Of each parameter, so that all are of about the same size."""
    return np.where(upper > 10.0, 50.0, 1.0)


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
    scale = _scale(upper)

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
    """Parameters of which the prior tells more than the data do.

    The log-likelihood of the data is taken as quadratic around the estimates. A parameter is moved, up and down, to
    where the posterior has fallen by 1/2 (one standard deviation), the others following. Of that the data account for
    some part; the prior decides if it is less than half, either way. A side that ends at a bound before is no evidence.
    """
    names = estimate.explanation.free
    if estimate.prior is None or not names:
        return ()
    local = _Local.of(estimate)
    out = []
    for j in (j for j, name in enumerate(names) if name in PRIORS):
        moves = [move for side in (-1, 1) if (move := local.reach(j, side)) is not None]
        if max((local.data(j, 0.0) - local.data(j, move) for move in moves), default=np.inf) < _HALF:
            out.append(names[j])
    return tuple(out)


@dataclass(frozen=True)
class _Local:
    """Data and prior around estimates, in units of the prior's standard deviations.

    `slope` and `curvature` are those of the data's log-likelihood; `low` and `high` are bounds.
    """

    estimate: Estimate
    prior: Prior
    unit: FloatArray
    slope: FloatArray
    curvature: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, estimate: Estimate) -> _Local:
        assert estimate.prior is not None
        names, values = estimate.explanation.free, estimate.parameters
        unit = np.array([PRIORS[name].spread(name, values) if name in PRIORS else values[name] for name in names])
        at = np.array([estimate.free[name] for name in names])
        low, high = ((bound - at) / unit for bound in bounds_of(names))
        low, high = np.clip(low, -_FAR, 0.0), np.clip(high, 0.0, _FAR)
        slope, curvature = _quadratic(estimate.explanation, estimate.terms, at, unit, low, high)
        return cls(estimate, estimate.prior, unit, slope, curvature, low, high)

    def data(self, j: int, move: float) -> float:
        """Highest log-likelihood of the data where one parameter has been moved."""
        return self._highest(j, move, self._data)

    def reach(self, j: int, side: int) -> float | None:
        """Where the posterior has fallen by 1/2; None if that is nowhere before a bound of the parameter."""
        top, edge = self._highest(j, 0.0, self._posterior), float((self.low if side < 0 else self.high)[j])

        def fall(move: float) -> float:
            return top - self._highest(j, move, self._posterior)

        if edge == 0.0 or fall(edge) < 2.0 * _HALF:
            return edge if abs(edge) == _FAR else None
        inside, outside = 0.0, edge
        for _ in range(_HALVINGS):
            middle = 0.5 * (inside + outside)
            inside, outside = (inside, middle) if fall(middle) >= 2.0 * _HALF else (middle, outside)
        return outside

    def _data(self, u: FloatArray) -> tuple[float, FloatArray]:
        bend = self.curvature @ u
        return float(self.slope @ u + 0.5 * u @ bend), self.slope + bend

    def _posterior(self, u: FloatArray) -> tuple[float, FloatArray]:
        names = self.estimate.explanation.free
        at = np.array([self.estimate.free[name] for name in names]) + u * self.unit
        value, slopes = self.prior.slopes(
            self.estimate.explanation.complete(dict(zip(names, at.tolist(), strict=True)))
        )
        ours, bend = self._data(u)
        return ours + value, bend + np.array([slopes[name] for name in names]) * self.unit

    def _highest(self, j: int, move: float, function: Callable[[FloatArray], tuple[float, FloatArray]]) -> float:
        """Maximum over all other parameters."""
        free = np.arange(len(self.unit)) != j
        u = np.where(free, 0.0, move)

        def negative(x: FloatArray) -> tuple[float, FloatArray]:
            u[free] = x
            value, slopes = function(u)
            return -value, -slopes[free]

        bounds = self.low[free], self.high[free]
        return -minimise(negative, np.zeros(int(free.sum())), bounds, gradient=True, precision=ROUGH).value


def _quadratic(
    explanation: Explanation,
    terms: Sequence[Term],
    at: FloatArray,
    unit: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Slope and curvature, which is nowhere upwards, of the terms at a point, in the given units and within bounds."""
    names = explanation.free
    scale = _scale(bounds_of(names)[1])

    def slopes(u: FloatArray) -> FloatArray:
        free = dict(zip(names, (at + u * unit).tolist(), strict=True))
        return _with_slopes(explanation, terms, free, scale)[1] * unit

    rows = []
    for j, step in enumerate(np.eye(len(names))):
        below, above = max(low[j], -_NEAR), min(high[j], _NEAR)
        rows.append((slopes(above * step) - slopes(below * step)) / max(above - below, _TINY))
    values, vectors = np.linalg.eigh(0.5 * (np.array(rows) + np.array(rows).T))
    return slopes(np.zeros(len(names))), np.asarray((vectors * np.minimum(values, 0.0)) @ vectors.T)


def is_identified(name: str, low: float, high: float) -> bool:
    """Whether an interval pins a parameter down: a probability within .25, a positive number within a factor of 3.

    Of a slope in log-odds, within .25 or a factor of 3.
    """
    if name.endswith("slope") and low * high > 0.0:
        near, far = sorted((abs(low), abs(high)))
        return high - low <= WIDE_PROBABILITY or far <= _WIDE_FACTOR * near
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
