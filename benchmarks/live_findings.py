"""What the live runs of a family say: the numbers of each section of the report, as rows of plain values.

A row's `Estimate`s have 95 % intervals from one bootstrap over problems that all runs share, so that every difference
is paired. Runs that are not there yet leave their rows out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from live_runs import Drafts, FamilyRuns, Run, is_number
from live_statistics import (
    Bootstrap,
    FloatArray,
    Predictions,
    chosen_elsewhere,
    estimate,
    excess_rmse,
    hull_values,
    mean_error,
)
from study_live import BUDGETS

from trim_pomdp.errors import UnsetParameterError
from trim_pomdp.model.belief import FilterBelief, PosteriorBelief, clipped_logit
from trim_pomdp.model.evidence import EVIDENCE_KINDS, evidence_scores
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.planning.frontier import policy_for_budget

Row = dict[str, Any]
ENDS = ("weak", "strong")
RIVALS = ("threshold", "paper", "random")
ROUTED = "budget-0.2"
RELIABILITY_EDGES = np.array([0.0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 1.0])
# Realised over asked budget: so much is allowed beside two standard errors.
_BUDGET_TOLERANCE = 0.03
# A plan that asks for less than this share of the budget says that the rest would do no good.
_SPENDS_ALL = 0.995


# 1. Plan against reality ------------------------------------------------------------------------------------


def plan_rows(family: FamilyRuns) -> list[Row]:
    """Planned and measured budget and accuracy, by asked budget."""
    return [_plan_row(family, run) for run in family.named("budget")]


def _plan_row(family: FamilyRuns, run: Run) -> Row:
    unit, asked = family.unit, float(run.result["asked_budget"])
    planned_budget = run.planned["strong_tokens"] / unit
    realised, error = (value / unit for value in mean_error(run.strong_tokens))
    accuracy, accuracy_se = mean_error(run.correct)
    reference = asked if planned_budget >= _SPENDS_ALL * asked else planned_budget
    return {
        "family": family.name,
        "asked": asked,
        "planned_budget": planned_budget,
        "realised": realised,
        "realised_se": error,
        "ratio": realised / asked,
        "ratio_se": error / asked,
        "plan_spends_all": reference == asked,
        "ratio_to_plan": realised / planned_budget,
        "within": abs(realised / reference - 1.0) <= _BUDGET_TOLERANCE + 2.0 * error / reference,
        "planned_accuracy": run.planned["accuracy"],
        "accuracy": accuracy,
        "accuracy_se": accuracy_se,
        "difference": accuracy - run.planned["accuracy"],
    }


def plan_summary(family: FamilyRuns, bootstrap: Bootstrap) -> list[Row]:
    """Predictions of all kinds of runs against what was measured: RMSE of accuracy, mean difference, tokens."""
    groups = {
        "ends and oracle": [family[name] for name in (*ENDS, "oracle") if name in family.runs],
        **{kind: family.named(kind) for kind in ("budget", *(f"{item}-budget" for item in EVIDENCE_KINDS), *RIVALS)},
    }
    return [_plan_summary(family, name, runs, bootstrap) for name, runs in groups.items() if runs]


def _plan_summary(family: FamilyRuns, group: str, runs: Sequence[Run], bootstrap: Bootstrap) -> Row:
    means = bootstrap.means(np.stack([run.correct for run in runs], axis=1))
    errors = np.array([mean_error(run.correct)[1] for run in runs])
    planned = np.array([run.planned["accuracy"] for run in runs])
    raw, beyond = excess_rmse(means, errors, planned)
    planned_tokens = sum(run.planned["strong_tokens"] for run in runs)
    tokens = bootstrap.means(np.stack([run.strong_tokens for run in runs], axis=1)).sum(axis=1)
    return {
        "family": family.name,
        "group": group,
        "runs": len(runs),
        "rmse": raw,
        "rmse_beyond": beyond,
        "mean_difference": estimate(means.mean(axis=1) - planned.mean()),
        "token_ratio": estimate(tokens / planned_tokens) if planned_tokens > 0 else None,
        "budgets_within": sum(row["within"] for row in plan_rows(family)) if group == "budget" else None,
    }


# 2. Policy against rules ------------------------------------------------------------------------------------


def policy_rows(family: FamilyRuns, bootstrap: Bootstrap) -> list[Row]:
    """The planned policy minus hulls of rivals at its measured strong tokens, measured and predicted."""
    if family.missing(ENDS):
        return []
    kinds = dict.fromkeys((family.default_evidence, "prm"))
    rows = []
    for kind in kinds:
        for budget in BUDGETS:
            name = family.on_evidence(budget, kind)
            for rival in RIVALS:
                others = [run.name for run in family.named(rival)]
                if name in family.runs and others:
                    row = {"evidence": kind, "asked": budget, "rival": rival}
                    rows.append(row | against_hull(family, name, [*ENDS, *others], bootstrap))
    return rows


def against_hull(family: FamilyRuns, name: str, others: Sequence[str], bootstrap: Bootstrap) -> Row:
    """Accuracy of a run minus the concave hull over others at the run's strong tokens.

    The hull is made anew in every draw. `optimism` is how far its draws lie above it on average, an estimate of how far
    it lies above the truth itself; `chosen_elsewhere` is free of that (see there).
    """
    x, y = bootstrap.means(family.tokens(others)), bootstrap.means(family.correct(others))
    own_x, own_y = bootstrap.means(family[name].strong_tokens), bootstrap.means(family[name].correct)
    hull = hull_values(x, y, own_x)
    return {
        "family": family.name,
        "strong_tokens": float(own_x[0]),
        "budget": float(own_x[0] / family.unit),
        "accuracy": float(own_y[0]),
        "hull": float(hull[0]),
        "difference": estimate(own_y - hull),
        "optimism": float(hull[1:].mean() - hull[0]),
        "chosen_elsewhere": chosen_elsewhere(
            family.tokens(others), family.correct(others), family[name].strong_tokens, family[name].correct
        ),
        "predicted": predicted_against_hull(family, name, others),
    }


def predicted_against_hull(family: FamilyRuns, name: str, others: Sequence[str]) -> float:
    """The same difference among the predictions of the models that the runs were planned in."""
    x, y = (np.array([[family[item].planned[key] for item in others]]) for key in ("strong_tokens", "accuracy"))
    own = family[name].planned
    return float(own["accuracy"] - hull_values(x, y, np.array([own["strong_tokens"]]))[0])


# 3. Evidence ------------------------------------------------------------------------------------------------


def evidence_rows(family: FamilyRuns, bootstrap: Bootstrap) -> list[Row]:
    """AUC and log loss of right steps against first errors, for each kind of evidence."""
    rows = []
    for source in ("weak", ROUTED):
        if source not in family.runs:
            continue
        drafts = family.drafts(source)
        drafts = drafts.take((drafts.true_class != 1) & ~np.isnan(drafts.features["score"]))
        if len(set(drafts.true_class.tolist())) == 2:
            rows += _evidence_of_drafts(family, drafts, source, bootstrap)
    return rows


def _evidence_of_drafts(family: FamilyRuns, drafts: Drafts, source: str, bootstrap: Bootstrap) -> list[Row]:
    right = drafts.true_class == 0
    common = {"family": family.name, "source": source, "right": int(right.sum()), "wrong": int((~right).sum())}
    areas: dict[str, FloatArray] = {}
    losses: dict[str, FloatArray] = {}
    for kind in EVIDENCE_KINDS:
        model = family.preset(kind).routing_model()
        scores = evidence_scores(model.observations.evidence, drafts.features)
        areas[kind] = Predictions(scores, right, drafts.problem).auc(bootstrap)
        posterior = Predictions(step_posterior(model, scores, drafts), right, drafts.problem)
        losses[kind] = posterior.log_loss(bootstrap)
    prior = Predictions(weak_success(family.preset("prm").routing_model(), drafts), right, drafts.problem)
    return [
        common
        | {
            "evidence": kind,
            "auc": estimate(areas[kind]),
            "log_loss": estimate(losses[kind]),
            "auc_gain": None if kind == "prm" else estimate(areas[kind] - areas["prm"]),
            "log_loss_gain": None if kind == "prm" else estimate(losses[kind] - losses["prm"]),
            "log_loss_prior": float(prior.log_loss(bootstrap)[0]),
        }
        for kind in EVIDENCE_KINDS
    ]


def weak_success(model: RoutingModel, drafts: Drafts) -> FloatArray:
    """p_w at each row's step."""
    by_step = model.dynamics.weak_success_by_step
    return np.asarray(by_step[np.minimum(drafts.step, len(by_step) - 1)])


