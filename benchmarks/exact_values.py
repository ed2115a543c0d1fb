"""Exact value iteration: seconds against pomdp-solve's, and what its linear programs cost.

    python benchmarks/exact_values.py [--longest]

Processor seconds of this process, kernels loaded before. Those of pomdp-solve (C) stand in the data folder's table: the
same kind of machine, another run. With ``--longest``, also sets of thousands of vectors. The last table solves the same
linear programs by the compiled walk and by calls of HiGHS, in this run, one thread each.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from report import data_folder, heading, table

from solvers import read_pomdp
from solvers.exact import exact
from solvers.examples import tiger
from solvers.policies import AlphaVectorPolicy
from solvers.pruning import prune, witness
from solvers.simulation import simulate

Result = TypeVar("Result")
# Epochs after which pomdp-solve stops by itself, the value that it has then, its vectors, its seconds.
EPOCHS = {
    "tiger.aaai": (79, 1.933439, 9, 0.50),
    "tiger.95": (476, 19.371368, 9, 2.22),
    "1d": (76, 1.260345, 4, 0.02),
    "cheese.95": (444, 3.486207, 14, 1.29),
    "paint.95": (441, 3.293597, 9, 1.33),
    "parr95.95": (475, 7.201040, 5, 0.26),
    "mini-hall2": (439, 2.714281, 54, 7.39),
}
# Where it gives up: horizon, and what it says of itself.
LARGE = {"shuttle.95": 10, "4x3.95": 10, "network": 37, "web-ad": 4}


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    """What it returns, and processor seconds."""
    begin = time.process_time()
    found = run()
    return found, time.process_time() - begin


def solve(name: str, horizon: int) -> list[object]:
    """Name, horizon, value, vectors, most vectors of an epoch, seconds."""
    model = read_pomdp(data_folder().parent / "pomdp_files" / f"{name}.pomdp")
    found, seconds = timed(lambda: exact(model, horizon))
    most = max(epoch.n_vectors for epoch in found.history)
    return [name, horizon, f"{found.lower:.6f}", found.policy.n_vectors, most, seconds]


def programs(states: int, count: int) -> list[object]:
    """States, vectors, vectors kept, microseconds for each by the walk and by HiGHS."""
    rng = np.random.default_rng(states)
    points = rng.dirichlet(np.ones(states), count)
    vectors = 2.0 * points - (points**2).sum(axis=1, keepdims=True) - rng.random((count, 1)) * 0.1
    kept, walk = timed(lambda: prune(vectors))
    asked = range(0, count, 10)
    _, highs = timed(lambda: [witness(vectors[i], np.delete(vectors, i, axis=0)) for i in asked])
    return [states, count, kept.size, 1e6 * walk / count, 1e6 * highs / len(asked)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longest", action="store_true", help="sets of thousands of vectors, too")
    arguments = parser.parse_args()
    exact(tiger(), 3)
    heading("Exact value iteration")
    columns = ("file", "horizon", "value", "vectors", "most", "CPU s")
    table(
        (*columns, "pomdp-solve: value", "vectors", "CPU s"),
        [[*solve(name, horizon), *theirs] for name, (horizon, *theirs) in EPOCHS.items()],
    )
    if arguments.longest:
        table(columns, [solve(name, horizon) for name, horizon in LARGE.items()])
    table(
        ("states", "vectors", "kept", "walk, µs each", "HiGHS, µs each"),
        [programs(states, count) for states, count in ((2, 200), (4, 400), (13, 400), (30, 400))],
    )
    model = tiger()
    policy: AlphaVectorPolicy = exact(model, 200).policy.with_steps_to_go()
    played, seconds = timed(lambda: simulate(model, policy, episodes=10_000))
    print(f"simulation: {played.episodes * played.steps / seconds:,.0f} steps a second (tiger, beliefs filtered)")


if __name__ == "__main__":
    main()
