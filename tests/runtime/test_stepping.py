"""Degenerate steps; boxes and answers have tests of their own in tests/text."""

import pytest

from trim_pomdp.runtime.protocols import GeneratedStep
from trim_pomdp.runtime.stepping import flaw_of


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
