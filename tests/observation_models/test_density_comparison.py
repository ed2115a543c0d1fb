"""Held-out comparison: what it computes, that it repeats, what it finds on real scores."""

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.model_selection import StratifiedGroupKFold

from observation_models import (
    LikelihoodRatio,
    ObservationModelError,
    ObservationModelWarning,
    ReflectedKDE,
    SmoothedHistogram,
    compare,
)


def data(seed=0, n=400):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return np.where(y == 1, rng.beta(5, 2, n), rng.beta(2, 4, n)), y, rng.integers(0, n // 4, n)


CANDIDATES = {
    "kde": ReflectedKDE(),
    "histogram": SmoothedHistogram(),
    "ratio": LikelihoodRatio(),
}


def test_numbers_equal_a_loop_by_hand():
    score, y, groups = data()
    result = compare(CANDIDATES, score, y, groups, n_folds=4, seed=3)
    p, own = np.empty(len(y)), np.empty(len(y))
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=3)
    for train, test in folds.split(score, y, groups):
        assert not set(groups[train]) & set(groups[test])
        fitted = SmoothedHistogram().fit(score[train], y[train])
        p[test] = fitted.predict_proba(score[test])[:, 1]
        own[test] = fitted.log_likelihood(score[test])[np.arange(len(test)), y[test]]
    row = result.rows[1]
    assert row.name == "histogram"
    assert row.log_loss.value == pytest.approx(sk.log_loss(y, p))
    assert row.brier.value == pytest.approx(sk.brier_score_loss(y, p))
    assert row.auc.value == pytest.approx(sk.roc_auc_score(y, p))
    assert row.log_likelihood.value == pytest.approx(own.mean())
    curve = result.reliability["histogram"][1]
    assert row.ece.value == pytest.approx(curve.ece)
    assert np.sum(curve.weight * curve.observed) == pytest.approx(y.mean())
    np.testing.assert_allclose(result.probabilities["histogram"][:, 1], p)
    assert result.n_groups == len(np.unique(groups))


def test_what_a_prompt_shows_is_one_short_line():
    result = compare(CANDIDATES, *data())
    losses = ", ".join(f"{row.name} {row.log_loss.value:.4g}" for row in result.rows)
    assert repr(result) == f"Comparison(log loss {losses}; samples {result.n_samples}, folds 5)"


def test_excess_is_paired_and_zero_for_the_best():
    result = compare(CANDIDATES, *data())
    rows = {row.name: row for row in result.rows}
    assert rows[result.best].excess_log_loss == (0.0, 0.0)
    for row in result.rows:
        assert row.excess_log_loss.value == pytest.approx(row.log_loss.value - rows[result.best].log_loss.value)
        assert row.excess_log_loss.standard_error <= row.log_loss.standard_error * 1.5


def test_common_bins_make_log_likelihoods_comparable():
    score, y, groups = data()
    edges = np.linspace(0, 1, 21)
    rows = compare(CANDIDATES, score, y, groups, edges=edges).rows
    # On its own 20 bins the histogram's density is mass / .05, so both columns tell the same.
    assert rows[1].bin_log_likelihood.value == pytest.approx(rows[1].log_likelihood.value + np.log(0.05), abs=1e-3)
    assert all(-4 < row.bin_log_likelihood.value < -2 for row in rows)


def test_standard_errors_count_problems_not_rows():
    score, y, _ = data()
    copies = compare({"h": SmoothedHistogram()}, np.repeat(score, 4), np.repeat(y, 4), np.repeat(np.arange(len(y)), 4))
    by_row = np.std(-np.log(copies.probabilities["h"][np.arange(4 * len(y)), np.repeat(y, 4)]))
    by_row /= np.sqrt(4 * len(y))
    assert copies.rows[0].log_loss.standard_error == pytest.approx(2 * by_row, rel=0.02)
    assert copies.rows[0].auc.standard_error > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_result():
    first, second, other = (compare(CANDIDATES, *data(), seed=seed) for seed in (1, 1, 2))
    assert first.rows == second.rows
    assert first.to_table() == second.to_table()
    assert first.rows != other.rows


def test_without_groups_it_warns():
    score, y, groups = data()
    with pytest.warns(ObservationModelWarning, match="no groups given"):
        result = compare({"h": SmoothedHistogram()}, score, y)
    assert any("no groups" in message for message in result.warnings)
    assert "no groups" in result.to_table()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare(CANDIDATES, score, y, groups)


def test_small_classes_are_named():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [200, 20])
    with pytest.warns(ObservationModelWarning, match="class 1 has only 16"):
        result = compare({"h": SmoothedHistogram()}, rng.random(220), y, np.arange(220))
    assert any("class 1" in message for message in result.warnings)


def test_estimators_choose_their_features_and_classes_may_be_many():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    X = {"score": rng.beta(2 + y, 3), "length": rng.normal(y, 1)}
    result = compare(
        {
            "one": SmoothedHistogram(feature_names=("score",)),
            "both": LikelihoodRatio(log_odds=("score",)),
        },
        X,
        np.array(["a", "b", "c"])[y],
        np.arange(600),
    )
    one, both = result.rows
    assert result.classes == ("a", "b", "c")
    assert set(result.reliability["one"]) == {"a", "b", "c"}
    assert np.isnan(one.auc.value)
    assert np.isnan(both.bin_log_likelihood.value)
    assert np.isfinite(one.bin_log_likelihood.value)
    assert result.best == "both"
    assert both.excess_log_loss.value == 0
    assert " - " in result.to_table()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimators": {}}, "no estimators"),
        ({"n_folds": 1}, "at least 2"),
        ({"n_folds": 300}, "of the rarest class"),
        ({"groups": [1, 2]}, "groups has shape"),
        ({"y": [0, 1]}, "y has shape"),
    ],
)
def test_refusals(change, message):
    score, y, groups = data()
    arguments = {"estimators": CANDIDATES, "X": score, "y": y, "groups": groups} | change
    with pytest.raises(ObservationModelError, match=message):
        compare(**arguments)


def test_on_real_scores_the_ratio_beats_published_densities(shared):
    archive = np.load(shared / "data" / "prm_features_math.npz")
    score = np.concatenate([archive["S0"][:, 1], archive["S2"][:, 1]])
    groups = np.concatenate([archive["S0_id"], archive["S2_id"]])
    y = np.repeat([1, 0], [len(archive["S0"]), len(archive["S2"])])
    result = compare(CANDIDATES, {"score": score}, y, groups)
    rows = {row.name: row for row in result.rows}
    assert result.best == "ratio"
    for name in ("kde", "histogram"):
        excess = rows[name].excess_log_loss
        assert excess.value > 2 * excess.standard_error
    assert rows["ratio"].bin_log_likelihood.value > rows["kde"].bin_log_likelihood.value + 5  # the atom at 1
    assert rows["ratio"].auc.value > 0.96


def test_comparisons_are_equal_by_what_they_found():
    first, second, other = (compare({"h": SmoothedHistogram()}, *data(), seed=seed) for seed in (1, 1, 2))
    assert first == first
    assert first == second
    assert first != other
    curve, twin = (item.reliability["h"][1] for item in (first, second))
    assert curve == twin
    assert curve != other.reliability["h"][1]
    assert curve != first
