"""Prompts of served models: the opening of a chat, rendered by the model's own template.

The solution so far goes behind the opening as it is, so that a step is continued whatever the template does to finished
turns of an assistant (many cut white space off their ends). A prompt is text; where the tokens of the opening do not
come back from its text, it is tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol, TypeAlias

from trim_pomdp.data.problems import Problem
from trim_pomdp.runtime.http import BadReplyError, RefusedError, ServerError, Service

# Openings that are kept: those of the problems in flight, and some more.
_KEPT = 4096

Message = dict[str, str]
Prompt: TypeAlias = str | list[int]


def messages_of(problem: Problem, system_prompt: str | None) -> list[Message]:
    """The chat that asks for a solution."""
    system = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    return [*system, {"role": "user", "content": problem.prompt}]


class Renderer(Protocol):
    """Makes a text of a chat, up to where the assistant's turn begins."""

    async def __call__(self, messages: list[Message]) -> str:
        """Render a chat."""
        ...


class Openings:
    """Openings of problems, each rendered once.

    Parameters
    ----------
    render : Renderer
    system_prompt : str or None
        First message; None leaves it out.
    """

    def __init__(self, render: Renderer, system_prompt: str | None) -> None:
        self._render = render
        self._system_prompt = system_prompt
        self._kept: OrderedDict[str, Prompt] = OrderedDict()

    async def of(self, problem: Problem) -> Prompt:
        """The prompt of a problem, up to where the solution begins."""
        found = self._kept.get(problem.prompt)
        if found is None:
            messages = messages_of(problem, self._system_prompt)
            render = self._render.prompt if isinstance(self._render, VllmRenderer) else self._render
            found = await render(messages)
            self._kept[problem.prompt] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    async def before(self, problem: Problem, solution: str) -> Prompt:
        """The prompt of a problem, with what there is of a solution behind it."""
        opening = await self.of(problem)
        if isinstance(opening, str):
            return opening + solution
        assert isinstance(self._render, VllmRenderer)  # no other renderer gives tokens
        return [*opening, *(await self._render.tokens(solution) if solution else ())]


class VllmRenderer:
    """Rendering by vLLM's own endpoints, so that nothing of the model need be here."""

    def __init__(self, service: Service, model: str) -> None:
        self._service = service
        self._model = model

    async def __call__(self, messages: list[Message]) -> str:
        """Render a chat.

        Raises
        ------
        ServerError
            If the tokens of the chat do not come back from its text, so that a text prompt would not be the same.
        """
        prompt = await self.prompt(messages)
        if isinstance(prompt, str):
            return prompt
        raise ServerError(
            f"{self._service.name}: the server's tokens of a chat do not come back from their text; name the model's "
            "folder or hub name: tokenizer = …"
        )

    async def prompt(self, messages: list[Message]) -> Prompt:
        """A chat as text; as tokens, where they do not come back from the text, or the server tells none."""
        tokens = await self._tokens({"messages": messages, "add_generation_prompt": True})
        body = {"model": self._model, "tokens": tokens}
        try:
            text: str = await self._service.post("/detokenize", body, lambda reply: _of_kind(reply["prompt"], str))
        except RefusedError as error:
            if error.status != 404:
                raise
            return tokens
        return text if await self.tokens(text) == tokens else tokens

    async def tokens(self, text: str) -> list[int]:
        """The tokens of a text, as it is."""
        return await self._tokens({"prompt": text, "add_special_tokens": False})

    async def _tokens(self, body: dict[str, Any]) -> list[int]:
        try:
            return await self._service.post(
                "/tokenize", {"model": self._model, **body}, lambda reply: _of_kind(reply["tokens"], list)
            )
        except RefusedError as error:
            if error.status != 404:
                raise
            raise ServerError(
                f"{self._service.name}: the server has no /tokenize ({error}); is it vLLM? backend = 'openai' takes "
                "others"
            ) from None


def _of_kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise BadReplyError(f"{type(value).__name__} where {kind.__name__} was asked for")
    return value


class LocalRenderer:
    """Rendering by the model's tokenizer in this process; transformers is imported when it is made.

    Raises
    ------
    InputError
        If there is no such tokenizer, or it has no chat template.
    """

    def __init__(self, name: Any) -> None:
        from trim_pomdp.runtime.backends.tokens import load_tokenizer

        self._tokenizer = load_tokenizer(name)

    async def __call__(self, messages: list[Message]) -> str:
        """Render a chat."""
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)
        return text
