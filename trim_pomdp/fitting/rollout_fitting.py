"""From live rollouts to `StepDynamics`, from outcomes alone or with labels.

What to fit is chosen on held-out problems (`trim_pomdp.fitting.rollout_choice`) and then fitted on all of them
(`trim_pomdp.fitting.rollout_estimation`). Intervals of parameters come from a bootstrap over problems that repeats the
fit but not the choice; draws, which intervals of plans come from, have other structures too, as often as held-out data
allow them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.artifacts import Provenance
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.contradictions import contradictions, not_converged, not_stronger
from trim_pomdp.fitting.estimation import ROUGH, bootstrap_intervals, is_identified, prior_decides
from trim_pomdp.fitting.lengths import UNKNOWN, LengthCounts, OutcomeChain, reached
from trim_pomdp.fitting.likelihood import step_dynamics, weak_success_curve
from trim_pomdp.fitting.parameters import PARAMETERS
from trim_pomdp.fitting.redrafts import DraftFit, Redrafts
from trim_pomdp.fitting.rollout_choice import Choice, choose_plan
from trim_pomdp.fitting.rollout_data import RepairRows, RolloutRows
from trim_pomdp.fitting.rollout_estimation import CLASSES, Fitted, Fitter, Plan
from trim_pomdp.model.belief import calibrate_minimum, outcome_table
from trim_pomdp.model.draws import Draws
from trim_pomdp.model.dynamics import Check, FitReport, Interval, PerClass, Shares, StepDynamics
from trim_pomdp.model.hazard import HAZARDS, HazardTrials
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.propagation import RoutingMoments, routing_moments

FloatArray = NDArray[np.float64]
Progress = Callable[[str], None]
# Refits that intervals come from, by default, and the fewest that ends of 95 % intervals can be told from.
DRAWS, FEWEST_DRAWS = 100, 39
# How far from the estimates bootstrap refits begin.
_JITTER = 0.3
# How many times more solutions end at the last step seen than at the one before, if they were cut off there.
_PILED = 3


def fit_rollouts(
    name: str,
    rollouts: Rollouts,
    observations: ObservationModel,
    *,
    labels: bool = False,
    redraft_labels: bool = False,
    class_hazards: bool = False,
    by_step: bool = False,
    intervals: bool = True,
    draws: int = DRAWS,
    max_steps: int = 30,
    seed: int = 0,
    provenance: tuple[Provenance, ...] = (),
    progress: Progress = lambda _: None,
) -> StepDynamics:
    """Estimate step dynamics from live rollouts.

    Parameters
    ----------
    name : str
        Name of the artifact.
    rollouts : Rollouts
        Weak-only solutions; strong-only ones, repairs and redrafts as far as there are. Without repairs p_s and p_r
        stay unset, without redrafts how drafts of a step depend on each other.
    observations : ObservationModel
        Score densities, before transfer; its evidence map is applied to the rollouts.
    labels : bool
        Whether to use the truth where rollouts have it, in place of outcomes.
    redraft_labels : bool
        Whether to use that of redrafts, whatever is done with the others.
    class_hazards, by_step : bool
        Take hazards by class, or p_w by step, whatever held-out solutions say.
    intervals : bool
        Whether to compute intervals: a bootstrap over problems.
    draws : int
        Number of bootstrap samples, and of draws that are kept (`FitReport.draws`).
    max_steps : int
        Step cap of the rollouts: a solution of so many steps was cut off.
    seed : int
        Of folds, starting points and bootstrap.
    provenance : tuple of Provenance
        The files that the rollouts came from.
    progress : callable
        Told what is being done.

    Raises
    ------
    InputError
        If the rollouts lack a feature of the evidence, all have one outcome, or come from a single problem; if one has
        more than `max_steps` steps; if labels are wanted and there are none.
    """
    rows = RolloutRows.of(rollouts, observations.evidence, labelled=labels, labelled_redrafts=redraft_labels)
    if (labels or redraft_labels) and not any(known.any() for known in _known(rows).values()):
        raise InputError("labels are wanted, and no rollout holds any; without them outcomes are used")
    _check_cap(rows, max_steps)
    outcomes = rows.weak.correct
    if outcomes.all() or not outcomes.any():
        shown = "right" if outcomes.all() else "wrong"
        raise InputError(f"all {len(outcomes)} weak rollouts have {shown} answers; dynamics need some of each")
    fitter = Fitter.of(observations, max_steps, rows)
    choice = choose_plan(fitter, rows, class_hazards=class_hazards, by_step=by_step, seed=seed, progress=progress)
    plan = choice.plan
    progress("fitting")
    fitted = fitter.fit(rows, plan, n_starts=3, seed=seed)
    fitter = fitter.weighted(rows, fitted.estimate.parameters, fitted.hazards)
    fitted = fitter.fit(rows, plan, start=fitted.estimate.free)
    redrafts = fitter.redrafts(rows, fitted.estimate.parameters, fitted.hazards)
    ranges: dict[str, Interval] = {}
    refits: list[_Refit] = []
    drawn: list[_Refit] = []
    if intervals:
        progress("bootstrap over problems")
        # Without the prior: an interval is what the data alone say.
        alone = replace(fitter, prior=False)

        def refit(rng: np.random.Generator) -> dict[str, float]:
            refits.append(_refit(alone, rows, plan, fitted, rng))
            return refits[-1].values

        ranges = bootstrap_intervals(refit, fitted.values, n=draws, seed=seed)
        ranges = _with_few_trials(ranges, fitted, fitter.counts(rows.weak))
        progress("bootstrap over structures")
        drawn = list(_of_all_structures(alone, rows, choice, fitted, refits, np.random.default_rng([seed, 1])))
    checks = (*_checks(fitter, rows, fitted), *_redraft_checks(rows, fitted, redrafts))
    return _dynamics(name, fitted).replace(
        right_weights=tuple(fitter.weights.tolist()),
        provenance=provenance,
        running_minimum=calibrate_minimum(rows.weak.batch, fitted_on="outcomes of the weak rollouts"),
        fit=FitReport(
            explanation=f"rollouts: {plan.explanation.description}",
            sources=tuple(term.name for term in (*fitted.estimate.terms, *((redrafts,) if redrafts else ()))),
            log_likelihood=fitted.estimate.log_likelihood,
            intervals=ranges,
            unidentified=_unidentified(rows, ranges),
            prior_decides=prior_decides(fitted.estimate),
            checks=checks,
            warnings=_warnings(fitted, checks, refits),
            notes=(*plan.notes, *_notes(rows, max_steps, ranges)),
            draws=Draws.of([item.fields for item in drawn]) if drawn else None,
        ),
    )


def _known(rows: RolloutRows) -> dict[str, NDArray[np.bool_]]:
    """Which rollouts of each kind have a label."""
    out = {"weak": rows.weak.labels != UNKNOWN}
    if rows.strong is not None:
        out["strong"] = rows.strong.labels != UNKNOWN
    if rows.repairs is not None:
        out["repair"] = rows.repairs.true_class != UNKNOWN
    if rows.redrafts is not None:
        out["redraft"] = rows.redrafts.true_class != UNKNOWN
    return out


def _check_cap(rows: RolloutRows, max_steps: int) -> None:
    lengths = [part.lengths for part in (rows.weak, rows.strong) if part is not None]
    if rows.repairs is not None:
        lengths.append(rows.repairs.batch.lengths + rows.repairs.further)
    if rows.redrafts is not None:
        lengths.append(rows.redrafts.batch.lengths - 1 + rows.redrafts.written)
    longest = max(int(part.max()) for part in lengths)
    if longest > max_steps:
        raise InputError(
            f"a rollout has {longest} steps, more than the step cap of {max_steps}; raise it (--max-steps)"
        )


# Intervals ---------------------------------------------------------------------------------------------------


class _Refit(NamedTuple):
    """What is kept of a refit: numbers by the names of intervals, fields of dynamics, and the optimiser's trouble."""

    values: dict[str, float]
    fields: dict[str, Any]
    trouble: str | None


