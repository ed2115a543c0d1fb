"""Rules that a trained network decides for: what TRIM-Agg and TRIM-Seq have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, model_validator

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Decision, FloatArray, Rule, RuleRouter, StepObservation
from trim_pomdp.policies.networks import Memory, RouterNetwork, Row, chosen
from trim_pomdp.randomness import keyed_uniform

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Drawn


class LearnedRule(Rule):
    """Regenerate where a network's log-odds of it are positive, or as often as they say.

    What remembers more than a bin has no exact evaluation in a model; `simulated` draws from the model.

    Attributes
    ----------
    network : RouterNetwork
    tradeoff : float
        Price λ of a strong token that it is run at.
    reward : float
        Of a right answer, in the units of λ.
    sampled : bool
        Draw the action with the network's probability, by a uniform keyed by problem and step.
    """

    network: RouterNetwork
    tradeoff: PositiveFloat
    reward: PositiveFloat = 100.0
    sampled: bool = False

    @model_validator(mode="after")
    def _price_was_trained_for(self) -> LearnedRule:
        low, high = (self.reward * price for price in self.network.prices)
        if not low * (1.0 - 1e-9) <= self.tradeoff <= high * (1.0 + 1e-9):
            raise ValueError(f"tradeoff is {self.tradeoff:g}; the network was trained for {low:g} to {high:g}")
        return self

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {"tradeoff": self.tradeoff, **self.network.facts(), "sampled": self.sampled or None}

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return self.network.needs_score

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return self.network.evidence is None

    @property
    def planned_tradeoff(self) -> float:
        """See `Rule`."""
        return self.tradeoff

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> LearnedRouter:
        """See `Rule`."""
        return LearnedRouter(self, seed, problem.id)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule`; scores within bins and tokens are as `trim_pomdp.model.episodes` has them."""
        from trim_pomdp.model.episodes import Episodes

        self.network.require(model.observations)
        episodes = Episodes(model, n, rng)
        prices = np.full(n, self.tradeoff / self.reward)
        for _ in walk(self.network, episodes, prices, rng if self.sampled else None):
            pass
        return episodes.drawn


@dataclass(frozen=True)
class Walked:
    """A decision on the same step of many problems.

    Attributes
    ----------
    problems : ndarray of int, shape (a,)
        Which of them.
    rows : ndarray of shape (a, features + 1)
        What the network saw.
    logits : ndarray of shape (a,)
        What it said.
    regenerate : ndarray of bool, shape (a,)
        What was done.
    classes, ended : ndarray of int, shape (a,)
        What nobody sees: the true class of the weak step; and whether it ends the solution.
    strong_tokens : ndarray of shape (a,)
        What it took.
    """

    problems: NDArray[np.int64]
    rows: Row
    logits: Row
    regenerate: NDArray[np.bool_]
    classes: NDArray[np.int64]
    ended: NDArray[np.int64]
    strong_tokens: FloatArray


def walk(
    network: RouterNetwork, episodes: Any, prices: FloatArray, rng: np.random.Generator | None = None
) -> Iterator[Walked]:
    """Route `Episodes` by a network to their ends.

    Parameters
    ----------
    episodes : trim_pomdp.model.episodes.Episodes
        At their first step.
    prices : ndarray of shape (n,)
        λ/reward of every problem.
    rng : numpy Generator or None
        Draws actions with the network's probabilities; None: the likelier one.
    """
    memory: Memory | None = None
    previous = np.zeros(len(prices), dtype=np.bool_)
    while len(episodes.alive):
        who = episodes.alive
        rows = network.rows(episodes.columns(previous[who]), prices[who])
        logits, memory = network.logits(rows, memory)
        regenerate = logits > 0.0 if rng is None else rng.random(len(who)) < probability(logits)
        classes, ended = episodes.classes, episodes.ended
        tokens = episodes.act(regenerate)
        previous[who] = regenerate
        memory = chosen(memory, np.isin(who, episodes.alive, assume_unique=True))
        yield Walked(who, rows, logits, regenerate, classes, ended, tokens)


def probability(logits: Row) -> FloatArray:
    """P(regenerate) of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-logits.astype(np.float64))))


class StepView:
    """What a network sees of the steps of one problem, live.

    With the PRM's scores the minimum is that of the steps as they stand; evidence of other features does not exist for
    steps of the strong model, which then leave the minimum as it was.

    Parameters
    ----------
    evidence : EvidenceMap or None
        What the score is made of; None: it is the PRM's.
    sees_score : bool
        Whether there is a score to look at.
    """

    def __init__(self, evidence: EvidenceMap | None, *, sees_score: bool) -> None:
        self._evidence, self._sees_score = evidence, sees_score
        self._score, self._minimum, self._regenerated = 1.0, 1.0, False

    def columns(self, seen: StepObservation) -> dict[str, FloatArray]:
        """Features of a weak step by name, shape (1,) each, as `RouterNetwork.rows` takes them."""
        if self._sees_score:
            self._score = evidence_score(self._evidence, seen.features)
            if self._evidence is None:
                self._minimum = seen.features["minimum"]
        values = {
            "score": self._score,
            "minimum": self._minimum,
            "tokens": seen.features["tokens"],
            "step": float(seen.step),
            "ended": float(seen.ended),
            "regenerated": float(self._regenerated),
        }
        return {name: np.array([value]) for name, value in values.items()}

    @property
    def evidence_score(self) -> float | None:
        """Score of the step seen last, where it is another one than the PRM's."""
        return None if self._evidence is None or not self._sees_score else self._score

    def note(self, regenerate: bool) -> None:
        """Remember what was done with the step seen last."""
        if not regenerate:
            self._minimum = min(self._minimum, self._score)
        self._regenerated = regenerate


class LearnedRouter(RuleRouter):
    """A network on one problem (a `Router`).

    Attributes
    ----------
    row : ndarray of shape (1, features + 1)
        What the network saw of the step decided on last.
    logit : float
        What it said.
    """

    def __init__(self, rule: LearnedRule, seed: int, problem: str) -> None:
        super().__init__(rule)
        self._rule, self._seed, self._problem = rule, seed, problem
        self._memory: Memory | None = None
        self._view = StepView(rule.network.evidence, sees_score=rule.network.sees_score)

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        rule, network = self._rule, self._rule.network
        self.row = network.rows(self._view.columns(seen), np.array([rule.tradeoff / rule.reward]))
        logits, self._memory = network.logits(self.row, self._memory)
        self.logit = float(logits[0])
        regenerate = self.logit > 0.0
        if rule.sampled:
            drawn = keyed_uniform(self._seed, self._problem, seen.step, rule.form)
            regenerate = bool(drawn < probability(logits)[0])
        self._view.note(regenerate)
        return Decision(REGENERATE if regenerate else KEEP, evidence=self._view.evidence_score)
