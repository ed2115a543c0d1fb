"""From traces to the files that dynamics are fitted on: weak and strong solutions, repairs and redrafts of weak steps.

Which weak steps a model writes again, the strong one or the weak one itself, `choose_repairs` decides: half of them
*suspicious* ones, half any. A suspicious step is the first of its solution whose score (or smallest log-probability,
where nothing was scored) is below a cut, the median over solutions of the lowest one; any step means all steps of all
solutions alike. So both failed and right steps occur, and nothing that comes after a step, not even the solution's
length, has a say in whether it is chosen, which is what makes the outcome's likelihood given the scores up to there
valid. (The lowest score of a whole solution would not do: that a step is lowest says that all later ones look better.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trim_pomdp.artifacts import Record, write_text
from trim_pomdp.data.features import LOGPROBS, LogprobName
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.processbench import LabelledSolution, StepScores
from trim_pomdp.data.rollouts import RedraftRollout, RepairRollout, StrongRollout
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.attempt import logprob_features
from trim_pomdp.runtime.records import Generation, SolutionRecord
from trim_pomdp.text.boxes import step_answer

PROBLEMS_FILE = "problems.jsonl"
ROLLOUT_FILES = ("weak.jsonl", "scores.jsonl", "labelled.jsonl", "strong.jsonl", "repair.jsonl", "redraft.jsonl")
"""What rollouts write from their traces: one line a solution, its id that of its problem and ``/weak`` or the like."""


def rollout_files(folder: Path) -> dict[str, Path]:
    """Rollouts of a folder, by mode, as many as there are: in it, or a folder a mode."""
    found = {}
    for mode in ("weak", "strong", "repair", "redraft"):
        for path in (folder / f"{mode}.jsonl", folder / mode / f"{mode}.jsonl"):
            if path.is_file():
                found[mode] = path
    return found


@dataclass(frozen=True)
class Repair:
    """A weak step that the strong model redoes, or the weak one drafts again.

    Attributes
    ----------
    weak : SolutionRecord
        The weak model's solution.
    step : int
        Index of the step, from 0.
    """

    weak: SolutionRecord
    step: int

    @property
    def id(self) -> str:
        """Unique among the repairs of a rollout."""
        return f"{self.weak.terminal.problem}@{self.step}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """Weak steps that are kept."""
        return tuple(item.text for item in accepted(self.weak)[: self.step])

    @property
    def discarded(self) -> str:
        """The weak step in whose place another one is written."""
        return accepted(self.weak)[self.step].text

    def problem(self, original: Problem) -> Problem:
        """What the model goes on with; its id keys draws of its own."""
        return Problem(self.id, original.prompt, original.answer)


def accepted(record: SolutionRecord) -> tuple[Generation, ...]:
    """Steps that stand in a solution."""
    return tuple(item.accepted for item in record.decisions if item.accepted is not None)


def usable(records: Iterable[SolutionRecord]) -> list[SolutionRecord]:
    """Solutions that tell of the models, by problem: those that no error ended."""
    kept = [record for record in records if record.terminal.error is None]
    return sorted(kept, key=lambda record: record.terminal.problem)


def choose_repairs(solutions: Sequence[SolutionRecord], n: int, seed: int) -> list[Repair]:
    """Weak steps to redo; see the module.

    Parameters
    ----------
    solutions : sequence of SolutionRecord
        Of the weak model alone.
    n : int
        How many, at most all steps.
    seed : int

    Raises
    ------
    InputError
        If there are not so many steps.
    """
    everything = [(i, step) for i, record in enumerate(solutions) for step in range(len(record.decisions))]
    if not 1 <= n <= len(everything):
        raise InputError(f"{n} repairs; expected 1 to {len(everything)}, the number of weak steps")
    rng = np.random.default_rng(seed)
    first = _suspicious(solutions)
    picked = {first[i] for i in rng.permutation(len(first))[: n // 2]}
    rest = [item for item in everything if item not in picked]
    picked |= {rest[i] for i in rng.permutation(len(rest))[: n - len(picked)]}
    return [Repair(solutions[i], step) for i, step in sorted(picked)]


def _suspicious(solutions: Sequence[SolutionRecord]) -> list[tuple[int, int]]:
    """First step of every solution that looks worse than the lowest steps do at the median."""
    signals = [_signal(record) for record in solutions]
    cut = float(np.median([min(values) for values in signals]))
    found = ((i, next((step for step, value in enumerate(row) if value < cut), None)) for i, row in enumerate(signals))
    return [(i, step) for i, step in found if step is not None]


def _signal(record: SolutionRecord) -> tuple[float, ...]:
    return _scores(record) or _features(record).get("logprob_min", (0.0,) * len(record.decisions))


# Records of the files ---------------------------------------------------------------------------------------


def weak_rollout(record: SolutionRecord, *, labels: bool = False) -> ScoredSequence:
    """A solution of the weak model alone, with its first error (where true classes are known) or without."""
    return ScoredSequence(
        id=f"{record.terminal.problem}/weak",
        problem_id=record.terminal.problem,
        scores=_scores(record),
        features=_features(record),
        correct=bool(record.terminal.correct),
        tokens=tuple(item.tokens for item in accepted(record)),
        label=first_error(record) if labels else None,
    )


def strong_rollout(record: SolutionRecord, *, labels: bool = False) -> StrongRollout:
    """A solution of the strong model alone."""
    return StrongRollout(
        id=f"{record.terminal.problem}/strong",
        problem_id=record.terminal.problem,
        correct=bool(record.terminal.correct),
        tokens=tuple(item.tokens for item in accepted(record)),
        label=first_error(record) if labels else None,
    )


def repair_rollout(repair: Repair, redone: SolutionRecord, *, labels: bool = False) -> RepairRollout:
    """What became of a weak step that the strong model redid."""
    strong = accepted(redone)
    truth = {"class": _known_class(_redone(repair)), "redone_right": _known_class(strong[0]) == 0} if labels else {}
    return RepairRollout.model_validate(
        {
            **_seen_before(repair),
            "id": f"{repair.id}/repair",
            "correct": bool(redone.terminal.correct),
            "strong_tokens": tuple(item.tokens for item in strong),
            **truth,
        }
    )


def redraft_rollout(repair: Repair, redone: SolutionRecord, *, labels: bool = False) -> RedraftRollout:
    """What became of a weak step that the weak model drafted again."""
    then = weak_rollout(redone).model_copy(
        update={"id": f"{repair.id}/weak", "problem_id": repair.weak.terminal.problem}
    )
    right = _known_class(accepted(redone)[0]) == 0 if labels else None
    truth = {"class": _known_class(_redone(repair)), "redrafted_right": right} if labels else {}
    return RedraftRollout.model_validate(
        {
            **_seen_before(repair),
            "id": f"{repair.id}/redraft",
            "correct": then.correct,
            "redrafted": then,
            "repeated": accepted(redone)[0].text == repair.discarded,
            **truth,
        }
    )


def _redone(repair: Repair) -> Generation:
    """The weak step in whose place another one was written."""
    return accepted(repair.weak)[repair.step]


def _seen_before(repair: Repair) -> dict[str, Any]:
    """What was known of the weak solution up to the step that was written again."""
    seen = repair.step + 1
    weak, scores = accepted(repair.weak)[:seen], _scores(repair.weak)
    return {
        "problem_id": repair.weak.terminal.problem,
        "scores": None if scores is None else scores[:seen],
        "features": {name: values[:seen] for name, values in _features(repair.weak).items()},
        "weak_tokens": tuple(item.tokens for item in weak),
        "ended": weak[-1].stop == "end" or step_answer([item.text for item in weak]) is not None,
    }


def labelled_scores(record: SolutionRecord, prm: str) -> StepScores:
    """Scores of a weak solution's steps beside its first error, as `fit-observations` takes them."""
    scores, features = _scores(record), _features(record)
    return StepScores(
        id=f"{record.terminal.problem}/weak",
        label=first_error(record),
        n_scored=len(record.decisions),
        scores={} if scores is None else {prm: scores},
        features=features,
    )


