"""The lab's shipped models through the verbs: tokens are what the tokenizer counts, problems are of the right split."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from trim_pomdp.data.problems import Problem, read_problems
from trim_pomdp.data.processbench import LabelledSolution, read_step_scores
from trim_pomdp.data.records import read_records
from trim_pomdp.data.rollouts import read_repair_rollouts, read_weak_rollouts
from trim_pomdp.lab import solving
from trim_pomdp.lab.models import shipped_folder
from trim_pomdp.lab.problems import draw
from trim_pomdp.presets.store import preset_names
from trim_pomdp.runtime.records import Generation, SolutionRecord, TokenCounts
from trim_pomdp.runtime.traces import read_traces
from trim_pomdp.text.boxes import boxed_answer

pytestmark = pytest.mark.skipif(
    not (shipped_folder() / "prm" / "config.json").is_file() or "lab-loop" not in preset_names(),
    reason="the lab's models are not there yet",
)
pytestmark = [pytestmark, pytest.mark.slow]  # minutes in all


@pytest.fixture(scope="module", autouse=True)
def _one_core() -> None:
    import torch

    torch.set_num_threads(1)


def counted(solution: SolutionRecord, problem: Problem) -> TokenCounts:
    """Tokens of a trace's texts when they are encoded again."""
    from trim_pomdp.lab.tokenizer import END, SCORE, SEPARATOR, build_tokenizer

    tokenizer = build_tokenizer()

    def length(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    def of(step: Generation | None) -> int:
        if step is None:
            return 0
        return length(step.text + {"separator": SEPARATOR, "end": END, "length": ""}[step.stop])

    total, texts = TokenCounts(), list(solution.terminal.prefix)
    for item in solution.decisions:
        scored = 0
        if item.scoring is not None:
            assert item.weak is not None
            scored = length(problem.prompt + SEPARATOR + "".join(text + SCORE for text in (*texts, item.weak.text)))
        kept, weak = item.action == "keep", of(item.weak)
        prompt = length(problem.prompt + SEPARATOR + "".join(text + SEPARATOR for text in texts))
        total += TokenCounts(
            weak_kept=weak if kept else 0,
            weak_discarded=0 if kept else weak,
            strong=of(item.strong),
            scored=scored,
            weak_read=0 if item.weak is None else prompt,
            strong_read=0 if item.strong is None else prompt,
        )
        assert item.accepted is not None
        texts.append(item.accepted.text)
    if solution.terminal.scoring is not None:
        total += TokenCounts(scored=length(problem.prompt + SEPARATOR + "".join(text + SCORE for text in texts)))
    return total


@pytest.mark.parametrize(
    "options",
    [("--budget", 0.3), ("--threshold", 0.5), ("--budget", 0.3, "--evidence", "logprob"), ("--strategy", "strong")],
)
def test_tokens_are_what_the_tokenizer_counts(cli_json: Any, tmp_path: Path, options: Any) -> None:
    out = cli_json("run", "--problems", 40, "--family", "loop", *options, "--out", tmp_path / "run")
    problems = {item.id: item for item in draw("loop", "test", 0, 40)}
    records = list(read_traces(tmp_path / "run"))
    assert {record.terminal.problem for record in records} == set(problems), "test problems, and no others"
    total = TokenCounts()
    for record in records:
        tokens = counted(record, problems[record.terminal.problem])
        assert tokens == record.terminal.tokens
        total += tokens
    assert out["tokens"] == total.model_dump()
    assert out["strong_tokens"] == pytest.approx(total.strong / 40)
    if "logprob" in options or "strong" in options:
        assert out["tokens"]["scored"] == 0, "never asks a PRM"
    assert out["planned"] is not None


def test_a_run_goes_on_where_it_was_cut(cli_json: Any, tmp_path: Path) -> None:
    options = ("run", "--problems", 30, "--strategy", "oracle", "--seed", 5, "--out", tmp_path / "run")
    whole = cli_json(*options)
    trace = tmp_path / "run" / "traces.jsonl"
    trace.write_bytes(trace.read_bytes()[:20_000])
    resumed = cli_json(*options, "--resume")
    for name in ("problems", "accuracy", "strong_tokens", "regenerations", "tokens", "budget", "planned"):
        assert resumed[name] == whole[name]


@pytest.mark.slow
def test_kill_and_resume_with_the_real_models(cli_json: Any, tmp_path: Path) -> None:
    options = ("run", "--problems", "120", "--budget", "0.3", "--in-flight", "16", "--seed", "3", "--threads", "1")
    traces = tmp_path / "run" / "traces.jsonl"
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("trim-pomdp")), *options, "--out", str(tmp_path / "run")],
        stdout=subprocess.DEVNULL,
    )
    while not (traces.exists() and traces.read_bytes().count(b'"kind":"terminal"') >= 30):
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.kill()
    process.wait()
    before = [record.terminal.problem for record in read_traces(tmp_path / "run")]
    assert 30 <= len(before) < 120
    resumed = cli_json(*options, "--out", tmp_path / "run", "--resume")
    after = [record.terminal.problem for record in read_traces(tmp_path / "run")]
    assert after[: len(before)] == before
    assert sorted(after) == sorted({problem.id for problem in draw("loop", "test", 3, 120)})
    whole = cli_json(*options, "--out", tmp_path / "whole")
    assert resumed["accuracy"] == pytest.approx(whole["accuracy"], abs=1.5 / 120)
    for name in ("strong_tokens", "regenerations"):
        assert resumed[name] == pytest.approx(whole[name], rel=0.03)


