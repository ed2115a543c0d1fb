"""From data to `StepDynamics`: which source informs what, rival explanations, goodness of fit.

* Termination hazards come from step counts, labelled solutions or the lengths of scored sequences, in closed form; a
  pilot alone tells their mean only, and a constant hazard is assumed.
* A pilot sweep fits everything else. Step counts, where the pilot is on other problems, describe other problems:
  they join the likelihood only on request (`joint`), since they predicted held-out pilot rows worse.
* Scored sequences of weak-only solutions tell p_w, p_d, e and d, and leave the strong model's parameters unset. Which
  of the four are worth freeing is decided by cross-validation over problems.
* Live rollouts of both models stand alone and tell all of it: `trim_pomdp.fitting.rollout_fitting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from trim_pomdp.artifacts import Provenance
from trim_pomdp.data.outcomes import PilotRow, StepCounts, select
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.estimation import WIDE_PROBABILITY, Estimate, bootstrap_intervals, fit, profile_intervals
from trim_pomdp.fitting.likelihood import (
    Pilot,
    Sequences,
    Term,
    labelled_steps,
    step_dynamics,
    strong_steps,
    weak_steps,
)
from trim_pomdp.fitting.parameters import (
    EXPLANATIONS,
    FALSE_ALARMS,
    LOCAL,
    SEQUENCE_CANDIDATES,
    SPREAD,
    TRANSFER,
    TRANSFER_FREE,
    WIDER,
    Explanation,
    published,
)
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.model.belief import FilterBelief, calibrate_minimum
from trim_pomdp.model.dynamics import Check, FitReport, Interval, RivalFit, StepDynamics
from trim_pomdp.model.hazard import (
    HAZARDS,
    HazardTrials,
    error_trials_from_counts,
    error_trials_from_labels,
    trials_from_counts,
    trials_from_labels,
    trials_from_lengths,
)
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.sequences import SequenceBatch

FloatArray = NDArray[np.float64]
Progress = Callable[[str], None]
MAX_STEPS = 30
_FOLDS = 5
# Held-out log-likelihoods per row that differ by less say nothing about which explanation is better.
_ALIKE_PER_ROW = 0.1


@dataclass(frozen=True)
class Sources:
    """The data that dynamics can be fitted on; any non-empty combination, but for rollouts, which stand alone.

    Attributes
    ----------
    weak_counts, strong_counts : StepCounts, optional
        Step counts with outcomes of the two models.
    pilot : sequence of PilotRow
        Measured thresholds.
    sequences : SequenceBatch, optional
        Scored weak-only solutions with outcomes.
    labelled : sequence of LabelledSolution
        Weak-only solutions with a known first error.
    rollouts : Rollouts, optional
        Live rollouts of both models.
    provenance : tuple of Provenance
        The files they came from.
    """

    weak_counts: StepCounts | None = None
    strong_counts: StepCounts | None = None
    pilot: Sequence[PilotRow] = ()
    sequences: SequenceBatch | None = None
    labelled: Sequence[LabelledSolution] = ()
    rollouts: Rollouts | None = None
    provenance: tuple[Provenance, ...] = ()


def fit_dynamics(
    name: str,
    sources: Sources,
    observations: ObservationModel,
    *,
    explanation: str = "best",
    fit_thresholds: Sequence[float] | None = None,
    joint: bool = False,
    by_step: bool = False,
    class_hazards: bool = False,
    labels: bool = False,
    rivals: bool = True,
    intervals: bool = True,
    max_steps: int = MAX_STEPS,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> StepDynamics:
    """Estimate step dynamics by maximum likelihood.

    Parameters
    ----------
    name : str
        Name of the artifact.
    sources : Sources
        The data.
    observations : ObservationModel
        Score densities, before transfer.
    explanation : str
        One of `EXPLANATIONS`, or ``"best"``: of all, the one with the best held-out log-likelihood (or, with nothing
        held out, the best AIC).
    fit_thresholds : sequence of float, optional
        Pilot rows to fit on; the others are held out and predicted. All rows by default.
    joint : bool
        Whether step counts join the likelihood beside a pilot.
    by_step : bool
        Whether weak success depends on the step index; needs step counts or labelled solutions, and nothing else.
        Rollouts decide that themselves, unless it is asked for.
    class_hazards : bool
        Whether derailed steps and first errors have hazards of their own; needs labelled solutions. Rollouts decide
        that themselves, unless it is asked for.
    labels : bool
        Whether to use the truth where rollouts have it, in place of outcomes.
    rivals : bool
        Whether to fit the other explanations too, for comparison; ``"best"`` needs them.
    intervals : bool
        Whether to compute intervals (a minute or two).
    max_steps : int
        Step cap.
    seed : int
        Of starting points, folds and bootstrap.
    progress : callable
        Told what is being done.

    Raises
    ------
    InputError
        If the data are empty or inform too little, or an explanation or a threshold is unknown.
    """
    if explanation != "best" and explanation not in EXPLANATIONS:
        raise InputError(f"unknown explanation {explanation!r}; there are best, {', '.join(EXPLANATIONS)}")
    if sources.rollouts is not None:
        counts = (sources.weak_counts, sources.strong_counts)
        if any((*counts, sources.pilot, sources.sequences is not None, sources.labelled)):
            raise InputError("rollouts stand alone; give no step counts, pilot, sequences or labelled solutions beside")
        return fit_rollouts(
            name,
            sources.rollouts,
            observations,
            labels=labels,
            class_hazards=class_hazards,
            by_step=by_step,
            intervals=intervals,
            max_steps=max_steps,
            seed=seed,
            provenance=sources.provenance,
            progress=progress,
        )
    if labels:
        raise InputError("labels are those of rollouts, and none are given")
    trials = _hazard(sources, max_steps)
    hazard = _constant_hazard(sources, max_steps) if trials is None else trials.estimate()
    if explanation == SPREAD.name:
        raise InputError(
            f"{SPREAD.name} is a mixture over problems, which one dynamics cannot hold; it is a rival only"
        )
    if not rivals and explanation == "best":
        raise InputError("the best explanation is chosen among rivals; name one to do without them")
    if by_step and (sources.pilot or sources.sequences is not None):
        raise InputError("weak success by step can be fitted on step counts or labelled solutions alone")
    if class_hazards and not sources.labelled:
        raise InputError("hazards by class need labelled solutions (--labelled)")
    if class_hazards and (sources.pilot or sources.sequences is not None):
        raise InputError("hazards by class can be fitted on labelled solutions and step counts alone")
    if sources.pilot:
        dynamics = _fit_pilot(
            name, sources, observations, hazard, explanation, fit_thresholds, joint, rivals, intervals, seed, progress
        )
    elif sources.sequences is not None:
        dynamics = _fit_sequences(name, sources, observations, hazard, intervals, seed, progress)
    else:
        dynamics = _fit_steps(name, sources, hazard, by_step, intervals, seed)
    if trials is None:
        return _with_assumed_hazard(dynamics)
    spans = _exact_intervals("hazard", dynamics.hazard, trials)
    if class_hazards:
        by_class = dict(zip(HAZARDS, trials_from_labels(sources.labelled, max_steps), strict=True))
        hazards = {name: tuple(item.estimate().tolist()) for name, item in by_class.items()}
        dynamics, spans = dynamics.model_copy(update=hazards), {}
        for name, item in by_class.items():
            spans |= _exact_intervals(name, hazards[name], item)
    if by_step:
        spans |= _exact_intervals("weak_success", dynamics.weak_success, _right_trials(sources, max_steps))
    return _with_intervals(dynamics, spans) if intervals else dynamics


def _with_assumed_hazard(dynamics: StepDynamics) -> StepDynamics:
    """Say that the shape of the hazard is assumed."""
    assert dynamics.fit is not None
    note = "no data tell when solutions end: a constant hazard, with the mean number of steps of strong-only"
    report = dynamics.fit.model_copy(
        update={"unidentified": (*dynamics.fit.unidentified, "hazard"), "notes": (*dynamics.fit.notes, note)}
    )
    return dynamics.model_copy(update={"fit": report})


def _exact_intervals(name: str, values: Sequence[float], trials: HazardTrials) -> dict[str, Interval]:
    """Exact (Clopper-Pearson) intervals of a rate at every step before the cap."""
    low, high = trials.interval()
    return {
        f"{name}.{t + 1}": Interval(
            estimate=value,
            low=min(float(low[t]), value),
            high=max(float(high[t]), value),
            method="exact",
            identified=bool(high[t] - low[t] <= WIDE_PROBABILITY),
        )
        for t, value in enumerate(values[:-1])
    }


def _with_intervals(dynamics: StepDynamics, spans: Mapping[str, Interval]) -> StepDynamics:
    assert dynamics.fit is not None
    report = dynamics.fit.model_copy(update={"intervals": {**dynamics.fit.intervals, **spans}})
    return dynamics.model_copy(update={"fit": report})


def _constant_hazard(sources: Sources, max_steps: int) -> FloatArray:
    """The constant hazard with as many steps on average as strong-only was measured to take."""
    steps = next((row.regenerations for row in sources.pilot if row.threshold == 1), None)
    if steps is None or not 1 < steps < max_steps:
        raise InputError(
            "nothing tells when solutions end: give step counts (--step-counts), labelled solutions, scored sequences, "
            f"or a pilot row at threshold 1 with between 1 and {max_steps} steps"
        )
    going_on = np.arange(max_steps)
    h = brentq(lambda x: float(((1.0 - x) ** going_on).sum()) - steps, 0.0, 1.0)
    return np.append(np.full(max_steps - 1, h), 1.0)


def _hazard(sources: Sources, max_steps: int) -> HazardTrials | None:
    """The weak model's own counts first; a draft ends the solution, whoever wrote the steps before."""
    if sources.weak_counts is not None:
        return trials_from_counts(sources.weak_counts, max_steps)
    if sources.labelled:
        right, derailed, wrong = trials_from_labels(sources.labelled, max_steps)
        return right + derailed + wrong
    if sources.sequences is not None:
        return trials_from_lengths(sources.sequences.lengths, max_steps)
    if sources.strong_counts is not None:
        return trials_from_counts(sources.strong_counts, max_steps)
    return None


