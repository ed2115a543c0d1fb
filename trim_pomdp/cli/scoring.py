"""The verb that scores labelled solutions: ``trim-pomdp score``."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.live import (
    LAB,
    ModelsOption,
    ResumeOption,
    ShardOption,
    ThreadsOption,
    read_shard,
    resumable,
    use_threads,
)
from trim_pomdp.cli.models import JsonOption, LayoutOption
from trim_pomdp.cli.output import emit_json, progress, progress_bar, say, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.policies.base import Role


def score(
    solutions: Annotated[
        str,
        typer.Option("--solutions", help="Labelled solutions: JSON(L), parquet, gzip; or a name on the hub."),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write (JSONL), for fit-observations --scores.")],
    layout: LayoutOption = None,
    models: ModelsOption = LAB,
    prm: Annotated[
        str | None, typer.Option("--prm", help="Name of the PRM in the file (default: its model's).")
    ] = None,
    no_scores: Annotated[bool, typer.Option("--no-scores", help="Ask no PRM.")] = False,
    logprobs: Annotated[
        bool,
        typer.Option("--logprobs", help="Also the weak model's log-probabilities; for solutions that it wrote itself."),
    ] = False,
    resume: ResumeOption = False,
    shard: ShardOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score every step of labelled solutions, as input of fit-observations."""
    from trim_pomdp.data.processbench import read_solutions
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.runtime.scoring import SolutionScorer, check_out, claim_shard, score_solutions, scoring_config

    if no_scores and not logprobs:
        raise InputError("--no-scores leaves nothing to measure without --logprobs")
    part = read_shard(shard)
    check_out(out, resume=resume)
    source = model_source(models, cores=threads)
    wanted: tuple[tuple[Role, bool], ...] = (("weak", logprobs), ("prm", not no_scores))
    roles = [role for role, asked in wanted if asked]
    source.require(roles)
    everything = read_solutions(solutions, layout=layout, tell=warn)
    items = everything if part is None else part.of(everything)
    use_threads(models, threads)
    with progress("loading models"):
        loaded = source.load(roles)
    scorer = SolutionScorer(loaded.prm, prm or source.prm_name, loaded.weak, source.format)
    claim_shard(out, part, scoring_config(everything, scorer, source.config(roles)))
    began = perf_counter()
    with resumable(), progress_bar("scoring", len(items)) as show:
        scored = score_solutions(items, scorer, out, resume=resume, progress=lambda done: show(done, ""))
    seconds = perf_counter() - began
    if as_json:
        measured = [*([] if loaded.prm is None else [scorer.name]), *(["logprobs"] if logprobs else [])]
        emit_json({"out": str(out), "solutions": len(items), "scored": scored, "measured": measured, "wall_s": seconds})
        return
    say(f"scored {scored} of {len(items)} solutions in {seconds:.1f} s" + _before(len(items) - scored))
    say(f"wrote {out}")


def _before(count: int) -> str:
    return f"; {count} had been scored before" if count else ""
