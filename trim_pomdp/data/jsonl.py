"""JSON lines, plain or gzip-compressed, with one validated record a line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trim_pomdp.artifacts import Model, validate
from trim_pomdp.errors import InputError


def read_bytes(path: str | Path) -> bytes:
    """Content of a file, decompressed when its name ends in ``.gz``.

    Raises
    ------
    InputError
        If the file is absent, unreadable, or its compressed stream is cut off.
    """
    path = Path(path)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: compressed stream damaged or cut off ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def iter_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Line number (from 1) and parsed value of every non-blank line."""
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON, or cut off ({error})") from None


def read_records(path: str | Path, model: type[Model]) -> list[Model]:
    """All records of a JSONL file, each validated as `model`.

    Raises
    ------
    InputError
        Naming file, line, field and reason; also if the file holds no record.
    """
    records = [validate(model, value, source=f"{path}, line {number}") for number, value in iter_lines(path)]
    if not records:
        raise InputError(f"{path}: holds no record; expected one JSON object a line")
    return records
