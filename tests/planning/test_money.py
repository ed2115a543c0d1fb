"""Plans over money: against brute force and Monte Carlo, and what a largest cost and a frontier promise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import DYNAMICS, MODEL, OBSERVATIONS

from solvers import solve_epochs
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import REGENERATE
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.prices import Price, Prices, ReaderPrice, Reading, Tariff
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate, evaluate_money
from trim_pomdp.planning.frontier import (
    concave_hull,
    end_points,
    policy_for_budget,
    policy_for_tradeoff,
    rule_from_solution,
    solve_frontier,
)
from trim_pomdp.planning.money import policy_for_cost
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import (
    AlphaVectorRule,
    MixedRule,
    PolicyArtifact,
    PosteriorRule,
    Rule,
    StepObservation,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter, decide
from trim_pomdp.presets.store import load_preset

PRICES = Prices(
    weak=Price(input=0.1, cached=0.02, output=0.3),
    strong=Price(input=0.8, cached=0.1, output=3.0),
    prm=ReaderPrice(input=0.15),
)
TARIFF = Tariff(
    prices=PRICES,
    weak=Reading(prompt_tokens=30, cached=0.6),
    strong=Reading(prompt_tokens=35, step_overhead=0.5, cached=0.3),
    prm=Reading(prompt_tokens=28, step_overhead=1.0),
)
SMALL = replace(MODEL, tariff=TARIFF)


@pytest.fixture(scope="module")
def fitted() -> RoutingModel:
    return replace(load_preset("qwen2.5-1.5b-7b-math").routing_model(), tariff=TARIFF)


@pytest.fixture(scope="module")
def paper() -> RoutingModel:
    """Bins of (min, current), which a rule on the posterior remembers nothing of."""
    model = load_preset("qwen2.5-1.5b-7b-math-paper").routing_model()
    dynamics = model.dynamics.replace(weak_tokens=PerClass(right=40, derailed=30, wrong=90))
    return RoutingModel(model.observations, dynamics, tariff=TARIFF)


@pytest.fixture(scope="module")
def small() -> RoutingModel:
    return SMALL


@pytest.fixture(scope="module")
def cheap_strong() -> RoutingModel:
    """The strong model costs little beside what the PRM reads."""
    prices = PRICES.model_copy(update={"strong": Price(input=0.2, output=1.0), "prm": ReaderPrice(input=2.0)})
    return replace(MODEL, tariff=Tariff.of(prices, 30))


# Exact money -------------------------------------------------------------------------------------------------


def planned(model: RoutingModel, rate: float) -> AlphaVectorRule:
    solution = solve_epochs(model.epoch_model, model.weights(rate, "money"), gap=1e-3)
    return rule_from_solution(solution, model, rate, "money")


RULES: list[Rule] = [
    ThresholdRule(threshold=0.0),
    ThresholdRule(threshold=0.45),
    ThresholdRule(threshold=1.0),
    StrategyRule(strategy="strong"),
    StrategyRule(strategy="oracle"),
    StrategyRule(strategy="random", probability=0.3),
    PosteriorRule(closeness=0.4),
    MixedRule(first=StrategyRule(strategy="weak"), second=PosteriorRule(closeness=0.5), probability=0.35),
]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["small", "fitted", "paper"])
@pytest.mark.parametrize("rule", [*RULES, None], ids=lambda rule: "planned" if rule is None else repr(rule)[:40])
def test_money_agrees_with_simulated_problems(rule: Rule | None, where: str, request: pytest.FixtureRequest) -> None:
    """There solutions are as long as they happen to be, and requests are counted one by one."""
    model = request.getfixturevalue(where)
    rule = planned(model, 4e3 if where != "small" else 4e4) if rule is None else rule
    exact = evaluate(rule, model)
    drawn = simulate(rule, model, 60_000, 5)
    assert drawn.money is not None
    assert exact.money == pytest.approx(drawn.money, abs=4.5 * (drawn.money_se or 0.0) + 1e-18)
    assert drawn.money_se is not None
    assert drawn.money_se < 0.02 * drawn.money
    assert abs(drawn.z_scores(exact)["money"]) < 4.5


@pytest.mark.slow
@pytest.mark.parametrize("where", ["small", "fitted", "paper"])
def test_a_course_adds_up(where: str, request: pytest.FixtureRequest) -> None:
    """Decisions are kept or regenerated steps, solutions are over once, and nothing stands before the first step."""
    model = request.getfixturevalue(where)
    for rule in (*RULES, planned(model, 1e4)):
        course = rule.course(model)
        assert course.strong_steps == pytest.approx(course.counts[:, REGENERATE], abs=1e-12)
        assert min(course.counts.min(), course.before.min(), course.accuracy.min()) >= 0.0
        assert course.counts[0].sum() == pytest.approx(1.0, abs=1e-9)
        assert course.counts[:, 2:].sum() == 0.0, "no other action is among the rule's"
        assert course.before[0].sum() == 0.0


# Optimal over money ------------------------------------------------------------------------------------------


def best_value(model: RoutingModel, rate: float, t: int = 0, q: float = 1.0) -> float:
    """Optimal value by enumerating every score, end and action, money reckoned request by request."""
    dynamics, emission = model.dynamics, model.emission
    weak, strong = model.weak_tokens, model.strong_tokens
    assert weak is not None
    p_w, p_s, p_r = dynamics.weak_success[0], model.strong_success, model.repair
    so_far = model.step_tokens * t

    def per_token(role: str, share: float) -> float:
        price = getattr(PRICES, role)
        return ((1 - share) * price.input + share * (price.cached or 0.0)) / 1e6

    always = (30 + so_far) * per_token("weak", 0.6) + (28 + t + so_far) * per_token("prm", 0.0)
    of_class = weak * (PRICES.weak.output / 1e6 + per_token("prm", 0.0))  # type: ignore[union-attr]
    redo = (35 + 0.5 * t + so_far) * per_token("strong", 0.3) + strong * (3.0 / 1e6)
    prior = np.array([q * p_w, 1 - q, q * (1 - p_w)])
    total = -rate * (always + float(prior @ of_class))
    for j in range(emission.shape[1]):
        for ended in (False, True):
            hazard = dynamics.end[t]
            joint = prior * emission[:, j] * (hazard if ended else 1 - hazard)
            mass = float(joint.sum())
            if mass == 0:
                continue
            b = joint / mass
            right = (float(b[0]), float(b[0] * p_s + b[2] * p_r))
            # Hazards are equal, so a step ends the solution whatever it becomes.
            values = [model.reward * after if ended else best_value(model, rate, t + 1, after) for after in right]
            values[REGENERATE] -= rate * float(b @ redo)
            total += mass * max(values)
    return total


@settings(max_examples=25, deadline=None)
@given(
    p_w=st.floats(0.2, 0.95),
    repair=st.floats(0.1, 0.95),
    hazard=st.lists(st.floats(0.05, 0.6), min_size=1, max_size=2),
    rate=st.floats(1e3, 1e6),
    strong=st.tuples(st.floats(2, 40), st.floats(2, 40), st.floats(2, 40)),
)
def test_a_plan_over_money_is_optimal(
    p_w: float, repair: float, hazard: list[float], rate: float, strong: tuple[float, float, float]
) -> None:
    right, derailed, wrong = strong
    dynamics = DYNAMICS.replace(
        weak_success=(p_w,),
        repair=repair,
        hazard=(*hazard, 1.0),
        hazard_derailed=None,
        hazard_wrong=None,
        strong_tokens=PerClass(right=right, derailed=derailed, wrong=wrong),
    )
    model = RoutingModel(OBSERVATIONS, dynamics, tariff=TARIFF)
    solution = solve_epochs(model.epoch_model, model.weights(rate, "money"), gap=1e-6)
    wanted = best_value(model, rate)
    assert solution.lower - 1e-6 <= wanted <= solution.upper + 1e-6
    # What is executed is worth that, but for the grid of beliefs; its money is the plan's, at mean lengths.
    got = evaluate_money(rule_from_solution(solution, model, rate, "money"), model)
    worth = model.reward * got.point.accuracy - rate * got.planned_money
    assert wanted - 0.05 <= worth <= wanted + 1e-6


def test_the_executed_rule_decides_by_the_money_of_a_step() -> None:
    """Router and kernels alike, and the price of a decision is that of reading and writing."""
    rate = 4e4
    rule = planned(SMALL, rate)
    assert rule.reading_price == pytest.approx(
        [rate * (35 + 0.5 * t + SMALL.step_tokens * t) * (0.7 * 0.8 + 0.3 * 0.1) / 1e6 for t in range(rule.max_steps)]
    )
    assert rule.tradeoff == pytest.approx(rate * 3.0 / 1e6)
    router = AlphaVectorRouter(rule)
    rng = np.random.default_rng(0)
    q = 1.0
    for t in range(rule.max_steps):
        score, ended = float(rng.random()), bool(rng.random() < 0.1)
        bin_ = int(np.searchsorted(np.array(rule.score_edges), score, side="right") - 1)
        got = router.decide(StepObservation(t, ended, {"score": score, "minimum": 1.0}))
        batch = decide(rule, np.array([q]), np.array([bin_]), np.array([ended]), np.array([t]))
        assert got.action == int(batch[0])
        assert got.belief is not None
        assert got.price == pytest.approx(
            rule.reading_price[t] + rule.tradeoff * float(np.dot(got.belief, SMALL.strong_tokens))
        )
        q = router.q


def test_rules_over_tokens_are_written_as_before() -> None:
    rule = policy_for_tradeoff(SMALL, 1.5).policy
    assert "reading_price" not in rule.model_dump_json()
    assert rule.policy_hash == policy_for_tradeoff(MODEL, 1.5).policy.policy_hash
    over_money = planned(SMALL, 4e4)
    again = AlphaVectorRule.model_validate_json(over_money.model_dump_json())
    assert again == over_money
    assert again.policy_hash == over_money.policy_hash


def test_prices_change_nothing_of_plans_over_tokens() -> None:
    bare, priced = policy_for_budget(MODEL, 0.3), policy_for_budget(SMALL, 0.3)
    assert priced.policy == bare.policy
    assert bare.money is None
    assert priced.money is not None
    assert priced.planned is not None
    assert priced.money.total == pytest.approx(priced.planned.money)
    assert priced.tariff == TARIFF


# A largest cost ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("where", ["small", "fitted", "cheap_strong"])
def test_a_largest_cost_is_met_to_the_last_digit(where: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(where)
    weak, strong = end_points(model)
    assert weak.money is not None
    assert strong.money is not None
    accuracies = []
    for share in (0.02, 0.25, 0.5, 0.75):
        cost = (1 - share) * weak.money + share * strong.money
        artifact = policy_for_cost(model, cost)
        assert artifact.asked_max_cost == cost
        assert artifact.planned is not None
        assert artifact.accuracy_bound is not None
        if "cannot be spent" in artifact.notes[-1]:
            assert artifact.planned.money <= cost
        else:
            assert artifact.planned.money == pytest.approx(cost, rel=1e-9)
        assert evaluate(artifact, model).money == pytest.approx(artifact.planned.money, rel=1e-9)
        assert artifact.planned.accuracy <= artifact.accuracy_bound + 1e-9
        assert artifact.accuracy_bound - artifact.planned.accuracy < 1e-3
        accuracies.append(artifact.planned.accuracy)
    assert accuracies == sorted(accuracies)
    # No worse than a draw between the ends, which is among the policies.
    ends = [(1 - s) * weak.accuracy + s * strong.accuracy for s in (0.02, 0.25, 0.5, 0.75)]
    assert all(got >= end - 1e-6 for got, end in zip(accuracies, ends, strict=True))


@pytest.mark.slow
def test_no_budget_of_tokens_does_better_for_its_money(fitted: RoutingModel) -> None:
    gains = []
    for budget in (0.15, 0.3, 0.5):
        over_tokens = policy_for_budget(fitted, budget).planned
        assert over_tokens is not None
        over_money = policy_for_cost(fitted, over_tokens.money or 0.0)
        assert over_money.planned is not None
        gains.append(over_money.planned.accuracy - over_tokens.accuracy)
    assert min(gains) > -1e-4
    assert max(gains) > 1e-4, "to plan over money is worth something"


def test_costs_that_are_too_small_or_too_large() -> None:
    weak, strong = end_points(SMALL)
    with pytest.raises(InputError, match=r"is less than the weak model alone costs, .* \(accuracy"):
        policy_for_cost(SMALL, 0.5 * (weak.money or 0.0))
    with pytest.raises(InputError, match="at least 0"):
        policy_for_cost(SMALL, float("nan"))
    with pytest.raises(InputError, match="no prices are given"):
        policy_for_cost(MODEL, 1.0)
    most = policy_for_cost(SMALL, 100 * (strong.money or 0.0))
    assert "cannot be spent to advantage" in most.notes[-1]
    assert most.planned is not None
    assert most.planned.accuracy >= strong.accuracy - 1e-9


def test_strong_only_is_taken_where_reading_scores_costs_more(cheap_strong: RoutingModel) -> None:
    """Not everything is worth routing: then a draw between the ends is what a cost buys."""
    weak, strong = end_points(cheap_strong)
    artifact = policy_for_cost(cheap_strong, 0.5 * ((weak.money or 0.0) + (strong.money or 0.0)))
    assert isinstance(artifact.policy, MixedRule)
    assert artifact.policy.parts == (StrategyRule(strategy="weak"), StrategyRule(strategy="strong"))
    assert artifact.policy.probability == pytest.approx(0.5, abs=1e-6)


def test_a_policy_file_keeps_money_and_old_files_load(tmp_path) -> None:  # type: ignore[no-untyped-def]
    artifact = policy_for_cost(SMALL, 1.2 * (end_points(SMALL)[0].money or 0.0))
    assert PolicyArtifact.read(artifact.save(tmp_path / "policy.json")) == artifact
    document = policy_for_budget(MODEL, 0.2).model_dump(mode="json")
    for name in ("asked_max_cost", "money", "tariff", "accuracy_bound"):
        del document[name]
    for name in ("money", "rate"):
        del document["planned"][name]
    assert PolicyArtifact.from_mapping(document, source="old").money is None


# The frontier ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_frontier_over_money(fitted: RoutingModel) -> None:
    frontier = solve_frontier(fitted, 40, over="money")
    money = np.array([item.point.money for item in frontier.points])
    accuracy = np.array([item.point.accuracy for item in frontier.points])
    assert (np.diff(money) > 0).all()
    assert (np.diff(accuracy) >= 0).all()
    hull = np.interp(money, *concave_hull(money, accuracy))
    assert (hull - accuracy).max() < 1e-3, "concave, but for the gap"
    assert np.diff(money).max() < 3.5 * (money[-1] - money[0]) / 40, "evenly covered"
    grid = np.linspace(frontier.weak_only.money or 0.0, money[-1], 30)
    best = frontier.accuracy_at_money(grid)
    assert (np.diff(best) >= -1e-12).all()
    assert (np.diff(best, 2) <= 1e-9).all()
    # It is above that of plans over tokens, and of the threshold rule.
    over_tokens = solve_frontier(fitted, 40).accuracy_at_money(grid)
    assert (best - over_tokens).min() > -2e-3
    for k in (0.2, 0.5, 0.8):
        point = evaluate(ThresholdRule(threshold=k), fitted)
        assert frontier.accuracy_at_money([point.money or 0.0])[0] > point.accuracy - 2e-3
    assert np.isnan(frontier.accuracy_at_money([0.0])).all()
    # Points are reckoned with mean lengths, as they are planned: near what their rules cost.
    middle = frontier.points[20]
    assert middle.point.rate is not None
    exact = evaluate_money(planned(fitted, middle.point.rate), fitted)
    assert exact.planned_money == pytest.approx(middle.point.money, rel=1e-3)
    assert exact.money.total == pytest.approx(middle.point.money, rel=0.02)


def test_a_cost_and_the_frontier_agree() -> None:
    frontier = solve_frontier(SMALL, 100, over="money")
    weak, strong = end_points(SMALL)
    for share in (0.1, 0.4, 0.8):
        cost = (1 - share) * (weak.money or 0.0) + share * (strong.money or 0.0)
        artifact = policy_for_cost(SMALL, cost)
        assert artifact.planned is not None
        at = float(frontier.accuracy_at_money([cost])[0])
        assert artifact.planned.accuracy == pytest.approx(at, abs=2e-3)


def test_nothing_to_plan_where_the_strong_model_is_free() -> None:
    free = PRICES.model_copy(update={"strong": Price(input=0, output=0)})
    model = replace(MODEL, tariff=Tariff.of(free, 30))
    with pytest.raises(InputError, match="costs no money at these prices"):
        solve_frontier(model, 10, over="money")


def test_costs_between_ends_that_hardly_differ() -> None:
    """The strong model is next to free, so that all policies cost nearly the same."""
    prices = PRICES.model_copy(update={"strong": Price(input=1e-9, output=1e-9), "prm": ReaderPrice(input=0)})
    model = replace(MODEL, tariff=Tariff.of(prices, 30))
    weak, _ = end_points(model)
    assert weak.money is not None
    for factor in (1.0, 1.0 + 1e-9, 1.0 + 1e-6, 1.1, 2.0):
        planned_for = policy_for_cost(model, factor * weak.money).planned
        assert planned_for is not None
        assert planned_for.money is not None
        assert planned_for.money <= factor * weak.money * (1 + 1e-12)
