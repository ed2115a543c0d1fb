"""Annotated solutions of a report: what each of a few policies makes of every solution, precomputed and compact.

A *detail* is one solution of one run: ``states`` (`trim_pomdp.inspection.drawing.solution_state` under each policy of
the slider, None where a policy cannot be asked of it), ``curves`` (an evidence curve for each step, thinned), ``own``
(which of them routed it) and ``notes``. The states of other policies than the run's say only what is otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.inspection.course import discarded_drafts, note_of, score_of
from trim_pomdp.inspection.drawing import problem_state, solution_state, step_state
from trim_pomdp.inspection.flips import Probe
from trim_pomdp.inspection.packing import compact
from trim_pomdp.inspection.runs import RecordedRun
from trim_pomdp.inspection.solutions import Inspection
from trim_pomdp.inspection.walk import SeenStep
from trim_pomdp.model.actions import KEEP
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.runtime.records import DecisionRecord, SolutionRecord

# Points of evidence curves in a whole report, so that it stays small however many solutions there are.
_CURVE_POINTS = 300_000
_TOO_FEW, _FEWEST, _MOST = 3, 11, 44
_CURVE_DIGITS = 3


@dataclass(frozen=True)
class SliderPolicy:
    """A policy that the slider of a solution goes to.

    Attributes
    ----------
    label : str
    artifact : PolicyArtifact
    own : bool
        Whether it is the one that routed the run.
    """

    label: str
    artifact: PolicyArtifact
    own: bool = False


def points_per_curve(steps: int, policies: int) -> tuple[int, int]:
    """Points that evidence curves have, of a run's own policy and of others (0: no curves), so that all of them fit.

    Examples
    --------
    >>> points_per_curve(1_000, 6)
    (44, 44)
    >>> points_per_curve(9_000, 6)
    (33, 11)
    >>> points_per_curve(90_000, 6)
    (11, 0)
    """
    own = _CURVE_POINTS // max(steps, 1)
    others = _CURVE_POINTS // max(steps * (policies - 1), 1)
    return _bounded(own), 0 if others < _TOO_FEW else _bounded(others)


def _bounded(points: int) -> int:
    return min(max(points, _FEWEST), _MOST)


def solution_detail(
    run: RecordedRun, record: SolutionRecord, policies: Sequence[SliderPolicy], points: tuple[int, int]
) -> dict[str, Any]:
    """One solution of one run, as JSON values.

    Parameters
    ----------
    run : RecordedRun
    record : SolutionRecord
        One of its solutions.
    policies : sequence of SliderPolicy
        One of them the run's own.
    points : (int, int)
        See `points_per_curve`.
    """
    own = next(index for index, item in enumerate(policies) if item.own)
    seen, notes = _inspected(run, record, policies[own])
    prompt = run.prompts.get(record.terminal.problem)
    base = recorded_state(record, prompt) if seen is None else _state(seen)
    states: list[dict[str, Any] | None] = []
    curves: list[list[Any] | None] = []
    for index, policy in enumerate(policies):
        found = seen if index == own else None if seen is None else _inspected(run, record, policy)[0]
        if index == own:
            states.append(compact(base))
        else:
            states.append(None if found is None else compact(_difference(base, _state(found))))
        wanted = points[index != own]
        curves.append(None if found is None or not wanted else _curves(found, wanted))
    return {"own": own, "states": states, "curves": curves, "notes": [*notes, *_notes(record)]}


def _inspected(
    run: RecordedRun, record: SolutionRecord, policy: SliderPolicy
) -> tuple[Inspection | None, tuple[str, ...]]:
    """A solution under a policy; or none, and why."""
    try:
        return run.inspect(record.terminal.problem, policy.artifact), ()
    except (InputError, UnsetParameterError) as error:
        return None, (f"Shown as recorded, since the policy cannot be asked again: {error}.",)


def _state(seen: Inspection) -> dict[str, Any]:
    """Without what is added where it is drawn."""
    return {key: value for key, value in solution_state(seen, None).items() if key not in ("curve", "chosen")}


def _difference(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What a state says otherwise than another one of the same solution."""
    steps = [
        {key: value for key, value in step.items() if key not in before or before[key] != value}
        for before, step in zip(base["steps"], other["steps"], strict=False)
    ]
    changed = {key: value for key, value in other.items() if key != "steps" and base.get(key) != value}
    return {**changed, "steps": steps}


