"""The routing model refuses what it cannot plan for, and its epoch model is a probability model."""

import numpy as np
import pytest

from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.presets.store import load_preset


@pytest.mark.parametrize("preset", ["qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"])
def test_epoch_model_sums_to_one(preset: str) -> None:
    model = load_preset(preset).routing_model()
    joint = model.epoch_model.joint
    assert np.allclose(joint.sum(axis=(1, 3, 5)), 1.0, atol=1e-12)
    assert model.epoch_model.component_names == model.components


def test_a_budget_needs_tokens() -> None:
    model = load_preset("qwen2.5-1.5b-7b-math").routing_model()
    free = model.dynamics.replace(strong_tokens=PerClass.constant(0.0), strong_only_tokens=None)
    with pytest.raises(InputError, match="costs no strong token"):
        RoutingModel(model.observations, free)


def test_labelled_emission_needs_labels() -> None:
    model = load_preset("qwen2.5-1.5b-7b-math").routing_model()
    step = model.observations.step_emission.model_copy(update={"derailed": None})
    observations = model.observations.model_copy(update={"step_emission": step, "class_table": None})
    assert RoutingModel(observations, model.dynamics).emission.shape == (3, step.size)
    labelled = model.dynamics.replace(derailed_emission="labelled")
    with pytest.raises(UnsetParameterError, match="S1"):
        _ = RoutingModel(observations, labelled).emission


@pytest.mark.parametrize("reward", [0.0, -1.0, float("nan")])
def test_reward_must_be_positive(reward: float) -> None:
    model = load_preset("qwen2.5-1.5b-7b-math").routing_model()
    with pytest.raises(InputError, match="reward"):
        RoutingModel(model.observations, model.dynamics, reward)