def _refit(fitter: Fitter, rows: RolloutRows, plan: Plan, fitted: Fitted, rng: np.random.Generator) -> _Refit:
    """Estimates on a bootstrap sample, begun at random: what the data leave open must not look settled."""
    start = {}
    for name, value in fitted.estimate.free.items():
        low, high, _ = PARAMETERS[name]
        spread = 0.0 if name.startswith("weak_success") else _JITTER
        start[name] = float(np.clip(value + rng.uniform(-spread, spread), low, high))
    again = fitter.fit(rows.resample(rng), plan, start=start, precision=ROUGH)
    # All hazards: which of them are alike is a matter of the sample.
    hazards = dict(zip(HAZARDS, again.hazards.end.T.tolist(), strict=True))
    return _Refit(again.all_values, {**_dynamics("refit", again).model_dump(), **hazards}, again.estimate.trouble)


def _of_all_structures(
    fitter: Fitter,
    rows: RolloutRows,
    choice: Choice,
    fitted: Fitted,
    refits: Sequence[_Refit],
    rng: np.random.Generator,
) -> Iterator[_Refit]:
    """The refits, but where another structure is drawn one of that."""
    fits: dict[tuple[tuple[str, ...], str], Fitted] = {}
    chosen = (choice.plan.explanation.free, choice.plan.ends)
    for refit in refits:
        plan = choice.draw(rng)
        key = (plan.explanation.free, plan.ends)
        if set(key[0]) == set(chosen[0]) and key[1] == chosen[1]:
            yield refit
            continue
        if key not in fits:
            fits[key] = fitter.fit(rows, plan, start=fitted.estimate.free, precision=ROUGH)
        yield _refit(fitter, rows, plan, fits[key], rng)


