"""Routers against another one at the same cost, paired over problems, and corrected for how many are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.metrics.curves import CurveMethod, check_choice, observed_curve
from trim_pomdp.metrics.outcomes import Means, Outcomes, resampled
from trim_pomdp.metrics.resampling import Scale, scales_of

FloatArray = NDArray[np.float64]
Correction = Literal["holm", "max-t", "none"]
_ROUNDING = 1e-12  # curves that agree, as all do at strong-only's cost, may differ by so little


@dataclass(frozen=True)
class Comparison:
    """Difference in accuracy of two routers at the same cost.

    Attributes
    ----------
    router, against : str
        Which two.
    cost : float
        At which, in units of strong-only's.
    accuracy, accuracy_against : float
        On the curves of both.
    difference : float
        The first less the second.
    low, high : float
        Its interval: all of the family hold at once (``max-t``, unless that was not wanted), or each by itself
        (percentiles).
    p, p_adjusted : float
        Two-sided p-values of no difference, by itself and corrected for the family.
    level : float
        Of the interval.
    correction : {"holm", "max-t", "none"}
        How it was corrected.
    comparisons : int
        Size of the family.
    method : {"chords", "hull"}
        How points were connected.
    draws, undefined : int
        Draws that were made, and those among them that tell nothing, since strong-only was no better than weak-only.
    """

    router: str
    against: str
    cost: float
    accuracy: float
    accuracy_against: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    level: float
    correction: Correction
    comparisons: int
    method: CurveMethod
    draws: int
    undefined: int


def compare(
    routers: Mapping[str, Outcomes],
    *,
    against: str,
    costs: Sequence[float],
    weak: Outcomes,
    strong: Outcomes,
    seed: int,
    method: CurveMethod = "chords",
    correction: Correction = "holm",
    at_once: bool = True,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[Comparison, ...]:
    """Every router against one of them at given costs, as one family of comparisons.

    Each router's accuracy at a cost is read off its curve from weak-only through its points to strong-only: that of a
    mixture of two settings. Curves and the unit of costs are computed anew in every draw, and draws are the same for
    all. On hulls a router with more points is flattered by noise more than one with fewer.

    p-values are shares of draws (and one more) whose difference lies at least as far from the observed one as that lies
    from zero. ``holm`` steps down over them (Holm, 1979), and holds however comparisons depend on each other; ``max-t``
    takes the largest studentised deviation of each draw as reference for all (Westfall and Young, 1993, single step),
    which costs less where they depend, needs no more draws for more comparisons, and gives intervals that hold at once.

    Parameters
    ----------
    routers : mapping of str to Outcomes
        By name, over the same problems in the same order.
    against : str
        Name of the one that all others are compared with.
    costs : sequence of float
        In units of strong-only's, from weak-only's to 1.
    at_once : bool
        Whether intervals by ``max-t`` hold at once; otherwise each is one alone, as with the other corrections.
    weak, strong, seed, draws, level
        As in `bootstrap`.

    Returns
    -------
    tuple of Comparison
        By router, then by cost.

    Raises
    ------
    InputError
        If there is nothing to compare, `against` is no router, a cost lies out of range, and as `bootstrap`.
    """
    check_choice("method", method, get_args(CurveMethod))
    check_choice("correction", correction, get_args(Correction))
    check_choice("against", against, tuple(routers))
    if not 0.0 < level < 1.0:
        raise InputError(f"level is {level:g}; it must lie between 0 and 1")
    others = [name for name in routers if name != against]
    if not others or not len(costs):
        raise InputError("nothing to compare: there must be two routers and a cost at least")
    means = resampled([*routers.values(), weak, strong], draws, seed)
    scales = scales_of(*means[-2:])
    wanted = np.asarray(costs, dtype=np.float64)
    if not ((wanted >= scales[0].weak_cost) & (wanted <= 1.0)).all():
        raise InputError(f"costs to compare at must lie from weak-only's, {scales[0].weak_cost:g}, to 1")
    usable = [i for i, scale in enumerate(scales) if scale.defined]
    if len(usable) < 3:
        raise InputError("strong-only was no better than weak-only in nearly all draws: too few problems to compare")
    curves = {
        name: np.array([_accuracies(item, i, scales[i], wanted, method) for i in usable])
        for name, item in zip(routers, means[: len(routers)], strict=True)
    }
    differences = np.concatenate([curves[name] - curves[against] for name in others], axis=1)
    differences[np.abs(differences) < _ROUNDING] = 0.0
    found = _corrected(differences, correction, level, at_once=at_once)
    family = [(name, j) for name in others for j in range(len(wanted))]
    return tuple(
        Comparison(
            router=name,
            against=against,
            cost=float(wanted[j]),
            accuracy=float(curves[name][0, j]),
            accuracy_against=float(curves[against][0, j]),
            difference=float(differences[0, i]),
            low=float(found[0, i]),
            high=float(found[1, i]),
            p=float(found[2, i]),
            p_adjusted=float(found[3, i]),
            level=level,
            correction=correction,
            comparisons=len(family),
            method=method,
            draws=draws,
            undefined=draws + 1 - len(usable),
        )
        for i, (name, j) in enumerate(family)
    )


def holm(p: FloatArray) -> FloatArray:
    """Adjusted p-values by Holm's step-down procedure, in the order of the given ones.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    out = np.empty(len(p))
    out[order] = np.minimum(steps, 1.0)
    return out


def _accuracies(means: Means, draw: int, scale: Scale, costs: FloatArray, method: CurveMethod) -> FloatArray:
    points = means.cost[draw] / scale.unit, means.right[draw]
    curve = observed_curve(*points, scale.weak, scale.strong, scale.weak_cost).joined(strong=True).drawn(method)
    return scale.weak + curve.at(costs) * (scale.strong - scale.weak)


def _corrected(differences: FloatArray, correction: Correction, level: float, *, at_once: bool) -> FloatArray:
    """Lower and upper bounds, p-values and adjusted ones of differences, observed ones in row 0; shape (4, J)."""
    observed, drawn = differences[0], differences[1:]
    away = np.abs(drawn - observed)
    p = (1.0 + (away >= np.abs(observed)).sum(axis=0)) / (1.0 + len(drawn))
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    if correction != "max-t":
        return np.stack([low, high, p, holm(p) if correction == "holm" else p])
    errors = drawn.std(axis=0, ddof=1)
    # Curves may agree in all draws (at strong-only's cost they do): then there is no error, and no deviation.
    largest = np.divide(away, errors, out=np.zeros_like(away), where=errors > 0.0).max(axis=1)
    size = np.divide(np.abs(observed), errors, out=np.where(observed == 0.0, 0.0, np.inf), where=errors > 0.0)
    adjusted = (1.0 + (largest[:, None] >= size).sum(axis=0)) / (1.0 + len(drawn))
    if at_once:
        reach = np.quantile(largest, level) * errors
        low, high = observed - reach, observed + reach
    return np.stack([low, high, p, adjusted])
