"""Alpha-vector rules as plain arrays, for the compiled loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.equality import ByContent
from trim_pomdp.model.actions.base import N_EXITS, N_HIDDEN, StepLaw, actions_of
from trim_pomdp.model.actions.tables import ActionTables
from trim_pomdp.model.prices import strong_reading
from trim_pomdp.model.redrafts import DraftLaw, tilted
from trim_pomdp.policies.base import FloatArray

if TYPE_CHECKING:
    from trim_pomdp.policies.alpha_vectors import AlphaVectorRule


@dataclass(frozen=True, eq=False)
class RuleTables(ByContent):
    """An alpha-vector rule as plain arrays.

    Attributes
    ----------
    success : ndarray of shape (T,)
        p_w.
    end : ndarray of shape (T, 3)
        Hazards by class if the rule knows them, else all 1/2, which cancel.
    emission : ndarray of shape (3, J)
    vectors : ndarray of shape (V, 3)
        Upper envelope of each step's alpha-vectors, by rising slope: value if derailed, slope in q, and the q from
        which the vector is the largest.
    offset : ndarray of shape (T + 1,)
        Where each step's vectors begin; the last step has the reward itself.
    after : ndarray of shape (T, 2, A, 3, 3, 3)
        What follows an action: `trim_pomdp.model.actions.tables.ActionTables.outcomes`.
    after_again : ndarray of shape (T, 2, A, 3, 3, 3)
        The same where the draft is another text than the first one.
    price : ndarray of shape (A, T, 2, 3)
        λ × strong tokens, plus the price of the strong model's reading, or of another draft, by action, step, end and
        class.
    reward : float
    cells : int
        Number of belief cells at the opening of a step.
    codes : ndarray of shape (n,)
        The rule's actions.
    again : ndarray of bool, shape (A,)
        Whether an action asks for another draft.
    former : ndarray of bool, shape (A,)
        Whether an action is about the draft before.
    other : ndarray of shape (T, drafts - 1, 3, 3)
    same : ndarray of shape (3, J + 1)
        Of `trim_pomdp.model.redrafts.DraftLaw`.
    emission_again : ndarray of shape (3, J)
        Of drafts after the first, of another text.
    drafts : int
        Drafts of a step at most.
    draft_cells, draft_shares : int
        Number of cells of P(prefix right), and of P(last draft right | that), within a step.
    draft_vectors : ndarray of shape (W, 3)
        Alpha-vectors over the hidden states before each further draft.
    draft_offset : ndarray of shape (4 T (drafts - 1) + 1,)
        Where those of each step, further draft, whether it is the one before it, and end of that begin.
    """

    success: FloatArray
    end: FloatArray
    emission: FloatArray
    vectors: FloatArray
    offset: NDArray[np.int64]
    after: FloatArray
    price: FloatArray
    reward: float
    cells: int
    codes: NDArray[np.int64]
    again: NDArray[np.bool_]
    former: NDArray[np.bool_]
    other: FloatArray
    same: FloatArray
    emission_again: FloatArray
    after_again: FloatArray
    drafts: int
    draft_cells: int
    draft_shares: int
    draft_vectors: FloatArray
    draft_offset: NDArray[np.int64]

    @property
    def arguments(self) -> tuple[object, ...]:
        """What the kernels take, in their order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def none(cls, n_actions: int) -> RuleTables:
        """Stand-in for kernels that also serve rules without tables."""
        return cls(
            success=np.zeros(1),
            end=np.zeros((1, 3)),
            emission=np.zeros((3, 1)),
            vectors=np.zeros((1, 3)),
            offset=np.zeros(2, dtype=np.int64),
            after=np.zeros((1, 2, n_actions, 3, N_EXITS, N_HIDDEN)),
            price=np.zeros((n_actions, 1, 2, 3)),
            reward=0.0,
            cells=1,
            codes=np.zeros(1, dtype=np.int64),
            again=np.zeros(n_actions, dtype=np.bool_),
            former=np.zeros(n_actions, dtype=np.bool_),
            other=np.zeros((1, 0, 3, 3)),
            same=np.zeros((3, 2)),
            emission_again=np.zeros((3, 1)),
            after_again=np.zeros((1, 2, n_actions, 3, N_EXITS, N_HIDDEN)),
            drafts=1,
            draft_cells=1,
            draft_shares=1,
            draft_vectors=np.zeros((1, 3)),
            draft_offset=np.zeros(1, dtype=np.int64),
        )

    @classmethod
    def of(cls, rule: AlphaVectorRule) -> RuleTables:
        """Arrays of a rule."""
        T = rule.max_steps
        by_step = [upper_envelope(vectors or ((rule.reward, 0.0),)) for vectors in rule.alpha_vectors]
        by_draft = [np.array(vectors).reshape(-1, 3) for step in rule.draft_vectors for vectors in step]
        success = np.broadcast_to(np.array(rule.weak_success), (T,)).copy()
        end = np.full((T, 3), 0.5)
        if rule.hazard is not None:
            end = np.array([rule.hazard, rule.hazard_derailed, rule.hazard_wrong or rule.hazard]).T
        recovery = np.broadcast_to(np.array(rule.recovery), (T,))
        same = np.zeros(3) if rule.redraft_same is None else rule.redraft_same.array
        further = DraftLaw.of(
            success,
            rule.redraft_repair or 0.0,
            rule.max_drafts,
            rule.emission,
            same,
            rule.redraft_same_slope,
            rule.redraft_success,
        )
        law = StepLaw(success, rule.strong_success, rule.repair, recovery, end)
        actions, again = ActionTables.of(law), law
        if rule.max_drafts > 1:
            again = replace(law, strong_success_here=rule.strong_success_again, repair_here=rule.repair_again)
        strong = actions.strong(rule.tradeoff * rule.strong_tokens.array)
        reading = strong_reading(np.array(rule.reading_price or (0.0,) * T), actions)
        return cls(
            success=success,
            end=end,
            emission=rule.emission,
            vectors=np.concatenate(by_step),
            offset=_offset(by_step),
            after=actions.outcomes,
            price=strong + reading + rule.redraft_price * actions.again[:, None, None, None],
            reward=rule.reward,
            cells=rule.belief_cells,
            codes=np.array([action.code for action in actions_of(rule.actions)]),
            again=actions.again,
            former=actions.former,
            other=further.other,
            same=further.same,
            emission_again=tilted(rule.emission, rule.redraft_tilt),
            after_again=actions.outcomes if again is law else ActionTables.of(again).outcomes,
            drafts=rule.max_drafts,
            draft_cells=rule.draft_cells[0],
            draft_shares=rule.draft_cells[1],
            draft_vectors=np.concatenate(by_draft) if by_draft else np.zeros((1, 3)),
            draft_offset=_offset(by_draft),
        )


def _offset(parts: Sequence[FloatArray]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum([len(item) for item in parts], dtype=np.int64)]).astype(np.int64)


def upper_envelope(vectors: Sequence[tuple[float, float]]) -> FloatArray:
    """Vectors that are the largest somewhere on q in [0, 1], as rows (intercept, slope, q from which it leads).

    Parameters
    ----------
    vectors : sequence of (float, float)
        Values if the prefix is right, and if it is derailed.

    Examples
    --------
    >>> upper_envelope([(1.0, 0.0), (0.4, 0.4), (0.3, 0.3)]).tolist()
    [[0.4, 0.0, 0.0], [0.0, 1.0, 0.4]]
    """
    lines = sorted((right - derailed, derailed) for right, derailed in vectors)
    hull: list[tuple[float, float, float]] = []
    for slope, intercept in lines:
        start = 0.0
        while hull:
            above, other, since = hull[-1]
            if slope == other:
                start = np.inf if intercept <= above else since
            else:
                start = max((above - intercept) / (slope - other), 0.0)
            if start > since:
                break
            hull.pop()
            start = 0.0 if not hull else start
        if start < 1.0:
            hull.append((intercept, slope, start))
    return np.array(hull)
