"""Pilot sweeps: rival explanations of measured thresholds, the best of them, its intervals and goodness of fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.outcomes import PilotRow, select
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.contradictions import ON_STEP_COUNTS, contradictions, not_converged, not_stronger
from trim_pomdp.fitting.estimation import Estimate, fit, prior_decides, profile_intervals
from trim_pomdp.fitting.likelihood import Pilot, Sequences, Term, step_dynamics
from trim_pomdp.fitting.parameters import (
    EXPLANATIONS,
    FALSE_ALARMS,
    TRANSFER,
    TRANSFER_FREE,
    WIDER,
    Explanation,
)
from trim_pomdp.fitting.sources import Progress, Sources, step_terms
from trim_pomdp.model.belief import calibrate_minimum
from trim_pomdp.model.dynamics import Check, FitReport, Interval, RivalFit, StepDynamics
from trim_pomdp.model.observations import ObservationModel

FloatArray = NDArray[np.float64]
# Held-out log-likelihoods per row that differ by less say nothing about which explanation is better.
_ALIKE_PER_ROW = 0.1


def fit_pilot(
    name: str,
    sources: Sources,
    observations: ObservationModel,
    hazard: FloatArray,
    explanation: str,
    fit_thresholds: Sequence[float] | None,
    joint: bool,
    with_rivals: bool,
    intervals: bool,
    seed: int,
    progress: Progress,
) -> StepDynamics:
    """Fit the explanations of a pilot, with scored sequences and (`joint`) step counts where there are any.

    The arguments are those of `fit_dynamics`; `hazard` has the shape (T,).

    Raises
    ------
    InputError
        If a threshold has no row, or the explanation asks for densities that the observations lack.
    """
    chosen_rows = _split(sources.pilot, fit_thresholds)
    others = [row for row in sources.pilot if row not in chosen_rows]
    steps = step_terms(sources) if joint else []
    has_labelled = observations.step_emission.derailed is not None
    estimates: dict[str, Estimate] = {}
    rivals: dict[str, RivalFit] = {}
    needed = {explanation, WIDER.get(explanation, explanation) if intervals else explanation}
    for candidate in EXPLANATIONS.values():
        if not (with_rivals or explanation == "best" or candidate.name in needed):
            continue
        labelled = candidate.derailed_emission == "labelled"
        if labelled and not has_labelled:
            if candidate.name == explanation:
                raise InputError(
                    f"explanation {explanation!r} takes the S1 density as labelled, which the observations lack"
                )
            continue
        progress(f"fitting: {candidate.description}")
        extra: list[Term] = list(steps)
        if sources.sequences is not None:
            extra.append(Sequences(sources.sequences, observations, tuple(hazard.tolist()), labelled))
        pilot = Pilot.of(chosen_rows, observations, hazard, labelled=labelled)
        estimate = fit(candidate, [pilot, *extra], n_starts=2, seed=seed, prior=True)
        estimates[candidate.name] = estimate
        rivals[candidate.name] = _rival(
            candidate,
            estimate,
            pilot,
            Pilot.of(others, observations, hazard, labelled=labelled) if others else None,
        )
    best = _best(rivals) if explanation == "best" else explanation
    estimate = estimates[best]
    ranges: dict[str, Interval] = {}
    notes = list(_pilot_notes(estimate, rivals[best]))
    if intervals:
        wider = estimates[WIDER.get(best, best)]
        ranges = _intervals(estimate, wider, progress)
        if estimate.explanation.tied.get("look_right") and TRANSFER_FREE.name in estimates:
            ranges |= _intervals(estimate, estimates[TRANSFER_FREE.name], progress, names=("look_right",))
        notes += _conditional_notes(estimate, wider, progress)
    return _pilot_dynamics(
        name,
        sources,
        observations,
        hazard,
        estimate,
        fitted={row.threshold for row in chosen_rows},
        troubles={item: estimates[item].trouble for item in estimates},
        report=FitReport(
            explanation=best,
            sources=tuple(term.name for term in estimate.terms),
            log_likelihood=estimate.log_likelihood,
            intervals=ranges,
            unidentified=_unidentified(estimate, ranges),
            prior_decides=prior_decides(estimate),
            rivals=tuple(sorted(rivals.values(), key=_merit, reverse=True)),
            notes=tuple(notes),
        ),
    )


def _split(pilot: Sequence[PilotRow], thresholds: Sequence[float] | None) -> list[PilotRow]:
    return list(pilot) if thresholds is None else select(pilot, thresholds)


def _rival(candidate: Explanation, estimate: Estimate, pilot: Pilot, held_out: Pilot | None) -> RivalFit:
    fitted = (
        pilot
        if held_out is None
        else replace(pilot, rows=pilot.rows + held_out.rows, below=np.vstack([pilot.below, held_out.below]))
    )
    everything = fitted.predict(estimate.parameters)
    routed = np.array([row.threshold < 1 for row in fitted.rows])
    routed |= not routed.any()
    outside = held_out.predict(estimate.parameters) if held_out is not None else None
    ends = pilot.end_points(estimate.parameters)
    return RivalFit(
        name=candidate.name,
        description=candidate.description,
        parameters={key: round(value, 6) for key, value in estimate.parameters.items()},
        log_likelihood=estimate.log_likelihood,
        free_parameters=len(estimate.free),
        accuracy_rmse=_rmse(everything.accuracy[routed], _observed(fitted, "accuracy")[routed]),
        regenerations_rmse=_rmse(everything.regenerations[routed], _observed(fitted, "regenerations")[routed]),
        held_out_accuracy_rmse=None
        if outside is None or held_out is None
        else _rmse(outside.accuracy, _observed(held_out, "accuracy")),
        held_out_regenerations_rmse=None
        if outside is None or held_out is None
        else _rmse(outside.regenerations, _observed(held_out, "regenerations")),
        held_out_log_likelihood=None
        if held_out is None
        else float(held_out.row_log_likelihoods(estimate.parameters).mean()),
        weak_only_accuracy=float(ends.accuracy[0]),
        strong_only_accuracy=float(ends.accuracy[1]),
        visible_tokens_error=_visible_tokens_error(fitted, estimate.parameters),
    )


def _observed(pilot: Pilot, column: str) -> FloatArray:
    return np.array([getattr(row, column) for row in pilot.rows], dtype=np.float64)


def _rmse(a: FloatArray, b: FloatArray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _visible_tokens_error(pilot: Pilot, parameters: Mapping[str, float]) -> float | None:
    """Largest relative error of kept + strong tokens over the rows that have both columns."""
    predicted = pilot.predict(parameters)
    errors = [
        abs(
            (predicted.tokens["kept_tokens"][i] + predicted.tokens["strong_tokens"][i])
            / (row.kept_tokens + row.strong_tokens)
            - 1
        )
        for i, row in enumerate(pilot.rows)
        if row.kept_tokens is not None and row.strong_tokens is not None
    ]
    return float(max(errors)) if errors else None


def _merit(rival: RivalFit) -> float:
    """Held-out log-likelihood, or minus AIC/2 where nothing is held out."""
    if rival.held_out_log_likelihood is not None:
        return rival.held_out_log_likelihood
    return rival.log_likelihood - rival.free_parameters


def _best(rivals: Mapping[str, RivalFit]) -> str:
    """The explanation with the best merit; of those that the data cannot tell from it, that with the fewest knobs."""
    able = [rivals[name] for name in EXPLANATIONS if name in rivals]
    top = max(able, key=_merit)
    held_out = top.held_out_log_likelihood is not None
    alike = [rival for rival in able if _merit(top) - _merit(rival) <= (_ALIKE_PER_ROW if held_out else 0.0)]
    return min(alike, key=lambda rival: (rival.free_parameters, -_merit(rival))).name


def _intervals(
    estimate: Estimate, wider: Estimate, progress: Progress, *, names: Sequence[str] | None = None
) -> dict[str, Interval]:
    """Profile intervals under the wider explanation, around the estimates of the chosen one."""
    ranges = profile_intervals(wider, names=names, progress=lambda item: progress(f"interval: {item}"))
    values = estimate.parameters
    return {
        name: item.model_copy(
            update={
                "estimate": values[name],
                "low": min(item.low, values[name]),
                "high": max(item.high, values[name]),
            }
        )
        for name, item in ranges.items()
    }


def _conditional_notes(estimate: Estimate, wider: Estimate, progress: Progress) -> list[str]:
    """What the intervals shrink to if the assumption of the chosen explanation is granted."""
    assumed = {
        name: value
        for name, value in estimate.explanation.fixed.items()
        if name in wider.explanation.free and name not in estimate.explanation.free
    }
    if not assumed:
        return []
    core = ("weak_success", "strong_success", "repair", "false_alarms")
    narrow = profile_intervals(
        estimate, names=core, progress=lambda item: progress(f"interval given the assumption: {item}")
    )
    granted = ", ".join(f"{name} = {value:g}" for name, value in assumed.items())
    spans = ", ".join(f"{name} {item.low:.3f} … {item.high:.3f}" for name, item in narrow.items())
    return [f"thresholds alone cannot tell misses from failed repairs; granted {granted}: {spans}"]


def _unidentified(estimate: Estimate, ranges: Mapping[str, Interval]) -> tuple[str, ...]:
    assumed = [*estimate.explanation.tied]
    if estimate.explanation.name in (FALSE_ALARMS.name, TRANSFER.name, TRANSFER_FREE.name):
        assumed += ["repair", "misses"]  # the ridge (see dynamics.parameters), whatever the intervals say
    wide = [name for name, item in ranges.items() if not item.identified]
    return tuple(dict.fromkeys([*wide, *assumed]))


def _pilot_notes(estimate: Estimate, rival: RivalFit) -> tuple[str, ...]:
    notes = [
        "each pilot row is taken as a sample of its own; rows measured on the same problems share their luck, so "
        "intervals are somewhat too narrow"
    ]
    if rival.held_out_accuracy_rmse is not None:
        notes.append(
            f"held-out rows: accuracy RMSE {rival.held_out_accuracy_rmse:.4f}, "
            f"regenerations RMSE {rival.held_out_regenerations_rmse:.4f}"
        )
    if "look_right" in estimate.explanation.tied:
        notes.append("p_d = p_w by assumption: thresholds alone do not identify it (see the rival with p_d free)")
    return tuple(notes)


def _pilot_dynamics(
    name: str,
    sources: Sources,
    observations: ObservationModel,
    hazard: FloatArray,
    estimate: Estimate,
    *,
    fitted: set[float],
    troubles: Mapping[str, str | None],
    report: FitReport,
) -> StepDynamics:
    values = estimate.parameters
    labelled = estimate.explanation.derailed_emission == "labelled"
    pilot = Pilot.of(sources.pilot, observations, hazard, labelled=labelled)
    ends = pilot.end_points(values)
    unit = float(ends.tokens["strong_tokens"][1])
    checks = _pilot_checks(sources, pilot, values, fitted)
    warnings = (
        *_contradictions(sources, checks, accuracy=float(ends.accuracy[1]), unit=unit),
        *not_stronger(values["weak_success"], values["strong_success"]),
        *not_converged(troubles, "try another --seed, more rows, or one --explanation with --no-rivals"),
    )
    return step_dynamics(name, values, hazard, labelled=labelled).replace(
        provenance=sources.provenance,
        strong_only_tokens=unit or None,
        running_minimum=None
        if sources.sequences is None
        else calibrate_minimum(sources.sequences, fitted_on="outcomes of the scored sequences"),
        fit=report.model_copy(update={"checks": checks, "warnings": warnings}),
    )


def _contradictions(sources: Sources, checks: Sequence[Check], *, accuracy: float, unit: float) -> tuple[str, ...]:
    """What of the data the fit contradicts, and that the strong-only row is missing, the worst first."""
    rows = {row.threshold for row in sources.pilot}
    remedies: dict[float | None, str] = {
        threshold: f"measure the {name} row (threshold {threshold:g}) and add it to --pilot"
        for threshold, name in ((1.0, "strong-only"), (0.0, "weak-only"))
        if threshold not in rows
    }
    counts = "see whether the step counts are of these two models; if so, the pilot's problems are not like theirs"
    own = "see whether all rows are of the same models, problems and step cap"
    elsewhere = [check for check in checks if check.quantity.endswith(ON_STEP_COUNTS)]
    lines = [
        *contradictions(elsewhere, remedies, counts),
        *contradictions([check for check in checks if check not in elsewhere], {}, own),
    ]
    if 1.0 not in rows and not any(remedies[1.0] in line for line in lines):
        tokens = f" and the unit of budgets ({unit:.0f} strong tokens per problem)" if unit else ""
        lines.append(
            f"no strong-only row: strong-only accuracy ({accuracy:.2f}){tokens} lean on the prior: {remedies[1.0]}"
        )
    return tuple(lines)


def _pilot_checks(sources: Sources, pilot: Pilot, values: Mapping[str, float], fitted: set[float]) -> tuple[Check, ...]:
    predicted = pilot.predict(values)
    checks = []
    for i, row in enumerate(pilot.rows):
        implied = float(predicted.accuracy[i])
        columns: list[tuple[str, float, float | None, float]] = [
            ("accuracy", implied, row.accuracy, implied * (1 - implied)),
            (
                "steps" if row.threshold == 1 else "regenerations",
                float(predicted.regenerations[i]),
                row.regenerations if row.threshold > 0 else None,
                float(predicted.regenerations_variance[i]),
            ),
        ]
        columns += [
            (
                column.replace("_", " "),
                float(predicted.tokens[column][i]),
                getattr(row, column),
                float(predicted.tokens_variance[column][i]),
            )
            for column in predicted.tokens
            if (column == "strong_tokens") == (row.threshold == 1) or 0 < row.threshold < 1
        ]
        checks += [
            Check(
                quantity=quantity,
                threshold=row.threshold,
                implied=implied_value,
                observed=observed,
                standard_error=float(np.sqrt(max(variance, 0.0) / row.problems)),
                used_in_fit=row.threshold in fitted,
            )
            for quantity, implied_value, observed, variance in columns
            if observed is not None and not (row.threshold == 0 and quantity in ("strong tokens", "discarded tokens"))
        ]
    for who, counts, rule in (("weak", sources.weak_counts, 0), ("strong", sources.strong_counts, 1)):
        if counts is not None:
            checks.append(
                Check(
                    quantity=f"{who}-only: {ON_STEP_COUNTS}",
                    implied=float(pilot.end_points(values).accuracy[rule]),
                    observed=counts.accuracy,
                    standard_error=float(np.sqrt(counts.accuracy * (1 - counts.accuracy) / counts.n_solutions)),
                    used_in_fit=False,
                )
            )
    return tuple(checks)
