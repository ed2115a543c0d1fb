"""What every verb shares: tables for people, one JSON document for programs, progress, and errors as one line."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on stdout, columns without any content left out; see `cell` for what becomes of values.

    On a narrow terminal headings wrap first, then the first column; numbers are never cut. Piped output is as wide
    as the table.
    """
    cells = [[cell(value) for value in row] for row in rows]
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i] for row in cells)]
    table = [[columns[i] for i in kept], *([row[i] for i in kept] for row in cells)]
    by_column = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in by_column]
    terminal = _terminal_width()
    room = sum(widths) if terminal is None else terminal - len(_GAP) * (len(widths) - 1)
    if sum(widths) > room:
        words = [max(map(len, column[0].split()), default=0) for column in by_column]
        widths = [
            max(word, *map(len, column[1:])) if column[1:] else word
            for word, column in zip(words, by_column, strict=True)
        ]
        spare = room - sum(widths)
        widths[0] = max(widths[0] + min(spare, 0), min(widths[0], _NARROWEST))
    right = [i > 0 and all(map(_is_number, column[1:])) for i, column in enumerate(by_column)]
    lines = [title, *_lines(table[0], widths, right, bottom=True), "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))]
    for row in table[1:]:
        lines += _lines(row, widths, right)
    sys.stdout.write("\n".join([*lines, "", ""]))


def _terminal_width() -> int | None:
    """Columns of the terminal on stdout, None in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


_GAP = "  "
_NARROWEST = 16


def _lines(row: Sequence[str], widths: Sequence[int], right: Sequence[bool], *, bottom: bool = False) -> list[str]:
    """Lines of one row, cells wrapped to their columns."""
    wrapped = [
        textwrap.wrap(text, max(width, 1), break_long_words=i == 0) or [""]
        for i, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    height = max(map(len, wrapped))
    filled = [[""] * (height - len(item)) + item if bottom else item + [""] * (height - len(item)) for item in wrapped]
    return [
        _GAP.join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in zip(*filled, strict=True)
    ]


def cell(value: object) -> str:
    """Text of a value in a table: floats to four decimals (one from 10 on), None as a dash, sequences by commas."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return number(value, 4 if abs(value) < 10 else 1)
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)


def number(value: float, decimals: int) -> str:
    """A float to so many decimals, without negative zeros."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _is_number(text: str) -> bool:
    return not text or text == "–" or text.lstrip("-")[:1].isdigit()


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
        If an entry is not a number, or there is none.
    """
    try:
        numbers = [float(item) for item in text.split(",") if item.strip()]
    except ValueError:
        numbers = []
    if not numbers:
        raise InputError(f"{option} is {text!r}; expected numbers separated by commas")
    return numbers
