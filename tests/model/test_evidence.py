"""Evidence from several features: the map itself, its fit on drawn data, and what must be refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trim_pomdp as tp
from trim_pomdp.data.features import ClassFeatures
from trim_pomdp.data.processbench import StepScores, class_features
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.fitting.likelihood import Pilot
from trim_pomdp.fitting.observations import compare_evidence, fit_observations
from trim_pomdp.model.belief import FilterBelief, PosteriorBelief
from trim_pomdp.model.evidence import EVIDENCE_KINDS, EvidenceMap, evidence_score, evidence_scores
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.planning.synthetic import draw_sequences
from trim_pomdp.policies import AlphaVectorRule, PosteriorRule, StrategyRule, ThresholdRule

BOTH = EvidenceMap(features=("score", "logprob_min"), coefficients=(0.8, 0.5), intercept=-0.3)
LOWEST = EvidenceMap(features=("logprob_min",), coefficients=(1.0,), intercept=0.0)
LOGPROB = EvidenceMap(features=("logprob_min", "logprob_mean"), coefficients=(0.9, -0.1), intercept=0.2)
scores = st.floats(0.0, 1.0)
logprobs = st.floats(-40.0, 0.0) | st.just(-math.inf)


def draw_records(n: int, seed: int = 0) -> list[StepScores]:
    """Solutions with a PRM score and a smallest log-probability whose errors are independent given the class."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        length = int(rng.integers(3, 7))
        label = int(rng.integers(length)) if rng.random() < 0.6 else -1
        right = np.arange(length) != label
        score = 1 / (1 + np.exp(-rng.normal(np.where(right, 3.0, -0.5), 2.0)))
        lowest = -np.exp(rng.normal(np.where(right, -3.0, 0.0), 1.4))
        out.append(
            StepScores(
                id=str(i),
                label=label,
                n_scored=length,
                scores={"prm": tuple(score.tolist())},
                features={"logprob_min": tuple(lowest.tolist()), "logprob_mean": tuple((lowest / 5).tolist())},
            )
        )
    return out


@pytest.fixture(scope="module")
def features() -> ClassFeatures:
    return class_features(draw_records(400), "prm")


@pytest.fixture(scope="module")
def fitted(features) -> dict[str, ObservationModel]:
    return {kind: fit_observations(kind, features, evidence=kind) for kind in EVIDENCE_KINDS}


def routing(observations: ObservationModel) -> RoutingModel:
    return RoutingModel(observations, tp.load_preset("qwen2.5-1.5b-7b-math").dynamics)


# The map ------------------------------------------------------------------------------------------------------


@given(scores, logprobs, logprobs)
def test_one_step_and_many_agree(score, lowest, mean):
    one = {"score": score, "logprob_min": lowest, "logprob_mean": mean}
    many = {name: np.array([value, value]) for name, value in one.items()}
    for evidence in (None, BOTH, LOGPROB):
        expected = evidence_score(evidence, one)
        assert 0.0 <= expected <= 1.0
        np.testing.assert_allclose(evidence_scores(evidence, many), expected, rtol=1e-12)


def test_the_map_by_hand():
    """Score .75 has odds 3, log-probability log .5 odds 1: z = −.3 + .8 log 3."""
    one = {"score": 0.75, "logprob_min": math.log(0.5)}
    z = -0.3 + 0.8 * math.log(3)
    assert evidence_score(BOTH, one) == pytest.approx(1 / (1 + math.exp(-z)), rel=1e-12)
    assert evidence_score(BOTH, {**one, "score": 1.0}) == evidence_score(BOTH, {**one, "score": 1 - 1e-6})  # clipped


def test_no_map_is_the_score_bit_for_bit(features, fitted):
    values = np.array([0.1, 1 / 3, 1.0])
    assert evidence_scores(None, {"score": values}).tolist() == values.tolist()
    assert fitted["prm"].evidence is None
    assert fitted["prm"].model_dump(exclude={"name"}) == fit_observations("x", features).model_dump(exclude={"name"})


def test_kind_and_need_of_a_score():
    assert (BOTH.kind, BOTH.needs_score) == ("prm+logprob", True)
    assert (LOGPROB.kind, LOGPROB.needs_score) == ("logprob", False)


