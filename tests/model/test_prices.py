"""Prices, money by hand and in closed form, and files of prices."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS

from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.prices import Money, Price, Prices, ReaderPrice, Reading, Tariff, read_prices
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import asked_once, evaluate, evaluate_money
from trim_pomdp.policies import StrategyRule, ThresholdRule

PRICES = Prices(
    weak=Price(input=1.0, cached=0.25, output=4.0),
    strong=Price(input=10.0, output=30.0),
    prm=ReaderPrice(input=2.0, output=9.0),
)
TARIFF = Tariff(
    prices=PRICES,
    weak=Reading(prompt_tokens=20, cached=0.5),
    strong=Reading(prompt_tokens=25, step_overhead=-0.5),
    prm=Reading(prompt_tokens=22, step_overhead=1.0),
)


def test_a_price_by_hand() -> None:
    price = PRICES.of("weak")
    assert price.reading(1_000_000, cached=400_000) == pytest.approx(0.6 * 1.0 + 0.4 * 0.25)
    assert price.writing(500_000) == pytest.approx(2.0)
    assert PRICES.of("strong").reading(1e6, cached=1e6) == pytest.approx(10.0), "cached as input"
    with pytest.raises(InputError, match=r"no price of the prm model; give a table \[prm.price\]"):
        Prices(weak=price).of("prm")


def test_money_adds_up() -> None:
    money = Money(weak_read=1.0, strong=2.0, scored=4.0)
    assert money.total == 7.0
    assert (money + money.scaled(0.5)).total == 10.5
    assert money.document["strong"] == 2.0


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_two_steps_written_out(threshold: float) -> None:
    """All paths of (class, regenerated, ended, right) with tokens and requests along each."""
    dynamics = DYNAMICS.replace(hazard=(0.3, 1.0), hazard_derailed=(0.2, 1.0), hazard_wrong=None)
    model = RoutingModel(OBSERVATIONS, dynamics, tariff=TARIFF)
    below = model.emission @ OBSERVATIONS.share_below(threshold) if 0 < threshold < 1 else np.full(3, threshold)
    weak, strong = model.weak_tokens, model.strong_tokens
    assert weak is not None
    chance_of = {0: 0.97, 1: 0.0, 2: 0.7}
    expected = dict.fromkeys(Money.model_fields, 0.0)
    scored = 0 < threshold < 1

    def walk(t: int, right: bool, length: float, chance: float) -> None:
        for c, share in [(0, 0.85), (2, 0.15)] if right else [(1, 1.0)]:
            for redo in (False, True):
                p = chance * share * (below[c] if redo else 1 - below[c])
                expected["weak_read"] += p * (20 + length) * (0.5 * 1.0 + 0.5 * 0.25)
                expected["weak_discarded" if redo else "weak_kept"] += p * weak[c] * 4.0
                if scored:
                    expected["scored"] += p * (22 + 1.0 * t + length + weak[c]) * 2.0
                if redo:
                    expected["strong_read"] += p * (25 - 0.5 * t + length) * 10.0
                    expected["strong"] += p * strong[c] * 30.0
                if t == 0:
                    # Hazards of right steps and first errors are equal, so an end is as the weak step's.
                    on = 1 - (0.2 if c == 1 else 0.3)
                    good = chance_of[c] if redo else float(c == 0)
                    longer = length + (strong[c] if redo else weak[c])
                    walk(1, True, longer, p * on * good)
                    walk(1, False, longer, p * on * (1 - good))

    walk(0, True, 0.0, 1.0)
    got = evaluate_money(ThresholdRule(threshold=threshold), model)
    for name, value in expected.items():
        assert getattr(got.money, name) == pytest.approx(value / 1e6, abs=1e-15), name
    assert got.point.money == pytest.approx(sum(expected.values()) / 1e6)
    assert got.point == evaluate(ThresholdRule(threshold=threshold), model)


def test_weak_only_and_strong_only_in_closed_form() -> None:
    """One hazard h, one length w: N steps read P + w (n − 1) each, so that lengths are E[N (N − 1) / 2]."""
    h, w, s, T = 0.25, 7.0, 11.0, 12
    dynamics = DYNAMICS.replace(
        hazard=(*(h,) * (T - 1), 1.0),
        hazard_derailed=None,
        hazard_wrong=None,
        weak_tokens=PerClass.constant(w),
        strong_tokens=PerClass.constant(s),
    )
    model = RoutingModel(OBSERVATIONS, dynamics, tariff=Tariff.of(PRICES, 20.0))
    lengths = [(n, h * (1 - h) ** (n - 1) if n < T else (1 - h) ** (T - 1)) for n in range(1, T + 1)]
    steps = sum(n * p for n, p in lengths)
    pairs = sum(n * (n - 1) / 2 * p for n, p in lengths)
    weak = evaluate_money(StrategyRule(strategy="weak"), model)
    assert weak.money.weak_read == pytest.approx((20 * steps + w * pairs) / 1e6)
    assert weak.money.weak_kept == pytest.approx(4 * w * steps / 1e6)
    assert weak.money.total == pytest.approx(weak.money.weak_read + weak.money.weak_kept), "nothing is scored"
    strong = evaluate_money(StrategyRule(strategy="strong"), model)
    assert strong.money.strong_read == pytest.approx(10 * (20 * steps + s * pairs) / 1e6)
    assert strong.money.strong == pytest.approx(30 * s * steps / 1e6)
    assert strong.money.total == pytest.approx(strong.money.strong_read + strong.money.strong), "nothing is drafted"
    once = asked_once(model)
    assert once["weak"] == pytest.approx((20 + 4 * w * steps) / 1e6)
    assert once["strong"] == pytest.approx((200 + 30 * s * steps) / 1e6)


def test_what_is_planned_is_what_it_costs_where_steps_are_alike() -> None:
    dynamics = DYNAMICS.replace(weak_tokens=PerClass.constant(9.0), strong_tokens=PerClass.constant(9.0))
    model = RoutingModel(OBSERVATIONS, dynamics, tariff=TARIFF)
    assert model.step_tokens == pytest.approx(9.0)
    for rule in (ThresholdRule(threshold=0.4), StrategyRule(strategy="random", probability=0.3)):
        got = evaluate_money(rule, model)
        assert got.planned_money == pytest.approx(got.money.total)


def test_what_money_needs() -> None:
    no_tokens = DYNAMICS.replace(weak_tokens=None)
    with pytest.raises(UnsetParameterError, match="leave weak_tokens unset"):
        RoutingModel(OBSERVATIONS, no_tokens, tariff=TARIFF)
    with pytest.raises(InputError, match="no price of the prm model"):
        replace(MODEL, tariff=Tariff.of(Prices(weak=PRICES.weak, strong=PRICES.strong), 10))
    with pytest.raises(InputError, match="no prices are given"):
        MODEL.costs  # noqa: B018
    with pytest.raises(InputError, match="price of one unit of money"):
        replace(MODEL, tariff=TARIFF).weights(-1.0, "money")


def test_a_model_without_prices_is_as_it_was() -> None:
    priced = replace(MODEL, tariff=TARIFF)
    assert MODEL.components == priced.components[:-1]
    assert evaluate(ThresholdRule(threshold=0.5), MODEL).money is None
    for name in ("joint", "successor", "children", "start"):
        assert np.array_equal(getattr(MODEL.epoch_model, name), getattr(priced.epoch_model, name))
    assert np.array_equal(MODEL.epoch_model.reward, priced.epoch_model.reward[..., :-1])


TABLES = '[weak]\nbackend = "dummy"\n[weak.price]\ninput = 1\noutput = 2\n[prm.price]\ninput = 0.5\n'


def test_prices_are_read_from_any_toml(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "EUR"\n' + TABLES)
    found = read_prices(path)
    assert found == Prices(weak=Price(input=1, output=2), prm=ReaderPrice(input=0.5), currency="EUR")
    path.write_text('[weak]\nbackend = "dummy"\n')
    assert read_prices(path) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TABLES.replace("output = 2", "outptu = 2"), r"\[weak.price\]: unknown key 'outptu'; did you mean 'output'\?"),
        (TABLES.replace("output = 2\n", ""), r"\[weak.price\]: missing 'output'"),
        (TABLES.replace("input = 1\n", "input = -1\n"), r"\[weak.price\]: .*input"),
        (TABLES.replace("input = 1\n", "input = inf\n"), r"\[weak.price\]: .*input"),
        ("[weak.price", "not TOML"),
        ("[weak]\nprice = 3", r"\[weak.price\]"),
        ("currency = 3\n" + TABLES, "currency"),
    ],
)
def test_wrong_prices_are_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_prices(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_free_is_a_price() -> None:
    free = Prices(weak=Price(input=0, output=0), strong=PRICES.strong, prm=ReaderPrice(input=0))
    model = replace(MODEL, tariff=Tariff.of(free, 20))
    weak = evaluate_money(StrategyRule(strategy="weak"), model)
    assert weak.money.total == 0.0
    pairs = itertools.pairwise(
        evaluate_money(ThresholdRule(threshold=k), model).money.total for k in (0.0, 0.3, 0.6, 0.9)
    )
    assert all(less < more for less, more in pairs)
