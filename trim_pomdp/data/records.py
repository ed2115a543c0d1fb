"""Files of records, whatever holds them: JSON lines, a JSON array, pretty-printed objects, parquet; gzip or plain.

Nothing is guessed from the first rows: every record is validated as it comes, and fields that a reader does not know
may hold anything. Text is read in pieces, parquet in batches, so a large file is never held whole beside its records.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from trim_pomdp.artifacts import Model, Record, validate
from trim_pomdp.errors import InputError
from trim_pomdp.files import check_text, opened, starts_with, text_of

_PIECE = 1 << 16
_PARQUET = b"PAR1"
_BLANK = re.compile(r"[ \t\r\n\ufeff]*")
_AFTER_VALUE = frozenset(" \t\r\n,]")
_DECODER = json.JSONDecoder()
EXPECTED = "one JSON object a line, an array of them, or parquet"


@dataclass(frozen=True)
class RawRecord:
    """A record as it stands in its file.

    Attributes
    ----------
    where : str
        File and place, for errors: ``x.jsonl, line 3``, or ``x.json, record 3`` where lines tell nothing.
    place : str
        The place alone.
    number : int
        From 1, among the records.
    value : object
        What stands there.
    """

    where: str
    place: str
    number: int
    value: Any


# What stands in a field -------------------------------------------------------------------------------------


def _id_text(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _answer_text(value: object) -> object:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return str(value) if number else value


def _known_label(value: object) -> object:
    if value is None:
        raise ValueError(
            "is null, so nobody has labelled this solution: label it or leave it out (where null means that every step "
            "is right, say --layout processbench-null)"
        )
    if isinstance(value, bool):
        raise ValueError(f"is {value}; expected the index of the first wrong step, from 0, or -1 if there is none")
    return value


Id = Annotated[str, BeforeValidator(_id_text)]
"""Text that tells records apart; whole numbers are taken as text, dates stay as they are written."""

Answer = Annotated[str, BeforeValidator(_answer_text)]
"""A final answer; numbers are taken as text."""

Label = Annotated[int, Field(ge=-1), BeforeValidator(_known_label)]
"""Index of the first wrong step, from 0, and -1 if there is none."""


class OpenRecord(Record):
    """A record whose files hold more than it needs: further keys are ignored, unless they look like a slip.

    A key that is nearly one of the record's own, which is absent, is refused: who wrote ``anwser`` meant ``answer``.
    Null in an optional field is its absence.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_slips(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        names = {name: _names(cls, name) for name in cls.model_fields}
        known = {item for items in names.values() for item in items}
        absent = [item for items in names.values() if not any(each in value for each in items) for item in items]
        for key in value:
            slip = next((name for name in absent if key not in known and is_near(str(key), name)), None)
            if slip is not None:
                raise ValueError(f"unknown key {key!r}; did you mean {slip!r}?")
        optional = {item for name, items in names.items() for item in items if not cls.model_fields[name].is_required()}
        return {key: item for key, item in value.items() if item is not None or key not in optional}


def _names(model: type[Record], field: str) -> tuple[str, ...]:
    """Keys that a field may have in a file, the usual one first."""
    alias = model.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(item) for item in alias.choices)
    return (alias if isinstance(alias, str) else field,)


@lru_cache(maxsize=1 << 12)
def is_near(key: str, name: str) -> bool:
    """Whether a key looks like a slip for a name: other case or separators, or one slip (two from 8 letters on).

    Examples
    --------
    >>> is_near("anwser", "answer"), is_near("problemId", "problem_id"), is_near("level", "label")
    (True, True, False)
    """
    a, b = (item.lower().replace("_", "").replace("-", "").replace(" ", "") for item in (key, name))
    allowed = 0 if len(b) < 4 else 1 if len(b) < 8 else 2
    return abs(len(a) - len(b)) <= allowed and _slips(a, b) <= allowed


