"""What a policy does in a model: exact expectations, by forward propagation of (truth, what the policy remembers).

* Threshold rules and fixed strategies remember nothing: the hidden state alone is propagated.
* The paper's posterior rule remembers the running minimum, a bin; under an emission that is fresh at each step it
  remembers nothing either.
* An alpha-vector rule remembers its belief, which it keeps on a grid (`AlphaVectorRule`): a finite state too. The
  belief is the *rule's*, the truth is the *model's*, so a policy planned for one model pair is evaluated exactly on
  another.
* A regenerated step is scored with the next step; its score enters the running minimum, by the class it came out.

Memory states of probability below 1e-14 are dropped, which costs at most about 1e-9 in every quantity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.propagation import routing_moments
from trim_pomdp.policies.records import (
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
    StrategyRule,
    ThresholdRule,
)

FloatArray = NDArray[np.float64]
AnyRule = ThresholdRule | StrategyRule | PosteriorRule | AlphaVectorRule | MixedRule


def evaluate(policy: AnyRule | PolicyArtifact, model: RoutingModel) -> PlannedPoint:
    """Expected accuracy, tokens, regenerations and steps per problem of a policy in a model, exactly.

    Parameters
    ----------
    policy : rule or PolicyArtifact
        Any policy of the package; an alpha-vector rule may have been planned in another model, with the same bins.
    model : RoutingModel
        What is true.

    Raises
    ------
    InputError
        If the policy's observation bins are not those of the model, or it is a rule on the PRM score and the model
        sees other evidence.
    """
    rule = policy.policy if isinstance(policy, PolicyArtifact) else policy
    if isinstance(rule, MixedRule):
        first, second = evaluate(rule.first, model), evaluate(rule.second, model)
        return mix(first, second, rule.probability)
    if isinstance(rule, AlphaVectorRule):
        totals = _evaluate_alpha(rule, model)
        return _point(totals, model, rule.tradeoff)
    if isinstance(rule, PosteriorRule) and model.observations.emission == "step":
        return _point(_evaluate_posterior(rule, model), model)
    return _evaluate_memoryless(regenerate_by_class(rule, model), model)


def mix(first: PlannedPoint, second: PlannedPoint, probability: float) -> PlannedPoint:
    """Expectation of drawing `second` with the given probability, else `first`, for each problem."""
    a, b = first.model_dump(), second.model_dump()
    mixed = {
        name: None if a[name] is None or b[name] is None else (1 - probability) * a[name] + probability * b[name]
        for name in a
    }
    return PlannedPoint.model_validate({**mixed, "tradeoff": None})


def regenerate_by_bin(rule: ThresholdRule | StrategyRule | PosteriorRule, model: RoutingModel) -> FloatArray:
    """P(regenerate | class, observation bin) of a memoryless rule, shape (3, J).

    Raises
    ------
    InputError
        For the posterior rule where it has a memory, its running minimum.
    """
    J = model.emission.shape[1]
    if isinstance(rule, StrategyRule):
        return np.repeat(rule.regenerate[:, None], J, axis=1)
    if isinstance(rule, ThresholdRule):
        return np.tile(model.observations.share_below(rule.threshold), (3, 1))
    if model.observations.emission != "class":
        raise InputError("the posterior rule remembers the running minimum; it has no action for a bin alone")
    act = rule.act(model.observations.posterior_table.class_posterior)
    return np.tile(act.astype(np.float64), (3, 1))


def regenerate_by_class(rule: ThresholdRule | StrategyRule | PosteriorRule, model: RoutingModel) -> FloatArray:
    """P(regenerate | class) of a memoryless rule, shape (3,)."""
    # A sum of probabilities can exceed one by rounding.
    return np.asarray(np.minimum((regenerate_by_bin(rule, model) * model.emission).sum(axis=1), 1.0))


def _evaluate_memoryless(regenerate: FloatArray, model: RoutingModel) -> PlannedPoint:
    dynamics = model.dynamics
    moments = routing_moments(
        regenerate[None],
        dynamics.weak_success_by_step,
        dynamics.end,
        model.outcomes,
    )
    counts = np.stack([moments.kept[0], moments.regenerated[0]])
    return _point(np.concatenate([[moments.accuracy[0]], counts.ravel()]), model)


def _point(totals: FloatArray, model: RoutingModel, tradeoff: float | None = None) -> PlannedPoint:
    """From accuracy and mean counts of (action, class), shape (1 + 6,)."""
    kept, regenerated = totals[1:].reshape(2, 3)
    strong_tokens = float(regenerated @ model.strong_tokens)
    weak = model.weak_tokens
    return PlannedPoint(
        tradeoff=tradeoff,
        accuracy=float(totals[0]),
        strong_tokens=strong_tokens,
        regenerations=float(regenerated.sum()),
        budget=strong_tokens / model.strong_only_tokens,
        kept_tokens=None if weak is None else float(kept @ weak),
        discarded_tokens=None if weak is None else float(regenerated @ weak),
        steps=float(kept.sum() + regenerated.sum()),
    )


# Alpha-vectors ----------------------------------------------------------------------------------------------


def check_bins(rule: AlphaVectorRule, model: RoutingModel) -> None:
    """Raise `InputError` unless rule and model speak of the same observation bins."""
    if rule.evidence != model.observations.evidence:
        raise InputError(
            f"the policy was planned on other evidence ({_evidence(rule.evidence)}) than {model.observations.name!r} "
            f"gives ({_evidence(model.observations.evidence)}); plan it again on this observation model"
        )
    edges = model.observations.step_emission.score_edges if model.observations.emission == "step" else None
    if rule.emission.shape[1] != model.emission.shape[1] or rule.score_edges != edges:
        raise InputError(
            f"the policy was planned on other observation bins ({rule.emission.shape[1]}, or with other edges) than "
            f"those of {model.observations.name!r} ({model.emission.shape[1]}); plan it again on this observation model"
        )


def _evidence(evidence: EvidenceMap | None) -> str:
    return "the PRM score" if evidence is None else evidence.formula


def _evaluate_alpha(rule: AlphaVectorRule, model: RoutingModel) -> FloatArray:
    from trim_pomdp import _kernels

    check_bins(rule, model)
    dynamics = model.dynamics
    arrays: FloatArray = _kernels.propagate_alpha(
        rule.tables.arguments,
        dynamics.weak_success_by_step,
        dynamics.end,
        np.ascontiguousarray(model.emission),
        model.outcomes,
    )
    return arrays


# The paper's rule on fine score bins ------------------------------------------------------------------------


def posterior_actions(rule: PosteriorRule, model: RoutingModel) -> NDArray[np.int64]:
    """Action for every (bin of the running minimum, score bin), shape (J + 1, J); minimum bin J is "no step yet"."""
    model.observations.require_prm("the posterior rule")
    edges = np.array(model.observations.step_emission.score_edges)
    table = model.observations.posterior_table
    minimum = np.append(edges, 1.0)
    belief = table.posterior(minimum[:, None], edges[None, :])
    return rule.act(belief)


def _evaluate_posterior(rule: PosteriorRule, model: RoutingModel) -> FloatArray:
    from trim_pomdp import _kernels

    dynamics = model.dynamics
    totals: FloatArray = _kernels.propagate_posterior(
        posterior_actions(rule, model),
        dynamics.weak_success_by_step,
        dynamics.end,
        model.emission,
        model.outcomes,
    )
    return totals
