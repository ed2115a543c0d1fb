"""ProcessBench: model solutions with a human label of the first wrong step, and PRM scores joined to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from trim_pomdp.data.features import CLASSES, LOGPROBS, ClassFeatures, running_minimum
from trim_pomdp.data.hub import hub_rows
from trim_pomdp.data.layouts import SOLUTIONS, Tell, read_in_layout
from trim_pomdp.data.records import Id, Label, OpenRecord, iter_records, read_records
from trim_pomdp.data.sequences import LogprobFeatures, Score, check_features
from trim_pomdp.equality import ByContent
from trim_pomdp.errors import InputError
from trim_pomdp.text.steps import split_steps

Steps = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: split_steps(value) if isinstance(value, str) else value),
]
"""Steps of a solution; one text is split into its steps."""


class LabelledSolution(OpenRecord):
    """A solution whose first wrong step is known.

    Attributes
    ----------
    id, generator, problem : str
        Of the solution; who wrote it; what was asked.
    steps : tuple of str
        One text is split into them.
    label : int
        Index of the first wrong step, from 0, and -1 if every step is right.
    final_answer_correct : bool or None
        None where nobody knows.
    """

    id: Id
    generator: str
    problem: str
    steps: Steps
    label: Label
    final_answer_correct: bool | None = None

    @model_validator(mode="after")
    def _label_is_a_step(self) -> LabelledSolution:
        if self.label >= len(self.steps):
            raise ValueError(f"label {self.label} is not one of the {len(self.steps)} steps")
        return self


class StepScores(OpenRecord):
    """What was measured of a labelled solution's steps; `n_scored` may stop after the first wrong step.

    Attributes
    ----------
    scores : dict of str to tuple of float
        PRM scores, by PRM.
    features : dict of str to tuple of float
        ``logprob_min``, ``logprob_mean`` and ``logprob_first`` of each step's tokens, where the writer's
        log-probabilities are known.
    """

    id: Id
    label: Label
    n_scored: int = Field(ge=1)
    scores: dict[str, tuple[Score, ...]] = {}
    features: LogprobFeatures = {}

    @model_validator(mode="after")
    def _lengths_agree(self) -> StepScores:
        if not self.scores and not self.features:
            raise ValueError("missing 'scores'; they may be absent only where there are features")
        for name, scores in self.scores.items():
            if len(scores) != self.n_scored:
                raise ValueError(f"{name} has {len(scores)} scores; n_scored is {self.n_scored}")
        if self.label >= self.n_scored:
            raise ValueError(f"label {self.label} is beyond the {self.n_scored} scored steps")
        check_features(self.features, self.n_scored)
        return self


_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_SUFFIXES = {".json", ".jsonl", ".ndjson", ".gz", ".parquet", ".txt"}


def read_solutions(
    source: str | Path, *, split: str = "math", layout: str | None = None, tell: Tell | None = None
) -> list[LabelledSolution]:
    """Read labelled solutions: a file in one of the layouts of `trim_pomdp.data.layouts`, or a name on the hub.

    Parameters
    ----------
    source : str or Path
        Path of a file (JSON lines, a JSON array, parquet; plain or gzip), or a hub name such as ``Qwen/ProcessBench``.
    split : str
        Split of a hub dataset (ignored for files).
    layout : str or None
        ``processbench``, ``prm800k``, ``prmbench``, …; None recognises it.
    tell : callable or None
        Told in a line what is left out, if anything; None warns.

    Raises
    ------
    InputError
        Naming file, line (record in arrays and parquet), field and reason; if no layout fits; or, for a hub name,
        ``datasets`` is not installed or finds nothing.
    """
    raws = hub_rows(str(source), split) if _is_hub_name(source) else iter_records(source)
    found = read_in_layout(raws, str(source), LabelledSolution, SOLUTIONS, layout=layout, tell=tell, noun="solution")
    return [solution for _, solution in found]


def _is_hub_name(source: str | Path) -> bool:
    path = Path(source)
    if path.exists():
        return False
    if path.suffix in _SUFFIXES or not _HUB_NAME.fullmatch(str(source)):
        raise InputError(f"{source}: no such file, so it cannot be read")
    return True


def join_scores(
    solutions: Sequence[LabelledSolution], scores: Sequence[StepScores]
) -> list[tuple[LabelledSolution, StepScores]]:
    """Pair solutions with their scores by id, in the order of the scores; solutions without scores are left out.

    Raises
    ------
    InputError
        If an id occurs twice, scores have no solution, or the two disagree on label or number of steps.
    """
    by_id: dict[str, LabelledSolution] = {}
    for solution in solutions:
        if solution.id in by_id:
            raise InputError(f"solution {solution.id} occurs twice; ids must be unique to join by them")
        by_id[solution.id] = solution
    pairs: dict[str, tuple[LabelledSolution, StepScores]] = {}
    for record in scores:
        if record.id in pairs:
            raise InputError(f"scores of {record.id} occur twice; ids must be unique to join by them")
        if record.id not in by_id:
            raise InputError(f"scores of {record.id} have no solution of that id; give the file they were made from")
        solution = by_id[record.id]
        if solution.label != record.label:
            raise InputError(f"{record.id}: label is {solution.label} in the solution, {record.label} in the scores")
        if record.n_scored > len(solution.steps):
            raise InputError(f"{record.id}: {record.n_scored} scores for {len(solution.steps)} steps")
        pairs[record.id] = solution, record
    return list(pairs.values())


def read_step_scores(path: str | Path) -> list[StepScores]:
    """Read PRM step scores of labelled solutions (JSONL, one solution a line)."""
    return read_records(path, StepScores)


@dataclass(frozen=True, eq=False)
class LabelledScores(ByContent):
    """Scores of single steps, known to be right or a first error.

    Attributes
    ----------
    scores, right : ndarray of shape (n,)
        Score of each step, and whether the step is right (False: the first wrong one of its solution).
    groups : ndarray of str, shape (n,)
        Id of the solution.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    groups: NDArray[np.str_]


