"""Evidence at equal money: accuracy per problem's money, what the PRM reads included, planned and live.

    python benchmarks/study_money.py [--prices benchmarks/prices.toml] [--live loop --work FOLDER [--problems 300]]

What a problem costs is told in units of the strong model alone, asked once for all of the solution, which is what
people pay who do not route. Prompt lengths are measured by a short live run of each family. The judge is a PRM as good
as the lab's at the prices of ``[judge.price]``: how good a judge really is, a fit of its scores tells. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from report import heading, table

from trim_pomdp.artifacts import validate
from trim_pomdp.cli.live import LAB, use_threads
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.lab.problems import FAMILIES, Family, draw, parse_family
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.evidence import EVIDENCE_KINDS
from trim_pomdp.model.prices import Prices, ReaderPrice, Reading, Tariff, read_prices
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import asked_once
from trim_pomdp.planning.frontier import Frontier, end_points, solve_frontier
from trim_pomdp.planning.money import policy_for_cost
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.live import LivePlan, run_live
from trim_pomdp.runtime.money import RunMoney, run_money

# Shares of prompt tokens that caches hold: measured with vLLM for the weak model (../shared/VLLM_FACTS.md); step
# pooling has no prefix cache; hosted APIs cache prompts from a thousand tokens on.
CACHED = {"weak": 0.77, "strong": 0.0, "prm": 0.0}
ALL_CACHED = {"weak": 0.77, "strong": 0.77, "prm": 0.0}
JUDGE = "judge"
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
LIVE_LEVELS = (0.3, 0.5)
SEED, MEASURING = 3, 40
POINTS = 60


def readings(family: Family, prices: Prices) -> Tariff:
    """What models read in a family, without caches: by a short run in which all of them are asked."""
    problems = draw(family, "test", SEED + 1, MEASURING)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        run_live(ThresholdRule(threshold=0.5), problems, LabSource(), run, seed=SEED)
        measured = run_money(run, prices)
    if measured is None or measured.tariff is None:
        raise InputError(f"lab-{family}: nobody counted what models read")
    return measured.tariff


def cached(tariff: Tariff, shares: Mapping[str, float]) -> Tariff:
    """The tariff with other shares of cached tokens."""
    changed = {role: tariff.reading(role).model_copy(update={"cached": share}) for role, share in shares.items()}  # type: ignore[arg-type]
    return tariff.model_copy(update=changed)


def judged(tariff: Tariff, price: ReaderPrice) -> Tariff:
    """The tariff with a judge in the PRM's place, which reads its own prompt as the weak model's cache has it."""
    reading = Reading.model_validate({**tariff.prm.model_dump(), "cached": CACHED["weak"]})
    return tariff.model_copy(update={"prices": tariff.prices.model_copy(update={"prm": price}), "prm": reading})


def models_of(family: Family, tariff: Tariff, judge: ReaderPrice) -> dict[str, RoutingModel]:
    """The family's models by evidence, the judge last."""
    found: dict[str, RoutingModel] = {
        kind: replace(load_preset(f"lab-{family}.{kind}").routing_model(), tariff=tariff) for kind in EVIDENCE_KINDS
    }
    return {**found, JUDGE: replace(found["prm"], tariff=judged(tariff, judge))}


def study(family: Family, models: Mapping[str, RoutingModel], title: str) -> None:
    """Table of accuracies at equal money, by evidence."""
    frontiers: dict[str, Frontier] = {
        kind: solve_frontier(model, POINTS, over="money") for kind, model in models.items()
    }
    unit = asked_once(models["prm"])["strong"]
    rows = []
    for level in LEVELS:
        accuracy = {kind: float(item.accuracy_at_money([level * unit])[0]) for kind, item in frontiers.items()}
        rows.append([level, *(None if np.isnan(value) else value for value in accuracy.values())])
    heading(f"{family}, {title}")
    table(["money", *frontiers], rows)
    weak, strong = end_points(models["prm"])
    assert weak.money is not None
    assert strong.money is not None
    print(
        f"A unit of money is {1e3 * unit:.3g} USD a thousand problems: strong-only asked once ({strong.accuracy:.3f} "
        f"right); step by step {strong.money / unit:.2f}; weak-only {weak.money / unit:.3f} ({weak.accuracy:.3f}).\n"
    )


