"""Which belief, and how to fit it: ``python benchmarks/study_beliefs.py``.

Every number on MATH-500 sequences is cross-validated: five folds by problem, whatever is fitted is fitted on the other
four. Standard errors are bootstraps over problems. Per PRM, held-out step labels compare the score densities.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from report import data_folder, heading, table
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold

import trim_pomdp as tp
from observation_models import auc, brier, ece, log_loss
from trim_pomdp.data.processbench import class_features
from trim_pomdp.fitting import observations as observation_fitting
from trim_pomdp.fitting.dynamics import SEQUENCE_CANDIDATES, cross_validate_sequences
from trim_pomdp.model.belief import (
    FilterBelief,
    PosteriorBelief,
    RunningMinimumBelief,
    calibrate_minimum,
    class_prior,
    update,
)
from trim_pomdp.model.hazard import trials_from_lengths

FloatArray = NDArray[np.float64]
SEED = 0


def scores_of(p: FloatArray, batch: tp.SequenceBatch) -> list[object]:
    """Log loss ± standard error, Brier, AUC ± standard error, ECE."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    rng = np.random.default_rng(SEED)
    groups, inverse = np.unique(batch.groups, return_inverse=True)
    members = [np.flatnonzero(inverse == i) for i in range(len(groups))]
    losses, areas = [], []
    for _ in range(200):
        rows = np.concatenate([members[i] for i in rng.integers(len(groups), size=len(groups))])
        losses.append(float(log_loss(p[rows], batch.correct[rows])))
        areas.append(float(auc(p[rows], batch.correct[rows])))
    return [
        f"{log_loss(p, batch.correct):.4f} ± {np.std(losses):.4f}",
        float(brier(p, batch.correct)),
        f"{auc(p, batch.correct):.4f} ± {np.std(areas):.4f}",
        float(ece(p, batch.correct)),
    ]


def folds(
    batch: tp.SequenceBatch, fit: Callable[[tp.SequenceBatch], Callable[[tp.SequenceBatch], FloatArray]]
) -> FloatArray:
    """Held-out probabilities of anything that is fitted on one batch and predicts another."""
    out = np.zeros(len(batch))
    for train, test in GroupKFold(5, shuffle=True, random_state=SEED).split(batch.scores, groups=batch.groups):
        out[test] = fit(batch.take(train))(batch.take(test))
    return out


def compare_beliefs(batch: tp.SequenceBatch, observations: tp.ObservationModel) -> None:
    """The table of beliefs."""
    hazard = tuple(trials_from_lengths(batch.lengths, 30).estimate().tolist())
    rows: list[list[object]] = []
    prior = np.full(len(batch), batch.correct.mean())
    rows.append(["base rate", *scores_of(prior, batch)])
    last = batch.scores[np.arange(len(batch)), batch.lengths - 1]
    rows.append(["last score as it is", *scores_of(last, batch)])
    rows.append(["product of scores as it is", *scores_of(batch.scores.prod(axis=1), batch)])
    rows.append(["posterior (the paper's)", *scores_of(PosteriorBelief(observations).probability_right(batch), batch)])

    def minimum(train: tp.SequenceBatch) -> Callable[[tp.SequenceBatch], FloatArray]:
        return RunningMinimumBelief(calibrate_minimum(train, fitted_on="fold")).probability_right

    rows.append(["running minimum, Platt", *scores_of(folds(batch, minimum), batch)])
    plain = tp.StepDynamics(name="p_w = p_d = .95", weak_success=(0.95,), look_right=0.95, hazard=hazard)
    rows.append(
        [
            "filter, nothing fitted (p_w = p_d = .95)",
            *scores_of(FilterBelief(observations, plain).probability_right(batch), batch),
        ]
    )
    labelled = plain.replace(derailed_emission="labelled")
    rows.append(
        ["filter, S1 as labelled", *scores_of(FilterBelief(observations, labelled).probability_right(batch), batch)]
    )
    for candidate in SEQUENCE_CANDIDATES:
        p = cross_validate_sequences(batch, observations, candidate, hazard, seed=SEED)
        rows.append([f"filter fitted on outcomes: {candidate.description}", *scores_of(p, batch)])
    for name, free in (("p_w, p_d", (0, 1)), ("p_w, p_d, e, d", (0, 1, 2, 3))):
        p = folds(batch, lambda train, free=free: _joint(train, observations, hazard, free))
        rows.append([f"filter fitted on scores and outcomes jointly: {name}", *scores_of(p, batch)])
    heading("Beliefs on 1,000 MATH-500 solutions (Qwen2.5-Math-PRM-7B), cross-validated by problem")
    table(["belief", "log loss", "Brier", "AUC", "ECE"], rows)


