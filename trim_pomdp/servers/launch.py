"""Child processes that serve: started, waited for, started again, and ended; whatever they serve.

The servers of a group are kept by one process in a session of its own (`trim_pomdp.servers.keeper`), which ends them
when it is told to, or when this process is no more. They are ended by their process groups, never by name.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from trim_pomdp.errors import InputError, TrimError

HOST = "127.0.0.1"
_POLL_S = 0.2
_TAIL_LINES = 5


@dataclass(frozen=True)
class Server:
    """A server to start.

    Attributes
    ----------
    name : str
        In messages.
    arguments : tuple of str
        Of the module that serves.
    port : int
        On which it will answer.
    log : Path
        What it writes goes there.
    environment : dict of str
        Beyond that of its keeper.
    start_s : float
        Seconds that it may take until it is ready.
    """

    name: str
    arguments: tuple[str, ...]
    port: int
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 1800.0

    @property
    def url(self) -> str:
        """Where it answers, without a path."""
        return f"http://{HOST}:{self.port}"


class Servers:
    """Servers in child processes; leaving the ``with`` block ends them.

    Parameters
    ----------
    servers : sequence of Server
    module : str
        What every server runs, as ``python -m``.
    python : str or Path
        The interpreter that has the module.
    fork : bool
        Import the module once, and fork the servers.
    environment : mapping
        Of the keeper and all servers, in the place of this process's own.
    log : Path
        What the keeper and its imports write.
    grace_s : float
        Time between asking a server to end and killing it.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        module: str,
        python: str | Path = sys.executable,
        fork: bool = False,
        environment: Mapping[str, str] | None = None,
        log: Path,
        grace_s: float = 10.0,
    ) -> None:
        self.servers = tuple(servers)
        self._by_name = {server.name: server for server in servers}
        self._log = log
        self._grace_s = grace_s
        self._pids: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        for server in servers:
            require_free(server.port, server.name)
            server.log.write_bytes(b"")
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [str(python), str(Path(__file__).with_name("keeper.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True, name="servers")
        self._reader.start()
        self._send(
            json.dumps(
                {
                    "module": module,
                    "fork": fork,
                    "servers": [{**asdict(server), "log": str(server.log.resolve())} for server in servers],
                    "grace_s": grace_s,
                },
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pid(self, name: str) -> int | None:
        """Process, and process group, of a server that runs."""
        return None if name in self._codes else self._pids.get(name)

    def ended(self) -> dict[str, int]:
        """Exit codes of servers that are no more, by name; negative ones are signals."""
        if (code := self._process.poll()) is not None:
            return {name: self._codes.get(name, code) for name in self._by_name}
        return dict(self._codes)

    def ready(self, name: str) -> bool:
        """Whether a server answers, and is the one that was started here."""
        server = self._by_name[name]
        return self.pid(name) is not None and healthy(server.port) and self.pid(name) is not None

    def start(self, tell: Callable[[str], None] = lambda _: None, *, in_turn: bool = False) -> None:
        """Start every server and wait until all are ready.

        Parameters
        ----------
        tell : callable
            Told of every server that is ready.
        in_turn : bool
            Each only when the one before it is ready: servers that share a GPU measure what memory is left.

        Raises
        ------
        TrimError
            If one ends instead, or takes too long; with the last lines of its log, and where that is.
        """
        batches = [[server] for server in self.servers] if in_turn else [list(self.servers)]
        for batch in batches:
            for server in batch:
                self._send(server.name)
            self._wait(batch, tell)

    def _wait(self, servers: Sequence[Server], tell: Callable[[str], None]) -> None:
        started = time.monotonic()
        waiting = list(servers)
        while waiting:
            for name, code in self.ended().items():
                raise TrimError(f"{name}: {_how(code)} before it was ready; {self._tail(name)}")
            for server in tuple(waiting):
                if self.ready(server.name):
                    waiting.remove(server)
                    tell(f"{server.name} is ready at {server.url}")
                elif time.monotonic() - started > server.start_s:
                    raise TrimError(f"{server.name}: not ready after {server.start_s:g} s; {self._tail(server.name)}")
            if waiting:
                time.sleep(_POLL_S)

    def watch(self, tell: Callable[[str], None], *, restarts: int = 3) -> None:
        """Start servers again that end, for as long as this is not interrupted.

        Parameters
        ----------
        tell : callable
            Told of every server that ends, and when it is ready again.
        restarts : int
            How often a server is started again.

        Raises
        ------
        TrimError
            If one ends once more, or their keeper does.
        """
        left = dict.fromkeys(self._by_name, restarts)
        starting: set[str] = set()
        while True:
            for name, code in self.ended().items():
                if self._process.poll() is not None or not left[name]:
                    raise TrimError(f"{name}: {_how(code)}; {self._tail(name)}")
                left[name] -= 1
                tell(f"{name}: {_how(code)}; started again; {self._tail(name)}")
                self.start_again(name)
                starting.add(name)
            for name in [name for name in starting if self.ready(name)]:
                starting.remove(name)
                tell(f"{name} is ready again")
            time.sleep(_POLL_S)

    def start_again(self, name: str) -> None:
        """Start a server that has ended, on the same port."""
        self._codes.pop(name, None)
        self._pids.pop(name, None)
        self._send(name)

    def close(self) -> None:
        """End all servers: asked first, killed after the grace period."""
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.terminate()  # it may be importing, and not listen
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace_s + 5.0)
        if self._process.returncode != 0:
            # It was killed itself, or hangs, and may not have ended them all.
            running = [pid for name in self._by_name if (pid := self.pid(name)) is not None]
            for group in (*running, self._process.pid):
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
            self._process.wait()
        self._reader.join(5.0)

    def _send(self, line: str) -> None:
        with suppress(BrokenPipeError):  # it has ended, which `ended` tells
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as events:
            for line in events:
                event: dict[str, Any] = json.loads(line)
                if "ended" in event:
                    # One that was started again meanwhile is not meant.
                    if self._pids.get(event["server"], event["pid"]) == event["pid"]:
                        self._codes[event["server"]] = event["ended"]
                else:
                    self._pids[event["server"]] = event["pid"]

    def _tail(self, name: str) -> str:
        """Last lines of a server's log; of the keeper's where the server has written nothing."""
        for log in (self._by_name[name].log, self._log):
            lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
            if last := [line for line in lines if line][-_TAIL_LINES:]:
                return f"its log ends: {' | '.join(last)} (all of it: {log})"
        return f"its log is empty ({self._by_name[name].log})"


def healthy(port: int, *, timeout_s: float = 2.0) -> bool:
    """Whether the server on a port says that it can serve: ``GET /health`` gives 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on right now."""
    sockets = [socket.socket() for _ in range(n)]
    try:
        for item in sockets:
            item.bind((HOST, 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def require_free(port: int, name: str) -> None:
    """Raise `InputError` if somebody listens on a port already; a stale server there would answer for ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"{name}: port {port} is taken ({error.strerror}); expected a free one") from None


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
