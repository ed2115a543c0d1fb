"""What every verb shares: tables for people, one JSON document for programs, progress, and errors as one line."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trim_pomdp.errors import InputError


def emit_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def say(message: str) -> None:
    """Print a line for people on stdout."""
    sys.stdout.write(f"{message}\n")


def warn(message: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(f"{message}\n")


def claim(path: Path) -> None:
    """Refuse, before long work, a file that cannot be written; say it if one that is there will be replaced.

    Raises
    ------
    InputError
        As `trim_pomdp.artifacts.require_writable`.
    """
    from trim_pomdp.artifacts import require_writable

    require_writable(path)
    if path.is_file():
        warn(f"{path}: is there already and will be replaced")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout, columns without any content left out; see `cell` for what becomes of values.

    On a narrow terminal sentences wrap, else the first column; numbers are not cut. Piped output is as wide as the
    table.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    cells = [[cell(value) for value in row] for row in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 0, 0, 1))
    wordy = any(len(text) > _SENTENCE for row in cells for text in row[1:])
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in cells)]
    for i in kept:
        numeric = i > 0 and all(_is_number(row[i]) for row in cells)
        # Where room is short, sentences wrap before names do, and numbers never; headings always do.
        heading = columns[i] if i == 0 else columns[i].replace(" ", "\n")
        sentence = any(len(row[i]) > _SENTENCE for row in cells)
        whole = (i > 0 and not sentence) or (i == 0 and wordy)
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=whole, overflow="fold")
    for row in cells:
        table.add_row(*(row[i] for i in kept))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=_UNBOUNDED)
    console.print(title)
    console.print(table)
    console.print()


_UNBOUNDED = 1000
_SENTENCE = 40
# In a pipe, progress is told once in so many seconds.
TOLD_EVERY_S = 30.0


def cell(value: object) -> str:
    """Text of a value in a table: floats to four decimals (one from 10 on), None as a dash, sequences by commas."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return number(value, 4 if abs(value) < 10 else 1)
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)


def with_span(value: float, span: tuple[float, float] | None) -> float | str:
    """A value, and where its interval is known that behind it: ``0.7312 [0.703, 0.758]``."""
    if span is None:
        return value
    decimals = 3 if abs(value) < 10 else 1
    return f"{cell(value)} [{', '.join(number(end, decimals) for end in span)}]"


def number(value: float, decimals: int) -> str:
    """A float to so many decimals, without negative zeros."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _is_number(text: str) -> bool:
    return not text or text == "–" or text.lstrip("-")[:1].isdigit()


@contextmanager
def progress(title: str, *, compiles: bool = False) -> Iterator[Any]:
    """Spinner with the current activity on stderr (in a pipe a line now and then); yields a callable to tell it.

    With `compiles`, one line says so when Numba compiles what the work needs.
    """
    from rich.console import Console

    console = Console(stderr=True)
    with _compilation_told(console.print) if compiles else nullcontext():
        if not console.is_terminal:
            line = _now_and_then()
            yield lambda message: line(f"{title}: {message}")
            return
        with console.status(title) as status:
            yield lambda message: status.update(f"{title}: {message}")


def _compilation_told(line: Callable[[str], None]) -> AbstractContextManager[None]:
    from solvers import compilation_told

    # Like other progress, nothing where it is never told.
    tell = line if math.isfinite(TOLD_EVERY_S) else lambda message: None
    return compilation_told(tell, ("solvers", "trim_pomdp"))


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Bar on stderr (in a pipe a line now and then); yields a callable that takes how many are done, and a remark."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        line = _now_and_then()
        yield lambda done, remark: line(f"{title}: {done} of {total} {remark}".rstrip())
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, remark="")
        yield lambda done, remark: bar.update(task, completed=done, remark=remark)


def _now_and_then() -> Callable[[str], None]:
    """Prints a line on stderr unless the last one was just now, so that logs of long work show progress."""
    last = time.monotonic()

    def line(message: str) -> None:
        nonlocal last
        if time.monotonic() - last >= TOLD_EVERY_S:
            last = time.monotonic()
            warn(message)

    return line


def parse_numbers(text: str, option: str) -> list[float]:
    """Parse a comma-separated list of numbers.

    Raises
    ------
    InputError
        If an entry is not a number, or there is none.
    """
    try:
        numbers = [float(item) for item in text.split(",") if item.strip()]
    except ValueError:
        numbers = []
    if not numbers:
        raise InputError(f"{option} is {text!r}; expected numbers separated by commas")
    return numbers
