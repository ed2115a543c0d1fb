"""Files as people have them: gzip by name or by content, byte order marks, any line ends; every failure is one line.

What every room reads with, records and documents alike (`trim_pomdp.data.records`, `trim_pomdp.artifacts`).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from trim_pomdp.errors import InputError

_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"ARROW1": "an Arrow file",
}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Bytes that are no UTF-8 are kept as these, so that the line that they are in can be named.
_UNDECODED = re.compile("[\udc80-\udcff]")


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """A file's bytes as a stream that can be peeked at, decompressed where they are gzip by name or by content.

    Failures of the file inside the block become `InputError` too.

    Raises
    ------
    InputError
        If the file is absent, a folder or unreadable; is compressed otherwise; or its compressed stream is cut off.
    """
    path = Path(path)
    try:
        with path.open("rb") as plain:
            if path.suffix == ".gz" or plain.peek(2).startswith(_GZIP):
                with gzip.open(plain) as unpacked:
                    yield _known(path, io.BufferedReader(cast(io.RawIOBase, unpacked)))
            else:
                yield _known(path, plain)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: compressed stream damaged or cut off ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _known(path: Path, stream: io.BufferedReader) -> BinaryIO:
    head = stream.peek(8)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{path}: cannot be read (is {what}; unpack it first)")
    return cast(BinaryIO, stream)


def starts_with(stream: BinaryIO, magic: bytes) -> bool:
    """Whether the bytes to come are these; nothing is taken from the stream."""
    return cast(io.BufferedReader, stream).peek(len(magic)).startswith(magic)


def text_of(stream: BinaryIO) -> TextIO:
    r"""The stream as text: UTF-8, or UTF-16 where a mark says so, without the mark, every line end as ``\n``.

    Bytes that are no UTF-8 are kept, and found by `check_text`.
    """
    if any(starts_with(stream, mark) for mark in _UTF16):
        return io.TextIOWrapper(stream, encoding="utf-16", errors="replace")
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape")


def check_text(text: str, where: str, what: str = "UTF-8 text") -> str:
    """The text, if it was UTF-8.

    Raises
    ------
    InputError
        Naming the place and the first byte that was not.
    """
    found = None if text.isascii() else _UNDECODED.search(text)
    if found:
        raise InputError(f"{where}: not {what} (byte 0x{ord(found.group()) - 0xDC00:02x})")
    return text


def read_text(path: str | Path, what: str = "UTF-8 text") -> str:
    r"""Text of a file, decompressed and without a byte order mark, every line end as ``\n``.

    Raises
    ------
    InputError
        If the file cannot be read, or is not UTF-8 (UTF-16 with a byte order mark is read too); `what` says what it
        should have been.
    """
    with opened(path) as stream:
        return check_text(text_of(stream).read(), str(path), what)


def read_document(path: str | Path) -> Any:
    """The one JSON document of a file.

    Raises
    ------
    InputError
        If the file cannot be read, is malformed or cut off.
    """
    text = read_text(path, "a JSON document in UTF-8")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON document, or cut off ({error})") from None
