r"""Weakly informative priors: where the parameters of any pair of models live, as a penalty on the log-likelihood.

Fits maximise :math:`\ell(\theta) + \log \pi(\theta)`. Each free parameter has one factor of :math:`\pi`, given those that
it is compared with; fixed and tied ones have none. Shares have the density of `right` right and `wrong` wrong trials,
:math:`x^{right}(1-x)^{wrong}`, and positive numbers a normal one on the log scale:

=====================  ==============================================  =========================================
parameter              is a share, or a log ratio, x                   density of x
=====================  ==============================================  =========================================
p_w                    p_w                                             3 right, 1/2 wrong
p_s                    (p_s − p_w) / (1 − p_w)                         2 right, 1/4 wrong
p_r                    p_r / p_s                                       1 right, 1/4 wrong
e                      e                                               0 right, 3 wrong
d                      d                                               0 right, 9 wrong
ρ                      ρ                                               0 right, 20 wrong
p_d                    logit p_d − logit p_w                           N(0, 1.5²)
slope of p_w           the slope itself, in log-odds a step            N(0, 0.3²)
h' / h                 log(h' / h)                                     N(0, 1²)
weak tokens            log of (derailed, wrong) / right                N(0, 0.5²) each
strong tokens, right   log of strong / weak, both where it was right   N(0, 0.5²)
strong tokens, others  log of that ratio, against the one where right  N(0, 0.3²) each
=====================  ==============================================  =========================================

Why: the strong model writes a right step no less often than the weak one where that was right, and it repairs no more
often than that; a score model that is of use misses few errors; steps of one kind of problem are about as long,
whoever writes them. Below `_EDGE` the logarithm of a share goes on as a straight line, so that the penalty is finite
everywhere and more than enough data can overrule even an order.

The prior is as strong as a handful of steps, and data are hundreds. Where it decides all the same is told
(`decided_by_prior`), and intervals are those of the data alone (`trim_pomdp.fitting.estimation`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Parameters = Mapping[str, float]
# Below this a logarithm goes on as its tangent.
_EDGE = 1e-3
# Standard deviations of the normal factors.
_LOOK_RIGHT, _SLOPE, _HAZARD_FACTOR, _CLASS_TOKENS, _MODEL_TOKENS, _LIKE_TOKENS = 1.5, 0.3, 1.0, 0.5, 0.5, 0.3


@dataclass(frozen=True)
class Share:
    """A share with the density of so many right and wrong trials.

    Attributes
    ----------
    right, wrong : float
        Number of trials.
    low, high : str or None
        Parameters between which the share lies: 0 and 1 by default.
    """

    right: float
    wrong: float
    low: str | None = None
    high: str | None = None

    def log_density(self, name: str, values: Parameters) -> float:
        """Log-density of a parameter, up to a constant."""
        low, width = self._span(values)
        share = (values[name] - low) / width
        return self.right * _log(share) + self.wrong * _log(1.0 - share)

    def spread(self, name: str, values: Parameters) -> float:
        """Standard deviation of the parameter, given what it is compared with."""
        a, b = self.right + 1.0, self.wrong + 1.0
        return self._span(values)[1] * math.sqrt(a * b / (a + b + 1.0)) / (a + b)

    def _span(self, values: Parameters) -> tuple[float, float]:
        low = values[self.low] if self.low else 0.0
        high = values[self.high] if self.high else 1.0
        return low, max(high - low, 1e-9)


@dataclass(frozen=True)
class Normal:
    """A normal number.

    Attributes
    ----------
    deviation : float
        Its standard deviation, around 0.
    number : callable
        From the name of the parameter and all values to that number.
    slope : callable
        Derivative of the number in the parameter, by its value.
    """

    deviation: float
    number: Callable[[str, Parameters], float]
    slope: Callable[[float], float]

    def log_density(self, name: str, values: Parameters) -> float:
        """Log-density of a parameter, up to a constant."""
        return -0.5 * (self.number(name, values) / self.deviation) ** 2

    def spread(self, name: str, values: Parameters) -> float:
        """Standard deviation of the parameter, given what it is compared with, to first order."""
        return self.deviation / self.slope(values[name])


def _log(x: float) -> float:
    return math.log(x) if x > _EDGE else math.log(_EDGE) + (x - _EDGE) / _EDGE


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1.0 - 1e-6)
    return math.log(p) - math.log1p(-p)


def _look_right(name: str, values: Parameters) -> float:
    return _logit(values[name]) - _logit(values["weak_success"])


def _class_ratio(name: str, values: Parameters) -> float:
    """Log tokens of a class over those of right steps."""
    return math.log(values[name] / values[f"{name.partition('.')[0]}.right"])


def _model_ratio(name: str, values: Parameters) -> float:
    """Log tokens of the strong model over those of the weak one; 0 if nothing tells the weak one's."""
    weak = values.get(name.replace("strong", "weak"))
    return 0.0 if weak is None else math.log(values[name] / weak)


def _like_ratio(name: str, values: Parameters) -> float:
    """How much longer than where the weak step was right, beyond the weak model's own; by itself if that is unknown."""
    weak = name.replace("strong", "weak")
    return _class_ratio(name, values) - (_class_ratio(weak, values) if weak in values else 0.0)


def _inverse(value: float) -> float:
    return 1.0 / value


PRIORS: dict[str, Share | Normal] = {
    "weak_success": Share(3.0, 0.5),
    "strong_success": Share(2.0, 0.25, low="weak_success"),
    "repair": Share(1.0, 0.25, high="strong_success"),
    "false_alarms": Share(0.0, 3.0),
    "misses": Share(0.0, 9.0),
    "recovery": Share(0.0, 20.0),
    "look_right": Normal(_LOOK_RIGHT, _look_right, lambda p: 1.0 / max(p * (1.0 - p), 1e-6)),
    "weak_success_slope": Normal(_SLOPE, lambda name, values: values[name], lambda _: 1.0),
    "derailed_hazard_factor": Normal(_HAZARD_FACTOR, lambda name, values: math.log(values[name]), _inverse),
    "weak_tokens.derailed": Normal(_CLASS_TOKENS, _class_ratio, _inverse),
    "weak_tokens.wrong": Normal(_CLASS_TOKENS, _class_ratio, _inverse),
    "strong_tokens.right": Normal(_MODEL_TOKENS, _model_ratio, _inverse),
    "strong_tokens.derailed": Normal(_LIKE_TOKENS, _like_ratio, _inverse),
    "strong_tokens.wrong": Normal(_LIKE_TOKENS, _like_ratio, _inverse),
}
"""Factor of each parameter; the tokens of a weak right step have none, since every token column tells them."""


@dataclass(frozen=True)
class Prior:
    """The prior of the free parameters of a fit: a `trim_pomdp.fitting.likelihood.Term` that no data are behind.

    Attributes
    ----------
    free : tuple of str
        Parameters that are estimated.
    """

    free: tuple[str, ...]
    name: str = "prior"

    @property
    def informs(self) -> frozenset[str]:
        """Nothing: a parameter that only the prior knows of is not estimated."""
        return frozenset()

    def log_likelihood(self, parameters: Parameters) -> float:
        """Log-density, up to a constant."""
        return sum(PRIORS[name].log_density(name, parameters) for name in self.free if name in PRIORS)
