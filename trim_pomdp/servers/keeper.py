"""The process that keeps servers: a program for the Python of the servers' environment, standard library only.

Its standard input is its life line. The first line says which servers there are (JSON, see `Keeper`), further lines
name servers to start, or to start again; at the end of the input, which comes too when whoever started it was killed,
every server is ended by its process group. On standard output it tells of processes that began and ended, one JSON
document a line.

Where servers are forked, what they need is imported once and each is a fork of this process; else each is a Python of
its own. Should this process be killed, the kernel ends the servers (Linux).
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import time
import traceback
import warnings
from typing import Any

_POLL_S = 0.2
_PR_SET_PDEATHSIG = 1


class Keeper:
    """Starts servers, tells when they end, and ends them.

    Parameters
    ----------
    module : str
        Run as ``python -m`` for every server.
    fork : bool
        Whether the module is imported once and servers are forks.
    servers : list of dict
        ``name``, ``arguments``, ``environment`` (beyond this process's), ``log`` (a path) of each.
    grace_s : float
        Time between asking a server to end and killing it.
    """

    def __init__(self, module: str, fork: bool, servers: list[dict[str, Any]], grace_s: float) -> None:
        self._module = module
        self._fork = fork
        self._servers = {server["name"]: server for server in servers}
        self._grace_s = grace_s
        self._pids: dict[str, int] = {}
        # Held, since one that is forgotten may be waited for by the next.
        self._processes: list[subprocess.Popen[bytes]] = []
        self._asked_to_end = False
        # What the imports print must not come between the events.
        self._events = os.dup(1)
        os.dup2(2, 1)

    def run(self) -> None:
        """Keep servers until the input ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if self._fork:
            importlib.import_module(self._module)
        # Not before: while it imports there is nothing to end but itself.
        signal.signal(signal.SIGTERM, self._end_soon)
        try:
            self._keep()
        finally:
            self._end(list(self._pids))

    def _end_soon(self, *_: object) -> None:
        self._asked_to_end = True

    def _keep(self) -> None:
        rest = b""
        while not self._asked_to_end:
            if select.select([0], [], [], _POLL_S)[0]:
                read = os.read(0, 4096)
                if not read:
                    return
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._start(line.decode())
            self._reap()

    def _start(self, name: str) -> None:
        server = self._servers[name]
        self._pids[name] = self._forked(server) if self._fork else self._executed(server)
        self._tell(server=name, pid=self._pids[name])

    def _executed(self, server: dict[str, Any]) -> int:
        with open(server["log"], "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", self._module, *server["arguments"]],
                env={**os.environ, **server["environment"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_begin,
            )
        self._processes.append(process)
        return process.pid

    def _forked(self, server: dict[str, Any]) -> int:
        keeper = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _begin()
            if os.getppid() != keeper:
                os._exit(1)
            _redirect(server["log"])
            os.close(self._events)
            os.environ.update(server["environment"])
            sys.argv = [self._module, *server["arguments"]]
            with warnings.catch_warnings():
                # It is imported already, which is the point.
                warnings.filterwarnings("ignore", ".*found in sys.modules.*", RuntimeWarning)
                runpy.run_module(self._module, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)  # noqa: T201
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for name, pid in list(self._pids.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._pids[name]
                # Its engine may be a process of its own that outlives it.
                _signal_group(pid, signal.SIGKILL)
                self._tell(server=name, pid=pid, ended=os.waitstatus_to_exitcode(status))

    def _end(self, names: list[str]) -> None:
        pids = [self._pids[name] for name in names]
        for pid in pids:
            _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + self._grace_s
        while self._pids and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for pid in pids:
            _signal_group(pid, signal.SIGKILL)

    def _tell(self, **event: Any) -> None:
        try:
            os.write(self._events, json.dumps(event).encode() + b"\n")
        except BrokenPipeError:  # nobody listens any more; the input ends too
            self._asked_to_end = True


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:  # a group of zombies, on some systems
        pass


def _begin() -> None:
    """A server is a process group of its own, and is ended by the kernel when its keeper is."""
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _redirect(log: str) -> None:
    """Standard output and error of a fork go to its log, and nothing is read."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(nothing)
    os.close(file)


if __name__ == "__main__":
    # This file's folder is no place to import from; its neighbours have names that others may have too.
    sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
    # Unbuffered: what follows the first line is left for `select`.
    with open(0, "rb", buffering=0, closefd=False) as first:
        Keeper(**json.loads(first.readline())).run()
