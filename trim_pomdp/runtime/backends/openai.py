r"""``backend = "openai"``: a model behind OpenAI's interface, hosted or one's own (llama.cpp, SGLang, Ollama, vLLM).

A step is asked for in one of three ways:

* ``api = "completions"``: the model goes on with the text so far, as in this process;
* ``api = "chat"``, ``continuation = "prefill"``: the same by messages, the last of which is the assistant's solution so
  far; ``prefill`` says how the server is told to go on with it;
* ``api = "chat"``, ``continuation = "instruct"`` (the default, and all that most hosted models do): the solution so far
  goes into the user's turn, and one next step is asked for (`trim_pomdp.runtime.instruct`).

**Where a step ends.** The first two send a stop string where one can stand for the separator, and `StepFormat` decides
on what comes back: within an open block the model is asked to go on. Servers that do not tell a stop string from the
end of the text (`trim_pomdp.runtime.replies`) are believed to mean the stop string, unless nothing at all came before
it: then the same is asked without a stop string, and what ends that is the end of the text. A solution whose text ends
without an answer has one more, empty step there.

**Randomness.** The seed of a request is derived from the seed of the run, `StepRequest.key` and the number of the
request, so that a server that honours seeds writes the same again, as far as batches do not change its rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, model_validator

from trim_pomdp.policies.base import Author
from trim_pomdp.randomness import key_state
from trim_pomdp.runtime.backends.base import GeneratorTable, Place
from trim_pomdp.runtime.backends.openai_server import (
    OpenAIServer,
    OpenAITable,
    Prefill,
    Question,
    assistant_message,
    system_message,
    user_message,
)
from trim_pomdp.runtime.backends.prompts import Message
from trim_pomdp.runtime.instruct import question, step_of_reply
from trim_pomdp.runtime.protocols import GeneratedStep, StepRequest, StopReason, Usage
from trim_pomdp.runtime.replies import Reply, Token
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT
from trim_pomdp.text.boxes import ends_in_thinking

Continuation = Literal["prefill", "instruct"]
_SEED_BITS = 31
_MOST_REQUESTS = 64


class OpenAIGeneratorTable(OpenAITable, GeneratorTable):
    """A model that writes steps.

    Attributes
    ----------
    continuation : {"prefill", "instruct"} or None
        See the module; None is ``instruct`` for chat. Completions always continue.
    prefill : {"auto", "plain", "continue", "prefix"}
        How a chat server is told to go on with the assistant's turn: by itself (llama.cpp), by
        ``continue_final_message`` (vLLM, SGLang), or by ``prefix`` in the message (DeepSeek, Mistral); ``auto`` finds
        out which of the first two it is.
    temperature, top_p : float
    system_prompt : str or False
        First message; "" or false leaves it out.
    """

    backend: Literal["openai"]
    continuation: Continuation | None = None
    prefill: Prefill = "auto"
    temperature: NonNegativeFloat = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    system_prompt: str | Literal[False] = SYSTEM_PROMPT

    @model_validator(mode="after")
    def _continuation_fits(self) -> Self:
        if self.api == "completions" and self.continuation == "instruct":
            raise ValueError("continuation: 'instruct' is for api = 'chat'; completions continue the text")
        if self.prefill != "auto" and self.continuation != "prefill":
            raise ValueError("prefill: goes with api = 'chat' and continuation = 'prefill'")
        return self

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`: the prefill is how the server is told, not what."""
        return {key: value for key, value in super().config(folder).items() if key != "prefill"}

    def load(self, role: Author, place: Place) -> OpenAIGenerator:
        """See `GeneratorTable`."""
        server = self.server(place)
        server.prefill = self.prefill
        return OpenAIGenerator(
            server,
            role,
            instructed=self.api == "chat" and self.continuation != "prefill",
            temperature=self.temperature,
            top_p=self.top_p,
            system_prompt=self.system_prompt,
        )


