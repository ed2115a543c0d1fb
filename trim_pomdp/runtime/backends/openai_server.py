"""A server that speaks OpenAI's interface: how it is asked, and what it is found to be.

What a server is (``owned_by`` in its list of models) decides on what the interface leaves open: how a prompt is
rendered by the chat template, how an assistant's turn is continued, and which defaults of its own have to be put out of
force so that it samples as it is told to (llama.cpp cuts the tail by ``min_p`` and ``top_k``, vLLM takes what a model's
``generation_config.json`` recommends). What a server refuses by name and can do without is left out from then on.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from trim_pomdp.errors import InputError
from trim_pomdp.runtime.backends.base import Place
from trim_pomdp.runtime.backends.prompts import Message, Renderer, VllmRenderer
from trim_pomdp.runtime.backends.remote import FIRST_PATIENCE, Connection, OverHttp, Url, local_renderer, root_of
from trim_pomdp.runtime.http import RefusedError, ServerError, Service
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.replies import Reply, parse_reply

Api = Literal["chat", "completions"]
Kind = Literal["llama.cpp", "vllm", "sglang", "other"]
Prefill = Literal["auto", "plain", "continue", "prefix"]

_OWNERS: dict[str, Kind] = {"llamacpp": "llama.cpp", "vllm": "vllm", "sglang": "sglang"}
# Defaults of the servers that would change what is drawn.
_PLAIN_SAMPLING: dict[Kind, dict[str, Any]] = {
    "llama.cpp": {"top_k": 0, "min_p": 0.0},
    "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "sglang": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
    "other": {},
}
_OURS = {"messages", "prompt", "model", "stream", "n", "echo", "best_of", "stop", "max_tokens", "max_completion_tokens"}
_OPTIONAL = ("max_tokens", "seed", "stop", "top_logprobs", "logprobs")
_NOT_TAKEN = re.compile(
    r"unsupported|not support|n.t support|unknown|unrecognized|unexpected|extra|not permitted|not allowed|invalid|"
    r"not available|only the default|deprecated",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\{(prompt|system)\}")
_KEPT = 4096
_NOT_THERE = {"cannot connect", "HTTP 429", "HTTP 503"}


class OpenAITable(Connection):
    """What tables of models behind OpenAI's interface have in common.

    Attributes
    ----------
    model : str
        The name that the server knows it by.
    base_url : str or list of str
        What comes before ``/chat/completions``; ``/v1`` is added to an address without a path.
    api : {"chat", "completions"}
    template : str or None
        For completions: what the model reads, with ``{prompt}`` and ``{system}`` in it; or
    tokenizer : str or None
        folder (seen from the models file) or hub name of a tokenizer whose chat template says it. With neither of them
        llama.cpp and vLLM render the prompt by the model's own template; of other servers the model reads the system
        prompt and the problem, with blank lines behind them, as befits a model without a template.
    extra_body : dict
        More keys for every request, as ``{reasoning_effort = "low"}``; they go before our own, and are part of what
        defines a run, so no place for secrets.
    """

    model: str = Field(min_length=1)
    base_url: Url | Annotated[list[Url], Field(min_length=1)]
    api: Api = "chat"
    template: str | None = None
    tokenizer: str | None = None
    extra_body: dict[str, Any] = {}

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        if taken := sorted(_OURS & set(self.extra_body)):
            raise ValueError(f"extra_body: {taken[0]!r} is not for the models file to say")
        if self.api == "chat" and (self.template is not None or self.tokenizer is not None):
            raise ValueError("template and tokenizer are for api = 'completions'; a chat server renders its prompts")
        if self.template is not None and "{prompt}" not in self.template:
            raise ValueError(f"template: {self.template!r} has no {{prompt}} in it")
        if len({_version(url) for url in self._listed}) > 1:
            raise ValueError("base_url: some end with /v1 and some do not; are they the same kind of server?")
        return self

    @property
    def title(self) -> str:
        """See `ModelTable`."""
        return Path(self.model).name

    @property
    def _listed(self) -> list[str]:
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url

    def server(self, place: Place) -> OpenAIServer:
        """The server of the table, which is asked what it is.

        Raises
        ------
        InputError
            If the environment variable of its key is not set, the tokenizer cannot be loaded, or the server is not
            there.
        """
        service = self.connect(place, [root_of(url) for url in self._listed])
        version = _version(self._listed[0])
        return OpenAIServer(
            service=service,
            model=self.model,
            api=self.api,
            version=version,
            kind=run_to_end(_kind(replace(service, patience=FIRST_PATIENCE), version)),
            extra_body=self.extra_body,
            renderer=self._renderer(place),
        )

    def _renderer(self, place: Place) -> Renderer | None:
        if self.template is not None:
            return TemplateRenderer(self.template)
        if self.tokenizer is None:
            return None
        return local_renderer(self.tokenizer, place)


def _version(url: str) -> str:
    path = urlsplit(url).path.rstrip("/")
    return "/v1" if not path or path.endswith("/v1") else ""


async def _kind(service: Service, version: str) -> Kind:
    """What the server is; `InputError` if it is not there, or does not take the key."""

    def read(document: Any) -> Kind:
        listed = document.get("data") if isinstance(document, dict) else None
        owners = [item.get("owned_by") for item in listed or () if isinstance(item, dict)]
        return next((_OWNERS[owner] for owner in owners if owner in _OWNERS), "other")

    try:
        return await service.get(f"{version}/models", read)
    except RefusedError as error:
        if error.status == 401:
            raise InputError(str(error)) from None
        return "other"  # it has no such list
    except ServerError as error:
        if set(service.faults) <= _NOT_THERE:
            raise InputError(str(error)) from None
        return "other"
    finally:
        await service.close()


@dataclass(frozen=True)
class Question:
    """A request, whatever the API.

    Attributes
    ----------
    messages : tuple of Message
        The last one may be the assistant's, which the model is to go on with.
    max_tokens : int
    temperature, top_p : float
    seed : int or None
    stop : str or None
    top : int
        Likeliest tokens wanted for each.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float
    top_p: float = 1.0
    seed: int | None = None
    stop: str | None = None
    top: int = 1

    @property
    def begun(self) -> str:
        """The assistant's turn so far."""
        last = self.messages[-1]
        return last["content"] if last["role"] == "assistant" else ""


