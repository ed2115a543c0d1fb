"""SmoothedHistogram: masses, densities, other bins, samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from observation_models import SmoothedHistogram, score_bins


def data(seed, d, n=80):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.beta(5, 1, (n, d)), rng.beta(1, 2, (n, d))]), np.repeat(["a", "b"], n)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), d=st.sampled_from([1, 2, 3]), bins=st.integers(1, 12), smooth=st.floats(0, 3))
def test_density_and_any_table_sum_to_one(seed, d, bins, smooth):
    histogram = SmoothedHistogram(bins=bins, smoothing=smooth).fit(*data(seed, d))
    centres = (np.arange(bins) + 0.5) / bins
    points = np.stack(np.meshgrid(*[centres] * d, indexing="ij"), -1).reshape(-1, d)
    np.testing.assert_allclose(np.exp(histogram.log_likelihood(points)).sum(axis=0) / bins**d, 1)
    other = np.concatenate([[0], np.sort(np.random.default_rng(seed).uniform(0.01, 0.99, 4)), [1]])
    table = histogram.tabulate([other] * d)
    np.testing.assert_allclose(table.reshape(2, -1).sum(axis=1), 1)


def test_counts_by_hand():
    X = np.concatenate([np.repeat(0.1, 30), np.repeat(0.7, 10), np.repeat(0.9, 40)])
    y = np.repeat([0, 0, 1], [30, 10, 40])
    histogram = SmoothedHistogram(bins=[0, 0.5, 1], pseudo_count=2, smoothing=0).fit(X, y)
    np.testing.assert_allclose(histogram.masses_, [[31 / 42, 11 / 42], [1 / 42, 41 / 42]])
    np.testing.assert_allclose(np.exp(histogram.log_likelihood([0.2])), [[2 * 31 / 42, 2 / 42]])
    # A bin cut in four is a quarter of it.
    np.testing.assert_allclose(histogram.tabulate([0, 0.125, 1])[0, 0], 31 / 42 / 4)
    np.testing.assert_allclose(histogram.predict_proba([0.2], prior=[0.5, 0.5]), [[31 / 32, 1 / 32]])
    np.testing.assert_allclose(histogram.predict_proba([0.2]), [[31 / 32, 1 / 32]])


def test_table_on_other_bins_is_the_integral():
    histogram = SmoothedHistogram(bins=7, smoothing=1).fit(*data(1, 2))
    edges = [np.array([0, 0.33, 0.8, 1]), np.array([0, 0.5, 0.61, 1])]
    grid = (np.arange(4200) + 0.5) / 4200
    marginal = np.exp(histogram.log_likelihood(np.column_stack([grid, np.full(4200, 0.55)])))
    for i in range(3):
        inside = (grid > edges[0][i]) & (grid < edges[0][i + 1])
        # At v = .55, in the middle of bin [3/7, 4/7), the density along u is constant in v up to .5714.
        brute = marginal[inside].sum(axis=0) / 4200 * (4 / 7 - 0.5)
        table = histogram.tabulate([edges[0], np.array([0, 0.5, 4 / 7, 1])])
        np.testing.assert_allclose(table[:, i, 1], brute, rtol=1e-2)


def test_kernel_leaves_atoms_alone():
    rng = np.random.default_rng(0)
    X = np.concatenate([np.ones(50), rng.random(50), rng.random(50)])
    y = np.repeat([0, 1], [100, 50])
    histogram = SmoothedHistogram(bins=score_bins(), smoothing=3).fit(X, y)
    assert histogram.masses_[0, -1] == pytest.approx(0.5, abs=0.02)
    plain = SmoothedHistogram(bins=score_bins(), smoothing=0).fit(X, y)
    roughness = [np.abs(np.diff(h.masses_[1])).sum() for h in (histogram, plain)]
    assert roughness[0] < roughness[1] / 2


def test_weights_are_repetitions():
    X, y = data(2, 2)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = SmoothedHistogram(bins=5, smoothing=1).fit(X, y, sample_weight=counts)
    repeated = SmoothedHistogram(bins=5, smoothing=1).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.masses_, repeated.masses_)


def test_samples_follow_the_density():
    histogram = SmoothedHistogram(bins=6).fit(*data(3, 2))
    draws = histogram.sample(5000, "a", rng=1)
    for axis in (0, 1):
        cdf = np.concatenate([[0], np.cumsum(histogram.masses_[0].sum(axis=1 - axis))])
        result = stats.kstest(draws[:, axis], lambda x, cdf=cdf: np.interp(x, np.linspace(0, 1, 7), cdf))
        assert result.pvalue > 1e-3
    joint = np.histogram2d(*draws.T, bins=histogram.edges_)[0]
    assert np.abs(joint / 5000 - histogram.masses_[0]).max() < 0.03


def test_score_table_has_no_impossible_bin():
    X, y = np.repeat([0.2, 0.8], 50), np.repeat([0, 1], 50)
    coarse = SmoothedHistogram(bins=2, pseudo_count=1e-300, smoothing=0).fit(X, y)
    table = coarse.tabulate_scores(score_bins())
    assert table.min() > 1e-9
    np.testing.assert_allclose(table.sum(axis=1), 1)
