"""Live rollouts: what the models did on their own, and what became of single weak steps that were written again.

Four kinds, one JSON object a line:

* *weak*: solutions of the weak model alone, with scores or features of every step (`ScoredSequence`).
* *strong*: solutions of the strong model alone (`StrongRollout`).
* *repair*: the weak model writes a prefix and one more step; the strong model redoes that step and writes the rest
  alone (`RepairRollout`). Outcomes of repairs are judged given what was seen before, so the step to redo may be chosen
  by its index, at random or by its score, but not by the truth, and not by anything that comes after it, such as the
  length of a finished solution.
* *redraft*: the same, but it is the weak model that drafts the step again, and goes on alone (`RedraftRollout`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.data.layouts import SEQUENCES, Tell, read_in_layout
from trim_pomdp.data.records import Id, Label, iter_records, read_records
from trim_pomdp.data.sequences import ScoredSequence, ScoredSteps

StepTokens = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]


class _WeakRollout(ScoredSequence):
    """A scored sequence that is no repair, which has all that a sequence needs and more."""

    @model_validator(mode="before")
    @classmethod
    def _is_no_repair(cls, value: object) -> object:
        if isinstance(value, dict) and "strong_tokens" in value:
            raise ValueError("it is a repair (it has strong_tokens), no solution of the weak model alone")
        return value


class StrongRollout(Record):
    """A solution of the strong model alone.

    Attributes
    ----------
    id, problem_id : str
        Of the solution; of its problem.
    correct : bool
        Whether the answer was right.
    tokens : tuple of int
        Strong tokens of every step.
    label : int or None
        First wrong step, from 0, and -1 if there is none; None where nobody knows.
    """

    id: Id
    problem_id: Id | None = None
    correct: bool
    tokens: StepTokens
    label: Label | None = None

    @model_validator(mode="after")
    def _label_is_a_step(self) -> StrongRollout:
        if self.label is not None and self.label >= len(self.tokens):
            raise ValueError(f"label {self.label} is not one of the {len(self.tokens)} steps")
        return self

    @property
    def group(self) -> str:
        """What to split by, the problem, or the solution itself where no problem is named."""
        return self.problem_id if self.problem_id is not None else self.id


class RepairRollout(ScoredSteps):
    """A weak prefix whose last step the strong model redid before it wrote the rest alone.

    Scores and features are of the weak steps that were kept, and last of the weak step that was redone.

    Attributes
    ----------
    weak_tokens : tuple of int
        Tokens of the same steps.
    strong_tokens : tuple of int
        Tokens of the strong steps: the redone one, then all others.
    ended : bool or None
        Whether the weak step that was redone held the answer; None: taken to be so iff no strong step follows the
        redone one.
    true_class : 0, 1, 2 or None
        ``class`` in the file: S0, S1 or S2, of the weak step that was redone, where truth is known.
    redone_right : bool or None
        Whether the strong step in its place is right, where truth is known.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    weak_tokens: StepTokens
    strong_tokens: StepTokens
    ended: bool | None = None
    true_class: Literal[0, 1, 2] | None = Field(default=None, alias="class")
    redone_right: bool | None = None

    @model_validator(mode="after")
    def _truth_is_whole(self) -> RepairRollout:
        if len(self.weak_tokens) != self.n_steps:
            raise ValueError(f"weak_tokens has {len(self.weak_tokens)} values; expected one for each of {self.n_steps}")
        if (self.true_class is None) != (self.redone_right is None):
            raise ValueError("class and redone_right go together")
        if self.true_class == 1 and self.redone_right:
            raise ValueError("class is 1 (derailed), which no single step can repair, but redone_right is true")
        return self

    @property
    def redone_ended(self) -> bool:
        """Whether the weak step that was redone held the answer, as far as is known."""
        return len(self.strong_tokens) == 1 if self.ended is None else self.ended


