"""Real data where they are, and a sentence where they are not; looks side by side."""

import json
from pathlib import Path

import pytest

import trim_pomdp as tp
from trim_pomdp.data.scored_texts import read_scored_texts
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import TypedSolution
from trim_pomdp.inspection.real import real_data
from trim_pomdp.inspection.rivals import side_by_side
from trim_pomdp.inspection.solutions import inspect_solution

LINE = {
    "id": "a",
    "problem": "1 + 1?",
    "answer": "2",
    "rollouts": [
        {"steps": ["one", "\\boxed{2}"], "prm_scores": [0.9, 0.8], "correct": True},
        {"steps": ["\\boxed{3}"], "prm_scores": [0.1], "correct": False},
    ],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TRIM_POMDP_SHARED", raising=False)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "x.jsonl").write_text(json.dumps(LINE) + "\n", encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


def test_a_folder_above_is_found(folder: Path) -> None:
    texts = real_data("x.jsonl").then(read_scored_texts)
    assert texts.missing is None
    assert texts.value is not None
    assert {name: TypedSolution.of(text) for name, text in texts.value.items()} == {
        "a#0": TypedSolution(("one", "\\boxed{2}"), (0.9, 0.8), prompt="1 + 1?"),
        "a#1": TypedSolution(("\\boxed{3}",), (0.1,), prompt="1 + 1?"),
    }
    seen = (
        texts.then(dict.__getitem__, "a#0")
        .then(TypedSolution.of)
        .then(inspect_solution, tp.ThresholdRule(threshold=0.85))
    )
    assert seen.value is not None
    assert [step.action for step in seen.value.steps] == ["keep", "regenerate"]
    assert repr(seen) == repr(seen.value)


def test_what_is_not_there_is_said_and_nothing_is_called(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = real_data("y.jsonl").then(read_scored_texts).then(len)
    assert absent.value is None
    assert "no `y.jsonl` in a folder `shared/data`" in repr(absent)
    assert absent._display_() == repr(absent)
    monkeypatch.setenv("TRIM_POMDP_SHARED", str(folder / "elsewhere"))  # what is named is taken at its word
    assert "`TRIM_POMDP_SHARED` is set, but its folder has no `data/x.jsonl`" in repr(real_data("x.jsonl"))
    monkeypatch.setenv("TRIM_POMDP_SHARED", str(folder / "shared"))
    assert real_data("x.jsonl").value == folder / "shared" / "data" / "x.jsonl"


def test_notebooks_show_the_value_or_the_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("IPython")
    real_data("x.jsonl").then(read_scored_texts).then(len)._ipython_display_()
    assert capsys.readouterr().out.strip() == "2"
    real_data("y.jsonl")._ipython_display_()
    assert "Markdown" in capsys.readouterr().out


def test_files_that_are_otherwise_are_refused(folder: Path) -> None:
    path = folder / "bad.jsonl"
    path.write_text(json.dumps({**LINE, "rollouts": [{"steps": ["a"]}]}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.jsonl, line 1: .*prm_scores"):
        read_scored_texts(path)
    path.write_text(json.dumps({**LINE, "rollouts": [{"steps": ["a"], "prm_scores": []}]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"prm_scores has 0 values; expected one for each of 1 steps"):
        read_scored_texts(path)


def test_looks_side_by_side() -> None:
    model = tp.load_preset("lab-loop.prm").routing_model()
    never = tp.policy_for_tradeoff(model, 100.0)
    looks = {name: inspect_solution(scores, never) for name, scores in (("a", [0.9, 0.2]), ("b", [0.9, 0.95]))}
    table = side_by_side(looks)
    assert list(table["step"]) == [1, 2]
    assert list(table["b"]) == [looks["b"].steps[0].q_keep, looks["b"].q_end]  # nothing is regenerated
    for wrong in ({}, {**looks, "c": inspect_solution([0.9], never)}):
        with pytest.raises(InputError, match="looks at one solution are needed"):
            side_by_side(wrong)
