"""A planned policy on one problem, on Python floats: the kernels' arithmetic, not compiled."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from trim_pomdp.model.actions.base import AGAIN, KEEP, NEXT, OVER
from trim_pomdp.model.evidence import evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.model.redrafts import DraftPlace
from trim_pomdp.policies.base import Belief, Decision, RuleRouter, StepObservation
from trim_pomdp.policies.posterior import required

if TYPE_CHECKING:
    from trim_pomdp.policies.alpha_vectors import AlphaVectorRule


@dataclass(frozen=True)
class _Envelope:
    """Alpha-vectors of one step: the largest at q is the last one that leads from a q below."""

    starts: list[float]
    lines: list[tuple[float, float]]

    def __call__(self, q: float) -> float:
        intercept, slope = self.lines[bisect_right(self.starts, q) - 1]
        return intercept + q * slope


@dataclass(frozen=True)
class RuleLists:
    """What `AlphaVectorRouter` looks at, made once a rule; see `trim_pomdp.policies.alpha_tables.RuleTables`."""

    edges: list[float]
    emission: list[list[float]]
    success: list[float]
    end: list[list[float]]
    values: list[_Envelope]
    after: list[Any]
    after_again: list[Any]
    price: list[Any]
    codes: list[int]
    again: list[bool]
    other: list[list[list[list[float]]]]
    same: list[Belief]
    former: list[bool]
    emission_again: list[list[float]]
    drafts: int
    draft_values: list[list[list[float]]]

    @classmethod
    def of(cls, rule: AlphaVectorRule) -> RuleLists:
        """Lists of a rule."""
        tables = rule.tables
        return cls(
            edges=list(rule.score_edges or ()),
            emission=tables.emission.T.tolist(),
            success=tables.success.tolist(),
            end=tables.end.tolist(),
            values=[
                _Envelope(rows[:, 2].tolist(), [(intercept, slope) for intercept, slope, _ in rows.tolist()])
                for rows in np.split(tables.vectors, tables.offset[1:-1])
            ],
            after=tables.after.tolist(),
            after_again=tables.after_again.tolist(),
            price=tables.price.tolist(),
            codes=tables.codes.tolist(),
            again=tables.again.tolist(),
            other=tables.other.tolist(),
            same=[(right, derailed, wrong) for right, derailed, wrong in tables.same.T.tolist()],
            former=tables.former.tolist(),
            emission_again=tables.emission_again.T.tolist(),
            drafts=tables.drafts,
            draft_values=[rows.tolist() for rows in np.split(tables.draft_vectors, tables.draft_offset[1:-1])],
        )


@dataclass(frozen=True)
class Held:
    """What is believed of a discarded draft: P(its prefix is right), and P(it is right too | that).

    Attributes
    ----------
    other, repeated : tuple of two floats
        If the next draft is another text, and if it is the same one.
    ended : bool
        Whether the discarded draft ended the solution.
    """

    other: tuple[float, float]
    repeated: tuple[float, float]
    ended: bool = False

    def q(self, *, repeated: bool) -> float:
        """P(its prefix is right)."""
        return self.repeated[0] if repeated else self.other[0]

    def belief(self, *, repeated: bool) -> Belief:
        """P(prefix and draft are right), P(derailed), P(the draft alone is wrong)."""
        q, share = self.repeated if repeated else self.other
        return q * share, 1.0 - q, q * (1.0 - share)

    def at(self, q: float) -> Held:
        """The same with another P(its prefix is right)."""
        return Held((q, self.other[1]), (q, self.repeated[1]), self.ended)


@dataclass(frozen=True)
class _Worth:
    """An action's value, what q becomes by it if the solution goes on and if it is over, and what is then held."""

    value: float
    q: float
    over: float
    held: Held | None = None


