"""From live rollouts to `StepDynamics`, from outcomes alone or with labels.

1. Lengths and outcomes of weak-only solutions give the hazards, one or two (`trim_pomdp.dynamics.lengths`).
2. Outcomes given scores, lengths, strong-only outcomes and repairs make one likelihood for p_w, p_d, e, d, p_s and p_r
   (`trim_pomdp.dynamics.rollout_terms`); with two hazards, 1 and 2 take turns.
3. Tokens by class are regressed on the belief that the filter has at each step: a step costs Σ_class b_class·tokens.

What the data want is decided on held-out problems: one hazard or two, which of p_d, e and d to free, p_w by step.
Intervals come from a bootstrap over problems that repeats all but these decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.artifacts import Provenance
from trim_pomdp.belief import calibrate_minimum
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.dynamics.estimation import ROUGH, Estimate, bootstrap_intervals, fit, is_identified
from trim_pomdp.dynamics.hazard import PRIOR_TRIALS, HazardTrials
from trim_pomdp.dynamics.lengths import UNKNOWN, Hazards, LengthCounts, OutcomeChain, fit_lengths
from trim_pomdp.dynamics.likelihood import Term, step_dynamics, weak_success_curve
from trim_pomdp.dynamics.model import Check, FitReport, Interval, PerClass, StepDynamics
from trim_pomdp.dynamics.parameters import PARAMETERS, SEQUENCE_CANDIDATES, Explanation
from trim_pomdp.dynamics.propagation import RoutingMoments, routing_moments
from trim_pomdp.dynamics.rollout_data import RepairRows, RolloutRows, StrongRows, WeakRows, take
from trim_pomdp.dynamics.rollout_terms import (
    LabelledScores,
    Repairs,
    RepairTruth,
    SeenSteps,
    StrongLabels,
    StrongOutcomes,
    WeakLengths,
    WeakOutcomes,
    step_classes,
)
from trim_pomdp.errors import InputError
from trim_pomdp.observations import ObservationModel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[str], None]
_FOLDS = 5
# How often hazards and parameters take turns after the first round; a third round changes nothing that matters.
_ROUNDS = 2
# Steps of average length that stand behind the tokens of each class, against classes that are hardly ever seen.
_PRIOR_STEPS = 2.0
_CLASSES = ("right", "derailed", "wrong")
_JITTER = 0.3


@dataclass(frozen=True)
class _Plan:
    """What the data want: an explanation, one hazard or two; and why."""

    explanation: Explanation
    two: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Fitted:
    """Everything that is estimated from one (sample of the) data."""

    estimate: Estimate
    hazards: Hazards
    weak_tokens: FloatArray | None
    strong_tokens: FloatArray | None
    strong_only_tokens: float | None

    @property
    def values(self) -> dict[str, float]:
        """All numbers that were estimated, by the names that intervals have."""
        explanation, parameters = self.estimate.explanation, self.estimate.parameters
        out = {name: parameters[name] for name in (*explanation.free, *explanation.tied) if name in PARAMETERS}
        curve = weak_success_curve(parameters, len(self.hazards.right))
        if "weak_success_slope" in out:
            del out["weak_success"], out["weak_success_slope"]
            out |= _by_step("weak_success", curve)
        out |= _by_step("hazard", self.hazards.right[:-1])
        if self.hazards.differ:
            out |= _by_step("hazard_derailed", self.hazards.derailed[:-1])
        for kind, tokens in (("weak_tokens", self.weak_tokens), ("strong_tokens", self.strong_tokens)):
            if tokens is not None:
                out |= {f"{kind}.{name}": float(value) for name, value in zip(_CLASSES, tokens, strict=True)}
        if self.strong_only_tokens is not None:
            out["strong_only_tokens"] = self.strong_only_tokens
        return out


def _by_step(name: str, values: FloatArray) -> dict[str, float]:
    return {f"{name}.{t + 1}": float(value) for t, value in enumerate(values)}


def fit_rollouts(
    name: str,
    rollouts: Rollouts,
    observations: ObservationModel,
    *,
    labels: bool = False,
    two_hazards: bool = False,
    by_step: bool = False,
    intervals: bool = True,
    draws: int = 100,
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
        Weak-only solutions; strong-only ones and repairs as far as there are. Without repairs p_s and p_r stay unset.
    observations : ObservationModel
        Score densities, before transfer; its evidence map is applied to the rollouts.
    labels : bool
        Whether to use the truth where rollouts have it, in place of outcomes.
    two_hazards, by_step : bool
        Take two hazards, or p_w by step, whatever held-out solutions say.
    intervals : bool
        Whether to compute intervals: a bootstrap over problems.
    draws : int
        Number of bootstrap samples.
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
        If the rollouts lack a feature of the evidence, all have one outcome, or come from a single problem.
    """
    rows = RolloutRows.of(rollouts, observations.evidence, labelled=labels)
    outcomes = rows.weak.correct
    if outcomes.all() or not outcomes.any():
        shown = "right" if outcomes.all() else "wrong"
        raise InputError(f"all {len(outcomes)} weak rollouts have {shown} answers; dynamics need some of each")
    fitter = _Fitter(observations, max_steps)
    plan = _plan(fitter, rows, two_hazards, by_step, seed, progress)
    progress("fitting")
    fitted = fitter.fit(rows, plan, n_starts=3, seed=seed)
    ranges: dict[str, Interval] = {}
    if intervals:
        progress("bootstrap over problems")
        ranges = bootstrap_intervals(
            lambda rng: _refit(fitter, rows, plan, fitted, rng), fitted.values, n=draws, seed=seed
        )
        ranges = _with_few_trials(ranges, fitted, fitter.counts(rows.weak))
    return _dynamics(name, fitted).replace(
        provenance=provenance,
        running_minimum=calibrate_minimum(rows.weak.batch, fitted_on="outcomes of the weak rollouts"),
        fit=FitReport(
            explanation=f"rollouts: {plan.explanation.description}",
            sources=tuple(term.name for term in fitted.estimate.terms),
            log_likelihood=fitted.estimate.log_likelihood,
            intervals=ranges,
            unidentified=_unidentified(rows, ranges),
            checks=tuple(_checks(fitter, rows, fitted)),
            notes=(*plan.notes, *_notes(rows, labels, ranges)),
        ),
    )


