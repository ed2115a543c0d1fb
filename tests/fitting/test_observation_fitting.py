"""The observation model against the published bins, the empirical distribution of scores, and what must fail."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.data.features import CLASSES, ClassFeatures, read_class_features
from trim_pomdp.data.processbench import class_features, read_step_scores
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.fitting.observations import ESTIMATORS, fit_observations, make_estimator
from trim_pomdp.model.belief import PosteriorBelief
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.observations import ClassTable, ObservationModel, StepEmission, transferred
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.policies import PosteriorRule, ThresholdRule

TWENTIETHS = np.arange(1, 20) / 20


@pytest.fixture(scope="module")
def features(shared):
    return read_class_features(shared / "data" / "prm_features_math.npz")


@pytest.fixture(scope="module")
def model(features):
    return fit_observations("math", features)


@pytest.fixture(scope="module")
def without_derailed(shared):
    records = read_step_scores(shared / "data" / "processbench_prm_scores.jsonl.gz")
    return fit_observations("skywork", class_features(records, "Skywork-o1-Open-PRM-Qwen-2.5-7B"))


def dynamics(**changes) -> StepDynamics:
    values = {
        "name": "pair",
        "weak_success": (0.9,),
        "strong_success": 0.97,
        "repair": 0.7,
        "look_right": 0.8,
        "hazard": (0.1, 0.3, 1.0),
        "strong_tokens": PerClass.constant(60.0),
    }
    return StepDynamics(**{**values, **changes})


# Against data -----------------------------------------------------------------------------------------------


def test_the_class_table_reproduces_the_published_bins(model, shared):
    with np.load(shared / "data" / "prm_features_math.npz") as archive:
        published, centres = archive["bin_probs_0.05"], archive["bin_centers_0.05"]
    table = model.class_table
    assert table.shape == (20, 20)
    assert np.abs(table.table - published).max() < 5e-4
    # The order of the bins too: the centre of every published bin falls into the bin of that index.
    assert table.bins(centres[:, 0], centres[:, 1]).tolist() == list(range(400))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_emission_is_a_distribution_close_to_the_scores(estimator, features):
    model = fit_observations("math", features, estimator=estimator)
    step = model.step_emission
    assert model.estimator.startswith(estimator)
    np.testing.assert_allclose(step.table.sum(axis=1), 1.0, atol=1e-9)
    assert (step.table >= 0).all()
    # Scott's bandwidth spreads what lies near 0 and 1 far into the middle.
    thresholds = TWENTIETHS[5:-1] if estimator == "reflected-kde" else TWENTIETHS
    for row, name in enumerate(CLASSES):
        scores = features.features[name][:, 1]
        fitted = [step.share_below(k) @ step.table[row] for k in thresholds]
        empirical = [(scores < k).mean() for k in thresholds]
        assert np.abs(np.subtract(fitted, empirical)).max() <= 0.02, name


def test_evidence_grows_with_the_score(model):
    assert (np.diff(model.step_emission.evidence) >= -1e-9).all()
    assert model.step_emission.evidence[0] < -2 < 2 < model.step_emission.evidence[-1]


def test_diagnostics_say_what_was_held_out(model):
    found = model.diagnostics
    assert [found[f"n_{name}"] for name in CLASSES] == [1233, 499, 528]
    assert found["folds"] == "by solution"
    assert 0.9 < found["held_out_auc"] < 1
    assert 0 < found["held_out_log_loss"] < 0.25
    assert found["held_out_log_loss_se"] > 0


def test_the_fit_is_reproducible(model, features):
    assert fit_observations("math", features) == model


def test_rows_without_ids_are_marked_as_optimistic(features):
    with pytest.warns(UserWarning, match="row"):
        model = fit_observations("math", ClassFeatures(features.features, None))
    assert "by row" in model.diagnostics["folds"]
    assert model.diagnostics["warnings"]


# Without scores of derailed steps ---------------------------------------------------------------------------


def test_without_derailed_steps_there_is_no_class_table(without_derailed):
    assert without_derailed.class_table is None
    assert without_derailed.step_emission.derailed is None
    assert np.isnan(without_derailed.step_emission.table[1]).all()
    assert ObservationModel.model_validate_json(without_derailed.model_dump_json()) == without_derailed
    emission = without_derailed.class_emission(dynamics())
    np.testing.assert_allclose(emission.sum(axis=1), 1.0)


def test_what_needs_derailed_steps_says_so(without_derailed):
    with pytest.raises(UnsetParameterError, match=r"'skywork' have no class table .* without scores of derailed"):
        PosteriorBelief(without_derailed)
    with pytest.raises(UnsetParameterError, match=r"'skywork' have no density of derailed .* 'local'"):
        without_derailed.class_emission(dynamics(derailed_emission="labelled"))
    as_class = without_derailed.model_copy(update={"emission": "class"})
    with pytest.raises(UnsetParameterError, match="no class table"):
        as_class.n_bins  # noqa: B018
    from trim_pomdp.planning.evaluation import evaluate

    with pytest.raises(UnsetParameterError, match="no class table"):
        evaluate(PosteriorRule(closeness=0.4), RoutingModel(without_derailed, dynamics()))


@pytest.mark.parametrize("name", ["S0", "S2"])
def test_right_steps_and_first_errors_are_both_needed(name, features):
    emptied = ClassFeatures({**features.features, name: np.zeros((0, 2))}, None)
    with pytest.raises(InputError, match=f"class {name} is empty"):
        fit_observations("x", emptied)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(InputError, match=r"unknown estimator 'kde'; there are likelihood-ratio, histogram"):
        make_estimator("kde")


# Thresholds -------------------------------------------------------------------------------------------------

EDGES = (0.0, 0.05, 0.4, 0.9, 1.0)
STEP = StepEmission(
    score_edges=EDGES, right=(0.1, 0.1, 0.2, 0.3, 0.3), wrong=(0.4, 0.3, 0.2, 0.1, 0.0), derailed=(0.2,) * 5
)
TABLE = ClassTable(
    minimum_edges=(0.0, 0.5, 1.0),
    score_edges=(0.0, 0.25, 1.0),
    right=(0.1, 0.2, 0.3, 0.4),
    derailed=(0.4, 0.3, 0.2, 0.1),
    wrong=(0.25,) * 4,
)
TOY = ObservationModel(name="toy", estimator="by hand", step_emission=STEP, class_table=TABLE)


@pytest.mark.parametrize("emission", ["step", "class"])
def test_threshold_one_regenerates_everything_and_zero_nothing(emission):
    model = TOY.model_copy(update={"emission": emission})
    assert model.share_below(1.0).tolist() == [1.0] * model.n_bins
    assert model.share_below(0.0).tolist() == [0.0] * model.n_bins


def test_a_score_at_the_threshold_is_kept():
    for j, edge in enumerate(EDGES[:-1]):
        share = STEP.share_below(edge)
        assert share.tolist() == [1.0] * j + [0.0] * (len(EDGES) - j)
        assert STEP.bins(np.array([edge])).tolist() == [j]
        assert ThresholdRule(threshold=edge).act(edge) == 0
    assert STEP.bins(np.array([1.0, np.nextafter(1, 0)])).tolist() == [4, 3]
    assert ThresholdRule(threshold=1.0).act(1.0) == 1


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_share_below_rises_with_the_threshold(a, b):
    low, high = sorted((a, b))
    for model in (TOY, TOY.model_copy(update={"emission": "class"})):
        share, more = model.share_below(low), model.share_below(high)
        assert ((share >= 0) & (share <= more) & (more <= 1)).all()


def test_within_a_bin_the_share_is_linear():
    assert STEP.share_below(0.65).tolist() == pytest.approx([1, 1, 0.5, 0, 0])
    assert TOY.model_copy(update={"emission": "class"}).share_below(0.625).tolist() == pytest.approx([1, 0.5, 1, 0.5])


def test_bins_of_the_class_table_follow_the_running_minimum():
    model = TOY.model_copy(update={"emission": "class"})
    # minimum 1.0 → 1; 0.9 → 1; 0.1 → 0: rows; scores 0.9, 0.1, 1.0: columns 1, 0, 1.
    assert model.bins(np.array([[0.9, 0.1, 1.0]])).tolist() == [[3, 2, 1]]
    assert TABLE.posterior(np.array(0.0), np.array(0.0)).tolist() == pytest.approx(
        [0.1 / 0.75, 0.4 / 0.75, 0.25 / 0.75]
    )


# Transfer ---------------------------------------------------------------------------------------------------


def test_transfer_by_hand():
    emission = TOY.class_emission(dynamics(false_alarms=0.2, misses=0.5, look_right=0.25))
    right = [0.8 * a + 0.2 * b for a, b in zip(STEP.right, STEP.wrong, strict=True)]
    wrong = [0.5 * b + 0.5 * a for a, b in zip(STEP.right, STEP.wrong, strict=True)]
    np.testing.assert_allclose(emission[0], right)
    np.testing.assert_allclose(emission[2], wrong)
    np.testing.assert_allclose(emission[1], [0.25 * a + 0.75 * b for a, b in zip(right, wrong, strict=True)])
    labelled = TOY.class_emission(dynamics(derailed_emission="labelled"))
    np.testing.assert_array_equal(labelled, STEP.table)


@given(*[st.floats(0, 1)] * 3, st.booleans())
def test_transfer_keeps_distributions(look_right, false_alarms, misses, labelled):
    moved = transferred(STEP.table, look_right=look_right, false_alarms=false_alarms, misses=misses, labelled=labelled)
    np.testing.assert_allclose(moved.sum(axis=1), 1.0)
    assert (moved >= 0).all()


def test_evidence_where_a_class_cannot_emit_a_bin():
    step = StepEmission(score_edges=(0.0, 0.3, 0.6, 1.0), right=(0.0, 0.0, 0.5, 0.5), wrong=(0.5, 0.0, 0.5, 0.0))
    assert step.evidence.tolist() == [-np.inf, 0.0, 0.0, np.inf]


def test_a_bin_that_no_class_can_emit_has_a_uniform_posterior():
    table = TABLE.model_copy(update=dict.fromkeys(("right", "derailed", "wrong"), (0.5, 0.5, 0.0, 0.0)))
    assert table.class_posterior.tolist() == [[pytest.approx(1 / 3)] * 3] * 4


def test_posteriors_of_padded_sequences_are_those_of_each_alone():
    belief = PosteriorBelief(TOY)
    one, two = (ScoredSequence(id="a", scores=s, correct=True) for s in ((0.1,), (0.9, 0.3, 0.8)))
    both = belief.probability_right(SequenceBatch.of([one, two]))
    apart = [belief.probability_right(SequenceBatch.of([item]))[0] for item in (one, two)]
    assert both.tolist() == apart
    # (1.0, 0.1) → bin 2; (0.3, 0.8) → bin 1.
    assert apart == pytest.approx([0.3 / 0.75, 0.2 / 0.75])
