"""Runs of a bench: a rule on a set of problems is a folder named after both, made once, whoever asks for it.

A run of a bench keeps how every problem ended, and no more, unless somebody wants to look at its steps, or at scores of
all of them. All runs of a trial have its seed, so that strategies meet the same drafts wherever they do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Rule
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.shards import Shard
from trim_pomdp.runtime.sources import ModelSource, roles_asked
from trim_pomdp.runtime.traces import RUN_FILE, read_traces

POLICY_FILE = "rule.json"
Kept = Literal["ends", "steps", "scores"]
"""What a run keeps: how problems ended; all steps as well; all steps, each of them scored."""
Tell = Callable[[str, int, int], None]
"""Told what is being run, how many of its problems have ended, and of how many."""


@dataclass(frozen=True)
class Trial:
    """Problems, and the seed of all that is drawn on them.

    Attributes
    ----------
    name : str
        Of the folder of its runs.
    problems : sequence of Problem
    seed : int
    """

    name: str
    problems: Sequence[Problem]
    seed: int


@dataclass(frozen=True)
class Runner:
    """Makes runs, or finds those that are there.

    Attributes
    ----------
    source : ModelSource
        Models; those that remember (`trim_pomdp.runtime.remembered`) are asked each thing once.
    folder : Path
        Of all runs.
    class_table : ClassTable or None
        For rules that look at (min, current).
    in_flight : int
        Problems under way at once.
    shard : Shard or None
        The part of the problems that is made here; what other shards made is found.
    tell : callable
        Of progress.
    """

    source: ModelSource
    folder: Path
    class_table: ClassTable | None = None
    in_flight: int = 128
    shard: Shard | None = None
    tell: Tell = lambda *_: None

    def make(self, rule: Rule, trial: Trial, *, kept: Kept = "ends") -> None:
        """Run a rule on the problems of a trial, those of the shard; nothing where other shards made them all.

        Parameters
        ----------
        rule : Rule
        trial : Trial
        kept : {"ends", "steps", "scores"}
            What is kept of it.

        Raises
        ------
        InputError
            If the source lacks a model that the rule asks, or a folder holds another run.
        """
        routing = self._routing(rule, trial, kept)
        roles = roles_asked(rule, self.source.caps, record_scores=kept == "scores")
        self.source.require(roles)
        mine = trial.problems if self.shard is None else self.shard.of(trial.problems)
        name = self._name(rule, kept)
        folder = self._folder(trial, name)
        if not folder.exists() and {problem.id for problem in mine} <= self._found(trial, name).keys():
            return
        run(
            mine,
            routing.start,
            self.source.load(roles).models,
            folder,
            config={**routing.config, "mode": "bench", "models": self.source.config(roles)},
            resume=True,
            in_flight=self.in_flight,
            progress=lambda done, total, _: self.tell(f"{trial.name}: {rule.form}", done, total),
            files={POLICY_FILE: rule.model_dump_json(indent=1) + "\n"},
            keep_steps=kept != "ends",
        )

    def records(self, rule: Rule, trial: Trial, *, kept: Kept = "ends") -> list[SolutionRecord]:
        """How all problems of a trial ended under a rule, in their order, by whichever shard.

        Raises
        ------
        InputError
            If some problem has not ended yet.
        """
        found = self._found(trial, self._name(rule, kept))
        missing = [problem.id for problem in trial.problems if problem.id not in found]
        if missing:
            raise InputError(
                f"{self.folder}: {len(missing)} of {len(trial.problems)} problems of {trial.name} have not ended under "
                f"a {rule.form} rule (such as {missing[0]!r}); run the bench with --resume, every shard of it"
            )
        return [found[problem.id] for problem in trial.problems]

    def _routing(self, rule: Rule, trial: Trial, kept: Kept) -> Routing:
        source = self.source
        return Routing(
            rule,
            seed=trial.seed,
            caps=source.caps,
            class_table=self.class_table,
            oracle=source.oracle if rule.needs_truth else None,
            record_scores=kept == "scores",
            format=source.format,
            checker=source.checker,
        )

    def _name(self, rule: Rule, kept: Kept) -> str:
        return f"{rule.form}-{rule.policy_hash}{'' if kept == 'ends' else f'-{kept}'}"

    def _folder(self, trial: Trial, name: str) -> Path:
        part = "" if self.shard is None else f".{self.shard.index}-of-{self.shard.count}"
        return self.folder / trial.name / f"{name}{part}"

    def _found(self, trial: Trial, name: str) -> dict[str, SolutionRecord]:
        """Solutions by the id of their problem, whichever shard made them."""
        places = (self.folder / trial.name).glob(f"{name}*")
        folders = sorted(place for place in places if place.name.split(".")[0] == name and (place / RUN_FILE).is_file())
        return {item.terminal.problem: item for folder in folders for item in read_traces(folder)}
