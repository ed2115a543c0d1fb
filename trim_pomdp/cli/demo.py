"""The demo: plan from a preset, draw what the plan looks like, then route lab problems live, compare, and report."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.models import JsonOption, SeedOption
from trim_pomdp.cli.output import emit_json, progress, say, show_table
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trim_pomdp.lab.problems import Family
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.sequences import SequenceBatch
    from trim_pomdp.planning.frontier import Frontier
    from trim_pomdp.policies import PlannedPoint, PolicyArtifact
    from trim_pomdp.runtime.live import LivePlan
    from trim_pomdp.runtime.summary import RunSummary

DEFAULT_PRESET = "qwen2.5-1.5b-7b-math"
_BUDGET = 0.2
_DRAWN = 400
_LIVE_FAMILY: Family = "loop"
_LIVE_BUDGETS = (0.1, 0.3)
_LIVE_PROBLEMS = 100
_SLIDER_BUDGETS = (0.05, 0.2, 0.5)
_REPORT = "report.html"


def demo(
    preset: Annotated[str, typer.Option("--preset", help="Name of a preset.")] = DEFAULT_PRESET,
    tradeoffs: Annotated[int, typer.Option(min=1, help="How many tradeoffs to plan for.")] = 300,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("trim-pomdp-demo"),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Plan from a preset and draw the plan; then route lab problems live at two budgets, compare, and report."""
    from trim_pomdp.cli.planning import show_budgets, show_points
    from trim_pomdp.planning.frontier import solve_frontier
    from trim_pomdp.planning.frontier_artifact import FrontierArtifact
    from trim_pomdp.planning.plots import save_figure
    from trim_pomdp.planning.thresholds import predicted_threshold_curve
    from trim_pomdp.presets.store import load_preset
    from trim_pomdp.runtime.live import result_document

    item = load_preset(preset)
    folder = _make_folder(out)
    model = item.routing_model()
    with progress("demo") as tell:
        tell(f"planning {tradeoffs} tradeoffs (after compiling the kernels, once per installation)")
        planned = solve_frontier(model, tradeoffs)
        thresholds = predicted_threshold_curve(model)
        policy = planned.policy_for_budget(_BUDGET)
        tell("drawing")
        pictures = _pictures(model, planned, thresholds, policy, seed)
    paths = [
        FrontierArtifact.of(planned, thresholds).save(folder / "frontier.json"),
        policy.save(folder / f"policy-budget-{_BUDGET:g}.json"),
        *(save_figure(figure, folder / f"{name}.png") for name, figure in pictures.items()),
    ]
    if not as_json:  # what is planned is there to read while problems are routed
        say(item.description)
        say("")
        show_budgets(planned, thresholds)
        show_points(
            f"policy for a budget of {_BUDGET:g}",
            [("planned", policy.planned), ("weak-only", planned.weak_only), ("strong-only", planned.strong_only)],
        )
        say(
            f"planned {tradeoffs} tradeoffs in {planned.elapsed_s:.1f} s, each certified within {planned.gap:g} of the "
            f"reward (Numba compiled or loaded its kernels in {planned.compile_s:.1f} s before that)"
        )
        sys.stdout.flush()
    runs, why_not = _route_live(folder / "live", seed)
    if runs:
        paths.append(_report(folder, out))
    written = sorted(path.name for path in paths)
    if as_json:
        emit_json(
            {
                "preset": preset,
                "out": str(out),
                "files": written,
                "compile_s": planned.compile_s,
                "elapsed_s": planned.elapsed_s,
                "policy": policy.model_dump(mode="json")["planned"],
                "live": [result_document(summary, plan) for plan, summary in runs],
            }
        )
        return
    say(f"wrote {out}/: {', '.join(written)}")
    say("")
    if why_not:
        say(f"planned only: {why_not}")
    else:
        _show_live(runs, out)


