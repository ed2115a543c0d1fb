"""One solution, looked into: what the policy saw, believed and did at every step, and what would have changed its mind.

Everything comes from the policy's own router, which is led along the solution once more; there is no second filter
here. Under the policy that routed a recorded solution the numbers are those of the record, to the bit. A solution can
be edited: another score, belief, price or policy, and everything after it follows. Where an edited decision differs
from the recorded one, what came later is no record of what would have come: those steps are marked `hypothetical`, and
say what the policy would make of the recorded drafts.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from trim_pomdp.data.problems import Problem
from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import (
    Course,
    CourseStep,
    Features,
    Note,
    Solution,
    course_of,
    features_of,
)
from trim_pomdp.inspection.flips import Axis, EvidenceCurve, Probe, believed
from trim_pomdp.inspection.frames import frame
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.dynamics import PerClass
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies import AlphaVectorRule, Decision, PolicyArtifact, Router, Rule, StepObservation
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter
from trim_pomdp.policies.base import Belief
from trim_pomdp.runtime.records import Action, StepClass, TerminalRecord
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

if TYPE_CHECKING:
    from trim_pomdp.inspection.frames import Frame

StepAuthor = Literal["weak", "strong", "given"]


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
    action : {"keep", "regenerate"} or None
        What the policy does.
    recorded_action : {"keep", "regenerate"} or None
        What was done, if the solution was routed.
    flip_score, flip_evidence : float or None
        The nearest PRM score, and value of what is decided on, from which on the decision is the other one: at or
        above it where it is the larger, below it where it is the smaller (or the same).
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
    features: Features = field(default_factory=dict)
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
    recorded_action: Action | None = None
    flip_score: float | None = None
    flip_evidence: float | None = None
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
        """Both changes, the later one where they say different things."""
        known = {item.name: value for item in fields(later) if (value := getattr(later, item.name)) is not None}
        return replace(self, **{**known, "features": {**self.features, **later.features}})


@dataclass(frozen=True, repr=False)
class Inspection(Shown):
    """A solution under a policy.

    Attributes
    ----------
    problem : str
        Id; empty where there is none.
    prompt : str or None
        What was asked, where it is known.
    policy : Rule
        What was asked to be looked at; a mixture perhaps.
    rule : Rule
        What decides: the policy, or the part of it that was drawn for the problem.
    steps : tuple of SeenStep
        In order; an edited solution may end earlier than the recorded one.
    end : TerminalRecord or None
        How the recorded solution ended.
    q_end : float or None
        P(the solution is right) after its last step, as far as the policy believes anything.
    changes : mapping of int to Change
        What was edited, by step.
    """

    problem: str
    prompt: str | None
    policy: Rule
    rule: Rule
    steps: tuple[SeenStep, ...]
    end: TerminalRecord | None
    q_end: float | None
    changes: Mapping[int, Change] = field(default_factory=dict)
    course: Course = field(default=Course("", None, ()))
    probes: tuple[Probe | None, ...] = field(compare=False, default=())
    seed: int = 0
    class_table: ClassTable | None = None

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "problem": self.problem or None,
            "steps": len(self.steps),
            "regenerations": sum(item.action == "regenerate" for item in self.steps),
            "q at the end": self.q_end,
            "right": None if self.end is None else self.end.correct,
            "edited": ", ".join(str(step) for step in sorted(self.changes)) or None,
            "policy": self.rule.form,
        }

    @property
    def is_edited(self) -> bool:
        """Whether anything was changed."""
        return bool(self.changes)

    @property
    def as_recorded(self) -> bool:
        """Whether every decision is the recorded one."""
        return all(item.recorded_action is None or item.action == item.recorded_action for item in self.steps)

    @cached_property
    def frame(self) -> Frame:
        """A row a step: the fields of `SeenStep`, beliefs in three columns each."""
        names = [name for name in SeenStep.__dataclass_fields__ if name not in ("features", *_TRIPLES)]
        columns: dict[str, list[Any]] = {name: [getattr(item, name) for item in self.steps] for name in names}
        for name in _TRIPLES:
            for index in range(3):
                values = [getattr(item, name) for item in self.steps]
                columns[f"{name}_S{index}"] = [None if value is None else value[index] for value in values]
        return frame(columns)

    def _repr_html_(self) -> str:
        columns = ("step", "author", "score", "P(S0)", "P(S1)", "P(S2)", "gain", "price", "action", "flips at", "text")
        rows = [
            (
                item.step + 1,
                item.author,
                item.score,
                *(item.belief or (None,) * 3),
                item.gain,
                item.price,
                item.action,
                item.flip_score if item.flip_score is not None else item.flip_evidence,
                item.text,
            )
            for item in self.steps
        ]
        return html_table(f"{self.problem or 'solution'} under {self.rule!r}", columns, rows)


_TRIPLES = ("prior", "likelihood", "belief")


def inspect_solution(
    solution: Solution,
    policy: Rule | PolicyArtifact,
    *,
    prompt: str | None = None,
    seed: int = 0,
    class_table: ClassTable | None = None,
    step_format: StepFormat = DEFAULT_FORMAT,
) -> Inspection:
    """Lead a policy along a solution.

    Parameters
    ----------
    solution : SolutionRecord, TypedSolution, or sequence of float or mapping
        A recorded one; one that is typed in; or what was seen of each step: its score, or its features by name.
    policy : rule or PolicyArtifact
        Of a mixture the part that decided on the record; for all else the part that is drawn.
    prompt : str or None
        What was asked; traces do not say.
    seed : int
        Of the run, for policies that draw.
    class_table : ClassTable or None
        Densities of (min, current), for policies that look at them.
    step_format : StepFormat
        How boxes are told in typed solutions.

    Raises
    ------
    InputError
        If the solution has no step, a step lacks what the policy looks at, or a value is out of range.
    UnsetParameterError
        If the policy looks at (min, current), and there is no class table.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> model = tp.load_preset("lab-loop.prm").routing_model()
    >>> seen = inspect_solution([0.99, 0.02, 0.98], tp.ThresholdRule(threshold=0.4))
    >>> [step.action for step in seen.steps]
    ['keep', 'regenerate', 'keep']
    >>> seen.steps[1].flip_score
    0.4
    """
    rule = policy.policy if isinstance(policy, PolicyArtifact) else policy
    course = course_of(solution, prompt=prompt, step_format=step_format)
    return _inspected(course, rule, {}, seed, class_table)


def edit(
    inspection: Inspection,
    step: int | None = None,
    *,
    score: float | None = None,
    features: Features | None = None,
    evidence: float | None = None,
    q: float | None = None,
    strong_tokens: float | None = None,
    tradeoff: float | None = None,
    ended: bool | None = None,
    policy: Rule | PolicyArtifact | None = None,
) -> Inspection:
    """Change something, and let everything after it follow.

    Parameters
    ----------
    inspection : Inspection
        What was edited before stays.
    step : int or None
        Index from 0 of the step that is changed; needed for all but `policy`.
    score : float or None
        Another PRM score.
    features : mapping or None
        Other features, by name (``logprob_min``, ``logprob_mean``).
    evidence : float or None
        Another evidence score, whatever the features are.
    q : float or None
        Another belief that the prefix before the step is right.
    strong_tokens : float or None
        Expected tokens of the strong step in place of the policy's own, at this step.
    tradeoff : float or None
        Another price λ of a strong token, from this step on. What later steps are worth stays as it was planned;
        a plan for that price is another `policy`.
    ended : bool or None
        Whether the step ends the solution if kept.
    policy : rule or PolicyArtifact or None
        Another policy, from the first step on: one for another budget, or with another belief.

    Raises
    ------
    InputError
        If there is no such step, or nothing to decide at it; a value is out of range; or the policy has no belief, or
        no price, to change.
    """
    rule = policy.policy if isinstance(policy, PolicyArtifact) else policy
    given = {**(features or {}), **({} if score is None else {"score": score})}
    now = Change(given, evidence, q, strong_tokens, tradeoff, ended)
    changes = dict(inspection.changes)
    if now != Change():
        step = _editable(inspection, step)
        changes[step] = changes.get(step, Change()).followed_by(_checked(now, step))
    elif rule is None:
        raise InputError("nothing is changed; give a score, features, evidence, q, strong_tokens, tradeoff or a policy")
    return _inspected(inspection.course, rule or inspection.policy, changes, inspection.seed, inspection.class_table)


def _editable(inspection: Inspection, step: int | None) -> int:
    if step is None:
        raise InputError("which step is changed? give its index, from 0")
    if not 0 <= step < len(inspection.course.steps):
        raise InputError(
            f"there is no steps[{step}]; the solution has {len(inspection.course.steps)} steps, counted from 0"
        )
    item = inspection.course.steps[step]
    if item.seen is None:
        raise InputError(f"steps[{step}] was {item.note or 'written by the strong model'}: there was nothing to decide")
    return step


def _checked(change: Change, step: int) -> Change:
    for name, highest in (("q", 1.0), ("evidence", 1.0), ("strong_tokens", None), ("tradeoff", None)):
        value = getattr(change, name)
        if value is not None and not (value >= 0.0 and (highest is None or value <= highest)):
            right = "at least 0" if highest is None else "in [0, 1]"
            raise InputError(f"steps[{step}]: {name} is {value:g}; it is {right}")
    return replace(change, features=features_of(change.features, step))


def evidence_curve(inspection: Inspection, step: int, over: Axis | None = None) -> EvidenceCurve:
    """What the policy would do at a step over its score, or evidence score, all else as it is.

    Raises
    ------
    InputError
        If there is no such step, or nothing was decided at it, or the policy looks at no score.
    """
    if not 0 <= step < len(inspection.steps):
        raise InputError(f"there is no steps[{step}]; the solution has {len(inspection.steps)} steps, counted from 0")
    probe = inspection.probes[step]
    if probe is None:
        raise InputError(f"nothing was decided at steps[{step}]")
    return probe.curve(over)


# Leading a router along -----------------------------------------------------------------------------------------


def _inspected(
    course: Course, policy: Rule, changes: Mapping[int, Change], seed: int, class_table: ClassTable | None
) -> Inspection:
    policy.require(class_table)
    problem = Problem(course.problem, course.prompt or "")
    rule = _decider(course, policy, policy.router(problem, seed=seed, class_table=class_table))
    router = rule.router(problem, seed=seed, class_table=class_table)
    walk = _Walk(rule, router, class_table, list(course.given_scores), is_recorded=course.end is not None)
    for item in course.steps:
        walk.take(item, changes.get(item.step))
        if walk.is_over:
            break
    return Inspection(
        problem=course.problem,
        prompt=course.prompt,
        policy=policy,
        rule=rule,
        steps=tuple(walk.steps),
        end=course.end,
        q_end=walk.believed_right(course),
        changes=changes,
        course=course,
        probes=tuple(walk.probes),
        seed=seed,
        class_table=class_table,
    )


def _decider(course: Course, policy: Rule, drawn: Router) -> Rule:
    """The part of a policy that decides: the one that did, else the one that is drawn."""
    hashes = {part.policy_hash: part for part in policy.parts}
    return hashes.get(course.policy_hash or "") or hashes.get(drawn.policy_hash, policy)


class _Walk:
    """A router on its way along a course."""

    def __init__(
        self, rule: Rule, router: Router, class_table: ClassTable | None, standing: list[float], *, is_recorded: bool
    ) -> None:
        self.router = router
        self.steps: list[SeenStep] = []
        self.probes: list[Probe | None] = []
        self.is_over = False
        self._last: Decision | None = None
        self._rule, self._class_table = rule, class_table
        self._standing = standing  # scores of the steps that stand
        self._minimum_holds = is_recorded  # until something changes what stands
        self._is_off_course = False

    def take(self, item: CourseStep, change: Change | None) -> None:
        """Go on by a step."""
        seen = None if item.seen is None else self._seen(item.seen, change)
        writer = self.router.writer(item.step)
        if seen is None or (item.note is not None and not item.asked):
            self._last = None
            self._stand(item, seen, item.recorded, SeenStep(item.step))
        elif writer is not None:
            self._last = None
            self._stand(item, seen, "regenerate" if writer == "strong" else "keep", SeenStep(item.step))
        else:
            self._decide(item, seen, change or Change())

    def believed_right(self, course: Course) -> float | None:
        """P(the solution is right) after its last step; None where no decision was taken on that."""
        last, end = self.steps[-1] if self.steps else None, course.end
        if self._last is None or last is None or last.action is None or (end is not None and end.fallback is not None):
            return None
        ended = (
            last.ended if end is None or last.hypothetical or self.is_over else end.reason in ("answer", "no answer")
        )
        return self._last.believed_at_end(REGENERATE if last.action == "regenerate" else KEEP, ended=ended)

    def _seen(self, seen: StepObservation, change: Change | None) -> StepObservation:
        features = dict(seen.features)
        if not (self._minimum_holds and "minimum" in features):
            features["minimum"] = min(self._standing, default=1.0)
        if change is None:
            return replace(seen, features=features)
        ended = seen.ended if change.ended is None else change.ended
        return replace(seen, features={**features, **change.features}, ended=ended)

    def _decide(self, item: CourseStep, seen: StepObservation, change: Change) -> None:
        probe = self._probe(seen, change)
        try:
            decision, router = probe.decided()
            flip = probe.nearest_flip
            found = SeenStep(
                step=item.step,
                evidence=decision.evidence if probe.given is None else probe.given,
                prior=probe.prior,
                likelihood=probe.likelihood,
                belief=decision.belief,
                q=decision.q,
                q_keep=None if decision.after is None else decision.after[0],
                q_regenerate=None if decision.after is None else decision.after[1],
                gain=decision.gain,
                price=decision.price,
                flip_evidence=flip,
                flip_score=None if flip is None else probe.score_for(flip),
            )
        except (KeyError, InputError) as error:
            lacks = f"has no {error}, which the policy looks at" if isinstance(error, KeyError) else str(error)
            raise InputError(f"steps[{item.step}]: {lacks}") from None
        self._last = decision
        if isinstance(self.router, AlphaVectorRouter):
            self.router.q = believed(router)  # the probe's may be one of this step alone
        else:
            self.router = router
        action: Action = "regenerate" if decision.action == REGENERATE else "keep"
        self._stand(item, seen, action if item.note is None else item.recorded, found, probe, change)

    def _probe(self, seen: StepObservation, change: Change) -> Probe:
        """The router before the decision, with all that is changed of it."""
        if change.q is not None:
            self._planned("belief")
            self.router.q = change.q  # type: ignore[misc]
        if change.tradeoff is not None:
            self._rule = self._planned("price").model_copy(update={"tradeoff": change.tradeoff})
            self.router = self._router(self._rule)
        rule, router = self._rule, copy.copy(self.router)
        if change.strong_tokens is not None:
            tokens = change.strong_tokens
            rule = self._planned("price").model_copy(update={"strong_tokens": PerClass.constant(tokens)})
            router = self._router(rule)
        if change.evidence is not None and self._planned("evidence").evidence is None:
            raise InputError(f"steps[{seen.step}]: the policy decides on the PRM score itself; change the score")
        return Probe(rule, router, seen, change.evidence, self._class_table)

    def _planned(self, what: str) -> AlphaVectorRule:
        if not isinstance(self._rule, AlphaVectorRule):
            raise InputError(f"a policy of the form {self._rule.form!r} has no {what} that could be changed")
        return self._rule

    def _router(self, rule: Rule) -> AlphaVectorRouter:
        """A router of another planned rule that believes what this one does."""
        assert isinstance(rule, AlphaVectorRule)
        return AlphaVectorRouter(rule, self._class_table, q=believed(self.router))

    def _stand(
        self,
        item: CourseStep,
        seen: StepObservation | None,
        action: Action | None,
        found: SeenStep,
        probe: Probe | None = None,
        change: Change | None = None,
    ) -> None:
        """Write down a step, and what it leaves for those after it."""
        author: StepAuthor | None = "given" if item.note == "given" else None if action is None else _author(action)
        replaced = author in ("strong", None)
        score = None if seen is None else seen.features.get("score")
        self.steps.append(
            replace(
                found,
                text=item.strong if replaced else item.weak,
                author=author,
                draft=item.weak if replaced else None,
                ended=seen is not None and seen.ended,
                features={} if seen is None else seen.features,
                score=score,
                action=action,
                recorded_action=item.recorded,
                tokens_weak=item.weak_tokens,
                tokens_strong=item.strong_tokens if replaced else 0 if item.weak_tokens is not None else None,
                true_class=item.true_class,
                strong_class=item.strong_class if replaced else None,
                edited=change not in (None, Change()),
                hypothetical=self._is_off_course,
                note=item.note,
            )
        )
        self.probes.append(probe)
        stands = item.strong_score if replaced else score
        if author is not None and stands is not None:
            self._standing.append(stands)
        diverged = item.recorded is not None and action != item.recorded
        self._minimum_holds &= not (diverged or (change is not None and bool(change.features)))
        self._is_off_course |= diverged
        self.is_over = action == "keep" and seen is not None and seen.ended


def _author(action: Action) -> StepAuthor:
    return "strong" if action == "regenerate" else "weak"