def _fit_steps(
    name: str, sources: Sources, hazard: FloatArray, by_step: bool, intervals: bool, seed: int
) -> StepDynamics:
    """Step counts or labelled solutions alone: weak success, and the strong model's next-step accuracy."""
    terms = _step_terms(sources)
    weak_terms = [term for term in terms if "repair" not in term.informs]
    if not weak_terms:
        raise InputError("step counts of the strong model alone do not tell the weak model's success")
    estimate = fit(LOCAL, weak_terms, n_starts=1, seed=seed)
    ranges = profile_intervals(estimate) if intervals else {}
    notes = ["p_d tied to p_w by assumption; p_s and p_r need a pilot sweep or repair experiments"]
    if sources.strong_counts is not None:
        notes.append(
            f"strong model alone: next-step accuracy {sources.strong_counts.next_step_accuracy:.4f} "
            "= p_w·p_s + (1 − p_w)·p_r"
        )
    return StepDynamics(
        name=name,
        provenance=sources.provenance,
        weak_success=tuple(_right_trials(sources, len(hazard)).rates().tolist())
        if by_step
        else (estimate.free["weak_success"],),
        look_right=estimate.free["weak_success"],
        hazard=tuple(hazard.tolist()),
        fit=FitReport(
            explanation="steps",
            sources=tuple(term.name for term in terms),
            log_likelihood=estimate.log_likelihood,
            intervals=ranges,
            unidentified=("strong_success", "repair", "look_right", "false_alarms", "misses"),
            notes=tuple(notes),
        ),
    )


