"""A router, led along a course: every step as it meets it, and what it leaves for those after it.

`_Mind` is what decides: a router, and what is changed of it. `walked` keeps count of what stands.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import Course, CourseStep, DiscardedDraft, Features, Note
from trim_pomdp.inspection.flips import Probe, believed
from trim_pomdp.model.actions import action_named, action_of
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies import AlphaVectorRule, Decision, Router, Rule, StepObservation
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter
from trim_pomdp.policies.base import Belief
from trim_pomdp.policies.threshold import ScoreRouter, ScoreRule
from trim_pomdp.runtime.records import ENDED, Action, StepClass

StepAuthor = Literal["weak", "strong", "given"]
_NOTHING: Features = MappingProxyType({})


@dataclass(frozen=True)
class SeenStep:
    """A step as the policy met it. What a policy, or a step without a decision, does not have is None.

    Attributes
    ----------
    step : int
        Index from 0, given steps included.
    text : str or None
        What stands in the solution; None where it is not known, as of a strong step that nobody wrote.
    author : {"weak", "strong", "given"} or None
        Who wrote it; None where an error came first.
    draft : str or None
        The weak step that was replaced.
    ended : bool
        Whether the weak step ends the solution if kept.
    features : mapping of str to float
        What the policy could look at.
    score, evidence : float or None
        The PRM's score, and the score that was decided on where it is another one.
    drafts : tuple of DiscardedDraft
        Other drafts of the step, in order, those after the weak step too if an earlier one stands. All that is said of
        *the weak step* is of the one that stands, or was replaced; beliefs and all else that is said of the decision
        are of the draft that was decided on last.
    prior, likelihood, belief : tuple of three floats, or None
        Over S0, S1, S2: before the step was looked at, of what was seen of it, and after.
    q : float or None
        P(the prefix before the step is right).
    q_keep, q_regenerate : float or None
        What it becomes by either action.
    q_after : float or None
        What it becomes by what is done.
    gain, price : float or None
        Of intervening, in units of reward.
    action : str or None
        What is done (`trim_pomdp.model.actions`).
    decided : str or None
        What the policy decided, which is not done where `note` says why; None where it was not asked.
    recorded_action : str or None
        What was done, if the solution was routed.
    flip_score, flip_evidence : float or None
        The nearest PRM score, and value of what is decided on, at which the policy's own decision changes.
    flip_score_above, flip_evidence_above : bool or None
        Whether the other decision is taken from that value on; if False, it is taken below it.
    tokens_weak, tokens_strong : int or None
        Generated for the step; of a strong step that nobody wrote None.
    true_class : 0, 1, 2 or None
        Of the weak step, where truth is known.
    strong_class : 0, 1, 2 or None
        Of the strong step.
    edited : bool
        Something of it was changed.
    hypothetical : bool
        Another step stands earlier than the recorded one, so that text and score are of another course.
    diverges : bool
        Another step stands here than the recorded one.
    note : {"given", "capped", "fallback", "failed"} or None
        Why there was no decision, or not that of the policy.
    """

    step: int
    text: str | None = None
    author: StepAuthor | None = None
    draft: str | None = None
    ended: bool = False
    features: Features = field(default_factory=lambda: _NOTHING)
    score: float | None = None
    evidence: float | None = None
    drafts: tuple[DiscardedDraft, ...] = ()
    prior: Belief | None = None
    likelihood: Belief | None = None
    belief: Belief | None = None
    q: float | None = None
    q_keep: float | None = None
    q_regenerate: float | None = None
    q_after: float | None = None
    gain: float | None = None
    price: float | None = None
    action: Action | None = None
    decided: Action | None = None
    recorded_action: Action | None = None
    flip_score: float | None = None
    flip_score_above: bool | None = None
    flip_evidence: float | None = None
    flip_evidence_above: bool | None = None
    tokens_weak: int | None = None
    tokens_strong: int | None = None
    true_class: StepClass | None = None
    strong_class: StepClass | None = None
    edited: bool = False
    hypothetical: bool = False
    diverges: bool = False
    note: Note | None = None


@dataclass(frozen=True)
class Change:
    """What is other than it was at a step, of the draft that is decided on last; None is as it was."""

    features: Features = field(default_factory=dict)
    evidence: float | None = None
    q: float | None = None
    strong_tokens: float | None = None
    tradeoff: float | None = None
    ended: bool | None = None

    def followed_by(self, later: Change) -> Change:
        """Both changes, the later one where they differ: features make an evidence score, and so undo a given one."""
        known = {item.name: value for item in fields(later) if (value := getattr(later, item.name)) is not None}
        if later.features and later.evidence is None:
            known["evidence"] = None
        return replace(self, **{**known, "features": {**self.features, **later.features}})

    def beside(self, seen: StepObservation) -> Change:
        """What of it is really other than what was seen."""
        features = {name: value for name, value in self.features.items() if seen.features.get(name) != value}
        return replace(self, features=features, ended=None if self.ended == seen.ended else self.ended)


@dataclass(frozen=True)
class Walked:
    """A course under a rule: every step, the router before each decision, and what is believed at the end."""

    steps: tuple[SeenStep, ...]
    probes: tuple[Probe | None, ...]
    q_end: float | None


def walked(
    course: Course, rule: Rule, router: Router, changes: Mapping[int, Change], class_table: ClassTable | None
) -> Walked:
    """Lead a router along a course.

    Parameters
    ----------
    course : Course
    rule, router
        What decides, and its router before the first step.
    changes : mapping of int to Change
        By step.
    class_table : ClassTable or None
        For rules that look at (min, current).

    Raises
    ------
    InputError
        If a step lacks what the rule looks at, or the rule has nothing of what is changed.
    """
    mind = _Mind(rule, router, class_table)
    standing = _Standing(list(course.given_scores), is_recorded=course.end is not None)
    steps: list[SeenStep] = []
    probes: list[Probe | None] = []
    last: Decision | None = None
    for happened in course.steps:
        change = changes.get(happened.step, Change())
        action, item = _without_decision(happened, mind.router)
        probe, last = None, None
        done = _Done(action, len(item.drafts) - 1 if item.stands is None else item.stands, SeenStep(item.step))
        if action is None and item.seen is not None and _is_asked(item):
            item, evidence = mind.drafted(item, standing)
            assert item.seen is not None  # something is seen of every draft
            probe = mind.before(standing.seen(item.seen, change), change)
            last, found = mind.decide(probe)
            done = _Done.of(item, last, found, evidence)
        seen = None if item.seen is None else standing.seen(item.seen, change)
        steps.append(standing.stand(item, seen, done, is_edited=probe is not None and change != Change()))
        probes.append(probe)
        if steps[-1].author == "weak" and steps[-1].ended:
            break
    return Walked(tuple(steps), tuple(probes), _believed_right(course, steps, last))


@dataclass(frozen=True)
class _Done:
    """What is done with a step: which draft is its weak step, what the decision says, and earlier drafts' evidence."""

    action: Action | None
    weak: int
    found: SeenStep
    evidence: tuple[float | None, ...] = ()

    @classmethod
    def of(cls, item: CourseStep, decision: Decision, found: SeenStep, evidence: tuple[float | None, ...]) -> _Done:
        """As decided, or against that, as recorded."""
        action = found.decided if item.note is None else item.recorded
        weak = len(item.drafts) - 1 if item.note is not None else _stands(item, decision)
        return cls(action, weak, replace(found, q_after=_q_after(decision, action)), (*evidence, found.evidence))

    def evidence_of(self, draft: int) -> float | None:
        """The score that was decided on at a draft, where it is not the PRM's."""
        return self.evidence[draft] if self.evidence else None


