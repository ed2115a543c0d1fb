"""Readers on the real files, against the facts that the data's README states, and on files that are wrong."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.data.features import CLASSES, read_class_features, running_minimum, stream_features
from trim_pomdp.data.outcomes import read_pilot, read_step_counts, select
from trim_pomdp.data.processbench import (
    LabelledSolution,
    class_features,
    join_scores,
    labelled_scores,
    read_solutions,
    read_step_scores,
)
from trim_pomdp.data.sequences import ScoredSequence, read_sequences
from trim_pomdp.errors import InputError
from trim_pomdp.model.sequences import SequenceBatch

PRM = "Qwen2.5-Math-PRM-7B"
scores_of_solutions = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    return shared / "data"


@pytest.fixture(scope="module")
def features(data: Path):
    return read_class_features(data / "prm_features_math.npz")


@pytest.fixture(scope="module")
def step_scores(data: Path):
    return read_step_scores(data / "processbench_prm_scores.jsonl.gz")


def jsonl(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def refuses(reader, path: Path, *words: str) -> None:
    """The reader refuses the file in one line that names it and says each of the words."""
    with pytest.raises(InputError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message, message


# Features ---------------------------------------------------------------------------------------------------


@given(scores_of_solutions)
def test_one_step_at_a_time_gives_the_features_of_the_batch(scores):
    steps = list(stream_features(scores))
    assert [step.minimum for step in steps] == running_minimum(np.array(scores)).tolist()
    assert [step.score for step in steps] == scores
    assert steps[0].minimum == 1.0
    assert all(step.minimum == min(scores[:t]) for t, step in enumerate(steps) if t)


@given(st.lists(scores_of_solutions, min_size=1, max_size=6))
def test_padding_does_not_reach_the_features_of_a_batch(many):
    batch = SequenceBatch.of([ScoredSequence(id=str(i), scores=tuple(s), correct=True) for i, s in enumerate(many)])
    minimum = running_minimum(batch.scores)
    for row, low, mask, scores in zip(batch.scores, minimum, batch.mask, many, strict=True):
        assert row[mask].tolist() == scores
        assert low[mask].tolist() == [step.minimum for step in stream_features(scores)]


def test_published_features(features):
    assert {name: len(features.features[name]) for name in CLASSES} == {"S0": 1233, "S1": 499, "S2": 528}
    assert all(((rows >= 0) & (rows <= 1)).all() for rows in features.features.values())
    assert all(item.startswith("math-") for name in CLASSES for item in features.groups[name])


def test_published_features_agree_with_the_independent_scores_of_the_same_solutions(features, step_scores, data):
    with np.load(data / "prm_features_math.npz") as archive:
        lengths = {name: archive[f"{name}_prefix_len"] for name in ("S0", "S2")}
    known = {record.id: record.scores[PRM] for record in step_scores}
    for name in ("S0", "S2"):
        off = []
        for row, item, n in zip(features.features[name], features.groups[name], lengths[name], strict=True):
            if str(item) in known and n <= len(known[str(item)]):
                *before, current = known[str(item)][:n]
                off.append(np.abs(row - [min(before, default=1.0), current]))
        assert len(off) > 50
        assert np.median(off, axis=0).max() <= 0.004


def write_npz(path: Path, **changes: object) -> Path:
    arrays: dict[str, object] = {name: np.full((3, 2), 0.5) for name in CLASSES}
    arrays |= {f"{name}_id": np.array(["a", "b", "c"]) for name in CLASSES}
    arrays |= changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_ids_are_optional(tmp_path):
    path = write_npz(tmp_path / "x.npz", S0_id=None, S1_id=None, S2_id=None)
    assert read_class_features(path).groups is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"S1": None}, ["no array 'S1'", "S0, S1 and S2"]),
        ({"S0": np.array([[0.5, 1.3]] * 3)}, ["S0 row 0, column 1 is 1.3", "[0, 1]"]),
        ({"S2": np.array([[0.5, 0.5], [math.nan, 0.5], [1, 1]])}, ["S2 row 1, column 0 is nan"]),
        ({"S2": np.array([[0.5, 0.5], [0.5, -0.1], [1, 1]])}, ["S2 row 1, column 1 is -0.1"]),
        ({"S2": np.zeros((0, 2))}, ["class S2 is empty", "at least one row"]),
        ({"S0": np.zeros((3, 3))}, ["S0 has shape (3, 3)", "expected (n, 2)"]),
        ({"S0": np.zeros(3)}, ["S0 has shape (3,)", "expected (n, 2)"]),
        ({"S0": np.array([["a", "b"]] * 3)}, ["S0 holds", "expected numbers"]),
        ({"S0": np.full((3, 2), 0.5 + 0.5j)}, ["S0 holds complex128", "expected numbers"]),
        ({"S1_id": np.array(["a", "b"])}, ["S1_id has shape (2,)", "(3,)"]),
        ({"S1_id": None}, ["no array S1_id", "all or none"]),
        ({"S0": np.array([[{}, {}]] * 3, dtype=object)}, ["pickled arrays"]),
    ],
)
def test_wrong_feature_files(tmp_path, changes, words):
    refuses(read_class_features, write_npz(tmp_path / "x.npz", **changes), *words)


def test_feature_files_that_are_no_npz(tmp_path):
    whole = write_npz(tmp_path / "x.npz").read_bytes()
    for name, content in {"cut.npz": whole[: len(whole) // 2], "empty.npz": b"", "text.npz": b"S0,S1\n"}.items():
        (tmp_path / name).write_bytes(content)
        refuses(read_class_features, tmp_path / name, "not an npz file, cut off")
    damaged = bytearray(whole)
    damaged[whole.index(b"NUMPY") + 130] ^= 0xFF
    (tmp_path / "damaged.npz").write_bytes(damaged)
    refuses(read_class_features, tmp_path / "damaged.npz", "not an npz file, cut off")
    np.save(tmp_path / "single.npy", np.zeros((3, 2)))
    refuses(read_class_features, tmp_path / "single.npy", "not an npz file")
    refuses(read_class_features, tmp_path / "absent.npz", "cannot be read", "No such file")
    refuses(read_class_features, tmp_path, "cannot be read")


# Step counts and pilots -------------------------------------------------------------------------------------


def test_published_step_counts(data):
    counts = read_step_counts(data / "trim_step_counts.json.gz")
    models = ("qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct", "qwen3-8b")
    assert [round(counts.of(name).next_step_accuracy, 4) for name in models] == [0.8660, 0.9704, 0.9924]
    assert [len(counts.of(name).correct_steps) for name in models] == [2819, 5785, 6088]
    assert [counts.of(name).n_solutions for name in models] == [7500] * 3
    assert counts.of(models[0]).accuracy == 2819 / 7500
    hazard = counts.terminal_hazard["slm"]
    assert hazard.max_steps == len(hazard.by_step) == 30
    assert hazard.by_step[0] == 0.0
    assert hazard.by_step[-1] == 1.0
    with pytest.raises(InputError, match=r"no model 'gpt'; it has qwen2\.5-1\.5b-instruct"):
        counts.of("gpt", source="f.json")


def test_the_published_hazard_is_that_of_its_lengths(data):
    raw = json.loads(gzip.decompress((data / "trim_step_counts.json.gz").read_bytes()))["terminal_hazard"]
    hazards = read_step_counts(data / "trim_step_counts.json.gz").terminal_hazard
    assert set(hazards) == {"slm", "llm", "slm_llm"}
    for name, hazard in hazards.items():
        alive, implied = 1.0, []
        for h in hazard.by_step:
            implied.append(alive * h)
            alive *= 1 - h
        np.testing.assert_allclose(implied[1:], raw[name]["pmf_steps_2_to_max"], atol=1e-12)


STEP_COUNTS = {"models": {"m": {"correct_steps": [2, 3], "first_error_step": [1]}}}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, ["missing 'models'"]),
        ({"models": {"m": {"correct_steps": [2]}}}, ["missing 'models.m.first_error_step'"]),
        ({"models": {"m": {"correct_steps": [0], "first_error_step": []}}}, ["models.m.correct_steps.0", "got 0"]),
        ({"models": {"m": {"correct_steps": [2.5], "first_error_step": []}}}, ["models.m.correct_steps.0", "2.5"]),
        ({"models": {"m": {"correct_steps": [], "first_error_step": []}}}, ["models.m", "no solution at all"]),
        ([], ["document"]),
        (
            {**STEP_COUNTS, "terminal_hazard": {"slm": {"max_steps": 3, "hazard": {"1": 0.0, "3": 1.0}}}},
            ["terminal_hazard.slm", "hazard has no step 2"],
        ),
        (
            {**STEP_COUNTS, "terminal_hazard": {"slm": {"max_steps": 1, "hazard": {"1": 1.5}}}},
            ["terminal_hazard.slm.hazard.1", "1.5"],
        ),
    ],
)
def test_wrong_step_counts(tmp_path, document, words):
    path = tmp_path / "counts.json"
    path.write_text(json.dumps(document))
    refuses(read_step_counts, path, *words)


def test_step_counts_that_are_cut_off(tmp_path, data):
    whole = (data / "trim_step_counts.json.gz").read_bytes()
    (tmp_path / "cut.json.gz").write_bytes(whole[:5000])
    refuses(read_step_counts, tmp_path / "cut.json.gz", "damaged or cut off")
    (tmp_path / "cut.json").write_text(json.dumps(STEP_COUNTS)[:-4])
    refuses(read_step_counts, tmp_path / "cut.json", "not a JSON document, or cut off")
    (tmp_path / "latin.json").write_bytes(b'{"models": "\xe9"}')
    refuses(read_step_counts, tmp_path / "latin.json", "not a JSON document")


def test_published_pilot(data):
    rows = read_pilot(data / "trim_measured_thr.jsonl")
    assert [row.threshold for row in rows] == pytest.approx([i / 20 for i in range(21)])
    assert {row.problems for row in rows} == {500}
    assert (rows[0].accuracy, rows[0].regenerations, rows[0].strong_tokens) == (0.364, 0.0, 0.0)
    assert rows[-1].accuracy == 0.730
    assert rows[-1].strong_tokens == pytest.approx(494.8, abs=0.05)
    assert [row.threshold for row in select(rows, [0.6, 0.0])] == [0.6, 0.0]
    with pytest.raises(InputError, match=r"no pilot row has threshold 0\.33; there are 0, 0\.05"):
        select(rows, [0.33])


ROW = {"threshold": 0.4, "problems": 500, "accuracy": 0.65, "regenerations": 2.2}
PUBLISHED_ROW = {
    "threshold": 0.4,
    "accuracy": 0.65,
    "num_correct": 325,
    "avg_draft_tokens_per_question": 1.0,
    "avg_target_tokens_per_question": 2.0,
    "avg_discarded_draft_tokens_per_question": 3.0,
    "avg_target_calls_per_question": 4.0,
}


def test_both_forms_of_a_pilot(tmp_path):
    (own,) = read_pilot(jsonl(tmp_path / "own.jsonl", ROW))
    assert (own.problems, own.strong_tokens, own.kept_tokens) == (500, None, None)
    (published,) = read_pilot(jsonl(tmp_path / "published.jsonl", PUBLISHED_ROW))
    assert published.problems == 500
    assert (published.kept_tokens, published.strong_tokens) == (1.0, 2.0)
    assert (published.discarded_tokens, published.regenerations) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROW, {**ROW, "threshold": 1.2}], ["line 2", "threshold", "less than or equal to 1", "1.2"]),
        ([{**ROW, "accuracy": math.nan}], ["line 1", "accuracy", "finite"]),
        ([{**ROW, "regenerations": -1}], ["line 1", "regenerations", "greater than or equal to 0"]),
        ([{k: v for k, v in ROW.items() if k != "accuracy"}], ["line 1", "missing 'accuracy'"]),
        ([{**ROW, "regeneration": 2}], ["line 1", "unknown key 'regeneration'", "did you mean 'regenerations'"]),
        ([ROW, ROW], ["threshold 0.4 occurs twice"]),
        ([PUBLISHED_ROW, {**PUBLISHED_ROW, "num_correct": 326}], ["threshold 0.4", "no whole number of problems"]),
        ([3], ["line 1", "document"]),
    ],
)
def test_wrong_pilots(tmp_path, rows, words):
    refuses(read_pilot, jsonl(tmp_path / "pilot.jsonl", *rows), *words)


# Scored sequences -------------------------------------------------------------------------------------------


def test_published_sequences(data):
    sequences = read_sequences(data / "math500_sequences_dev.jsonl.gz")
    batch = SequenceBatch.of(sequences)
    assert len(batch) == 1000
    assert len(np.unique(batch.groups)) == 250
    assert batch.lengths.sum() == batch.mask.sum() == 9142
    assert batch.correct.mean() == 0.734
    assert np.mean([item.completion_tokens for item in sequences]) == pytest.approx(571, abs=0.5)
    assert (batch.scores[~batch.mask] == 1.0).all()
    some = batch.take(np.array([5, 5, 0]))
    assert some.lengths.tolist() == batch.lengths[[5, 5, 0]].tolist()
    assert some.groups.tolist() == [sequences[i].problem_id for i in (5, 5, 0)]


SEQUENCE = {"id": "a#0", "scores": [0.9, 0.4], "correct": True}


def test_a_sequence_without_a_problem_is_its_own_group(tmp_path):
    (sequence,) = read_sequences(jsonl(tmp_path / "s.jsonl", {**SEQUENCE, "trace": "more keys are fine"}))
    assert sequence.group == "a#0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": [0.5, 1.3]}, ["scores.1", "less than or equal to 1", "1.3"]),
        ({"scores": [0.5, math.nan]}, ["scores.1", "finite", "nan"]),
        ({"scores": [math.inf]}, ["scores.0"]),
        ({"scores": []}, ["scores", "at least 1 item"]),
        ({"scores": 0.5}, ["scores"]),
        ({"correct": None}, ["correct"]),
        ({"correct": ...}, ["missing 'correct'"]),
        ({"id": ...}, ["missing 'id'"]),
        ({"label": 2}, ["label 2 is not one of the 2 steps"]),
        ({"label": -2}, ["label", "greater than or equal to -1"]),
        ({"completion_tokens": -1}, ["completion_tokens"]),
    ],
)
def test_wrong_sequences(tmp_path, change, words):
    wrong = {key: value for key, value in {**SEQUENCE, **change}.items() if value is not ...}
    refuses(read_sequences, jsonl(tmp_path / "s.jsonl", SEQUENCE, wrong), "line 2", *words)


def test_files_that_are_no_json_lines(tmp_path):
    line = json.dumps(SEQUENCE)
    cases = {
        "third.jsonl": (f"{line}\n\n{line[:-5]}\n{line}\n".encode(), ["line 3", "not JSON, or cut off"]),
        "deep.jsonl": (b"[" * 100_000, ["line 1", "not JSON"]),
        "digits.jsonl": (b'{"id": ' + b"9" * 5000 + b"}", ["line 1", "not JSON"]),
        "empty.jsonl": (b"\n \n", ["holds no record"]),
        "latin.jsonl": (b'{"id": "\xe9"}\n', ["not UTF-8"]),
        "cut.jsonl.gz": (gzip.compress(f"{line}\n".encode() * 500)[:-20], ["cut off"]),
        "plain.jsonl.gz": (line.encode(), ["damaged or cut off"]),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        refuses(read_sequences, tmp_path / name, *words)
    refuses(read_sequences, tmp_path / "absent.jsonl", "cannot be read", "No such file")
    refuses(read_sequences, tmp_path / "absent.jsonl.gz", "cannot be read", "No such file")


def test_plain_and_compressed_lines_read_alike(tmp_path):
    text = f"\n{json.dumps(SEQUENCE)}\r\n"
    (tmp_path / "s.jsonl").write_text(text, newline="")
    (tmp_path / "s.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert read_sequences(tmp_path / "s.jsonl") == read_sequences(tmp_path / "s.jsonl.gz") != []


# ProcessBench -----------------------------------------------------------------------------------------------


def test_published_step_scores(step_scores):
    assert len(step_scores) == 750
    steps = labelled_scores(step_scores, PRM)
    assert (steps.right.sum(), (~steps.right).sum()) == (3062, 440)
    features = class_features(step_scores, PRM)
    assert {name: len(rows) for name, rows in features.features.items()} == {"S0": 3062, "S1": 0, "S2": 440}
    assert sorted(features.features["S0"][:, 1]) == sorted(steps.scores[steps.right])
    assert sorted(features.features["S2"][:, 1]) == sorted(steps.scores[~steps.right])
    assert len(np.unique(steps.groups)) == 750


def test_class_features_by_hand(tmp_path):
    record = {"id": "a", "label": 1, "n_scored": 3, "scores": {"m": [0.9, 0.2, 0.6]}}
    (read,) = read_step_scores(jsonl(tmp_path / "s.jsonl", record))
    features = class_features([read], "m")
    assert {name: rows.tolist() for name, rows in features.features.items()} == {
        "S0": [[1.0, 0.9]],
        "S1": [[0.2, 0.6]],
        "S2": [[0.9, 0.2]],
    }
    steps = labelled_scores([read], "m")
    assert (steps.scores.tolist(), steps.right.tolist()) == ([0.9, 0.2], [True, False])
    with pytest.raises(InputError, match="record a: no scores of 'other'; it has m"):
        class_features([read], "other")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": 2}, ["label 2 is beyond the 2 scored steps"]),
        ({"n_scored": 3}, ["m has 2 scores; n_scored is 3"]),
        ({"scores": {"m": [0.5, 1.3]}}, ["scores.m.1", "1.3"]),
        ({"scores": ...}, ["missing 'scores'"]),
    ],
)
def test_wrong_step_scores(tmp_path, change, words):
    record = {"id": "a", "label": -1, "n_scored": 2, "scores": {"m": [0.9, 0.8]}, **change}
    record = {key: value for key, value in record.items() if value is not ...}
    refuses(read_step_scores, jsonl(tmp_path / "s.jsonl", record), "line 1", *words)


@pytest.fixture(scope="module")
def solutions(data: Path):
    return read_solutions(data / "processbench" / "gsm8k.jsonl.gz")


def test_processbench_through_datasets(solutions, data):
    assert len(solutions) == 400
    assert sum(item.label == -1 for item in solutions) == 193
    assert len({item.problem for item in solutions}) == 375
    with gzip.open(data / "processbench" / "gsm8k.jsonl.gz", "rt") as lines:
        assert [item.id for item in solutions] == [json.loads(line)["id"] for line in lines]


def test_scores_join_their_solutions_by_id(solutions, step_scores):
    scores = [record for record in step_scores if record.id.startswith("gsm8k")]
    pairs = join_scores(solutions, scores)
    assert [record for _, record in pairs] == scores
    assert len(pairs) == 250
    for solution, record in pairs:
        assert solution.id == record.id
        assert record.n_scored == (len(solution.steps) if solution.label < 0 else solution.label + 1)


def test_what_cannot_be_joined(solutions, step_scores):
    first = step_scores[0]
    with pytest.raises(InputError, match=rf"scores of {first.id} have no solution"):
        join_scores(solutions[:0], [first])
    with pytest.raises(InputError, match="occur twice"):
        join_scores(solutions, [first, first])
    with pytest.raises(InputError, match="occurs twice"):
        join_scores([*solutions, solutions[0]], [])
    solution = LabelledSolution(
        id=first.id, generator="g", problem="p", steps=("one",) * 50, label=49, final_answer_correct=False
    )
    with pytest.raises(InputError, match="label is 49 in the solution"):
        join_scores([solution], [first])


SOLUTION = {
    "id": "a",
    "generator": "g",
    "problem": "p",
    "steps": ["one", "two"],
    "label": 1,
    "final_answer_correct": False,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": 2}, ["line 2", "label 2 is not one of the 2 steps"]),
        ({"label": -2}, ["line 2", "label"]),
        ({"steps": []}, ["line 2", "steps", "at least 1 item"]),
        ({"steps": None}, ["line 2", "steps"]),
        ({"label": "second"}, ["line 2", "label", "got 'second'"]),
    ],
)
def test_wrong_solutions(tmp_path, change, words):
    refuses(read_solutions, jsonl(tmp_path / "s.jsonl", SOLUTION, {**SOLUTION, **change}), *words)


def test_solution_files_that_cannot_be_loaded(tmp_path, capfd, caplog):
    refuses(read_solutions, tmp_path / "absent.jsonl.gz", "no such file")
    line = json.dumps(SOLUTION)
    (tmp_path / "third.jsonl").write_text(f"{line}\n{line}\n{line[:20]}\n")
    refuses(read_solutions, tmp_path / "third.jsonl", "line 3", "not JSON, or cut off")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(f"{line}\n".encode() * 500)[:-20])
    refuses(read_solutions, tmp_path / "cut.jsonl.gz", "cut off")
    (tmp_path / "no-extension").write_text(f"{line}\n")
    assert [item.id for item in read_solutions(tmp_path / "no-extension")] == ["a"]
    assert capfd.readouterr().err == ""
    assert not caplog.records  # no progress bars, no log of another library
