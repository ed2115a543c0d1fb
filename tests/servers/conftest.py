"""Real servers of the lab's models, for the tests that drive them."""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from trim_pomdp.errors import InputError
from trim_pomdp.lab.problems import draw
from trim_pomdp.servers.environment import find_environment
from trim_pomdp.servers.plans import read_served, to_toml

ROOT = Path(__file__).parents[2]
PROBLEMS = 60


@pytest.fixture(scope="session")
def environment():
    named = os.environ.get("TRIM_POMDP_VLLM_PYTHON")
    try:
        return find_environment(Path(named) if named else None)
    except InputError as error:
        pytest.skip(f"needs vLLM; set TRIM_POMDP_VLLM_PYTHON to the Python of an environment that has it ({error})")


_HERE: list[bool] = []


@contextmanager
def _servers_of_this_worker():
    """Two cores are not enough for the servers of two workers, so that others wait for this one to end."""
    with (Path(tempfile.gettempdir()) / "trim-pomdp-tests.lock").open("w") as lock:
        if not _HERE:  # or else this worker would wait for itself
            fcntl.flock(lock, fcntl.LOCK_EX)
        _HERE.append(True)
        try:
            yield
        finally:
            _HERE.pop()


@pytest.fixture
def own_servers(environment):
    """The environment with vLLM, for a test that starts servers of its own."""
    with _servers_of_this_worker():
        yield environment


@pytest.fixture(scope="session")
def served(environment, tmp_path_factory):
    """The lab's servers by `up`: the weak one reads prompts in pieces, the others as in the ready file."""
    with _servers_of_this_worker():
        yield from _served(environment, tmp_path_factory)


def _served(environment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("up")
    document = read_served("lab-cpu").document
    document["weak"]["server"]["arguments"] += ["--max-num-batched-tokens", "64"]
    (folder / "models.toml").write_text(to_toml(document))
    out = folder / "served.toml"
    command = [sys.executable, "-c", "from trim_pomdp.cli import main; main()", "up", "--json"]
    command += ["--models", str(folder / "models.toml"), "--python", str(environment.python)]
    command += ["--out", str(out), "--logs", str(folder / "logs")]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    line = process.stdout.readline()
    assert line, (folder / "errors").read_text()
    yield out, {item["name"]: item for item in json.loads(line)["servers"]}, folder / "errors"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not out.exists()


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    rows = [{"id": p.id, "prompt": p.prompt, "answer": p.answer} for p in draw("loop", "test", 0, PROBLEMS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
