r"""Whether live scores look as the model says they do: an alarm for PRMs that misbehave.

Before the score of a weak step is seen, the filter says how likely each observation bin j is,
:math:`P(j) = \sum_c b_c E_c(j)`, b the prior over the classes given all that came before. If the model is right, where
the bin that is seen falls in that distribution (its probability integral transform, drawn evenly within the bin)
is uniform, and independent from step to step, whatever the policy does (Rosenblatt 1952; Dawid's prequential
forecasting). So counts in cells of equal probability tell whether scores are harsher, kinder or blunter than those
that the plan was made on.

Scores that are mixed up between solutions, or stand one step off, keep their distribution. They betray themselves
otherwise: a PRM reads a solution anew at every step, and what it says of a step does not depend on the steps after it;
and a first step that was padded has the very score of the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import seen_of
from trim_pomdp.model.actions.base import KEEP, REGENERATE
from trim_pomdp.model.belief import class_prior, next_q, update
from trim_pomdp.model.evidence import evidence_score
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.randomness import keyed_uniform
from trim_pomdp.runtime.records import DecisionRecord, DraftRecord, SolutionRecord, action_by_name

FloatArray = NDArray[np.float64]
CELLS = 10
# A model is never quite right: what is called out is as improbable as this, and moves as many steps.
LEAST_P, LEAST_DISTANCE = 1e-3, 0.08
# Batches change the last digits of a score; replies of other solutions change more of it.
_SAME, _LEAST_CHANGED = 0.05, 0.02
_MOVED = 0.25  # cells, on average
# Many scores are exactly 1 in half precision.
_SATURATED, _LEAST_DOUBLED, _FEWEST = 0.99, 0.5, 10


@dataclass(frozen=True)
class ScoreAlarm(Shown):
    """How live scores compare with those that a model expects.

    Attributes
    ----------
    steps : int
        Weak steps that were looked at.
    shares : tuple of float
        Share of them in each of `CELLS` cells that the model holds equally likely, from scores that speak most for an
        error to those that speak most against one.
    distance : float
        Share of steps that would have to be in other cells, from 0: total variation.
    p : float
        Of a distance as large by chance, if the model were right (chi-square).
    read_again : int
        Scores of steps that an earlier reply had scored already.
    changed : float
        Share of those that were another score by more than .05.
    doubled : float
        Share of solutions whose first two steps have the very same score, of those that have two steps, the first of
        them not all but certainly right.
    solutions : int
        How many those are.
    """

    steps: int
    shares: tuple[float, ...]
    distance: float
    p: float
    read_again: int
    changed: float
    doubled: float
    solutions: int

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, a phrase each; nothing where all is as expected."""
        out = []
        if self.p < LEAST_P and self.distance > LEAST_DISTANCE:
            moved = sum(share * cell for cell, share in enumerate(self.shares)) - (CELLS - 1) / 2
            kind = "other" if abs(moved) < _MOVED else "lower" if moved < 0.0 else "higher"
            out.append(
                f"{kind} scores than the plan was made on: {self.distance:.0%} of {self.steps} steps would have to be "
                "elsewhere; check the PRM's prompt, or fit the dynamics anew on rollouts of these models"
            )
        if self.changed > _LEAST_CHANGED and self.read_again >= _FEWEST and self.changed * self.read_again > 1.5:
            out.append(
                f"{self.changed:.0%} of {self.read_again} scores changed when the PRM read the same steps again; its "
                "replies may be mixed up between solutions"
            )
        if self.doubled > _LEAST_DOUBLED and self.solutions >= _FEWEST:
            out.append(
                f"the first two steps have the same score in {self.doubled:.0%} of {self.solutions} solutions; scores "
                "may stand one step off (trim-pomdp check shows them beside their steps)"
            )
        return tuple(out)

    @property
    def raised(self) -> bool:
        """Whether something is wrong."""
        return bool(self.reasons)

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "steps": self.steps,
            "distance": self.distance,
            "p": self.p,
            "changed": self.changed,
            "doubled": self.doubled,
            "alarm": "; ".join(self.reasons) or None,
        }


