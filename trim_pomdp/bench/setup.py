"""How benches are set up: on the lab, with its presets, or on models and problems of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim_pomdp.bench.contest import Contest
from trim_pomdp.bench.flow import MEMORY_FILE, RUNS, Bench
from trim_pomdp.bench.running import Runner, Trial
from trim_pomdp.bench.strategies import Strategy
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.model.evidence import EVIDENCE_KINDS, EvidenceKind
from trim_pomdp.model.prices import Prices
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.remembered import Memory, RememberingSource
from trim_pomdp.runtime.shards import Shard
from trim_pomdp.runtime.sources import ModelSource

if TYPE_CHECKING:
    from trim_pomdp.lab.problems import Family

BUDGETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75)
FITTING_SEED = 101
"""Of the lab's fitting problems that rules are tuned on; presets are fitted on those of seed 0."""


@dataclass(frozen=True)
class Setting:
    """What benches have in common.

    Attributes
    ----------
    strategies : tuple of Strategy
    budgets : tuple of float
        Shares of strong-only's tokens.
    seeds : tuple of int
        Of the trials.
    in_flight : int
        Problems under way at once.
    shard : Shard or None
        The part that is made here.
    prices : Prices or None
        Of the models; they change nothing that is run.
    """

    strategies: tuple[Strategy, ...]
    budgets: tuple[float, ...] = BUDGETS
    seeds: tuple[int, ...] = (0,)
    in_flight: int = 128
    shard: Shard | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if not self.budgets or not all(0.0 < budget < 1.0 for budget in self.budgets):
            raise InputError("budgets of a bench lie between 0 and 1: weak-only and strong-only take part in any case")
        if list(self.budgets) != sorted(set(self.budgets)):
            raise InputError("budgets of a bench must rise, each once")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError("seeds of a bench must differ")


def lab_bench(
    folder: Path,
    family: Family,
    setting: Setting,
    *,
    problems: int,
    fitting: int,
    fit_family: Family | None = None,
    cores: int = 1,
) -> Bench:
    """A bench of the lab's models.

    Parameters
    ----------
    folder : Path
    family : str
        Whose test problems are solved.
    setting : Setting
    problems, fitting : int
        How many test problems a seed, and how many to fit on.
    fit_family : str or None
        Whose presets and fitting problems strategies are made of; None: the same.
    cores : int
        Of torch (`LabSource`).
    """
    from trim_pomdp.lab.problems import draw
    from trim_pomdp.lab.source import LabSource

    made_of = fit_family or family
    trials = [Trial(f"test-{seed}", draw(family, "test", seed, problems), seed) for seed in setting.seeds]
    tested = {problem.prompt for trial in trials for problem in trial.problems}
    models = {kind: load_preset(f"lab-{made_of}.{kind}").routing_model() for kind in EVIDENCE_KINDS}
    default = load_preset(f"lab-{made_of}").observations.evidence
    return _bench(
        folder,
        LabSource(cores=cores),
        models,
        "prm" if default is None else default.kind,
        setting,
        fitting=Trial(f"fitting-{made_of}", _others(made_of, fitting, tested), FITTING_SEED),
        trials=trials,
        name=f"lab {family}",
        fitted_on=f"lab {made_of}",
    )


def _others(family: Family, n: int, tested: set[str]) -> list[Problem]:
    """Fitting problems, less those that chance drew for a test as well: short ones are few."""
    from trim_pomdp.lab.problems import draw

    found: list[Problem] = []
    first = 0
    while len(found) < n:
        found += [item for item in draw(family, "fit", FITTING_SEED, n, first) if item.prompt not in tested]
        first += n
    return found[:n]


def own_bench(
    folder: Path,
    source: ModelSource,
    model: RoutingModel,
    setting: Setting,
    *,
    problems: Sequence[Problem],
    fitting: Sequence[Problem],
    name: str,
) -> Bench:
    """A bench of models of one's own.

    Parameters
    ----------
    folder : Path
    source : ModelSource
    model : RoutingModel
        Fitted on the pair.
    setting : Setting
    problems, fitting : sequence of Problem
        To test on, and to fit on; none is in both.
    name : str
        Of the test problems.
    """
    evidence = model.observations.evidence
    kind: EvidenceKind = "prm" if evidence is None else evidence.kind
    return _bench(
        folder,
        source,
        {kind: model},
        kind,
        setting,
        fitting=Trial("fitting", fitting, FITTING_SEED),
        trials=[Trial(f"test-{seed}", problems, seed) for seed in setting.seeds],
        name=name,
        fitted_on=model.name,
    )


def _bench(
    folder: Path,
    source: ModelSource,
    models: dict[EvidenceKind, RoutingModel],
    default: EvidenceKind,
    setting: Setting,
    *,
    fitting: Trial,
    trials: Sequence[Trial],
    name: str,
    fitted_on: str,
) -> Bench:
    shard = setting.shard
    folder.mkdir(parents=True, exist_ok=True)
    part = "" if shard is None else f".{shard.index}-of-{shard.count}"
    remembering = RememberingSource(source, Memory(folder / f"{MEMORY_FILE}{part}"))
    prm = models.get("prm")
    table = None if prm is None else prm.observations.class_table
    whole = Runner(remembering, folder / f"{RUNS}{part}", table, setting.in_flight)
    # What plans may be off by is no matter here, where they are measured.
    plain = {kind: replace(model, dynamics=model.dynamics.without_draws) for kind, model in models.items()}
    contest = Contest(whole, fitting, plain, default, setting.budgets, seed=setting.seeds[0])
    runner = Runner(remembering, folder / RUNS, table, setting.in_flight, shard)
    return Bench(folder, contest, runner, setting.strategies, trials, name, fitted_on, setting.prices)
