"""vLLM in this process: generators and process reward models behind the batch protocols.

Texts are those of the same model in `trim_pomdp.runtime.backends.torch_models`: prompts, the rule that ends a step, and
the keyed draws are the same, the last inside of vLLM (`trim_pomdp.servers.keyed`).
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trim_pomdp.errors import InputError
from trim_pomdp.randomness import key_state
from trim_pomdp.runtime.backends.served import KEYED_SAMPLER, KEYED_SAMPLER_V2
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

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase
    from vllm import LLM

_V2 = "VLLM_USE_V2_MODEL_RUNNER"
# Unless set otherwise: the engine in this process, no cores that it is pinned to, and no pages of log.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    _V2: "0",
}
_MOST_KNOWN = 1 << 18
# Engines in one process share what vLLM takes down with the first that is collected, so that all stay; one model loaded
# twice is one engine.
_ENGINES: dict[str, LLM] = {}


class VllmLocalGenerator:
    """A causal language model that writes steps (a `BatchGenerator`).

    Parameters
    ----------
    llm : vllm.LLM
        With the keyed sampler.
    tokenizer, generation
        Tokenizer and generation config of `transformers`.
    role : str
        ``weak`` or ``strong``: part of the key of every draw.
    temperature, top_p : float
        Sampling; temperature 0 takes the likeliest token.
    system_prompt : str or None
        First message; None leaves it out.
    """

    def __init__(
        self,
        llm: LLM,
        tokenizer: PreTrainedTokenizerBase,
        generation: GenerationConfig | None,
        *,
        role: str,
        temperature: float,
        top_p: float,
        system_prompt: str | None,
    ) -> None:
        self._llm = llm
        self._tokenizer = tokenizer
        self._reading = Reading.of(tokenizer, generation)
        self._role = role
        self._temperature = temperature
        self._top_p = top_p
        self._system_prompt = system_prompt

    @classmethod
    def load(
        cls, name: str | Path, *, dtype: str = "auto", options: Mapping[str, Any] | None = None, **sampling: Any
    ) -> VllmLocalGenerator:
        """Load from a folder or the hub; `options` are those of ``vllm.LLM``, `sampling` those of the class.

        Raises
        ------
        InputError
            If there is no such model, or vLLM cannot load it.
        """
        tokenizer = load_tokenizer(name)
        llm = _engine(name, {"dtype": dtype, **_keyed(), "generation_config": "vllm", **(options or {})})
        return cls(llm, tokenizer, _generation_config(name), **sampling)

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        """See `BatchGenerator`."""
        from vllm import TokensPrompt

        texts = [
            prompt_text(self._tokenizer, r.problem, r.steps, self._system_prompt, r.format.joiner) for r in requests
        ]
        prompts = encoded_prompts(self._tokenizer, texts)
        limit = self._llm.model_config.max_model_len
        for request, prompt in zip(requests, prompts, strict=True):
            require_room(limit - 1, request, prompt)
        rows = [
            _Row(WrittenStep(request, self._reading, len(prompt)), prompt, limit - len(prompt))
            for request, prompt in zip(requests, prompts, strict=True)
        ]
        # Once round for most steps; those whose block is open where vLLM stops are asked on.
        while waiting := [row for row in rows if row.written.stop is None]:
            replies = self._llm.generate(
                [TokensPrompt(prompt_token_ids=row.prompt + row.written.ids) for row in waiting],
                [self._sampling(row) for row in waiting],
                use_tqdm=False,
            )
            for row, reply in zip(waiting, replies, strict=True):
                row.add(reply)
        return [row.written.step(cached=row.cached, beyond=row.beyond) for row in rows]

    def _sampling(self, row: _Row) -> Any:
        from vllm import SamplingParams

        request, written = row.written.request, len(row.written.logprobs)
        state = key_state(request.seed, *request.key(self._role))
        return SamplingParams(
            temperature=self._temperature,
            top_p=self._top_p,
            max_tokens=row.left,
            logprobs=0,
            stop=list(request.format.stops),
            include_stop_str_in_output=True,
            stop_token_ids=sorted(self._reading.ends),
            extra_args={"trim_key": f"{state:016x}:{written}"},
        )

    def step_logprobs(self, requests: Sequence[ScoreRequest]) -> list[list[tuple[float, ...]]]:
        """Log-probabilities of given steps; see `TransformersGenerator.step_logprobs`."""
        from vllm import SamplingParams, TokensPrompt

        given = [GivenSteps.of(self._tokenizer, request, self._system_prompt) for request in requests]
        limit = self._llm.model_config.max_model_len
        for request, item in zip(requests, given, strict=True):
            require_room(limit - 1, request, item.ids)
        replies = self._llm.generate(
            [TokensPrompt(prompt_token_ids=item.ids) for item in given],
            SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False),
            use_tqdm=False,
        )
        out = []
        for item, reply in zip(given, replies, strict=True):
            # None for the first token, which follows nothing.
            rows = reply.prompt_logprobs[1:]
            values = [row[token].logprob for row, token in zip(rows, item.ids[1:], strict=True)]
            out.append(item.by_step(values))
        return out


class _Row:
    """A request that is under way.

    Parameters
    ----------
    written : WrittenStep
    prompt : list of int
        Its tokens.
    room : int
        Tokens that the model can hold beyond.
    """

    def __init__(self, written: WrittenStep, prompt: list[int], room: int) -> None:
        self.written = written
        self.prompt = prompt
        self.cached = 0
        self.beyond = 0
        self._room = room

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return min(self.written.request.max_tokens, self._room) - len(self.written.logprobs)

    def add(self, reply: Any) -> None:
        """What vLLM has written; what follows the step's end is thrown away, and counted."""
        output = reply.outputs[0]
        self.cached += reply.num_cached_tokens or 0
        for token, logprobs in zip(output.token_ids, output.logprobs, strict=True):
            if self.written.stop is None:
                self.written.append(token, logprobs[token].logprob)
            else:
                self.beyond += 1
        if self.written.stop is None and self.left == 0:
            self.written.cut()


