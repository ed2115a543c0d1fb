"""Rows of data sets on the hub, where the library that reads them is installed (the extra ``hub``)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from trim_pomdp.data.records import RawRecord
from trim_pomdp.errors import InputError


def hub_rows(name: str, split: str, config: str | None = None) -> Iterator[RawRecord]:
    """Rows of a split of a data set.

    Raises
    ------
    InputError
        If ``datasets`` is not installed, or finds nothing.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{name}: no such file; reading it from the hub needs the datasets library: "
            "pip install '.[hub]' in the checkout"
        ) from None
    try:
        with _quiet():
            table = datasets.load_dataset(name, split=split, **({} if config is None else {"name": config}))
    except Exception as error:  # datasets raises many kinds; each is about what the user named
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{name}: no such file, and cannot be loaded from the hub ({reason})") from None
    for number, row in enumerate(table, start=1):
        yield RawRecord(f"{name}, record {number}", f"record {number}", number, row)


@contextmanager
def _quiet() -> Iterator[None]:
    """No log of the datasets library, whose findings come as exceptions, and no progress bars in a pipe."""
    import datasets

    bars, level = datasets.is_progress_bar_enabled(), datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(logging.CRITICAL)
    if bars and not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()
