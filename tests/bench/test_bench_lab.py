"""The bench on the lab: every strategy of the field takes part, on real models."""

import pickle
from dataclasses import replace

import pytest

from trim_pomdp.bench.setup import Setting, lab_bench
from trim_pomdp.bench.strategies import chosen, strategies

pytest.importorskip("torch")
pytest.importorskip("transformers")

NEEDED = {
    "threshold", "evidence-threshold", "best-of-m", "takeover", "trim-agg", "trim-seq", "pomdp", "paper-pomdp",
    "logprob", "random", "oracle", "weak", "strong", "routellm-mf", "routellm-bert", "routellm-sw", "smoothie",
    "automix",
    "automix-prm", "query-random", "query-oracle",
}  # fmt: skip


def test_the_field_is_complete():
    assert set(strategies()) >= NEEDED


@pytest.mark.parametrize("strategy", strategies().values(), ids=strategies())
def test_other_processes_can_be_told_of_a_strategy(strategy):
    assert pickle.loads(pickle.dumps(strategy)) is strategy


def test_problems_that_chance_draws_twice_are_not_fitted_on(tmp_path):
    made = lab_bench(tmp_path, "loop", Setting(tuple(chosen("weak")), seeds=(40, 41)), problems=300, fitting=300)
    tested = {problem.prompt for trial in made.trials for problem in trial.problems}
    fitting = made.contest.fitting.problems
    assert len(fitting) == 300
    assert not tested & {problem.prompt for problem in fitting}
    assert fitting[-1].id != "loop-fit-101-299"  # or the test tells nothing: none was left out


@pytest.mark.slow
def test_families_are_benched_side_by_side(cli_json, tmp_path):
    found = cli_json(
        "bench", "--family", "chain,loop", "--strategies", "weak,random", "--problems", 10, "--fitting", 10,
        "--budgets", "0.3", "--jobs", 2, "--out", tmp_path / "out", quiet=False,
    )  # fmt: skip
    assert list(found["families"]) == ["chain", "loop"]
    table = (tmp_path / "out" / "table.md").read_text()
    assert "| strategy | lab chain: CPT 50 % |" in table
    assert table.index("## All") < table.index("## lab chain") < table.index("## lab loop")
    assert (tmp_path / "out" / "frontier.png").stat().st_size > 10_000
    assert all(standing["problems"] == 10 for standing in found["families"].values())


@pytest.mark.slow
def test_every_strategy_runs_on_the_lab(cli_json, tmp_path, monkeypatch):
    """The full table's command, in small: networks trained for a moment, plans of two drafts, which take minutes."""
    from trim_pomdp.bench import strategies as makers
    from trim_pomdp.learning import ppo

    whole = ppo.settings_for
    monkeypatch.setattr(ppo, "settings_for", lambda architecture: replace(whole(architecture), updates=5))
    monkeypatch.setattr(makers, "MOST_DRAFTS", 2)
    found = cli_json(
        "bench", "--family", "chain", "--problems", 30, "--fitting", 30, "--budgets", "0.3", "--seeds", "5",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert found["left_out"] == {}
    assert found["failed"] == 0
    assert set(found["strategies"]) == set(strategies())
    for name, standing in found["strategies"].items():
        one = name in ("weak", "strong", "oracle")
        assert [point["asked_budget"] for point in standing["points"]] == ([None] if one else [0.3]), name
    strong = found["strategies"]["strong"]["points"][0]
    assert strong["budget"] == pytest.approx(1.0)
    assert found["strategies"]["query-oracle"]["points"][0]["accuracy"] >= found["weak"]
    # Drawn settings spend what was asked, to within what 30 problems tell.
    for name in ("random", "pomdp", "query-random"):
        for point in found["strategies"][name]["points"]:
            assert abs(point["budget"] - point["asked_budget"]) < 4 * point["budget_se"] + 0.02, name
