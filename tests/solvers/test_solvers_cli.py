"""``python -m solvers``: what it prints, writes and refuses."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from solvers import write_pomdp
from solvers.cli import main
from solvers.examples import tiger


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiger.pomdp"
    write_pomdp(tiger(), path)
    return path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1, "one document, and nothing else"
    return dict(json.loads(out))


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([*map(str, arguments)]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    return streams.err


def test_solve(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "solve", file, "--precision", "1e-4")
    assert found["lower"] <= 19.371368 + 1e-6 <= found["upper"] + 2e-6  # published, pomdp-solve
    assert found["upper"] - found["lower"] <= 1e-4
    assert (found["ended_by"], found["method"], found["horizon"]) == ("precision", "sarsop", None)
    assert {"lower", "upper", "vectors", "elapsed_s", "ended_by", "method", "horizon"} <= set(found)


@pytest.mark.parametrize("method", ["auto", "epochs", "exact"])
def test_a_horizon_gives_the_exact_value(file: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    found = printed(capsys, "solve", file, "--horizon", 5, "--method", method, "--precision", "1e-9")
    assert found["lower"] == pytest.approx(2.7630962, abs=1e-6)  # published, pomdp-solve
    assert found["upper"] == pytest.approx(2.7630962, abs=1e-5)
    assert found["horizon"] == 5
    if method == "exact":
        assert abs(found["vectors"] - 13) <= 2


def test_the_module_runs(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "solvers", "info", file], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("2 states, 3 actions, 2 observations, discount 0.95\n")


def test_info(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "info", file)
    assert (found["states"], found["actions"], found["observations"], found["discount"]) == (2, 3, 2, 0.95)
    assert found["rewards"] == [-100, 10]


@pytest.mark.parametrize("end", ["pomdp", "pomdpx"])
def test_convert_and_solve_again(file: Path, capsys: pytest.CaptureFixture[str], end: str) -> None:
    other = file.with_name(f"other.{end}")
    printed(capsys, "convert", file, other)
    assert printed(capsys, "solve", other)["lower"] == pytest.approx(19.3713, abs=2e-3)
    assert "--force" in refused(capsys, "convert", file, other)
    printed(capsys, "convert", file, other, "--force")


@pytest.mark.parametrize("end", ["alpha", "policy"])
def test_a_policy_is_written_and_played(file: Path, capsys: pytest.CaptureFixture[str], end: str) -> None:
    policy = file.with_name(f"tiger.{end}")
    found = printed(capsys, "solve", file, "--out", policy)
    played = printed(capsys, "simulate", file, "--policy", policy, "--episodes", 2000, "--seed", 1)
    assert abs(played["mean"] - found["lower"]) <= 4 * played["standard_error"]
    assert played == printed(capsys, "simulate", file, "--policy", policy, "--episodes", 2000, "--seed", 1)


def test_compare(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "compare", file, "--methods", "mdp,qmdp,fib,blind,sarsop", "--time-limit", 20)
    by_method = {row["method"]: row for row in found["methods"]}
    best = by_method["sarsop"]
    assert by_method["blind"]["lower"] <= best["upper"]
    assert by_method["mdp"]["upper"] >= by_method["qmdp"]["upper"] >= by_method["fib"]["upper"] >= best["lower"]


def test_bad_input_is_one_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing.pomdp" in refused(capsys, "info", tmp_path / "nothing.pomdp")
    broken = tmp_path / "broken.pomdp"
    broken.write_text(file.read_text().replace("0.85", "0.95", 1))
    message = refused(capsys, "solve", broken)
    assert "broken.pomdp" in message
    assert "not 1" in message
    assert "(there are auto, " in refused(capsys, "solve", file, "--method", "magic")
    assert "needs a horizon" in refused(capsys, "solve", file, "--method", "exact")
    out = tmp_path / "no folder" / "tiger.alpha"
    assert "no folder" in refused(capsys, "solve", file, "--out", out)
    assert not out.parent.exists()
    for wrong in ("--precision=-1", "--time-limit=0", "--horizon=0"):
        with pytest.raises(SystemExit) as stop:
            main(["solve", str(file), wrong])
        assert stop.value.code == 2


def test_people_are_told_in_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(file), "--precision", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "value" in text
    assert "19.3" in text
    assert "guarantee" in text
