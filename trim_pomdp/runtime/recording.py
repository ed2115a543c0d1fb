"""Rollouts of models: one of them alone over problems, or single weak steps that one of them writes again.

Each is a run with traces in a folder of its own, and files beside them that dynamics are fitted on
(`trim_pomdp.runtime.rollouts`, `trim_pomdp.runtime.recorded`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from trim_pomdp.artifacts import Record
from trim_pomdp.data.problems import Problem, problems_text, read_problems
from trim_pomdp.errors import InputError
from trim_pomdp.policies import StrategyRule
from trim_pomdp.policies.base import Author, Role
from trim_pomdp.runtime import rollouts
from trim_pomdp.runtime.attempt import Attempt, Caps
from trim_pomdp.runtime.live import require_answers
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.rollouts import PROBLEMS_FILE, Repair, choose_repairs, usable, write_records
from trim_pomdp.runtime.run import Progress, Routing, fingerprint, run
from trim_pomdp.runtime.shards import Shard
from trim_pomdp.runtime.sources import ModelSource, roles_asked
from trim_pomdp.runtime.summary import RunSummary, require_success
from trim_pomdp.runtime.traces import check_folder, read_run_artifact, read_traces

Mode = Literal["weak", "strong", "repair", "redraft"]
Again = Literal["repair", "redraft"]
"""Modes in which a step of a weak rollout is written again: by the strong model, or by the weak one."""
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class RolloutJob:
    """A rollout: what is run, and what is written from its traces.

    Attributes
    ----------
    mode : {"weak", "strong", "repair", "redraft"}
    problems : sequence of Problem
    source : ModelSource
    routing : Routing
    config : dict
        What defines it beside models and routing.
    repairs : mapping of str to Repair
        What is written again, by the id of their problem.
    """

    mode: Mode
    problems: Sequence[Problem]
    source: ModelSource
    routing: Routing
    config: dict[str, Any]
    repairs: Mapping[str, Repair] = field(default_factory=dict)

    @property
    def roles(self) -> frozenset[Role]:
        """The models that are asked."""
        return roles_asked(self.routing.policy, self.routing.caps, record_scores=self.routing.record_scores)

    def record(self, out: Path, *, labels: bool = False, **options: Any) -> tuple[RunSummary, list[str]]:
        """Run it and write its files, whose names are returned too; options are those of `trim_pomdp.runtime.run.run`.

        Raises
        ------
        InputError
            If the source lacks a model, or the folder is not fit.
        TrimError
            If every problem failed.
        """
        summary = self._run(out, **options)
        require_success(summary, out)
        return summary, self._write(out, labels=labels)

    def _run(self, out: Path, **options: Any) -> RunSummary:
        self.source.require(self.roles)
        routing = self.routing
        return run(
            self.problems,
            self._start,
            self.source.load(self.roles).models,
            out,
            config={**routing.config, "mode": self.mode, "models": self.source.config(self.roles), **self.config},
            files={PROBLEMS_FILE: problems_text(self.problems)},
            **options,
        )

    def _start(self, problem: Problem) -> Attempt:
        repair = self.repairs.get(problem.id)
        if repair is None:
            return self.routing.start(problem)
        return self.routing.start(problem, repair.prefix, (repair.discarded,) if self.mode == "redraft" else ())

    def _write(self, out: Path, *, labels: bool) -> list[str]:
        """Write the files of the rollout from its traces."""
        files = self._files(usable(read_traces(out)), labels)
        return [write_records(out / name, records).name for name, records in files.items()]

    def _files(self, ended: Sequence[SolutionRecord], labels: bool) -> dict[str, list[Record]]:
        if self.mode == "strong":
            return {"strong.jsonl": [rollouts.strong_rollout(item, labels=labels) for item in ended]}
        if self.repairs:
            redone = {item.terminal.problem: item for item in ended}
            rows = [(item, redone[name]) for name, item in self.repairs.items() if name in redone]
            record = rollouts.repair_rollout if self.mode == "repair" else rollouts.redraft_rollout
            return {f"{self.mode}.jsonl": [record(*row, labels=labels) for row in rows]}
        files: dict[str, list[Record]] = {"weak.jsonl": [rollouts.weak_rollout(item, labels=labels) for item in ended]}
        if labels:
            problem = {item.id: item for item in self.problems}
            prm = self.source.prm_name
            files["scores.jsonl"] = [rollouts.labelled_scores(item, prm) for item in ended]
            files["labelled.jsonl"] = [
                rollouts.labelled_solution(item, problem[item.terminal.problem]) for item in ended
            ]
        return files


def record_rollouts(
    problems: Sequence[Problem],
    source: ModelSource,
    folder: str | Path,
    *,
    scores: bool = True,
    repairs: int | None = None,
    labels: bool = False,
    family: str | None = None,
    seed: int = 0,
    resume: bool = False,
    in_flight: int = 64,
    progress: Progress | None = None,
) -> dict[Mode, RunSummary]:
    """Everything that dynamics are fitted on: each model alone, weak steps that the strong one redoes, and redrafts.

    Parameters
    ----------
    problems : sequence of Problem
        With answers; none that a run will be judged by later.
    source : ModelSource
    folder : path
        Gets a folder a mode; `trim_pomdp.runtime.recorded.read_rollouts` reads it.
    scores : bool
        Have the PRM score every weak step; False where there is none, and plans judge steps by log-probabilities alone.
    repairs : int or None
        How many weak steps to redo, 1 or more; one a solution by default.
    labels : bool
        Write true classes too, where they are known.
    family : str or None
        Of the lab's problems; a plan for one family does not go unnoticed in a run on another.
    seed : int
        Of all draws.
    resume : bool
        Go on with what the folder holds.
    in_flight : int
        Problems under way at once.
    progress : callable or None
        Told after every problem of each mode.

    Raises
    ------
    InputError
        If a problem has no answer, the source lacks a model, `repairs` is below 1, or the folder is not fit.
    TrimError
        If every problem failed.
    """
    out = Path(folder)
    require_truth(source, labels=labels)
    summaries: dict[Mode, RunSummary] = {}
    asked: dict[str, Any] = {"scores": scores, "repairs": repairs, "family": family, "seed": seed}
    told: dict[str, Any] = {"labels": labels, "in_flight": in_flight, "progress": progress}
    for job in rollout_jobs(problems, source, out, resume=resume, **asked):
        summaries[job.mode], _ = job.record(out / job.mode, resume=resume, **told)
    return summaries


def rollout_jobs(
    problems: Sequence[Problem],
    source: ModelSource,
    folder: Path,
    *,
    scores: bool = True,
    repairs: int | None = None,
    family: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> Iterator[RolloutJob]:
    """The jobs of `record_rollouts`; each is to be recorded, in a folder of its mode, before the next one is asked for.

    Raises
    ------
    InputError
        As `record_rollouts`, and at once, before anything is run.
    """
    _require_repairs(repairs)
    for mode in MODES:
        check_folder(folder / mode, resume=resume)
    solos = (
        solo_job("weak", problems, source, family=family, seed=seed, scores=scores),
        solo_job("strong", problems, source, family=family, seed=seed),
    )
    source.require(solos[0].roles | solos[1].roles)

    def jobs() -> Iterator[RolloutJob]:
        yield from solos
        for mode in get_args(Again):
            yield repair_job(folder / "weak", source, mode=mode, n=repairs, seed=seed)

    return jobs()


def require_truth(source: ModelSource, *, labels: bool) -> None:
    """Raise `InputError` if true classes are wanted where nobody knows them."""
    if labels and source.oracle is None:
        raise InputError("labels (--labels) exist only where true classes are known, which is the lab")


def _require_repairs(n: int | None) -> None:
    if n is not None and n < 1:
        raise InputError(f"repairs is {n}; expected how many weak steps to redo, 1 or more, or None for one a solution")


def solo_job(
    mode: Literal["weak", "strong"],
    problems: Sequence[Problem],
    source: ModelSource,
    *,
    family: str | None = None,
    seed: int = 0,
    scores: bool = False,
) -> RolloutJob:
    """One model alone over problems; `scores` has every step scored.

    Raises
    ------
    InputError
        If a problem has no answer.
    """
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
    return RolloutJob(mode, problems, source, routing, {"family": family})


def _solo_caps(source: ModelSource) -> Caps:
    """One model alone: nothing after which the other one would take over."""
    return replace(source.caps, max_strong_tokens=None, on_failure="fail")


def repair_job(
    folder: Path, source: ModelSource, *, mode: Again = "repair", n: int | None = None, seed: int = 0
) -> RolloutJob:
    """Steps of a finished weak rollout that are written again, one a solution unless told how many.

    Parameters
    ----------
    folder : Path
        Of the weak rollout.
    source : ModelSource
        The same models.
    mode : {"repair", "redraft"}
        Whether the strong model redoes them, and writes the rest, or the weak one drafts them again and goes on.
    n : int or None
        How many steps; the same ones in both modes.
    seed : int
        Of the choice and of all draws.

    Raises
    ------
    InputError
        If the folder holds no weak rollout, a shard of one, one that is not finished, or one of other models; or `n` is
        below 1, or more than there are steps.
    """
    _require_repairs(n)
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
    chosen = choose_repairs(solutions, len(solutions) if n is None else n, seed)
    asked = [item.problem(problems[item.weak.terminal.problem]) for item in chosen]
    author: Author = "strong" if mode == "repair" else "weak"
    scores = mode == "redraft" and bool(weak.config["record_scores"])
    job = solo_job(author, asked, source, family=weak.config.get("family"), seed=seed, scores=scores)
    return RolloutJob(
        mode, asked, source, job.routing, {**job.config, "from": weak.config_hash}, {r.id: r for r in chosen}
    )


def _recorded_problems(folder: Path, config: dict[str, Any]) -> dict[str, Problem]:
    problems = read_problems(folder / PROBLEMS_FILE)
    if fingerprint(problems) != config.get("problems"):
        raise InputError(f"{folder / PROBLEMS_FILE}: holds other problems than the rollout was made on")
    return {item.id: item for item in problems}
