"""The lab's models behind a models file: served by vLLM where its environment is, else run in this process.

For whoever has no models at hand, and wants to see what a models file leads to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from trim_pomdp.artifacts import write_text
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.lab.models import require_extra, use_cores
from trim_pomdp.runtime.config import ROLES
from trim_pomdp.servers.environment import Environment, find_environment
from trim_pomdp.servers.launch import Servers
from trim_pomdp.servers.plans import ServedFile, make_plan, read_served, to_toml

if TYPE_CHECKING:
    from trim_pomdp.servers.plans import Plan

READY_FILE = "lab-cpu"
# What a table in this process has of that of a server.
_KEPT = ("temperature", "system_prompt")


@dataclass(repr=False)
class LabFile(Shown):
    """A models file of the lab's models, and the servers behind it, if there are any.

    Attributes
    ----------
    path : Path
        Of the models file.
    how : str
        Which way the models run, and why.
    servers : Servers or None
        End with `close`, with a ``with`` block, and with this process.
    """

    path: Path
    how: str
    servers: Servers | None = None

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {"models file": self.path.name, "models run": self.how}

    def close(self) -> None:
        """End the servers."""
        if self.servers is not None:
            self.servers.close()
            self.servers, self.how = None, "no more: the servers are ended"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def lab_models_file(
    path: str | Path,
    *,
    served: bool | None = None,
    python: str | Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> LabFile:
    """Write a models file of the lab's models, and start their servers if that is the way.

    In this process, torch gets one core (`trim_pomdp.lab.models.use_cores`).

    Parameters
    ----------
    path : path
        Where to write it; logs of servers go beside it.
    served : bool or None
        Whether vLLM's servers run the models; None: where its environment is found (``trim-pomdp up --install``, or
        the environment variable TRIM_POMDP_VLLM_PYTHON).
    python : path or None
        The interpreter of that environment.
    tell : callable
        Told of every server that is ready.

    Raises
    ------
    InputError
        If servers are wanted and there is no such environment; or torch and transformers are missing in this process.
    TrimError
        If a server does not start.
    """
    out = Path(path)
    file = read_served(READY_FILE)
    environment, why = (None, "as asked") if served is False else _environment(python)
    if environment is None:
        if served:
            raise InputError(why)
        require_extra()
        use_cores()
        return LabFile(write_text(out, to_toml(_in_process(file))), f"in this process ({why})")
    logs = out.with_name(f"{out.stem}-logs")
    logs.mkdir(parents=True, exist_ok=True)
    plan = make_plan(file, environment, logs)
    servers = _started(plan, environment, logs, tell)
    count, version = len(plan.servers), environment.version
    return LabFile(write_text(out, plan.text), f"on {count} servers of vLLM {version}", servers)


def _environment(python: str | Path | None) -> tuple[Environment | None, str]:
    """The environment with vLLM; or none, and why."""
    named = python or os.environ.get("TRIM_POMDP_VLLM_PYTHON")
    try:
        return find_environment(Path(named) if named else None), ""
    except InputError as error:
        return None, str(error) if named else "vLLM is not installed; trim-pomdp up --install does that"


def _in_process(file: ServedFile) -> dict[str, Any]:
    """The ready file with tables of models in this process, of the numbers that the servers have."""
    document = dict(file.document)
    for role in ROLES:
        table = {"backend": "transformers", "model": file.model(role), "dtype": "float32"}
        document[role] = table | {name: document[role][name] for name in _KEPT if name in document[role]}
    return document


def _started(plan: Plan, environment: Environment, logs: Path, tell: Callable[[str], None]) -> Servers:
    servers = plan.servers_in(environment, logs)
    try:
        servers.start(tell, in_turn=plan.in_turn)
    except BaseException:
        servers.close()
        raise
    return servers
