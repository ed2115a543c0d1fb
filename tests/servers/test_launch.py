"""Servers in child processes: waited for, told of when they die, and never left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.servers.launch import HOST, Server, Servers, free_ports

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE)}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")


def server(folder, name="one", *arguments, start_s=30.0, **environment):
    port = free_ports(1)[0]
    return Server(name, ("--port", str(port), *arguments), port, folder / f"{name}.log", environment, start_s)


def started(folder, *servers, fork=False, grace_s=5.0):
    return Servers(
        servers, module="fake_server", fork=fork, environment=ENVIRONMENT, log=folder / "start.log", grace_s=grace_s
    )


def reply(item):
    with urllib.request.urlopen(item.url + "/health", timeout=5) as answer:
        return answer.read().decode().split()


def gone(pid):
    """Whether a process is no more, or is a zombie that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends between the opening and the reading
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False


def eventually(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("fork", [False, True])
def test_servers_serve_and_end_with_the_block(tmp_path, fork):
    items = [server(tmp_path, "one", FAKE="1"), server(tmp_path, "two", FAKE="2")]
    told = []
    with started(tmp_path, *items, fork=fork) as servers:
        servers.start(told.append)
        assert [reply(item) for item in items] == [[str(servers.pid("one")), "1"], [str(servers.pid("two")), "2"]]
        pids = [servers.pid("one"), servers.pid("two")]
        assert all(os.getpgid(pid) == pid for pid in pids)
    assert sorted(told) == [f"{item.name} is ready at {item.url}" for item in items]
    assert all(gone(pid) for pid in pids)
    imports = "".join(log.read_text() for log in tmp_path.glob("*.log")).count("imported")
    # One import for all where they are forked; the module's own code runs again as the program.
    assert imports == (3 if fork else 2)
    assert ("imported" in (tmp_path / "start.log").read_text()) == fork


@pytest.mark.parametrize("fork", [False, True])
def test_a_death_while_starting_is_told_with_the_end_of_the_log(tmp_path, fork):
    with pytest.raises(TrimError) as caught, started(tmp_path, server(tmp_path, "weak", "--die"), fork=fork) as servers:
        servers.start()
    message = str(caught.value)
    assert message.startswith("weak: ended with exit code 1 before it was ready; its log ends: ")
    assert "RuntimeError: no memory left for the model" in message
    assert str(tmp_path / "weak.log") in message
    assert "\n" not in message


def test_a_module_that_is_not_there_is_told(tmp_path):
    servers = Servers(
        [server(tmp_path)], module="nowhere", fork=True, environment=ENVIRONMENT, log=tmp_path / "start.log"
    )
    wanted = r"one: ended with exit code 1 .*No module named 'nowhere'.*start\.log"
    with pytest.raises(TrimError, match=wanted), servers:
        servers.start()


def test_a_server_that_is_never_ready_is_given_up(tmp_path):
    item = server(tmp_path, "one", "--never", start_s=1.0)
    wanted = "one: not ready after 1 s; its log "
    with pytest.raises(TrimError, match=wanted), started(tmp_path, item) as servers:
        servers.start()


def test_another_server_on_the_port_is_not_taken_for_ours(tmp_path):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"one: port {port} is taken"):
            started(tmp_path, Server("one", (), port, tmp_path / "one.log"))


def test_servers_that_share_a_gpu_are_started_in_turn(tmp_path):
    first = server(tmp_path, "first")
    # Ends at once unless the first one has been ready, which writes the file.
    ready = tmp_path / "ready"
    second = server(tmp_path, "second", "--wait-for", str(ready))
    with started(tmp_path, first, second) as servers:
        servers.start(lambda message: ready.touch() if message.startswith("first") else None, in_turn=True)


def test_deaf_servers_and_their_children_are_killed(tmp_path):
    engine = tmp_path / "engine"
    with started(tmp_path, server(tmp_path, "one", "--deaf", "--engine", str(engine)), grace_s=0.5) as servers:
        servers.start()
        pids = [servers.pid("one"), int(engine.read_text())]
        assert not any(map(gone, pids))
    eventually(lambda: all(map(gone, pids)))


@pytest.mark.parametrize("fork", [False, True])
def test_a_killed_server_leaves_no_engine_and_is_started_again(tmp_path, fork):
    engine = tmp_path / "engine"
    item, other = server(tmp_path, "one", "--engine", str(engine)), server(tmp_path, "two")
    told = []
    with started(tmp_path, item, other, fork=fork) as servers:
        servers.start()
        first, orphan, neighbour = servers.pid("one"), int(engine.read_text()), servers.pid("two")
        failures = []

        def watch():
            try:
                servers.watch(told.append, restarts=1)
            except TrimError as error:
                failures.append(str(error))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: "one is ready again" in told)
        eventually(lambda: gone(orphan))
        assert told[0].startswith("one: killed by SIGKILL; started again; ")
        assert reply(item)[0] == str(servers.pid("one")) != str(first)
        assert servers.pid("two") == neighbour
        os.kill(servers.pid("one"), signal.SIGKILL)
        watcher.join(15)
        assert failures[0].startswith("one: killed by SIGKILL; its log ends: ")


@pytest.mark.parametrize("fork", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_when_their_starter_is_killed(tmp_path, fork, number):
    program = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
from test_launch import server, started
folder = Path({str(tmp_path)!r})
with started(folder, server(folder, "one"), fork={fork}) as servers:
    servers.start()
    print(servers.pid("one"), servers._process.pid, flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
        pids = [int(word) for word in starter.stdout.readline().split()]
        assert not any(map(gone, pids))
        starter.send_signal(number)
        starter.wait()
    eventually(lambda: all(map(gone, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
@pytest.mark.parametrize("fork", [False, True])
def test_servers_end_when_their_keeper_is_killed(tmp_path, fork):
    with started(tmp_path, server(tmp_path), fork=fork) as servers:
        servers.start()
        pid = servers.pid("one")
        os.kill(servers._process.pid, signal.SIGKILL)
        eventually(lambda: gone(pid))
        with pytest.raises(TrimError, match="one: killed by SIGKILL"):
            servers.watch(lambda _: None)


def test_free_ports_are_different_ones():
    assert len(set(free_ports(20))) == 20


def test_what_is_interrupted_while_it_imports_ends_at_once(tmp_path):
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(100)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    began = time.monotonic()
    with Servers(
        [server(tmp_path)], module="slow_module", fork=True, environment=environment, log=tmp_path / "start.log"
    ) as servers:
        time.sleep(0.5)
    assert time.monotonic() - began < 8
    assert gone(servers._process.pid)
