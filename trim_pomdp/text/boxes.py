r"""Where a solution's answer is: in ``\boxed{…}``, outside of ``<think>`` blocks; or after ``####`` (GSM8K).

Braces are read as LaTeX reads them: ``\{`` and ``\}`` open and close nothing, space before a brace is skipped, and
without braces the next thing is boxed (``\boxed 5``, ``\boxed\frac{1}{2}``). ``\fbox`` is a box, too. These boxes are
no answer and end nothing: an empty one (``\boxed{}``, ``\boxed{\ldots}``), one that is not closed, and one in a
``<think>`` block, closed or not.

Several boxes in the last sentence with boxes are one answer, joined by a comma: ``\boxed{4} and \boxed{-9}``. A
sentence ends with a blank line, or with a full stop, question or exclamation mark before white space (so ``1.5`` ends
none). Of boxes inside one another the inner ones count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_THINKING = re.compile(r"<(/?)think>")
_TOKEN = re.compile(r"\\(?P<box>boxed|fbox)(?![A-Za-z])[^\S\n]*\n?[^\S\n]*(?P<brace>\{)?|\\.|[{}]", re.DOTALL)
# What is boxed without braces: a number, a letter, a command with what is in braces behind it.
_BARE = re.compile(r"-?\d+(?:\.\d+)?|[A-Za-z]|\\[A-Za-z]+(?:\[\w*\])?(?:\s*\{[^{}]*\}|\d+(?![A-Za-z\d]))*")
_SENTENCE_END = re.compile(r"(?<!\bi\.e)(?<!\be\.g)(?<!\bvs)(?<!\bcf)(?<!\bresp)[.!?][\s$)\]*_]*\s|\n\s*\n")
_NOTHING = re.compile(r"(?:\\[,;:! ]|\\(?:q?quad|ldots|cdots|dots|text|boxed|fbox|_)(?![A-Za-z])|[\s~.…?_${}])*")
_LONG = 200  # an empty box is shorter
_HASHES = re.compile(r"####[^\S\n]*([^\n]*)")


@dataclass(slots=True)
class _Group:
    """An open brace; `box`: it is that of a box that began there."""

    start: int
    box: int | None = None
    holds_box: bool = False


@dataclass
class _Found:
    """Boxes with an answer in them: where they begin and end, and what is inside."""

    boxes: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, start: int, end: int, content: str) -> bool:
        content = _unwrapped(content)
        if len(content) < _LONG and _NOTHING.fullmatch(content):
            return False
        self.boxes.append((start, end, content))
        return True


def boxed_answer(text: str, *, thinking: bool = False) -> str | None:
    r"""The answer of a solution: what its last box holds, or the boxes of its last sentence with any; None without.

    Parameters
    ----------
    text : str
        The solution, or as much of it as there is.
    thinking : bool
        Whether the text begins inside a ``<think>`` block (some chat templates open it in the prompt). Without, text
        before a ``</think>`` that nothing opened is thinking all the same.

    Examples
    --------
    >>> boxed_answer(r"so \boxed{1}. No: \boxed{\frac{1}{2}}")
    '\\frac{1}{2}'
    >>> boxed_answer(r"The zeros are \boxed{4} and \boxed{-9}.")
    '4, -9'
    >>> boxed_answer(r"\boxed{7") is None, boxed_answer(r"<think>\boxed{8}") is None
    (True, True)
    """
    text = _without_thinking(text, thinking)
    boxes = _boxes(text)
    if not boxes:
        return None
    answer = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        if _SENTENCE_END.search(text, box[1], answer[-1][0]):
            break
        answer.append(box)
    return ", ".join(dict.fromkeys(content for *_, content in reversed(answer)))


def step_answer(steps: Sequence[str], *, thinking: bool = False) -> str | None:
    """The answer that the last of the steps gives; None where it gives none, and the solution goes on.

    Parameters
    ----------
    steps : sequence of str
        The solution so far.
    thinking : bool
        As for `boxed_answer`, at the beginning of the solution.
    """
    if not steps:
        return None
    return boxed_answer(steps[-1], thinking=ends_in_thinking("\n".join(steps[:-1]), thinking=thinking))


def ends_in_thinking(text: str, *, thinking: bool = False) -> bool:
    """Whether the text ends inside of a ``<think>`` block."""
    tags = _THINKING.findall(text)
    return tags[-1] == "" if tags else thinking


def answer_after_hashes(text: str) -> str | None:
    r"""What follows the last ``####`` in its line, as in GSM8K's solutions; None where there is nothing.

    Examples
    --------
    >>> answer_after_hashes("9 * 2 = 18 dollars\n#### 18")
    '18'
    """
    found = [answer.strip() for answer in _HASHES.findall(text)]
    return found[-1] if found and found[-1] else None


def final_answer(text: str) -> str | None:
    r"""The answer of a whole solution from a data set: in its box, else after ``####``.

    Examples
    --------
    >>> final_answer(r"so \boxed{18}"), final_answer("#### 18"), final_answer("18")
    ('18', '18', None)
    """
    boxed = boxed_answer(text)
    return answer_after_hashes(text) if boxed is None else boxed


def _without_thinking(text: str, thinking: bool) -> str:
    """The text without its ``<think>`` blocks."""
    kept: list[str] = []
    start = 0  # of what is not thinking
    for tag in _THINKING.finditer(text):
        if tag[1]:
            if not thinking and not kept:  # nothing opened it: all so far was thinking
                kept.append("")
            elif not thinking:
                kept.append(text[start : tag.start()])
            start, thinking = tag.end(), False
        elif not thinking:
            kept.append(text[start : tag.start()])
            thinking = True
    return "\n\n".join((*kept, "" if thinking else text[start:]))


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Boxes with an answer, the inner ones of those inside one another, in one pass."""
    found = _Found()
    open_groups: list[_Group] = []
    position = 0
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token["brace"]:
            open_groups.append(_Group(token.end(), box=token.start()))
        elif token["box"]:
            bare = _BARE.match(text, position)
            if bare and found.add(token.start(), bare.end(), bare[0]):
                position = bare.end()
                _mark(open_groups)
        elif token[0] == "{":
            if open_groups:  # outside of boxes braces do not matter
                open_groups.append(_Group(token.end()))
        elif token[0] == "}" and open_groups:
            group = open_groups.pop()
            is_box = group.box is not None and not group.holds_box
            if is_box and group.box is not None:
                group.holds_box = found.add(group.box, token.end(), text[group.start : token.start()])
            if group.holds_box:
                _mark(open_groups)
    return found.boxes


def _mark(open_groups: list[_Group]) -> None:
    if open_groups:
        open_groups[-1].holds_box = True


def _unwrapped(content: str) -> str:
    """Without white space and braces round all of it."""
    content = content.strip()
    for _ in range(3):
        if content.startswith("{") and content.endswith("}") and _closes_at_end(content):
            content = content[1:-1].strip()
    return content


def _closes_at_end(content: str) -> bool:
    depth = 0
    for token in _TOKEN.finditer(content):
        depth += (token[0][-1] == "{" and token[0] != "\\{") - (token[0] == "}")
        if depth == 0:
            return token.end() == len(content)
    return False
