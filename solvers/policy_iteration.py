"""Policy iteration on controllers: lift a lower bound by evaluating exactly what a policy amounts to.

A vector of a point-based solver is worth what a plan was worth when it was backed up, with the vectors of that time.
The controller of a policy (`solvers.controllers`) goes on with the best vectors of now, forever, and its value is known
exactly. Its nodes' values are vectors too, those of plans that can be followed, so they join the policy's: from then on
others lead to them, and the next controller has more to choose from. This is Hansen's policy iteration (1998, UAI) with
the point-based policy in the place of the dynamic-programming update.

Each round leaves the policy at least as good at every belief, since vectors are only added.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.controllers import FiniteStateController, controller_of_vectors
from solvers.errors import ModelError
from solvers.policies import AlphaVectorPolicy

_MOST_CELLS = 50_000_000  # entries of the vectors of a policy
_NEWS = 1e-9  # a node's value that is nowhere above the vector it comes from by more, of the largest, is nothing new


class ImprovementRound(NamedTuple):
    """A round: what its controller is worth at the start, the best so far, and how large both are."""

    controller_lower: float
    lower: float
    n_nodes: int
    n_vectors: int
    elapsed_s: float


@dataclass(frozen=True, eq=False)
class Improved:
    """What `improve` found.

    Attributes
    ----------
    policy : AlphaVectorPolicy
        The policy given, and vectors of the controllers that it led to.
    controller : FiniteStateController
        The best of them at the start.
    lower : float
        What the policy is worth at the start at least: a lower bound of the optimum if the policy given was one.
    ended_by : str
        "converged" (the controller is worth nowhere more than was known), "rounds", "time limit", "memory" or
        "interrupted".
    history : tuple of ImprovementRound
    """

    policy: AlphaVectorPolicy = field(repr=False)
    controller: FiniteStateController
    lower: float
    ended_by: Literal["converged", "rounds", "time limit", "memory", "interrupted"]
    history: tuple[ImprovementRound, ...] = field(repr=False)


def improve(
    policy: AlphaVectorPolicy,
    *,
    rounds: int = 100,
    time_limit: float | None = None,
    progress: Callable[[ImprovementRound], Any] | None = None,
) -> Improved:
    """Add the exact values of a policy's controllers to its vectors, again and again.

    Parameters
    ----------
    policy : AlphaVectorPolicy
        Its vectors must be worth what they say, as those of `solvers.solve` are, for the result's to be.
    rounds : int
        At most; the first is always done.
    time_limit : float, optional
        Seconds; a round that would take longer than that, judged by the one before, is not begun.
    progress : callable, optional
        Called after each round.

    Returns
    -------
    Improved
        After Ctrl-C, too, once the first round is done.

    Raises
    ------
    ModelError
        If the discount is 1, the start leaves the value of an observed factor open, or there is nothing to do.

    Examples
    --------
    Forty steps are planned for, and the controller goes on forever.

    >>> from solvers.examples import tiger
    >>> from solvers.exact import exact
    >>> forty = exact(tiger(), 40).policy.with_steps_to_go()
    >>> found = improve(forty)
    >>> round(found.lower, 4), found.controller.n_nodes, found.ended_by
    (19.3714, 5, 'converged')
    """
    if rounds < 1:
        raise ModelError(f"rounds must be at least 1, got {rounds}")
    start = policy.pomdp.start
    history: list[ImprovementRound] = []
    began = last = time.monotonic()
    best: FiniteStateController | None = None
    ended: Literal["converged", "rounds", "time limit", "memory", "interrupted"] = "rounds"
    try:
        while len(history) < rounds:
            found, nodes = controller_of_vectors(policy)
            policy, news = _joined(policy, found, nodes)
            if best is None or found.lower > best.lower:
                best = found
            lower = max(policy.value(start), best.lower)
            before, last = last, time.monotonic()
            history.append(ImprovementRound(found.lower, lower, found.n_nodes, policy.n_vectors, last - began))
            if progress is not None:
                progress(history[-1])
            if not news or (policy.n_vectors + found.n_nodes) * start.size > _MOST_CELLS:
                ended = "memory" if news else "converged"
                break
            if time_limit is not None and 2.0 * last - before - began > time_limit:
                ended = "time limit"
                break
    except KeyboardInterrupt:
        if best is None or not history:
            raise
        ended = "interrupted"
    assert best is not None
    return Improved(policy, best, history[-1].lower, ended, tuple(history))


def _joined(
    policy: AlphaVectorPolicy, found: FiniteStateController, nodes: NDArray[np.int64]
) -> tuple[AlphaVectorPolicy, bool]:
    """Policy with the vectors of those nodes that are worth more than was known, and whether there are any."""
    from scipy.sparse import csr_array, vstack

    dense = isinstance(policy.vectors, np.ndarray)
    rows: Any = policy.vectors[nodes]
    known = rows if dense else rows.toarray()
    values, observed = found.vectors, policy.observed
    if observed is not None:
        assert policy.pomdp.observed is not None
        values = np.where(policy.pomdp.observed == observed[nodes][:, None], values, 0.0)
    better = (values > known + _NEWS * np.abs(known).max()).any(axis=1)
    if not better.any():
        return policy, False
    if observed is not None:
        observed = np.concatenate([observed, observed[nodes][better]])
    vectors: Any = values[better]
    if dense:
        vectors = np.concatenate([policy.vectors, vectors])
    else:
        vectors = vstack([policy.vectors, csr_array(vectors)], format="csr")
    actions = np.concatenate([policy.actions, found.actions[better]])
    return AlphaVectorPolicy(policy.pomdp, vectors, actions, observed), True
