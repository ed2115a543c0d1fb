"""JSON over HTTP to a served model: several URLs, hundreds of requests in flight, and faults that are survived.

A `Service` is one model behind one or more URLs. A request goes to the URL that has the fewest in flight, and no URL
gets more than its limit. What can go wrong, and what follows:

* the URL cannot be reached, the connection breaks, or it says 503: it rests for a while, longer each time, and is then
  tried with one request before it gets more; the request goes elsewhere meanwhile, or waits, until the deadline;
* it says 429: it rests as long as ``Retry-After`` says, until the deadline;
* another 5xx, JSON that is cut or none, a reply that is not what was asked for (`BadReplyError`): the request is sent
  again, ``tries`` times in all, within the deadline;
* it does not reply in time: both;
* any other status: the request is wrong, and nothing is tried again.

The deadline counts from the first try that fails, or from when no URL works, so that the queue of a server that is
merely busy does not end requests. Pauses have jitter, which depends on the number of the request alone.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.randomness import keyed_uniform
from trim_pomdp.runtime import wire
from trim_pomdp.runtime.wire import Reply, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse, ClientSession

Result = TypeVar("Result")

# Servers close idle connections after 5 s and more; a request that meets the closing would be lost.
_KEEP_ALIVE_S = 3.0
_CONNECT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_LOOK_AGAIN_S = 1.0
_MOST_BYTES = 1 << 26
_SHOWN = 300


class ServerError(TrimError):
    """A served model gave no reply that could be used, and was given up for this request."""


class RefusedError(ServerError):
    """The server refused the request itself.

    Attributes
    ----------
    status : int
        Of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class BadReplyError(TrimError):
    """A reply that is not what was asked for; the request is tried again."""


@dataclass(frozen=True)
class Patience:
    """How long a request is tried.

    Attributes
    ----------
    timeout_s : float
        Of one try.
    deadline_s : float
        Of all tries together, from the first one that fails.
    tries : int
        How often a request is sent that the server answers wrongly or not in time.
    max_in_flight : int
        Requests at once, for each URL.
    """

    timeout_s: float = 120.0
    deadline_s: float = 600.0
    tries: int = 4
    max_in_flight: int = 64


class _FaultError(Exception):
    """What went wrong in one try.

    Parameters
    ----------
    kind : str
        In a few words, to be counted.
    rest_s : float or None
        The URL is to rest so long; None: it works, only this request failed.
    counts : bool
        Whether the number of tries is limited.
    """

    def __init__(self, kind: str, detail: str = "", *, rest_s: float | None = None, counts: bool = True) -> None:
        super().__init__(f"{kind} ({detail})" if detail else kind)
        self.kind = kind
        self.rest_s = rest_s
        self.counts = counts


@dataclass(eq=False)
class _Endpoint:
    """One URL, and how it is doing."""

    url: str
    wire: Wire | None = None
    busy: int = 0
    failures: int = 0
    rests_until: float = 0.0

    def has_room(self, now: float, limit: int) -> bool:
        return now >= self.rests_until and self.busy < (1 if self.failures else limit)

    def fail(self, now: float, rest_s: float) -> None:
        """Rest; of several requests that fail together one alone makes the next rest longer."""
        if now >= self.rests_until:
            self.failures += 1
        pause = max(rest_s, _pause(self.failures, self.url))
        self.rests_until = max(self.rests_until, now + pause)


