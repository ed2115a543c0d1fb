"""Monte Carlo in the routing model: a cross-check of the exact evaluation, with standard errors.

Problems are drawn one by one from the model: class, score bin, end, action, what follows. Tokens are class means, so
their standard errors are those of what is regenerated, not of how long single steps are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.artifacts import Record
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import rule_of
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule

FloatArray = NDArray[np.float64]


class SimulatedPoint(Shown, Record):
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

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: means with their standard errors."""
        out: dict[str, object] = {"problems": self.problems, "tradeoff": self.tradeoff}
        for name in type(self).model_fields:
            if (value := getattr(self, name)) is not None and f"{name}_se" in type(self).model_fields:
                out[name.replace("_", " ")] = f"{value:.4g} ± {getattr(self, f'{name}_se'):.2g}"
        return out

    def z_scores(self, point: PlannedPoint) -> dict[str, float]:
        """Difference from an exact point in standard errors, by quantity (those with a positive one)."""
        out = {}
        for name, value in point.model_dump(exclude={"tradeoff"}).items():
            error = getattr(self, f"{name}_se")
            if value is not None and error:
                out[name] = (getattr(self, name) - value) / error
        return out


def simulate(
    policy: Rule | PolicyArtifact, model: RoutingModel, n: int, rng: np.random.Generator | int = 0
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
    rule = rule_of(policy)
    return _summary(rule.simulated(model, n, generator), model, rule.planned_tradeoff)


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
