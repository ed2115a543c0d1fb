"""The verb that records what models do without a policy: ``trim-pomdp rollout``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.cli.live import (
    LAB,
    FamilyOption,
    FolderOption,
    InFlightOption,
    ModelsOption,
    ProblemsOption,
    ResumeOption,
    ShardOption,
    ThreadsOption,
    lab_or_file_problems,
    read_family,
    read_shard,
    resumable,
    solving_bar,
    use_threads,
)
from trim_pomdp.cli.models import JsonOption, LayoutOption, SeedOption
from trim_pomdp.cli.output import emit_json, say, show_table, warn
from trim_pomdp.cli.routing import show_pace
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.runtime.recording import Mode, RolloutJob
    from trim_pomdp.runtime.shards import Shard
    from trim_pomdp.runtime.summary import RunSummary


def rollout(
    mode: Annotated[str, typer.Option("--mode", help="weak, strong, repair, redraft, or all: a folder each in --out.")],
    out: FolderOption,
    models: ModelsOption = LAB,
    family: FamilyOption = None,
    problems: ProblemsOption = None,
    layout: LayoutOption = None,
    weak: Annotated[Path | None, typer.Option("--from", help="Repairs, redrafts: a finished weak rollout.")] = None,
    repairs: Annotated[
        int | None,
        typer.Option("--repairs", min=1, help="How many weak steps to redo (default: one a solution)."),
    ] = None,
    no_scores: Annotated[bool, typer.Option("--no-scores", help="Weak: no PRM, log-probabilities alone.")] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="Write true classes too, where they are known (the lab).")
    ] = False,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    shard: ShardOption = None,
    in_flight: InFlightOption = 64,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record solutions of the weak or strong model alone, or weak steps that the strong or the weak model redoes."""
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.runtime.recording import MODES, repair_job, require_truth, rollout_jobs, solo_job
    from trim_pomdp.runtime.traces import check_folder

    chosen = next((item for item in MODES if item == mode), None)
    if chosen is not None:
        _check_options(chosen, weak, repairs, no_scores, problems, family)
    elif mode == _ALL:
        _check_all(weak, shard, as_json)
    else:
        raise InputError(f"unknown mode {mode!r}; there are {', '.join((*MODES, _ALL))}")
    if layout is not None and problems is None:
        raise InputError("--layout is of a --problems file, and none is given")
    part = read_shard(shard)
    if chosen is not None:
        check_folder(out, resume=resume)
    source = model_source(models, cores=threads)
    require_truth(source, labels=labels)
    asked, lab_family = [], None  # repairs have those of the weak rollout
    if chosen not in _AGAIN:
        lab_family = read_family(models, family)
        asked = lab_or_file_problems(lab_family, problems, "fit", seed, layout)
    how: dict[str, Any] = {"labels": labels, "resume": resume, "in_flight": in_flight, "shard": part}
    if chosen is None:
        options: dict[str, Any] = {"scores": not no_scores, "repairs": repairs, "family": lab_family, "seed": seed}
        jobs = rollout_jobs(asked, source, out, resume=resume, **options)
        use_threads(models, threads)
        for job in jobs:
            _show(job.mode, *_record(job, out / job.mode, **how), out / job.mode)
        say(f"next: trim-pomdp fit-dynamics --rollouts {out} --observations FILE|PRESET --out dynamics.json")
        return
    if chosen == "repair" or chosen == "redraft":
        assert weak is not None  # options are checked
        job = repair_job(weak, source, mode=chosen, n=repairs, seed=seed)
    else:
        scores = chosen == "weak" and not no_scores
        job = solo_job(chosen, asked, source, family=lab_family, seed=seed, scores=scores)
    use_threads(models, threads)
    summary, files = _record(job, out, **how)
    if as_json:
        emit_json(_document(chosen, summary, files))
        return
    _show(chosen, summary, files, out)


def _record(job: RolloutJob, out: Path, *, shard: Shard | None, **options: Any) -> tuple[RunSummary, list[str]]:
    """Record a rollout, with a bar."""
    total = len(job.problems if shard is None else shard.of(job.problems))
    with resumable(), solving_bar(f"{job.mode} rollout", total) as tell:
        return job.record(out, progress=tell, shard=shard, **options)


_ALL, _AGAIN = "all", ("repair", "redraft")


def _check_all(weak: Path | None, shard: str | None, as_json: bool) -> None:
    if weak is not None:
        raise InputError("--from goes with --mode repair and redraft; --mode all redoes steps of its own weak rollout")
    if shard is not None:
        raise InputError("--shard goes with one mode at a time: repairs are chosen from all weak rollouts")
    if as_json:
        raise InputError("--json goes with one mode at a time, since it prints one document")


def _check_options(
    mode: Mode,
    weak: Path | None,
    repairs: int | None,
    no_scores: bool,
    problems: str | None,
    family: str | None,
) -> None:
    again = mode in _AGAIN
    if again != (weak is not None):
        raise InputError("--mode repair (or redraft) and --from FOLDER go together: steps of a weak rollout are redone")
    if not again and repairs is not None:
        raise InputError("--repairs goes with --mode repair and redraft")
    if again and (problems is not None or family is not None):
        raise InputError(f"{mode}s have the problems of the weak rollout; leave out --problems and --family")
    if mode != "weak" and no_scores:
        raise InputError("--no-scores goes with --mode weak; the other modes ask no PRM")


def _document(mode: Mode, summary: RunSummary, files: list[str]) -> dict[str, Any]:
    return {
        "mode": mode,
        "problems": summary.problems,
        "accuracy": summary.accuracy,
        "accuracy_se": summary.accuracy_se,
        "steps": summary.steps,
        "tokens": summary.tokens,
        "wall_s": summary.wall_s,
        "failed": summary.failed,
        "files": files,
    }


def _show(mode: Mode, summary: RunSummary, files: list[str], out: Path) -> None:
    from trim_pomdp.runtime.rollouts import PROBLEMS_FILE

    rows: list[list[object]] = [
        ["accuracy", summary.accuracy, summary.accuracy_se],
        ["steps", summary.steps, None],
    ]
    for kind, count in summary.tokens.items():
        if count:
            rows.append([f"tokens, {kind.replace('_', ' ')}", count, None])
    show_table(f"{summary.problems} {mode} rollouts", ["quantity", "value", "standard error"], rows)
    show_pace(summary)
    if summary.failed:
        warn("those that failed are left out of the files")
    say(f"wrote {out}/: {', '.join([*files, 'traces.jsonl', PROBLEMS_FILE, 'run.json'])}")
