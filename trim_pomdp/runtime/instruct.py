r"""One next step, asked for in words: for chat servers that do not continue a turn of the model's own.

The solution so far goes into the user's turn, and the reply becomes a step. Models are told to write one step and
nothing else, and often write more all the same. What is cut away is a fence round all of the reply, an opening ("Here
is the next step:"), the steps so far where they are repeated, a label ("**Step 3:**") where the steps so far have none,
and all that follows the first new step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from trim_pomdp.text.boxes import ends_in_thinking
from trim_pomdp.text.format import StepFormat
from trim_pomdp.text.steps import StepCutter

_FIRST = (
    "{prompt}\n\nWrite only the first step of the solution, and nothing else. If that step completes the solution, put "
    "the final answer within \\boxed{}."
)
_NEXT = (
    "{prompt}\n\nThe solution so far:\n\n{steps}\n\nWrite only the next step of this solution, and nothing else; do "
    "not repeat what is there. If that step completes the solution, put the final answer within \\boxed{}."
)
_FENCED = re.compile(r"\s*(`{3,}|~{3,})[^\n`]*\n(.*?)\n?\s*\1\s*", re.DOTALL)
_OPENING = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok|alright|here(?:'s| is))\b.{0,100}[:.!]"
    r"|.{0,60}\b(?:next|first|following) step\b.{0,60}:)",
    re.IGNORECASE | re.DOTALL,
)
_LABEL = re.compile(
    r"(?:#{1,6}\s+)?(?P<bold>\*\*|__)?\s*(?:(?:next\s+)?step\s*\d+|next\s+step)\s*"
    r"(?:(?P<end>\*\*|__)?\s*[:.)–—-]\s*(?P<after>\*\*|__)?|(?P<alone>\*\*|__)|(?=\n|\Z))\s*",
    re.IGNORECASE,
)


def question(prompt: str, steps: Sequence[str], joiner: str) -> str:
    """What the user says: the problem, the solution so far, and that one step is wanted."""
    text = _NEXT if steps else _FIRST
    filled = {"{prompt}": prompt, "{steps}": joiner.join(steps)}
    return re.sub(r"\{prompt\}|\{steps\}", lambda place: filled[place[0]], text)


def step_of_reply(reply: str, steps: Sequence[str], form: StepFormat) -> tuple[str, bool]:
    r"""The step in a reply, and whether more follows it there.

    Examples
    --------
    >>> step_of_reply("Here is the next step:\n\n**Step 2:** 7 - 2 = 5\n\nSo 5.", ["3 + 4 = 7"], StepFormat())
    ('7 - 2 = 5', True)
    >>> step_of_reply("3 + 4 = 7\n\n7 - 2 = 5", ["3 + 4 = 7"], StepFormat())
    ('7 - 2 = 5', False)
    """
    fenced = _FENCED.fullmatch(reply)
    in_thinking = ends_in_thinking("\n".join(steps))
    cutter = StepCutter(form.separator, thinking=form.thinking, in_thinking=in_thinking, keep_blocks=form.keep_blocks)
    pieces = [*cutter.feed(fenced[2] if fenced else reply), *cutter.close()]
    known = {_essence(step) for step in steps}
    labelled = not form.ends_at_newlines or any(_LABEL.match(step) for step in steps)
    while len(pieces) > 1 and (_is_opening(pieces[0]) or _essence(pieces[0]) in known):
        pieces = pieces[1:]
    if not pieces:
        return "", False
    return pieces[0] if labelled else _unlabelled(pieces[0]) or pieces[0], len(pieces) > 1


def _unlabelled(step: str) -> str:
    """A step without its label."""
    label = _LABEL.match(step)
    if label is None:
        return step
    rest, bold = step[label.end() :], label["bold"]
    if bold and not (label["end"] or label["after"] or label["alone"]):  # all of it is bold
        return rest.removesuffix(bold)
    return rest


def _essence(step: str) -> str:
    """A step without its label and white space; nothing for a label alone."""
    return " ".join(_unlabelled(step).split())


def _is_opening(step: str) -> bool:
    """Whether a piece only announces what follows, or is a label on a line of its own."""
    return not _essence(step) or _OPENING.fullmatch(step.strip().strip("*")) is not None
