"""Verbs that plan, evaluate and look into artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.cli.budgets import BudgetOption
from trim_pomdp.cli.learning import router_policy
from trim_pomdp.cli.models import (
    ActionsOption,
    DynamicsOption,
    JsonOption,
    MaxDraftsOption,
    ObservationsOption,
    PresetOption,
    SeedOption,
    read_model,
)
from trim_pomdp.cli.output import claim, emit_json, progress, say, show_table, with_span
from trim_pomdp.cli.prices import (
    CachedOption,
    PricesOption,
    PromptTokensOption,
    ReadingOption,
    amount,
    priced,
    read_tariff,
    say_asked_once,
    show_money,
)
from trim_pomdp.cli.rules import (
    BeliefOption,
    ClosenessOption,
    EvidenceStrategy,
    PolicyOption,
    StrategyOption,
    ThresholdOption,
    read_rule,
)
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.artifacts import Artifact
    from trim_pomdp.model.process import RoutingModel, Spending
    from trim_pomdp.planning.frontier import Frontier
    from trim_pomdp.policies import PlannedPoint, PolicyArtifact

_SPENDINGS: dict[str, Spending] = {"tokens": "strong_tokens", "money": "money"}
_COLUMNS = ("budget", "accuracy", "strong_tokens", "regenerations", "redrafts", "kept_tokens", "discarded_tokens")
# Rounding errors of the value bounds are of this order.
_SMALLEST_GAP = 1e-9
_GAP_HELP = "Certified gap at the start, as a share of the reward (default: 1e-5; with redrafts 1e-4)."


IntervalsOption = Annotated[
    bool | None,
    typer.Option(
        "--intervals/--no-intervals", help="How far plans may be off (default: where the dynamics hold draws)."
    ),
]


def frontier(
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    actions: ActionsOption = None,
    max_drafts: MaxDraftsOption = None,
    tradeoffs: Annotated[int, typer.Option(min=1, help="How many tradeoffs, budgets evenly covered.")] = 200,
    gap: Annotated[float | None, typer.Option(help=_GAP_HELP)] = None,
    threads: Annotated[int, typer.Option(min=1, help="Solver threads.")] = 2,
    intervals: IntervalsOption = None,
    over: Annotated[str, typer.Option(help="What is spent: tokens (of the strong model), or money.")] = "tokens",
    prices: PricesOption = None,
    prompt_tokens: PromptTokensOption = None,
    cached: CachedOption = None,
    reading: ReadingOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Frontier file (JSON) to write.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Picture to write (.png, .svg or .pdf).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Plan every budget at once: accuracy against strong tokens, or money, over all tradeoffs."""
    from trim_pomdp.cli.fitting import show_warnings
    from trim_pomdp.planning.frontier import solve_frontier
    from trim_pomdp.planning.frontier_artifact import FrontierArtifact
    from trim_pomdp.planning.intervals import with_intervals
    from trim_pomdp.planning.thresholds import predicted_threshold_curve

    _check_gap(gap)
    if over not in _SPENDINGS:
        raise InputError(f"--over is {over!r}; expected tokens or money")
    if over == "money" and prices is None:
        raise InputError("--over money needs --prices FILE")
    tariff = read_tariff(prices, prompt_tokens, cached, reading)
    if plot is not None:
        from trim_pomdp.planning.plots import picture_format

        picture_format(plot)
    for path in (out, plot):
        if path is not None:
            claim(path)
    model = priced(read_model(preset, observations, dynamics, actions, max_drafts), tariff)
    wants_intervals(intervals, model)
    with progress("planning", compiles=True):
        planned = solve_frontier(model, tradeoffs, gap=gap, threads=threads, over=_SPENDINGS[over])
        if wants_intervals(intervals, model):
            planned = with_intervals(planned, threads=threads)
        thresholds = predicted_threshold_curve(model)
        artifact = FrontierArtifact.of(planned, thresholds)
    if out is not None:
        artifact.save(out)
    if plot is not None:
        from trim_pomdp.planning.plots import plot_frontier, save_figure

        save_figure(plot_frontier(planned, artifact.threshold_rule, model.dynamics), plot)
    if as_json:
        emit_json(artifact.model_dump(mode="json"))
        return
    show_warnings(model.dynamics)
    if over == "money":
        show_amounts(planned, artifact.threshold_rule)
    else:
        show_budgets(planned, artifact.threshold_rule)
    say(
        f"{tradeoffs} tradeoffs in {planned.elapsed_s:.2f} s "
        f"(compiling or loading the kernels took {planned.compile_s:.2f} s before)"
    )
    for path in (out, plot):
        if path is not None:
            say(f"wrote {path}")


