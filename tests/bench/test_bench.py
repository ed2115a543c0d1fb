"""The bench on simulated models: settled once, resumed, sharded, measured; what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.bench import flow
from trim_pomdp.bench.flow import Bench
from trim_pomdp.bench.outcomes import course
from trim_pomdp.bench.setup import Setting, own_bench
from trim_pomdp.bench.strategies import chosen, strategies
from trim_pomdp.bench.tables import markdown
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.lab.source import model_source
from trim_pomdp.metrics.standings import BenchResult
from trim_pomdp.model.prices import Price, Prices, ReaderPrice
from trim_pomdp.policies import MixedRule
from trim_pomdp.runtime.shards import Shard

PRESET = "qwen2.5-1.5b-7b-math"
MODELS = "".join(f'[{role}]\nbackend = "dummy"\npreset = "{PRESET}"\n' for role in ("weak", "strong", "prm"))
NAMES = "weak,strong,oracle,random,split,threshold,pomdp"
PRICES = Prices(weak=Price(input=0.0, output=1.0), strong=Price(input=0.0, output=20.0), prm=ReaderPrice(input=0.0))
BUDGETS = (0.1, 0.3)


def problems(kind: str, n: int) -> list[Problem]:
    return [Problem(f"{kind}{i}", f"{kind} {i}", "7") for i in range(n)]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(MODELS)
    return path


def made(folder: Path, models: Path, *, names: str = NAMES, n: int = 30, budgets=BUDGETS, **options) -> Bench:
    setting = Setting(tuple(chosen(names)), budgets, in_flight=16, **options)
    model = tp.load_preset(PRESET).routing_model()
    sets = {"problems": problems("test", n), "fitting": problems("fit", 25)}
    return replace(own_bench(folder, model_source(str(models)), model, setting, name="made up", **sets), draws=100)


def finished(bench: Bench) -> BenchResult:
    bench.entries()
    bench.run()
    return bench.result()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Bench, BenchResult]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "models.toml").write_text(MODELS)
    bench = made(folder / "out", folder / "models.toml")
    return bench, finished(bench)


def test_every_strategy_stands_with_its_points(whole):
    _, found = whole
    assert list(found.strategies) == NAMES.split(",")
    for name, standing in found.strategies.items():
        assert [point.asked_budget for point in standing.points] == (
            [None] if name in ("weak", "strong", "oracle") else list(BUDGETS)
        )
    assert found.strategies["weak"].points[0].budget == 0.0
    assert found.strategies["strong"].points[0].budget == pytest.approx(1.0)
    assert found.strategies["strong"].points[0].strong_tokens == pytest.approx(found.strong_only_tokens)
    planned = found.strategies["pomdp"].points
    assert [point.planned_budget for point in planned] == pytest.approx(BUDGETS)
    assert found.failed == 0
    assert {item.strategy for item in found.differences} == {"random", "split", "threshold"}


def test_nulls_of_delta_ibc_are_the_strategies_that_are_them(whole):
    _, found = whole
    for name, standing in found.strategies.items():
        assert set(standing.delta_ibc_over) == {"step-random", "best-split"}, name
    own = found.strategies["random"]
    assert own.delta_ibc_over["step-random"].value == pytest.approx(0.0, abs=1e-12)
    assert own.delta_ibc.value != 0.0
    # The hull of the splits is no worse a null than their chords, which the strategy itself is.
    value = found.strategies["split"].delta_ibc_over["best-split"].value
    assert value is None or value <= 1e-12


def test_strategies_are_compared_with_the_plan_that_sees_as_much(whole, monkeypatch):
    bench, plain = whole
    monkeypatch.setattr(flow, "AGAINST", {"pomdp": None, "threshold": ("random", "absent"), "absent": None})
    found = bench.result()
    own, equal = ([item for item in found.differences if item.against == name] for name in ("pomdp", "threshold"))
    assert tuple(own) == plain.differences
    assert len(own) + len(equal) == len(found.differences)
    assert {item.strategy for item in equal} == {"random"}
    both = {(item.strategy, item.budget): item.difference for item in own}
    for item in equal:  # differences add up
        expected = both["random", item.budget] - both["threshold", item.budget]
        assert item.difference == pytest.approx(expected, abs=1e-9)
    assert "### Accuracy less that of threshold" in markdown(found)
    bench.write(plain)


def test_money_is_counted_afterwards(whole):
    bench, plain = whole
    assert plain.prices is None
    assert all(standing.in_money is None for standing in plain.strategies.values())
    found = replace(bench, prices=PRICES).result()
    for name, standing in found.strategies.items():
        assert standing.cpt == plain.strategies[name].cpt
        for point in standing.points:
            expected = (point.weak_tokens + 20.0 * point.strong_tokens) / 1e6
            assert point.money == pytest.approx(expected), name
        assert standing.in_money is not None
    assert found.strategies["strong"].in_money.cpt["95"].value == pytest.approx(
        0.95 + 0.05 * found.strategies["weak"].points[0].money / found.strategies["strong"].points[0].money
    )
    cheap = replace(bench, prices=PRICES.model_copy(update={"strong": Price(input=0.0, output=0.0)})).result()
    assert all(standing.in_money is None for standing in cheap.strategies.values())
    with pytest.raises(InputError, match="no price of the weak model"):
        replace(bench, prices=Prices(strong=PRICES.strong, prm=PRICES.prm)).result()
    bench.result()


def test_points_are_means_of_the_runs(whole):
    """Recomputed from the terminal records of the folders, by hand."""
    bench, found = whole
    entry = bench.entries().by_strategy()["threshold"][1]
    [folder] = (bench.folder / "runs" / "test-0").glob(f"{entry.rule.form}-{entry.rule.policy_hash}")
    ends = [json.loads(line) for line in (folder / "traces.jsonl").read_text().splitlines()]
    assert len(ends) == 30
    point = found.strategies["threshold"].points[1]
    assert point.accuracy == pytest.approx(np.mean([end["correct"] for end in ends]))
    assert point.strong_tokens == pytest.approx(np.mean([end["tokens"]["strong"] for end in ends]))
    assert point.prm_tokens == pytest.approx(np.mean([end["tokens"]["scored"] for end in ends]))


def test_tuned_rules_spend_what_was_asked_on_fitting_problems(whole):
    bench, _ = whole
    rules = [entry.rule for entry in bench.entries().by_strategy()["random"]]
    assert any(isinstance(rule, MixedRule) for rule in rules)
    folders = (bench.folder / "runs" / "fitting").iterdir()
    assert {folder.name.split("-")[0] for folder in folders} == {"strategy", "schedule", "threshold"}


def test_what_is_done_is_not_done_again(whole, monkeypatch):
    bench, found = whole

    def never(*_, **__):
        raise AssertionError("nothing is left to do")

    monkeypatch.setattr("trim_pomdp.bench.strategies.policy_for_budget", never)
    asked = bench.runner.source.memory.asked
    again = finished(bench)
    assert again == found
    assert bench.runner.source.memory.asked == asked


@pytest.mark.slow
def test_an_interrupted_bench_goes_on(whole, models, tmp_path):
    _, found = whole
    bench = made(tmp_path / "out", models)

    def stop(ended: int, _: str) -> None:
        if ended > 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(stop)
    with pytest.raises(InputError, match=r"have not ended .*--resume"):
        bench.result()
    assert finished(made(tmp_path / "out", models)) == found


@pytest.mark.slow
def test_shards_make_the_whole(whole, models, tmp_path):
    _, found = whole
    for index in (1, 2, 3):
        shard = made(tmp_path / "out", models, shard=Shard(index, 3))
        shard.entries()
        shard.run()
    bench = made(tmp_path / "out", models)
    before = bench.runner.source.memory.asked
    assert finished(bench) == found
    assert bench.runner.source.memory.asked == before


def test_seeds_are_trials_and_problems_count_once(models, tmp_path):
    bench = made(tmp_path / "out", models, names="weak,strong,threshold", seeds=(0, 1))
    found = finished(bench)
    assert found.problems == 30
    assert found.seeds == (0, 1)
    one, two = (bench.runner.records(bench.entries().entries[2].rule, trial) for trial in bench.trials)
    right = [[bool(item.terminal.correct) for item in run] for run in (one, two)]
    assert right[0] != right[1]
    outcomes = course(bench.entries().by_strategy()["threshold"], bench.trials, bench.runner).outcomes
    assert outcomes.right[0] == pytest.approx(np.mean(right, axis=0))


def test_who_cannot_take_part_is_named(models, tmp_path):
    bench = made(tmp_path / "out", models, names="pomdp-logprob,threshold", budgets=(0.2,))
    left = bench.entries().left_out
    assert list(left) == ["pomdp-logprob"]
    assert "no model was fitted on the evidence logprob (there are prm)" in left["pomdp-logprob"]


def test_test_problems_are_not_fitting_problems(models, tmp_path):
    setting = Setting(tuple(chosen("threshold")), BUDGETS)
    model = tp.load_preset(PRESET).routing_model()
    fit = problems("fit", 5)
    mixed_in = [*problems("test", 4), Problem("other id", fit[2].prompt, "7")]
    with pytest.raises(InputError, match="'other id' is among the fitting problems too"):
        own_bench(
            tmp_path / "out",
            model_source(str(models)),
            model,
            setting,
            problems=mixed_in,
            fitting=fit,
            name="x",
        )


def test_another_bench_is_refused(models, tmp_path):
    made(tmp_path / "out", models, names="weak,strong").entries()
    with pytest.raises(InputError, match="holds a bench of other strategies"):
        made(tmp_path / "out", models, names="weak").entries()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budgets": (0.0, 0.2)}, "lie between 0 and 1"),
        ({"budgets": (0.3, 0.2)}, "must rise"),
        ({"budgets": ()}, "lie between 0 and 1"),
        ({"seeds": (1, 1)}, "must differ"),
    ],
)
def test_settings_that_make_no_sense(options, words):
    with pytest.raises(InputError, match=words):
        Setting(tuple(chosen("all")), **options)


def test_names():
    assert [item.name for item in chosen("pomdp, weak,pomdp")] == ["pomdp", "weak"]
    assert chosen("all") == list(strategies().values())
    for text in ("pompd", "", " , "):
        with pytest.raises(InputError, match="no strategy"):
            chosen(text)
