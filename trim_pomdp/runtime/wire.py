"""HTTP/1.1 without TLS, as much of it as requests with one JSON reply need, at a third of aiohttp's processor time.

A `Wire` keeps connections to one server and sends each request on one that is free. Replies may be chunked or end with
the connection; they are not asked to be compressed, and redirections are not followed. A request that is cancelled
closes its connection, which tells the server to stop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_MOST_HEAD = 1 << 16


class CannotConnectError(Exception):
    """There is no connection to be had."""


class LostError(Exception):
    """The connection broke before there was a reply."""


class CutShortError(Exception):
    """The connection broke within a reply."""


class MalformedError(Exception):
    """What came is no HTTP."""


class TooLongError(Exception):
    """The reply has more bytes than are taken."""


@dataclass(frozen=True)
class Reply:
    """A reply.

    Attributes
    ----------
    status : int
    headers : mapping of str
        By names in lower case.
    content : bytes
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class Wire:
    """Connections to one server.

    Parameters
    ----------
    url : str
        ``http://host[:port][/path]``; the path goes before that of every request.
    headers : mapping of str
        Sent with every request.
    connect_s : float
        Longest time that connecting may take.
    keep_s : float
        A connection that was idle for longer is not used again.
    most_bytes : int
        Longest reply.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, connect_s: float, keep_s: float, most_bytes: int
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = parts.path.rstrip("/")
        lines = {"Host": parts.netloc, "Accept": "application/json", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._connect_s, self._keep_s, self._most_bytes = connect_s, keep_s, most_bytes
        self._free: list[_Connection] = []

    async def ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Reply:
        """Send a request, and wait for the reply.

        Raises
        ------
        CannotConnectError, LostError, CutShortError, MalformedError, TooLongError
        TimeoutError
            If all together took longer than `timeout_s`.
        """
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{method} {self._path}{path} HTTP/1.1\r\n{self._head}{length}\r\n".encode()
        async with asyncio.timeout(timeout_s):
            connection = self._idle() or await self._connect()
            try:
                reply = await connection.ask(head + (body or b""))
            except BaseException:
                connection.close()
                raise
        if connection.is_open:
            self._free.append(connection)
        return reply

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._free:
            connection.close()
        self._free.clear()

    def _idle(self) -> _Connection | None:
        """The connection that was used last, which is the likeliest to be open."""
        now = asyncio.get_running_loop().time()
        while self._free:
            connection = self._free.pop()
            if connection.is_open and now - connection.used <= self._keep_s:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s) as limit:
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._most_bytes), self._host, self._port
                )
        except TimeoutError:
            if limit.expired():
                raise CannotConnectError(f"no answer in {self._connect_s:g} s") from None
            raise
        except OSError as error:
            number = error.errno or 0  # below 0 where it is about the name of the host
            raise CannotConnectError(os.strerror(number) if number > 0 else error.strerror or str(error)) from None
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        self._loop, self._most_bytes = loop, most_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._buffer = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None
        self._chunks: bytearray | None = None
        self._needed: int | None = None
        self._closes = False
        self.used = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> Reply:
        """Send a request, and wait for the reply."""
        assert self._transport is not None
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter, self.used = None, self._loop.time()

    def close(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():  # nobody asked
            self.close()
            return
        self._buffer += data
        try:
            self._read_on()
        except (ValueError, IndexError):
            self._fail(MalformedError())

    def connection_lost(self, exc: Exception | None) -> None:
        ends_so = self._head is not None and self._needed is None and self._chunks is None and exc is None
        if ends_so:
            self._finish(bytes(self._buffer))
        else:
            self._fail(LostError() if self._head is None and not self._buffer else CutShortError())
        self._transport = None

    # A reply --------------------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        while self._head is None:
            end = self._buffer.find(_HEAD_END)
            if end < 0:
                if len(self._buffer) > _MOST_HEAD:
                    raise ValueError
                return
            self._read_head(end)
        if self._chunks is not None:
            self._read_chunks(self._chunks)
        elif self._needed is not None and len(self._buffer) >= self._needed:
            self._finish(bytes(self._buffer[: self._needed]))
        if len(self._buffer) + len(self._chunks or b"") > self._most_bytes:
            self._fail(TooLongError())

    def _read_head(self, end: int) -> None:
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + len(_HEAD_END)]
        if not first.startswith("HTTP/1."):
            raise ValueError
        status = int(first.split(" ", 2)[1])
        if status < 200:  # there is more to come
            return
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        self._head = status, headers
        if "chunked" in headers.get("transfer-encoding", "").lower():
            self._chunks = bytearray()
        elif status in (204, 304):
            self._needed = 0
        elif "content-length" in headers:
            self._needed = _number(headers["content-length"], 10)
            if self._needed > self._most_bytes:
                self._fail(TooLongError())
        if first.startswith("HTTP/1.0") or "close" in headers.get("connection", "").lower():
            self._closes = True

    def _read_chunks(self, content: bytearray) -> None:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = _number(self._buffer[:end].split(b";")[0].decode("latin-1"), 16)
            if size == 0:  # then trailers, and an empty line
                if self._buffer.find(_HEAD_END, end) >= 0:
                    self._finish(bytes(content))
                return
            begin = end + 2
            if len(self._buffer) < begin + size + 2:
                return
            content += self._buffer[begin : begin + size]
            del self._buffer[: begin + size + 2]

    def _finish(self, content: bytes) -> None:
        assert self._head is not None
        (status, headers), waiter = self._head, self._waiter
        self._buffer.clear()
        self._head = self._chunks = self._needed = None
        if self._closes:
            self.close()
        if waiter is not None and not waiter.done():
            waiter.set_result(Reply(status, headers, content))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.close()


def _number(text: str, base: int) -> int:
    """A length; `ValueError` if it is none."""
    number = int(text, base)
    if number < 0:
        raise ValueError(text)
    return number
