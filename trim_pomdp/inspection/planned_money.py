"""What a policy was expected to cost, beside what its run did: money by model and purpose, in the fitted model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.model.prices import Money
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies import PolicyArtifact
    from trim_pomdp.runtime.money import RunMoney


@dataclass(frozen=True)
class PlannedMoney:
    """Expected money per problem, at the prices that a run is told at.

    Attributes
    ----------
    planned, weak_only, strong_only : Money or None
        Of the policy, and of each model alone, in the fitted model; None where that is not known.
    assumed : str
        Where prompt lengths and cached shares come from.
    """

    planned: Money | None = None
    weak_only: Money | None = None
    strong_only: Money | None = None
    assumed: str = ""


def planned_money(artifact: PolicyArtifact | None, measured: RunMoney, model: RoutingModel | None) -> PlannedMoney:
    """Planned money at the prices of a run.

    Prompt lengths and cached shares are those of the policy, if that was planned at these prices, or else what the run
    itself read.

    Parameters
    ----------
    artifact : PolicyArtifact or None
    measured : RunMoney
    model : RoutingModel or None
        In which the policy was planned; without it only what the policy itself keeps is known.
    """
    known = None if artifact is None else artifact.tariff
    tariff, assumed = measured.tariff, "what was read here"
    if known is not None and known.prices == measured.prices:
        tariff, assumed = known, "what the policy was planned with"
        if artifact is not None and model is None:
            return PlannedMoney(artifact.money, artifact.weak_only_money, artifact.strong_only_money, assumed)
    if artifact is None or model is None or tariff is None:
        return PlannedMoney()
    from trim_pomdp.planning.evaluation import end_money, evaluate_money

    try:
        planned_in = replace(model, tariff=tariff)
        return PlannedMoney(evaluate_money(artifact, planned_in).money, **end_money(planned_in), assumed=assumed)
    except InputError:  # a price is missing of a model that was not asked; what was measured stands
        return PlannedMoney()
