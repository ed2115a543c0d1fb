"""How the cost of a search grows with the size of a model: ``python benchmarks/solvers/growth.py``.

Random models: five successors a state and action, every observation possible, discount .8. One number is varied at a
time. Times are processor seconds of a warm solve until a third of the gap between the fast bounds is left, or of 20 s;
beliefs and vectors are those made on the way. Last, a family of weights and finite horizons on one and on two threads,
wall time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from solvers import POMDP, solve, solve_epochs_many
from solvers._search_state import BELIEFS, VECTORS
from solvers.search import Searcher, compile_kernels, run_search

sys.path.append(str(Path(__file__).resolve().parents[1]))
from report import heading, table

_SUCCESSORS = 5
_LIMIT_S = 20.0


def random_model(states: int, actions: int, observations: int, seed: int = 0) -> POMDP:
    """A sparse random model with rewards in [0, 1] and a discount of .8."""
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
        start=np.full(states, 1.0 / states), discount=0.8,
    )  # fmt: skip


def cost(pomdp: POMDP) -> list[object]:
    """Processor seconds, gap at first and at the end, beliefs and vectors."""
    first = solve(pomdp, "fib").upper - solve(pomdp, "blind").lower
    began, clock = time.monotonic(), time.process_time()
    searcher = Searcher(pomdp, first / 3.0)
    ended = run_search(searcher, began, _LIMIT_S, None, [])
    seconds = time.process_time() - clock
    beliefs, vectors = (int(searcher.state.count[kind]) for kind in (BELIEFS, VECTORS))
    return [seconds, first, searcher.upper - searcher.lower, beliefs, vectors, ended]


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
