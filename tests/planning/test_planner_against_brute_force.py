"""The planner against solutions that share no code with it: a belief tree, and dense dynamic programming."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import solve_epochs
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import rule_from_solution
from trim_pomdp.policies import StrategyRule
from trim_pomdp.presets.store import load_preset


@dataclass(frozen=True)
class Numbers:
    """A small routing problem, as plain numbers."""

    p_w: list[float]
    p_s: float
    p_r: float
    h: list[float]
    h_derailed: list[float]
    h_wrong: list[float]
    emission: np.ndarray  # (3, J)
    tokens: list[float]


def value(n: Numbers, price: float, reward: float, t: int = 0, q: float = 1.0) -> float:
    """Optimal value by enumerating every score, end and action: the definition, nothing clever."""
    prior = [q * n.p_w[t], 1 - q, q * (1 - n.p_w[t])]
    total = 0.0
    for j in range(n.emission.shape[1]):
        for ended in (False, True):
            end = [n.h[t], n.h_derailed[t], n.h_wrong[t]]
            joint = [prior[c] * n.emission[c, j] * (end[c] if ended else 1 - end[c]) for c in range(3)]
            mass = sum(joint)
            if mass == 0:
                continue
            b = [x / mass for x in joint]
            keep = reward * b[0] if ended else value(n, price, reward, t + 1, b[0])
            cost = price * sum(b[c] * n.tokens[c] for c in range(3))
            total += mass * max(keep, regenerated(n, price, reward, t, b, ended) - cost)
    return total


def regenerated(n: Numbers, price: float, reward: float, t: int, b: list[float], ended: bool) -> float:
    """Value of regenerating: what was wrong and is right, or the reverse, ends with its new hazard, coupled."""

    def over(before: float, now: float) -> float:
        if ended:
            return min(1.0, now / before) if before > 0 else 1.0
        return max(0.0, (now - before) / (1.0 - before)) if before < 1 else 0.0

    h, h_wrong = n.h[t], n.h_wrong[t]
    # Probability, whether it is right, and P(over) of each way that it can come out.
    ways = [
        (b[0] * n.p_s, True, float(ended)),
        (b[0] * (1 - n.p_s), False, over(h, h_wrong)),
        (b[1], False, float(ended)),
        (b[2] * n.p_r, True, over(h_wrong, h)),
        (b[2] * (1 - n.p_r), False, float(ended)),
    ]
    at_end = sum(p * stop for p, right, stop in ways if right)
    goes_on = sum(p * (1 - stop) for p, _, stop in ways)
    if goes_on <= 1e-15:
        return reward * at_end
    q = sum(p * (1 - stop) for p, right, stop in ways if right) / goes_on
    return reward * at_end + goes_on * value(n, price, reward, t + 1, q)


def model_of(n: Numbers, reward: float) -> RoutingModel:
    J = n.emission.shape[1]
    edges = (0.0, *np.linspace(0, 1, J)[1:].tolist())
    observations = ObservationModel(
        name="tiny",
        estimator="given",
        step_emission=StepEmission(
            score_edges=edges,
            right=tuple(n.emission[0]),
            derailed=tuple(n.emission[1]),
            wrong=tuple(n.emission[2]),
        ),
    )
    dynamics = StepDynamics(
        name="tiny",
        weak_success=tuple(n.p_w),
        strong_success=n.p_s,
        repair=n.p_r,
        look_right=1.0,
        hazard=tuple(n.h),
        hazard_derailed=tuple(n.h_derailed) if n.h_derailed != n.h else None,
        hazard_wrong=tuple(n.h_wrong) if n.h_wrong != n.h else None,
        derailed_emission="labelled",
        strong_tokens=PerClass(right=n.tokens[0], derailed=n.tokens[1], wrong=n.tokens[2]),
    )
    return RoutingModel(observations, dynamics, reward)


# Certain and impossible events are drawn often, since they are where shortcuts break.
probability = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0.01, 0.99))


@st.composite
def numbers(draw: st.DrawFn) -> Numbers:
    T = draw(st.integers(1, 4))
    J = draw(st.integers(2, 3))
    rows = []
    for _ in range(3):
        raw = np.array(draw(st.lists(st.sampled_from([0.0, 0.2, 1.0, 3.0]), min_size=J, max_size=J)))
        raw = raw if raw.sum() > 0 else np.ones(J)
        rows.append(raw / raw.sum())
    hazard = [*draw(st.lists(probability, min_size=T - 1, max_size=T - 1)), 1.0]
    other, third = ([*draw(st.lists(probability, min_size=T - 1, max_size=T - 1)), 1.0] for _ in range(2))
    return Numbers(
        p_w=draw(st.lists(probability, min_size=T, max_size=T)),
        p_s=draw(probability),
        p_r=draw(probability),
        h=hazard,
        h_derailed=hazard if draw(st.booleans()) else other,
        h_wrong=draw(st.sampled_from([hazard, other, third])),
        emission=np.array(rows),
        # Derailed steps may be free; if all were, a budget would mean nothing and the model is refused.
        tokens=[draw(st.sampled_from(choice)) for choice in ([1.0, 40.0], [0.0, 1.0, 40.0], [1.0, 40.0])],
    )


@given(numbers(), st.sampled_from([0.0, 0.01, 0.3, 2.0]))
@settings(max_examples=150, deadline=None)
def test_bounds_enclose_the_belief_tree(n: Numbers, price: float) -> None:
    reward = 100.0
    model = model_of(n, reward)
    gap = 1e-6 * reward
    solution = solve_epochs(model.epoch_model, model.weights(price), gap=gap)
    exact = value(n, price, reward)
    assert solution.lower <= exact + 1e-9
    assert solution.upper >= exact - 1e-9
    assert solution.ended == "gap reached"
    assert solution.upper - solution.lower <= gap


@pytest.mark.slow
@given(numbers(), st.sampled_from([0.0, 0.01, 0.3, 2.0]))
@settings(max_examples=60, deadline=None)
def test_the_executed_rule_is_worth_what_was_planned(n: Numbers, price: float) -> None:
    """The rule keeps its belief on a grid; what it loses by that is computed exactly, and is small."""
    reward = 100.0
    model = model_of(n, reward)
    solution = solve_epochs(model.epoch_model, model.weights(price), gap=1e-6 * reward)
    point = evaluate(rule_from_solution(solution, model, price), model)
    worth = reward * point.accuracy - price * point.strong_tokens
    assert worth <= solution.upper + 1e-7
    assert worth >= solution.lower - 0.02


def test_one_step_by_hand() -> None:
    """One step, perfect evidence: regenerate iff it is wrong and repair is worth its price."""
    n = Numbers(
        [0.6], 0.9, 0.5, [1.0], [1.0], [1.0], np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]), [10.0, 10.0, 10.0]
    )
    model = model_of(n, 100.0)
    worth_it = solve_epochs(model.epoch_model, model.weights(4.0), gap=1e-9)
    assert worth_it.lower == pytest.approx(60 + 0.4 * (50 - 40), abs=1e-9)
    too_dear = solve_epochs(model.epoch_model, model.weights(6.0), gap=1e-9)
    assert too_dear.lower == pytest.approx(60.0, abs=1e-9)


def dense_value(model: RoutingModel, price: float, points: int = 4001) -> float:
    """Backward dynamic programming on a dense grid of q with linear interpolation (error far below 1e-4)."""
    dynamics, E = model.dynamics, model.emission
    q = np.linspace(0, 1, points)
    following = np.zeros(points)
    for t in reversed(range(dynamics.max_steps)):
        p_w, h = dynamics.weak_success_by_step[t], dynamics.hazard_array[t]
        now = np.zeros(points)
        for j in range(E.shape[1]):
            joint = np.stack([q * p_w * E[0, j], (1 - q) * E[1, j], q * (1 - p_w) * E[2, j]])
            mass = joint.sum(axis=0)
            b = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
            cost = price * (model.strong_tokens @ b)
            keep, redo = b[0], b[0] * model.strong_success + b[2] * model.repair
            end = model.reward * np.maximum(keep, redo - cost / model.reward)
            on = np.maximum(np.interp(keep, q, following), np.interp(redo, q, following) - cost)
            now += mass * (h * end + (1 - h) * on)
        following = now
    return float(following[-1])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"])
@pytest.mark.parametrize("price", [0.0, 0.02, 0.1, 0.14, 0.25])
def test_presets_against_dense_dynamic_programming(preset: str, price: float) -> None:
    model = load_preset(preset).routing_model()
    solution = solve_epochs(model.epoch_model, model.weights(price), gap=1e-5 * model.reward)
    dense = dense_value(model, price)
    assert solution.lower <= dense + 1e-6
    assert abs(0.5 * (solution.lower + solution.upper) - dense) <= 1e-4 * model.reward
    assert solution.upper - solution.lower <= 1e-5 * model.reward


def test_the_paper_preset_is_exactly_the_published_configuration(shared) -> None:  # type: ignore[no-untyped-def]
    import gzip
    import json

    model = load_preset("qwen2.5-1.5b-7b-math-paper").routing_model()
    dynamics = model.dynamics
    with gzip.open(shared / "data" / "trim_step_counts.json.gz") as stream:
        hazard = json.load(stream)["terminal_hazard"]["slm"]["hazard"]
    assert dynamics.weak_success == (0.866,)
    assert dynamics.strong_success == dynamics.repair == 0.9704
    assert list(dynamics.hazard) == [hazard[str(t)] for t in range(1, 31)]
    assert dynamics.hazard_derailed is None
    assert model.strong_tokens.tolist() == [60.0, 60.0, 60.0]
    assert (model.reward, dynamics.max_steps) == (100.0, 30)
    with np.load(shared / "data" / "prm_features_math.npz") as archive:
        published = archive["bin_probs_0.05"]
    assert np.abs(model.emission - published / published.sum(axis=1, keepdims=True)).max() < 1e-12
    strong = evaluate(StrategyRule(strategy="strong"), model)
    assert strong.budget == pytest.approx(1.0)
