r"""Equality of expressions by math-verify, in a process of its own that is never waited for long.

A request gets `SECONDS` of processor time and a gigabyte; what needs more is "not equal". Processor time makes the
verdict the same on a busy machine. math-verify's own limit is an alarm, which only works in the main thread; a thread
cannot be stopped at all while Python computes ``9^{9^9}``. The process starts with the first request, knows nothing of
this one's main module, GPUs or event loops, and ends with it.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from trim_pomdp.errors import TrimError

SECONDS = 0.5
"""Of processor time that one comparison of answers may take."""
PATIENCE = 20.0
"""Seconds by the clock after which the process is ended and started anew: it is stuck, or stopped from outside."""

_WORKER = Path(__file__).with_name("_math_worker.py")


class CheckerError(TrimError):
    """The process that compares expressions cannot be started."""


@dataclass
class Budget:
    """Processor time that is left for a comparison of answers, which may ask several times.

    Attributes
    ----------
    seconds : float
    """

    seconds: float = SECONDS


def same_expression(a: str, b: str, budget: Budget | None = None) -> bool:
    r"""Whether two expressions in LaTeX are equal, as math-verify judges; False once the budget is spent.

    Parameters
    ----------
    a, b : str
        Without delimiters; ``i`` is the imaginary unit, other letters are real.
    budget : Budget or None
        Is charged. None: a full one.

    Raises
    ------
    CheckerError
        If math-verify is not installed or its process cannot be started.
    """
    budget = Budget() if budget is None else budget
    if budget.seconds <= 0:
        return False
    request = {"a": a, "b": b, "seconds": budget.seconds}
    reply = _worker(os.getpid()).ask(json.dumps(request))
    used = reply["seconds"]
    budget.seconds -= budget.seconds if used is None else used
    return bool(reply["equal"])


def start() -> None:
    """Have math-verify loaded in the background, so that the first pair of expressions need not wait for it."""
    _worker(os.getpid()).start()


@dataclass(eq=False)
class _Worker:
    """The process, started when it is first asked; for all threads, one at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[str] | None = None

    is_ready: bool = False

    def start(self) -> None:
        with self.lock:
            self._start()

    def _start(self) -> subprocess.Popen[str]:
        if self.process is None or self.process.poll() is not None:
            self.stop(at_once=True)
            self.process, self.is_ready = _started(), False
        return self.process

    def ask(self, line: str) -> dict[str, bool | float | None]:
        with self.lock:
            process = self._start()
            if not self.is_ready and _line(process) != "ready\n":
                self.stop(at_once=True)
                raise CheckerError(
                    f"the process that compares answers does not start; try {sys.executable} -P {_WORKER}"
                )
            self.is_ready = True
            reply = _exchange(process, line)
            if not reply:
                self.stop(at_once=True)
                return {"equal": False, "seconds": None}
        answer: dict[str, bool | float | None] = json.loads(reply)
        return answer

    def stop(self, *, at_once: bool = False) -> None:
        """End the process and wait for it, so that no zombie stays."""
        process, self.process = self.process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()  # it ends when nobody can ask any more
        try:
            process.wait(0 if at_once else 2 * SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


@cache
def _worker(process_id: int) -> _Worker:
    """The worker of a process: a fork must not write into the pipes of the process that it came from."""
    worker = _Worker()
    atexit.register(worker.stop)
    return worker


def _started() -> subprocess.Popen[str]:
    if find_spec("math_verify") is None:
        raise CheckerError("answers are compared by math-verify, which is not installed: pip install math-verify")
    try:
        return subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is meant for this process
        )
    except OSError as error:
        raise CheckerError(f"the process that compares answers cannot be started ({error})") from None


def _exchange(process: subprocess.Popen[str], line: str) -> str:
    """The reply; empty if the process has died or does not answer."""
    assert process.stdin is not None
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except OSError:
        return ""
    return _line(process)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    return process.stdout.readline() if poll.poll(1000 * PATIENCE) else ""
