"""The verb that compares strategies: ``trim-pomdp bench``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.cli.live import (
    DEFAULT_FAMILY,
    LAB,
    InFlightOption,
    ModelsOption,
    ResumeOption,
    ThreadsOption,
    read_shard,
    resumable,
    use_threads,
)
from trim_pomdp.cli.models import DynamicsOption, JsonOption, LayoutOption, ObservationsOption, PresetOption, read_model
from trim_pomdp.cli.output import emit_json, parse_numbers, progress, progress_bar, say, show_table, warn
from trim_pomdp.cli.prices import PricesOption, require_prices
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.bench.flow import Bench
    from trim_pomdp.bench.setup import Setting
    from trim_pomdp.bench.strategies import Strategy
    from trim_pomdp.lab.problems import Family
    from trim_pomdp.metrics.standings import BenchResult

_LAB_TEST, _LAB_FITTING = 300, 300


def bench(
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write to.")] = None,
    models: ModelsOption = LAB,
    family: Annotated[
        str | None,
        typer.Option("--family", help=f"Lab: families to test on, with commas, or all (default: {DEFAULT_FAMILY})."),
    ] = None,
    fit_family: Annotated[
        str | None, typer.Option("--fit-family", help="Lab: make strategies on this family instead (transfer).")
    ] = None,
    problems: Annotated[
        str | None,
        typer.Option("--problems", help=f"Lab: how many a seed (default: {_LAB_TEST}). Else: a problem set."),
    ] = None,
    fitting: Annotated[
        str | None,
        typer.Option("--fitting", help=f"To tune on. Lab: how many (default: {_LAB_FITTING}). Else: a problem set."),
    ] = None,
    layout: LayoutOption = None,
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    strategies: Annotated[
        str, typer.Option("--strategies", help="Names with commas between them, or all; --list shows them.")
    ] = "all",
    budgets: Annotated[
        str | None, typer.Option("--budgets", help="Shares of strong-only's tokens, with commas between them.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Of the trials, with commas between them.")] = "0",
    prices: PricesOption = None,
    resume: ResumeOption = False,
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="i/n: every n-th test problem, from the i-th on; after all, without --shard."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Families of the lab at once, a core each (default: 1).")
    ] = None,
    in_flight: InFlightOption = 128,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    list_: Annotated[bool, typer.Option("--list", help="List the strategies, and do nothing.")] = False,
) -> None:
    """Compare strategies on the same problems, drafts and scores: what each costs and wins, with intervals.

    Rules are settled on fitting problems, then run on test problems that none of them has seen; what two strategies
    share of drafts and scores is computed once. In --out: result.json, table.md, points.csv, frontier.png.
    """
    from trim_pomdp.bench.setup import BUDGETS, Setting
    from trim_pomdp.bench.strategies import chosen
    from trim_pomdp.lab.problems import FAMILIES, parse_family
    from trim_pomdp.runtime.traces import check_folder

    takes_part = chosen(strategies)
    known = None if prices is None else require_prices(prices)
    if list_:
        _list(takes_part, as_json)
        return
    if out is None:
        raise InputError("--out FOLDER is needed: where should runs and tables go?")
    setting = Setting(
        tuple(takes_part),
        BUDGETS if budgets is None else tuple(parse_numbers(budgets, "--budgets")),
        tuple(_whole(item, "--seeds") for item in seeds.split(",")),
        in_flight,
        read_shard(shard),
        known,
    )
    check_folder(out, resume=resume)
    if models == LAB:
        if preset is not None or observations is not None or dynamics is not None or layout is not None:
            raise InputError("the lab has presets and problems of its own; these options go with other --models")
        named = family or DEFAULT_FAMILY
        wanted = FAMILIES if named == "all" else [parse_family(name.strip()) for name in named.split(",")]
        options = {
            "problems": _count(problems, _LAB_TEST, "--problems"),
            "fitting": _count(fitting, _LAB_FITTING, "--fitting"),
            "fit_family": None if fit_family is None else parse_family(fit_family),
            "cores": threads or 1,
        }
        results = _lab(out, list(dict.fromkeys(wanted)), setting, options, jobs or 1)
    else:
        if family is not None or fit_family is not None or jobs is not None:
            raise InputError("--family, --fit-family and --jobs are of the lab; they go with --models lab")
        use_threads(models, threads)
        made = _own(out, models, setting, problems, fitting, layout, (preset, observations, dynamics))
        found = _work(made)
        results = {} if found is None else {found.name: found}
    _show(results, out, setting, as_json)


def _list(takes_part: Sequence[Strategy], as_json: bool) -> None:
    rows = [{"name": item.name, "decides on": item.level, "what it is": item.about} for item in takes_part]
    if as_json:
        emit_json({"strategies": rows})
        return
    show_table("strategies", list(rows[0]), [list(row.values()) for row in rows])


def _lab(
    out: Path, families: list[Family], setting: Setting, options: dict[str, Any], jobs: int
) -> dict[str, BenchResult]:
    """Benches of families, one after the other or so many at once."""
    from trim_pomdp.bench.flow import write_together

    folders = {family: out if len(families) == 1 else out / family for family in families}
    if jobs == 1 or len(families) == 1:
        found = {family: _lab_family(folders[family], family, setting, options) for family in families}
    else:
        found = {}
        with resumable(), ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting = {
                pool.submit(_lab_family, folders[family], family, setting, options, bars=False): family
                for family in families
            }
            for number, done in enumerate(as_completed(waiting), start=1):
                if done.exception() is not None:
                    warn(f"{waiting[done]} failed; those that run are finished first")
                    pool.shutdown(cancel_futures=True)
                found[waiting[done]] = done.result()
                warn(f"{waiting[done]}: done, {number} of {len(families)}")
    whole: dict[str, BenchResult] = {family: result for family in families if (result := found[family]) is not None}
    if len(whole) > 1:
        write_together(out, list(whole.values()))
    return whole


def _lab_family(
    folder: Path,
    family: Family,
    setting: Setting,
    options: dict[str, Any],
    *,
    bars: bool = True,
) -> BenchResult | None:
    from trim_pomdp.bench.setup import lab_bench

    return _work(lab_bench(folder, family, setting, **options), bars=bars)


def _own(
    out: Path,
    models: str,
    setting: Setting,
    problems: str | None,
    fitting: str | None,
    layout: str | None,
    parts: tuple[str | None, Path | None, Path | None],
) -> Bench:
    from trim_pomdp.bench.setup import own_bench
    from trim_pomdp.data.problems import read_problems
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.runtime.live import require_answers

    if problems is None or fitting is None:
        raise InputError("--problems FILE (to test on) and --fitting FILE (to tune on) are both needed")
    model = read_model(*parts)
    test, fit = (read_problems(path, layout=layout, tell=warn) for path in (problems, fitting))
    for some in (test, fit):
        require_answers(some)
    return own_bench(out, model_source(models), model, setting, problems=test, fitting=fit, name=Path(problems).stem)


def _work(made: Bench, *, bars: bool = True) -> BenchResult | None:
    """Settle, run, measure; None of a shard, which is a part."""
    if not bars:  # those of several processes would be drawn over each other
        made.entries()
        made.run()
        return made.result() if made.runner.shard is None else None
    with resumable():
        with progress(f"{made.name}, settling rules") as tell:
            made.entries(tell)
        with progress_bar(f"{made.name}, testing", sum(made.size(trial) for _, trial, _ in made.jobs())) as show:
            made.run(show)
    return made.result() if made.runner.shard is None else None


def _show(results: dict[str, BenchResult], out: Path, setting: Setting, as_json: bool) -> None:
    if as_json:
        documents = {name: found.document for name, found in results.items()}
        one = len(documents) == 1
        emit_json(next(iter(documents.values())) if one else {"families": documents})
        return
    for found in results.values():
        show_standings(found)
    say(f"wrote {out}/" if results else f"shard {setting.shard} is done; without --shard the whole is measured")


def show_standings(found: BenchResult) -> None:
    """The tables of a bench."""
    from trim_pomdp.bench.tables import accuracies, differences, headline, in_money, remarks

    title = f"{found.name}: {found.problems} problems, weak {found.weak:.3f}, strong {found.strong:.3f}; made on "
    show_table(f"{title}{found.fitted_on}", *headline(found))
    show_table("accuracy ± standard error (spent) at asked budgets", *accuracies(found))
    columns, rows = in_money(found)
    if rows:
        show_table("the same with money for a cost", columns, rows)
    elif found.prices is not None:
        warn(f"{found.name}: strong-only costs no more money than weak-only, so there is nothing to measure by")
    for plan, cells in differences(found).items():
        show_table(f"accuracy less that of {plan}, points [95 %], * p < .05 (max-t)", *cells)
    for remark in remarks(found):
        warn(remark)


def _count(text: str | None, default: int, option: str) -> int:
    return default if text is None else _whole(text, option, least=2)


def _whole(text: str, option: str, least: int = 0) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise InputError(f"{option} is {text!r}; expected a whole number, at least {least}")
    return int(text)
