"""The verb that looks into models before a run: ``trim-pomdp check``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.live import LAB, ThreadsOption, use_threads
from trim_pomdp.cli.models import JsonOption, LayoutOption
from trim_pomdp.cli.output import emit_json, progress, say, show_table, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.data.problems import Problem
    from trim_pomdp.policies.base import Role
    from trim_pomdp.runtime.findings import Verdict
    from trim_pomdp.runtime.sources import Backends, ModelSource

_LAB_PROBLEMS = 8


def check(
    models: Annotated[str, typer.Option("--models", help="A models file (TOML), or the lab's models ('lab').")],
    problems: Annotated[
        str | None, typer.Option("--problems", help="A problem set of their kind (default: four word problems).")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many of its problems to try.")] = 8,
    layout: LayoutOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look into what a run takes for granted of its models; exit code 1 if a run would fail, or mean nothing."""
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.runtime.check import check as check_models

    source = model_source(models)
    roles = _roles(models)
    chosen = _problems(models, problems, count, layout)
    use_threads(models, threads)
    with progress("asking the models"):
        loaded, absent = _loaded(source, roles)
        verdicts = [*absent, *check_models(source, loaded, chosen)]
    bad = [item for item in verdicts if item.state == "bad"]
    if as_json:
        emit_json({"verdicts": [asdict(item) for item in verdicts], "bad": len(bad)})
    else:
        rows = [[item.role, item.what, item.state, item.found] for item in verdicts]
        show_table(f"{models}, {len(chosen)} problems", ["model", "what", "verdict", "found"], rows)
        for item in verdicts:
            if item.remedy:
                (warn if item.state == "bad" else say)(f"{item.role}, {item.what}: {item.remedy}")
    if bad:
        raise typer.Exit(1)


def _roles(models: str) -> list[Role]:
    """The models that there are."""
    from trim_pomdp.runtime.config import ROLES, read_models_file

    if models == LAB:
        return list(ROLES)
    file = read_models_file(models)
    there = [role for role in ROLES if file.table(role) is not None]
    if not there:
        raise InputError(f"{models}: no table [weak], [strong] or [prm], so there is nothing to check")
    return there


def _loaded(source: ModelSource, roles: Sequence[Role]) -> tuple[Backends, list[Verdict]]:
    """The models, each loaded apart; those that cannot be, as verdicts."""
    from trim_pomdp.runtime.findings import Verdict
    from trim_pomdp.runtime.sources import Backends

    found, absent = Backends(), []
    for role in roles:
        try:
            found = replace(found, **{role: getattr(source.load([role]), role)})
        except InputError as error:
            absent.append(Verdict(role, "there", "bad", str(error), "start the server, or mend its table"))
    return found, absent


def _problems(models: str, problems: str | None, count: int, layout: str | None) -> list[Problem]:
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.lab.problems import draw
    from trim_pomdp.runtime.check import SAMPLE

    if problems is not None:
        return read_problems(problems, layout=layout, tell=warn)[:count]
    return draw("loop", "fit", 0, _LAB_PROBLEMS) if models == LAB else list(SAMPLE)