@dataclass(frozen=True)
class _Fitter:
    """Fits a plan to (a sample of) rollouts."""

    observations: ObservationModel
    max_steps: int

    def counts(self, rows: WeakRows | StrongRows) -> LengthCounts:
        return LengthCounts.of(rows.lengths, rows.correct, self.max_steps, rows.labels)

    def seen(self, weak: WeakRows) -> SeenSteps:
        return SeenSteps.of(weak.batch, self.observations)

    def fit(
        self,
        rows: RolloutRows,
        plan: _Plan,
        *,
        start: Mapping[str, float] | None = None,
        n_starts: int = 1,
        seed: int = 0,
        precision: float = 1e-11,
    ) -> _Fitted:
        counts = self.counts(rows.weak)
        lengths = fit_lengths(counts, two=plan.two)
        begin = {"weak_success": float(lengths.success[0]), **(start or {})}
        terms = self.terms(rows, lengths.hazards)
        estimate = fit(plan.explanation, terms, start=begin, n_starts=n_starts, seed=seed, precision=precision)
        for _ in range(_ROUNDS if plan.two else 0):
            curve = weak_success_curve(estimate.parameters, self.max_steps)
            lengths = fit_lengths(counts, two=True, success=curve)
            terms = self.terms(rows, lengths.hazards)
            estimate = fit(plan.explanation, terms, start=estimate.free, n_starts=1, precision=precision)
        return _Fitted(
            estimate,
            lengths.hazards,
            self._weak_tokens(rows, estimate, lengths.hazards),
            self._strong_tokens(rows, estimate, lengths.hazards),
            None if rows.strong is None else float(rows.strong.tokens.mean()),
        )

    def terms(self, rows: RolloutRows, hazards: Hazards) -> list[Term]:
        """Terms of the joint likelihood; each rollout counts by its label or by its outcome."""
        out = [*self.weak_terms(rows.weak, hazards)]
        if rows.repairs is None:
            return out
        known = rows.repairs.true_class != UNKNOWN
        if not known.all():
            out.append(self.repairs(take(rows.repairs, ~known), hazards))
        if known.any():
            out.append(RepairTruth.of(rows.repairs.true_class[known], rows.repairs.redone_right[known]))
        if rows.strong is None:
            return out
        known = rows.strong.labels != UNKNOWN
        if not known.all():
            out.append(StrongOutcomes(self.counts(take(rows.strong, ~known)), hazards))
        if known.any():
            out.append(StrongLabels.of(self.counts(take(rows.strong, known))))
        return out

    def weak_terms(self, weak: WeakRows, hazards: Hazards) -> list[Term]:
        """Terms of the weak model's own solutions."""
        out: list[Term] = [WeakLengths(self.counts(weak), hazards)]
        known = weak.labels != UNKNOWN
        if not known.all():
            part = take(weak, ~known)
            out.append(WeakOutcomes(self.seen(part), part.batch.correct, hazards))
        if known.any():
            part = take(weak, known)
            out.append(LabelledScores.of(self.seen(part), part.labels))
        return out

    def repairs(self, repairs: RepairRows, hazards: Hazards) -> Repairs:
        """Term of repairs by their outcomes."""
        steps = SeenSteps.of(repairs.batch, self.observations, repairs.ended)
        return Repairs(steps, repairs.batch.correct, repairs.further, hazards)

    def _weak_tokens(self, rows: RolloutRows, estimate: Estimate, hazards: Hazards) -> FloatArray | None:
        weak = rows.weak
        if weak.tokens is None:
            return None
        seen = self.seen(weak)
        belief = seen.beliefs(estimate.parameters, hazards)
        known = weak.labels != UNKNOWN
        belief[known] = np.eye(3)[step_classes(weak.labels[known], belief.shape[1])]
        exists = weak.batch.mask
        return _tokens_by_class(belief[exists], weak.tokens[exists])

    def _strong_tokens(self, rows: RolloutRows, estimate: Estimate, hazards: Hazards) -> FloatArray | None:
        repairs = rows.repairs
        if repairs is None:
            return None
        belief = self.repairs(repairs, hazards).steps.last_beliefs(estimate.parameters, hazards)
        known = repairs.true_class != UNKNOWN
        belief[known] = np.eye(3)[repairs.true_class[known]]
        return _tokens_by_class(belief, repairs.tokens)


