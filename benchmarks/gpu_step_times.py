"""Step times of Qwen2.5's shapes with random weights, for ``step_times.py table --times``: speed needs no weights.

    ENV/bin/python benchmarks/gpu_step_times.py --out gpu.json [--models 1.5B 7B 32B PRM]     one GPU of 80 GB or more
    ENV/bin/python benchmarks/gpu_step_times.py --out cpu.json --tiny                         shapes that a CPU can do

ENV needs vLLM and numpy, nothing of this package. Every model is a folder that holds a configuration, loaded with
``load_format="dummy"`` in a process of its own, which ends before the next begins (minutes each, with compilation);
what was measured is written after each, so that an interrupted run leaves what it has. Prompts are random token ids,
each different, so that no cache knows them. Reported, medians of several tries, alone in the server:

* ``write_s``: (time of 1 + N tokens - time of 1 token) / N, on a short prompt;
* ``start_s`` and ``read_s``: the line through the times of one token, less ``write_s`` (of a score, for the PRM), on
  prompts of several lengths; below 0 counts as 0;
* ``cached_s``: one token on a long prompt of which all but the last 64 tokens are cached, beside ``uncached_s``;
* ``write_many_s``: a token of each of 64 solutions at once.

The interface is `vllm.LLM` in process: HTTP (about a millisecond a request) is not in it. Nothing here needs a network.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

# hidden, intermediate, layers, heads, key-value heads, vocabulary, tied embeddings
SHAPES = {
    "1.5B": (1536, 8960, 28, 12, 2, 151936, True),
    "7B": (3584, 18944, 28, 28, 4, 152064, False),
    "32B": (5120, 27648, 64, 40, 8, 152064, False),
    "PRM": (3584, 18944, 28, 28, 4, 152064, False),
}
TINY = {name: (64 * (2 + i), 256, 2 + i, 2 + i, 1 + i % 2, 1024, name != "PRM") for i, name in enumerate(SHAPES)}
TINY["32B"] = (256, 512, 4, 4, 2, 1024, False)
TINY["PRM"] = (128, 256, 2, 2, 2, 1024, False)
STEP_TAG = 7
MARK = "TIMES "


def configuration(name: str, tiny: bool) -> dict[str, Any]:
    """What config.json says of a model."""
    hidden, intermediate, layers, heads, groups, vocabulary, tied = (TINY if tiny else SHAPES)[name]
    return {
        "architectures": ["Qwen2ForProcessRewardModel" if name == "PRM" else "Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
        "max_window_layers": layers,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "use_sliding_window": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "torch_dtype": "float32" if tiny else "bfloat16",
    }


def line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope of the least-squares line, neither below 0."""
    n = len(points)
    x, y = (sum(column) / n for column in zip(*points, strict=True))
    spread = sum((a - x) ** 2 for a, _ in points)
    slope = max(sum((a - x) * (b - y) for a, b in points) / spread, 0.0) if spread else 0.0
    return max(y - slope * x, 0.0), slope


# In a process of its own --------------------------------------------------------------------------------------


class Meter:
    """A loaded model, and how long it takes."""

    def __init__(self, name: str, folder: str, tiny: bool, tries: int) -> None:
        from vllm import LLM

        options: dict[str, Any] = {"dtype": "float32", "enforce_eager": True, "block_size": 32} if tiny else {}
        if tiny:
            options |= {"kv_cache_memory_bytes": 64 << 20, "distributed_executor_backend": "uni"}
        if name == "PRM":
            options |= {"runner": "pooling", "pooler_config": {"pooling_type": "STEP", "step_tag_id": STEP_TAG}}
        fixed = {"load_format": "dummy", "skip_tokenizer_init": True, "max_model_len": 4096, "max_num_seqs": 64}
        self._llm = LLM(folder, **fixed, **options)
        self._tries = tries
        self._random = random.Random(0)
        self._most = (TINY if tiny else SHAPES)[name][5]

    def prompt(self, length: int) -> list[int]:
        """Random tokens, a step's end among them."""
        return [*(self._random.randrange(10, self._most) for _ in range(length - 1)), STEP_TAG]

    def write(self, prompts: Callable[[], list[list[int]]], tokens: int) -> float:
        """Seconds to read prompts, made anew for every try, and to write so many tokens of each."""
        from vllm import SamplingParams

        parameters = SamplingParams(temperature=0.7, max_tokens=tokens, ignore_eos=True, detokenize=False)
        return self._median(prompts, lambda asked: self._llm.generate(asked, parameters, use_tqdm=False))

    def score(self, length: int) -> float:
        """Seconds of a score."""

        def ask(asked: list[Any]) -> Any:
            return self._llm.encode(asked, pooling_task="token_classify", use_tqdm=False)

        return self._median(lambda: [self.prompt(length)], ask)

    def _median(self, prompts: Callable[[], list[list[int]]], ask: Callable[[list[Any]], Any]) -> float:
        times = []
        for attempt in range(self._tries + 1):
            asked = [{"prompt_token_ids": tokens} for tokens in prompts()]
            began = time.perf_counter()
            ask(asked)
            if attempt:  # the first try may compile
                times.append(time.perf_counter() - began)
        return median(times)


