"""Every policy at run time, against the functions that evaluate it."""

import numpy as np
import pytest
from scripted import EDGES, MODEL, OBSERVATIONS, alpha_rule

from trim_pomdp import _kernels
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.policies import (
    AlphaVectorRule,
    MixedRule,
    PosteriorRule,
    Router,
    Rule,
    ScheduleRule,
    StepObservation,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter, decide
from trim_pomdp.policies.base import SetupError
from trim_pomdp.presets.store import load_preset

TABLE = OBSERVATIONS.class_table


def seen(score: float | None = None, *, t: int = 0, ended: bool = False, **more: float) -> StepObservation:
    features = {"tokens": 5.0, "logprob_min": -1.0, "logprob_mean": -0.5, **more}
    if score is not None:
        features["score"] = score
    return StepObservation(t, ended, features)


def routed(rule: Rule, problem: str = "p", seed: int = 0) -> Router:
    return rule.router(Problem(problem, "?"), seed=seed, class_table=TABLE)


def action(rule: Rule, observation: StepObservation) -> int:
    return routed(rule, seed=3).decide(observation).action


@pytest.fixture(scope="module")
def fitted() -> AlphaVectorRule:
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    rule = policy_for_tradeoff(load_preset("qwen2.5-1.5b-7b-math").routing_model(), 0.1).policy
    assert isinstance(rule, AlphaVectorRule)
    return rule


@pytest.mark.parametrize("which", [pytest.param("fitted", marks=pytest.mark.slow), "hazards by class", "stretched"])
def test_alpha_vector_decisions_are_those_that_are_evaluated(which: str, fitted: AlphaVectorRule) -> None:
    """Decision by decision against `decide`, and q by q against the kernels, beyond the rule's cap too."""
    rule = {
        "fitted": fitted,
        "hazards by class": alpha_rule(),
        # Impossible scores and ends: a bin that no right step emits, an end that no class explains.
        "stretched": alpha_rule().model_copy(
            update={
                "emission_right": (0.0, 0.05, 0.05, 0.1, 0.3, 0.5),
                "emission_derailed": (0.0, 0.3, 0.3, 0.2, 0.1, 0.1),
                "emission_wrong": (0.0, 0.65, 0.15, 0.1, 0.06, 0.04),
                "hazard": (0.0, 0.1, 0.2, 0.3, 0.4, 1.0),
                "hazard_derailed": (0.0, 0.05, 0.1, 0.2, 0.3, 1.0),
                "hazard_wrong": (0.0, 0.0, 0.1, 0.5, 0.2, 1.0),
                "recovery": (0.3, 0.3, 0.25, 0.2, 0.15, 0.1),
            }
        ),
    }[which]
    router = AlphaVectorRouter(rule)
    tables = rule.tables
    assert rule.score_edges is not None
    edges = np.array(rule.score_edges)
    rng = np.random.default_rng(1)
    actions = []
    for _ in range(300):
        q = router.q = 1.0
        for t in range(rule.max_steps + 3):
            score = float(rng.choice([rng.random(), rng.choice(edges), 1.0 - 10 ** rng.uniform(-4, -1)]))
            ended = bool(rng.random() < 0.1)
            assert router.q == q
            got = router.decide(seen(score, t=t, ended=ended))
            assert got.q == q

            j = int(np.searchsorted(edges, score, side="right") - 1)
            wanted = decide(rule, np.array([q]), np.array([j]), np.array([ended]), np.array([t]))[0]
            assert got.action == (REGENERATE if wanted else KEEP)

            row = _kernels.rule_step(t, rule.max_steps, ended)
            ends = _kernels.end_evidence(tables.end, row, ended)
            prior = _kernels.opening(q, tables.success[row])
            b = _kernels.weighed(prior, _kernels.by_class(tables.emission, j), ends)
            t_ = tables
            best, gain, price, redo, keep = _kernels.best_other(
                b, j, int(ended), row, b, 0, row, t_.vectors, t_.offset, t_.after, t_.price, t_.reward, t_.codes,
                t_.again, t_.former, t_.same, 0, False, t_.drafts, t_.draft_vectors, t_.draft_offset,
            )  # fmt: skip
            assert best == REGENERATE
            assert got.belief == tuple(b)
            assert (got.gain, got.price) == (gain, price)
            after = tuple(_kernels.cell_of(value, tables.cells) / tables.cells for value in (keep, redo))
            assert got.after == after
            assert got.evidence is None, "it is the PRM's score"
            actions.append(got.action)
            assert got.after is not None
            q = got.after[got.action]
    assert 0.02 < np.mean(actions) < 0.98, "both actions were tried"


def test_a_rule_may_leave_out_the_hazard_of_first_errors() -> None:
    rule = alpha_rule().model_copy(update={"hazard_wrong": None})
    np.testing.assert_array_equal(rule.tables.end[:, 2], rule.hazard)
    for changes in ({"hazard_derailed": None}, {"hazard": None, "hazard_derailed": None}, {"hazard": (0.1, 1.0)}):
        with pytest.raises(ValueError, match="hazard"):
            AlphaVectorRule.model_validate({**alpha_rule().model_dump(), **changes})


def test_alpha_vectors_on_minimum_and_score() -> None:
    rule = alpha_rule().model_copy(
        update={
            "score_edges": None,
            "emission_right": OBSERVATIONS.posterior_table.right,
            "emission_derailed": OBSERVATIONS.posterior_table.derailed,
            "emission_wrong": OBSERVATIONS.posterior_table.wrong,
        }
    )
    router = AlphaVectorRouter(rule, TABLE)
    rng = np.random.default_rng(2)
    actions = []
    for minimum, score, q in rng.random((500, 3)):
        j = OBSERVATIONS.posterior_table.bins(np.array(minimum), np.array(score))
        wanted = decide(rule, np.array([q]), np.array([j]), np.array([False]), np.array([1]))[0]
        router.q = float(q)
        got = router.decide(seen(float(score), t=1, minimum=float(minimum)))
        assert got.action == int(wanted)
        actions.append(got.action)
    assert len(set(actions)) == 2
    with pytest.raises(UnsetParameterError, match="class table"):
        AlphaVectorRouter(rule)
    smaller = OBSERVATIONS.posterior_table.model_copy(update={"right": (1.0,), "derailed": (1.0,), "wrong": (1.0,)})
    with pytest.raises(InputError, match="planned on 9 bins"):
        AlphaVectorRouter(rule, smaller)


def test_evidence_takes_the_scores_place() -> None:
    evidence = EvidenceMap(features=("logprob_min",), coefficients=(0.5,), intercept=-1.0)
    plain = alpha_rule()
    mapped = plain.model_copy(update={"evidence": evidence})
    assert plain.needs_score
    assert not mapped.needs_score
    both = evidence.model_copy(update={"features": ("logprob_min", "score"), "coefficients": (0.5, 0.5)})
    assert plain.model_copy(update={"evidence": both}).needs_score
    for low in (-9.0, -2.0, -0.01):
        z = evidence_score(evidence, {"logprob_min": low})
        got = AlphaVectorRouter(mapped, q=0.9).decide(seen(logprob_min=low))
        assert got.evidence == z
        wanted = AlphaVectorRouter(plain, q=0.9).decide(seen(z))
        assert (got.belief, got.action) == (wanted.belief, wanted.action)


@pytest.mark.parametrize("threshold", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("score", [0.0, 0.3999, 0.4, 1.0])
def test_threshold(threshold: float, score: float) -> None:
    rule = ThresholdRule(threshold=threshold)
    assert action(rule, seen(score)) == rule.act(score)


@pytest.mark.parametrize(("threshold", "wanted"), [(0.0, KEEP), (1.0, REGENERATE)])
def test_extreme_thresholds_need_no_score(threshold: float, wanted: int) -> None:
    rule = ThresholdRule(threshold=threshold)
    assert not rule.needs_score
    assert action(rule, seen()) == wanted


def test_posterior_rule() -> None:
    rule = PosteriorRule(closeness=0.3)
    rng = np.random.default_rng(0)
    wanted = []
    for minimum, score in rng.random((200, 2)):
        belief = OBSERVATIONS.posterior_table.posterior(np.array(minimum), np.array(score))
        wanted.append(int(rule.act(belief)))
        assert action(rule, seen(float(score), minimum=float(minimum))) == wanted[-1]
    assert len(set(wanted)) == 2
    with pytest.raises(UnsetParameterError, match="class table"):
        rule.router(Problem("p", "?"))
    with pytest.raises(UnsetParameterError, match="class table"):
        rule.require(None)


def test_strategies() -> None:
    weak, strong = (routed(StrategyRule(strategy=s)) for s in ("weak", "strong"))  # type: ignore[arg-type]
    assert (weak.writer(0), strong.writer(0)) == ("weak", "strong")
    oracle = routed(StrategyRule(strategy="oracle"))
    assert oracle.writer(0) is None
    assert [oracle.decide(StepObservation(0, False, {}, c)).action for c in (0, 1, 2)] == [KEEP, KEEP, REGENERATE]
    with pytest.raises(SetupError, match="true classes"):
        oracle.decide(StepObservation(0, False, {}, None))
    schedule = routed(ScheduleRule(strong_steps=frozenset({1})))
    assert (schedule.writer(0), schedule.writer(1)) == ("weak", "strong")


def test_random_steps_are_keyed_by_problem_step_and_seed() -> None:
    rule = StrategyRule(strategy="random", probability=0.3)

    def drawn(seed: int) -> list[int]:
        return [routed(rule, f"p{i}", seed).decide(seen(t=t)).action for i in range(100) for t in range(20)]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert np.mean(drawn(0)) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 2000))
    by_step = np.array(drawn(0)).reshape(100, 20)
    assert (by_step.std(axis=1) > 0).mean() > 0.9, "steps of one problem draw apart"


def test_mixtures_draw_once_per_problem() -> None:
    rule = MixedRule(first=ThresholdRule(threshold=0.4), second=StrategyRule(strategy="strong"), probability=0.25)

    def strong_alone(seed: int, step: int = 0) -> list[bool]:
        return [routed(rule, f"p{i}", seed).writer(step) == "strong" for i in range(2000)]

    second = strong_alone(5)
    assert np.mean(second) == pytest.approx(0.25, abs=4 * np.sqrt(0.1875 / 2000))
    assert strong_alone(5, step=7) == second
    assert strong_alone(6) != second
    assert rule.needs_score


def test_hash_tells_rules_apart() -> None:
    rules = [ThresholdRule(threshold=0.4), ThresholdRule(threshold=0.5), StrategyRule(strategy="weak"), alpha_rule()]
    assert len({rule.policy_hash for rule in rules}) == len(rules)
    again = AlphaVectorRule.model_validate_json(alpha_rule().model_dump_json())
    assert alpha_rule().policy_hash == again.policy_hash


def test_the_rules_bins_are_those_of_the_model() -> None:
    assert alpha_rule().score_edges == EDGES == MODEL.observations.step_emission.score_edges
