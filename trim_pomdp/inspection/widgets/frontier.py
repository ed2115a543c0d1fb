"""The frontier explorer: a budget slider, what it buys, by which policies, and where it is spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trim_pomdp.display import one_line
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.frontiers import AnyFrontier, FrontierView
from trim_pomdp.inspection.measured import Measured
from trim_pomdp.inspection.pictures import add_measured
from trim_pomdp.inspection.widgets.base import script
from trim_pomdp.inspection.widgets.explorer import Explorer
from trim_pomdp.planning.frontier import Frontier
from trim_pomdp.policies import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FrontierExplorer"]


class FrontierExplorer(Explorer):
    """A frontier to walk along: what a budget buys, the two policies that are drawn from, where they spend it.

    The slider (or the plot itself, by mouse) chooses a budget. All numbers are those of the frontier's own points,
    exact expectations of their policy graphs, and of draws between neighbours on its concave hull; nothing is planned
    again. The map shows where a policy intervenes, the threshold rule of the same budget beside it.

    Parameters
    ----------
    frontier : Frontier or FrontierArtifact
        One that was read from a file has no policies, so neither spending by step nor a map.
    measured : mapping of str to point, sequence of points, or None
        What runs achieved: `RunSummary`, or (budget, accuracy[, accuracy_se[, budget_se]]); keys are labels. Thresholds
        that a fit's pilot sweep measured are drawn in any case.
    budget : float, optional
        Where the slider begins; over money it is money per problem.
    step : int
        Index of the step whose map is shown first.

    Raises
    ------
    InputError
        If it is no frontier, a measured point cannot be read, or the budget is none.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> frontier = tp.solve_frontier(tp.load_preset("lab-loop").routing_model(), 20)
    >>> explorer = FrontierExplorer(frontier, measured={"last week": (0.3, 0.78, 0.02)}, budget=0.2)
    >>> explorer
    FrontierExplorer(budget 0.2, accuracy 0.7386, policies 2, measured 3)
    >>> explorer.rule.form
    'mixed'
    """

    _esm = script("explorers.js", "frontier.js", "frontier_widget.js")

    def __init__(
        self, frontier: AnyFrontier, measured: Measured = None, *, budget: float | None = None, step: int = 1
    ) -> None:
        self._view = FrontierView(frontier, measured)
        self._fixed = self._view.fixed()
        spend = self._view.middle if budget is None else float(budget)
        self._asked: tuple[float, int, int | None] = (spend, step, None)
        self._details = self._view.details(spend, step=step)
        self._late = False
        super().__init__()
        self.show()

    @property
    def budget(self) -> float:
        """Where the slider stands, as a share of strong-only's tokens, or money per problem."""
        return self._asked[0]

    @budget.setter
    def budget(self, value: float) -> None:
        self._look({"spend": value, "step": self._asked[1], "part": None})
        self._look_into()
        self.show()

    @property
    def rule(self) -> Rule:
        """The executable policy of the budget, which is a rule, or a draw between two.

        Raises
        ------
        InputError
            If the frontier was read from a file, which holds no policies.
        """
        return self._view.rule(self.budget)

    def answer(self, name: str, *values: Any) -> None:
        """See `Drawn`: ``look`` says at what, ``details`` that what takes longer is wanted now."""
        if name == "look":
            self._look(*values)
        elif name == "details":
            self._look_into()
        else:
            raise InputError(f"the page asked for {name!r}; it can ask for look, details")

    def _look(self, question: Mapping[str, Any]) -> None:
        spend, step, part = float(question["spend"]), int(question["step"]), question["part"]
        self._view.draw(spend)  # raises where there is no such budget
        self._asked = (spend, step, part)
        if self._view.ready(spend):
            self._look_into()
        else:
            self._late = True

    def _look_into(self) -> None:
        spend, step, part = self._asked
        self._details = self._view.details(spend, step=step, part=part)
        self._late = False

    def drawn(self) -> Mapping[str, Any]:
        """See `Drawn`."""
        chosen = self._view.chosen(self.budget)
        return {"fixed": self._fixed, "chosen": chosen, "details": self._details, "late": self._late}

    @property
    def pictured(self) -> bool:
        """See `Explorer`; a file's frontier shows its table."""
        return isinstance(self._view.frontier, Frontier)

    @property
    def table(self) -> str:
        """See `Explorer`."""
        return self._view.frontier._repr_html_()

    def picture(self) -> Figure:
        """See `Drawn`."""
        assert isinstance(self._view.frontier, Frontier)
        figure = self._view.frontier.plot()
        add_measured(figure, [point for point in self._fixed["measured"] if point["kind"] == "given"])
        return figure

    def __repr__(self) -> str:
        chosen = self._view.chosen(self.budget)
        facts = {
            "budget" if self._view.over == "strong_tokens" else "money": self.budget,
            "accuracy": chosen["accuracy"],
            "policies": len(chosen["policies"]),
            "measured": len(self._view.measured),
        }
        return one_line(type(self).__name__, facts)
