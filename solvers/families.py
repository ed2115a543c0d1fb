"""One POMDP under many weightings of several rewards: a frontier in one call.

The reward is Σ_d w_d r_d(s, a), and a family is a list of weights. Beliefs and what follows them do not depend on the
weights, nor do plans; so each solve begins with the graph and all plans of the one before, whose values are worked out
anew: the lower bound is there at once, since each vector is the value of a plan, and the upper one begins with the fast
informed bound on a graph that need not be found again. Neighbours should follow each other in the list.

Every plan has a separate value for each r_d, which adds up to its value under the weights. Those of the plan that the
lower bound belongs to are returned: what it earns and what it costs, apart.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.checks import check_array, check_shape
from solvers.errors import ModelError
from solvers.pomdp import POMDP
from solvers.search import Searcher, compile_kernels, run_search, solution
from solvers.solution import Bounds, Solution


@dataclass(frozen=True, eq=False)
class Family:
    """Solutions of a POMDP for L weightings of D rewards.

    Attributes
    ----------
    weights : array, shape (L, D)
    solutions : tuple of L Solution
    values : array, shape (L, D)
        Expected discounted sum of each reward from the start, of the plan whose value is the lower bound: it goes on
        with the vector that was best when its own was made, whatever better was found later.
    """

    weights: NDArray[np.float64]
    solutions: tuple[Solution, ...]
    values: NDArray[np.float64]


def solve_family(
    pomdp: POMDP,
    rewards: ArrayLike,
    weights: ArrayLike,
    *,
    precision: float = 1e-3,
    time_limit: float | None = None,
    progress: Callable[[int, float, float, float], object] | None = None,
) -> Family:
    """Solve a POMDP for each of several weightings of its rewards, by heuristic search.

    Parameters
    ----------
    pomdp : POMDP
        Its own rewards are not used. Without a horizon.
    rewards : array, shape (D, A, S)
        Expected rewards, or costs below zero, of each kind.
    weights : array, shape (L, D)
        Best in an order in which neighbours are alike.
    precision : float
        Largest gap at the start for each of them.
    time_limit : float, optional
        Seconds of wall time for each; as for `solvers.search.sarsop`.
    progress : callable, optional
        Called with the number of the weighting, its seconds, lower and upper bound.

    Raises
    ------
    ModelError
        If shapes do not agree, the POMDP has a horizon, or the discount is 1 and some policy need not end.
    KeyboardInterrupt
        If Ctrl-C comes before the first of them has begun; from then on, a shorter family is returned.

    Examples
    --------
    >>> from solvers.examples import tiger
    >>> door, listening = tiger().reward.copy(), np.zeros((3, 2))
    >>> door[0], listening[0] = 0.0, -1.0
    >>> family = solve_family(tiger(), [door, listening], [[1.0, 1.0], [1.0, 2.0]])
    >>> [round(solution.lower) for solution in family.solutions]
    [19, 4]
    """
    parts = check_array("rewards", rewards, 3)
    check_shape("rewards", parts.shape, (parts.shape[0], pomdp.n_actions, pomdp.n_states))
    table = check_array("weights", weights, 2)
    check_shape("weights", table.shape, (table.shape[0], parts.shape[0]))
    if not table.size:
        raise ModelError("at least one weighting of at least one reward is needed")
    if pomdp.horizon is not None:
        raise ModelError(f"families are solved without a horizon, and the POMDP has one of {pomdp.horizon} steps")
    compile_s = compile_kernels()
    worth = np.asarray(parts.any(axis=(0, 1)))
    searcher: Searcher | None = None
    solutions: list[Solution] = []
    values = np.zeros(table.shape)
    try:
        for number, w in enumerate(table):
            began = time.monotonic()
            deadline = np.inf if time_limit is None else began + time_limit
            weighted = _with_reward(pomdp, np.tensordot(w, parts, 1))
            if searcher is None:
                searcher = Searcher(weighted, precision, worth=worth, deadline=deadline)
            elif searcher.model.n_states:
                searcher.pomdp = weighted
                searcher.reweigh(weighted.reward[:, searcher.model.original], precision, deadline)
            history: list[Bounds] = []

            def told(*bounds: float, number: int = number) -> None:
                if progress is not None:
                    progress(number, *bounds)

            ended = "precision"
            if searcher.model.n_states:
                ended = run_search(searcher, began, time_limit, told, history)
                for d, part in enumerate(parts):
                    values[number, d] = searcher.plan_value(part[:, searcher.model.original])
            found = solution(searcher, "sarsop", ended, began, 0.0 if number else compile_s, history)
            # The next weighting takes the search over, so that it is no bound of this one then.
            solutions.append(replace(found, upper_bound=None))
            if ended == "interrupted":
                break
    except KeyboardInterrupt:  # between two searches
        if not solutions:
            raise
    return Family(table[: len(solutions)], tuple(solutions), values[: len(solutions)])


def _with_reward(pomdp: POMDP, reward: NDArray[np.float64]) -> POMDP:
    return POMDP(
        transition=pomdp.transition,
        observation=pomdp.observation,
        reward=reward,
        start=pomdp.start,
        discount=pomdp.discount,
        states=pomdp.states,
        actions=pomdp.actions,
        observations=pomdp.observations,
        observed=pomdp.observed,
    )
