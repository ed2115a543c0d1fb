"""What a fit says against itself: contradictions, rows that are missing, searches that did not converge."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.fitting import optimise
from trim_pomdp.fitting.contradictions import contradicted, contradictions, not_converged, not_stronger
from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
from trim_pomdp.fitting.estimation import fit
from trim_pomdp.fitting.parameters import Explanation
from trim_pomdp.model.dynamics import Check, FitReport
from trim_pomdp.planning.frontier_artifact import FrontierArtifact
from trim_pomdp.planning.synthetic import draw_pilot, draw_sequences
from trim_pomdp.presets.store import load_preset

ONE = Explanation("one", "", ("weak_success", "strong_success"))


def check(
    implied: float, observed: float, error: float, *, quantity: str = "accuracy", row: float | None = 0.2
) -> Check:
    return Check(
        quantity=quantity, threshold=row, implied=implied, observed=observed, standard_error=error, used_in_fit=True
    )


COUNTS = "accuracy on the problems of the step counts"


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (check(0.5, 0.6, 0.02), True),
        (check(0.5, 0.6, 0.05), False),  # chance
        (check(0.5, 0.51, 0.001), False),  # certain, and of no account
        (check(0.73, 0.77, 0.003, quantity=f"strong-only: {COUNTS}", row=None), False),  # other problems
        (check(0.06, 0.77, 0.003, quantity=f"strong-only: {COUNTS}", row=None), True),
        (check(300.0, 500.0, 20.0, quantity="strong tokens", row=1.0), True),
        (check(480.0, 500.0, 1.0, quantity="strong tokens", row=1.0), False),
    ],
)
def test_what_counts_as_a_contradiction(item: Check, told: bool) -> None:
    assert contradicted(item) == told


def test_contradictions_of_one_remedy_are_one_line_the_worst_first() -> None:
    items = [check(0.5, 0.6 + 0.05 * i, 0.02, row=0.1 * (i + 1)) for i in range(5)]
    strong = check(0.06, 0.7713, 0.0045, quantity=f"strong-only: {COUNTS}", row=None)
    lines = contradictions([*items, strong], {1.0: "measure the strong-only row (threshold 1)"}, "look again")
    assert lines == (
        "strong-only accuracy: implied 0.06, the step counts say 0.77 (z = -158): measure the strong-only row "
        "(threshold 1)",
        "threshold 0.5 accuracy: implied 0.50, observed 0.80 (z = -15); threshold 0.4 accuracy: implied 0.50, observed "
        "0.75 (z = -12); threshold 0.3 accuracy: implied 0.50, observed 0.70 (z = -10); and 2 more: look again",
    )


def test_a_strong_model_that_is_none() -> None:
    assert "exchanged" in not_stronger(0.9, 0.9005)[0]
    assert not_stronger(0.9, 0.95) == ()
    assert not_stronger(0.9, None) == ()


def test_searches_that_did_not_converge_are_one_line() -> None:
    assert not_converged({"a": None, "b": None}, "try again") == ()
    found = not_converged({"a": "ITERATIONS", "b": None, "c": "ITERATIONS"}, "try again")
    assert found == ("did not converge: a, c (ITERATIONS): try again",)


# Optimisers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Valley:
    """A long bent valley (Rosenbrock's, between 0 and 1): one step does not reach its end."""

    uphill: bool = False
    name: str = "valley"
    informs: frozenset[str] = frozenset({"weak_success", "strong_success"})

    def log_likelihood(self, parameters: dict[str, float]) -> float:
        return self.slopes(parameters)[0]

    def slopes(self, parameters: dict[str, float]) -> tuple[float, dict[str, float]]:
        x, y = parameters["weak_success"], parameters["strong_success"]
        value = -1e3 * ((0.9 - x) ** 2 + 100.0 * (y - x**2) ** 2)
        sign = -1.0 if self.uphill else 1.0
        return value, {
            "weak_success": sign * 1e3 * (2.0 * (0.9 - x) + 400.0 * x * (y - x**2)),
            "strong_success": -sign * 2e5 * (y - x**2),
        }


def test_a_search_that_arrives_says_nothing() -> None:
    found = fit(ONE, [Valley()], start={"weak_success": 0.3, "strong_success": 0.8}, n_starts=1)
    assert found.trouble is None
    assert found.free["strong_success"] == pytest.approx(0.81, abs=1e-3)


@pytest.mark.parametrize("uphill", [False, True])
def test_a_search_that_does_not_is_told(uphill: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of iterations, and with slopes that lead nowhere."""
    if not uphill:
        monkeypatch.setattr(optimise, "_MAX_ITERATIONS", 2)
    found = fit(ONE, [Valley(uphill)], start={"weak_success": 0.3, "strong_success": 0.8}, n_starts=1)
    assert found.trouble is not None
    assert ("ABNORMAL" if uphill else "ITERATIONS") in found.trouble


# Verbs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> tp.RoutingModel:
    return load_preset("qwen2.5-1.5b-7b-math").routing_model()


def test_a_fit_that_did_not_converge_is_reported(model: tp.RoutingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimise, "_MAX_ITERATIONS", 1)
    batch = draw_sequences(model, 60, np.random.default_rng(0))
    found = fit_dynamics("x", Sources(sequences=batch), model.observations, intervals=False)
    assert any(line.startswith("did not converge: ") for line in found.warnings)


def test_similar_notes_are_one_line() -> None:
    notes = ("log loss, a: .3", "log loss, b: .2", "taken: b", "a, b and c are 0 by choice")
    report = FitReport(explanation="x", sources=(), log_likelihood=0.0, notes=notes)
    assert report.noted == ("log loss: a: .3; b: .2", "taken: b", "a, b and c are 0 by choice")
    assert report.notes == notes


@pytest.fixture(scope="module")
def files(model: tp.RoutingModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two rows of a pilot, strong-only not among them, and the observations."""
    folder = tmp_path_factory.mktemp("pilot")
    rows = draw_pilot(model, (0.0, 0.3, 1.0), 400, np.random.default_rng(0))
    (folder / "pilot.jsonl").write_text("\n".join(row.model_dump_json() for row in rows[:2]))
    (folder / "counts.json").write_text(
        '{"models": {"w": {"correct_steps": [5, 6, 7, 9], "first_error_step": [2, 4, 5]}}}'
    )
    model.observations.save(folder / "obs.json")
    return {path.stem: str(path) for path in folder.iterdir()} | {"dynamics": str(folder / "dynamics.json")}


@pytest.mark.slow
def test_every_verb_that_uses_a_doubtful_fit_says_so_first(files, run_cli, tmp_path) -> None:  # type: ignore[no-untyped-def]
    both = ["--observations", files["obs"], "--dynamics", files["dynamics"]]
    policy, frontier = tmp_path / "policy.json", tmp_path / "frontier.json"
    told = {}
    for verb, arguments in {
        "fit-dynamics": [
            "--pilot", files["pilot"], "--step-counts", files["counts"], "--weak", "w", "--observations", files["obs"],
            "--out", files["dynamics"], "--explanation", "false-alarms", "--no-rivals", "--no-intervals",
        ],
        "inspect": both,
        "policy": [*both, "--budget", 0.2, "--out", policy],
        "frontier": [*both, "--tradeoffs", 4, "--gap", 1e-2, "--out", frontier],
    }.items():  # fmt: skip
        code, out, _ = run_cli(verb, *arguments)
        assert code == 0
        told[verb] = out.splitlines()
    line = told["fit-dynamics"][0]
    assert line.startswith("warning: no strong-only row")
    assert line.endswith("measure the strong-only row (threshold 1) and add it to --pilot")
    assert told["policy"][0] == told["frontier"][0] == line
    assert line in told["inspect"]
    assert sum("lean on the prior" in item for item in told["policy"]) == 1
    decided = [item for item in told["fit-dynamics"] if item.startswith("the prior decides more than these data: ")]
    assert len(decided) == 1
    assert "strong_success" in decided[0]
    artifact = tp.load(policy)
    assert isinstance(artifact, tp.PolicyArtifact)
    assert artifact.notes[0] == line.removeprefix("warning: ")
    drawn = tp.load(frontier)
    assert isinstance(drawn, FrontierArtifact)
    assert drawn.notes == (artifact.notes[0],)
    code, out, _ = run_cli("inspect", policy)
    assert code == 0
    assert artifact.notes[0] in out.splitlines()


def test_a_run_of_a_rule_tells_of_the_fit_that_predicts_it(model: tp.RoutingModel) -> None:
    from trim_pomdp.runtime.live import plan_for_rule

    report = FitReport(explanation="x", sources=(), log_likelihood=0.0, warnings=("look out",))
    doubtful = tp.RoutingModel(model.observations, model.dynamics.model_copy(update={"fit": report}))
    assert plan_for_rule(tp.ThresholdRule(threshold=0.5), doubtful).artifact.notes == ("look out",)


def test_beliefs_by_a_pilot_are_told_apart(files, run_cli, model, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Dynamics of a pilot, whose filter never saw an outcome, against those of scored solutions."""
    pilot = FitReport(explanation="x", sources=("pilot sweep",), log_likelihood=0.0)
    scored = FitReport(explanation="x", sources=("pilot sweep", "scored sequences"), log_likelihood=0.0)
    sequences = tmp_path / "sequences.jsonl"
    batch = draw_sequences(model, 30, np.random.default_rng(1))
    shown = zip(batch.prm_scores.tolist(), batch.lengths.tolist(), batch.correct.tolist(), strict=True)
    lines = [
        json.dumps({"id": str(i), "scores": scores[:length], "correct": right})
        for i, (scores, length, right) in enumerate(shown)
    ]
    sequences.write_text("\n".join(lines))
    for report, told in ((pilot, 1), (scored, 0)):
        path = tmp_path / "dynamics.json"
        model.dynamics.model_copy(update={"fit": report}).save(path)
        both = ["--observations", files["obs"], "--dynamics", path]
        code, out, err = run_cli("assess-beliefs", *both, "--sequences", sequences)
        assert code == 0, err
        assert sum("fit-dynamics --sequences" in line for line in out.splitlines()) == told
