"""What planning is worth, under the best explanation and its rivals: ``python benchmarks/study_planning_worth.py``.

1. Accuracy at equal budgets and at equal regenerations: threshold rule, the paper's rule, planned.
2. What a plan made under one explanation loses if another is true.
3. What cleaner evidence would be worth.
4. How far the plan depends on what thresholds do not identify (misses against repairs, the look-right rate).
5. What the score of a regenerated step would add to the belief.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from report import heading, table

import trim_pomdp as tp
from solvers import EpochModel, solve_epochs, solve_epochs_many
from trim_pomdp.fitting.likelihood import step_dynamics
from trim_pomdp.model.dynamics import RivalFit
from trim_pomdp.planning.frontier import concave_hull, even_tradeoffs
from trim_pomdp.planning.thresholds import hull_at, posterior_curve

PRESET = "qwen2.5-1.5b-7b-math"
BUDGETS = (0.05, 0.1, 0.2, 0.3, 0.4)
REGENERATIONS = (0.25, 0.5, 1.0, 1.5, 2.0)
FINE = tuple(np.linspace(0, 1, 101))


def variants(model: tp.RoutingModel) -> dict[str, tp.RoutingModel]:
    """The explanations to compare, each with its own strong-only tokens as the unit of the budget."""
    changes: dict[str, dict[str, object]] = {
        "best explanation": {},
        "clean scores (e = .02)": {"false_alarms": 0.02},
        "clean, p_r .70, derailed run on to the cap": {
            "false_alarms": 0.02,
            "repair": 0.7,
            "hazard_derailed": (*[0.0] * (model.dynamics.max_steps - 1), 1.0),
        },
        "clean, derailed keep looking wrong (p_d .05)": {"false_alarms": 0.02, "look_right": 0.05},
    }
    out = {}
    for name, change in changes.items():
        dynamics = model.dynamics.replace(strong_only_tokens=None, **change)
        out[name] = tp.RoutingModel(model.observations, dynamics)
    return out


def from_rival(model: tp.RoutingModel, rival: RivalFit) -> tp.RoutingModel:
    """Routing model of a rival explanation as fitted."""
    labelled = rival.name in ("late-end", "free-repair", "as-published")
    dynamics = step_dynamics(rival.name, rival.parameters, model.dynamics.hazard_array, labelled=labelled)
    return tp.RoutingModel(model.observations, dynamics)


def worth(models: dict[str, tp.RoutingModel]) -> None:
    """Accuracy at equal budgets: threshold rule (hull over 101 thresholds), the paper's rule, planned."""
    heading("Accuracy at equal budgets: threshold → paper's rule → planned")
    rows = []
    for name, model in models.items():
        planned = tp.solve_frontier(model, 200).accuracy_at(BUDGETS)
        threshold = hull_at(tp.threshold_curve(model, FINE), BUDGETS)
        paper = hull_at(posterior_curve(model, FINE), BUDGETS)
        rows.append(
            [name, *(f"{t:.3f} → {p:.3f} → {a:.3f}" for t, p, a in zip(threshold, paper, planned, strict=True))]
        )
    table(["model", *(f"budget {b:g}" for b in BUDGETS)], rows)
    heading("Accuracy at equal regenerations per problem: threshold → planned for regenerations")
    rows = []
    for name, model in models.items():
        same_price = tp.RoutingModel(
            model.observations,
            model.dynamics.replace(strong_tokens=tp.PerClass.constant(1.0), strong_only_tokens=None),
        )
        unit = same_price.strong_only_tokens
        budgets = np.array(REGENERATIONS) / unit
        planned = tp.solve_frontier(same_price, 200).accuracy_at(budgets)
        threshold = hull_at(tp.threshold_curve(same_price, FINE), budgets)
        rows.append([name, *(f"{t:.3f} → {a:.3f}" for t, a in zip(threshold, planned, strict=True))])
    table(["model", *(f"{r:g}" for r in REGENERATIONS)], rows)


