"""Intervals of plans in the verbs: tables, JSON, pictures, and what is refused."""

import json
from pathlib import Path

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS

from trim_pomdp.cli.app import main
from trim_pomdp.model.draws import Draws
from trim_pomdp.model.dynamics import FitReport
from trim_pomdp.policies import PolicyArtifact


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    draws = [DYNAMICS.replace(repair=0.5 + i / 200).model_dump() for i in range(60)]
    report = FitReport(explanation="by hand", sources=(), log_likelihood=0.0, draws=Draws.of(draws))
    unit = MODEL.strong_only_tokens
    dynamics = DYNAMICS.model_copy(update={"fit": report, "strong_only_tokens": unit})
    OBSERVATIONS.save(tmp_path / "observations.json")
    dynamics.save(tmp_path / "dynamics.json")
    DYNAMICS.save(tmp_path / "bare.json")
    return ["--observations", str(tmp_path / "observations.json"), "--dynamics", str(tmp_path / "dynamics.json")]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return int(end.value.code or 0)


def test_a_policy_says_how_far_it_may_be_off(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy.json"
    assert run("policy", *files, "--budget", "0.3", "--out", str(out)) == 0
    planned = PolicyArtifact.read(out).planned
    assert planned is not None
    assert planned.intervals is not None
    told = capsys.readouterr().out
    low, high = planned.intervals.accuracy
    assert f"{planned.accuracy:.4f} [{low:.3f}, {high:.3f}]" in told
    assert "in brackets: 95 % intervals, from 60 draws of the dynamics" in told
    assert run("policy", *files, "--budget", "0.3", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["planned"]["intervals"] == planned.intervals.model_dump(mode="json")
    assert run("policy", *files, "--budget", "0.3", "--no-intervals", "--json") == 0
    assert "intervals" not in json.loads(capsys.readouterr().out)["planned"]


def test_a_frontier_says_how_far_it_may_be_off(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "frontier.svg"
    assert run("frontier", *files, "--tradeoffs", "20", "--plot", str(plot)) == 0
    told = capsys.readouterr().out
    row = next(line for line in told.splitlines() if line.strip().startswith("0.2000"))
    assert row.count("[") == row.count("]") == 1
    assert plot.is_file()
    assert run("frontier", *files, "--tradeoffs", "20", "--json") == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert 2 <= sum("intervals" in point for point in points) <= 12
    assert run("frontier", *files, "--tradeoffs", "20", "--no-intervals") == 0
    assert "[" not in capsys.readouterr().out


@pytest.mark.parametrize("verb", [["policy", "--budget", "0.3"], ["frontier", "--tradeoffs", "5"]])
def test_dynamics_without_draws(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    bare = [*files[:3], str(tmp_path / "bare.json")]
    assert run(*verb, *bare) == 0
    assert "[" not in capsys.readouterr().out
    assert run(*verb, *bare, "--intervals") == 2
    assert "dynamics 'small' hold no draws" in capsys.readouterr().err


def test_dynamics_say_that_they_hold_draws(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", files[3]) == 0
    assert "60 draws are kept: plans in these dynamics say how far they may be off" in capsys.readouterr().out
