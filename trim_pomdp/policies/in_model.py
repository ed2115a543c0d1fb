"""What the compiled loops need of a policy in a routing model: shared by the rules that can be evaluated there."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.model.actions.base import KEEP, REGENERATE
from trim_pomdp.model.propagation import Course, Drawn, memoryless_course
from trim_pomdp.policies.base import FloatArray, Rule

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies.alpha_tables import RuleTables


class MemorylessRule(Rule):
    """A rule that looks at the current step only: in a model, at its class and observation bin.

    Attributes
    ----------
    intervention : int
        Code of what it does with a step that it does not keep.
    """

    intervention: ClassVar[int] = REGENERATE

    def intervenes_by_bin(self, model: RoutingModel) -> FloatArray:
        """P(the step is not kept | class, observation bin), shape (3, J)."""
        raise NotImplementedError

    def course(self, model: RoutingModel) -> Course:
        """See `Rule.course`: the hidden state alone is propagated."""
        return course_by_bin(self.intervenes_by_bin(model), model, self.intervention)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule.simulated`."""
        return simulate_counts(model, n, rng, by_bin=self.intervenes_by_bin(model), intervention=self.intervention)


def intervenes_by_class(by_bin: FloatArray, model: RoutingModel) -> FloatArray:
    """P(the step is not kept | class), shape (3,), from that by class and observation bin, shape (3, J)."""
    # A sum of probabilities can exceed one by rounding.
    return np.asarray(np.minimum((by_bin * model.emission).sum(axis=1), 1.0))


def course_by_bin(by_bin: FloatArray, model: RoutingModel, intervention: int = REGENERATE) -> Course:
    """`Rule.course` of P(the intervention | class, observation bin), all other steps being kept."""
    acts = np.zeros((len(model.tables.keeps), 3))
    acts[intervention] = intervenes_by_class(by_bin, model)
    acts[KEEP] = 1.0 - acts[intervention]
    return memoryless_course(acts, model.law, model.tables, model.accepted_tokens)


def simulate_counts(
    model: RoutingModel,
    n: int,
    rng: np.random.Generator,
    *,
    by_bin: FloatArray | None = None,
    by_minimum: NDArray[np.int64] | None = None,
    tables: RuleTables | None = None,
    intervention: int = REGENERATE,
) -> Drawn:
    """Route n problems that are drawn from a model: class, score bin, end, action, what follows.

    Parameters
    ----------
    by_bin : ndarray of shape (3, J)
        P(the intervention | class, observation bin); or
    by_minimum : ndarray of shape (J + 1, J)
        action for every (bin of the running minimum, bin), the last one where no step came before; or
    tables : RuleTables
        of an alpha-vector rule.
    intervention : int
        With `by_bin`: what is done with a step that is not kept.

    Returns
    -------
    Drawn
        A model without weak tokens takes kept steps to have none.
    """
    from trim_pomdp import _kernels
    from trim_pomdp.policies.alpha_tables import RuleTables

    kind = _kernels.MEMORYLESS if by_bin is not None else _kernels.ALPHA if tables is not None else _kernels.POSTERIOR
    law, actions = model.law, model.tables
    out = Drawn.empty(n, len(actions.keeps))
    rule = RuleTables.none(len(actions.keeps)) if tables is None else tables
    further = model.dynamics.draft_law(rule.drafts, model.emission)
    cumulative, cumulative_again = (np.cumsum(table, axis=1) for table in (model.emission, model.emission_again))
    # No uniform draw falls behind the last bin, whatever rounding says.
    cumulative[:, -1] = cumulative_again[:, -1] = np.inf
    _kernels.simulate(
        rng,
        (out.right, out.counts, out.strong_steps, out.before, out.steps_before, out.further_requests),
        kind,
        np.zeros((3, model.emission.shape[1])) if by_bin is None else np.ascontiguousarray(by_bin),
        intervention,
        np.zeros((1, 1), dtype=np.int64) if by_minimum is None else by_minimum,
        rule.arguments,
        (
            law.weak_success,
            further.other,
            further.same,
            law.end,
            cumulative,
            cumulative_again,
            actions.outcomes,
            model.tables_again.outcomes,
            actions.strong_steps,
            actions.further_requests,
        ),
        model.accepted_tokens,
    )
    return out
