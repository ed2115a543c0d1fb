"""The filter against numbers worked out by hand, a one-step-at-a-time rewriting, and outcomes of real solutions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observation_models import auc, log_loss
from trim_pomdp.data.features import read_class_features
from trim_pomdp.data.sequences import ScoredSequence, read_sequences
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.fitting.assessment import assess, judge_filters
from trim_pomdp.fitting.dynamics import SEQUENCE_CANDIDATES, Sources, cross_validate_sequences, fit_dynamics
from trim_pomdp.fitting.observations import fit_observations
from trim_pomdp.model.belief import (
    KEEP,
    REGENERATE,
    FilterBelief,
    RunningMinimumBelief,
    calibrate_minimum,
    class_prior,
    filter_states,
    next_q,
    outcome_table,
    update,
)
from trim_pomdp.model.dynamics import MinimumCalibration, StepDynamics
from trim_pomdp.model.hazard import trials_from_lengths
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.presets.store import load_preset

probability = st.floats(0, 1)


def test_one_step_by_hand():
    # q = 0.8, p_w = 0.75: prior (0.6, 0.2, 0.2). Likelihoods 0.5, 0.25, 0.1: joint (0.3, 0.05, 0.02), sum 0.37.
    prior = class_prior(0.8, 0.75)
    np.testing.assert_allclose(prior, [0.6, 0.2, 0.2], rtol=1e-12)
    belief = update(prior, np.array([0.5, 0.25, 0.1]))
    np.testing.assert_allclose(belief, [30 / 37, 5 / 37, 2 / 37], rtol=1e-12)
    hazard = np.array([[0.3, 0.3, 0.3]])
    after = outcome_table(strong_success=0.9, repair=0.5, recovery=np.array([0.2]), end=hazard)[0]
    for over in (False, True):  # with one hazard an end says nothing
        assert next_q(belief, after[int(over), KEEP], over) == pytest.approx(31 / 37)
        assert next_q(belief, after[int(over), REGENERATE], over) == pytest.approx((27 + 1 + 1) / 37)


def test_what_follows_an_action_by_hand():
    # h = .5, h'' = .2. Not ended: a repaired step ends with .3/.8, a spoiled one never; ended: .2/.5 of the spoiled do.
    goes_on, ended = outcome_table(0.9, 0.6, np.array([0.1]), np.array([[0.5, 0.9, 0.2]]))[0]
    keep = [[1, 0], [0.1, 0.9], [0, 1]]
    np.testing.assert_allclose(goes_on[KEEP][:, 0], keep)
    np.testing.assert_allclose(ended[KEEP][:, 1], keep)
    assert goes_on[KEEP][:, 1].sum() == ended[KEEP][:, 0].sum() == 0
    # Class, then goes on or over, then right or derailed.
    np.testing.assert_allclose(
        goes_on[REGENERATE], [[[0.9, 0.1], [0, 0]], [[0.1, 0.9], [0, 0]], [[0.6 * 5 / 8, 0.4], [0.6 * 3 / 8, 0]]]
    )
    np.testing.assert_allclose(
        ended[REGENERATE], [[[0, 0.1 * 0.6], [0.9, 0.1 * 0.4]], [[0, 0], [0.1, 0.9]], [[0, 0], [0.6, 0.4]]]
    )
    belief = np.array([0.5, 0.2, 0.3])
    right, derailed = 0.45 + 0.02 + 0.3 * 0.6 * 5 / 8, 0.05 + 0.18 + 0.3 * 0.4
    assert next_q(belief, goes_on[REGENERATE], over=False) == pytest.approx(right / (right + derailed))
    assert next_q(belief, goes_on[REGENERATE], over=True) == pytest.approx(1.0), "only a repair ends it"
    # What the model rules out is no evidence.
    assert next_q(np.array([0.0, 1.0, 0.0]), goes_on[REGENERATE], over=True) == pytest.approx(0.1)


@given(probability, probability, probability, probability, probability, probability)
def test_a_redone_step_ends_with_the_hazard_of_what_it_is_now(p_s, p_r, recovery, h, h_derailed, h_wrong):
    table = outcome_table(p_s, p_r, np.array([recovery]), np.array([[h, h_derailed, h_wrong]]))[0]
    np.testing.assert_allclose(table.sum(axis=(3, 4)), 1.0)
    assert (table >= 0).all()
    for c, weak in ((0, h), (2, h_wrong)):
        row = (1 - weak) * table[0, REGENERATE, c] + weak * table[1, REGENERATE, c]
        right = (p_s, None, p_r)[c]
        np.testing.assert_allclose(row[1], [right * h, (1 - right) * h_wrong], atol=1e-12)


def test_the_end_of_a_solution_is_evidence_where_hazards_differ():
    # Two steps, kept. Bin likelihoods are all alike, so that only the ends speak: h = .2, h' = .6, h'' = .6 and .4.
    dynamics = StepDynamics(
        name="x",
        weak_success=(0.5,),
        look_right=0.5,
        hazard=(0.2, 0.2, 1.0),
        hazard_derailed=(0.6, 0.6, 1.0),
        hazard_wrong=(0.6, 0.4, 1.0),
    )
    emission, bins = np.ones((3, 1)), np.zeros((1, 2), dtype=np.int64)
    q = filter_states(bins, np.ones((1, 2), dtype=bool), emission, dynamics)
    # Step 1 goes on: prior (1/2, 0, 1/2) × (0.8, 0.4, 0.4) = (0.4, 0, 0.2), so q = 2/3.
    # Step 2 ends: prior (1/3, 1/3, 1/3) × (0.2, 0.6, 0.4), so q = 1/6.
    np.testing.assert_allclose(q, [[2 / 3, 1 / 6]], rtol=1e-12)


def by_hand(bins, emission, dynamics):
    """DESIGN's filter, one kept step at a time, in plain Python."""
    cap, q, out = dynamics.max_steps, 1.0, []
    hazards = (dynamics.hazard, dynamics.hazard_derailed or dynamics.hazard, dynamics.hazard_wrong or dynamics.hazard)
    for t, j in enumerate(bins):
        last = t == len(bins) - 1
        step = t if t < cap - 1 or (last and t == cap - 1) else max(cap - 2, 0)
        p = dynamics.weak_success[step if len(dynamics.weak_success) > 1 else 0]
        end = [hazard[step] for hazard in hazards]
        prior = (q * p, 1 - q, q * (1 - p))
        joint = [prior[c] * emission[c][j] for c in range(3)]
        with_end = [joint[c] * (end[c] if last else 1 - end[c]) for c in range(3)]
        if (dynamics.hazard_derailed or dynamics.hazard_wrong) and sum(with_end) > 0:
            joint = with_end
        q = joint[0] / sum(joint) if sum(joint) > 0 else prior[0]
        out.append(q)
    return out


