"""The demo: plan from a preset, print what each budget buys, draw what the plan looks like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.models import JsonOption, SeedOption
from trim_pomdp.cli.output import emit_json, progress, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trim_pomdp.data.sequences import SequenceBatch
    from trim_pomdp.frontier import Frontier
    from trim_pomdp.policies import PlannedPoint, PolicyArtifact
    from trim_pomdp.routing import RoutingModel

DEFAULT_PRESET = "qwen2.5-1.5b-7b-math"
_BUDGET = 0.2
_DRAWN = 400


def demo(
    preset: Annotated[str, typer.Option("--preset", help="Name of a preset.")] = DEFAULT_PRESET,
    tradeoffs: Annotated[int, typer.Option(min=1, help="How many tradeoffs to plan for.")] = 300,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("trim-pomdp-demo"),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Plan from a preset, print a table of budgets, and write the frontier, a policy and pictures."""
    from trim_pomdp.cli.planning import show_budgets, show_points
    from trim_pomdp.frontier import solve_frontier
    from trim_pomdp.frontier_artifact import FrontierArtifact
    from trim_pomdp.plots import save_figure
    from trim_pomdp.preset import load_preset
    from trim_pomdp.thresholds import threshold_curve

    item = load_preset(preset)
    folder = _make_folder(out)
    model = item.routing_model()
    with progress("demo") as tell:
        tell(f"planning {tradeoffs} tradeoffs (after compiling the kernels, once per installation)")
        planned = solve_frontier(model, tradeoffs)
        thresholds = threshold_curve(model)
        policy = planned.policy_for_budget(_BUDGET)
        tell("drawing")
        pictures = _pictures(model, planned, thresholds, policy, seed)
    paths = [
        FrontierArtifact.of(planned, thresholds).save(folder / "frontier.json"),
        policy.save(folder / f"policy-budget-{_BUDGET:g}.json"),
        *(save_figure(figure, folder / f"{name}.png") for name, figure in pictures.items()),
    ]
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
            }
        )
        return
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
    say(f"wrote {out}/: {', '.join(written)}")


def _make_folder(out: Path) -> Path:
    from trim_pomdp.errors import InputError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made a folder ({error.strerror or error})") from None
    return out


def _pictures(
    model: RoutingModel, planned: Frontier, thresholds: tuple[PlannedPoint, ...], policy: PolicyArtifact, seed: int
) -> dict[str, Figure]:
    import numpy as np

    from trim_pomdp import plots
    from trim_pomdp.belief import FilterBelief
    from trim_pomdp.dynamics.synthetic import draw_sequences
    from trim_pomdp.policies import AlphaVectorRule, MixedRule
    from trim_pomdp.thresholds import THRESHOLDS

    out = {
        "frontier": plots.plot_frontier(planned, thresholds, model.dynamics),
        "densities": plots.plot_densities(model),
    }
    rule = policy.policy.first if isinstance(policy.policy, MixedRule) else policy.policy
    if isinstance(rule, AlphaVectorRule) and rule.score_edges is not None:
        out["policy_map"] = plots.plot_policy_map(rule)
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
    )
    return out


def _examples(batch: SequenceBatch, *, per_outcome: int = 2, steps: int = 4) -> SequenceBatch:
    """The first few right and wrong solutions that are long enough to look at (of any length, if none is)."""
    import numpy as np

    long = batch.lengths >= min(steps, int(batch.lengths.max()))
    chosen = [np.flatnonzero(long & (batch.correct == right))[:per_outcome] for right in (True, False)]
    return batch.take(np.concatenate(chosen))