def _route_live(folder: Path, seed: int) -> tuple[list[tuple[LivePlan, RunSummary]], str | None]:
    """Lab problems routed at each budget; or none, and why."""
    from trim_pomdp.cli.live import solving_bar
    from trim_pomdp.lab.problems import draw
    from trim_pomdp.lab.source import LabSource
    from trim_pomdp.presets.store import load_preset
    from trim_pomdp.runtime.live import plan_for_budget, run_live

    source = LabSource()
    try:
        source.require(("weak", "strong", "prm"))
        model = load_preset(f"lab-{_LIVE_FAMILY}").routing_model()
    except InputError as error:
        return [], str(error)
    problems = draw(_LIVE_FAMILY, "test", seed, _LIVE_PROBLEMS)
    runs = []
    for budget in _LIVE_BUDGETS:
        plan = plan_for_budget(model, budget)
        traces = _live_folder(folder, budget)
        shutil.rmtree(traces, ignore_errors=True)  # of an earlier demo
        with solving_bar(f"routing live at a budget of {budget:g}", len(problems)) as tell:
            runs.append((plan, run_live(plan, problems, source, traces, seed=seed, progress=tell)))
    return runs, None


def _report(folder: Path, out: Path) -> Path:
    """A page about the live runs, side by side; the slider of every solution goes to further budgets too."""
    from trim_pomdp.inspection.report import write_report
    from trim_pomdp.presets.store import load_preset

    path = folder / _REPORT
    with progress("report") as tell:
        write_report(
            [_live_folder(folder / "live", budget) for budget in _LIVE_BUDGETS],
            path,
            model=load_preset(f"lab-{_LIVE_FAMILY}").routing_model(),
            budgets=_SLIDER_BUDGETS,
            title="The demo’s live runs",
            command=f"trim-pomdp demo --out {shlex.quote(out.name)}",
            tell=tell,
        )
    return path


def _live_folder(folder: Path, budget: float) -> Path:
    return folder / f"budget-{budget:g}"


def _show_live(runs: list[tuple[LivePlan, RunSummary]], out: Path) -> None:
    rows: list[list[object]] = []
    for plan, summary in runs:
        planned = plan.artifact.planned
        assert planned is not None
        budget = f"budget {plan.artifact.asked_budget:g}"
        rows.append([f"{budget}: accuracy", planned.accuracy, summary.accuracy, summary.accuracy_se])
        rows.append([f"{budget}: budget", planned.budget, summary.budget, summary.budget_se])
    show_table(
        f"routed live: {_LIVE_PROBLEMS} arithmetic problems of the lab's family {_LIVE_FAMILY}, its three tiny models",
        ["", "planned", "measured", "standard error"],
        rows,
    )
    seconds = sum(summary.wall_s for _, summary in runs)
    say(f"{seconds:.1f} s; every decision is in {out}/live/*/traces.jsonl")
    say(f"walk through them: open {out}/{_REPORT} in a browser")


def _make_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror or error})") from None
    return out


def _pictures(
    model: RoutingModel, planned: Frontier, thresholds: tuple[PlannedPoint, ...], policy: PolicyArtifact, seed: int
) -> dict[str, Figure]:
    import numpy as np

    from trim_pomdp.model.belief import FilterBelief
    from trim_pomdp.planning import plots
    from trim_pomdp.planning.synthetic import draw_sequences
    from trim_pomdp.planning.thresholds import THRESHOLDS

    out = {
        "frontier": plots.plot_frontier(planned, thresholds, model.dynamics),
        "densities": plots.plot_densities(model),
    }
    if plots.has_policy_map(policy):
        out["policy_map"] = plots.plot_policy_map(policy)
    fit = plots.plot_fit(model, thresholds, THRESHOLDS)
    if fit is not None:
        out["fit"] = fit
    batch = _examples(draw_sequences(model, _DRAWN, np.random.default_rng(seed)))
    states = FilterBelief(model.observations, model.dynamics).states(batch)
    rows = range(len(batch))
    out["beliefs"] = plots.plot_beliefs(
        [batch.scores[i, : batch.lengths[i]] for i in rows],
        [states[i, : batch.lengths[i]] for i in rows],
        batch.correct.tolist(),
        "Weak-only solutions drawn from the model",
        score=plots.score_name(model.observations.evidence),
    )
    return out


def _examples(batch: SequenceBatch, *, per_outcome: int = 2, steps: int = 4) -> SequenceBatch:
    """The first few right and wrong solutions that are long enough to look at (of any length, if none is)."""
    import numpy as np

    long = batch.lengths >= min(steps, int(batch.lengths.max()))
    chosen = [np.flatnonzero(long & (batch.correct == right))[:per_outcome] for right in (True, False)]
    return batch.take(np.concatenate(chosen))
