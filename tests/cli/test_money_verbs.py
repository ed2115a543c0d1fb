"""Money on the command line: policies for a largest cost, frontiers over money, what runs cost, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from scripted import PRICES, recorded

import trim_pomdp as tp
from trim_pomdp.model.prices import Money
from trim_pomdp.runtime.traces import TraceWriter

PRESET = "lab-loop.prm"
WITHOUT_PRM = "lab-loop.logprob"
TEXT = """currency = "EUR"
[weak.price]
input = 0.1
cached = 0.02
output = 0.3
[strong.price]
input = 0.8
cached = 0.1
output = 2.4
[prm.price]
input = 0.2
"""
PURPOSES = {*Money.model_fields, "total"}


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(TEXT)
    return path


@pytest.mark.slow
def test_a_policy_for_a_largest_cost(cli_json: Any, prices: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy.json"
    options = ("--prices", prices, "--prompt-tokens", 23, "--cached", "weak=0.7")
    document = cli_json("policy", "--preset", PRESET, "--max-cost", 0.0004, *options, "--out", out)
    assert document["asked_max_cost"] == 0.0004
    assert document["planned"]["money"] == pytest.approx(0.0004)
    money = document["money"]
    assert set(money) == {"currency", "planned", "weak_only", "strong_only", "asked_once"}
    assert money["currency"] == "EUR"
    for name in ("planned", "weak_only", "strong_only"):
        assert set(money[name]) == PURPOSES
        assert money[name]["total"] == pytest.approx(sum(v for k, v in money[name].items() if k != "total"))
    assert money["planned"]["total"] == pytest.approx(0.0004)
    assert money["weak_only"]["total"] == pytest.approx(document["weak_only"]["money"])
    assert money["weak_only"]["scored"] == money["strong_only"]["scored"] == 0.0
    assert document["planned"]["accuracy"] <= document["accuracy_bound"] <= 1.0
    policy = tp.load(out)
    assert policy.asked_max_cost == 0.0004
    assert policy.tariff.weak.cached == 0.7
    assert policy.tariff.prm.cached == 0.0


@pytest.mark.slow
def test_what_is_told_of_a_policy(run_cli: Any, prices: Path, tmp_path: Path) -> None:
    out = tmp_path / "policy.json"
    options = ("--preset", PRESET, "--max-cost", 0.0004, "--prices", prices, "--prompt-tokens", 23)
    code, told, err = run_cli("policy", *options, "--out", out)
    assert code == 0, err
    certified = "(certified, with solutions so far of mean length)"
    for words in ("PRM: reading", "money (EUR)", "asked once a problem", certified, "strong-only"):
        assert words in told
    assert "the strong model alone, asked once, is as accurate" in err, "reading every step anew does not pay here"
    code, told, err = run_cli("inspect", out)
    assert code == 0, err
    assert "PRM: reading" in told
    held = prices.with_name("held.toml")
    held.write_text(TEXT.replace("cached = 0.1\n", "cached = 0.0\n").replace("cached = 0.02", "cached = 0.0"))
    options = ("--preset", WITHOUT_PRM, "--budget", 0.2, "--prices", held, "--prompt-tokens", 23, "--cached", 1)
    code, told, err = run_cli("policy", *options)
    assert (code, err) == (0, ""), "where caches hold everything it does"
    assert "asked once" in told


def test_no_prm_no_price_of_it(cli_json: Any, cli_refused: Any, prices: Path) -> None:
    prices.write_text(TEXT.split("[prm.price]")[0])
    options = ("--max-cost", 0.0004, "--prices", prices, "--prompt-tokens", 23)
    document = cli_json("policy", "--preset", WITHOUT_PRM, *options)
    assert document["money"]["planned"]["scored"] == 0.0
    cli_refused("policy", "--preset", PRESET, *options, words=("no price of the prm model", "[prm.price]"))


def test_a_frontier_over_money(cli_json: Any, run_cli: Any, prices: Path, tmp_path: Path) -> None:
    model = ("--preset", PRESET, "--tradeoffs", 12, "--gap", 1e-4)
    money = ("--over", "money", "--prices", prices, "--prompt-tokens", 23)
    out = tmp_path / "frontier.json"
    document = cli_json("frontier", *model, *money, "--out", out)
    assert document["over"] == "money"
    spent = [point["money"] for point in document["points"]]
    assert spent == sorted(spent)
    rates = [point["rate"] for point in document["points"]]
    assert rates == sorted(rates, reverse=True)
    assert all(row["money"] is not None for row in document["threshold_rule"])
    assert tp.load(out).tariff.prices.currency == "EUR"
    picture = tmp_path / "money.svg"
    code, told, err = run_cli("frontier", *model, *money, "--plot", picture)
    assert code == 0, err
    assert "money per problem (EUR)" in told
    assert "threshold" in told
    assert "money per problem (EUR)" in picture.read_text() or picture.stat().st_size > 10_000
    over_tokens = cli_json("frontier", *model)
    assert over_tokens["over"] == "strong_tokens"
    assert over_tokens["points"][0]["money"] is None


def test_simulated_money(cli_json: Any, run_cli: Any, prices: Path) -> None:
    how = ("simulate", "--preset", PRESET, "--threshold", 0.5, "--problems", 20_000)
    options = (*how, "--prices", prices, "--prompt-tokens", 23)
    document = cli_json(*options)
    assert document["money"] > 0
    assert document["money_se"] < 0.01 * document["money"]
    code, told, _ = run_cli(*options)
    assert code == 0
    assert "money" in told
    assert cli_json(*how)["money"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("policy", "--max-cost", 0.001), "--max-cost is money, so it needs --prices FILE"),
        (("policy", "--max-cost", 0.001, "--budget", 0.2), "one of the three"),
        (("policy", "--max-cost", 0.00005, "--prices", "P", "--prompt-tokens", 23), "less than the weak model alone"),
        (("policy", "--max-cost", -1, "--prices", "P", "--prompt-tokens", 23), "at least 0"),
        (("policy", "--max-cost", "nan", "--prices", "P", "--prompt-tokens", 23), "at least 0"),
        (("policy", "--max-cost", 0.001, "--prices", "P"), "--prompt-tokens N"),
        (("policy", "--max-cost", 0.001, "--prices", "P", "--prompt-tokens", "inf"), "--prompt-tokens is inf"),
        (("policy", "--budget", 0.2, "--prompt-tokens", 23), "go with --prices FILE"),
        (("policy", "--budget", 0.2, "--prices", "NOWHERE", "--prompt-tokens", 23), "cannot be read"),
        (("policy", "--budget", 0.2, "--prices", "EMPTY", "--prompt-tokens", 23), "no prices; give tables"),
        (("policy", "--budget", 0.2, "--prices", "P", "--reading", "NOWHERE"), "there is no such run"),
        (("policy", "--budget", 0.2, "--prices", "P", "--reading", ".", "--cached", 0.1), "leave out --prompt-tokens"),
        (("policy", "--budget", 0.2, "--prices", "P", "--prompt-tokens", 9, "--cached", 1.5), "share from 0 to 1"),
        (("policy", "--budget", 0.2, "--prices", "P", "--prompt-tokens", 9, "--cached", "slm=0.5"), "share from 0"),
        (("policy", "--budget", 0.2, "--prices", "P", "--prompt-tokens", 9, "--cached", "0.1,0.2"), "share from 0"),
        (("frontier", "--over", "money"), "--over money needs --prices FILE"),
        (("frontier", "--over", "euros"), "expected tokens or money"),
        (("inspect", "--prices", "P"), "--prices is for runs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(options: tuple[object, ...], words: str, cli_refused: Any, prices: Path) -> None:
    empty = prices.with_name("empty.toml")
    empty.write_text('[weak]\nbackend = "dummy"\n')
    named = {"P": prices, "EMPTY": empty, "NOWHERE": prices.with_name("nowhere")}
    arguments = [named.get(item, item) if isinstance(item, str) else item for item in options]
    cli_refused(*arguments, "--preset", PRESET, words=(words,))


# Runs --------------------------------------------------------------------------------------------------------


def write_run(folder: Path, *, priced: bool) -> Path:
    files = {"prices.json": PRICES.model_dump_json()} if priced else {}
    with TraceWriter(folder, {"mode": "run", "seed": 1}, files=files) as traces:
        for problem in ("a", "b"):
            traces.append(recorded(problem))
    return folder


def test_inspect_tells_what_a_run_cost(cli_json: Any, run_cli: Any, prices: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", priced=True)
    money = cli_json("inspect", folder)["money"]
    assert money["currency"] == "EUR"
    assert money["measured"]["strong"] == pytest.approx(9 * 40 / 1e6)
    assert money["planned"] is None
    cheaper = cli_json("inspect", folder, "--prices", prices)["money"]
    assert cheaper["measured"]["strong"] == pytest.approx(9 * 2.4 / 1e6)
    code, told, _ = run_cli("inspect", folder)
    assert code == 0
    assert "PRM: reading" in told
    assert cli_json("inspect", write_run(tmp_path / "bare", priced=False))["money"] is None


def test_a_run_whose_prices_lack_a_model_is_shown_without_money(
    cli_json: Any, run_cli: Any, cli_refused: Any, prices: Path, tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "run", priced=True)
    (folder / "prices.json").write_text(PRICES.model_copy(update={"prm": None}).model_dump_json())
    code, told, said = run_cli("inspect", folder)
    assert (code, "PRM: reading" in told) == (0, False)
    assert said.endswith("prices.json: no money is told, since there is no [prm.price]\n")
    assert cli_json("inspect", folder, "--prices", prices)["money"]["measured"]["total"] > 0
    prices.write_text(TEXT.split("[prm.price]")[0])
    cli_refused("inspect", folder, "--prices", prices, words=("no price of the prm model",))


def test_a_run_tells_how_long_prompts_are(cli_json: Any, prices: Path, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", priced=False)
    options = ("--preset", PRESET, "--budget", 0.2, "--prices", prices)
    tariff = cli_json("policy", *options, "--reading", folder)["tariff"]
    assert tariff["weak"]["prompt_tokens"] == 20
    assert tariff["weak"]["cached"] == pytest.approx(52 / 85)
    assert (tariff["strong"]["prompt_tokens"], tariff["prm"]["step_overhead"]) == (24, 1)


@pytest.mark.slow
def test_a_live_run_tells_money_by_model_and_purpose(
    cli_json: Any, run_cli: Any, cli_refused: Any, prices: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    policy, out = tmp_path / "policy.json", tmp_path / "run"
    options = ("--preset", PRESET, "--max-cost", 0.0004, "--prices", prices, "--prompt-tokens", 23)
    cli_json("policy", *options, "--out", policy)
    route = ("run", "--family", "loop", "--problems", 12)
    document = cli_json(*route, "--policy", policy, "--evidence", "prm", "--prices", prices, "--out", out, quiet=False)
    assert document["asked_max_cost"] == 0.0004
    money, tokens = document["money"], document["tokens"]
    assert money["planned"]["total"] == pytest.approx(0.0004)
    for name in ("planned", "measured", "weak_only", "strong_only"):
        assert set(money[name]) == PURPOSES
    assert money["measured"]["weak_read"] == pytest.approx(tokens["weak_read"] * 0.1 / 1e6 / 12)
    assert money["measured"]["strong"] == pytest.approx(tokens["strong"] * 2.4 / 1e6 / 12)
    assert money["uncounted"] == []
    assert json.loads((out / "prices.json").read_text())["currency"] == "EUR"
    again = cli_json("inspect", out)["money"]
    assert again["measured"] == money["measured"]
    assert again["planned"]["total"] == pytest.approx(0.0004)
    assert again["weak_only"]["total"] == pytest.approx(money["weak_only"]["total"])
    assert again["strong_only"]["total"] > again["planned"]["total"] > again["weak_only"]["total"]
    bare = cli_json(*route, "--strategy", "weak", "--out", tmp_path / "bare", quiet=False)
    assert bare["money"] is None
    prices.write_text(TEXT.split("[strong.price]")[0])
    words = ("no price of the strong model", "[strong.price]")
    cli_refused(*route, "--strategy", "strong", "--prices", prices, "--out", tmp_path / "no", words=words)
