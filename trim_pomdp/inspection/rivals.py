"""The same plan with other beliefs, to see what a belief is worth on one solution."""

from __future__ import annotations

from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.policies import AlphaVectorRule, PosteriorRule, Rule

AS_PLANNED, AS_LABELLED, POSTERIOR = "as planned", "S1 as labelled", "posterior (paper)"


def rival_rules(
    rule: AlphaVectorRule, observations: ObservationModel, dynamics: StepDynamics, *, closeness: float = 0.5
) -> dict[str, Rule]:
    """A planned policy, and what it would be with other beliefs, by name.

    ``as planned``: the policy itself. ``S1 as labelled``: what derailed steps look like is taken from labelled ones,
    so that good-looking steps after an error speak for the solution. ``posterior (paper)``: no memory but the minimum
    of the scores so far, and a rule of its own (`PosteriorRule`). Those that the observations know too little for are
    left out.

    Parameters
    ----------
    rule : AlphaVectorRule
    observations, dynamics
        What it was planned on.
    closeness : float
        Of the paper's rule.

    Raises
    ------
    InputError
        If the rule was planned on other bins.
    """
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