def _tokens_by_class(belief: FloatArray, tokens: FloatArray) -> FloatArray:
    """Tokens of each class, such that Σ_class b_class·tokens fits best (least squares), shape (3,)."""
    gram = belief.T @ belief + _PRIOR_STEPS * np.eye(3)
    return np.maximum(np.linalg.solve(gram, belief.T @ tokens + _PRIOR_STEPS * tokens.mean()), 0.0)


# What the data want ------------------------------------------------------------------------------------------


def _plan(fitter: _Fitter, rows: RolloutRows, two_hazards: bool, by_step: bool, seed: int, progress: Progress) -> _Plan:
    """Decide on held-out problems: hazards, explanation, p_w by step."""
    weak = rows.weak
    folds = list(_folds(weak.groups, seed))

    def held_out_lengths(two: bool) -> FloatArray:
        fits = [(fit_lengths(fitter.counts(take(weak, train)), two=two), test) for train, test in folds]
        return np.array([item.log_likelihood(fitter.counts(take(weak, test))) for item, test in fits])

    progress("cross-validating hazards")
    one, two = held_out_lengths(False), held_out_lengths(True)
    use_two = two_hazards or _clearly_better(two, one)
    chosen_hazards = f"{'two hazards' if use_two else 'one hazard'}{' (asked for)' if two_hazards else ''}"
    notes = [
        f"{chosen_hazards}: held-out log-likelihood of lengths and outcomes per solution "
        f"{one.sum() / len(weak.labels):.4f} with one, {two.sum() / len(weak.labels):.4f} with two "
        f"({_difference(two, one)} in all)"
    ]
    if use_two:
        notes.append(f"each of the two hazards leans on the pooled one with {PRIOR_TRIALS:g} trials a step")
    hazards = fit_lengths(fitter.counts(weak), two=use_two).hazards

    def held_out(explanation: Explanation) -> FloatArray:
        progress(f"cross-validating: {explanation.description}")
        out = []
        for train, test in folds:
            estimate = fit(explanation, fitter.weak_terms(take(weak, train), hazards), n_starts=1)
            terms = fitter.weak_terms(take(weak, test), hazards)
            out.append(sum(term.log_likelihood(estimate.parameters) for term in terms))
        return np.array(out)

    known = (weak.labels != UNKNOWN).all()
    candidates = SEQUENCE_CANDIDATES[-1:] if known else SEQUENCE_CANDIDATES
    scores = {candidate.name: held_out(candidate) for candidate in candidates}
    chosen = max(candidates, key=lambda candidate: scores[candidate.name].sum())
    notes += [
        f"held-out log-likelihood per solution, {candidate.description}: "
        f"{scores[candidate.name].sum() / len(weak.labels):.4f}"
        for candidate in candidates
    ]
    steep = _with(chosen, "p_w by step", "weak_success_slope")
    flat, sloped = scores[chosen.name], held_out(steep)
    use_slope = by_step or _clearly_better(sloped, flat)
    notes.append(
        f"{'p_w by step (log-odds linear in it)' if use_slope else 'one p_w for all steps'}"
        f"{' (asked for)' if by_step else ''}: by step, held-out log-likelihood changes by {_difference(sloped, flat)}"
    )
    explanation = steep if use_slope else chosen
    if rows.repairs is not None:
        explanation = _with(explanation, "p_s and p_r", "strong_success", "repair")
    return _Plan(explanation, use_two, tuple(notes))


