"""Score bins: thresholds on edges, fine near the ends, the atom apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observation_models import ObservationModelError, log_odds, representative_scores, score_bins


@given(step=st.floats(0.05, 1.0), resolution=st.sampled_from([2.0**-11, 2.0**-8, 0.01]))
def test_edges(step, resolution):
    edges = score_bins(step, resolution)
    assert edges[0] == 0
    assert edges[-1] == 1
    assert np.all(np.diff(edges) > 0)
    for k in range(20):  # exactly: a threshold of .15 must not cut a bin
        assert k / 20 in edges
    assert edges[-2] == np.nextafter(1, 0)
    inner = np.diff(log_odds(edges[1:-2]))
    assert inner.max() < 1.5 * max(step, 0.2)
    middle = representative_scores(edges)
    assert np.all((middle >= edges[:-1]) & (middle <= edges[1:]))
    assert middle[-1] == 1.0
    assert np.all(np.diff(middle) > 0)
    np.testing.assert_allclose(log_odds(middle[1:-2]), (log_odds(edges[1:-3]) + log_odds(edges[2:-2])) / 2)


def test_default_resolves_half_precision():
    edges = score_bins()
    assert 100 <= len(edges) - 1 <= 160
    below_one = 1 - np.arange(1, 9) * 2.0**-11
    assert len(np.unique(np.searchsorted(edges, below_one, side="right"))) >= 7


def test_representatives_without_an_atom():
    middle = representative_scores(np.linspace(0, 1, 5))
    np.testing.assert_allclose(middle[1:3], 1 - middle[[2, 1]])
    assert 0 < middle[0] < 0.25 < 0.75 < middle[-1] < 1


def test_log_odds():
    np.testing.assert_allclose(log_odds([0.25, 0.5, 0.75]), [-np.log(3), 0, np.log(3)])
    np.testing.assert_allclose(log_odds([0, 1], clip=0.01), [-np.log(99), np.log(99)])


@pytest.mark.parametrize(("step", "resolution"), [(0, 1e-3), (0.1, 0), (0.1, 0.05), (np.nan, 1e-3)])
def test_refusals(step, resolution):
    with pytest.raises(ObservationModelError, match="step"):
        score_bins(step, resolution)


def test_edges_outside_the_unit_interval():
    with pytest.raises(ObservationModelError, match=r"outside \[0, 1\]"):
        representative_scores([0, 0.5, 1.5])