def _with_few_trials(ranges: Mapping[str, Interval], fitted: Fitted, counts: LengthCounts) -> dict[str, Interval]:
    """Widen intervals of hazards to those that their (expected) numbers of trials allow, as if those were known."""
    out = dict(ranges)
    hazards, trials = fitted.hazards, _expected_trials(fitted, counts)
    for name, rates in zip(HAZARDS, hazards.end.T, strict=True):
        if f"{name}.1" not in out:
            continue
        # Classes that share a hazard share their trials.
        number = trials[[np.array_equal(rates, other) for other in hazards.end.T]].sum(axis=0)
        low, high = HazardTrials(rates * number, number).interval()
        for t in range(len(rates) - 1):
            span = out[f"{name}.{t + 1}"]
            ends = min(span.low, float(low[t])), max(span.high, float(high[t]))
            out[f"{name}.{t + 1}"] = span.model_copy(
                update={"low": ends[0], "high": ends[1], "identified": is_identified(name, *ends)}
            )
    return out


def _expected_trials(fitted: Fitted, counts: LengthCounts) -> FloatArray:
    """Expected numbers of steps of each class, by step index; shape (3, T)."""
    parameters = fitted.estimate.parameters
    success = weak_success_curve(parameters, len(counts.right))
    right, derailed = reached(success, fitted.hazards, parameters["recovery"])
    return float(counts.pooled.trials[0]) * np.stack([right * success, derailed, right * (1.0 - success)])


# What comes out ----------------------------------------------------------------------------------------------


def _dynamics(name: str, fitted: Fitted) -> StepDynamics:
    hazards = fitted.hazards
    dynamics = step_dynamics(
        name,
        fitted.estimate.parameters,
        hazards.right,
        labelled=False,
    )
    if hazards.differ:
        dynamics = dynamics.replace(
            hazard_derailed=tuple(hazards.derailed.tolist()), hazard_wrong=tuple(hazards.wrong.tolist())
        )
    return dynamics.replace(
        weak_tokens=_per_class(fitted.weak_tokens),
        strong_tokens=_per_class(fitted.strong_tokens),
        strong_only_tokens=fitted.strong_only_tokens,
        **_of_redrafts(fitted.redrafts),
    )


