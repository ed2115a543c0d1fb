"""Scored solutions: what was measured of every step, and whether the answer was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, NonNegativeInt, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.data.jsonl import read_records
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.evidence import EvidenceMap, LogprobName, evidence_scores

Score = Annotated[float, Field(ge=0.0, le=1.0)]
Logprob = Annotated[float, Field(le=0.0)]
LogprobFeatures = dict[LogprobName, tuple[Logprob, ...]]


def check_features(features: Mapping[LogprobName, Sequence[float]], steps: int) -> None:
    """Raise `ValueError` unless every feature has one value a step."""
    for name, values in features.items():
        if len(values) != steps:
            raise ValueError(f"features.{name} has {len(values)} values; expected one for each of {steps} steps")


class ScoredSteps(Record):
    """Weak steps that were measured, and the outcome of what they became.

    Attributes
    ----------
    id, problem_id : str
        Of the solution; of its problem.
    scores : tuple of float or None
        PRM score of every step; None only where there are features.
    features : dict of str to tuple of float
        ``logprob_min`` and ``logprob_mean`` of every step's tokens.
    correct : bool
        Whether the answer was right.
    """

    id: str
    problem_id: str | None = None
    scores: Annotated[tuple[Score, ...], Field(min_length=1)] | None = None
    features: LogprobFeatures = {}
    correct: bool

    @model_validator(mode="after")
    def _one_value_a_step(self) -> Self:
        if self.n_steps == 0:
            raise ValueError("missing 'scores'; they may be absent only where there are features")
        check_features(self.features, self.n_steps)
        return self

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return max(map(len, self.step_features.values()), default=0)

    @property
    def step_features(self) -> dict[str, tuple[float, ...]]:
        """All that is known of the steps, by name of the feature."""
        out: dict[str, tuple[float, ...]] = {} if self.scores is None else {"score": self.scores}
        out.update((name, values) for name, values in self.features.items())
        return out

    @property
    def group(self) -> str:
        """What to split by: the problem, or the sequence itself where no problem is named."""
        return self.problem_id if self.problem_id is not None else self.id


class ScoredSequence(ScoredSteps):
    """A solution of the weak model alone, step by step.

    Further keys in a file are ignored, since traces of many kinds carry what this form needs.

    Attributes
    ----------
    tokens : tuple of int or None
        Tokens of every step.
    completion_tokens : int or None
        Tokens of the whole solution.
    label : int or None
        First wrong step, from 0, and -1 if there is none; None where nobody knows.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    tokens: tuple[NonNegativeInt, ...] | None = None
    completion_tokens: int | None = Field(default=None, ge=0)
    label: int | None = Field(default=None, ge=-1, description="0-based first wrong step, -1 if none")

    @model_validator(mode="after")
    def _tokens_and_label_fit(self) -> ScoredSequence:
        if self.tokens is not None and len(self.tokens) != self.n_steps:
            raise ValueError(f"tokens has {len(self.tokens)} values; expected one for each of {self.n_steps} steps")
        if self.label is not None and self.label >= self.n_steps:
            raise ValueError(f"label {self.label} is not one of the {self.n_steps} steps")
        return self


@dataclass(frozen=True)
class SequenceBatch:
    """Many scored sequences as padded arrays.

    Attributes
    ----------
    scores : ndarray of shape (n, T)
        Step scores, 1.0 beyond a sequence's end: of the PRM, or of evidence.
    lengths : ndarray of shape (n,)
        Number of steps.
    correct : ndarray of bool, shape (n,)
        Whether the answer was right.
    groups : ndarray of str, shape (n,)
        Problem of each sequence.
    evidence : EvidenceMap or None
        What made the scores from features; None: they are the PRM's.
    prm : ndarray of shape (n, T) or None
        The PRM's scores beside those of evidence, where every sequence has them.
    """

    scores: NDArray[np.float64]
    lengths: NDArray[np.int64]
    correct: NDArray[np.bool_]
    groups: NDArray[np.str_]
    evidence: EvidenceMap | None = None
    prm: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True where a step exists, shape (n, T)."""
        mask: NDArray[np.bool_] = np.arange(self.scores.shape[1]) < self.lengths[:, None]
        return mask

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> SequenceBatch:
        """The sequences at `index` (repeats allowed, as a bootstrap needs)."""
        return replace(
            self,
            scores=self.scores[index],
            lengths=self.lengths[index],
            correct=self.correct[index],
            groups=self.groups[index],
            prm=None if self.prm is None else self.prm[index],
        )

    @property
    def prm_scores(self) -> NDArray[np.float64]:
        """The PRM's scores; raises `UnsetParameterError` where there are none."""
        if self.evidence is None:
            return self.scores
        if self.prm is None:
            raise UnsetParameterError("the sequences have no PRM scores")
        return self.prm

    @classmethod
    def of(cls, sequences: Sequence[ScoredSteps], evidence: EvidenceMap | None = None) -> SequenceBatch:
        """Pad sequences into arrays.

        Parameters
        ----------
        sequences : sequence of ScoredSteps
            At least one.
        evidence : EvidenceMap, optional
            As of the observation model; by default the scores are the PRM's.

        Raises
        ------
        InputError
            If a sequence lacks a feature that the evidence takes.
        """
        lengths = np.array([sequence.n_steps for sequence in sequences], dtype=np.int64)
        has_scores = all(sequence.scores is not None for sequence in sequences)
        return cls(
            _padded(evidence_scores(evidence, _flat(sequences, evidence)), lengths),
            lengths,
            np.array([sequence.correct for sequence in sequences], dtype=np.bool_),
            np.array([sequence.group for sequence in sequences], dtype=np.str_),
            evidence,
            _padded(_flat(sequences, None)["score"], lengths) if evidence is not None and has_scores else None,
        )


def _flat(sequences: Sequence[ScoredSteps], evidence: EvidenceMap | None) -> dict[str, NDArray[np.float64]]:
    """Features that the evidence takes, of all steps one after another."""
    names = ("score",) if evidence is None else evidence.features
    rows = [sequence.step_features for sequence in sequences]
    for sequence, row in zip(sequences, rows, strict=True):
        for name in names:
            if name not in row:
                raise InputError(f"sequence {sequence.id}: no {name} of its steps; it has {', '.join(row)}")
    return {name: np.concatenate([row[name] for row in rows]) for name in names}


def _padded(values: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values of steps one after another as rows, 1.0 beyond each end."""
    out = np.ones((len(lengths), int(lengths.max())))
    out[np.arange(out.shape[1]) < lengths[:, None]] = values
    return out


def read_sequences(path: str | Path) -> list[ScoredSequence]:
    """Read scored sequences from JSONL (plain or ``.gz``).

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, ScoredSequence)
