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
from trim_pomdp.runtime.records import Action, DecisionRecord, SolutionRecord, StepClass, TerminalRecord
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
        For every step its PRM score, or its features by name (``score``, ``logprob_min``, ``logprob_mean``).
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
class CourseStep:
    """A step as it happened.

    Attributes
    ----------
    step : int
        Index from 0, given steps included.
    seen : StepObservation or None
        What there was to decide on; None where the weak model wrote no step.
    weak, strong : str or None
        Texts, where they are known.
    strong_score : float or None
        The PRM's score of the strong step, which came with a later call.
    weak_tokens, strong_tokens : int or None
        Generated; None where nobody counted.
    recorded : {"keep", "regenerate"} or None
        What was done; None of what was not routed.
    true_class, strong_class : 0, 1, 2 or None
        Of the weak and of the strong step, where truth is known.
    note : {"given", "capped", "fallback", "failed"} or None
        Why there was no decision, or not that of the policy.
    asked : bool
        Whether the policy was asked in spite of the note.
    earlier : tuple of (StepObservation, str)
        Drafts of the step before this one: what was seen of each, and its text.
    """

    step: int
    seen: StepObservation | None
    weak: str | None = None
    strong: str | None = None
    strong_score: float | None = None
    weak_tokens: int | None = None
    strong_tokens: int | None = None
    recorded: Action | None = None
    true_class: StepClass | None = None
    strong_class: StepClass | None = None
    note: Note | None = None
    asked: bool = True
    earlier: tuple[tuple[StepObservation, str], ...] = ()

    def as_of(self, draft: int) -> CourseStep:
        """The step as it was when one of its earlier drafts was decided on."""
        seen, text = self.earlier[draft]
        return replace(
            self,
            seen=seen,
            weak=text,
            true_class=cast("StepClass | None", seen.true_class),
            earlier=self.earlier[:draft],
        )


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
        CourseStep(i, StepObservation(i, ended and i == last, features_of(given, i)), weak=text)
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
    steps = [CourseStep(i, None, weak=text, note="given", asked=False) for i, text in enumerate(texts)]
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
    weak, strong, standing = item.weak, item.strong, item.standing.weak
    seen = None
    if weak is not None:
        features = _seen(item, own_score)
        draft = len(item.drafts)
        seen = StepObservation(item.step, ended, features, weak.true_class, draft, _is_repeated(item, draft))
    return CourseStep(
        step=item.step,
        seen=seen,
        weak=None if standing is None else standing.text,
        strong=None if strong is None else strong.text,
        strong_score=own_score if item.author == "strong" else None,
        weak_tokens=None if weak is None else weak.tokens,
        strong_tokens=None if strong is None else strong.tokens,
        recorded=item.action,
        true_class=None if weak is None else weak.true_class,
        strong_class=None if strong is None else strong.true_class,
        note=note_of(item),
        asked=bool(item.features),
        earlier=tuple(_drafted(item, index) for index in range(len(item.drafts))),
    )


def _drafted(item: DecisionRecord, index: int) -> tuple[StepObservation, str]:
    """What the router saw of an earlier draft, and its text."""
    draft = item.drafts[index]
    features = {**draft.features, **({} if draft.scoring is None else {"score": draft.scoring.scores[-1]})}
    seen = StepObservation(item.step, draft.ended, features, draft.weak.true_class, index, _is_repeated(item, index))
    return seen, draft.weak.text


def _is_repeated(item: DecisionRecord, index: int) -> bool:
    """Whether a draft, the last one too, is the one before it word for word."""
    texts = [draft.weak.text for draft in item.all_drafts if draft.weak is not None]
    return index > 0 and texts[index] == texts[index - 1]


def note_of(item: DecisionRecord) -> Note | None:
    """Why a recorded step had no decision, or not that of the policy."""
    return "failed" if item.action is None else "capped" if item.capped else "fallback" if item.fallback else None


def _seen(item: DecisionRecord, own_score: float | None) -> Features:
    """What the router saw of the weak step; where none was asked, what it would have seen."""
    assert item.weak is not None
    if item.features:
        return {**item.features, **({} if item.score is None else {"score": item.score})}
    features = draft_features(item.weak.step)
    return {**features, "score": own_score} if item.action == "keep" and own_score is not None else features
