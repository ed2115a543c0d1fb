"""Routing as an ordinary POMDP: the same process as the planner's, whoever solves it."""

from pathlib import Path

import numpy as np
import pytest

from solvers import read_pomdp, simulate, solve_epochs, write_pomdp
from solvers.unfolding import unfold
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import OVER
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.export import routing_pomdp
from trim_pomdp.presets.store import load_preset

PRESETS = ("qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper")


def coarse_model(seed: int) -> RoutingModel:
    """Three steps, four bins, hazards by class and recoveries."""
    rng = np.random.default_rng(seed)
    right, derailed, wrong = rng.dirichlet(np.ones(4), 3)
    hazard, hazard_derailed, hazard_wrong = ([*rng.uniform(0.1, 0.5, 2), 1.0] for _ in range(3))
    return RoutingModel(
        ObservationModel(
            name="coarse",
            estimator="given",
            step_emission=StepEmission(
                score_edges=(0.0, 0.3, 0.7, 1.0), right=tuple(right), derailed=tuple(derailed), wrong=tuple(wrong)
            ),
        ),
        StepDynamics(
            name="coarse",
            weak_success=tuple(rng.uniform(0.6, 0.9, 3)),
            strong_success=0.95,
            repair=0.6,
            look_right=0.7,
            recovery=0.05,
            hazard=tuple(hazard),
            hazard_derailed=tuple(hazard_derailed),
            hazard_wrong=tuple(hazard_wrong),
            derailed_emission="labelled",
            strong_tokens=PerClass(right=30.0, derailed=45.0, wrong=40.0),
        ),
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("price", [0.0, 0.2, 0.8])
def test_the_value_is_the_planners(seed: int, price: float) -> None:
    model = coarse_model(seed)
    plan = solve_epochs(model.epoch_model, model.weights(price), gap=1e-9)
    solution = solve_epochs(routing_pomdp(model, price).finite_horizon(4), gap=1e-9)
    assert solution.ended == "gap reached"
    assert solution.gap <= 1e-9
    assert solution.lower == pytest.approx(plan.lower, abs=1e-7)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_followed_history_by_history(name: str) -> None:
    """What is seen next, and the reward, after random actions: as the routing model's own tables and filter have it."""
    model = load_preset(name).routing_model()
    epochs, price = model.epoch_model, 0.1
    weights = model.weights(price)
    pomdp = routing_pomdp(model, price, observed=False)
    assert pomdp.n_states < 7 * model.dynamics.max_steps
    place = {name: i for i, name in enumerate(pomdp.observations)}
    bins = model.emission.shape[1]
    names = [f"bin-{k % bins}" + ("_ends" if k >= bins else "") for k in range(2 * bins)]
    rng = np.random.default_rng(0)
    for _ in range(3):
        belief, prefix, node = pomdp.start, epochs.start, 0
        seen = pomdp.start @ pomdp.transition[0] @ pomdp.observation[0].toarray()
        while True:
            table = epochs.joint[epochs.table_of[node]]
            chance = prefix @ table[:, 0].sum(axis=(1, 3)).T
            going_on = np.array([seen[place[n]] if n in place else 0.0 for n in names])
            share = going_on.sum()  # that the solution goes on: known here, and seen there
            np.testing.assert_allclose(going_on, share * chance, atol=1e-12)
            signal = int(rng.choice(chance.size, p=chance / chance.sum()))
            belief, _ = pomdp.update(belief, 1 if node else 0, place[names[signal]])
            action = 1
            now = prefix / chance[signal]
            over = now @ table[signal, action, OVER]
            reward = now @ epochs.reward[epochs.table_of[node], signal, action] @ weights + model.reward * over[0]
            assert pomdp.reward[action] @ belief == pytest.approx(reward, abs=1e-8)
            seen = belief @ pomdp.transition[action] @ pomdp.observation[action].toarray()
            assert seen[place["over"]] == pytest.approx(over.sum(), abs=1e-12)
            if rng.random() < over.sum():
                break
            prefix, _ = epochs.update(node, prefix, signal, action, 0)
            node += 1


@pytest.mark.parametrize(
    ("name", "episodes"), [("lab-loop", 1500), *(pytest.param(name, 6000, marks=pytest.mark.slow) for name in PRESETS)]
)
def test_the_plan_gets_in_it_what_it_promised(name: str, episodes: int) -> None:
    """Episodes with rewards of outcomes and beliefs over its states, within four standard errors of the exact value."""
    model, price = load_preset(name).routing_model(), 0.3
    plan = solve_epochs(model.epoch_model, model.weights(price))
    policy = unfold(model.epoch_model).policy(plan)
    played = simulate(routing_pomdp(model, price), policy, episodes=episodes, steps=model.dynamics.max_steps + 1)
    assert abs(played.mean - plan.lower) < 4 * played.standard_error


def test_a_file_of_it_says_the_same(tmp_path: Path) -> None:
    model = coarse_model(2)
    pomdp = routing_pomdp(model, 0.3, observed=False)
    write_pomdp(pomdp, tmp_path / "routing.pomdp")
    read = read_pomdp(tmp_path / "routing.pomdp")
    assert read.states == pomdp.states
    assert read.observations == pomdp.observations
    np.testing.assert_allclose(read.reward, pomdp.reward, atol=1e-12)
    plan = solve_epochs(model.epoch_model, model.weights(0.3), gap=1e-9).lower
    assert solve_epochs(read.finite_horizon(4), gap=1e-9).lower == pytest.approx(plan, abs=1e-7)


def test_what_is_known_is_declared() -> None:
    """Of each step, up to whether it ends the solution, three states are hidden at most."""
    pomdp = routing_pomdp(coarse_model(0), 0.3)
    assert pomdp.observed is not None
    for value in range(pomdp.observed.max() + 1):
        names = [pomdp.states[s] for s in np.flatnonzero(pomdp.observed == value)]
        assert len(names) <= 3
        assert len({name.split("_")[0] for name in names}) == 1
    assert {pomdp.states[s] for s in np.flatnonzero(pomdp.terminal)} == {"over_right", "over_derailed"}


def test_a_price_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="tradeoff is -1"):
        routing_pomdp(coarse_model(0), -1.0)
    with pytest.raises(InputError, match="no prices are given"):
        routing_pomdp(coarse_model(0), 0.1, over="money")
