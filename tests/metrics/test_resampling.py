"""The bootstrap against explicit resampling, the binomial formula, and known truth; and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from trim_pomdp.errors import InputError
from trim_pomdp.metrics import Outcomes, apgr, bootstrap, cpt, delta_ibc
from trim_pomdp.metrics.resampling import resampled

BUDGETS = np.array([0.05, 0.1, 0.2, 0.35, 0.6])
TRUE_WEAK, TRUE_STRONG = 0.4, 0.75
TRUE = TRUE_WEAK + 0.35 * np.array([0.25, 0.45, 0.7, 0.88, 0.98])


def world(rng: np.random.Generator, n: int) -> tuple[Outcomes, Outcomes, Outcomes]:
    """Router, weak-only, strong-only; a shared difficulty and shared lengths make them go together."""
    share = 0.5 * rng.random(n)
    own = rng.random((len(TRUE) + 2, n))
    mixed = np.where(rng.random((len(TRUE) + 2, n)) < 0.5, rng.random(n), own)  # uniform, and correlated over points
    length = rng.gamma(4.0, 100.0, n)
    right = (mixed[:-2] < TRUE[:, None]).astype(float)
    cost = BUDGETS[:, None] * length * (0.75 + share)
    weak = Outcomes.of(mixed[-2] < TRUE_WEAK, np.zeros(n))
    return Outcomes(right, cost), weak, Outcomes.of(mixed[-1] < TRUE_STRONG, length)


@pytest.fixture(scope="module")
def drawn() -> tuple[Outcomes, Outcomes, Outcomes]:
    return world(np.random.default_rng(5), 300)


def test_means_are_those_of_rows_drawn_with_replacement(drawn, monkeypatch) -> None:
    router, weak, _ = drawn
    found = resampled([router, weak], 7, seed=11)
    counts = np.random.default_rng(11).multinomial(300, np.full(300, 1 / 300), size=7)
    for i, count in enumerate(counts, start=1):
        picked = np.repeat(np.arange(300), count)
        assert found[0].right[i] == pytest.approx(router.right[:, picked].mean(axis=1))
        assert found[0].cost[i] == pytest.approx(router.cost[:, picked].mean(axis=1))
        assert found[1].right[i] == pytest.approx(weak.right[:, picked].mean(axis=1))
    assert found[0].right[0] == pytest.approx(router.right.mean(axis=1))
    monkeypatch.setattr("trim_pomdp.metrics.resampling._LARGEST_CHUNK", 600)
    again = resampled([router, weak], 7, seed=11)
    assert np.allclose(found[0].cost, again[0].cost, rtol=1e-12), "chunks do not matter"


def test_everything_is_computed_anew_in_every_draw(drawn) -> None:
    router, weak, strong = drawn
    null = Outcomes(router.right[[0, 2]], 2 * router.cost[[0, 2]])
    found = bootstrap(router, weak=weak, strong=strong, seed=2, null=("step-random", null), draws=40, level=0.9)
    from trim_pomdp.metrics import Null

    means = resampled([router, weak, strong, null], 40, seed=2)
    areas, targets, benefits = [], [], []
    for i in range(41):
        unit = means[2].cost[i, 0]
        ends = {"weak": means[1].right[i, 0], "strong": means[2].right[i, 0]}
        points = means[0].cost[i] / unit, means[0].right[i]
        areas.append(apgr(*points, **ends).value)
        targets.append(cpt(*points, share=0.8, **ends).value)
        random = Null("step-random", tuple(means[3].cost[i] / unit), tuple(means[3].right[i]))
        benefits.append(delta_ibc(*points, null=random, **ends).value)
    for item, expected in ((found.apgr, areas), (found.cpt[0.8], targets), (found.delta_ibc, benefits)):
        assert item.value == pytest.approx(expected[0])
        ordered = sorted(np.inf if value is None else value for value in expected[1:])
        assert item.low == pytest.approx(ordered[1])  # the second of 40: 5 %
        assert item.high == pytest.approx(ordered[37])
    assert (found.null, found.problems, found.seed) == ("step-random", 300, 2)


def test_standard_errors_are_binomial(drawn) -> None:
    router, weak, strong = drawn
    found = bootstrap(router, weak=weak, strong=strong, seed=1, draws=1000)
    for point, row in zip(found.points, router.right, strict=True):
        assert point.accuracy == pytest.approx(row.mean())
        assert point.accuracy_se == pytest.approx(np.sqrt(row.mean() * (1 - row.mean()) / 300), rel=0.08)
    assert (found.strong.cost, found.strong.cost_se) == pytest.approx((1.0, 0.0))
    assert found.weak.cost == 0.0


def test_the_seed_decides(drawn) -> None:
    router, weak, strong = drawn
    first, same, other = (bootstrap(router, weak=weak, strong=strong, seed=seed, draws=20) for seed in (1, 1, 3))
    assert first == same
    assert first.apgr != other.apgr


def test_order_of_problems_and_points_and_the_unit_of_cost_do_not_matter_to_values(drawn) -> None:
    router, weak, strong = drawn
    mixed = np.random.default_rng(0).permutation(300)
    parts = [Outcomes(item.right[:, mixed], 7 * item.cost[:, mixed]) for item in (router, weak, strong)]
    parts[0] = Outcomes(parts[0].right[::-1], parts[0].cost[::-1])
    first = bootstrap(router, weak=weak, strong=strong, seed=1, draws=5)
    second = bootstrap(parts[0], weak=parts[1], strong=parts[2], seed=1, draws=5)
    assert first.apgr.value == pytest.approx(second.apgr.value)
    assert first.cpt[0.5].value == pytest.approx(second.cpt[0.5].value)
    assert first.delta_ibc.value == pytest.approx(second.delta_ibc.value)


def test_a_target_that_only_some_draws_reach() -> None:
    """A router as good as strong-only in truth reaches the whole gap in about half of the draws."""
    rng = np.random.default_rng(8)
    right = rng.random((3, 400))
    strong = Outcomes.of(right[0] < 0.7, np.full(400, 10.0))
    router = Outcomes.of(np.roll(right[0] < 0.7, 1), np.full(400, 3.0))
    weak = Outcomes.of(right[2] < 0.3, np.zeros(400))
    found = bootstrap(router, weak=weak, strong=strong, seed=0, shares=(0.5, 1.0), draws=400)
    assert 0.35 < found.cpt[1.0].reached < 0.65
    assert found.cpt[1.0].high is None
    assert found.cpt[1.0].low is not None
    assert found.cpt[0.5].reached == 1.0
    assert found.cpt[0.5].low < found.cpt[0.5].value < found.cpt[0.5].high


def test_draws_without_a_gap_are_told() -> None:
    weak = Outcomes.of([1, 0, 0, 1, 0, 0, 1, 0, 0, 0], np.zeros(10))
    strong = Outcomes.of([0, 1, 0, 1, 1, 0, 0, 1, 0, 0], np.full(10, 5.0))
    found = bootstrap(strong, weak=weak, strong=strong, seed=0, draws=300)
    assert 0.1 < found.apgr.undefined < 0.7
    assert found.apgr.value == pytest.approx(0.5)
    assert found.cpt[0.5].undefined == found.apgr.undefined


def test_costs_of_weak_only_count() -> None:
    rng = np.random.default_rng(2)
    weak, strong = (Outcomes.of(rng.random(200) < p, np.full(200, c)) for p, c in ((0.3, 2.0), (0.8, 10.0)))
    found = bootstrap(
        Outcomes.of(strong.right[0], np.full(200, 6.0)), weak=weak, strong=strong, seed=0, shares=(1.0,), draws=20
    )
    assert found.weak.cost == pytest.approx(0.2)
    assert found.cpt[1.0].value == pytest.approx(0.6)
    assert found.apgr.value == pytest.approx(0.75)


def test_what_does_not_fit_is_refused(drawn) -> None:
    router, weak, strong = drawn
    good = {"weak": weak, "strong": strong, "seed": 0, "draws": 3}
    for changed, words in [
        ({"weak": Outcomes.of([1.0], [0.0])}, "outcomes of 1 and of 300 problems"),
        ({"weak": router}, "weak-only has 5 points"),
        ({"weak": strong}, "units of strong-only"),
        ({"weak": Outcomes.of(strong.right[0], np.zeros(300))}, "no better than weak-only"),
        ({"strong": Outcomes.of(strong.right[0], np.zeros(300))}, "strong-only costs 0"),
        ({"draws": 0}, "draws is 0"),
        ({"level": 1.0}, "level is 1"),
        ({"shares": (0.0,)}, "share is 0"),
    ]:
        with pytest.raises(InputError, match=words):
            bootstrap(router, **{**good, **changed})
    for right, cost, words in [
        ([[1.0, np.nan]], [[1.0, 1.0]], "right must hold finite"),
        ([[1.0, 0.0]], [[1.0, np.inf]], "cost must hold finite"),
        ([[1.0, 0.0]], [[1.0, -1.0]], "cost must hold finite numbers from 0"),
        ([[2.0, 0.0]], [[1.0, 1.0]], r"right has a 2"),
        ([[1.0, 0.0]], [[1.0]], "they must agree"),
        ([], [], "rows are points"),
    ]:
        with pytest.raises(InputError, match=words):
            Outcomes.of(right, cost)


def test_tables_are_equal_by_content(drawn) -> None:
    router = drawn[0]
    assert router == Outcomes(router.right.copy(), router.cost.copy())
    assert router != replace(router, right=1.0 - router.right)


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    """Of 200 worlds of 400 problems, intervals of 90 % hold the true values in about so many."""
    truth = {"weak": TRUE_WEAK, "strong": TRUE_STRONG}
    area = apgr(BUDGETS, TRUE, **truth).value
    half = cpt(BUDGETS, TRUE, share=0.5, **truth).value
    benefit = delta_ibc(BUDGETS, TRUE, **truth).value
    hits, worlds = np.zeros(3), 200
    rng = np.random.default_rng(19)
    for i in range(worlds):
        router, weak, strong = world(rng, 400)
        found = bootstrap(router, weak=weak, strong=strong, seed=i, shares=(0.5,), draws=150, level=0.9)
        for j, (item, value) in enumerate(((found.apgr, area), (found.cpt[0.5], half), (found.delta_ibc, benefit))):
            assert item.low is not None
            hits[j] += item.low <= value <= (np.inf if item.high is None else item.high)
    # Three standard errors of a share of 0.9 in 200 are 0.064.
    assert hits / worlds == pytest.approx(0.9, abs=0.064), hits / worlds