def step_posterior(model: RoutingModel, scores: FloatArray, drafts: Drafts) -> FloatArray:
    """P(S0 | not derailed, evidence): prior odds and transferred emission of the preset, nothing from test problems."""
    p = weak_success(model, drafts)
    emission = model.emission[:, model.observations.step_emission.bins(scores)]
    right, wrong = p * emission[0], (1.0 - p) * emission[2]
    out = p.copy()
    np.divide(right, right + wrong, out=out, where=right + wrong > 0)
    return out


def evidence_routing_rows(family: FamilyRuns, bootstrap: Bootstrap) -> list[Row]:
    """Accuracy of the default policy minus that of policies on other evidence, at equal asked budgets and at equal
    strong tokens.
    """  # noqa: D205
    if family.missing(ENDS):
        return []
    rows = []
    default = family.default_evidence
    for kind in (item for item in EVIDENCE_KINDS if item != default):
        others = [name for budget in BUDGETS if (name := family.on_evidence(budget, kind)) in family.runs]
        for budget in BUDGETS:
            own, other = family.on_evidence(budget, default), family.on_evidence(budget, kind)
            if family.missing([own, other]):
                continue
            difference = family[own].correct - family[other].correct
            rows.append(
                {
                    "family": family.name,
                    "asked": budget,
                    "default": default,
                    "other": kind,
                    "accuracy": float(family[own].correct.mean()),
                    "other_accuracy": float(family[other].correct.mean()),
                    "token_ratio": float(family[other].strong_tokens.mean() / family[own].strong_tokens.mean()),
                    "difference": estimate(bootstrap.means(difference)),
                    "predicted": family[own].planned["accuracy"] - family[other].planned["accuracy"],
                    "at_equal_tokens": against_hull(family, own, [*ENDS, *others], bootstrap)["difference"],
                }
            )
    return rows


