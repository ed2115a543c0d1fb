"""Asynchronous work from synchronous code, also where an event loop runs already, as it does in every notebook.

An event loop cannot run inside of another one. So where one runs in the calling thread, the work gets a thread of its
own with a loop of its own, and the caller waits for it (its own loop stands still meanwhile, as it does for any
function that is not awaited). Context variables are carried over; what the work raises arrives with its traceback.

Ctrl-C, and the interrupt of a notebook's kernel, cancels the work, waits until it has let go of what it holds, and is
then raised as `KeyboardInterrupt`. A second one does not wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine, whether or not an event loop runs in this thread.

    Parameters
    ----------
    work : coroutine
        Not begun yet. It must not wait for what only the caller's loop can do, since that loop waits for it.

    Raises
    ------
    Exception
        What the work raises.
    KeyboardInterrupt
        If it was interrupted; it has been cancelled then.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return _run_in_a_thread(work)


def _run_in_a_thread(work: Coroutine[Any, Any, Result]) -> Result:
    loop, context = asyncio.new_event_loop(), contextvars.copy_context()
    tasks: list[asyncio.Task[Result]] = []
    outcome: Future[Result] = Future()

    def work_on() -> None:
        if not outcome.set_running_or_notify_cancel():
            return  # given up before it began
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.get_loop()
                tasks.append(loop.create_task(work, context=context))
                result = runner.run(_result(tasks[0]))
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    # A daemon, so that work that was given up by a second interrupt does not keep the program from ending.
    thread = threading.Thread(target=work_on, name="event loop", daemon=True)
    with _interrupts_heard():
        try:
            thread.start()
            wait((outcome,))
        except BaseException:
            if outcome.cancel():  # nobody has begun, nor will
                work.close()
                loop.close()
                raise
            with suppress(RuntimeError):  # the loop is closed: it has ended by itself
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # called once it runs, so there is a task
            wait((outcome,))
            raise
    thread.join()
    return outcome.result()


async def _result(task: asyncio.Task[Result]) -> Result:
    return await task


@contextmanager
def _interrupts_heard() -> Iterator[None]:
    """Have Ctrl-C raise `KeyboardInterrupt` here, whatever else the loop that waits makes of it.

    A loop that runs (`asyncio.run`, a cell with `await` in it) has a handler that only marks its task as cancelled, and
    nobody would see the mark before the work is done.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # signals go elsewhere, or are ignored on purpose
        return
    told = before

    def interrupt(number: int, frame: FrameType | None) -> None:
        told(number, frame)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
