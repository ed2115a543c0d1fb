"""Monte Carlo in the routing model: a cross-check of the exact evaluation, with standard errors.

Problems are drawn one by one from the model: class, score bin, end, action, what follows. Tokens are class means, so
their standard errors are those of what is regenerated, not of how long single steps are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.artifacts import Record
from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import AnyRule, check_bins, posterior_actions, regenerate_by_bin
from trim_pomdp.policies.records import (
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
    RuleTables,
)

FloatArray = NDArray[np.float64]


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
    from trim_pomdp import _kernels

    kind, table = _kernels.MEMORYLESS, np.zeros((3, J))
    act = np.zeros((1, 1), dtype=np.int64)
    tables = RuleTables.none()
    if isinstance(rule, AlphaVectorRule):
        check_bins(rule, model)
        kind, tables = _kernels.ALPHA, rule.tables
    elif isinstance(rule, PosteriorRule) and model.observations.emission == "step":
        kind, act = _kernels.POSTERIOR, posterior_actions(rule, model)
    elif not isinstance(rule, MixedRule):
        table = regenerate_by_bin(rule, model)
    dynamics = model.dynamics
    cumulative = np.cumsum(model.emission, axis=1)
    cumulative[:, -1] = np.inf  # a uniform draw never falls behind the last bin, whatever rounding says
    out = np.zeros((n, 7))
    _kernels.simulate(
        rng,
        out,
        kind,
        np.ascontiguousarray(table),
        act,
        tables.arguments,
        dynamics.weak_success_by_step,
        dynamics.end,
        cumulative,
        model.outcomes,
    )
    return out


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
