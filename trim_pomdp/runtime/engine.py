"""The scheduler: many problems in flight, so that backends batch.

Every problem is one `Attempt`; so many workers each take the next problem, and wait for models only. A model that
raises is given up for that problem, which ends as its limits declare (`Caps.on_failure`); whatever else goes wrong with
a problem ends it, in one terminal record with the reason, and the run goes on. What goes wrong with writing results
ends the run, and so does a run that is set up so that no problem could be solved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Role, SetupError
from trim_pomdp.runtime.ahead import Ahead
from trim_pomdp.runtime.attempt import Attempt, Call
from trim_pomdp.runtime.protocols import (
    Closable,
    GeneratedStep,
    Generator,
    ScoreRequest,
    ServedModel,
    SolutionScores,
    StepScorer,
    Usage,
    WarmedGenerator,
)
from trim_pomdp.runtime.records import SolutionRecord


class ModelClock:
    """Time in which at least one model worked."""

    def __init__(self) -> None:
        self._running = 0
        self._since = 0.0
        self._total = 0.0

    @contextmanager
    def working(self) -> Iterator[None]:
        """A model works."""
        if self._running == 0:
            self._since = perf_counter()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self._total += perf_counter() - self._since

    @property
    def seconds(self) -> float:
        """Time so far."""
        return self._total + (perf_counter() - self._since if self._running else 0.0)


@dataclass(frozen=True)
class Models:
    """The models of a run.

    Attributes
    ----------
    weak, strong : Generator or None
        None for runs that never ask it.
    prm : StepScorer or None
        None for runs that look at no score.
    clock : ModelClock
        Counts the time in which models work: all the time that a request is out, unless the models keep the clock
        themselves (`keep_clock`), as those do that share a `Batcher`.
    keep_clock : bool
        Whether the models keep the clock.
    """

    weak: Generator | None = None
    strong: Generator | None = None
    prm: StepScorer | None = None
    clock: ModelClock = field(default_factory=ModelClock)
    keep_clock: bool = False

    async def answer(self, call: Call) -> GeneratedStep | SolutionScores:
        """The reply of the model that a call is for.

        Raises
        ------
        SetupError
            If the run has no such model.
        """
        if self.keep_clock:
            return await self._answer(call)
        with self.clock.working():
            return await self._answer(call)

    async def timed(self, call: Call) -> tuple[GeneratedStep | SolutionScores, float]:
        """`answer`, and the seconds that it took."""
        began = perf_counter()
        return await self.answer(call), perf_counter() - began

    def require_warmed(self) -> None:
        """Raise `InputError` unless the strong model, if there is one, can be made to read without writing."""
        if self.strong is not None and not isinstance(self.strong, WarmedGenerator):
            raise InputError(
                "the strong model's backend cannot be made to read without writing; leave out warm_strong "
                "(--warm-strong)"
            )

    async def warm(self, call: Call) -> Usage:
        """Have the strong model read what it would continue."""
        assert isinstance(self.strong, WarmedGenerator)
        assert not isinstance(call.request, ScoreRequest)
        with self.clock.working():
            return await self.strong.warm(call.request)

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """What was found out about served models and defines a run, by role."""
        return {role: dict(model.facts) for role, model in self._served if model.facts}

    @property
    def faults(self) -> dict[str, dict[str, int]]:
        """Faults of served models that were survived, or not, as how many of which kind, by role."""
        return {role: dict(model.faults) for role, model in self._served if model.faults}

    @property
    def _served(self) -> Iterator[tuple[Role, ServedModel]]:
        models: tuple[tuple[Role, object], ...] = (("weak", self.weak), ("strong", self.strong), ("prm", self.prm))
        for role, model in models:
            if isinstance(model, ServedModel):
                yield role, model

    async def close(self) -> None:
        """Let go of what the models hold, such as connections; they take it up again if they are asked again."""
        for model in (self.weak, self.strong, self.prm):
            if isinstance(model, Closable):
                await model.close()

    async def _answer(self, call: Call) -> GeneratedStep | SolutionScores:
        if isinstance(call.request, ScoreRequest):
            if self.prm is None:
                raise SetupError("this run has no PRM, but a score is wanted")
            return await self.prm.score(call.request)
        generator = self.weak if call.role == "weak" else self.strong
        if generator is None:
            raise SetupError(f"this run has no {call.role} model, but a step of it is wanted")
        return await generator.generate(call.request)


async def solve_all(
    problems: Iterable[Problem],
    start: Callable[[Problem], Attempt],
    models: Models,
    finished: Callable[[SolutionRecord], None],
    *,
    in_flight: int = 64,
    overlap: bool = False,
    warm_strong: bool = False,
) -> None:
    """Solve problems, so many at a time.

    Parameters
    ----------
    problems : iterable of Problem
        Taken in order, one by one.
    start : callable
        Makes the solution of a problem.
    models : Models
        Answer the solutions' requests.
    finished : callable
        Told of every ended solution, in the order in which they end. What it raises ends the run.
    in_flight : int
        Problems under way at once.
    overlap : bool
        While a step is scored, have the weak model write the next one, as if that step stood.
    warm_strong : bool
        While a step is scored, have the strong model read what it would continue.

    Raises
    ------
    InputError
        If `in_flight` is below 1, or the strong model cannot be made to read without writing.
    SetupError
        If a model is wanted that the run does not have, or truth that nobody knows.
    """
    if in_flight < 1:
        raise InputError(f"in_flight is {in_flight}; expected at least 1")
    if warm_strong:
        models.require_warmed()
    waiting = iter(problems)

    async def work() -> None:
        for problem in waiting:
            attempt = start(problem)
            ahead = Ahead(attempt, models, overlap=overlap, warm=warm_strong) if overlap or warm_strong else None
            finished(await _solve(attempt, models, ahead))

    workers = [asyncio.create_task(work()) for _ in range(in_flight)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await models.close()


async def _solve(attempt: Attempt, models: Models, ahead: Ahead | None) -> SolutionRecord:
    try:
        while (call := attempt.pending) is not None:
            foreseen = None if ahead is None else await ahead.reply(call)
            try:
                reply, seconds = foreseen or await models.timed(call)
            except SetupError:
                raise
            except Exception as error:
                attempt.lose(error)
            else:
                attempt.receive(reply, seconds)
        if attempt.answer_is_plain:
            attempt.judge()
        else:  # not in the event loop, where other problems would wait
            await asyncio.to_thread(attempt.judge)
    except SetupError:
        raise
    except Exception as error:
        attempt.fail(error)
    finally:
        if ahead is not None:
            await ahead.stop()
    return attempt.record
