"""How much a plan would be off if a parameter is not what the fit says: one parameter at a time, exactly.

A policy is evaluated in the model that it was planned in, with one parameter moved to an end of its interval, and all
others as they are. The policy stays as it is, as it would in a run: its beliefs are then not quite right, which is part
of what is measured. What this does not see: errors of two parameters that go together (a fit may know their sum and not
each), hazards, and everything that the model itself leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import Interval, StepDynamics
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import point_of, rule_of
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THREADS = 2
_TOKENS = "strong_tokens"


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
    known = {} if report is None else report.intervals
    names = [name for name in known if _is_movable(model.dynamics, name)]
    if not names:
        raise InputError(
            f"dynamics {model.dynamics.name!r} tell no intervals of their parameters; fit them with intervals "
            "(fit-dynamics --intervals)"
        )
    totals = rule.totals(model)

    def at(name: str, value: float) -> PlannedPoint:
        moved = _with(model, name, value)
        # What tokens cost has no say in what a given policy does.
        same = name.startswith(_TOKENS) or value == known[name].estimate
        return point_of(totals if same else rule.totals(moved), moved, rule.planned_tradeoff)

    ends = [(name, end) for name in names for end in (known[name].low, known[name].high)]
    with ThreadPoolExecutor(threads) as pool:
        points = list(pool.map(lambda item: at(*item), ends))
    found = [Moved(name, known[name], *points[2 * i : 2 * i + 2]) for i, name in enumerate(names)]
    found.sort(key=lambda item: (_width(item.accuracies), _width(item.budgets)), reverse=True)
    return Sensitivity(point_of(totals, model, rule.planned_tradeoff), tuple(found))


def _width(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


def _is_movable(dynamics: StepDynamics, name: str) -> bool:
    """Whether it is one number of the dynamics that has a say in accuracy or budget.

    Those by step, such as hazards, are passed over: each alone moves next to nothing.
    """
    if name.startswith("weak_tokens"):
        return False
    field, _, part = name.partition(".")
    value = getattr(dynamics, field, None)
    if part:
        return getattr(value, part, None) is not None and not isinstance(value, tuple)
    return isinstance(value, float) or (isinstance(value, tuple) and len(value) == 1)


def _with(model: RoutingModel, name: str, value: float) -> RoutingModel:
    """The model with a parameter changed; the unit of the budget stays what it was."""
    field, _, part = name.partition(".")
    before = getattr(model.dynamics, field)
    after: Any = value
    if part:
        after = {**before.model_dump(), part: value}
    elif isinstance(before, tuple):
        after = (value,)
    dynamics = model.dynamics.replace(**{field: after, "strong_only_tokens": model.strong_only_tokens})
    return RoutingModel(model.observations, dynamics, model.reward)
