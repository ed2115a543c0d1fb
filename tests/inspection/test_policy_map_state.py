"""The map of a policy, against what its router decides, cell by cell."""

import json

import numpy as np
import pytest
from scripted import MODEL, alpha_rule

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.policy_maps import policy_map_state
from trim_pomdp.planning.plots import gains
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter

RULE = alpha_rule()


def decided(rule, step, q, score, ended):
    router = AlphaVectorRouter(rule, q=q)
    return router.decide(tp.StepObservation(step=step, ended=ended, features={"score": score}))


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("step", [0, 1, 4])
def test_every_cell_is_what_the_router_decides(step, ended):
    state = policy_map_state(RULE, step, ended=ended)
    grid = state["grid"]
    assert grid["edges"] == list(RULE.score_edges)
    assert np.shape(grid["values"]) == (len(grid["edges"]), len(grid["q"]))
    signs = set()
    for row, score in zip(grid["values"], grid["edges"], strict=True):  # a lower edge lies in its bin
        for value, q in zip(row, grid["q"], strict=True):
            decision = decided(RULE, step, q, score, ended)
            assert value == pytest.approx(decision.gain - decision.price, rel=6e-3, abs=1e-9)
            signs.add(decision.action)
    # First errors never end the solution at once here, so that a first step that ends it is right, and kept.
    assert signs == ({0} if ended and step == 0 else {0, 1})


def test_the_line_is_where_gain_is_price():
    rule = tp.policy_for_tradeoff(tp.load_preset("qwen2.5-1.5b-7b-math").routing_model(), 0.1).policy
    state = policy_map_state(rule, 2)
    assert state["grid"]["zero"]
    middles = np.append(0.5 * (np.array(rule.score_edges)[:-1] + np.array(rule.score_edges)[1:]), 1.0)
    met = 0
    for line in state["grid"]["zero"]:
        for q, score in zip(line["q"], line["score"], strict=True):
            j = int(np.abs(middles - score).argmin())
            if abs(middles[j] - score) < 1e-6:
                gain, price = gains(rule, 2, np.array([q]))
                assert abs(gain[0, j] - price[0, j]) < 0.01 * state["grid"]["limit"]
                met += 1
    assert met > 10


def test_of_a_mixture_the_likelier_part_with_a_map_is_shown():
    mixture = tp.MixedRule(first=alpha_rule(3.0), second=RULE, probability=0.3)
    assert policy_map_state(mixture)["part"] == 0
    assert policy_map_state(mixture, part=1)["grid"] == policy_map_state(RULE)["grid"]
    half = tp.MixedRule(first=tp.StrategyRule(strategy="weak"), second=RULE, probability=0.1)
    state = policy_map_state(half)
    assert state["part"] == 1
    assert [part["label"] for part in state["parts"]] == ["weak-only", "λ = 1.5"]
    assert [part["probability"] for part in state["parts"]] == [0.9, 0.1]
    assert "no map" in policy_map_state(half, part=0)["why_not"]


def test_policies_without_a_score_have_no_map_and_say_why():
    paper = tp.load_preset("qwen2.5-1.5b-7b-math-paper").routing_model()
    for policy, why in [
        (tp.policy_for_tradeoff(paper, 0.5), "smallest score before"),
        (tp.ThresholdRule(threshold=0.4), "threshold policy weighs no gain"),
    ]:
        state = json.loads(json.dumps(policy_map_state(policy), allow_nan=False))
        assert state["grid"] is None
        assert why in state["why_not"]


def test_a_step_beyond_the_last_is_the_last_and_nonsense_is_refused():
    assert policy_map_state(RULE, 99)["step"] == MODEL.dynamics.max_steps - 2
    with pytest.raises(InputError, match="step index is -1"):
        policy_map_state(RULE, -1)
    with pytest.raises(InputError, match="no part 1"):
        policy_map_state(RULE, part=1)


def test_an_evidence_score_has_no_threshold_beside_it():
    rule = tp.policy_for_tradeoff(tp.load_preset("lab-loop.logprob").routing_model(), 0.1).policy
    state = policy_map_state(rule, threshold=0.4)
    assert state["threshold"] is None
    assert state["score"] == "evidence score (logprob)"
    assert policy_map_state(RULE, threshold=0.4)["threshold"] == 0.4
