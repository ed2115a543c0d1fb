"""Where the answer is: braces as LaTeX reads them, empty boxes, thinking, several boxes, long texts."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.text.boxes import answer_after_hashes, boxed_answer, ends_in_thinking, final_answer, step_answer

CASES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "cases" / "boxes.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["kind"])
def test_cases(case):
    assert boxed_answer(case["text"]) == case["answer"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{7}", "7"),
        (r"\boxed{ 7 }", "7"),
        ("\\boxed\n{7}", "7"),
        (r"\boxed5 apples", "5"),
        (r"$\boxed 23$", "23"),
        (r"\boxed -4", "-4"),
        (r"\boxed 1.5.", "1.5"),
        (r"\boxed x", "x"),
        (r"$\boxed\frac12$", r"\frac12"),
        (r"$\boxed\frac{1}{2}$", r"\frac{1}{2}"),
        (r"$\boxed\pi$", r"\pi"),
        (r"\boxedx{7}", None),
        (r"\boxed", None),
        (r"$\boxed$", None),
        (r"\boxed{7", None),
        (r"\boxed{7}}", "7"),
        (r"} \boxed{7}", "7"),
        (r"\boxed{{{7}}}", "7"),
        (r"\boxed{{1}{2}}", "{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a \\{b}}", r"a \\{b}"),
        (r"\boxed{a\\}", r"a\\"),
        (r"\boxed{\text{a \} b}}", r"\text{a \} b}"),
        # empty boxes
        (r"\boxed{ }", None),
        (r"\boxed{{}}", None),
        (r"\boxed{\,}", None),
        (r"\boxed{\ldots}", None),
        (r"\boxed{...}", None),
        (r"\boxed{\boxed{}}", None),
        (r"\fbox{}", None),
        (r"\boxed{\{\}}", r"\{\}"),
        (r"\boxed{0}", "0"),
        (r"\boxed{\emptyset}", r"\emptyset"),
        # several
        (r"\boxed{3}. So \boxed{4}.", "4"),
        ("\\boxed{3}\n\n\\boxed{4}", "4"),
        ("$x=\\boxed{3}$,\n$y=\\boxed{4}$", "3, 4"),
        (r"\boxed{3}, that is 1.5 + 1.5, or \boxed{4}", "3, 4"),
        (r"\boxed{3}, i.e. \boxed{x = 3}", "3, x = 3"),
        (r"\boxed{3} = \boxed{3}", "3"),
        (r"Is it \boxed{3}? It is \boxed{4}!", "4"),
        (r"$\boxed{3}.$ Then $\boxed{4}$", "4"),
        (r"\boxed{3} and \boxed{4}, not \boxed{}.", "3, 4"),
        # boxes inside boxes
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{x = \boxed{7}}", "7"),
        (r"\boxed{ \boxed{7}", "7"),
        # thinking
        (r"<think>\boxed{8}</think>\boxed{9}", "9"),
        (r"<think>\boxed{8}", None),
        (r"<think>\boxed{8}</think>", None),
        (r"\boxed{8}</think> so \boxed{9}", "9"),
        (r"\boxed{8}</think> so", None),
        (r"\boxed{7}<think>\boxed{8}</think> done", "7"),
        (r"<think>a</think>\boxed{7}<think>\boxed{8}", "7"),
        (r"<think>a</think>\boxed{7}.<think>b</think> so \boxed{9}", "9"),
    ],
)
def test_boxes(text, answer):
    assert boxed_answer(text) == answer


def test_thinking_that_the_prompt_opened():
    assert boxed_answer(r"\boxed{8}", thinking=True) is None
    assert boxed_answer(r"\boxed{8}</think>\boxed{9}", thinking=True) == "9"
    assert ends_in_thinking("a", thinking=True)
    assert not ends_in_thinking("a</think>b", thinking=True)
    assert ends_in_thinking("<think>a</think><think>")


def test_answers_of_steps():
    steps = ["<think>\nPerhaps \\boxed{8}.", "No.\n</think>", "\\boxed{9}"]
    assert [step_answer(steps[:n]) for n in range(4)] == [None, None, None, "9"]
    assert [step_answer(steps[1:][:n], thinking=True) for n in range(3)] == [None, None, "9"]
    steps = ["The result goes in \\boxed{}.", "4+5=9.", "\\boxed{9}"]
    assert [step_answer(steps[:n]) for n in range(4)] == [None, None, None, "9"]


def test_hashes():
    assert answer_after_hashes("9 * 2 = 18 <<9*2=18>>\n#### 1,800\n") == "1,800"
    assert answer_after_hashes("####18\r\n") == "18"
    assert answer_after_hashes("#### \n") is None
    assert answer_after_hashes("18") is None
    assert final_answer("\\boxed{17}\n#### 18") == "17"
    assert final_answer("\\boxed{}\n#### 18") == "18"


def test_real_solutions(shared):
    """What the file says is in the last box."""
    from trim_pomdp.data.records import iter_records

    rollouts = [
        rollout
        for record in iter_records(shared / "data" / "math500_rollouts_dev.jsonl.gz")
        for rollout in record.value["rollouts"]
    ]
    assert len(rollouts) == 1000
    assert all(boxed_answer("\n\n".join(item["steps"])) == item["final_answer"] for item in rollouts)


@given(
    st.lists(st.sampled_from(["\\boxed{", "\\fbox", "{", "}", "\\{", "\\}", "\\\\", "7", " ", "<think>", "</think>"]))
)
def test_any_text_is_read(pieces):
    text = "".join(pieces)
    answer = boxed_answer(text)
    assert answer is None or (answer and answer == answer.strip())
    assert boxed_answer(f"<think>{text.replace('think', '')}") is None
    closed = "}" * len(text)
    assert boxed_answer(f"{text}{closed}</think>\n\n\\boxed{{5}}.") == "5"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{" * 150_000, None),
        ("\\boxed{" * 150_000 + "7" + "}" * 150_000, "7"),
        ("{" * 1_000_000 + "\\boxed{7}", "7"),
        ("\\boxed{{{{" * 50_000 + "7" + "}" * 200_000, "7"),
        ("\\boxed{1}" * 100_000, "1"),
        ("\\boxed{1}. " * 100_000, "1"),
        ("\\boxed" + " " * 1_000_000 + "{7}", "7"),
        ("\\fbox " * 150_000, None),
        ("<think>" * 150_000, None),
        ("\\boxed\\frac" + "{1}" * 300_000, "\\frac" + "{1}" * 300_000),
        ("\\boxed{" + "\\," * 300_000 + "x}", "\\," * 300_000 + "x"),
        ("\\boxed{1}" + "\n" * 1_000_000 + "\\boxed{2}", "2"),
        ("\\boxed{1}" + "." * 1_000_000 + "\\boxed{2}", "1, 2"),
        ("\\boxed{1}" + ". " * 500_000 + "\\boxed{2}", "2"),
    ],
    ids=lambda item: None if item is None else ascii(item[:12]),
)
def test_long_texts_take_no_longer_than_their_length(text, answer):
    """What takes the square of it would not be over today."""
    assert boxed_answer(text) == answer
