"""Every reader reads every container alike, and says in one line what is wrong with a file that it cannot read."""

import builtins
import gzip
import json
import sys
import tracemalloc
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trim_pomdp as tp
import trim_pomdp.data.records as record_files
from trim_pomdp.data.records import is_near, iter_records
from trim_pomdp.data.solutions import read_solution_texts
from trim_pomdp.errors import InputError

CASES = Path(__file__).parents[1] / "cases" / "readers"

SOLUTIONS = [
    {
        "id": "2025-03-01",
        "generator": "m",
        "problem": "4 + 5?",
        "steps": ["é = 9", "\\boxed{9}"],
        "label": -1,
        "final_answer_correct": True,
    },
    {"id": "b", "generator": "m", "problem": "1?", "steps": ["2"], "label": 0, "final_answer_correct": False},
]
RECORDS = {
    tp.read_solutions: SOLUTIONS,
    tp.read_step_scores: [
        {"id": "a", "label": 1, "n_scored": 2, "scores": {"p": [0.9, 0.1]}},
        {"id": "b", "label": -1, "n_scored": 1, "features": {"logprob_min": [-0.5], "logprob_mean": [-0.1]}},
    ],
    tp.read_sequences: [
        {"id": "a#0", "problem_id": "a", "scores": [0.9, 0.4], "correct": True, "tokens": [3, 4]},
        {"id": "a#1", "problem_id": "a", "scores": [0.2], "correct": False, "label": 0},
    ],
    tp.read_weak_rollouts: [{"id": "w", "problem_id": "p", "scores": [0.9, 0.2], "correct": False, "tokens": [5, 7]}],
    tp.read_strong_rollouts: [
        {"id": "s", "problem_id": "p", "correct": True, "tokens": [6, 8, 9]},
        {"id": "t", "problem_id": "q", "correct": True, "tokens": [6], "label": -1},
    ],
    tp.read_repair_rollouts: [
        {"id": "r", "scores": [0.9, 0.1], "correct": True, "weak_tokens": [5, 7], "strong_tokens": [9]},
        {
            "id": "q",
            "scores": [0.9],
            "correct": True,
            "weak_tokens": [5],
            "strong_tokens": [9],
            "class": 2,
            "redone_right": True,
        },
    ],
    tp.read_problems: [
        {"id": "p", "prompt": "4 + 5 = «?»", "answer": "9"},
        {"id": "q", "prompt": "2025-03-01?", "answer": "2025-03-01", "level": "x"},
    ],
    tp.read_pilot: [
        {"threshold": 0.0, "problems": 500, "accuracy": 0.4, "regenerations": 0.0},
        {"threshold": 0.5, "problems": 500, "accuracy": 0.65, "regenerations": 2.2, "strong_tokens": 70.5},
    ],
    read_solution_texts: [
        {"id": "p", "prompt": "4 + 5?", "steps": ["9"], "authors": ["weak"], "reason": "answer", "correct": True},
        {"id": "q", "prompt": "1?", "steps": [], "authors": [], "reason": "error", "error": "x", "tokens": {"weak": 3}},
    ],
}
READERS = pytest.mark.parametrize("reader", RECORDS, ids=lambda reader: reader.__name__)


def lines(records) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def indented(records) -> str:
    return json.dumps(records, indent=2, ensure_ascii=False)


CONTAINERS = {
    "mark.jsonl": lambda r: b"\xef\xbb\xbf" + lines(r).encode(),
    "marks.jsonl": lambda r: b"".join(b"\xef\xbb\xbf" + lines([item]).encode() for item in r),
    "utf16.jsonl": lambda r: lines(r).encode("utf-16"),
    "crlf.jsonl": lambda r: lines(r).replace("\n", "\r\n").encode(),
    "blank.jsonl": lambda r: ("\n \r\n" + lines(r).replace("\n", "\n\n\t\n") + "\n").encode(),
    "no-end.jsonl": lambda r: lines(r).rstrip().encode(),
    "no-suffix": lambda r: lines(r).encode(),
    "array.json": lambda r: json.dumps(r).encode(),
    "over-lines.json": lambda r: indented(r).encode(),
    "array.jsonl": lambda r: ("\n\n [\n" + ",\n".join(json.dumps(item) for item in r) + "\n]\n").encode(),
    "mark-crlf.json": lambda r: b"\xef\xbb\xbf" + indented(r).replace("\n", "\r\n").encode(),
    "objects.json": lambda r: "\n".join(indented(item) for item in r).encode(),
    "lines.jsonl.gz": lambda r: gzip.compress(lines(r).encode()),
    "members.jsonl.gz": lambda r: b"".join(gzip.compress(lines([item]).encode()) for item in r),
    "gzip-in-disguise.jsonl": lambda r: gzip.compress(b"\xef\xbb\xbf" + lines(r).encode()),
    "array.json.gz": lambda r: gzip.compress(indented(r).encode()),
}