def _right_trials(sources: Sources, max_steps: int) -> HazardTrials:
    """Right steps, as the event, among right steps and first errors, by step index."""
    trials = [error_trials_from_counts(sources.weak_counts, max_steps)] if sources.weak_counts is not None else []
    if sources.labelled:
        trials.append(error_trials_from_labels(sources.labelled, max_steps))
    if not trials:
        raise InputError("weak success by step needs the weak model's step counts, or labelled solutions")
    errors = sum(trials[1:], trials[0])
    return HazardTrials(errors.trials - errors.ends, errors.trials)


def _step_terms(sources: Sources) -> list[Term]:
    terms: list[Term] = []
    if sources.weak_counts is not None:
        terms.append(weak_steps(sources.weak_counts))
    if sources.strong_counts is not None:
        terms.append(strong_steps(sources.strong_counts))
    if sources.labelled:
        terms.append(labelled_steps(sources.labelled))
    return terms


# Scored sequences -------------------------------------------------------------------------------------------


def cross_validate_sequences(
    batch: SequenceBatch,
    observations: ObservationModel,
    explanation: Explanation,
    hazard: tuple[float, ...],
    *,
    seed: int = 0,
) -> FloatArray:
    """Held-out P(right) of every sequence, folds by problem; shape (n,)."""
    from sklearn.model_selection import GroupKFold

    out = np.zeros(len(batch))
    n_folds = min(_FOLDS, len(np.unique(batch.groups)))
    if n_folds < 2:
        raise InputError("sequences of a single problem cannot be cross-validated; give several problems")
    folds = GroupKFold(n_folds, shuffle=True, random_state=seed)
    for train, test in folds.split(batch.scores, groups=batch.groups):
        term = Sequences(batch.take(train), observations, hazard)
        estimate = fit(explanation, [term], n_starts=1)
        dynamics = step_dynamics("fold", estimate.parameters, np.array(hazard), labelled=False)
        out[test] = FilterBelief(observations, dynamics).probability_right(batch.take(test))
    return out


