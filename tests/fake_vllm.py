"""A server that speaks like vLLM, with a dummy world for models, and does whatever is wrong that it is told to do."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiohttp import web

from trim_pomdp.data.problems import Problem
from trim_pomdp.policies.base import Author
from trim_pomdp.randomness import keyed_uniform
from trim_pomdp.runtime.backends.dummy import RIGHT_ANSWER, DummyWorld
from trim_pomdp.runtime.protocols import ScoreRequest, StepRequest

SCORE = "<extra_0>"
KINDS = (
    "500", "502", "503", "429", "lost", "silent", "trickle", "cut", "no json", "wrong shape", "empty", "count", "nan",
)  # fmt: skip
SEED = 3


def problems(n: int) -> list[Problem]:
    """Problems whose prompt is their id, which is all that the server gets to see."""
    return [Problem(f"problem-{i}", f"problem-{i}", RIGHT_ANSWER) for i in range(n)]


class FakeVllm:
    """The weak or the strong model of a world, or its PRM, behind HTTP.

    Attributes
    ----------
    faulty : float
        Share of the requests that go wrong.
    hopeless : set of str
        Problems whose every request fails with status 500.
    fault : callable or None
        Which fault the n-th request meets, None for none; instead of a random one.
    counts : Counter
        Requests by path, faults by kind, tokens generated and read.
    """

    def __init__(self, world: DummyWorld, author: Author | None, *, keyed: bool = True, delay_s: float = 0.0) -> None:
        self.world, self.author, self.keyed, self.delay_s = world, author, keyed, delay_s
        self.faulty = 0.0
        self.hopeless: frozenset[str] = frozenset()
        self.fault: Callable[[int], str | None] | None = None
        self.counts: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self.names = [author or "prm"]
        self.room = 4096
        self.tempered = 1.0
        self.constant: float | None = None
        self.retry_after = "0.05"
        self.detokenizes = True
        self.tells_tokens = True
        self._requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Running --------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator["FakeVllm"]:
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        self.come()
        try:
            yield self
        finally:
            self.die()
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def come(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def die(self) -> None:
        """Listen no more; connections break."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()

    async def _end(self) -> None:
        """End what still answers slowly."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/detokenize", self._detokenize)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._answer(self._complete))
        app.router.add_post("/pooling", self._answer(self._pool))
        app.router.add_post("/scores", self._answer(self._score))
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    # The API --------------------------------------------------------------------------------------------------

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.counts["/tokenize"] += 1
        text = body["prompt"] if "prompt" in body else "".join(item["content"] + "\n\n" for item in body["messages"])
        return web.json_response({"tokens": [ord(character) for character in text]})

    async def _detokenize(self, request: web.Request) -> web.Response:
        if not self.detokenizes:
            raise web.HTTPNotFound
        return web.json_response({"prompt": "".join(map(chr, (await request.json())["tokens"]))})

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name, "max_model_len": self.room} for name in self.names]})

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("echo"):
            return self._echo(body["prompt"])
        if body["prompt"] == "1":  # a canary
            return {"choices": [{"token_ids": [0 if self.keyed else 5]}]}
        if isinstance(body["prompt"], list):
            body = {**body, "prompt": "".join(map(chr, body["prompt"]))}
        problem, steps = self._read(body["prompt"])
        assert self.author is not None
        step = self.world.write(StepRequest(problem, steps, SEED, body["max_tokens"]), self.author)
        self.counts["read"] += len(body["prompt"])
        self.counts["generated"] += step.tokens
        ended = step.stop == "answer"
        tokens = {
            "token_ids": [7] * step.tokens,
            "prompt_token_ids": [ord(character) for character in body["prompt"]],
        }
        return {
            "choices": [
                {
                    "text": step.text + ("" if ended or step.stop == "length" else "\n\n"),
                    **(tokens if self.tells_tokens else {}),
                    "logprobs": {"token_logprobs": [value * self.tempered for value in step.logprobs]},
                    "finish_reason": "length" if step.stop == "length" else "stop",
                    "stop_reason": None if ended or step.stop == "length" else "\n\n",
                }
            ],
            "usage": {
                "prompt_tokens": len(body["prompt"]),
                "completion_tokens": step.tokens,
                "prompt_tokens_details": {"cached_tokens": len(body["prompt"]) // 2},
            },
        }

    def _echo(self, text: str) -> dict[str, Any]:
        """Log-probabilities of given steps, as the world had them; a step's tokens begin evenly along its text."""
        problem, steps = self._read(text + "\n\n")
        assert self.author is not None
        offsets, values, start = [0], [0.0], len(problem.prompt) + 2
        for index, step in enumerate(steps):
            step_logprobs = self.world.write(StepRequest(problem, steps[:index], SEED, 99), self.author).logprobs
            offsets += [start + n * len(step) // len(step_logprobs) for n in range(len(step_logprobs))]
            values += step_logprobs
            start += len(step) + 2
        return {"choices": [{"logprobs": {"text_offset": offsets, "token_logprobs": values}}]}

    def _pool(self, body: dict[str, Any]) -> dict[str, Any]:
        if isinstance(body["input"], list):
            body = {**body, "input": "".join(map(chr, body["input"]))}
        prompt, _, solution = body["input"].partition("\n\n")
        scores = self._scores(prompt, solution.split(SCORE)[:-1])
        self.counts["read"] += len(body["input"])
        data = [[1.0 - score, score] for score in scores]
        return {"data": [{"data": data}], "usage": {"prompt_tokens": len(body["input"])}}

    def _score(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"scores": self._scores(body["prompt"], body["steps"])}

    def _scores(self, prompt: str, steps: list[str]) -> list[float]:
        if self.constant is not None:
            return [self.constant] * len(steps)
        return list(self.world.score(ScoreRequest(Problem(prompt, prompt), tuple(steps))).scores)

    @staticmethod
    def _read(prompt: str) -> tuple[Problem, tuple[str, ...]]:
        name, *steps = prompt.removesuffix("\n\n").split("\n\n")
        return Problem(name, name, RIGHT_ANSWER), tuple(steps)

    # Faults ---------------------------------------------------------------------------------------------------

    def _answer(self, reply: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.json()
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            number, self._requests = self._requests, self._requests + 1
            self.counts[request.path] += 1
            text = str(body.get("prompt", body.get("input")))
            if text.split("\n\n")[0] in self.hopeless:
                return web.json_response({"error": {"message": "this one never works"}}, status=500)
            kind = self._kind(number)
            if kind is not None:
                self.counts[kind] += 1
                return await self._fail(request, kind, lambda: reply(body))
            await asyncio.sleep(self.delay_s)
            return web.json_response(reply(body))

        return handle

    def _kind(self, number: int) -> str | None:
        if self.fault is not None:
            return self.fault(number)
        if keyed_uniform(0, "fault", self.port, number) >= self.faulty:
            return None
        return KINDS[int(keyed_uniform(0, "kind", self.port, number) * len(KINDS))]

    async def _fail(self, request: web.Request, kind: str, reply: Callable[[], dict[str, Any]]) -> web.StreamResponse:
        if kind in ("500", "502", "503"):
            return web.json_response({"error": {"message": "out of memory"}}, status=int(kind))
        if kind == "429":
            return web.json_response({"detail": "slow down"}, status=429, headers={"Retry-After": self.retry_after})
        if kind == "echo":
            return web.json_response({"error": {"message": f"bad key {request.headers['Authorization']}"}}, status=401)
        if kind == "half a character":
            return web.Response(text=json.dumps(reply()).replace('"text": "', '"text": "\\ud800'))
        if kind == "negative":
            return web.Response(text=json.dumps(reply()).replace('"prompt_tokens": ', '"prompt_tokens": -'))
        if kind == "silent":
            await asyncio.sleep(5.0)
        if kind == "no json":
            return web.Response(text="<html>Bad gateway</html>")
        if kind == "wrong shape":
            return web.json_response({"object": "list"})
        if kind == "lost":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if kind in ("cut", "trickle"):
            return await self._slowly(request, json.dumps(reply()).encode(), cut=kind == "cut")
        return web.json_response(_spoilt(reply(), kind))

    async def _slowly(self, request: web.Request, content: bytes, *, cut: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        if cut:
            await response.write(content[: len(content) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        with suppress(ConnectionError):  # the client has had enough
            for byte in content:
                await response.write(bytes([byte]))
                await asyncio.sleep(0.2)
        return response


def _spoilt(reply: dict[str, Any], kind: str) -> dict[str, Any]:
    """A reply that is not what was asked for."""
    if "choices" in reply:
        return {**reply, "choices": []}
    values = reply["data"][0]["data"] if "data" in reply else reply["scores"]
    if kind == "nan":
        values[-1] = [float("nan")] * 2 if "data" in reply else float("nan")
    elif kind == "empty":
        values.clear()
    else:
        values.append(values[-1])
    return reply
