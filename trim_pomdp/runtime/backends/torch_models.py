"""Hugging Face models in this process, batched: generators and process reward models from a folder or the hub."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError

from trim_pomdp.display import transformers_quiet
from trim_pomdp.errors import InputError
from trim_pomdp.randomness import keyed_uniforms
from trim_pomdp.runtime.backends.tokens import (
    SCORE_TOKEN,
    GivenSteps,
    Reading,
    WrittenStep,
    encoded_prompts,
    load_tokenizer,
    prompt_text,
    require_room,
    require_scores,
    score_token,
)
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest
from trim_pomdp.runtime.sampling import draw_tokens
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens of one forward pass on a CPU: beyond that, batches get no faster, only fuller of padding.
_CPU_TOKENS = 1024


class TransformersGenerator:
    """A causal language model that writes steps (a `BatchGenerator`).

    Parameters
    ----------
    model, tokenizer
        From `transformers`; the tokenizer needs a chat template.
    role : str
        ``weak`` or ``strong``: part of the key of every draw.
    temperature, top_p : float
        Sampling; temperature 0 takes the likeliest token.
    system_prompt : str or None
        First message; None leaves it out.
    max_batch : int
        Most requests in one forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        role: str,
        temperature: float = 0.7,
        top_p: float = 1.0,
        system_prompt: str | None = SYSTEM_PROMPT,
        max_batch: int = 256,
    ) -> None:
        self._model = model.eval()  # type: ignore[no-untyped-call]
        self._tokenizer = tokenizer
        self._role = role
        self._temperature = temperature
        self._top_p = top_p
        self._system_prompt = system_prompt
        self._max_batch = max_batch
        self._reading = Reading.of(tokenizer, model.generation_config)
        parameters = inspect.signature(model.forward).parameters
        self._cache_keyword = "cache" if "cache" in parameters else "past_key_values"

    @classmethod
    def load(
        cls, name: str | Path, *, dtype: str = "auto", device: str = "auto", **options: Any
    ) -> TransformersGenerator:
        """Load from a folder or the hub; `options` are those of the class.

        Raises
        ------
        InputError
            If there is no such model.
        """
        from transformers import AutoModelForCausalLM

        model = load_model(AutoModelForCausalLM, name, dtype, device)
        return cls(model, load_tokenizer(name), **options)

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        """See `BatchGenerator`."""
        texts = [
            prompt_text(self._tokenizer, r.problem, r.steps, self._system_prompt, r.format.joiner) for r in requests
        ]
        encoded = encoded_prompts(self._tokenizer, texts)
        limit = getattr(self._model.config, "max_position_embeddings", None)
        for request, ids in zip(requests, encoded, strict=True):
            require_room(limit, request, ids)
        out: dict[int, GeneratedStep] = {}
        for chunk in _chunks(encoded, self._max_batch, self._model.device):
            replies = self._generate([requests[i] for i in chunk], [encoded[i] for i in chunk])
            out.update(zip(chunk, replies, strict=True))
        return [out[i] for i in range(len(requests))]

    def _generate(self, requests: Sequence[StepRequest], encoded: Sequence[list[int]]) -> list[GeneratedStep]:
        from transformers import DynamicCache

        ids, mask = _padded(self._tokenizer, encoded, self._model.device)
        limits = np.array([request.max_tokens for request in requests])
        uniforms = torch.from_numpy(
            np.stack([keyed_uniforms(int(limits.max()), r.seed, *r.key(self._role)) for r in requests])
        ).to(self._model.device)
        rows = [WrittenStep(request, self._reading, len(ids)) for request, ids in zip(requests, encoded, strict=True)]
        with torch.inference_mode():
            # Given and updated in place; its keyword was renamed in transformers 5.
            cache = {self._cache_keyword: DynamicCache(config=self._model.config)}
            positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
            for n in range(int(limits.max())):
                output = self._model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    use_cache=True,
                    logits_to_keep=1,
                    **cache,
                )
                tokens, logprobs = draw_tokens(
                    output.logits[:, -1], uniforms[:, n], temperature=self._temperature, top_p=self._top_p
                )
                for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
                    if row.stop is None:
                        row.append(token, logprob)
                if all(row.stop is not None for row in rows):
                    break
                ids = tokens[:, None]
                positions = positions[:, -1:] + 1
                mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        return [row.step() for row in rows]

    def step_logprobs(self, requests: Sequence[ScoreRequest]) -> list[list[tuple[float, ...]]]:
        """Log-probabilities of given steps, as if this model had written them.

        Returns
        -------
        list of list of tuple of float
            For every request and step, of each of its tokens, the separator included, and the end of the text where
            the last step holds an answer (without one nobody knows whether the text was over).

        Raises
        ------
        InputError
            If the tokenizer does not tell where its tokens are in the text (only fast ones do).
        """
        return [self._step_logprobs(request) for request in requests]

    def _step_logprobs(self, request: ScoreRequest) -> list[tuple[float, ...]]:
        given = GivenSteps.of(self._tokenizer, request, self._system_prompt)
        with torch.inference_mode():
            ids = torch.tensor([given.ids], device=self._model.device)
            logits = self._model(ids, use_cache=False).logits[0, :-1].float()
            chosen = logits.gather(-1, ids[0, 1:, None])[:, 0]
            values = (chosen - logits.logsumexp(dim=-1)).tolist()
        return given.by_step(values)


