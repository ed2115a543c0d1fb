"""Layouts of others: what becomes of a record of each, and what is said of one that fits none. The records are ours."""

import json
from pathlib import Path

import pytest

import trim_pomdp as tp
from trim_pomdp.data.layouts import PROBLEMS, SEQUENCES, SOLUTIONS, TEXTS
from trim_pomdp.errors import InputError


def written(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def refused(call, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


# PRM800K --------------------------------------------------------------------------------------------------


def choice(*rated: tuple[str, int | None], chosen: int | None = 0, human: object = None) -> dict:
    completions = [{"text": text, "rating": rating, "flagged": None} for text, rating in rated]
    return {"completions": completions, "human_completion": human, "chosen_completion": chosen}


def prm800k(*steps: dict, reason: str = "solution", written_steps: list[str] | None = None, **question: object) -> dict:
    return {
        "labeler": "x",
        "timestamp": "2023-01-22T04:34:27",
        "generation": None,
        "is_quality_control_question": False,
        "question": {
            "problem": "2 + 3 + 4?",
            "ground_truth_answer": "9",
            "ground_truth_solution": "9",
            "pre_generated_steps": written_steps,
            "pre_generated_verifier_score": 0.1,
            **question,
        },
        "label": {"steps": list(steps), "total_time": 100, "finish_reason": reason},
    }


def test_prm800k(tmp_path):
    right = prm800k(
        choice(("Add 2 and 3.", 0)), choice(("5 + 4 = 9.", 1)), written_steps=["Add 2 and 3.", "5 + 4 = 9."]
    )
    # Labelling stops at the error, with alternatives beside it; the solution that was written goes on.
    wrong = prm800k(
        choice(("Add 2 and 3.", 1)),
        choice(("It is 5.", 1), ("It is 6.", -1), chosen=None),
        reason="found_error",
        written_steps=["Add 2 and 3.", "It is 6.", "6 + 4 = 10.\n\n# Answer\n\n10"],
        pre_generated_answer="10",
    )
    # Phase 1: other steps are chosen than those that came first, or a person writes one.
    walked = prm800k(
        choice(("No.", -1), ("Add.", 1), chosen=1),
        choice(("No.", -1), chosen=None, human={"text": "9.", "rating": None}),
    )
    path = written(tmp_path / "phase2_test.jsonl", right, wrong, walked)
    solutions = tp.read_solutions(path)
    assert [item.steps for item in solutions] == [
        ("Add 2 and 3.", "5 + 4 = 9."),
        ("Add 2 and 3.", "It is 6.", "6 + 4 = 10.\n\n# Answer\n\n10"),
        ("Add.", "9."),
    ]
    assert [item.label for item in solutions] == [-1, 1, -1]
    assert [item.final_answer_correct for item in solutions] == [True, False, True]
    assert {item.problem for item in solutions} == {"2 + 3 + 4?"}
    assert len({item.id for item in solutions}) == 3
    assert {item.generator for item in solutions} == {"prm800k"}


def test_what_prm800k_does_not_vouch_for_is_left_out_and_counted(tmp_path):
    steps = (choice(("Add.", 1)), choice(("9.", 1)))
    records = [
        prm800k(*steps),
        prm800k(*steps, reason="give_up"),
        prm800k(*steps, reason="bad_problem"),
        prm800k(*steps, reason="give_up"),
        prm800k(choice(("Add.", None)), choice(("9.", 1))),
        prm800k(*steps, reason="found_error"),
        prm800k(*steps, {"completions": None, "human_completion": None, "chosen_completion": None}),
    ]
    path = written(tmp_path / "p.jsonl", *records)
    told: list[str] = []
    assert len(tp.read_solutions(path, tell=told.append)) == 1
    assert len(told) == 1
    for word in (
        str(path),
        "left out 6 of 7 solutions",
        "finish_reason 'give_up': 2",
        "without a rating: 1",
        "without a completion: 1",
    ):
        assert word in told[0]
    with pytest.warns(UserWarning, match="left out 6 of 7"):
        tp.read_solutions(path)
    none = written(tmp_path / "none.jsonl", records[1])
    refused(lambda: tp.read_solutions(none), "none of its 1 solutions is of use", "give_up")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (prm800k(choice(("Add.", 2))), ["label.steps.0.completions.0.rating", "got 2"]),
        (prm800k(choice(("Add.", 1), chosen=3)), ["chosen_completion 3 of 1"]),
        ({**prm800k(choice(("Add.", 1))), "label": {"steps": []}}, ["missing 'label.finish_reason'"]),
        (prm800k(choice(("Add.", 1)), pre_generated_anwser="9"), ["unknown key 'pre_generated_anwser'"]),
    ],
)
def test_wrong_records_of_prm800k(record, words, tmp_path):
    path = written(tmp_path / "p.jsonl", prm800k(choice(("Add.", 1))), record)
    refused(lambda: tp.read_solutions(path), "p.jsonl, line 2", *words)