@st.composite
def situations(draw):
    J, cap = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    weights = st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.0]), min_size=J, max_size=J).filter(any)
    emission = np.array([draw(weights) for _ in range(3)])
    emission /= emission.sum(axis=1, keepdims=True)
    level = st.sampled_from([0.0, 0.05, 0.5, 0.9, 1.0])

    def hazard():
        return (*(draw(level) for _ in range(cap - 1)), 1.0)

    dynamics = StepDynamics(
        name="x",
        weak_success=tuple(draw(level) for _ in range(draw(st.sampled_from([1, cap])))),
        look_right=0.5,
        hazard=hazard(),
        hazard_derailed=hazard() if draw(st.booleans()) else None,
        hazard_wrong=hazard() if draw(st.booleans()) else None,
    )
    sequence = st.lists(st.integers(0, J - 1), min_size=1, max_size=cap + 3)
    return emission, dynamics, draw(st.lists(sequence, min_size=1, max_size=4))


@given(situations())
def test_the_batch_filter_is_the_filter_one_step_at_a_time(situation):
    emission, dynamics, sequences = situation
    T = max(map(len, sequences))
    bins, mask = np.zeros((len(sequences), T), dtype=np.int64), np.zeros((len(sequences), T), dtype=bool)
    for i, sequence in enumerate(sequences):
        bins[i, : len(sequence)], mask[i, : len(sequence)] = sequence, True
    states = filter_states(bins, mask, emission, dynamics)
    assert ((states >= 0) & (states <= 1)).all()
    for row, sequence in zip(states, sequences, strict=True):
        expected = by_hand(sequence, emission, dynamics)
        np.testing.assert_allclose(row[: len(sequence)], expected, atol=1e-12)
        assert (row[len(sequence) :] == row[len(sequence) - 1]).all()


