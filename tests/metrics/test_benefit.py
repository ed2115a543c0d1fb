"""ΔIBC by its three rules and nulls: by hand, from CPTs, against AutoMix's own code, and on published points."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.metrics import Null, cpt, delta_ibc

ENDS = {"weak": 0.4, "strong": 0.8}
RULES = ("performance", "points", "costs")


def test_by_performance_is_a_mean_over_cpts() -> None:
    costs, accuracies = [0.2, 0.5, 1.0], [0.6, 0.58, 0.8]
    levels = np.arange(1, 101) / 100
    values = [level / cpt(costs, accuracies, share=level, **ENDS).value - 1 for level in levels]
    found = delta_ibc(costs, accuracies, **ENDS)
    assert found.value == pytest.approx(np.mean(values))
    assert (found.places, found.left_out, found.reached, found.null) == (100, 0, True, "query-random")
    assert found.bracket == pytest.approx((0.004, 1.0))


def test_by_points_by_hand() -> None:
    found = delta_ibc([0.25, 0.005, 0.5, 0.0], [0.6, 0.42, 0.8, 0.4], rule="points", **ENDS)
    assert found.value == pytest.approx(((0.5 / 0.25 - 1) + (1.0 / 0.5 - 1)) / 2)
    assert (found.places, found.left_out, found.least_cost) == (2, 2, 0.01)
    with_cheap = delta_ibc([0.25, 0.005, 0.5, 0.0], [0.6, 0.42, 0.8, 0.4], rule="points", least_cost=0.001, **ENDS)
    assert with_cheap.value == pytest.approx((1.0 + 1.0 + (0.05 / 0.005 - 1)) / 3)


def test_by_costs_by_hand() -> None:
    # Gains on the curve at 0.1, 0.3, 0.5, 0.7, 0.9 with the point (0.5, 1): 0.2, 0.6, 1, 1, 1.
    found = delta_ibc([0.5], [0.8], rule="costs", **ENDS)
    assert found.value == pytest.approx(np.mean([1, 1, 1, 1 / 0.7 - 1, 1 / 0.9 - 1]))
    assert (found.places, found.reached) == (5, False)
    assert found.bracket == pytest.approx((0.1, 0.9))
    two = delta_ibc([0.5], [0.8], rule="costs", regions=2, **ENDS)
    assert two.value == pytest.approx(np.mean([1, 1 / 0.75 - 1]))


@pytest.mark.parametrize("rule", RULES)
def test_a_draw_of_models_per_problem_has_none(rule) -> None:
    assert delta_ibc([0.2, 0.6], [0.48, 0.64], rule=rule, **ENDS).value == pytest.approx(0.0, abs=1e-9)
    costly = delta_ibc([0.4, 0.7], [0.5, 0.65], rule=rule, weak_cost=0.2, **ENDS)
    assert costly.value == pytest.approx(0.0, abs=1e-9), "the line starts at weak-only's cost"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["step-random", "best-split"])
def test_a_router_that_is_its_null_has_none(rule, name) -> None:
    costs, accuracies = (0.1, 0.4, 0.8), (0.55, 0.7, 0.78)
    found = delta_ibc(costs, accuracies, rule=rule, null=Null(name, costs, accuracies), **ENDS)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.null == name


def test_nulls_by_hand() -> None:
    null = (0.2, 0.4, 0.6), (0.6, 0.5, 0.7)  # gains 0.5, 0.25, 0.75
    router = [0.4], [0.8]
    chords = delta_ibc(*router, rule="points", null=Null("step-random", *null), **ENDS)
    assert chords.value == pytest.approx(1 / 0.25 - 1)
    # The best split at 0.4: a mixture of the first and the last one.
    best = delta_ibc(*router, rule="points", null=Null("best-split", *null), **ENDS)
    assert best.value == pytest.approx(1 / 0.625 - 1)
    performance = delta_ibc(*router, regions=2, null=Null("step-random", *null), **ENDS)
    assert performance.value == pytest.approx(np.mean([0.2 / 0.2 - 1, 1.0 / 0.4 - 1]))


def test_a_null_of_two_vertices_is_no_line() -> None:
    """A best split whose hull has two points goes through them, and not straight to strong-only."""
    null = Null("best-split", (0.0, 0.9), (0.4, 0.82))
    found = delta_ibc([0.5], [0.7], weak=0.4, strong=0.8, rule="points", null=null)
    # At .5 it has .6333, which is .5833 of the gap, where the router has .75.
    assert found.value == pytest.approx(0.75 / 0.58333333 - 1)
    free = Null("best-split", (0.0,), (0.5,))  # a split for nothing: .25 of the gap at 0, so .625 at .5
    found = delta_ibc([0.5], [0.7], weak=0.4, strong=0.8, rule="points", null=free)
    assert found.value == pytest.approx(0.75 / 0.625 - 1)


def test_places_without_a_benefit_are_counted() -> None:
    free = delta_ibc([0.0, 0.5], [0.6, 0.8], **ENDS)
    assert (free.places, free.left_out) == (50, 50)
    nothing_but_free = delta_ibc([0.0], [0.8], **ENDS)
    assert (nothing_but_free.value, nothing_but_free.places, nothing_but_free.bracket) == (None, 0, None)
    useless = Null("step-random", (0.5,), (0.3,))
    lost = delta_ibc([0.3, 0.9], [0.6, 0.8], rule="points", null=useless, **ENDS)
    assert (lost.places, lost.left_out) == (1, 1), "where the null gains nothing, there is no ratio"
    assert delta_ibc([0.0], [0.4], rule="points", **ENDS).value is None


def test_beyond_strong_only() -> None:
    found = delta_ibc([2.0], [0.8], rule="points", **ENDS)
    assert found.value == pytest.approx(1 / 2 - 1), "the line goes on"
    worse = delta_ibc([0.5], [0.3], **ENDS)
    assert worse.value < 0
    assert not worse.reached


def test_published_points(shared: Path) -> None:
    rows = [json.loads(line) for line in (shared / "data" / "trim_measured_thr.jsonl").read_text().splitlines()]
    tokens = np.array([row["avg_target_tokens_per_question"] for row in rows])
    costs, accuracies = tokens / tokens[-1], [row["accuracy"] for row in rows]
    found = {rule: delta_ibc(costs, accuracies, weak=0.364, strong=0.730, rule=rule) for rule in RULES}
    # One set of points, and what its ΔIBC is depends on the rule (FINDINGS 4: from .8 to 2.6).
    gains = (np.array(accuracies) - 0.364) / 0.366
    assert found["points"].value == pytest.approx((gains[1:] / costs[1:] - 1).mean())
    assert found["points"].places == 20
    assert all(0.8 < item.value < 2.6 for item in found.values())
    assert found["costs"].value < found["points"].value < found["performance"].value
    assert all(item.reached for item in found.values())


def test_automix_says_the_same_of_a_point() -> None:
    automix = pytest.importorskip("automix")
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(3)
    weak, strong, trust = rng.random(200), rng.random(200) + 0.3, rng.random(200)
    frame = pd.DataFrame({"llama13b_f1": weak, "llama70b_f1": strong, "p_ver_13b": trust})
    mixer = automix.Automix(automix.Threshold(num_bins=4), costs=[1, 50], verifier_cost=1)
    mixer.train(frame)
    lift, _, accuracy, cost = mixer.evaluate(frame)
    ends = {"weak": weak.mean(), "strong": strong.mean(), "weak_cost": 1 / 50}
    assert delta_ibc([cost / 50], [accuracy], rule="points", **ends).value == pytest.approx(lift)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "median"}, "rule is 'median'"),
        ({"null": "oracle"}, "null is 'oracle'"),
        ({"null": Null("oracle", (0.5,), (0.5,))}, "name of the null"),  # type: ignore[arg-type]
        ({"null": Null("step-random", (0.5,), (float("nan"),))}, "null step-random: .* finite"),
        ({"regions": 0}, "regions is 0"),
        ({"least_cost": -0.1}, "least_cost is -0.1"),
        ({"least_cost": float("nan")}, "least_cost is nan"),
        ({"strong": 0.4}, "no better"),
    ],
)
def test_arguments_are_checked(options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        delta_ibc([0.2], [0.5], **{**ENDS, **options})


points = st.lists(st.tuples(st.floats(0.02, 1.2), st.floats(0.3, 0.9)), min_size=1, max_size=8)


@given(points, st.sampled_from(RULES), st.randoms())
def test_order_does_not_matter(drawn, rule, random) -> None:
    mixed = list(drawn)
    random.shuffle(mixed)
    first, second = (delta_ibc(*zip(*item, strict=True), rule=rule, **ENDS) for item in (drawn, mixed))
    assert first == second


@given(points, st.sampled_from(RULES), st.floats(0.1, 50), st.floats(-3, 3))
def test_the_unit_of_accuracy_does_not_matter(drawn, rule, factor: float, shift: float) -> None:
    costs, accuracies = zip(*drawn, strict=True)
    ends = {name: factor * value + shift for name, value in ENDS.items()}
    first = delta_ibc(costs, accuracies, rule=rule, **ENDS).value
    second = delta_ibc(costs, [factor * item + shift for item in accuracies], rule=rule, **ends).value
    assert first == pytest.approx(second, rel=1e-5, abs=1e-6)


@given(points, st.floats(0.3, 0.99))
def test_a_cheaper_router_has_more(drawn, factor: float) -> None:
    costs, accuracies = zip(*drawn, strict=True)
    cheaper = [factor * cost for cost in costs]
    first, second = (delta_ibc(item, accuracies, rule="points", **ENDS) for item in (costs, cheaper))
    if first.places == second.places and min(accuracies) > ENDS["weak"]:
        assert second.value + 1 == pytest.approx((first.value + 1) / factor)
