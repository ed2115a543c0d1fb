"""What a policy does in a model: exact expectations, by forward propagation of (truth, what the policy remembers).

* Threshold rules and fixed strategies remember nothing: the hidden state alone is propagated.
* The paper's posterior rule remembers the running minimum, a bin; under an emission that is fresh at each step it
  remembers nothing either.
* An alpha-vector rule remembers its belief, which it keeps on a grid (`AlphaVectorRule`): a finite state too. The
  belief is the *rule's*, the truth is the *model's*, so a policy planned for one model pair is evaluated exactly on
  another.
* A regenerated step is scored with the next step; its score enters the running minimum, by the class it came out.

Each rule does it for itself (`Rule.course`). Memory states of probability below 1e-14 are dropped, which costs at most
about 1e-9 in every quantity.
"""

from __future__ import annotations

from dataclasses import dataclass

from trim_pomdp.model.prices import Money, Role
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.propagation import Course
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule, StrategyRule, rule_of


def evaluate(policy: Rule | PolicyArtifact, model: RoutingModel) -> PlannedPoint:
    """Expected accuracy, tokens, regenerations, steps, and money, per problem of a policy in a model, exactly.

    Money is None where the model has no tariff.

    Parameters
    ----------
    policy : rule or PolicyArtifact
        Any policy that looks at no more than a model has; an alpha-vector rule may have been planned in another
        model, with the same bins.
    model : RoutingModel
        What is true.

    Raises
    ------
    InputError
        If the policy's observation bins are not those of the model, it is a rule on the PRM score and the model
        sees other evidence, or it has no exact evaluation.
    """
    if model.tariff is not None:
        return evaluate_money(policy, model).point
    rule = rule_of(policy)
    return point_of(rule.course(model), model, rule.planned_tradeoff)


@dataclass(frozen=True)
class Evaluation:
    """What a policy does, and what it costs.

    Attributes
    ----------
    point : PlannedPoint
        Exact expectations.
    money : Money
        Expected money per problem by model and purpose, exactly (`trim_pomdp.model.prices`).
    planned_money : float
        All of it, where solutions so far have their mean length at every step, as plans over money have it.
    """

    point: PlannedPoint
    money: Money
    planned_money: float


def evaluate_money(policy: Rule | PolicyArtifact, model: RoutingModel) -> Evaluation:
    """Expectations of a policy in a model, money by model and purpose among them.

    A policy that leaves every step to the strong model has nothing drafted, and only one that decides on PRM scores has
    steps scored.

    Raises
    ------
    InputError
        As `evaluate`; or if the model has no tariff.
    """
    rule = rule_of(policy)
    parts = [_evaluation(part, model) for part in rule.parts]
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    return mix_evaluations(first, second, rule.shares[1])


def _evaluation(rule: Rule, model: RoutingModel) -> Evaluation:
    course = rule.course(model)
    asked = {"drafted": "weak" in rule.authors, "scored": rule.needs_score}
    money = model.money(course, **asked)
    return Evaluation(
        point=point_of(course, model, rule.planned_tradeoff).model_copy(update={"money": money.total}),
        money=money,
        planned_money=model.money(course, **asked, step_tokens=model.step_tokens).total,
    )


def end_money(model: RoutingModel) -> dict[str, Money]:
    """What weak-only and strong-only cost as the router runs them: a request a step."""
    rules = {"weak_only": StrategyRule(strategy="weak"), "strong_only": StrategyRule(strategy="strong")}
    return {name: evaluate_money(rule, model).money for name, rule in rules.items()}


def asked_once(model: RoutingModel) -> dict[Role, float]:
    """Money per problem of the weak, and the strong, model alone, asked once for all of the solution.

    A router asks step by step, and pays for reading the solution so far each time; without one nobody does.
    """
    weak, strong = (evaluate_money(StrategyRule(strategy=name), model) for name in ("weak", "strong"))
    assert model.tariff is not None  # or else money is not known
    out: dict[Role, float] = {"weak": weak.money.weak_kept, "strong": strong.money.strong}
    for role in out:
        out[role] += model.tariff.prices.of(role).reading(model.tariff.reading(role).prompt_tokens)
    return out


def mix_evaluations(first: Evaluation, second: Evaluation, probability: float) -> Evaluation:
    """As `mix`, money by purpose included."""
    return Evaluation(
        point=mix(first.point, second.point, probability),
        money=first.money.scaled(1.0 - probability) + second.money.scaled(probability),
        planned_money=(1.0 - probability) * first.planned_money + probability * second.planned_money,
    )


def mix(first: PlannedPoint, second: PlannedPoint, probability: float) -> PlannedPoint:
    """Expectation of drawing `second` with the given probability, else `first`, for each problem."""
    a, b = (point.model_dump(exclude={"intervals"}) for point in (first, second))
    mixed = {
        name: None if a[name] is None or b[name] is None else (1 - probability) * a[name] + probability * b[name]
        for name in a
    }
    return PlannedPoint.model_validate({**mixed, "tradeoff": None, "rate": None})


def point_of(course: Course, model: RoutingModel, tradeoff: float | None = None) -> PlannedPoint:
    """Expectations per problem of what `Rule.course` says of a policy."""
    tables, decisions = model.tables, course.decisions
    kept, discarded = decisions[tables.keeps].sum(axis=0), decisions[~tables.keeps].sum(axis=0)
    strong_steps = course.strong_steps.sum(axis=0)
    strong_tokens = float(strong_steps @ model.strong_tokens)
    redrafts = float(decisions[tables.again].sum())
    weak = model.weak_tokens
    return PlannedPoint(
        tradeoff=tradeoff,
        accuracy=float(course.accuracy.sum()),
        strong_tokens=strong_tokens,
        regenerations=float(strong_steps.sum()),
        redrafts=redrafts if redrafts > 0.0 or model.drafts > 1 else None,
        budget=strong_tokens / model.strong_only_tokens,
        kept_tokens=None if weak is None else float(kept @ weak),
        discarded_tokens=None if weak is None else float(discarded @ weak),
        steps=float(kept.sum() + strong_steps.sum()),
    )