@dataclass(eq=False)
class OpenAIServer(OverHttp):
    """A model behind OpenAI's interface.

    Parameters
    ----------
    service : Service
    model, api, extra_body
        See `OpenAITable`.
    version : str
        What comes between the address and the paths of the interface.
    kind : {"llama.cpp", "vllm", "sglang", "other"}
    renderer : Renderer or None
        Makes prompts of chats for completions; None: the server does.
    prefill : {"auto", "plain", "continue", "prefix"}
        How an assistant's turn is continued; "auto": as this kind of server has it.
    """

    service: Service
    model: str
    api: Api = "chat"
    version: str = "/v1"
    kind: Kind = "other"
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    renderer: Renderer | None = None
    prefill: Prefill = "auto"

    def __post_init__(self) -> None:
        self._left_out: set[str] = set()
        self._openings: OrderedDict[tuple[str, ...], str] = OrderedDict()
        self._path = f"{self.version}/{'chat/completions' if self.api == 'chat' else 'completions'}"

    async def ask(self, question: Question) -> Reply:
        """The reply to a question.

        Raises
        ------
        ServerError
            If there is none that could be used.
        """
        body = await self._body(question)
        left_out = set(self._left_out)
        while True:
            sent = _without(body, left_out)
            try:
                reply = await self.service.post(self._path, sent, self._reader(question, sent))
            except RefusedError as error:
                blamed = _blamed(str(error), sent) if error.status in (400, 403, 422) else set()
                if not blamed:
                    raise
                left_out |= blamed
            else:
                self._left_out |= left_out  # that was it
                return reply

    def _reader(self, question: Question, sent: Mapping[str, Any]) -> Callable[[Any], Reply]:
        prefix = question.begun if self.api == "chat" else ""
        counted = "logprobs" in sent and self.kind == "llama.cpp"
        return lambda document: parse_reply(document, sent.get("stop"), prefix=prefix, counted=counted)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was found out and defines a run, such as that nobody renders prompts, where it is so."""
        is_plain = self.api == "completions" and self._any_renderer() is plain_prompt
        return {"prompts": "without a chat template"} if is_plain else {}

    # Bodies -----------------------------------------------------------------------------------------------------

    async def _body(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": question.max_tokens,
            "temperature": question.temperature,
            "top_p": question.top_p,
            "seed": question.seed,
            "stop": question.stop,
        }
        if self.api == "chat":
            body |= {"messages": list(question.messages), "logprobs": True, "top_logprobs": question.top}
            if question.begun:
                body |= self._continuing(body["messages"])
        else:
            body |= {"prompt": await self._rendered(question), "logprobs": question.top}
            if self.kind == "vllm":  # the template has put them there
                body["add_special_tokens"] = False
        body |= _PLAIN_SAMPLING[self.kind]
        return {**{key: value for key, value in body.items() if value is not None}, **self.extra_body}

    def _continuing(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """What makes the server go on with the last message, rather than answer it."""
        how = self.prefill
        if how == "auto":
            how = "continue" if self.kind in ("vllm", "sglang") else "plain"
        if how == "prefix":  # DeepSeek, Mistral
            messages[-1] = {**messages[-1], "prefix": True}
        return {"continue_final_message": True, "add_generation_prompt": False} if how == "continue" else {}

    # Prompts ----------------------------------------------------------------------------------------------------

    async def _rendered(self, question: Question) -> str:
        """The text of the messages, which ends in the assistant's turn."""
        opening = question.messages[:-1] if question.begun else question.messages
        key = tuple(message["content"] for message in opening)
        found = self._openings.get(key)
        if found is None:
            found = self._openings[key] = await self._any_renderer()(list(opening))
            if len(self._openings) > _KEPT:
                self._openings.popitem(last=False)
        return found + question.begun

    def _any_renderer(self) -> Renderer:
        if self.renderer is not None:
            return self.renderer
        if self.kind == "llama.cpp":
            return LlamaRenderer(self.service)
        return VllmRenderer(self.service, self.model) if self.kind == "vllm" else plain_prompt


