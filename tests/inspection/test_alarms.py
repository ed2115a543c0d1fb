"""The alarm on live scores: silent where the model is true, and on models that are not; what is spoiled is named."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from scripted import MODEL, WORLD, alpha_rule, dummy_models

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.alarms import CELLS, ScoreAlarm, score_alarm
from trim_pomdp.model.observations import StepEmission
from trim_pomdp.policies import RedraftRule, StrategyRule, ThresholdRule
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing


def solved(rule, n=400, world=WORLD, record_scores=False, seed=3) -> list[SolutionRecord]:
    routing = Routing(rule, seed=seed, class_table=MODEL.observations.class_table, record_scores=record_scores)
    problems, records = [Problem(f"p{i}", f"prompt {i}", "7") for i in range(n)], []
    asyncio.run(solve_all(problems, routing.start, dummy_models(world), records.append))
    return records


def spoiled(records, change):
    """Records whose PRM replied otherwise."""

    def step(item):
        if item.scoring is None:
            return item
        return item.model_copy(
            update={"scoring": item.scoring.model_copy(update={"scores": change(item.scoring.scores)})}
        )

    return [SolutionRecord(tuple(map(step, record.decisions)), record.terminal) for record in records]


@pytest.fixture(scope="module")
def plain() -> list[SolutionRecord]:
    return solved(ThresholdRule(threshold=0.5))


RULES = [ThresholdRule(threshold=0.5), alpha_rule(), RedraftRule(redraft_below=0.5, regenerate_below=0.2, max_drafts=2)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.form)
def test_no_alarm_where_the_model_is_true(rule):
    """Of a policy with a belief and of others, which the model's filter follows; p is that of a true model."""
    found = score_alarm(solved(rule), MODEL)
    assert found.steps > 800
    assert found.p > 0.001
    assert not found.raised
    assert found.changed == 0.0
    assert sum(found.shares) == pytest.approx(1.0)


@pytest.mark.slow
def test_p_is_uniform_where_the_model_is_true(plain):
    """Many draws within bins, each of its own problems."""
    p = [score_alarm(plain[i : i + 50], MODEL, seed=i).p for i in range(0, 400, 50)]
    p += [score_alarm(solved(ThresholdRule(threshold=k / 20), n=120, seed=k), MODEL, seed=k).p for k in range(1, 20)]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) < 0.05) < 0.25


def test_harsher_scores_are_called_lower(plain):
    found = score_alarm(spoiled(plain, lambda scores: tuple(s**3 for s in scores)), MODEL)
    assert found.raised
    assert "lower scores than the plan was made on" in found.reasons[0]
    kinder = score_alarm(spoiled(plain, lambda scores: tuple(s**0.2 for s in scores)), MODEL)
    assert "higher scores" in kinder.reasons[0]


def test_scores_of_other_solutions_change_when_read_again(plain):
    rng = np.random.default_rng(0)
    found = score_alarm(spoiled(plain, lambda scores: tuple(rng.permutation(scores).tolist())), MODEL)
    assert found.changed > 0.05
    assert any("mixed up between solutions" in reason for reason in found.reasons)


def test_padded_scores_are_doubled(plain):
    found = score_alarm(spoiled(plain, lambda scores: (scores[0], *scores[:-1])), MODEL)
    assert found.doubled == 1.0
    assert any("one step off" in reason for reason in found.reasons)
    assert score_alarm(plain, MODEL).doubled < 0.1


def test_a_blunt_prm_is_noticed(plain):
    """The model believes in another PRM than the one that scores."""
    emission = MODEL.observations.step_emission
    swapped = StepEmission(score_edges=emission.score_edges, right=emission.wrong, wrong=emission.right)
    other = replace(MODEL, observations=MODEL.observations.model_copy(update={"step_emission": swapped}))
    assert score_alarm(plain, other).raised


def test_cells_are_equally_likely_by_hand():
    """One step, all that is expected of it known: places fall evenly within its bin."""
    one = solved(StrategyRule(strategy="weak"), n=3, record_scores=True)
    with pytest.raises(InputError, match="no weak step was scored"):
        score_alarm([SolutionRecord((), one[0].terminal)], MODEL)
    first = solved(ThresholdRule(threshold=0.5), n=1)[0]
    found = score_alarm([SolutionRecord(first.decisions[:1], first.terminal)], MODEL)
    assert found.steps == 1
    place = found.shares.index(1.0)
    score = first.decisions[0].scoring.scores[-1]
    j = int(MODEL.observations.bins(np.array([score]))[0])
    expected = np.array([0.85, 0.0, 0.15]) @ MODEL.emission
    below = expected[:j].sum()
    assert below * CELLS - 1 < place < (below + expected[j]) * CELLS


def test_strong_steps_alone_tell_nothing():
    with pytest.raises(InputError, match="no weak step was scored"):
        score_alarm(solved(StrategyRule(strategy="strong"), n=5), MODEL)


def test_few_steps_raise_nothing():
    alarm = ScoreAlarm(
        steps=8, shares=(1.0, *[0.0] * 9), distance=0.9, p=0.01, read_again=0, changed=0.0, doubled=1.0, solutions=3
    )
    assert not alarm.raised
    few = {"steps": 60, "shares": (0.1,) * 10, "distance": 0.0, "p": 1.0, "doubled": 0.0, "solutions": 20}
    for read_again, changed in ((1, 1), (9, 9), (40, 1)):
        assert not ScoreAlarm(read_again=read_again, changed=changed / read_again, **few).raised
    assert ScoreAlarm(read_again=40, changed=2 / 40, **few).raised
