"""AutoMix: its one-step POMDP against this package's solvers, its double threshold against brute force."""

import json

import numpy as np
import pytest
from test_query_routers import OUTCOMES, lab_like

from solvers import POMDP, solve
from trim_pomdp.artifacts import validate
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import QueryOutcome, WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.queries.automix import (
    CATEGORIES,
    OneStepModel,
    at_tradeoff,
    confidences,
    fit_double_threshold,
    fit_one_step,
    fit_pomdp,
    with_bins,
)
from trim_pomdp.fitting.queries.budgets import at_budget, points_of
from trim_pomdp.policies.automix import AutoMixRule, VerifiedRule
from trim_pomdp.policies.automix_prm import AutoMixPrmRule

PRM = AutoMixPrmRule()
LOGPROB = AutoMixRule(verifier="logprob")
SEEN = WeakSolution(tokens=(1, 3), answer="7", scores=(0.5, 0.8), logprobs=(-1.0, -3.0), further=("7", None, "8"))


def test_what_the_verifiers_say() -> None:
    assert LOGPROB.confidence(SEEN) == pytest.approx(np.exp(-2.5))
    assert AutoMixRule(samples=3).confidence(SEEN) == pytest.approx(1 / 3)
    assert AutoMixRule(samples=1).confidence(SEEN) == 1.0
    kinds = ("product", "minimum", "mean", "last")
    found = [AutoMixPrmRule(cumulative=kind).confidence(SEEN) for kind in kinds]  # type: ignore[arg-type]
    assert found == pytest.approx([0.4, 0.5, 0.65, 0.8])
    assert AutoMixRule().confidence(WeakSolution((1,), answer=None, further=(None,))) == 0.0, (
        "no answer agrees with none"
    )


def test_what_is_not_there_is_said() -> None:
    bare = WeakSolution(tokens=(1,))
    for rule, message in ((PRM, "no"), (LOGPROB, "log-probabilities"), (AutoMixRule(samples=2), "2 further")):
        with pytest.raises(InputError, match=message):
            rule.confidence(bare)
    with pytest.raises(InputError, match="expected 1, got none"):
        PRM.points([Problem("p", "?")])
    with pytest.raises(InputError, match="no engine starts over"):
        PRM.require(None)
    with pytest.raises(InputError, match="nobody kept"):
        confidences(PRM, [QueryOutcome(Problem("p", "?"), 1.0, 1.0)])
    with pytest.raises(InputError, match="worth has 1 values; expected 2"):
        validate(AutoMixPrmRule, {"cuts": [0.5], "worth": [1.0]}, source="x")
    with pytest.raises(InputError, match="not ascending"):
        validate(AutoMixPrmRule, {"cuts": [0.5, 0.5]}, source="x")


def test_a_threshold_escalates_low_confidence() -> None:
    rule = AutoMixPrmRule(threshold=0.55)
    problem = Problem("p", "?")
    assert rule.escalates(problem, SEEN), "1 - .4 is above .55"
    assert not rule.model_copy(update={"threshold": 0.65}).escalates(problem, SEEN)
    binned = AutoMixPrmRule(cuts=(0.2, 0.4), worth=(0.0, 1.0, 3.0), threshold=2.0)
    assert binned.escalates(problem, SEEN), "a bin holds its lower end"


def as_pomdp(model: OneStepModel, tradeoff: float, reward: float) -> POMDP:
    """Look once, then report the weak answer or escalate; nothing happens after that."""
    S, bins = len(CATEGORIES), model.likelihood.shape[1]
    done = S
    stays, over = np.eye(S + 1), np.zeros((S + 1, S + 1))
    over[:, done] = 1.0
    nothing = np.full((S + 1, bins), 1.0 / bins)
    looks = np.vstack([model.likelihood, nothing[:1]])
    weak, strong = reward * np.array([1.0, 1, 0, 0]), reward * np.array([1.0, 0, 1, 0]) - tradeoff * model.strong_tokens
    return POMDP(
        transition=[stays, over, over],
        observation=[looks, nothing, nothing],
        reward=[np.zeros(S + 1), np.append(weak, 0.0), np.append(strong, 0.0)],
        start=np.append(model.prior, 0.0),
        discount=1.0,
        actions=("look", "report", "escalate"),
    )


