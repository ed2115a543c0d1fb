"""The verb that routes live: ``trim-pomdp run``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.budgets import BudgetOption
from trim_pomdp.cli.live import (
    LAB,
    FamilyOption,
    FolderOption,
    InFlightOption,
    ModelsOption,
    ProblemsOption,
    ResumeOption,
    ShardOption,
    ThreadsOption,
    lab_or_file_problems,
    read_family,
    read_shard,
    resumable,
    solving_bar,
    use_threads,
)
from trim_pomdp.cli.models import (
    ActionsOption,
    DynamicsOption,
    JsonOption,
    LayoutOption,
    MaxDraftsOption,
    ObservationsOption,
    PresetOption,
    SeedOption,
    read_model,
)
from trim_pomdp.cli.output import emit_json, number, progress, say, show_table, warn, with_span
from trim_pomdp.cli.prices import MoneyOfRun, PricesOption, money_of_run, read_run_prices
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
    from trim_pomdp.inspection.alarms import ScoreAlarm
    from trim_pomdp.lab.problems import Family
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies import PlannedPoint, PolicyArtifact, Rule
    from trim_pomdp.runtime.live import LivePlan
    from trim_pomdp.runtime.summary import RunSummary

EvidenceOption = Annotated[
    str | None, typer.Option(help="What the lab's plan judges steps by: prm, logprob, prm+logprob (default: the best).")
]


def run(
    out: FolderOption,
    models: ModelsOption = LAB,
    family: FamilyOption = None,
    problems: ProblemsOption = None,
    layout: LayoutOption = None,
    budget: BudgetOption = None,
    policy: PolicyOption = None,
    threshold: ThresholdOption = None,
    strategy: StrategyOption = None,
    belief: BeliefOption = "filter",
    closeness: ClosenessOption = None,
    actions: ActionsOption = None,
    max_drafts: MaxDraftsOption = None,
    evidence: EvidenceOption = None,
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    prices: PricesOption = None,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    shard: ShardOption = None,
    in_flight: InFlightOption = 64,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="While a step is scored, let the weak model write the next one.")
    ] = False,
    warm_strong: Annotated[
        bool,
        typer.Option("--warm-strong", help="While a step is scored, let the strong model's server read the solution."),
    ] = False,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Route problems through real models, and compare what happens with what was planned."""
    from trim_pomdp.lab.models import require_extra
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.runtime.live import misfits, result_document, run_live
    from trim_pomdp.runtime.sources import roles_asked
    from trim_pomdp.runtime.summary import require_success
    from trim_pomdp.runtime.traces import check_folder

    given = read_rule(policy, threshold, strategy, belief, closeness, more={"--budget B": budget})
    if budget is None and (actions is not None or max_drafts is not None):
        raise InputError("--actions and --max-drafts go with --budget, which they are planned for")
    part = read_shard(shard)
    check_folder(out, resume=resume)
    lab_family = read_family(models, family)
    source = model_source(models, cores=threads)
    if models == LAB:
        require_extra()  # before anything is compiled
    chosen = lab_or_file_problems(lab_family, problems, "test", seed, layout)
    with progress("planning", compiles=True):
        model = _model(given, lab_family, evidence, preset, observations, dynamics, actions, max_drafts)
        plan = _plan(given.in_model(model) if isinstance(given, EvidenceStrategy) else given, budget, model)
    known_prices = read_run_prices(prices, source, roles_asked(plan.artifact.policy, source.caps))
    for phrase in misfits(plan, source, family=lab_family):
        warn(f"the plan may not come true: it is for {phrase}")
    use_threads(models, threads)
    total = len(chosen if part is None else part.of(chosen))
    with resumable(), solving_bar("routing", total) as tell:
        summary = run_live(
            plan,
            chosen,
            source,
            out,
            seed=seed,
            resume=resume,
            in_flight=in_flight,
            progress=tell,
            shard=part,
            overlap=overlap,
            warm_strong=warm_strong,
            prices=known_prices,
        )
    require_success(summary, out)
    money = money_of_run(out, known_prices, plan.artifact, model)
    alarm = None if model is None else _alarm(out, model)
    for reason in () if alarm is None else alarm.reasons:
        warn(f"PRM: {reason}")
    if as_json:
        document = result_document(summary, plan, None if money is None else money.document)
        emit_json({**document, "scores": None if alarm is None else {**asdict(alarm), "raised": alarm.raised}})
        return
    show_result(summary, plan, money)
    say_how_drawn(out)
    say(f"wrote {out}/: solutions.jsonl, traces.jsonl, policy.json, run.json")


def _model(
    given: Rule | EvidenceStrategy | PolicyArtifact | None,
    family: Family | None,
    evidence: str | None,
    preset: str | None,
    observations: Path | None,
    dynamics: Path | None,
    actions: str | None,
    max_drafts: int | None,
) -> RoutingModel | None:
    """The fitted model that plans or predicts: the named one, else the lab's preset for what the rule looks at."""
    named = preset is not None or observations is not None or dynamics is not None
    fixed = None if isinstance(given, EvidenceStrategy) else given
    looks_at_scores = fixed is not None and _looks_at_bare_scores(fixed)
    if evidence is not None:
        _check_evidence(evidence, family, named=named, only_prm=looks_at_scores, planned_before=fixed is not None)
    if named:
        return read_model(preset, observations, dynamics, actions, max_drafts)
    if family is None:
        return None
    kind = "prm" if looks_at_scores else evidence
    name = f"lab-{family}" if kind is None else f"lab-{family}.{kind}"
    return read_model(name, None, None, actions, max_drafts)


