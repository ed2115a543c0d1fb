"""Scored solutions: what was measured of every step, and whether the answer was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.data.features import LogprobName
from trim_pomdp.data.layouts import SEQUENCES, Tell, read_in_layout
from trim_pomdp.data.records import Id, Label, OpenRecord, iter_records

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
        ``logprob_min``, ``logprob_mean`` and ``logprob_first`` of every step's tokens, as far as they are known.
    correct : bool
        Whether the answer was right.
    """

    id: Id
    problem_id: Id | None = None
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
        """What to split by, the problem, or the sequence itself where no problem is named."""
        return self.problem_id if self.problem_id is not None else self.id


class ScoredSequence(ScoredSteps, OpenRecord):
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

    tokens: tuple[NonNegativeInt, ...] | None = None
    completion_tokens: int | None = Field(default=None, ge=0)
    label: Label | None = None

    @model_validator(mode="after")
    def _tokens_and_label_fit(self) -> ScoredSequence:
        if self.tokens is not None and len(self.tokens) != self.n_steps:
            raise ValueError(f"tokens has {len(self.tokens)} values; expected one for each of {self.n_steps} steps")
        if self.label is not None and self.label >= self.n_steps:
            raise ValueError(f"label {self.label} is not one of the {self.n_steps} steps")
        return self


def read_sequences(path: str | Path, *, layout: str | None = None, tell: Tell | None = None) -> list[ScoredSequence]:
    """Read scored sequences, in this form or the layout of search-and-learn (`trim_pomdp.data.layouts`).

    Parameters
    ----------
    path : str or Path
        JSON lines, a JSON array or parquet; plain or gzip.
    layout : str or None
        ``sequences`` or ``search-and-learn``; None recognises it.
    tell : callable or None
        Told in a line what is left out, if anything; None warns.

    Raises
    ------
    InputError
        Naming file, line (record in arrays and parquet), field and reason.
    """
    found = read_in_layout(iter_records(path), str(path), ScoredSequence, SEQUENCES, layout=layout, tell=tell)
    return [sequence for _, sequence in found]