def wants_intervals(asked: bool | None, model: RoutingModel) -> bool:
    """Whether plans are to say how far they may be off.

    Raises
    ------
    InputError
        If they are asked to, and the dynamics hold no draws.
    """
    if asked and not model.dynamics.drawn:
        from trim_pomdp.planning.intervals import no_draws

        raise no_draws(model)
    return bool(model.dynamics.drawn) if asked is None else asked


def show_budgets(planned: Frontier, thresholds: tuple[PlannedPoint, ...]) -> None:
    """Table of budgets: the plan's accuracy and regenerations, the threshold rule's beside it where there is one."""
    from trim_pomdp.planning.frontier import hull_at

    budgets = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]
    last = min(planned.last.budget, 1.0)
    shown = sorted({*(budget for budget in budgets if budget <= last), last})
    accuracy = planned.accuracy_at(shown)
    regenerations = _interpolate(planned, shown)
    columns = ["budget", "planned accuracy", "regenerations"]
    rows: list[list[object]] = [
        [budget, with_span(float(a), planned.accuracy_span(budget)), float(r)]
        for budget, a, r in zip(shown, accuracy, regenerations, strict=True)
    ]
    if thresholds:
        columns += ["threshold rule", "gain"]
        rule = hull_at(thresholds, shown)
        rows = [[*row, float(t), float(a - t)] for row, a, t in zip(rows, accuracy, rule, strict=True)]
    unit = planned.model.strong_only_tokens
    show_table(f"budget (strong tokens per problem ÷ {unit:.4g}, those of strong-only) → accuracy", columns, rows)
    say(
        f"weak-only {planned.weak_only.accuracy:.4f}; strong-only {planned.strong_only.accuracy:.4f} at "
        f"{planned.strong_only.strong_tokens:.1f} strong tokens per problem (budget {planned.strong_only.budget:.3g})"
    )
    say_intervals(planned.weak_only)
    if planned.spends_all_it_can and last < 1.0:
        say(f"beyond a budget of {last:.4f} more strong tokens do not help")


def show_amounts(planned: Frontier, thresholds: tuple[PlannedPoint, ...]) -> None:
    """Table of money per problem: the accuracy that it buys, the threshold rule's beside it where there is one."""
    import numpy as np

    from trim_pomdp.planning.frontier import concave_hull

    ends = [planned.weak_only, planned.strong_only]
    points = [*ends, *planned.planned]
    spent = [point.money or 0.0 for point in points]
    best = max(points, key=lambda point: point.accuracy)
    shown = np.linspace(min(spent), best.money or 0.0, 11)
    columns = ["money", "planned accuracy"]
    rows = [[amount(money), float(a)] for money, a in zip(shown, planned.accuracy_at_money(shown), strict=True)]
    if thresholds:
        columns.append("threshold rule or ends")
        rules = [*ends, *thresholds]
        hull = concave_hull(np.array([p.money for p in rules]), np.array([p.accuracy for p in rules]))
        rows = [[*row, float(np.interp(money, *hull))] for row, money in zip(rows, shown, strict=True)]
    currency = None if planned.model.tariff is None else planned.model.tariff.prices.currency
    show_table("money per problem" + ("" if currency is None else f" ({currency})") + " → accuracy", columns, rows)
    weak, strong = ends
    say(
        f"weak-only {weak.accuracy:.4f} at {amount(weak.money)}; strong-only {strong.accuracy:.4f} at "
        f"{amount(strong.money)}; most accurate: {best.accuracy:.4f} at {amount(best.money)}"
    )
    say_asked_once(planned.model)