class VllmLocalScorer:
    """A process reward model in the layout of Qwen2.5-Math-PRM (a `BatchScorer`).

    As published, vLLM reads every solution from the start for each score, which is quadratic in its steps. With
    `incremental`, the prefix cache gives what was read before, and vLLM returns rows for the new tokens alone; the
    scores of earlier steps are remembered here, by the tokens up to them. A score that is not remembered, because
    another process gave it, is read from the start.

    Parameters
    ----------
    llm : vllm.LLM
        Pooling at steps; at all tokens, with the prefix cache, where `incremental`.
    tokenizer
        With ``<extra_0>`` as one token.
    system_prompt : str or None
        First message; None leaves it out.
    incremental : bool
    """

    def __init__(
        self, llm: LLM, tokenizer: PreTrainedTokenizerBase, *, system_prompt: str | None, incremental: bool = False
    ) -> None:
        self._llm = llm
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt
        self._incremental = incremental
        self._score_token = score_token(tokenizer)
        self._known: OrderedDict[bytes, float] = OrderedDict()

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        system_prompt: str | None,
        dtype: str = "auto",
        incremental: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> VllmLocalScorer:
        """Load from a folder or the hub; `options` are those of ``vllm.LLM``.

        Raises
        ------
        InputError
            If there is no such model, or vLLM cannot load it.
        """
        tokenizer = load_tokenizer(name)
        pooler: dict[str, Any] = {"pooling_type": "STEP", "step_tag_id": score_token(tokenizer)}
        arguments: dict[str, Any] = {"dtype": dtype, "runner": "pooling", "pooler_config": pooler}
        if incremental:
            arguments["pooler_config"] = {"pooling_type": "ALL"}
            arguments |= {"enable_prefix_caching": True, "enable_chunked_prefill": True}
        llm = _engine(name, {**arguments, **(options or {})})
        return cls(llm, tokenizer, system_prompt=system_prompt, incremental=incremental)

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        """See `BatchScorer`."""
        texts = [prompt_text(self._tokenizer, r.problem, r.steps, self._system_prompt, SCORE_TOKEN) for r in requests]
        encoded = encoded_prompts(self._tokenizer, texts)
        for request, ids in zip(requests, encoded, strict=True):
            require_room(self._llm.model_config.max_model_len, request, ids)
            require_scores(request, ids.count(self._score_token))
        if not self._incremental:
            return [
                SolutionScores(tuple(reply.outputs.data[:, 1].tolist()), len(ids))
                for ids, reply in zip(encoded, self._read(encoded), strict=True)
            ]
        return self._score_new(encoded)

    def _score_new(self, encoded: Sequence[list[int]]) -> list[SolutionScores]:
        """Scores from the rows of new tokens, and from what is remembered of the others."""
        places = [[i for i, token in enumerate(ids) if token == self._score_token] for ids in encoded]
        keys = [_keys(ids, at) for ids, at in zip(encoded, places, strict=True)]
        cached = [0] * len(encoded)
        replies = dict(enumerate(self._read(encoded, cache=True)))
        while replies:
            for i, reply in replies.items():
                rows = reply.outputs.data[:, 1].tolist()
                cached[i] = len(encoded[i]) - len(rows)
                new = [(key, at - cached[i]) for key, at in zip(keys[i], places[i], strict=True) if at >= cached[i]]
                self._remember({key: rows[row] for key, row in new})
            again = [i for i in replies if any(key not in self._known for key in keys[i])]
            replies = dict(zip(again, self._read([encoded[i] for i in again]), strict=True))
        out = []
        for ids, mine, count in zip(encoded, keys, cached, strict=True):
            out.append(SolutionScores(tuple(self._known[key] for key in mine), len(ids), count))
        self._forget()
        return out

    def _read(self, encoded: Sequence[list[int]], *, cache: bool = False) -> list[Any]:
        from vllm import PoolingParams, TokensPrompt

        if not encoded:
            return []
        task = "token_classify"
        prompts = [TokensPrompt(prompt_token_ids=ids) for ids in encoded]
        parameters = PoolingParams(task=task, skip_reading_prefix_cache=not cache)
        return list(self._llm.encode(prompts, parameters, pooling_task=task, use_tqdm=False))

    def _remember(self, scores: Mapping[bytes, float]) -> None:
        for key, score in scores.items():
            self._known[key] = score
            self._known.move_to_end(key)

    def _forget(self) -> None:
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