def _per_class(tokens: FloatArray | None) -> PerClass | None:
    return None if tokens is None else PerClass(**_by_class(tokens))


def _by_class(values: FloatArray) -> dict[str, float]:
    return dict(zip(CLASSES, values.tolist(), strict=True))


def _unidentified(rows: RolloutRows, ranges: Mapping[str, Interval]) -> tuple[str, ...]:
    unset = () if rows.repairs is not None else ("strong_success", "repair")
    wide = [name for name, item in ranges.items() if not item.identified and not name.startswith("hazard")]
    return (*unset, *wide)


def _warnings(fitted: Fitted, checks: tuple[Check, ...], again: Sequence[_Refit]) -> tuple[str, ...]:
    """Why not to trust the fit."""
    parameters = fitted.estimate.parameters
    success = weak_success_curve(parameters, len(fitted.hazards.right)).max()
    stuck = [item.trouble for item in again if item.trouble is not None]
    refits = {f"{len(stuck)} refits of the bootstrap": stuck[0]} if stuck else {}
    return (
        *contradictions(checks, {}, "see whether all rollouts are of the same models, problems and step cap"),
        *not_stronger(float(success), parameters.get("strong_success")),
        *not_converged({"the fit": fitted.estimate.trouble, **refits}, "try another --seed, or more rollouts"),
    )


def _notes(rows: RolloutRows, max_steps: int, ranges: Mapping[str, Interval]) -> list[str]:
    out = []
    if rows.repairs is None:
        out.append("p_s and p_r need repair rollouts (--repair); strong-only solutions alone tell a mixture of them")
    labelled = _known(rows)
    if any(known.any() for known in labelled.values()):
        counts = (f"{known.sum()} of {len(known)} {kind}" for kind, known in labelled.items())
        out.append(f"by their labels: {', '.join(counts)} rollouts; the others by their outcomes")
    longest = int(rows.weak.lengths.max())
    cut_off = int((rows.weak.lengths == longest).sum())
    if longest < max_steps and cut_off > _PILED * max(1, int((rows.weak.lengths == longest - 1).sum())):
        out.append(
            f"{cut_off} weak rollouts end at step {longest}, hardly any just before, none after: if they were cut off "
            f"there, that is the step cap (--max-steps {longest})"
        )
    open_steps = [name for name, item in ranges.items() if name.startswith("hazard") and not item.identified]
    if open_steps:
        out.append(f"not identified, since hardly any solution gets there: {', '.join(open_steps)}")
    return out


def _checks(fitter: Fitter, rows: RolloutRows, fitted: Fitted) -> Iterator[Check]:
    """What the dynamics imply against what the rollouts show."""
    weak, parameters = rows.weak, fitted.estimate.parameters
    chain = OutcomeChain.of(weak_success_curve(parameters, fitter.max_steps), fitted.hazards, parameters["recovery"])
    yield _check("accuracy", float(chain.accuracy[0]), weak.correct, weak.groups, threshold=0.0)
    steps = np.minimum(weak.lengths, fitter.max_steps)
    for shown, implied, where in zip(("right", "wrong"), chain.mean_steps, (weak.correct, ~weak.correct), strict=True):
        yield _check(f"steps of {shown} weak-only solutions", implied, steps[where], weak.groups[where])
    if fitted.weak_tokens is not None and weak.tokens is not None:
        kept = _moments(fitter, fitted, 0.0).kept[0] @ fitted.weak_tokens
        yield _check("kept tokens", kept, weak.tokens.sum(axis=1), weak.groups, threshold=0.0)
    belief = float(fitter.seen(weak).probability_right(parameters, fitted.hazards).mean())
    quantity = "share of right weak-only solutions (mean of the filter's belief)"
    used = bool((weak.labels == UNKNOWN).any())
    yield _check(quantity, belief, weak.correct, weak.groups, used=used)
    if rows.repairs is None:
        return
    yield from _repair_checks(fitter, rows.repairs, fitted)
    if rows.strong is not None:
        strong, moments = rows.strong, _moments(fitter, fitted, 1.0)
        used = bool((strong.labels == UNKNOWN).any())
        yield _check("accuracy", float(moments.accuracy[0]), strong.correct, strong.groups, threshold=1.0, used=used)
        steps = np.minimum(strong.lengths, fitter.max_steps)
        yield _check("steps", float(moments.steps[0]), steps, strong.groups, threshold=1.0, used=False)
        tokens = float(moments.regenerated[0] @ fitted.strong_tokens)
        yield _check("strong tokens", tokens, strong.tokens, strong.groups, threshold=1.0, used=False)


