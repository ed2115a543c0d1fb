"""Many scored solutions as arrays of what the belief looks at: PRM scores, or evidence made of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.sequences import ScoredSteps
from trim_pomdp.display import Shown
from trim_pomdp.equality import ByContent
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.evidence import EvidenceMap, evidence_scores


@dataclass(frozen=True, eq=False, repr=False)
class SequenceBatch(Shown, ByContent):
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

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "sequences": len(self),
            "problems": len(np.unique(self.groups)),
            "steps": int(self.lengths.sum()),
            "longest": int(self.lengths.max(initial=0)),
            "right": int(self.correct.sum()),
            "evidence": "prm" if self.evidence is None else self.evidence.kind,
        }

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