def _interpolate(planned: Frontier, budgets: list[float]) -> list[float]:
    import numpy as np

    points = [planned.weak_only, *(item.point for item in planned.points)]
    x = [point.budget for point in points]
    return [float(v) for v in np.interp(budgets, x, [point.regenerations for point in points])]


def policy(
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    actions: ActionsOption = None,
    max_drafts: MaxDraftsOption = None,
    budget: BudgetOption = None,
    tradeoff: Annotated[float | None, typer.Option(help="Price of one strong token, at least 0.")] = None,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", help="Money per problem, in the currency of --prices.")
    ] = None,
    prices: PricesOption = None,
    prompt_tokens: PromptTokensOption = None,
    cached: CachedOption = None,
    reading: ReadingOption = None,
    gap: Annotated[float | None, typer.Option(help=_GAP_HELP)] = None,
    router: Annotated[
        Path | None, typer.Option("--router", help="Not a plan, but a network of train-router, simulated in the model.")
    ] = None,
    intervals: IntervalsOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Policy file (JSON) to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a policy for one budget, one price, or a largest cost, and say what it will do."""
    from trim_pomdp.cli.fitting import show_warnings
    from trim_pomdp.planning.frontier import check_budget, policy_for_budget, policy_for_tradeoff
    from trim_pomdp.planning.money import policy_for_cost

    if sum(option is not None for option in (budget, tradeoff, max_cost)) != 1:
        raise InputError(
            "give --budget (a share of strong-only's tokens), --tradeoff (a price) or --max-cost (money per problem), "
            "one of the three"
        )
    if max_cost is not None and prices is None:
        raise InputError("--max-cost is money, so it needs --prices FILE")
    tariff = read_tariff(prices, prompt_tokens, cached, reading)
    if budget is not None:
        check_budget(budget)
    _check_gap(gap)
    if out is not None:
        claim(out)
    model = priced(read_model(preset, observations, dynamics, actions, max_drafts), tariff)
    if not wants_intervals(intervals, model):
        model = replace(model, dynamics=model.dynamics.without_draws)
    with progress("planning", compiles=True):
        if router is not None:
            artifact = router_policy(router, model, budget, tradeoff)
        elif budget is not None:
            artifact = policy_for_budget(model, budget, gap=gap)
        elif max_cost is not None:
            artifact = policy_for_cost(model, max_cost, gap=gap)
        else:
            assert tradeoff is not None
            artifact = policy_for_tradeoff(model, tradeoff, gap=gap)
    if out is not None:
        artifact.save(out)
    if as_json:
        document = artifact.model_dump(mode="json", exclude={"policy"})
        document["money"] = _money_document(artifact, model)
        emit_json({"out": None if out is None else str(out), "form": artifact.policy.form, **document})
        return
    show_warnings(model.dynamics)
    beside = [("planned", artifact.planned), ("weak-only", artifact.weak_only), ("strong-only", artifact.strong_only)]
    show_points("policy", beside)
    if tariff is not None:
        ends = {"weak-only": artifact.weak_only_money, "strong-only": artifact.strong_only_money}
        columns = {"planned": artifact.money, **ends}
        show_money("money", columns, tariff.prices.currency)
        say_asked_once(model, artifact.planned)
    for note in artifact.notes[len(model.dynamics.warnings) :]:
        say(note)
    if artifact.value_lower is not None and artifact.value_upper is not None:
        own = "" if artifact.value is None else f"; this policy's own: {artifact.value:.5f}"
        say(f"optimal value certified between {artifact.value_lower:.5f} and {artifact.value_upper:.5f}{own}")
    if artifact.accuracy_bound is not None:
        say(
            f"no policy that costs as much is more accurate than {artifact.accuracy_bound:.5f} (certified, "
            "with solutions so far of mean length)"
        )
    if artifact.added_variance:
        say(f"the draw adds {artifact.added_variance:.3g} to the variance of strong tokens per problem")
    if out is not None:
        say(f"wrote {out}")


def _money_document(artifact: PolicyArtifact, model: RoutingModel) -> dict[str, Any] | None:
    """Money by model and purpose of the policy and both ends, as JSON values."""
    if model.tariff is None or artifact.money is None:
        return None
    from trim_pomdp.planning.evaluation import asked_once

    ends = {"weak_only": artifact.weak_only_money, "strong_only": artifact.strong_only_money}
    only = {name: money.document for name, money in ends.items() if money is not None}
    currency = model.tariff.prices.currency
    return {"currency": currency, "planned": artifact.money.document, **only, "asked_once": asked_once(model)}


def _check_gap(gap: float | None) -> None:
    if gap is not None and not _SMALLEST_GAP <= gap <= 1.0:
        raise InputError(f"--gap is {gap:g}; expected a share of the reward from {_SMALLEST_GAP:g} to 1")


def show_points(title: str, points: Sequence[tuple[str, PlannedPoint | None]]) -> None:
    """Table of expected values per problem, without those that nobody knows, or that no action of the plan has."""
    rows = [(name, point) for name, point in points if point is not None]
    columns = [name for name in _COLUMNS if name != "redrafts" or any(point.redrafts is not None for _, point in rows)]
    show_table(
        title,
        ["", *(column.replace("_", " ") for column in columns), "money"],
        [[name, *(_cell_of(point, column) for column in columns), amount(point.money)] for name, point in rows],
    )
    say_intervals(rows[0][1] if rows else None)


def _cell_of(point: PlannedPoint, column: str) -> object:
    value = getattr(point, column)
    return value if point.intervals is None else with_span(value, getattr(point.intervals, column, None))


def say_intervals(point: PlannedPoint | None) -> None:
    """Say what the intervals of a point are, where it has any."""
    if point is not None and (known := point.intervals) is not None:
        say(
            f"in brackets: {100 * known.level:g} % intervals, from {known.draws} draws of the dynamics; the rollouts "
            "that those were fitted on are a sample"
        )


def simulate(
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    policy: PolicyOption = None,
    threshold: ThresholdOption = None,
    strategy: StrategyOption = None,
    belief: BeliefOption = "filter",
    closeness: ClosenessOption = None,
    problems: Annotated[int, typer.Option(min=2, help="How many problems to draw.")] = 100_000,
    prices: PricesOption = None,
    prompt_tokens: PromptTokensOption = None,
    cached: CachedOption = None,
    reading: ReadingOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Route problems drawn from the model: a cross-check of what was planned, with standard errors."""
    from trim_pomdp.planning.evaluation import evaluate
    from trim_pomdp.planning.simulation import simulate as run
    from trim_pomdp.policies import rule_of

    given = read_rule(policy, threshold, strategy, belief, closeness)
    assert given is not None
    tariff = read_tariff(prices, prompt_tokens, cached, reading)
    model = priced(read_model(preset, observations, dynamics), tariff)
    rule = given.in_model(model) if isinstance(given, EvidenceStrategy) else given
    with progress("simulating", compiles=True):
        point = run(rule, model, problems, seed)
    if as_json:
        emit_json(point.model_dump(mode="json"))
        return
    exact = evaluate(rule, model) if rule_of(rule).has_course else None
    rows: list[list[object]] = [
        [name.replace("_", " "), getattr(point, name), getattr(point, f"{name}_se"), getattr(exact, name, "")]
        for name in (*_COLUMNS, "steps")
        if getattr(point, name) is not None
    ]
    if point.money is not None:
        rows.append(
            ["money", amount(point.money), amount(point.money_se), "" if exact is None else amount(exact.money)]
        )
    show_table(f"{problems} simulated problems", ["quantity", "simulated", "standard error", "exact"], rows)


