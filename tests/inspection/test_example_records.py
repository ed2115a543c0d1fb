"""The recorded solutions that ship with the package: readable, complete, and what is said of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.examples import FOLDER, INDEX_FILE, SCORES, Example, example_records
from trim_pomdp.inspection.solutions import Inspection, inspect_solution

EXAMPLES = example_records()


def inspected(name: str) -> Inspection:
    example = EXAMPLES[name]
    return inspect_solution(example.record, example.policy, prompt=example.prompt)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_policy_decides_as_it_did(name: str) -> None:
    """The numbers of the records, to the bit."""
    example, seen = EXAMPLES[name], inspected(name)
    assert seen.as_recorded
    assert seen.q_end == example.record.terminal.q
    for item, step in zip(example.record.decisions, seen.steps, strict=True):
        assert (step.q, step.belief, step.gain, step.price) == (item.q, item.belief, item.gain, item.price)
    assert any(item.ended for item in example.record.decisions) == (example.record.terminal.reason == "answer")


@pytest.mark.parametrize("name", EXAMPLES)
def test_truth_prompt_and_no_times_are_kept(name: str) -> None:
    example = EXAMPLES[name]
    assert example.prompt.startswith("Start ")
    assert example.record.terminal.correct is not None
    for item in example.record.decisions:
        parts = [part for part in (item.weak, item.strong, item.scoring) if part is not None]
        assert {part.seconds for part in parts} == {0.0}
        assert item.weak is not None
        assert item.weak.true_class is not None
    assert name in repr(example)


def weak_classes(example: Example) -> list[int | None]:
    return [None if item.weak is None else item.weak.true_class for item in example.record.decisions]


def strong_steps(example: Example) -> list[int]:
    return [item.step for item in example.record.decisions if item.action == "regenerate"]


def strong_class(example: Example, step: int) -> int | None:
    strong = example.record.decisions[step].strong
    return None if strong is None else strong.true_class


def test_a_missed_error() -> None:
    example = EXAMPLES["missed error"]
    assert weak_classes(example)[:4] == [0, 0, 2, 1]
    assert strong_steps(example) == []
    assert not example.record.terminal.correct
    assert round(inspected("missed error").q_end or 0.0, 2) == 0.96


def test_a_repair() -> None:
    example = EXAMPLES["repaired"]
    (step,) = strong_steps(example)
    item = example.record.decisions[step]
    assert (weak_classes(example)[step], strong_class(example, step)) == (2, 0)
    assert item.weak is not None
    assert item.strong is not None
    assert ("*" in item.weak.text, "/" in item.strong.text, "a) /" in example.prompt) == (True, True, True)
    assert example.record.terminal.correct


def test_a_long_right_one() -> None:
    example = EXAMPLES["long and right"]
    assert len(example.record.decisions) == 10
    assert [weak_classes(example)[step] for step in strong_steps(example)] == [0, 0, 2]
    assert {strong_class(example, step) for step in strong_steps(example)} == {0}
    assert example.record.terminal.correct


def test_a_lost_cause() -> None:
    example = EXAMPLES["lost cause"]
    first, *later = strong_steps(example)
    assert (first, strong_class(example, first)) == (1, 2)
    assert [weak_classes(example)[step] for step in later] == [1]
    assert example.record.terminal.reason == "step cap"


def test_one_made_worse() -> None:
    example, seen = EXAMPLES["made worse"], inspected("made worse")
    step = strong_steps(example)[-1]
    assert (weak_classes(example)[step], strong_class(example, step)) == (0, 2)
    assert example.record.terminal.reason == "step cap"
    before, after = seen.steps[step + 4], seen.steps[step + 5]
    assert before.q is not None
    assert after.q is not None
    assert (before.q > 0.5, after.q < 0.02) == (True, True)


def test_one_that_found_back() -> None:
    example, seen = EXAMPLES["found back"], inspected("found back")
    assert strong_class(example, 1) == 2
    assert set(weak_classes(example)[2:]) == {1}
    assert example.record.terminal.correct
    assert (seen.steps[-1].q or 1.0) < 0.2 < 0.9 < (seen.q_end or 0.0)


def test_what_is_damaged_is_said(tmp_path: Path) -> None:
    copy = tmp_path / "examples"
    shutil.copytree(FOLDER, copy)
    assert example_records(copy).keys() == EXAMPLES.keys()
    lines = (copy / "mixed.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if "mixed-test-0-88" not in line]
    (copy / "mixed.jsonl").write_text("".join(kept), encoding="utf-8")
    with pytest.raises(InputError, match=r"mixed\.jsonl: no record of mixed-test-0-88"):
        example_records(copy)
    (copy / INDEX_FILE).write_text('{"examples": [{"name": 3}]}', encoding="utf-8")
    with pytest.raises(InputError, match=r"examples\.json: "):
        example_records(copy)


def assert_alike(one: Any, other: Any) -> None:
    """The same rule, numbers up to rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_alike(one[name], other[name])
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for item, before in zip(one, other, strict=True):
            assert_alike(item, before)
    else:
        assert one == (pytest.approx(other, rel=1e-9, abs=1e-9) if isinstance(other, float) else other)


@pytest.mark.slow
def test_they_are_made_anew_by_the_command_in_their_readme(tmp_path: Path) -> None:
    """The same texts, decisions and outcomes; numbers up to the last digits of other builds of PyTorch."""
    pytest.importorskip("transformers", reason="the lab's models need the extra lab")
    root = Path(__file__).resolve().parents[2]
    assert "python benchmarks/build_examples.py" in (FOLDER / "README.md").read_text(encoding="utf-8")
    command = [sys.executable, "benchmarks/build_examples.py", "--out", str(tmp_path)]
    subprocess.run(command, check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, timeout=580)
    assert (tmp_path / INDEX_FILE).read_bytes() == (FOLDER / INDEX_FILE).read_bytes()
    for name, example in example_records(tmp_path).items():
        shipped = EXAMPLES[name]
        assert_alike(example.policy.policy.model_dump(), shipped.policy.policy.model_dump())
        for item, before in zip(example.record.decisions, shipped.record.decisions, strict=True):
            assert (item.weak and item.weak.text, item.strong and item.strong.text, item.action) == (
                before.weak and before.weak.text,
                before.strong and before.strong.text,
                before.action,
            )
            assert item.q == pytest.approx(before.q, abs=1e-3)
            assert item.score == pytest.approx(before.score, abs=1e-4)
        assert example.record.terminal.correct == shipped.record.terminal.correct
    scores = [tp.read_step_scores(folder / SCORES.name) for folder in (tmp_path, FOLDER)]
    assert [item.label for item in scores[0]] == [item.label for item in scores[1]]
    for item, before in zip(*scores, strict=True):
        assert item.scores["my-prm"] == pytest.approx(before.scores["my-prm"], abs=1e-4)
