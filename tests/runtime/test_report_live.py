"""The report of the live study: its statistics against independent computations, and all of it on dummy runs."""

import json
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import DYNAMICS, OBSERVATIONS, WORLD

import observation_models as om
from trim_pomdp.model.belief import calibrate_minimum
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.evidence import EVIDENCE_KINDS, EvidenceMap
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import concave_hull
from trim_pomdp.policies import StrategyRule
from trim_pomdp.presets.store import Preset
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, dummy_oracle, dummy_problems
from trim_pomdp.runtime.sources import Backends
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import live_findings as findings
import live_runs
import live_statistics as stats
import report_live
import study_live

pytestmark = pytest.mark.slow  # minutes in all

N = 300


# Statistics -------------------------------------------------------------------------------------------------


def test_hull_of_hand_made_points() -> None:
    # (0, 0), (1, .1), (2, 1), (3, .9): the second lies below the chord to the third, the fourth spends for nothing.
    x, y = np.array([[0.0, 1.0, 2.0, 3.0]]), np.array([[0.0, 0.1, 1.0, 0.9]])
    at = np.array([0.0, 0.5, 1.0, 2.0, 2.5, 9.0])
    found = stats.hull_values(np.repeat(x, 6, axis=0), np.repeat(y, 6, axis=0), at)
    assert found == pytest.approx([0.0, 0.25, 0.5, 1.0, 1.0, 1.0])
    first, second = stats.hull_choice(x, y, np.array([0.5]))
    assert (first[0], second[0]) == (0, 2)


def test_hulls_of_many_draws_are_those_of_single_ones() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((50, 7)).round(1), rng.random((50, 7)).round(1)  # rounded: ties in both
    x[:, 0] = 0.0
    at = rng.random(50)
    alone = [np.interp(a, *concave_hull(row_x, row_y)) for row_x, row_y, a in zip(x, y, at, strict=True)]
    assert stats.hull_values(x, y, at) == pytest.approx(alone)


def test_paired_interval_covers_a_known_difference() -> None:
    """Two runs share their problems: the interval covers as it should, and is narrower than an unpaired one."""
    rng = np.random.default_rng(2)
    covered, paired, apart = [], [], []
    for _ in range(200):
        easy = rng.random(300)
        first, second = (easy < 0.5).astype(float), (easy + 0.1 * rng.standard_normal(300) < 0.55).astype(float)
        bootstrap = stats.Bootstrap.of(300, 500, seed=int(rng.integers(1 << 30)))
        found = stats.estimate(bootstrap.means(second - first))
        # P(easy + noise < .55) = .55 where the noise stays inside [0, 1], which it does here.
        covered.append(found.low <= 0.05 <= found.high)
        paired.append(found.high - found.low)
        apart.append(2 * 1.96 * np.sqrt((first.var() + second.var()) / 300))
    assert 0.9 <= np.mean(covered) <= 0.99
    assert np.mean(paired) < 0.7 * np.mean(apart)


def test_bootstrap_error_of_a_mean_is_the_standard_error() -> None:
    values = np.random.default_rng(3).random(400)
    draws = stats.Bootstrap.of(400, 4000).means(values)
    assert draws[0] == pytest.approx(values.mean())
    assert draws[1:].std() == pytest.approx(stats.mean_error(values)[1], rel=0.05)


@pytest.mark.parametrize("off", [0.0, 0.05])
def test_rmse_beyond_sampling_error(off: float) -> None:
    """Plans that are off by a known amount at every budget: the interval covers it, raw RMSE exceeds it."""
    rng = np.random.default_rng(4)
    truth = np.array([0.4, 0.6, 0.8])
    covered, values, raws = [], [], []
    for _ in range(150):
        correct = (rng.random((400, 3)) < truth).astype(float)
        bootstrap = stats.Bootstrap.of(400, 400, seed=int(rng.integers(1 << 30)))
        errors = correct.std(axis=0, ddof=1) / np.sqrt(400)
        raw, beyond = stats.excess_rmse(bootstrap.means(correct), errors, truth + off)
        covered.append(beyond.low <= off <= beyond.high)
        values.append(beyond.value**2)
        raws.append(raw)
    assert np.mean(covered) >= 0.92
    assert np.mean(raws) > off
    assert np.mean(values) == pytest.approx(off**2, abs=3e-4)


