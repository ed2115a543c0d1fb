"""Strategies that are trained: TRIM-Agg and TRIM-Seq by PPO in the fitted simulator, one network for all budgets."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from trim_pomdp.bench.contest import Contest, LeftOutError, leaves_out
from trim_pomdp.bench.entries import Settled
from trim_pomdp.model.evidence import EvidenceKind
from trim_pomdp.policies.networks import Architecture


def trained(architecture: Architecture, kind: EvidenceKind | None = "prm") -> Callable[[Contest], list[Settled]]:
    """A network on some evidence; None: that of plans.

    Its prices for the budgets are found in the fitted model, as those of plans are.
    """

    def make(contest: Contest) -> list[Settled]:
        if find_spec("torch") is None:
            raise LeftOutError("training needs torch; install the extra lab")
        from trim_pomdp.learning.budgets import LearnedFrontier, price_range
        from trim_pomdp.learning.ppo import settings_for, train_router
        from trim_pomdp.learning.rollouts import SimulatedProblems

        model = contest.model(kind)
        with leaves_out():
            network = train_router(
                SimulatedProblems(model),
                price_range(model),
                settings_for(architecture),
                seed=contest.seed,
                evidence=model.observations.evidence,
            )
            frontier = LearnedFrontier.of(network, model)
        found = [frontier.rule_for_budget(budget) for budget in contest.budgets]
        return [Settled(b, rule, planned) for b, (rule, planned) in zip(contest.budgets, found, strict=True)]

    return make
