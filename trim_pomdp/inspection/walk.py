"""A router, led along a course: every step as it meets it, and what it leaves for those after it.

`_Mind` is what decides: a router, and what is changed of it. `walked` keeps count of what stands.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import Course, CourseStep, Features, Note
from trim_pomdp.inspection.flips import Probe, believed
from trim_pomdp.model.actions import action_named, action_of
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies import AlphaVectorRule, Decision, Router, Rule, StepObservation
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter
from trim_pomdp.policies.base import Belief
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
    prior, likelihood, belief : tuple of three floats, or None
        Over S0, S1, S2: before the step was looked at, of what was seen of it, and after.
    q : float or None
        P(the prefix before the step is right).
    q_keep, q_regenerate : float or None
        What it becomes by either action.
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
        An earlier decision differs from the recorded one, so that text and score are of another course.
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
    prior: Belief | None = None
    likelihood: Belief | None = None
    belief: Belief | None = None
    q: float | None = None
    q_keep: float | None = None
    q_regenerate: float | None = None
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
    note: Note | None = None


@dataclass(frozen=True)
class Change:
    """What is other than it was at a step; None is as it was."""

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
        item = mind.drafted(happened) if _is_asked(happened) else happened
        change = changes.get(item.step, Change())
        seen = None if item.seen is None else standing.seen(item.seen, change)
        action = _without_decision(item, seen, mind.router)
        probe, last, found = None, None, SeenStep(item.step)
        if seen is not None and not isinstance(action, str) and _is_asked(item):
            probe = mind.before(seen, change)
            last, found = mind.decide(probe)
            action = item.recorded if item.note is not None else found.decided
        steps.append(standing.stand(item, seen, action, found, is_edited=probe is not None and change != Change()))
        probes.append(probe)
        if action == "keep" and seen is not None and seen.ended:
            break
    return Walked(tuple(steps), tuple(probes), _believed_right(course, steps, last))


def _is_asked(item: CourseStep) -> bool:
    return item.note is None or item.asked


def _without_decision(item: CourseStep, seen: StepObservation | None, router: Router) -> Action | None:
    """What is done at a step that leaves nothing to decide; None where something is, or nothing was done."""
    if seen is None or not _is_asked(item):
        return item.recorded
    writer = router.writer(item.step)
    return None if writer is None else "regenerate" if writer == "strong" else "keep"


def _believed_right(course: Course, steps: list[SeenStep], last: Decision | None) -> float | None:
    """P(the solution is right) after its last step; None where no decision was taken on that, or an error came."""
    end, step = course.end, steps[-1]
    if last is None or step.action is None or (end is not None and end.fallback is not None):
        return None
    as_recorded = end is not None and len(steps) == len(course.steps) and not step.hypothetical
    if end is not None and as_recorded and step.action == step.recorded_action:
        return None if end.reason == "error" else last.believed_at_end(_code(step), ended=end.reason in ENDED)
    return last.believed_at_end(_code(step), ended=step.ended)


def _code(step: SeenStep) -> int:
    assert step.action is not None
    return action_named(step.action).code


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
        try:
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
        except (KeyError, InputError) as error:
            lacks = f"has no {error}, which the policy looks at" if isinstance(error, KeyError) else str(error)
            raise InputError(f"steps[{probe.seen.step}]: {lacks}") from None
        # The probe's router may be of another rule, at this step alone.
        if isinstance(after, AlphaVectorRouter):
            assert isinstance(self._rule, AlphaVectorRule)
            after = after.of_rule(self._rule)
        self.router = after
        return decision, found

    def drafted(self, item: CourseStep) -> CourseStep:
        """The step as of the draft that the router makes up its mind on, led through those before."""
        for index, (seen, _) in enumerate(item.earlier):
            before = copy.deepcopy(self.router)
            if not action_of(self.router.decide(seen).action).is_judged_again:
                self.router = before
                return item.as_of(index)
        return item

    def _planned(self, what: str) -> AlphaVectorRule:
        if not isinstance(self._rule, AlphaVectorRule):
            raise InputError(f"a policy of the form {self._rule.form!r} has no {what} that could be changed")
        return self._rule

    def _of(self, rule: Rule, q: float | None = None) -> AlphaVectorRouter:
        """A router of a planned rule that believes what this one does, or q."""
        assert isinstance(rule, AlphaVectorRule)
        if q is None and isinstance(self.router, AlphaVectorRouter):
            return self.router.of_rule(rule)
        return AlphaVectorRouter(rule, self._class_table, believed(self.router) if q is None else q)


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

    def stand(
        self, item: CourseStep, seen: StepObservation | None, action: Action | None, found: SeenStep, *, is_edited: bool
    ) -> SeenStep:
        """The whole of a step, which stands from now on."""
        author: StepAuthor | None = "given" if item.note == "given" else _author(action)
        replaced = author in ("strong", None)
        score = None if seen is None else seen.features.get("score")
        step = replace(
            found,
            text=item.strong if replaced else item.weak,
            author=author,
            draft=item.weak if replaced else None,
            ended=seen is not None and seen.ended,
            features=_NOTHING if seen is None else seen.features,
            score=score,
            action=action,
            recorded_action=item.recorded,
            tokens_weak=item.weak_tokens,
            tokens_strong=item.strong_tokens if replaced else 0 if item.weak_tokens is not None else None,
            true_class=item.true_class,
            strong_class=item.strong_class if replaced else None,
            edited=is_edited,
            hypothetical=self._is_off_course,
            note=item.note,
        )
        stands = item.strong_score if replaced else score
        if author is not None and stands is not None:
            self._scores.append(stands)
        diverged = item.recorded is not None and action != item.recorded
        self._is_off_course |= diverged
        was = None if item.seen is None else item.seen.features.get("score")
        self._minimum_holds &= not diverged and score == was
        return step


def _author(action: Action | None) -> StepAuthor | None:
    """Who wrote what stands after an action; nobody did where another draft was wanted that there is none of."""
    if action is None or (done := action_named(action)).is_judged_again:
        return None
    return done.asks or "weak"
