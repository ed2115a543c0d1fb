"""The frontier as a file: what `trim-pomdp frontier` prints and writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import NonNegativeFloat, PositiveInt, SerializerFunctionWrapHandler, model_serializer

from trim_pomdp.artifacts import Artifact
from trim_pomdp.model.prices import Tariff
from trim_pomdp.model.process import DEFAULT_ACTIONS, Spending
from trim_pomdp.planning.frontier import Frontier, FrontierPoint, frontier_facts, points_table
from trim_pomdp.policies import PlannedPoint


class FrontierRow(PlannedPoint):
    """A point with certified bounds on the optimal value at its tradeoff."""

    value_lower: float
    value_upper: float

    @classmethod
    def of(cls, item: FrontierPoint) -> Self:
        """Row of a frontier point."""
        return cls(**item.point.model_dump(), value_lower=item.value_lower, value_upper=item.value_upper)


class FrontierArtifact(Artifact):
    """Accuracy against budget, as numbers; policies are made from the model when they are asked for.

    Attributes
    ----------
    points : tuple of FrontierRow
        Sorted by budget, accuracy non-decreasing.
    dominated : tuple of FrontierRow
        Points that another one beats.
    weak_only, strong_only : PlannedPoint
        Never and always regenerating.
    threshold_rule : tuple of PlannedPoint
        The threshold rule in the same model, at thresholds 0, 0.05, …, 1; empty where the model sees other evidence
        than the PRM score.
    elapsed_s : float
        Wall time of solving and evaluating, without imports and compilation.
    compile_s : float
        Time that Numba took to compile, or to load, the kernels.
    gap : float
        Largest difference of the value bounds, as a share of the reward.
    over : {"strong_tokens", "money"}
        What is spent, and evenly covered.
    actions : tuple of str
        What its policies may do with a weak step.
    max_drafts : int
        Most drafts of one step; files of frontiers without redrafts, where it is 1, do not have it.
    redraft_price : float
        Price of a redraft, a share of the reward, which the value bounds are less; 0 where none was there.
    tariff : Tariff or None
        What money is reckoned by.
    notes : tuple of str
        Why not to trust the dynamics that it was planned in.
    """

    kind: Literal["frontier"] = "frontier"
    model: str
    points: tuple[FrontierRow, ...]
    dominated: tuple[FrontierRow, ...]
    weak_only: PlannedPoint
    strong_only: PlannedPoint
    threshold_rule: tuple[PlannedPoint, ...]
    elapsed_s: NonNegativeFloat
    compile_s: NonNegativeFloat
    gap: NonNegativeFloat
    over: Spending = "strong_tokens"
    actions: tuple[str, ...] = DEFAULT_ACTIONS
    max_drafts: PositiveInt = 1
    redraft_price: NonNegativeFloat = 0.0
    tariff: Tariff | None = None
    notes: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Frontiers without redrafts are written as they were before there were any."""
        document: dict[str, Any] = serialise(self)
        if self.max_drafts == 1:
            document.pop("max_drafts", None)
        return document

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        last = self.points[-1] if self.points else None
        return frontier_facts(self.model, len(self.points), self.weak_only, self.strong_only, last, self.gap)

    def _repr_html_(self) -> str:
        return f"{super()._repr_html_()}\n{points_table(self.weak_only, self.strong_only, self.points)}"

    @classmethod
    def of(cls, frontier: Frontier, threshold_rule: tuple[PlannedPoint, ...]) -> Self:
        """The file of a frontier."""
        return cls(
            model=frontier.model.name,
            provenance=frontier.model.provenance,
            points=tuple(FrontierRow.of(item) for item in frontier.points),
            dominated=tuple(FrontierRow.of(item) for item in frontier.dominated),
            weak_only=frontier.weak_only,
            strong_only=frontier.strong_only,
            threshold_rule=threshold_rule,
            elapsed_s=frontier.elapsed_s,
            compile_s=frontier.compile_s,
            gap=frontier.gap,
            over=frontier.over,
            actions=frontier.model.actions,
            max_drafts=frontier.model.drafts,
            redraft_price=frontier.redraft_price,
            tariff=frontier.model.tariff,
            notes=frontier.model.dynamics.warnings,
        )