def score_alarm(solutions: Iterable[SolutionRecord], model: RoutingModel, *, seed: int = 0) -> ScoreAlarm:
    """Compare the scores of recorded solutions with what a model expects of them.

    Parameters
    ----------
    solutions : iterable of SolutionRecord
        With their decisions, of any policy that has weak steps scored.
    model : RoutingModel
        The policy was planned in, or is to be judged by.
    seed : int
        Of the draws within bins, which are keyed by problem and step.

    Raises
    ------
    InputError
        If no step holds what the model's evidence looks at.
    """
    from scipy.stats import chisquare

    places: list[float] = []
    read_again = changed = 0
    doubled: list[bool] = []
    for solution in solutions:
        places += _places(solution, model, seed)
        again, other = _read_again(solution)
        read_again, changed = read_again + again, changed + other
        doubled += _doubled(solution)
    if not places:
        raise InputError("no weak step was scored with what the model looks at, so nothing tells whether scores fit")
    counts = np.histogram(places, bins=CELLS, range=(0.0, 1.0))[0]
    shares = counts / len(places)
    return ScoreAlarm(
        steps=len(places),
        shares=tuple(shares.tolist()),
        distance=float(0.5 * np.abs(shares - 1.0 / CELLS).sum()),
        p=float(chisquare(counts).pvalue),
        read_again=read_again,
        changed=changed / max(read_again, 1),
        doubled=sum(doubled) / max(len(doubled), 1),
        solutions=len(doubled),
    )


def _places(solution: SolutionRecord, model: RoutingModel, seed: int) -> Iterator[float]:
    """Where the first draft of every step falls in what was expected of it."""
    if solution.terminal.prefix:
        return  # nobody knows what the given steps looked like
    last, q, problem = model.dynamics.max_steps - 1, 1.0, solution.terminal.problem
    for item in solution.decisions:
        first = item.all_drafts[0]
        if first.weak is None:
            return  # a step of the strong model alone is another process
        q = q if item.q is None else item.q
        step = min(item.step, last)
        prior = class_prior(q, model.law.weak_success[step])
        found = _bin(first, model)
        if found is None:
            return
        expected = prior @ model.emission
        below = float(expected[:found].sum())
        yield below + keyed_uniform(seed, problem, item.step, "alarm") * float(expected[found])
        q = _after(item, prior, model.emission[:, found], step, model)


def _bin(draft: DecisionRecord | DraftRecord, model: RoutingModel) -> int | None:
    """Observation bin of a draft; None where it lacks what the evidence looks at."""
    features = seen_of(draft)
    evidence = model.observations.evidence
    if not all(name in features for name in (("score",) if evidence is None else evidence.features)):
        return None
    return int(model.observations.bins(np.array([evidence_score(evidence, features)]))[0])


def _after(item: DecisionRecord, prior: FloatArray, likelihood: FloatArray, step: int, model: RoutingModel) -> float:
    """P(prefix right) after a step, by the model's filter, for policies that carry none."""
    belief = update(prior, likelihood)
    regenerated = item.action is not None and action_by_name(item.action).asks == "strong"
    ended = bool(item.ended)
    belief = update(belief, model.law.end[step] if ended else 1.0 - model.law.end[step])
    table = model.outcomes[step, int(ended), REGENERATE if regenerated else KEEP]
    return float(next_q(belief, table, over=False))


def _read_again(solution: SolutionRecord) -> tuple[int, int]:
    """How many scores of steps that stand were given again, and how many of them were another score."""
    known: list[float] = []
    again = other = 0
    for item in solution.decisions:
        for draft in item.all_drafts:
            if draft.scoring is None:
                continue
            old = draft.scoring.scores[:-1]
            for before, now in zip(known, old, strict=False):
                again += 1
                other += abs(before - now) > _SAME
            known = [*known[: len(old)], *old[len(known) :]]
        if item.author == "weak" and item.standing.scoring is not None:
            known = [*known[: len(item.standing.scoring.scores) - 1], item.standing.scoring.scores[-1]]
    return again, other


def _doubled(solution: SolutionRecord) -> Iterator[bool]:
    """Whether a reply gave the first two steps the same score, if one tells."""
    replies = [item.scoring.scores for item in solution.decisions if item.scoring is not None]
    first = next((scores for scores in replies if len(scores) > 1), None)
    if first is not None and first[0] < _SATURATED:
        yield first[0] == first[1]
