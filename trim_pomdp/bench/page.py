"""The result of a bench as a page: tables and pictures of one or several results in one file, for any browser."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trim_pomdp.artifacts import package_version, require_writable, write_bytes
from trim_pomdp.bench.pictures import plot_bench
from trim_pomdp.bench.tables import accuracies, differences, headline, in_money, tokens
from trim_pomdp.inspection.report_page import render
from trim_pomdp.metrics.standings import BenchResult
from trim_pomdp.planning.plots import picture_bytes


def write_bench_page(
    results: Sequence[BenchResult], path: str | Path, *, title: str | None = None, command: str | None = None
) -> None:
    """Write one self-contained page about what benches measured.

    Parameters
    ----------
    results : sequence of BenchResult
        At least one.
    path : path
        The page, HTML.
    title, command : str or None
        What the page is called, and how it was made.

    Raises
    ------
    InputError
        If the page cannot be written.
    """
    path = Path(path)
    require_writable(path)
    names = ", ".join(result.name for result in results)
    page = render(
        "bench.html.j2",
        title=title or f"Routers compared: {names}",
        command=command,
        package_version=package_version(),
        results=[_shown(result) for result in results],
        about={name: item.about for result in results for name, item in result.strategies.items()},
    )
    write_bytes(path, page.encode("utf-8", errors="replace"))


def _shown(result: BenchResult) -> dict[str, Any]:
    return {
        "of": result,
        "headline": headline(result),
        "accuracies": accuracies(result),
        "differences": differences(result),
        "tokens": tokens(result),
        "in_money": in_money(result),
        "picture": _drawn(result),
    }


def _drawn(result: BenchResult) -> str:
    """The picture as an address that holds it."""
    svg = picture_bytes(plot_bench([result]), "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