@pytest.mark.slow
def test_batch_size_seldom_flips_a_token(cli_json: Any, tmp_path: Path) -> None:
    """Texts depend on rounding alone, which depends on the batch: at most one solution of a hundred comes out else."""
    texts = []
    for in_flight in (3, 64):
        out = tmp_path / str(in_flight)
        cli_json("run", "--problems", 100, "--budget", 0.3, "--in-flight", in_flight, "--out", out)
        texts.append({record.terminal.problem: solving.texts(record) for record in read_traces(out)})
    flipped = [problem for problem, steps in texts[0].items() if steps != texts[1][problem]]
    assert len(flipped) <= 1


def test_rollouts_are_of_fitting_problems(cli_json: Any, tmp_path: Path) -> None:
    common = ("rollout", "--labels", "--seed", 2)
    cli_json(*common, "--family", "chain", "--problems", 30, "--mode", "weak", "--out", tmp_path / "weak")
    assert read_problems(tmp_path / "weak" / "problems.jsonl") == draw("chain", "fit", 2, 30)
    rows = read_weak_rollouts(tmp_path / "weak" / "weak.jsonl")
    assert all(row.correct for row in rows if row.label == -1)
    # Two errors can cancel, seldom: derailed solutions with a right answer.
    assert sum(row.correct for row in rows if row.label != -1) < 0.3 * sum(row.label != -1 for row in rows)
    cli_json(*common, "--mode", "repair", "--from", tmp_path / "weak", "--out", tmp_path / "repair")
    redone = read_repair_rollouts(tmp_path / "repair" / "repair.jsonl")
    assert {item.true_class for item in redone} >= {0, 2}
    # Scoring the same solutions gives what the rollout had recorded of them.
    out, solutions = tmp_path / "scores.jsonl", tmp_path / "weak" / "labelled.jsonl"
    texts = {item.id: item.steps for item in read_records(solutions, LabelledSolution)}
    cli_json("score", "--solutions", solutions, "--logprobs", "--out", out)
    for again, before in zip(read_step_scores(out), read_step_scores(tmp_path / "weak" / "scores.jsonl"), strict=True):
        assert (again.id, again.label) == (before.id, before.label)
        assert again.scores["lab-prm"] == pytest.approx(before.scores["lab-prm"], abs=1e-3)
        # The end of a last step without an answer (at the step cap) is not counted.
        known = before.n_scored - (boxed_answer(texts[again.id][-1]) is None)
        for name in ("logprob_min", "logprob_mean", "logprob_first"):
            assert again.features[name][:known] == pytest.approx(before.features[name][:known], abs=1e-3)
