"""A bench from start to end, in a folder: settle all rules, run them, measure. Whatever was done is not done again.

    FOLDER/entries.json       every strategy's rules, settled on fitting problems
    FOLDER/runs/TRIAL/RULE/   how every problem ended under a rule
    FOLDER/memory.sqlite      what models replied (`trim_pomdp.runtime.remembered`)
    FOLDER/result.json        what came of it, with table.md, points.csv and frontier.png beside it

Shards make their parts of the runs into the same folder, or into copies that are put together later. Without a shard,
runs that shards have not made whole are made, all problems of each, and all of it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trim_pomdp.artifacts import write_text
from trim_pomdp.bench.contest import STRONG, WEAK, Contest, LeftOutError
from trim_pomdp.bench.entries import Entries, Entry, distinct
from trim_pomdp.bench.outcomes import course
from trim_pomdp.bench.queries import needed
from trim_pomdp.bench.result import DRAWS, measure
from trim_pomdp.bench.running import Kept, Runner, Trial
from trim_pomdp.bench.strategies import Strategy
from trim_pomdp.bench.tables import markdown, markdown_of_several, points_csv
from trim_pomdp.errors import InputError
from trim_pomdp.metrics.standings import BenchResult
from trim_pomdp.model.prices import Prices
from trim_pomdp.policies.base import Rule, content_hash
from trim_pomdp.policies.query import QueryRule
from trim_pomdp.runtime.run import fingerprint
from trim_pomdp.runtime.traces import RunArtifact

ENTRIES_FILE, RESULT_FILE, TABLE_FILE, POINTS_FILE, PICTURE_FILE = (
    "entries.json", "result.json", "table.md", "points.csv", "frontier.png",
)  # fmt: skip
RUNS, MEMORY_FILE = "runs", "memory.sqlite"
# All are compared with our plan, and those that see a part of its evidence with the plan that sees the same.
AGAINST = {
    "pomdp": None,
    "pomdp-prm": ("threshold", "takeover", "paper-pomdp", "trim-agg", "trim-seq"),
    "pomdp-logprob": ("logprob",),
}
Tell = Callable[[int, str], None]
"""Told how many solutions have ended, and of which run."""


@dataclass(frozen=True)
class Bench:
    """Strategies on the same problems.

    Attributes
    ----------
    folder : Path
        Where everything goes.
    contest : Contest
        What strategies are made from; its runs are on fitting problems, and every shard makes all of them.
    runner : Runner
        Makes the runs on test problems.
    strategies : sequence of Strategy
        That take part; weak-only and strong-only always do.
    trials : sequence of Trial
        Of test problems.
    name, fitted_on : str
        What test problems are called, and what those that strategies are made on.
    prices : Prices or None
        Of the models; with them money is measured as well.
    draws : int
        Of the bootstrap that intervals come from.
    """

    folder: Path
    contest: Contest
    runner: Runner
    strategies: Sequence[Strategy]
    trials: Sequence[Trial]
    name: str
    fitted_on: str
    prices: Prices | None = None
    draws: int = DRAWS

    def __post_init__(self) -> None:
        prompts = {problem.prompt for problem in self.contest.fitting.problems}
        for trial in self.trials:
            for problem in trial.problems:
                if problem.prompt in prompts:
                    raise InputError(
                        f"problem {problem.id!r} is among the fitting problems too; test problems must be others"
                    )

    @property
    def config(self) -> dict[str, Any]:
        """What defines it, as JSON values."""
        contest, source = self.contest, self.runner.source
        return {
            "strategies": [item.name for item in self.strategies],
            "budgets": list(contest.budgets),
            "default": contest.default,
            "seed": contest.seed,
            "fitting": [contest.fitting.seed, fingerprint(contest.fitting.problems)],
            "trials": [[trial.seed, fingerprint(trial.problems)] for trial in self.trials],
            "models": source.config(["weak", "strong", "prm"]),
            "fitted": {
                kind: [content_hash(model.observations), content_hash(model.dynamics)]
                for kind, model in contest.models.items()
            },
        }

    @property
    def config_hash(self) -> str:
        """Of all that defines it."""
        return RunArtifact.of(self.config).config_hash

    def entries(self, tell: Callable[[str], None] = lambda _: None) -> Entries:
        """Every strategy's rules: as they were settled before, or now.

        Parameters
        ----------
        tell : callable
            Told what is being done.

        Raises
        ------
        InputError
            If the folder holds another bench.
        """
        path, wanted = self.folder / ENTRIES_FILE, self.config_hash
        if path.is_file():
            found = Entries.read(path)
            if found.config_hash != wanted:
                raise InputError(
                    f"{self.folder}: holds a bench of other strategies, problems, models or budgets; name another one"
                )
            return found
        entries: list[Entry] = []
        left_out: dict[str, str] = {}
        for strategy in self.strategies:

            def progress(_: str, done: int, total: int, name: str = strategy.name) -> None:
                tell(f"{name}, {done} of {total}")

            runner = replace(self.contest.runner, tell=progress)
            try:
                tell(strategy.name)
                entries += strategy.entries(replace(self.contest, runner=runner))
            except LeftOutError as why:
                left_out[strategy.name] = str(why)
        settled = Entries(config_hash=wanted, entries=tuple(entries), left_out=left_out)
        settled.save(path)
        return settled

    def run(self, tell: Tell = lambda *_: None) -> None:
        """Make the runs that are missing, those of the shard where there is one.

        Raises
        ------
        InputError
            If a model is wanted that is not there, or the folder holds another bench.
        """
        ended = 0
        for rule, trial, kept in self.jobs():

            def progress(title: str, done: int, _: int, before: int = ended) -> None:
                tell(before + done, title)

            replace(self.runner, tell=progress).make(rule, trial, kept=kept)
            ended += self.size(trial)
            tell(ended, trial.name)

    def jobs(self) -> list[tuple[Rule, Trial, Kept]]:
        """Every run that is needed, each once: a rule, a trial, and what is kept of it."""
        rules = distinct([WEAK, STRONG, *(entry.rule for entry in self.entries().entries)])
        found: dict[tuple[str, str, Kept], tuple[Rule, Trial, Kept]] = {}
        for trial in self.trials:
            for rule in rules:
                runs: list[tuple[Rule, Trial, Kept]] = [(rule, trial, "ends")]
                if isinstance(rule, QueryRule):
                    runs = [(WEAK, *run) for run in needed(rule, trial)]
                found |= {(run[0].policy_hash, run[1].name, run[2]): run for run in runs}
        return list(found.values())

    def size(self, trial: Trial) -> int:
        """How many problems of a trial are made here."""
        shard = self.runner.shard
        return len(trial.problems) if shard is None else shard.size(len(trial.problems))

    def result(self) -> BenchResult:
        """What came of it; written beside the runs, too.

        Raises
        ------
        InputError
            If runs are missing, strong-only is no better than weak-only, or a model that was asked has no price.
        """
        settled = self.entries()
        groups: Mapping[str, Sequence[Entry]] = {
            "weak": (Entry(strategy="weak", rule=WEAK),),
            "strong": (Entry(strategy="strong", rule=STRONG),),
            **settled.by_strategy(),
            **{item.name: tuple(points) for item in self.strategies if (points := self._afterwards(item))},
        }
        found = measure(
            {name: course(entries, self.trials, self.runner, prices=self.prices) for name, entries in groups.items()},
            {item.name: item.about for item in self.strategies},
            name=self.name,
            fitted_on=self.fitted_on,
            seeds=[trial.seed for trial in self.trials],
            budgets=self.contest.budgets,
            against=AGAINST,
            left_out=settled.left_out,
            prices=self.prices,
            draws=self.draws,
        )
        self.write(found)
        return found

    def _afterwards(self, strategy: Strategy) -> list[Entry]:
        return strategy.afterwards(self.trials, self.runner, self.contest.budgets)

    def write(self, found: BenchResult) -> None:
        """Result, tables and picture."""
        from trim_pomdp.bench.pictures import plot_bench
        from trim_pomdp.planning.plots import save_figure

        found.save(self.folder / RESULT_FILE)
        write_text(self.folder / TABLE_FILE, markdown(found))
        write_text(self.folder / POINTS_FILE, points_csv(found))
        save_figure(plot_bench([found]), self.folder / PICTURE_FILE)


def write_together(folder: Path, results: Sequence[BenchResult]) -> None:
    """Tables and a picture of several benches, beside the folders that hold each of them."""
    from trim_pomdp.bench.pictures import plot_bench
    from trim_pomdp.planning.plots import save_figure

    write_text(folder / TABLE_FILE, markdown_of_several(results))
    save_figure(plot_bench(results), folder / PICTURE_FILE)