def _stands(item: CourseStep, decision: Decision) -> int:
    """The draft that a decision lets stand; of others the one in hand."""
    last, action = len(item.drafts) - 1, action_of(decision.action)
    if action.is_of_former and last == 0:
        raise InputError(f"steps[{item.step}]: the policy recalls a draft before there is any")
    if action.is_of_former:
        return last - 1
    return last if action.asks is not None or decision.draft is None else decision.draft


def _q_after(decision: Decision, action: Action | None) -> float | None:
    """P(right so far) after an action; None where nothing stands after it."""
    if _author(action) is None or decision.after is None:
        return None
    return dict(enumerate(decision.after)).get(_code(action))


def _is_asked(item: CourseStep) -> bool:
    return item.note is None or item.asked


def _without_decision(item: CourseStep, router: Router) -> tuple[Action | None, CourseStep]:
    """What is done at a step that leaves nothing to decide, None where something is, or nothing was done; the step.

    A model that writes alone writes the first draft.
    """
    if item.seen is None or not _is_asked(item):
        return item.recorded, item
    writer = router.writer(item.step)
    return (None, item) if writer is None else ("regenerate" if writer == "strong" else "keep", item.as_of(0))


def _believed_right(course: Course, steps: list[SeenStep], last: Decision | None) -> float | None:
    """P(the solution is right) after its last step; None where no decision was taken on that, or an error came."""
    end, step = course.end, steps[-1]
    if last is None or step.action is None or (end is not None and end.fallback is not None):
        return None
    as_recorded = end is not None and len(steps) == len(course.steps) and not step.hypothetical
    if end is not None and as_recorded and not step.diverges:
        return None if end.reason == "error" else last.believed_at_end(_code(step.action), ended=end.reason in ENDED)
    return last.believed_at_end(_code(step.action), ended=step.ended)


