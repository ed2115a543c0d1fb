"""What a plan rests on: each parameter at the ends of its interval, against models written down with these values."""

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS

import trim_pomdp as tp
from trim_pomdp.model.dynamics import FitReport, Interval, StepDynamics


def interval(estimate: float, low: float, high: float, *, identified: bool = True) -> Interval:
    return Interval(estimate=estimate, low=low, high=high, level=0.95, method="profile", identified=identified)


INTERVALS = {
    "weak_success": interval(0.85, 0.83, 0.86),
    "repair": interval(0.7, 0.4, 0.9, identified=False),
    "misses": interval(0.0, 0.0, 0.2),
    "strong_tokens.wrong": interval(9.5, 5.0, 15.0),
    "weak_tokens.right": interval(8.0, 7.0, 9.0),
    "hazard.1": interval(0.02, 0.01, 0.03),
}


@pytest.fixture(scope="module")
def model() -> tp.RoutingModel:
    report = FitReport(explanation="by hand", sources=(), log_likelihood=0.0, intervals=INTERVALS)
    # The unit of a budget is fixed at a fit.
    unit = MODEL.strong_only_tokens
    dynamics = DYNAMICS.model_copy(update={"fit": report, "strong_only_tokens": unit})
    return tp.RoutingModel(OBSERVATIONS, dynamics)


@pytest.fixture(scope="module")
def policy(model: tp.RoutingModel) -> tp.PolicyArtifact:
    return tp.policy_for_budget(model, 0.3)


CHANGED = {
    "weak_success": lambda value: {"weak_success": (value,)},
    "repair": lambda value: {"repair": value},
    "misses": lambda value: {"misses": value},
    "strong_tokens.wrong": lambda value: {"strong_tokens": {"right": 7.0, "derailed": 8.0, "wrong": value}},
}


def test_points_are_those_of_models_with_these_values(model: tp.RoutingModel, policy: tp.PolicyArtifact) -> None:
    found = tp.sensitivity(policy, model)
    assert found.planned == tp.evaluate(policy, model)
    assert {item.parameter for item in found.moved} == set(CHANGED), "hazards and kept tokens have no say"
    for item in found.moved:
        for end, point in ((item.interval.low, item.at_low), (item.interval.high, item.at_high)):
            dynamics = StepDynamics.model_validate(
                {**model.dynamics.model_dump(exclude={"fit"}), **CHANGED[item.parameter](end)}
            )
            assert point == tp.evaluate(policy, tp.RoutingModel(OBSERVATIONS, dynamics))


def test_what_matters_most_comes_first(model: tp.RoutingModel, policy: tp.PolicyArtifact) -> None:
    found = tp.sensitivity(policy, model)
    widths = [item.accuracies[1] - item.accuracies[0] for item in found.moved]
    assert widths == sorted(widths, reverse=True)
    assert found.moved[0].parameter == "repair"
    assert found.moved[0].at_low.accuracy < found.planned.accuracy < found.moved[0].at_high.accuracy
    tokens = found.moved[-1]
    assert tokens.parameter == "strong_tokens.wrong"
    assert widths[-1] == 0.0
    assert tokens.at_low.budget < found.planned.budget < tokens.at_high.budget


def test_it_shows_itself(model: tp.RoutingModel, policy: tp.PolicyArtifact) -> None:
    found = tp.sensitivity(policy, model)
    assert repr(found).startswith("Sensitivity(accuracy 0.")
    assert "rests most on 'repair (" in repr(found)
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(CHANGED)
    assert "<td>no</td>" in html
    png, shown = found.plot()._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert shown["width"] > 500


def test_weak_success_by_step_moves_as_a_whole(model: tp.RoutingModel) -> None:
    steps = range(1, len(DYNAMICS.hazard) + 1)
    known = {f"weak_success.{step}": interval(0.85, 0.80 + 0.01 * step, 0.90) for step in steps}
    report = FitReport(explanation="by hand", sources=(), log_likelihood=0.0, intervals=known)
    by_step = {"weak_success": (0.85,) * len(steps), "strong_only_tokens": MODEL.strong_only_tokens, "fit": report}
    dynamics = StepDynamics.model_validate({**DYNAMICS.model_dump(), **by_step})
    policy = tp.policy_for_budget(model, 0.3)
    (moved,) = tp.sensitivity(policy, tp.RoutingModel(OBSERVATIONS, dynamics)).moved
    low = dynamics.replace(weak_success=tuple(0.80 + 0.01 * step for step in steps))
    assert moved.at_low == tp.evaluate(policy, tp.RoutingModel(OBSERVATIONS, low))
    assert moved.interval.low == pytest.approx(0.835)


def test_dynamics_without_a_fit_tell_nothing() -> None:
    with pytest.raises(tp.InputError, match="tell no intervals"):
        tp.sensitivity(tp.StrategyRule(strategy="weak"), MODEL)
