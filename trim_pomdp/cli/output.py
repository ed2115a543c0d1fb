"""What every verb shares: tables for people, one JSON document for programs, progress, and errors as one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from trim_pomdp.errors import InputError


def emit_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def say(message: str) -> None:
    """Print a line for people on stdout."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(message, markup=False)


def warn(message: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(f"{message}\n")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout; floats with four significant decimals, None as a dash."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    # Piped output has no width; a narrow default would fold the cells.
    console = Console(highlight=False)
    Console(highlight=False, width=None if console.is_terminal else 140).print(table)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        value += 0.0  # no negative zeros
        return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """Spinner with the current activity on a terminal's stderr, silence in a pipe; yields a callable to tell it."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(title) as status:
        yield lambda message: status.update(f"{title}: {message}")


def parse_numbers(text: str, option: str) -> list[float]:
    """Parse a comma-separated list of numbers.

    Raises
    ------
    InputError
        If an entry is not a number.
    """
    try:
        return [float(item) for item in text.split(",") if item.strip()]
    except ValueError:
        raise InputError(f"{option} is {text!r}; expected numbers separated by commas") from None