@dataclass(eq=False)
class Service:
    """One model behind one or more URLs.

    Parameters
    ----------
    name : str
        What it is called in errors: file and table.
    urls : sequence of str
        Roots, without the paths of the API.
    patience : Patience
    api_key : str or None
        Sent as a bearer token, and never shown.

    Raises
    ------
    InputError
        If the key holds characters that no header can.

    Attributes
    ----------
    faults : Counter of str
        What went wrong so far and was tried again, by kind.
    requests : int
        Requests sent so far, those that were tried again included.
    """

    name: str
    urls: Sequence[str]
    patience: Patience = field(default_factory=Patience)
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.api_key is not None and not self.api_key.isprintable():
            raise InputError(f"{self.name}: the key holds a line break or something else that no key holds")
        self.faults: Counter[str] = Counter()
        self.requests = 0
        self._endpoints = [_Endpoint(url, self._wire(url)) for url in (item.rstrip("/") for item in self.urls)]
        self._session: ClientSession | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._down_since: float | None = None

    async def post(self, path: str, body: Mapping[str, Any], read: Callable[[Any], Result]) -> Result:
        """Send a request until there is a reply that can be read.

        Parameters
        ----------
        path : str
            After the URL, such as ``/v1/completions``.
        body : mapping
            JSON values.
        read : callable
            Makes the result of the reply's JSON; raises `BadReplyError` if it is not what was asked for.

        Raises
        ------
        ServerError
            If the request is refused, or was given up.
        """
        return await self._ask("POST", path, json.dumps(body).encode(), read)

    async def get(self, path: str, read: Callable[[Any], Result]) -> Result:
        """As `post`, without a body."""
        return await self._ask("GET", path, None, read)

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        for endpoint in self._endpoints:
            if endpoint.wire is not None:
                endpoint.wire.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, method: str, path: str, body: bytes | None, read: Callable[[Any], Result]) -> Result:
        clock = asyncio.get_running_loop().time
        until: float | None = None
        counted, tries = 0, 0
        while True:
            async with self._slot(until) as endpoint:
                began = clock()
                tries += 1
                try:
                    reply = _read(read, await self._try(endpoint, method, path, body))
                except BadReplyError as error:
                    fault = _FaultError("bad reply", self._hidden(str(error)))
                except _FaultError as error:
                    fault = error
                else:
                    self._succeeded(endpoint)
                    return reply
                self._failed(endpoint, fault)
            counted += fault.counts
            until = began + self.patience.deadline_s if until is None else until
            # A URL that rests is waited for where slots are given out, unless there is another one.
            pause = 0.0 if fault.rest_s is not None else _pause(counted, self.requests)
            if counted >= self.patience.tries or clock() + pause >= until:
                raise ServerError(f"{self.name}: {endpoint.url}{path}: given up after {tries} tries; the last: {fault}")
            await asyncio.sleep(pause)

    async def _try(self, endpoint: _Endpoint, method: str, path: str, body: bytes | None) -> Any:
        """The JSON of one reply."""
        self.requests += 1
        send = self._over_tls if endpoint.wire is None else self._over_wire
        reply = await send(endpoint, method, path, body)
        if reply.status != 200:
            raise self._status_error(endpoint, path, reply)
        try:
            document = json.loads(reply.content)
            if b"\\ud" in reply.content:  # half a character could not be written down
                json.dumps(document, ensure_ascii=False).encode()
        except ValueError:
            raise BadReplyError(f"no JSON: {_shown(reply.content)}") from None
        return document

    async def _over_wire(self, endpoint: _Endpoint, method: str, path: str, body: bytes | None) -> Reply:
        assert endpoint.wire is not None
        try:
            return await endpoint.wire.ask(method, path, body, self.patience.timeout_s)
        except TimeoutError:
            raise self._too_late() from None
        except wire.CannotConnectError as error:
            raise _FaultError("cannot connect", str(error), rest_s=0.0, counts=False) from None
        except wire.LostError:
            raise _FaultError("connection lost", rest_s=0.0, counts=False) from None
        except wire.CutShortError:
            raise _FaultError("reply cut short") from None
        except wire.MalformedError:
            raise _FaultError("malformed HTTP") from None
        except wire.TooLongError:
            raise _too_long() from None

    async def _over_tls(self, endpoint: _Endpoint, method: str, path: str, body: bytes | None) -> Reply:
        """With TLS or through a proxy."""
        import aiohttp

        session = self._session or self._open()
        try:
            async with session.request(method, endpoint.url + path, data=body) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status, headers, await _content(response))
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise _FaultError(
                    "cannot connect", f"no answer in {_CONNECT_S:g} s", rest_s=0.0, counts=False
                ) from None
            raise self._too_late() from None
        except aiohttp.ClientSSLError as error:
            raise ServerError(f"{self.name}: {endpoint.url}: {type(error).__name__}: {error}") from None
        except aiohttp.ClientConnectorError as error:
            raise _FaultError("cannot connect", error.strerror or "", rest_s=0.0, counts=False) from None
        except aiohttp.ClientPayloadError:
            raise _FaultError("reply cut short") from None
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            raise _FaultError("connection lost", type(error).__name__, rest_s=0.0, counts=False) from None
        except aiohttp.ClientResponseError as error:
            raise _FaultError("malformed HTTP", type(error).__name__) from None
        except aiohttp.ClientError as error:
            raise ServerError(f"{self.name}: {endpoint.url}: {type(error).__name__}: {error}") from None

    def _too_late(self) -> _FaultError:
        return _FaultError("time-out", f"no reply in {self.patience.timeout_s:g} s", rest_s=0.0)

    @property
    def _headers(self) -> dict[str, str]:
        key = {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}
        return {"Content-Type": "application/json", **key}

    def _wire(self, url: str) -> Wire | None:
        """Connections to a URL that needs neither TLS nor a proxy."""
        if urlsplit(url).scheme != "http" or _has_proxy(url):
            return None
        return Wire(url, self._headers, connect_s=_CONNECT_S, keep_s=_KEEP_ALIVE_S, most_bytes=_MOST_BYTES)

    def _open(self) -> ClientSession:
        import aiohttp

        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=self.patience.timeout_s, sock_connect=_CONNECT_S),
            # Looked up in a thread, for every request, so only where there is something to be found.
            trust_env=any(_has_proxy(item.url) for item in self._endpoints),
        )
        return self._session

    def _status_error(self, endpoint: _Endpoint, path: str, reply: Reply) -> Exception:
        """What a status other than 200 means."""
        status, said = reply.status, self._hidden(said_in(reply.content))
        if status == 429:
            return _FaultError("HTTP 429", said, rest_s=_retry_after(reply), counts=False)
        if status == 503:
            return _FaultError("HTTP 503", said, rest_s=_retry_after(reply), counts=False)
        if status >= 500 or status in (408, 425):
            return _FaultError(f"HTTP {status}", said)
        remedy = "; is the key right that api_key_env names?" if status in (401, 403) else ""
        return RefusedError(f"{self.name}: {endpoint.url}{path}: HTTP {status} ({said}){remedy}", status)

    def _hidden(self, text: str) -> str:
        """What a server said, without the key, should it repeat that."""
        return text if self.api_key is None else text.replace(self.api_key, "…")

    # Slots ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _slot(self, until: float | None) -> AsyncIterator[_Endpoint]:
        """The URL with the fewest requests in flight, as soon as one has room; `until` is the deadline, if it runs."""
        endpoint = await self._wait_for_room(until)
        endpoint.busy += 1
        try:
            yield endpoint
        finally:
            endpoint.busy -= 1
            self._wake(1)

    async def _wait_for_room(self, until: float | None) -> _Endpoint:
        loop = asyncio.get_running_loop()
        began, is_first = loop.time(), not self._waiting
        while True:
            now = loop.time()
            roomy = [item for item in self._endpoints if item.has_room(now, self.patience.max_in_flight)]
            if roomy and is_first:
                return min(roomy, key=lambda item: item.busy)
            if until is None and self._down_since is not None:
                until = max(self._down_since, began) + self.patience.deadline_s
            if until is not None and now >= until:
                raise ServerError(f"{self.name}: {self._where}: out of reach for {self.patience.deadline_s:g} s")
            await self._change()
            is_first = True  # those who came earlier were woken earlier

    async def _change(self) -> None:
        """Wait until a slot is given back, or a resting URL may be tried."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiting.append(waiter)
        # Nobody gives back the slot of a URL that rests, so that time must do it.
        pause = self._pause_of_all(loop.time())
        timer = None if pause is None else loop.call_later(pause, _finish, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake(1)  # the slot is another one's now
            raise
        finally:
            if timer is not None:
                timer.cancel()
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def _pause_of_all(self, now: float) -> float | None:
        """When to look again; None where a slot that is given back is soon enough."""
        rests = [item.rests_until - now for item in self._endpoints if item.rests_until > now]
        if self._down_since is not None:
            rests.append(_LOOK_AGAIN_S)
        return min(rests, default=None)

    def _wake(self, count: int) -> None:
        while self._waiting and count:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _succeeded(self, endpoint: _Endpoint) -> None:
        if endpoint.failures and asyncio.get_running_loop().time() < endpoint.rests_until:
            return  # an older request, which does not end the rest
        self._down_since = None
        if endpoint.failures:
            endpoint.failures, endpoint.rests_until = 0, 0.0
            self._wake(self.patience.max_in_flight)

    def _failed(self, endpoint: _Endpoint, fault: _FaultError) -> None:
        self.faults[fault.kind] += 1
        if fault.rest_s is None:
            self._succeeded(endpoint)  # it does answer
            return
        now = asyncio.get_running_loop().time()
        endpoint.fail(now, fault.rest_s)
        if self._down_since is None and all(item.failures for item in self._endpoints):
            self._down_since = now
            self._wake(len(self._waiting))  # they wait by the clock from now on

    @property
    def _where(self) -> str:
        return ", ".join(item.url for item in self._endpoints)


def said_in(content: bytes) -> str:
    """What an error's body says, in the forms that servers use."""
    try:
        document = json.loads(content)
    except ValueError:
        return _shown(content)
    if isinstance(document, dict):
        found = document.get("error", document.get("detail", document.get("message")))
        document = found.get("message", found) if isinstance(found, dict) else found or document
    return document[:_SHOWN] if isinstance(document, str) else json.dumps(document)[:_SHOWN]


