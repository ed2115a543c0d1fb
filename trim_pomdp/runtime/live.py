"""Plans that are run: a policy, what its model predicts of it, and the measured result beside that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim_pomdp.display import Shown, html_table
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule
from trim_pomdp.runtime.money import PRICES_FILE
from trim_pomdp.runtime.run import Progress, Routing, run
from trim_pomdp.runtime.solutions import write_solutions
from trim_pomdp.runtime.sources import roles_asked
from trim_pomdp.runtime.summary import RunSummary

if TYPE_CHECKING:
    from trim_pomdp.data.problems import Problem
    from trim_pomdp.model.observations import ClassTable
    from trim_pomdp.model.prices import Prices
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.runtime.shards import Shard
    from trim_pomdp.runtime.sources import ModelSource

POLICY_FILE, CLASS_TABLE_FILE = "policy.json", "class_table.json"
NO_MODEL = "none"


@dataclass(frozen=True)
class LivePlan:
    """A policy, and what is needed to run it and to judge the result.

    Attributes
    ----------
    artifact : PolicyArtifact
        The policy that is executed; `planned` is None where no fitted model is there to predict anything.
    strong_only_tokens : float or None
        The unit of the budget.
    class_table : ClassTable or None
        For policies that look at (min, current).
    weak_only, strong_only : PlannedPoint or None
        Never and always regenerating in the fitted model, to judge the result by.
    """

    artifact: PolicyArtifact
    strong_only_tokens: float | None = None
    class_table: ClassTable | None = None
    weak_only: PlannedPoint | None = None
    strong_only: PlannedPoint | None = None


def plan_for_budget(model: RoutingModel, budget: float) -> LivePlan:
    """Plan for a share of strong-only's tokens.

    Raises
    ------
    InputError
        If the budget lies outside [0, 1].
    """
    from trim_pomdp.planning.frontier import policy_for_budget

    return _in_model(policy_for_budget(model, budget), model)


def plan_for_rule(rule: Rule, model: RoutingModel | None) -> LivePlan:
    """A rule that was not planned, and what the model, if there is one, predicts of it.

    Of a rule without an exact evaluation it predicts nothing, but still both ends, and the unit of the budget.

    Raises
    ------
    InputError
        If the rule looks at PRM scores and the model at other evidence.
    """
    if model is None:
        return LivePlan(PolicyArtifact(model=NO_MODEL, policy=rule))
    from trim_pomdp.planning.evaluation import evaluate

    artifact = PolicyArtifact(
        model=model.name,
        policy=rule,
        planned=evaluate(rule, model) if rule.has_course else None,
        provenance=model.provenance,
        conditions=model.conditions,
        notes=model.dynamics.warnings,
    )
    return _in_model(artifact, model)


def plan_from_file(artifact: PolicyArtifact, model: RoutingModel | None) -> LivePlan:
    """A policy as it was planned; the unit of its budget is what it was planned with, if it says so."""
    point = artifact.planned
    unit = point.strong_tokens / point.budget if point is not None and point.budget > 0 else None
    if model is None:
        return LivePlan(artifact, unit, weak_only=artifact.weak_only, strong_only=artifact.strong_only)
    plan = _in_model(artifact, model)
    return plan if unit is None else replace(plan, strong_only_tokens=unit)


def _in_model(artifact: PolicyArtifact, model: RoutingModel) -> LivePlan:
    from trim_pomdp.planning.frontier import end_points

    weak, strong = end_points(model)
    return LivePlan(artifact, model.strong_only_tokens, model.observations.class_table, weak, strong)


def misfits(plan: LivePlan, source: ModelSource, *, family: str | None = None) -> tuple[str, ...]:
    """What a run has otherwise than the plan takes for granted, a phrase each; so much of the plan may not come true.

    Parameters
    ----------
    family : str or None
        Of the lab's problems.

    Raises
    ------
    InputError
        If solutions end before the step cap of the plan: nothing of it would be true then.
    """
    artifact, caps = plan.artifact, source.caps
    horizon = artifact.policy.horizon
    if horizon is not None and caps.max_steps < horizon:
        raise InputError(
            f"the policy was planned for solutions of up to {horizon} steps, but this run ends them after "
            f"{caps.max_steps}; raise [limits] max_steps, or plan on dynamics of that cap (fit-dynamics --max-steps)"
        )
    known = artifact.conditions or Conditions(max_steps=horizon)
    models = source.config(roles_asked(artifact.policy, caps))
    return known.differences(Conditions(family=family, max_steps=caps.max_steps, models=models))


def run_live(
    plan: LivePlan | PolicyArtifact | Rule,
    problems: Sequence[Problem],
    source: ModelSource,
    folder: str | Path,
    *,
    seed: int = 0,
    resume: bool = False,
    in_flight: int = 64,
    progress: Progress | None = None,
    record_scores: bool = False,
    shard: Shard | None = None,
    overlap: bool = False,
    warm_strong: bool = False,
    prices: Prices | None = None,
) -> RunSummary:
    """Route problems with a plan's policy; traces, solutions and the policy go into the folder.

    Parameters
    ----------
    plan : LivePlan, PolicyArtifact or rule
        A bare rule runs without anything planned beside it.
    problems : sequence of Problem
    source : ModelSource
        Only the models that the policy can ask are loaded.
    folder, resume, in_flight, progress, shard, overlap, warm_strong
        As in `trim_pomdp.runtime.run.run`.
    seed : int
        Of all draws.
    record_scores : bool
        Have every step scored, whether the policy needs it or not.
    prices : Prices or None
        Kept in the folder, where `trim_pomdp.runtime.money.run_money` finds them; no part of what defines the run. Of
        every model that can be asked.

    Raises
    ------
    InputError
        If a model is wanted that the source does not have, or that has no price where there are prices, or truth that
        nobody knows, or the folder is not fit.

    See Also
    --------
    misfits : what of the plan the source's models may not fulfil; `run_live` does not ask.
    """
    plan = _as_plan(plan)
    rule = plan.artifact.policy
    routing = Routing(
        rule,
        seed=seed,
        caps=source.caps,
        class_table=plan.class_table,
        oracle=source.oracle,
        record_scores=record_scores,
        format=source.format,
        checker=source.checker,
    )
    roles = roles_asked(rule, source.caps, record_scores=record_scores)
    source.require(roles)
    if prices is not None:
        prices.require(roles)
    files = {POLICY_FILE: plan.artifact.model_dump_json(indent=1) + "\n"}
    if plan.class_table is not None and _looks_at_table(rule):
        files[CLASS_TABLE_FILE] = plan.class_table.model_dump_json(indent=1) + "\n"
    if prices is not None:
        files[PRICES_FILE] = prices.model_dump_json(indent=1) + "\n"
    summary = run(
        problems,
        routing.start,
        source.load(roles).models,
        folder,
        config={**routing.config, "mode": "run", "models": source.config(roles)},
        resume=resume,
        in_flight=in_flight,
        progress=progress,
        strong_only_tokens=plan.strong_only_tokens,
        shard=shard,
        overlap=overlap,
        warm_strong=warm_strong,
        files=files,
    )
    write_solutions(folder, problems)
    return summary


def _looks_at_table(rule: Rule) -> bool:
    try:
        rule.require(None)
    except UnsetParameterError:
        return True
    return False


def _as_plan(given: LivePlan | PolicyArtifact | Rule) -> LivePlan:
    if isinstance(given, Rule):
        return plan_for_rule(given, None)
    return plan_from_file(given, None) if isinstance(given, PolicyArtifact) else given


def has_redrafts(summary: RunSummary, plan: LivePlan) -> bool:
    """Whether weak steps were drafted again, or the plan says how often they would be."""
    planned = plan.artifact.planned
    return summary.redrafts > 0.0 or (planned is not None and planned.redrafts is not None)


def result_document(summary: RunSummary, plan: LivePlan, money: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was measured beside what was planned, as JSON values; `money` as it is, where it is known."""
    planned = plan.artifact.planned
    redrafts = has_redrafts(summary, plan)
    compared = ("accuracy", "strong_tokens", "regenerations", *(("redrafts",) if redrafts else ()))

    def expected(point: PlannedPoint | None) -> dict[str, Any] | None:
        if point is None:
            return None
        spans = {} if point.intervals is None else {"intervals": point.intervals.model_dump(mode="json")}
        return {**{name: getattr(point, name) for name in compared}, **spans}

    return {
        "problems": summary.problems,
        "accuracy": summary.accuracy,
        "accuracy_se": summary.accuracy_se,
        "strong_tokens": summary.strong_tokens,
        "strong_tokens_se": summary.strong_tokens_se,
        "regenerations": summary.regenerations,
        **({"redrafts": summary.redrafts, "redrafts_se": summary.redrafts_se} if redrafts else {}),
        "budget": summary.budget,
        "budget_se": summary.budget_se,
        "asked_budget": plan.artifact.asked_budget,
        "asked_max_cost": plan.artifact.asked_max_cost,
        "planned": expected(planned),
        "weak_only": expected(plan.weak_only),
        "strong_only": expected(plan.strong_only),
        "tokens": summary.tokens,
        "money": None if money is None else dict(money),
        "wall_s": summary.wall_s,
        "overhead_share": summary.overhead_share,
        "failed": summary.failed,
        "alone": summary.alone,
    }


