"""What a bench measured of strategies, as a file: points, CPT, APGR and ΔIBC with intervals, and differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.metrics.comparisons import Comparison
from trim_pomdp.metrics.resampling import Estimate
from trim_pomdp.model.prices import Prices


class Interval(Record):
    """A value with its interval; `value` is None where it is not reached, a bound where it lies beyond what was."""

    value: float | None
    low: float | None
    high: float | None
    reached: float

    @classmethod
    def of(cls, found: Estimate) -> Interval:
        """Of an estimate of the metrics."""
        return cls(value=found.value, low=found.low, high=found.high, reached=found.reached)


class Point(Record):
    """A point of a strategy, measured.

    Attributes
    ----------
    asked_budget : float or None
        What it was made for.
    budget, budget_se : float
        Strong tokens in units of strong-only's on the same problems.
    accuracy, accuracy_se : float
    planned_accuracy, planned_budget : float or None
        What a plan promised.
    strong_tokens, weak_tokens, prm_tokens : float
        Mean per problem: written by the models, whether it stands or not, and read by the PRM.
    money : float or None
        Mean per problem, at the prices of the result; None without.
    failed : float
        Share of solutions that ended by an error.
    """

    asked_budget: float | None
    budget: float
    budget_se: float
    accuracy: float
    accuracy_se: float
    planned_accuracy: float | None = None
    planned_budget: float | None = None
    strong_tokens: float
    weak_tokens: float
    prm_tokens: float
    money: float | None = None
    failed: float = 0.0


class Gains(Record):
    """What is gained for a cost.

    Attributes
    ----------
    cpt : dict of str to Interval
        Share of strong-only's cost at which 50, 80 and 95 % of the gap are recovered, by first crossing.
    apgr, delta_ibc : Interval
        Mean share of the gap that is recovered over all budgets; mean gain per cost over query-random's, less one.
    """

    cpt: dict[str, Interval]
    apgr: Interval
    delta_ibc: Interval


class Standing(Gains):
    """How a strategy stands: what it gains for strong tokens, and more.

    Attributes
    ----------
    about : str
        What it is.
    points : tuple of Point
    delta_ibc_over : dict of str to Interval
        ΔIBC over other nulls that took part: steps regenerated at random (``step-random``), and the best fixed split
        of the steps between the models (``best-split``).
    in_money : Gains or None
        The same with money for a cost; None without prices, or where strong-only costs no more than weak-only.
    """

    about: str
    points: tuple[Point, ...]
    delta_ibc_over: dict[str, Interval] = {}
    in_money: Gains | None = None

    @property
    def has_curve(self) -> bool:
        """Whether budgets can be asked of it."""
        return any(point.asked_budget is not None for point in self.points)

    @property
    def document(self) -> dict[str, Any]:
        """In the form that programs may rely on."""
        return {
            "points": [item.model_dump() for item in self.points],
            "cpt": {share: found.value for share, found in self.cpt.items()},
            "apgr": self.apgr.value,
            "delta_ibc": self.delta_ibc.value,
            "intervals": {
                "cpt": {share: found.model_dump() for share, found in self.cpt.items()},
                "apgr": self.apgr.model_dump(),
                "delta_ibc": self.delta_ibc.model_dump(),
                "delta_ibc_over": {null: found.model_dump() for null, found in self.delta_ibc_over.items()},
            },
            "in_money": None if self.in_money is None else self.in_money.model_dump(),
        }


class Difference(Record):
    """A strategy against another at the same budget: accuracy of the first less that of the second, paired."""

    strategy: str
    against: str
    budget: float
    difference: float
    low: float
    high: float
    p_adjusted: float

    @classmethod
    def of(cls, found: Comparison) -> Difference:
        """Of a comparison of the metrics."""
        return cls(
            strategy=found.router,
            against=found.against,
            budget=found.cost,
            difference=found.difference,
            low=found.low,
            high=found.high,
            p_adjusted=found.p_adjusted,
        )


class BenchResult(Artifact):
    """What a bench measured.

    Attributes
    ----------
    name : str
        Of the test problems.
    fitted_on : str
        Of the problems and models that strategies were made on.
    problems : int
        Test problems, each counted once.
    solutions : int or None
        Of a point: every problem under all its seeds. None (in files of before): as many as problems.
    seeds : tuple of int
        Of the trials.
    weak, strong : float
        Accuracy of either model alone.
    strong_only_tokens : float
        Per problem; the unit of budgets.
    prices : Prices or None
        What money is counted at.
    strategies : dict of str to Standing
    differences : tuple of Difference
        Strategies against one of them; intervals are of each alone, p-values corrected for how many there are (max-t).
    left_out : dict of str to str
        Strategies that could not take part, and why.
    level : float
        Of intervals: a bootstrap over problems, in which everything is computed anew.
    draws : int
        Of the bootstrap.
    """

    kind: Literal["bench"] = "bench"
    name: str
    fitted_on: str
    problems: int
    solutions: int | None = None
    seeds: tuple[int, ...]
    weak: float
    strong: float
    strong_only_tokens: float
    prices: Prices | None = None
    strategies: dict[str, Standing]
    differences: tuple[Difference, ...] = ()
    left_out: dict[str, str] = {}
    level: float = 0.95
    draws: int

    @property
    def failed(self) -> int:
        """Solutions that ended by an error, over all points."""
        every = (point for standing in self.strategies.values() for point in standing.points)
        return sum(round(point.failed * (self.solutions or self.problems)) for point in every)

    @property
    def document(self) -> dict[str, Any]:
        """In the form that programs may rely on."""
        return {
            "strategies": {name: item.document for name, item in self.strategies.items()},
            "problems": self.problems,
            "failed": self.failed,
            "name": self.name,
            "fitted_on": self.fitted_on,
            "seeds": list(self.seeds),
            "weak": self.weak,
            "strong": self.strong,
            "strong_only_tokens": self.strong_only_tokens,
            "differences": [item.model_dump() for item in self.differences],
            "left_out": self.left_out,
        }

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "name": self.name,
            "problems": self.problems,
            "strategies": len(self.strategies),
            "weak": self.weak,
            "strong": self.strong,
        }