def generator_times(meter: Meter, lengths: tuple[int, ...], tokens: int) -> dict[str, float]:
    """Of a model that writes."""
    one = meter.write(lambda: [meter.prompt(64)], 1)
    write = max((meter.write(lambda: [meter.prompt(64)], 1 + tokens) - one) / tokens, 0.0)
    start, read = line([(n, meter.write(lambda: [meter.prompt(n)], 1) - write) for n in lengths])
    longest = meter.prompt(lengths[-1] - 64)
    meter.write(lambda: [longest], 1)
    many = [meter.write(lambda: [meter.prompt(64) for _ in range(64)], n) for n in (1, 1 + tokens)]
    return {
        "start_s": start,
        "read_s": read,
        "write_s": write,
        "cached_s": meter.write(lambda: [[*longest, *meter.prompt(64)]], 1),
        "uncached_s": meter.write(lambda: [meter.prompt(lengths[-1])], 1),
        "write_many_s": max((many[1] - many[0]) / tokens, 0.0),
    }


def measure(name: str, tiny: bool, tries: int) -> dict[str, float]:
    """Times of one model."""
    lengths = (64, 128, 256) if tiny else (128, 512, 1024, 2048)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(configuration(name, tiny)))
        meter = Meter(name, folder, tiny, tries)
        if name != "PRM":
            return generator_times(meter, lengths, 32 if tiny else 128)
        start, read = line([(n, meter.score(n)) for n in lengths])
        return {"start_s": start, "read_s": read}


# ----------------------------------------------------------------------------------------------------------------


def measured(names: list[str], tiny: bool, tries: int, limit_s: float) -> Iterator[tuple[str, dict[str, float]]]:
    """Times of each model that could be measured, from a process each; what went wrong is told on stderr."""
    environment = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if tiny:
        environment |= {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    for name in names:
        began = time.perf_counter()
        command = [sys.executable, __file__, "--one", name, "--tries", str(tries), *(["--tiny"] if tiny else [])]
        try:
            ended = subprocess.run(
                command,
                env={**environment, **os.environ},
                stdout=subprocess.PIPE,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{name}: not done in {limit_s:g} s", file=sys.stderr)
            continue
        found = [row for row in ended.stdout.splitlines() if row.startswith(MARK)]
        if not found:
            print(f"{name}: ended with {ended.returncode} and no times", file=sys.stderr)
            continue
        yield name, {**json.loads(found[-1].removeprefix(MARK)), "measuring_s": time.perf_counter() - began}


def main() -> int:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--tiny", action="store_true", help="small shapes, in float32 and without compilation")
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--limit-s", type=float, default=240.0, help="for each model")
    parser.add_argument("--one", choices=SHAPES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(MARK + json.dumps(measure(given.one, given.tiny, given.tries)), flush=True)
        return 0
    if given.out is None:
        parser.error("--out is missing")
    models: dict[str, dict[str, float]] = {}
    for name, times in measured(given.models, given.tiny, given.tries, given.limit_s):
        models[name] = times
        given.out.write_text(json.dumps({"tiny": given.tiny, "models": models}, indent=1) + "\n")
        print(name, " ".join(f"{key}={value:.6f}" for key, value in times.items()), flush=True)
    return 0 if len(models) == len(given.models) else 1


if __name__ == "__main__":
    sys.exit(main())
