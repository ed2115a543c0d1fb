"""More actions at equal money: plans with and without taking over and drafting again, and what they do live.

    python benchmarks/study_actions_money.py --work FOLDER [--family loop] [--levels 0.3,0.5] [--problems 500]

Prices, readings and the unit of money are those of ``study_money.py``; ``--cached`` gives the strong model the weak
one's cache. Problems are the same for all plans of a family, so that differences are paired; plans and runs that are
there are not made again; ``--problems 0`` runs none. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import heading, table
from study_money import ALL_CACHED, CACHED, cached, priced_as_planned, readings

from trim_pomdp.cli.live import LAB, use_threads
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.lab.problems import FAMILIES, Family, draw, parse_family
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.prices import Tariff, read_prices
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.evaluation import asked_once
from trim_pomdp.planning.money import policy_for_cost
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.live import plan_from_file, run_live
from trim_pomdp.runtime.money import run_money
from trim_pomdp.runtime.traces import read_traces

BASE = ("keep", "regenerate")
KINDS = {
    "two": BASE,
    "takeover": (*BASE, "takeover"),
    "redraft": (*BASE, "redraft"),
    "redraft, takeover": (*BASE, "redraft", "takeover"),
    "redraft, recall, takeover": (*BASE, "redraft", "takeover", "recall"),
}
SEED, GAP = 14, 1e-3


def planned(model: RoutingModel, cost: float, path: Path) -> PolicyArtifact:
    """The plan, from its file if it is there."""
    if not path.is_file():
        policy_for_cost(model, cost, gap=GAP).save(path)
    return PolicyArtifact.read(path)


def ran(
    artifact: PolicyArtifact, family: Family, tariff: Tariff, unit: float, problems: int, folder: Path
) -> list[object]:
    """What came of a plan live: accuracy with its standard error, money, take-overs and redrafts a problem."""
    chosen = draw(family, "test", SEED, problems)
    summary = run_live(
        plan_from_file(artifact, None), chosen, LabSource(), folder, seed=SEED, resume=folder.exists(), in_flight=256
    )
    spent = run_money(folder, tariff.prices)
    assert spent is not None
    money = priced_as_planned(spent, tariff) / unit
    taken = sum(item.action == "takeover" for record in read_traces(folder) for item in record.decisions)
    return [summary.accuracy, summary.accuracy_se, money, taken / problems, summary.redrafts]


def right(folder: Path) -> NDArray[np.float64]:
    """Whether each problem was answered right, in the order of their names."""
    ended = sorted((item.terminal for item in read_traces(folder)), key=lambda item: item.problem)
    return np.array([bool(item.correct) for item in ended], dtype=np.float64)


def study(family: Family, options: argparse.Namespace) -> None:
    """The table of a family."""
    prices = read_prices(options.prices)
    if prices is None:
        raise InputError(f"{options.prices}: no prices")
    tariff = cached(readings(family, prices), ALL_CACHED if options.cached else CACHED)
    base = replace(load_preset(f"lab-{family}").routing_model(), tariff=tariff)
    unit = asked_once(base)["strong"]
    work = options.work / (family + ("-cached" if options.cached else ""))
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for level in map(float, options.levels.split(",")):
        for kind in options.kinds.split(";"):
            actions = KINDS[kind]
            drafts = 2 if "redraft" in actions else base.max_drafts
            model = replace(base, actions=actions, max_drafts=drafts)
            name = f"{level:g}-{kind.replace(', ', '+')}"
            artifact = planned(model, level * unit, work / f"{name}.json")
            point = artifact.planned
            assert point is not None
            assert point.money is not None
            row: list[object] = [level, kind, point.accuracy, point.money / unit, point.redrafts]
            if options.problems:
                row += ran(artifact, family, tariff, unit, options.problems, work / name)
                gain = right(work / name) - right(work / f"{level:g}-two")
                row.append(f"{100 * gain.mean():+.1f} ± {100 * gain.std(ddof=1) / len(gain) ** 0.5:.1f}")
            rows.append(row)
            print(*row, file=sys.stderr, flush=True)
    heading(f"{family}, strong model {'with' if options.cached else 'without'} a cache")
    columns = ["asked", "actions", "planned accuracy", "planned money", "planned redrafts"]
    live = ["measured", "s.e.", "money", "take-overs", "redrafts", "minus two actions, points"]
    table([*columns, *(live if options.problems else [])], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prices", type=Path, default=Path(__file__).with_name("prices.toml"))
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of plans and runs, which go on where they were"
    )
    parser.add_argument("--family", action="append", help="chain, loop, mixed or wordy; all by default")
    parser.add_argument("--levels", default="0.3,0.5", help="money, of the strong model asked once")
    parser.add_argument("--kinds", default=";".join(KINDS), help="sets of actions, by semicolon; 'two' first")
    parser.add_argument("--cached", action="store_true")
    parser.add_argument("--problems", type=int, default=500)
    options = parser.parse_args(arguments)
    use_threads(LAB, None)
    for name in options.family or FAMILIES:
        study(parse_family(name), options)


if __name__ == "__main__":
    try:
        main()
    except TrimError as error:
        sys.exit(f"study_actions_money: error: {error}")