@dataclass(frozen=True, eq=False)
class OpenAIGenerator:
    """A model that writes steps (a `Generator`).

    Attributes
    ----------
    server : OpenAIServer
    role : str
        ``weak`` or ``strong``: part of what seeds are derived from.
    instructed : bool
        Whether steps are asked for in words.
    temperature, top_p, system_prompt
        See `OpenAIGeneratorTable`.
    """

    server: OpenAIServer
    role: Author
    instructed: bool = False
    temperature: float = 0.7
    top_p: float = 1.0
    system_prompt: str | Literal[False] = SYSTEM_PROMPT

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator`."""
        return await (self._instructed(request) if self.instructed else self._continued(request))

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `ServedModel`."""
        return self.server.facts

    @property
    def faults(self) -> Mapping[str, int]:
        """See `ServedModel`."""
        return self.server.faults

    async def warm(self, request: StepRequest) -> Usage:
        """See `WarmedGenerator`."""
        reply = await self._ask(request, self._messages(request), 1, None, 0)
        return reply.usage or Usage(0, 0, len(reply.tokens))

    async def close(self) -> None:
        """Close the connections."""
        await self.server.close()

    async def _instructed(self, request: StepRequest) -> GeneratedStep:
        reply = await self._ask(request, self._messages(request), request.max_tokens, None, 0)
        text, more = step_of_reply(reply.text, request.steps, request.format)
        stop: StopReason = "end" if not text else "length" if reply.ending == "length" and not more else "separator"
        return GeneratedStep(text, _logprobs_within(reply, text), stop, reply.usage)

    async def _continued(self, request: StepRequest) -> GeneratedStep:
        draft = _Draft(request)
        while draft.stop is None:
            messages, stop = self._messages(request, draft.text), draft.stop_string
            draft.add(await self._ask(request, messages, draft.tokens_left, stop, draft.requests), stop)
        return draft.step

    def _messages(self, request: StepRequest, begun: str = "") -> list[Message]:
        """What the model goes on from; `begun` is what it wrote of the step."""
        prompt, joiner = request.problem.prompt, request.format.joiner
        if self.instructed:
            return [user_message(question(prompt, request.steps, joiner))]
        return [user_message(prompt), *assistant_message("".join(step + joiner for step in request.steps) + begun)]

    async def _ask(
        self, request: StepRequest, messages: list[Message], max_tokens: int, stop: str | None, number: int
    ) -> Reply:
        state = key_state(request.seed, *request.key(self.role), number)
        return await self.server.ask(
            Question(
                messages=(*system_message(self.system_prompt), *messages),
                max_tokens=max_tokens,
                temperature=self.temperature,
                top_p=self.top_p,
                seed=state & ((1 << _SEED_BITS) - 1) if self.temperature > 0.0 else None,
                stop=stop,
            )
        )


@dataclass
class _Draft:
    """A step that is being written, in as many replies as it takes."""

    request: StepRequest
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    usage: Usage | None = None
    requests: int = 0
    stop: StopReason | None = None
    _finished: str = ""
    _came_empty: bool = False

    @property
    def stop_string(self) -> str | None:
        """Where the next reply may stop; None after one that was empty, to find out why."""
        if self._came_empty:
            return None
        form = self.request.format
        if form.thinking == "one-step" and ends_in_thinking("\n".join((*self.request.steps, self.text))):
            return "</think>"
        return form.stops[0]  # of several nobody might tell which it was

    @property
    def tokens_left(self) -> int:
        """Tokens that the step may still have."""
        return self.request.max_tokens - self._written

    @property
    def _written(self) -> int:
        return len(self.tokens) if self.usage is None else self.usage.output

    def add(self, reply: Reply, stop: str | None) -> None:
        """Go on by a reply to a request with this stop string."""
        self.requests += 1
        self.tokens.extend(reply.tokens)
        if reply.usage is not None:
            self.usage = reply.usage if self.usage is None else self.usage + reply.usage
        self.text += reply.text
        self._came_empty = not reply.text and reply.ending == "unknown"
        overflows = self._next_step(self.text) is not None
        if reply.ending == "stop" or (reply.ending == "unknown" and reply.text):
            self.text += stop or ""
        cut = self._next_step(self.text)
        if cut is not None:
            if overflows:
                self._drop_tokens_behind_the_step()
            self._finish(cut, "separator")
        elif reply.ending == "end":
            self._finish(self.text, "end")
        elif reply.ending == "length" or self.requests == _MOST_REQUESTS or self._written >= self.request.max_tokens:
            self._finish(self.text, "length")

    @property
    def step(self) -> GeneratedStep:
        """The step, once it is over."""
        assert self.stop is not None
        return GeneratedStep(self._finished, tuple(token.logprob for token in self.tokens), self.stop, self.usage)

    def _finish(self, text: str, stop: StopReason) -> None:
        self._finished, self.stop = text.strip("\n"), stop

    def _next_step(self, text: str) -> str | None:
        return self.request.format.next_step(text, self.request.steps)

    def _drop_tokens_behind_the_step(self) -> None:
        text = ""
        for count, token in enumerate(self.tokens, start=1):
            text += token.text
            if ("\n" in token.text or not self.request.format.ends_at_newlines) and self._next_step(text) is not None:
                del self.tokens[count:]
                return


def _logprobs_within(reply: Reply, step: str) -> tuple[float, ...]:
    """Log-probabilities of the tokens of a reply that are in the step; all where it is not found as it stands."""
    whole = "".join(token.text for token in reply.tokens)
    start = whole.find(step)
    if start < 0 or not step:
        return tuple(token.logprob for token in reply.tokens)
    kept, place = [], 0
    for token in reply.tokens:
        begin, place = place, place + len(token.text)
        if begin < start + len(step) and place > start:
            kept.append(token.logprob)
    return tuple(kept)


GENERATOR = OpenAIGeneratorTable
PRM = None
