"""One solution, looked into: what the policy saw, believed and did at every step, and what would have changed its mind.

Everything comes from the policy's own router, which is led along the solution once more; there is no second filter
here. Under the policy that routed a recorded solution the numbers are those of the record, to the bit. A solution can
be edited: another score, belief, price or policy, and everything after it follows. Where an edited decision differs
from the recorded one, what came later is no record of what would have come: those steps are marked `hypothetical`, and
say what the policy would make of the recorded drafts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import inf, isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from trim_pomdp.data.features import LOGPROBS
from trim_pomdp.data.problems import Problem
from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import Course, Features, Solution, course_of, features_of
from trim_pomdp.inspection.flips import Axis, EvidenceCurve, Probe
from trim_pomdp.inspection.frames import frame
from trim_pomdp.inspection.walk import Change, SeenStep, walked
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies import PolicyArtifact, Router, Rule, StepObservation, rule_of
from trim_pomdp.runtime.records import TerminalRecord
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

if TYPE_CHECKING:
    from trim_pomdp.inspection.frames import Frame


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
            "regenerations": sum(item.author == "strong" for item in self.steps),
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
        """Whether every step that stands is the recorded one."""
        return not any(item.diverges for item in self.steps)

    @cached_property
    def frame(self) -> Frame:
        """A row a step, with the fields of `SeenStep` (beliefs in three columns each), and further features by name."""
        names = [item.name for item in fields(SeenStep) if item.name not in ("features", *_TRIPLES)]
        columns: dict[str, list[Any]] = {name: [getattr(item, name) for item in self.steps] for name in names}
        for name in _TRIPLES:
            for index in range(3):
                values = [getattr(item, name) for item in self.steps]
                columns[f"{name}_S{index}"] = [None if value is None else value[index] for value in values]
        for name in (*LOGPROBS, "minimum"):
            columns[name] = [item.features.get(name) for item in self.steps]
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
    rule = rule_of(policy)
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
        Index from 0 of the step that is changed; needed for all but `policy`. Of a step with several drafts it is the
        one that the policy makes up its mind on, and what was decided before it stays.
    score : float or None
        Another PRM score.
    features : mapping or None
        Other features, by name (``logprob_min``, ``logprob_mean``, ``logprob_first``).
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
    if policy is not None:
        inspection = _inspected(
            inspection.course, rule_of(policy), inspection.changes, inspection.seed, inspection.class_table
        )
    given = {**(features or {}), **({} if score is None else {"score": score})}
    now = Change(given, evidence, q, strong_tokens, tradeoff, ended)
    if now == Change():
        if policy is None:
            raise InputError(
                "nothing is changed; give a score, features, evidence, q, strong_tokens, tradeoff or a policy"
            )
        return inspection
    at, seen = _decided_at(inspection, step)
    changes = dict(inspection.changes)
    changes[at] = changes.pop(at, Change()).followed_by(_checked(now, at)).beside(seen)
    return _inspected(
        inspection.course,
        inspection.policy,
        {place: change for place, change in changes.items() if change != Change()},
        inspection.seed,
        inspection.class_table,
    )


def _decided_at(inspection: Inspection, step: int | None) -> tuple[int, StepObservation]:
    """The step that is changed, and what was seen before any change of the draft that is decided on."""
    if step is None:
        raise InputError("which step is changed? give its index, from 0")
    draft = _probe_at(inspection, step).seen.draft
    seen = inspection.course.steps[step].drafts[draft].seen
    assert seen is not None  # something was decided on it
    return step, seen


def _probe_at(inspection: Inspection, step: int) -> Probe:
    n = len(inspection.steps)
    if isinstance(step, bool) or not isinstance(step, Integral) or not 0 <= step < n:
        raise InputError(f"there is no steps[{step!r}]; the solution has {n} steps, counted from 0")
    probe = inspection.probes[int(step)]
    if probe is None:
        why = inspection.steps[int(step)].note or f"written by the {inspection.steps[int(step)].author} model alone"
        raise InputError(f"steps[{step}] is {why}: there is nothing to decide")
    return probe


def _checked(change: Change, step: int) -> Change:
    for name, highest in (("q", 1.0), ("evidence", 1.0), ("strong_tokens", None), ("tradeoff", None)):
        value = getattr(change, name)
        if value is None:
            continue
        right = "at least 0" if highest is None else "in [0, 1]"
        if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
            raise InputError(f"steps[{step}]: {name} is {value!r}; it is a number {right}")
        if not 0.0 <= float(value) <= (inf if highest is None else highest):
            raise InputError(f"steps[{step}]: {name} is {value:g}; it is {right}")
    return replace(change, features=features_of(change.features, step))


def evidence_curve(inspection: Inspection, step: int, over: Axis | None = None) -> EvidenceCurve:
    """What the policy would do at a step over its score, or evidence score, all else as it is.

    Raises
    ------
    InputError
        If there is no such step, or nothing was decided at it, or the policy looks at no score.
    """
    return _probe_at(inspection, step).curve(over)


def _inspected(
    course: Course, policy: Rule, changes: Mapping[int, Change], seed: int, class_table: ClassTable | None
) -> Inspection:
    policy.require(class_table)
    problem = Problem(course.problem, course.prompt or "")
    rule = _decider(course, policy, policy.router(problem, seed=seed, class_table=class_table))
    router = rule.router(problem, seed=seed, class_table=class_table)
    found = walked(course, rule, router, changes, class_table)
    return Inspection(
        problem=course.problem,
        prompt=course.prompt,
        policy=policy,
        rule=rule,
        steps=found.steps,
        end=course.end,
        q_end=found.q_end,
        changes=changes,
        course=course,
        probes=found.probes,
        seed=seed,
        class_table=class_table,
    )


def _decider(course: Course, policy: Rule, drawn: Router) -> Rule:
    """The part of a policy that decides: the one that did, else the one that is drawn."""
    hashes = {part.policy_hash: part for part in policy.parts}
    return hashes.get(course.policy_hash or "") or hashes.get(drawn.policy_hash, policy)
