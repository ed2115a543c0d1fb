r"""What models are asked for, and which of the steps that they write are degenerate.

A step is *degenerate* if it is

* ``empty``: nothing but white space;
* ``repeated``: the same as the step just before it, or seen twice already anywhere in the solution;
* ``over-long``: it hit the token limit before any stop.

Degenerate steps are steps like any others: scored, decided on, kept as generated, and flagged. Several accepted in a
row end the solution (`trim_pomdp.runtime.attempt.Caps`), so none is ever looped on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trim_pomdp.runtime.protocols import GeneratedStep

SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
Flaw = Literal["empty", "repeated", "over-long"]

_REPEATS = 2


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
