"""Can dynamics be fitted, and from what: ``python benchmarks/study_dynamics.py [--repeats N]``.

1. Measured thresholds: fitted on seven rows, the other fourteen predicted, over many choices of the seven.
2. Whether step counts from other problems should join the likelihood.
3. Simulated truth: bias and coverage of the estimators, by number of problems, with the prior and without, also of a
   pair that is far from it and of pilots that lack the strong-only row; outcomes of sequences in particular.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
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
COLUMNS = ["data", "parameter", "truth", "mean estimate", "bias", "spread", "coverage of 95 %", "mean width"]
# A strong model that is hardly stronger and seldom repairs, on scores that raise many false alarms.
FAR = {"weak_success": 0.75, "strong_success": 0.8, "repair": 0.2, "false_alarms": 0.4}
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
        estimate = fit(explanation, [pilot, *extra], n_starts=2, prior=True)
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


def _true_model(**changes: float) -> tp.RoutingModel:
    """A pair of models that is known; the changes are p_w (and p_d), p_s, p_r and e."""
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    values = {"weak_success": 0.88, "strong_success": 0.98, "repair": 0.75, "false_alarms": 0.15, **changes}
    truth = preset.dynamics.replace(
        **{**values, "weak_success": (values["weak_success"],)}, look_right=values["weak_success"], misses=0.0,
        weak_tokens=tp.PerClass(right=50, derailed=45, wrong=90),
        strong_tokens=tp.PerClass(right=55, derailed=60, wrong=80), strong_only_tokens=None,
    )  # fmt: skip
    return tp.RoutingModel(preset.observations, truth)


def _drawn(model: tp.RoutingModel, thresholds: tuple[float, ...], problems: int, repeat: int) -> Pilot:
    rows = draw_pilot(model, thresholds, problems, np.random.default_rng([problems, repeat]))
    return Pilot.of(rows, model.observations, model.dynamics.hazard_array, labelled=False)


def _true_values(model: tp.RoutingModel) -> dict[str, float]:
    truth = model.dynamics
    return {
        "weak_success": truth.weak_success[0], "strong_success": model.strong_success, "repair": model.repair,
        "false_alarms": truth.false_alarms,
    }  # fmt: skip


PAIRS = {"": {}, " of a pair far from the prior": FAR}


def pilots(repeats: int, sizes: Sequence[int]) -> None:
    """Pilots of known pairs, with the prior and without; the data are the same."""
    out: list[list[object]] = []
    for pair, changes in PAIRS.items():
        model = _true_model(**changes)
        for problems in sizes:
            for prior in (True, False):
                found = []
                for repeat in range(repeats):
                    pilot = _drawn(model, (0, 0.05, 0.2, 0.4, 0.6, 0.9, 1), problems, repeat)
                    estimate = fit(FALSE_ALARMS, [pilot], n_starts=1, prior=prior)
                    found.append((estimate.free, profile_intervals(estimate, names=CORE)))
                name = f"7 thresholds × {problems} problems{pair}, {'with' if prior else 'without'} prior"
                out += _summary(name, _true_values(model), CORE, found)
    heading(f"Simulated truth: pilots, with and without prior, {repeats} data sets each")
    table(COLUMNS, out)


def thin_pilots(repeats: int) -> None:
    """Pilots without a strong-only row: what the prior makes of them."""
    out: list[list[object]] = []
    for pair, changes in PAIRS.items():
        model = _true_model(**changes)
        true = {**_true_values(model), **_strong_only(_drawn(model, (1.0,), 2, 0), _true_values(model), model)}
        for thresholds in ((0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3), (0, 0.3), (0.2,)):
            for prior in (True, False):
                values = []
                for repeat in range(repeats):
                    pilot = _drawn(model, thresholds, 500, repeat)
                    estimate = fit(FALSE_ALARMS, [pilot], n_starts=2, prior=prior)
                    values.append({**estimate.free, **_strong_only(pilot, estimate.parameters, None)})
                for name, truth in true.items():
                    found = np.array([item[name] for item in values])
                    rows = ", ".join(f"{t:g}" for t in thresholds)
                    data = f"thresholds {rows} × 500 problems{pair}, {'with' if prior else 'without'} prior"
                    worst = found[np.abs(found - truth).argmax()]
                    out.append([data, name, truth, found.mean(), found.mean() - truth, found.std(), worst])
    heading(f"Simulated truth: pilots without a strong-only row, {repeats} data sets each")
    table(["data", "parameter", "truth", "mean estimate", "bias", "spread", "worst"], out)


def _strong_only(pilot: Pilot, parameters: Mapping[str, float], model: tp.RoutingModel | None) -> dict[str, float]:
    """Accuracy and tokens of strong-only: of a model, or of parameters that were fitted."""
    if model is not None:
        strong = tp.evaluate(tp.StrategyRule(strategy="strong"), model)
        return {"strong-only accuracy": strong.accuracy, "unit of budgets": strong.strong_tokens}
    ends = pilot.end_points(parameters)
    return {
        "strong-only accuracy": float(ends.accuracy[1]),
        "unit of budgets": float(ends.tokens["strong_tokens"][1]),
    }


def recovery(repeats: int) -> None:
    """Draw other data from known dynamics, fit them, and compare."""
    model = _true_model()
    truth = model.dynamics
    true = _true_values(model)
    out: list[list[object]] = []
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
            estimate = fit(transfer, [term], n_starts=1, prior=True)
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
    table(COLUMNS, out)


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
        estimate = fit(explanation, [term(1000, repeat)], n_starts=1, prior=True)
        found.append((estimate.free, profile_intervals(estimate, names=tuple(true))))
    out = _summary("1,000 solutions, profile intervals", true, tuple(true), found)
    heading(f"Outcomes of scored sequences ({repeats} data sets)")
    table(COLUMNS, out)
    rows = []
    for seed in (0, 1):
        data = term(25_000, seed)
        free = fit(explanation, [data], n_starts=1, prior=True).free
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
    parser.add_argument("--only", choices=("held-out", "pilots", "thin", "recovery", "outcomes"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 2000], help="problems of a pilot row")
    options = parser.parse_args()
    repeats: int = options.repeats
    studies = {
        "held-out": lambda: held_out(min(repeats, 20)),
        "pilots": lambda: pilots(repeats, options.sizes),
        "thin": lambda: thin_pilots(repeats),
        "recovery": lambda: recovery(repeats),
        "outcomes": lambda: outcomes_only(min(repeats, 20)),
    }
    for name, study in studies.items():
        if options.only in (None, name):
            study()