@given(probability, probability, st.tuples(probability, probability, probability))
def test_beliefs_are_distributions(q, p, likelihood):
    prior = class_prior(q, p)
    belief = update(prior, np.array(likelihood))
    for distribution in (prior, belief):
        assert distribution.sum() == pytest.approx(1.0)
        assert ((distribution >= 0) & (distribution <= 1)).all()


def test_impossible_evidence_leaves_the_prior():
    prior = class_prior(np.array([1.0, 0.5]), 1.0)
    belief = update(prior, np.array([0.0, 1.0, 1.0]))
    # Certainly right, and what was seen is impossible then; beside a prefix that may be derailed.
    assert belief.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_many_beliefs_at_once_are_those_one_by_one():
    q, likelihood = np.array([0.1, 0.9]), np.array([[0.2, 0.3, 0.4], [0.5, 0.1, 0.9]])
    together = update(class_prior(q, 0.8), likelihood)
    apart = [update(class_prior(float(a), 0.8), b) for a, b in zip(q, likelihood, strict=True)]
    np.testing.assert_array_equal(together, apart)


# The running minimum ----------------------------------------------------------------------------------------


def batch_of(*scored: tuple[tuple[float, ...], bool]) -> SequenceBatch:
    return SequenceBatch.of([ScoredSequence(id=str(i), scores=s, correct=c) for i, (s, c) in enumerate(scored)])


def test_running_minimum_by_hand():
    belief = RunningMinimumBelief(MinimumCalibration(intercept=0.5, slope=2.0, clip=1e-4, fitted_on="x"))
    probability = belief.probability_right(batch_of(((0.9, 0.25, 1.0), True), ((1.0,), True), ((0.0, 0.5), False)))
    odds = [math.exp(0.5) * (m / (1 - m)) ** 2 for m in (0.25, 1 - 1e-4, 1e-4)]
    assert probability == pytest.approx([o / (1 + o) for o in odds])


def test_the_calibration_recovers_the_one_that_made_the_outcomes():
    rng = np.random.default_rng(0)
    minimum = rng.uniform(0.02, 0.98, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 + 1.3 * np.log(minimum / (1 - minimum)))))
    found = calibrate_minimum(
        SequenceBatch(minimum[:, None], np.ones(20_000, dtype=np.int64), right, np.arange(20_000).astype(str)),
        fitted_on="x",
    )
    # Four standard errors (from the Fisher information of a logistic regression on 20,000 rows) are about .08.
    assert (found.intercept, found.slope) == (pytest.approx(0.7, abs=0.08), pytest.approx(1.3, abs=0.08))


@pytest.mark.parametrize("outcome", [True, False])
def test_outcomes_that_are_all_alike_calibrate_nothing(outcome):
    with pytest.raises(InputError, match=f"all 2 sequences have {'right' if outcome else 'wrong'} answers"):
        calibrate_minimum(batch_of(((0.9,), outcome), ((0.4,), outcome)), fitted_on="x")


# Assessment -------------------------------------------------------------------------------------------------

TOY = ObservationModel(
    name="toy",
    estimator="by hand",
    step_emission=StepEmission(score_edges=(0.0, 0.5, 1.0), right=(0.2, 0.8, 0.0), wrong=(0.8, 0.2, 0.0)),
)
DYNAMICS = StepDynamics(name="d", weak_success=(0.5,), look_right=0.5, hazard=(0.5, 1.0))


def test_scores_of_a_belief_by_hand():
    # One step: P(right | low) = 0.2, P(right | high) = 0.8.
    batch = batch_of(((0.1,), False), ((0.9,), True), ((0.2,), False), ((0.8,), False))
    scores, missing = assess(batch, TOY, DYNAMICS)
    assert set(scores) == {"filter"}
    assert scores["filter"].log_loss == pytest.approx(-(3 * math.log(0.8) + math.log(0.2)) / 4)
    assert scores["filter"].brier == pytest.approx((3 * 0.04 + 0.64) / 4)
    assert scores["filter"].auc == pytest.approx(5 / 6)  # of three pairs two are ordered, one is a tie
    assert [message.split(":")[0] for message in missing] == ["posterior", "running_minimum"]
    with pytest.raises(UnsetParameterError, match="fit-dynamics --sequences makes one"):
        RunningMinimumBelief(None)


