"""What a run writes down: one record per decision, one terminal record per problem.

Everything is in them that the models said, so that a trace can be replayed (`trim_pomdp.runtime.backends.replay`),
and everything that the router thought. Times stand apart, in fields of their own: they are all that may differ
between two runs that are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from trim_pomdp.artifacts import Record
from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.model.actions import Action as AnyAction
from trim_pomdp.model.actions import action_named, action_of
from trim_pomdp.model.dynamics import Probability
from trim_pomdp.policies.base import Author, Role
from trim_pomdp.runtime.protocols import GeneratedStep, SolutionScores, StopReason, Usage
from trim_pomdp.runtime.stepping import Flaw


@cache
def action_by_code(code: int) -> AnyAction:
    """The action that a decision names; asked at every step."""
    return action_of(code)


@cache
def action_by_name(name: str) -> AnyAction:
    """The action that a record names."""
    return action_named(name)


def _known(name: str) -> str:
    try:
        return action_by_name(name).name
    except InputError as error:
        raise ValueError(str(error)) from None


Action = Annotated[str, AfterValidator(_known)]
"""Name of an action (`trim_pomdp.model.actions`)."""
Reason = Literal["answer", "no answer", "degenerate", "step cap", "error"]
StepClass = Literal[0, 1, 2]
ENDED: tuple[Reason, ...] = ("answer", "no answer")
"""Reasons of solutions that ended by their own text, and not by a limit or an error."""


class Generation(Record):
    """A step as a model wrote it.

    Attributes
    ----------
    text : str
        Without the separator.
    logprobs : tuple of float
        Log-probability of every token; none at all where the model offers none.
    stop : {"separator", "answer", "end", "length"}
        What ended it.
    flaw : {"empty", "repeated", "over-long"} or None
        In which way it is degenerate.
    true_class : 0, 1, 2 or None
        S0, S1 or S2, where truth is known.
    usage : Usage or None
        Tokens read and generated, where they were counted.
    seconds : float
        Time from request to reply, waiting included.
    """

    text: str
    logprobs: tuple[float, ...]
    stop: StopReason
    usage: Usage | None = None
    flaw: Flaw | None = None
    true_class: StepClass | None = None
    seconds: NonNegativeFloat = 0.0

    @property
    def tokens(self) -> int:
        """Generated tokens."""
        return self.step.tokens

    @property
    def step(self) -> GeneratedStep:
        """What the model replied."""
        return GeneratedStep(self.text, self.logprobs, self.stop, self.usage)


class Scoring(Record):
    """A reply of the process reward model.

    Attributes
    ----------
    scores : tuple of float
        Score of every step of the solution so far, the weak step in question last.
    tokens : int
        Tokens read.
    cached : int
        Those among them that a prefix cache knew.
    seconds : float
        Time from request to reply, waiting included.
    """

    scores: tuple[Probability, ...]
    tokens: NonNegativeInt
    cached: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0

    @property
    def repeated(self) -> Scoring:
        """The same for the same text, which nobody was asked about."""
        return Scoring(scores=self.scores, tokens=0)

    @property
    def reply(self) -> SolutionScores:
        """What the model replied."""
        return SolutionScores(self.scores, self.tokens, self.cached)


class TokenCounts(Record):
    """Tokens by model and purpose; what requests without a reply cost is not known, and not in them.

    Attributes
    ----------
    weak_kept, weak_discarded, strong : int
        Generated: weak steps that stand, those that do not (replaced, or drafted again), strong steps.
    weak_read, strong_read, scored : int
        Read by the weak model, the strong one (0 where nobody counted) and the PRM, every request anew.
    weak_cached, strong_cached, scored_cached : int
        Those among them that a prefix cache knew.
    weak_ahead, strong_ahead : int
        Generated ahead and in vain, beside all of those above: weak steps that were written while the one before was
        scored, and thrown away as that did not stand; one token each time that the strong model only read. Not of
        requests that were broken off, which nobody counts.
    weak_ahead_read, weak_ahead_cached, strong_ahead_read, strong_ahead_cached : int
        Read for that, and known to a prefix cache.
    """

    weak_kept: NonNegativeInt = 0
    weak_discarded: NonNegativeInt = 0
    strong: NonNegativeInt = 0
    scored: NonNegativeInt = 0
    weak_read: NonNegativeInt = 0
    weak_cached: NonNegativeInt = 0
    strong_read: NonNegativeInt = 0
    strong_cached: NonNegativeInt = 0
    scored_cached: NonNegativeInt = 0
    weak_ahead: NonNegativeInt = 0
    strong_ahead: NonNegativeInt = 0
    weak_ahead_read: NonNegativeInt = 0
    weak_ahead_cached: NonNegativeInt = 0
    strong_ahead_read: NonNegativeInt = 0
    strong_ahead_cached: NonNegativeInt = 0

    @property
    def roles(self) -> frozenset[Role]:
        """The models that read or wrote any of them."""
        names: dict[Role, str] = {"weak": "weak", "strong": "strong", "prm": "scored"}
        counted = [name for name, count in self.__dict__.items() if count]
        return frozenset(role for role, name in names.items() if any(item.startswith(name) for item in counted))

    @classmethod
    def total(cls, counts: Iterable[TokenCounts]) -> TokenCounts:
        """Sum of many, validated once: every step of a run goes through here."""
        sums = dict.fromkeys(cls.model_fields, 0)
        for item in counts:
            for name, count in item.__dict__.items():
                sums[name] += count
        return cls(**sums)

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return self.total((self, other))


class Fallback(Record):
    """A model was given up, and one went on alone.

    Attributes
    ----------
    author : {"weak", "strong"}
        Who went on alone.
    step : int
        Index of the first step without a decision; the number of steps where only last scores are missing.
    given_up : {"weak", "strong", "prm"}
        Which model failed first.
    error : str
        Class and message of what it met.
    """

    author: Author
    step: NonNegativeInt
    given_up: Role
    error: str


class DraftRecord(Record):
    """A weak step that was drafted again: what was seen of it, and what was thought.

    Attributes
    ----------
    weak : Generation
        The weak model's step.
    scoring, ended, features, evidence, q, belief, gain, price
        As in `DecisionRecord`.
    action : str
        What was decided: the name of an action after which a new draft is judged.
    """

    weak: Generation
    scoring: Scoring | None = None
    ended: bool
    features: dict[str, float] = Field(default_factory=dict)
    evidence: float | None = None
    q: Probability | None = None
    belief: tuple[float, float, float] | None = None
    gain: float | None = None
    price: float | None = None
    action: Action


class DecisionRecord(Record):
    """One step of a solution: what was seen, what was thought, what was done.

    Attributes
    ----------
    problem : str
        Id of the problem.
    step : int
        Index of the step, from 0.
    drafts : tuple of DraftRecord
        Weak steps in this place that were drafted again, in order; absent from files where there are none.
    weak : Generation or None
        The weak model's step, its last draft; None where the strong model writes every step.
    scoring : Scoring or None
        What the PRM said before the decision; None where it was not asked.
    ended : bool or None
        Whether the weak step's text ends the solution if kept; None where there was nothing to decide.
    features : dict of str to float
        What else the router looked at beside the score, by name (`trim_pomdp.policies.StepObservation`).
    evidence, q, belief, gain, price : float(s) or None
        What the router made of it: evidence score, where it is not the PRM's; P(prefix before is right); distribution
        over S0, S1, S2; gain of intervening; price in units of reward. None where the rule has no such thing.
    action : str or None
        What was done at last, such as ``keep`` and ``regenerate``; None where an error came first.
    stands : int or None
        Which of `drafts` stands, from 0, where an earlier one than the last was kept; absent from files where none was.
    capped : bool
        The strong model was out of reach: its tokens for this problem are spent.
    fallback : bool
        A model had been given up, and the step was written or kept without a decision, or against it.
    strong : Generation or None
        The strong model's step, if it wrote one.
    tokens : TokenCounts
        Tokens of this step, all drafts included.
    policy_hash : str
        Of the rule that decides on this problem.
    """

    kind: Literal["decision"] = "decision"
    problem: str
    step: NonNegativeInt
    drafts: tuple[DraftRecord, ...] = ()
    weak: Generation | None = None
    scoring: Scoring | None = None
    ended: bool | None = None
    features: dict[str, float] = Field(default_factory=dict)
    evidence: float | None = None
    q: Probability | None = None
    belief: tuple[float, float, float] | None = None
    gain: float | None = None
    price: float | None = None
    action: Action | None = None
    stands: NonNegativeInt | None = None
    capped: bool = False
    fallback: bool = False
    strong: Generation | None = None
    tokens: TokenCounts
    policy_hash: str

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Steps without further drafts are written as they always were."""
        return _written(self, dump(self), "drafts", "stands")

    @property
    def score(self) -> float | None:
        """The PRM's score of the weak step; None where it was not asked before the decision."""
        return None if self.scoring is None else self.scoring.scores[-1]

    @property
    def author(self) -> Author | None:
        """Who wrote the step that stands in the solution; None where an error came first."""
        return None if self.action is None else action_by_name(self.action).asks or "weak"

    @property
    def accepted(self) -> Generation | None:
        """The step that stands in the solution; None where an error came first."""
        return {"weak": self.standing.weak, "strong": self.strong, None: None}[self.author]

    @property
    def all_drafts(self) -> tuple[DraftRecord | DecisionRecord, ...]:
        """What tells of each draft, in order; of the last one the record itself."""
        return (*self.drafts, self)

    @property
    def standing(self) -> DraftRecord | DecisionRecord:
        """What tells of the weak step that stands, if one does; of the last draft unless an earlier one was kept."""
        return self if self.stands is None else self.drafts[self.stands]