class AlphaVectorRouter(RuleRouter):
    """A planned policy on one problem (a `Router`), on Python floats: the kernels' arithmetic, not compiled.

    Parameters
    ----------
    rule : AlphaVectorRule
    class_table : ClassTable or None
        For rules on bins of (min, current).
    q : float
        P(the prefix is right) to start from.
    held : Held or None
        Where a draft was discarded, what is believed of it.
    """

    q: float

    def __init__(
        self,
        rule: AlphaVectorRule,
        class_table: ClassTable | None = None,
        q: float = 1.0,
        held: Held | None = None,
    ) -> None:
        rule.require(class_table)
        super().__init__(rule)
        self._rule, self._class_table, self._lists = rule, class_table, rule.lists
        self.q, self.held = q, held

    def of_rule(self, rule: AlphaVectorRule) -> AlphaVectorRouter:
        """A router of another rule that believes what this one does."""
        return AlphaVectorRouter(rule, self._class_table, self.q, self.held)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """All that it remembers are numbers: copies, of which a drawing asks thousands, share the rest."""
        return copy.copy(self)

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        rule, lists, q = self._rule, self._lists, self.q
        if seen.draft > 0 and self.held is not None:
            q = self.held.q(repeated=seen.repeated)
        evidence = evidence_score(rule.evidence, seen.features)
        step = self._table_step(seen.step, seen.ended)
        belief = self.prior(seen)
        if not self._is_repeated(seen):
            belief = self._weighed(belief, self._looks(seen, evidence), self._lists.end[step], seen.ended)
        kept = self._then(belief, step, self._after(step, seen, KEEP))
        worths = {KEEP: kept}
        best, gain, price = KEEP, 0.0, float("inf")
        for code in lists.codes[1:]:
            if lists.again[code] and seen.draft + 1 >= lists.drafts:
                continue
            if lists.former[code]:
                if seen.draft == 0 or seen.repeated or self.held is None:
                    continue
                worth = self._worth_of_former(self.held, evidence, seen, code)
            elif lists.again[code]:
                worth = self._worth_again(belief, step, seen, evidence, code)
            else:
                worth = self._then(belief, step, self._after(step, seen, code))
            worths[code] = worth
            of_class = lists.price[code][step][int(seen.ended)]
            cost = belief[0] * of_class[0] + belief[1] * of_class[1] + belief[2] * of_class[2]
            if worth.value - kept.value - cost > gain - price:
                best, gain, price = code, worth.value - kept.value, cost
        action = best if gain > price else KEEP
        self.q, self.held = worths[action].q, worths[action].held
        return Decision(
            action=action,
            q=q,
            after=self._by_code({code: worth.q for code, worth in worths.items()}),
            over=self._by_code({code: worth.over for code, worth in worths.items()}),
            evidence=None if rule.evidence is None else evidence,
            belief=belief,
            gain=None if best == KEEP else gain,
            price=None if best == KEEP else price,
        )

    def prior(self, seen: StepObservation) -> Belief:
        """See `WeighingRouter`; of a draft that repeats the one before it, given that it does."""
        step = self._table_step(seen.step, seen.ended)
        if seen.draft > 0 and self.held is not None:
            held = self.held.belief(repeated=seen.repeated)
            if seen.repeated:
                return held
            h0, h1, h2 = held
            rows = self._lists.other[step][seen.draft - 1]
            return _normalised((h0 * rows[0][c] + h1 * rows[1][c] + h2 * rows[2][c] for c in range(3)), held)
        success = self._lists.success[step]
        return self.q * success, 1.0 - self.q, self.q * (1.0 - success)

    def likelihood(self, seen: StepObservation) -> Belief:
        """See `WeighingRouter`: of its evidence, times that of its end, or none, where ends are evidence.

        A draft that repeats the one before it shows nothing.
        """
        if self._is_repeated(seen):
            return 1.0, 1.0, 1.0
        step = self._table_step(seen.step, seen.ended)
        looks = self._looks(seen, evidence_score(self._rule.evidence, seen.features))
        ends = (h if seen.ended else 1.0 - h for h in self._lists.end[step])
        e0, e1, e2 = (e * end for e, end in zip(looks, ends, strict=True))
        return e0, e1, e2

    def _looks(self, seen: StepObservation, evidence: float) -> list[float]:
        """P(its evidence | class), of first drafts or of those after them."""
        lists = self._lists
        emission = lists.emission if seen.draft == 0 or self.held is None else lists.emission_again
        return emission[self._bin(evidence, seen.features)]

    def _is_repeated(self, seen: StepObservation) -> bool:
        return seen.repeated and seen.draft > 0 and self.held is not None

    def _bin(self, evidence: float, features: Mapping[str, float]) -> int:
        if self._rule.score_edges is not None:
            return bisect_right(self._lists.edges, evidence) - 1
        return int(required(self._class_table).bins(np.array(features["minimum"]), np.array(features["score"])))

    def _table_step(self, step: int, ended: bool) -> int:
        """Beyond the rule's cap, its last step before it stands in."""
        last = len(self._lists.success) - 1
        if step < last or (ended and step == last):
            return step
        return max(last - 1, 0)

    @staticmethod
    def _weighed(prior: Belief, looks: list[float], ends: list[float], ended: bool) -> Belief:
        """Belief over S0, S1, S2; an end (or none) that no class can explain is no evidence, nor is such a score."""
        e0, e1, e2 = looks
        end, end_derailed, end_wrong = (h if ended else 1.0 - h for h in ends)
        b0, b1, b2 = prior[0] * e0, prior[1] * e1, prior[2] * e2
        if b0 * end + b1 * end_derailed + b2 * end_wrong > 0.0:
            b0, b1, b2 = b0 * end, b1 * end_derailed, b2 * end_wrong
        total = b0 + b1 + b2
        return (b0 / total, b1 / total, b2 / total) if total > 0.0 else prior

    def _after(self, step: int, seen: StepObservation, code: int) -> list[list[list[float]]]:
        """What follows an action."""
        first = DraftPlace(seen.draft, seen.repeated).is_first_text
        tables = self._lists.after if first else self._lists.after_again
        found: list[list[list[float]]] = tables[step][int(seen.ended)][code]
        return found

    def _worth_of_former(self, former: Held, evidence: float, seen: StepObservation, code: int) -> _Worth:
        """What an action about the draft before is worth, of which the new one's looks tell something too."""
        held = former.belief(repeated=False)
        step = self._table_step(seen.step, former.ended)
        after = self._lists.after[step][int(former.ended)][code]
        now = self._table_step(seen.step, seen.ended)
        rows, looks = self._lists.other[now][seen.draft - 1], self._looks(seen, evidence)
        ends = [h if seen.ended else 1.0 - h for h in self._lists.end[now]]
        explained = [[row[c] * looks[c] * ends[c] for c in range(3)] for row in rows]
        if sum(h * sum(row) for h, row in zip(held, explained, strict=True)) == 0.0:
            explained = [[row[c] * looks[c] for c in range(3)] for row in rows]
        back = _normalised((h * sum(row) for h, row in zip(held, explained, strict=True)), held)
        return self._then(back, step, after)

    def _then(self, belief: Belief, step: int, outcomes: list[list[list[float]]]) -> _Worth:
        """Of an action after which no other draft comes; q is alike where a solution cannot go on, or be over."""
        lists, reward = self._lists, self._rule.reward
        on_right = on = over_right = over = 0.0
        for b, exits in zip(belief, outcomes, strict=True):
            over_right += b * exits[OVER][0]
            over += b * exits[OVER][1]
            on_right += b * exits[NEXT][0]
            on += b * exits[NEXT][1]
        over += over_right
        on += on_right
        if on <= 0.0:
            at_end = over_right / over
            return _Worth(reward * over_right, self._rounded(at_end), at_end)
        q = on_right / on
        value = reward * over_right + on * lists.values[step](q)
        return _Worth(value, self._rounded(q), over_right / over if over > 0.0 else q)

    def _worth_again(self, belief: Belief, step: int, seen: StepObservation, evidence: float, code: int) -> _Worth:
        """What another draft is worth: what the one that is discarded is believed to be, by whether it comes again."""
        outcomes = self._after(step, seen, code)
        held = _hidden_again(belief, outcomes)
        same = self._lists.same[-1 if self._is_repeated(seen) else self._bin(evidence, seen.features)]
        other = [b * (1.0 - s) for b, s in zip(held, same, strict=True)]
        again = [b * s for b, s in zip(held, same, strict=True)]
        first = 4 * (step * (self._lists.drafts - 1) + seen.draft) + int(seen.ended)
        values = self._lists.draft_values
        value = sum(
            max(h[0] * v[0] + h[1] * v[1] + h[2] * v[2] for v in values[row])
            for h, row in ((other, first), (again, first + 2))
        )
        on_grid = [self._on_draft_grid(_normalised(item, held)) for item in (other, again)]
        right = held[0] + held[2]
        return _Worth(value, right, right, Held(on_grid[0], on_grid[1], seen.ended))

    def _on_draft_grid(self, held: Belief) -> tuple[float, float]:
        """P(prefix right), and P(draft right | that), to the grid on which further drafts are evaluated."""
        right = held[0] + held[2]
        cells, shares = self._rule.draft_cells
        q = int(right / (right + held[1]) * cells + 0.5) / cells
        share = int((held[0] / right if right > 0.0 else 0.0) * shares + 0.5) / shares
        return q, share

    def _rounded(self, q: float) -> float:
        """To the grid of belief cells, which makes the policy the finite-state controller that was evaluated."""
        cells = self._rule.belief_cells
        return int(q * cells + 0.5) / cells

    @staticmethod
    def _by_code(found: Mapping[int, float]) -> tuple[float | None, ...]:
        return tuple(found.get(code) for code in range(max(found) + 1))


def _hidden_again(belief: Belief, outcomes: list[list[list[float]]]) -> Belief:
    """Hidden state where another draft comes."""
    b0, b1, b2 = (sum(b * exits[AGAIN][s] for b, exits in zip(belief, outcomes, strict=True)) for s in range(3))
    return b0, b1, b2


def _normalised(values: Iterable[float], otherwise: Belief) -> Belief:
    """A belief; of what cannot be, the other."""
    b0, b1, b2 = values
    total = b0 + b1 + b2
    return (b0 / total, b1 / total, b2 / total) if total > 0.0 else otherwise
