"""HTTP without TLS: what servers may send, whole, in pieces, or not to its end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from trim_pomdp.errors import InputError
from trim_pomdp.runtime import http
from trim_pomdp.runtime.http import Service
from trim_pomdp.runtime.wire import (
    CannotConnectError,
    CutShortError,
    LostError,
    MalformedError,
    Reply,
    TooLongError,
    Wire,
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def serving(handler: Handler, use: Callable[[str], Awaitable[None]]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        await use(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/")


def wire(url: str, **options: float) -> Wire:
    return Wire(url, {"X": "y"}, **{"connect_s": 5.0, "keep_s": 3.0, "most_bytes": 1000, **options})  # type: ignore[arg-type]


def ask_for(answer: bytes, *, piece: int = 10_000) -> Reply:
    """The reply of a server that sends this, so many bytes at a time, and closes."""
    found: list[Reply] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(answer), piece):
            writer.write(answer[start : start + piece])
            await writer.drain()
            await asyncio.sleep(0)

    async def use(url: str) -> None:
        client = wire(url)
        found.append(await client.ask("GET", "/x", None, 5.0))
        client.close()

    asyncio.run(serving(handler, use))
    return found[0]


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nRetry-After:  7 \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nhello"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize("answer", [LENGTH, CHUNKED, UNTIL_CLOSE, CONTINUED])
def test_a_reply_is_the_same_in_whatever_form_and_pieces(answer: bytes, piece: int) -> None:
    reply = ask_for(answer, piece=piece)
    assert (reply.status, reply.content) == (200, b"hello")


def test_headers_are_found_by_names_in_lower_case() -> None:
    assert ask_for(LENGTH).headers["retry-after"] == "7"
    assert ask_for(b"HTTP/1.1 204 No Content\r\n\r\n").content == b""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", LostError),
        (LENGTH[:-1], CutShortError),
        (CHUNKED[:-20], CutShortError),
        (LENGTH[:20], CutShortError),
        (b"SSH-2.0-x\r\n\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", MalformedError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", TooLongError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, TooLongError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n", TooLongError),
    ],
)
def test_what_is_no_reply_is_an_error(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask_for(answer)


def test_a_connection_is_kept_and_a_cancelled_request_closes_its_own() -> None:
    connections, requests, ended = [0], [], asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head)
            if b"/slow" in head:
                await reader.read()
                ended.set()
                return
            writer.write(LENGTH)

    async def use(url: str) -> None:
        client = wire(url)
        for _ in range(3):
            await client.ask("GET", "/x", None, 5.0)
        assert connections == [1]
        with pytest.raises(TimeoutError):
            await client.ask("GET", "/slow", None, 0.05)
        await asyncio.wait_for(ended.wait(), 5.0)
        await client.ask("GET", "/x", None, 5.0)
        assert connections == [2]
        client.close()

    asyncio.run(serving(handler, use))
    assert requests[0].startswith(b"GET /base/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX: y\r\n" in requests[0]


def test_an_idle_connection_is_not_used_again_after_a_while() -> None:
    connections = [0]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(LENGTH)

    async def use(url: str) -> None:
        client = wire(url, keep_s=0.0)
        await client.ask("GET", "/x", None, 5.0)
        await asyncio.sleep(0.01)
        await client.ask("GET", "/x", None, 5.0)
        client.close()

    asyncio.run(serving(handler, use))
    assert connections == [2]


def test_nobody_listens() -> None:
    with pytest.raises(CannotConnectError, match="Connection refused"):
        asyncio.run(wire("http://127.0.0.1:9").ask("GET", "/x", None, 5.0))


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match=r"^m\.toml, \[weak\]: the key holds") as caught:
        Service("m.toml, [weak]", ["http://a"], api_key="secret\r\nX: y")
    assert "secret" not in str(caught.value)


def test_tls_and_proxies_go_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def wired(url: str) -> bool:
        return Service("m", [url])._endpoints[0].wire is not None

    assert wired("http://a:1")
    assert not wired("https://a:1")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert not wired("http://a:1")
    monkeypatch.setenv("no_proxy", "a")
    assert wired("http://a:1")
    assert http._has_proxy("http://b:1")
