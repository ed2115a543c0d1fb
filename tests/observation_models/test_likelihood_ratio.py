"""LikelihoodRatio: the ratio, densities that agree with it, score tables on real scores."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.tree import DecisionTreeClassifier

from observation_models import (
    FeatureTransform,
    LikelihoodRatio,
    LinearEvidence,
    ObservationModelError,
    ReflectedKDE,
    SmoothedHistogram,
    log_odds,
    representative_scores,
    score_bins,
)


def gaussian_log_odds(seed=0, n=4000, share=0.8):
    """Scores whose log-odds are N(2, 1.5²) if right, N(-1, 1.5²) if wrong: z is linear in them."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    u = np.where(y == 1, 2.0, -1.0) + 1.5 * rng.standard_normal(n)
    return 1 / (1 + np.exp(-u)), y


@pytest.fixture(scope="module")
def real(shared):
    data = np.load(shared / "data" / "prm_features_math.npz")
    score = np.concatenate([data["S0"][:, 1], data["S2"][:, 1]])
    groups = np.concatenate([data["S0_id"], data["S2_id"]])
    return score, np.repeat([1, 0], [len(data["S0"]), len(data["S2"])]), groups


def test_recovers_a_known_ratio():
    score, y = gaussian_log_odds(n=40_000)
    ratio = LikelihoodRatio(clip=1e-6).fit(score, y)
    u = np.linspace(-3, 4, 8)
    true = (u - 0.5) * 3 / 1.5**2
    np.testing.assert_allclose(ratio.evidence(1 / (1 + np.exp(-u))), true, atol=0.15)


def test_evidence_does_not_depend_on_the_training_prior():
    few, many = (LikelihoodRatio().fit(*gaussian_log_odds(1, 40_000, share)) for share in (0.2, 0.9))
    scores = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(few.evidence(scores), many.evidence(scores), atol=0.25)
    # Posterior log-odds differ by the priors', log 9 + log 4.
    odds = [np.diff(np.log(ratio.predict_proba([0.5])))[0, 0] for ratio in (few, many)]
    assert odds[1] - odds[0] == pytest.approx(np.log(36), abs=0.25)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.2, 0.9),
    smoothing=st.floats(0, 1),
    n_bins=st.integers(2, 150),
)
def test_tables_agree_with_the_ratio(seed, share, smoothing, n_bins):
    score, y = gaussian_log_odds(seed, 300, share)
    score[score > 0.95] = 1.0  # an atom, as real scores have
    ratio = LikelihoodRatio(smoothing=smoothing, n_bins=n_bins).fit(score, y)
    table = ratio.tabulate()
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table.min() > 0
    log_ratio = np.log(table[1] / table[0])
    middle = (ratio.edges_[0][1:] + ratio.edges_[0][:-1]) / 2
    assert np.abs(log_ratio - ratio.offset_ - middle).max() <= np.diff(ratio.edges_[0]).max() / 2 + 1e-9
    assert np.all(np.diff(log_ratio) >= -1e-12)
    # The density is the table divided by widths.
    density = np.exp(ratio.log_likelihood(score))
    cells = np.clip(np.searchsorted(ratio.edges_[0], ratio.evidence(score), side="right") - 1, 0, n_bins - 1)
    np.testing.assert_allclose(density, (table / np.diff(ratio.edges_[0]))[:, cells].T)

    edges = score_bins()
    scores = ratio.tabulate_scores(edges)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert scores.min() > 0
    difference = np.log(scores[1] / scores[0]) - ratio.evidence(representative_scores(edges))
    assert np.ptp(difference) < 1e-9
    assert np.all(np.diff(np.log(scores[1] / scores[0])) >= -1e-12)


def test_offset_is_small_and_the_mixture_is_the_pooled_histogram(real):
    score, y, _ = real
    ratio = LikelihoodRatio(smoothing=0).fit(score, y)
    assert np.abs(ratio.offset_).max() < 0.01
    edges = score_bins()
    pooled = np.histogram(score, np.append(edges[:-1], 1 + 1e-12))[0] / len(score)
    mixture = ratio.class_prior_ @ ratio.tabulate_scores(edges)
    np.testing.assert_allclose(mixture, pooled, atol=2e-3)


