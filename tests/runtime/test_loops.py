"""Models run from scripts, from notebooks and from code that is asynchronous itself, and can be interrupted there."""

import asyncio
import contextvars
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import problems
from scripted import dummy_models
from test_served_models import RULE, Servers, models_file, servers, source

from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.runtime.check import check
from trim_pomdp.runtime.live import run_live
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.scoring import SolutionScorer
from trim_pomdp.runtime.summary import RunSummary
from trim_pomdp.runtime.traces import read_traces

__all__ = ["servers"]

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def where() -> tuple[threading.Thread, str]:
    await asyncio.sleep(0)
    return threading.current_thread(), VARIABLE.get()


async def fail() -> None:
    await asyncio.sleep(0)
    raise KeyError("the culprit")


def test_without_a_loop_the_work_stays_in_its_thread() -> None:
    assert run_to_end(where())[0] is threading.current_thread()


def test_beside_a_loop_it_gets_a_thread_and_the_context() -> None:
    async def cell() -> tuple[threading.Thread, str]:
        VARIABLE.set("of the cell")
        return run_to_end(where())

    thread, value = asyncio.run(cell())
    assert thread is not threading.current_thread()
    assert not thread.is_alive()
    assert value == "of the cell"


def test_loops_in_loops_in_loops() -> None:
    async def within(depth: int) -> int:
        return 0 if depth == 0 else 1 + run_to_end(within(depth - 1))

    assert run_to_end(within(5)) == 5


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_errors_come_through_with_their_traceback(in_a_loop: bool) -> None:
    async def cell() -> None:
        run_to_end(fail())

    with pytest.raises(KeyError, match="the culprit") as caught:
        asyncio.run(cell()) if in_a_loop else run_to_end(fail())
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fail"


def test_what_work_leaves_behind_is_cancelled() -> None:
    ended = []

    async def forgotten() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def work() -> None:
        task = asyncio.create_task(forgotten())
        await asyncio.sleep(0)
        assert not task.done()

    async def cell() -> None:
        run_to_end(work())

    asyncio.run(cell())
    assert ended == [True]


def interrupt_after(seconds: float, times: int = 1) -> None:
    def interrupt() -> None:
        for _ in range(times):
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


def as_a_kernel(cell: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(cell)
    finally:
        loop.close()


@pytest.mark.parametrize("handler", ["of asyncio.run", "of a kernel"])
def test_an_interrupt_cancels_the_work_and_waits_for_it(handler: str) -> None:
    """Python's own loop marks its task as cancelled at Ctrl-C, a kernel has Python's usual handler."""
    let_go = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            let_go.append(True)

    async def cell() -> None:
        interrupt_after(0.2)
        run_to_end(work())

    began, before = time.monotonic(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cell()) if handler == "of asyncio.run" else as_a_kernel(cell())
    assert let_go == [True]
    assert time.monotonic() - began < 30
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_does_not_wait() -> None:
    stubborn = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.to_thread(stubborn.wait, 60)

    async def cell() -> None:
        interrupt_after(0.2, times=2)
        run_to_end(work())

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(cell())
    stubborn.set()
    assert time.monotonic() - began < 30


def test_an_interrupt_while_the_thread_starts_cancels_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go, began, start = [], threading.Event(), threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "event loop":
            assert began.wait(30)
            raise KeyboardInterrupt

    async def work() -> None:
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            let_go.append(True)

    async def cell() -> None:
        run_to_end(work())

    monkeypatch.setattr(threading.Thread, "start", interrupted_start)
    with pytest.raises(KeyboardInterrupt):
        as_a_kernel(cell())
    assert let_go == [True]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("late", [False, True])
def test_a_thread_that_never_began_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Nor does the work go on if the thread begins in spite of it."""
    never, worked = [], []

    def no_start(thread: threading.Thread) -> None:
        never.append(thread)
        raise KeyboardInterrupt

    async def work() -> None:
        worked.append(True)

    async def cell() -> None:
        run_to_end(work())

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_start)
        with pytest.raises(KeyboardInterrupt):
            as_a_kernel(cell())
    if late:
        never[0].start()
        never[0].join(30)
    assert (worked, [thread.is_alive() for thread in never]) == ([], [False])


def test_loading_checking_scoring_and_running_from_within_a_loop(tmp_path: Path, servers: Servers) -> None:
    """What a notebook's cells do, with servers; the run is the one that a script would have made."""
    path = models_file(tmp_path, servers)

    async def cell(folder: Path) -> tuple[int, int, RunSummary]:
        models = source(path).load({"weak", "strong", "prm"})
        verdicts = check(source(path), models, problems(4))
        prompt, steps = problems(1)[0].prompt, ("step 1", "step 2")
        solutions = [LabelledSolution(id="s", generator="weak", problem=prompt, steps=steps, label=-1)]
        scorer = SolutionScorer(models.prm, "prm", models.weak)
        return len(verdicts), len(scorer(solutions)[0].scores["prm"]), run_live(RULE, problems(8), source(path), folder)

    found, scored, summary = asyncio.run(cell(tmp_path / "cell"))
    assert (found > 10, scored) == (True, 2)
    plain = run_live(RULE, problems(8), source(path), tmp_path / "script")
    assert (summary.accuracy, summary.tokens) == (plain.accuracy, plain.tokens)


PROGRAM = """
import asyncio, json, sys
sys.path[:0] = [{tests!r}, {tests!r} + "/runtime"]
from scripted import WORLD
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, dummy_problems
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.run import Routing, run

def solve(folder, delay, progress=None):
    models = Models(*(DummyGenerator(WORLD, role, delay_s=delay) for role in ("weak", "strong")), DummyScorer(WORLD))
    routing = Routing(ThresholdRule(threshold=0.5))
    options = dict(config=routing.config, resume=True, in_flight=16, progress=progress)
    return run(dummy_problems(200), routing.start, models, folder, **options)

async def cell():
    try:
        solve(sys.argv[1], 0.05, lambda done, *_: done == 20 and print("ready", flush=True))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    summary = solve(sys.argv[1], 0.0)  # in the same loop, as the next cell would
    print(json.dumps([summary.problems, summary.accuracy, summary.strong_tokens, summary.tokens, summary.reasons]))

if sys.argv[2] == "asyncio.run":
    asyncio.run(cell())
else:
    asyncio.new_event_loop().run_until_complete(cell())
"""


@pytest.mark.parametrize("caller", ["asyncio.run", "kernel"])
def test_an_interrupted_run_goes_on(tmp_path: Path, caller: str) -> None:
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", program, str(tmp_path / "run"), caller]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
    told, *totals = out.splitlines()
    assert told == "interrupted", errors
    ended = [record.terminal.problem for record in read_traces(tmp_path / "run")]
    assert len(ended) == len(set(ended)) == 200
    sessions = [record.terminal.session for record in read_traces(tmp_path / "run")]
    assert 20 <= sessions.count(sessions[0]) < 200, "it was interrupted on its way"
    assert json.loads(totals[0]) == never_interrupted(tmp_path / "whole")


def never_interrupted(folder: Path) -> list[object]:
    from trim_pomdp.policies import ThresholdRule
    from trim_pomdp.runtime.backends.dummy import dummy_problems

    routing = Routing(ThresholdRule(threshold=0.5))
    summary = run(dummy_problems(200), routing.start, dummy_models(), folder, config=routing.config)
    return [summary.problems, summary.accuracy, summary.strong_tokens, dict(summary.tokens), dict(summary.reasons)]
