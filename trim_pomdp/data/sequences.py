"""Scored solutions: one PRM score a step, and whether the answer was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.data.jsonl import read_records

Score = Annotated[float, Field(ge=0.0, le=1.0)]


class ScoredSequence(Record):
    """A solution as a sequence of step scores.

    Further keys in a file are ignored, since traces of many kinds carry what this form needs.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    id: str
    problem_id: str | None = None
    scores: tuple[Score, ...] = Field(min_length=1)
    correct: bool
    completion_tokens: int | None = Field(default=None, ge=0)
    label: int | None = Field(default=None, ge=-1, description="0-based first wrong step, -1 if none")

    @model_validator(mode="after")
    def _label_is_a_step(self) -> ScoredSequence:
        if self.label is not None and self.label >= len(self.scores):
            raise ValueError(f"label {self.label} is not one of the {len(self.scores)} steps")
        return self

    @property
    def group(self) -> str:
        """What to split by: the problem, or the sequence itself where no problem is named."""
        return self.problem_id if self.problem_id is not None else self.id


@dataclass(frozen=True)
class SequenceBatch:
    """Many scored sequences as padded arrays.

    Attributes
    ----------
    scores : ndarray of shape (n, T)
        Step scores, 1.0 beyond a sequence's end.
    lengths : ndarray of shape (n,)
        Number of steps.
    correct : ndarray of bool, shape (n,)
        Whether the answer was right.
    groups : ndarray of str, shape (n,)
        Problem of each sequence.
    """

    scores: NDArray[np.float64]
    lengths: NDArray[np.int64]
    correct: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True where a step exists, shape (n, T)."""
        mask: NDArray[np.bool_] = np.arange(self.scores.shape[1]) < self.lengths[:, None]
        return mask

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> SequenceBatch:
        """The sequences at `index` (repeats allowed, as a bootstrap needs)."""
        return SequenceBatch(self.scores[index], self.lengths[index], self.correct[index], self.groups[index])

    @classmethod
    def of(cls, sequences: Sequence[ScoredSequence]) -> SequenceBatch:
        """Pad sequences into arrays."""
        lengths = np.array([len(sequence.scores) for sequence in sequences], dtype=np.int64)
        scores = np.ones((len(sequences), int(lengths.max())))
        for row, sequence in zip(scores, sequences, strict=True):
            row[: len(sequence.scores)] = sequence.scores
        return cls(
            scores,
            lengths,
            np.array([sequence.correct for sequence in sequences], dtype=np.bool_),
            np.array([sequence.group for sequence in sequences], dtype=np.str_),
        )


def read_sequences(path: str | Path) -> list[ScoredSequence]:
    """Read scored sequences from JSONL (plain or ``.gz``).

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, ScoredSequence)