def _repair_checks(fitter: Fitter, repairs: RepairRows, fitted: Fitted) -> Iterator[Check]:
    """Outcomes of repairs: all, and those of steps that the filter takes to be right, derailed or first errors."""
    term = fitter.repairs(repairs, fitted.hazards)
    implied = term.probability_right(fitted.estimate.parameters)
    likely = term.steps.last_beliefs(fitted.estimate.parameters, fitted.hazards).argmax(axis=1)
    used = bool((repairs.true_class == UNKNOWN).any())
    for shown, where in (
        ("all", np.ones(len(likely), dtype=np.bool_)),
        *((f"likely {label}", likely == c) for c, label in enumerate(("right", "derailed", "first errors"))),
    ):
        if where.any():
            quantity = f"share of right repaired solutions, {shown}"
            yield _check(
                quantity, implied[where].mean(), repairs.batch.correct[where], repairs.groups[where], used=used
            )


def _redraft_checks(rows: RolloutRows, fitted: Fitted, redrafts: Redrafts | None) -> Iterator[Check]:
    """Outcomes of solutions with a doubted step drafted again, of those that count by their outcomes."""
    if rows.redrafts is None or redrafts is None or fitted.redrafts is None:
        return
    unknown = rows.redrafts.true_class[redrafts.rows] == UNKNOWN
    if unknown.any():
        where = redrafts.rows[unknown]
        implied = float(redrafts.probability_right(fitted.redrafts)[unknown].mean())
        observed, groups = rows.redrafts.batch.correct[where], rows.redrafts.groups[where]
        yield _check("share of right solutions, a doubted step redrafted", implied, observed, groups)


def _of_redrafts(fitted: DraftFit | None) -> dict[str, Any]:
    """Fields of dynamics."""
    if fitted is None:
        return {}
    same = None if fitted.same is None else Shares(**_by_class(fitted.same))
    return {**fitted.numbers, "redraft_same": same, "redraft_tilt": fitted.tilt}


def _moments(fitter: Fitter, fitted: Fitted, regenerate: float) -> RoutingMoments:
    """Moments of weak-only (0) or strong-only (1)."""
    parameters = fitted.estimate.parameters
    return routing_moments(
        np.full((1, 3), regenerate),
        weak_success_curve(parameters, fitter.max_steps),
        fitted.hazards.end,
        outcome_table(
            parameters.get("strong_success", 1.0),
            parameters.get("repair", 1.0),
            fitted.hazards.recovery(parameters["recovery"]),
            fitted.hazards.end,
        ),
    )


def _check(
    quantity: str,
    implied: float,
    observed: NDArray[Any],
    groups: NDArray[np.str_],
    *,
    threshold: float | None = None,
    used: bool = True,
) -> Check:
    """A mean against its prediction; solutions of one problem are not independent."""
    centred = observed - observed.mean()
    totals = np.bincount(np.unique(groups, return_inverse=True)[1], centred)
    return Check(
        quantity=quantity,
        threshold=threshold,
        implied=float(implied),
        observed=float(observed.mean()),
        standard_error=float(np.sqrt((totals**2).sum()) / len(observed)),
        used_in_fit=used,
    )
