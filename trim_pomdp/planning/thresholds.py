"""The threshold rule in a model: the curve to beat."""

from __future__ import annotations

from collections.abc import Sequence

from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import hull_at as hull_at
from trim_pomdp.policies import PlannedPoint, PosteriorRule, ThresholdRule

THRESHOLDS = tuple(i / 20 for i in range(21))


def threshold_curve(model: RoutingModel, thresholds: Sequence[float] = THRESHOLDS) -> tuple[PlannedPoint, ...]:
    """Exact expectations of the threshold rule, in the order of the thresholds."""
    return tuple(evaluate(ThresholdRule(threshold=k), model) for k in thresholds)


def predicted_threshold_curve(model: RoutingModel) -> tuple[PlannedPoint, ...]:
    """The threshold curve; empty where the model knows evidence of other kinds and so nothing of the bare PRM score."""
    return threshold_curve(model) if model.observations.evidence is None else ()


def posterior_curve(model: RoutingModel, closeness: Sequence[float] = THRESHOLDS) -> tuple[PlannedPoint, ...]:
    """Exact expectations of the paper's posterior rule, in the order of the closeness values."""
    return tuple(evaluate(PosteriorRule(closeness=c), model) for c in closeness)