class TerminalRecord(Record):
    """How a problem ended.

    Attributes
    ----------
    problem : str
        Id of the problem.
    reason : {"answer", "no answer", "degenerate", "step cap", "error"}
        Why the solution ended: an answer; the model ended its text without one; too many degenerate steps in a row;
        too many steps; an error.
    fallback : Fallback or None
        Which model was given up, if the other one went on alone.
    answer : str or None
        What stands in the last step's box.
    reference : str or None
        The right answer, where known.
    correct : bool or None
        Whether they agree; None where no reference is known. A problem that failed or has no answer is not solved.
    error : str or None
        Class and message of the error; of both where the model that went on alone failed too.
    prefix : tuple of str
        Steps that were given.
    steps : int
        Steps written, without the given ones.
    regenerations : int
        Steps that the strong model wrote.
    redrafts : int
        Drafts of the weak model that were asked for again; absent from files where there are none.
    degenerate : int
        Degenerate steps among those that stand.
    tokens : TokenCounts
        Totals.
    scoring : Scoring or None
        A last reply of the PRM, asked for scores that no decision had needed.
    q : float or None
        P(the solution is right) after its last step, in the policy's belief; None for policies without one, and where
        they have not seen the last step (a fallback, a cap, an error).
    policy_hash : str
        Of the rule that decided.
    session : int
        How often the run had been resumed.
    elapsed_s, models_s : float
        Since the session began: time passed, time in which models worked.
    """

    kind: Literal["terminal"] = "terminal"
    problem: str
    reason: Reason
    fallback: Fallback | None = None
    answer: str | None = None
    reference: str | None = None
    correct: bool | None = None
    error: str | None = None
    prefix: tuple[str, ...] = ()
    steps: NonNegativeInt
    regenerations: NonNegativeInt
    redrafts: NonNegativeInt = 0
    degenerate: NonNegativeInt
    tokens: TokenCounts
    scoring: Scoring | None = None
    q: Probability | None = None
    policy_hash: str
    session: NonNegativeInt = 0
    elapsed_s: NonNegativeFloat = 0.0
    models_s: NonNegativeFloat = 0.0

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Solutions without redrafts are written as they always were."""
        return _written(self, dump(self), "redrafts")

    @property
    def given_up(self) -> Role | None:
        """The model that failed, of a solution that one model finished alone."""
        return None if self.fallback is None else self.fallback.given_up


@dataclass(frozen=True, repr=False)
class SolutionRecord(Shown):
    """The whole of an ended solution.

    Attributes
    ----------
    decisions : tuple of DecisionRecord
        One a step, in order.
    terminal : TerminalRecord
        How it ended.
    """

    decisions: tuple[DecisionRecord, ...]
    terminal: TerminalRecord

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        end = self.terminal
        return {
            "problem": end.problem,
            "ended by": end.reason,
            "answer": end.answer,
            "right": end.correct,
            "steps": end.steps,
            "regenerations": end.regenerations,
            "redrafts": end.redrafts or None,
            "strong tokens": end.tokens.strong,
            "went on alone": None if end.fallback is None else end.fallback.author,
            "error": end.error,
        }

    def _repr_html_(self) -> str:
        """What became of it, and its steps: who wrote each, its score and q before it, its text."""
        columns = ("step", "author", "score", "q", "text")
        rows = [
            (
                item.step + 1,
                item.author,
                score,
                item.q,
                None if item.accepted is None else item.accepted.text,
            )
            for item, score in zip(self.decisions, self.own_scores, strict=True)
        ]
        return f"{super()._repr_html_()}\n{html_table('steps', columns, rows)}"

    @cached_property
    def own_scores(self) -> tuple[float | None, ...]:
        """Score of each step that stands, given ones apart; None where no call of the PRM saw it.

        Of a weak step that was kept it is the one that was decided on; that of a regenerated step comes with the next
        call of the PRM.
        """
        given = len(self.terminal.prefix)
        out: list[float | None] = [None] * len(self.decisions)
        for item in self.decisions:
            kept = item.standing if item.author == "weak" else None
            for draft in item.all_drafts:
                if draft.scoring is not None:
                    fill_in(out, draft.scoring.scores[given : None if draft is kept else -1])
        if self.terminal.scoring is not None:
            fill_in(out, self.terminal.scoring.scores[given:])
        return tuple(out)


def fill_in(known: list[float | None], seen: tuple[float, ...]) -> None:
    """Take over the scores of steps that had none."""
    for index, score in enumerate(seen[: len(known)]):
        if known[index] is None:
            known[index] = score


def _written(record: Record, fields: dict[str, Any], *rare: str) -> dict[str, Any]:
    """Fields to write: those that hardly any record has are left out where it has them not."""
    usual = type(record).model_fields
    return {
        name: value
        for name, value in fields.items()
        if name not in rare or getattr(record, name) != usual[name].default
    }
