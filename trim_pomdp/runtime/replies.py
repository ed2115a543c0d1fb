r"""What OpenAI-compatible servers reply, in one form, whatever the dialect: text, why it ended, tokens, usage.

``finish_reason`` is ``"stop"`` for a stop string and for the end of the text alike, and most servers cut the stop
string off the text. Some say more: vLLM has ``stop_reason`` (the string, or null), SGLang ``matched_stop``; llama.cpp
lists the end token among those with log-probabilities, but not the tokens of a stop string, so that counting tells.
Where nobody tells, the ending is ``"unknown"``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Any, Literal

from trim_pomdp.runtime.http import BadReplyError, ServerError
from trim_pomdp.runtime.protocols import Usage

Ending = Literal["stop", "end", "length", "unknown"]


@dataclass(frozen=True)
class Token:
    """A generated token.

    Attributes
    ----------
    text : str
    logprob : float
        Before temperature, where the server has it so.
    top : tuple of (str, float)
        The likeliest tokens there, as many as were asked for.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Reply:
    """What a server wrote.

    Attributes
    ----------
    text : str
        Without the stop string.
    ending : {"stop", "end", "length", "unknown"}
        A stop string, the end of the text, the token limit; or one of the first two, and nobody tells which.
    tokens : tuple of Token
        Empty where no log-probabilities are offered; llama.cpp leaves out those of a stop string.
    usage : Usage or None
        None where the server does not count.
    """

    text: str
    ending: Ending
    tokens: tuple[Token, ...] = ()
    usage: Usage | None = None


def parse_reply(document: Any, stop: str | None = None, *, prefix: str = "", counted: bool = False) -> Reply:
    """A reply to a request for a completion or a chat completion.

    Parameters
    ----------
    document
        The reply's JSON.
    stop : str or None
        Stop string of the request.
    prefix : str
        What the server was to go on with; llama.cpp repeats it in its reply.
    counted : bool
        Whether tokens missing among the log-probabilities are those of a stop string (llama.cpp).

    Raises
    ------
    BadReplyError
        If it is no such reply.
    ServerError
        If there is no text in it, and would be none another time: a refusal, a tool call, nothing but reasoning.
    """
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadReplyError(f"a reply without choices: {_shown(document)}")
    choice = choices[0]
    usage = _usage(document.get("usage"))
    tokens = _tokens(choice.get("logprobs"))
    # A stop string would have ended a reply that repeats so much of itself, so nothing of the model's own is cut here.
    text = _text(choice, usage).removeprefix(prefix)
    if stop is not None and text.endswith(stop):
        return Reply(text.removesuffix(stop), "stop", tokens, usage)
    missing = usage.output - len(tokens) if counted and usage is not None else None
    return Reply(text, _ending(choice, stop, missing), tokens, usage)


def _ending(choice: dict[str, Any], stop: str | None, missing: int | None) -> Ending:
    if choice.get("finish_reason") == "length":
        return "length"
    if stop is None:
        return "end"
    for name in ("stop_reason", "matched_stop"):
        if name in choice:
            return "stop" if choice[name] in (stop, "stop_sequence") else "end"
    if missing is not None:
        return "stop" if missing > 0 else "end"
    return "unknown"


def _text(choice: dict[str, Any], usage: Usage | None) -> str:
    """The text; raises `ServerError` for what is none: a refusal, a tool call, nothing but reasoning."""
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise ServerError("the server's content filter cut the reply")
    if "message" not in choice:
        text = choice.get("text")
        if not isinstance(text, str):
            raise BadReplyError(f"a choice without text: {_shown(choice)}")
        return text
    message = choice["message"] if isinstance(choice["message"], dict) else {}
    if message.get("refusal"):
        raise ServerError(f"the model refused: {_shown(message['refusal'])}")
    content = message.get("content")
    if isinstance(content, list):  # of parts, some servers write it so
        content = "".join(part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text")
    if not content and reason == "length" and usage is not None and usage.output > 0:
        raise ServerError(
            f"all {usage.output} tokens went into reasoning, none into a step; raise [limits] max_step_tokens, or have "
            "the model reason less (extra_body)"
        )
    if isinstance(content, str):
        return content
    if message.get("tool_calls") or message.get("function_call"):
        raise ServerError("the model called a tool; a step is text")
    raise BadReplyError(f"a message without content: {_shown(message)}")


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    prompt, output, total = (_count(usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total"))
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    # Reasoning is output; some servers count it in the total alone. DeepSeek has a name of its own for what was cached.
    return Usage(prompt, cached or _count(usage.get("prompt_cache_hit_tokens")), max(output, total - prompt))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _tokens(logprobs: Any) -> tuple[Token, ...]:
    """Tokens in the layout of chat completions (llama.cpp's completions, too), or in that of completions."""
    if not isinstance(logprobs, dict):
        return ()
    content = logprobs.get("content")
    try:
        if isinstance(content, list):
            return tuple(
                Token(item["token"], _number(item["logprob"]), _top(item.get("top_logprobs"))) for item in content
            )
        texts, values = logprobs.get("tokens") or (), logprobs.get("token_logprobs") or ()
        tops = logprobs.get("top_logprobs") or [None] * len(texts)
        return tuple(
            Token(text, _number(value), _top(top)) for text, value, top in zip(texts, values, tops, strict=True)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadReplyError(f"log-probabilities in no known layout: {_shown(logprobs)}") from None


def _top(top: Any) -> tuple[tuple[str, float], ...]:
    if isinstance(top, dict):
        return tuple((text, _number(value)) for text, value in top.items())
    return tuple((item["token"], _number(item["logprob"])) for item in top or ())


def _number(value: Any) -> float:
    number = float(value)
    if isnan(number):
        raise ValueError("not a number")
    return number


def _shown(value: Any) -> str:
    shown = " ".join(str(value).split())
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
