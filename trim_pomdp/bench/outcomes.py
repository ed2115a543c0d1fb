"""From runs to tables of outcomes: what became of every problem at every point of a strategy, over all trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.bench.entries import Entry
from trim_pomdp.bench.queries import ends_of
from trim_pomdp.bench.running import Runner, Trial
from trim_pomdp.metrics import Outcomes
from trim_pomdp.model.prices import Prices
from trim_pomdp.policies.base import Rule
from trim_pomdp.policies.query import QueryRule
from trim_pomdp.runtime.money import spent
from trim_pomdp.runtime.records import TerminalRecord

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """What a strategy did.

    Attributes
    ----------
    entries : tuple of Entry
        Its points.
    solutions : int
        Of a point: every problem under all its seeds.
    outcomes : Outcomes
        Right answers and strong tokens, shape (points, problems). Problems that were tried under several seeds count
        once, with means over the seeds.
    weak_tokens, prm_tokens : ndarray of shape (points,)
        Mean per problem of what the weak model wrote, whether it stands or not, and of what the PRM read.
    failed : ndarray of shape (points,)
        Share of solutions that ended by an error.
    in_money : Outcomes or None
        Right answers and money; None without prices.
    """

    entries: tuple[Entry, ...]
    solutions: int
    outcomes: Outcomes
    weak_tokens: FloatArray
    prm_tokens: FloatArray
    failed: FloatArray
    in_money: Outcomes | None = None

    @property
    def has_curve(self) -> bool:
        """Whether budgets can be asked of it."""
        return any(entry.asked_budget is not None for entry in self.entries)


def course(
    entries: Sequence[Entry], trials: Sequence[Trial], runner: Runner, *, prices: Prices | None = None
) -> Course:
    """Put the runs of a strategy together.

    Raises
    ------
    InputError
        If one of them has not ended, or a model that was asked has no price.
    """
    ends = [[_ends(entry.rule, trial, runner) for trial in trials] for entry in entries]
    return course_of(entries, trials, ends, prices=prices)


def course_of(
    entries: Sequence[Entry],
    trials: Sequence[Trial],
    ends: Sequence[Sequence[Sequence[TerminalRecord]]],
    *,
    prices: Prices | None = None,
) -> Course:
    """The same of terminal records, by entry, trial and problem."""

    def table(value: Callable[[TerminalRecord], float]) -> FloatArray:
        return np.array([_by_problem(trials, [[value(end) for end in some] for some in row]) for row in ends])

    right = table(_right)
    return Course(
        tuple(entries),
        sum(len(trial.problems) for trial in trials),
        Outcomes(right, table(lambda end: float(end.tokens.strong))),
        table(lambda end: float(end.tokens.weak_kept + end.tokens.weak_discarded)).mean(axis=1),
        table(lambda end: float(end.tokens.scored)).mean(axis=1),
        table(lambda end: float(end.error is not None)).mean(axis=1),
        None if prices is None else Outcomes(right, table(lambda end: spent(end.tokens, prices).total)),
    )


def _right(end: TerminalRecord) -> float:
    return float(bool(end.correct) and end.error is None)


def _ends(rule: Rule, trial: Trial, runner: Runner) -> list[TerminalRecord]:
    if isinstance(rule, QueryRule):
        return ends_of(rule, trial, runner)
    return [record.terminal for record in runner.records(rule, trial)]


def _by_problem(trials: Sequence[Trial], values: Sequence[Sequence[float]]) -> list[float]:
    """Means by problem, in order of their first trial."""
    found: dict[str, list[float]] = {}
    for trial, row in zip(trials, values, strict=True):
        for problem, value in zip(trial.problems, row, strict=True):
            found.setdefault(problem.id, []).append(value)
    return [float(np.mean(some)) for some in found.values()]