def test_filters_of_different_dynamics_are_judged_on_the_same_outcomes():
    cases = (((0.1,), False), ((0.9,), True), ((0.2,), False), ((0.8,), False))
    records = [ScoredSequence(id=str(i), scores=scores, correct=right) for i, (scores, right) in enumerate(cases)]
    other = DYNAMICS.model_copy(update={"weak_success": (0.2,)})
    found = judge_filters(records, TOY, {"as it is": DYNAMICS, "<weaker>": other})
    assert list(found) == ["as it is", "<weaker>"]
    for name, dynamics in (("as it is", DYNAMICS), ("<weaker>", other)):
        assert found[name] == assess(batch_of(*cases), TOY, dynamics)[0]["filter"]
    # P(right | low) = 1/17, P(right | high) = 1/2.
    assert found["<weaker>"].log_loss == pytest.approx(-(2 * math.log(16 / 17) + 2 * math.log(0.5)) / 4)
    table = found._repr_html_()
    assert "<th>&lt;weaker&gt;</th>" in table
    assert f"<td>{found['as it is'].brier:.4g}</td>" in table
    one_outcome = judge_filters(records[:1], TOY, {"as it is": DYNAMICS})
    assert "<td>–</td>" in one_outcome._repr_html_(), "no AUC"


def test_without_both_outcomes_there_is_no_auc():
    scores, _ = assess(batch_of(((0.1,), False), ((0.9,), False)), TOY, DYNAMICS)
    assert scores["filter"].auc is None
    assert scores["filter"].log_loss == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)


def test_certainty_that_is_wrong_costs_much_but_not_infinitely_much():
    sure = ObservationModel(
        name="sure",
        estimator="by hand",
        step_emission=StepEmission(score_edges=(0.0, 1.0), right=(0.0, 1.0), wrong=(1.0, 0.0)),
    )
    scores, _ = assess(batch_of(((0.5,), True), ((1.0,), True)), sure, DYNAMICS)
    assert 5 < scores["filter"].log_loss < 50


# Real outcomes ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def observations(shared):
    return fit_observations("math", read_class_features(shared / "data" / "prm_features_math.npz"))


@pytest.fixture(scope="module")
def batch(shared):
    return SequenceBatch.of(read_sequences(shared / "data" / "math500_sequences_dev.jsonl.gz"))


@pytest.mark.slow
def test_the_filter_predicts_outcomes_of_problems_that_it_has_not_seen(observations, batch):
    hazard = tuple(trials_from_lengths(batch.lengths, 30).estimate().tolist())
    candidate = next(item for item in SEQUENCE_CANDIDATES if item.name == "free-pd")
    held_out = cross_validate_sequences(batch, observations, candidate, hazard)
    assert log_loss(held_out, batch.correct) <= 0.25
    assert auc(held_out, batch.correct) >= 0.95
    # Folds are by problem: sequences of one problem, all in one fold, do not change when they are given other names.
    renamed = SequenceBatch(batch.scores, batch.lengths, batch.correct, np.char.add("p-", batch.groups))
    np.testing.assert_allclose(cross_validate_sequences(renamed, observations, candidate, hazard), held_out)


@pytest.mark.slow
def test_the_fit_on_sequences_chooses_by_held_out_problems(observations, batch):
    dynamics = fit_dynamics("dev", Sources(sequences=batch), observations, intervals=False)
    losses = [float(note.rpartition(" ")[2]) for note in dynamics.fit.notes if "cross-validated" in note]
    assert len(losses) == len(SEQUENCE_CANDIDATES)
    assert min(losses) <= 0.25
    chosen = SEQUENCE_CANDIDATES[losses.index(min(losses))]
    assert chosen.description in dynamics.fit.explanation
    assert dynamics.strong_success is dynamics.repair is None
    scores, missing = assess(batch, observations, dynamics)
    assert set(scores) == {"filter", "posterior", "running_minimum"}
    assert missing == []
    assert scores["filter"].log_loss < scores["posterior"].log_loss


def test_filter_beliefs_of_a_preset_are_those_of_its_parts(batch):
    preset = load_preset("qwen2.5-1.5b-7b-math")
    some = batch.take(np.arange(20))
    states = FilterBelief(preset.observations, preset.dynamics).states(some)
    emission = preset.observations.class_emission(preset.dynamics)
    for row, scores, n in zip(states, some.scores, some.lengths, strict=True):
        bins = preset.observations.step_emission.bins(scores[:n])
        np.testing.assert_allclose(row[:n], by_hand(bins, emission, preset.dynamics), atol=1e-12)
