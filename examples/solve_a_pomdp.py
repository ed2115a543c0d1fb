"""The tiger problem: when has one listened long enough? Solved with bounds, without Julia or C++."""

import numpy as np

from solvers import POMDP, simulate, solve

tiger = POMDP(
    states=("left", "right"),
    actions=("listen", "open left", "open right"),
    observations=("hear left", "hear right"),
    transition=[[[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]],  # [action][from][to]
    observation=[[[0.85, 0.15], [0.15, 0.85]], [[0.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]],  # [action][to]
    reward=[[-1, -1], [-100, 10], [10, -100]],  # [action][state]
    start=[0.5, 0.5],
    discount=0.95,
)

# Bounds close as the search goes on; they hold wherever one stops.
for precision in (10.0, 1.0, 0.1, 0.001):
    solution = solve(tiger, precision=precision)
    print(f"precision {precision:6g}: {solution.lower:9.5f} to {solution.upper:9.5f}, {solution.n_vectors} vectors")

# The policy, as a function of the belief that the tiger is behind the left door.
belief = np.linspace(0, 1, 1001)
actions = solution.action(np.column_stack([belief, 1 - belief]))
for change in np.flatnonzero(np.diff(actions)):
    before, after = (tiger.actions[actions[change + step]] for step in (0, 1))
    print(f"P(left) {belief[change]:.3f}: {before}, above it {after}")

# To hear it twice on the same side is enough, once is not:
for heard, odds in (("once", 0.85 / 0.15), ("twice", (0.85 / 0.15) ** 2)):
    p = odds / (1 + odds)
    print(f"heard left {heard}, P(left) = {p:.3f}: {tiger.actions[solution.action([p, 1 - p])]}")

# What was promised comes true.
played = simulate(tiger, solution.policy, episodes=5000, seed=0)
print(f"played 5,000 times: {played.mean:.2f} ± {played.standard_error:.2f}")
