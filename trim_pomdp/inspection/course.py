"""What was seen of a solution, step by step, whatever it comes from: a trace, scores alone, or what somebody types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Real
from typing import Literal, TypeAlias, cast

from trim_pomdp.data.features import LOGPROBS
from trim_pomdp.data.scored_texts import ScoredText
from trim_pomdp.errors import InputError
from trim_pomdp.policies import StepObservation
from trim_pomdp.runtime.attempt import draft_features
from trim_pomdp.runtime.records import Action, DecisionRecord, DraftRecord, SolutionRecord, StepClass, TerminalRecord
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

Features: TypeAlias = Mapping[str, float]
Note = Literal["given", "capped", "fallback", "failed"]
_FEATURES = ("score", *LOGPROBS, "tokens", "minimum")


@dataclass(frozen=True)
class TypedSolution:
    """A solution that a person types in.

    Attributes
    ----------
    steps : sequence of str
        Texts.
    seen : sequence of float or mapping
        For every step its PRM score, or its features by name (``score``, ``logprob_min``, …; `LOGPROBS`).
    prompt : str or None
        What was asked.
    finished : bool
        Whether the last step ends the solution; a box in it does anyway.
    """

    steps: Sequence[str]
    seen: Sequence[float | Features]
    prompt: str | None = None
    finished: bool = True

    @classmethod
    def of(cls, text: ScoredText) -> TypedSolution:
        """A solution of a file (`trim_pomdp.data.scored_texts.read_scored_texts`)."""
        return cls(text.steps, text.scores, prompt=text.prompt)


Solution: TypeAlias = SolutionRecord | TypedSolution | Sequence[float | Features]


@dataclass(frozen=True)
class Draft:
    """A step as the weak model wrote it.

    Attributes
    ----------
    seen : StepObservation or None
        What there was to decide on; None where the weak model wrote no step, or it was given.
    text : str or None
        Where it is known.
    tokens : int or None
        Generated; None where nobody counted.
    action : str or None
        What was decided about it, of drafts before the last.
    """

    seen: StepObservation | None
    text: str | None = None
    tokens: int | None = None
    action: Action | None = None

    @property
    def score(self) -> float | None:
        """The PRM's score."""
        return None if self.seen is None else self.seen.features.get("score")

    @property
    def true_class(self) -> StepClass | None:
        """S0, S1 or S2, where truth is known."""
        return None if self.seen is None else cast("StepClass | None", self.seen.true_class)


@dataclass(frozen=True)
class DiscardedDraft:
    """A draft of a step in whose place another one stands, or was decided on last.

    Attributes
    ----------
    text : str or None
    action : str or None
        What was decided about it: that the step is drafted again; or at the last draft, that an earlier one stands.
    score, evidence : float or None
        The PRM's score, and the score that was decided on where it is another one.
    tokens : int or None
    true_class : 0, 1, 2 or None
    """

    text: str | None
    action: Action | None
    score: float | None = None
    evidence: float | None = None
    tokens: int | None = None
    true_class: StepClass | None = None


@dataclass(frozen=True)
class CourseStep:
    """A step as it happened.

    Attributes
    ----------
    step : int
        Index from 0, given steps included.
    drafts : tuple of Draft
        In order; one where the step was not drafted again.
    strong : str or None
        Text, where it is known.
    strong_score : float or None
        The PRM's score of the strong step, which came with a later call.
    strong_tokens : int or None
        Generated; None where nobody counted.
    recorded : str or None
        What was done; None of what was not routed.
    stands : int or None
        Which of the drafts stands, if one does, where it is not the last.
    recorded_text : str or None
        What stands.
    strong_class : 0, 1, 2 or None
        Of the strong step, where truth is known.
    note : {"given", "capped", "fallback", "failed"} or None
        Why there was no decision, or not that of the policy.
    asked : bool
        Whether the policy was asked in spite of the note.
    is_cut : bool
        There were further drafts (`as_of`).
    """

    step: int
    drafts: tuple[Draft, ...]
    strong: str | None = None
    strong_score: float | None = None
    strong_tokens: int | None = None
    recorded: Action | None = None
    stands: int | None = None
    recorded_text: str | None = None
    strong_class: StepClass | None = None
    note: Note | None = None
    asked: bool = True
    is_cut: bool = False

    @property
    def seen(self) -> StepObservation | None:
        """What there was to decide on, of the last draft."""
        return self.drafts[-1].seen

    def as_of(self, draft: int) -> CourseStep:
        """The step as it was when one of its drafts was decided on."""
        if draft == len(self.drafts) - 1:
            return self
        return replace(self, drafts=self.drafts[: draft + 1], stands=None, is_cut=True)


