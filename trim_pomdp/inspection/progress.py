"""How far a run is, in one line that changes in its place: in a notebook's cell, or on a terminal; elsewhere silent."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trim_pomdp.runtime.records import TerminalRecord

# More often than this nobody reads it, and a notebook keeps every message until it is drawn.
_EVERY_S = 0.2


class ProgressLine:
    """Shows how many problems have ended, and how many failed; the `progress` of `run_live` and others.

    How many were right is not shown, since short solutions end first. Time and failures are those of the job that
    reports, since it began or went on; one line may be used for several jobs, one after the other.

    Parameters
    ----------
    title : str
        What is going on.
    """

    def __init__(self, title: str = "solving") -> None:
        self._title = title
        self._shown_at = self._elapsed_s = 0.0
        self._done = self._failed = 0
        self._display: Any = None

    def __call__(self, done: int, total: int, terminal: TerminalRecord) -> None:
        """See `trim_pomdp.runtime.run.Progress`."""
        if done <= self._done or terminal.elapsed_s < self._elapsed_s:  # another job than before
            self._failed = 0
        self._done, self._elapsed_s = done, terminal.elapsed_s
        self._failed += terminal.error is not None
        now = perf_counter()
        if now - self._shown_at < _EVERY_S and done < total:
            return
        self._shown_at = now
        failed = f", {self._failed} failed" if self._failed else ""
        self._show(f"{self._title}: {done} of {total} problems{failed}, {terminal.elapsed_s:.0f} s", done == total)

    def _show(self, line: str, ended: bool) -> None:
        if _in_notebook():
            self._update(line)
        elif sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K" + ("\n" if ended else ""))
            sys.stderr.flush()

    def _update(self, line: str) -> None:
        from IPython.display import display

        if self._display is None:
            self._display = display(_Line(line), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._display.update(_Line(line))


class _Line:
    """Text that a notebook shows as it is, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _in_notebook() -> bool:
    """Whether a cell's output is drawn by something that can change it (IPython's own terminal cannot)."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell = get_ipython()
    return getattr(shell, "kernel", None) is not None  # Colab's is a shell of its own kind
