"""``inspect`` on folders of runs: totals by hand, planned beside measured, and folders that hold no run."""

import math
from pathlib import Path
from typing import Any

import pytest

from trim_pomdp.policies import PlannedPoint, PolicyArtifact, StrategyRule
from trim_pomdp.runtime.records import SolutionRecord, TerminalRecord, TokenCounts
from trim_pomdp.runtime.traces import TraceWriter

PLANNED = PlannedPoint(accuracy=0.6, strong_tokens=10.0, regenerations=1.5, budget=0.25)  # a unit of 40 tokens
POLICY = PolicyArtifact(
    model="toy", policy=StrategyRule(strategy="random", probability=0.3), planned=PLANNED, asked_budget=0.25
)


def ended(problem: str, reason: str, correct: bool | None, strong: int, regenerations: int) -> SolutionRecord:
    tokens = TokenCounts(weak_kept=5, weak_discarded=2, strong=strong, scored=11)
    document = {
        "problem": problem, "reason": reason, "correct": correct, "steps": 3, "regenerations": regenerations,
        "degenerate": 0, "tokens": tokens, "policy_hash": "x", "elapsed_s": 2.0, "models_s": 1.5,
        "error": "DummyError: out of order" if reason == "error" else None,
    }  # fmt: skip
    return SolutionRecord((), TerminalRecord.model_validate(document))


SOLUTIONS = (
    ended("a", "answer", True, 8, 1),
    ended("b", "answer", True, 12, 2),
    ended("c", "step cap", False, 0, 0),
    ended("d", "error", False, 4, 1),
)


def write(folder: Path, solutions: tuple[SolutionRecord, ...], policy: PolicyArtifact | None = POLICY) -> Path:
    config = {"mode": "run" if policy else "weak", "seed": 7, "problems": {"count": 5, "sha256": "0"}}
    files = {} if policy is None else {"policy.json": policy.model_dump_json()}
    with TraceWriter(folder, config, files=files) as traces:
        for solution in solutions:
            traces.append(solution)
    return folder


@pytest.mark.parametrize("name", ["", "run.json", "traces.jsonl"])
def test_a_run_as_a_document(name: str, cli_json: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", SOLUTIONS)
    document = cli_json("inspect", folder / name)
    assert document["kind"] == "run"
    assert document["problems"] == 4
    assert document["accuracy"] == pytest.approx(0.5)
    assert document["accuracy_se"] == pytest.approx(math.sqrt(4 * 0.25 / 3 / 4))
    assert document["strong_tokens"] == pytest.approx(6.0)
    assert document["budget"] == pytest.approx(6.0 / 40.0)
    assert document["regenerations"] == pytest.approx(1.0)
    assert document["regenerations_se"] == pytest.approx(math.sqrt(2 / 3 / 4))
    counts = TokenCounts(weak_kept=20, weak_discarded=8, strong=24, scored=44)
    assert document["tokens"] == counts.model_dump()
    assert document["reasons"] == {"answer": 2, "error": 1, "step cap": 1}
    assert (document["failed"], document["error"]) == (1, "DummyError: out of order")
    assert document["planned"] == {"accuracy": 0.6, "strong_tokens": 10.0, "regenerations": 1.5}
    assert document["asked_budget"] == 0.25
    assert document["config"]["seed"] == 7


def test_a_run_as_tables(run_cli: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", SOLUTIONS)
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    code, out, err = run_cli("inspect", folder)
    assert code == 0
    rows = {line.rsplit(maxsplit=3)[0]: line.split()[-3:] for line in out.splitlines() if len(line.split()) > 3}
    assert rows["accuracy"] == ["0.6000", "0.5000", "0.2887"]
    assert rows["strong tokens"] == ["10.0", "6.0000", "2.5820"]
    assert rows["regenerations"] == ["1.5000", "1.0000", "0.4082"]
    assert rows["budget"] == ["0.2500", "0.1500", "0.0645"]
    for words in (
        "mode run, seed 7, 4 of 5 problems ended",
        "policy StrategyRule(strategy random, probability 0.3), asked for a budget of 0.25",
        "ends: answer 2, error 1, step cap 1",
    ):
        assert words in out
    assert {" ".join(line.split()) for line in out.splitlines()} >= {"weak discarded 8", "scored 44"}
    assert err == "1 of 4 problems failed, the first by DummyError: out of order\n"
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


def test_rollouts_have_nothing_planned(run_cli: Any, cli_json: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "weak", SOLUTIONS[:3], None)
    document = cli_json("inspect", folder)
    assert document["accuracy"] == pytest.approx(2 / 3)
    assert document["budget"] is None
    assert "planned" not in document
    code, out, _ = run_cli("inspect", folder)
    assert code == 0
    assert "planned" not in out
    assert "mode weak" in out


def test_folders_that_hold_no_run(cli_refused: Any, tmp_path: Path) -> None:
    write(tmp_path / "runs" / "one", SOLUTIONS[:1])
    write(tmp_path / "runs" / "two", SOLUTIONS[:1])
    (tmp_path / "empty").mkdir()
    cli_refused("inspect", tmp_path / "empty", words=("without run.json", "holds no run"))
    cli_refused("inspect", tmp_path / "runs", words=("there are runs in one, two",))
    write(tmp_path / "young", ())
    cli_refused("inspect", tmp_path / "young", words=("no problem has ended yet",))
    (tmp_path / "young" / "traces.jsonl").unlink()
    cli_refused("inspect", tmp_path / "young", words=("traces.jsonl", "cannot be read"))
    cli_refused("inspect", tmp_path / "absent", words=("absent", "cannot be read"))
    (tmp_path / "runs" / "one" / "policy.json").write_text("{}")
    cli_refused("inspect", tmp_path / "runs" / "one", words=("policy.json", "kind"))