@dataclass(frozen=True, repr=False)
class Outcome(Shown):
    """What was measured beside what was planned.

    Attributes
    ----------
    summary : RunSummary
    plan : LivePlan
    """

    summary: RunSummary
    plan: LivePlan

    @classmethod
    def of(cls, summary: RunSummary, plan: LivePlan | PolicyArtifact | Rule) -> Outcome:
        """Of a run with a plan, in any form that `run_live` takes."""
        return cls(summary, _as_plan(plan))

    @property
    def rows(self) -> list[tuple[str, float | None, float | None, float | None, float | None, float | None]]:
        """Quantity per problem, planned, measured, its standard error, planned weak-only and strong-only."""
        points = (self.plan.artifact.planned, self.plan.weak_only, self.plan.strong_only)

        def row(name: str) -> tuple[str, float | None, float | None, float | None, float | None, float | None]:
            planned, weak, strong = (None if point is None else getattr(point, name) for point in points)
            measured, error = getattr(self.summary, name), getattr(self.summary, f"{name}_se")
            return name.replace("_", " "), planned, measured, error, weak, strong

        names = ("accuracy", "budget", "strong_tokens", "regenerations")
        return [row(name) for name in (*names, *(("redrafts",) if has_redrafts(self.summary, self.plan) else ()))]

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        out: dict[str, object] = {"problems": self.summary.problems, "failed": self.summary.failed or None}
        for name, planned, measured, error, _, _ in self.rows[:2]:
            spread = "" if error is None else f" ± {error:.4f}"
            out[name] = None if measured is None else f"{measured:.4f}{spread}"
            out[f"planned {name}"] = planned
        return out

    def _repr_html_(self) -> str:
        columns = ("per problem", "planned", "measured", "standard error", "weak-only, planned", "strong-only, planned")
        return html_table(f"{self.summary.problems} problems", columns, self.rows)


def require_answers(problems: Sequence[Problem]) -> None:
    """Raise `InputError` unless the right answer of every problem is known."""
    for problem in problems:
        if problem.answer is None:
            raise InputError(f"problem {problem.id!r} has no answer, so that its outcome would tell nothing")
