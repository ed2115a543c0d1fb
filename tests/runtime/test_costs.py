"""Costs of recorded solutions by hand, and outcomes of runs as metrics take them."""

from dataclasses import replace

import numpy as np
import pytest
from scripted import PRICES, feed, recorded, scores, solution

from trim_pomdp.errors import InputError
from trim_pomdp.metrics import bootstrap
from trim_pomdp.model.prices import Price, Prices
from trim_pomdp.runtime.costs import AllTokens, Flops, ModelSeconds, MoneySpent, StrongTokens, forward_passes, outcomes
from trim_pomdp.runtime.money import spent
from trim_pomdp.runtime.protocols import GeneratedStep
from trim_pomdp.runtime.records import SolutionRecord, TokenCounts


def ended(problem: str, *, correct: bool | None = True, strong: int = 9) -> SolutionRecord:
    record = recorded(problem)
    tokens = record.terminal.tokens.model_copy(update={"strong": strong})
    return replace(record, terminal=record.terminal.model_copy(update={"correct": correct, "tokens": tokens}))


def uncounted() -> SolutionRecord:
    item = solution("k")
    feed(item, ("weak", GeneratedStep("\\boxed{7}", (-0.1,) * 5, "answer")), ("prm", scores(0.9)))
    return item.record


def test_tokens_by_hand() -> None:
    assert StrongTokens().of(recorded()) == 9
    assert AllTokens().of(recorded()) == 8 + 6 + 5 + 9
    assert AllTokens({"strong": 1.0, "scored": 0.5}).of(recorded()) == 9 + 0.5 * (30 + 37 + 46)
    with pytest.raises(InputError, match="no kind of tokens is called 'prm'"):
        AllTokens({"prm": 1.0})
    for weights in ({}, {"strong": -1.0}, {"strong": float("nan")}):
        with pytest.raises(InputError, match="weights of tokens"):
            AllTokens(weights)


def test_money_is_what_the_run_spent() -> None:
    assert MoneySpent(PRICES).of(recorded()) == pytest.approx(spent(recorded().terminal.tokens, PRICES).total)
    assert (MoneySpent(PRICES).unit, MoneySpent(Prices()).unit) == ("EUR", "money")
    with pytest.raises(InputError, match="no price of the strong model"):
        MoneySpent(Prices(weak=PRICES.weak)).of(recorded())
    with pytest.raises(InputError, match="nobody counted what the weak model read"):
        MoneySpent(PRICES).of(uncounted())
    free = Prices(weak=Price(input=0.0, output=5.0), strong=PRICES.strong, prm=PRICES.prm)
    assert MoneySpent(free).of(uncounted()) == pytest.approx((5 * 5 + 100 * 2) / 1e6), "reading for nothing"


def test_operations_by_hand() -> None:
    """The weak model reads 85 tokens, 52 of them cached, and writes 19; the strong one 32 and 9; the PRM 113, 5 known."""
    flops = Flops(weak=1e9, strong=7e9, prm=3e9)
    expected = 2 * (1e9 * (85 - 52 + 19) + 7e9 * (32 + 9) + 3e9 * (113 - 5))
    assert flops.of(recorded()) == pytest.approx(expected)
    with pytest.raises(InputError, match=r"no number of parameters of the prm model.*Flops\(prm="):
        Flops(weak=1e9, strong=7e9).of(recorded())
    with pytest.raises(InputError, match="nobody counted what the weak model read"):
        flops.of(uncounted())
    ahead = TokenCounts(weak_ahead=3, weak_ahead_read=10, weak_ahead_cached=4, strong_ahead=1, strong_ahead_read=8)
    assert forward_passes(ahead) == {"weak": 9, "strong": 9, "prm": 0}


def test_seconds_are_those_of_all_requests() -> None:
    item = solution("krk")
    source = recorded()
    for decision in source.decisions:
        for role, reply in (("weak", decision.weak), ("prm", decision.scoring), ("strong", decision.strong)):
            if reply is not None:
                assert item.pending is not None
                assert item.pending.role == role
                item.receive(reply.reply if role == "prm" else reply.step, 0.5)
    requests = 3 + 3 + 1
    assert ModelSeconds().of(item.record) == pytest.approx(0.5 * requests)
    assert ModelSeconds().of(source) == 0.0


def test_outcomes_are_aligned_by_problem() -> None:
    first = [ended("b", correct=False, strong=4), ended("a")]
    second = [ended("a", strong=2), ended("b", strong=3)]
    found = outcomes([first, iter(second)])
    assert found.right.tolist() == [[1, 0], [1, 1]]
    assert found.cost.tolist() == [[9, 4], [2, 3]]
    money = outcomes([first], MoneySpent(PRICES))
    assert money.cost[0, 0] == pytest.approx(MoneySpent(PRICES).of(first[1]))


def test_outcomes_go_into_the_bootstrap() -> None:
    names = [f"p{i}" for i in range(12)]
    weak, router, strong = (
        outcomes([[ended(name, correct=i < right, strong=tokens) for i, name in enumerate(names)]])
        for right, tokens in ((3, 0), (6, 10), (9, 40))
    )
    found = bootstrap(router, weak=weak, strong=strong, seed=0, draws=50)
    assert found.cpt[0.5].value == pytest.approx(0.25)
    assert np.isfinite(found.apgr.value)


def test_runs_that_do_not_fit_are_refused() -> None:
    for points, words in [
        ([], "no solutions"),
        ([[]], "no solutions"),
        ([[ended("a")], [ended("b")]], "only one of them has 'a'"),
        ([[ended("a"), ended("a")]], "'a' ended twice"),
        ([[ended("a", correct=None)]], "no right answer of problem 'a'"),
    ]:
        with pytest.raises(InputError, match=words):
            outcomes(points)