def test_hull_of_noise_is_optimistic_and_a_choice_made_elsewhere_is_not() -> None:
    """Eight points of equal worth and cost: their hull lies above the truth, which is a difference of 0."""
    rng = np.random.default_rng(5)
    elsewhere, hull, optimism = [], [], []
    for _ in range(40):
        worth = (rng.random((200, 9)) < 0.5).astype(float)
        cost = np.ones((200, 9))
        bootstrap = stats.Bootstrap.of(200, 200, seed=int(rng.integers(1 << 30)))
        values = stats.hull_values(bootstrap.means(cost[:, 1:]), bootstrap.means(worth[:, 1:]), np.ones(201))
        hull.append(values[0] - 0.5)
        optimism.append(values[1:].mean() - values[0])
        elsewhere.append(stats.chosen_elsewhere(cost[:, 1:], worth[:, 1:], cost[:, 0], worth[:, 0], splits=20))
    assert np.mean(hull) > 0.03
    assert np.mean(optimism) > 0.01
    assert abs(np.mean(elsewhere)) < 0.015


def test_metrics_of_predictions_are_the_library_s_in_every_draw() -> None:
    rng = np.random.default_rng(6)
    problem = rng.integers(0, 40, size=300)
    p = rng.random(300).round(2)  # ties
    outcome = rng.random(300) < p
    bootstrap = stats.Bootstrap.of(40, 5)
    predictions = stats.Predictions(p, outcome, problem)
    metrics = {"auc": om.auc, "log_loss": om.log_loss, "brier": om.brier, "ece": om.ece}
    clipped = np.clip(p, 1e-9, 1 - 1e-9)
    for name, metric in metrics.items():
        draws = getattr(predictions, name)(bootstrap)
        for counts, value in zip(bootstrap.counts, draws, strict=True):
            rows = np.repeat(np.arange(300), counts[problem].astype(int))
            assert value == pytest.approx(metric(clipped[rows], outcome[rows])), name
    share, predicted, observed = predictions.reliability(bootstrap, np.linspace(0, 1, 6))
    curve = om.reliability_curve(p, outcome, 5)
    assert share == pytest.approx(curve.weight)
    assert predicted == pytest.approx(curve.predicted)
    assert observed[0] == pytest.approx(curve.observed)


# The report on dummy runs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DummySource:
    """Scripted models in place of the lab's."""

    caps: Caps = field(default_factory=lambda: Caps(max_steps=6, max_step_tokens=64))
    prm_name: str = "dummy"
    format: StepFormat = DEFAULT_FORMAT
    checker: str = "math"

    def oracle(self, problem: Any, steps: tuple[str, ...]) -> Any:
        return dummy_oracle(problem, steps)

    def require(self, roles: Collection[str]) -> None:
        pass

    def config(self, roles: Collection[str]) -> dict[str, Any]:
        return {"dummy": sorted(roles)}

    def load(self, roles: Collection[str]) -> Backends:
        return Backends(DummyGenerator(WORLD, "weak"), DummyGenerator(WORLD, "strong"), DummyScorer(WORLD))  # type: ignore[arg-type]


