r"""Weakly informative priors: where the parameters of any pair of models live, as a penalty on the log-likelihood.

Fits maximise :math:`\ell(\theta) + \log \pi(\theta)`. Each free parameter has one factor of :math:`\pi`, given those
that it is compared with; fixed and tied ones have none. Shares have the density of so many right and wrong trials,
:math:`x^{right}(1-x)^{wrong}`, and positive numbers a normal one on the log scale:

=====================  ==============================================  =========================================
parameter              is a share, or a log ratio, x                   density of x
=====================  ==============================================  =========================================
p_w                    p_w                                             3 right, 1/2 wrong
p_s                    (p_s − p_w) / (1 − p_w)                         2 right, 1/10 wrong
p_r                    p_r / p_s                                       1 right, 1/2 wrong
e                      e                                               0 right, 3 wrong
d                      d                                               0 right, 9 wrong
ρ                      ρ                                               0 right, 20 wrong
p_d                    logit p_d − logit p_w                           N(0, 1.5²)
slope of p_w           the slope itself, in log-odds a step            N(0, 0.3²)
h' / h                 log(h' / h)                                     N(0, 1²)
weak tokens            log of (derailed, wrong) / right                N(0, 0.7²) each
strong tokens, right   log of strong / weak, both where it was right   N(0, 0.5²)
strong tokens, others  log of that ratio, against the one where right  N(0, 0.5²) each
=====================  ==============================================  =========================================

Why: the strong model writes a right step no less often than the weak one where that was right, and it repairs no more
often than that; a score model that is of use misses few errors; steps of one kind of problem are about as long,
whoever writes them. Below `_EDGE` the logarithm of a share goes on as a straight line, so that the penalty is finite
everywhere and more than enough data can overrule even an order.

The prior is as strong as a handful of steps, and data are hundreds. Where it decides all the same is told
(`trim_pomdp.fitting.estimation.prior_decides`), and intervals are those of the data alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Parameters = Mapping[str, float]
# Below this the logarithm of a share goes on as its tangent.
_EDGE = 1e-3
_TINY = 1e-9


@dataclass(frozen=True)
class Share:
    """A share with the density of so many right and wrong trials.

    Attributes
    ----------
    right, wrong : float
        Number of trials.
    low, high : str or None
        Parameters between which it lies; 0 and 1 by default.
    """

    right: float
    wrong: float
    low: str | None = None
    high: str | None = None

    def log_density(self, name: str, values: Parameters) -> tuple[float, dict[str, float]]:
        """Log-density of a parameter, up to a constant, and its slopes in all that it depends on."""
        low, width = self._span(values)
        share = (values[name] - low) / width
        (up, rise), (down, fall) = _log(share), _log(1.0 - share)
        slope = (self.right * rise - self.wrong * fall) / width
        slopes = {name: slope}
        if self.low:
            slopes[self.low] = -(1.0 - share) * slope
        if self.high:
            slopes[self.high] = -share * slope
        return self.right * up + self.wrong * down, slopes

    def spread(self, name: str, values: Parameters) -> float:
        """Standard deviation of the parameter, given what it is compared with."""
        a, b = self.right + 1.0, self.wrong + 1.0
        return self._span(values)[1] * math.sqrt(a * b / (a + b + 1.0)) / (a + b)

    def _span(self, values: Parameters) -> tuple[float, float]:
        low = values[self.low] if self.low else 0.0
        high = values[self.high] if self.high else 1.0
        return low, max(high - low, _TINY)


@dataclass(frozen=True)
class Normal:
    """A normal number: the parameter on its scale, less what it is compared with.

    Attributes
    ----------
    deviation : float
        Standard deviation, around 0.
    scale : {"log", "logit", "plain"}
        On which parameters are compared.
    against : mapping
        Signs of the other parameters.
    alone : Normal or None
        Stands in where not all of the others are known; with None there is no factor then.
    """

    deviation: float
    scale: Literal["log", "logit", "plain"]
    against: Mapping[str, float] = field(default_factory=dict)
    alone: Normal | None = None

    def log_density(self, name: str, values: Parameters) -> tuple[float, dict[str, float]]:
        """Log-density of a parameter, up to a constant, and its slopes in all that it depends on."""
        if any(other not in values for other in self.against):
            return (0.0, {}) if self.alone is None else self.alone.log_density(name, values)
        signs = {name: 1.0, **self.against}
        scaled = {key: _scaled(self.scale, values[key]) for key in signs}
        number = sum(sign * scaled[key][0] for key, sign in signs.items()) / self.deviation
        slopes = {key: -number / self.deviation * sign * scaled[key][1] for key, sign in signs.items()}
        return -0.5 * number**2, slopes

    def spread(self, name: str, values: Parameters) -> float:
        """Standard deviation of the parameter, given what it is compared with, to first order."""
        return self.deviation / _scaled(self.scale, values[name])[1]


def _log(x: float) -> tuple[float, float]:
    """Logarithm of a share and its slope; a straight line near 0 and below."""
    return (math.log(x), 1.0 / x) if x > _EDGE else (math.log(_EDGE) + (x - _EDGE) / _EDGE, 1.0 / _EDGE)


def _scaled(scale: str, x: float) -> tuple[float, float]:
    """Value and slope of a parameter on a scale."""
    if scale == "plain":
        return x, 1.0
    if scale == "log":
        return math.log(max(x, _TINY)), 1.0 / max(x, _TINY)
    p = min(max(x, _EDGE), 1.0 - _EDGE)
    return math.log(p) - math.log1p(-p) + (x - p) / (p * (1.0 - p)), 1.0 / (p * (1.0 - p))


_CLASSES = Normal(0.7, "log", {"strong_tokens.right": -1.0})


def _like_the_weak(name: str) -> Normal:
    """Strong tokens of a class against those of right steps, next to the same of the weak model."""
    weak = {f"weak_tokens.{name}": -1.0, "weak_tokens.right": 1.0}
    return Normal(0.5, "log", {"strong_tokens.right": -1.0, **weak}, alone=_CLASSES)


PRIORS: dict[str, Share | Normal] = {
    "weak_success": Share(3.0, 0.5),
    "strong_success": Share(2.0, 0.1, low="weak_success"),
    "repair": Share(1.0, 0.5, high="strong_success"),
    "false_alarms": Share(0.0, 3.0),
    "misses": Share(0.0, 9.0),
    "recovery": Share(0.0, 20.0),
    "look_right": Normal(1.5, "logit", {"weak_success": -1.0}),
    "weak_success_slope": Normal(0.3, "plain"),
    "derailed_hazard_factor": Normal(1.0, "log"),
    "weak_tokens.derailed": Normal(0.7, "log", {"weak_tokens.right": -1.0}),
    "weak_tokens.wrong": Normal(0.7, "log", {"weak_tokens.right": -1.0}),
    "strong_tokens.right": Normal(0.5, "log", {"weak_tokens.right": -1.0}),
    "strong_tokens.derailed": _like_the_weak("derailed"),
    "strong_tokens.wrong": _like_the_weak("wrong"),
}
"""Factor of each parameter; tokens of a weak right step have none, since every column of weak tokens tells them."""


@dataclass(frozen=True)
class Prior:
    """Prior of the free parameters of a fit: a `trim_pomdp.fitting.likelihood.SmoothTerm` with no data behind it.

    Attributes
    ----------
    free : tuple of str
        Parameters that are estimated.
    """

    free: tuple[str, ...]
    name: str = "prior"

    @property
    def informs(self) -> frozenset[str]:
        """Nothing, as a parameter that only the prior knows of is not estimated."""
        return frozenset()

    def log_likelihood(self, parameters: Parameters) -> float:
        """Log-density, up to a constant."""
        return self.slopes(parameters)[0]

    def slopes(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        """Log-density, up to a constant, and its slopes."""
        total, slopes = 0.0, dict.fromkeys(self.free, 0.0)
        for name in self.free:
            if name in PRIORS:
                value, by = PRIORS[name].log_density(name, parameters)
                total += value
                for key, slope in by.items():
                    slopes[key] = slopes.get(key, 0.0) + slope
        return total, slopes
