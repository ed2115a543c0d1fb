"""``==`` of everything public that holds arrays, or caches them: true of a copy, false of any change, no error."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.data.features import ClassFeatures
from trim_pomdp.data.processbench import LabelledScores
from trim_pomdp.equality import same
from trim_pomdp.model.hazard import HazardTrials
from trim_pomdp.model.propagation import routing_moments
from trim_pomdp.planning.frontier import Frontier, FrontierPoint, policy_for_tradeoff

PRESET = "lab-loop.prm"


@pytest.fixture(scope="module")
def used() -> dict[str, Any]:
    """Things as they are after use: their properties, arrays mostly, are cached."""
    model = tp.load_preset(PRESET).routing_model()
    policy = policy_for_tradeoff(model, 0.5)
    batch = tp.SequenceBatch(
        np.array([[0.1, 1.0], [np.nan, 0.3]]), np.array([1, 2]), np.array([True, False]), np.array(["a", "b"])
    )
    assert policy.planned is not None
    end = tp.evaluate(tp.StrategyRule(strategy="weak"), model)
    moments = routing_moments(np.ones((1, 3)), np.array([0.9]), np.ones((1, 3)), model.outcomes[-1:])
    return {
        "model": model,
        "observations": model.observations,
        "step emission": model.observations.step_emission,
        "dynamics": model.dynamics,
        "policy": policy,
        "rule": policy.policy,
        "tables": policy.policy.tables,  # type: ignore[attr-defined]
        "frontier": Frontier(model, (FrontierPoint(policy.planned, 1.0, 2.0),), (), end, end, 1.0, 2.0, 1e-5),
        "batch": batch,
        "features": ClassFeatures(
            {"S0": np.array([[np.nan, 0.5]])}, {"S0": np.array(["a"])}, {"S0": {"x": np.zeros(1)}}
        ),
        "labelled": LabelledScores(np.array([0.5]), np.array([True]), np.array(["a"])),
        "trials": HazardTrials(np.array([1.0]), np.array([0.5])),
        "moments": moments,
    }


def other(value: Any) -> Any:
    """A value of the same kind that is another one; None where this does not know one."""
    if isinstance(value, np.ndarray):
        if not value.size:  # nothing in it to change: one row more along its empty axes
            return np.ones([length or 1 for length in value.shape], value.dtype)
        if value.dtype.kind == "b":
            return ~value
        return np.char.add(value, "x") if value.dtype.kind == "U" else value + 1
    if isinstance(value, dict):
        return {key: other(item) for key, item in value.items()}
    if isinstance(value, (int, float)):
        return value + 1
    return None


NAMES = (
    "model", "observations", "step emission", "dynamics", "policy", "rule", "tables", "frontier", "batch", "features",
    "labelled", "trials", "moments",
)  # fmt: skip


# The others hold mappings, which pydantic and dataclasses do not hash.
HASHED = ("step emission", "rule", "tables", "batch", "features", "labelled", "trials", "moments")


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_equal_and_has_the_same_hash(name: str, used: dict[str, Any]) -> None:
    item = used[name]
    twin = copy.deepcopy(item)
    assert item == item
    assert item == twin
    assert not item != twin  # noqa: SIM202
    assert item != "something else"
    if name in HASHED:
        assert hash(item) == hash(twin)


@pytest.mark.parametrize("name", ["tables", "batch", "features", "labelled", "trials", "moments"])
def test_a_change_of_any_field_is_seen(name: str, used: dict[str, Any]) -> None:
    item = used[name]
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if (changed := other(value)) is not None:
            assert dataclasses.replace(item, **{field.name: changed}) != item, field.name


def test_records_that_differ_in_a_field_are_not_equal(used: dict[str, Any]) -> None:
    dynamics, rule = used["dynamics"], used["rule"]
    assert dynamics != dynamics.model_copy(update={"repair": 0.123})
    assert rule != rule.model_copy(update={"tradeoff": 0.123})
    assert used["model"] != tp.RoutingModel(used["observations"], dynamics, 99.0)
    assert tp.ThresholdRule(threshold=0.5) != tp.StrategyRule(strategy="weak")
    assert tp.load_preset(PRESET) == tp.load_preset(PRESET)


def test_how_long_planning_took_does_not_enter(used: dict[str, Any]) -> None:
    frontier = used["frontier"]
    assert dataclasses.replace(frontier, elapsed_s=9.0, compile_s=9.0) == frontier
    assert dataclasses.replace(frontier, gap=1e-3) != frontier


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0]), np.array([[1.0]]), False),
        (np.array(["a"]), np.array(["a"]), True),
        ({"a": (np.zeros(2), [1])}, {"a": (np.zeros(2), [1])}, True),
        ({"a": np.zeros(2)}, {"b": np.zeros(2)}, False),
        ((np.zeros(2),), (np.zeros(2), np.zeros(2)), False),
        (np.zeros(2), None, False),
        (None, None, True),
    ],
)
def test_values_are_compared_by_what_they_hold(first: Any, second: Any, expected: bool) -> None:
    assert same(first, second) is expected
