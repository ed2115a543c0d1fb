"""Where a policy intervenes, over the belief q before a step and the step's score: numbers to draw a map from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.model.actions import intervention
from trim_pomdp.planning.plots import bin_centres, gains, score_name
from trim_pomdp.policies import AlphaVectorRule, PolicyArtifact, Rule, rule_of

FloatArray = NDArray[np.float64]
Grids = dict[tuple[str, int, bool], dict[str, Any]]
"""Grids that were made before, by the rule's hash, step, and whether it ends the solution."""
_COLUMNS = 81


def policy_map_state(
    policy: Rule | PolicyArtifact,
    step: int = 1,
    *,
    part: int | None = None,
    ended: bool = False,
    threshold: float | None = None,
    grids: Grids | None = None,
) -> dict[str, Any]:
    """What `PolicyMap` draws of one step, as JSON has it.

    Parameters
    ----------
    policy : rule or PolicyArtifact
        One without bins of a score has no map: ``grid`` is None then, and ``why_not`` says why.
    step : int
        From 0; beyond the last step with a decision to go on after, that one.
    part : int, optional
        Which of the policies of a mixture; by default the likeliest of those that have a map.
    ended : bool
        Whether the step ends the solution.
    threshold : float, optional
        Of a threshold rule to draw beside it.
    grids : dict, optional
        Where grids are looked up, and kept; for those who ask often.

    Returns
    -------
    dict
        ``verb``, ``does``: what it does with steps that it does not keep; ``grid``: ``q`` (n,), ``edges`` (J,) lower
        edges of the score bins, of which the last is the score 1 itself, ``values`` (J rows of n: gain − price),
        ``limit`` (largest of them in size), ``zero`` (lines along which gain is price, each of ``q`` and ``score``).

    Raises
    ------
    InputError
        If there is no such step or part.
    """
    rule = rule_of(policy)
    parts, shares = rule.parts, rule.shares
    if part is None:
        part = max(range(len(parts)), key=lambda i: (_why_not(parts[i]) is None, shares[i]))
    if not 0 <= part < len(parts):
        raise InputError(f"there is no part {part} of the policy; it has {len(parts)}")
    if step < 0:
        raise InputError(f"step index is {step}; expected 0 or more")
    shown = parts[part]
    why_not = _why_not(shown)
    verb, does = intervention(shown.choices)
    last = max(shown.max_steps - 2, 0) if isinstance(shown, AlphaVectorRule) else 0
    step = min(step, last)
    return {
        "parts": [{"label": _label(item), "probability": share} for item, share in zip(parts, shares, strict=True)],
        "part": part,
        "verb": verb,
        "does": does,
        "step": step,
        "last_step": last,
        "ended": ended,
        "threshold": threshold if isinstance(shown, AlphaVectorRule) and shown.evidence is None else None,
        "score": score_name(shown.evidence) if isinstance(shown, AlphaVectorRule) else None,
        "reward": shown.reward if isinstance(shown, AlphaVectorRule) else None,
        "tradeoff": shown.planned_tradeoff,
        "why_not": why_not,
        "grid": None if why_not or not isinstance(shown, AlphaVectorRule) else _kept(shown, step, ended, grids),
    }


def _why_not(rule: Rule) -> str | None:
    if not isinstance(rule, AlphaVectorRule):
        return f"A {_label(rule)} policy weighs no gain against a price, so there is no map of it."
    if rule.score_edges is None:
        return (
            "This policy was planned on bins of (smallest score before, current score), not of one score, so there is "
            "no map over q and the score."
        )
    return None


def _label(rule: Rule) -> str:
    if rule.planned_tradeoff is not None:
        return f"λ = {rule.planned_tradeoff:.4g}"
    strategy = getattr(rule, "strategy", None)
    return f"{strategy}-only" if strategy in ("weak", "strong") else rule.form


def _kept(rule: AlphaVectorRule, step: int, ended: bool, grids: Grids | None) -> dict[str, Any]:
    if grids is None:
        return _grid(rule, step, ended)
    key = (rule.policy_hash, step, ended)
    if key not in grids:
        grids[key] = _grid(rule, step, ended)
    return grids[key]


def _grid(rule: AlphaVectorRule, step: int, ended: bool) -> dict[str, Any]:
    q = np.linspace(0.0, 1.0, _COLUMNS)
    gain, price = gains(rule, step, q, ended=ended)
    surface = (gain - price).T  # (J, n)
    assert rule.score_edges is not None  # or else there is no map
    return {
        "q": q.tolist(),
        "edges": list(rule.score_edges),
        "values": [[float(f"{value:.3g}") for value in row] for row in surface.tolist()],
        "limit": float(np.abs(surface).max()),
        # Down to the score 0 the lowest bin is one.
        "zero": _zero_lines(q, np.append(0.0, bin_centres(rule)), np.vstack([surface[:1], surface])),
    }


def _zero_lines(q: FloatArray, score: FloatArray, surface: FloatArray) -> list[dict[str, list[float]]]:
    """Lines on which a surface of shape (scores, q) is 0, by linear interpolation."""
    from contourpy import contour_generator  # what matplotlib draws contours with

    lines: Any = contour_generator(q, score, surface, line_type="Separate").lines(0.0)
    return [{"q": np.round(line[:, 0], 4).tolist(), "score": np.round(line[:, 1], 5).tolist()} for line in lines]
