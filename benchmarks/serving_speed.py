"""The paper's third table on running servers: seconds per problem and tokens per second, routed against strong-only.

    trim-pomdp up --models lab-cpu.toml --python ENV/bin/python --out on.toml &
    python benchmarks/serving_speed.py --models on.toml [--uncached off.toml] --work RUNS
    python benchmarks/serving_speed.py --work RUNS --only-report

Servers need VLLM_SERVER_DEV_MODE=1 ([weak.server] environment): prefix caches are emptied before every run, so that no
run finds the text of another one; off.toml is the same with --no-enable-prefix-caching among the arguments of weak and
strong. In every repeat all settings solve the same problems, one setting after the other, in the opposite order every
other time; a speed-up is that over strong-only of the same repeat, on the same servers, with as many in flight.

*Seconds per problem* is the mean time from the start of a problem to its end, set-up apart. *Tokens per second* are
those of the steps that stand, over the time that the run took. All are medians over repeats, (smallest to largest).
Where the time goes: means per problem over the runs with one problem in flight and nothing done ahead; the rest is
what the package, and the wait for its turn on this machine, took.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from urllib.request import Request, urlopen

from report import heading, table

from trim_pomdp import StrategyRule, ThresholdRule, load_preset, model_source, policy_for_budget
from trim_pomdp.data.problems import Problem, read_problems
from trim_pomdp.errors import InputError
from trim_pomdp.lab.problems import draw
from trim_pomdp.policies import Rule
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.live import run_live
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.traces import read_traces

BUDGETS = (0.1, 0.2, 0.4)
OPTIONS = {"": (False, False), "overlap": (True, False), "overlap, warm": (True, True)}


@dataclass(frozen=True)
class Setting:
    """What is run: a row of the table.

    Attributes
    ----------
    policy : str
        ``weak-only``, ``strong-only``, ``budget .1`` or ``threshold .1``.
    ahead : str
        What is done ahead, see `OPTIONS`.
    cache : bool
        Whether weak and strong have a prefix cache.
    in_flight : int
        Problems at once.
    """

    policy: str
    ahead: str
    cache: bool
    in_flight: int

    def folder(self, work: Path, repeat: int) -> Path:
        """Where its traces are."""
        words = (self.policy, self.ahead or "plain", "cache" if self.cache else "no cache", str(self.in_flight))
        return work / f"{repeat} {'; '.join(words)}"


@dataclass(frozen=True)
class Speed:
    """Of a run: seconds per problem, tokens per second, regenerations and tokens that stand per problem."""

    seconds: float
    tokens_s: float
    regenerations: float
    tokens: float


def settings(routed: Sequence[str], in_flight: Sequence[int], uncached: bool) -> Iterator[Setting]:
    """All rows; without a cache nothing is done ahead."""
    for count in in_flight:
        for cache in (True, False) if uncached else (True,):
            for policy in ("strong-only", "weak-only", *routed):
                for ahead in OPTIONS if cache and policy in routed else ("",):
                    yield Setting(policy, ahead, cache, count)


def rule(policy: str, preset: str) -> Rule:
    """The rule of a policy's name."""
    if policy.endswith("-only"):
        return StrategyRule(strategy="weak" if policy == "weak-only" else "strong")
    kind, _, value = policy.partition(" ")
    if kind == "threshold":
        return ThresholdRule(threshold=float(value))
    return policy_for_budget(load_preset(preset).routing_model(), float(value)).policy


def speed(folder: Path, in_flight: int) -> Speed:
    """What a run took.

    Every worker takes the next problem when one ends: the first ones begin at once, the others as the first ones end.
    """
    ends = sorted((record.terminal for record in read_traces(folder)), key=lambda item: item.elapsed_s)
    failed = next((item.error for item in ends if item.error is not None), None)
    if failed is not None:
        raise SystemExit(f"{folder}: {failed}")
    times = [item.elapsed_s for item in ends]
    begins = [0.0] * min(in_flight, len(times)) + times[: max(len(times) - in_flight, 0)]
    stand = sum(item.tokens.weak_kept + item.tokens.strong for item in ends)
    return Speed(
        seconds=mean(times) - mean(begins),
        tokens_s=stand / times[-1],
        regenerations=mean(item.regenerations for item in ends),
        tokens=stand / len(ends),
    )


def empty_caches(models: str) -> None:
    """Have the servers of weak and strong forget what they have read."""
    file = read_models_file(models)
    for served in (file.weak, file.strong):
        for url in getattr(served, "urls", ()):
            try:
                with urlopen(Request(f"{url}/reset_prefix_cache", method="POST"), timeout=60.0):
                    pass
            except OSError as error:
                raise InputError(f"{url}/reset_prefix_cache: {error}; VLLM_SERVER_DEV_MODE=1 is wanted") from None


