"""Whether the lab's base still learns sums from nothing: ``python benchmarks/lab_from_nothing.py [--seed 0]``.

About 2,000 steps, seven minutes on one core; it exits with 1 if the loss does not fall below .1 within 4,000. At twice
the rate, or with products beside them, thousands more left tens digits to chance. The suite runs the first steps only
(`tests/lab/test_lab_training.py`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from trim_pomdp.lab import training
from trim_pomdp.lab.training import Recipe

GOAL = 0.1


def main() -> int:
    """Train the first phase of the recipe until it is learned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    first, *later = Recipe().phases
    recipe = replace(Recipe(), phases=(replace(first, steps=4000, goal=GOAL), *later))
    model = training.Qwen2ForCausalLM(training._config(training.NEURONS))
    losses: list[float] = []

    def told(_stage: str, step: int, _steps: int, loss: float) -> None:
        losses.append(loss)
        print(f"step {step}: loss {loss:.3f}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        training._train_phase(Path(folder), model, 1, recipe, seed, told)
    return 0 if losses[-1] < GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