@dataclass(frozen=True)
class Course:
    """A solution as it happened.

    Attributes
    ----------
    problem : str
        Id, empty where there is none.
    prompt : str or None
    steps : tuple of CourseStep
    end : TerminalRecord or None
        How it ended, if it was routed.
    given_scores : tuple of float
        Scores of given steps, as far as the PRM saw them.
    policy_hash : str or None
        Of the rule that decided.
    """

    problem: str
    prompt: str | None
    steps: tuple[CourseStep, ...]
    end: TerminalRecord | None = None
    given_scores: tuple[float, ...] = field(default=())
    policy_hash: str | None = None


def course_of(solution: Solution, *, prompt: str | None = None, step_format: StepFormat = DEFAULT_FORMAT) -> Course:
    """The course of a record, of scores, or of a typed solution.

    Raises
    ------
    InputError
        If there is no step, there are not as many texts as scores, or a score is none.
    """
    if isinstance(solution, SolutionRecord):
        return _of_record(solution, prompt, step_format)
    if isinstance(solution, TypedSolution):
        texts: Sequence[str | None] = solution.steps
        ended = solution.finished or step_format.answer(tuple(solution.steps)) is not None
        return _typed(texts, solution.seen, prompt or solution.prompt, ended)
    return _typed([None] * len(solution), solution, prompt, ended=True)


# Typed ----------------------------------------------------------------------------------------------------------


def _typed(texts: Sequence[str | None], seen: Sequence[float | Features], prompt: str | None, ended: bool) -> Course:
    if len(seen) == 0:
        raise InputError("the solution has no step; expected one score a step at least")
    if len(texts) != len(seen):
        raise InputError(f"the solution has {len(texts)} steps and scores of {len(seen)}; expected one each")
    last = len(seen) - 1
    steps = tuple(
        CourseStep(i, (Draft(StepObservation(i, ended and i == last, features_of(given, i)), text),))
        for i, (text, given) in enumerate(zip(texts, seen, strict=True))
    )
    return Course("", prompt, steps)


def features_of(given: float | Features, step: int) -> dict[str, float]:
    """Features of a step from its score or its features, checked.

    Raises
    ------
    InputError
        If a score lies outside [0, 1] or a log-probability above 0.
    """
    features = dict(given) if isinstance(given, Mapping) else {"score": given}
    for name, value in features.items():
        if name not in _FEATURES:
            raise InputError(f"steps[{step}]: no feature {name!r}; there are {', '.join(_FEATURES)}")
        if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
            raise InputError(f"steps[{step}]: {name} is {value!r}; expected a number")
        if name == "score" and not 0.0 <= value <= 1.0:
            raise InputError(f"steps[{step}]: the score is {value:g}; scores lie in [0, 1]")
        if name in LOGPROBS and not value <= 0.0:
            raise InputError(f"steps[{step}]: {name} is {value:g}; a log-probability is at most 0")
    return {name: float(value) for name, value in features.items()}


# Recorded -------------------------------------------------------------------------------------------------------


