"""What is said of a step, in words: what was done and why, and what would have changed the policy's mind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trim_pomdp.inspection.flips import Probe
from trim_pomdp.inspection.walk import SeenStep
from trim_pomdp.model.actions import action_named, action_of
from trim_pomdp.runtime.records import Action

_NEAR_CERTAIN = 0.01  # scores so close to 0 or 1 are told apart by more digits


@dataclass(frozen=True)
class Flip:
    """Where a decision changes.

    Attributes
    ----------
    name : str
        Of the score, without an article.
    value : float
    above : bool
        Whether the other decision is taken from there on; if False, below.
    several : bool
        Whether that side has more changes.
    other : str or None
        The action that is taken there; None: regenerate in place of keep, else keep.
    """

    name: str
    value: float
    above: bool
    several: bool = False
    other: Action | None = None


def done_in_words(step: SeenStep, given_up: str | None = None) -> str:
    """What was done at a step, and why where that was not the policy's decision.

    Parameters
    ----------
    step : SeenStep
    given_up : str, optional
        The model that failed, of solutions that one model finished alone.

    Examples
    --------
    >>> done_in_words(SeenStep(0, action="keep", decided="keep"))
    'keep'
    >>> done_in_words(SeenStep(0, action="keep", decided="regenerate", note="fallback"), "strong")
    'kept: the strong model had been given up'
    >>> done_in_words(SeenStep(0, action="keep"))
    'written by the weak model alone'
    """
    if step.note == "given":
        return "given: nothing to decide"
    if step.action is None or step.note == "failed":
        return ""
    if step.note == "capped":
        return f"{action_named(step.action).done}: no strong tokens left"
    if step.note == "fallback":
        lost = "a model" if given_up is None else "the PRM" if given_up == "prm" else f"the {given_up} model"
        return f"{action_named(step.action).done}: {lost} had been given up"
    if step.decided is not None:
        return action_named(step.decided).verb
    return f"written by the {action_named(step.action).asks or 'weak'} model alone"


def flips_of(step: SeenStep, probe: Probe) -> tuple[Flip, ...]:
    """Where the policy's decision on a step changes: on what it decides on, and on the PRM score behind that.

    An evidence score that was set by hand has no PRM score behind it.
    """
    if step.flip_evidence is None or step.flip_evidence_above is None:
        return ()
    at, above = probe.at, step.flip_evidence_above
    beyond = [x for x in probe.flips if at is not None and (x > at) == above]
    axis = "score" if probe.axis == "score" else "evidence score"
    other = None
    if step.flip_evidence in probe.points:  # what is said of a point holds from there on, so below it the one before
        other = action_of(probe.actions[probe.points.index(step.flip_evidence) - (not above)]).name
    found = [Flip(axis, step.flip_evidence, above, len(beyond) > 1, other)]
    if probe.axis == "evidence" and probe.given is None and step.flip_score is not None:
        found.append(Flip("PRM score", step.flip_score, bool(step.flip_score_above), other=other))
    return tuple(found)


def decision_in_words(step: SeenStep, flips: Sequence[Flip], axis: str | None = "score") -> tuple[str, ...]:
    """What the policy decides, and what would change that: text and number in turn, so that numbers can stand out.

    Parameters
    ----------
    step : SeenStep
    flips : sequence of Flip
        See `flips_of`.
    axis : str or None
        Name of what is decided on; None where the policy looks at no score.

    Returns
    -------
    tuple of str
        Empty where the policy was not asked; else every second one, from the second on, is a number.

    Examples
    --------
    >>> step = SeenStep(0, action="keep", decided="regenerate", note="fallback")
    >>> "".join(decision_in_words(step, [Flip("score", 0.55, above=True)]))
    'The policy itself regenerates; it would keep at a score of 0.55 or more.'
    """
    if step.decided is None:
        return ()
    forced = step.note is not None
    does = action_named(step.decided).does
    start = f"The policy itself {does}" if forced else does.capitalize()
    if not flips:
        return (f"{start}.",) if axis is None else (f"{start}; no other {axis} would change that here.",)
    other = flips[0].other or ("regenerate" if step.decided == "keep" else "keep")
    said = [f"{start}; {'it ' if forced else ''}would {action_named(other).verb} at "]
    for index, flip in enumerate(flips):
        last = index + 1 == len(flips)
        said[-1] += f"{_some(flip)} {'of' if flip.above else 'below'} "
        said.append(_number(flip.value))
        said.append(f"{' or more' if flip.above else ''}{'.' if last else ', or at '}")
    return tuple(said)


def _some(flip: Flip) -> str:
    if flip.several:
        return f"some {flip.name}s"
    return f"{'an' if flip.name[0] in 'aeiou' else 'a'} {flip.name}"


def _number(value: float) -> str:
    return f"{value:.4f}" if value > 1 - _NEAR_CERTAIN or value < _NEAR_CERTAIN else f"{value:.2f}"
