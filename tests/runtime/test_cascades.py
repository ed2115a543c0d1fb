"""Cascades of recorded runs: what the engine does with a rule is what weak-only and strong-only runs combine to."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from scripted import dummy_models

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.queries.budgets import at_budget, points_of
from trim_pomdp.fitting.queries.features import fit_ngrams
from trim_pomdp.fitting.queries.oracle import query_oracle
from trim_pomdp.fitting.queries.routellm import fit_sw
from trim_pomdp.policies import StrategyRule
from trim_pomdp.policies.automix import AutoMixRule
from trim_pomdp.policies.automix_prm import AutoMixPrmRule
from trim_pomdp.policies.base import Rule
from trim_pomdp.policies.query import QueryRule
from trim_pomdp.policies.query_random import QueryRandomRule
from trim_pomdp.runtime.backends.dummy import Faults, dummy_problems
from trim_pomdp.runtime.cascades import cascade, query_outcomes, weak_solution
from trim_pomdp.runtime.engine import Models, solve_all
from trim_pomdp.runtime.records import SolutionRecord, TerminalRecord
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.summary import summarise

PROBLEMS = [
    Problem(item.id, f"{item.prompt} {'hard ' * (i % 4)}", item.answer) for i, item in enumerate(dummy_problems(60))
]


def solve(rule: Rule, *, seed: int = 0, models: Models | None = None, **options: bool) -> list[SolutionRecord]:
    out: list[SolutionRecord] = []
    routing = Routing(rule, seed=seed, **options)  # type: ignore[arg-type]
    asyncio.run(solve_all(PROBLEMS, routing.start, models or dummy_models(), out.append, in_flight=64))
    place = {problem.id: index for index, problem in enumerate(PROBLEMS)}
    return sorted(out, key=lambda record: place[record.terminal.problem])


WEAK = solve(StrategyRule(strategy="weak"), record_scores=True)
STRONG = solve(StrategyRule(strategy="strong"))
AGAIN = solve(StrategyRule(strategy="weak"), seed=1)
OUTCOMES = query_outcomes(PROBLEMS, [WEAK, AGAIN], [STRONG])


def timeless(ends: Sequence[TerminalRecord]) -> list[dict[str, object]]:
    return [end.model_dump(exclude={"session", "elapsed_s", "models_s"}) for end in ends]


FEATURES = fit_ngrams([problem.prompt for problem in PROBLEMS], buckets=64, dimensions=4)
SIMILAR = fit_sw(OUTCOMES, FEATURES)
PROMPT_RULES: list[QueryRule] = [
    QueryRandomRule(threshold=0.6),
    at_budget(SIMILAR, points_of(SIMILAR, OUTCOMES), OUTCOMES, 0.4),
    query_oracle(OUTCOMES).model_copy(update={"threshold": 0.0, "at_threshold": 0.5}),
]


@pytest.mark.parametrize("rule", PROMPT_RULES, ids=lambda rule: rule.form)
def test_the_engine_does_what_the_runs_combine_to(rule: QueryRule) -> None:
    live = [record.terminal for record in solve(rule, seed=0)]
    combined = cascade(rule, PROBLEMS, WEAK, STRONG)
    assert timeless(combined) == timeless(live)
    strong = [end.tokens.strong > 0 for end in live]
    assert any(strong)
    assert not all(strong)


def test_what_was_looked_at_is_paid_for() -> None:
    rule = AutoMixPrmRule(threshold=0.5)
    ends = cascade(rule, PROBLEMS, WEAK, STRONG)
    up = [rule.escalates(problem, weak_solution(record)) for problem, record in zip(PROBLEMS, WEAK, strict=True)]
    assert any(up)
    assert not all(up)
    for end, weak, strong, escalated in zip(ends, WEAK, STRONG, up, strict=True):
        stands = strong.terminal if escalated else weak.terminal
        assert (end.answer, end.correct, end.steps, end.reason) == (
            stands.answer,
            stands.correct,
            stands.steps,
            stands.reason,
        )
        assert end.tokens.strong == (strong.terminal.tokens.strong if escalated else 0)
        assert end.tokens.scored == weak.terminal.tokens.scored > 0
        written = weak.terminal.tokens.weak_kept
        assert (end.tokens.weak_kept, end.tokens.weak_discarded) == ((0, written) if escalated else (written, 0))
        assert end.policy_hash == rule.policy_hash
    summary = summarise(ends, float(np.mean([record.terminal.tokens.strong for record in STRONG])))
    assert summary.accuracy == pytest.approx(np.mean([bool(end.correct) for end in ends]))
    assert summary.budget is not None
    assert 0 < summary.budget < 1


def test_further_samples_are_paid_for_and_scores_only_where_they_are_looked_at() -> None:
    rule = AutoMixRule(threshold=0.5)
    ends = cascade(rule, PROBLEMS, WEAK, STRONG, [AGAIN])
    for end, weak, again, strong in zip(ends, WEAK, AGAIN, STRONG, strict=True):
        agreed = weak.terminal.answer == again.terminal.answer
        first, second = weak.terminal.tokens.weak_kept, again.terminal.tokens.weak_kept
        assert end.tokens.weak_kept == (first if agreed else 0)
        assert end.tokens.weak_discarded == (second if agreed else first + second)
        assert end.tokens.strong == (0 if agreed else strong.terminal.tokens.strong)
        assert end.tokens.scored == 0
    with pytest.raises(InputError, match="asks 1 further weak samples; got 0"):
        cascade(rule, PROBLEMS, WEAK, STRONG)


def test_outcomes_are_shares_of_samples() -> None:
    for outcome, weak, again, strong in zip(OUTCOMES, WEAK, AGAIN, STRONG, strict=True):
        right = [bool(record.terminal.correct) for record in (weak, again)]
        assert outcome.weak_right == sum(right) / 2
        assert outcome.strong_right == float(bool(strong.terminal.correct))
        assert outcome.strong_tokens == strong.terminal.tokens.strong
        assert outcome.weak is not None
        assert outcome.weak.further == (again.terminal.answer,)
        assert outcome.weak.scores == weak.own_scores
        logprobs = [value for item in weak.decisions for value in item.weak.logprobs]  # type: ignore[union-attr]
        assert outcome.weak.mean_logprob == pytest.approx(np.mean(logprobs))


def test_the_oracle_is_no_worse_than_any_rule_at_its_cost() -> None:
    outcomes = query_outcomes(PROBLEMS, [WEAK], [STRONG])
    oracle = query_oracle(outcomes)
    points = points_of(oracle, outcomes)
    tokens = np.array([item.strong_tokens for item in outcomes])
    for rule in (QueryRandomRule(threshold=0.6), AutoMixPrmRule(threshold=0.5)):
        ends = cascade(rule, PROBLEMS, WEAK, STRONG)
        spent = sum(end.tokens.strong for end in ends)
        best = at_budget(oracle, points, outcomes, min(spent / tokens.sum(), 1.0)).shares_at(points)
        right = best @ np.array([item.gain for item in outcomes]) + sum(item.weak_right for item in outcomes)
        assert right >= sum(bool(end.correct) for end in ends) - 1e-9


def test_failures_stay_failures() -> None:
    broken = solve(
        StrategyRule(strategy="weak"),
        record_scores=True,
        models=dummy_models(weak=Faults(problems=frozenset({"dummy-3"}))),
    )
    ends = cascade(AutoMixPrmRule(threshold=-1.0), PROBLEMS, broken, STRONG)
    assert [end.problem for end in ends if end.error] == ["dummy-3"]
    assert all(end.tokens.strong for end in ends if not end.error)
    assert "dummy-3" not in {item.problem.id for item in query_outcomes(PROBLEMS, [broken], [STRONG])}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="no solution of problem 'dummy-0'"):
        cascade(QueryRandomRule(threshold=0.5), PROBLEMS, WEAK[1:], STRONG[1:])
    with pytest.raises(InputError, match="no engine starts over"):
        Routing(AutoMixPrmRule())
    with pytest.raises(InputError, match="record them"):
        cascade(AutoMixPrmRule(), PROBLEMS, AGAIN, STRONG)
    with pytest.raises(InputError, match="at least one run"):
        query_outcomes(PROBLEMS, [], [STRONG])
    with pytest.raises(InputError, match="no problem with a known answer"):
        query_outcomes(PROBLEMS, [WEAK], [[]])


@pytest.mark.slow
def test_the_lab_live_is_what_its_runs_combine_to() -> None:
    """On sampling models too: draws are keyed by problem, step and model."""
    pytest.importorskip("torch")
    from trim_pomdp.lab.models import load_models, use_cores
    from trim_pomdp.lab.problems import draw
    from trim_pomdp.lab.solving import CAPS, FORMAT, run_solutions

    use_cores(1)
    models, problems = load_models(), draw("mixed", "test", 0, 60)

    def run(rule: Rule) -> list[SolutionRecord]:
        routing = Routing(rule, caps=CAPS, format=FORMAT)
        return run_solutions([routing.start(problem) for problem in problems], models)

    weak, strong = (run(StrategyRule(strategy=name)) for name in ("weak", "strong"))
    rule = QueryRandomRule(threshold=0.5)
    live = [record.terminal for record in run(rule)]
    assert timeless(cascade(rule, problems, weak, strong)) == timeless(live)
    assert 10 < sum(end.tokens.strong > 0 for end in live) < 50