def test_score_tables_follow_the_empirical_cdf_of_each_class(real):
    score, y, _ = real
    edges = score_bins()
    table = LikelihoodRatio().fit(score, y).tabulate_scores(edges)
    for k in np.arange(1, 20) / 20:
        below = np.searchsorted(edges, k)
        for c in (0, 1):
            assert table[c, :below].sum() == pytest.approx((score[y == c] < k).mean(), abs=0.025)
    assert table[1, -1] == pytest.approx((score[y == 1] == 1).mean(), abs=0.02)


@pytest.mark.parametrize("estimator", [ReflectedKDE(), SmoothedHistogram(), LikelihoodRatio()])
def test_score_tables_of_every_estimator(real, estimator):
    score, y, _ = real
    table = estimator.fit({"score": score}, y).tabulate_scores(score_bins())
    assert table.shape == (2, len(score_bins()) - 1)
    np.testing.assert_allclose(table.sum(axis=1), 1)
    assert table.min() > 0


def test_linear_parameters_are_the_evidence():
    score, y = gaussian_log_odds(2)
    rng = np.random.default_rng(0)
    X = {"score": score, "min_logprob": rng.normal(-2 + y, 1), "length": rng.poisson(30, len(y))}
    for calibrate in ("none", "sigmoid"):
        ratio = LikelihoodRatio(log_odds=("score",), calibrate=calibrate, positive=0)
        ratio.fit(X, y, groups=np.arange(len(y)) // 3)
        parameters = LinearEvidence.from_dict(json.loads(json.dumps(ratio.linear_parameters().to_dict())))
        np.testing.assert_allclose(parameters(X), ratio.evidence(X))
    assert parameters.transform.log_odds == ("score",)
    with pytest.raises(ObservationModelError, match="isotonic"):
        LikelihoodRatio(calibrate="isotonic").fit(score, y, groups=y * 0 + np.arange(len(y))).linear_parameters()


def test_more_features_help_when_they_tell_something():
    score, y = gaussian_log_odds(3)
    extra = np.random.default_rng(1).normal(2.0 * y, 1)
    one = LikelihoodRatio().fit(score, y).evidence(score)
    both = LikelihoodRatio(log_odds=("score",)).fit({"score": score, "logprob": extra}, y)
    z = both.evidence({"logprob": extra, "score": score})  # by name, whatever the order
    separation = [np.mean(v[y == 1]) - np.mean(v[y == 0]) for v in (one, z)]
    assert separation[1] > separation[0] + 2


def test_swapping_the_positive_class_turns_the_sign():
    score, y = gaussian_log_odds(4)
    labels = np.where(y == 1, "right", "wrong")
    right = LikelihoodRatio(positive="right").fit(score, labels)
    wrong = LikelihoodRatio(positive="wrong").fit(score, labels)
    np.testing.assert_allclose(right.evidence(score), -wrong.evidence(score), atol=1e-6)
    assert np.corrcoef(right.evidence(score), y)[0, 1] > 0.5
    np.testing.assert_allclose(right.predict_proba(score), wrong.predict_proba(score), atol=1e-6)


def test_posterior_is_the_classifiers():
    score, y = gaussian_log_odds(5)
    ratio = LikelihoodRatio().fit(score, y)
    expected = ratio.classifier_.predict_proba(ratio.transform_(score))
    np.testing.assert_allclose(ratio.predict_proba(score), expected)
    odds = np.diff(np.log(ratio.predict_proba(score, prior=[0.5, 0.5])), axis=1)[:, 0]
    np.testing.assert_allclose(odds, ratio.evidence(score), atol=1e-9)


def test_weights_are_repetitions():
    score, y = gaussian_log_odds(6, 400)
    counts = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = LikelihoodRatio().fit(score, y, sample_weight=counts)
    repeated = LikelihoodRatio().fit(np.repeat(score, counts), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.evidence(score), repeated.evidence(score), atol=1e-4)
    np.testing.assert_allclose(weighted.tabulate(), repeated.tabulate(), atol=1e-4)
    edges = score_bins()
    np.testing.assert_allclose(weighted.tabulate_scores(edges), repeated.tabulate_scores(edges), atol=1e-4)


def test_samples_follow_the_table():
    score, y = gaussian_log_odds(7)
    ratio = LikelihoodRatio().fit(score, y)
    draws = ratio.sample(4000, 1, rng=0)
    assert draws.shape == (4000, 1)
    cdf = np.concatenate([[0], np.cumsum(ratio.tabulate()[1])])
    assert stats.kstest(draws[:, 0], lambda x: np.interp(x, ratio.edges_[0], cdf)).pvalue > 1e-3
    # And they look like the evidence of real members of the class.
    assert stats.ks_2samp(draws[:, 0], ratio.evidence(score[y == 1])).statistic < 0.05


@pytest.mark.parametrize("calibrate", ["sigmoid", "isotonic"])
def test_calibration_mends_an_overconfident_classifier(calibrate):
    rng = np.random.default_rng(8)
    score, y = gaussian_log_odds(8)
    features = np.column_stack([score, rng.standard_normal((len(y), 30))])
    names = ("score", *(f"noise{j}" for j in range(30)))
    overgrown = DecisionTreeClassifier(random_state=0)
    fresh, outcome = gaussian_log_odds(9)
    test = np.column_stack([fresh, rng.standard_normal((len(outcome), 30))])
    loss = {}
    for how in ("none", calibrate):
        ratio = LikelihoodRatio(classifier=overgrown, calibrate=how, log_odds=("score",), feature_names=names).fit(
            features, y, groups=np.arange(len(y))
        )
        p = ratio.predict_proba(test)[np.arange(len(outcome)), outcome]
        loss[how] = -np.log(p).mean()
        assert np.all(np.isfinite(ratio.evidence(test)))
    assert loss[calibrate] < 0.8 * loss["none"]


def test_no_evidence_beyond_what_the_sample_can_show():
    score = np.concatenate([np.linspace(0.1, 0.4, 50), np.linspace(0.6, 0.9, 50)])
    y = np.repeat([0, 1], 50)
    tree = DecisionTreeClassifier()
    for ratio in (
        LikelihoodRatio(classifier=tree),
        LikelihoodRatio(calibrate="isotonic"),
    ):
        z = ratio.fit(score, y, groups=np.arange(100)).evidence(score)
        assert np.abs(z).max() <= np.log(102) + 1e-9


def test_pipelines_take_weights():
    score, y = gaussian_log_odds(10, 500)
    pipeline = make_pipeline(PolynomialFeatures(2), LogisticRegression())
    weights = np.where(y == 1, 1.0, 3.0)
    ratio = LikelihoodRatio(classifier=pipeline).fit(score, y, sample_weight=weights)
    plain = LikelihoodRatio(classifier=pipeline).fit(score, y)
    assert ratio.class_prior_[0] > plain.class_prior_[0]
    # Weights by class change the prior, not (much) the evidence.
    np.testing.assert_allclose(ratio.evidence([0.3, 0.8]), plain.evidence([0.3, 0.8]), atol=0.3)


def test_three_classes():
    rng = np.random.default_rng(0)
    y = rng.choice(3, size=3000, p=[0.5, 0.2, 0.3])
    X = np.array([[0, 0], [2, 0], [0, 2]])[y] + rng.standard_normal((3000, 2))
    ratio = LikelihoodRatio(log_odds=()).fit(X, y)
    z = ratio.evidence(X)
    true = np.column_stack([2 * X[:, 0] - 2, 2 * X[:, 1] - 2])  # equal covariances: linear
    assert np.abs(z - true).mean() < 0.2
    np.testing.assert_allclose(ratio.linear_parameters()(X), z)
    table = ratio.tabulate()
    assert table.shape == (3, 64, 64)
    np.testing.assert_allclose(table.sum(axis=(1, 2)), 1)
    cells = tuple(
        np.clip(np.searchsorted(e, v, side="right") - 1, 0, 63) for v, e in zip(z.T, ratio.edges_, strict=True)
    )
    for j in (1, 2):
        got = np.log(table[j][cells] / table[0][cells])
        width = np.diff(ratio.edges_[j - 1])[0]
        assert np.abs(got - z[:, j - 1]).max() < width + 0.05
    draws = ratio.sample(2000, 1, rng=0)
    np.testing.assert_allclose(draws.mean(axis=0), z[y == 1].mean(axis=0), atol=0.2)
    np.testing.assert_allclose(ratio.predict_proba(X).sum(axis=1), 1)


def test_clip_bounds_the_evidence_of_a_perfect_score():
    score, y = gaussian_log_odds(11)
    loose, tight = (LikelihoodRatio(clip=clip).fit(score, y) for clip in (1e-4, 1e-2))
    assert loose.evidence([1.0])[0] > tight.evidence([1.0])[0]
    assert tight.evidence([1.0])[0] == tight.evidence([0.995])[0]


def test_transform():
    transform = FeatureTransform(("a", "b"), ("b",), 0.01, (2.0, 0.0), (4.0, 1.0))
    np.testing.assert_allclose(transform({"b": [0.0], "a": [6.0]}), [[1.0, -np.log(99)]])
    np.testing.assert_allclose(transform([[6.0, 0.75]]), [[1.0, log_odds(0.75)]])
    with pytest.raises(ObservationModelError, match=r"'b' is 1.2 in row 0, outside \[0, 1\]"):
        transform([[6.0, 1.2]])


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"clip": None}, {"intercept": [0, 1]}, {"centre": []}, {"coefficients": [[1, 2]]}],
)
def test_linear_evidence_refuses_what_it_does_not_know(change):
    data = LinearEvidence(FeatureTransform(("s",), ("s",), 1e-3, (0.0,), (1.0,)), ((2.0,),), (-1.0,)).to_dict()
    if change == {"clip": None}:
        del data["clip"]
    else:
        data |= change
    with pytest.raises(ObservationModelError, match="linear evidence"):
        LinearEvidence.from_dict(data)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"clip": 0.0}, "clip"),
        ({"calibrate": "platt"}, "unknown calibrate 'platt'"),
        ({"smoothing": -1}, "smoothing"),
        ({"n_bins": 1}, "n_bins"),
        ({"positive": 7}, "unknown class 7"),
        ({"log_odds": ("x9",)}, "x9"),
    ],
)
def test_refused_parameters(parameters, message):
    with pytest.raises(ObservationModelError, match=message):
        LikelihoodRatio(**parameters).fit(*gaussian_log_odds(12, 200))


def test_refused_uses():
    score, y = gaussian_log_odds(13, 300)
    X = np.column_stack([score, score])
    with pytest.raises(ObservationModelError, match=r"which of .* are probabilities"):
        LikelihoodRatio().fit(X, y)
    two = LikelihoodRatio(log_odds=("x0",)).fit(X, y)
    with pytest.raises(ObservationModelError, match="single score"):
        two.tabulate_scores(score_bins())
    one = LikelihoodRatio().fit(score, y)
    with pytest.raises(ObservationModelError, match="expected 0 to 1"):
        one.tabulate_scores([0.1, 0.5, 1.0])
    with pytest.raises(ObservationModelError, match=r"outside \[0, 1\]"):
        one.evidence([1.5])
    with pytest.raises(ObservationModelError, match="two classes"):
        LikelihoodRatio(positive=1).fit(score, np.arange(300) % 3)
    with pytest.raises(ObservationModelError, match="two classes"):
        LikelihoodRatio(calibrate="sigmoid").fit(score, np.arange(300) % 3)
    with pytest.raises(ObservationModelError, match="lower n_bins"):
        LikelihoodRatio(n_bins=100).fit(score, np.arange(300) % 4)
