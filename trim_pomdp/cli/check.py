"""The verb that looks into models before a run: ``trim-pomdp check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.live import LAB, ThreadsOption, use_threads
from trim_pomdp.cli.models import JsonOption, LayoutOption
from trim_pomdp.cli.output import emit_json, progress, say, show_table, warn

if TYPE_CHECKING:
    from trim_pomdp.data.problems import Problem

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
    from trim_pomdp.runtime.check import check_models

    source = model_source(models, cores=threads)
    chosen = _problems(models, problems, count, layout)
    use_threads(models, threads)
    with progress("asking the models"):
        verdicts = check_models(source, chosen)
    bad = verdicts.bad
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


def _problems(models: str, problems: str | None, count: int, layout: str | None) -> list[Problem]:
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.lab.problems import draw
    from trim_pomdp.runtime.check import SAMPLE

    if problems is not None:
        return read_problems(problems, layout=layout, tell=warn)[:count]
    return draw("loop", "fit", 0, _LAB_PROBLEMS) if models == LAB else list(SAMPLE)
