"""Types of problems: the model with the type hidden, against its types one by one."""

import numpy as np
import pytest

import trim_pomdp as tp
from solvers import solve_epochs
from trim_pomdp.errors import InputError
from trim_pomdp.planning.difficulty import DifficultyTypes

PRICE, GAP = 1.0, 0.05


def of_type(weak_success: float, strong_success: float, repair: float, steps: int = 5) -> tp.RoutingModel:
    lab = tp.load_preset("lab-loop").routing_model()
    changes = {
        "weak_success": (weak_success,),
        "strong_success": strong_success,
        "repair": repair,
        **{name: (*getattr(lab.dynamics, name)[: steps - 1], 1.0) for name in ("hazard", "hazard_derailed")},
        "hazard_wrong": None,
    }
    return tp.RoutingModel(lab.observations, lab.dynamics.model_copy(update=changes))


@pytest.fixture(scope="module")
def types() -> DifficultyTypes:
    return DifficultyTypes([of_type(0.94, 0.99, 0.61), of_type(0.6, 0.7, 0.27)], [0.7, 0.3])


def test_any_plan_is_worth_the_mean_over_the_types(types: DifficultyTypes) -> None:
    """The mixture is linear: a plan that sees no type gets from each what it gets there."""
    w = types.models[0].weights(PRICE)
    for model in (types.hidden, types.pooled, types.models[1].epoch_model):
        graph = solve_epochs(model, w, gap=1.0).graph
        apart = [graph.evaluate(one.epoch_model) for one in types.models]
        np.testing.assert_allclose(graph.evaluate(types.hidden), 0.7 * apart[0] + 0.3 * apart[1], atol=1e-12)


def test_knowing_is_worth_something_and_minding_costs_nothing(types: DifficultyTypes) -> None:
    worth = types.worth(PRICE, gap=GAP)
    assert worth.hidden.gap <= GAP
    assert worth.knowing.upper - worth.knowing.lower <= 2 * GAP + 1e-12
    assert worth.knowing.lower > 0.1, "types so different need other plans"
    assert worth.minding.upper >= 0.0
    assert worth.pooled_value <= worth.hidden.upper
    # the plan of one type, followed on all, is no better than the plan for all
    for one in worth.known:
        assert one.graph.evaluate(types.hidden) @ worth.hidden.weights <= worth.hidden.upper + 1e-9


def test_the_hidden_plan_is_worth_what_its_bounds_say(types: DifficultyTypes) -> None:
    worth = types.worth(PRICE, gap=GAP)
    value = worth.hidden.graph.evaluate(types.hidden) @ worth.hidden.weights
    assert value == pytest.approx(worth.hidden.lower, abs=1e-9)


def test_types_that_are_alike_are_no_types() -> None:
    one = of_type(0.9, 0.95, 0.5)
    types = DifficultyTypes([one, one], [0.4, 0.6])
    np.testing.assert_allclose(types.pooled.joint, one.epoch_model.joint, atol=1e-12)
    worth = types.worth(PRICE, gap=GAP)
    assert abs(worth.hidden.lower - worth.known[0].lower) <= GAP
    assert worth.knowing.lower <= 1e-9 <= worth.knowing.upper + 1e-9
    assert abs(worth.pooled_value - worth.known[0].lower) <= 1e-9


def test_the_pooled_model_has_what_kept_solutions_show(types: DifficultyTypes) -> None:
    """Its accuracy when everything is kept is that of the mixture, and its share of right prefixes at every step."""
    keep = solve_epochs(types.pooled, types.models[0].weights(1e4), gap=1.0).graph  # nobody pays that
    assert not keep.action.any()
    np.testing.assert_allclose(keep.evaluate(types.pooled), keep.evaluate(types.hidden), atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "models", "what"),
    [
        ([1.0], None, "2 types and 1 shares"),
        ([0.5, 0.6], None, "sum to 1"),
        ([1.0, 0.0], None, "positive"),
        ([0.5, 0.5], {"steps": 4}, "differ in steps"),
    ],
)
def test_what_does_not_go_together(weights: list[float], models: dict[str, int] | None, what: str) -> None:
    with pytest.raises(InputError, match=what):
        DifficultyTypes([of_type(0.9, 0.9, 0.5), of_type(0.8, 0.9, 0.5, **(models or {}))], weights)
