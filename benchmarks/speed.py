"""Speed of planning, decisions and observation tables: ``python benchmarks/speed.py``.

Times are medians over repeats in one run; ratios are what to compare between machines. Compilation is apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from report import data_folder, heading, table

import trim_pomdp as tp
from observation_models import ReflectedKDE
from solvers import solve_epochs, solve_epochs_many
from trim_pomdp.planning.frontier import compile_kernels, even_tradeoffs, policy_for_tradeoff, rule_from_solution
from trim_pomdp.policies import AlphaVectorRule
from trim_pomdp.policies.alpha_vectors import decide

PRESETS = ("qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper")
PRICES = (0.02, 0.05, 0.1, 0.14, 0.17)


def median_s(call: Callable[[], object], repeats: int = 5) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def planning() -> None:
    """One price from a cold start, one from its neighbour's points, a thousand; per gap and preset."""
    heading("Planning")
    rows = []
    for name in PRESETS:
        model = tp.load_preset(name).routing_model()
        first = compile_kernels(model)
        epoch = model.epoch_model
        for gap in (1e-5, 1e-6):
            absolute = gap * model.reward
            cold = [median_s(lambda w=model.weights(p): solve_epochs(epoch, w, gap=absolute), 3) for p in PRICES]
            near = [solve_epochs(epoch, model.weights(1.01 * p), gap=absolute) for p in PRICES]
            warm = [
                median_s(lambda w=model.weights(p), n=n: solve_epochs(epoch, w, gap=absolute, warm_start=n), 3)
                for p, n in zip(PRICES, near, strict=True)
            ]
            prices = even_tradeoffs(model, 1000)
            weights = np.array([model.weights(float(price)) for price in prices])
            begin = time.perf_counter()
            solutions = solve_epochs_many(epoch, weights, gap=absolute, threads=2)
            many = time.perf_counter() - begin
            assert all(solution.gap <= absolute for solution in solutions)
            full = tp.solve_frontier(model, 1000, gap=gap).elapsed_s
            rows.append(
                [name, f"{gap:g}", first, 1e3 * np.median(cold), 1e3 * max(cold), 1e3 * np.median(warm), many, full]
            )
    table(
        [
            "preset", "gap ÷ reward", "compile or load, s", "one λ, ms (median)", "one λ, ms (worst)",
            "one λ from a neighbour, ms", "1,000 λ, s", "frontier of 1,000 λ with their choice, s",
        ],
        rows,
    )  # fmt: skip


def growth() -> None:
    """How the time of one price grows with steps, bins, and hidden states."""
    heading("Growth of the time of one λ (gap 1e-5 of the reward)")
    model = tp.load_preset(PRESETS[0]).routing_model()
    base = model.dynamics
    rows = []
    for steps in (10, 20, 30, 60):
        hazard = (*[base.hazard[min(t, 20)] for t in range(steps - 1)], 1.0)
        changed = tp.RoutingModel(model.observations, base.replace(hazard=hazard, strong_only_tokens=None))
        rows.append([f"{steps} steps", _one(changed)])
    for keep in (4, 2, 1):
        rows.append([f"{model.emission.shape[1] // keep} bins", _one(_coarser(model, keep))])
    table(["size", "ms"], rows)
    rows = []
    for states in (2, 3, 4):
        epoch, weights = _random_epochs(states)
        begin = time.perf_counter()
        solution = solve_epochs(epoch, weights, gap=1e-3, max_sweeps=30)
        rows.append([states, solution.gap, solution.ended, 1e3 * (time.perf_counter() - begin)])
    table(["hidden states (6 nodes, 12 signals)", "gap of 100", "ended", "ms, compilation included"], rows)


def _one(model: tp.RoutingModel) -> float:
    epoch, weights = model.epoch_model, model.weights(0.1)
    solve_epochs(epoch, weights, gap=1e-3)
    return 1e3 * median_s(lambda: solve_epochs(epoch, weights, gap=1e-3), 3)


def _coarser(model: tp.RoutingModel, factor: int) -> tp.RoutingModel:
    step = model.observations.step_emission
    groups = np.arange(step.size - 1) // factor
    starts = [int(np.flatnonzero(groups == g)[0]) for g in range(groups.max() + 1)]

    def merge(row: tuple[float, ...]) -> tuple[float, ...]:
        return (*np.add.reduceat(np.array(row[:-1]), starts).tolist(), row[-1])

    assert step.derailed is not None
    coarse = type(step)(
        score_edges=(*[step.score_edges[i] for i in starts], 1.0),
        right=merge(step.right),
        wrong=merge(step.wrong),
        derailed=merge(step.derailed),
    )
    return tp.RoutingModel(model.observations.model_copy(update={"step_emission": coarse}), model.dynamics)


