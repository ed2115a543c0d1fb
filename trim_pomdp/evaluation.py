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
from numba import njit
from numpy.typing import NDArray

from trim_pomdp.belief import KEEP, REGENERATE
from trim_pomdp.dynamics.propagation import routing_moments
from trim_pomdp.errors import InputError
from trim_pomdp.policies.alpha import cell_of, filtered, gain_and_price
from trim_pomdp.policies.records import (
    BELIEF_CELLS,
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.routing import RoutingModel

FloatArray = NDArray[np.float64]
AnyRule = ThresholdRule | StrategyRule | PosteriorRule | AlphaVectorRule | MixedRule
_DROP = 1e-14


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
        If the policy's observation bins are not those of the model.
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


def regenerate_by_class(
    rule: ThresholdRule | StrategyRule | PosteriorRule, model: RoutingModel
) -> FloatArray:
    """P(regenerate | class) of a memoryless rule, shape (3,)."""
    return np.asarray((regenerate_by_bin(rule, model) * model.emission).sum(axis=1))


def _evaluate_memoryless(regenerate: FloatArray, model: RoutingModel) -> PlannedPoint:
    dynamics = model.dynamics
    moments = routing_moments(
        regenerate[None],
        dynamics.weak_success_by_step,
        model.strong_success,
        model.repair,
        dynamics.hazard_array,
        dynamics.hazard_derailed_array,
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
    edges = model.observations.step_emission.score_edges if model.observations.emission == "step" else None
    if rule.emission.shape[1] != model.emission.shape[1] or rule.score_edges != edges:
        raise InputError(
            f"the policy was planned on other observation bins ({rule.emission.shape[1]}) than those of "
            f"{model.observations.name!r} ({model.emission.shape[1]}); plan it again on this observation model"
        )


def _evaluate_alpha(rule: AlphaVectorRule, model: RoutingModel) -> FloatArray:
    check_bins(rule, model)
    tables = rule.tables
    dynamics = model.dynamics
    true_end = np.stack([dynamics.hazard_array, dynamics.hazard_derailed_array], axis=1)
    return _propagate_alpha(
        tables.success, tables.end, tables.emission, tables.vectors, tables.offset, tables.after, tables.price,
        tables.reward, dynamics.weak_success_by_step, true_end, np.ascontiguousarray(model.emission),
        model.success_after,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _propagate_alpha(  # type: ignore[no-untyped-def]
    success, end, emission, vectors, offset, after, price, reward, true_success, true_end, true_emission, true_after
):
    T, J = len(true_success), emission.shape[1]
    cap = max(len(success) - 2, 0)
    totals = np.zeros(7)
    mass = np.zeros((2, BELIEF_CELLS + 1))
    mass[0, BELIEF_CELLS] = 1.0
    b = np.empty(3)
    e = np.empty(3)
    flow = np.empty(3)
    by_bin = np.ascontiguousarray(emission.T)
    for t in range(T):
        step = min(t, cap)
        new = np.zeros((2, BELIEF_CELLS + 1))
        h, h_derailed = true_end[t, 0], true_end[t, 1]
        evidence = end[step, 0] != end[step, 1]
        for g in range(BELIEF_CELLS + 1):
            right_mass, derailed_mass = mass[0, g], mass[1, g]
            if right_mass + derailed_mass < 1e-14:
                continue
            q = g / BELIEF_CELLS
            prior0 = right_mass * true_success[t]
            prior2 = right_mass - prior0
            for j in range(J):
                flow0 = prior0 * true_emission[0, j]
                flow1 = derailed_mass * true_emission[1, j]
                flow2 = prior2 * true_emission[2, j]
                if flow0 + flow1 + flow2 == 0.0:
                    continue
                for ended in range(2):
                    ends = ended == 1
                    flow[0] = flow0 * (h if ends else 1.0 - h)
                    flow[1] = flow1 * (h_derailed if ends else 1.0 - h_derailed)
                    flow[2] = flow2 * (h if ends else 1.0 - h)
                    if flow[0] + flow[1] + flow[2] == 0.0:
                        continue
                    if evidence or ended == 0 or h == 1.0:
                        e[0] = end[step, 0] if ends else 1.0 - end[step, 0]
                        e[1] = end[step, 1] if ends else 1.0 - end[step, 1]
                        e[2] = e[0]
                        filtered(q, success[step], by_bin[j], e, b)
                    gain, cost, keep, redo = gain_and_price(
                        b, ends, step, vectors, offset, after, price, reward
                    )
                    action = 1 if gain > cost else 0
                    right = 0.0
                    total = 0.0
                    for c in range(3):
                        totals[1 + 3 * action + c] += flow[c]
                        right += flow[c] * true_after[action, c]
                        total += flow[c]
                    if ends:
                        totals[0] += right
                    else:
                        cell = cell_of(redo if action == 1 else keep)
                        new[0, cell] += right
                        new[1, cell] += total - right
        mass = new
    return totals


# The paper's rule on fine score bins ------------------------------------------------------------------------


def posterior_actions(rule: PosteriorRule, model: RoutingModel) -> NDArray[np.int64]:
    """Action for every (bin of the running minimum, score bin), shape (J + 1, J); minimum bin J is "no step yet"."""
    edges = np.array(model.observations.step_emission.score_edges)
    table = model.observations.posterior_table
    minimum = np.append(edges, 1.0)
    belief = table.posterior(minimum[:, None], edges[None, :])
    return rule.act(belief)


def _evaluate_posterior(rule: PosteriorRule, model: RoutingModel) -> FloatArray:
    dynamics = model.dynamics
    return _propagate_posterior(
        posterior_actions(rule, model),
        dynamics.weak_success_by_step,
        np.stack([dynamics.hazard_array, dynamics.hazard_derailed_array], axis=1),
        model.emission,
        model.success_after,
    )


@njit(cache=True, nogil=True)
def _propagate_posterior(act, success, end, emission, after):  # type: ignore[no-untyped-def]
    T, J = len(success), emission.shape[1]
    totals = np.zeros(7)
    mass = np.zeros((2, J + 1))
    mass[0, J] = 1.0
    # P(score bin ≥ j) by class, to move the minimum of a regenerated step.
    tail = np.zeros((3, J + 1))
    for c in range(3):
        for j in range(J - 1, -1, -1):
            tail[c, j] = tail[c, j + 1] + emission[c, j]
    for t in range(T):
        new = np.zeros((2, J + 1))
        # redone[s, m]: regenerated and going on, by minimum before; s: came out right, wrong, was derailed
        redone = np.zeros((3, J + 1))
        for m in range(J + 1):
            for c in range(3):
                s = 1 if c == 1 else 0
                if mass[s, m] == 0.0:
                    continue
                share = success[t] if c == 0 else (1.0 - success[t] if c == 2 else 1.0)
                h = end[t, s]
                for j in range(J):
                    flow = mass[s, m] * share * emission[c, j]
                    if flow == 0.0:
                        continue
                    action = act[m, j]
                    totals[1 + 3 * action + c] += flow
                    right = flow * after[action, c]
                    totals[0] += right * h
                    if action == 0:
                        low = min(m, j)
                        new[0, low] += right * (1.0 - h)
                        new[1, low] += (flow - right) * (1.0 - h)
                    else:
                        redone[0, m] += right * (1.0 - h)
                        redone[2 if c != 1 else 1, m] += (flow - right) * (1.0 - h)
        for m in range(J + 1):
            for c in range(3):
                if redone[c, m] == 0.0:
                    continue
                s = 0 if c == 0 else 1
                new[s, m] += redone[c, m] * tail[c, m]
                for j in range(m):
                    new[s, j] += redone[c, m] * emission[c, j]
        mass = new
    return totals


__all__ = ["KEEP", "REGENERATE", "evaluate", "mix", "posterior_actions", "regenerate_by_class"]