def mistaken(models: dict[str, tp.RoutingModel]) -> None:
    """Rows: what the plan believed; columns: what is true. Accuracy lost at the true budget of the plan."""
    heading("What a plan loses if another explanation is true (accuracy, at the strong tokens that it then spends)")
    truths = {name: tp.solve_frontier(model, 150) for name, model in models.items()}
    rows = []
    for planned_in, model in models.items():
        cells: list[object] = [planned_in]
        for true_name, truth in models.items():
            losses = []
            for budget in (0.1, 0.2, 0.3):
                there = tp.evaluate(tp.policy_for_budget(model, budget), truth)
                best = float(truths[true_name].accuracy_at([there.budget])[0])
                losses.append((best - there.accuracy, there.budget))
            cells.append(", ".join(f"{loss:.3f} (spends {spent:.2f})" for loss, spent in losses))
        rows.append(cells)
    table(["planned under ↓ true →", *models], rows)


def evidence(model: tp.RoutingModel) -> None:
    """Planned accuracy as false alarms fall."""
    heading("What cleaner evidence would be worth: planned accuracy (threshold rule) as false alarms fall")
    rows = []
    for e in (model.dynamics.false_alarms, 0.2, 0.15, 0.1, 0.05, 0.02, 0.0):
        changed = tp.RoutingModel(model.observations, model.dynamics.replace(false_alarms=e))
        planned = tp.solve_frontier(changed, 150).accuracy_at(BUDGETS)
        threshold = hull_at(tp.threshold_curve(changed, FINE), BUDGETS)
        rows.append([e, *(f"{a:.3f} ({t:.3f})" for a, t in zip(planned, threshold, strict=True))])
    table(["false alarms e", *(f"budget {b:g}" for b in BUDGETS)], rows)


def along_the_ridge(model: tp.RoutingModel) -> None:
    """Models that no threshold sweep can tell apart: how much their frontiers differ."""
    heading("The same threshold curves, other misses: what the plan owes to the assumption d = 0")
    d = model.dynamics
    p_w = d.weak_success[0]
    lift_right, lift_wrong = p_w * (model.strong_success - 1), (1 - p_w) * model.repair
    on_right = lift_right * (1 - d.false_alarms) + lift_wrong * d.misses
    on_wrong = lift_right * d.false_alarms + lift_wrong * (1 - d.misses)
    alarms = p_w * d.false_alarms + (1 - p_w) * (1 - d.misses)
    rows = []
    for misses in (0.0, 0.05, 0.1, 0.15, 0.2):
        e = (alarms - (1 - p_w) * (1 - misses)) / p_w
        x, y = np.linalg.solve_epochs([[1 - e, misses], [e, 1 - misses]], [on_right, on_wrong])
        p_s, p_r = 1 + x / p_w, y / (1 - p_w)
        if not (0 <= p_s <= 1 and 0 <= p_r <= 1):
            continue
        assert d.strong_tokens is not None
        right, wrong = _tokens_along(model, e, misses)
        tokens = tp.PerClass(right=right, derailed=d.strong_tokens.derailed, wrong=wrong)
        changed = tp.RoutingModel(
            model.observations,
            d.replace(misses=misses, false_alarms=e, strong_success=p_s, repair=p_r, strong_tokens=tokens),
        )
        planned = tp.solve_frontier(changed, 150).accuracy_at(BUDGETS)
        threshold = hull_at(tp.threshold_curve(changed, FINE), BUDGETS)
        rows.append([misses, e, p_s, p_r, *(f"{a:.3f} ({t:.3f})" for a, t in zip(planned, threshold, strict=True))])
    table(["misses d", "e", "p_s", "p_r", *(f"budget {b:g}: planned (threshold)" for b in BUDGETS)], rows)