def labelled_scores(records: Sequence[StepScores], prm: str) -> LabelledScores:
    """Right steps and first errors of one PRM; steps after a first error have no label and are left out.

    Raises
    ------
    InputError
        If a record has no scores of this PRM.
    """
    scores: list[float] = []
    right: list[bool] = []
    groups: list[str] = []
    for record in records:
        known = _scores_of(record, prm)
        last = len(known) if record.label < 0 else record.label + 1
        scores += known[:last]
        right += [step != record.label for step in range(last)]
        groups += [record.id] * last
    return LabelledScores(np.array(scores), np.array(right, dtype=np.bool_), np.array(groups, dtype=np.str_))


def class_features(records: Sequence[StepScores], prm: str | None) -> ClassFeatures:
    """Features of every labelled step as S0 and S2, and of later steps, where measured, as S1.

    Parameters
    ----------
    records : sequence of StepScores
        One per solution. Log-probabilities are taken where every record has them.
    prm : str or None
        Whose scores; None for log-probabilities alone.

    Raises
    ------
    InputError
        If a record has no scores of this PRM, or there is no PRM and records lack log-probabilities.
    """
    names = [name for name in LOGPROBS if all(name in record.features for record in records)]
    if prm is None and not names:
        raise InputError("without a PRM every record needs features logprob_min or logprob_mean")
    rows: dict[str, list[list[float]]] = {name: [] for name in CLASSES}
    groups: dict[str, list[str]] = {name: [] for name in CLASSES}
    for record in records:
        known = np.full(record.n_scored, np.nan) if prm is None else np.array(_scores_of(record, prm))
        columns = [running_minimum(known), known, *(record.features[name] for name in names)]
        for step, row in enumerate(zip(*columns, strict=True)):
            name = "S0" if record.label < 0 or step < record.label else "S2" if step == record.label else "S1"
            rows[name].append([float(value) for value in row])
            groups[name].append(record.id)
    tables = {name: np.array(values).reshape(-1, 2 + len(names)) for name, values in rows.items()}
    return ClassFeatures(
        {name: table[:, :2] for name, table in tables.items()},
        {name: np.array(values, dtype=np.str_) for name, values in groups.items()},
        {name: dict(zip(names, table[:, 2:].T, strict=True)) for name, table in tables.items()},
    )


def _scores_of(record: StepScores, prm: str) -> tuple[float, ...]:
    if prm not in record.scores:
        raise InputError(f"record {record.id}: no scores of {prm!r}; it has {', '.join(record.scores) or 'none'}")
    return record.scores[prm]
