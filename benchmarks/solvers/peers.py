"""One solver of another package on one model, in a process of its own.

``python peers.py PEER MODEL.npz SECONDS`` is what ``python benchmarks/solvers`` starts with a Python in which the peer
is installed. The model is arrays: transition (A, S, S), observation (A, S, O), reward (A, S), start (S,), discount.
Prints one JSON document: lower and upper bound (null where the peer has none), vectors, processor seconds of solving,
and whether it was still at work when its time was up.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

PRECISION = 1e-3


def scikit_decide(model: Any, seconds: float, solver: str) -> dict[str, Any]:
    """Its C++ SARSOP or HSVI, which asks a Python domain for every transition once, before it solves."""
    from skdecide import DiscreteDistribution, Domain, Value
    from skdecide.builders.domain import (
        EnumerableTransitions,
        Markovian,
        PartiallyObservable,
        Rewards,
        Sequential,
        SingleAgent,
        UncertainInitialized,
        UnrestrictedActions,
    )  # fmt: skip
    from skdecide.core import EnumerableSpace
    from skdecide.hub.solver.hsvi import HSVI
    from skdecide.hub.solver.sarsop import SARSOP

    class Numbers(EnumerableSpace[int]):
        def __init__(self, count: int) -> None:
            self._count = count

        def contains(self, x: int) -> bool:
            return 0 <= x < self._count

        def get_elements(self) -> list[int]:
            return list(range(self._count))

    class D(
        Domain, SingleAgent, Sequential, EnumerableTransitions, UnrestrictedActions, Markovian,
        PartiallyObservable, Rewards, UncertainInitialized,
    ):  # fmt: skip
        T_state = int
        T_observation = int
        T_event = int
        T_value = float
        T_predicate = bool
        T_info = None

    A, S, O = model.observation.shape  # noqa: E741
    moves = [[_support(model.transition[a, s]) for s in range(S)] for a in range(A)]
    seen = [[_support(model.observation[a, s]) for s in range(S)] for a in range(A)]

    class Tables(D):
        def _get_next_state_distribution(self, memory: Any, action: int) -> Any:
            return DiscreteDistribution(moves[action][memory])

        def _get_transition_value(self, memory: Any, action: int, next_state: Any = None) -> Any:
            return Value(reward=float(model.reward[action, memory]))

        def _is_transition_value_dependent_on_next_state_(self) -> bool:
            return False

        def _is_terminal(self, state: Any) -> bool:
            return False

        def _get_action_space_(self) -> Any:
            return Numbers(A)

        def _get_initial_state_distribution_(self) -> Any:
            return DiscreteDistribution(_support(model.start))

        def _get_observation_distribution(self, state: Any, action: Any = None) -> Any:
            return DiscreteDistribution([(0, 1.0)] if action is None else seen[action][state])

        def _get_observation_space_(self) -> Any:
            return Numbers(O)

    chosen = {"sarsop": SARSOP, "hsvi": HSVI}[solver]
    made = chosen(
        domain_factory=Tables, epsilon=PRECISION, discount=float(model.discount), time_budget=int(1000 * seconds)
    )
    made.solve()
    timed_out = made.get_solving_time() >= 1000 * seconds
    found = {"vectors": made.get_nb_alpha_vectors(), "timed_out": timed_out}
    if solver == "hsvi":  # it shows a value and a gap
        lower = made.get_utility_from_belief(DiscreteDistribution(_support(model.start))).reward
        return {"lower": lower, "upper": lower + made.get_gap(), **found}
    return {"lower": made.get_lower_bound(), "upper": made.get_upper_bound(), **found}


def pomdp_toolkit(model: Any, seconds: float, solver: str) -> dict[str, Any]:
    """Its NumPy HSVI or Perseus: value at the start after as many expansions as fit in the time; no upper bound."""
    from pomdp_toolkit import POMDP
    from pomdp_toolkit.solvers import HSVI, Perseus

    A, S, O = model.observation.shape  # noqa: E741
    reward = np.broadcast_to(model.reward.T[:, :, None, None], (S, A, S, O))
    made = POMDP(
        states=S, actions=A, observations=O, transition_table=model.transition.transpose(1, 0, 2),
        observation_table=model.observation.transpose(1, 0, 2), reward_table=reward, start_probabilities=model.start,
    )  # fmt: skip
    chosen = {"hsvi": HSVI, "perseus": Perseus}[solver]
    expansions, begin, found = 5, time.process_time(), None
    while True:
        started = time.process_time()
        # The same solve again, longer: it has no time limit, and what it did before cannot be gone on with.
        value_function, _ = chosen.solve(
            made, expansions=expansions, gamma=float(model.discount), rng=0, print_progress=False, print_stats=False,
            history_tracking_level=0,
        )  # fmt: skip
        took = time.process_time() - started
        vectors = np.array(value_function.alpha_vector_array)
        found = {"lower": float((vectors @ model.start).max()), "upper": None, "vectors": len(vectors)}
        if time.process_time() - begin + 2.5 * took > seconds:
            return {**found, "expansions": expansions, "solve_s": took, "timed_out": True}
        expansions *= 2


def _support(row: np.ndarray) -> list[tuple[int, float]]:
    return [(int(i), float(row[i])) for i in np.flatnonzero(row)]


PEERS: dict[str, Callable[[Any, float], dict[str, Any]]] = {
    "skdecide-sarsop": lambda model, seconds: scikit_decide(model, seconds, "sarsop"),
    "skdecide-hsvi": lambda model, seconds: scikit_decide(model, seconds, "hsvi"),
    "toolkit-hsvi": lambda model, seconds: pomdp_toolkit(model, seconds, "hsvi"),
    "toolkit-perseus": lambda model, seconds: pomdp_toolkit(model, seconds, "perseus"),
}


def main() -> None:
    """Solve, and print what was found."""
    peer, path, seconds = sys.argv[1:]
    model = SimpleNamespace(**dict(np.load(path)))
    begin = time.process_time()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        found = PEERS[peer](model, float(seconds))
    print(json.dumps({**found, "cpu_s": time.process_time() - begin}))


if __name__ == "__main__":
    main()
