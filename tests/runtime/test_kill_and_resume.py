"""``kill -9`` at twenty random moments: nothing that finished is lost or repeated, totals are as if never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trim_pomdp.runtime.traces import read_traces

PROGRAM = """
import json, sys
sys.path.insert(0, {tests!r})
from scripted import WORLD
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, dummy_problems
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.run import Routing, run

delay = float(sys.argv[2])
models = Models(
    DummyGenerator(WORLD, "weak", delay_s=delay),
    DummyGenerator(WORLD, "strong", delay_s=delay),
    DummyScorer(WORLD, delay_s=delay),
)
routing = Routing(ThresholdRule(threshold=0.5))
print("ready", flush=True)
summary = run(dummy_problems(400), routing.start, models, sys.argv[1], config=routing.config, resume=True, in_flight=16)
print(json.dumps([summary.problems, summary.accuracy, summary.strong_tokens, summary.tokens, summary.reasons]))
"""


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    program = PROGRAM.format(tests=str(Path(__file__).parents[1]))
    rng = random.Random(0)
    killed, seen = 0, []
    while killed < 20:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "run"), "0.003"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.06))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "finished before it was killed: make the run longer"
        killed += 1
        if (tmp_path / "run" / "traces.jsonl").exists():
            ended = [record.terminal.problem for record in read_traces(tmp_path / "run")]
            assert ended[: len(seen)] == seen, "what had finished stays as it was"
            seen = ended
    assert 0 < len(seen) < 400, "kills came while problems were ending"

    def finish(folder: Path) -> bytes:
        return subprocess.run([sys.executable, "-c", program, str(folder), "0"], capture_output=True, check=True).stdout

    assert finish(tmp_path / "run") == finish(tmp_path / "never-killed")
    ended = [record.terminal.problem for record in read_traces(tmp_path / "run")]
    assert ended[: len(seen)] == seen
    assert len(ended) == len(set(ended)) == 400
