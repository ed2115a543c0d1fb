"""Monte Carlo in the routing model: a cross-check of the exact evaluation, with standard errors.

Problems are drawn one by one from the model: class, score bin, end, action, what follows. Tokens are class means, so
their standard errors are those of what is regenerated, not of how long single steps are, nor of how many follow a
takeover. Where the model has a tariff,
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
from trim_pomdp.model.prices import Role
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.propagation import Drawn
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
    redrafts: float | None = None
    redrafts_se: float | None = None
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
    drawn = Drawn.joined([part for _, part in parts])
    money = None if model.tariff is None else np.concatenate([_money(part, drawn, model) for part, drawn in parts])
    return _summary(drawn, money, model, rule.planned_tradeoff)


def _money(rule: Rule, drawn: Drawn, model: RoutingModel) -> FloatArray:
    """Money of every problem, shape (n,)."""
    assert model.tariff is not None
    tariff, prices, tables = model.tariff, model.tariff.prices, model.tables
    weak_tokens, strong_tokens = model.writer_tokens
    requests = drawn.counts.sum(axis=2)  # by action

    def read(role: Role, number: FloatArray, length: FloatArray, steps: FloatArray) -> FloatArray:
        """Of so many requests, with tokens and steps of the solutions so far summed over them."""
        reading = tariff.reading(role)
        tokens = reading.prompt_tokens * number + length + reading.step_overhead * steps
        return np.asarray(tokens * tariff.token(role))

    def asked(actions: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The first requests of decisions for these actions, as `read` takes them."""
        return tuple(sums[:, actions].sum(axis=1) for sums in (requests, drawn.before, drawn.steps_before))

    every = np.ones_like(tables.asks_strong)
    written = drawn.strong_steps @ strong_tokens
    money: FloatArray = read("strong", *asked(tables.asks_strong)) + written * prices.of("strong").writing(1.0)
    number, length, steps, after = drawn.further_requests.T
    between = float(written.sum() / max(drawn.strong_steps.sum(), 1.0))
    money += read("strong", number, length + between * after, steps + after)
    if "weak" in rule.authors:
        drafts = drawn.counts.sum(axis=1) @ weak_tokens
        money += read("weak", *asked(every)) + drafts * prices.of("weak").writing(1.0)
        if rule.needs_score:
            money += read("prm", *asked(every)) + drafts * tariff.token("prm")
    return money


def _summary(drawn: Drawn, money: FloatArray | None, model: RoutingModel, tradeoff: float | None) -> SimulatedPoint:
    tables = model.tables
    kept, discarded = drawn.counts[:, tables.keeps].sum(axis=1), drawn.counts[:, ~tables.keeps].sum(axis=1)
    strong = drawn.strong_steps @ model.strong_tokens
    redrafts = drawn.counts[:, tables.again].sum(axis=(1, 2))
    columns = {
        "accuracy": drawn.right,
        "strong_tokens": strong,
        "regenerations": drawn.strong_steps.sum(axis=1),
        "budget": strong / model.strong_only_tokens,
        "steps": kept.sum(axis=1) + drawn.strong_steps.sum(axis=1),
    }
    if redrafts.any() or model.drafts > 1:
        columns["redrafts"] = redrafts
    if money is not None:
        columns["money"] = money
    if model.weak_tokens is not None:
        columns["kept_tokens"] = kept @ model.weak_tokens
        columns["discarded_tokens"] = discarded @ model.weak_tokens
    values: dict[str, float] = {}
    for name, column in columns.items():
        values[name] = float(column.mean())
        values[f"{name}_se"] = float(column.std(ddof=1) / math.sqrt(len(column)))
    return SimulatedPoint.model_validate({"tradeoff": tradeoff, "problems": len(drawn.right), **values})
