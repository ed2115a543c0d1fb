"""CPU time of finite-horizon plans with three and four hidden states: python benchmarks/epoch_states.py

Two types of problems hidden from a router: 30 steps, 130 signals, 2 actions, 4 states, reward 100. Every plan is closed
to 1e-4 of the reward, cold and from its neighbour in price. Kernels are compiled before the clock starts; how long that
took is printed first (set NUMBA_CACHE_DIR to an empty folder to see it).
"""

import time

import numpy as np

from solvers import EpochModel, EpochSolution, solve_epochs

STEPS, BINS = 30, 65


def types() -> EpochModel:
    """Prefix right or derailed, for two types that differ in how often steps are right, repaired, and the last."""
    z = np.linspace(-4.5, 4.5, BINS)
    right, wrong = np.exp(-0.5 * (z - 1.5) ** 2), np.exp(-0.5 * (z + 1.5) ** 2)
    right, wrong = right / right.sum(), wrong / wrong.sum()
    emission = np.stack([right, 0.5 * (right + wrong), wrong])  # right, derailed, first error
    K = 2 * BINS
    joint, reward = np.zeros((1, K, 2, 1, 4, 4)), np.zeros((1, K, 2, 4, 2))
    for i, (weak, strong, repair, ends) in enumerate([(0.97, 0.985, 0.75, 0.12), (0.80, 0.86, 0.35, 0.07)]):
        own = slice(2 * i, 2 * i + 2)
        prior = np.array([[weak, 0.0, 1.0 - weak], [0.0, 1.0, 0.0]])
        seen = prior[:, :, None] * emission  # (state, class, bin)
        seen = np.concatenate([seen * (1.0 - ends), seen * ends], axis=2)
        for action, success in enumerate([[1.0, 0.005, 0.0], [strong, 0.005, repair]]):
            after = np.stack([success, 1.0 - np.array(success)], axis=1)
            joint[0, :, action, 0, own, own] = np.einsum("sck,cz->ksz", seen, after)
        reward[0, :, 1, own, 1] = np.einsum("sck,c->ks", seen, [40.0, 60.0, 70.0])
    terminal = np.zeros((STEPS + 1, 4, 2))
    terminal[-1, [0, 2], 0] = 1.0
    successor = np.zeros((1, K, 2, 1), np.int64)
    successor[0, BINS:] = 1
    nodes = np.arange(STEPS + 1)
    return EpochModel(
        joint=joint,
        reward=reward,
        successor=successor,
        children=np.stack([np.minimum(nodes + 1, STEPS), np.full(STEPS + 1, STEPS)], axis=1),
        table_of=np.where(nodes < STEPS, 0, -1),
        terminal=terminal,
        start=[0.55, 0.0, 0.45, 0.0],
        component_names=("accuracy", "strong tokens"),
    )


def timed(model: EpochModel, price: float, warm: EpochSolution | None = None) -> tuple[float, EpochSolution]:
    """CPU seconds, and the plan."""
    begin = time.process_time()
    solution = solve_epochs(model, [100.0, -price], gap=0.01, warm_start=warm)
    return time.process_time() - begin, solution


def main() -> None:
    """Print a table."""
    model, begin = types(), time.process_time()
    solve_epochs(model, [100.0, -0.1], gap=1.0)
    print(f"first solve, compilation included if there was any: {time.process_time() - begin:.1f} s")
    print("price   value              cold s   points   from the neighbour s   points")
    before: EpochSolution | None = None
    for price in (0.01, 0.05, 0.08, 0.1, 0.12, 0.2):
        cold_s, cold = timed(model, price)
        warm_s, warm = timed(model, price, before)
        value = f"{cold.lower:.3f} to {cold.upper:.3f}"
        print(f"{price:5.2f}   {value}   {cold_s:6.2f}   {cold.n_points:6d}   {warm_s:20.2f}   {warm.n_points:6d}")
        before = warm


if __name__ == "__main__":
    main()