def _fit_sequences(
    name: str,
    sources: Sources,
    observations: ObservationModel,
    hazard: FloatArray,
    intervals: bool,
    seed: int,
    progress: Progress,
) -> StepDynamics:
    batch = sources.sequences
    assert batch is not None
    ends = tuple(hazard.tolist())
    losses = {}
    for candidate in SEQUENCE_CANDIDATES:
        progress(f"cross-validating: {candidate.description}")
        losses[candidate.name] = _log_loss(
            cross_validate_sequences(batch, observations, candidate, ends, seed=seed), batch.correct
        )
    chosen = min(SEQUENCE_CANDIDATES, key=lambda candidate: losses[candidate.name])
    step_terms = [term for term in _step_terms(sources) if "repair" not in term.informs]
    term = Sequences(batch, observations, ends)
    estimate = fit(chosen, [term, *step_terms], n_starts=3, seed=seed)
    ranges: dict[str, Interval] = {}
    if intervals and len(np.unique(batch.groups)) == len(batch):
        ranges = profile_intervals(estimate, progress=lambda item: progress(f"interval: {item}"))
    elif intervals:
        # Solutions of one problem are not independent: resample problems.
        progress("bootstrap over problems")
        ranges = bootstrap_intervals(
            lambda rng: (
                fit(
                    chosen,
                    [replace(term, batch=resample_problems(batch, rng)), *step_terms],
                    start=estimate.free,
                    n_starts=1,
                ).free
            ),
            estimate.free,
            seed=seed,
        )
    dynamics = step_dynamics(name, estimate.parameters, hazard, labelled=False)
    implied = FilterBelief(observations, dynamics).probability_right(batch)
    report = FitReport(
        explanation=f"sequences: {chosen.description}",
        sources=(term.name, *(item.name for item in step_terms)),
        log_likelihood=estimate.log_likelihood,
        intervals=ranges,
        unidentified=("strong_success", "repair", *(k for k, v in ranges.items() if not v.identified)),
        checks=(
            Check(
                quantity="share of right solutions (mean of the filter's belief)",
                implied=float(implied.mean()),
                observed=float(batch.correct.mean()),
                standard_error=float(batch.correct.std() / np.sqrt(len(batch))),
                used_in_fit=True,
            ),
        ),
        notes=tuple(
            f"cross-validated log loss, {candidate.description}: {losses[candidate.name]:.4f}"
            for candidate in SEQUENCE_CANDIDATES
        ),
    )
    return dynamics.replace(
        fit=report,
        provenance=sources.provenance,
        running_minimum=calibrate_minimum(batch, fitted_on="outcomes of the scored sequences"),
    )