def _curves(seen: Inspection, points: int) -> list[Any]:
    return [compact(thinned_curve(probe, points), _CURVE_DIGITS) for probe in seen.probes]


def thinned_curve(probe: Probe | None, points: int) -> dict[str, Any] | None:
    """An evidence curve as JSON values at some of its points: its ends, where the step is, both sides of flips, others.

    Parameters
    ----------
    probe : Probe or None
        A step; None where nothing was decided.
    points : int
        How many to keep about.
    """
    if probe is None or not probe.points:
        return None
    count, actions = len(probe.points), probe.actions
    kept = {0, count - 1, *range(0, count, max(count // points, 1))}
    if probe.at is not None:
        here = bisect_right(probe.points, probe.at)
        kept |= {max(here - 1, 0), min(here, count - 1)}
    for index in range(1, count):
        if actions[index] != actions[index - 1]:
            kept |= {index - 1, index}
    x = [probe.points[index] for index in sorted(kept)]
    decisions = [probe.on(value) for value in x]
    return {
        "step": probe.seen.step,
        "axis": probe.axis,
        "x": x,
        "intervenes": [item.action != KEEP for item in decisions],
        # Drawn as a strip of colours, of which a thousandth cannot be seen.
        "belief": [item.belief and [round(share, 3) for share in item.belief] for item in decisions],
        "gain": [item.gain for item in decisions],
        "price": [item.price for item in decisions],
        "at": probe.at,
        "flips": list(probe.flips),
    }


# Where no policy can be asked -----------------------------------------------------------------------------------


def recorded_state(record: SolutionRecord, prompt: str | None) -> dict[str, Any]:
    """A solution as its record has it, in the form of `trim_pomdp.inspection.drawing.solution_state`."""
    end = record.terminal
    given = [SeenStep(index, text=text, author="given", note="given") for index, text in enumerate(end.prefix)]
    decided = starmap(_recorded_step, zip(record.decisions, record.own_scores, strict=True))
    return {
        "problem": problem_state(end.problem, prompt, end),
        "policy": {"label": "as recorded", "form": "", "tradeoff": None, "reward": None, "evidence": None},
        "steps": [step_state(step, given_up=end.given_up) for step in (*given, *decided)],
        "q_end": end.q,
    }


def _recorded_step(item: DecisionRecord, own_score: float | None) -> SeenStep:
    shown, strong, accepted = item.standing, item.strong, item.accepted
    weak, score, replaced = shown.weak, score_of(shown), item.author == "strong"
    return SeenStep(
        item.step,
        text=None if accepted is None else accepted.text,
        author=item.author,
        draft=weak.text if replaced and weak is not None else None,
        ended=bool(shown.ended),
        features=shown.features,
        score=score if score is not None or replaced else own_score,
        evidence=shown.evidence,
        drafts=discarded_drafts(item),
        belief=item.belief,
        q=item.q,
        gain=item.gain,
        price=item.price,
        action=item.action,
        recorded_action=item.action,
        decided=item.action if item.features else None,  # who decided looked at something
        tokens_weak=None if weak is None else weak.tokens,
        tokens_strong=None if strong is None else strong.tokens,
        true_class=None if weak is None else weak.true_class,
        strong_class=None if strong is None else strong.true_class,
        note=note_of(item),
    )


def _notes(record: SolutionRecord) -> list[str]:
    """What a reader of the drawing would miss, a sentence each."""
    end = record.terminal
    said = []
    if end.error is not None and all(item.action is None for item in record.decisions):
        said.append("The problem failed before any step was decided on.")
    if end.prefix:
        said.append(f"The first {len(end.prefix)} steps were given.")
    if end.fallback is not None:
        lost = end.fallback
        said.append(
            f"From step {lost.step + 1} on the {lost.author} model went on alone, since the {lost.given_up} model had "
            f"been given up: {lost.error}"
        )
    capped = [str(item.step + 1) for item in record.decisions if item.capped]
    if capped:
        said.append(f"The strong model was out of tokens at step {', '.join(capped)}.")
    return said
