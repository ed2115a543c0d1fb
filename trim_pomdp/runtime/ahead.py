"""What models do while a score is awaited, before it is known whether it will be wanted.

The weak model writes the step that comes if this one stands; the strong model reads what it will continue if it does
not. Draws are keyed by problem, step and role, so that a step is the same whether it was written ahead or when it was
wanted. One that turns out not to be wanted is broken off, which stops a server at once; what was finished by then is
counted (`Attempt.note_ahead`), and what a broken-off request cost nobody knows. A request that fails ahead of time is
as if it had not been made.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.runtime.protocols import GeneratedStep, SolutionScores, Usage

if TYPE_CHECKING:
    from trim_pomdp.runtime.attempt import Attempt, Call
    from trim_pomdp.runtime.engine import Models

Found = TypeVar("Found")
Answer = tuple[GeneratedStep | SolutionScores, float]


class Ahead:
    """Requests of one problem that are made before it is known whether they will be wanted.

    Parameters
    ----------
    attempt : Attempt
        The problem.
    models : Models
        Answer its requests.
    overlap : bool
        Whether the weak model writes ahead.
    warm : bool
        Whether the strong model reads ahead.
    """

    def __init__(self, attempt: Attempt, models: Models, *, overlap: bool, warm: bool) -> None:
        self._attempt, self._models = attempt, models
        self._overlaps, self._warms = overlap, warm and models.strong is not None
        self._draft: tuple[Call, asyncio.Task[Answer]] | None = None
        self._reading: asyncio.Task[Usage] | None = None

    async def reply(self, call: Call) -> Answer | None:
        """What was written ahead, if it is what the pending call wants; begin with what is foreseen now."""
        await self._end_reading()
        draft, self._draft = self._draft, None
        if draft is not None and draft[0] == call:
            return await _result(draft[1])
        if draft is not None:
            await self._throw_away(draft[1])
        if self._overlaps and (foreseen := self._attempt.foreseen(KEEP)) is not None:
            self._draft = foreseen, asyncio.create_task(self._models.timed(foreseen))
        if self._warms and (foreseen := self._attempt.foreseen(REGENERATE)) is not None:
            self._reading = asyncio.create_task(self._models.warm(foreseen))
        return None

    async def stop(self) -> None:
        """Break off what is under way."""
        await self._end_reading()
        draft, self._draft = self._draft, None
        if draft is not None:
            await self._throw_away(draft[1])

    async def _throw_away(self, task: asyncio.Task[Answer]) -> None:
        task.cancel()
        found = await _result(task)
        if found is not None and isinstance(found[0], GeneratedStep):
            self._attempt.note_ahead("weak", found[0].usage or Usage(0, 0, found[0].tokens))

    async def _end_reading(self) -> None:
        task, self._reading = self._reading, None
        if task is None:
            return
        task.cancel()
        usage = await _result(task)
        if usage is not None:
            self._attempt.note_ahead("strong", usage)


async def _result(task: asyncio.Task[Found]) -> Found | None:
    """What a task found; None if it failed or was broken off."""
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    return None if task.cancelled() or task.exception() is not None else task.result()
