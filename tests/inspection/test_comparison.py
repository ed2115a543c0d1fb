"""Paired differences against numbers by hand, and their intervals against a bootstrap over problems."""

import math

import numpy as np
import pytest
from scipy.stats import binom
from scripted import PRICES

from trim_pomdp.inspection.comparison import compare_runs
from trim_pomdp.inspection.intervals import mean_interval, paired_share_interval, share_interval
from trim_pomdp.runtime.money import spent
from trim_pomdp.runtime.records import TerminalRecord, TokenCounts


def ended(
    problem: str, correct: bool | None, strong: int, *, reference: str | None = "7", **more: int
) -> TerminalRecord:
    counts = TokenCounts(strong=strong, weak_kept=10, weak_read=100, strong_read=4 * strong, scored=50)
    return TerminalRecord(
        problem=problem,
        reason="answer",
        answer="7",
        reference=reference,
        correct=correct,
        steps=more.get("steps", 4),
        regenerations=more.get("regenerations", 1),
        degenerate=0,
        tokens=counts,
        policy_hash="x",
    )


def test_by_hand() -> None:
    first = [
        ended("a", True, 10),
        ended("b", False, 20),
        ended("c", True, 30),
        ended("d", False, 0),
        ended("x", True, 5),
    ]
    second = [
        ended("b", True, 26),
        ended("a", True, 12),
        ended("c", False, 30),
        ended("d", True, 8),
        ended("y", True, 5),
    ]
    pairs = compare_runs(first, second)
    assert (pairs.shared, pairs.only_first, pairs.only_second, pairs.other_problem) == (4, 1, 1, 0)
    tokens = pairs.differences["strong_tokens"]
    assert (tokens.first, tokens.second, tokens.value) == (15.0, 19.0, 4.0)  # 2, 6, 0, 8
    # The differences have the variance (4 + 4 + 16 + 16) / 3.
    assert tokens.error == pytest.approx(math.sqrt(40 / 3 / 4))
    half = 3.182446 * math.sqrt(10 / 3)  # Student's, of three degrees of freedom
    assert tokens.interval == pytest.approx((4 - half, 4 + half))
    accuracy = pairs.differences["accuracy"]
    assert (accuracy.first, accuracy.second, accuracy.value) == (0.5, 0.75, 0.25)
    assert accuracy.error == pytest.approx(math.sqrt((0.0625 + 0.5625 + 1.5625 + 0.5625) / 3 / 4))
    assert (pairs.both, pairs.first_alone, pairs.second_alone, pairs.neither) == (1, 1, 2, 0)
    assert "money" not in pairs.differences


def test_money_is_that_of_the_terminals() -> None:
    first, second = [ended("a", True, 10)], [ended("a", True, 30)]
    money = compare_runs(first, second, prices=PRICES).differences["money"]
    a, b = (spent(run[0].tokens, PRICES).total for run in (first, second))
    assert (money.first, money.second, money.value) == (a, b, b - a)
    assert (money.error, money.interval, money.problems) == (None, None, 1)


def test_what_is_not_known_or_not_the_same_problem() -> None:
    first = [ended("a", True, 1), ended("b", None, 2, reference=None), ended("c", True, 3)]
    second = [ended("a", True, 1, reference="8"), ended("b", True, 4), ended("c", True, 3)]
    pairs = compare_runs(first, second)
    assert (pairs.shared, pairs.other_problem) == (2, 1)
    assert pairs.differences["accuracy"].problems == 1
    assert pairs.differences["strong_tokens"].problems == 2
    nothing = compare_runs(first, [ended("z", True, 1)])
    assert (nothing.shared, nothing.differences) == (0, {})


def test_ids_of_other_problems_are_not_paired() -> None:
    runs = [[ended(name, True, 5, reference=None) for name in ("a", "b", "c")] for _ in range(2)]
    pairs = compare_runs(*runs, prompts=({"a": "1 + 1", "b": "2 + 2"}, {"a": "1 + 1", "b": "3 + 3", "c": "4"}))
    assert (pairs.shared, pairs.other_problem) == (2, 1)


