"""The verb that writes a report: ``trim-pomdp report``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.models import (
    DynamicsOption,
    JsonOption,
    ObservationsOption,
    PresetOption,
    read_model,
)
from trim_pomdp.cli.output import claim, emit_json, parse_numbers, progress, say
from trim_pomdp.cli.prices import PricesOption, require_prices
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.metrics.standings import BenchResult
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies import PolicyArtifact

_BUDGETS = "0.05,0.1,0.2,0.3,0.5"


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Folders of runs; the others are compared with the first. Or results of benches."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Page to write (HTML).")] = Path("report.html"),
    prices: PricesOption = None,
    policies: Annotated[
        list[Path] | None,
        typer.Option("--policies", help="A further policy (JSON) for the slider of every solution; may be repeated."),
    ] = None,
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    budgets: Annotated[
        str | None, typer.Option("--budgets", help=f"Budgets that the slider goes over, with a model ({_BUDGETS}).")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="What the page is called.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one page about runs: what was planned and measured, costs, belief, and every solution step by step.

    Of benches (their folders, or result.json): tables and pictures of what every strategy costs and wins.
    """
    from trim_pomdp.inspection.figures import counted
    from trim_pomdp.inspection.report import write_report
    from trim_pomdp.inspection.runs import read_run

    command = _command(runs, out, prices, policies or (), preset, observations, dynamics, budgets, title)
    if benches := _benches(runs):
        if any(item is not None for item in (prices, policies, preset, observations, dynamics, budgets)):
            raise InputError("results of benches are shown as they are, with --out and --title alone")
        _report_benches(benches, out, title, command, as_json)
        return
    model, chosen = _model(preset, observations, dynamics, budgets)
    known = None if prices is None else require_prices(prices)
    further = [_policy(path) for path in policies or ()]
    with progress("report", compiles=True) as tell:
        read = [read_run(path) for path in runs]
        claim(out)
        document = write_report(
            read,
            out,
            prices=known,
            policies=further,
            model=model,
            budgets=chosen,
            title=title,
            command=command,
            tell=tell,
        )
    size = out.stat().st_size if out.is_file() else 0
    if as_json:
        emit_json({"out": str(out), "bytes": size, **document})
        return
    for run in document["runs"]:
        ended = counted(run["ended"], "problem")
        say(f"{run['name']}: {ended}. {' '.join(run['verdicts'])}".rstrip())
    say(f"wrote {out} ({size / 1e6:.1f} MB); open it in a browser, no network is needed")


def _benches(paths: list[Path]) -> list[BenchResult]:
    """Results of benches at the paths, in folders of their own or one for each family; none where these are runs."""
    from trim_pomdp.bench.flow import RESULT_FILE

    found: list[list[BenchResult]] = []
    for path in paths:
        inside = [path / RESULT_FILE, *sorted(path.glob(f"*/{RESULT_FILE}"))] if path.is_dir() else [path]
        found.append([result for file in inside if (result := _bench_in(file)) is not None])
    if any(found) and not all(found):
        raise InputError("runs and results of benches do not go into one report; give either")
    return [result for results in found for result in results]


def _bench_in(path: Path) -> BenchResult | None:
    """The result of a bench in a file; None if the file is something else, since runs may be given by a file, too."""
    from trim_pomdp.artifacts import read_json
    from trim_pomdp.metrics.standings import BenchResult

    try:
        document = read_json(path)
    except InputError:
        return None
    if document.get("kind") != BenchResult.model_fields["kind"].default:
        return None
    return BenchResult.from_mapping(document, source=str(path))


def _report_benches(results: list[BenchResult], out: Path, title: str | None, command: str, as_json: bool) -> None:
    from trim_pomdp.bench.page import write_bench_page

    claim(out)
    with progress("report"):
        write_bench_page(results, out, title=title, command=command)
    size = out.stat().st_size
    if as_json:
        emit_json({"out": str(out), "bytes": size, "benches": {result.name: result.document for result in results}})
        return
    say(f"wrote {out} ({size / 1e6:.1f} MB); open it in a browser, no network is needed")


def _model(
    preset: str | None, observations: Path | None, dynamics: Path | None, budgets: str | None
) -> tuple[RoutingModel | None, list[float]]:
    """The model that plans for further budgets, if one is named, and these budgets."""
    chosen = parse_numbers(budgets or _BUDGETS, "--budgets")
    for budget in chosen:
        if not 0.0 <= budget <= 1.0:
            raise InputError(f"--budgets: {budget:g} is no share of strong-only's tokens; expected numbers from 0 to 1")
    if preset is None and observations is None and dynamics is None:
        if budgets is not None:
            raise InputError("--budgets needs a model to plan in: --preset NAME, or --observations and --dynamics")
        return None, chosen
    return read_model(preset, observations, dynamics), chosen


def _policy(path: Path) -> PolicyArtifact:
    from trim_pomdp.policies import PolicyArtifact

    return PolicyArtifact.read(path)


def _command(
    runs: list[Path],
    out: Path,
    prices: Path | None,
    policies: list[Path] | tuple[()],
    preset: str | None,
    observations: Path | None,
    dynamics: Path | None,
    budgets: str | None,
    title: str | None,
) -> str:
    """How the page was made; files by their names, since the page may go to others than whoever made it."""
    words = ["trim-pomdp", "report", *(path.resolve().name for path in runs), "--out", out.name]
    for name, value in (
        ("--prices", None if prices is None else prices.name),
        *(("--policies", path.name) for path in policies),
        ("--preset", preset),
        ("--observations", None if observations is None else observations.name),
        ("--dynamics", None if dynamics is None else dynamics.name),
        ("--budgets", budgets),
        ("--title", title),
    ):
        if value is not None:
            words += [name, value]
    return shlex.join(words)
