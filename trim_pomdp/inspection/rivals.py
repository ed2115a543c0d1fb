"""The same plan with other beliefs, to see what a belief is worth on one solution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.frames import frame
from trim_pomdp.inspection.solutions import Inspection
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.policies import AlphaVectorRule, PolicyArtifact, PosteriorRule, Rule, rule_of

if TYPE_CHECKING:
    from trim_pomdp.inspection.frames import Frame

AS_PLANNED, AS_LABELLED, POSTERIOR = "as planned", "S1 as labelled", "posterior (paper)"


def rival_rules(
    policy: Rule | PolicyArtifact, observations: ObservationModel, dynamics: StepDynamics, *, closeness: float = 0.5
) -> dict[str, Rule]:
    """A planned policy, and what it would be with other beliefs, by name.

    ``as planned``: the policy itself. ``S1 as labelled``: what derailed steps look like is taken from labelled ones,
    so that good-looking steps after an error speak for the solution. ``posterior (paper)``: no memory but the minimum
    of the scores so far, and a rule of its own (`PosteriorRule`). Those that the observations know too little for are
    left out.

    Parameters
    ----------
    policy : AlphaVectorRule or PolicyArtifact
    observations, dynamics
        What it was planned on.
    closeness : float
        Of the paper's rule.

    Raises
    ------
    InputError
        If it is no planned policy, or was planned on other bins.
    """
    rule = rule_of(policy)
    if not isinstance(rule, AlphaVectorRule):
        one = "a mixture; give one of its parts (`Inspection.rule` is that which decided)"
        raise InputError(f"other beliefs are of planned policies, and this is {one if rule.parts[1:] else rule.form!r}")
    found: dict[str, Rule] = {AS_PLANNED: rule}
    if rule.score_edges is None:
        return found
    if len(rule.emission_right) != observations.n_bins or rule.evidence != observations.evidence:
        raise InputError(f"the policy was planned on other observations than {observations.name!r}")
    if observations.step_emission.derailed is not None:
        labelled = dynamics.model_copy(update={"derailed_emission": "labelled"})
        emission = tuple(observations.class_emission(labelled)[1].tolist())
        found[AS_LABELLED] = rule.model_copy(update={"emission_derailed": emission})
    if observations.class_table is not None and rule.evidence is None:
        found[POSTERIOR] = PosteriorRule(closeness=closeness)
    return found


def side_by_side(inspections: Mapping[str, Inspection]) -> Frame:
    """P(the solution is right so far) after each step, a column for each of several looks at one solution.

    Parameters
    ----------
    inspections : mapping of str to Inspection
        By the names of the columns; of one solution.

    Raises
    ------
    InputError
        If there is none, or they have different steps.
    """
    looks = list(inspections.values())
    if not looks or any(len(item.steps) != len(looks[0].steps) for item in looks):
        lengths = ", ".join(str(len(item.steps)) for item in looks)
        raise InputError(f"looks at one solution are needed; these have {lengths or 'no'} steps")
    scores = [item.score for item in looks[0].steps]
    return frame(
        {
            "step": [item.step + 1 for item in looks[0].steps],
            "score": scores,
            **{name: _right_after(look) for name, look in inspections.items()},
        }
    )


def _right_after(look: Inspection) -> list[float | None]:
    """P(right so far) after each step, whoever wrote it; of beliefs without memory that of the draft."""
    drafts = [None if item.belief is None else item.belief[0] for item in look.steps]
    right = [draft if item.q_after is None else item.q_after for item, draft in zip(look.steps, drafts, strict=True)]
    return right if look.q_end is None else [*right[:-1], look.q_end]
