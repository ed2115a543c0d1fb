r"""Steps as text: what separates them, where the answer is, and which steps are degenerate.

A solution is its steps joined by a blank line; a `\boxed{}` in a step holds the answer and ends the solution. A step
is *degenerate* if it is

* ``empty``: nothing but white space;
* ``repeated``: the same as the step just before it, or seen twice already anywhere in the solution;
* ``over-long``: it hit the token limit before any stop.

Degenerate steps are steps like any others: scored, decided on, kept as generated, and flagged. Several accepted in a
row end the solution (`trim_pomdp.runtime.attempt.Caps`), so none is ever looped on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from trim_pomdp.runtime.protocols import GeneratedStep

SEPARATOR = "\n\n"
SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
Flaw = Literal["empty", "repeated", "over-long"]

_BOX = "\\boxed{"
_REPEATS = 2
_LAYOUT = re.compile(r"\\[,;! ]|\\left|\\right|\$|\s+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")


def join_steps(steps: Sequence[str]) -> str:
    """The text of a solution."""
    return SEPARATOR.join(steps)


def boxed_answer(text: str) -> str | None:
    r"""Content of the last ``\boxed{…}`` whose braces balance, without surrounding space; None where there is none.

    Examples
    --------
    >>> boxed_answer(r"so \boxed{1}, no: \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    >>> boxed_answer(r"\boxed{7") is None
    True
    """
    start = text.rfind(_BOX)
    while start >= 0:
        inside = _balanced(text, start + len(_BOX))
        if inside is not None:
            return inside.strip()
        start = text.rfind(_BOX, 0, start)
    return None


def _balanced(text: str, start: int) -> str | None:
    """Text from `start` up to the brace that closes the one before it."""
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end]
    return None


def same_answer(given: str, reference: str) -> bool:
    r"""Whether two answers agree: as strings without layout, or as numbers.

    Examples
    --------
    >>> same_answer("07", "7"), same_answer(r"\frac{1}{2}", "0.5"), same_answer("x", "y")
    (True, True, False)
    """
    given, reference = _normalised(given), _normalised(reference)
    if given == reference:
        return True
    number = _number(given)
    return number is not None and number == _number(reference)


def _normalised(answer: str) -> str:
    plain = _LAYOUT.sub("", answer).removesuffix(".")
    return _FRACTION.sub(r"\1/\2", _THOUSANDS.sub("", plain))


def _number(text: str) -> Fraction | None:
    if len(text) > 64:  # no answer, and "1e999999999" would take for ever
        return None
    try:
        return Fraction(text) if "e" not in text.lower() else Fraction(repr(float(text)))
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def flaw_of(step: GeneratedStep, earlier: Sequence[str]) -> Flaw | None:
    """In which way a step is degenerate, if at all.

    Parameters
    ----------
    step : GeneratedStep
        The step.
    earlier : sequence of str
        The solution's steps before it.
    """
    text = step.text.strip()
    if not text:
        return "empty"
    if step.stop == "length":
        return "over-long"
    same = [text == other.strip() for other in earlier]
    if sum(same) >= _REPEATS or same[-1:] == [True]:
        return "repeated"
    return None
