"""``python -m solvers``: what it prints, writes and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solvers import POMDP, PomdpFormatError, read, read_policy, solve, write, write_policy, write_pomdp, write_pomdpx
from solvers.cli import main
from solvers.examples import maze, tiger


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
    assert "this name has no ending" in refused(capsys, "info", tmp_path / "tiger")
    for wrong, said in {
        "--precision=-1": "'-1' is not a positive number",
        "--time-limit=now": "'now' is not a positive number",
        "--horizon=abc": "'abc' is not a positive whole number",
        "--horizon=0": "'0' is not a positive whole number",
        "--seed=-1": "'-1' is not a whole number from 0",
    }.items():
        with pytest.raises(SystemExit) as stop:
            main(["solve", str(file), wrong])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


def test_people_are_told_in_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(file), "--precision", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "value" in text
    assert "19.3" in text
    assert "guarantee" in text


def test_what_cannot_be_written_is_said_before_the_work(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solvers.solving.solve", lambda *_, **__: pytest.fail("it was solved first"))
    graph = file.with_suffix(".pg")
    assert "write .alpha" in refused(capsys, "solve", file, "--horizon", 3, "--out", graph)
    file.with_suffix(".alpha").write_text("mine")
    message = refused(capsys, "solve", file, "--out", graph)
    assert "tiger.alpha exists; --force overwrites it" in message, "a graph has an .alpha file beside it"
    assert file.with_suffix(".alpha").read_text() == "mine"
    undiscounted = file.with_name("undiscounted.pomdp")
    undiscounted.write_text(file.read_text().replace("discount: 0.95", "discount: 1.0"))
    assert "discount below 1" in refused(capsys, "solve", undiscounted, "--out", file.with_name("new.pg"))
    (file.parent / "folder.alpha").mkdir()
    assert "is a folder" in refused(capsys, "solve", file, "--force", "--out", file.parent / "folder.alpha")


def test_a_result_is_printed_even_if_it_cannot_be_written(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "tiger.alpha")

    monkeypatch.setattr("solvers.policy_files.write_policy", full)
    assert main(["solve", str(file), "--precision", "1", "--out", str(file.with_suffix(".alpha"))]) == 2
    streams = capsys.readouterr()
    assert streams.out.startswith("value ")
    assert "No space left" in streams.err


def test_files_are_whole_or_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = solve(tiger(), precision=1.0).policy
    out = file.with_name("p.pg")
    before = Path.write_text

    def fails_on_the_second(path: Path, text: str, **options: Any) -> int:
        if ".alpha" in path.name:
            before(path, text[:5], **options)
            raise OSError(28, "No space left on device")
        return before(path, text, **options)

    monkeypatch.setattr(Path, "write_text", fails_on_the_second)
    with pytest.raises(OSError, match=r"No space left on device: .*p\.alpha"):
        write_policy(policy, out)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    monkeypatch.undo()
    write_policy(policy, out)
    assert sorted(path.name for path in file.parent.iterdir()) == ["p.alpha", "p.pg", file.name]


def unequal() -> POMDP:
    """Two states that look alike and one that is seen: value 0 has two states, value 1 has one."""
    return POMDP(
        transition=[[[0.9, 0.1, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1], [0.5, 0.5, 0]]],
        observation=[[[0.7, 0.3], [0.3, 0.7], [1, 0]]] * 2,
        reward=[[1, -1, 0.5], [0, 2, -3]],
        start=[0.5, 0.5, 0],
        discount=0.9,
        observed=[0, 0, 1],
    )


@pytest.mark.parametrize("end", ["alpha", "policy"])
def test_policies_of_values_with_unequal_numbers_of_states(tmp_path: Path, end: str) -> None:
    pomdp = unequal()
    policy = solve(pomdp).policy
    assert policy.observed is not None  # type: ignore[union-attr]
    write_policy(policy, tmp_path / f"p.{end}")
    back = read_policy(tmp_path / f"p.{end}", pomdp)
    for belief in ([1, 0, 0], [0.5, 0.5, 0], [0.2, 0.8, 0], [0, 0, 1]):
        assert back.value(belief) == pytest.approx(policy.value(belief), abs=1e-12)
        assert back.action(belief) == policy.action(belief)


def test_a_policy_is_written_by_the_command_for_any_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pomdpx(unequal(), tmp_path / "m.pomdpx")
    for end in ("alpha", "policy", "pg"):
        printed(capsys, "solve", tmp_path / "m.pomdpx", "--force", "--out", tmp_path / f"m.{end}")


def test_interrupted(file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("solvers.solving.solve", stopped)
    assert main(["solve", str(file)]) == 130
    assert capsys.readouterr() == ("", "interrupted\n")
    assert main(["compare", str(file)]) == 130
    capsys.readouterr()
    found = solve(tiger(), "qmdp")
    monkeypatch.setattr("solvers.solving.solve", lambda _, method, **__: found if method == "qmdp" else stopped())
    assert [row["method"] for row in printed(capsys, "compare", file)["methods"]] == ["qmdp"]


def test_compare_by_horizon_and_with_a_method_that_fails(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "compare", file, "--horizon", 3)
    assert [row["method"] for row in found["methods"]] == ["epochs", "exact"]
    assert all(row["lower"] == pytest.approx(2.3098, abs=1e-3) for row in found["methods"])
    assert main(["compare", str(file), "--methods", "exact,blind"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "needs a horizon" in lines[1]
    assert lines[2].startswith("blind")
    assert "needs a horizon" in refused(capsys, "compare", file, "--methods", "exact,epochs")


def test_simulate_says_what_it_cannot_use(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = file.with_suffix(".alpha")
    assert main(["solve", str(file), "--horizon", "3", "--out", str(policy)]) == 0
    assert "with 3 steps to go alone" in capsys.readouterr().err
    for option, value in {"--horizon": 3, "--method": "bogus", "--precision": 1, "--time-limit": 1}.items():
        assert f"{option} is for solving" in refused(capsys, "simulate", file, "--policy", policy, option, value)
    played = printed(capsys, "simulate", file, "--policy", policy, "--steps", 3, "--episodes", 200)
    assert (played["steps"], played["unfinished"]) == (3, 1.0)
    assert played["promised"] == pytest.approx(2.3098, abs=1e-3)
    assert played["truncation"] > 0.0, "a file does not say that it was for three steps"


def test_simulate_without_a_discount_or_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "way.pomdp"
    way = POMDP(
        transition=[[[0.5, 0.5], [0, 1]]] * 2, observation=np.ones((2, 2, 1)), reward=[[-1, 0], [-2, 0]],
        start=[1, 0], discount=1.0,
    )  # fmt: skip
    write_pomdp(way, file)
    assert "--steps must say how long" in refused(capsys, "simulate", file)
    played = printed(capsys, "simulate", file, "--steps", 60, "--episodes", 4000)
    assert abs(played["mean"] - -2.0) <= 4 * played["standard_error"], "two steps on average"
    assert played["lower"] <= -2.0 + 1e-9
    assert main(["simulate", str(file), "--steps", "60", "--episodes", "200", "--method", "qmdp"]) == 0
    text = capsys.readouterr().out
    assert "optimal value   at most -2" in text
    assert "unfinished      0 % of episodes" in text


def test_bounds_that_are_missing_are_said_in_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(file), "--method", "qmdp"]) == 0
    assert "at most 189" in capsys.readouterr().out
    assert main(["solve", str(file), "--method", "blind"]) == 0
    assert "at least -20" in capsys.readouterr().out


def test_convert_a_model_with_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The maze has names that no format allows, and a value that is seen."""
    pomdp = maze(["A.B", "#S#", "#?#"])
    file, other = tmp_path / "maze.pomdpx", tmp_path / "again.pomdpx"
    with pytest.raises(PomdpFormatError, match="names=False"):
        write(pomdp, file)
    write(pomdp, file, names=False)
    printed(capsys, "convert", file, other, "--no-names")
    for back in (read(file), read(other)):
        assert solve(back, horizon=4).lower == pytest.approx(solve(pomdp, horizon=4).lower, abs=1e-6)


def test_a_horizon_is_not_dropped_in_silence(tmp_path: Path) -> None:
    t = tiger()
    short = POMDP(
        transition=t.transition, observation=t.observation, reward=t.reward, start=t.start, discount=0.95, horizon=3
    )
    for end in ("pomdp", "pomdpx"):
        with pytest.warns(UserWarning, match="no place for the horizon 3"):
            write(short, tmp_path / f"short.{end}")


def test_signs_that_a_terminal_lacks(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "solvers", "simulate", file, "--precision", "1", "--episodes", "10"],
        capture_output=True, check=True, timeout=120, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert b"+/-" in done.stdout
