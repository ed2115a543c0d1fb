"""Scored solutions: what was measured of every step, and whether the answer was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import ConfigDict, Field, NonNegativeInt, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.data.features import LogprobName
from trim_pomdp.data.jsonl import read_records

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


def read_sequences(path: str | Path) -> list[ScoredSequence]:
    """Read scored sequences from JSONL (plain or ``.gz``).

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, ScoredSequence)