# 4. Beliefs -------------------------------------------------------------------------------------------------

Maker = Callable[[], tuple[FloatArray, FloatArray]]


def belief_predictions(family: FamilyRuns) -> tuple[dict[str, Predictions], dict[str, Predictions], list[str]]:
    """P(prefix right) after each step of the weak-only solutions, and P(answer right) after the last.

    Returns
    -------
    steps, outcomes : dict
        By belief.
    missing : list of str
        Why a belief is left out.
    """
    sequences = family.weak_solutions
    plain = SequenceBatch.of(sequences)
    place = np.array([family.place(group) for group in plain.groups.tolist()], dtype=np.int64)
    first = np.array([item.label for item in sequences])
    right = (np.arange(plain.scores.shape[1]) < first[:, None]) | (first < 0)[:, None]
    steps, outcomes, missing = {}, {}, []
    for name, make in _belief_makers(family).items():
        try:
            by_step, last = make()
        except UnsetParameterError as error:
            missing.append(f"{family.name}, {name}: {error}")
            continue
        rows = np.broadcast_to(place[:, None], plain.mask.shape)[plain.mask]
        steps[name] = Predictions(by_step[plain.mask], right[plain.mask], rows)
        outcomes[name] = Predictions(last, plain.correct, place)
    return steps, outcomes, missing


def _belief_makers(family: FamilyRuns) -> dict[str, Maker]:
    """Beliefs as functions that give P(prefix right) by step, (n, T), and P(answer right), (n,)."""
    prm = family.preset("prm")
    scored = SequenceBatch.of(family.weak_solutions)
    last = scored.lengths - 1

    def filtered(kind: str) -> tuple[FloatArray, FloatArray]:
        preset = family.preset(kind)
        batch = SequenceBatch.of(family.weak_solutions, preset.observations.evidence)
        states = FilterBelief(preset.observations, preset.dynamics).states(batch)
        return states, states[:, -1]

    def posterior() -> tuple[FloatArray, FloatArray]:
        states = PosteriorBelief(prm.observations).states(scored)[..., 0]
        return states, states[np.arange(len(last)), last]

    def running_minimum() -> tuple[FloatArray, FloatArray]:
        calibration = prm.dynamics.running_minimum
        if calibration is None:
            raise UnsetParameterError("the preset holds no calibration of the running minimum")
        logit = clipped_logit(np.minimum.accumulate(scored.scores, axis=1), calibration.clip)
        states = np.asarray(1.0 / (1.0 + np.exp(-(calibration.intercept + calibration.slope * logit))))
        return states, states[:, -1]

    def prior() -> tuple[FloatArray, FloatArray]:
        success = prm.dynamics.weak_success_by_step
        step = np.minimum(np.arange(scored.scores.shape[1]), len(success) - 1)
        states = np.tile(np.cumprod(success[step]), (len(last), 1))
        return states, states[np.arange(len(last)), last]

    kinds = dict.fromkeys((family.default_evidence, *EVIDENCE_KINDS))
    makers: dict[str, Maker] = {f"filter, {kind}": lambda kind=kind: filtered(kind) for kind in kinds}  # type: ignore[misc]
    return makers | {"posterior": posterior, "running_minimum": running_minimum, "prior alone": prior}


def belief_rows(family: FamilyRuns, bootstrap: Bootstrap) -> tuple[list[Row], list[Row], list[str]]:
    """Log loss, Brier and ECE of beliefs on true classes after each step, and on outcomes; what is missing."""
    if "weak" not in family.runs:
        return [], [], []
    steps, outcomes, missing = belief_predictions(family)
    live = _live_belief(family)
    rows = _belief_table(family, steps, bootstrap)
    if live is not None:
        rows.append({"family": family.name, "belief": f"filter, in the run {ROUTED}"} | _scores(live, bootstrap))
    return rows, _belief_table(family, outcomes, bootstrap), missing


