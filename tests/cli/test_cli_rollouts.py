"""From rollout files to a policy, on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.planning.synthetic import draw_rollouts

pytestmark = pytest.mark.slow  # minutes in all

CAP = 10


def with_logprobs(document: dict, classes: list[int], rng: np.random.Generator) -> dict:
    """A record with log-probabilities that are low at first errors."""
    lowest = -np.exp(rng.normal(np.where(np.array(classes) == 2, 0.5, -3.0), 1.0))
    features = {"logprob_min": lowest.tolist(), "logprob_mean": (lowest / 4).tolist()}
    return {**document, "features": features}


def classes_of(item: ScoredSequence) -> list[int]:
    first = item.n_steps if item.label in (None, -1) else item.label
    return [0 if t < first else 2 if t == first else 1 for t in range(item.n_steps)]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Labelled step scores and the three kinds of rollouts, all with log-probabilities."""
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    hazard = (*np.linspace(0.05, 0.5, CAP - 1).tolist(), 1.0)
    late = (*[0.05] * (CAP - 1), 1.0)
    changes = {"hazard": hazard, "hazard_derailed": late, "false_alarms": 0.0, "misses": 0.0, "repair": 0.6}
    truth = tp.RoutingModel(preset.observations, preset.dynamics.replace(**changes, strong_only_tokens=None))
    rng = np.random.default_rng(0)
    drawn: Rollouts = draw_rollouts(truth, 400, 200, 300, rng, problems=100)
    folder = tmp_path_factory.mktemp("rollouts")
    weak, scores = [], []
    for item in drawn.weak:
        document = with_logprobs(item.model_dump(exclude={"features"}), classes_of(item), rng)
        weak.append(document)
        scores.append(
            {
                "id": item.id,
                "label": item.label,
                "n_scored": item.n_steps,
                "scores": {"prm": document["scores"]},
                "features": document["features"],
            }
        )
    repairs = [
        with_logprobs(item.model_dump(), [0] * (len(item.weak_tokens) - 1) + [item.true_class], rng)
        for item in drawn.repairs
    ]
    strong = [item.model_dump() for item in drawn.strong]
    paths = {}
    for name, rows in (("scores", scores), ("weak", weak), ("strong", strong), ("repair", repairs)):
        paths[name] = folder / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


def rollout_options(files: dict[str, Path]) -> list[object]:
    return ["--rollouts", files["weak"], "--strong", files["strong"], "--repair", files["repair"], "--max-steps", CAP]


@pytest.mark.parametrize("evidence", ["prm", "logprob", "prm+logprob"])
def test_from_rollouts_to_a_policy(run_cli, files, tmp_path, evidence):
    obs, dynamics, policy = (tmp_path / f"{name}.json" for name in ("obs", "dynamics", "policy"))
    code, out, err = run_cli(
        "fit-observations", "--scores", files["scores"], "--evidence", evidence, "--out", obs, "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["diagnostics"]["held_out_auc"] > 0.8
    fit = ["fit-dynamics", *rollout_options(files), "--observations", obs, "--no-intervals", "--out", dynamics]
    code, out, err = run_cli(*fit)
    assert (code, err) == (0, "")
    assert "share of right repaired solutions" in out
    assert "taken: " in out
    found = tp.load(dynamics)
    assert [item.file for item in found.provenance] == ["weak.jsonl", "strong.jsonl", "repair.jsonl"]
    model = ["--observations", obs, "--dynamics", dynamics]
    code, out, err = run_cli("policy", *model, "--budget", 0.3, "--out", policy, "--json")
    assert (code, err) == (0, "")
    rule = tp.load(policy).policy
    kept = rule.first.evidence if rule.form == "mixed" else rule.evidence
    assert (kept.kind if kept else "prm") == evidence
    code, out, _ = run_cli("frontier", *model, "--tradeoffs", 3)
    assert (code, "gain" in out) == (0, evidence == "prm")  # over the threshold rule
    for what in (model, [obs]):
        code, out, _ = run_cli("inspect", *what)
        assert (code, "logprob_min" in out) == (0, evidence != "prm")
    code, _, err = run_cli("simulate", *model, "--threshold", 0.4)
    assert (code, "looks at the PRM score" in err) == ((0, False) if evidence == "prm" else (2, True))


def test_labels_are_used_where_asked_for(run_cli, files, tmp_path):
    obs, dynamics = tmp_path / "obs.json", tmp_path / "dynamics.json"
    run_cli("fit-observations", "--scores", files["scores"], "--out", obs)
    fit = ["fit-dynamics", *rollout_options(files), "--observations", obs, "--no-intervals", "--out", dynamics]
    code, out, _ = run_cli(*fit, "--labels")
    assert code == 0
    assert "by their labels: 400 of 400 weak, 200 of 200 strong, 300 of 300 repair rollouts" in out


def test_what_does_not_go_together(run_cli, files, tmp_path):
    obs, out = tmp_path / "obs.json", tmp_path / "d.json"
    run_cli("fit-observations", "--scores", files["scores"], "--evidence", "logprob", "--out", obs)
    fit = ["fit-dynamics", "--observations", obs, "--out", out]
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"id": "a", "scores": [0.5], "correct": true}\n')
    for options, words in (
        (["--rollouts", files["weak"], "--sequences", files["weak"]], "--rollouts stand alone"),
        (["--repair", files["repair"], "--sequences", files["weak"]], "go with --rollouts"),
        (["--labels", "--sequences", files["weak"]], "go with --rollouts"),
        (["--rollouts", files["strong"]], "strong.jsonl, line 1: missing 'scores'"),
        (["--rollouts", files["weak"], "--repair", files["weak"]], "weak.jsonl, line 1"),
        (["--rollouts", files["weak"], "--strong", tmp_path / "absent"], "absent: cannot be read"),
        (["--rollouts", bare], "sequence a: no logprob_min of its steps; it has score"),
        ([], "give --rollouts, --step-counts"),
    ):
        code, _, err = run_cli(*fit, *options)
        assert code == 2
        assert words in err
        assert not out.exists()