def labelled_solution(record: SolutionRecord, problem: Problem) -> LabelledSolution:
    """The text of a weak solution beside its first error, in ProcessBench's form."""
    return LabelledSolution(
        id=f"{problem.id}/weak",
        generator="weak",
        problem=problem.prompt,
        steps=tuple(item.text for item in accepted(record)),
        label=first_error(record),
        final_answer_correct=bool(record.terminal.correct),
    )


def first_error(record: SolutionRecord) -> int:
    """Index of the first wrong step, -1 if there is none.

    Raises
    ------
    InputError
        If nobody knows.
    """
    classes = [_known_class(item) for item in accepted(record)]
    return classes.index(2) if 2 in classes else -1


def _known_class(generation: Generation) -> int:
    if generation.true_class is None:
        raise InputError("labels exist only where true classes are known, which is the lab")
    return generation.true_class


def _scores(record: SolutionRecord) -> tuple[float, ...] | None:
    known = tuple(score for score in record.own_scores if score is not None)
    return known if len(known) == len(record.decisions) else None


def _features(record: SolutionRecord) -> dict[LogprobName, tuple[float, ...]]:
    steps = accepted(record)
    if any(item.tokens and not item.logprobs for item in steps):  # the model offers none
        return {}
    rows = [logprob_features(item.logprobs) for item in steps]
    return {name: tuple(row[name] for row in rows) for name in LOGPROBS}


def write_records(path: Path, records: Iterable[Record]) -> Path:
    """Write records as JSONL, whole or not at all; what is not known is left out."""
    lines = (record.model_dump_json(exclude_none=True, by_alias=True) for record in records)
    return write_text(path, "".join(f"{line}\n" for line in lines))