def _alarm(folder: Path, model: RoutingModel) -> ScoreAlarm | None:
    """How the run's scores compare with what the model expects; None where there are none to compare."""
    from trim_pomdp.inspection.alarms import score_alarm
    from trim_pomdp.runtime.traces import read_traces

    try:
        return score_alarm(read_traces(folder), model)
    except InputError:
        return None


def _looks_at_bare_scores(given: Rule | PolicyArtifact) -> bool:
    """Whether a policy decides on the PRM score as it is."""
    from trim_pomdp.policies import rule_of

    return rule_of(given).judges_prm_scores


def _check_evidence(evidence: str, family: Family | None, *, named: bool, only_prm: bool, planned_before: bool) -> None:
    from trim_pomdp.model.evidence import EVIDENCE_KINDS

    if evidence not in EVIDENCE_KINDS:
        raise InputError(f"unknown evidence {evidence!r}; there are {', '.join(EVIDENCE_KINDS)}")
    if family is None or named:
        raise InputError("--evidence picks among the lab's presets; observations that are named have their own")
    if only_prm and evidence != "prm":
        raise InputError(
            f"--evidence {evidence} goes with --budget, or an evidence strategy; this rule looks at the PRM score alone"
        )
    if planned_before and not only_prm:
        raise InputError(
            "--evidence goes with --budget, or an evidence strategy; this policy looks at what it was made for"
        )


def _plan(given: Rule | PolicyArtifact | None, budget: float | None, model: RoutingModel | None) -> LivePlan:
    from trim_pomdp.policies import PolicyArtifact
    from trim_pomdp.runtime.live import plan_for_budget, plan_for_rule, plan_from_file

    if given is None:
        assert budget is not None  # one of them is given
        if model is None:
            raise InputError("--budget needs a fitted model: --preset NAME, or --observations FILE and --dynamics FILE")
        return plan_for_budget(model, budget)
    return plan_from_file(given, model) if isinstance(given, PolicyArtifact) else plan_for_rule(given, model)


def show_result(summary: RunSummary, plan: LivePlan | None, money: MoneyOfRun | None = None) -> None:
    """What was measured beside what was planned, if anything was; tokens by kind, money, how solutions ended."""
    from trim_pomdp.runtime.live import has_redrafts

    columns = ["per problem", "planned", "measured", "standard error", "weak-only, planned", "strong-only, planned"]
    points = () if plan is None else (plan.artifact.planned, plan.weak_only, plan.strong_only)
    planned, weak, strong = points or (None, None, None)

    def of(point: PlannedPoint | None, name: str) -> float | str | None:
        if point is None:
            return ""  # a column without any content is left out
        value: float | None = getattr(point, name)
        span = getattr(point.intervals, name, None)
        return value if value is None else with_span(value, span)

    rows = [
        [
            name.replace("_", " "),
            of(planned, name),
            getattr(summary, name),
            getattr(summary, f"{name}_se"),
            of(weak, name),
            of(strong, name),
        ]
        for name in ("accuracy", "strong_tokens", "regenerations", "budget")
    ]
    if summary.redrafts or (plan is not None and has_redrafts(summary, plan)):
        rows.append(["redrafts", of(planned, "redrafts"), summary.redrafts, summary.redrafts_se, "", ""])
    show_table(f"{summary.problems} problems", columns, rows)
    counts = [
        [kind.replace("_", " "), count]
        for kind, count in summary.tokens.items()
        if count or not kind.endswith(("_read", "_cached", "_ahead"))
    ]
    show_table("tokens", ["kind", "tokens"], counts)
    if money is not None:
        money.show()
    for note in () if plan is None else plan.artifact.notes:
        say(note)
    show_pace(summary)


def say_how_drawn(folder: Path) -> None:
    """Say who draws the tokens of served models, where that was found out."""
    from trim_pomdp.runtime.traces import read_run_artifact

    found = read_run_artifact(folder).config.get("found", {})
    for role, sampler in ((role, facts["sampler"]) for role, facts in found.items() if "sampler" in facts):
        say(f"{role}: " + _SAMPLERS.get(sampler, sampler))


_SAMPLERS = {
    "keyed": "tokens are drawn by keyed uniforms inside the server, as by a model in this process",
    "seed": "the server draws by a seed of each request; its texts are not those of a model in this process "
    "(trim-pomdp up starts servers that draw by keyed uniforms)",
}


def show_pace(summary: RunSummary) -> None:
    """Say how long it took, how solutions ended, and what failed first."""
    from trim_pomdp.runtime.summary import disobedience

    pace = f", {60 * summary.problems / summary.wall_s:.0f} problems a minute" if summary.wall_s > 0 else ""
    ends = ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items())
    say(f"{number(summary.wall_s, 1)} s{pace}, {100 * summary.overhead_share:.1f} % of it outside the models")
    say(f"ends: {ends}" + (f"; went on alone {summary.alone}" if summary.alone else ""))
    for role, faults in summary.faults.items():
        say(f"{role}: requests tried again: " + ", ".join(f"{kind} {count}" for kind, count in faults.items()))
    for line in disobedience(summary):
        warn(line)
    if summary.failed:
        warn(f"{summary.failed} of {summary.problems} problems failed, the first by {summary.error}")
    if summary.alone:
        warn(
            f"{summary.alone} of {summary.problems} problems were finished by one model alone, since another one had "
            f"been given up, the first by {summary.given_up}"
        )
