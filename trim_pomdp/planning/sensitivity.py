"""How much a plan would be off if a parameter is not what the fit says: one parameter at a time, exactly.

A policy is evaluated in the model that it was planned in, with one parameter moved to an end of its interval, and all
others as they are. The policy stays as it is, as it would in a run: its beliefs are then not quite right, which is part
of what is measured. What this does not see: errors of two parameters that go together (a fit may know their sum and not
each), hazards, and everything that the model itself leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import Interval, StepDynamics
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import point_of
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule, rule_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THREADS = 2
_NUMBERS = (
    "strong_success",
    "repair",
    "look_right",
    "false_alarms",
    "misses",
    "recovery",
    "redraft_repair",
    "redraft_success",
    "redraft_same_slope",
    "strong_success_again",
    "repair_again",
)


@dataclass(frozen=True)
class Moved:
    """What becomes of a policy when one parameter is at an end of its interval.

    Attributes
    ----------
    parameter : str
        Its name, such as ``repair`` or ``weak_tokens.right``.
    interval : Interval
    at_low, at_high : PlannedPoint
        What the policy does if the parameter is at the lower, or the upper, end.
    """

    parameter: str
    interval: Interval
    at_low: PlannedPoint
    at_high: PlannedPoint

    @property
    def accuracies(self) -> tuple[float, float]:
        """The lower and the higher one."""
        low, high = sorted((self.at_low.accuracy, self.at_high.accuracy))
        return low, high

    @property
    def budgets(self) -> tuple[float, float]:
        """The lower and the higher one."""
        low, high = sorted((self.at_low.budget, self.at_high.budget))
        return low, high


@dataclass(frozen=True, repr=False)
class Sensitivity(Shown):
    """What a plan rests on.

    Attributes
    ----------
    planned : PlannedPoint
        With every parameter as it was estimated.
    moved : tuple of Moved
        One for each parameter with an interval, those first that move accuracy most.
    """

    planned: PlannedPoint
    moved: tuple[Moved, ...]

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        most = self.moved[0]
        low, high = most.accuracies
        return {
            "accuracy": self.planned.accuracy,
            "budget": self.planned.budget,
            "parameters": len(self.moved),
            "rests most on": f"{most.parameter} ({low:.3f} to {high:.3f})",
        }

    def _repr_html_(self) -> str:
        columns = ("parameter", "estimate", "95 % interval", "identified", "accuracy", "budget")
        rows = [
            (
                item.parameter,
                item.interval.estimate,
                f"{item.interval.low:.3g} to {item.interval.high:.3g}",
                "yes" if item.interval.identified else "no",
                "{:.3f} to {:.3f}".format(*item.accuracies),
                "{:.3f} to {:.3f}".format(*item.budgets),
            )
            for item in self.moved
        ]
        title = f"planned: accuracy {self.planned.accuracy:.3f} at budget {self.planned.budget:.3f}"
        return html_table(title, columns, rows)

    def plot(self) -> Figure:
        """Draw the range of accuracy for each parameter (`trim_pomdp.planning.plots.plot_sensitivity`)."""
        from trim_pomdp.planning.plots import plot_sensitivity

        return plot_sensitivity(self)


def sensitivity(policy: Rule | PolicyArtifact, model: RoutingModel, *, threads: int = THREADS) -> Sensitivity:
    """Accuracy and budget of a policy with each fitted parameter at both ends of its interval.

    How drafts of another text look (`redraft_tilt`) has no interval, and is left as it is.

    Parameters
    ----------
    policy : rule or PolicyArtifact
    model : RoutingModel
        Whose dynamics were fitted, so that there are intervals.
    threads : int
        Models evaluated at once.

    Raises
    ------
    InputError
        If the dynamics have no intervals, or the policy cannot be evaluated in the model.
    """
    rule = rule_of(policy)
    report = model.dynamics.fit
    parameters = [] if report is None else list(_parameters(model.dynamics, report.intervals))
    if not parameters:
        raise InputError(
            f"dynamics {model.dynamics.name!r} tell no intervals of their parameters; fit them with intervals "
            "(fit-dynamics --intervals)"
        )
    course = rule.course(model)

    def at(end: tuple[_Parameter, dict[str, Any]]) -> PlannedPoint:
        parameter, changes = end
        moved = _with(model, changes)
        return point_of(course if parameter.costs_only else rule.course(moved), moved, rule.planned_tradeoff)

    ends = [(item, changes) for item in parameters for changes in (item.low, item.high)]
    with ThreadPoolExecutor(threads) as pool:
        points = list(pool.map(at, ends))
    found = [Moved(item.name, item.interval, *points[2 * i : 2 * i + 2]) for i, item in enumerate(parameters)]
    found.sort(key=lambda item: (_width(item.accuracies), _width(item.budgets)), reverse=True)
    return Sensitivity(point_of(course, model, rule.planned_tradeoff), tuple(found))


def _width(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


@dataclass(frozen=True)
class _Parameter:
    """A parameter that has a say in accuracy or budget: its interval, and the fields of dynamics at either end."""

    name: str
    interval: Interval
    low: dict[str, Any]
    high: dict[str, Any]
    costs_only: bool = False


def _parameters(dynamics: StepDynamics, known: Mapping[str, Interval]) -> Iterator[_Parameter]:
    for name in _NUMBERS:
        if name in known:
            interval = known[name]
            yield _Parameter(name, interval, {name: interval.low}, {name: interval.high})
    for kind in ("right", "derailed", "wrong"):
        for name in ("strong_tokens", "redraft_same"):
            of_class, by_class = known.get(f"{name}.{kind}"), getattr(dynamics, name)
            if of_class is not None and by_class is not None:
                before = by_class.model_dump()
                low, high = ({name: {**before, kind: end}} for end in (of_class.low, of_class.high))
                yield _Parameter(f"{name}.{kind}", of_class, low, high, costs_only=name == "strong_tokens")
    yield from _weak_success(dynamics, known)


def _weak_success(dynamics: StepDynamics, known: Mapping[str, Interval]) -> Iterator[_Parameter]:
    """p_w: one number, or all steps at their lower, or upper, ends together, since fits bend one line through them."""
    one = known.get("weak_success")
    if one is not None:
        yield _Parameter("weak_success", one, {"weak_success": (one.low,)}, {"weak_success": (one.high,)})
    steps = [known.get(f"weak_success.{step}") for step in range(1, len(dynamics.weak_success) + 1)]
    by_step = [item for item in steps if item is not None]
    if one is None and len(by_step) == len(steps):
        low, high = tuple(item.low for item in by_step), tuple(item.high for item in by_step)
        mean = Interval(
            estimate=fmean(dynamics.weak_success),
            low=fmean(low),
            high=fmean(high),
            level=by_step[0].level,
            method=by_step[0].method,
            identified=all(item.identified for item in by_step),
        )
        yield _Parameter("weak_success, mean of steps", mean, {"weak_success": low}, {"weak_success": high})


def _with(model: RoutingModel, changes: dict[str, Any]) -> RoutingModel:
    """The model with a parameter changed; the unit of the budget stays what it was."""
    dynamics = model.dynamics.replace(**{**changes, "strong_only_tokens": model.strong_only_tokens})
    return replace(model, dynamics=dynamics, tariff=None)