def parquet(path: Path, records) -> Path:
    import pyarrow
    import pyarrow.parquet

    keys = list({key: None for record in records for key in record})
    columns = {key: [record.get(key) for record in records] for key in keys}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=1)
    return path


@READERS
@pytest.mark.parametrize("name", [*CONTAINERS, "rows.parquet", "rows.parquet.gz"])
def test_every_reader_reads_every_container(reader, name, tmp_path):
    records = RECORDS[reader]
    (tmp_path / "plain.jsonl").write_text(lines(records), encoding="utf-8")
    wanted = reader(tmp_path / "plain.jsonl")
    assert len(wanted) == len(records)
    path = tmp_path / name
    if name == "rows.parquet":
        parquet(path, records)
    elif name == "rows.parquet.gz":
        path.write_bytes(gzip.compress(parquet(tmp_path / "rows.parquet", records).read_bytes()))
    else:
        path.write_bytes(CONTAINERS[name](records))
    assert reader(path) == wanted


def test_step_counts_and_artifacts_are_documents_of_any_encoding(tmp_path):
    counts = {"models": {"é": {"correct_steps": [2, 3], "first_error_step": [1]}}}
    text = json.dumps(counts, indent=1, ensure_ascii=False)
    for name, content in {
        "mark.json": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        "utf16.json": text.encode("utf-16"),
        "packed.json": gzip.compress(text.encode()),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert tp.read_step_counts(tmp_path / name).of("é").correct_steps == (2, 3)
    model = tp.load_preset("qwen2.5-1.5b-7b-math")
    whole = model.save(tmp_path / "preset.json").read_bytes()
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n"))
    assert tp.load(tmp_path / "marked.json") == model


# The files that failed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("bom.jsonl", ["s-1"]),
        ("int_id.jsonl", ["11"]),
        ("iso_date_ids.jsonl", ["2025-03-01", "2025-03-02"]),
        ("solutions.parquet", ["s-1"]),
    ],
)
def test_labelled_solutions_that_failed(name, ids):
    solutions = tp.read_solutions(CASES / name)
    assert [item.id for item in solutions] == ids
    assert {
        (item.generator, item.problem, item.steps, item.label, item.final_answer_correct) for item in solutions
    } == {("m", "4+5?", ("4+5=9", "\\boxed{9}"), -1, True)}


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("array_of_problems.json", "p"),
        ("bom_problems.jsonl", "p"),
        ("gsm8k_answer.jsonl", "p"),
        ("math500_unique_id.jsonl", "t/1"),
    ],
)
def test_problems_that_failed(name, id_):
    (problem,) = tp.read_problems(CASES / name)
    assert (problem.id, problem.prompt, problem.answer) == (id_, "4+5?", "9")


def test_null_means_no_error_only_if_one_says_so():
    path = CASES / "label_null.jsonl"
    with pytest.raises(InputError, match=r"label_null\.jsonl, line 1: label: is null.*--layout processbench-null"):
        tp.read_solutions(path)
    (solution,) = tp.read_solutions(path, layout="processbench-null")
    assert solution.label == -1


# Types ----------------------------------------------------------------------------------------------------


def test_types_are_not_guessed_from_the_first_rows(tmp_path):
    path = tmp_path / "s.jsonl"
    ignored = ["2020-01-01", 3, None, {"a": 1}, [1, "x"], float("nan"), "2020-01-01T00:00:00Z"]
    records = [{**SOLUTIONS[0], "id": f"2024-01-{i:02}" if i < 20 else f"x{i}", "extra": i % 7} for i in range(1, 27)]
    for record, extra in zip(records[-7:], ignored, strict=True):
        record["extra"] = extra
    path.write_text(lines(records), encoding="utf-8")
    assert [item.id for item in tp.read_solutions(path)] == [item["id"] for item in records]


@pytest.mark.parametrize("reader", [tp.read_solutions, tp.read_sequences, tp.read_problems, tp.read_strong_rollouts])
def test_whole_numbers_are_ids(reader, tmp_path):
    record = {**RECORDS[reader][0], "id": 20250301}
    (tmp_path / "x.jsonl").write_text(lines([record, {**record, "id": 7.0}]), encoding="utf-8")
    assert [item.id for item in reader(tmp_path / "x.jsonl")] == ["20250301", "7"]
    for wrong in (True, 7.5, float("nan"), ["a"], None):
        (tmp_path / "x.jsonl").write_text(lines([{**record, "id": wrong}]), encoding="utf-8")
        with pytest.raises(InputError, match=r"x\.jsonl, line 1: id"):
            reader(tmp_path / "x.jsonl")