def test_runs_that_agree_everywhere_may_still_differ() -> None:
    runs = [[ended(str(i), i % 3 > 0, 10) for i in range(60)] for _ in range(2)]
    accuracy = compare_runs(*runs).differences["accuracy"]
    assert (accuracy.value, accuracy.error) == (0.0, 0.0)
    assert accuracy.interval is not None
    low, high = accuracy.interval
    assert low == -high
    # Of as many that agree, once in twenty times, one run may be so much better.
    assert high == pytest.approx(1 - 0.05 ** (1 / 60), rel=0.1)
    tokens = compare_runs(*runs).differences["strong_tokens"]
    assert (tokens.error, tokens.interval) == (0.0, None)


def test_few_outcomes_that_differ_prove_nothing() -> None:
    # McNemar's exact test of 4 to 0 has p = .125, of 6 to 0 p = .031.
    for alone, beyond_chance in ((4, False), (6, True)):
        runs = [[ended(str(i), run == 0 or i >= alone, 10) for i in range(40)] for run in range(2)]
        interval = compare_runs(*runs).differences["accuracy"].interval
        assert interval is not None
        assert (interval[1] < 0) == beyond_chance
    all_apart = paired_share_interval(0, 3, 3)
    assert all_apart is not None
    assert all_apart[0] < 0.0 < 1.0 == all_apart[1]
    assert paired_share_interval(0, 0, 0) is None


@pytest.mark.parametrize("apart", [(0.02, 0.02), (0.1, 0.02), (0.2, 0.1), (0.5, 0.3), (0.9, 0.05)])
@pytest.mark.parametrize("n", [5, 10, 40, 200])
def test_paired_intervals_hold_what_they_say(n: int, apart: tuple[float, float]) -> None:
    """Their coverage, summed over everything that can come out."""
    both = math.fsum(apart)
    covered = 0.0
    for k in range(n + 1):
        weight = binom.pmf(k, n, both)
        for j in range(k + 1):
            ends = paired_share_interval(k - j, j, n)
            assert ends is not None
            if ends[0] <= apart[1] - apart[0] <= ends[1]:
                covered += weight * binom.pmf(j, k, apart[1] / both)
    assert covered > 0.93


def test_intervals_against_a_bootstrap_over_problems() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(400)
    right = [rng.random(400) > 0.8 * hard, rng.random(400) > 0.6 * hard]
    tokens = [rng.poisson(20 + 200 * hard), rng.poisson(40 + 220 * hard)]
    runs = [
        [ended(str(i), bool(right[run][i]), int(tokens[run][i])) for i in range(400)]
        for run in range(2)
    ]  # fmt: skip
    pairs = compare_runs(*runs)
    drawn = rng.integers(0, 400, size=(20000, 400))
    for name, values in (("accuracy", right), ("strong_tokens", tokens)):
        difference = pairs.differences[name]
        apart = values[1].astype(float) - values[0]
        means = apart[drawn].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        assert difference.value == pytest.approx(apart.mean())
        assert difference.interval == pytest.approx((low, high), abs=0.06 * (high - low))
        # Pairing is worth it: apart, the two runs would tell less.
        alone = math.sqrt(sum(v.astype(float).var(ddof=1) for v in values) / 400)
        assert difference.error is not None
        assert difference.error < alone


def test_shares() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), without correction, of 15 in 148.
    assert share_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert share_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert share_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert share_interval(0, 0) is None
    assert mean_interval(0.5, None) is None
    assert mean_interval(None, 0.1) is None
    assert mean_interval(0.5, 0.0, 9) is None
    assert mean_interval(0.5, 1.0, 2, least=0.0) == pytest.approx((0.0, 0.5 + 12.7062), abs=1e-4)
