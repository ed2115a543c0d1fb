"""Monte Carlo in the routing model: a cross-check of the exact evaluation, with standard errors.

Problems are drawn one by one from the model: class, score bin, end, action, what follows. Tokens are class means, so
their standard errors are those of what is regenerated, not of how long single steps are. Where the model has a tariff,
what is read is the solution of the problem at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.artifacts import Record
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.prices import Role
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule, rule_of

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
    money: float | None = None
    money_se: float | None = None

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
        for name, value in point.model_dump(exclude={"tradeoff", "rate"}).items():
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
    parts = rule.simulated_parts(model, n, generator)
    counts = np.concatenate([drawn for _, drawn in parts])
    money = None if model.tariff is None else np.concatenate([_money(part, drawn, model) for part, drawn in parts])
    return _summary(counts, money, model, rule.planned_tradeoff)


def _money(rule: Rule, counts: FloatArray, model: RoutingModel) -> FloatArray:
    """Money of every problem, shape (n,)."""
    assert model.tariff is not None
    tariff, prices, weak_tokens = model.tariff, model.tariff.prices, model.accepted_tokens[KEEP]
    kept, redone = counts[:, 1:4], counts[:, 4:7]

    def read(role: Role, *actions: int) -> FloatArray:
        """Reading of the requests of these actions."""
        reading = tariff.reading(role)
        tokens = np.zeros(len(counts))
        for action in actions:
            requests = (kept, redone)[action].sum(axis=1)
            tokens += reading.prompt_tokens * requests + counts[:, 7 + action]
            tokens += reading.step_overhead * counts[:, 9 + action]
        return tokens * tariff.token(role)

    money = read("strong", REGENERATE) + (redone @ model.strong_tokens) * prices.of("strong").writing(1.0)
    if "weak" in rule.authors:
        drafts = (kept + redone) @ weak_tokens
        money += read("weak", KEEP, REGENERATE) + drafts * prices.of("weak").writing(1.0)
        if rule.needs_score:
            money += read("prm", KEEP, REGENERATE) + drafts * tariff.token("prm")
    return money


def _summary(
    counts: FloatArray, money: FloatArray | None, model: RoutingModel, tradeoff: float | None
) -> SimulatedPoint:
    kept, regenerated = counts[:, 1:4], counts[:, 4:7]
    strong = regenerated @ model.strong_tokens
    columns = {
        "accuracy": counts[:, 0],
        "strong_tokens": strong,
        "regenerations": regenerated.sum(axis=1),
        "budget": strong / model.strong_only_tokens,
        "steps": counts[:, 1:7].sum(axis=1),
    }
    if money is not None:
        columns["money"] = money
    if model.weak_tokens is not None:
        columns["kept_tokens"] = kept @ model.weak_tokens
        columns["discarded_tokens"] = regenerated @ model.weak_tokens
    values: dict[str, float] = {}
    for name, column in columns.items():
        values[name] = float(column.mean())
        values[f"{name}_se"] = float(column.std(ddof=1) / math.sqrt(len(column)))
    return SimulatedPoint.model_validate({"tradeoff": tradeoff, "problems": len(counts), **values})
