"""Budgets as people write them, both ends beside a policy, and pictures by their endings, on the command line."""

from pathlib import Path
from typing import Any

import pytest

import trim_pomdp as tp

PRESET = "lab-loop.prm"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("20%", "0.2"),
        ("20 %", "0.2"),
        ("7.5%", "0.075"),
        ("100%", "1"),
        ("20 percent", "0.2"),
        ("0,2", "0.2"),
        ("1/5", "0.2"),
        ("0.2x", "0.2"),
        ("O.2", "0.2"),
        ("20", "0.2"),
        ("100", "1"),
    ],
)
@pytest.mark.parametrize("verb", [("policy", "--preset", PRESET), ("run", "--out", "new")])
def test_a_budget_written_otherwise_gets_a_hint(
    verb: tuple[str, ...], written: str, meant: str, cli_refused: Any
) -> None:
    said = cli_refused(*verb, "--budget", written, words=("--budget", "from 0 to 1"))
    assert said.rstrip().endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "written", ["-0.1", "1.2", "nan", "inf", "-20%", "120%", "1/0", "half", "none", "0.2 0.3", "1e9"]
)
def test_a_budget_that_means_nothing_gets_none(written: str, cli_refused: Any) -> None:
    said = cli_refused("policy", "--preset", PRESET, f"--budget={written}", words=("--budget", "from 0 to 1"))
    assert "did you mean" not in said


def test_misspelt_options_and_verbs_get_a_hint(cli_refused: Any) -> None:
    cli_refused("policy", "--budgt", 0.2, words=("--budgt", "--budget"))
    cli_refused("polcy", words=("polcy", "policy"))


def test_a_policy_stands_beside_both_ends(run_cli: Any, cli_json: Any) -> None:
    model = tp.load_preset(PRESET).routing_model()
    weak, strong = (tp.evaluate(tp.StrategyRule(strategy=name), model) for name in ("weak", "strong"))
    document = cli_json("policy", "--preset", PRESET, "--tradeoff", 0.5)
    assert document["weak_only"] == weak.model_dump()
    assert document["strong_only"] == strong.model_dump()
    code, out, _ = run_cli("policy", "--preset", PRESET, "--tradeoff", 0.5)
    assert code == 0
    rows = {line.split()[0]: line.split()[1:3] for line in out.splitlines() if line.strip()}
    assert rows["weak-only"] == ["0.0000", f"{weak.accuracy:.4f}"]
    assert rows["strong-only"] == [f"{strong.budget:.4f}", f"{strong.accuracy:.4f}"]
    assert rows["planned"][1] == f"{document['planned']['accuracy']:.4f}"


def test_the_table_and_the_picture_have_one_unit(run_cli: Any, tmp_path: Path) -> None:
    model = tp.load_preset(PRESET).routing_model()
    code, out, _ = run_cli("frontier", "--preset", PRESET, "--tradeoffs", 8, "--plot", tmp_path / "f.svg")
    assert code == 0
    assert model.strong_only_tokens == model.dynamics.strong_only_tokens
    assert f"÷ {model.strong_only_tokens:.4g}" in out
    strong = tp.evaluate(tp.StrategyRule(strategy="strong"), model)
    assert f"{strong.strong_tokens:.1f} strong tokens per problem (budget {strong.budget:.3g})" in out
    last = float(next(line.split()[0] for line in reversed(out.splitlines()) if line[:2] in ("0.", "1.")))
    assert f"beyond a budget of {last:.4f} more strong tokens do not help" in out
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize("name", ["f.jpg", "f", "f.json"])
def test_other_pictures_are_refused_before_the_work(
    name: str, cli_refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_work(*_: object, **__: object) -> None:
        pytest.fail("the work was begun")

    monkeypatch.setattr("trim_pomdp.planning.frontier.solve_frontier", no_work)
    cli_refused("frontier", "--preset", PRESET, "--plot", name, words=(name, ".png, .svg, .pdf"))