def _without(body: Mapping[str, Any], left_out: set[str]) -> dict[str, Any]:
    """The body without what the server does not take; the limit has another name then."""
    sent = {key: value for key, value in body.items() if key not in left_out}
    if "max_tokens" in left_out:
        sent["max_completion_tokens"] = body["max_tokens"]
    return sent


def _blamed(refusal: str, sent: Mapping[str, Any]) -> set[str]:
    """What of the request is refused by name, and can be left out or said otherwise."""
    said = refusal.partition(": HTTP ")[2]
    if not _NOT_TAKEN.search(said):
        return set()
    optional = [name for name in _OPTIONAL if name in sent]
    # Said outright, the default is refused by some servers; not said, it is the same.
    optional += [name for name in ("top_p", "temperature") if sent.get(name) == 1.0]
    blamed = {name for name in optional if re.search(rf"\b{name}\b", said)}
    return blamed | {"top_logprobs"} if "logprobs" in blamed else blamed


async def plain_prompt(messages: list[Message]) -> str:
    """The messages as they are, a blank line behind each."""
    return "".join(f"{item['content']}\n\n" for item in messages)


class TemplateRenderer:
    """Rendering by a text with ``{prompt}`` and ``{system}`` in it."""

    def __init__(self, template: str) -> None:
        self._template = template

    async def __call__(self, messages: list[Message]) -> str:
        """Render a chat."""
        texts = {"system" if item["role"] == "system" else "prompt": item["content"] for item in messages}
        return _TEMPLATE.sub(lambda place: texts.get(place[1], ""), self._template)


class LlamaRenderer:
    """Rendering by llama.cpp's own endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, messages: list[Message]) -> str:
        """Render a chat."""
        return await self._service.post("/apply-template", {"messages": messages}, lambda reply: str(reply["prompt"]))


def system_message(prompt: str | Literal[False]) -> list[Message]:
    """The first message, where there is one."""
    return [{"role": "system", "content": prompt}] if prompt else []


def user_message(text: str) -> Message:
    """A message of the user's."""
    return {"role": "user", "content": text}


def assistant_message(text: str) -> list[Message]:
    """The assistant's turn so far, where there is any."""
    return [{"role": "assistant", "content": text}] if text else []
