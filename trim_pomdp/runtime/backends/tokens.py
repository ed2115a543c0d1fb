"""Tokenizers of models in this process: prompts as their chat templates have them, and steps read token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, StepRequest, StopReason, Usage

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

SCORE_TOKEN = "<extra_0>"


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """A tokenizer from a folder or the hub.

    Raises
    ------
    InputError
        If there is none, it knows no tokens, or has no chat template.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # A tokenizer.json says all; AutoTokenizer would put that of the model's family in the place of one of another kind.
    loader: Any = PreTrainedTokenizerFast if (Path(name) / "tokenizer.json").is_file() else AutoTokenizer
    try:
        tokenizer: PreTrainedTokenizerBase = loader.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: its tokenizer cannot be loaded ({str(error).splitlines()[0]})") from None
    if not tokenizer("1", add_special_tokens=False)["input_ids"]:
        raise InputError(f"{name}: its tokenizer knows no tokens; is tokenizer.json absent?")
    if tokenizer.chat_template is None:
        raise InputError(f"{name}: no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def score_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token at which a process reward model scores a step.

    Raises
    ------
    InputError
        If it is not one token.
    """
    encoded: list[int] = tokenizer.encode(SCORE_TOKEN, add_special_tokens=False)
    if len(encoded) != 1:
        raise InputError(f"the tokenizer splits {SCORE_TOKEN} into {len(encoded)} tokens; a PRM reads scores at one")
    return encoded[0]


def prompt_text(
    tokenizer: PreTrainedTokenizerBase,
    problem: Problem,
    steps: Sequence[str],
    system_prompt: str | None,
    separator: str,
) -> str:
    """Prompt, and the solution so far with the separator after every step."""
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages.append({"role": "user", "content": problem.prompt})
    opening = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return f"{opening}{''.join(step + separator for step in steps)}"


def encoded_prompts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Tokens of prompts, which hold their special tokens already."""
    encoded: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return encoded


def require_room(limit: int | None, request: StepRequest | ScoreRequest, ids: Sequence[int]) -> None:
    """Raise `InputError` for a text that is longer than the model can read (its batch is then tried one by one)."""
    if limit is not None and len(ids) > limit:
        raise InputError(f"problem {request.problem.id}: {len(ids)} tokens; the model reads at most {limit}")


def require_scores(request: ScoreRequest, found: int) -> None:
    """Raise `InputError` unless a process reward model scored every step."""
    if found != len(request.steps):
        where = "its prompt" if SCORE_TOKEN in request.problem.prompt else "a step"
        scores = f"{found} scores for {len(request.steps)} steps"
        raise InputError(f"problem {request.problem.id}: {scores}; {where} contains {SCORE_TOKEN}")


@dataclass(frozen=True)
class Reading:
    """How the tokens that a model writes are read.

    Attributes
    ----------
    tokenizer
        From `transformers`.
    breaks : frozenset of int
        Tokens whose text holds a line break.
    ends : frozenset of int
        Tokens that end a text: those of the generation config, and the tokenizer's own.
    """

    tokenizer: PreTrainedTokenizerBase
    breaks: frozenset[int]
    ends: frozenset[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig | None) -> Reading:
        """Of a model with this tokenizer and generation config."""
        texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
        configured = generation.eos_token_id if generation is not None else None
        listed = configured if isinstance(configured, list) else [configured]
        return cls(
            tokenizer,
            breaks=frozenset(token for token, text in enumerate(texts) if "\n" in text),
            ends=frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None),
        )

    def decode(self, ids: list[int]) -> str:
        """Text of tokens, without special ones."""
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        assert isinstance(text, str)
        return text


class WrittenStep:
    """A step that is being written, token by token.

    Parameters
    ----------
    request : StepRequest
    reading : Reading
    prompt : int
        Tokens of its prompt.

    Attributes
    ----------
    ids : list of int
        Tokens so far, without the one that ends the text.
    stop : str or None
        What ended the step; None as long as it goes on.
    """

    def __init__(self, request: StepRequest, reading: Reading, prompt: int) -> None:
        self.request = request
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.stop: StopReason | None = None
        self._reading = reading
        self._prompt = prompt
        self._text = ""

    def append(self, token: int, logprob: float) -> None:
        """The next token."""
        self.logprobs.append(logprob)
        if token in self._reading.ends:
            self._finish(self._reading.decode(self.ids), "end")
            return
        self.ids.append(token)
        if token in self._reading.breaks or not self.request.format.ends_at_newlines:
            step = self.request.format.next_step(self._reading.decode(self.ids), self.request.steps)
            if step is not None:
                self._finish(step, "separator")
                return
        if len(self.logprobs) == self.request.max_tokens:
            self.cut()

    def cut(self) -> None:
        """There is no room for more tokens."""
        self._finish(self._reading.decode(self.ids), "length")

    def _finish(self, text: str, stop: StopReason) -> None:
        self._text, self.stop = text.strip("\n"), stop

    def step(self, *, cached: int = 0, beyond: int = 0) -> GeneratedStep:
        """The step, once it has ended; told how much of its prompt was cached, and generated beyond its end."""
        assert self.stop is not None
        usage = Usage(self._prompt, cached, len(self.logprobs) + beyond)
        return GeneratedStep(self._text, tuple(self.logprobs), self.stop, usage)


@dataclass(frozen=True)
class GivenSteps:
    """Tokens of given steps, and which step each belongs to.

    Attributes
    ----------
    ids : list of int
        Prompt and steps, the separators between them included, and the end of the text where the last step holds an
        answer (without one nobody knows whether the text was over).
    owners : list of int
        Index of the step of every token but the first; negative in the prompt.
    steps : int
        How many there are.
    """

    ids: list[int]
    owners: list[int]
    steps: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, request: ScoreRequest, system_prompt: str | None) -> GivenSteps:
        """Of a request.

        Raises
        ------
        InputError
            If the tokenizer does not tell where its tokens are in the text (only fast ones do).
        """
        if not tokenizer.is_fast:
            raise InputError("log-probabilities of given steps need a fast tokenizer, which tells where tokens are")
        joiner = request.format.joiner
        opening = prompt_text(tokenizer, request.problem, (), system_prompt, joiner)
        ends = [len(opening)]
        for step in request.steps:
            ends.append(ends[-1] + len(step) + len(joiner))
        text = opening + joiner.join(request.steps)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = list(encoded["input_ids"])
        starts = [start for start, _ in encoded["offset_mapping"]]
        if request.format.answer(request.steps) is not None:
            ids.append(tokenizer.eos_token_id)
            starts.append(len(text))
        owners = np.searchsorted(ends, np.array(starts[1:]), side="right") - 1
        return cls(ids, owners.tolist(), len(request.steps))

    def by_step(self, values: Sequence[float]) -> list[tuple[float, ...]]:
        """Values of the tokens after the first, sorted by step; those of the prompt are left out."""
        pairs = list(zip(values, self.owners, strict=True))
        return [tuple(value for value, owner in pairs if owner == index) for index in range(self.steps)]
