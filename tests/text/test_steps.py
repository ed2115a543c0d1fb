"""Steps: what separates them, what is never cut, and that any way of feeding a text gives the same."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.text.boxes import step_answer
from trim_pomdp.text.steps import (
    CODE_LIMIT,
    MATH_LIMIT,
    StepCutter,
    ends_only_at_newlines,
    first_step,
    join_steps,
    joiner,
    split_steps,
)

CASES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "cases" / "steps.jsonl").read_text("utf-8").splitlines()
]
SEPARATORS = ["blank-line", "newline", "## Step", r"\d+\. ", r"Step \d+:"]


def token_by_token(text: str, separator: str, size: int = 1, **options: object) -> list[str]:
    cutter = StepCutter(separator, **options)
    steps = [step for start in range(0, len(text), size) for step in cutter.feed(text[start : start + size])]
    return steps + cutter.close()


def generated(text: str, separator: str, **options: object) -> list[str]:
    """As a generator does it: step by step, each from a fresh start, by the model goes on with the rest."""
    steps: list[str] = []
    while text.strip():
        step = next((s for n in range(len(text) + 1) if (s := first_step(text[:n], separator, **options))), None)
        if step is None:
            rest = StepCutter(separator, **options)
            return [*steps, *rest.feed(text), *rest.close()]
        steps.append(step)
        text = text[text.index(step) + len(step) :]
    return steps


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case["wanted"], list)], ids=lambda c: c["kind"])
def test_cases(case):
    separator = "\n" if case["kind"] == "single newlines" else "\n\n"
    assert split_steps(case["text"], separator=separator) == case["wanted"]
    assert token_by_token(case["text"], separator) == case["wanted"]
    assert generated(case["text"], separator) == case["wanted"]


@pytest.mark.parametrize("case", [case for case in CASES if isinstance(case["wanted"], str)], ids=lambda c: c["kind"])
def test_cases_of_ends(case):
    steps = split_steps(case["text"])
    answers = [step_answer(steps[: n + 1]) for n in range(len(steps))]
    assert answers == [None, None, "9"]


@pytest.mark.parametrize(
    ("text", "separator", "wanted"),
    [
        ("", "blank-line", []),
        (" \n\t\n", "blank-line", []),
        ("\n\na\n\n\n \n\nb\n", "blank-line", ["a", "b"]),
        ("a\n\t \r\nb", "blank-line", ["a", "b"]),
        ("a\nb", "blank-line", ["a\nb"]),
        ("  a\n  b\n\n  c", "blank-line", ["  a\n  b", "  c"]),
        ("a\r\nb\r\n\r\nc\r\n", "blank-line", ["a\r\nb", "c"]),
        ("a\n\nb\n\n\nc", "newline", ["a", "b", "c"]),
        ("Plan.\n## Step 1\na\n\nb\n## Step 2\nc", "## Step", ["Plan.", "## Step 1\na\n\nb", "## Step 2\nc"]),
        ("1. a\n2. b, 1.5 wide\n  3. no\n10. d", r"\d+\. ", ["1. a", "2. b, 1.5 wide\n  3. no", "10. d"]),
        ("Step 1: a\n\nStep 2: b", r"Step \d+:", ["Step 1: a", "Step 2: b"]),
        ("a\n\n## Step 1\nb", r"\n(?=## Step)", ["a", "## Step 1\nb"]),
        ("a\n## Step 1\nb", "\n\n## Step", ["a", "## Step 1\nb"]),
        ("a\n## Step 1\nb", "^## Step", ["a", "## Step 1\nb"]),
        ("a ## Step\nb", "## Step", ["a ## Step\nb"]),
        # what is not cut
        ("~~~\na\n\n~~~\nb\n\n```\n~~~\n\n```\n\nc", "blank-line", ["~~~\na\n\n~~~\nb", "```\n~~~\n\n```", "c"]),
        ("````\n```\n\n````\n\nb", "blank-line", ["````\n```\n\n````", "b"]),
        ("- ```\n  a\n\n  ```\n\nb", "blank-line", ["- ```\n  a\n\n  ```", "b"]),
        ("Use ```a``` here\n\nb", "blank-line", ["Use ```a``` here", "b"]),
        ("\\[\na\n\n\\]\n\nb", "blank-line", ["\\[\na\n\n\\]", "b"]),
        ("$$\na\n\n$$\n\nb", "blank-line", ["$$\na\n\n$$", "b"]),
        ("\\begin{align}\na\n\nb\n\\end{align}\n\nc", "blank-line", ["\\begin{align}\na\n\nb\n\\end{align}", "c"]),
        ("a \\\\[2pt]\n\nb", "blank-line", ["a \\\\[2pt]", "b"]),
        ("\\boxed{\\{\n\n\\}}\n\nb", "blank-line", ["\\boxed{\\{\n\n\\}}", "b"]),
        ("\\boxed{{a}\n\nb}\n\nc", "blank-line", ["\\boxed{{a}\n\nb}", "c"]),
        ("{a\n\nb}", "blank-line", ["{a", "b}"]),
        ("\\[\nx\n\\]\ny", "newline", ["\\[\nx\n\\]", "y"]),
        ("```\n## Step\n```\n## Step", "## Step", ["```\n## Step\n```", "## Step"]),
    ],
)
def test_steps(text, separator, wanted):
    assert split_steps(text, separator) == wanted
    assert token_by_token(text, separator) == wanted
    assert generated(text, separator) == wanted


@pytest.mark.parametrize(("opening", "limit"), [("```", CODE_LIMIT), ("\\[", MATH_LIMIT), ("\\boxed{", MATH_LIMIT)])
def test_what_is_never_closed_swallows_no_more_than_its_limit(opening, limit):
    text = f"{opening}\n" + "word " * 10 + "\n\n" + ("word " * 20 + "\n\n") * 200
    steps = split_steps(text)
    assert limit <= len(steps[0]) <= limit + 150
    assert len(steps) > 90
    assert all(step == ("word " * 20) for step in steps[1:])
    assert token_by_token(text, "blank-line") == steps


THOUGHT = "<think>\nPerhaps \\boxed{8}.\n\n```\nNo.\n</think>\n\nSo:\n\n\\boxed{9}"


def test_thinking():
    assert split_steps(THOUGHT, thinking="one-step") == [
        "<think>\nPerhaps \\boxed{8}.\n\n```\nNo.\n</think>",
        "So:",
        "\\boxed{9}",
    ]
    assert split_steps("Hm <think>a\n\nb</think> So", thinking="one-step") == ["Hm ", "<think>a\n\nb</think>", " So"]
    assert split_steps("a\n\nb</think>\nSo", thinking="one-step", in_thinking=True) == ["a\n\nb</think>", "So"]
    assert split_steps("<think>" + "a\n\n" * 9000, thinking="one-step") == ["<think>" + "a\n\n" * 8999 + "a"]
    assert split_steps("<think>a\n\nb</think>") == ["<think>a", "b</think>"]


@pytest.mark.parametrize(
    ("separator", "words"),
    [("(", "no regular expression"), (r"\d*", "matches an empty line"), ("", "matches an empty line")],
)
def test_bad_separators(separator, words):
    with pytest.raises(InputError, match=words) as error:
        split_steps("a", separator)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="'route' or 'one-step'"):
        split_steps("a", thinking="none")


def test_joining():
    assert (joiner(), joiner("\n"), joiner("## Step")) == ("\n\n", "\n", "\n\n")
    assert [ends_only_at_newlines(item) for item in SEPARATORS] == [True, True, False, False, False]
    for separator, steps in {
        "blank-line": ["a\nb", "c"],
        "newline": ["a", "b"],
        "## Step": ["p", "## Step\n\nq"],
    }.items():
        assert split_steps(join_steps(steps, separator), separator) == steps


def test_real_solutions(shared):
    """Solutions that were split at "\\n\\n"; what differs has blank lines with spaces in them."""
    from trim_pomdp.data.records import iter_records

    solutions = [
        rollout["steps"]
        for record in iter_records(shared / "data" / "math500_rollouts_dev.jsonl.gz")
        for rollout in record.value["rollouts"]
    ]
    differing = [steps for steps in solutions if split_steps("\n\n".join(steps)) != steps]
    assert len(differing) < 5


# Any way of feeding a text -----------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    ["a", "b ", "\n", "\n\n", "\n \n", "\r\n", "```", "~~~", "\\[", "\\]", "$$", "\\begin{align}", "\\end{align}",
     "\\boxed{", "{", "}", "\\{", "\\\\", "## Step 1", "1. ", "Step 2:", "<think>", "</think>", "\t"]
)  # fmt: skip
_TEXTS = st.lists(_PIECES, max_size=30).map("".join)


@settings(deadline=None)
@given(_TEXTS, st.sampled_from(SEPARATORS), st.sampled_from(["route", "one-step"]), st.data())
def test_any_pieces_give_the_same_steps(text, separator, thinking, data):
    whole = split_steps(text, separator, thinking=thinking)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    cutter = StepCutter(separator, thinking=thinking)
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert [step for piece in pieces for step in cutter.feed(piece)] + cutter.close() == whole
    assert token_by_token(text, separator, thinking=thinking) == whole
    assert all(step.strip() and not step.endswith("\n") for step in whole)


@settings(deadline=None)
@given(_TEXTS, st.sampled_from(SEPARATORS))
def test_no_character_is_lost(text, separator):
    whole = split_steps(text, separator)
    assert "".join("".join(whole).split()) == "".join(text.split())


@settings(deadline=None)
@given(_TEXTS)
def test_steps_split_and_joined_stay_as_they_are(text):
    once = split_steps(text)
    assert split_steps(join_steps(once)) == once or any(mark in text for mark in ("```", "~~~", "\\[", "$$", "\\b"))


@pytest.mark.parametrize("piece", ["\\boxed{", "\n", "a\n", "```\n", "<think>", "$$", "a" * 1000, "\\begin{a}\n\n"])
def test_long_texts_take_no_longer_than_their_length(piece):
    text = piece * (100_000 // len(piece))
    for separator in ("blank-line", r"\d+\. "):
        steps = split_steps(text, separator, thinking="one-step")
        assert "".join("".join(steps).split()) == "".join(text.split())