def test_local_files_need_no_datasets(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] in ("datasets", "pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert len(tp.read_solutions(CASES / "int_id.jsonl")) == 1
    with pytest.raises(InputError, match=r"solutions\.parquet: is a parquet file, which needs pyarrow: pip install"):
        tp.read_solutions(CASES / "solutions.parquet")
    with pytest.raises(InputError, match=r"Some/Name: no such file; reading it from the hub needs the datasets"):
        tp.read_solutions("Some/Name")
    for typo in ("solutoins.parquet", "folder/absent.jsonl", "absent", "a/b/c"):
        with pytest.raises(InputError, match="no such file"):
            tp.read_solutions(typo)


@pytest.mark.parametrize("form", ["lines", "array", "one line"])
def test_a_large_file_is_not_held_whole(form, tmp_path):
    path = tmp_path / "large.json"
    record = {"id": 0, "prompt": "?", "extra": "x" * 4000}
    size = 2000
    records = [json.dumps({**record, "id": i}) for i in range(size)]
    joined = {"lines": "\n".join(records), "array": "[" + ",\n".join(records) + "]"}
    joined["one line"] = joined["array"].replace("\n", "")
    path.write_text(joined[form])
    tp.read_problems(CASES / "bom_problems.jsonl")  # what is imported and compiled once
    tracemalloc.start()
    problems = tp.read_problems(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [item.id for item in problems] == [str(i) for i in range(size)]
    assert peak < path.stat().st_size / 2


# What is refused ------------------------------------------------------------------------------------------


@READERS
@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("empty.jsonl", b"", "holds no "),
        ("blank.jsonl", b"\n \r\n", "holds no "),
        ("empty.json", b"[]", "holds no "),
        ("mark-alone.jsonl", b"\xef\xbb\xbf", "holds no "),
        ("text.jsonl", b"id,prompt\n1,x\n", "line 1: not JSON"),
        ("cut.json", b'[{"id": "a"', "line 1: not JSON, or cut off"),
        ("open.json", b"[", "not JSON, or cut off"),
        ("deep.jsonl", b"[" * 100_000, "line 1"),
        ("latin.jsonl", b'{"id": "\xe9"}\n', "line 1: not UTF-8 text (byte 0xe9)"),
        ("latin.json", b'[{"id": "\xe9"}]', "not UTF-8 text (byte 0xe9)"),
        ("cut.jsonl.gz", gzip.compress(b"{}\n" * 900, mtime=0)[:-12], "damaged or cut off"),
        ("cut-in-disguise.jsonl", gzip.compress(b"{}\n" * 900, mtime=0)[:-12], "damaged or cut off"),
        ("rows.parquet", b"PAR1" + b"\0" * 60, "parquet damaged or cut off"),
        ("packed.zip", b"PK\x03\x04" + b"\0" * 60, "is a zip archive; unpack it"),
        ("wrapped.json", b'{"data": [{"id": "a"}, {"id": "b"}]}', "2 records under 'data'"),
        ("wrapped-indented.json", b'{\n "rows": [\n  {"a": 1}\n ]\n}', "1 records under 'rows'"),
        ("number.jsonl", b"3\n", "line 1"),
        ("string.json", b'["a"]', "record 1"),
    ],
)
def test_what_is_no_file_of_records(reader, name, content, word, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert word in message


@READERS
def test_folders_and_absent_files(reader, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        reader(tmp_path)
    with pytest.raises(InputError, match=r"(?i)no such file"):
        reader(tmp_path / "absent.jsonl")


def test_errors_name_the_line_or_the_record(tmp_path):
    good, wrong = RECORDS[tp.read_problems][0], {"id": "b", "prompt": ""}
    path = tmp_path / "p.jsonl"
    path.write_text(f"\n{json.dumps(good)}\n\n{json.dumps(wrong)}\n")
    with pytest.raises(InputError, match=r"p\.jsonl, line 4: prompt: "):
        tp.read_problems(path)
    path.write_text(json.dumps([good, wrong], indent=1))
    with pytest.raises(InputError, match=r"p\.jsonl, record 2: prompt: "):
        tp.read_problems(path)
    path.write_text(f"[\n{json.dumps(good)},\n{json.dumps({**good, 'id': 'q'})}\n{json.dumps(good)}]")
    with pytest.raises(InputError, match=r"p\.jsonl, record 2, line 4: not JSON, or cut off \(expected ',' or '\]'\)"):
        tp.read_problems(path)
    path.write_text(f"[\n{json.dumps(good)},\n\n{{'id': 3}}]")
    with pytest.raises(InputError, match=r"p\.jsonl, record 2, line 4: not JSON"):
        tp.read_problems(path)
    path.write_text(f"[{json.dumps(good)}] trailing")
    with pytest.raises(InputError, match="something follows the array"):
        tp.read_problems(path)
    with pytest.raises(InputError, match=r"record 2: prompt: "):
        tp.read_problems(parquet(tmp_path / "p.parquet", [good, wrong]))


@pytest.mark.parametrize(
    ("reader", "key", "slip"),
    [
        (tp.read_problems, "answer", "anwser"),
        (tp.read_problems, "answer", "Answer"),
        (tp.read_problems, "answer", "answers"),
        (tp.read_solutions, "final_answer_correct", "final_answer_corect"),
        (tp.read_solutions, "label", "lable"),
        (tp.read_step_scores, "scores", "score"),
        (tp.read_sequences, "problem_id", "problemId"),
        (tp.read_sequences, "tokens", "token"),
        (tp.read_weak_rollouts, "tokens", "tokns"),
        (tp.read_strong_rollouts, "problem_id", "probem_id"),
        (tp.read_pilot, "regenerations", "regeneration"),
        (read_solution_texts, "correct", "corect"),
    ],
)
def test_slips_are_refused(reader, key, slip, tmp_path):
    record = dict(RECORDS[reader][0])
    record[slip] = record.pop(key)
    (tmp_path / "x.jsonl").write_text(lines([record]), encoding="utf-8")
    with pytest.raises(InputError, match=rf"line 1: unknown key '{slip}'; did you mean '{key}'\?"):
        reader(tmp_path / "x.jsonl")


def test_slips_are_told_from_other_words():
    assert [
        is_near(*pair) for pair in (("anwser", "answer"), ("ID", "id"), ("Label", "label"), ("lables", "label"))
    ] == [
        True,
        True,
        True,
        False,
    ]
    others = ["solution", "subject", "level", "url", "idx", "source", "correct_answer", "difficulty", "type"]
    own = ["id", "prompt", "answer", "label", "scores", "tokens", "features", "problem_id", "completion_tokens"]
    assert [(key, name) for key in others for name in own if is_near(key, name)] == []


def test_a_key_that_is_there_makes_a_near_one_a_word_of_its_own(tmp_path):
    record = {**RECORDS[tp.read_problems][0], "answers": ["9", "nine"], "ID": 3}
    (tmp_path / "x.jsonl").write_text(lines([record]), encoding="utf-8")
    assert tp.read_problems(tmp_path / "x.jsonl")[0].answer == "9"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(values), st.sampled_from([None, 0, 2, "\t"]), st.booleans(), st.integers(1, 9), st.sampled_from(" \n"))
def test_an_array_in_pieces_is_what_json_reads(tmp_path_factory, items, indent, escaped, piece, space):
    path = tmp_path_factory.getbasetemp() / "array.json"
    text = space + json.dumps(items, indent=indent, ensure_ascii=escaped) + space
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_files, "_PIECE", piece)
        assert [item.value for item in iter_records(path)] == items


