"""A frontier as numbers to draw, against evaluation, the planner's own policies, and hand-made points."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from scripted import DYNAMICS, MODEL, OBSERVATIONS, PRICES

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.frontiers import FrontierView, frontier_state
from trim_pomdp.inspection.intervals import share_interval
from trim_pomdp.model.prices import Reading, Tariff
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import FrontierPoint
from trim_pomdp.planning.frontier_artifact import FrontierArtifact
from trim_pomdp.planning.plots import measured_points
from trim_pomdp.policies import PlannedPoint
from trim_pomdp.runtime.records import TerminalRecord, TokenCounts
from trim_pomdp.runtime.summary import summarise

BUDGETS = (0.03, 0.12, 0.21, 0.33)


@pytest.fixture(scope="module")
def frontier():
    return tp.solve_frontier(MODEL, 60)


@pytest.fixture(scope="module")
def view(frontier):
    return FrontierView(frontier)


@pytest.fixture(scope="module")
def small():
    return tp.solve_frontier(MODEL, 12)


def test_accuracy_is_that_of_the_frontier_all_along(frontier, view):
    grid = np.linspace(0.0, 1.0, 41)
    assert [view.chosen(float(b))["accuracy"] for b in grid] == pytest.approx(frontier.accuracy_at(grid), abs=1e-12)


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_draw_spends_the_budget_and_is_as_good_as_a_plan_for_it(frontier, view, budget):
    chosen, rule = view.chosen(budget), view.rule(budget)
    assert len(chosen["policies"]) == 2
    assert sum(policy["probability"] for policy in chosen["policies"]) == pytest.approx(1.0)
    assert chosen["spent"] == pytest.approx(budget, abs=1e-12)
    # What is executed keeps its belief on a grid, and so differs a little from the graph that the frontier is made of.
    done = tp.evaluate(rule, frontier.model)
    assert done.budget == pytest.approx(budget, abs=2e-3)
    assert done.accuracy == pytest.approx(chosen["accuracy"], abs=2e-3)
    assert done.regenerations == pytest.approx(chosen["regenerations"], rel=0.01)
    planned = frontier.policy_for_budget(budget).planned
    assert chosen["accuracy"] - 1e-3 < planned.accuracy < chosen["bound"] + 1e-3 * (1 + abs(planned.budget - budget))


def test_no_policy_exceeds_the_bound_and_the_frontier_almost_reaches_it(frontier, view):
    model = frontier.model
    rules = [tp.ThresholdRule(threshold=k / 10) for k in range(1, 11)] + [view.rule(b) for b in BUDGETS]
    points = [tp.evaluate(rule, model) for rule in rules] + [frontier.weak_only, frontier.strong_only]
    bounds = view.bound(np.array([point.budget for point in points]))
    assert (bounds >= np.array([point.accuracy for point in points]) - 1e-9).all()
    for stop in view.stops:
        assert -1e-12 < float(view.bound(np.array([stop.spent]))[0]) - stop.point.accuracy < 1e-3


@pytest.mark.parametrize("budget", BUDGETS)
def test_spending_by_step_is_that_of_the_policy(frontier, view, budget):
    chosen, by_step = view.chosen(budget), view.details(budget)["by_step"]
    for name in ("strong_tokens", "regenerations", "steps"):
        assert sum(by_step[name]) == pytest.approx(chosen[name], abs=1e-9)
    course = view.rule(budget).course(frontier.model)
    tokens = course.strong_steps @ frontier.model.strong_tokens
    assert by_step["strong_tokens"] == pytest.approx(tokens, abs=0.02 * max(tokens))
    assert by_step["regenerations"] == pytest.approx(course.strong_steps.sum(axis=1), abs=0.01)
    assert by_step["share"][0] == pytest.approx(by_step["regenerations"][0])  # all solutions have a first step
    assert by_step["steps"][by_step["shown"] - 1] >= 0.02


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_threshold_beside_it_spends_as_much(frontier, view, budget):
    threshold = view.chosen(budget)["threshold"]
    point = tp.evaluate(tp.ThresholdRule(threshold=threshold["k"]), frontier.model)
    assert point.budget == pytest.approx(budget, abs=1e-6)
    assert threshold["accuracy"] == point.accuracy < view.chosen(budget)["accuracy"]
    details = view.details(budget)
    assert sum(details["by_step"]["threshold"]) == pytest.approx(point.strong_tokens, abs=1e-6)
    assert details["map"]["threshold"] == threshold["k"]


def test_the_ends(frontier, view):
    nothing = view.chosen(0.0)
    assert [policy["label"] for policy in nothing["policies"]] == ["weak-only"]
    assert nothing["accuracy"] == frontier.weak_only.accuracy
    assert view.rule(0.0) == tp.StrategyRule(strategy="weak")
    assert view.details(0.0)["map"]["grid"] is None
    assert sum(view.details(0.0)["by_step"]["strong_tokens"]) == 0.0
    all_of_it = view.chosen(0.97)
    assert all_of_it["spent"] == frontier.last.budget
    assert "spending more does not help" in all_of_it["note"]
    few = tp.solve_frontier(MODEL, [0.8, 0.4])
    assert "no lower price was planned for" in FrontierView(few).chosen(1.0)["note"]
    assert view.chosen(0.3)["note"] is None


def test_policies_are_taken_from_the_frontier_and_found_again_without_its_solutions(small):
    bare = [FrontierPoint(item.point, item.value_lower, item.value_upper) for item in small.points]
    assert all(item.solution is not None for item in small.points)
    again = FrontierView(tp.Frontier(**{**vars(small), "points": tuple(bare)}))
    for budget in (0.1, 0.3):
        here, there = FrontierView(small).details(budget), again.details(budget)
        assert here["by_step"]["strong_tokens"] == pytest.approx(there["by_step"]["strong_tokens"], abs=0.01)


def test_two_points_by_hand():
    # Between weak-only (0, .2) and (.5, .6) the hull passes (.25, .3), which lies below their chord.
    def point(budget, accuracy):
        return PlannedPoint(
            tradeoff=1.0,
            accuracy=accuracy,
            strong_tokens=20 * budget,
            regenerations=4 * budget,
            budget=budget,
            kept_tokens=None,
            discarded_tokens=None,
            steps=5.0,
        )

    artifact = FrontierArtifact(
        model="by hand",
        provenance=(),
        points=[
            # value = 10 · accuracy − λ · strong tokens, so the reward is 10.
            {**point(0.25, 0.3).model_dump(), "tradeoff": 0.5, "value_lower": 0.5, "value_upper": 0.6},
            {**point(0.5, 0.6).model_dump(), "tradeoff": 0.2, "value_lower": 4.0, "value_upper": 4.4},
        ],
        dominated=(),
        weak_only=point(0.0, 0.2),
        strong_only=point(1.0, 0.55),
        threshold_rule=(),
        elapsed_s=0.0,
        compile_s=0.0,
        gap=0.0,
    )
    view = FrontierView(artifact)
    assert [stop.spent for stop in view.stops] == [0.0, 0.5]
    chosen = view.chosen(0.125)
    assert chosen["accuracy"] == pytest.approx(0.3)
    assert [policy["probability"] for policy in chosen["policies"]] == [0.75, 0.25]
    assert chosen["strong_tokens"] == pytest.approx(2.5)
    # Of λ = .5: (.6 + .5 · 2.5) / 10; of λ = .2: (4.4 + .2 · 2.5) / 10.
    assert chosen["bound"] == pytest.approx(min(0.185, 0.49))
    assert chosen["threshold"] is None


def test_a_frontier_of_a_file_has_its_numbers_and_says_that_it_has_no_policies(small, tmp_path):
    artifact = tp.load(small.save(tmp_path / "frontier.json"))
    view, whole = FrontierView(artifact), FrontierView(small)
    for budget in (0.0, 0.1, 0.35, 1.0):
        from_file, planned = view.chosen(budget), whole.chosen(budget)
        for name in ("accuracy", "bound", "strong_tokens", "spent", "note"):
            assert (
                from_file[name] == pytest.approx(planned[name]) if name != "note" else from_file[name] == planned[name]
            )
    state = view.state(0.2)
    assert state["details"] == {"by_step": None, "map": None}
    assert "no policies" in state["fixed"]["no_details"]
    assert state["fixed"]["thresholds"]["y"] == pytest.approx(whole.fixed()["thresholds"]["y"])
    with pytest.raises(InputError, match="no policies"):
        view.rule(0.2)


def test_a_file_of_redrafts_tells_their_reward_and_their_bound_too():
    model = RoutingModel(
        OBSERVATIONS,
        DYNAMICS.replace(redraft_repair=0.4),
        reward=50.0,
        actions=("keep", "redraft", "regenerate"),
        max_drafts=2,
        redraft_price=0.02,
    )
    frontier = tp.solve_frontier(model, 6, gap=1e-4)
    artifact = FrontierArtifact.from_mapping(
        json.loads(FrontierArtifact.of(frontier, ()).model_dump_json()), source="file"
    )
    assert artifact.max_drafts == 2
    assert max(point.redrafts or 0.0 for point in artifact.points) > 0.1
    whole, view = FrontierView(frontier), FrontierView(artifact)
    assert (whole._reward, view._reward) == (50.0, pytest.approx(50.0, rel=1e-6))
    grid = np.linspace(*view.span, 9)
    assert view.bound(grid) == pytest.approx(whole.bound(grid), abs=1e-6)


def test_a_file_without_redrafts_says_nothing_of_drafts(small):
    artifact = FrontierArtifact.of(small, ())
    assert artifact.max_drafts == 1
    assert "max_drafts" not in json.loads(artifact.model_dump_json())


def test_over_money_the_axis_is_money():
    tariff = Tariff(
        prices=PRICES, **{role: Reading(prompt_tokens=30, cached=0.5) for role in ("weak", "strong", "prm")}
    )
    model = RoutingModel(MODEL.observations, MODEL.dynamics, tariff=tariff)
    frontier = tp.solve_frontier(model, 15, over="money")
    view = FrontierView(frontier, [(view_of := frontier.points[3].point.money, 0.5, 0.01)])
    fixed = view.fixed()
    assert "EUR" in fixed["axis"]
    assert fixed["measured"][0]["x"] == view_of
    grid = np.linspace(*view.span, 20)
    assert [view.chosen(float(m))["accuracy"] for m in grid] == pytest.approx(
        frontier.accuracy_at_money(grid), abs=1e-9
    )
    assert (view.bound(grid) >= frontier.accuracy_at_money(grid) - 1e-9).all()
    for point in (frontier.weak_only, frontier.strong_only):
        assert float(view.bound(np.array([point.money]))[0]) >= point.accuracy - 1e-9
    middle = view.middle
    assert sum(view.details(middle)["by_step"]["strong_tokens"]) == pytest.approx(view.chosen(middle)["strong_tokens"])
    with pytest.raises(InputError, match="per problem"):
        view.chosen(view.span[1] * 2)


def test_measured_points_of_all_kinds():
    frontier = tp.solve_frontier(tp.load_preset("qwen2.5-1.5b-7b-math").routing_model(), 2)
    fit = measured_points(frontier.model.dynamics, frontier.model.strong_only_tokens)
    summary = summarise([], 100.0)
    view = FrontierView(frontier, {"a run": fit[3], "by hand": (0.3, 0.61, 0.02, 0.01), "bare": [0.4, 0.7]})
    kinds = [point["kind"] for point in view.measured]
    assert kinds.count("given") == 3
    assert kinds.count("end") == 2
    assert len(kinds) == len(fit) + 3
    run, hand, bare = view.measured[-3:]
    assert (run["label"], run["x"], run["y"]) == ("a run", fit[3].budget, fit[3].accuracy)
    assert (hand["y_low"], hand["y_high"]) == pytest.approx(norm.interval(0.95, 0.61, 0.02), abs=1e-12)
    assert (hand["x_low"], hand["x_high"]) == pytest.approx(norm.interval(0.95, 0.3, 0.01), abs=1e-12)
    assert bare["y_low"] is None
    with pytest.raises(InputError, match="budget is None"):
        FrontierView(frontier, [summary])


@pytest.mark.parametrize(("right", "known", "unknown"), [(20, 20, 0), (0, 20, 0), (13, 20, 0), (13, 15, 5)])
def test_a_run_has_the_interval_of_a_share_a_perfect_one_too(small, right, known, unknown):
    """Problems whose answer is not known are no trials."""
    records = [
        TerminalRecord(
            problem=str(i),
            reason="answer",
            correct=None if i >= known else i < right,
            steps=1,
            regenerations=0,
            degenerate=0,
            tokens=TokenCounts(strong=3 + i % 4),
            policy_hash="",
        )
        for i in range(known + unknown)
    ]
    (point,) = (
        point for point in FrontierView(small, {"run": summarise(records, 10.0)}).measured if point["kind"] == "given"
    )
    assert (point["y_low"], point["y_high"]) == share_interval(right, known)
    assert point["y_low"] < point["y_high"]


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        ([(0.3,)], "a point of 1 numbers"),
        ([object()], "no budget and accuracy"),
        ({"mine": (0.3, "high")}, "mine: the accuracy is 'high'"),
        ([(0.3, 0.5, float("nan"))], "standard error"),
    ],
)
def test_points_that_cannot_be_drawn_are_named(small, measured, says):
    with pytest.raises(InputError, match=says):
        FrontierView(small, measured)


def test_bad_input(small):
    with pytest.raises(InputError, match="expected a Frontier"):
        FrontierView([1, 2])
    with pytest.raises(InputError, match=r"budget is 1\.2"):
        frontier_state(small, 1.2)


@pytest.mark.parametrize(
    "preset", ["lab-loop", "lab-loop.logprob", pytest.param("qwen2.5-1.5b-7b-math-paper", marks=pytest.mark.slow)]
)
def test_every_kind_of_preset_is_plain_json(preset):
    frontier = tp.solve_frontier(tp.load_preset(preset).routing_model(), 8)
    state = json.loads(json.dumps(frontier_state(frontier), allow_nan=False))
    has_map = preset != "qwen2.5-1.5b-7b-math-paper"
    assert (state["details"]["map"]["grid"] is not None) == has_map
    assert has_map or "smallest score before" in state["details"]["map"]["why_not"]
    assert bool(state["fixed"]["thresholds"]["x"]) == (not has_map)  # those of evidence know nothing of PRM scores