def live(
    family: Family, models: Mapping[str, RoutingModel], work: Path, problems: int, levels: Sequence[float]
) -> None:
    """Table of planned beside measured accuracy and money, every evidence at each level."""
    chosen = draw(family, "test", SEED, problems)
    unit = asked_once(models["prm"])["strong"]
    rows = []
    for kind in EVIDENCE_KINDS:
        model = models[kind]
        assert model.tariff is not None
        for level in levels:
            artifact = policy_for_cost(model, level * unit)
            plan = LivePlan(artifact, model.strong_only_tokens, model.observations.class_table)
            folder = work / f"{family}-{kind}-{level:g}"
            summary = run_live(plan, chosen, LabSource(), folder, seed=SEED, resume=folder.exists(), in_flight=128)
            spent = run_money(folder, model.tariff.prices)
            assert spent is not None
            planned = artifact.planned
            assert planned is not None
            assert planned.money is not None
            money = priced_as_planned(spent, model.tariff)
            gap = money / planned.money - 1.0
            error = (spent.total_se or 0.0) / spent.money.total
            rows.append(
                [
                    kind, level, planned.accuracy, summary.accuracy, summary.accuracy_se, planned.money / unit,
                    money / unit, f"{100 * gap:+.1f} ± {100 * error:.1f} %",
                    f"{100 * (summary.strong_tokens / planned.strong_tokens - 1.0):+.1f} %",
                    f"{100 * (summary.steps / (planned.steps or 1.0) - 1.0):+.1f} %",
                ]
            )  # fmt: skip
    heading(f"{family}, live: {problems} problems")
    columns = ["evidence", "asked", "planned accuracy", "measured", "s.e.", "planned money", "measured", "gap, s.e."]
    table([*columns, "strong tokens", "steps"], rows)


def priced_as_planned(spent: RunMoney, tariff: Tariff) -> float:
    """What a run would have cost with the plan's cached shares; the models of this process have no caches."""
    money, prices = spent.money, tariff.prices
    out = money.total
    for role, name in (("weak", "weak_read"), ("strong", "strong_read"), ("prm", "scored")):
        price = prices.of(role)  # type: ignore[arg-type]
        if price.input:
            held = price.reading(1.0, tariff.reading(role).cached) / price.reading(1.0)  # type: ignore[arg-type]
            out += (held - 1.0) * getattr(money, name)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prices", type=Path, default=Path(__file__).with_name("prices.toml"))
    parser.add_argument("--family", action="append", help="chain, loop, mixed or wordy; all by default")
    parser.add_argument("--live", help="family to route live")
    parser.add_argument("--work", type=Path, help="folder of live runs, which go on where they were")
    parser.add_argument("--problems", type=int, default=300)
    options = parser.parse_args(arguments)
    use_threads(LAB, None)
    prices = read_prices(options.prices)
    if prices is None:
        raise InputError(f"{options.prices}: no prices")
    document = tomllib.loads(options.prices.read_text(encoding="utf-8"))
    judge = validate(ReaderPrice, document.get("judge", {}).get("price"), source=f"{options.prices}, [judge.price]")
    if options.live is not None and options.work is None:
        raise InputError("--live needs --work FOLDER")
    for name in options.family or ([] if options.live else FAMILIES):
        family = parse_family(name)
        measured = readings(family, prices)
        for shares, title in (
            (CACHED, "strong model without a cache"),
            (ALL_CACHED, "strong model's cache as the weak one's"),
        ):
            study(family, models_of(family, cached(measured, shares), judge), title)
    if options.live is not None:
        family = parse_family(options.live)
        tariff = cached(readings(family, prices), CACHED)
        live(family, models_of(family, tariff, judge), options.work, options.problems, LIVE_LEVELS)


if __name__ == "__main__":
    try:
        main()
    except TrimError as error:
        sys.exit(f"study_money: error: {error}")
