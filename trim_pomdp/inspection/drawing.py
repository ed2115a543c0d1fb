"""What drawings are drawn from: plain JSON values, so that a browser has nothing to compute."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.flips import Probe
from trim_pomdp.inspection.solutions import Inspection, evidence_curve
from trim_pomdp.inspection.walk import SeenStep
from trim_pomdp.inspection.wording import decision_in_words, done_in_words, flips_of
from trim_pomdp.model.actions import intervention
from trim_pomdp.policies import AlphaVectorRule, Rule
from trim_pomdp.policies.threshold import ScoreRule
from trim_pomdp.runtime.records import TerminalRecord


def solution_state(inspection: Inspection, chosen: int | None = 0) -> dict[str, Any]:
    """An inspection as JSON values.

    Parameters
    ----------
    inspection : Inspection
    chosen : int or None
        Index of the step whose evidence curve is part of it; None leaves the curve out.

    Returns
    -------
    dict
        ``problem``, ``policy``, ``chosen``, ``steps`` (the fields of `SeenStep`, and in words ``done`` and
        ``decision``, text and number in turn), ``q_end``, and ``curve``: the fields of `EvidenceCurve`, or None where
        there is none to draw.
    """
    end = inspection.end
    return {
        "problem": problem_state(inspection.problem, inspection.prompt, end),
        "policy": policy_state(inspection.rule),
        "chosen": chosen,
        "steps": [
            step_state(item, probe, None if end is None else end.given_up)
            for item, probe in zip(inspection.steps, inspection.probes, strict=True)
        ],
        "q_end": inspection.q_end,
        "curve": None if chosen is None else curve_state(inspection, chosen),
    }


def problem_state(problem: str, prompt: str | None, end: TerminalRecord | None) -> dict[str, Any]:
    """What a drawing says of a problem, and of how it ended, if it was routed."""
    names = ("reference", "answer", "correct", "reason", "error")
    return {"id": problem, "prompt": prompt, **{name: getattr(end, name, None) for name in names}}


def policy_state(rule: Rule) -> dict[str, Any]:
    """What a drawing says of a policy."""
    planned = rule if isinstance(rule, AlphaVectorRule) else None
    evidence = rule.evidence if isinstance(rule, (AlphaVectorRule, ScoreRule)) else None
    return {
        "label": repr(rule),
        "form": rule.form,
        "verb": intervention(rule.choices)[0],
        "tradeoff": rule.planned_tradeoff,
        "reward": None if planned is None else planned.reward,
        "evidence": evidence.kind if evidence is not None else "prm" if rule.needs_score else None,
    }


def step_state(item: SeenStep, probe: Probe | None = None, given_up: str | None = None) -> dict[str, Any]:
    """A step as JSON values; its probe, and the model that was given up, are what is said of its decision."""
    fields = {name: getattr(item, name) for name in SeenStep.__dataclass_fields__}
    tokens = {"weak": fields.pop("tokens_weak"), "strong": fields.pop("tokens_strong")}
    words: tuple[str, ...] = ()
    if probe is not None:
        axis = "score" if probe.axis == "score" else "evidence score"
        words = decision_in_words(item, flips_of(item, probe), axis if probe.points else None)
    told = {"done": done_in_words(item, given_up), "decision": list(words)}
    drafts = [asdict(draft) for draft in item.drafts]
    return {**fields, "features": dict(item.features), "drafts": drafts, "tokens": tokens, **told}


def curve_state(inspection: Inspection, step: int) -> dict[str, Any] | None:
    """The evidence curve of a step as JSON values; None where there is none."""
    try:
        return asdict(evidence_curve(inspection, step))
    except InputError:
        return None
