"""Step counts with outcomes, and pilot sweeps: what dynamics are fitted on besides scored solutions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.data.jsonl import read_bytes, read_records
from trim_pomdp.errors import InputError


class StepCounts(Record):
    """Sampled solutions of one model: lengths of the right ones, index of the first wrong step of the others.

    The total length of a wrong solution is not recorded: it is known only to reach its first error.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    correct_steps: tuple[PositiveInt, ...]
    first_error_step: tuple[PositiveInt, ...]

    @model_validator(mode="after")
    def _not_empty(self) -> StepCounts:
        if not self.correct_steps and not self.first_error_step:
            raise ValueError("no solution at all")
        return self

    @property
    def n_solutions(self) -> int:
        """Right and wrong solutions together."""
        return len(self.correct_steps) + len(self.first_error_step)

    @property
    def right_steps(self) -> int:
        """Steps that are right, first errors not among them."""
        return sum(self.correct_steps) + sum(self.first_error_step) - len(self.first_error_step)

    @property
    def next_step_accuracy(self) -> float:
        """Published estimate of the step success: right steps over right steps and first errors."""
        return self.right_steps / (self.right_steps + len(self.first_error_step))

    @property
    def accuracy(self) -> float:
        """Share of right solutions."""
        return len(self.correct_steps) / self.n_solutions


class StepCountsFile(Record):
    """The file with step counts of several models and the published termination hazards."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    models: dict[str, StepCounts]
    terminal_hazard: dict[str, PublishedHazard] = {}

    def of(self, name: str, *, source: str = "step counts") -> StepCounts:
        """Counts of the model called `name`; raises `InputError` naming those that exist."""
        if name not in self.models:
            raise InputError(f"{source}: no model {name!r}; it has {', '.join(self.models)}")
        return self.models[name]


class PublishedHazard(Record):
    """A published termination table: P(solution ends at this step | it reached it)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    max_steps: PositiveInt
    hazard: dict[int, Annotated[float, Field(ge=0, le=1)]]

    @model_validator(mode="after")
    def _every_step_is_there(self) -> PublishedHazard:
        absent = [step for step in range(1, self.max_steps + 1) if step not in self.hazard]
        if absent:
            raise ValueError(f"hazard has no step {absent[0]}; expected every step from 1 to {self.max_steps}")
        return self

    @property
    def by_step(self) -> tuple[float, ...]:
        """Hazard at steps 1 … `max_steps`."""
        return tuple(self.hazard[step] for step in range(1, self.max_steps + 1))


class PilotRow(Record):
    """Measured result of routing with one threshold: mean values per problem.

    `strong_tokens`, `kept_tokens` (weak tokens that stayed) and `discarded_tokens` (weak tokens that were
    replaced) are optional columns.
    """

    threshold: float = Field(ge=0, le=1)
    problems: PositiveInt
    accuracy: float = Field(ge=0, le=1)
    regenerations: NonNegativeFloat
    strong_tokens: NonNegativeFloat | None = None
    kept_tokens: NonNegativeFloat | None = None
    discarded_tokens: NonNegativeFloat | None = None


class _PublishedPilotRow(Record):
    """A row in the column names of TRIM's repository."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    threshold: float = Field(ge=0, le=1)
    accuracy: float = Field(ge=0, le=1)
    num_correct: int = Field(ge=0)
    avg_draft_tokens_per_question: NonNegativeFloat
    avg_target_tokens_per_question: NonNegativeFloat
    avg_discarded_draft_tokens_per_question: NonNegativeFloat
    avg_target_calls_per_question: NonNegativeFloat

    def row(self) -> PilotRow:
        problems = round(self.num_correct / self.accuracy) if self.accuracy > 0 else 0
        if problems < 1 or abs(self.accuracy * problems - self.num_correct) > 1e-6:
            raise InputError(
                f"threshold {self.threshold}: accuracy {self.accuracy} and num_correct {self.num_correct} "
                "fit no whole number of problems"
            )
        return PilotRow(
            threshold=self.threshold,
            problems=problems,
            accuracy=self.accuracy,
            regenerations=self.avg_target_calls_per_question,
            strong_tokens=self.avg_target_tokens_per_question,
            kept_tokens=self.avg_draft_tokens_per_question,
            discarded_tokens=self.avg_discarded_draft_tokens_per_question,
        )


def read_step_counts(path: str | Path) -> StepCountsFile:
    """Read a step-count file (JSON, plain or ``.gz``).

    Raises
    ------
    InputError
        If the file is unreadable or a field is wrong.
    """
    content = read_bytes(path)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON document, or cut off ({error})") from None
    return validate(StepCountsFile, document, source=str(path))


def read_pilot(path: str | Path) -> list[PilotRow]:
    """Read a pilot sweep (JSONL), in this package's columns or in those of TRIM's repository.

    Raises
    ------
    InputError
        Naming file, line, field and reason; also if two rows have one threshold.
    """
    first = read_records(path, _AnyRow)[0]
    if "num_correct" in (first.model_extra or {}):
        rows = [_in_file(row, path) for row in read_records(path, _PublishedPilotRow)]
    else:
        rows = read_records(path, PilotRow)
    thresholds = [row.threshold for row in rows]
    for threshold in thresholds:
        if thresholds.count(threshold) > 1:
            raise InputError(f"{path}: threshold {threshold} occurs twice; one row a threshold")
    return sorted(rows, key=lambda row: row.threshold)


class _AnyRow(Record):
    model_config = ConfigDict(extra="allow", frozen=True)


def _in_file(row: _PublishedPilotRow, path: str | Path) -> PilotRow:
    try:
        return row.row()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def select(rows: Sequence[PilotRow], thresholds: Sequence[float]) -> list[PilotRow]:
    """The rows at the given thresholds.

    Raises
    ------
    InputError
        If a threshold has no row.
    """
    by_threshold = {row.threshold: row for row in rows}
    if len(set(thresholds)) < len(thresholds):
        raise InputError("a threshold is named twice; a row counts once")
    for threshold in thresholds:
        if threshold not in by_threshold:
            known = ", ".join(f"{row.threshold:g}" for row in rows)
            raise InputError(f"no pilot row has threshold {threshold:g}; there are {known}")
    return [by_threshold[threshold] for threshold in thresholds]


StepCountsFile.model_rebuild()
