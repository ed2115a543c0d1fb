"""The trainer: advantages by hand, seeds, and that it finds what a planner knows."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from trim_pomdp.errors import InputError  # noqa: E402
from trim_pomdp.learning.budgets import LearnedFrontier, policy_for_budget, policy_for_tradeoff, price_range  # noqa: E402
from trim_pomdp.learning.ppo import Settings, _advantages, settings_for, train_router  # noqa: E402
from trim_pomdp.learning.rollouts import Rollout, SimulatedProblems  # noqa: E402
from trim_pomdp.planning.frontier import end_points, hull_at, solve_frontier  # noqa: E402
from trim_pomdp.planning.simulation import simulate  # noqa: E402
from trim_pomdp.planning.thresholds import threshold_curve  # noqa: E402
from trim_pomdp.presets.store import load_preset  # noqa: E402


def test_advantages_by_hand():
    """Two problems, of three steps and of one; λ/R = .1, 2 strong tokens a regenerated step."""
    out = Rollout.empty(np.array([0.1, 0.1]), 3, 2)
    out.mask[0], out.mask[1, 0] = True, True
    out.strong_tokens[0, 1] = 2.0
    out.right[:] = [1.0, 0.0]
    values = np.array([[0.5, 0.6, 0.7], [0.4, 9.0, 9.0]])  # 9: beyond the end
    whole = _advantages(out, values, np.ones(2), 1.0)
    np.testing.assert_allclose(whole[0], [0.8 - 0.5, 0.8 - 0.6, 1.0 - 0.7])
    np.testing.assert_allclose(whole[1], [-0.4, 0.0, 0.0])
    short = _advantages(out, values, np.ones(2), 0.0)
    np.testing.assert_allclose(short[0], [0.6 - 0.5, -0.2 + 0.7 - 0.6, 1.0 - 0.7])
    np.testing.assert_allclose(
        _advantages(out, 2 * values, np.full(2, 2.0), 0.7), 2 * _advantages(out, values, np.ones(2), 0.7)
    )


def test_returns_are_those_of_the_problems(model, agg):
    from trim_pomdp.policies import StrategyRule

    network = agg.network
    rollout = SimulatedProblems(model).rollout(network, np.full(3000, network.prices[0]), np.random.default_rng(0))
    assert (rollout.mask.sum(axis=1) > 0).all()
    assert not rollout.actions[~rollout.mask].any()
    assert not rollout.strong_tokens[rollout.actions == 0.0].any()
    assert (rollout.hidden[..., :3].sum(axis=2) == rollout.mask).all()
    assert rollout.returns == pytest.approx(rollout.right - network.prices[0] * rollout.strong_tokens.sum(axis=1))
    weak = simulate(StrategyRule(strategy="weak"), model, 3000, 0)
    assert rollout.right.mean() > weak.accuracy  # it regenerates about half of the steps


@pytest.mark.parametrize("architecture", ["mlp", "transformer"])
def test_the_same_seed_gives_the_same_network(model, architecture, train):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (train(model, architecture, seed) for seed in (1, 1, 2))
    assert first.network == again.network
    assert first.curve == again.curve
    assert first.network != other.network
    assert torch.equal(state, torch.get_rng_state())  # nobody else's chance is touched


@pytest.mark.slow
def test_a_short_training_beats_drawing_problems_and_spans_budgets(model):
    """And with λ out of sight all prices do the same: the collapse."""
    settings = Settings(updates=25, episodes=512, width=32)
    weak, strong = end_points(model)
    by = {}
    for seen in (True, False):
        found = train_router(
            SimulatedProblems(model), price_range(model), Settings(**{**settings.__dict__, "price_seen": seen})
        )
        by[seen] = LearnedFrontier.of(found, model, prices=7, problems=4000)
    budgets = {seen: [point.budget for point in item.points[1:]] for seen, item in by.items()}
    assert max(budgets[True]) - min(budgets[True]) > 0.25
    assert max(budgets[False]) - min(budgets[False]) == 0.0
    at = [0.1, 0.2]
    chord = hull_at([weak, strong], at)
    assert (np.array(by[True].accuracy_at(at)) > chord + 0.05).all()
    # Nothing that looks at these scores is better than the optimum, but for scores of regenerated steps and noise.
    optimum = solve_frontier(model, 60).accuracy_at(at)
    assert (np.array(by[True].accuracy_at(at)) < optimum + 0.03).all()


@pytest.mark.parametrize(
    "budget", [0.0, pytest.param(0.07, marks=pytest.mark.slow), 0.15, pytest.param(0.9, marks=pytest.mark.slow)]
)
def test_policies_spend_their_budget(agg, model, budget):
    artifact = policy_for_budget(agg, model, budget, problems=4000, seed=1)
    assert artifact.planned is not None
    assert artifact.asked_budget == budget
    most = max(point.budget for point in LearnedFrontier.of(agg, model, problems=4000, seed=1).points)
    assert artifact.planned.budget <= min(budget, most) + 1e-9
    assert ("of no use" in " ".join(artifact.notes)) == (artifact.planned.budget < budget - 1e-9)
    again = simulate(artifact, model, 8000, 2)
    assert abs(again.budget - artifact.planned.budget) < 5 * (again.budget_se + 1e-9) + 0.01


def test_policies_at_a_price(agg, model):
    artifact = policy_for_tradeoff(agg, model, 0.5, problems=500)
    assert artifact.policy.planned_tradeoff == artifact.asked_tradeoff == 0.5
    assert artifact.planned is not None
    assert artifact.planned.tradeoff == 0.5
    with pytest.raises(InputError, match="trained for prices"):
        policy_for_tradeoff(agg, model, 1e5)


def test_wrong_settings(model):
    backend = SimulatedProblems(model)
    with pytest.raises(InputError, match="lowest < highest"):
        train_router(backend, (1.0, 1.0))
    with pytest.raises(InputError, match="cannot share"):
        train_router(backend, (0.1, 1.0), Settings(shares_trunk=True))
    with pytest.raises(InputError, match="3 problems an update in 4 parts"):
        train_router(backend, (0.1, 1.0), Settings(episodes=3))


@pytest.mark.parametrize(
    "changes",
    [
        {"critic": "observation"},
        {"critic": "observation", "shares_trunk": True, "reward": 100.0, "raw": True, "normalises": False},
        {"architecture": "transformer", "critic": "observation", "shares_trunk": True},
        {"architecture": "transformer", "critic": "observation", "features": ("score", "tokens", "ended")},
    ],
)
def test_every_switch_trains(model, changes):
    found = train_router(
        SimulatedProblems(model), (0.1, 1.0), Settings(**{"updates": 1, "episodes": 32, "width": 8, **changes})
    )
    assert all(np.isfinite(list(entry.values())).all() for entry in found.curve)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mlp", "transformer"])
def test_ppo_comes_close_to_the_plan(architecture):
    """Where planning is worth most: above the thresholds' hull, a point or so below the POMDP's exact frontier."""
    model = load_preset("lab-loop.prm").routing_model()
    found = train_router(SimulatedProblems(model), price_range(model), settings_for(architecture))
    at = [0.05, 0.1, 0.2, 0.3]
    accuracy = np.array(LearnedFrontier.of(found, model).accuracy_at(at))
    edges = model.observations.step_emission.score_edges
    assert (accuracy > hull_at(threshold_curve(model, edges), at) - 0.005).all()
    assert (accuracy > solve_frontier(model, 100).accuracy_at(at) - 0.015).all()