def _slips(a: str, b: str) -> int:
    """Letters put in, left out, changed, or exchanged with their neighbour, from one word to the other."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


# Records of a file ------------------------------------------------------------------------------------------


def iter_records(path: str | Path) -> Iterator[RawRecord]:
    """Every record of a file, in order; blank lines are passed over.

    Raises
    ------
    InputError
        Naming file and place, if the file cannot be read, or something in it is no JSON; or it is parquet and
        pyarrow is not installed.
    """
    with opened(path) as stream:
        if starts_with(stream, _PARQUET):
            yield from _numbered(path, _parquet_rows(path, stream))
            return
        text = text_of(stream)
        number, line = _first_line(text)
        if line.startswith("["):
            yield from _numbered(path, _Stream(path, text, line, number).array())
        elif line.startswith("{") and _goes_on(line):
            yield from _numbered(path, _Stream(path, text, line, number).objects())
        elif line:
            yield from _lines(path, text, line, number)


def _numbered(path: str | Path, values: Iterable[Any]) -> Iterator[RawRecord]:
    for number, value in enumerate(values, start=1):
        yield RawRecord(f"{path}, record {number}", f"record {number}", number, value)


def _first_line(text: TextIO) -> tuple[int, str]:
    """Number and content of the first line that is not blank, "" if there is none; a piece of it where it is long."""
    number = 1
    while piece := text.readline(_PIECE):
        if piece.strip("\ufeff \t\r\n"):
            return number, piece.lstrip("\ufeff \t")
        number += piece.endswith("\n")
    return number, ""


def _goes_on(line: str) -> bool:
    """Whether an object goes on after its first line; a piece of a line is taken for JSON lines."""
    if not line.endswith("\n"):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def _lines(path: str | Path, text: TextIO, first: str, number: int) -> Iterator[RawRecord]:
    if not first.endswith("\n"):
        first += text.readline()
    count, line = 0, first
    while line:
        content = line.strip("\ufeff \t\r\n")
        if content:
            count += 1
            where = f"{path}, line {number}"
            yield RawRecord(where, f"line {number}", count, _parsed(check_text(content, where), where))
        number += 1
        line = text.readline()


def _parsed(content: str, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON, or cut off ({error})") from None


class _Stream:
    """JSON values one after another in a text that is read in pieces.

    Parameters
    ----------
    path, text : path, text stream
    begun : str
        What has been read of it.
    line : int
        Number of the line that `begun` starts with.
    """

    def __init__(self, path: str | Path, text: TextIO, begun: str, line: int) -> None:
        self._path, self._text = path, text
        self._held, self._at, self._line = check_text(begun, f"{path}, line {line}"), 0, line
        self._count = 0

    def array(self) -> Iterator[Any]:
        """Elements of the array that begins here; nothing may follow it."""
        self._at += 1
        if self._next() != "]":
            yield self._value()
            while self._next() == ",":
                self._at += 1
                self._next()
                yield self._value()
        if self._next() != "]":
            raise self._broken("expected ',' or ']'", self._at)
        self._at += 1
        if self._next():
            raise self._broken("something follows the array", self._at)

    def objects(self) -> Iterator[Any]:
        """Values one after another, with white space between them."""
        while self._next():
            yield self._value()

    def _next(self) -> str:
        """The next character that is no white space, which is left where it is; "" at the end."""
        while True:
            blank = _BLANK.match(self._held, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._held) or not self._more():
                return self._held[self._at : self._at + 1]

    def _value(self) -> Any:
        self._count += 1
        while True:
            start = self._at
            try:
                value, end = _DECODER.raw_decode(self._held, start)
            except RecursionError as error:
                raise self._broken(str(error), start) from None
            except ValueError as error:
                if self._more():
                    continue
                into = getattr(error, "pos", start) - start
                raise self._broken(getattr(error, "msg", str(error)), self._at + into) from None
            if self._held[end : end + 1] in _AFTER_VALUE or not self._more():  # a number may go on in the next piece
                self._at += end - start
                return value

    def _more(self) -> bool:
        """Forget what is done with and read on, twice what is held, so that a long value is not parsed too often."""
        self._line += self._held.count("\n", 0, self._at)
        self._held, self._at = self._held[self._at :], 0
        piece = self._text.read(max(_PIECE, 2 * len(self._held)))
        check_text(piece, f"{self._path}, record {max(self._count, 1)} or after")
        self._held += piece
        return bool(piece)

    def _broken(self, reason: str, position: int) -> InputError:
        line = self._line + self._held.count("\n", 0, position)
        return InputError(f"{self._path}, record {self._count}, line {line}: not JSON, or cut off ({reason})")


def _parquet_rows(path: str | Path, stream: BinaryIO) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            f"{path}: is a parquet file, which needs pyarrow: pip install '.[parquet]' in the checkout"
        ) from None
    try:
        packed = isinstance(getattr(stream, "raw", None), gzip.GzipFile)  # can be read in one direction alone
        table = pyarrow.parquet.ParquetFile(io.BytesIO(stream.read()) if packed else stream)
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                yield {key: _without_nulls(value) for key, value in row.items()}
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: parquet damaged or cut off ({reason})") from None


def _without_nulls(value: Any) -> Any:
    """Inside a column every row has every key: what a row lacks is null there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def read_records(path: str | Path, model: type[Model]) -> list[Model]:
    """All records of a file, each validated as `model`.

    Raises
    ------
    InputError
        Naming file, line (record in arrays and parquet), field and reason; also if the file holds no record.
    """
    records = []
    for raw in iter_records(path):
        check_not_wrapped(raw, model.model_fields)
        records.append(validate(model, raw.value, source=raw.where))
    if not records:
        raise InputError(f"{path}: holds no record; expected {EXPECTED}")
    return records


def check_not_wrapped(raw: RawRecord, known: Iterable[str]) -> None:
    """Refuse an object that holds the records under a key, such as ``{"data": [...]}``.

    Raises
    ------
    InputError
        Naming the key.
    """
    if raw.number > 1 or not isinstance(raw.value, Mapping) or set(known) & set(raw.value):
        return
    for key, value in raw.value.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            path = raw.where.removesuffix(f", {raw.place}")
            raise InputError(
                f"{path}: holds one object, with {len(value)} records under {key!r}; give those alone: {EXPECTED}"
            )
