"""Rollouts as arrays, which can be resampled by problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.rollouts import RedraftRollout, RepairRollout, Rollouts, StrongRollout
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.fitting.lengths import UNKNOWN
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.sequences import SequenceBatch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_Rows = TypeVar("_Rows", "WeakRows", "StrongRows", "RepairRows", "RedraftRows")


@dataclass(frozen=True)
class WeakRows:
    """Weak-only solutions: scores, tokens of every step (0 beyond the end; None where unknown), labels."""

    batch: SequenceBatch
    tokens: FloatArray | None
    labels: IntArray

    @classmethod
    def of(cls, items: Sequence[ScoredSequence], evidence: EvidenceMap | None, *, labelled: bool) -> WeakRows:
        """Take labels only where they are wanted."""
        batch = SequenceBatch.of(items, evidence)
        tokens = None
        if all(item.tokens is not None for item in items):
            tokens = np.zeros(batch.scores.shape)
            tokens[batch.mask] = [value for item in items for value in item.tokens or ()]
        return cls(batch, tokens, _labels(items, labelled))

    @property
    def groups(self) -> NDArray[np.str_]:
        """Problem of each."""
        return self.batch.groups

    @property
    def lengths(self) -> IntArray:
        """Number of steps."""
        return self.batch.lengths

    @property
    def correct(self) -> BoolArray:
        """Whether the answer was right."""
        return self.batch.correct


@dataclass(frozen=True)
class StrongRows:
    """Strong-only solutions: number of steps, outcome, tokens of all steps, labels."""

    lengths: IntArray
    correct: BoolArray
    groups: NDArray[np.str_]
    tokens: FloatArray
    labels: IntArray

    @classmethod
    def of(cls, items: Sequence[StrongRollout], *, labelled: bool) -> StrongRows:
        """Take labels only where they are wanted."""
        return cls(
            lengths=np.array([len(item.tokens) for item in items], dtype=np.int64),
            correct=np.array([item.correct for item in items], dtype=np.bool_),
            groups=np.array([item.group for item in items], dtype=np.str_),
            tokens=np.array([sum(item.tokens) for item in items], dtype=np.float64),
            labels=_labels(items, labelled),
        )


@dataclass(frozen=True)
class RepairRows:
    """Repairs: weak steps up to the redone one, further strong steps, tokens of the redone one, truth."""

    batch: SequenceBatch
    ended: BoolArray
    further: IntArray
    tokens: FloatArray
    true_class: IntArray
    redone_right: BoolArray

    @classmethod
    def of(cls, items: Sequence[RepairRollout], evidence: EvidenceMap | None, *, labelled: bool) -> RepairRows:
        """Take the truth only where it is wanted; else its class is `UNKNOWN`."""
        truth = [UNKNOWN if item.true_class is None or not labelled else item.true_class for item in items]
        return cls(
            batch=SequenceBatch.of(items, evidence),
            ended=np.array([item.redone_ended for item in items], dtype=np.bool_),
            further=np.array([len(item.strong_tokens) - 1 for item in items], dtype=np.int64),
            tokens=np.array([item.strong_tokens[0] for item in items], dtype=np.float64),
            true_class=np.array(truth, dtype=np.int64),
            redone_right=np.array([bool(item.redone_right) for item in items], dtype=np.bool_),
        )

    @property
    def groups(self) -> NDArray[np.str_]:
        """Problem of each."""
        return self.batch.groups


@dataclass(frozen=True)
class RedraftRows:
    """Redrafts: weak steps up to the discarded draft, number of steps from the new one on, repeated (1, 0), truth.

    `redone_right` (n,) says whether the strong model's step in place of the discarded draft is right (1, 0); `scores`
    (n,) are of the new drafts, NaN where they were not seen.
    """

    batch: SequenceBatch
    ended: BoolArray
    written: IntArray
    repeated: IntArray
    true_class: IntArray
    redrafted_right: BoolArray
    redone_right: IntArray
    scores: FloatArray

    @classmethod
    def of(cls, items: Sequence[RedraftRollout], evidence: EvidenceMap | None, *, labelled: bool) -> RedraftRows:
        """Take the truth only where it is wanted; else its class is `UNKNOWN`."""
        truth = [UNKNOWN if item.true_class is None or not labelled else item.true_class for item in items]
        return cls(
            batch=SequenceBatch.of(items, evidence),
            ended=np.array([item.ended for item in items], dtype=np.bool_),
            written=np.array([item.redrafted.n_steps for item in items], dtype=np.int64),
            repeated=np.array([UNKNOWN if item.repeated is None else item.repeated for item in items], dtype=np.int64),
            true_class=np.array(truth, dtype=np.int64),
            redrafted_right=np.array([bool(item.redrafted_right) for item in items], dtype=np.bool_),
            redone_right=np.array(
                [UNKNOWN if item.redone_right is None or not labelled else item.redone_right for item in items],
                dtype=np.int64,
            ),
            scores=_first_scores([item.redrafted for item in items], evidence),
        )

    @property
    def groups(self) -> NDArray[np.str_]:
        """Problem of each."""
        return self.batch.groups


def _first_scores(then: Sequence[ScoredSequence], evidence: EvidenceMap | None) -> FloatArray:
    """Score, or evidence score, of each first step, NaN where what that is made of is not there."""
    names = {"score"} if evidence is None else set(evidence.features)
    out = np.full(len(then), np.nan)
    seen = [i for i, item in enumerate(then) if names <= item.step_features.keys()]
    if seen:
        out[seen] = SequenceBatch.of([then[i] for i in seen], evidence).scores[:, 0]
    return out


@dataclass(frozen=True)
class RolloutRows:
    """All rollouts of a model pair."""

    weak: WeakRows
    strong: StrongRows | None
    repairs: RepairRows | None
    redrafts: RedraftRows | None = None

    @classmethod
    def of(
        cls, rollouts: Rollouts, evidence: EvidenceMap | None, *, labelled: bool, labelled_redrafts: bool = False
    ) -> RolloutRows:
        """Arrays of rollouts.

        Parameters
        ----------
        rollouts : Rollouts
            At least one weak solution.
        evidence : EvidenceMap or None
            As of the observation model.
        labelled : bool
            Whether to take the truth where it is known.
        labelled_redrafts : bool
            Whether to take that of redrafts, whatever is done with the others.

        Raises
        ------
        InputError
            If a rollout lacks a feature that the evidence takes.
        """
        return cls(
            WeakRows.of(rollouts.weak, evidence, labelled=labelled),
            StrongRows.of(rollouts.strong, labelled=labelled) if rollouts.strong else None,
            RepairRows.of(rollouts.repairs, evidence, labelled=labelled) if rollouts.repairs else None,
            RedraftRows.of(rollouts.redrafts, evidence, labelled=labelled or labelled_redrafts)
            if rollouts.redrafts
            else None,
        )

    @property
    def size(self) -> int:
        """Number of rollouts that decide what to fit, which redrafts do not."""
        return sum(len(part.groups) for part in (self.weak, self.strong, self.repairs) if part is not None)

    def split(self, problems: NDArray[np.str_]) -> tuple[RolloutRows, RolloutRows]:
        """Rollouts of all other problems, and of these."""
        return self._at(lambda groups: ~np.isin(groups, problems)), self._at(lambda groups: np.isin(groups, problems))

    def resample(self, rng: np.random.Generator) -> RolloutRows:
        """A bootstrap sample of whole problems, with all rollouts of each."""
        problems = np.unique(np.concatenate([part.groups for part in self._parts]))
        times = np.bincount(rng.integers(len(problems), size=len(problems)), minlength=len(problems))
        return self._at(lambda groups: np.repeat(np.arange(len(groups)), times[np.searchsorted(problems, groups)]))

    def _at(self, index: Callable[[NDArray[np.str_]], IntArray | BoolArray]) -> RolloutRows:
        """The rollouts at an index that depends on their problems."""
        return RolloutRows(
            take(self.weak, index(self.weak.groups)),
            None if self.strong is None else take(self.strong, index(self.strong.groups)),
            None if self.repairs is None else take(self.repairs, index(self.repairs.groups)),
            None if self.redrafts is None else take(self.redrafts, index(self.redrafts.groups)),
        )

    @property
    def _parts(self) -> list[WeakRows | StrongRows | RepairRows | RedraftRows]:
        return [part for part in (self.weak, self.strong, self.repairs, self.redrafts) if part is not None]


def take(rows: _Rows, index: IntArray | BoolArray) -> _Rows:
    """The rollouts at `index`."""
    changes: dict[str, Any] = {}
    for item in fields(rows):
        value = getattr(rows, item.name)
        if value is not None:
            changes[item.name] = value.take(index) if isinstance(value, SequenceBatch) else value[index]
    return replace(rows, **changes)


def _labels(items: Sequence[ScoredSequence] | Sequence[StrongRollout], labelled: bool) -> IntArray:
    labels = [UNKNOWN if item.label is None or not labelled else item.label for item in items]
    return np.array(labels, dtype=np.int64)
