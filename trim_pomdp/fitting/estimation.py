"""Maximum likelihood over any combination of terms, with profile and bootstrap intervals.

The joint log-likelihood is the sum of the terms. It is maximised within bounds by L-BFGS-B from several starts;
a profile interval holds every value of a parameter at which, with all others refitted, the log-likelihood stays
within χ²₁(level)/2 of its maximum. A parameter whose interval is wide against its range is reported as not
identified: the data leave it open.
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
from trim_pomdp.fitting.optimise import minimise
from trim_pomdp.fitting.parameters import PARAMETERS, Explanation, bounds_of
from trim_pomdp.model.dynamics import Interval

FloatArray = NDArray[np.float64]
# Of differences, for terms that do not know their slopes.
_STEP = 1e-6
# Not identified: a probability with an interval wider than this, or a positive number known to less than a factor.
WIDE_PROBABILITY = 0.25
_WIDE_FACTOR = 3.0
# How well the end of an interval is located, as a share of its distance from the estimate.
_END_TOLERANCE = 0.03
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
        At the estimates.
    """

    explanation: Explanation
    terms: tuple[Term, ...]
    free: dict[str, float]
    log_likelihood: float

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
    best: tuple[float, FloatArray] | None = None
    for trial in range(max(n_starts, 1)):
        begin = first if trial == 0 else _random_start(rng, names, first)
        found = _maximise(reduced, terms, np.clip(begin, lower, upper), precision=precision)
        if best is None or found[0] > best[0]:
            best = found
    assert best is not None
    return Estimate(reduced, tuple(terms), dict(zip(names, best[1].tolist(), strict=True)), best[0])


def _matters(name: str, informed: frozenset[str], explanation: Explanation) -> bool:
    followers = {follower for follower, leader in explanation.tied.items() if leader == name}
    return name in informed or bool(followers & informed)


def _start(name: str) -> float:
    # A spread of exactly zero is a saddle: its derivative vanishes there.
    return 0.5 if name == "difficulty_spread" else PARAMETERS[name][2]


def _random_start(rng: np.random.Generator, names: tuple[str, ...], first: FloatArray) -> FloatArray:
    out = first.copy()
    for i, name in enumerate(names):
        if "tokens" not in name:
            low, high, _ = PARAMETERS[name]
            out[i] = first[i] + rng.uniform(-0.35, 0.35) * min(high - low, 1.0)
    return out


def _maximise(
    explanation: Explanation, terms: Sequence[Term], begin: FloatArray, *, precision: float
) -> tuple[float, FloatArray]:
    names = explanation.free
    if not names:
        return _log_likelihood(explanation, terms, {}), begin
    lower, upper = bounds_of(names)
    scale = np.where(upper > 10.0, 50.0, 1.0)

    def negative(x: FloatArray) -> tuple[float, FloatArray]:
        value, slopes = _with_slopes(explanation, terms, dict(zip(names, (x * scale).tolist(), strict=True)), scale)
        return -value, -slopes * scale

    found = minimise(negative, begin / scale, (lower / scale, upper / scale), gradient=True, precision=precision)
    return -found.value, found.point * scale


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
    for name in estimate.explanation.free if names is None else names:
        if progress is not None:
            progress(name)
        low, high = (_profile_end(estimate, name, drop, side) for side in (-1, 1))
        out[name] = Interval(
            estimate=estimate.free[name],
            low=low,
            high=high,
            level=level,
            method="profile",
            identified=is_identified(name, low, high),
        )
    return out


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
        found, x = _maximise(held, estimate.terms, begin, precision=ROUGH)
        others = dict(zip(order, x.tolist(), strict=True))
        return estimate.log_likelihood - found

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
