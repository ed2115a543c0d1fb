"""The verb that starts the servers of a models file: ``trim-pomdp up``."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.models import JsonOption
from trim_pomdp.cli.output import claim, emit_json, progress, say, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.servers.environment import Environment
    from trim_pomdp.servers.launch import Servers
    from trim_pomdp.servers.plans import Plan

UP_HELP = (
    "A table with a server part and no base_url is started: [weak.server], [strong.server], [prm.server] with "
    "arguments (options of vLLM's server, a list of words), devices (CUDA_VISIBLE_DEVICES, one entry a server), "
    "replicas (servers, where devices does not say it), environment, port, start_s. model = 'lab:weak' is "
    "one of the lab's. "
    "Ready files: lab-cpu, qwen-1gpu, qwen-2gpu, qwen-hosted-strong, qwen-nodes. In scripts: trim-pomdp up --models "
    "lab-cpu --out served.toml & — the file appears when all servers are ready, and goes when they are ended."
)


def up(
    models: Annotated[
        str | None, typer.Option("--models", help="A models file (TOML), or the name of a ready one such as lab-cpu.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            "--python",
            envvar="TRIM_POMDP_VLLM_PYTHON",
            help="Python of an environment with vLLM (default: that of --install).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the models file for run, rollout, score here once all serve.")
    ] = None,
    logs: Annotated[Path | None, typer.Option("--logs", help="Folder for what the servers write.")] = None,
    install: Annotated[
        bool,
        typer.Option("--install", help="Make an environment with vLLM (minutes, gigabytes), then start, if asked."),
    ] = False,
    env: Annotated[
        Path | None, typer.Option("--env", help="Folder of that environment (default: in the cache).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start the vLLM servers that a models file describes, and keep them until Ctrl-C.

    Servers are child processes, healthy before they are named, started again (three times at most) when they end, and
    ended by process group with this command, even if it is killed.
    """
    if models is None and not install:
        raise InputError("nothing to do: give --models FILE, or --install")
    if env is not None and not install:
        raise InputError("--env is where --install makes the environment; to use one, give --python ENV/bin/python")
    if install and python is not None:
        raise InputError("--install makes an environment of its own; leave --python out")
    environment = _installed(env) if install else None
    if models is None:
        if as_json and environment is not None:
            emit_json({"python": str(environment.python), "vllm": environment.version})
        return
    plan, folder = _planned(models, environment, python, out, logs)
    with _until_told(), _started(plan, environment or _found(python), folder) as servers:
        try:
            _show(plan, servers, out, as_json)
            servers.watch(warn)
        finally:
            if out is not None:
                out.unlink(missing_ok=True)


def _installed(folder: Path | None) -> Environment:
    from trim_pomdp.servers.environment import default_folder, install

    environment = install(folder or default_folder(), warn)
    warn(f"vLLM {environment.version} is in {environment.python}")
    return environment


def _found(python: Path | None) -> Environment:
    from trim_pomdp.servers.environment import find_environment

    return find_environment(python)


def _planned(
    models: str, environment: Environment | None, python: Path | None, out: Path | None, logs: Path | None
) -> tuple[Plan, Path]:
    from trim_pomdp.servers.plans import make_plan, read_served

    file = read_served(models)
    file.tables()
    if out is not None:
        claim(out)
        if out.exists() and out.resolve() == Path(file.source).resolve():
            raise InputError(f"--out: {out} is the file of --models; give another")
    environment = environment or _found(python)
    if logs is None:
        logs = Path(tempfile.mkdtemp(prefix="trim-pomdp-up-"))
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--logs: no folder can be made at {logs} ({error.strerror})") from None
    plan = make_plan(file, environment, logs)
    if out is not None:
        # Whoever waits for it must not meet the one of an earlier start.
        out.unlink(missing_ok=True)
    return plan, logs


@contextmanager
def _until_told() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, and with it the command, which then has done what it was asked to."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        warn("servers ended")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _started(plan: Plan, environment: Environment, logs: Path) -> Iterator[Servers]:
    warn(f"starting {len(plan.servers)} servers with vLLM {environment.version}; they write to {logs}/")
    with plan.servers_in(environment, logs) as servers:
        with progress("starting"):
            servers.start(warn, in_turn=plan.in_turn)
        yield servers


def _show(plan: Plan, servers: Servers, out: Path | None, as_json: bool) -> None:
    from trim_pomdp.artifacts import write_text

    if out is not None:
        write_text(out, plan.text)
    if as_json:
        started = [
            {"name": item.name, "url": item.url, "pid": servers.pid(item.name), "log": str(item.log)}
            for item in plan.servers
        ]
        emit_json({"models": None if out is None else str(out), "toml": plan.text, "servers": started})
    else:
        say(plan.text if out is None else f"wrote {out}; Ctrl-C ends the servers")
    sys.stdout.flush()
