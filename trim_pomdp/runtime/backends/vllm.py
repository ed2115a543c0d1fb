"""``backend = "vllm"``: vLLM servers behind their completions API.

The prompt is text: the chat's opening as the model's template has it, then the solution so far. A step is asked for up
to what may end it, and asked on from the very tokens where the rule of steps (`StepFormat`) says that it is not over.

*Draws.* A server that was started with ``--logits-processors trim_pomdp.servers.keyed:KeyedSampler`` draws by the keyed
uniforms of the run, so that texts are those of the same model in this process, step by step, in whatever batch and
after whatever interruption. Unknown fields are ignored by vLLM in silence, so a canary finds out: of a uniform that is
0, token 0 is drawn at any temperature. Without it every request gets a seed derived from the same key: texts are still
the same in every run, though not those of a model in this process.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat

from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Author
from trim_pomdp.randomness import key_state
from trim_pomdp.runtime.backends.base import GeneratorTable, Place
from trim_pomdp.runtime.backends.prompts import Openings, Prompt
from trim_pomdp.runtime.backends.remote import FIRST_PATIENCE, OverHttp, ServedByVllm, served, usage_of
from trim_pomdp.runtime.findings import Finding
from trim_pomdp.runtime.http import BadReplyError, ServerError, Service
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, StepRequest, StopReason, Usage

Sampler = Literal["keyed", "seed"]

# The state of a stream (`trim_pomdp.randomness.uniforms_at`) whose first uniform is 0.
CANARY_STATE = 0x7026C4DC0F121053


class VllmGeneratorTable(ServedByVllm, GeneratorTable):
    """A causal language model behind vLLM servers.

    Attributes
    ----------
    temperature : float
        0 takes the likeliest token.
    top_p : float
        Nucleus.
    sampler : {"auto", "keyed", "seed"}
        Who draws: the keyed sampler in the server, the server by a seed of each request, or the first if it is there.
    end_token : str
        The text of the token that ends a solution, for log-probabilities of given solutions alone.
    """

    backend: Literal["vllm"]
    temperature: NonNegativeFloat = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    sampler: Literal["auto", "keyed", "seed"] = "auto"
    end_token: str = ""

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`: who draws is found out, and stands beside."""
        return {name: value for name, value in super().config(folder).items() if name != "sampler"}

    def load(self, role: Author, place: Place) -> VllmGenerator:
        """See `GeneratorTable`; the servers are asked whether they are there, and how they draw."""
        service = self.service(place)
        # Each server is asked: one that is not as the others would go unnoticed.
        alone = [replace(service, urls=[url], patience=FIRST_PATIENCE) for url in service.urls]
        keyed = all(run_to_end(_draws_keyed(server, self.model)) for server in alone)
        sampler: Sampler = "keyed" if keyed else "seed"
        if self.sampler == "keyed" and sampler != "keyed":
            raise InputError(
                f"{place.table}: the server does not draw by keyed uniforms; start it with --logits-processors "
                "trim_pomdp.servers.keyed:KeyedSampler (trim-pomdp up does), or leave sampler out"
            )
        return VllmGenerator(
            service,
            self.model,
            self.openings(service, place),
            role=role,
            sampler=sampler if self.sampler == "auto" else self.sampler,
            temperature=self.temperature,
            top_p=self.top_p,
            end_token=self.end_token,
        )


GENERATOR = VllmGeneratorTable
PRM = None


@dataclass
class _Written:
    """A step that is being written, over one request or several."""

    text: str = ""
    logprobs: tuple[float, ...] = ()
    pieces: tuple[str, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(0, 0, 0))

    def add(self, reply: Completion) -> None:
        self.text += reply.text
        self.logprobs += reply.logprobs
        self.pieces += reply.pieces
        self.usage += reply.usage

    def drop_behind(self, request: StepRequest) -> None:
        """Forget tokens behind the one that ends the step, which a server's stop strings let through."""
        count = len(self.pieces)
        while count > 1 and request.format.next_step("".join(self.pieces[: count - 1]), request.steps) is not None:
            count -= 1
        if count:
            self.logprobs = self.logprobs[:count]

    def step(self, text: str, stop: StopReason) -> GeneratedStep:
        return GeneratedStep(text.strip("\n"), self.logprobs, stop, self.usage)


