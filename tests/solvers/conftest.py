"""Random small models and a brute-force solver, independent of the package's own arithmetic."""
# ruff: noqa: E741 (O is the number of observations)

from collections.abc import Callable

import numpy as np
import pytest

from solvers import EpochModel


def random_model(seed: int, *, n_states: int | None = None) -> EpochModel:
    """A small epoch model with zeros among its probabilities, several children and several terminal nodes."""
    rng = np.random.default_rng(seed)
    S = n_states or int(rng.integers(1, 5))
    A, K, O = rng.integers(1, 4, 3)
    inner = int(rng.integers(1, 5))
    N, T, C, D = inner + 2, int(rng.integers(1, 3)), 2, int(rng.integers(1, 4))
    signal = rng.dirichlet(np.ones(K), (T, S)) * (rng.random((T, S, K)) < 0.7)
    signal[..., 0] += 1e-3
    signal /= signal.sum(-1, keepdims=True)
    after = rng.random((T, K, A, S, O, S)) * (rng.random((T, K, A, S, O, S)) < 0.6)
    after[..., 0, 0] += 1e-3
    after /= after.sum((-1, -2), keepdims=True)
    joint = np.einsum("tsk,tkasoz->tkaosz", signal, after)
    reward = rng.normal(size=(T, K, A, S, D)) * signal.transpose(0, 2, 1)[:, :, None, :, None]
    children = np.array([[rng.integers(n + 1, N) if n < inner else 0 for _ in range(C)] for n in range(N)])
    start = rng.dirichlet(np.ones(S)) * (rng.random(S) < 0.7)
    start[0] += 0.1
    return EpochModel(
        joint=joint,
        reward=reward,
        successor=rng.integers(0, C, (T, K, A, O)),
        children=children,
        table_of=np.where(np.arange(N) < inner, rng.integers(0, T, N), -1),
        terminal=rng.normal(size=(N, S, D)),
        start=start / start.sum(),
        discount=float(rng.uniform(0.5, 1.0)),
    )


def brute_force(model: EpochModel, weights: np.ndarray, node: int, b: np.ndarray) -> float:
    """Optimal value at an unnormalised belief, by walking the whole tree of beliefs."""
    table = model.table_of[node]
    if table < 0:
        return float(b @ (model.terminal[node] @ weights))
    total = 0.0
    for k in range(model.n_signals):
        best = -np.inf
        for a in range(model.n_actions):
            value = float(b @ (model.reward[table, k, a] @ weights))
            for o in range(model.n_observations):
                x = b @ model.joint[table, k, a, o]
                if x.sum() > 0:
                    child = int(model.children[node, model.successor[table, k, a, o]])
                    value += model.discount * brute_force(model, weights, child, x)
            best = max(best, value)
        total += best
    return total


@pytest.fixture(scope="session")
def make_model() -> Callable[..., EpochModel]:
    return random_model


@pytest.fixture(scope="session")
def optimal_value() -> Callable[[EpochModel, np.ndarray, int, np.ndarray], float]:
    return brute_force
