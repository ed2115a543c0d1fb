"""What a run cost, by model and purpose, and what its models read: measured, from its traces.

Money comes from token totals, as they were counted by whoever served the models. How long prompts are, and what share
of them caches held, is what a plan over money takes for granted (`trim_pomdp.model.prices.Tariff`); a run tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trim_pomdp.errors import InputError
from trim_pomdp.model.prices import ROLES, Money, Prices, Reading, Role, Tariff
from trim_pomdp.runtime.records import Generation, SolutionRecord, TokenCounts
from trim_pomdp.runtime.summary import mean_and_error
from trim_pomdp.runtime.traces import read_traces

PRICES_FILE = "prices.json"


@dataclass(frozen=True)
class RunMoney:
    """What a run cost per problem.

    Attributes
    ----------
    prices : Prices
    problems : int
    money : Money
        Mean per problem, by model and purpose; failed problems with what they had spent.
    total_se : float or None
        Standard error of the mean of all of it; None where one problem tells nothing of it.
    uncounted : tuple of str
        Models whose reading nobody counted, so that it is not in the money.
    readings : dict of str to Reading
        What each model that was asked read.
    """

    prices: Prices
    problems: int
    money: Money
    total_se: float | None
    uncounted: tuple[Role, ...]
    readings: dict[Role, Reading]

    @property
    def tariff(self) -> Tariff | None:
        """Prices with what was read here; a model that was not asked reads as another one did.

        None where nothing was read, or not all of it was counted.
        """
        if self.uncounted or not self.readings:
            return None
        any_of = next(iter(self.readings.values())).model_copy(update={"step_overhead": 0.0, "cached": 0.0})
        weak, strong, prm = (self.readings.get(role, any_of) for role in ROLES)
        return Tariff(prices=self.prices, weak=weak, strong=strong, prm=prm)

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "currency": self.prices.currency,
            "measured": self.money.document,
            "measured_se": self.total_se,
            "uncounted": list(self.uncounted),
        }


def spent(tokens: TokenCounts, prices: Prices) -> Money:
    """Money for counted tokens.

    Raises
    ------
    InputError
        If a model that was asked has no price.
    """

    def read(role: Role, count: int, cached: int) -> float:
        return prices.of(role).reading(count, cached) if count else 0.0

    def written(role: Role, count: int) -> float:
        return prices.of(role).writing(count) if count else 0.0

    return Money(
        weak_read=read("weak", tokens.weak_read, tokens.weak_cached),
        weak_kept=written("weak", tokens.weak_kept),
        weak_discarded=written("weak", tokens.weak_discarded),
        strong_read=read("strong", tokens.strong_read, tokens.strong_cached),
        strong=written("strong", tokens.strong),
        scored=read("prm", tokens.scored, tokens.scored_cached),
        weak_ahead=read("weak", tokens.weak_ahead_read, tokens.weak_ahead_cached) + written("weak", tokens.weak_ahead),
        strong_ahead=(
            read("strong", tokens.strong_ahead_read, tokens.strong_ahead_cached)
            + written("strong", tokens.strong_ahead)
        ),
    )


def run_money(folder: str | Path, prices: Prices | None = None) -> RunMoney | None:
    """What the run of a folder cost, at its own prices unless others are given; None where there are none.

    Raises
    ------
    InputError
        If its traces cannot be read, or a model that was asked has no price.
    """
    path = Path(folder) / PRICES_FILE
    if prices is None:
        if not path.exists():
            return None
        prices = read_stored(path)
    return money_of_solutions(read_traces(folder), prices)


def read_stored(path: Path) -> Prices:
    """Prices that a run keeps."""
    from trim_pomdp.artifacts import read_json, validate

    return validate(Prices, read_json(path), source=str(path))


def money_of_solutions(solutions: Iterable[SolutionRecord], prices: Prices) -> RunMoney:
    """What ended solutions cost.

    Raises
    ------
    InputError
        If there are none, or a model that was asked has no price.
    """
    single: list[Money] = []
    tokens, scored = TokenCounts(), False
    lengths: dict[Role, _Lengths] = {role: _Lengths() for role in ROLES}
    for solution in solutions:
        single.append(spent(solution.terminal.tokens, prices))
        tokens += solution.terminal.tokens
        _collect(solution, lengths)
        scored |= any(item.scoring is not None for item in solution.decisions)
    if not single:
        raise InputError("no problem has ended yet, so nothing has been spent")
    _, error = mean_and_error([item.total for item in single])
    written = {"prm": int(scored), "weak": tokens.weak_kept + tokens.weak_discarded, "strong": tokens.strong}
    counted = {"prm": tokens.scored, "weak": tokens.weak_read, "strong": tokens.strong_read}
    return RunMoney(
        prices=prices,
        problems=len(single),
        money=spent(tokens, prices).scaled(1.0 / len(single)),
        total_se=error,
        uncounted=tuple(role for role in ROLES if written.get(role, 0) and not counted[role]),
        readings={role: item.reading for role, item in lengths.items() if item.prompts},
    )


@dataclass
class _Lengths:
    """Requests of a model: steps before each, tokens of the prompt that are not of the solution so far, cached ones."""

    steps: list[int] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    read: int = 0
    cached: int = 0

    def add(self, step: int, read: int, cached: int, solution: int) -> None:
        self.steps.append(step)
        self.prompts.append(read - solution)
        self.read, self.cached = self.read + read, self.cached + cached

    @property
    def reading(self) -> Reading:
        """Prompt and overhead a step by least squares, so that all lengths together are explained."""
        steps, prompts = np.array(self.steps, dtype=np.float64), np.array(self.prompts, dtype=np.float64)
        centred = steps - steps.mean()
        overhead = float(centred @ prompts / (centred @ centred)) if centred.any() else 0.0
        prompt = max(float(prompts.mean() - overhead * steps.mean()), 0.0)
        # Lengths are whole numbers: what is left behind the ninth digit is rounding.
        return Reading(
            prompt_tokens=round(prompt, 9), step_overhead=round(overhead, 9), cached=self.cached / max(self.read, 1)
        )


def _collect(solution: SolutionRecord, lengths: Mapping[Role, _Lengths]) -> None:
    written = 0
    if solution.terminal.prefix:  # whose tokens nobody counted
        return
    for item in solution.decisions:
        for draft in item.all_drafts:
            _add_written(lengths["weak"], item.step, draft.weak, written)
            if draft.scoring is not None and draft.scoring.tokens and draft.weak is not None:
                lengths["prm"].add(item.step, draft.scoring.tokens, draft.scoring.cached, written + draft.weak.tokens)
        _add_written(lengths["strong"], item.step, item.strong, written)
        accepted = item.accepted
        written += accepted.tokens if accepted is not None else 0


def _add_written(lengths: _Lengths, step: int, generation: Generation | None, before: int) -> None:
    if generation is not None and generation.usage is not None and generation.usage.prompt:
        lengths.add(step, generation.usage.prompt, generation.usage.cached, before)