@pytest.mark.parametrize("evidence", [BOTH, LOGPROB])
def test_the_map_survives_json(evidence):
    assert EvidenceMap.model_validate_json(evidence.model_dump_json()) == evidence


@pytest.mark.parametrize(
    ("evidence", "given_features", "word"),
    [
        (None, {"logprob_min": -1.0}, "needs 'score'"),
        (BOTH, {"score": 0.5}, "needs 'logprob_min'"),
        (BOTH, {"score": 1.5, "logprob_min": -1.0}, "'score' is 1.5"),
        (BOTH, {"score": 0.5, "logprob_min": 0.1}, "at most 0"),
        (BOTH, {"score": math.nan, "logprob_min": -1.0}, "'score' is nan"),
    ],
)
def test_wrong_features_are_refused(evidence, given_features, word):
    with pytest.raises(InputError, match=word):
        evidence_score(evidence, given_features)
    with pytest.raises(InputError, match=word):
        evidence_scores(evidence, {name: np.array([value]) for name, value in given_features.items()})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"coefficients": (1.0,)}, "one for each of 2"),
        ({"features": ("score", "score")}, "twice"),
        ({"features": ("score", "entropy")}, "entropy"),
        ({"clip": 1e-3}, "Extra inputs"),
    ],
)
def test_a_wrong_map_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        EvidenceMap.model_validate({**BOTH.model_dump(), **change})


# The fit ------------------------------------------------------------------------------------------------------


def test_both_features_are_better_than_each(features, fitted):
    rows = {row.name: row for row in compare_evidence(features).rows}
    assert rows["prm+logprob"].auc.value > max(rows["prm"].auc.value, rows["logprob"].auc.value) + 0.01
    assert rows["prm+logprob"].log_loss.value < min(rows["prm"].log_loss.value, rows["logprob"].log_loss.value)
    for kind in ("logprob", "prm+logprob"):
        assert fitted[kind].diagnostics["held_out_auc"] == pytest.approx(rows[kind].auc.value, abs=1e-12)
        assert fitted[kind].diagnostics["held_out_log_loss"] == pytest.approx(rows[kind].log_loss.value, abs=1e-12)


def test_the_evidence_score_is_evidence(fitted):
    """Its log-odds are log f_right / f_wrong, so the emission's own ratio must run along them."""
    step = fitted["prm+logprob"].step_emission
    inner = slice(20, -20)
    edges = np.array(step.score_edges)[inner]
    z = np.log(edges) - np.log1p(-edges)
    np.testing.assert_allclose(step.evidence[inner], z, atol=0.4)
    np.testing.assert_allclose(step.table[[0, 2]].sum(axis=1), 1.0)


def test_the_class_table_stays_with_the_prm(features, fitted):
    assert fitted["prm+logprob"].class_table == fitted["prm"].class_table
    unscored = [StepScores(id=r.id, label=r.label, n_scored=r.n_scored, features=r.features) for r in draw_records(100)]
    without = fit_observations("x", class_features(unscored, None), evidence="logprob")
    assert without.class_table is None
    assert without.step_emission.derailed is not None
    with pytest.raises(InputError, match="needs PRM scores"):
        fit_observations("x", class_features(unscored, None))
    with pytest.raises(InputError, match="every record needs features"):
        class_features([unscored[0].model_copy(update={"features": {}})], None)


def test_score_files_without_log_probabilities_allow_the_prm_alone(features):
    bare = ClassFeatures(features.features, features.groups)
    with pytest.raises(InputError, match="needs logprob_min or logprob_mean"):
        fit_observations("x", bare, evidence="prm+logprob")


# What works on it ---------------------------------------------------------------------------------------------


