"""Routers for whole problems against the packages of their authors, where those are installed.

``automix-llm`` installs beside this package (numpy, pandas, scipy, tqdm). ``routellm`` does too, but brings litellm,
boto3 and openai, so no extra of ours asks for it.
"""

import importlib
from typing import Any

import numpy as np
import pytest
from test_query_routers import FEATURES, OUTCOMES, RULES

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import QueryOutcome, WeakSolution
from trim_pomdp.fitting.queries.automix import OneStepModel, fit_one_step, with_bins
from trim_pomdp.fitting.queries.preferences import preferences
from trim_pomdp.policies.automix_prm import AutoMixPrmRule
from trim_pomdp.policies.routellm_sw import unit_length

LEVELS = np.arange(9) / 8


def graded(n: int = 600) -> list[QueryOutcome]:
    """Outcomes with confidences in eighths, as of eight questions to a verifier; weak alone is never right."""
    rng = np.random.default_rng(0)
    out = []
    for index in range(n):
        weak = float(rng.random() < 0.5)
        strong = max(weak, float(rng.random() < 0.6))
        confidence = LEVELS[rng.binomial(8, 0.75 if weak else 0.45 if strong else 0.3)]
        seen = WeakSolution(tokens=(1,), scores=(float(confidence),))
        out.append(QueryOutcome(Problem(f"p{index}", "?"), weak, strong, 1.0, seen))
    return out


def as_frame(outcomes: list[QueryOutcome]) -> Any:
    pandas = pytest.importorskip("pandas")
    category = {(1.0, 1.0): "GOOD", (0.0, 1.0): "NEEDY", (0.0, 0.0): "HOPELESS"}
    return pandas.DataFrame(
        {
            "p_ver_13b": [item.weak.scores[0] for item in outcomes],  # type: ignore[union-attr, index]
            "category": [category[item.weak_right, item.strong_right] for item in outcomes],
            "llama13b_f1": [item.weak_right for item in outcomes],
            "llama70b_f1": [item.strong_right for item in outcomes],
        }
    )


def test_automix_pomdp_escalates_the_same_bins() -> None:
    """The package lists, for rewards 0, 1, …, which bins are escalated; so does the closed form with its rewards.

    Of a problem that strong alone solves escalating gains ``reward``; it costs 100, of a hopeless one 99.
    """
    automix = pytest.importorskip("automix")
    outcomes = graded()
    theirs = set(automix.POMDPSimple(num_bins=8).generate_points(as_frame(outcomes)))
    counted = fit_one_step(with_bins(AutoMixPrmRule(), outcomes, 8, even=True), outcomes, prior_count=0.0)
    ours = OneStepModel(counted.prior, counted.likelihood, np.array([100.0, 100.0, 100.0, 99.0]))
    seen = (ours.prior @ ours.likelihood) > 0  # of a bin that never occurs the package says nothing
    found = {tuple(np.where(seen, ours.worth * reward > 1.0, 0).astype(int).tolist()) for reward in range(5000)}
    assert len(theirs) > 3
    assert {tuple(np.where(seen, actions, 0).tolist()) for actions in theirs} == found


@pytest.mark.parametrize("low", [0, 2, 3])
def test_automix_thresholds_are_the_packages(low: int) -> None:
    automix = pytest.importorskip("automix")
    outcomes = graded()
    frame, rule = as_frame(outcomes), with_bins(AutoMixPrmRule(), outcomes, 8, even=True)
    problems, solutions = [item.problem for item in outcomes], [item.weak for item in outcomes]
    single = AutoMixPrmRule(threshold=1 - LEVELS[low])
    wanted = automix.Threshold(num_bins=8).run(frame, float(LEVELS[low])).tolist()
    assert single.escalations(problems, solutions) == wanted  # type: ignore[arg-type]
    double = rule.model_copy(
        update={"worth": tuple(float(low <= index <= 5) for index in range(9)), "threshold": 1.0, "at_threshold": 1.0}
    )
    wanted = automix.DoubleThreshold(num_bins=8).run(frame, (float(LEVELS[low]), float(LEVELS[5]))).tolist()
    assert double.escalations(problems, solutions) == wanted  # type: ignore[arg-type]
    assert any(wanted)
    assert not all(wanted)


@pytest.fixture
def routellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("routellm", reason="routellm is not installed: it brings litellm, boto3 and openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")  # a client is made on import; nothing is asked of it here
    return lambda name: importlib.import_module(f"routellm.routers.{name}")


def test_ranking_is_the_packages_weighted_elo(routellm: Any) -> None:
    pandas = pytest.importorskip("pandas")
    elo = routellm("similarity_weighted.utils").compute_elo_mle_with_tie
    battles = unit_length(FEATURES.transform([item.problem.prompt for item in OUTCOMES]))
    names = np.array(["model_b", "tie", "model_a"])[preferences(OUTCOMES).argmax(axis=1)]
    frame = pandas.DataFrame({"model_a": "strong", "model_b": "weak", "winner": names})
    for prompt in unit_length(FEATURES.transform([item.problem.prompt + "; z) /3" for item in OUTCOMES[:5]])):
        similarity = battles @ prompt
        # The package takes the first half of doubled ties as wins, so weights of both halves are the same.
        rating = elo(frame, sample_weight=10 * 10 ** (similarity / similarity.max()))
        wanted = 1 - 1 / (1 + 10 ** ((rating["strong"] - rating["weak"]) / 400))
        assert RULES["sw"].points_of(prompt[None])[0] == pytest.approx(wanted, abs=2e-4)


@pytest.mark.slow
def test_matrix_factorisation_ranks_as_the_packages_model(routellm: Any, tmp_path: Any) -> None:
    """Its training model, without noise and by full batches, on battles in which a tie is half a win of either."""
    torch = pytest.importorskip("torch")
    from scipy.stats import spearmanr

    torch.manual_seed(0)
    seen = FEATURES.transform([item.problem.prompt for item in OUTCOMES])
    np.save(tmp_path / "seen.npy", seen)
    model = routellm("matrix_factorization.train_matrix_factorization").MFModel_Train(
        dim=16, num_models=2, num_prompts=len(seen), text_dim=seen.shape[1], npy_path=tmp_path / "seen.npy"
    )
    shares = preferences(OUTCOMES) @ np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])  # of weak, of strong
    weight = torch.tensor(np.concatenate([shares[:, 1], shares[:, 0]]), dtype=torch.float32)
    prompts = torch.arange(len(seen)).repeat(2)
    winner = torch.cat([torch.ones(len(seen)), torch.zeros(len(seen))]).long()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5)
    for _ in range(1500):
        logits = model(winner, 1 - winner, prompts, test=True)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones_like(logits), weight=weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        strong = torch.ones(len(seen)).long()
        theirs = model(strong, 1 - strong, torch.arange(len(seen)), test=True).numpy()
    assert spearmanr(theirs, RULES["mf"].points_of(seen)).statistic > 0.9