def _random_epochs(states: int):  # type: ignore[no-untyped-def]
    from solvers import EpochModel

    rng = np.random.default_rng(0)
    nodes, signals = 6, 12
    likelihood = rng.dirichlet(np.ones(signals), size=states).T
    move = rng.dirichlet(np.ones(states), size=(2, states))
    joint = np.einsum("ks,ast->kast", likelihood, move)[None, :, :, None]
    reward = rng.uniform(0, 100 / nodes, (1, signals, 2, states, 1)) * likelihood[None, :, None, :, None]
    model = EpochModel(
        joint=joint,
        reward=reward,
        children=np.array([[min(n + 1, nodes)] for n in range(nodes + 1)]),
        table_of=np.array([0] * nodes + [-1]),
        start=np.full(states, 1 / states),
    )
    return model, np.ones(1)


def decisions() -> None:
    """Executing a policy: one problem at a time, and many."""
    heading("Decisions")
    model = tp.load_preset(PRESETS[0]).routing_model()
    rule = policy_for_tradeoff(model, 0.1).policy
    assert isinstance(rule, AlphaVectorRule)
    rng = np.random.default_rng(0)
    n = 2_000_000
    q, bins = rng.random(n), rng.integers(model.emission.shape[1], size=n)
    ended, steps = rng.random(n) < 0.1, rng.integers(0, 12, size=n)
    one = (q[:1], bins[:1], ended[:1], steps[:1])
    decide(rule, *one)
    single = median_s(lambda: [decide(rule, *one) for _ in range(1000)], 5) / 1000
    batch = median_s(lambda: decide(rule, q, bins, ended, steps), 5)
    begin = time.perf_counter()
    tp.simulate(rule, model, 100_000, 0)
    simulated = time.perf_counter() - begin
    evaluated = median_s(lambda: tp.evaluate(rule, model), 3)
    table(
        ["what", "value"],
        [
            ["one decision, µs", 1e6 * single],
            ["decisions per second, batched, million", n / batch / 1e6],
            ["simulating 100,000 problems, s", simulated],
            ["exact evaluation of one alpha-vector rule, ms", 1e3 * evaluated],
        ],
    )


def observations() -> None:
    """The paper's 20 × 20 table: closed form against scipy's kernel density with adaptive quadrature."""
    from scipy.integrate import dblquad
    from scipy.stats import gaussian_kde

    heading("Observation tables")
    features = tp.read_class_features(data_folder() / "prm_features_math.npz").features
    names = ("S0", "S1", "S2")
    X = np.concatenate([features[name] for name in names])
    y = np.repeat(names, [len(features[name]) for name in names])
    edges = np.linspace(0, 1, 21)
    fit_s = median_s(lambda: ReflectedKDE().fit(X, y))
    estimator = ReflectedKDE().fit(X, y)
    table_s = median_s(lambda: estimator.tabulate([edges, edges]))
    masses = estimator.tabulate([edges, edges])

    def reflected(point: np.ndarray, kde: gaussian_kde) -> float:
        images = [[fx(point[0]), fy(point[1])] for fx in _MIRRORS for fy in _MIRRORS]
        return float(kde(np.array(images).T).sum())

    sample = [(0, 19, 19), (1, 5, 10), (2, 18, 2), (0, 10, 15)]
    begin = time.perf_counter()
    errors = []
    for label, i, j in sample:
        kde = gaussian_kde(features[names[label]].T)
        mass, _ = dblquad(
            lambda b, a, k=kde: reflected(np.array([a, b]), k),
            edges[i], edges[i + 1], edges[j], edges[j + 1], epsabs=1e-9, epsrel=1e-9,
        )  # fmt: skip
        errors.append(abs(mass - masses[label, i, j]))
    per_bin = (time.perf_counter() - begin) / len(sample)
    scipy_s = per_bin * masses.size
    table(
        ["what", "value"],
        [
            ["fit, ms", 1e3 * fit_s],
            ["tabulate 3 × 400 bins, ms", 1e3 * table_s],
            [f"scipy gaussian_kde + dblquad, s (from {len(sample)} bins)", scipy_s],
            ["ratio", scipy_s / table_s],
            ["largest difference on those bins", f"{max(errors):.1e}"],
        ],
    )


_MIRRORS = (lambda x: x, lambda x: 2 - x, lambda x: -x)


def policy_size() -> None:
    """How large a policy file is."""
    import tempfile
    from pathlib import Path

    model = tp.load_preset(PRESETS[0]).routing_model()
    with tempfile.TemporaryDirectory() as folder:
        path = tp.policy_for_budget(model, 0.2).save(Path(folder) / "policy.json")
        solution = solve_epochs(model.epoch_model, model.weights(0.1), gap=1e-3)
        vectors = sum(len(v) for v in rule_from_solution(solution, model, 0.1).alpha_vectors)
        print(f"policy file for a budget: {path.stat().st_size / 1e3:.0f} kB; alpha-vectors of one price: {vectors}\n")


if __name__ == "__main__":
    planning()
    growth()
    decisions()
    observations()
    policy_size()