def _code(action: Action | None) -> int:
    assert action is not None
    return action_named(action).code


class _Mind:
    """What decides: a router, with what is changed of it."""

    def __init__(self, rule: Rule, router: Router, class_table: ClassTable | None) -> None:
        self.router = router
        self._rule, self._class_table = rule, class_table

    def before(self, seen: StepObservation, change: Change) -> Probe:
        """The router before its decision on a step, with all that is changed of it."""
        if change.tradeoff is not None:
            self._rule = self._planned("price").model_copy(update={"tradeoff": change.tradeoff})
        if change.q is not None or change.tradeoff is not None:
            self.router = self._of(self._planned("belief"), change.q)
        rule, router = self._rule, copy.deepcopy(self.router)
        if change.strong_tokens is not None:
            tokens = PerClass.constant(change.strong_tokens)
            rule = self._planned("price").model_copy(update={"strong_tokens": tokens})
            router = self._of(rule)
        if change.evidence is not None and getattr(rule, "evidence", None) is None:
            raise InputError(
                f"steps[{seen.step}]: its evidence score was changed, and this policy decides on the PRM score itself"
            )
        return Probe(rule, router, seen, change.evidence, self._class_table)

    def decide(self, probe: Probe) -> tuple[Decision, SeenStep]:
        """The decision of a probe, which the router takes too."""
        with _saying_where(probe.seen.step):
            decision, after = probe.decided()
            keep, redo = (*(decision.after or ()), None, None)[:2]
            found = SeenStep(
                step=probe.seen.step,
                evidence=decision.evidence if probe.given is None else probe.given,
                prior=probe.prior,
                likelihood=probe.likelihood,
                belief=decision.belief,
                q=decision.q,
                q_keep=keep,
                q_regenerate=redo,
                gain=decision.gain,
                price=decision.price,
                decided=action_of(decision.action).name,
                **_flips(probe),
            )
        # The probe's router may be of another rule, at this step alone.
        if isinstance(after, AlphaVectorRouter):
            assert isinstance(self._rule, AlphaVectorRule)
            after = after.of_rule(self._rule)
        elif isinstance(after, ScoreRouter):
            assert isinstance(self._rule, ScoreRule)
            after = ScoreRouter(self._rule)
        self.router = after
        return decision, found

    def drafted(self, item: CourseStep, standing: _Standing) -> tuple[CourseStep, tuple[float | None, ...]]:
        """The step as of the draft that the router makes up its mind on, led through those before; their evidence."""
        evidence: list[float | None] = []
        for index, draft in enumerate(item.drafts[:-1]):
            assert draft.seen is not None
            before = copy.deepcopy(self.router)
            with _saying_where(item.step):
                decision = self.router.decide(standing.seen(draft.seen, Change()))
            if not action_of(decision.action).is_judged_again:
                self.router = before
                return item.as_of(index), tuple(evidence)
            evidence.append(decision.evidence)
        return item, tuple(evidence)

    def _planned(self, what: str) -> AlphaVectorRule:
        if not isinstance(self._rule, AlphaVectorRule):
            raise InputError(f"a policy of the form {self._rule.form!r} has no {what} that could be changed")
        return self._rule

    def _of(self, rule: Rule, q: float | None = None) -> AlphaVectorRouter:
        """A router of a planned rule that believes what this one does, or q."""
        assert isinstance(rule, AlphaVectorRule)
        if not isinstance(self.router, AlphaVectorRouter):
            return AlphaVectorRouter(rule, self._class_table, believed(self.router) if q is None else q)
        router = self.router.of_rule(rule)
        if q is not None:
            router.q = q
            router.held = None if router.held is None else router.held.at(q)
        return router