def _joint(
    train: tp.SequenceBatch, observations: tp.ObservationModel, hazard: tuple[float, ...], free: tuple[int, ...]
):  # type: ignore[no-untyped-def]
    """Maximise the likelihood of scores *and* outcome, which a correct model would make no worse."""

    def dynamics(x: FloatArray) -> tp.StepDynamics:
        values = np.array([0.95, 0.9, 0.0, 0.0])
        values[list(free)] = 1 / (1 + np.exp(-x))
        return tp.StepDynamics(
            name="joint", weak_success=(values[0],), look_right=values[1], false_alarms=values[2], misses=values[3],
            hazard=hazard,
        )  # fmt: skip

    bins, mask = observations.bins(train.scores), train.mask

    def loss(x: FloatArray) -> float:
        d = dynamics(x)
        emission = observations.class_emission(d)
        q, total = np.ones(len(train)), 0.0
        for t in range(bins.shape[1]):
            prior, likelihood = class_prior(q, d.weak_success[0]), emission[:, bins[:, t]].T
            total += np.log((prior * likelihood).sum(axis=1))[mask[:, t]].sum()
            q = np.where(mask[:, t], update(prior, likelihood)[:, 0], q)
        q = np.clip(q, 1e-12, 1 - 1e-12)
        return -float(total + np.log(np.where(train.correct, q, 1 - q)).sum())

    start = np.log(np.array([0.95, 0.9, 0.05, 0.05])[list(free)] / (1 - np.array([0.95, 0.9, 0.05, 0.05])[list(free)]))
    found = minimize(loss, start, method="Nelder-Mead", options={"maxiter": 150})
    return FilterBelief(observations, dynamics(found.x)).probability_right


def compare_clips(batch: tp.SequenceBatch, features: object) -> None:
    """Where scores are clipped before the log-odds: held-out step labels against held-out outcomes."""
    heading("Where to clip scores before the log-odds")
    hazard = tuple(trials_from_lengths(batch.lengths, 30).estimate().tolist())
    rows: list[list[object]] = []
    kept = observation_fitting.CLIP
    for clip in (1e-5, 1e-4, 5e-4, 1e-3, 2e-3):
        observation_fitting.CLIP = clip
        model = tp.fit_observations("clip", features)  # type: ignore[arg-type]
        p = cross_validate_sequences(batch, model, SEQUENCE_CANDIDATES[1], hazard, seed=SEED)
        d = model.diagnostics
        rows.append(
            [f"{clip:g}", f"{d['held_out_log_loss']:.4f} ± {d['held_out_log_loss_se']:.4f}", *scores_of(p, batch)]
        )
    observation_fitting.CLIP = kept
    table(["clip", "step labels: log loss", "outcomes: log loss", "Brier", "AUC", "ECE"], rows)


def compare_densities() -> None:
    """Score densities per PRM, on held-out solutions."""
    heading("Score densities: held-out log loss of right steps against first errors, folds by solution")
    folder = data_folder()
    records = tp.read_step_scores(folder / "processbench_prm_scores.jsonl.gz")
    sets = {"npz (S0, S2 of ProcessBench MATH)": tp.read_class_features(folder / "prm_features_math.npz")}
    sets.update({name: class_features(records, name) for name in records[0].scores})
    rows = []
    for name, features in sets.items():
        comparison = observation_fitting.compare_estimators(features, seed=SEED)
        for row in comparison.rows:
            rows.append(
                [name, row.name]
                + [
                    f"{e.value:.4f} ± {e.standard_error:.4f}"
                    for e in (row.log_loss, row.brier, row.ece, row.auc, row.bin_log_likelihood)
                ]
            )
    table(["scores", "estimator", "log loss", "Brier", "ECE", "AUC", "log-likelihood of fine bins"], rows)


def main() -> None:
    """Print all tables."""
    folder = data_folder()
    batch = tp.SequenceBatch.of(tp.read_sequences(folder / "math500_sequences_dev.jsonl.gz"))
    features = tp.read_class_features(folder / "prm_features_math.npz")
    compare_beliefs(batch, tp.fit_observations("Qwen2.5-Math-PRM-7B", features))
    compare_clips(batch, features)
    compare_densities()


if __name__ == "__main__":
    main()
