"""How the cost of a search grows with states, actions, observations and precision: ``python benchmarks/solvers/growth.py``.

Random models: five successors a state and action, every observation possible. One number is varied at a time. Times are
processor seconds of a warm solve to a gap of 2 % of the first one, or of 20 s; points and vectors are what was made on the
way. Last, a family of weights and finite horizons on one and on two threads, wall time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from solvers import POMDP, solve, solve_epochs_many
from solvers.search import Searcher, compile_kernels, run_search

sys.path.append(str(Path(__file__).resolve().parents[1]))
from report import heading, table  # noqa: E402

_SUCCESSORS = 5
_LIMIT_S = 20.0


def random_model(states: int, actions: int, observations: int, seed: int = 0) -> POMDP:
    """A sparse random model with rewards in [0, 1] and a discount of .95."""
    from scipy.sparse import csr_array

    rng = np.random.default_rng(seed)
    transition = []
    for _ in range(actions):
        row = np.repeat(np.arange(states), _SUCCESSORS)
        column = rng.integers(states, size=row.size)
        chance = rng.dirichlet(np.ones(_SUCCESSORS), states).ravel()
        transition.append(csr_array((chance, (row, column)), shape=(states, states)))
    observation = [rng.dirichlet(np.full(observations, 0.5), states) for _ in range(actions)]
    return POMDP(
        transition=transition, observation=observation, reward=rng.random((actions, states)),
        start=np.full(states, 1.0 / states), discount=0.95,
    )  # fmt: skip


def cost(pomdp: POMDP) -> list[object]:
    """Processor seconds, gap at first and at the end, beliefs and vectors."""
    first = solve(pomdp, "fib").upper - solve(pomdp, "blind").lower
    began, clock = time.monotonic(), time.process_time()
    searcher = Searcher(pomdp, 0.02 * first)
    ended = run_search(searcher, began, _LIMIT_S, None, [])
    seconds = time.process_time() - clock
    counts = searcher.sizes
    return [seconds, first, searcher.upper - searcher.lower, counts["beliefs"], counts["vectors"], ended]


def main() -> None:
    """Print the tables."""
    compile_kernels()
    heading("Growth of a search")
    columns = ["|S|", "|A|", "|O|", "CPU s", "first gap", "last gap", "beliefs", "vectors", "ended by"]
    base = (50, 4, 4)
    rows = []
    for axis, values in enumerate(((10, 25, 50, 100, 200, 400), (2, 4, 8, 16), (2, 4, 8, 16, 32))):
        for value in values:
            size = (*base[:axis], value, *base[axis + 1 :])
            rows.append([*size, *cost(random_model(*size))])
    table(columns, rows)

    heading("Threads: 40 weights of a finite horizon")
    model = random_model(2, 3, 4).finite_horizon(20)
    weights = np.linspace(0.5, 1.5, 40)[:, None]
    solve_epochs_many(model, weights[:2], threads=1)
    rows = []
    for threads in (1, 2):
        began = time.perf_counter()
        solve_epochs_many(model, weights, gap=1e-8, threads=threads)
        rows.append([threads, time.perf_counter() - began])
    table(["threads", "wall s"], rows)


if __name__ == "__main__":
    main()
