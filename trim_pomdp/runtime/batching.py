"""Models in this process as models that many coroutines ask at once: their requests are answered in batches.

Requests wait until no coroutine can run on, that is, until every problem in flight waits for a model; then the
longest queue of *all* models of the run becomes one batch. So 64 problems in flight give batches of dozens, and a
model that few wait for is asked when many do, or when nothing else is left.

Batches run in one worker thread. One, since models in one process share its cores or its device, so that two at once
gain nothing; a thread, so that meanwhile the event loop hears Ctrl-C and serves models behind a network, at the cost
of one thread switch a batch.

If a batch fails, its requests are tried again one by one, so that only the culprit fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from trim_pomdp.runtime.engine import ModelClock, Models
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.protocols import (
    BatchGenerator,
    BatchScorer,
    Closable,
    GeneratedStep,
    Generator,
    ScoreRequest,
    SolutionScores,
    StepRequest,
    StepScorer,
)

Request = TypeVar("Request")
Reply = TypeVar("Reply")


def batched(
    weak: Generator | BatchGenerator | None,
    strong: Generator | BatchGenerator | None = None,
    prm: StepScorer | BatchScorer | None = None,
) -> Models:
    """The models of a run: those that take batches are batched together, the others asked as they are."""
    batcher = Batcher()
    in_batches = all(model is None or isinstance(model, BatchGenerator | BatchScorer) for model in (weak, strong, prm))
    # Models elsewhere work as long as a request is out, so that the batcher alone cannot keep the clock.
    return Models(
        weak=_generator(weak, batcher),
        strong=_generator(strong, batcher),
        prm=_scorer(prm, batcher),
        clock=batcher.clock if in_batches else ModelClock(),
        keep_clock=in_batches,
    )


def _generator(model: Generator | BatchGenerator | None, batcher: Batcher) -> Generator | None:
    return batcher.generator(model) if isinstance(model, BatchGenerator) else model


def _scorer(model: StepScorer | BatchScorer | None, batcher: Batcher) -> StepScorer | None:
    return batcher.scorer(model) if isinstance(model, BatchScorer) else model


def score_all(prm: StepScorer | BatchScorer, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
    """Scores of many requests."""
    if isinstance(prm, BatchScorer):
        return prm.score_batch(requests)

    async def ask() -> list[SolutionScores]:
        return await asyncio.gather(*(prm.score(request) for request in requests))

    return ask_once(prm, ask())


def ask_once(model: object, asking: Coroutine[Any, Any, Reply]) -> Reply:
    """The result of asking a model; its connections are closed."""

    async def main() -> Reply:
        try:
            return await asking
        finally:
            if isinstance(model, Closable):
                await model.close()

    return run_to_end(main())


class Batcher:
    """Collects the requests of all models that it wraps.

    Attributes
    ----------
    clock : ModelClock
        Time in which the models worked.
    """

    def __init__(self) -> None:
        self.clock = ModelClock()
        self._queues: list[_Queue[StepRequest, GeneratedStep] | _Queue[ScoreRequest, SolutionScores]] = []
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._driver: asyncio.Task[None] | None = None

    def generator(self, model: BatchGenerator) -> BatchedGenerator:
        """Wrap a generator."""
        queue = _Queue(model.generate_batch, self)
        self._queues.append(queue)
        return BatchedGenerator(queue)

    def scorer(self, model: BatchScorer) -> BatchedScorer:
        """Wrap a process reward model."""
        queue = _Queue(model.score_batch, self)
        self._queues.append(queue)
        return BatchedScorer(queue)

    def ensure_driven(self) -> None:
        """Have the waiting requests answered."""
        if self._driver is None or self._driver.done():
            self._driver = asyncio.get_running_loop().create_task(self._drive())

    async def _drive(self) -> None:
        while await self._settled() > 0:
            await max(self._queues, key=len).answer_all(self._worker, self.clock)

    async def _settled(self) -> int:
        """Let coroutines run on until none adds a request; returns how many wait."""
        waiting = -1
        while waiting != (waiting := sum(map(len, self._queues))):
            await asyncio.sleep(0)
        return waiting


class _Queue(Generic[Request, Reply]):
    """Requests that wait for one model."""

    def __init__(self, model: Callable[[Sequence[Request]], list[Reply]], batcher: Batcher) -> None:
        self._model = model
        self._batcher = batcher
        self._waiting: list[tuple[Request, asyncio.Future[Reply]]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    async def ask(self, request: Request) -> Reply:
        """Wait for the reply to a request."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._batcher.ensure_driven()
        return await future

    async def answer_all(self, worker: ThreadPoolExecutor, clock: ModelClock) -> None:
        """Answer all requests that wait and are still wanted, in one batch."""
        batch = [(request, future) for request, future in self._waiting if not future.done()]
        self._waiting = []
        if not batch:
            return
        requests = [request for request, _ in batch]
        outcomes = await asyncio.get_running_loop().run_in_executor(worker, self._timed_outcomes, requests, clock)
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():  # its problem was given up meanwhile
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _timed_outcomes(self, requests: list[Request], clock: ModelClock) -> list[Reply | Exception]:
        with clock.working():
            return self._outcomes(requests)

    def _outcomes(self, requests: list[Request]) -> list[Reply | Exception]:
        try:
            replies = self._model(requests)
            if len(replies) != len(requests):
                raise RuntimeError(f"{len(replies)} replies to {len(requests)} requests")
        except Exception as error:
            if len(requests) == 1:
                return [error]
            return [outcome for request in requests for outcome in self._outcomes([request])]
        return list(replies)


class BatchedGenerator:
    """A generator whose requests are batched."""

    def __init__(self, queue: _Queue[StepRequest, GeneratedStep]) -> None:
        self._queue = queue

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator.generate`."""
        return await self._queue.ask(request)


class BatchedScorer:
    """A process reward model whose requests are batched."""

    def __init__(self, queue: _Queue[ScoreRequest, SolutionScores]) -> None:
        self._queue = queue

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer.score`."""
        return await self._queue.ask(request)
