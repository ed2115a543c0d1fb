"""Combinations of sources and explanations: what goes together, what is refused, what stays true of the result."""

import numpy as np
import pytest

from trim_pomdp.errors import InputError
from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
from trim_pomdp.fitting.likelihood import Sequences
from trim_pomdp.fitting.parameters import LATE_END
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import end_points
from trim_pomdp.planning.synthetic import draw_labelled, draw_pilot, draw_sequences, draw_step_counts
from trim_pomdp.presets.store import load_preset

THRESHOLDS = (0.0, 0.1, 0.5, 1.0)


@pytest.fixture(scope="module")
def model() -> RoutingModel:
    return load_preset("qwen2.5-1.5b-7b-math").routing_model()


@pytest.fixture(scope="module")
def sources(model: RoutingModel) -> Sources:
    rng = np.random.default_rng(0)
    return Sources(
        weak_counts=draw_step_counts(model.dynamics, 2_000, rng), pilot=draw_pilot(model, THRESHOLDS, 1_000, rng)
    )


def test_hazards_by_class_do_not_mix_with_a_pilot(model: RoutingModel, sources: Sources) -> None:
    labelled = draw_labelled(model.dynamics, 200, np.random.default_rng(1))
    both = Sources(pilot=sources.pilot, labelled=labelled)
    with pytest.raises(InputError, match="labelled solutions and step counts alone"):
        fit_dynamics("x", both, model.observations, class_hazards=True)


@pytest.mark.parametrize("explanation", ["false-alarms", "late-end"])
def test_the_artifact_implies_what_its_checks_say(model: RoutingModel, sources: Sources, explanation: str) -> None:
    dynamics = fit_dynamics("x", sources, model.observations, explanation=explanation, rivals=False, intervals=False)
    assert dynamics.fit is not None
    weak, strong = end_points(RoutingModel(model.observations, dynamics))
    implied = {c.threshold: c.implied for c in dynamics.fit.checks if c.quantity == "accuracy"}
    assert weak.accuracy == pytest.approx(implied[0.0], abs=1e-12)
    assert strong.accuracy == pytest.approx(implied[1.0], abs=1e-12)
    assert strong.budget == pytest.approx(1.0, abs=1e-9)


def test_a_mixture_over_problems_cannot_be_asked_for(model: RoutingModel, sources: Sources) -> None:
    with pytest.raises(InputError, match="rival only"):
        fit_dynamics("x", sources, model.observations, explanation="difficulty-spread", intervals=False)


def test_observations_without_s1_leave_labelled_rivals_out(model: RoutingModel, sources: Sources) -> None:
    step = model.observations.step_emission.model_copy(update={"derailed": None})
    without = model.observations.model_copy(update={"step_emission": step, "class_table": None})
    with pytest.raises(InputError, match="S1 density as labelled"):
        fit_dynamics("x", sources, without, explanation="late-end", rivals=False, intervals=False)
    found = fit_dynamics("x", sources, without, explanation="false-alarms", rivals=False, intervals=False)
    assert found.derailed_emission == "local"


def test_sequences_know_the_emission_and_the_hazard_of_derailed_steps(model: RoutingModel) -> None:
    batch = draw_sequences(model, 300, np.random.default_rng(2))
    hazard = model.dynamics.hazard
    values = LATE_END.complete({"weak_success": 0.88, "derailed_hazard_factor": 0.4})
    labelled = Sequences(batch, model.observations, hazard, labelled=True).log_likelihood(values)
    local = Sequences(batch, model.observations, hazard).log_likelihood(values)
    even = Sequences(batch, model.observations, hazard, labelled=True).log_likelihood(
        {**values, "derailed_hazard_factor": 1.0}
    )
    assert labelled != local
    assert labelled != even


@pytest.mark.slow
def test_the_ridge_is_reported_without_intervals_too(model: RoutingModel, sources: Sources) -> None:
    found = fit_dynamics("x", sources, model.observations, explanation="false-alarms", rivals=False, intervals=False)
    assert found.fit is not None
    assert {"repair", "misses", "look_right"} <= set(found.fit.unidentified)


def test_strong_counts_alone_say_what_is_missing(model: RoutingModel) -> None:
    counts = draw_step_counts(model.dynamics, 100, np.random.default_rng(0))
    with pytest.raises(InputError, match="do not tell the weak model's success"):
        fit_dynamics("x", Sources(strong_counts=counts), model.observations)


def test_a_row_counts_once(model: RoutingModel, sources: Sources) -> None:
    with pytest.raises(InputError, match="named twice"):
        fit_dynamics("x", sources, model.observations, fit_thresholds=(0.1, 0.1))


def test_absurd_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        PerClass.constant(1e200)