# PRMBench, BIG-Bench-Mistake, Math-Shepherd, TRL ----------------------------------------------------------


def prmbench(**changes: object) -> dict:
    return {
        "original_question": "2 + 3 + 4?",
        "modified_question": "2 + 3 + 4 = ?",
        "original_process": ["2 + 3 = 5.", "5 + 4 = 9.", "So 9."],
        "modified_process": ["2 + 3 = 5.", "5 + 4 = 8.", "So 8."],
        "modified_steps": [2, 3],
        "error_steps": [3, 2],
        "reason": "x",
        "idx": "prm_test_0",
        "question": "?",
        "classification": "confidence",
        **changes,
    }


def test_prmbench_counts_from_one_and_names_all_wrong_steps(tmp_path):
    records = [prmbench(), prmbench(classification="circular", error_steps=[1]), prmbench(idx=7, error_steps=[])]
    solutions = tp.read_solutions(written(tmp_path / "p.jsonl", *records))
    assert [item.label for item in solutions] == [1, 0, -1]
    assert {item.problem for item in solutions} == {"2 + 3 + 4 = ?"}
    assert {item.steps for item in solutions} == {("2 + 3 = 5.", "5 + 4 = 8.", "So 8.")}
    assert {item.final_answer_correct for item in solutions} == {None}
    assert len({item.id for item in solutions}) == 3
    for wrong, words in (({"error_steps": [0]}, ["error_steps.0"]), ({"error_steps": [4]}, ["there are 3 steps"])):
        path = written(tmp_path / "w.jsonl", prmbench(), prmbench(**wrong))
        refused(lambda path=path: tp.read_solutions(path), "line 2", *words)


def test_big_bench_mistake_counts_from_zero_and_null_is_no_mistake(tmp_path):
    record = {"input": "Sort: b a", "steps": ["(1) a < b", "(2) a b"], "target": "a b", "answer": "a b"}
    records = [
        {**record, "mistake_index": None},
        {**record, "mistake_index": 0, "answer": " a  b."},
        {**record, "mistake_index": 1, "answer": "b a"},
    ]
    solutions = tp.read_solutions(written(tmp_path / "word_sorting.jsonl", *records))
    assert [item.label for item in solutions] == [-1, 0, 1]
    assert [item.final_answer_correct for item in solutions] == [True, True, False]
    assert solutions[0].problem == "Sort: b a"
    path = written(tmp_path / "w.jsonl", {**record, "mistake_index": 2})
    refused(lambda: tp.read_solutions(path), "line 1", "label 2 is not one of the 2 steps")


def shepherd(problem: str, *steps: tuple[str, str], between: str = " ") -> dict:
    given = problem + between + "\n".join(f"{text} ки" for text, _ in steps)
    signed = problem + between + "\n".join(f"{text} {sign}" for text, sign in steps)
    return {"input": given, "label": signed, "task": "GSM8K"}