def test_policies_carry_their_evidence(fitted, tmp_path):
    model = routing(fitted["prm+logprob"])
    policy = tp.policy_for_tradeoff(model, 0.05, gap=1e-3)
    assert policy.policy.evidence == model.observations.evidence
    assert tp.load(policy.save(tmp_path / "p.json")) == policy
    assert tp.evaluate(policy, model).accuracy == pytest.approx(policy.planned.accuracy, abs=1e-12)
    with pytest.raises(InputError, match="planned on other evidence"):
        tp.evaluate(policy, routing(fitted["prm"]))
    with pytest.raises(ValueError, match="evidence goes with score_edges"):
        AlphaVectorRule.model_validate({**policy.policy.model_dump(), "score_edges": None})


def test_rules_on_the_prm_score_are_refused_on_other_evidence(fitted):
    model = routing(fitted["prm+logprob"])
    for rule in (ThresholdRule(threshold=0.4), PosteriorRule(closeness=0.2)):
        for act in (tp.evaluate, lambda rule, model: tp.simulate(rule, model, 10)):
            with pytest.raises(InputError, match=r"looks at the PRM score, but observations 'prm\+logprob'"):
                act(rule, model)
    with pytest.raises(InputError, match="a pilot sweep looks at the PRM score"):
        Pilot.of([], model.observations, np.ones(1), labelled=False)
    assert tp.evaluate(StrategyRule(strategy="weak"), model).accuracy > 0
    with pytest.raises(ValueError, match="emission 'step'"):
        ObservationModel.model_validate({**model.observations.model_dump(), "emission": "class"})


def sequence(**changes: object) -> dict[str, object]:
    values = {"id": "a", "scores": [0.9, 0.2], "correct": True}
    return {**values, "features": {"logprob_min": [-0.1, -3.0]}, **changes}


def test_batches_hold_the_evidence_and_the_prm_scores():
    sequences = [ScoredSequence(**sequence()), ScoredSequence(**sequence(scores=[0.5], features={"logprob_min": [0]}))]
    batch = SequenceBatch.of(sequences, BOTH)
    expected = [[evidence_score(BOTH, {"score": s, "logprob_min": x}) for s, x in ((0.9, -0.1), (0.2, -3.0))]]
    expected.append([evidence_score(BOTH, {"score": 0.5, "logprob_min": 0.0}), 1.0])
    np.testing.assert_allclose(batch.scores, expected, rtol=1e-12)
    assert batch.prm_scores.tolist() == [[0.9, 0.2], [0.5, 1.0]]
    assert batch.take(np.array([1])).prm_scores.tolist() == [[0.5, 1.0]]
    assert SequenceBatch.of(sequences).scores.tolist() == [[0.9, 0.2], [0.5, 1.0]]
    unscored = SequenceBatch.of([ScoredSequence(**sequence(scores=None, features={"logprob_min": [-1]}))], LOWEST)
    with pytest.raises(UnsetParameterError, match="no PRM scores"):
        _ = unscored.prm_scores


def test_beliefs_refuse_other_evidence(fitted):
    model = routing(fitted["prm+logprob"])
    batch = draw_sequences(model, 20, np.random.default_rng(0))
    belief = FilterBelief(model.observations, model.dynamics)
    assert belief.probability_right(batch).shape == (20,)
    with pytest.raises(InputError, match="hold other evidence"):
        FilterBelief(fitted["prm"], model.dynamics).probability_right(batch)
    with pytest.raises(UnsetParameterError, match="no PRM scores"):
        PosteriorBelief(model.observations).probability_right(batch)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"scores": None, "features": {}}, "missing 'scores'"),
        ({"features": {"logprob_min": [-1.0]}}, "expected one for each of 2 steps"),
        ({"features": {"entropy": [1.0, 1.0]}}, "entropy"),
        ({"features": {"logprob_min": [0.5, -1.0]}}, "less than or equal to 0"),
        ({"tokens": [3]}, "tokens has 1 values"),
        ({"scores": []}, "at least 1"),
    ],
)
def test_wrong_sequences_are_refused(change, word, tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(sequence(**change)) + "\n")
    with pytest.raises(InputError, match=word) as caught:
        tp.read_sequences(path)
    assert "s.jsonl, line 1" in str(caught.value)


def test_a_sequence_without_the_features_is_named():
    with pytest.raises(InputError, match="sequence a: no logprob_min of its steps; it has score"):
        SequenceBatch.of([ScoredSequence(**sequence(features={}))], BOTH)
