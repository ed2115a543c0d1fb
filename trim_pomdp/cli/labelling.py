"""The verb that makes a file to label, and reads it back: ``trim-pomdp label``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.models import JsonOption, LayoutOption, SeedOption
from trim_pomdp.cli.output import emit_json, say, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.data.labelling import UnlabelledSolution

_SHOWN = 5


def label(
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder of a weak rollout, or a file with texts of solutions.")
    ] = None,
    check: Annotated[Path | None, typer.Option("--check", help="Labelled file to look at.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write: what is to be labelled; with --check, what is.")
    ] = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="How many solutions (default: all).")] = None,
    layout: LayoutOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a file of solutions for people or a judge to label (--from), or check one that comes back (--check).

    To label is to write into label the index of the first wrong step, from 0, or -1 if every step is right.
    """
    if (source is None) == (check is None):
        raise InputError("give --from FOLDER for a file to label, or --check FILE for one that comes back")
    if out is not None:
        _refuse_to_overwrite(out)
    if check is not None:
        if sample is not None or layout is not None:
            raise InputError("--sample and --layout go with --from; what comes back is checked whole, as it was made")
        _check(check, out, as_json)
        return
    assert source is not None  # one of them is given
    if out is None:
        raise InputError("--out FILE is needed: where should the solutions go that are to be labelled?")
    _make(source, out, sample, layout, seed, as_json)


def _refuse_to_overwrite(out: Path) -> None:
    from trim_pomdp.artifacts import require_writable

    require_writable(out)
    if out.exists():
        raise InputError(f"{out}: exists; name another file")


def _make(source: Path, out: Path, sample: int | None, layout: str | None, seed: int, as_json: bool) -> None:
    from trim_pomdp.artifacts import write_text
    from trim_pomdp.data.labelling import labels_text, read_texts, to_label

    folder = _rollout_folder(source)
    if folder is not None and layout is not None:
        raise InputError("--layout is of a file; a rollout's folder has its own")
    found = _texts_of(folder) if folder is not None else read_texts(source, layout=layout, tell=warn)
    try:
        chosen = to_label(found, sample, seed)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    write_text(out, labels_text(chosen))
    steps = sum(len(item.steps) for item in chosen)
    if as_json:
        emit_json({"out": str(out), "found": len(found), "solutions": len(chosen), "steps": steps})
        return
    say(f"wrote {out}: {len(chosen)} of {len(found)} solutions, {steps} steps")
    say("label is null in each: write the index of the first wrong step, from 0, or -1 if every step is right")
    say(f"then: trim-pomdp label --check {out} --out labelled.jsonl")


def _rollout_folder(source: Path) -> Path | None:
    """The folder of a rollout, named itself or by a file in it that has no texts; None for a file."""
    from trim_pomdp.runtime.traces import RUN_FILE, TRACE_FILE

    if source.is_dir():
        return source
    beside = source.parent / RUN_FILE
    return source.parent if source.name in ("weak.jsonl", TRACE_FILE) and beside.is_file() else None


def _texts_of(folder: Path) -> list[UnlabelledSolution]:
    """Solutions of a weak rollout, by problem; those that an error ended are left out."""
    from trim_pomdp.data.labelling import UnlabelledSolution
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.runtime.rollouts import PROBLEMS_FILE, accepted, usable
    from trim_pomdp.runtime.traces import read_run_artifact, read_traces

    if read_run_artifact(folder).config.get("mode") != "weak":
        raise InputError(f"{folder}: is no weak rollout; make one with: trim-pomdp rollout --mode weak")
    prompts = {item.id: item.prompt for item in read_problems(folder / PROBLEMS_FILE)}
    ended = list(read_traces(folder))
    records = [item for item in usable(ended) if accepted(item)]
    if not records:
        raise InputError(f"{folder}: holds no finished solution")
    if len(records) < len(prompts):
        warn(f"{folder}: {len(prompts) - len(records)} of {len(prompts)} problems have no finished solution")
    for item in records:
        if item.terminal.problem not in prompts:
            raise InputError(
                f"{folder / PROBLEMS_FILE}: does not hold problem {item.terminal.problem!r} of the rollout"
            )
    return [
        UnlabelledSolution(
            id=f"{item.terminal.problem}/weak",
            problem=prompts[item.terminal.problem],
            steps=tuple(step.text for step in accepted(item)),
            final_answer_correct=item.terminal.correct,
        )
        for item in records
    ]


def _check(path: Path, out: Path | None, as_json: bool) -> None:
    from trim_pomdp.artifacts import write_text
    from trim_pomdp.data.labelling import check_labels, labels_text

    found = check_labels(path)
    if found.wrong:
        more = f"; and {len(found.wrong) - _SHOWN} more" if len(found.wrong) > _SHOWN else ""
        shown = "; ".join(found.wrong[:_SHOWN])
        raise InputError(f"{path}: {len(found.wrong)} of {found.records} records are wrong: {shown}{more}")
    if out is not None:
        if not found.labelled:
            raise InputError(f"{path}: none of its {found.records} solutions is labelled, so there is nothing to write")
        write_text(out, labels_text(found.labelled))
    right = sum(item.label < 0 for item in found.labelled)
    if as_json:
        counts = {"records": found.records, "labelled": len(found.labelled), "unlabelled": found.unlabelled}
        emit_json({"out": None if out is None else str(out), **counts, "without_error": right})
        return
    say(f"{path}: {len(found.labelled)} of {found.records} labelled, {right} of them without an error")
    if found.unlabelled:
        say(f"{found.unlabelled} are not labelled" + (" and left out" if out is not None else ""))
    if out is not None:
        say(f"wrote {out}: for score --solutions and fit-dynamics --labelled")