def _read(read: Callable[[Any], Result], document: Any) -> Result:
    try:
        return read(document)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BadReplyError(f"{type(error).__name__}: {error} in {json.dumps(document)[:_SHOWN]}") from None


async def _content(response: ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > _MOST_BYTES:
            raise _too_long()
    return bytes(content)


def _too_long() -> BadReplyError:
    return BadReplyError(f"more than {_MOST_BYTES >> 20} MiB")


def _has_proxy(url: str) -> bool:
    """Whether the environment names a proxy for a URL."""
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.netloc)


def _shown(content: bytes) -> str:
    return repr(content[:80].decode(errors="replace"))


def _retry_after(reply: Reply) -> float:
    """Seconds that the server asks for: a number, or a date."""
    said = reply.headers.get("retry-after", "")
    try:
        return max(float(said), 0.0)
    except ValueError:
        pass
    with suppress(ValueError):
        until = parsedate_to_datetime(said)
        return max((until - datetime.now(until.tzinfo or UTC)).total_seconds(), 0.0)
    return 0.0


def _pause(failures: int, key: str | int) -> float:
    """Twice as long after every failure, less up to a half by keyed jitter."""
    longest = min(_FIRST_PAUSE_S * 2.0 ** (max(failures, 1) - 1), _LONGEST_PAUSE_S)
    return longest * (1.0 - 0.5 * keyed_uniform(0, "pause", key, failures))


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
