"""Densities, transfer, what a score is worth: against the model's own tables, brute force, and scipy's intervals."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest
from scripted import DYNAMICS, MODEL, OBSERVATIONS

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.observation_views import (
    ObservationView,
    measured_reliability,
    observation_state,
    separation,
)

PRESETS = ("qwen2.5-1.5b-7b-math", "lab-loop", "lab-loop.logprob", "qwen2.5-1.5b-7b-math-paper")


@pytest.mark.parametrize("preset", PRESETS)
def test_it_begins_where_the_model_is(preset):
    model = tp.load_preset(preset).routing_model()
    view = ObservationView(model)
    at = view.start
    table = view.table(at["look_right"], at["false_alarms"], at["misses"])
    assert table == pytest.approx(model.emission, abs=1e-15)
    state = json.loads(json.dumps(view.state(), allow_nan=False))
    assert [sum(row) for row in state["densities"]] == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)
    assert len(state["bins"]) == len(state["densities"][0])
    assert state["over_minimum"] == (preset == "qwen2.5-1.5b-7b-math-paper") == state["as_labelled"]


def test_sliders_move_what_the_model_s_own_transfer_moves():
    moved = DYNAMICS.replace(false_alarms=0.3, misses=0.1, look_right=0.4)
    view = ObservationView(MODEL)
    assert view.table(0.4, 0.3, 0.1) == pytest.approx(OBSERVATIONS.class_emission(moved), abs=1e-15)
    before, after = view.state(), view.state(false_alarms=0.3, misses=0.1, look_right=0.4)
    # S0 in the bins .2–.5, of which each display bin .2–.3, .3–.4, .4–.5 has a third: .7 f_right + .3 f_wrong.
    assert after["densities"][0][3:6] == pytest.approx([(0.7 * 0.03 + 0.3 * 0.25) / 3] * 3)
    assert after["densities"][2][3:6] == pytest.approx([(0.9 * 0.25 + 0.1 * 0.03) / 3] * 3)
    assert after["auc"] < before["auc"]
    assert after["labelled"] == before["labelled"]
    assert after["labelled"][1] is None  # no derailed steps were labelled
    assert after["start"] == before["start"] == before["sliders"]


def test_observations_alone_are_as_they_were_labelled():
    state = observation_state(OBSERVATIONS)
    assert state["fitted"] is None
    assert state["sliders"] == {"false_alarms": 0.0, "misses": 0.0, "look_right": 0.5, "base_rate": 0.5}
    assert state["densities"][0] == pytest.approx(state["labelled"][0])
    # At even odds: steps of the bin .8–.95 are as often right as wrong, a score of 1 is right .5 to .04.
    worth = dict(zip(state["reliability"]["x"], state["reliability"]["y"], strict=True))
    assert worth[0.875] == pytest.approx(0.5)
    assert worth[1.0] == pytest.approx(0.5 / 0.54)


def test_the_base_rate_moves_what_a_score_is_worth_by_bayes():
    state = observation_state(OBSERVATIONS, base_rate=0.9)
    assert state["reliability"]["y"][0] == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.1 * 0.4))
    assert state["auc"] == observation_state(OBSERVATIONS)["auc"]


def test_separation_counts_pairs():
    rng = np.random.default_rng(3)
    for _ in range(20):
        right, wrong = rng.dirichlet(np.ones(7)), rng.dirichlet(np.ones(7))
        right[2] = wrong[2] = 0.0
        wrong[5] = 0.0
        right, wrong = right / right.sum(), wrong / wrong.sum()
        evidence = [np.inf if w == 0 and r > 0 else r / w if w > 0 else 1.0 for r, w in zip(right, wrong, strict=True)]
        pairs = sum(
            right[i] * wrong[j] * (1.0 if evidence[i] > evidence[j] else 0.5 if evidence[i] == evidence[j] else 0.0)
            for i in range(7)
            for j in range(7)
        )
        assert separation(right, wrong) == pytest.approx(pairs)
    assert separation(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.5
    assert separation(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == 1.0


def test_labelled_steps_are_measured_with_intervals():
    rng = np.random.default_rng(0)
    scores = rng.beta(2, 1, 2000)
    right = rng.random(2000) < scores
    points = measured_reliability(scores, right)
    assert len(points) == 10
    assert sum(point["n"] for point in points) == 2000
    assert all(150 < point["n"] < 250 for point in points)
    for point in points:
        ends = binomtest(round(point["y"] * point["n"]), point["n"]).proportion_ci(0.95, method="wilson")
        assert (point["low"], point["high"]) == pytest.approx((ends.low, ends.high), abs=1e-12)
    inside = sum(point["low"] <= point["x"] <= point["high"] for point in points)
    assert inside >= 8
    state = observation_state(OBSERVATIONS, labelled=(scores, right))
    assert state["sliders"]["base_rate"] == pytest.approx(right.mean())
    assert state["measured"] == points


def test_equal_scores_are_one_bin():
    points = measured_reliability(np.array([1.0] * 8 + [0.2] * 2), np.array([True] * 7 + [False] * 3))
    assert [(point["x"], point["y"], point["n"]) for point in points] == [(0.2, 0.0, 2), (1.0, 7 / 8, 8)]
    none = measured_reliability(np.array([0.2, 0.2]), np.array([False, False]))
    assert none[0]["low"] == 0.0


@pytest.mark.parametrize(
    ("labelled", "moved", "says"),
    [
        (([0.2], [True, False]), {}, "1 scores and 2 labels"),
        (([], []), {}, "at least one"),
        (([1.2], [True]), {}, "outside of"),
        (([0.2], [3]), {}, "neither 0"),
        (None, {"misses": 1.5}, "expected a probability"),
        (None, {"hits": 0.5}, "no slider 'hits'"),
    ],
)
def test_bad_input(labelled, moved, says):
    with pytest.raises(InputError, match=says):
        observation_state(OBSERVATIONS, labelled=labelled, **moved)


def test_it_takes_observations_or_what_has_them():
    with pytest.raises(InputError, match="expected observations"):
        observation_state("observations.json")
    assert observation_state(tp.load_preset("lab-loop"))["name"] == tp.load_preset("lab-loop").observations.name