def resample_problems(batch: SequenceBatch, rng: np.random.Generator) -> SequenceBatch:
    """A bootstrap sample of whole problems."""
    names, inverse = np.unique(batch.groups, return_inverse=True)
    members = [np.flatnonzero(inverse == i) for i in range(len(names))]
    return batch.take(np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))]))


def _log_loss(probability: FloatArray, outcome: NDArray[np.bool_]) -> float:
    p = np.clip(np.where(outcome, probability, 1.0 - probability), 1e-12, 1.0)
    return float(-np.log(p).mean())


# Pilot sweeps -----------------------------------------------------------------------------------------------


def _fit_pilot(
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
    chosen_rows = _split(sources.pilot, fit_thresholds)
    others = [row for row in sources.pilot if row not in chosen_rows]
    step_terms = _step_terms(sources) if joint else []
    has_labelled = observations.step_emission.derailed is not None
    estimates: dict[str, Estimate] = {}
    rivals: dict[str, RivalFit] = {}
    needed = {explanation, WIDER.get(explanation, explanation)}
    for candidate in _candidates(sources):
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
        extra: list[Term] = list(step_terms)
        if sources.sequences is not None:
            extra.append(Sequences(sources.sequences, observations, tuple(hazard.tolist()), labelled))
        pilot = Pilot.of(chosen_rows, observations, hazard, labelled=labelled)
        estimate = fit(candidate, [pilot, *extra], n_starts=4, seed=seed)
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
        report=FitReport(
            explanation=best,
            sources=tuple(term.name for term in estimate.terms),
            log_likelihood=estimate.log_likelihood,
            intervals=ranges,
            unidentified=_unidentified(estimate, ranges),
            rivals=tuple(sorted(rivals.values(), key=_merit, reverse=True)),
            notes=tuple(notes),
        ),
    )


def _split(pilot: Sequence[PilotRow], thresholds: Sequence[float] | None) -> list[PilotRow]:
    return list(pilot) if thresholds is None else select(pilot, thresholds)


def _candidates(sources: Sources) -> list[Explanation]:
    candidates = list(EXPLANATIONS.values())
    if sources.weak_counts is not None and sources.strong_counts is not None:
        candidates.append(published(sources.weak_counts.next_step_accuracy, sources.strong_counts.next_step_accuracy))
    return candidates


def _rival(candidate: Explanation, estimate: Estimate, pilot: Pilot, held_out: Pilot | None) -> RivalFit:
    fitted = (
        pilot
        if held_out is None
        else replace(pilot, rows=pilot.rows + held_out.rows, below=np.vstack([pilot.below, held_out.below]))
    )
    everything = fitted.predict(estimate.parameters)
    routed = np.array([row.threshold < 1 for row in fitted.rows])
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
    """The explanation with the best merit; of those that the data cannot tell from it, the one with the fewest knobs.

    `difficulty-spread` takes no part: it is a mixture over problems, which `StepDynamics` does not hold.
    """
    able = [rivals[name] for name in EXPLANATIONS if name in rivals and name != SPREAD.name]
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
    report: FitReport,
) -> StepDynamics:
    values = estimate.parameters
    labelled = estimate.explanation.derailed_emission == "labelled"
    pilot = Pilot.of(sources.pilot, observations, hazard, labelled=labelled)
    ends = pilot.end_points(values)
    return step_dynamics(name, values, hazard, labelled=labelled).replace(
        provenance=sources.provenance,
        strong_only_tokens=float(ends.tokens["strong_tokens"][1]) or None,
        running_minimum=None
        if sources.sequences is None
        else calibrate_minimum(sources.sequences, fitted_on="outcomes of the scored sequences"),
        fit=report.model_copy(update={"checks": _pilot_checks(sources, pilot, values, fitted)}),
    )


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
                    quantity=f"{who}-only: accuracy on the problems of the step counts",
                    implied=float(pilot.end_points(values).accuracy[rule]),
                    observed=counts.accuracy,
                    standard_error=float(np.sqrt(counts.accuracy * (1 - counts.accuracy) / counts.n_solutions)),
                    used_in_fit=False,
                )
            )
    return tuple(checks)
