"""Whole runs through the lab's models on vLLM servers: planned budgets, counters, interruption, a server killed."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from trim_pomdp.runtime.traces import read_traces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROBLEMS = 60
SERVED = ("--preset", "lab-loop")


def run(run_cli: Any, models: object, out: Path, *options: object) -> dict[str, Any]:
    code, printed, errors = run_cli("run", "--models", models, *options, "--out", out, "--json")
    assert code == 0, errors
    document: dict[str, Any] = json.loads(printed)
    return document


def course(folder: Path) -> dict[str, Any]:
    """All that was written and decided, by problem."""
    return {
        record.terminal.problem: (
            [
                (item.action, item.weak and item.weak.text, item.strong and item.strong.text)
                for item in record.decisions
            ],
            record.terminal.reason,
            record.terminal.correct,
        )
        for record in read_traces(folder)
    }


def counter(url: str, name: str) -> int:
    """What a server of vLLM counts."""
    text = urllib.request.urlopen(f"{url}/metrics", timeout=30).read().decode()
    found = re.findall(rf"^vllm:{name}(?:{{[^}}]*}})? (\S+)$", text, flags=re.MULTILINE)
    return int(sum(map(float, found)))


@pytest.mark.parametrize("budget", [0.1, 0.3])
def test_a_planned_budget_is_the_run_in_process(
    served: Any, run_cli: Any, tmp_path: Path, problems: Path, budget: float
) -> None:
    file = served[0]
    urls = {role: table["base_url"] for role, table in tomllib.loads(file.read_text()).items() if "base_url" in table}
    names = ("generation_tokens_total", "prompt_tokens_total")
    before = {(role, name): counter(urls[role], name) for role in urls for name in names}
    over_http = run(run_cli, file, tmp_path / "http", "--problems", problems, *SERVED, "--budget", budget)
    after = {(role, name): counter(urls[role], name) for role in urls for name in names}
    here = run(run_cli, "lab", tmp_path / "here", "--problems", PROBLEMS, "--budget", budget)
    assert course(tmp_path / "http") == course(tmp_path / "here")
    same = ("problems", "accuracy", "strong_tokens", "strong_tokens_se", "regenerations", "budget", "planned", "failed")
    assert {name: over_http[name] for name in same} == {name: here[name] for name in same}
    tokens = over_http["tokens"]
    assert {name: count for name, count in tokens.items() if "cached" not in name} == {
        name: count for name, count in here["tokens"].items() if "cached" not in name
    }
    assert tokens["weak_cached"] > tokens["weak_read"] / 2
    # One token, read and generated, of the canary beside the run's own.
    spent = {key: after[key] - before[key] for key in after}
    assert spent["weak", names[0]] == tokens["weak_kept"] + tokens["weak_discarded"] + 1
    assert spent["strong", names[0]] == tokens["strong"] + 1
    assert spent["weak", names[1]] == tokens["weak_read"] + 1
    assert spent["strong", names[1]] == tokens["strong_read"] + 1
    assert spent["prm", names[1]] == tokens["scored"]


def test_an_interrupted_run_goes_on(served: Any, run_cli: Any, tmp_path: Path, problems: Path) -> None:
    options = ["--problems", problems, *SERVED, "--budget", "0.2", "--in-flight", "4"]
    out = tmp_path / "run"
    command = [sys.executable, "-c", "from trim_pomdp.cli import main; main()", "run", "--models", served[0], *options]
    process = subprocess.Popen([*map(str, command), "--out", str(out)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    traces, deadline = out / "traces.jsonl", time.monotonic() + 120
    while not (traces.exists() and traces.read_bytes().count(b'"kind":"terminal"') >= 10):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    done = len(course(out))
    assert 10 <= done < PROBLEMS
    assert run(run_cli, served[0], out, *options, "--resume")["problems"] == PROBLEMS
    run(run_cli, "lab", tmp_path / "here", "--problems", PROBLEMS, "--budget", 0.2)
    assert course(out) == course(tmp_path / "here")


def test_a_server_killed_in_mid_run(served: Any, run_cli: Any, tmp_path: Path, problems: Path) -> None:
    """Killed as by the kernel; `up` starts it again, and the run has waited for it."""
    file, servers, _ = served
    out = tmp_path / "run"

    def kill() -> None:
        traces = out / "traces.jsonl"
        while not (traces.exists() and traces.read_bytes().count(b'"kind":"terminal"') >= 5):
            time.sleep(0.02)
        os.kill(servers["strong"]["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = run(run_cli, file, out, "--problems", problems, *SERVED, "--budget", "0.3", "--in-flight", "4")
    killer.join()
    assert (done["problems"], done["failed"]) == (PROBLEMS, 0)
    run(run_cli, "lab", tmp_path / "here", "--problems", PROBLEMS, "--budget", 0.3)
    assert course(out) == course(tmp_path / "here")


def test_the_check_finds_nothing_bad(served: Any, run_cli: Any, problems: Path) -> None:
    code, printed, errors = run_cli("check", "--models", served[0], "--problems", problems, "--json")
    assert code == 0, errors
    found = {(item["role"], item["what"]): item["state"] for item in json.loads(printed)["verdicts"]}
    for what in ("draws", "prefix cache", "before temperature", "repeatable", "model", "context length"):
        assert found["weak", what] == found["strong", what] == "good", what
    assert found["prm", "bad steps"] == found["prm", "range"] == "good"