def test_math_shepherd(tmp_path):
    records = [
        shepherd("How many?", ("Step 1: 2 + 3 = 5.", "+"), ("Step 2: The answer is: 5", "+")),
        shepherd("Find 2 - 3 + 4. ", ("Step 1: 2 - 3 = 1.", "-"), ("Step 2: The answer is: 5", "-")),
        shepherd("How many?", ("Add 2 and 3.", "+"), ("It is 6.", "-"), between="\n"),
        shepherd("How many", ("?", "+"), ("Step 1: Five.", "+"), ("Step 2: Six.", "-"), between=""),
    ]
    solutions = tp.read_solutions(written(tmp_path / "math-shepherd.jsonl", *records))
    assert [item.problem for item in solutions] == ["How many?", "Find 2 - 3 + 4.", "How many?", "How many?"]
    assert [item.steps for item in solutions] == [
        ("Step 1: 2 + 3 = 5.", "Step 2: The answer is: 5"),
        ("Step 1: 2 - 3 = 1.", "Step 2: The answer is: 5"),
        ("Add 2 and 3.", "It is 6."),
        ("Step 1: Five.", "Step 2: Six."),
    ]
    assert [item.label for item in solutions] == [-1, 0, 1, 1]
    assert [item.final_answer_correct for item in solutions] == [True, False, False, False]


def test_math_shepherd_that_contradicts_itself(tmp_path):
    record = shepherd("How many?", ("Step 1: Five.", "+"), ("Step 2: 5", "-"))
    for wrong, word in (
        ({**record, "label": record["label"].replace("+", "*")}, "no + or - in place of tag 1"),
        ({**record, "label": record["label"][:-1]}, "no + or - in place of tag 2"),
        ({**record, "label": record["label"].replace("Five", "Six!")}, "no + or - in place of tag 1"),
        ({**record, "label": record["label"] + " and more"}, "something follows"),
    ):
        path = written(tmp_path / "m.jsonl", record, wrong)
        refused(lambda path=path: tp.read_solutions(path), "m.jsonl, line 2", word)
    told: list[str] = []
    unclear = shepherd("Find it.", ("Five.", "+"), ("So 5", "+"))
    assert len(tp.read_solutions(written(tmp_path / "u.jsonl", record, unclear), tell=told.append)) == 1
    assert "where the problem ends" in told[0]


def test_trl_stepwise(tmp_path):
    record = {"prompt": "2 + 3?", "completions": ["Add.", "5"], "labels": [True, True]}
    path = written(tmp_path / "t.jsonl", record, {**record, "labels": [True, False]}, {**record, "labels": [0, 1]})
    solutions = tp.read_solutions(path)
    assert [(item.problem, item.steps, item.label) for item in solutions] == [
        ("2 + 3?", ("Add.", "5"), label) for label in (-1, 1, 0)
    ]
    for labels in ([True], [0.5, 1.0]):
        path = written(tmp_path / "w.jsonl", record, {**record, "labels": labels})
        refused(lambda path=path: tp.read_solutions(path), "line 2", "labels")


# ProcessBench's own, and near it --------------------------------------------------------------------------

SOLUTION = {
    "id": "a",
    "generator": "g",
    "problem": "p",
    "steps": ["one", "two"],
    "label": 1,
    "final_answer_correct": False,
}


def test_labels_from_one_and_null_labels_by_name(tmp_path):
    records = [{**SOLUTION, "id": str(i), "label": label} for i, label in enumerate([1, 2, 0, -1, None])]
    solutions = tp.read_solutions(written(tmp_path / "s.jsonl", *records), layout="processbench-from-1")
    assert [item.label for item in solutions] == [0, 1, -1, -1, -1]
    path = written(tmp_path / "w.jsonl", {**SOLUTION, "label": 3})
    refused(lambda: tp.read_solutions(path, layout="processbench-from-1"), "label 2 is not one of the 2 steps")
    records = [{**SOLUTION, "label": label} for label in (None, 0, -1)]
    solutions = tp.read_solutions(written(tmp_path / "n.jsonl", *records), layout="processbench-null")
    assert [item.label for item in solutions] == [-1, 0, -1]
    for wrong in (True, "first", 1.5, [1]):
        path = written(tmp_path / "w.jsonl", {**SOLUTION, "label": wrong})
        for layout in (None, "processbench", "processbench-null", "processbench-from-1"):
            refused(lambda path=path, layout=layout: tp.read_solutions(path, layout=layout), "line 1: label")


