"""Answers in boxes, answers compared, degenerate steps."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.runtime.protocols import GeneratedStep
from trim_pomdp.runtime.stepping import boxed_answer, flaw_of, same_answer

BALANCED = st.recursive(
    st.text(alphabet="ab1\\ ", max_size=4),
    lambda inner: st.tuples(inner, inner, inner).map(lambda parts: f"{parts[0]}{{{parts[1]}}}{parts[2]}"),
    max_leaves=6,
)


@given(before=st.text(max_size=20), inside=BALANCED, after=st.text(alphabet="ab{} \\", max_size=10))
def test_what_was_boxed_is_found(before: str, inside: str, after: str) -> None:
    assert boxed_answer(rf"{before}\boxed{{{inside}}}{after}") == inside.strip()


@given(
    st.text(alphabet="\\boxed{}1 ", max_size=30) | st.lists(st.sampled_from(["\\boxed{", "}", "{", "4"])).map("".join)
)
def test_a_found_box_stands_in_the_text_and_balances(text: str) -> None:
    answer = boxed_answer(text)
    if answer is not None:
        assert answer.count("{") == answer.count("}")
        assert re.search(r"\\boxed\{\s*" + re.escape(answer) + r"\s*\}", text)


def test_the_last_balanced_box_counts() -> None:
    assert boxed_answer(r"\boxed{1} then \boxed{2} then \boxed{3") == "2"
    assert boxed_answer("none") is None
    assert boxed_answer(r"\boxed{}") == ""


@pytest.mark.parametrize(
    ("given", "reference", "same"),
    [
        ("07", "7", True),
        ("7.0", "7", True),
        ("1,234", "1234", True),
        (r"\frac{3}{4}", "0.75", True),
        (r"\dfrac{6}{8}", "3/4", True),
        ("$x + 1$", "x+1", True),
        ("1e3", "1000", True),
        ("-5", "5", False),
        ("7", "8", False),
        ("1,2", "12", False),
        ("x", "X", False),
        ("", "0", False),
        ("1/0", "1/0", True),
        ("1/0", "2/0", False),
        ("1e999999999", "2", False),
        ("nan", "nan ", True),
        ("inf", "1e999", False),
    ],
)
def test_answers_compared(given: str, reference: str, same: bool) -> None:
    assert same_answer(given, reference) is same
    assert same_answer(reference, given) is same


@given(st.integers(-(10**12), 10**12), st.integers(0, 5))
def test_numbers_are_compared_as_numbers(number: int, zeros: int) -> None:
    written = f"{'-' if number < 0 else ''}{'0' * zeros}{abs(number)}"
    assert same_answer(written, str(number))
    assert not same_answer(written, str(number + 1))


def generated(text: str, stop: str = "separator") -> GeneratedStep:
    return GeneratedStep(text, (-0.1,), stop)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "stop", "earlier", "flaw"),
    [
        ("a", "separator", [], None),
        (" \n", "separator", [], "empty"),
        ("", "length", [], "empty"),
        ("a", "length", [], "over-long"),
        ("a", "length", ["a"], "over-long"),
        ("a", "separator", ["a"], "repeated"),
        ("a ", "answer", ["b", " a"], "repeated"),
        ("a", "separator", ["a", "b"], None),
        ("a", "separator", ["a", "b", "a", "b"], "repeated"),
        ("a", "separator", ["aa", "b"], None),
    ],
)
def test_flaws(text: str, stop: str, earlier: list[str], flaw: str | None) -> None:
    assert flaw_of(generated(text, stop), earlier) == flaw
