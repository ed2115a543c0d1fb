"""What readers and writers of all formats share: texts, numbers, names, limits."""

import codecs
import io
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from solvers.errors import PomdpFormatError

NUMBER = re.compile(r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
SIGNED = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
STRICT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
TOLERANCE = 1e-5
"""How far a distribution's sum may be from one: files have rounded decimals."""
MAX_BYTES = 1 << 30
_PART = 1 << 24
MAX_PLACES = 1_000_000
"""States, actions or observations of a model."""
MAX_ACTIONS = 32_767
MAX_CELLS = 50_000_000
"""Probabilities other than zero, and cells of the dense tables that a model has."""
LARGEST = 1e100
"""Numbers beyond it are mistakes, and sums of them might be no number at all."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_bytes(path: str | PathLike[str]) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    PomdpFormatError
        If there are more than 2^30.
    OSError
        If the file cannot be read.
    """
    data = bytearray()
    with Path(path).open("rb") as file:
        while part := file.read(_PART):  # not all at once: what is no regular file may have no end
            data += part
            if len(data) > MAX_BYTES:
                raise PomdpFormatError(f"{path}: the file has more than {MAX_BYTES} bytes, the most that is read")
    return bytes(data)


def read_text(path: str | PathLike[str]) -> str:
    """Return a file's text, by its byte order mark; bytes that are no text occur in comments."""
    data = read_bytes(path)
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    return data.decode("utf-8", errors="replace")


def warn_of_horizon(horizon: int | None, path: str | PathLike[str]) -> None:
    """Warn that a file of a model has no place for its horizon."""
    if horizon is not None:
        warnings.warn(f"{path}: the format has no place for the horizon {horizon}: give it to solve", stacklevel=4)


def write_texts(texts: Mapping[str | PathLike[str], str], encoding: str = "ascii") -> None:
    """Write files whole or not at all: each beside its place first, all of them moved there when they are complete.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    written: list[tuple[Path, Path]] = []
    try:
        for name, text in texts.items():
            path = Path(os.path.realpath(name))
            beside = path.with_name(f".{path.name}.{os.getpid()}.part")
            written.append((beside, path))
            try:
                beside.write_text(text, encoding=encoding)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(name)) from None
        for beside, path in written:
            beside.replace(path)
    finally:
        for beside, _ in written:
            beside.unlink(missing_ok=True)


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, ended as on any machine."""
    return enumerate(io.StringIO(text, newline=None), start=1)


def shown(text: str) -> str:
    """A word of a file as messages show it: quoted, and not for pages."""
    return repr(text if len(text) <= 40 else text[:37] + "…")


def short(text: str) -> str:
    """A word of a file as messages show it, without quotes."""
    return shown(text)[1:-1]


def failed(path: object, line: int, message: str) -> PomdpFormatError:
    """Return the error to raise about a line of a file."""
    return PomdpFormatError(f"{path}, line {line}: {message if len(message) <= 300 else message[:299] + '…'}")


def index_of(text: str) -> int | None:
    """An index or count that a word is; None if it is none, or beyond all limits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def plain(value: float) -> str:
    """Shortest decimal, without exponent, that is this number."""
    return np.format_float_positional(value, trim="0")
