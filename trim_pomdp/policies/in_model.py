"""What the compiled loops need of a policy in a routing model: shared by the rules that can be evaluated there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.model.propagation import course, routing_moments
from trim_pomdp.policies.base import FloatArray, Rule

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies.alpha_vectors import RuleTables


class MemorylessRule(Rule):
    """A rule that looks at the current step only: in a model, at its class and observation bin."""

    def regenerate_by_bin(self, model: RoutingModel) -> FloatArray:
        """P(regenerate | class, observation bin), shape (3, J)."""
        raise NotImplementedError

    def totals(self, model: RoutingModel) -> FloatArray:
        """See `Rule.totals`: the hidden state alone is propagated."""
        return memoryless_totals(self.regenerate_by_bin(model), model)

    def course(self, model: RoutingModel) -> FloatArray:
        """See `Rule.course`."""
        return memoryless_course(self.regenerate_by_bin(model), model)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> FloatArray:
        """See `Rule.simulated`."""
        return simulate_counts(model, n, rng, by_bin=self.regenerate_by_bin(model))


def regenerate_by_class(by_bin: FloatArray, model: RoutingModel) -> FloatArray:
    """P(regenerate | class), shape (3,), from that by class and observation bin, shape (3, J)."""
    # A sum of probabilities can exceed one by rounding.
    return np.asarray(np.minimum((by_bin * model.emission).sum(axis=1), 1.0))


def memoryless_totals(by_bin: FloatArray, model: RoutingModel) -> FloatArray:
    """Accuracy and mean counts of (action, class), shape (7,), of P(regenerate | class, observation bin)."""
    dynamics = model.dynamics
    moments = routing_moments(
        regenerate_by_class(by_bin, model)[None],
        dynamics.weak_success_by_step,
        dynamics.end,
        model.outcomes,
    )
    return np.concatenate([[moments.accuracy[0]], moments.kept[0], moments.regenerated[0]])


def memoryless_course(by_bin: FloatArray, model: RoutingModel) -> FloatArray:
    """`Rule.course` of P(regenerate | class, observation bin)."""
    dynamics = model.dynamics
    regenerate = regenerate_by_class(by_bin, model)
    return course(regenerate, dynamics.weak_success_by_step, dynamics.end, model.outcomes, model.accepted_tokens)


def simulate_counts(
    model: RoutingModel,
    n: int,
    rng: np.random.Generator,
    *,
    by_bin: FloatArray | None = None,
    by_minimum: NDArray[np.int64] | None = None,
    tables: RuleTables | None = None,
) -> FloatArray:
    """Route n problems that are drawn from a model: class, score bin, end, action, what follows.

    Parameters
    ----------
    by_bin : ndarray of shape (3, J)
        P(regenerate | class, observation bin); or
    by_minimum : ndarray of shape (J + 1, J)
        action for every (bin of the running minimum, bin), the last one where no step came before; or
    tables : RuleTables
        of an alpha-vector rule.

    Returns
    -------
    ndarray of shape (n, 11)
        See `Rule.simulated`; a model without weak tokens takes kept steps to have none.
    """
    from trim_pomdp import _kernels
    from trim_pomdp.policies.alpha_vectors import RuleTables

    kind = _kernels.MEMORYLESS if by_bin is not None else _kernels.ALPHA if tables is not None else _kernels.POSTERIOR
    dynamics = model.dynamics
    cumulative = np.cumsum(model.emission, axis=1)
    cumulative[:, -1] = np.inf  # a uniform draw never falls behind the last bin, whatever rounding says
    out = np.zeros((n, 11))
    _kernels.simulate(
        rng,
        out,
        kind,
        np.zeros((3, model.emission.shape[1])) if by_bin is None else np.ascontiguousarray(by_bin),
        np.zeros((1, 1), dtype=np.int64) if by_minimum is None else by_minimum,
        (RuleTables.none() if tables is None else tables).arguments,
        dynamics.weak_success_by_step,
        dynamics.end,
        cumulative,
        model.outcomes,
        model.accepted_tokens,
    )
    return out
