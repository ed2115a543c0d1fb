"""What would have changed a router's mind: its decision on a step, taken again on other scores.

Decisions are asked of the router itself, at all the scores at which its rule says that they can change
(`Rule.breakpoints`); of rules that do not say so, on a grid that is then refined by bisection.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.model.actions import KEEP
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies import AlphaVectorRule, Decision, Router, Rule, StepObservation, WeighingRouter
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter, decide
from trim_pomdp.policies.base import Belief
from trim_pomdp.policies.posterior import required
from trim_pomdp.policies.threshold import ScoreRouter, ScoreRule

Axis = Literal["score", "evidence"]

_GRID = 101
_HALVINGS = 50


@dataclass(frozen=True)
class EvidenceCurve:
    """What a router would do with a step, over its score (or evidence score), all else as it was.

    Attributes
    ----------
    step : int
        Index from 0.
    axis : {"score", "evidence"}
        What `x` is.
    x : tuple of float
        Ascending from 0; what is said of one holds up to the next, the next itself left out.
    intervenes : tuple of bool
        Whether the decision is another one than to keep the step.
    belief : tuple of (float, float, float) or None
        Over S0, S1, S2.
    gain, price : tuple of float or None
        Of intervening, in units of reward. None for rules that have no such thing.
    at : float or None
        Where the step is.
    flips : tuple of float
        Where the decision changes.
    """

    step: int
    axis: Axis
    x: tuple[float, ...]
    intervenes: tuple[bool, ...]
    belief: tuple[Belief | None, ...]
    gain: tuple[float | None, ...]
    price: tuple[float | None, ...]
    at: float | None
    flips: tuple[float, ...]


@dataclass(frozen=True)
class Probe:
    """A router before a decision, and what it saw: the decision can be taken again on something else.

    Attributes
    ----------
    rule : Rule
        What the router speaks for.
    router : Router
        Never asked itself; copies of it are.
    seen : StepObservation
    given : float or None
        An evidence score in place of that of the features.
    class_table : ClassTable or None
    """

    rule: Rule
    router: Router
    seen: StepObservation
    given: float | None = None
    class_table: ClassTable | None = None

    @property
    def evidence(self) -> EvidenceMap | None:
        """From features to the score that is decided on; None where that is the PRM's."""
        if isinstance(self.rule, ScoreRule) and not self.rule.looks:
            return None
        return self.rule.evidence if isinstance(self.rule, (AlphaVectorRule, ScoreRule)) else None

    @property
    def axis(self) -> Axis:
        """What the decision depends on."""
        return "score" if self.evidence is None else "evidence"

    @property
    def at(self) -> float | None:
        """The score, or evidence score, that is decided on; None where the rule looks at none."""
        if self.evidence is None:
            return self.seen.features.get("score")
        return evidence_score(self.evidence, self.seen.features) if self.given is None else self.given

    def decided(self) -> tuple[Decision, Router]:
        """The decision, and the router after it."""
        router, seen = self._asked
        router = copy.deepcopy(router)
        return router.decide(seen), router

    @property
    def prior(self) -> Belief | None:
        """See `WeighingRouter`; None of routers that do not weigh."""
        return self.router.prior(self.seen) if isinstance(self.router, WeighingRouter) else None

    @property
    def likelihood(self) -> Belief | None:
        """See `WeighingRouter`; None of routers that do not weigh."""
        router, seen = self._asked
        return router.likelihood(seen) if isinstance(router, WeighingRouter) else None

    @property
    def _asked(self) -> tuple[Router, StepObservation]:
        """Who is asked, and about what."""
        return (self.router, self.seen) if self.given is None else (self._bare, self._with(score=self.given))

    def _with(self, **features: float) -> StepObservation:
        return replace(self.seen, features={**self.seen.features, **features})

    def on(self, x: float) -> Decision:
        """The decision on another score, or evidence score, whatever features it came from."""
        return copy.deepcopy(self._bare).decide(self._with(score=x))

    @cached_property
    def _bare(self) -> Router:
        """A router that takes an evidence score as the score."""
        if isinstance(self.rule, ScoreRule):
            return ScoreRouter(self.rule.on_evidence_scores)
        if not isinstance(self.rule, AlphaVectorRule) or self.rule.evidence is None:
            return self.router
        rule = self.rule.on_evidence_scores
        if isinstance(self.router, AlphaVectorRouter):
            return self.router.of_rule(rule)
        return AlphaVectorRouter(rule, self.class_table, believed(self.router))

    @cached_property
    def points(self) -> tuple[float, ...]:
        """Where the decision may change, ascending from 0; empty where the rule looks at no score."""
        known = self.rule.breakpoints(self.class_table)
        if known is None:
            return self._searched
        return known if len(known) > 1 else ()

    @cached_property
    def _searched(self) -> tuple[float, ...]:
        """A grid, with the changes of the decision between its points."""
        grid = [i / (_GRID - 1) for i in range(_GRID)]
        actions = [self.on(x).action for x in grid]
        pairs = zip(grid, grid[1:], actions, actions[1:], strict=False)
        found = [self._change(low, high, before) for low, high, before, after in pairs if before != after]
        return tuple(sorted({*grid, *found}))

    def _change(self, low: float, high: float, before: int) -> float:
        """The smallest score known to be decided otherwise than `before` at `low`."""
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            low, high = (middle, high) if self.on(middle).action == before else (low, middle)
        return high

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """The decision at every point."""
        return tuple(self.on(x) for x in self.points)

    @cached_property
    def actions(self) -> tuple[int, ...]:
        """The action at every point; of planned policies by the compiled loops, which decide as routers do."""
        if not isinstance(self.rule, AlphaVectorRule) or not self.points:
            return tuple(item.action for item in self.decisions)
        size = len(self.points)
        router = self.router if isinstance(self.router, AlphaVectorRouter) and self.seen.draft > 0 else None
        held = None if router is None else router.held
        before = None if held is None else held.belief(repeated=self.seen.repeated)
        found = decide(
            self.rule,
            np.full(size, believed(self.router)),
            self._bins(self.rule),
            np.full(size, self.seen.ended),
            np.full(size, self.seen.step),
            held=None if before is None else np.tile(before, (size, 1)),
            draft=self.seen.draft,
            former_ended=np.full(size, held is not None and held.ended),
            repeated=self.seen.repeated,
        )
        return tuple(found.tolist())

    def _bins(self, rule: AlphaVectorRule) -> NDArray[np.int64]:
        """Observation bin of every point."""
        if rule.score_edges is not None:
            return np.arange(len(self.points))
        minimum = np.full(len(self.points), self.seen.features["minimum"])
        return required(self.class_table).bins(minimum, np.array(self.points))

    @cached_property
    def flips(self) -> tuple[float, ...]:
        """Points at which the decision is another one than just below them."""
        pairs = zip(self.points[1:], self.actions, self.actions[1:], strict=False)
        return tuple(x for x, before, after in pairs if before != after)

    @cached_property
    def nearest_flip(self) -> float | None:
        """The flip nearest to where the step is; None where no score would change the decision."""
        at = self.at
        if at is None or not self.flips:
            return None
        here = bisect_right(self.flips, at)
        return min(self.flips[max(here - 1, 0) : here + 1], key=lambda x: abs(x - at))

    def score_for(self, x: float) -> float | None:
        """The PRM score that makes the evidence score `x`, all else as it was; None where none does."""
        if self.evidence is None:
            return x
        if not self.evidence.needs_score or "score" not in self.seen.features:
            return None
        low, high = 0.0, 1.0
        least, most = sorted((self._made(low), self._made(high)))
        if not least < x <= most:
            return None
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if (self._made(middle) >= x) == self.rises else (middle, high)
        return high

    @cached_property
    def rises(self) -> bool:
        """Whether a larger PRM score makes what is decided on larger."""
        return self._made(1.0) > self._made(0.0)

    def _made(self, score: float) -> float:
        """What is decided on at a PRM score, all else as it was."""
        features = {**self.seen.features, "score": score}
        return score if self.evidence is None else evidence_score(self.evidence, features)

    def curve(self, over: Axis | None = None) -> EvidenceCurve:
        """See `EvidenceCurve`; over the evidence score where the rule decides on one, unless over the PRM's is asked.

        Raises
        ------
        InputError
            If the rule looks at no score, or not at that one.
        """
        if not self.points:
            raise InputError(f"a policy of the form {self.rule.form!r} looks at no score, so there is no curve over it")
        if over is None or over == self.axis:
            return self._curve(self.axis, self.points, self.decisions, self.at, self.flips)
        if over == "evidence":
            raise InputError("the policy decides on the PRM score itself; ask for the curve over 'score'")
        if self.evidence is not None and not (self.evidence.needs_score and "score" in self.seen.features):
            raise InputError("the policy's evidence does not look at the PRM score; ask for the curve over 'evidence'")
        return self._over_score()

    def _over_score(self) -> EvidenceCurve:
        inside = [(score, x) for x in self.points if (score := self.score_for(x)) is not None]
        x = tuple(sorted({0.0, *(score for score, _ in inside)}))
        decisions = tuple(copy.deepcopy(self.router).decide(self._with(score=score)) for score in x)
        pairs = zip(x[1:], decisions, decisions[1:], strict=False)
        flips = tuple(score for score, before, after in pairs if before.action != after.action)
        return self._curve("score", x, decisions, self.seen.features["score"], flips)

    def _curve(
        self, axis: Axis, x: Sequence[float], decisions: Sequence[Decision], at: float | None, flips: Sequence[float]
    ) -> EvidenceCurve:
        return EvidenceCurve(
            step=self.seen.step,
            axis=axis,
            x=tuple(x),
            intervenes=tuple(item.action != KEEP for item in decisions),
            belief=tuple(item.belief for item in decisions),
            gain=tuple(item.gain for item in decisions),
            price=tuple(item.price for item in decisions),
            at=at,
            flips=tuple(flips),
        )


def believed(router: Router) -> float:
    """P(the prefix is right), as a router of a planned policy believes."""
    assert router.q is not None
    return router.q
