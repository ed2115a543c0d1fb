"""Problem sets by name, from a hub that is made up of rows in the hub's own shape; and their files, where they are."""

import gzip
import json
import sys
import types

import pytest

from trim_pomdp.data.benchmarks import BENCHMARKS
from trim_pomdp.data.problems import Problem, read_problems
from trim_pomdp.errors import InputError
from trim_pomdp.text.answers import same_answer

ROWS = {
    "math-500": (
        {"problem": "1+1?", "answer": "2", "unique_id": "test/a/1.json", "solution": "…"},
        "test/a/1.json",
        "2",
    ),
    "aime": ({"ID": "1983-1", "Year": 1983, "Question": "q", "Answer": "60", "Part": None}, "1983-1", "60"),
    "aime24": ({"id": 60, "problem": "q", "answer": "204", "year": "2024"}, "60", "204"),
    "aime25": ({"id": "0", "problem": "q", "answer": "70", "solution": ""}, "0", "70"),
    "amc23": ({"id": 0, "question": "q", "answer": "27.0", "url": "u"}, "0", "27.0"),
    "gsm8k": ({"question": "q", "answer": "She has 18 left.\n#### 18"}, "0", "18"),
    "minerva-math": ({"question": "q", "answer": "1.6"}, "0", "1.6"),
    "olympiadbench": (
        {"id": 1606, "question": "q", "final_answer": ["$\\frac{1}{2}$"], "context": None},
        "1606",
        "$\\frac{1}{2}$",
    ),
}


@pytest.fixture
def hub(monkeypatch):
    """Has every set, one row each; notes what it was asked for."""
    asked = []

    def load_dataset(dataset, split, name=None):
        asked.append((dataset, split, name))
        known = {item.dataset: ROWS[key][0] for key, item in BENCHMARKS.items()}
        return [known[dataset]]

    fake = types.SimpleNamespace(
        load_dataset=load_dataset,
        is_progress_bar_enabled=lambda: False,
        logging=types.SimpleNamespace(CRITICAL=0, get_verbosity=lambda: 0, set_verbosity=lambda level: None),
    )
    monkeypatch.setitem(sys.modules, "datasets", fake)
    return asked


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_set_is_read_by_its_name(hub, name):
    row, key, answer = ROWS[name]
    prompt = row[BENCHMARKS[name].prompt]
    assert read_problems(name) == [Problem(f"{name}-{key}", prompt, answer)]
    assert hub == [(BENCHMARKS[name].dataset, BENCHMARKS[name].split, BENCHMARKS[name].config)]


def test_a_file_of_that_name_goes_first(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gsm8k").write_text('{"id": "mine", "problem": "p", "answer": "1"}\n')
    assert [item.id for item in read_problems("gsm8k")] == ["mine"]
    assert hub == []


def test_a_set_that_changed_is_told(hub, monkeypatch):
    monkeypatch.setitem(ROWS, "amc23", ({"problem": "q", "answer": "1"}, "", ""))
    with pytest.raises(InputError, match=r"math-ai/amc23, record 1: has no 'question'"):
        read_problems("amc23")


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"needs the datasets library: pip install '\.\[hub\]'"):
        read_problems("math-500")


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("math500", 500), ("aime24", 30), ("aime25", 30), ("amc23", 40), ("gsm8k_test", 1319), ("minerva_math", 272),
        ("olympiadbench", 675), ("aime_1983_2024_train", 451), ("aime_1983_2024_test", 482),
    ],
)  # fmt: skip
def test_files_of_the_sets_are_read_and_answers_judge_themselves(shared, file, count):
    path = shared / "data" / "problems" / f"{file}.jsonl.gz"
    found = read_problems(path)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert len(found) == count == len(lines)
    first = json.loads(lines[0])
    assert found[0] == Problem(first["id"], first["problem"], first["answer"])
    assert all(same_answer(item.answer, item.answer) for item in found[:5])
