"""Exact evaluation against enumeration and Monte Carlo, for every kind of policy, at home and away."""

import itertools

import numpy as np
import pytest

from solvers import solve_epochs
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import policy_for_budget, policy_for_tradeoff, rule_from_solution
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import AlphaVectorRule, MixedRule, PosteriorRule, StrategyRule, ThresholdRule
from trim_pomdp.policies.alpha_vectors import decide
from trim_pomdp.presets.store import load_preset

FITTED, PAPER = "qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"


@pytest.fixture(scope="module")
def fitted() -> RoutingModel:
    return load_preset(FITTED).routing_model()


@pytest.fixture(scope="module")
def paper() -> RoutingModel:
    return load_preset(PAPER).routing_model()


@pytest.fixture(scope="module")
def late(fitted: RoutingModel) -> RoutingModel:
    """A rival: derailed solutions run on, repair is rare, ends are evidence."""
    dynamics = fitted.dynamics
    slower = (*(0.4 * h for h in dynamics.hazard[:-1]), 1.0)
    rarer = (*(0.6 * h for h in dynamics.hazard[:-1]), 1.0)
    changed = dynamics.replace(
        hazard_derailed=slower, hazard_wrong=rarer, repair=0.6, weak_success=(0.9,), look_right=0.5
    )
    return RoutingModel(fitted.observations, changed)


@pytest.fixture(scope="module")
def recovering(late: RoutingModel) -> RoutingModel:
    """Derailed solutions find back."""
    return RoutingModel(late.observations, late.dynamics.replace(recovery=0.1))


RULES = [
    ThresholdRule(threshold=0.0),
    ThresholdRule(threshold=0.4),
    ThresholdRule(threshold=0.437),
    ThresholdRule(threshold=1.0),
    StrategyRule(strategy="weak"),
    StrategyRule(strategy="strong"),
    StrategyRule(strategy="random", probability=0.3),
    StrategyRule(strategy="oracle"),
    PosteriorRule(closeness=0.4),
    MixedRule(first=ThresholdRule(threshold=0.2), second=StrategyRule(strategy="strong"), probability=0.25),
]


def close(simulated, exact, limit=4.5) -> None:  # type: ignore[no-untyped-def]
    scores = simulated.z_scores(exact)
    assert all(abs(z) < limit for z in scores.values()), scores
    for name in ("accuracy", "strong_tokens", "regenerations"):
        if name not in scores:  # no variance: the two must agree exactly
            assert getattr(simulated, name) == pytest.approx(getattr(exact, name), abs=1e-12)


