"""From data to `StepDynamics`: which source informs what.

* Termination hazards come from step counts, labelled solutions or the lengths of scored sequences, in closed form; a
  pilot alone tells their mean only, and a constant hazard is assumed.
* A pilot sweep fits everything else (`trim_pomdp.fitting.pilot`). Step counts, where the pilot is on other problems,
  describe other problems: they join the likelihood only on request (`joint`), since they predicted held-out pilot rows
  worse.
* Scored sequences of weak-only solutions tell p_w, p_d, e and d, and leave the strong model's parameters unset. Which
  of the four are worth freeing is decided by cross-validation over problems.
* Live rollouts of both models stand alone and tell all of it: `trim_pomdp.fitting.rollout_fitting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from trim_pomdp.errors import InputError
from trim_pomdp.fitting.contradictions import contradictions, not_converged
from trim_pomdp.fitting.estimation import WIDE_PROBABILITY, bootstrap_intervals, fit, prior_decides, profile_intervals
from trim_pomdp.fitting.likelihood import (
    Sequences,
    step_dynamics,
)
from trim_pomdp.fitting.optimise import one_blas_thread
from trim_pomdp.fitting.parameters import (
    EXPLANATIONS,
    LOCAL,
    SEQUENCE_CANDIDATES,
    STUDIED,
    Explanation,
)
from trim_pomdp.fitting.pilot import fit_pilot
from trim_pomdp.fitting.rollout_fitting import DRAWS, FEWEST_DRAWS, fit_rollouts
from trim_pomdp.fitting.sources import Progress, step_terms
from trim_pomdp.fitting.sources import Sources as Sources
from trim_pomdp.model.belief import FilterBelief, calibrate_minimum
from trim_pomdp.model.dynamics import Check, FitReport, Interval, StepDynamics
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
MAX_STEPS = 30
_FOLDS = 5


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
    redraft_labels: bool = False,
    rivals: bool = True,
    intervals: bool = True,
    draws: int | None = None,
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
    redraft_labels : bool
        Whether to use that of redrafts, whatever is done with the others.
    rivals : bool
        Whether to fit the other explanations too, for comparison; ``"best"`` needs them.
    intervals : bool
        Whether to compute intervals (a minute or two with a pilot, seconds with rollouts).
    draws : int or None
        Refits to rollouts that intervals come from, all of which are kept (`trim_pomdp.planning.intervals`); None: as
        many as is usual.
    max_steps : int
        Step cap.
    seed : int
        Of starting points, folds and bootstrap.
    progress : callable
        Told what is being done.

    Raises
    ------
    InputError
        If the data are empty or inform too little, or an explanation or a threshold is unknown; or if draws are wanted
        of anything but rollouts, too few of them, or without intervals.
    """
    if explanation in STUDIED:
        raise InputError(f"{explanation} is a rival only, which studies compare (benchmarks/pilot_rivals.py)")
    if explanation != "best" and explanation not in EXPLANATIONS:
        raise InputError(f"unknown explanation {explanation!r}; there are best, {', '.join(EXPLANATIONS)}")
    if draws is not None:
        _check_draws(draws, rollouts=sources.rollouts is not None, intervals=intervals)
    if sources.rollouts is not None:
        counts = (sources.weak_counts, sources.strong_counts)
        if any((*counts, sources.pilot, sources.sequences is not None, sources.labelled)):
            raise InputError("rollouts stand alone; give no step counts, pilot, sequences or labelled solutions beside")
        with one_blas_thread():
            return fit_rollouts(
                name,
                sources.rollouts,
                observations,
                labels=labels,
                redraft_labels=redraft_labels,
                class_hazards=class_hazards,
                by_step=by_step,
                intervals=intervals,
                draws=DRAWS if draws is None else draws,
                max_steps=max_steps,
                seed=seed,
                provenance=sources.provenance,
                progress=progress,
            )
    if labels or redraft_labels:
        raise InputError("labels are those of rollouts, and none are given")
    trials = _hazard(sources, max_steps)
    hazard = _constant_hazard(sources, max_steps) if trials is None else trials.estimate()
    if not rivals and explanation == "best":
        raise InputError("the best explanation is chosen among rivals; name one to do without them")
    if by_step and (sources.pilot or sources.sequences is not None):
        raise InputError("weak success by step can be fitted on step counts or labelled solutions alone")
    if class_hazards and not sources.labelled:
        raise InputError("hazards by class need labelled solutions (--labelled)")
    if class_hazards and (sources.pilot or sources.sequences is not None):
        raise InputError("hazards by class can be fitted on labelled solutions and step counts alone")
    with one_blas_thread():
        if sources.pilot:
            options = (explanation, fit_thresholds, joint, rivals, intervals, seed, progress)
            dynamics = fit_pilot(name, sources, observations, hazard, *options)
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


def _check_draws(draws: int, *, rollouts: bool, intervals: bool) -> None:
    if not rollouts:
        raise InputError("draws are of dynamics from rollouts, and none are given")
    if not intervals:
        raise InputError("draws are what intervals come from; ask for intervals, or for no draws")
    if draws < FEWEST_DRAWS:
        raise InputError(f"{draws} draws; expected at least {FEWEST_DRAWS}, of which an interval can be made")


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
    terms = step_terms(sources)
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
    steps = [term for term in step_terms(sources) if "repair" not in term.informs]
    term = Sequences(batch, observations, ends)
    estimate = fit(chosen, [term, *steps], n_starts=3, seed=seed, prior=True)
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
                    [replace(term, batch=resample_problems(batch, rng)), *steps],
                    start=estimate.free,
                    n_starts=1,
                ).free
            ),
            estimate.free,
            seed=seed,
        )
    dynamics = step_dynamics(name, estimate.parameters, hazard, labelled=False)
    implied = FilterBelief(observations, dynamics).probability_right(batch)
    checks = (
        Check(
            quantity="share of right solutions (mean of the filter's belief)",
            implied=float(implied.mean()),
            observed=float(batch.correct.mean()),
            standard_error=float(batch.correct.std() / np.sqrt(len(batch))),
            used_in_fit=True,
        ),
    )
    report = FitReport(
        explanation=f"sequences: {chosen.description}",
        sources=(term.name, *(item.name for item in steps)),
        log_likelihood=estimate.log_likelihood,
        intervals=ranges,
        unidentified=("strong_success", "repair", *(k for k, v in ranges.items() if not v.identified)),
        prior_decides=prior_decides(estimate),
        checks=checks,
        warnings=(
            *contradictions(checks, {}, "see whether the observations are of this weak model's score model"),
            *not_converged({chosen.name: estimate.trouble}, "try another --seed, or more sequences"),
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
