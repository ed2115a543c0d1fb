"""Can dynamics be fitted, and from what: ``python benchmarks/study_dynamics.py [--repeats N]``.

1. Measured thresholds: fitted on seven rows, the other fourteen predicted, over many choices of the seven.
2. Whether step counts from other problems should join the likelihood.
3. Simulated truth: bias and coverage of the estimators, by number of problems; outcomes of sequences in particular.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from pilot_rivals import FREE_REPAIR, fit_spread, published
from report import data_folder, heading, table

import trim_pomdp as tp
from observation_models import reliability_curve
from trim_pomdp.data.outcomes import PilotRow
from trim_pomdp.fitting.dynamics import SEQUENCE_CANDIDATES, resample_problems
from trim_pomdp.fitting.estimation import fit, profile_intervals
from trim_pomdp.fitting.likelihood import Pilot, Sequences, Term, labelled_steps, strong_steps, weak_steps
from trim_pomdp.fitting.parameters import EXPLANATIONS, FALSE_ALARMS, LOCAL, Explanation
from trim_pomdp.model.belief import FilterBelief
from trim_pomdp.model.hazard import trials_from_counts
from trim_pomdp.planning.synthetic import draw_labelled, draw_pilot, draw_sequences, draw_step_counts

WEAK, STRONG = "qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct"
SPREAD = "difficulty-spread"
CORE = ("weak_success", "strong_success", "repair", "false_alarms")


def held_out(repeats: int) -> None:
    """Predict fourteen measured rows from seven, for random choices of the inner five."""
    folder = data_folder()
    observations = tp.load_preset("qwen2.5-1.5b-7b-math").observations
    counts = tp.read_step_counts(folder / "trim_step_counts.json.gz")
    weak, strong = counts.of(WEAK), counts.of(STRONG)
    hazard = trials_from_counts(weak, 30).estimate()
    rows = tp.read_pilot(folder / "trim_measured_thr.jsonl")
    inner = [row.threshold for row in rows if 0 < row.threshold < 1]
    rng = np.random.default_rng(0)
    choices = [sorted([0.0, 1.0, *rng.choice(inner, 5, replace=False).tolist()]) for _ in range(repeats)]
    candidates: list[tuple[str, Explanation, bool]] = [
        (name, item, False) for name, item in {**EXPLANATIONS, FREE_REPAIR.name: FREE_REPAIR}.items()
    ]
    candidates.append(("as-published", published(weak.next_step_accuracy, strong.next_step_accuracy), False))
    candidates.append((SPREAD, LOCAL, False))
    candidates.append(("false-alarms + step counts of MATH train", FALSE_ALARMS, True))
    out = []
    for name, explanation, joint in candidates:
        extra: list[Term] = [weak_steps(weak), strong_steps(strong)] if joint else []
        results = np.array(
            [_predict(explanation, rows, chosen, observations, hazard, extra, name) for chosen in choices]
        )
        out.append(
            [name, *(f"{m:.3f} ({w:.3f})" for m, w in zip(results.mean(axis=0), results.max(axis=0), strict=True))]
        )
    heading(f"Measured thresholds: seven rows fitted, fourteen predicted, {repeats} choices; mean (worst)")
    table(
        ["explanation", "accuracy RMSE", "regenerations RMSE", "visible tokens, largest error", "strong-only error",
         "− log-likelihood per row"],
        out,
    )  # fmt: skip


def _predict(  # type: ignore[no-untyped-def]
    explanation: Explanation,
    rows: list[PilotRow],
    chosen: list[float],
    observations,
    hazard,
    extra: list[Term],
    name: str,
) -> list[float]:
    labelled = explanation.derailed_emission == "labelled"
    inside = [row for row in rows if row.threshold in chosen]
    outside = [row for row in rows if row.threshold not in chosen]
    pilot = Pilot.of(inside, observations, hazard, labelled=labelled)
    held = Pilot.of(outside, observations, hazard, labelled=labelled)
    if name == SPREAD:
        estimate, spread = fit_spread(pilot)
        held = replace(spread, rows=held.rows, below=held.below)
    else:
        estimate = fit(explanation, [pilot, *extra], n_starts=2)
    p = held.predict(estimate.parameters)

    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in outside])

    visible = (p.tokens["kept_tokens"] + p.tokens["strong_tokens"]) / (
        column("kept_tokens") + column("strong_tokens")
    ) - 1
    ends = held.end_points(estimate.parameters)
    return [
        float(np.sqrt(np.mean((p.accuracy - column("accuracy")) ** 2))),
        float(np.sqrt(np.mean((p.regenerations - column("regenerations")) ** 2))),
        float(np.abs(visible).max()),
        abs(float(ends.accuracy[1]) - rows[-1].accuracy),
        -float(held.row_log_likelihoods(estimate.parameters).mean()),
    ]


def recovery(repeats: int) -> None:
    """Draw data from known dynamics, fit them, and compare."""
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    truth = preset.dynamics.replace(
        weak_success=(0.88,), look_right=0.88, strong_success=0.98, repair=0.75, false_alarms=0.15, misses=0.0,
        weak_tokens=tp.PerClass(right=50, derailed=45, wrong=90),
        strong_tokens=tp.PerClass(right=55, derailed=60, wrong=80), strong_only_tokens=None,
    )  # fmt: skip
    model = tp.RoutingModel(preset.observations, truth)
    true = {"weak_success": 0.88, "strong_success": 0.98, "repair": 0.75, "false_alarms": 0.15}
    out: list[list[object]] = []
    for problems in (100, 500, 2000):
        found = []
        for repeat in range(repeats):
            rows = draw_pilot(
                model, (0, 0.05, 0.2, 0.4, 0.6, 0.9, 1), problems, np.random.default_rng([problems, repeat])
            )
            pilot = Pilot.of(rows, model.observations, truth.hazard_array, labelled=False)
            estimate = fit(FALSE_ALARMS, [pilot], n_starts=1)
            found.append((estimate.free, profile_intervals(estimate, names=CORE)))
        out += _summary(f"pilot, 7 thresholds × {problems} problems", true, CORE, found)
    for problems in (250, 1000):
        found = []
        for repeat in range(repeats):
            rng = np.random.default_rng([problems, repeat])
            weak = draw_step_counts(truth, problems, rng)
            estimate = fit(Explanation("w", "", ("weak_success",)), [weak_steps(weak)], n_starts=1)
            found.append((estimate.free, profile_intervals(estimate)))
        out += _summary(f"step counts, {problems} solutions", true, ("weak_success",), found)
        found = []
        for repeat in range(repeats):
            items = draw_labelled(truth, problems, np.random.default_rng([problems, repeat, 1]))
            estimate = fit(Explanation("w", "", ("weak_success",)), [labelled_steps(items)], n_starts=1)
            found.append((estimate.free, profile_intervals(estimate)))
        out += _summary(f"labelled steps, {problems} solutions", true, ("weak_success",), found)
        found = []
        transfer = SEQUENCE_CANDIDATES[2]
        for repeat in range(min(repeats, 20)):
            rng = np.random.default_rng([problems, repeat, 2])
            batch = draw_sequences(model, problems, rng)
            term = Sequences(batch, model.observations, truth.hazard)
            estimate = fit(transfer, [term], n_starts=1)
            draws = [
                fit(transfer, [Sequences(resample_problems(batch, rng), model.observations, truth.hazard)],
                    start=estimate.free, n_starts=1).free
                for _ in range(20)
            ]  # fmt: skip
            spans = {}
            for name in ("weak_success", "false_alarms"):
                low, high = np.quantile([draw[name] for draw in draws], [0.025, 0.975])
                spans[name] = _Span(float(low), float(high))
            found.append((estimate.free, spans))
        out += _summary(f"scored sequences with outcomes, {problems}", true, ("weak_success", "false_alarms"), found)
    heading(f"Simulated truth: {repeats} data sets each (sequences: {min(repeats, 20)}, 20 bootstraps)")
    table(["data", "parameter", "truth", "mean estimate", "bias", "spread", "coverage of 95 %", "mean width"], out)


def outcomes_only(repeats: int) -> None:
    """What outcomes of scored sequences tell: profile coverage at 1,000 solutions, estimates at 25,000."""
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    truth = preset.dynamics.replace(weak_success=(0.88,), look_right=0.88, false_alarms=0.15, misses=0.0)
    model = tp.RoutingModel(preset.observations, truth)
    true = {"weak_success": 0.88, "false_alarms": 0.15}
    explanation = SEQUENCE_CANDIDATES[2]

    def term(n: int, seed: int) -> Sequences:
        return Sequences(draw_sequences(model, n, np.random.default_rng([n, seed])), model.observations, truth.hazard)

    found = []
    for repeat in range(repeats):
        estimate = fit(explanation, [term(1000, repeat)], n_starts=1)
        found.append((estimate.free, profile_intervals(estimate, names=tuple(true))))
    out = _summary("1,000 solutions, profile intervals", true, tuple(true), found)
    heading(f"Outcomes of scored sequences ({repeats} data sets)")
    table(["data", "parameter", "truth", "mean estimate", "bias", "spread", "coverage of 95 %", "mean width"], out)
    rows = []
    for seed in (0, 1):
        data = term(25_000, seed)
        free = fit(explanation, [data], n_starts=1).free
        p = FilterBelief(model.observations, truth).probability_right(data.batch)
        curve = reliability_curve(p, data.batch.correct, bins=5)
        worst = float(np.abs(curve.predicted - curve.observed).max())
        rows.append([seed, free["weak_success"], free["false_alarms"], free["misses"], worst])
    table(["25,000 solutions, seed", "p_w (.88)", "e (.15)", "d (0)", "filter's worst miscalibration in fifths"], rows)


class _Span:
    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high


def _summary(data: str, true: dict[str, float], names: tuple[str, ...], found: list) -> list[list[object]]:  # type: ignore[type-arg]
    rows = []
    for name in names:
        estimates = np.array([free[name] for free, _ in found])
        spans = [ranges[name] for _, ranges in found]
        inside = np.mean([span.low <= true[name] <= span.high for span in spans])
        width = np.mean([span.high - span.low for span in spans])
        rows.append(
            [data, name, true[name], estimates.mean(), estimates.mean() - true[name], estimates.std(), inside, width]
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    held_out(min(repeats, 20))
    recovery(repeats)
    outcomes_only(min(repeats, 20))
