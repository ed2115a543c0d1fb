"""What all estimators share: inputs, refusals, scikit-learn conventions, a light import."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone

import observation_models
from observation_models import (
    LikelihoodRatio,
    ObservationModelError,
    ObservationModelWarning,
    ReflectedKDE,
    SmoothedHistogram,
)

ALL = [ReflectedKDE, SmoothedHistogram, LikelihoodRatio]


def data(n=100, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.beta(5, 2, n), rng.beta(2, 5, n)]), np.repeat([1, 0], n)


@pytest.mark.parametrize("make", ALL)
def test_names_travel(make):
    score, y = data()
    noise = np.random.default_rng(1).random(len(y))
    X = {"noise": noise, "score": score}
    chosen = make(feature_names=("score",)).fit(X, y)
    assert chosen.feature_names_ == ("score",)
    np.testing.assert_array_equal(chosen.log_likelihood(X), chosen.log_likelihood(score))
    plain = make().fit(score[:, None], y)
    assert plain.feature_names_ == ("x0",)
    np.testing.assert_allclose(plain.log_likelihood(score), chosen.log_likelihood(score))
    with pytest.raises(ObservationModelError, match="feature 'score' is missing"):
        chosen.log_likelihood({"noise": noise})


@pytest.mark.parametrize("make", ALL)
def test_bayes(make):
    score, y = data()
    fitted = make().fit(score, np.where(y == 1, "right", "wrong"))
    assert fitted.classes_.tolist() == ["right", "wrong"]
    np.testing.assert_allclose(fitted.class_prior_, 0.5)
    posterior = fitted.predict_proba([0.1, 0.9], prior=[9, 1])
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    even = fitted.predict_proba([0.1, 0.9])
    np.testing.assert_allclose(posterior[:, 0] / posterior[:, 1], 9 * even[:, 0] / even[:, 1], rtol=1e-9)
    assert posterior[0, 0] < posterior[1, 0]


@pytest.mark.parametrize("make", ALL)
def test_scikit_learn_conventions(make):
    estimator = make(feature_names=("a",))
    assert clone(estimator).get_params() == estimator.get_params()
    score, y = data()
    assert estimator.fit(score, y) is estimator
    with pytest.raises(ObservationModelError, match="not fitted yet"):
        clone(estimator).log_likelihood(score)
    with pytest.raises(TypeError):
        make("scott")


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": [0.5, np.nan, 0.5, 0.5]}, "feature 'x0' is nan in row 1"),
        ({"X": {"score": [0.5, 0.5, 0.5, np.inf]}}, "feature 'score' is inf in row 3"),
        ({"X": [0.5, 0.5, 0.5, 1.25]}, r"feature 'x0' is 1.25 in row 3, outside \[0, 1\]"),
        ({"X": np.zeros((4, 1, 1))}, "expected \\(n, d\\)"),
        ({"X": np.zeros((4, 0))}, "0 features"),
        ({"X": {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.1]}}, "feature 'b' has shape"),
        ({"y": [0, 1, 1]}, "y has shape"),
        ({"y": [0, 1, 1, np.nan]}, "y is NaN in row 3"),
        ({"y": [1, 1, 1, 1]}, "at least two"),
        ({"sample_weight": [1, 1]}, "sample_weight has shape"),
        ({"sample_weight": [1, 1, -1, 1]}, "sample_weight is -1.0 in row 2"),
        ({"sample_weight": [0, 0, 1, 1]}, "class 0 is empty"),
        ({"groups": [1]}, "groups has shape"),
    ],
)
@pytest.mark.filterwarnings("ignore::observation_models.ObservationModelWarning")
def test_refusals(make, change, message):
    arguments = {"X": [0.1, 0.2, 0.8, 0.9], "y": [0, 0, 1, 1]} | change
    with pytest.raises(ObservationModelError, match=message) as caught:
        make().fit(**arguments)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", ALL)
def test_few_samples_are_reported(make):
    score, y = data()
    with pytest.warns(ObservationModelWarning, match="class 1 has only 10 samples"):
        make().fit(score[90:], y[90:])
    heavy = np.ones(200)
    heavy[0] = 1e4  # all rests on one sample
    with pytest.warns(ObservationModelWarning, match="class 1 has only 1.0"):
        make().fit(score, y, sample_weight=heavy)


@pytest.mark.parametrize("make", ALL)
def test_refused_uses(make):
    score, y = data()
    fitted = make().fit(score, y)
    for bad, message in (
        ([0.0, 0.5, 0.5, 1.0], "increasing"),
        ([[0.0, 1.0], [0.0, 1.0]], "2 edge arrays|1-D"),
        ([1.0], "at least two"),
    ):
        with pytest.raises(ObservationModelError, match=message):
            fitted.tabulate(bad)
    with pytest.raises(ObservationModelError, match="unknown class 'x'"):
        fitted.sample(3, "x", rng=0)
    with pytest.raises(ObservationModelError, match="2 positive numbers"):
        fitted.predict_proba(score, prior=[1.0])
    with pytest.raises(ObservationModelError, match="expected 1"):
        fitted.log_likelihood(np.zeros((3, 2)))


@pytest.mark.parametrize("make", [ReflectedKDE, SmoothedHistogram])
def test_edges_must_cover_everything(make):
    fitted = make().fit(*data())
    with pytest.raises(ObservationModelError, match=r"run from 0.1 to 1"):
        fitted.tabulate([0.1, 0.5, 1.0])
    X = np.column_stack([data()[0]] * 2) * [1, 0.5]
    with pytest.raises(ObservationModelError, match="single feature"):
        make(**({"bandwidth": 0.1} if make is ReflectedKDE else {})).fit(X, data()[1]).tabulate_scores([0, 1])


@pytest.mark.parametrize("bandwidth", ["scot", 0.0, -1.0, np.nan])
def test_unknown_bandwidth(bandwidth):
    with pytest.raises(ObservationModelError, match="bandwidth"):
        ReflectedKDE(bandwidth=bandwidth).fit(*data())


def test_features_that_admit_no_covariance():
    score, y = data()
    with pytest.raises(ObservationModelError, match="'x1' does not vary in class 0"):
        ReflectedKDE().fit(np.column_stack([score, np.ones(200)]), y)
    with pytest.raises(ObservationModelError, match="collinear in class 0"):
        ReflectedKDE().fit(np.column_stack([score, score]), y)
    three = ReflectedKDE().fit(np.random.default_rng(0).random((200, 3)), y)
    assert np.all(np.isfinite(three.log_likelihood(np.full((1, 3), 0.5))))
    with pytest.raises(ObservationModelError, match="need d <= 2"):
        three.tabulate([[0, 1]] * 3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"bins": 0}, "no histogram"), ({"pseudo_count": 0}, "pseudo_count"), ({"smoothing": -1}, "smoothing")],
)
def test_histogram_parameters(parameters, message):
    with pytest.raises(ObservationModelError, match=message):
        SmoothedHistogram(**parameters).fit(*data())


def test_every_public_name_loads():
    for name in observation_models.__all__:
        assert getattr(observation_models, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = observation_models.no_such_name


def test_import_is_light():
    code = "import sys, observation_models; print({'sklearn', 'scipy', 'numba'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


def test_it_knows_no_routing():
    code = (
        "import sys, observation_models as o; [getattr(o, n) for n in o.__all__]; "
        "print([m for m in sys.modules if m.split('.')[0] in ('trim_pomdp', 'solvers')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