def _belief_table(family: FamilyRuns, beliefs: dict[str, Predictions], bootstrap: Bootstrap) -> list[Row]:
    reference = next(iter(beliefs.values())).log_loss(bootstrap)
    rows: list[Row] = []
    for name, predictions in beliefs.items():
        worse = predictions.log_loss(bootstrap) - reference
        row = {"family": family.name, "belief": name} | _scores(predictions, bootstrap)
        rows.append(row | {"log_loss_above_first": estimate(worse) if rows else None})
    return rows


def _scores(predictions: Predictions, bootstrap: Bootstrap) -> Row:
    return {
        "rows": len(predictions.p),
        "share_right": float(predictions.outcome.mean()),
        "log_loss": estimate(predictions.log_loss(bootstrap)),
        "brier": estimate(predictions.brier(bootstrap)),
        "ece": estimate(predictions.ece(bootstrap)),
        "log_loss_above_first": None,
    }


def _live_belief(family: FamilyRuns) -> Predictions | None:
    """What the router itself believed of the weak steps of a routed run: P(S0) before it decided."""
    if ROUTED not in family.runs:
        return None
    drafts = family.drafts(ROUTED)
    if drafts.belief is None:
        return None
    return Predictions(drafts.belief, drafts.true_class == 0, drafts.problem)


# 5. Distance to the oracle ----------------------------------------------------------------------------------


def oracle_rows(family: FamilyRuns, bootstrap: Bootstrap) -> list[Row]:
    """How far the default policy lies below the oracle at equal strong tokens, measured and in the model.

    The thinned oracle repairs a random share of the first errors. A policy on true classes may choose which, so
    `best_on_truth`, planned on true classes in the model, lies above it.
    """
    if family.missing(["weak", "oracle"]):
        return []
    ends = ["weak", "oracle"]
    x, y = bootstrap.means(family.tokens(ends)), bootstrap.means(family.correct(ends))
    seeing = truth_model(family.preset().routing_model())
    rows = []
    for run in family.named("budget"):
        own_x, own_y = bootstrap.means(run.strong_tokens), bootstrap.means(run.correct)
        chord = hull_values(x, y, own_x)
        planned_budget = min(run.planned["strong_tokens"] / family.unit, 1.0)
        best = policy_for_budget(seeing, planned_budget).planned
        assert best is not None
        rows.append(
            {
                "family": family.name,
                "asked": float(run.result["asked_budget"]),
                "accuracy": float(own_y[0]),
                "oracle": float(chord[0]),
                "below_oracle": estimate(chord - own_y),
                "predicted_below_oracle": -predicted_against_hull(family, run.name, ends),
                "predicted_below_best_on_truth": best.accuracy - run.planned["accuracy"],
                "past_oracle": bool(own_x[0] > x[0, 1]),
            }
        )
    return rows


def truth_model(model: RoutingModel) -> RoutingModel:
    """The same models beside a PRM that tells the true class."""
    telling = StepEmission(
        score_edges=(0.0, 0.5, 1.0), right=(0.0, 0.0, 1.0), derailed=(0.0, 1.0, 0.0), wrong=(1.0, 0.0, 0.0)
    )
    observations = ObservationModel(name="true class", estimator="by hand", step_emission=telling)
    dynamics = model.dynamics.replace(
        derailed_emission="labelled",
        false_alarms=0.0,
        misses=0.0,
        right_weights=None,
        strong_only_tokens=model.strong_only_tokens,
    )
    return RoutingModel(observations, dynamics, model.reward)


# 6. Speed ---------------------------------------------------------------------------------------------------


def speed_rows(families: Iterable[FamilyRuns]) -> list[Row]:
    """Problems per minute and time outside the models, by strategy, families together."""
    groups: dict[str, list[Run]] = {}
    for family in families:
        for run in family.runs.values():
            stem, _, number = run.name.rpartition("-")
            groups.setdefault(stem if stem and is_number(number) else run.name, []).append(run)
    return [_speed_row(strategy, runs) for strategy, runs in sorted(groups.items())]


def _speed_row(strategy: str, runs: Sequence[Run]) -> Row:
    wall = np.array([run.result["wall_s"] for run in runs])
    outside = wall * np.array([run.result["overhead_share"] for run in runs])
    problems = np.array([run.result["problems"] for run in runs])
    steps = np.array([run.steps for run in runs])
    rates = 60.0 * problems / wall
    return {
        "strategy": strategy,
        "runs": len(runs),
        "per_minute": float(60.0 * problems.sum() / wall.sum()),
        "slowest": float(rates.min()),
        "fastest": float(rates.max()),
        "decisions": int(steps.sum()),
        "outside_us": float(1e6 * outside.sum() / steps.sum()),
        "outside_share": float(outside.sum() / wall.sum()),
        "failed": sum(int(run.result["failed"]) for run in runs),
    }