class RedraftRollout(ScoredSteps):
    """A weak prefix whose last step the weak model drafted again before it went on alone.

    Scores and features are of the weak steps that were kept, and last of the draft that was discarded.

    Attributes
    ----------
    weak_tokens : tuple of int
        Tokens of the same steps.
    redrafted : ScoredSequence
        The new draft, and all steps that followed it.
    ended : bool
        Whether the discarded draft held the answer.
    repeated : bool or None
        Whether the new draft is the discarded one word for word; None where nobody knows.
    true_class : 0, 1, 2 or None
        ``class`` in the file: S0, S1 or S2, of the discarded draft, where truth is known.
    redrafted_right : bool or None
        Whether the new draft is right, where truth is known.
    redone_right : bool or None
        Whether the strong model's step in place of the discarded draft is right, where it redid that step too (a
        `RepairRollout` of the same prefix) and truth is known.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    weak_tokens: StepTokens
    redrafted: ScoredSequence
    ended: bool
    repeated: bool | None = None
    true_class: Literal[0, 1, 2] | None = Field(default=None, alias="class")
    redrafted_right: bool | None = None
    redone_right: bool | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> RedraftRollout:
        if len(self.weak_tokens) != self.n_steps:
            raise ValueError(f"weak_tokens has {len(self.weak_tokens)} values; expected one for each of {self.n_steps}")
        if self.redrafted.correct != self.correct or self.redrafted.group != self.group:
            raise ValueError("redrafted is of another problem, or has another outcome")
        if (self.true_class is None) != (self.redrafted_right is None):
            raise ValueError("class and redrafted_right go together")
        if self.true_class == 1 and self.redrafted_right:
            raise ValueError("class is 1 (derailed), where no draft is right, but redrafted_right is true")
        return self


@dataclass(frozen=True)
class Rollouts:
    """Rollouts of one model pair; weak ones are needed, the others as far as there are.

    Attributes
    ----------
    weak : sequence of ScoredSequence
        Solutions of the weak model alone.
    strong : sequence of StrongRollout
        Solutions of the strong model alone.
    repairs : sequence of RepairRollout
        Weak steps that the strong model redid.
    redrafts : sequence of RedraftRollout
        Weak steps that the weak model drafted again.
    """

    weak: Sequence[ScoredSequence]
    strong: Sequence[StrongRollout] = ()
    repairs: Sequence[RepairRollout] = ()
    redrafts: Sequence[RedraftRollout] = ()

    @property
    def problems(self) -> list[str]:
        """Problems of the weak rollouts, each once, in order."""
        return list(dict.fromkeys(item.group for item in self.weak))

    def of(self, problems: Collection[str]) -> Rollouts:
        """Those of some problems alone.

        Parameters
        ----------
        problems : collection of str
        """
        return Rollouts(
            [item for item in self.weak if item.group in problems],
            [item for item in self.strong if item.group in problems],
            [item for item in self.repairs if item.group in problems],
            [item for item in self.redrafts if item.group in problems],
        )


def read_weak_rollouts(
    path: str | Path, *, layout: str | None = None, tell: Tell | None = None
) -> list[ScoredSequence]:
    """Read solutions of the weak model alone; the same form, and layouts, as scored sequences.

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
        Naming file, line, field and reason; also if they are repairs.
    """
    found = read_in_layout(iter_records(path), str(path), _WeakRollout, SEQUENCES, layout=layout, tell=tell)
    return [rollout for _, rollout in found]


def read_strong_rollouts(path: str | Path) -> list[StrongRollout]:
    """Read solutions of the strong model alone.

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, StrongRollout)


def read_repair_rollouts(path: str | Path) -> list[RepairRollout]:
    """Read repairs of single weak steps.

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, RepairRollout)


def read_redraft_rollouts(path: str | Path) -> list[RedraftRollout]:
    """Read redrafts of single weak steps.

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, RedraftRollout)


def beside_repairs(redrafts: Sequence[RedraftRollout], repairs: Sequence[RepairRollout]) -> list[RedraftRollout]:
    """Redrafts, with what became of the same steps where the strong model redid them.

    Both kinds are recorded of the same steps, which their ids name: ``"p@3/redraft"`` and ``"p@3/repair"``.
    """
    redone = {item.id.rsplit("/", 1)[0]: item.redone_right for item in repairs}
    found = []
    for item in redrafts:
        right = redone.get(item.id.rsplit("/", 1)[0])
        found.append(item if right is None else item.model_copy(update={"redone_right": right}))
    return found
