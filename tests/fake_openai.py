"""A server of OpenAI's interface that replies as a test tells it to, in the event loop of the test or a thread."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from threading import Thread
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class Fake:
    """Replies by `answer`, a function of path and body; keeps what was asked.

    An answer is a document (status 200), or a status and a document.
    """

    def __init__(
        self, answer: Callable[[str, dict[str, Any]], Any], *, owner: str | None = None, models: Any = None
    ) -> None:
        self.answer = answer
        self.models = models
        if models is None:
            self.models = refusal("no such thing", 404) if owner is None else {"data": [{"id": "m", "owned_by": owner}]}
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        if request.path.endswith("/models"):
            return _response(self.models)
        body = json.loads(await request.read())
        self.paths.append(request.path)
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        return _response(self.answer(request.path, body))

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Serve; yields the address."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        async with TestServer(app) as server:
            yield str(server.make_url("/")).rstrip("/")

    @contextmanager
    def in_thread(self) -> Iterator[str]:
        """Serve from a thread; yields the address."""
        loop = asyncio.new_event_loop()
        thread = Thread(target=loop.run_forever, daemon=True)
        thread.start()
        serving = self.served()
        try:
            yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(10)
        finally:
            asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


def _response(found: Any) -> web.Response:
    status, document = found if isinstance(found, tuple) else (200, found)
    return web.json_response(document, status=status)


def chat(content: Any, finish: str | None = "stop", *, tokens: int = 5, **more: Any) -> dict[str, Any]:
    """A chat completion; `more` goes into the choice."""
    message = content if isinstance(content, dict) else {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 11, "completion_tokens": tokens, "total_tokens": 11 + tokens}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish, **more}], "usage": usage}


def completion(text: str, finish: str = "stop", *, tokens: int = 5, **more: Any) -> dict[str, Any]:
    """A completion."""
    usage = {"prompt_tokens": 11, "completion_tokens": tokens, "total_tokens": 11 + tokens}
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish, **more}], "usage": usage}


def listed(*tokens: tuple[str, float] | tuple[str, float, dict[str, float]]) -> dict[str, Any]:
    """Log-probabilities in the layout of chat completions."""
    content = []
    for text, value, *top in tokens:
        tops = [{"token": key, "logprob": item} for key, item in (top[0] if top else {}).items()]
        content.append({"token": text, "logprob": value, "bytes": list(text.encode()), "top_logprobs": tops})
    return {"content": content}


def refusal(message: str, status: int = 400) -> tuple[int, dict[str, Any]]:
    """An error in OpenAI's form."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
