"""Families of weightings, against solving each alone."""

import numpy as np
import pytest

from solvers import ModelError
from solvers.examples import rocksample, tiger
from solvers.families import solve_family
from solvers.pomdp import POMDP
from solvers.solving import solve


def alone(pomdp, reward):
    return solve(
        POMDP(
            transition=pomdp.transition,
            observation=pomdp.observation,
            reward=reward,
            start=pomdp.start,
            discount=pomdp.discount,
            observed=pomdp.observed,
        )
    )


def parts_of(pomdp, costs):
    """The rewards, and a cost of 1 for each of the first actions."""
    cost = np.zeros_like(pomdp.reward)
    cost[:costs] = np.where(pomdp.terminal, 0.0, -1.0)
    return np.stack([pomdp.reward, cost])


@pytest.mark.parametrize("pomdp", [pytest.param(tiger(), marks=pytest.mark.slow), rocksample(3, [(1, 0), (2, 2)])])
def test_a_family_is_what_its_members_are(pomdp):
    parts = parts_of(pomdp, 4)
    weights = np.array([[1.0, 0.0], [1.0, 0.3], [1.0, 1.0], [0.0, 1.0], [1.0, 0.3]])
    family = solve_family(pomdp, parts, weights)
    for w, found, values in zip(weights, family.solutions, family.values, strict=True):
        single = alone(pomdp, np.tensordot(w, parts, 1))
        assert found.ended_by == "precision"
        assert found.lower <= single.upper + 1e-9
        assert single.lower <= found.upper + 1e-9
        assert values @ w == pytest.approx(found.lower, abs=1e-6)
        assert found.policy.value(pomdp.start) == pytest.approx(found.lower, abs=1e-9)
    assert (np.diff(family.values[:3, 1]) >= -1e-2).all()  # the dearer, the less of it


def test_shapes_are_checked():
    with pytest.raises(ModelError, match="weights"):
        solve_family(tiger(), [tiger().reward], [[1.0, 2.0]])
    with pytest.raises(ModelError, match="rewards"):
        solve_family(tiger(), [tiger().reward[:2]], [[1.0]])
