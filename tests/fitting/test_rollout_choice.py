"""Which structure a fit takes, and how often others are drawn."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from trim_pomdp.fitting.parameters import SEQUENCE_CANDIDATES
from trim_pomdp.fitting.rollout_choice import Choice, averaging_weights, simplest
from trim_pomdp.fitting.rollout_estimation import Plan


def test_the_simplest_that_is_not_clearly_worse() -> None:
    best = np.array([-10.0, -11.0, -9.0, -10.0, -10.0])
    near = np.array([-11.0, -10.1, -9.9, -9.2, -10.0])
    worse = np.array([-10.9, -12.0, -10.1, -11.0, -11.0])
    assert simplest([4, 2, 3], [best, near, worse]) == 1
    assert simplest([4, 5, 3], [best, near, worse]) == 0, "the simpler one is clearly worse"
    assert simplest([2, 2, 1], [near, best, worse]) == 1, "of two that are equally simple the better"
    assert simplest([4, 3], [best, best - 1e-5]) == 1, "what an optimiser leaves is no difference, however steady"


def test_structures_weigh_what_held_out_data_say() -> None:
    even = np.full(5, -10.0)
    assert averaging_weights([even, even], 0) == pytest.approx([0.5, 0.5])
    assert averaging_weights([even, even - 0.2], 0) == pytest.approx([expit(1.0), 1 - expit(1.0)]), "a nat in all"
    assert averaging_weights([even, even - 10.0, even], 0)[1] < 1e-9
    # A difference that folds do not agree on is no certainty, as it would be without their bootstrap.
    doubtful = even + np.array([8.0, -9.0, -9.0, 8.0, -2.0])
    assert 0.2 < averaging_weights([even, doubtful], 0)[1] < 0.5
    assert averaging_weights([even, even - 4.0], 3).sum() == pytest.approx(1.0)


def test_plans_are_drawn_as_often_as_they_weigh() -> None:
    tied, free = SEQUENCE_CANDIDATES[0], SEQUENCE_CANDIDATES[-1]
    choice = Choice(
        Plan(tied, "alike", ()),
        (tied, free),
        ((False, "alike"), (True, "before")),
        (np.array([0.25, 0.75]), np.array([1.0, 0.0])),
    )
    rng = np.random.default_rng(0)
    drawn = [choice.draw(rng) for _ in range(400)]
    assert {plan.ends for plan in drawn} == {"alike"}
    assert np.mean([plan.explanation == free for plan in drawn]) == pytest.approx(0.75, abs=0.1)
    steep = replace(choice, shares=(np.array([0.0, 1.0]), np.array([0.0, 1.0]))).draw(rng)
    assert steep.explanation.free == (*free.free, "weak_success_slope")
    assert steep.ends == "before"