@pytest.mark.parametrize("tradeoff", [0.0, 0.2, 1.0, 2.0, 6.0])
def test_the_closed_form_is_the_pomdps_optimum(tradeoff: float) -> None:
    rule = with_bins(PRM, OUTCOMES, 6)
    model = fit_one_step(rule, OUTCOMES)
    pomdp = as_pomdp(model, tradeoff, 100.0)
    exact = solve(pomdp, "exact", horizon=2)
    weak, strong = np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 0])
    fitted = at_tradeoff(fit_pomdp(rule, OUTCOMES), tradeoff)
    escalated = fitted.shares_at(np.asarray(fitted.worth)) == 1.0
    seen = model.prior @ model.likelihood
    value = 0.0
    for bin_, posterior in enumerate(model.posterior):
        report = 100 * posterior @ weak
        escalate = 100 * posterior @ strong - tradeoff * posterior @ model.strong_tokens
        value += seen[bin_] * (escalate if escalated[bin_] else report)
        action = solve(pomdp, "exact", horizon=1).action([*posterior, 0.0])
        assert pomdp.actions[action] == ("escalate" if escalated[bin_] else "report")
    assert exact.lower == pytest.approx(value, abs=1e-9)
    assert exact.upper == pytest.approx(value, abs=1e-5), "within its tolerance"


def test_tradeoffs_escalate_something_and_not_everything() -> None:
    """The comparison above is of decisions that differ."""
    rule = fit_pomdp(with_bins(PRM, OUTCOMES, 6), OUTCOMES)
    shares = [at_tradeoff(rule, t).shares_at(np.asarray(rule.worth)).mean() for t in (0.0, 0.2, 1.0, 2.0, 6.0)]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) >= 3


def test_a_verifier_that_tells_leads_to_the_oracle() -> None:
    """With a bin for each category, the POMDP escalates what strong alone solves, and nothing else."""
    levels = {(1.0, 1.0): 0.9, (1.0, 0.0): 0.7, (0.0, 1.0): 0.3, (0.0, 0.0): 0.1}
    outcomes = [
        QueryOutcome(
            item.problem, item.weak_right, item.strong_right, item.strong_tokens, WeakSolution((1,), scores=(v,))
        )
        for item in OUTCOMES
        for v in [levels[item.weak_right, item.strong_right]]
    ]
    rule = fit_pomdp(AutoMixPrmRule(cuts=(0.2, 0.5, 0.8)), outcomes, prior_count=0.0)
    up = at_tradeoff(rule, 0.01).shares_at(points_of(rule, outcomes)) == 1.0
    assert up.tolist() == [item.gain == 1.0 for item in outcomes]
    double = fit_double_threshold(AutoMixPrmRule(cuts=(0.2, 0.5, 0.8)), outcomes, 1.0)
    assert double.worth == (0.0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("verifier", [PRM, LOGPROB])
def test_double_thresholds_are_the_best_within_budget(verifier: VerifiedRule, budget: float) -> None:
    rule = with_bins(verifier, OUTCOMES, 6)
    tokens, gain = (np.array([getattr(o, name) for o in OUTCOMES]) for name in ("strong_tokens", "gain"))
    seen, edges = confidences(rule, OUTCOMES), [-np.inf, *rule.cuts, np.inf]
    best = 0.0
    for low in edges:
        for high in edges:
            inside = (seen >= low) & (seen < high)
            spent = tokens[inside].sum()
            best = max(best, gain[inside].sum() * min(1.0, budget * tokens.sum() / max(spent, 1e-9)))
    found = fit_double_threshold(rule, OUTCOMES, budget)
    shares = found.shares_at(points_of(found, OUTCOMES))
    assert shares @ tokens <= budget * tokens.sum() + 1e-6
    assert shares @ gain == pytest.approx(best, abs=1e-9)
    assert validate(type(found), json.loads(found.model_dump_json()), source="file") == found


def test_budgets_are_met_by_every_meta_verifier() -> None:
    test = lab_like(2000, seed=7)
    tokens = np.array([item.strong_tokens for item in test])
    rule = with_bins(PRM, OUTCOMES, 8)
    for fitted in (rule, fit_pomdp(rule, OUTCOMES)):
        planned = at_budget(fitted, points_of(fitted, OUTCOMES), OUTCOMES, 0.2)
        spent = planned.shares_at(points_of(planned, test)) @ tokens / tokens.sum()
        assert spent == pytest.approx(0.2, abs=0.05)


def test_bins_of_few_levels_are_few() -> None:
    rule = with_bins(AutoMixRule(), OUTCOMES, 8)
    assert len(rule.cuts) == 1, "agreement with one sample is yes or no"
    assert with_bins(AutoMixRule(), OUTCOMES, 4, even=True).cuts == (0.125, 0.375, 0.625, 0.875)
