"""PGR, CPT and APGR against published points, cases by hand, mixtures by brute force, and what must not matter."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc

from trim_pomdp.errors import InputError
from trim_pomdp.metrics import apgr, cpt, pgr
from trim_pomdp.metrics.recovery import CptMethod

WEAK, STRONG = 0.4, 0.8
ENDS = {"weak": WEAK, "strong": STRONG}
METHODS: tuple[CptMethod, ...] = ("crossing", "hull", "points")
SHARES = (0.2, 0.5, 0.8, 0.95, 1.0)


@pytest.fixture
def published(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Costs and accuracies of the 21 published thresholds."""
    lines = (shared / "data" / "trim_measured_thr.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    tokens = np.array([row["avg_target_tokens_per_question"] for row in rows])
    unit = next(row["avg_target_tokens_per_question"] for row in rows if row["threshold"] == 1)
    return tokens / unit, np.array([row["accuracy"] for row in rows])


points = st.lists(
    st.tuples(
        st.floats(0, 1.3).map(lambda x: round(x, 3)),
        st.integers(0, 100).map(lambda x: x / 100),
    ),
    min_size=1,
    max_size=8,
)


def parts(drawn: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [cost for cost, _ in drawn], [accuracy for _, accuracy in drawn]


def test_published_points(published) -> None:
    costs, accuracies = published
    ends = {"weak": 0.364, "strong": 0.730}
    crossing = [cpt(costs, accuracies, share=share, **ends).value for share in (0.5, 0.8, 0.95)]
    assert crossing == pytest.approx([0.197, 0.328, 0.442], abs=5e-4)
    hull = [cpt(costs, accuracies, share=share, method="hull", **ends).value for share in (0.5, 0.8, 0.95)]
    assert hull == pytest.approx([0.170, 0.276, 0.434], abs=5e-4)
    assert apgr(costs, accuracies, **ends).value == pytest.approx(0.787, abs=5e-4)
    assert apgr(costs, accuracies, **ends).reached


def test_cpt_by_hand() -> None:
    # Gains 0.25, 0.5, 0.4, 1 at 0.1, 0.3, 0.4, 0.6.
    costs, accuracies = [0.3, 0.1, 0.6, 0.4], [0.6, 0.5, 0.8, 0.56]
    crossing = cpt(costs, accuracies, **ENDS)
    assert crossing.value == pytest.approx(0.3)
    assert crossing.bracket == (0.1, 0.3)
    later = cpt(costs, accuracies, share=0.8, **ENDS)
    assert later.value == pytest.approx(0.4 + 0.2 * (0.8 - 0.4) / 0.6)
    assert later.bracket == (0.4, 0.6)
    hull = cpt(costs, accuracies, share=0.8, method="hull", **ENDS)
    assert hull.value == pytest.approx(0.1 + 0.5 * (0.8 - 0.25) / 0.75)
    assert hull.bracket == (0.1, 0.6)
    seen = cpt(costs, accuracies, share=0.8, method="points", **ENDS)
    assert (seen.value, seen.bracket, seen.method, seen.share) == (0.6, (0.4, 0.6), "points", 0.8)


@pytest.mark.parametrize(("method", "value"), [("crossing", 0.15), ("hull", 0.15), ("points", 0.2)])
def test_a_single_point_is_joined_to_weak_only(method: CptMethod, value: float) -> None:
    found = cpt([0.2], [0.4 + 0.4 * 2 / 3], method=method, **ENDS)
    assert found.value == pytest.approx(value)
    assert found.bracket == (0.0, 0.2)


@pytest.mark.parametrize("method", METHODS)
def test_a_share_that_no_point_has_is_not_reached(method: CptMethod) -> None:
    found = cpt([0.0, 0.2, 0.7], [0.4, 0.6, 0.7], share=0.95, method=method, **ENDS)
    assert (found.value, found.reached, found.bracket) == (None, False, None)
    assert cpt([0.5], [0.3], share=0.01, method=method, **ENDS).value is None, "worse than the weak model"


@pytest.mark.parametrize("method", METHODS)
def test_a_share_had_for_nothing_costs_nothing(method: CptMethod) -> None:
    found = cpt([0.0, 0.5], [0.7, 0.8], method=method, **ENDS)
    assert (found.value, found.reached, found.bracket) == (0.0, True, (0.0, 0.0))


@pytest.mark.parametrize("method", METHODS)
def test_what_costs_more_than_strong_only_is_told(method: CptMethod) -> None:
    found = cpt([0.5, 1.5], [0.4, 0.8], share=1.0, method=method, **ENDS)
    assert found.reached
    assert found.value == 1.5


@pytest.mark.parametrize("method", METHODS)
def test_a_share_that_is_met_exactly_is_reached(method: CptMethod) -> None:
    """(0.6 - 0.4) / (0.8 - 0.4) is less than a half in floating point."""
    assert (0.6 - 0.4) / (0.8 - 0.4) < 0.5
    assert cpt([0.3], [0.6], method=method, **ENDS).value == pytest.approx(0.3)


def test_weak_only_may_cost_something() -> None:
    assert cpt([0.4], [0.8], weak_cost=0.2, **ENDS).value == pytest.approx(0.3)
    assert apgr([0.6], [0.6], weak_cost=0.2, **ENDS).value == pytest.approx(0.5), "half of the gap half of the way"


def test_apgr_by_hand() -> None:
    assert apgr([0.0, 1.0], [0.4, 0.8], **ENDS).value == pytest.approx(0.5)
    single = apgr([0.5], [0.8], **ENDS)
    assert single.value == pytest.approx(0.25 + 0.5)
    assert (single.reached, single.bracket) == (False, (0.5, 0.5))
    assert apgr([0.0], [0.8], **ENDS).value == pytest.approx(1.0)
    # Beyond strong-only's cost nothing counts, and strong-only stays part of the curve.
    assert apgr([0.5, 1.5], [0.8, 0.4], **ENDS).value == pytest.approx(0.75)
    dip = [0.2, 0.4, 0.6], [0.7, 0.5, 0.7]
    assert apgr(*dip, method="hull", **ENDS).value > apgr(*dip, **ENDS).value


def test_pgr() -> None:
    assert pgr(0.6, **ENDS) == pytest.approx(0.5)
    assert pgr(0.9, **ENDS) == pytest.approx(1.25)
    assert pgr(0.3, **ENDS) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("costs", "accuracies", "options", "words"),
    [
        ([0.1], [0.5], {"strong": 0.4}, "no better than weak-only"),
        ([0.1], [0.5], {"strong": 0.3}, "no better than weak-only"),
        ([0.1], [0.5], {"weak": float("nan")}, "finite"),
        ([0.1, float("inf")], [0.5, 0.6], {}, "finite"),
        ([0.1], [float("nan")], {}, "finite"),
        ([-0.1], [0.5], {}, "-0.1"),
        ([], [], {}, "one point at least"),
        ([0.1, 0.2], [0.5], {}, "same length"),
        ([[0.1]], [[0.5]], {}, "lists"),
        ([0.1], [0.5], {"weak_cost": 1.0}, "weak_cost is 1"),
        ([0.1], [0.5], {"weak_cost": float("nan")}, "weak_cost is nan"),
    ],
)
@pytest.mark.parametrize("measure", [cpt, apgr])
def test_what_makes_no_sense_is_refused(measure, costs, accuracies, options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure(costs, accuracies, **{**ENDS, **options})


def test_arguments_are_checked() -> None:
    for share in (0.0, 1.1, -0.2, float("nan")):
        with pytest.raises(InputError, match="share is"):
            cpt([0.1], [0.5], share=share, **ENDS)
    with pytest.raises(InputError, match="method is 'spline'"):
        cpt([0.1], [0.5], method="spline", **ENDS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of chords, hull"):
        apgr([0.1], [0.5], method="spline", **ENDS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no better"):
        pgr(0.5, weak=0.6, strong=0.6)
    with pytest.raises(InputError, match="finite"):
        pgr(float("inf"), **ENDS)


@given(points, st.sampled_from(SHARES))
def test_the_hull_is_the_cheapest_mixture_of_two(drawn, share: float) -> None:
    known = [(0.0, 0.0), *((cost, (accuracy - WEAK) / (STRONG - WEAK)) for cost, accuracy in drawn)]
    mixtures = [cost for cost, gain in known if gain >= share - 1e-9]
    for (c, g), (d, h) in itertools.permutations(known, 2):
        if g < share <= h:
            mixtures.append(c + (share - g) / (h - g) * (d - c))
    found = cpt(*parts(drawn), share=share, method="hull", **ENDS)
    assert found.reached == bool(mixtures)
    if mixtures:
        assert found.value == pytest.approx(min(mixtures), abs=1e-7)


@given(points, st.sampled_from(SHARES))
def test_methods_are_in_order_and_inside_their_brackets(drawn, share: float) -> None:
    found = {method: cpt(*parts(drawn), share=share, method=method, **ENDS) for method in METHODS}
    assert len({item.reached for item in found.values()}) == 1
    if found["points"].reached:
        assert found["hull"].value <= found["crossing"].value + 1e-9
        assert found["crossing"].value <= found["points"].value + 1e-9
        for item in found.values():
            assert item.bracket[0] - 1e-12 <= item.value <= item.bracket[1] + 1e-12


@given(points, st.sampled_from(SHARES))
def test_crossing_is_where_a_fine_walk_first_sees_the_share(drawn, share: float) -> None:
    best: dict[float, float] = {0.0: 0.0}
    for cost, accuracy in drawn:
        gain = (accuracy - WEAK) / (STRONG - WEAK)
        best[cost] = max(best.get(cost, -9.0), gain)
    x = np.array(sorted(best))
    walk = np.union1d(np.linspace(0.0, x[-1], 20001), x)  # peaks too, which steps may miss
    seen = walk[np.interp(walk, x, [best[cost] for cost in x.tolist()]) >= share - 1e-9]
    found = cpt(*parts(drawn), share=share, **ENDS)
    if seen.size:
        assert found.value == pytest.approx(seen[0], abs=1e-4)
    else:  # a peak may lie between two steps of the walk
        assert found.value is None or max(best.values()) >= share - 1e-9


@given(points, st.sampled_from(SHARES), st.randoms())
def test_order_and_repetition_do_not_matter(drawn, share: float, random) -> None:
    mixed = drawn + drawn[:3]
    random.shuffle(mixed)
    for method in METHODS:
        first, second = (cpt(*parts(item), share=share, method=method, **ENDS) for item in (drawn, mixed))
        assert first == second
    assert apgr(*parts(drawn), **ENDS) == apgr(*parts(mixed), **ENDS)


@given(points, st.sampled_from(SHARES), st.floats(0.1, 100), st.floats(-5, 5))
def test_the_unit_of_accuracy_does_not_matter(drawn, share: float, factor: float, shift: float) -> None:
    costs, accuracies = parts(drawn)
    moved = [factor * item + shift for item in accuracies]
    ends = {"weak": factor * WEAK + shift, "strong": factor * STRONG + shift}
    for method in METHODS:
        first = cpt(costs, accuracies, share=share, method=method, **ENDS)
        second = cpt(costs, moved, share=share, method=method, **ends)
        assert first.value == (None if second.value is None else pytest.approx(second.value, abs=1e-6))
    assert apgr(costs, accuracies, **ENDS).value == pytest.approx(apgr(costs, moved, **ends).value, abs=1e-6)


@given(points, st.sampled_from(SHARES), st.integers(0, 7), st.floats(0.0, 0.3))
def test_a_better_point_never_hurts(drawn, share: float, which: int, more: float) -> None:
    costs, accuracies = parts(drawn)
    better = list(accuracies)
    better[which % len(better)] += more
    for method in ("crossing", "points", "hull"):
        before, after = (cpt(costs, item, share=share, method=method, **ENDS).value for item in (accuracies, better))
        assert before is None or after <= before + 1e-9
    assert apgr(costs, better, **ENDS).value >= apgr(costs, accuracies, **ENDS).value - 1e-9


@given(points, st.sampled_from(SHARES), st.floats(0.1, 5.0))
def test_cpt_scales_with_cost(drawn, share: float, factor: float) -> None:
    costs, accuracies = parts(drawn)
    for method in METHODS:
        first = cpt(costs, accuracies, share=share, method=method, **ENDS).value
        second = cpt([factor * item for item in costs], accuracies, share=share, method=method, **ENDS).value
        assert second == (None if first is None else pytest.approx(factor * first, abs=1e-9))


@given(st.lists(st.tuples(st.integers(1, 99), st.floats(0, 1)), min_size=1, max_size=8, unique_by=lambda item: item[0]))
def test_apgr_is_the_area_that_scikit_learn_finds(drawn) -> None:
    inner = sorted((cost / 100, accuracy) for cost, accuracy in drawn)
    x, y = parts([(0.0, WEAK), *inner, (1.0, STRONG)])
    expected = (auc(x, y) - WEAK) / (STRONG - WEAK)
    assert apgr(*parts(inner), **ENDS).value == pytest.approx(expected)