def inspect(
    path: Annotated[Path | None, typer.Argument(help="Any artifact, or the folder of a run.")] = None,
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an artifact or a run holds, or what a model implies: end points, threshold rule, fit diagnostics."""
    from trim_pomdp.cli.runs import inspect_run
    from trim_pomdp.loading import load
    from trim_pomdp.runtime.traces import run_folder

    if path is not None:
        if preset or observations or dynamics:
            raise InputError("give a file, or a model by --preset or --observations and --dynamics, not both")
        folder = run_folder(path)
        if prices is not None and folder is None:
            raise InputError("--prices is for runs, whose tokens it prices; policies and frontiers keep their own")
        if folder is not None:
            inspect_run(folder, as_json, prices)
        else:
            _inspect_artifact(load(path), as_json)
        return
    if prices is not None:
        raise InputError("--prices is for runs; a model's money is told by: frontier --over money, policy --max-cost")
    _inspect_model(read_model(preset, observations, dynamics), as_json)


def _inspect_artifact(artifact: Artifact, as_json: bool) -> None:
    from trim_pomdp.cli.benching import show_standings
    from trim_pomdp.cli.fitting import show_dynamics
    from trim_pomdp.metrics.standings import BenchResult
    from trim_pomdp.model.dynamics import StepDynamics
    from trim_pomdp.model.observations import ObservationModel
    from trim_pomdp.policies import PolicyArtifact
    from trim_pomdp.policies.networks import TrainedRouter
    from trim_pomdp.presets.store import Preset

    if as_json:
        emit_json(artifact.model_dump(mode="json"))
        return
    say(f"{artifact.kind}, schema {artifact.schema_version}, written by trim-pomdp {artifact.package_version}")
    for item in artifact.provenance:
        say(f"from {item.file} (sha256 {item.sha256[:12]}…)")
    if isinstance(artifact, Preset):
        say(artifact.description)
        _inspect_model(artifact.routing_model(), as_json=False)
    elif isinstance(artifact, StepDynamics):
        show_dynamics(artifact)
    elif isinstance(artifact, ObservationModel):
        rows = [[key, value] for key, value in artifact.diagnostics.items()]
        show_table(f"{artifact.name}: {artifact.estimator}", ["diagnostic", "value"], rows)
        if artifact.evidence is not None:
            say(artifact.evidence.formula)
    elif isinstance(artifact, PolicyArtifact):
        say(f"{artifact.policy.form} policy for {artifact.model}")
        show_points("per problem", [("planned", artifact.planned)])
        if artifact.money is not None and artifact.tariff is not None:
            show_money("money", {"planned": artifact.money}, artifact.tariff.prices.currency)
        for note in artifact.notes:
            say(note)
    elif isinstance(artifact, BenchResult):
        show_standings(artifact)
    elif isinstance(artifact, TrainedRouter):
        told: dict[str, object] = {**artifact.facts(), **artifact.settings}
        show_table("trained router", ["what", "value"], [[name, value] for name, value in told.items()])
    else:
        for note in getattr(artifact, "notes", ()):
            say(note)
        points = getattr(artifact, "points", ())
        shown = points[:: max(1, len(points) // 20)]
        show_points("frontier", [(f"λ {point.tradeoff:.5g}", point) for point in shown])


def _inspect_model(model: RoutingModel, as_json: bool) -> None:
    from trim_pomdp.cli.fitting import show_dynamics
    from trim_pomdp.planning.frontier import end_points
    from trim_pomdp.planning.thresholds import predicted_threshold_curve

    weak, strong = end_points(model)
    thresholds = predicted_threshold_curve(model)
    if as_json:
        emit_json(
            {
                "observations": model.observations.name,
                "dynamics": model.dynamics.model_dump(mode="json"),
                "reward": model.reward,
                "weak_only": weak.model_dump(mode="json"),
                "strong_only": strong.model_dump(mode="json"),
                "threshold_rule": [point.model_dump(mode="json") for point in thresholds],
            }
        )
        return
    seen = model.observations
    say(f"observations: {seen.name} ({seen.estimator}, {seen.n_bins} bins)")
    if seen.evidence is not None:
        say(f"{seen.evidence.formula} (no threshold rule: it looks at the PRM score alone)")
    show_dynamics(model.dynamics)
    show_points(
        "what the model implies",
        [
            ("weak-only", weak),
            *((f"threshold {i / 20:g}", p) for i, p in enumerate(thresholds) if i % 4 == 2),
            ("strong-only", strong),
        ],
    )
