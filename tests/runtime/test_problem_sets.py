"""Problem sets: what is read and written, and what is refused, by line."""

import json
from pathlib import Path

import pytest

from trim_pomdp.data.problems import Problem, problems_text, read_problems
from trim_pomdp.errors import InputError


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_both_names_of_a_prompt_and_numbers_as_text(tmp_path: Path) -> None:
    path = written(
        tmp_path / "p.jsonl",
        {"id": "a", "prompt": "1 + 1?", "answer": "2"},
        {"id": 7, "problem": "2 + 2?", "answer": 4, "level": 3},
        {"id": "c", "prompt": "?"},
    )
    problems = read_problems(path)
    assert problems == [Problem("a", "1 + 1?", "2"), Problem("7", "2 + 2?", "4"), Problem("c", "?")]
    (tmp_path / "again.jsonl").write_text(problems_text(problems))
    assert read_problems(tmp_path / "again.jsonl") == problems


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}], "line 2: id 'a' is that of line 1 too"),
        ([{"id": "1", "prompt": "x"}, {"id": 1, "prompt": "y"}], "line 2: id '1' is that of line 1 too"),
        ([{"id": "a"}], "line 1: missing 'prompt'"),
        ([{"prompt": "x"}], "line 1: missing 'id'"),
        ([{"id": "a", "prompt": ""}], "line 1: prompt"),
        ([{"id": "a", "prompt": "x", "answer": ["2"]}], "line 1: answer"),
        ([{"id": "a", "prompt": "x"}, "{"], "line 2: not JSON"),
        ([3], "line 1"),
        ([], "holds no problem"),
    ],
)
def test_wrong_sets_are_refused(tmp_path: Path, rows: list[object], words: str) -> None:
    path = written(tmp_path / "p.jsonl", *rows)
    with pytest.raises(InputError) as caught:
        read_problems(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