def test_one_text_is_split_into_steps(tmp_path):
    text = "First step.\nStill the first.\n \nSecond.\r\n\r\nThird: \\boxed{2}\n"
    (solution,) = tp.read_solutions(written(tmp_path / "s.jsonl", {**SOLUTION, "steps": text, "label": 2}))
    assert solution.steps == ("First step.\nStill the first.", "Second.", "Third: \\boxed{2}")
    path = written(tmp_path / "w.jsonl", {**SOLUTION, "steps": text, "label": 3})
    refused(lambda: tp.read_solutions(path), "label 3 is not one of the 3 steps")
    path = written(tmp_path / "w.jsonl", {**SOLUTION, "steps": "\n"})
    refused(lambda: tp.read_solutions(path), "line 1: steps")


# Scores and problems --------------------------------------------------------------------------------------


def test_search_and_learn(tmp_path):
    record = {
        "problem": "2 + 3?",
        "solution": "\\boxed{5}",
        "answer": "5",
        "subject": "Algebra",
        "level": 1,
        "unique_id": "test/algebra/1.json",
        "completions": ["Add.\n\n\\boxed{5}", "Guess: \\boxed{6}", "No box."],
        "pred": "Guess: \\boxed{6}",
        "scores": [[0.9, 0.8], [0.3], [0.2]],
        "completion_tokens": [12, 5, 0],
        "agg_scores": [0.8, 0.3, 0.2],
        "pred_maj@1": "5",
    }
    path = written(tmp_path / "s.jsonl", record)
    sequences = tp.read_sequences(path)
    assert [item.scores for item in sequences] == [(0.9, 0.8), (0.3,), (0.2,)]
    assert [item.correct for item in sequences] == [True, False, False]
    assert [item.completion_tokens for item in sequences] == [12, 5, None]
    assert {item.problem_id for item in sequences} == {"test/algebra/1.json"}
    assert len({item.id for item in sequences}) == 3
    assert [item.model_dump() for item in tp.read_weak_rollouts(path)] == [item.model_dump() for item in sequences]
    assert [(item.id, item.prompt, item.answer) for item in tp.read_problems(path)] == [
        ("test/algebra/1.json", "2 + 3?", "5")
    ]
    for change, word in (
        ({"scores": [[0.9], [0.3]]}, "scores has 2 lists; there are 3 completions"),
        ({"completion_tokens": [1]}, "completion_tokens has 1 values"),
        ({"scores": [[0.9], [1.3], [0.1]]}, "scores.0"),
        ({"scores": [[0.9], [], [0.1]]}, "scores"),
    ):
        path = written(tmp_path / "w.jsonl", record, {**record, **change})
        refused(lambda path=path: tp.read_sequences(path), "line 2", word)


def test_gsm8k(tmp_path):
    records = [
        {"question": "How many?", "answer": "It is 2 + 3 = <<2+3=5>>5.\n#### 5"},
        {"question": "How much?", "answer": "1000 + 234.\n#### 1,234"},
        {"question": "And then?", "answer": "####  -1,234,567 "},
    ]
    problems = tp.read_problems(written(tmp_path / "test.jsonl", *records))
    assert [item.prompt for item in problems] == ["How many?", "How much?", "And then?"]
    assert [item.answer for item in problems] == ["5", "1234", "-1234567"]
    assert len({item.id for item in problems}) == 3
    path = written(tmp_path / "w.jsonl", records[0], {"question": "?", "answer": "5"})
    refused(lambda: tp.read_problems(path), "line 2", "####")