def _tokens_along(model: tp.RoutingModel, e: float, misses: float) -> tuple[float, float]:
    """Strong tokens of right and wrong steps that leave the token column of every threshold as it was."""
    d = model.dynamics
    p_w = d.weak_success[0]
    c_right, _, c_wrong = model.strong_tokens
    on_right = p_w * (1 - d.false_alarms) * c_right + (1 - p_w) * d.misses * c_wrong
    on_wrong = p_w * d.false_alarms * c_right + (1 - p_w) * (1 - d.misses) * c_wrong
    matrix = [[p_w * (1 - e), (1 - p_w) * misses], [p_w * e, (1 - p_w) * (1 - misses)]]
    right, wrong = np.linalg.solve_epochs(matrix, [on_right, on_wrong])
    return float(right), float(wrong)


def regenerated_scores(models: Mapping[str, tp.RoutingModel], bins: int = 6) -> None:
    """The optimum if the belief also used the regenerated step's own score, in a few bins of evidence."""
    heading("Value of the regenerated step's score in the belief (planned accuracy without → with)")
    rows = []
    for name, model in models.items():
        without = tp.solve_frontier(model, 120)
        seen = _with_regenerated_scores(model, bins)
        prices = even_tradeoffs(model, 40)
        solutions = solve_epochs_many(seen, np.array([model.weights(float(p)) for p in prices]), gap=2e-2)
        budget, accuracy = concave_hull(
            np.array([s.components[1] for s in solutions]) / model.strong_only_tokens,
            np.array([s.components[0] for s in solutions]),
        )
        with_it = np.interp(BUDGETS, budget, accuracy)
        plain = without.accuracy_at(BUDGETS)
        rows.append([name, *(f"{a:.3f} → {b:.3f}" for a, b in zip(plain, with_it, strict=True))])
    table(["model", *(f"budget {b:g}" for b in BUDGETS)], rows)


def _with_regenerated_scores(model: tp.RoutingModel, bins: int) -> EpochModel:
    """The routing POMDP with an observation after the action: a coarse bin of the regenerated step's score."""
    base = model.epoch_model
    right, derailed, wrong = model.emission
    order = np.cumsum(0.5 * (right + wrong))
    group = np.minimum((order * bins).astype(int), bins - 1)
    seen = np.stack([np.bincount(group, row, minlength=bins) for row in (right, derailed, wrong)])
    T, K = base.joint.shape[:2]
    joint = np.zeros((T, K, 2, bins, 2, 2))
    joint[:, :, 0, 0] = base.joint[:, :, 0, 0]
    came_out_right = base.joint[:, :, 1, 0, 0, 0]
    came_out_wrong = base.joint[:, :, 1, 0, 0, 1]
    was_derailed = base.joint[:, :, 1, 0, 1]  # stayed so, or found back
    joint[:, :, 1, :, 0, 0] = came_out_right[..., None] * seen[0]
    joint[:, :, 1, :, 0, 1] = came_out_wrong[..., None] * seen[2]
    joint[:, :, 1, :, 1] = was_derailed[:, :, None] * seen[1][:, None]
    return EpochModel(
        joint=joint,
        reward=base.reward,
        successor=np.repeat(base.successor, bins, axis=3),
        children=base.children,
        table_of=base.table_of,
        terminal=base.terminal,
        start=base.start,
        component_names=base.component_names,
        actions=base.actions,
    )


def main() -> None:
    """Print all tables."""
    model = tp.load_preset(PRESET).routing_model()
    solve_epochs(model.epoch_model, model.weights(0.1), gap=1.0)
    models = variants(model)
    worth(models)
    fit = model.dynamics.fit
    assert fit is not None
    able = [rival for rival in fit.rivals if rival.name != "difficulty-spread"]
    mistaken({rival.name: from_rival(model, rival) for rival in able})
    evidence(model)
    along_the_ridge(model)
    regenerated_scores(models)


if __name__ == "__main__":
    main()