def measure(given: argparse.Namespace, rows: list[Setting], problems: dict[int, list[list[Problem]]]) -> None:
    """Run all that has not been run."""
    rules = {row.policy: rule(row.policy, given.preset) for row in rows}
    for models in filter(None, (given.models, given.uncached)):  # the first requests of a server take longer
        with TemporaryDirectory() as folder:
            few = problems[given.in_flight[-1]][0][:16]
            run_live(ThresholdRule(threshold=0.9), few, model_source(models), Path(folder) / "first")
    for repeat in range(given.repeats):
        for row in rows if repeat % 2 == 0 else rows[::-1]:
            folder = row.folder(given.work, repeat)
            if folder.exists():
                continue
            models = given.models if row.cache else given.uncached
            empty_caches(models)
            overlap, warm = OPTIONS[row.ahead]
            run_live(
                rules[row.policy],
                problems[row.in_flight][repeat],
                model_source(models),
                folder,
                in_flight=row.in_flight,
                overlap=overlap,
                warm_strong=warm,
            )
            print(folder.name, speed(folder, row.in_flight), flush=True)


def report(work: Path, rows: list[Setting], repeats: int) -> None:
    """The tables."""
    found = {row: [speed(row.folder(work, repeat), row.in_flight) for repeat in range(repeats)] for row in rows}
    for count in dict.fromkeys(row.in_flight for row in rows):
        heading(f"Served models, {count} in flight")
        cells = []
        for row in (row for row in rows if row.in_flight == count):
            mine = found[row]
            base = found[Setting("strong-only", "", row.cache, count)]
            cells.append(
                (
                    row.policy,
                    row.ahead or "–",
                    "on" if row.cache else "off",
                    f"{mean(item.regenerations for item in mine):.2f}",
                    f"{mean(item.tokens for item in mine):.0f}",
                    spread([item.seconds for item in mine], 3),
                    spread([item.tokens_s for item in mine], 1),
                    spread([b.seconds / m.seconds for m, b in zip(mine, base, strict=True)], 2),
                )
            )
        table(
            (
                *("policy", "ahead", "prefix cache", "regenerations", "tokens"),
                *("s per problem", "tokens per s", "speed-up over strong-only"),
            ),
            cells,
        )
    heading("Where the time goes, one problem in flight: ms per problem")
    cells = []
    for row in (row for row in rows if row.in_flight == 1 and not row.ahead):
        traces = [record for repeat in range(repeats) for record in read_traces(row.folder(work, repeat))]
        parts = [1e3 * mean(spent(record, part) for record in traces) for part in ("weak", "scoring", "strong")]
        whole = 1e3 * mean(item.seconds for item in found[row])
        cells.append(
            (row.policy, "on" if row.cache else "off", *(f"{ms:.0f}" for ms in (*parts, whole - sum(parts), whole)))
        )
    table(("policy", "prefix cache", "weak steps", "scores", "strong steps", "rest", "all"), cells)


def spent(record: SolutionRecord, part: str) -> float:
    """Seconds that a problem waited for a model."""
    return sum(item.seconds for decision in record.decisions if (item := getattr(decision, part)) is not None)


def spread(values: Sequence[float], digits: int) -> str:
    """Median, smallest and largest."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", help="models file of running servers")
    parser.add_argument("--uncached", help="the same models on servers without prefix caches")
    parser.add_argument("--work", type=Path, required=True, help="folder for the traces")
    parser.add_argument("--preset", default="lab-loop", help="the routing model that budgets are planned in")
    parser.add_argument("--routed", nargs="+", help="e.g. 'threshold .1' (default: budgets .1, .2 and .4)")
    parser.add_argument("--problems", type=int, nargs="+", default=[12, 64], help="for each number in flight")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--file", help="problems (default: those of the lab's family 'loop')")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only-report", action="store_true", help="print what the folder holds")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    asked = given.work / "settings.json"
    if given.only_report:
        said = json.loads(asked.read_text())
        rows = [Setting(**row) for row in said["rows"]]
        return report(given.work, rows, said["repeats"])
    routed = given.routed or [f"budget {budget:g}" for budget in BUDGETS]
    rows = list(settings(routed, given.in_flight, given.uncached is not None))
    asked.write_text(json.dumps({"repeats": given.repeats, "rows": [vars(row) for row in rows]}, indent=1))
    problems = {
        count: [_problems(given, repeat, n) for repeat in range(given.repeats)]
        for count, n in zip(given.in_flight, given.problems, strict=True)
    }
    measure(given, rows, problems)
    return report(given.work, rows, given.repeats)


def _problems(given: argparse.Namespace, repeat: int, n: int) -> list[Problem]:
    if given.file is None:
        return draw("loop", "test", 100 + repeat, n)
    every = read_problems(given.file)
    return every[repeat * n : (repeat + 1) * n] or every[:n]


if __name__ == "__main__":
    main()
