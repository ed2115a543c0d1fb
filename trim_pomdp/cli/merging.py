"""The verb that joins shards: ``trim-pomdp merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trim_pomdp.cli.models import JsonOption
from trim_pomdp.cli.output import emit_json, say
from trim_pomdp.cli.runs import inspect_run
from trim_pomdp.errors import InputError


def merge(
    out: Annotated[Path, typer.Argument(help="Folder (of a run or rollout) or file (of scores) to write.")],
    shards: Annotated[list[Path], typer.Argument(help="What run, rollout or score wrote with --shard: all of it.")],
    as_json: JsonOption = False,
) -> None:
    """Join the finished shards of a job into what one run would have written."""
    from trim_pomdp.runtime.merging import merge_runs, merge_scores

    for path in shards:
        if not path.exists():
            raise InputError(f"{path}: there is no such shard")
    folders = [path.is_dir() for path in shards]
    if all(folders):
        merge_runs(shards, out)
        if not as_json:
            say(f"joined {len(shards)} shards into {out}/\n")
        inspect_run(out, as_json)
        return
    if any(folders):
        raise InputError("some of the shards are folders of runs, others files; shards of one job are alike")
    count = merge_scores(shards, out)
    if as_json:
        emit_json({"out": str(out), "shards": len(shards), "solutions": count})
        return
    say(f"joined {len(shards)} shards into {out}: scores of {count} solutions")
