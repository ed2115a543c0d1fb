"""Files of live rollouts: what they hold, and what is refused."""

import json

import pytest

from trim_pomdp.data.rollouts import (
    RepairRollout,
    StrongRollout,
    read_repair_rollouts,
    read_strong_rollouts,
    read_weak_rollouts,
)
from trim_pomdp.errors import InputError

WEAK = {"id": "w", "problem_id": "p", "scores": [0.9, 0.2], "correct": False, "label": 1, "tokens": [5, 7]}
STRONG = {"id": "s", "problem_id": "p", "correct": True, "tokens": [6, 8, 9]}
REPAIR = {
    "id": "r",
    "problem_id": "p",
    "scores": [0.9, 0.1],
    "features": {"logprob_min": [-0.1, -4.0]},
    "correct": True,
    "weak_tokens": [5, 7],
    "strong_tokens": [9, 6],
    "class": 2,
    "redone_right": True,
}
READERS = {"weak": read_weak_rollouts, "strong": read_strong_rollouts, "repair": read_repair_rollouts}
EXAMPLES = {"weak": WEAK, "strong": STRONG, "repair": REPAIR}


def written(path, *documents):
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


def test_rollouts_are_read(tmp_path):
    for kind, read in READERS.items():
        (item,) = read(written(tmp_path / f"{kind}.jsonl", EXAMPLES[kind]))
        assert (item.id, item.group) == (EXAMPLES[kind]["id"], "p")
    assert item.true_class == 2
    assert not item.redone_ended
    assert RepairRollout(**{**REPAIR, "strong_tokens": [9]}).redone_ended
    assert not RepairRollout(**{**REPAIR, "strong_tokens": [9], "ended": False}).redone_ended
    assert StrongRollout(id="s", correct=True, tokens=(1,)).group == "s"


def test_a_written_repair_is_read_again(tmp_path):
    item = RepairRollout(**REPAIR)
    path = tmp_path / "r.jsonl"
    path.write_text(item.model_dump_json(exclude_none=True) + "\n")
    assert read_repair_rollouts(path) == [item]
    assert json.loads(path.read_text()) == REPAIR


@pytest.mark.parametrize(
    ("kind", "change", "word"),
    [
        ("weak", {"tokens": [5]}, "tokens has 1 values"),
        ("weak", {"scores": None}, "missing 'scores'"),
        ("strong", {"tokens": []}, "tokens"),
        ("strong", {"tokens": [-1]}, "tokens.0"),
        ("strong", {"label": 3}, "label 3 is not one of the 3 steps"),
        ("strong", {"token": [1]}, "did you mean 'tokens'"),
        ("repair", {"weak_tokens": [5]}, "weak_tokens has 1 values"),
        ("repair", {"strong_tokens": []}, "strong_tokens"),
        ("repair", {"scores": [0.9, 1.1]}, "scores.1"),
        ("repair", {"features": {"logprob_min": [-1.0]}}, "expected one for each of 2 steps"),
        ("repair", {"class": 3}, "class"),
        ("repair", {"redone_right": None}, "go together"),
        ("repair", {"class": 1}, "which no single step can repair"),
        ("repair", {"scores": None, "features": {}}, "missing 'scores'"),
        ("repair", {"redone": True}, "unknown key 'redone'"),
    ],
)
def test_wrong_rollouts_are_refused(kind, change, word, tmp_path):
    path = written(tmp_path / "x.jsonl", EXAMPLES[kind], {**EXAMPLES[kind], **change})
    with pytest.raises(InputError, match=word) as caught:
        READERS[kind](path)
    assert "x.jsonl, line 2" in str(caught.value)