def test_an_answer_without_the_mark_stays_as_it_is(tmp_path):
    answers = ["1,234", "(1,234)", "#### a\nb", "x = 2", "5 ####", 7, 2.5]
    records = [{"id": i, "question": "?", "answer": answer} for i, answer in enumerate(answers)]
    problems = tp.read_problems(written(tmp_path / "p.jsonl", *records))
    assert [item.answer for item in problems] == ["1,234", "(1,234)", "#### a\nb", "x = 2", "5 ####", "7", "2.5"]


def test_problem_sets_of_the_data_folder(shared):
    counts = {"math500": 500, "gsm8k_test": 1319, "aime24": 30, "olympiadbench": 675}
    for name, count in counts.items():
        problems = tp.read_problems(shared / "data" / "problems" / f"{name}.jsonl.gz")
        assert len(problems) == count
        assert all(item.answer for item in problems)


# Which layout ---------------------------------------------------------------------------------------------


def test_a_layout_by_name(tmp_path):
    path = written(tmp_path / "s.jsonl", SOLUTION)
    for name in ("processbench", "ProcessBench", "process_bench"):
        assert len(tp.read_solutions(path, layout=name)) == 1
    refused(lambda: tp.read_solutions(path, layout="prm800k"), "s.jsonl, line 1", "missing 'question'")
    refused(
        lambda: tp.read_solutions(path, layout="prm80k"), "no layout 'prm80k'", "did you mean 'prm800k'?", "prmbench"
    )
    refused(lambda: tp.read_solutions(path, layout="gsm8k"), "no layout 'gsm8k'", "there are processbench, ")
    path = written(tmp_path / "p.jsonl", {"unique_id": "t/1", "problem": "?", "answer": "1"})
    for name in ("MATH-500", "math500"):
        assert tp.read_problems(path, layout=name)[0].id == "t/1"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            {"question": "q", "steps": ["a"], "label": 0},
            ["line 1: question: ", "nearest layout, prm800k", "keys found: question, steps"],
        ),
        ({**SOLUTION, "label": ...}, ["missing 'label' for the nearest layout, processbench"]),
        ({**SOLUTION, "label": ..., "lable": 1}, ["unknown key 'lable'; did you mean 'label'?"]),
        ({"steps": ["a"], "mistake": 0, "input": "?"}, ["missing 'mistake_index'", "big-bench-mistake"]),
        ({"input": "2 + 3? Step 1: 5", "label": "2 + 3? Step 1: 5"}, ["math-shepherd", "ки"]),
        ({}, ["keys found: none"]),
        ({"x": 1}, ["keys found: x", "layouts: processbench, "]),
    ],
)
def test_what_fits_no_layout(record, words, tmp_path):
    record = {key: value for key, value in record.items() if value is not ...}
    path = written(tmp_path / "s.jsonl", record)
    refused(lambda: tp.read_solutions(path), "s.jsonl, line 1", *words)


def test_later_records_are_held_to_the_layout_of_the_first(tmp_path):
    path = written(tmp_path / "s.jsonl", prmbench(), SOLUTION)
    refused(lambda: tp.read_solutions(path), "s.jsonl, line 2", "missing 'modified_process'")


def test_slips_in_a_first_record_that_fits_nothing(tmp_path):
    path = written(tmp_path / "p.jsonl", {"ID": "2024-I-1", "Problem": "2 + 3?", "Answer": 5})
    refused(lambda: tp.read_problems(path), "line 1: unknown key 'ID'; did you mean 'id'?")
    path = written(tmp_path / "p.jsonl", {"id": "2024-I-1", "Problem": "2 + 3?", "Answer": 5})
    refused(lambda: tp.read_problems(path), "line 1: unknown key 'Problem'; did you mean 'problem'?")


def test_every_layout_stands_in_the_docs():
    text = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
    tables = (SOLUTIONS, SEQUENCES, PROBLEMS, TEXTS)
    assert [item.name for table in tables for item in table if f"| `{item.name}` |" not in text] == []