def _with(explanation: Explanation, description: str, *names: str) -> Explanation:
    return replace(
        explanation, description=f"{explanation.description}, {description}", free=(*explanation.free, *names)
    )


def _folds(groups: NDArray[np.str_], seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    from sklearn.model_selection import GroupKFold

    n_folds = min(_FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        raise InputError("rollouts of a single problem cannot be cross-validated; give several problems")
    yield from GroupKFold(n_folds, shuffle=True, random_state=seed).split(groups, groups=groups)


def _clearly_better(a: FloatArray, b: FloatArray) -> bool:
    """Whether held-out log-likelihoods by fold differ by more than their standard error."""
    return bool((a - b).sum() > _error(a - b))


def _difference(a: FloatArray, b: FloatArray) -> str:
    return f"{(a - b).sum():+.1f} ± {_error(a - b):.1f}"


def _error(by_fold: FloatArray) -> float:
    """Standard error of a sum over folds."""
    return float(np.sqrt(len(by_fold)) * by_fold.std(ddof=1))


# Intervals ---------------------------------------------------------------------------------------------------


def _refit(
    fitter: _Fitter, rows: RolloutRows, plan: _Plan, fitted: _Fitted, rng: np.random.Generator
) -> dict[str, float]:
    """Estimates on a bootstrap sample, begun at random: what the data leave open must not look settled."""
    start = {}
    for name, value in fitted.estimate.free.items():
        low, high, _ = PARAMETERS[name]
        spread = 0.0 if name.startswith("weak_success") else _JITTER
        start[name] = float(np.clip(value + rng.uniform(-spread, spread), low, high))
    return fitter.fit(rows.resample(rng), plan, start=start, precision=ROUGH).values


def _with_few_trials(ranges: Mapping[str, Interval], fitted: _Fitted, counts: LengthCounts) -> dict[str, Interval]:
    """Widen intervals of hazards to those that their (expected) numbers of trials allow, as if those were known."""
    out = dict(ranges)
    hazards, trials = fitted.hazards, _expected_trials(fitted, counts)
    pairs = [("hazard", hazards.right, trials[0] if hazards.differ else trials.sum(axis=0))]
    if hazards.differ:
        pairs.append(("hazard_derailed", hazards.derailed, trials[1]))
    for name, rates, number in pairs:
        low, high = HazardTrials(rates * number, number).interval()
        for t in range(len(rates) - 1):
            span = out[f"{name}.{t + 1}"]
            ends = min(span.low, float(low[t])), max(span.high, float(high[t]))
            out[f"{name}.{t + 1}"] = span.model_copy(
                update={"low": ends[0], "high": ends[1], "identified": is_identified(name, *ends)}
            )
    return out


def _expected_trials(fitted: _Fitted, counts: LengthCounts) -> FloatArray:
    """Expected numbers of solutions that are right (or at their first error), and derailed, at each step; (2, T)."""
    success = weak_success_curve(fitted.estimate.parameters, len(counts.right))
    h, h_derailed = fitted.hazards.right, fitted.hazards.derailed
    out = np.zeros((2, len(success)))
    out[0, 0] = counts.pooled.trials[0]
    for t in range(len(success) - 1):
        goes_on = out[0, t] * (1.0 - h[t])
        out[0, t + 1] = goes_on * success[t]
        out[1, t + 1] = goes_on * (1.0 - success[t]) + out[1, t] * (1.0 - h_derailed[t])
    return out


# What comes out ----------------------------------------------------------------------------------------------


def _dynamics(name: str, fitted: _Fitted) -> StepDynamics:
    hazards = fitted.hazards
    dynamics = step_dynamics(
        name,
        fitted.estimate.parameters,
        hazards.right,
        labelled=False,
        hazard_derailed=hazards.derailed if hazards.differ else None,
    )
    return dynamics.replace(
        weak_tokens=_per_class(fitted.weak_tokens),
        strong_tokens=_per_class(fitted.strong_tokens),
        strong_only_tokens=fitted.strong_only_tokens,
    )


def _per_class(tokens: FloatArray | None) -> PerClass | None:
    return None if tokens is None else PerClass(**dict(zip(_CLASSES, tokens.tolist(), strict=True)))


def _unidentified(rows: RolloutRows, ranges: Mapping[str, Interval]) -> tuple[str, ...]:
    unset = () if rows.repairs is not None else ("strong_success", "repair")
    wide = [name for name, item in ranges.items() if not item.identified and not name.startswith("hazard")]
    return (*unset, *wide)


def _notes(rows: RolloutRows, labels: bool, ranges: Mapping[str, Interval]) -> list[str]:
    out = []
    if rows.repairs is None:
        out.append("p_s and p_r need repair rollouts (--repair); strong-only solutions alone tell a mixture of them")
    if labels:
        known = [f"{(rows.weak.labels != UNKNOWN).sum()} of {len(rows.weak.labels)} weak"]
        if rows.strong is not None:
            known.append(f"{(rows.strong.labels != UNKNOWN).sum()} of {len(rows.strong.labels)} strong")
        if rows.repairs is not None:
            known.append(f"{(rows.repairs.true_class != UNKNOWN).sum()} of {len(rows.repairs.true_class)} repair")
        out.append(f"by their labels: {', '.join(known)} rollouts; the others by their outcomes")
    open_steps = [name for name, item in ranges.items() if name.startswith("hazard") and not item.identified]
    if open_steps:
        out.append(f"not identified, since hardly any solution gets there: {', '.join(open_steps)}")
    return out


def _checks(fitter: _Fitter, rows: RolloutRows, fitted: _Fitted) -> Iterator[Check]:
    """What the dynamics imply against what the rollouts show."""
    weak, parameters = rows.weak, fitted.estimate.parameters
    chain = OutcomeChain.of(weak_success_curve(parameters, fitter.max_steps), fitted.hazards)
    yield _check("accuracy", float(chain.accuracy[0]), weak.correct, weak.groups, threshold=0.0)
    steps = np.minimum(weak.lengths, fitter.max_steps)
    for shown, implied, where in zip(("right", "wrong"), chain.mean_steps, (weak.correct, ~weak.correct), strict=True):
        yield _check(f"steps of {shown} weak-only solutions", implied, steps[where], weak.groups[where])
    if fitted.weak_tokens is not None and weak.tokens is not None:
        kept = _moments(fitter, fitted, 0.0).kept[0] @ fitted.weak_tokens
        yield _check("kept tokens", kept, weak.tokens.sum(axis=1), weak.groups, threshold=0.0)
    belief = fitter.seen(weak).last_beliefs(parameters, fitted.hazards)[:, 0]
    fits_outcomes = bool((weak.labels == UNKNOWN).any())
    yield _check(
        "share of right weak-only solutions (mean of the filter's belief)",
        float(belief.mean()),
        weak.correct,
        weak.groups,
        used=fits_outcomes,
    )
    if rows.repairs is None:
        return
    yield from _repair_checks(fitter, rows.repairs, fitted)
    if rows.strong is not None:
        strong, moments = rows.strong, _moments(fitter, fitted, 1.0)
        used = bool((strong.labels == UNKNOWN).any())
        yield _check("accuracy", float(moments.accuracy[0]), strong.correct, strong.groups, threshold=1.0, used=used)
        yield _check("steps", float(moments.steps[0]), strong.lengths, strong.groups, threshold=1.0, used=False)
        tokens = float(moments.regenerated[0] @ fitted.strong_tokens)
        yield _check("strong tokens", tokens, strong.tokens, strong.groups, threshold=1.0, used=False)


def _repair_checks(fitter: _Fitter, repairs: RepairRows, fitted: _Fitted) -> Iterator[Check]:
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


def _moments(fitter: _Fitter, fitted: _Fitted, regenerate: float) -> RoutingMoments:
    """Moments of weak-only (0) or strong-only (1)."""
    parameters = fitted.estimate.parameters
    return routing_moments(
        np.full((1, 3), regenerate),
        weak_success_curve(parameters, fitter.max_steps),
        parameters.get("strong_success", 1.0),
        parameters.get("repair", 1.0),
        fitted.hazards.right,
        fitted.hazards.derailed,
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