@settings(max_examples=20, deadline=None)
@given(st.lists(st.dictionaries(st.text(), values, min_size=1), min_size=1), st.booleans(), st.integers(1, 9))
def test_objects_over_lines_are_what_json_reads(tmp_path_factory, items, crlf, piece):
    path = tmp_path_factory.getbasetemp() / "objects.json"
    text = "\n".join(json.dumps(item, indent=1) for item in items)
    path.write_bytes((text.replace("\n", "\r\n") if crlf else text).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_files, "_PIECE", 1 << 16 if len(text.split("\n", 1)[0]) >= piece else piece)
        assert [item.value for item in iter_records(path)] == items


def test_a_hub_dataset_is_read_in_its_layout(monkeypatch):
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return [SOLUTIONS[0], {**SOLUTIONS[1], "label": None}]

    fake = types.SimpleNamespace(
        load_dataset=load_dataset,
        is_progress_bar_enabled=lambda: False,
        logging=types.SimpleNamespace(CRITICAL=0, get_verbosity=lambda: 0, set_verbosity=lambda level: None),
    )
    monkeypatch.setitem(sys.modules, "datasets", fake)
    solutions = tp.read_solutions("Some/Bench", split="gsm8k", layout="processbench-null")
    assert [(item.id, item.label) for item in solutions] == [("2025-03-01", -1), ("b", -1)]
    assert asked == [("Some/Bench", "gsm8k")]
    with pytest.raises(InputError, match="Some/Bench, record 2: label: is null"):
        tp.read_solutions("Some/Bench")
