"""Monte Carlo in the routing model: a cross-check of the exact evaluation, with standard errors.

Problems are drawn one by one from the model: class, score bin, end, action, outcome. Tokens are class means, so
their standard errors are those of what is regenerated, not of how long single steps are.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from trim_pomdp.artifacts import Record
from trim_pomdp.errors import InputError
from trim_pomdp.evaluation import AnyRule, check_bins, posterior_actions, regenerate_by_bin
from trim_pomdp.policies.alpha import cell_of, filtered, gain_and_price
from trim_pomdp.policies.records import (
    BELIEF_CELLS,
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
)
from trim_pomdp.routing import RoutingModel

FloatArray = NDArray[np.float64]
_MEMORYLESS, _POSTERIOR, _ALPHA = 0, 1, 2


class SimulatedPoint(Record):
    """Means over simulated problems, each with its standard error."""

    tradeoff: float | None
    problems: int
    accuracy: float
    accuracy_se: float
    strong_tokens: float
    strong_tokens_se: float
    regenerations: float
    regenerations_se: float
    budget: float
    budget_se: float
    kept_tokens: float | None = None
    kept_tokens_se: float | None = None
    discarded_tokens: float | None = None
    discarded_tokens_se: float | None = None
    steps: float
    steps_se: float

    def z_scores(self, point: PlannedPoint) -> dict[str, float]:
        """Difference from an exact point in standard errors, by quantity (those with a positive one)."""
        out = {}
        for name, value in point.model_dump(exclude={"tradeoff"}).items():
            error = getattr(self, f"{name}_se")
            if value is not None and error:
                out[name] = (getattr(self, name) - value) / error
        return out


def simulate(
    policy: AnyRule | PolicyArtifact, model: RoutingModel, n: int, rng: np.random.Generator | int = 0
) -> SimulatedPoint:
    """Route `n` problems drawn from the model.

    Parameters
    ----------
    policy : rule or PolicyArtifact
        Any policy of the package.
    model : RoutingModel
        What is true.
    n : int
        Number of problems, at least 2.
    rng : numpy Generator or int
        Source of chance, or its seed.

    Raises
    ------
    InputError
        If `n` is below 2, or the policy's bins are not those of the model.
    """
    if n < 2:
        raise InputError(f"{n} problems are too few to simulate; expected at least 2")
    generator = np.random.default_rng(rng)
    rule = policy.policy if isinstance(policy, PolicyArtifact) else policy
    if isinstance(rule, MixedRule):
        second = int(generator.binomial(n, rule.probability))
        parts = [(rule.first, n - second), (rule.second, second)]
        counts = np.concatenate([_counts(item, model, size, generator) for item, size in parts if size])
    else:
        counts = _counts(rule, model, n, generator)
    return _summary(counts, model, rule.tradeoff if isinstance(rule, AlphaVectorRule) else None)


def _counts(rule: AnyRule, model: RoutingModel, n: int, rng: np.random.Generator) -> FloatArray:
    """Right answer and counts of (action, class) of every problem, shape (n, 7)."""
    J = model.emission.shape[1]
    kind, table = _MEMORYLESS, np.zeros((3, J))
    act = np.zeros((1, 1), dtype=np.int64)
    rule_tables = _no_rule()
    if isinstance(rule, AlphaVectorRule):
        check_bins(rule, model)
        kind, t = _ALPHA, rule.tables
        rule_tables = (t.success, t.end, t.emission, t.vectors, t.offset, t.after, t.price, t.reward)
    elif isinstance(rule, PosteriorRule) and model.observations.emission == "step":
        kind, act = _POSTERIOR, posterior_actions(rule, model)
    elif not isinstance(rule, MixedRule):
        table = regenerate_by_bin(rule, model)
    dynamics = model.dynamics
    cumulative = np.cumsum(model.emission, axis=1)
    cumulative[:, -1] = np.inf  # a uniform draw never falls behind the last bin, whatever rounding says
    out = np.zeros((n, 7))
    _simulate(
        rng,
        out,
        kind,
        np.ascontiguousarray(table),
        act,
        rule_tables,
        dynamics.weak_success_by_step,
        np.stack([dynamics.hazard_array, dynamics.hazard_derailed_array], axis=1),
        cumulative,
        model.success_after,
    )
    return out


def _no_rule() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.int64], FloatArray, FloatArray, float]:
    empty = np.zeros((1, 2))
    return (
        np.zeros(1),
        empty,
        np.zeros((3, 1)),
        empty,
        np.zeros(2, dtype=np.int64),
        np.zeros((2, 3)),
        np.zeros(3),
        0.0,
    )


@njit(cache=True, nogil=True)
def _simulate(rng, out, kind, table, act, rule, true_success, true_end, cumulative, true_after):  # type: ignore[no-untyped-def]
    success, end, emission, vectors, offset, after, price, reward = rule
    T, J = len(true_success), cumulative.shape[1]
    cap = max(len(success) - 2, 0)
    b = np.empty(3)
    e = np.empty(3)
    for i in range(len(out)):
        right = True
        cell = BELIEF_CELLS
        minimum = J
        for t in range(T):
            c = 1
            if right:
                c = 0 if rng.random() < true_success[t] else 2
            j = np.searchsorted(cumulative[c], rng.random(), side="right")
            ends = rng.random() < true_end[t, 1 if c == 1 else 0]
            keep = redo = 0.0
            if kind == _ALPHA:
                step = min(t, cap)
                e[0] = end[step, 0] if ends else 1.0 - end[step, 0]
                e[1] = end[step, 1] if ends else 1.0 - end[step, 1]
                e[2] = e[0]
                filtered(cell / BELIEF_CELLS, success[step], emission[:, j], e, b)
                gain, cost, keep, redo = gain_and_price(b, ends, step, vectors, offset, after, price, reward)
                action = 1 if gain > cost else 0
            elif kind == _POSTERIOR:
                action = act[minimum, j]
            else:
                action = 1 if rng.random() < table[c, j] else 0
            out[i, 1 + 3 * action + c] += 1.0
            right = rng.random() < true_after[action, c]
            if ends:
                break
            if kind == _ALPHA:
                cell = cell_of(redo if action == 1 else keep)
            elif kind == _POSTERIOR:
                if action == 1:
                    came_out = 0 if right else (1 if c == 1 else 2)
                    j = np.searchsorted(cumulative[came_out], rng.random(), side="right")
                minimum = min(minimum, j)
        out[i, 0] = 1.0 if right else 0.0


def _summary(counts: FloatArray, model: RoutingModel, tradeoff: float | None) -> SimulatedPoint:
    kept, regenerated = counts[:, 1:4], counts[:, 4:7]
    strong = regenerated @ model.strong_tokens
    columns = {
        "accuracy": counts[:, 0],
        "strong_tokens": strong,
        "regenerations": regenerated.sum(axis=1),
        "budget": strong / model.strong_only_tokens,
        "steps": counts[:, 1:].sum(axis=1),
    }
    if model.weak_tokens is not None:
        columns["kept_tokens"] = kept @ model.weak_tokens
        columns["discarded_tokens"] = regenerated @ model.weak_tokens
    values: dict[str, float] = {}
    for name, column in columns.items():
        values[name] = float(column.mean())
        values[f"{name}_se"] = float(column.std(ddof=1) / math.sqrt(len(column)))
    return SimulatedPoint.model_validate({"tradeoff": tradeoff, "problems": len(counts), **values})
