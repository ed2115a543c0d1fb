"""ReflectedKDE against SciPy, published bins and plain quadrature."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import dblquad

from observation_models import ReflectedKDE

GRID = np.linspace(0, 1, 21)


def two_classes(seed, d, n=60):
    rng = np.random.default_rng(seed)
    a = rng.beta(6, 1.5, (n, d))
    if d == 2:
        a[:, 1] = np.clip(0.6 * a[:, 0] + 0.4 * a[:, 1], 0, 1)  # correlated
    return np.concatenate([a, rng.beta(1, 2, (n, d))]), np.repeat([1, 0], n)


def published(shared):
    data = np.load(shared / "data" / "prm_features_math.npz")
    names = ("S0", "S1", "S2")
    X = np.concatenate([data[name] for name in names])
    return data, X, np.repeat([0, 1, 2], [len(data[name]) for name in names])


def test_published_bins(shared):
    data, X, y = published(shared)
    kde = ReflectedKDE().fit(X, y)
    table = kde.tabulate([GRID, GRID]).reshape(3, 400)
    assert np.abs(table - data["bin_probs_0.05"]).max() < 5e-4
    # The published numbers turn out to be exact integrals, not a midpoint rule.
    np.testing.assert_allclose(table, data["bin_probs_0.05"], atol=1e-12)
    for c, name in enumerate(("S0", "S1", "S2")):
        np.testing.assert_allclose(kde.covariance_[c], data[f"{name}_kernel_covariance"], rtol=1e-9)


def gauss_legendre(edges, order=12):
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (nodes + 1)).ravel(), (half * weights).ravel()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    d=st.sampled_from([1, 2]),
    bandwidth=st.sampled_from(["scott", "silverman", 0.07, 0.6]),
)
def test_density_integrates_to_one_and_to_its_bins(seed, d, bandwidth):
    kde = ReflectedKDE(bandwidth=bandwidth).fit(*two_classes(seed, d))
    edges = np.sort(np.random.default_rng(seed).uniform(0.05, 0.95, 3))
    edges = np.concatenate([[0], edges, [1]])
    fine = np.unique(np.concatenate([edges, np.linspace(0, 1, 9)]))
    x, w = gauss_legendre(fine)
    points = np.stack(np.meshgrid(*[x] * d, indexing="ij"), -1).reshape(-1, d)
    weights = np.prod(np.stack(np.meshgrid(*[w] * d, indexing="ij"), -1).reshape(-1, d), axis=1)
    density = np.exp(kde.log_likelihood(points)) * weights[:, None]
    np.testing.assert_allclose(density.sum(axis=0), 1, atol=1e-9)
    table = kde.tabulate([edges] * d)
    np.testing.assert_allclose(table.reshape(2, -1).sum(axis=1), 1, atol=1e-12)
    brute = np.array([np.histogramdd(points, [edges] * d, weights=density[:, c])[0] for c in range(2)])
    np.testing.assert_allclose(table, brute, atol=1e-9)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scipy_with_explicit_reflection(d, rule, weighted):
    X, y = two_classes(3, d)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(X)) if weighted else None
    kde = ReflectedKDE(bandwidth=rule).fit(X, y, sample_weight=weights)
    points = np.random.default_rng(2).random((40, d))
    for c, label in enumerate(kde.classes_):
        own = y == label
        reference = stats.gaussian_kde(X[own].T, bw_method=rule, weights=None if weights is None else weights[own])
        total = sum(
            reference(np.stack([(u, -u, 2 - u)[k] for u, k in zip(points.T, image, strict=True)]))
            for image in product(range(3), repeat=d)
        )
        # Nine images lose next to nothing at these bandwidths, so normalisation does not show.
        np.testing.assert_allclose(np.exp(kde.log_likelihood(points)[:, c]), total, rtol=1e-6)


def test_bins_equal_adaptive_quadrature():
    X, y = two_classes(5, 2)
    kde = ReflectedKDE().fit(X, y)
    rho = kde.covariance_[1, 0, 1] / np.sqrt(np.prod(np.diag(kde.covariance_[1])))
    assert rho > 0.5  # the series has work to do
    table = kde.tabulate([np.linspace(0, 1, 6)] * 2)
    for i, j in ((4, 4), (2, 3), (0, 1)):
        mass, _ = dblquad(
            lambda v, u: np.exp(kde.log_likelihood([[u, v]])[0, 1]),
            i / 5, (i + 1) / 5, j / 5, (j + 1) / 5, epsabs=1e-10,
        )  # fmt: skip
        assert table[1, i, j] == pytest.approx(mass, abs=1e-9)


def test_strong_correlation_still_sums_to_one():
    rng = np.random.default_rng(0)
    a = rng.random((50, 1))
    X = np.clip(np.hstack([a, a + rng.normal(0, 0.05, a.shape)]), 0, 1)
    kde = ReflectedKDE().fit(np.vstack([X, X]), np.repeat([0, 1], 50))
    table = kde.tabulate([GRID, GRID])
    x, w = gauss_legendre(np.linspace(0, 1, 21), 8)
    points = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(kde.log_likelihood(points)[:, 0]) * np.multiply.outer(w, w).ravel()
    np.testing.assert_allclose(table[0], np.histogram2d(*points.T, bins=[GRID, GRID], weights=density)[0], atol=1e-8)


def test_more_features_with_a_fixed_bandwidth():
    X, y = two_classes(4, 3)
    kde = ReflectedKDE(bandwidth=0.1).fit(X, y)
    x, w = gauss_legendre(np.linspace(0, 1, 5), 5)
    points = np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
    weights = np.multiply.outer(np.multiply.outer(w, w), w).ravel()
    density = np.exp(kde.log_likelihood(points)[:, 1]) * weights
    edges = [np.linspace(0, 1, 3)] * 3
    np.testing.assert_allclose(kde.tabulate(edges)[1], np.histogramdd(points, edges, weights=density)[0], atol=1e-6)


def test_weights_are_repetitions_at_a_fixed_bandwidth():
    X, y = two_classes(6, 2)
    counts = np.random.default_rng(0).integers(0, 4, len(X))
    weighted = ReflectedKDE(bandwidth=0.08).fit(X, y, sample_weight=counts)
    repeated = ReflectedKDE(bandwidth=0.08).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.class_prior_, repeated.class_prior_)
    np.testing.assert_allclose(weighted.log_likelihood(X), repeated.log_likelihood(X))
    np.testing.assert_allclose(weighted.tabulate([GRID] * 2), repeated.tabulate([GRID] * 2), atol=1e-15)


def test_far_from_all_kernels_the_density_is_tiny_not_zero():
    X, y = np.repeat([0.01, 0.99], 40), np.repeat([0, 1], 40)
    kde = ReflectedKDE(bandwidth=0.01).fit(X, y)
    far = kde.log_likelihood([0.99])[0, 0]
    assert far == pytest.approx(stats.norm.logpdf(0.98, scale=0.01), abs=1)
    assert far < -4000


@pytest.mark.parametrize("bandwidth", ["scott", 0.5])
def test_samples_follow_the_density(bandwidth):
    X, y = two_classes(8, 2)
    kde = ReflectedKDE(bandwidth=bandwidth).fit(X, y)
    draws = kde.sample(4000, 1, rng=0)
    assert draws.shape == (4000, 2)
    edges = np.linspace(0, 1, 101)
    table = kde.tabulate([edges, edges])[1]
    for axis in (0, 1):
        cdf = np.concatenate([[0], np.cumsum(table.sum(axis=1 - axis))])
        assert stats.kstest(draws[:, axis], lambda x, cdf=cdf: np.interp(x, edges, cdf)).pvalue > 1e-3
    joint = np.histogram2d(*draws.T, bins=[edges[::25]] * 2)[0]
    expected = kde.tabulate([edges[::25]] * 2)[1] * 4000
    keep = expected > 5
    chi2 = ((joint - expected)[keep] ** 2 / expected[keep]).sum()
    assert stats.chi2.sf(chi2, keep.sum()) > 1e-3


def test_seeds_repeat():
    kde = ReflectedKDE().fit(*two_classes(9, 1))
    np.testing.assert_array_equal(kde.sample(5, 0, rng=3), kde.sample(5, 0, rng=np.random.default_rng(3)))
