"""The way of labels: from a weak rollout to a file for people, and back to what score and fit-dynamics read."""

import json
from pathlib import Path

import pytest

import trim_pomdp as tp
from trim_pomdp.data.solutions import SolutionText, read_solution_texts, solutions_text

PROBLEMS = 12


@pytest.fixture(scope="module")
def weak(tmp_path_factory) -> Path:
    """A weak rollout of the lab, with the labels that the lab knows."""
    from trim_pomdp.cli.app import main

    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("label") / "weak"
    with pytest.raises(SystemExit) as stop:
        main(["rollout", "--mode", "weak", "--labels", "--problems", str(PROBLEMS), "--out", str(folder), "--json"])
    assert not stop.value.code
    return folder


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_from_a_rollout_to_labels_and_back(weak, cli_json, tmp_path):
    truth = {item["id"]: item for item in rows(weak / "labelled.jsonl")}
    blank, back = tmp_path / "blank.jsonl", tmp_path / "labelled.jsonl"
    made = cli_json("label", "--from", weak, "--out", blank)
    asked = rows(blank)
    assert made == {
        "out": str(blank),
        "found": PROBLEMS,
        "solutions": PROBLEMS,
        "steps": sum(len(a["steps"]) for a in asked),
    }
    assert list(asked[0]) == ["id", "generator", "problem", "steps", "label", "final_answer_correct"]
    assert asked == [{**truth[item["id"]], "label": None} for item in asked]
    # People label all but two, in a program that writes marks and other line ends.
    for item in asked[:-2]:
        item["label"] = truth[item["id"]]["label"]
        item["comment"] = "sure"
    text = "".join(json.dumps(item) + "\r\n" for item in asked)
    (tmp_path / "done.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    checked = cli_json("label", "--check", tmp_path / "done.jsonl", "--out", back)
    right = sum(item["label"] == -1 for item in asked)
    assert checked == {
        "out": str(back), "records": PROBLEMS, "labelled": PROBLEMS - 2, "unlabelled": 2, "without_error": right,
    }  # fmt: skip
    assert [item.model_dump() for item in tp.read_solutions(back)] == [
        {**truth[item["id"]], "steps": tuple(item["steps"])} for item in asked[:-2]
    ]
    scored = cli_json("score", "--solutions", back, "--out", tmp_path / "scores.jsonl")
    assert scored["solutions"] == PROBLEMS - 2


def test_a_sample_is_of_different_solutions_and_depends_on_the_seed_alone(weak, cli_json, tmp_path):
    def sample(name: str, seed: int) -> list[str]:
        cli_json("label", "--from", weak, "--sample", 5, "--seed", seed, "--out", tmp_path / name)
        return [item["id"] for item in rows(tmp_path / name)]

    first = sample("a", 0)
    assert len(set(first)) == 5
    assert sample("b", 0) == first
    assert sample("c", 1) != first
    whole = [item["id"] for item in rows(weak / "labelled.jsonl")]
    assert sorted(first, key=whole.index) == first
    same = [{**rows(weak / "labelled.jsonl")[0], "id": str(i)} for i in range(3)]
    (tmp_path / "same.jsonl").write_text("".join(json.dumps(item) + "\n" for item in same))
    document = cli_json("label", "--from", tmp_path / "same.jsonl", "--out", tmp_path / "d")
    assert (document["found"], document["solutions"]) == (3, 1)


def test_files_with_texts_are_labelled_too(weak, cli_json, run_cli, tmp_path):
    ids = sorted(item["id"] for item in rows(weak / "labelled.jsonl"))
    for i, source in enumerate((weak / "weak.jsonl", weak / "traces.jsonl", weak / "labelled.jsonl")):
        cli_json("label", "--from", source, "--out", tmp_path / str(i))
        assert sorted(item["id"] for item in rows(tmp_path / str(i))) == ids
    texts = [
        SolutionText(id="p", prompt="2 + 3?", steps=("Five.", "5"), authors=("weak", "weak"), reason="answer"),
        SolutionText(id="q", prompt="2 + 3?", steps=("Six.", "5"), authors=("weak", "strong"), reason="answer"),
    ]
    (tmp_path / "solutions.jsonl").write_text(solutions_text(texts))
    assert read_solution_texts(tmp_path / "solutions.jsonl") == texts
    code, _, err = run_cli("label", "--from", tmp_path / "solutions.jsonl", "--out", tmp_path / "texts")
    assert code == 0
    assert "left out 1 of 2 solutions (not by the weak model alone: 1)" in err
    (asked,) = rows(tmp_path / "texts")
    assert (asked["id"], asked["problem"], asked["steps"], asked["label"]) == ("p", "2 + 3?", ["Five.", "5"], None)


SOLUTION = {"id": "a", "generator": "g", "problem": "p", "steps": ["one", "two"], "label": 1}


def test_what_comes_back_wrong_is_refused_with_every_place(cli_refused, cli_json, tmp_path):
    labels = [1, None, 2, "second", -2, True, -1]
    records = [{**SOLUTION, "id": str(i), "label": label} for i, label in enumerate(labels)]
    path = tmp_path / "done.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in [*records, records[0]]))
    message = cli_refused(
        "label", "--check", path, "--out", tmp_path / "out.jsonl", words=("5 of 8 records are wrong",)
    )
    for word in ("line 3: label 2 is not one of the 2 steps", "line 4: ", "line 5: ", "line 6: ", "line 8: id '0'"):
        assert word in message
    path.write_text("".join(json.dumps({**SOLUTION, "id": str(i), "label": 9}) + "\n" for i in range(9)))
    assert "and 4 more" in cli_refused("label", "--check", path)
    path.write_text(json.dumps({key: SOLUTION[key] for key in ("id", "problem", "steps")}) + "\n")
    cli_refused("label", "--check", path, words=("1 of 1 records are wrong", "line 1: missing 'generator'"))
    path.write_text(json.dumps({**SOLUTION, "label": None}) + "\n")
    assert cli_json("label", "--check", path)["unlabelled"] == 1
    cli_refused(
        "label", "--check", path, "--out", tmp_path / "out.jsonl", words=("none of its 1 solutions is labelled",)
    )
    cli_refused("score", "--solutions", path, "--out", tmp_path / "s", words=("line 1: label: is null", "label"))


def test_bad_options_and_sources(weak, cli_refused, tmp_path):
    out = ("--out", tmp_path / "out.jsonl")
    cli_refused("label", *out, words=("--from", "--check"))
    cli_refused("label", "--from", weak, "--check", weak, *out, words=("--from", "--check"))
    cli_refused("label", "--from", weak, words=("--out",))
    cli_refused("label", "--check", weak / "labelled.jsonl", "--sample", 3, words=("--sample",))
    cli_refused("label", "--from", weak, "--layout", "solutions", *out, words=("--layout",))
    cli_refused("label", "--from", weak, "--sample", 99, *out, words=(str(weak), "expected 1 to 12"))
    cli_refused(
        "label", "--from", weak / "problems.jsonl", *out, words=("missing 'steps'", "nearest layout, solutions")
    )
    cli_refused("label", "--from", tmp_path / "absent", *out, words=("cannot be read",))
    cli_refused("label", "--from", tmp_path, *out, words=("run.json", "cannot be read"))
    (tmp_path / "there.jsonl").write_text("")
    cli_refused("label", "--from", weak, "--out", tmp_path / "there.jsonl", words=("exists",))
    cli_refused("label", "--check", tmp_path / "there.jsonl", words=("holds no solution",))
    twice = [{**SOLUTION, "problem": str(i)} for i in range(2)]
    (tmp_path / "twice.jsonl").write_text("".join(json.dumps(item) + "\n" for item in twice))
    cli_refused("label", "--from", tmp_path / "twice.jsonl", *out, words=("id 'a' is that of two solutions",))


def test_layouts_by_option(cli_json, cli_refused, tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps({**SOLUTION, "id": i, "label": None}) + "\n" for i in range(3)))
    scores = tmp_path / "scores.jsonl"
    score = ("score", "--solutions", path, "--out", scores)
    cli_refused(*score, words=("line 1", "--layout processbench-null"))
    cli_refused(*score, "--layout", "procesbench", words=("no layout 'procesbench'", "did you mean 'processbench'?"))
    assert cli_json(*score, "--layout", "processbench-null")["solutions"] == 3
    assert {item.label for item in tp.read_step_scores(scores)} == {-1}
    cli_refused(
        "rollout", "--mode", "weak", "--layout", "gsm8k", "--out", tmp_path / "x", words=("--layout", "--problems")
    )
    cli_refused(
        "rollout", "--mode", "weak", "--problems", 5, "--layout", "gsm8k", "--out", tmp_path / "x", words=("the lab",)
    )
    tp.load_preset("qwen2.5-1.5b-7b-math").observations.save(tmp_path / "obs.json")
    fit = ("fit-dynamics", "--observations", tmp_path / "obs.json", "--out", tmp_path / "d.json", "--layout", "prm800k")
    cli_refused(*fit, words=("--layout is of a --labelled file",))
    cli_refused(*fit, "--labelled", path, words=("s.jsonl, line 1", "missing 'question'"))