def _of_record(record: SolutionRecord, prompt: str | None, step_format: StepFormat) -> Course:
    end = record.terminal
    texts = list(end.prefix)
    steps = [CourseStep(i, (Draft(None, text),), note="given", asked=False) for i, text in enumerate(texts)]
    for item, score in zip(record.decisions, record.own_scores, strict=True):
        steps.append(_recorded(item, score, _ends(item, texts, step_format)))
        if item.accepted is not None:
            texts.append(item.accepted.text)
    scores = next((item.scoring.scores for item in record.decisions if item.scoring is not None), ())
    return Course(end.problem, prompt, tuple(steps), end, scores[: len(end.prefix)], end.policy_hash)


def _ends(item: DecisionRecord, before: Sequence[str], step_format: StepFormat) -> bool:
    """Whether the weak step ends the solution if kept; as the engine tells it, where it did not need to."""
    if item.ended is not None or item.weak is None:
        return bool(item.ended)
    return item.weak.stop == "end" or step_format.answer((*before, item.weak.text)) is not None


def _recorded(item: DecisionRecord, own_score: float | None, ended: bool) -> CourseStep:
    strong, accepted = item.strong, item.accepted
    earlier = tuple(_draft(item, index, seen_of(draft), draft.ended) for index, draft in enumerate(item.drafts))
    return CourseStep(
        step=item.step,
        drafts=(*earlier, _draft(item, len(earlier), _seen(item, own_score), ended)),
        strong=None if strong is None else strong.text,
        strong_score=own_score if item.author == "strong" else None,
        strong_tokens=None if strong is None else strong.tokens,
        recorded=item.action,
        stands=item.stands,
        recorded_text=None if accepted is None else accepted.text,
        strong_class=None if strong is None else strong.true_class,
        note=note_of(item),
        asked=bool(item.features),
    )


def _draft(item: DecisionRecord, index: int, features: Features, ended: bool) -> Draft:
    """A draft, and what the router saw of it."""
    draft = item.all_drafts[index]
    weak = draft.weak
    if weak is None:
        return Draft(None)
    seen = StepObservation(item.step, ended, features, weak.true_class, index, _is_repeated(item, index))
    return Draft(seen, weak.text, weak.tokens, None if draft is item else draft.action)


def discarded_drafts(item: DecisionRecord) -> tuple[DiscardedDraft, ...]:
    """Drafts of a recorded step beside the one that stands, or that the strong model replaced, in order."""
    return tuple(
        DiscardedDraft(
            draft.weak.text, draft.action, score_of(draft), draft.evidence, draft.weak.tokens, draft.weak.true_class
        )
        for draft in item.all_drafts
        if draft is not item.standing and draft.weak is not None
    )


def _is_repeated(item: DecisionRecord, index: int) -> bool:
    """Whether a draft, the last one too, is the one before it word for word."""
    texts = [draft.weak.text for draft in item.all_drafts if draft.weak is not None]
    return index > 0 and texts[index] == texts[index - 1]


def note_of(item: DecisionRecord) -> Note | None:
    """Why a recorded step had no decision, or not that of the policy."""
    return "failed" if item.action is None else "capped" if item.capped else "fallback" if item.fallback else None


def score_of(draft: DraftRecord | DecisionRecord) -> float | None:
    """The PRM's score of a draft; None where it was not asked."""
    return None if draft.scoring is None else draft.scoring.scores[-1]


def seen_of(draft: DraftRecord | DecisionRecord) -> Features:
    """What the router saw of a draft that it was asked about."""
    score = score_of(draft)
    return {**draft.features, **({} if score is None else {"score": score})}


def _seen(item: DecisionRecord, own_score: float | None) -> Features:
    """What the router saw of the last draft; where none was asked, what it would have seen."""
    if item.weak is None or item.features:
        return seen_of(item)
    features = draft_features(item.weak.step)
    return {**features, "score": own_score} if item.action == "keep" and own_score is not None else features
