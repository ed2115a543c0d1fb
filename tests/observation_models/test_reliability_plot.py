"""The picture of reliability, and how a comparison shows itself in a notebook."""

import numpy as np
import pytest

from observation_models import Comparison, LikelihoodRatio, ObservationModelError, SmoothedHistogram, compare
from observation_models.plots import plot_reliability


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    rng = np.random.default_rng(0)
    score = np.concatenate([rng.beta(5, 1, 300), rng.beta(1, 3, 100)])
    labels = np.repeat(["right", "wrong"], [300, 100])
    rows = {
        "ratio <b>": LikelihoodRatio(positive="right", log_odds=("score",), feature_names=("score",)),
        "histogram": SmoothedHistogram(feature_names=("score",)),
    }
    with pytest.warns(UserWarning, match="row"):
        return compare(rows, {"score": score}, labels)


def test_curves_are_those_of_the_comparison(comparison: Comparison) -> None:
    axis = plot_reliability(comparison, "right").axes[0]
    diagonal, *curves = axis.lines
    assert list(diagonal.get_xdata()) == [0, 1]
    for line, row in zip(curves, comparison.rows, strict=True):
        known = comparison.reliability[row.name]["right"]
        assert list(line.get_xdata()) == list(known.predicted)
        assert list(line.get_ydata()) == list(known.observed)
        assert line.get_label() == f"{row.name}, ECE {row.ece.value:.3f}"
    assert len({line.get_marker() for line in curves}) == len(curves)
    with pytest.raises(ObservationModelError, match="there is no class 'S0'; there are right, wrong"):
        plot_reliability(comparison, "S0")


def test_a_comparison_shows_itself_as_a_table(comparison: Comparison) -> None:
    html = comparison._repr_html_()
    assert "ratio &lt;b&gt;" in html
    assert "<b>" not in html
    row = comparison.rows[1]
    assert f"{row.auc.value:.4f} ±{row.auc.standard_error:.4f}" in html
    assert "held out: 5 folds, 400 rows" in html
    assert all(message in html for message in comparison.warnings)
