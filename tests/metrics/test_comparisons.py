"""Comparisons at matched cost: by hand, against the closure of Bonferroni's test, and by how often they err."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.metrics import Outcomes, compare
from trim_pomdp.metrics.comparisons import holm

N = 400


def pair(rng: np.random.Generator, n: int = N) -> dict[str, Outcomes]:
    return {
        "weak": Outcomes.of(rng.random(n) < 0.3, np.zeros(n)),
        "strong": Outcomes.of(rng.random(n) < 0.8, np.full(n, 10.0)),
    }


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
def test_holm_is_the_closure_of_bonferroni(p: list[float]) -> None:
    """Adjusted: the largest |S|·min p over all sets S that hold the hypothesis."""
    found = holm(np.array(p))
    for i in range(len(p)):
        others = [j for j in range(len(p)) if j != i]
        sets = [(i, *more) for size in range(len(p)) for more in itertools.combinations(others, size)]
        expected = max(min(len(item) * min(p[j] for j in item), 1.0) for item in sets)
        assert found[i] == pytest.approx(expected)


def test_accuracies_are_read_off_the_curves() -> None:
    rng = np.random.default_rng(1)
    ends = pair(rng)
    first = Outcomes((rng.random((2, N)) < [[0.5], [0.7]]).astype(float), np.array([[2.0], [6.0]]) + np.zeros(N))
    second = Outcomes.of(rng.random(N) < 0.5, np.full(N, 5.0))
    low, middle, top = compare({"a": first, "b": second}, against="b", costs=[0.2, 0.4, 1.0], seed=0, draws=50, **ends)
    weak, strong = ends["weak"].right.mean(), ends["strong"].right.mean()
    a, b = first.right.mean(axis=1), second.right.mean()
    assert low.accuracy == pytest.approx(a[0])
    assert low.accuracy_against == pytest.approx(weak + 0.4 * (b - weak))
    assert middle.accuracy == pytest.approx(a.mean())
    assert middle.difference == pytest.approx(middle.accuracy - middle.accuracy_against)
    assert top.accuracy == pytest.approx(strong)
    assert (top.difference, top.low, top.high, top.p) == (0.0, 0.0, 0.0, 1.0), "both end at strong-only"
    assert (low.router, low.against, low.comparisons, low.correction, low.method) == ("a", "b", 3, "holm", "chords")
    (hull,) = compare({"a": first, "b": second}, against="b", costs=[0.4], seed=0, draws=5, method="hull", **ends)
    assert hull.accuracy >= middle.accuracy


def test_intervals_may_be_of_each_alone_while_p_values_hold_at_once() -> None:
    rng = np.random.default_rng(2)
    ends = pair(rng)
    routers = {name: Outcomes.of(rng.random(N) < 0.5, np.full(N, 5.0)) for name in "abcd"}
    by_how = [
        compare(routers, against="a", costs=[0.4], seed=0, draws=50, correction=correction, at_once=at_once, **ends)
        for correction, at_once in (("none", True), ("max-t", True), ("max-t", False))
    ]
    for alone, at_once, mixed in zip(*by_how, strict=True):
        assert (mixed.low, mixed.high, mixed.p) == (alone.low, alone.high, alone.p)
        assert mixed.p_adjusted == at_once.p_adjusted > alone.p
        assert mixed.high - mixed.low < at_once.high - at_once.low


def test_pairing_takes_out_what_both_share() -> None:
    """The same problems solved but for 16 of 400: an error of about a hundredth, not the three of unpaired ones."""
    rng = np.random.default_rng(4)
    ends = pair(rng)
    base = rng.random(N) < 0.5
    better = base.copy()
    better[np.flatnonzero(~base)[:16]] = True
    routers = {"base": Outcomes.of(base, np.full(N, 5.0)), "better": Outcomes.of(better, np.full(N, 5.0))}
    (found,) = compare(routers, against="base", costs=[0.5], seed=0, draws=2000, **ends)
    assert found.difference == pytest.approx(0.04)
    error = np.sqrt(0.04 * 0.96 / N)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.p < 0.002
    (at_once,) = compare(routers, against="base", costs=[0.5], seed=0, draws=2000, correction="max-t", **ends)
    assert at_once.p_adjusted == pytest.approx(found.p_adjusted, abs=0.002), "a family of one needs no correction"
    assert (at_once.low, at_once.high) == pytest.approx((found.low, found.high), abs=0.004)


def test_corrections_are_in_order() -> None:
    rng = np.random.default_rng(6)
    ends = pair(rng)
    routers = {str(i): Outcomes.of(rng.random(N) < 0.5 + 0.02 * i, np.full(N, 5.0)) for i in range(5)}
    found = {
        name: compare(routers, against="0", costs=[0.3, 0.5], seed=0, correction=name, **ends)
        for name in ("none", "holm", "max-t")
    }
    for plain, stepped, at_once in zip(*found.values(), strict=True):
        assert plain.p == plain.p_adjusted == stepped.p == at_once.p
        assert plain.p <= stepped.p_adjusted <= min(8 * plain.p, 1.0) + 1e-12
        assert plain.p - 0.03 <= at_once.p_adjusted
        assert at_once.low <= plain.low
        assert at_once.high >= plain.high
        assert plain.comparisons == 8
    # Both costs of a router tell the same, so that half of the family costs nothing more.
    assert sum(item.p_adjusted for item in found["max-t"]) < sum(item.p_adjusted for item in found["holm"])


def test_what_cannot_be_compared_is_refused() -> None:
    rng = np.random.default_rng(0)
    ends = pair(rng)
    routers = {"a": ends["strong"], "b": ends["strong"]}
    good = {"against": "a", "costs": [0.5], "seed": 0, "draws": 10, **ends}
    for changed, words in [
        ({"against": "c"}, "against is 'c'; it must be one of a, b"),
        ({"costs": []}, "nothing to compare"),
        ({"costs": [1.2]}, "from weak-only's, 0, to 1"),
        ({"costs": [float("nan")]}, "from weak-only's"),
        ({"correction": "bonferroni"}, "correction is"),
        ({"method": "spline"}, "method is"),
        ({"level": 0.0}, "level is 0"),
        ({"weak": ends["strong"]}, "units of strong-only"),
    ]:
        with pytest.raises(InputError, match=words):
            compare(routers, **{**good, **changed})
    with pytest.raises(InputError, match="nothing to compare"):
        compare({"a": ends["strong"]}, **good)


@pytest.mark.slow
def test_families_err_as_often_as_they_say() -> None:
    """Four routers, the same in truth: something is found, or an interval leaves 0 out, in 5 % of the worlds."""
    rng = np.random.default_rng(23)
    worlds, found = 300, {"holm": 0, "max-t": 0}
    left_out = 0
    for i in range(worlds):
        ends = pair(rng, 300)
        routers = {str(j): Outcomes.of(rng.random(300) < 0.55, np.full(300, 4.0)) for j in range(4)}
        for name in ("holm", "max-t"):
            rows = compare(routers, against="0", costs=[0.4], seed=i, correction=name, draws=200, **ends)
            found[name] += min(item.p_adjusted for item in rows) <= 0.05
            left_out += name == "max-t" and any(item.low > 0 or item.high < 0 for item in rows)
    # Three standard errors of a share of 0.05 in 300 are 0.038; Holm may err less often.
    assert found["holm"] / worlds <= 0.088, found
    assert found["max-t"] / worlds == pytest.approx(0.05, abs=0.038), found
    assert left_out / worlds == pytest.approx(0.05, abs=0.038)
