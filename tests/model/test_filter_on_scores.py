"""The filter on one solution's scores, without any outcome, against the batch and against Bayes by hand."""

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import FilterBelief, filter_scores
from trim_pomdp.model.sequences import SequenceBatch


@pytest.mark.parametrize("name", ["qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper", "lab-loop", "lab-loop.logprob"])
def test_it_is_the_filter_of_batches(name: str) -> None:
    preset = tp.load_preset(name)
    rng = np.random.default_rng(0)
    for steps in (1, 2, 7):
        scores = rng.random(steps)
        lows = np.log(rng.random(steps))
        features = {"logprob_min": tuple(lows), "logprob_mean": tuple(lows / 2)}
        sequence = ScoredSequence(id="a", scores=tuple(scores), features=features, correct=True)
        batch = SequenceBatch.of([sequence], preset.observations.evidence)
        wanted = FilterBelief(preset.observations, preset.dynamics).states(batch)[0]
        given = {"score": scores, **{key: list(value) for key, value in features.items()}}
        np.testing.assert_array_equal(filter_scores(preset.observations, preset.dynamics, given), wanted)
        if preset.observations.evidence is None:
            np.testing.assert_array_equal(filter_scores(preset.observations, preset.dynamics, scores), wanted)


def test_one_step_by_hand() -> None:
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    e = preset.observations.class_emission(preset.dynamics)
    j = int(preset.observations.bins(np.array([0.3]))[0])
    p = preset.dynamics.weak_success[0]
    wanted = p * e[0, j] / (p * e[0, j] + (1 - p) * e[2, j])
    assert filter_scores(preset.observations, preset.dynamics, [0.3]) == pytest.approx([wanted])


def test_whether_the_solution_is_over_is_evidence_where_hazards_differ() -> None:
    preset = tp.load_preset("lab-loop")
    features = {"score": [0.9, 0.2, 0.9], "logprob_min": [-0.1, -2.0, -0.1], "logprob_mean": [-0.1, -0.5, -0.1]}
    over, open_ = (
        filter_scores(preset.observations, preset.dynamics, features, finished=finished) for finished in (True, False)
    )
    assert preset.dynamics.hazards_differ
    assert over[:2].tolist() == open_[:2].tolist()
    assert over[2] != open_[2]


def test_a_router_in_ones_own_loop_goes_the_way_of_the_filter() -> None:
    """As long as every step is kept, the router's q is that of the filter, but for its grid."""
    model = tp.load_preset("qwen2.5-1.5b-7b-math").routing_model()
    artifact = tp.policy_for_tradeoff(model, 50.0)
    scores = [0.99, 0.97, 0.9, 0.99]
    router = artifact.policy.router(Problem("p", "?"))
    qs = []
    for step, score in enumerate(scores):
        decision = router.decide(tp.StepObservation(step, False, {"score": score}))
        assert decision.action == 0
        qs.append(router.q)
    wanted = filter_scores(model.observations, model.dynamics, scores, finished=False)
    np.testing.assert_allclose(qs, wanted, atol=4 / 1024)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ([], "0 steps"),
        ([0.5, 1.5], "feature 'score' is 1.5"),
        ([0.5, float("nan")], "feature 'score' is nan"),
        ({"score": [0.5], "logprob_min": [-1.0, -2.0]}, "1, 2 steps"),
        ({"logprob_min": [-1.0]}, "needs 'score'|no 'score'|given are logprob_min"),
        ({"score": [0.5], "logprob_min": [1.0]}, "feature 'logprob_min' is 1"),
    ],
)
def test_bad_features_are_refused(features: object, words: str) -> None:
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    with pytest.raises(InputError, match=words):
        filter_scores(preset.observations, preset.dynamics, features)  # type: ignore[arg-type]
