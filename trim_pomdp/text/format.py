"""How solutions are written: what separates their steps, and what becomes of thinking; the same for all who need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trim_pomdp.text.boxes import ends_in_thinking, step_answer
from trim_pomdp.text.steps import (
    BLANK_LINE,
    StepCutter,
    Thinking,
    ends_only_at_newlines,
    first_step,
    joiner,
    stop_strings,
)


@dataclass(frozen=True)
class StepFormat:
    """What separates steps, and whether thinking is routed (`trim_pomdp.text.steps`).

    Attributes
    ----------
    separator : str
        ``"blank-line"``, ``"newline"``, or a regular expression of how a line begins that begins a step.
    thinking : {"route", "one-step"}
        Whether what stands in ``<think>`` is steps like any others, or one step.
    keep_blocks : bool
        Whether code, display mathematics and open boxes are kept whole.

    Raises
    ------
    InputError
        If the separator is no regular expression, or matches nothing at all.
    """

    separator: str = BLANK_LINE
    thinking: Thinking = "route"
    keep_blocks: bool = True

    def __post_init__(self) -> None:
        StepCutter(self.separator, thinking=self.thinking)

    @property
    def joiner(self) -> str:
        """What stands behind every step of a prompt."""
        return joiner(self.separator)

    @property
    def ends_at_newlines(self) -> bool:
        """Whether a step can only be over when a line is."""
        return ends_only_at_newlines(self.separator)

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings at which a server may stop; wherever a step ends one of them ends, though not the other way round."""
        return stop_strings(self.separator)

    def next_step(self, text: str, steps: Sequence[str]) -> str | None:
        """The step that a text after these steps begins with, once it is over; None as long as it may go on."""
        in_thinking = ends_in_thinking("\n".join(steps))
        return first_step(
            text, self.separator, thinking=self.thinking, in_thinking=in_thinking, keep_blocks=self.keep_blocks
        )

    def answer(self, steps: Sequence[str]) -> str | None:
        """The answer in the last of the steps, which ends the solution; None if it goes on."""
        return step_answer(steps)


DEFAULT_FORMAT = StepFormat()
"""Steps between blank lines."""