@contextmanager
def _saying_where(step: int) -> Iterator[None]:
    """Errors about what a policy looks at name the step."""
    try:
        yield
    except (KeyError, InputError) as error:
        lacks = f"has no {error}, which the policy looks at" if isinstance(error, KeyError) else str(error)
        raise InputError(f"steps[{step}]: {lacks}") from None


def _flips(probe: Probe) -> dict[str, Any]:
    """Where the decision changes, and on which side of that it is the other one; nothing where it does not."""
    flip = probe.nearest_flip
    if flip is None or probe.at is None:
        return {}
    above, score = probe.at < flip, probe.score_for(flip)
    return {
        "flip_evidence": flip,
        "flip_evidence_above": above,
        "flip_score": score,
        "flip_score_above": None if score is None else above == probe.rises,
    }


class _Standing:
    """What stands of a solution: the scores that the minimum is of, and whether all is as it was recorded."""

    def __init__(self, scores: list[float], *, is_recorded: bool) -> None:
        self._scores = scores
        self._minimum_holds = is_recorded  # until something changes what stands
        self._is_off_course = False

    def seen(self, seen: StepObservation, change: Change) -> StepObservation:
        """What is seen of a step behind what stands, with what is changed of it."""
        features = {**seen.features, **change.features}
        if "score" in features and not (self._minimum_holds and "minimum" in features):
            features["minimum"] = min(self._scores, default=1.0)
        ended = seen.ended if change.ended is None else change.ended
        return replace(seen, features=MappingProxyType(features), ended=ended)

    def stand(self, item: CourseStep, seen: StepObservation | None, done: _Done, *, is_edited: bool) -> SeenStep:
        """The whole of a step, which stands from now on; `seen` is of the last draft."""
        author: StepAuthor | None = "given" if item.note == "given" else _author(done.action)
        replaced = author in ("strong", None)
        weak, others = item.drafts[done.weak], _discarded(item, seen, done)
        if weak.seen is not None and done.weak < len(item.drafts) - 1:
            seen = self.seen(weak.seen, Change())
        score = None if seen is None else seen.features.get("score")
        diverges = _diverges(item, done, author)
        step = replace(
            done.found,
            text=item.strong if replaced else weak.text,
            author=author,
            draft=weak.text if replaced else None,
            ended=seen is not None and seen.ended,
            features=_NOTHING if seen is None else seen.features,
            score=score,
            evidence=done.evidence_of(done.weak),
            drafts=others,
            action=done.action,
            recorded_action=item.recorded,
            tokens_weak=weak.tokens,
            tokens_strong=item.strong_tokens if replaced else 0 if weak.tokens is not None else None,
            true_class=weak.true_class,
            strong_class=item.strong_class if replaced else None,
            edited=is_edited,
            hypothetical=self._is_off_course,
            diverges=diverges,
            note=item.note,
        )
        stands = item.strong_score if replaced else score
        if author is not None and stands is not None:
            self._scores.append(stands)
        self._is_off_course |= diverges
        self._minimum_holds &= not diverges and score == weak.score
        return step


def _diverges(item: CourseStep, done: _Done, author: StepAuthor | None) -> bool:
    """Whether another step stands than the recorded one; strong steps after fewer drafts are others too."""
    if item.recorded is None:
        return False
    if author == "weak" and _author(item.recorded) == "weak":
        return item.drafts[done.weak].text != item.recorded_text
    return done.action != item.recorded or item.is_cut


def _discarded(item: CourseStep, seen: StepObservation | None, done: _Done) -> tuple[DiscardedDraft, ...]:
    """Drafts beside the step's weak step; `seen` is of the last one."""
    drafts = (*item.drafts[:-1], replace(item.drafts[-1], seen=seen))
    return tuple(
        DiscardedDraft(
            text=draft.text,
            action=draft.action or done.found.decided,
            score=draft.score,
            evidence=done.evidence_of(index),
            tokens=draft.tokens,
            true_class=draft.true_class,
        )
        for index, draft in enumerate(drafts)
        if index != done.weak and draft.seen is not None
    )


def _author(action: Action | None) -> StepAuthor | None:
    """Who wrote what stands after an action; nobody did where another draft was wanted that there is none of."""
    if action is None or (done := action_named(action)).is_judged_again:
        return None
    return done.asks or "weak"
