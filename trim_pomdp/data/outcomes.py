"""Step counts with outcomes, and pilot sweeps: what dynamics are fitted on besides scored solutions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.data.layouts import Layout, own_layout, read_in_layout
from trim_pomdp.data.records import OpenRecord, iter_records
from trim_pomdp.errors import InputError
from trim_pomdp.files import read_document


class StepCounts(OpenRecord):
    """Sampled solutions of one model: lengths of the right ones, index of the first wrong step of the others.

    The total length of a wrong solution is not recorded: it is known only to reach its first error.
    """

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
        """Published estimate of the step success, right steps over right steps and first errors."""
        return self.right_steps / (self.right_steps + len(self.first_error_step))

    @property
    def accuracy(self) -> float:
        """Share of right solutions."""
        return len(self.correct_steps) / self.n_solutions


class StepCountsFile(OpenRecord):
    """The file with step counts of several models and the published termination hazards."""

    models: dict[str, StepCounts]
    terminal_hazard: dict[str, PublishedHazard] = {}

    def of(self, name: str, *, source: str = "step counts") -> StepCounts:
        """Counts of the model called `name`; raises `InputError` naming those that exist."""
        if name not in self.models:
            raise InputError(f"{source}: no model {name!r}; it has {', '.join(self.models)}")
        return self.models[name]


class PublishedHazard(OpenRecord):
    """A published termination table: P(solution ends at this step | it reached it)."""

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


class _PublishedPilotRow(OpenRecord):
    """A row in the column names of TRIM's repository."""

    threshold: float = Field(ge=0, le=1)
    accuracy: float = Field(ge=0, le=1)
    num_correct: int = Field(ge=0)
    avg_draft_tokens_per_question: NonNegativeFloat
    avg_target_tokens_per_question: NonNegativeFloat
    avg_discarded_draft_tokens_per_question: NonNegativeFloat
    avg_target_calls_per_question: NonNegativeFloat


def _published(row: _PublishedPilotRow, _: int) -> Iterator[Mapping[str, Any]]:
    problems = round(row.num_correct / row.accuracy) if row.accuracy > 0 else 0
    if problems < 1 or abs(row.accuracy * problems - row.num_correct) > 1e-6:
        raise ValueError(
            f"threshold {row.threshold}: accuracy {row.accuracy} and num_correct {row.num_correct} "
            "fit no whole number of problems"
        )
    yield {
        "threshold": row.threshold,
        "problems": problems,
        "accuracy": row.accuracy,
        "regenerations": row.avg_target_calls_per_question,
        "strong_tokens": row.avg_target_tokens_per_question,
        "kept_tokens": row.avg_draft_tokens_per_question,
        "discarded_tokens": row.avg_discarded_draft_tokens_per_question,
    }


PILOTS = (
    own_layout("pilot", "threshold", "problems", "accuracy", "regenerations"),
    Layout("trim-repository", ("threshold", "accuracy", "num_correct"), _published, _PublishedPilotRow),
)


def read_step_counts(path: str | Path) -> StepCountsFile:
    """Read a step-count file (JSON, plain or gzip).

    Raises
    ------
    InputError
        If the file is unreadable or a field is wrong.
    """
    return validate(StepCountsFile, read_document(path), source=str(path))


def read_pilot(path: str | Path, *, layout: str | None = None) -> list[PilotRow]:
    """Read a pilot sweep, in this package's columns or in those of TRIM's repository.

    Parameters
    ----------
    path : str or Path
        JSON lines, a JSON array or parquet; plain or gzip.
    layout : str or None
        ``pilot`` or ``trim-repository``; None recognises it.

    Raises
    ------
    InputError
        Naming file, line (record in arrays and parquet), field and reason; also if two rows have one threshold.
    """
    rows = [row for _, row in read_in_layout(iter_records(path), str(path), PilotRow, PILOTS, layout=layout)]
    thresholds = [row.threshold for row in rows]
    for threshold in thresholds:
        if thresholds.count(threshold) > 1:
            raise InputError(f"{path}: threshold {threshold} occurs twice; one row a threshold")
    return sorted(rows, key=lambda row: row.threshold)


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
