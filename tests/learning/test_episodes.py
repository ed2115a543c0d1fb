"""Problems side by side, against the exact evaluation and the compiled simulation of the same rules."""

import numpy as np
import pytest

from trim_pomdp.errors import InputError
from trim_pomdp.model.episodes import Episodes
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.presets.store import load_preset


class DrawnThreshold(ThresholdRule):
    """A threshold on the drawn score of each step, routed by `Episodes`."""

    form: str = "drawn-threshold"  # type: ignore[assignment]

    def simulated(self, model, n, rng):
        episodes = Episodes(model, n, rng)
        while len(episodes.alive):
            episodes.act(episodes.scores < self.threshold)
        return episodes.drawn


@pytest.mark.parametrize("preset", ["lab-chain.prm", "lab-loop.prm", "qwen2.5-1.5b-7b-math"])
def test_a_threshold_does_what_it_is_expected_to(preset):
    model = load_preset(preset).routing_model()
    # An edge of the bins: within them the exact evaluation takes scores to lie evenly, episodes evenly in log-odds.
    edges = np.array(model.observations.step_emission.score_edges)
    threshold = float(edges[np.argmin(abs(edges - 0.5))])
    exact = evaluate(ThresholdRule(threshold=threshold), model)
    z = simulate(DrawnThreshold(threshold=threshold), model, 40_000, 3).z_scores(exact)
    assert set(z) >= {"accuracy", "strong_tokens", "regenerations", "kept_tokens", "discarded_tokens", "steps"}
    assert max(abs(value) for value in z.values()) < 4.0, z


def test_scores_lie_in_the_bins_they_were_drawn_from():
    model = load_preset("lab-loop.prm").routing_model()
    episodes = Episodes(model, 60_000, np.random.default_rng(0))
    bins = model.observations.step_emission.bins(episodes.scores)
    for c in (0, 2):  # at the first step nothing is derailed
        seen = (
            np.bincount(bins[episodes.classes == c], minlength=model.emission.shape[1]) / (episodes.classes == c).sum()
        )
        assert abs(np.cumsum(seen) - np.cumsum(model.emission[c])).max() < 0.015
    assert (episodes.scores >= 0.0).all()
    assert (episodes.scores <= 1.0).all()
    atom = bins == model.emission.shape[1] - 1
    assert (episodes.scores[atom] == 1.0).all()


def test_lengths_do_not_give_the_class_away():
    model = load_preset("lab-loop.prm").routing_model()
    episodes = Episodes(model, 500, np.random.default_rng(0))
    for _ in range(3):
        episodes.act(np.zeros(len(episodes.alive), dtype=bool))
    columns = episodes.columns(np.zeros(len(episodes.alive), dtype=bool))
    assert len(set(episodes.classes.tolist())) == 3
    assert len(set(columns["tokens"].tolist())) == 1


def test_the_minimum_is_that_of_the_steps_as_they_stand():
    """A kept step leaves its own score in it; a regenerated one a draw of its own, mostly a high one."""
    model = load_preset("lab-chain.prm").routing_model()
    kept, redone = (Episodes(model, 4000, np.random.default_rng(1)) for _ in range(2))
    low = kept.scores < 0.1
    first = kept.scores.copy()
    kept.act(np.zeros(4000, dtype=bool))
    assert np.array_equal(kept.minimum, first[kept.alive])
    redone.act(np.ones(4000, dtype=bool))
    assert redone.minimum[low[redone.alive]].mean() > 0.5


def test_evidence_of_the_weak_models_probabilities_leaves_regenerated_steps_out():
    model = load_preset("lab-chain.prm+logprob").routing_model()
    episodes = Episodes(model, 500, np.random.default_rng(1))
    episodes.act(np.ones(500, dtype=bool))
    assert (episodes.minimum == 1.0).all()


def test_fresh_draws_of_two_scores_are_refused():
    model = load_preset("qwen2.5-1.5b-7b-math-paper").routing_model()
    assert isinstance(model, RoutingModel)
    with pytest.raises(InputError, match="no sequence of scores"):
        Episodes(model, 2, np.random.default_rng(0))