@dataclass(frozen=True)
class Completion:
    """A reply of the completions API.

    Attributes
    ----------
    text : str
        What was generated, with the stop string.
    logprobs : tuple of float
        Of every token.
    pieces : tuple of str
        Text of every token.
    tokens : list of int or None
        Prompt and text; None from versions of vLLM that do not tell.
    ended_by : {"separator", "end", "length"}
        A stop string, the end of the text, or the limit.
    usage : Usage
    """

    text: str
    logprobs: tuple[float, ...]
    pieces: tuple[str, ...]
    tokens: list[int] | None
    ended_by: StopReason
    usage: Usage


class VllmGenerator(OverHttp):
    """A generator behind vLLM's completions API.

    Parameters
    ----------
    service : Service
    model : str
        The name that the servers know it by.
    openings : Openings
        Prompts.
    role : str
        ``weak`` or ``strong``: part of the key of every draw.
    sampler : {"keyed", "seed"}
        Who draws.
    temperature, top_p, end_token
        See `VllmGeneratorTable`.
    """

    def __init__(
        self,
        service: Service,
        model: str,
        openings: Openings,
        *,
        role: str,
        sampler: Sampler,
        temperature: float,
        top_p: float = 1.0,
        end_token: str = "",
    ) -> None:
        self.service = service
        self._model = model
        self._openings = openings
        self._role = role
        self._sampler = sampler
        self._temperature = temperature
        self._top_p = top_p
        self._end_token = end_token

    @property
    def facts(self) -> dict[str, Any]:
        """What was found out about the server and defines a run."""
        return {"sampler": self._sampler} if self._temperature > 0.0 else {}

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator.generate`."""
        prompt = await self._prompt(request)
        written = _Written()
        while True:
            reply = await self._complete(prompt, request, written.usage.output)
            written.add(reply)
            step = request.format.next_step(written.text, request.steps)
            if step is not None:
                written.drop_behind(request)
                return written.step(step, "separator")
            if reply.ended_by == "end":
                return written.step(written.text, "end")
            if reply.ended_by == "length" or written.usage.output >= request.max_tokens:
                return written.step(written.text, "length")
            # A block is open, or nothing was written but blank lines.
            prompt = reply.tokens or await self._prompt(request, written.text)

    async def warm(self, request: StepRequest) -> Usage:
        """See `WarmedGenerator`."""
        body = {"model": self._model, "prompt": await self._prompt(request), "add_special_tokens": False}
        return await self.service.post("/v1/completions", body | {"max_tokens": 1, "temperature": 0.0}, usage_of)

    async def _prompt(self, request: StepRequest, begun: str = "") -> Prompt:
        solution = "".join(step + request.format.joiner for step in request.steps)
        return await self._openings.before(request.problem, solution + begun)

    async def _complete(self, prompt: Prompt, request: StepRequest, offset: int) -> Completion:
        body = {
            "model": self._model,
            "prompt": prompt,
            "add_special_tokens": False,
            "max_tokens": request.max_tokens - offset,
            "temperature": self._temperature,
            "top_p": self._top_p,
            "stop": list(request.format.stops),
            "include_stop_str_in_output": True,
            "logprobs": 0,
            "return_token_ids": True,
            **self._draw(request, offset),
        }
        return await self.service.post("/v1/completions", body, lambda reply: _completion(reply, request.format.stops))

    def _draw(self, request: StepRequest, offset: int) -> dict[str, Any]:
        """The fields that say what is drawn."""
        if self._temperature == 0.0:
            return {}
        state = key_state(request.seed, *request.key(self._role))
        if self._sampler == "keyed":
            return {"vllm_xargs": {"trim_key": f"{state:016x}:{offset}"}}
        return {"seed": (state + offset) % (1 << 31)}

    async def given_logprobs(self, request: ScoreRequest) -> list[tuple[float, ...]]:
        """See `GivenSteps`."""
        joiner = request.format.joiner
        opening = await self._openings.of(request.problem)
        if not isinstance(opening, str):
            raise ServerError(
                f"{self.service.name}: the server's tokens of a chat do not come back from their text, so nobody knows "
                "which step a token belongs to; name the model's folder or hub name: tokenizer = …"
            )
        text = opening + joiner.join(request.steps)
        ends = [len(opening)]
        for step in request.steps:
            ends.append(ends[-1] + len(step) + len(joiner))
        if request.format.answer(request.steps) is not None:
            text += self._end_token
        body = {"model": self._model, "prompt": text, "add_special_tokens": False, "max_tokens": 1, "logprobs": 0}
        body |= {"echo": True, "temperature": 0.0}
        return await self.service.post("/v1/completions", body, lambda reply: _by_step(reply, ends, len(text)))

    async def examine(self, request: ScoreRequest, max_tokens: int) -> list[Finding]:
        """See `SelfExamining`."""
        first = StepRequest(request.problem, (), 0, max_tokens, request.format)
        written = await self._complete(await self._prompt(first), first, 0)
        one = StepRequest(request.problem, request.steps, 0, 1, request.format)
        whole = await self._prompt(one)
        await self._complete(whole, one, 0)
        again = await self._complete(whole, one, 0)
        return [
            *await served(self.service, self._model, again.usage.prompt + max_tokens),
            self._drawn,
            _cached(again.usage),
            await self._read_back(first, written, one),
        ]

    @property
    def _drawn(self) -> Finding:
        if self._sampler == "keyed" or self._temperature == 0.0:
            return Finding("draws", "good", "as of a model in this process")
        remedy = "to have those, start it with --logits-processors trim_pomdp.servers.keyed:KeyedSampler"
        return Finding("draws", "note", "by seeds in the server; not those of a model in this process", remedy)

    async def _read_back(self, first: StepRequest, written: Completion, one: StepRequest) -> Finding:
        """Whether a step that was written is read as the tokens that it was written in."""
        if written.ended_by != "separator" or written.tokens is None:
            return Finding("read back", "note", "the first step ended without a separator, so it was not looked at")
        read = await self._complete(await self._prompt(first, written.text), one, 0)
        if read.tokens is not None and read.tokens[: read.usage.prompt] == written.tokens:
            return Finding("read back", "good", "a step is read as the tokens that it was written in")
        remedy = "harmless, but it costs cached tokens: the separator merges with what stands before it"
        return Finding("read back", "note", "a step is read as other tokens than it was written in", remedy)


def _completion(reply: Any, stops: tuple[str, ...]) -> Completion:
    choice = reply["choices"][0]
    logprobs = choice["logprobs"]["token_logprobs"]
    tokens, before = choice.get("token_ids"), choice.get("prompt_token_ids")
    usage = usage_of(reply)
    if len(logprobs) != usage.output or len(tokens or logprobs) != usage.output:
        raise BadReplyError(f"{len(logprobs)} log-probabilities for {usage.output} tokens")
    if not all(map(isfinite, logprobs)):
        raise BadReplyError("a log-probability is not finite")
    text: str = choice["text"]
    if text and not usage.output:
        raise BadReplyError("a text of no tokens")
    ends: dict[Any, StopReason] = {"length": "length", "stop": "separator" if text.endswith(stops) else "end"}
    return Completion(
        text=text,
        logprobs=tuple(map(float, logprobs)),
        pieces=tuple(choice["logprobs"].get("tokens") or ()),
        tokens=[*before, *tokens] if before and tokens else None,
        ended_by=ends[choice["finish_reason"]],
        usage=usage,
    )


def _cached(usage: Usage) -> Finding:
    told = f"{usage.cached} of {usage.prompt} tokens of a prompt that was sent before"
    if usage.cached:
        return Finding("prefix cache", "good", told)
    remedy = "--enable-prefix-caching --enable-prompt-tokens-details, and on a CPU --block-size 32"
    return Finding("prefix cache", "note", told, remedy)


def _by_step(reply: Any, ends: list[int], length: int) -> list[tuple[float, ...]]:
    """Log-probabilities of an echoed text, by the step in which a token begins."""
    found = reply["choices"][0]["logprobs"]
    rows: list[list[float]] = [[] for _ in ends[1:]]
    for start, value in zip(found["text_offset"], found["token_logprobs"], strict=True):
        if ends[0] <= start < length:
            owner = next((index for index, end in enumerate(ends[1:]) if start < end), len(rows) - 1)
            rows[owner].append(float(value))
    return [tuple(row) for row in rows]


async def _draws_keyed(service: Service, model: str) -> bool:
    """Whether a server draws by keys; `InputError` if there is none, or it does not know the model."""
    body = {
        "model": model,
        "prompt": "1",
        "max_tokens": 1,
        "temperature": 1.0,
        "return_token_ids": True,
        "vllm_xargs": {"trim_key": f"{CANARY_STATE:016x}:0"},
    }
    try:
        drawn = await service.post("/v1/completions", body, lambda reply: reply["choices"][0].get("token_ids"))
    except ServerError as error:
        raise InputError(str(error)) from None
    finally:
        await service.close()
    return bool(drawn == [0])