class TransformersScorer:
    """A process reward model in the layout of Qwen2.5-Math-PRM (a `BatchScorer`).

    Steps are joined by ``<extra_0>``, one more after the last; the score of a step is the probability of the second
    logit there.

    Parameters
    ----------
    model : Qwen2ForProcessRewardModel
    tokenizer
        With ``<extra_0>`` as one token.
    system_prompt : str or None
        First message; None leaves it out.
    max_batch : int
        Most requests in one forward pass.

    Raises
    ------
    InputError
        If ``<extra_0>`` is not one token.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        system_prompt: str | None = SYSTEM_PROMPT,
        max_batch: int = 256,
    ) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt
        self._max_batch = max_batch
        self._score_token = score_token(tokenizer)

    @classmethod
    def load(cls, name: str | Path, *, dtype: str = "auto", device: str = "auto", **options: Any) -> TransformersScorer:
        """Load from a folder or the hub; `options` are those of the class.

        Raises
        ------
        InputError
            If there is no such model.
        """
        from trim_pomdp.runtime.backends.prm import Qwen2ForProcessRewardModel

        model = load_model(Qwen2ForProcessRewardModel, name, dtype, device)
        return cls(model, load_tokenizer(name), **options)

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        """See `BatchScorer`."""
        texts = [prompt_text(self._tokenizer, r.problem, r.steps, self._system_prompt, SCORE_TOKEN) for r in requests]
        encoded = encoded_prompts(self._tokenizer, texts)
        limit = getattr(self._model.config, "max_position_embeddings", None)
        for request, ids in zip(requests, encoded, strict=True):
            require_room(limit, request, ids)
        out: dict[int, SolutionScores] = {}
        for chunk in _chunks(encoded, self._max_batch, next(self._model.parameters()).device):
            replies = self._score([requests[i] for i in chunk], [encoded[i] for i in chunk])
            out.update(zip(chunk, replies, strict=True))
        return [out[i] for i in range(len(requests))]

    def _score(self, requests: Sequence[ScoreRequest], encoded: Sequence[list[int]]) -> list[SolutionScores]:
        device = next(self._model.parameters()).device
        ids, mask = _padded(self._tokenizer, encoded, device)
        with torch.inference_mode():
            right = torch.softmax(self._model(ids, mask).float(), dim=-1)[..., 1]
        out = []
        for request, row, scores, length in zip(requests, ids, right, mask.sum(dim=1).tolist(), strict=True):
            found = scores[row == self._score_token].tolist()
            require_scores(request, len(found))
            out.append(SolutionScores(tuple(found), int(length)))
        return out


def _chunks(encoded: Sequence[list[int]], most: int, device: torch.device) -> Iterator[list[int]]:
    """Indices of texts of about one length, so that little is padded; on a CPU, of few tokens in all."""
    tokens = _CPU_TOKENS if device.type == "cpu" else sys.maxsize
    chunk: list[int] = []
    for i in sorted(range(len(encoded)), key=lambda i: len(encoded[i])):
        if chunk and (len(chunk) == most or (len(chunk) + 1) * len(encoded[i]) > tokens):
            yield chunk
            chunk = []
        chunk.append(i)
    if chunk:
        yield chunk


def _padded(
    tokenizer: PreTrainedTokenizerBase, encoded: Sequence[list[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, padded on the left, shape (B, T) each."""
    longest = max(map(len, encoded))
    ids = torch.full((len(encoded), longest), int(tokenizer.pad_token_id))
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = 1
    return ids.to(device), mask.to(device)


def load_model(model_class: Any, name: str | Path, dtype: str = "auto", device: str = "auto") -> Any:
    """A model of this class from a folder (a path) or the hub (a name), without transformers' progress bars.

    Parameters
    ----------
    dtype : str
        ``auto`` takes that of the files: a 7B model in bfloat16 does not become one in float32. On a CPU, which has no
        arithmetic in float16, bfloat16 stands for it.
    device : str
        ``auto`` takes a GPU if there is one.

    Raises
    ------
    InputError
        If there is none, it cannot be loaded, or its files lack weights of this class.
    """
    if isinstance(name, Path) and not (name / "config.json").is_file():
        raise InputError(f"{name}: no model here (no config.json)")
    kind = "auto" if dtype == "auto" else getattr(torch, dtype)
    with transformers_quiet():
        try:
            model, report = model_class.from_pretrained(name, dtype=kind, output_loading_info=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{name}: cannot be loaded ({str(error).splitlines()[0]})") from None
    if heads := sorted(key for key in report["unexpected_keys"] if key.startswith("score.")):
        raise InputError(f"{name}: a reward model (it has the weights {heads[0]}), no {model_class.__name__}")
    if absent := sorted(report["missing_keys"]):
        # Transformers would draw them at random.
        more = f" and {len(absent) - 1} more" if absent[1:] else ""
        raise InputError(f"{name}: not a {model_class.__name__}; it lacks the weights {absent[0]}{more}")
    place = best_device() if device == "auto" else device
    if dtype == "auto" and place == "cpu" and model.dtype == torch.float16:
        model = model.to(torch.bfloat16)
    return model.to(place)


def best_device() -> str:
    """The device that models run on unless told: a GPU if there is one."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Write a model without transformers' progress bar."""
    with transformers_quiet():
        model.save_pretrained(folder)
