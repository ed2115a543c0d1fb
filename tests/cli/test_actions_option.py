"""Plans with more actions on the command line."""

import pytest

import trim_pomdp as tp
from trim_pomdp.presets.store import load_preset

MORE = ("--actions", "redraft, keep,regenerate", "--max-drafts", 2, "--gap", 1e-2)


@pytest.fixture
def model(tmp_path):
    preset = load_preset("lab-loop")
    preset.observations.save(tmp_path / "observations.json")
    preset.dynamics.replace(redraft_repair=0.3).save(tmp_path / "dynamics.json")
    return "--observations", tmp_path / "observations.json", "--dynamics", tmp_path / "dynamics.json"


def test_actions_are_planned_with(cli_json, tmp_path, model):
    document = cli_json("policy", *model, "--tradeoff", 0.5, *MORE, "--out", tmp_path / "policy.json")
    assert document["planned"]["redrafts"] > 0.1
    rule = tp.load(tmp_path / "policy.json").policy
    assert (rule.choices, rule.max_drafts) == (("keep", "regenerate", "redraft"), 2)
    drawn = cli_json("simulate", *model, "--policy", tmp_path / "policy.json", "--problems", 20_000)
    assert abs(drawn["redrafts"] - document["planned"]["redrafts"]) < 5 * drawn["redrafts_se"]
    assert abs(drawn["accuracy"] - document["planned"]["accuracy"]) < 5 * drawn["accuracy_se"]


@pytest.mark.slow
def test_frontiers_say_their_actions(cli_json, model):
    frontier = cli_json("frontier", *model, *MORE, "--tradeoffs", 3)
    assert frontier["actions"] == ["keep", "regenerate", "redraft"]
    assert frontier["points"][0]["redrafts"] > 0.1


def test_actions_that_there_are_not_are_refused(cli_refused):
    plan = ("policy", "--preset", "lab-loop.prm", "--tradeoff", 0.5, "--out", "policy.json")
    cli_refused(*plan, "--actions", "keep,rewrite", words=("no action 'rewrite'", "takeover"))
    cli_refused(*plan, "--actions", "regenerate", words=("expected keep",))