def _keys(ids: Sequence[int], places: Sequence[int]) -> list[bytes]:
    """A key of the tokens up to each place, that one included."""
    data = np.array(ids, dtype=np.int64)
    state, begin, keys = blake2b(digest_size=16), 0, []
    for place in places:
        state.update(data[begin : place + 1].tobytes())
        keys.append(state.copy().digest())
        begin = place + 1
    return keys


def _keyed() -> dict[str, Any]:
    v2 = os.environ.get(_V2, _ENVIRONMENT[_V2]) == "1"
    return {"logits_processors": [KEYED_SAMPLER_V2 if v2 else KEYED_SAMPLER]}


def _engine(name: str | Path, arguments: Mapping[str, Any]) -> LLM:
    """A model in vLLM."""
    known = json.dumps([str(name), dict(arguments)], sort_keys=True)
    if known in _ENGINES:
        return _ENGINES[known]
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from vllm import LLM
    from vllm.platforms import current_platform

    fixed: dict[str, Any] = {"seed": 0, "disable_log_stats": True, "use_tqdm_on_load": False}
    if current_platform.is_cpu():
        # Blocks of 128 tokens, the default there, would hardly ever be found in the prefix cache.
        fixed |= {"enforce_eager": True, "distributed_executor_backend": "uni", "block_size": 32}
    try:
        _ENGINES[known] = LLM(str(name), **{**fixed, **arguments})
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name}: vLLM cannot load it ({(str(error).splitlines() or ['no reason given'])[0]})"
        ) from None
    return _ENGINES[known]


def _generation_config(name: str | Path) -> GenerationConfig | None:
    from transformers import GenerationConfig

    try:
        config: GenerationConfig = GenerationConfig.from_pretrained(name)
    except OSError:  # a model may have none
        return None
    return config