def dummy_preset(name: str, dynamics: StepDynamics) -> Preset:
    kind = name.rpartition(".")[2] if "." in name else "prm+logprob"
    features = {"prm": (), "logprob": ("logprob_min",), "prm+logprob": ("score", "logprob_min")}[kind]
    evidence = EvidenceMap(features=features, coefficients=(1.0,) * len(features), intercept=0.0) if features else None
    observations = OBSERVATIONS.model_copy(update={"evidence": evidence})
    return Preset(name=name, description="by hand", observations=observations, dynamics=dynamics, command="none")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one family on dummy models, and the presets beside it."""
    base = tmp_path_factory.mktemp("live")
    (base / "presets").mkdir()
    scores = np.random.default_rng(0).random((50, 3))
    batch = SequenceBatch(scores, np.full(50, 3), scores.min(axis=1) > 0.3, np.arange(50).astype(str))
    dynamics = DYNAMICS.replace(running_minimum=calibrate_minimum(batch, fitted_on="nothing"))
    for name in ("lab-loop", *(f"lab-loop.{kind}" for kind in EVIDENCE_KINDS)):
        dummy_preset(name, dynamics).save(base / "presets" / f"{name}.json")
    load = report_live.preset_loader(base / "presets")
    for job in study_live.jobs("loop", load):
        study_live.execute(job, dummy_problems(N), DummySource(), base / "runs" / "loop" / job.name)
    return base


@pytest.fixture(scope="module")
def family(work: Path) -> live_runs.FamilyRuns:
    return report_live.read_families(work / "runs", report_live.preset_loader(work / "presets"))[0]


def test_report(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = work / "pictures"
    files = ("--markdown", work / "report.md", "--json", work / "report.json", "--draws", 200)
    arguments = ("--work", work / "runs", "--out", out, "--presets", work / "presets", *files)
    assert report_live.main([str(item) for item in arguments]) == 0
    text = capsys.readouterr().out
    assert text == (work / "report.md").read_text()
    assert "not there yet" not in text
    assert "nan" not in text
    numbers = json.loads((work / "report.json").read_text(), parse_constant=pytest.fail)
    assert len(numbers["plan"]) == 10
    assert len(numbers["policy_threshold"]) == 8
    assert {row["group"] for row in numbers["plan_summary"]} >= {"ends and oracle", "budget", "threshold", "paper"}
    assert {path.name for path in out.iterdir()} == {"plan.png", "policies-loop.png", "beliefs.png"}
    # The dummies do what the prm preset says, and the plan on PRM scores comes true.
    for row in numbers["policy_threshold"]:
        if row["evidence"] == "prm":
            assert row["difference"]["low"] - 0.02 <= row["predicted"] <= row["difference"]["high"] + 0.02


def test_arrays_are_those_of_the_results(family: live_runs.FamilyRuns) -> None:
    for run in family.runs.values():
        assert run.correct.mean() == pytest.approx(run.result["accuracy"])
        assert run.strong_tokens.mean() == pytest.approx(run.result["strong_tokens"])
    assert family.problems == tuple(problem.id for problem in dummy_problems(N))
    assert [run.name for run in family.named("budget")][:2] == ["budget-0.02", "budget-0.05"]


def test_true_classes_and_scores_of_the_weak_run(family: live_runs.FamilyRuns) -> None:
    drafts = family.drafts("weak")
    assert not np.isnan(drafts.features["score"]).any()
    assert drafts.belief is None
    steps, outcomes, missing = findings.belief_predictions(family)
    assert not missing
    for name, predictions in steps.items():
        assert len(predictions.p) == len(drafts.step), name
        # Prefix right: class S0, step by step, problem by problem.
        assert predictions.outcome.tolist() == (drafts.true_class == 0).tolist()
        assert predictions.problem.tolist() == drafts.problem.tolist()
    assert outcomes["posterior"].outcome.tolist() == (family["weak"].correct == 1.0).tolist()
    first = {name: item.log_loss(stats.Bootstrap.of(N, 1))[0] for name, item in steps.items()}
    assert first["filter, prm"] < first["prior alone"]


def test_oracle_and_what_is_best_on_true_classes(family: live_runs.FamilyRuns) -> None:
    model = family.preset().routing_model()
    seeing = findings.truth_model(model)
    oracle = StrategyRule(strategy="oracle")
    # In the seeing model an oracle is what it is in the other one.
    assert evaluate(oracle, seeing).accuracy == pytest.approx(evaluate(oracle, model).accuracy)
    assert seeing.strong_only_tokens == pytest.approx(model.strong_only_tokens)
    for row in findings.oracle_rows(family, stats.Bootstrap.of(N, 50)):
        assert row["predicted_below_best_on_truth"] >= row["predicted_below_oracle"] - 1e-6
        assert row["predicted_below_oracle"] > -1e-9


def test_runs_that_are_not_there_leave_their_rows_out(work: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir(parents=True)
    for name in ("weak", "budget-0.1"):
        (tmp_path / "loop" / name).symlink_to(work / "runs" / "loop" / name)
    arguments = ("--work", tmp_path, "--out", tmp_path / "out", "--presets", work / "presets", "--draws", 20)
    assert report_live.main([str(item) for item in arguments]) == 0


def test_other_problems_are_refused(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "weak").symlink_to(work / "runs" / "loop" / "weak")
    load = report_live.preset_loader(work / "presets")
    job = next(item for item in study_live.jobs("loop", load) if item.name == "strong")
    study_live.execute(job, dummy_problems(5), DummySource(), tmp_path / "loop" / "strong")
    assert report_live.main(["--work", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "other problems" in capsys.readouterr().err
