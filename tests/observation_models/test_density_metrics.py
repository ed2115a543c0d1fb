"""Metrics against scikit-learn and numbers worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk

from observation_models import ObservationModelError, auc, brier, ece, log_loss, reliability_curve
from observation_models.metrics import log_losses


@pytest.fixture
def binary():
    rng = np.random.default_rng(0)
    p = rng.random(300)
    return p, (rng.random(300) < p).astype(int), rng.uniform(0, 2, 300)


def test_binary_against_scikit_learn(binary):
    p, y, w = binary
    assert log_loss(p, y, w) == pytest.approx(sk.log_loss(y, p, sample_weight=w))
    assert brier(p, y, w) == pytest.approx(sk.brier_score_loss(y, p, sample_weight=w))
    assert auc(p, y, w) == pytest.approx(sk.roc_auc_score(y, p, sample_weight=w))
    assert auc(np.log(p), y) == pytest.approx(auc(p, y))


def test_many_classes_against_scikit_learn():
    rng = np.random.default_rng(1)
    P = rng.dirichlet(np.ones(4), 200)
    y = np.array([rng.choice(4, p=row) for row in P])
    w = rng.random(200)
    assert log_loss(P, y, w) == pytest.approx(sk.log_loss(y, P, sample_weight=w))
    expected = np.average(((P - np.eye(4)[y]) ** 2).sum(axis=1), weights=w)
    assert brier(P, y, w) == pytest.approx(expected)
    one_by_one = [ece(P[:, c], y == c, w) for c in range(4)]
    assert ece(P, y, w) == pytest.approx(np.mean(one_by_one))


def test_two_columns_agree_with_one(binary):
    p, y, _ = binary
    P = np.column_stack([1 - p, p])
    assert log_loss(P, y) == pytest.approx(log_loss(p, y))
    assert brier(P, y) == pytest.approx(2 * brier(p, y))


def test_reliability_by_hand():
    curve = reliability_curve([0.1, 0.3, 0.8, 1.0], [0, 1, 1, 1], bins=2, weights=[1, 3, 2, 2])
    np.testing.assert_allclose(curve.predicted, [0.25, 0.9])
    np.testing.assert_allclose(curve.observed, [0.75, 1.0])
    np.testing.assert_allclose(curve.weight, [0.5, 0.5])
    np.testing.assert_allclose(curve.standard_error[0], np.sqrt(0.09 + 9 * 0.21) / 4)
    assert curve.ece == pytest.approx(0.5 * 0.5 + 0.5 * 0.1)
    assert ece([0.1, 0.3, 0.8, 1.0], [0, 1, 1, 1], [1, 3, 2, 2], bins=2) == pytest.approx(0.3)


def test_empty_bins_are_left_out():
    assert len(reliability_curve([0.05, 0.95], [0, 1]).weight) == 2


def test_calibrated_predictions_have_little_error(binary):
    p, y, _ = binary
    assert ece(p, y) < 0.1 < ece(1 - p, y)


def test_certainty_that_was_wrong_costs_a_lot_but_not_infinity():
    assert 700 < log_losses([0.0], [1])[0] < 710


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        ([0.5], [1, 0], "do not fit"),
        ([], [], "do not fit"),
        ([0.5, 1.5], [1, 0], "row 1"),
        ([0.5, np.nan], [1, 0], "row 1"),
        ([0.5, 0.5], [1, 2], "whole numbers from 0 to 1"),
        ([[0.5, 0.4]], [1], "sum to one"),
        ([[0.5, 0.5]], [2], "from 0 to 1"),
    ],
)
def test_refusals(p, y, message):
    with pytest.raises(ObservationModelError, match=message):
        log_loss(p, y)


def test_weights_must_weigh():
    with pytest.raises(ObservationModelError, match="sum to zero"):
        brier([0.5], [1], [0.0])


def test_auc_needs_both_outcomes():
    with pytest.raises(ObservationModelError, match="both kinds"):
        auc([0.1, 0.2], [1, 1])


def test_reliability_takes_one_outcome():
    with pytest.raises(ObservationModelError, match="one outcome"):
        reliability_curve([[0.5, 0.5]], [1])
