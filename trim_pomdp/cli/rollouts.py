"""The verb that records what models do without a policy: ``trim-pomdp rollout``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

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
    require_success,
    resumable,
    solving_bar,
    use_threads,
)
from trim_pomdp.cli.models import JsonOption, LayoutOption, SeedOption
from trim_pomdp.cli.output import emit_json, say, show_table, warn
from trim_pomdp.cli.routing import show_pace
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.artifacts import Record
    from trim_pomdp.data.problems import Problem
    from trim_pomdp.runtime.attempt import Attempt, Caps
    from trim_pomdp.runtime.records import SolutionRecord
    from trim_pomdp.runtime.rollouts import Repair
    from trim_pomdp.runtime.run import Routing
    from trim_pomdp.runtime.sources import ModelSource
    from trim_pomdp.runtime.summary import RunSummary

Mode = Literal["weak", "strong", "repair"]


def rollout(
    mode: Annotated[str, typer.Option("--mode", help="weak, strong, repair, or all of them, a folder each in --out.")],
    out: FolderOption,
    models: ModelsOption = LAB,
    family: FamilyOption = None,
    problems: ProblemsOption = None,
    layout: LayoutOption = None,
    weak: Annotated[Path | None, typer.Option("--from", help="Repairs: folder of a finished weak rollout.")] = None,
    repairs: Annotated[
        int | None, typer.Option("--repairs", min=1, help="How many weak steps to redo (default: one a solution).")
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
    """Record solutions of the weak or strong model alone, or weak steps that the strong model redoes."""
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.runtime.traces import check_folder

    if mode == _ALL:
        _check_all(weak, shard, as_json)
        for item in _MODES:
            alone = {"resume": resume and (out / item).exists(), "in_flight": in_flight, "threads": threads}
            options: dict[str, Any] = {"labels": labels, "seed": seed, "models": models, **alone}
            if item == "repair":
                rollout(item, out / item, weak=out / "weak", repairs=repairs, **options)
            else:
                given: dict[str, Any] = {"family": family, "problems": problems, "layout": layout}
                rollout(item, out / item, no_scores=no_scores and item == "weak", **given, **options)
        say(f"next: trim-pomdp fit-dynamics --rollouts {out} --observations FILE|PRESET --out dynamics.json")
        return
    chosen = next((item for item in _MODES if item == mode), None)
    if chosen is None:
        raise InputError(f"unknown mode {mode!r}; there are {', '.join((*_MODES, _ALL))}")
    _check_options(chosen, weak, repairs, no_scores, problems, family)
    if layout is not None and problems is None:
        raise InputError("--layout is of a --problems file, and none is given")
    part = read_shard(shard)
    check_folder(out, resume=resume)
    source = model_source(models)
    if labels and source.oracle is None:
        raise InputError("--labels exist only where true classes are known, which is the lab")
    if chosen == "repair":
        assert weak is not None  # options are checked
        job = _repair_job(weak, repairs, seed, source)
    else:
        lab_family = read_family(models, family)
        asked = lab_or_file_problems(lab_family, problems, "fit", seed, layout)
        job = _solo_job(chosen, asked, lab_family, source, seed, scores=chosen == "weak" and not no_scores)
    use_threads(models, threads)
    total = len(job.problems if part is None else part.of(job.problems))
    with resumable(), solving_bar(f"{chosen} rollout", total) as tell:
        summary = job.run(out, resume=resume, in_flight=in_flight, progress=tell, shard=part)
    require_success(summary, out)
    files = job.write(out, labels)
    if as_json:
        emit_json(_document(chosen, summary, files))
        return
    _show(chosen, summary, files, out)


_MODES: tuple[Mode, ...] = get_args(Mode)
_ALL = "all"


def _check_all(weak: Path | None, shard: str | None, as_json: bool) -> None:
    if weak is not None:
        raise InputError("--from goes with --mode repair; --mode all redoes steps of its own weak rollout")
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
    if (mode == "repair") != (weak is not None):
        raise InputError("--mode repair and --from FOLDER go together: repairs redo steps of a weak rollout")
    if mode != "repair" and repairs is not None:
        raise InputError("--repairs goes with --mode repair")
    if mode == "repair" and (problems is not None or family is not None):
        raise InputError("repairs have the problems of the weak rollout; leave out --problems and --family")
    if mode != "weak" and no_scores:
        raise InputError("--no-scores goes with --mode weak; the other modes ask no PRM")


@dataclass(frozen=True)
class _Job:
    """A rollout: what is run, and what is written from its traces."""

    mode: Mode
    problems: Sequence[Problem]
    source: ModelSource
    routing: Routing
    config: dict[str, Any]
    repairs: Mapping[str, Repair] = field(default_factory=dict)

    def run(self, out: Path, **options: Any) -> RunSummary:
        from trim_pomdp.data.problems import problems_text
        from trim_pomdp.runtime.rollouts import PROBLEMS_FILE
        from trim_pomdp.runtime.run import run
        from trim_pomdp.runtime.sources import roles_asked

        routing = self.routing
        roles = roles_asked(routing.policy, routing.caps, record_scores=routing.record_scores)
        self.source.require(roles)
        return run(
            self.problems,
            self._start,
            self.source.load(roles).models,
            out,
            config={**routing.config, "mode": self.mode, "models": self.source.config(roles), **self.config},
            files={PROBLEMS_FILE: problems_text(self.problems)},
            **options,
        )

    def _start(self, problem: Problem) -> Attempt:
        repair = self.repairs.get(problem.id)
        return self.routing.start(problem, repair.prefix if repair else ())

    def write(self, out: Path, labels: bool) -> list[str]:
        """Write the files of the rollout; returns their names."""
        from trim_pomdp.runtime.rollouts import usable, write_records
        from trim_pomdp.runtime.traces import read_traces

        files = self._files(usable(read_traces(out)), labels)
        return [write_records(out / name, records).name for name, records in files.items()]

    def _files(self, ended: Sequence[SolutionRecord], labels: bool) -> dict[str, list[Record]]:
        from trim_pomdp.runtime import rollouts

        if self.mode == "strong":
            return {"strong.jsonl": [rollouts.strong_rollout(item, labels=labels) for item in ended]}
        if self.mode == "repair":
            redone = {item.terminal.problem: item for item in ended}
            rows = [(item, redone[name]) for name, item in self.repairs.items() if name in redone]
            return {"repair.jsonl": [rollouts.repair_rollout(*row, labels=labels) for row in rows]}
        files: dict[str, list[Record]] = {"weak.jsonl": [rollouts.weak_rollout(item, labels=labels) for item in ended]}
        if labels:
            problem = {item.id: item for item in self.problems}
            prm = self.source.prm_name
            files["scores.jsonl"] = [rollouts.labelled_scores(item, prm) for item in ended]
            files["labelled.jsonl"] = [
                rollouts.labelled_solution(item, problem[item.terminal.problem]) for item in ended
            ]
        return files


def _solo_caps(source: ModelSource) -> Caps:
    """One model alone: nothing after which the other one would take over."""
    return replace(source.caps, max_strong_tokens=None, on_failure="fail")


def _solo_job(
    mode: Literal["weak", "strong"],
    problems: list[Problem],
    family: str | None,
    source: ModelSource,
    seed: int,
    *,
    scores: bool,
) -> _Job:
    from trim_pomdp.policies import StrategyRule
    from trim_pomdp.runtime.live import require_answers
    from trim_pomdp.runtime.run import Routing

    require_answers(problems)
    routing = Routing(
        StrategyRule(strategy=mode),
        seed=seed,
        caps=_solo_caps(source),
        oracle=source.oracle,
        record_scores=scores,
        format=source.format,
        checker=source.checker,
    )
    return _Job(mode, problems, source, routing, {"family": family})


def _repair_job(folder: Path, n: int | None, seed: int, source: ModelSource) -> _Job:
    from trim_pomdp.policies import StrategyRule
    from trim_pomdp.runtime.rollouts import choose_repairs, usable
    from trim_pomdp.runtime.shards import Shard
    from trim_pomdp.runtime.sources import roles_asked
    from trim_pomdp.runtime.traces import read_run_artifact, read_traces

    weak = read_run_artifact(folder)
    if (shard := Shard.of_config(weak.config)) is not None:
        raise InputError(f"{folder}: is shard {shard} of a rollout; join its shards first (trim-pomdp merge)")
    if weak.config.get("mode") != "weak":
        raise InputError(f"{folder}: is no weak rollout; make one with: trim-pomdp rollout --mode weak")
    solo = StrategyRule(strategy="weak")
    asked_roles = roles_asked(solo, _solo_caps(source), record_scores=weak.config["record_scores"])
    if weak.config["models"] != source.config(asked_roles):
        raise InputError(f"{folder}: was made by other models than those of --models; name the same ones")
    problems = _recorded_problems(folder, weak.config)
    ended = list(read_traces(folder))
    if len(ended) < len(problems):
        raise InputError(f"{folder}: is not finished ({len(ended)} of {len(problems)} problems); finish it (--resume)")
    solutions = usable(ended)
    if not solutions:
        raise InputError(f"{folder}: every problem failed, so there is no step to redo")
    chosen = choose_repairs(solutions, n or len(solutions), seed)
    asked = [item.problem(problems[item.weak.terminal.problem]) for item in chosen]
    job = _solo_job("strong", asked, weak.config.get("family"), source, seed, scores=False)
    return _Job(
        "repair", asked, source, job.routing, {**job.config, "from": weak.config_hash}, {r.id: r for r in chosen}
    )


def _recorded_problems(folder: Path, config: dict[str, Any]) -> dict[str, Problem]:
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.runtime.rollouts import PROBLEMS_FILE
    from trim_pomdp.runtime.run import fingerprint

    problems = read_problems(folder / PROBLEMS_FILE)
    if fingerprint(problems) != config.get("problems"):
        raise InputError(f"{folder / PROBLEMS_FILE}: holds other problems than the rollout was made on")
    return {item.id: item for item in problems}


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
