"""``train-router``, and policies out of its file."""

import json

import pytest

pytest.importorskip("torch")

from trim_pomdp.cli import main
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.policies.networks import TrainedRouter

SMALL = ["--preset", "lab-loop.prm", "--updates", "2", "--episodes", "64"]


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out = capsys.readouterr()
    return stop.value.code, out.out, out.err


@pytest.mark.slow
def test_from_a_preset_to_a_policy_that_is_simulated(tmp_path, capsys):
    router, policy = str(tmp_path / "router.json"), str(tmp_path / "policy.json")
    code, out, _ = call(capsys, "train-router", *SMALL, "--out", router, "--seed", "3", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["seed"] == 3
    assert len(document["budgets"]) == 5
    assert len(TrainedRouter.read(router).curve) == 2
    code, out, _ = call(
        capsys, "policy", "--preset", "lab-loop.prm", "--router", router, "--budget", "0.1", "--out", policy, "--json"
    )
    assert code == 0
    artifact = PolicyArtifact.read(policy)
    assert artifact.asked_budget == 0.1
    assert json.loads(out)["planned"]["budget"] == artifact.planned.budget
    code, out, _ = call(capsys, "simulate", "--preset", "lab-loop.prm", "--policy", policy, "--problems", "2000")
    assert code == 0
    assert "2000 simulated problems" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--network", "gru"], "expected agg or seq"),
        (["--features", "score,colour"], "names 'colour'"),
        (["--features", "score,score"], "names 'score' twice"),
        (["--prices", "1"], "lowest and the highest"),
        (["--evidence", "smell"], "unknown evidence"),
        (["--family", "loop"], "go with --models"),
    ],
)
def test_wrong_options(tmp_path, capsys, more, message):
    code, _, err = call(capsys, "train-router", *SMALL, "--out", str(tmp_path / "router.json"), *more)
    assert code == 2
    assert message in err


def test_a_router_on_other_evidence_is_refused(tmp_path, capsys):
    router = str(tmp_path / "router.json")
    assert call(capsys, "train-router", *SMALL, "--out", router)[0] == 0
    code, _, err = call(capsys, "policy", "--preset", "lab-loop", "--router", router, "--budget", "0.1")
    assert code == 2
    assert "expected the same" in err
