"""The bench on the lab: every strategy of the field takes part, on real models."""

from dataclasses import replace

import pytest

from trim_pomdp.bench.strategies import strategies

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


@pytest.mark.slow
def test_every_strategy_runs_on_the_lab(cli_json, tmp_path, monkeypatch):
    """The full table's command, in small; networks are trained for a moment, which takes minutes otherwise."""
    from trim_pomdp.learning import ppo

    whole = ppo.settings_for
    monkeypatch.setattr(ppo, "settings_for", lambda architecture: replace(whole(architecture), updates=15))
    found = cli_json(
        "bench", "--family", "chain", "--problems", 40, "--fitting", 60, "--budgets", "0.1,0.4", "--seeds", "5",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert found["left_out"] == {}
    assert found["failed"] == 0
    assert set(found["strategies"]) == set(strategies())
    for name, standing in found["strategies"].items():
        one = name in ("weak", "strong", "oracle")
        assert [point["asked_budget"] for point in standing["points"]] == ([None] if one else [0.1, 0.4]), name
    strong = found["strategies"]["strong"]["points"][0]
    assert strong["budget"] == pytest.approx(1.0)
    assert found["strategies"]["query-oracle"]["points"][1]["accuracy"] >= found["weak"]
    # Drawn settings spend what was asked, to within what 40 problems tell.
    for name in ("random", "pomdp", "query-random"):
        for point in found["strategies"][name]["points"]:
            assert abs(point["budget"] - point["asked_budget"]) < 4 * point["budget_se"] + 0.02, name