@pytest.mark.parametrize("where", ["fitted", "late", "recovering", "paper"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: repr(rule)[:40])
def test_simulation_agrees_with_exact_evaluation(rule, where, request) -> None:  # type: ignore[no-untyped-def]
    model = request.getfixturevalue(where)
    close(simulate(rule, model, 60_000, 1), evaluate(rule, model))


@pytest.mark.parametrize("where", ["fitted", "late", "recovering", pytest.param("paper", marks=pytest.mark.slow)])
@pytest.mark.parametrize("price", [0.0, 0.05, 0.14])
def test_alpha_vector_rules(where: str, price: float, request) -> None:  # type: ignore[no-untyped-def]
    model = request.getfixturevalue(where)
    artifact = policy_for_tradeoff(model, price)
    assert artifact.value_lower is not None
    assert artifact.value_upper is not None
    worth = model.reward * artifact.planned.accuracy - price * artifact.planned.strong_tokens
    # Rounding the belief to the grid can cost a little; how much is part of the artifact.
    assert artifact.value_lower - 1e-3 <= worth <= artifact.value_upper + 1e-6
    close(simulate(artifact, model, 60_000, 2), artifact.planned)


@pytest.mark.slow
def test_a_policy_planned_for_one_pair_is_evaluated_on_another(fitted: RoutingModel, late: RoutingModel) -> None:
    for home, away in ((fitted, late), (late, fitted)):
        policy = policy_for_tradeoff(home, 0.1)
        there = evaluate(policy, away)
        close(simulate(policy, away, 100_000, 3), there)
        best = policy_for_tradeoff(away, 0.1)
        assert best.value_lower is not None
        assert 100 * there.accuracy - 0.1 * there.strong_tokens <= best.value_lower + 1e-2


def test_the_policy_graph_of_the_solver_evaluates_to_its_components(fitted: RoutingModel, late: RoutingModel) -> None:
    solution = solve_epochs(fitted.epoch_model, fitted.weights(0.1), gap=1e-3)
    assert np.allclose(solution.graph.evaluate(fitted.epoch_model), solution.components, atol=1e-9)
    # The graph and the rule are two forms of one plan: on other dynamics too they differ by little.
    away = dict(zip(late.components, solution.graph.evaluate(late.epoch_model), strict=True))
    rule = evaluate(rule_from_solution(solution, fitted, 0.1), late)
    assert rule.accuracy == pytest.approx(away["accuracy"], abs=0.01)


def test_threshold_accuracy_by_enumeration(fitted: RoutingModel) -> None:
    """Three steps, all paths of (class, regenerated) written out."""
    hazard = (0.3, 0.5, 1.0)
    model = RoutingModel(fitted.observations, fitted.dynamics.replace(hazard=hazard))
    below = model.emission @ model.observations.share_below(0.3)
    p_w, p_s, p_r = model.dynamics.weak_success[0], model.strong_success, model.repair

    def paths(t: int, right: bool):  # type: ignore[no-untyped-def]
        """Yield (probability, regenerations, right at the end)."""
        classes = [(0, p_w), (2, 1 - p_w)] if right else [(1, 1.0)]
        for (c, share), redo, after in itertools.product(classes, (False, True), (True, False)):
            chance = share * (below[c] if redo else 1 - below[c])
            success = {0: p_s if redo else 1.0, 1: 0.0, 2: p_r if redo else 0.0}[c]
            chance *= success if after else 1 - success
            if chance == 0:
                continue
            yield chance * hazard[t], int(redo), after
            if t < 2:
                for p, n, end in paths(t + 1, after):
                    yield chance * (1 - hazard[t]) * p, n + redo, end

    found = list(paths(0, True))
    exact = evaluate(ThresholdRule(threshold=0.3), model)
    assert sum(p for p, _, _ in found) == pytest.approx(1.0)
    assert exact.accuracy == pytest.approx(sum(p for p, _, right in found if right), abs=1e-12)
    assert exact.regenerations == pytest.approx(sum(p * n for p, n, _ in found), abs=1e-12)


def test_single_and_batched_decisions_agree_with_the_definition(late: RoutingModel) -> None:
    artifact = policy_for_tradeoff(late, 0.1)
    rule = artifact.policy
    assert isinstance(rule, AlphaVectorRule)
    rng = np.random.default_rng(0)
    n = 2000
    q, bins = rng.random(n), rng.integers(late.emission.shape[1], size=n)
    ended, steps = rng.random(n) < 0.3, rng.integers(0, 40, size=n)
    batch = decide(rule, q, bins, ended, steps)
    T = rule.max_steps
    for i in range(n):
        t = int(steps[i])
        t = t if t < T - 1 or (ended[i] and t == T - 1) else T - 2
        assert rule.hazard is not None
        assert rule.hazard_derailed is not None
        assert rule.hazard_wrong is not None
        h, h1, h2 = rule.hazard[t], rule.hazard_derailed[t], rule.hazard_wrong[t]
        end = np.array([h, h1, h2]) if ended[i] else 1 - np.array([h, h1, h2])
        p_w = rule.weak_success[0]
        b = np.array([q[i] * p_w, 1 - q[i], q[i] * (1 - p_w)]) * rule.emission[:, bins[i]] * end
        b /= b.sum()
        # Here first errors end fewer solutions: a repaired step may end one now, a spoiled one may let it go on.
        assert h2 <= h
        p_s, p_r = rule.strong_success, rule.repair
        if ended[i]:
            right, spoiled = b[0] * p_s + b[2] * p_r, b[0] * (1 - p_s) * (1 - h2 / h)
            gain = rule.reward * (right - b[0])
            if t < T - 1:
                gain += spoiled * max(lost for _, lost in rule.alpha_vectors[t])
        else:
            vectors = np.array(rule.alpha_vectors[t])
            finished = b[2] * p_r * (h - h2) / (1 - h2)
            right = b[0] * p_s + b[2] * p_r - finished
            kept = (vectors @ [b[0], 1 - b[0]]).max()
            gain = rule.reward * finished + (vectors @ [right, 1 - finished - right]).max() - kept
        price = rule.tradeoff * float(b @ rule.strong_tokens.array)
        if abs(gain - price) > 1e-9:
            assert batch[i] == (gain > price)
        assert decide(rule, q[i : i + 1], bins[i : i + 1], ended[i : i + 1], steps[i : i + 1])[0] == batch[i]


@pytest.mark.slow
def test_mixing_two_policies_meets_the_budget_and_states_the_variance(fitted: RoutingModel) -> None:
    artifact = policy_for_budget(fitted, 0.2)
    assert artifact.planned.budget == pytest.approx(0.2, abs=1e-9)
    mixed = artifact.policy
    assert isinstance(mixed, MixedRule)
    a, b = evaluate(mixed.first, fitted), evaluate(mixed.second, fitted)
    p = mixed.probability
    assert artifact.added_variance == pytest.approx(p * (1 - p) * (b.strong_tokens - a.strong_tokens) ** 2)
    close(simulate(artifact, fitted, 100_000, 0), artifact.planned)


def test_simulation_is_reproducible_and_refuses_nonsense(fitted: RoutingModel, paper: RoutingModel) -> None:
    rule = ThresholdRule(threshold=0.4)
    assert simulate(rule, fitted, 500, 7) == simulate(rule, fitted, 500, 7)
    assert simulate(rule, fitted, 500, 7) != simulate(rule, fitted, 500, 8)
    with pytest.raises(InputError, match="at least 2"):
        simulate(rule, fitted, 1)
    with pytest.raises(InputError, match="other observation bins"):
        evaluate(policy_for_tradeoff(fitted, 0.1), paper)


def test_planning_needs_the_strong_model(fitted: RoutingModel) -> None:
    with pytest.raises(UnsetParameterError, match="repair"):
        RoutingModel(fitted.observations, fitted.dynamics.replace(repair=None))


def test_the_policy_map_shows_the_executed_policy(late: RoutingModel) -> None:
    """Under hazards by class the end, or none, is evidence for both."""
    from trim_pomdp.planning.plots import gains

    rule = policy_for_tradeoff(late, 0.1).policy
    assert isinstance(rule, AlphaVectorRule)
    J = rule.emission.shape[1]
    q = np.linspace(0, 1, 41)
    grid, bins = np.repeat(q, J), np.tile(np.arange(J), len(q))
    for step in (0, 3, 7):
        for ended in (False, True):
            gain, price = gains(rule, step, q, ended=ended)
            acted = decide(rule, grid, bins, np.full(len(bins), ended), np.full(len(bins), step)).reshape(len(q), J)
            clear = np.abs(gain - price) > 1e-9
            assert ((gain > price) == acted)[clear].all()


def test_an_end_that_no_class_explains_leaves_the_score_standing(fitted: RoutingModel) -> None:
    hazard = (0.0, 0.3, 1.0)
    one = fitted.dynamics.replace(hazard=hazard)
    two = fitted.dynamics.replace(hazard=hazard, hazard_derailed=(0.0, 0.6, 1.0))
    from trim_pomdp.model.belief import FilterBelief
    from trim_pomdp.model.sequences import SequenceBatch

    batch = SequenceBatch(np.array([[0.001], [1.0]]), np.array([1, 1]), np.array([True, True]), np.array(["a", "b"]))
    with_one = FilterBelief(fitted.observations, one).probability_right(batch)
    with_two = FilterBelief(fitted.observations, two).probability_right(batch)
    assert np.allclose(with_one, with_two)
    assert with_two[0] < with_two[1]


def test_an_edited_policy_is_refused(fitted: RoutingModel) -> None:
    artifact = policy_for_tradeoff(fitted, 0.1)
    rule = artifact.policy.model_dump()
    for change in (
        {"emission_right": [0.0] * len(rule["emission_right"])},
        {"score_edges": [5.0] * len(rule["score_edges"])},
        {"emission_wrong": rule["emission_wrong"][:-1]},
    ):
        with pytest.raises(ValueError, match=r"emission|score_edges"):
            AlphaVectorRule.model_validate({**rule, **change})


def test_a_policy_says_what_it_came_from_and_what_it_is_worth(fitted: RoutingModel) -> None:
    artifact = policy_for_tradeoff(fitted, 0.1)
    assert artifact.provenance == (*fitted.observations.provenance, *fitted.dynamics.provenance)
    assert artifact.value == pytest.approx(100 * artifact.planned.accuracy - 0.1 * artifact.planned.strong_tokens)
