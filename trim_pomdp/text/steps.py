r"""Steps of a solution: one rule for texts that are there and for texts that are being written.

What ends a step is the *separator*:

* ``"blank-line"``, the default (or ``"\n\n"``): a line of nothing but white space;
* ``"newline"`` (or ``"\n"``): the end of a line;
* any other string is a regular expression of how a line begins that begins a step, such as ``## Step`` or
  ``\d+\. ``; it is tried as the line grows, so that a step is over as soon as the next one has begun, and sees at most
  the first 80 characters. What comes before the first such line is a step, too.

No step is empty: blank lines round a step belong to none. Nothing is cut inside of a code fence (```` ``` ```` or
``~~~``), display mathematics (``\[ \]``, ``$$ $$``, ``\begin{…} \end{…}``) or an open ``\boxed{``. As nobody knows of a
text that is being written whether these will ever be closed, one that has not been after `CODE_LIMIT` or `MATH_LIMIT`
characters counts as closed: the next separator cuts. The rule looks at nothing that comes later, so all ways of feeding
a text give the same steps.

``thinking="one-step"`` makes a ``<think>`` block one step, whatever is in it, and however long; ``"route"`` treats what
is in it like any other text.

Between steps in a prompt stands `joiner` (a blank line, or a newline where that is the separator). Joining and
splitting gives the same steps back; splitting and joining gives the text back where there was no more space than that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trim_pomdp.errors import InputError

Thinking: TypeAlias = Literal["route", "one-step"]
BLANK_LINE = "blank-line"
NEWLINE = "newline"
CODE_LIMIT = 8000
MATH_LIMIT = 2000
"""Characters after which an opened fence, or opened mathematics, is given up."""

_HEAD = 80
_NAMES = {
    **dict.fromkeys((BLANK_LINE, "blank line", "blank", "\n\n", r"\n\n"), BLANK_LINE),
    **dict.fromkeys((NEWLINE, "single newline", "line", "\n", r"\n"), NEWLINE),
}
_FENCE = re.compile(r"[^\S\n]*(?:[-*+>][^\S\n]+)?(`{3,}|~{3,})([^\n]*)")
_MARK = re.compile(
    r"\\(?P<box>boxed|fbox)[^\S\n]*\{|\\begin\{(?P<begin>[^{}\n]*)\}|\\end\{(?P<end>[^{}\n]*)\}|\\.|\$\$|[{}]"
)
_LEADING = re.compile(r"(?:[^\S\n]*\n)+")
_LINE_BREAKS = re.compile(r"(?:(?:\\r\??)?(?:\n|\\n)[+*?]?)+")
_TRAILING = re.compile(r"(?:\r?\n[^\S\n]*)+\Z")


def split_steps(
    text: str, separator: str = BLANK_LINE, *, thinking: Thinking = "route", in_thinking: bool = False
) -> list[str]:
    r"""Steps of a text.

    Parameters
    ----------
    text : str
        A solution.
    separator : str
        ``"blank-line"``, ``"newline"`` or a regular expression; see the module.
    thinking : str
        ``"route"`` or ``"one-step"``; see the module.
    in_thinking : bool
        Whether the text begins inside of a ``<think>`` block, which the prompt opened.

    Raises
    ------
    InputError
        If the separator is no regular expression, or one that matches nothing at all.

    Examples
    --------
    >>> split_steps("Add: 9.\n \nTwice: 18.\r\n\r\n\\boxed{18}")
    ['Add: 9.', 'Twice: 18.', '\\boxed{18}']
    >>> split_steps("Sum.\n## Step 1\n4 + 5 = 9\n\n## Step 2\n18", r"## Step \d+")
    ['Sum.', '## Step 1\n4 + 5 = 9', '## Step 2\n18']
    """
    cutter = StepCutter(separator, thinking=thinking, in_thinking=in_thinking)
    return [*cutter.feed(text), *cutter.close()]


def first_step(
    text: str,
    separator: str = BLANK_LINE,
    *,
    thinking: Thinking = "route",
    in_thinking: bool = False,
    keep_blocks: bool = True,
) -> str | None:
    r"""The first step of a text that is being written, once it is over; None as long as it may go on.

    Parameters are those of `StepCutter`.

    Examples
    --------
    >>> first_step("\n\nAdd: 9.\n"), first_step("\n\nAdd: 9.\n\nTwi")
    (None, 'Add: 9.')
    """
    cutter = StepCutter(separator, thinking=thinking, in_thinking=in_thinking, keep_blocks=keep_blocks)
    return next(iter(cutter.feed(text)), None)


def joiner(separator: str = BLANK_LINE) -> str:
    r"""What stands between steps (and after the last one, before the next is written): ``"\n\n"`` or ``"\n"``."""
    return "\n" if _NAMES.get(separator) == NEWLINE else "\n\n"


def stop_strings(separator: str = BLANK_LINE) -> tuple[str, ...]:
    r"""What a server can stop at, which knows no rule but strings: it stops no later than the step is over.

    Of blank lines the usual ones; one with other white space in it is found when the next of these comes.

    Examples
    --------
    >>> stop_strings("newline"), stop_strings("## Step"), stop_strings(r"\d+\. ")
    (('\n',), ('\n## Step',), ('\n',))
    """
    name = _NAMES.get(separator)
    if name == BLANK_LINE:
        return ("\n\n", "\n \n", "\r\n\r\n")
    is_text = name is None and re.escape(separator).replace("\\ ", " ") == separator.replace("#", "\\#")
    return (f"\n{separator}",) if is_text else ("\n",)


def join_steps(steps: Sequence[str], separator: str = BLANK_LINE) -> str:
    """The text of a solution."""
    return joiner(separator).join(steps)


def ends_only_at_newlines(separator: str = BLANK_LINE) -> bool:
    """Whether a step can only be over when a line is, so that other tokens need no look."""
    return separator in _NAMES


@dataclass
class _Open:
    """What is open at the beginning of a line and must not be cut."""

    fence: str = ""
    display: str = ""
    environments: int = 0
    braces: int = 0  # of an open box, its own included
    length: int = 0  # of the text since something is open

    @property
    def anything(self) -> bool:
        return bool(self.fence or self.display or self.environments or self.braces)

    def read(self, line: str) -> None:
        """Go on by a line; what has been open for too long is given up."""
        was_open = self.anything
        fence = _FENCE.match(line)
        if self.fence:
            if fence and fence[1].startswith(self.fence) and not fence[2].strip():
                self.fence = ""
        elif fence and "`" not in fence[2] and not was_open:
            self.fence = fence[1]
        else:
            for mark in _MARK.finditer(line):
                self._read_mark(mark)
        self.length = self.length + len(line) if was_open and self.anything else 0
        if self.length > (CODE_LIMIT if self.fence else MATH_LIMIT):
            self.__init__()  # type: ignore[misc]

    def _read_mark(self, mark: re.Match[str]) -> None:
        token = mark[0]
        if self.braces:
            if mark["box"] or token == "{":
                self.braces += 1
            elif token == "}":
                self.braces -= 1
        elif mark["box"]:
            self.braces = 1
        elif mark["begin"]:
            self.environments += 1
        elif mark["end"]:
            self.environments = max(self.environments - 1, 0)
        elif token in ("\\[", "$$") and not self.display:
            self.display = "\\]" if token == "\\[" else "$$"
        elif token == self.display:
            self.display = ""


class StepCutter:
    """Cuts a text into steps as it comes.

    Parameters
    ----------
    separator, thinking, in_thinking
        As for `split_steps`.
    keep_blocks : bool
        Whether code, display mathematics and open boxes are kept whole; False cuts at every separator.

    Raises
    ------
    InputError
        If the separator is no regular expression, or one that matches nothing at all.
    """

    def __init__(
        self,
        separator: str = BLANK_LINE,
        *,
        thinking: Thinking = "route",
        in_thinking: bool = False,
        keep_blocks: bool = True,
    ) -> None:
        if thinking not in ("route", "one-step"):
            raise InputError(f"thinking: {thinking!r}; expected 'route' or 'one-step'")
        self._kind = _NAMES.get(separator)
        self._pattern = None if self._kind else _compiled(separator)
        self._one_step = thinking == "one-step"
        self._keep_blocks = keep_blocks
        self._step: list[str] = []  # whole lines
        self._line = ""  # the last one, not yet whole
        self._begun = False  # whether that line was seen to begin a step
        self._open = _Open()
        self._in_thinking = self._one_step and in_thinking
        self._done: list[str] = []

    def feed(self, piece: str) -> list[str]:
        """Go on by some text; returns the steps that are over by now and were not before.

        A step's end may be seen only some characters after it (those of the separator). What follows it belongs to the
        next step.
        """
        lines = piece.split("\n")
        for line in lines[:-1]:
            self._grow(line)
            self._end_line("\n")
        self._grow(lines[-1])
        return self._taken()

    def close(self) -> list[str]:
        """The text is over; returns what had not been returned."""
        self._end_line("")
        self._cut()
        return self._taken()

    def _taken(self) -> list[str]:
        done, self._done = self._done, []
        return done

    def _grow(self, piece: str) -> None:
        """More of a line. A pattern is tried at every length, so that pieces of any size give the same."""
        known = len(self._line)
        self._line += piece
        if self._pattern is None or self._begun or self._open.anything or self._in_thinking:
            return
        for length in range(known + 1, min(len(self._line), _HEAD) + 1):
            if self._pattern.match(self._line[:length]):
                self._begun = True
                self._cut()
                return

    def _end_line(self, end: str) -> None:
        line, self._line, self._begun = self._line + end, "", False
        if self._one_step:
            line = self._thinking_cut(line)
        if self._in_thinking:
            self._step.append(line)
            return
        if self._kind == BLANK_LINE and not line.strip() and not self._open.anything:
            self._cut()
            return
        self._step.append(line)
        if self._keep_blocks:
            self._open.read(line)
        if self._kind == NEWLINE and not self._open.anything:
            self._cut()

    def _thinking_cut(self, line: str) -> str:
        """Cut before and behind think blocks; returns what is left of the line."""
        while True:
            tag = "</think>" if self._in_thinking else "<think>"
            place = line.find(tag)
            if place < 0 or (not self._in_thinking and self._open.fence):
                return line
            end = place + len(tag) if self._in_thinking else place
            self._step.append(line[:end])
            self._cut()
            line = line[end:]
            self._in_thinking = not self._in_thinking

    def _cut(self) -> None:
        text = "".join(self._step)
        blank = _LEADING.match(text)
        text = _TRAILING.sub("", text[blank.end() if blank else 0 :])
        if text.strip():
            self._done.append(text)
        self._step, self._open = [], _Open()


def _compiled(separator: str) -> re.Pattern[str]:
    try:
        # That a line begins there is understood: "\n## Step" and "^## Step" are "## Step".
        line_breaks = _LINE_BREAKS.match(separator)
        pattern = re.compile(separator[line_breaks.end() if line_breaks else 0 :])
    except re.error as error:
        raise InputError(
            f"separator: {separator!r} is no regular expression ({error}); expected 'blank-line', 'newline' or how a "
            "line begins that begins a step, such as '## Step'"
        ) from None
    if pattern.match(""):
        raise InputError(
            f"separator: {separator!r} matches an empty line; expected what only the first line of a step has"
        )
    return pattern
