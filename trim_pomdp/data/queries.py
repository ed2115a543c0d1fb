"""Whole problems: what the weak model's finished solution shows, and how either model fares alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.rollouts import Rollouts, StrongRollout
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError

_Rollout = TypeVar("_Rollout", ScoredSequence, StrongRollout)


@dataclass(frozen=True)
class WeakSolution:
    """What can be seen of a finished solution of the weak model, before anybody judges it.

    Attributes
    ----------
    tokens : tuple of int
        Of every step.
    answer : str or None
        What stands in its box; None where there is none, or nobody kept it.
    texts : tuple of str
        Its steps; empty where nobody kept them.
    scores : tuple of float or None
        PRM score of every step; None where it was not asked.
    logprobs : tuple of float or None
        Mean log-probability of the tokens of every step; None where the model offers none.
    further : tuple of str or None
        Answers of further samples of the weak model on the same problem, as far as they were drawn.
    """

    tokens: tuple[int, ...]
    answer: str | None = None
    texts: tuple[str, ...] = ()
    scores: tuple[float, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    further: tuple[str | None, ...] = ()

    @property
    def mean_logprob(self) -> float | None:
        """Mean log-probability of a token of the solution; None where nobody knows."""
        if self.logprobs is None or not sum(self.tokens):
            return None
        return float(np.average(self.logprobs, weights=self.tokens))


@dataclass(frozen=True)
class QueryOutcome:
    """How the weak and the strong model fare alone on a problem; shares and means where several samples are known.

    Attributes
    ----------
    problem : Problem
    weak_right, strong_right : float
        Share of right answers.
    strong_tokens : float
        Mean tokens of the strong model's solution.
    weak : WeakSolution or None
        The first weak sample, with the answers of the others.
    strong_answer : str or None
        Of the first strong sample.
    """

    problem: Problem
    weak_right: float
    strong_right: float
    strong_tokens: float = 1.0
    weak: WeakSolution | None = None
    strong_answer: str | None = None

    @property
    def gain(self) -> float:
        """What escalating adds to the probability of a right answer."""
        return self.strong_right - self.weak_right


def outcomes_from_rollouts(problems: Sequence[Problem], rollouts: Rollouts) -> list[QueryOutcome]:
    """Outcomes of the problems of which rollouts have a weak and a strong solution, in the order of the problems.

    Rollouts hold neither texts nor answers, so routers that look at those need runs
    (`trim_pomdp.runtime.cascades.query_outcomes`).

    Raises
    ------
    InputError
        If there is no such problem.
    """
    weak = _by_group(rollouts.weak)
    strong = _by_group(rollouts.strong)
    found = [
        QueryOutcome(
            problem,
            weak_right=float(np.mean([item.correct for item in weak[problem.id]])),
            strong_right=float(np.mean([item.correct for item in strong[problem.id]])),
            strong_tokens=float(np.mean([sum(item.tokens) for item in strong[problem.id]])),
            weak=_seen(weak[problem.id][0]),
        )
        for problem in problems
        if problem.id in weak and problem.id in strong
    ]
    if not found:
        raise InputError("no problem has a weak and a strong rollout; their problem_id is the id of the problem")
    return found


def split_outcomes(
    outcomes: Sequence[QueryOutcome], folds: int, seed: int
) -> list[tuple[list[QueryOutcome], list[int]]]:
    """For each fold the outcomes outside of it, and the indices of those inside.

    Raises
    ------
    InputError
        If there are fewer outcomes than folds, or fewer than two folds.
    """
    if not 2 <= folds <= len(outcomes):
        raise InputError(f"{folds} folds of {len(outcomes)} problems; expected 2 to the number of problems")
    order = np.random.default_rng(seed).permutation(len(outcomes))
    parts = [order[fold::folds] for fold in range(folds)]
    inside = [set(part.tolist()) for part in parts]
    return [([item for index, item in enumerate(outcomes) if index not in mine], sorted(mine)) for mine in inside]


def _by_group(rollouts: Sequence[_Rollout]) -> dict[str, list[_Rollout]]:
    found: dict[str, list[_Rollout]] = {}
    for item in rollouts:
        found.setdefault(item.group, []).append(item)
    return found


def _seen(rollout: ScoredSequence) -> WeakSolution:
    return WeakSolution(
        tokens=rollout.tokens or (1,) * rollout.n_steps,
        scores=rollout.scores,
        logprobs=rollout.features.get("logprob_mean"),
    )
