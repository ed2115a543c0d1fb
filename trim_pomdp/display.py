"""How things show themselves: one line for people, a plain table for notebooks; and how libraries do not."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_LONGEST = 60
_SEPARATES = re.compile(r"[,()]")


class Shown:
    """What says of itself in `facts` what matters shows it in a line (`repr`) and in a table (notebooks)."""

    def facts(self) -> Mapping[str, object]:
        """What matters, by name, in the order in which to show it; what is None is left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return one_line(type(self).__name__, self.facts())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, ("", ""), list(_known(self.facts()).items()))


def one_line(name: str, facts: Mapping[str, object]) -> str:
    """``name(key value, …)`` on one line.

    Examples
    --------
    >>> one_line("Pair", {"name": "a → b", "p_w": 0.912345, "steps": 30, "unknown": None})
    "Pair('a → b', p_w 0.9123, steps 30)"
    """
    parts = [repr(_line(value)) if key == "name" else f"{key} {_quoted(value)}" for key, value in _known(facts).items()]
    return f"{name}({', '.join(parts)})"


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table without any styling, everything in it escaped; the first column heads its rows, no heads are no row."""
    lines = [f"<table><caption>{html.escape(caption)}</caption>"]
    if any(columns):
        lines.append(f"<tr>{''.join(_cell('th', column) for column in columns)}</tr>")
    for head, *cells in rows:
        lines.append(f"<tr>{_cell('th', head)}{''.join(_cell('td', cell) for cell in cells)}</tr>")
    return "\n".join([*lines, "</table>"])


def text(value: object) -> str:
    """Text of a value: floats to four significant digits, None as a dash, sequences by commas."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(text, value)) or "none"
    return str(value)


def _line(value: object) -> str:
    """Text on one line, cut where it is long."""
    line = " ".join(text(value).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _quoted(value: object) -> str:
    """In quotes where it could be taken for more than one thing."""
    line = _line(value)
    return repr(line) if isinstance(value, str) and _SEPARATES.search(line) else line


def _known(facts: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in facts.items() if value is not None}


def _cell(tag: str, value: object) -> str:
    return f"<{tag}>{html.escape(text(value))}</{tag}>"


@contextmanager
def transformers_quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and writing tables; what they say is said in one line where it matters."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
