"""What runs cost, from their traces; and prices as a part of models files that defines no run."""

from pathlib import Path

import pytest
from scripted import PRICES, feed, recorded, scores, solution, wrote

from trim_pomdp.errors import InputError
from trim_pomdp.model.prices import Price, Prices, ReaderPrice
from trim_pomdp.runtime.config import model_config, read_models_file
from trim_pomdp.runtime.money import money_of_solutions, run_money, spent
from trim_pomdp.runtime.protocols import GeneratedStep
from trim_pomdp.runtime.records import TokenCounts
from trim_pomdp.runtime.traces import TraceWriter


def test_money_of_a_problem_by_hand() -> None:
    money = spent(recorded().terminal.tokens, PRICES)
    assert money.weak_read == pytest.approx((85 - 52 + 52 * 0.1) / 1e6)
    assert money.weak_kept == pytest.approx(13 * 5 / 1e6)
    assert money.weak_discarded == pytest.approx(6 * 5 / 1e6)
    assert money.strong_read == pytest.approx(32 * 10 / 1e6)
    assert money.strong == pytest.approx(9 * 40 / 1e6)
    assert money.scored == pytest.approx((30 + 37 + 46) * 2 / 1e6), "no cached price: as input"
    assert money.total == pytest.approx(sum(money.by_purpose.values()))


def test_what_was_read_is_told() -> None:
    found = money_of_solutions([recorded("p"), recorded("q")], PRICES)
    assert found.problems == 2
    assert found.money.total == pytest.approx(spent(recorded().terminal.tokens, PRICES).total)
    assert found.total_se == pytest.approx(0.0, abs=1e-12)
    weak, strong, prm = (found.readings[role] for role in ("weak", "strong", "prm"))
    assert (weak.prompt_tokens, weak.step_overhead) == (20.0, 0.0)
    assert weak.cached == pytest.approx(52 / 85)
    assert (strong.prompt_tokens, strong.step_overhead, strong.cached) == (24.0, 0.0, 0.0)
    assert (prm.prompt_tokens, prm.step_overhead) == (22.0, 1.0)
    assert prm.cached == pytest.approx(5 / 113)
    assert found.tariff is not None
    assert found.tariff.weak == weak
    assert found.uncounted == ()


def test_models_that_were_not_asked_need_no_price_and_read_as_others() -> None:
    item = solution("ww", needs_score=False)
    feed(item, ("weak", wrote("a", 8, 20)), ("weak", wrote("\\boxed{7}", 5, 28, stop="answer")))
    found = money_of_solutions([item.record], Prices(weak=PRICES.weak))
    assert found.money.total == pytest.approx((48 + 13 * 5) / 1e6)
    assert found.total_se is None
    assert found.tariff is not None
    assert found.tariff.strong.prompt_tokens == 20.0
    with pytest.raises(InputError, match="no price of the weak model"):
        money_of_solutions([item.record], Prices(strong=PRICES.strong))


def test_reading_that_nobody_counted_is_told() -> None:
    item = solution("k")
    feed(item, ("weak", GeneratedStep("\\boxed{7}", (-0.1,) * 5, "answer")), ("prm", scores(0.9)))
    found = money_of_solutions([item.record], PRICES)
    assert found.uncounted == ("weak",)
    assert found.money.weak_read == 0.0
    assert found.document["uncounted"] == ["weak"]
    assert found.tariff is None, "what the PRM reads tells nothing of what the weak model does"
    with pytest.raises(InputError, match="no problem has ended yet"):
        money_of_solutions([], PRICES)


def test_a_run_keeps_its_prices(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    files = {"prices.json": PRICES.model_dump_json()}
    with TraceWriter(folder, {"mode": "run"}, files=files) as traces:
        traces.append(recorded())
    found = run_money(folder)
    assert found is not None
    assert found.prices == PRICES
    doubled = PRICES.model_copy(update={"strong": Price(input=20, output=80)})
    dearer = run_money(folder, doubled)
    assert dearer is not None
    assert dearer.money.strong == pytest.approx(2 * found.money.strong)
    (folder / "prices.json").unlink()
    assert run_money(folder) is None


def test_what_was_done_ahead_in_vain_is_paid_for() -> None:
    tokens = TokenCounts(weak_ahead=6, weak_ahead_read=50, weak_ahead_cached=40, strong_ahead=1, strong_ahead_read=70)
    money = spent(tokens, PRICES)
    assert money.weak_ahead == pytest.approx((6 * 5 + 10 * 1 + 40 * 0.1) / 1e6)
    assert money.strong_ahead == pytest.approx((1 * 40 + 70 * 10) / 1e6)
    assert money.total == pytest.approx(money.weak_ahead + money.strong_ahead)


def test_no_tokens_cost_nothing() -> None:
    assert spent(TokenCounts(), Prices()).total == 0.0


MODELS = """currency = "EUR"
[weak]
backend = "transformers"
model = "m"
[weak.price]
input = 1
output = 2
[prm]
backend = "transformers"
model = "r"
[prm.price]
input = 0.5
"""


def test_prices_stand_in_models_files_and_define_no_run(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(MODELS)
    file = read_models_file(path)
    assert file.prices == Prices(weak=Price(input=1, output=2), prm=ReaderPrice(input=0.5), currency="EUR")
    bare = MODELS.split("[weak.price]")[0].replace('currency = "EUR"\n', "")
    path.write_text(bare)
    plain = read_models_file(path)
    assert plain.prices is None
    assert model_config(file, ["weak"], tmp_path) == model_config(plain, ["weak"], tmp_path)
    assert "price" not in model_config(plain, ["weak"], tmp_path)["weak"], "the hash of earlier runs is as it was"


def test_counted_tokens_name_the_models() -> None:
    assert TokenCounts().roles == frozenset()
    assert TokenCounts(weak_discarded=1, scored=3).roles == {"weak", "prm"}
    assert TokenCounts(strong_ahead_read=1).roles == {"strong"}
    assert recorded().terminal.tokens.roles == {"weak", "strong", "prm"}


def test_a_wrong_price_in_a_models_file_names_its_key(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(MODELS.replace("output = 2", "outptu = 2"))
    with pytest.raises(InputError, match=r"unknown key 'weak.price.outptu'; did you mean 'output'\?"):
        read_models_file(path)
