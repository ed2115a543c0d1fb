"""Benches in which something fails: a model now and then or always, a fit, a PRM that is not there."""

from dataclasses import replace
from pathlib import Path

import pytest

import trim_pomdp as tp
from trim_pomdp.bench.flow import Bench
from trim_pomdp.bench.pictures import plot_bench
from trim_pomdp.bench.setup import Setting, own_bench
from trim_pomdp.bench.strategies import chosen
from trim_pomdp.bench.tables import headline, markdown, side_by_side
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.lab.source import model_source
from trim_pomdp.metrics.standings import BenchResult
from trim_pomdp.runtime.backends.dummy import DummyWorld
from trim_pomdp.runtime.protocols import Usage

PRESET = "qwen2.5-1.5b-7b-math"


def models_file(folder: Path, *, faults: float = 0.0, faulty: str = "strong", prm: bool = True) -> Path:
    path = folder / "models.toml"
    roles = ("weak", "strong", "prm") if prm else ("weak", "strong")
    path.write_text(
        "".join(
            f'[{role}]\nbackend = "dummy"\npreset = "{PRESET}"\n'
            + (f"fault_probability = {faults}\n" if role == faulty and faults else "")
            for role in roles
        )
    )
    return path


def made(folder: Path, names: str, *, n: int = 40, fitting: int = 25, budgets=(0.1, 0.3), seeds=(0,), **how) -> Bench:
    folder.mkdir(parents=True, exist_ok=True)
    source = model_source(str(models_file(folder, **how)))
    setting = Setting(tuple(chosen(names)), budgets, seeds, in_flight=16)
    sets = {
        kind: [Problem(f"{kind}{i}", f"{kind} {i}", "7") for i in range(count)]
        for kind, count in (("problems", n), ("fitting", fitting))
    }
    model = tp.load_preset(PRESET).routing_model()
    return replace(own_bench(folder / "out", source, model, setting, name="made up", **sets), draws=50)


def finished(bench: Bench) -> BenchResult:
    bench.run()
    return bench.result()


def test_solutions_that_fail_are_told_and_the_oracle_does_without_them(tmp_path):
    bench = made(tmp_path, "weak,strong,query-oracle,random", faults=0.02, seeds=(0, 1))
    found = finished(bench)
    failed = {name: [round(80 * point.failed) for point in item.points] for name, item in found.strategies.items()}
    assert found.failed == sum(map(sum, failed.values())) > 0
    assert failed["weak"] == [0]
    ends = [bench.runner.records(entry.rule, trial) for entry in bench.entries().by_strategy()["random"]
            for trial in bench.trials]  # fmt: skip
    assert sum(failed["random"]) == sum(item.terminal.error is not None for run in ends for item in run)
    assert f"* {found.failed} solutions failed, and count as wrong: strong " in markdown(found)


def test_a_single_failure_under_one_of_two_seeds_is_counted():
    point = {"budget": 0.1, "budget_se": 0.0, "accuracy": 0.5, "accuracy_se": 0.0, "asked_budget": 0.1}
    tokens = {"strong_tokens": 1.0, "weak_tokens": 1.0, "prm_tokens": 1.0}
    interval = {"value": None, "low": None, "high": None, "reached": 0.0}
    standing = {
        "about": "", "points": [{**point, **tokens, "failed": 1 / 60}], "cpt": {}, "apgr": interval,
        "delta_ibc": interval,
    }  # fmt: skip
    found = BenchResult(
        name="x", fitted_on="y", problems=30, solutions=60, seeds=(0, 1), weak=0.2, strong=0.6, strong_only_tokens=1.0,
        strategies={"random": standing}, draws=10,
    )  # fmt: skip
    assert found.failed == 1


def test_rules_that_always_fail_are_left_out(tmp_path, monkeypatch):
    """As with a server that tells no log-probabilities."""
    whole = DummyWorld.write
    monkeypatch.setattr(DummyWorld, "write", lambda *given: replace(whole(*given), logprobs=(), usage=Usage(9, 0, 7)))
    found = made(tmp_path, "weak,strong,logprob,random").entries()
    assert list(found.left_out) == ["logprob"]
    assert "all fitting problems fail" in found.left_out["logprob"]
    assert "random" in found.by_strategy()


def test_a_strong_model_that_always_fails_is_told_of(tmp_path):
    with pytest.raises(InputError, match="all fitting problems fail with strong-only: "):
        made(tmp_path, "random", faults=1.0).entries()


def test_what_cannot_be_fitted_is_left_out(tmp_path):
    found = made(tmp_path, "weak,routellm-bert,query-random,random", fitting=3).entries()
    assert list(found.left_out) == ["routellm-bert", "query-random"]
    assert "5 folds of 3 problems" in found.left_out["routellm-bert"]
    assert set(found.by_strategy()) == {"weak", "random"}


def test_routers_of_whole_problems_need_no_prm_unless_they_look_at_it(tmp_path):
    names = "weak,strong,query-random,automix,query-oracle"
    found = finished(made(tmp_path, names, prm=False))
    assert set(found.strategies) == set(names.split(","))
    assert all(point.prm_tokens == 0.0 for item in found.strategies.values() for point in item.points)
    with pytest.raises(InputError, match="prm"):
        made(tmp_path / "scores", "automix-prm", prm=False).entries()


def test_one_budget_is_enough_for_tables_and_pictures(tmp_path):
    found = finished(made(tmp_path, "weak,strong,oracle,random,pomdp", budgets=(0.3,)))
    assert [row[0] for row in headline(found)[1]] == ["random", "pomdp"]
    assert [row[0] for row in side_by_side([found])[1]] == ["random", "pomdp"]
    assert {item.strategy for item in found.differences} == {"random"}
    few = found.model_copy(update={"strategies": {"random": found.strategies["random"]}})
    legend = plot_bench([few, found]).legends[0]
    assert {"random", "pomdp", "oracle"} <= {text.get_text() for text in legend.get_texts()}


def test_what_is_unset_is_named_once(tmp_path):
    found = made(tmp_path, "weak,pomdp-recall,pomdp-redraft").entries()
    assert set(found.left_out) == {"pomdp-recall", "pomdp-redraft"}
    assert found.left_out["pomdp-recall"].count("redraft_repair") == 1
