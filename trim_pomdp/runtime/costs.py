"""What a solution cost, by one of several measures, and the outcomes of runs as `trim_pomdp.metrics` takes them.

A cost is a small object that gives a number for a solution: strong tokens, tokens of any kinds, money, floating-point
operations, seconds. In units of strong-only's mean it becomes the cost of a router; that division is left to the
metrics, which do it anew in every draw of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from trim_pomdp.errors import InputError
from trim_pomdp.metrics import Outcomes
from trim_pomdp.model.prices import ROLES, Prices, Role
from trim_pomdp.runtime.money import spent
from trim_pomdp.runtime.records import SolutionRecord, TokenCounts

WRITTEN: tuple[str, ...] = ("weak_kept", "weak_discarded", "weak_ahead", "strong", "strong_ahead")
_FLOPS_PER_PARAMETER = 2.0


class Cost(Protocol):
    """A measure of cost."""

    @property
    def unit(self) -> str:
        """Of its numbers."""
        ...

    def of(self, solution: SolutionRecord) -> float:
        """What a solution cost."""
        ...


@dataclass(frozen=True)
class StrongTokens:
    """Tokens that the strong model generated: the paper's cost, and what budgets are in."""

    unit: str = "strong tokens"

    def of(self, solution: SolutionRecord) -> float:
        """See `Cost`."""
        return float(solution.terminal.tokens.strong)


@dataclass(frozen=True)
class AllTokens:
    """Tokens by kind, each kind with a weight.

    Attributes
    ----------
    weights : mapping of str to float
        Of kinds of `TokenCounts`; by default all that is generated counts once, whoever does it, also in vain.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(WRITTEN, 1.0))
    unit: str = "tokens"

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.weights) - set(TokenCounts.model_fields)):
            raise InputError(
                f"no kind of tokens is called {unknown[0]!r}; known: {', '.join(TokenCounts.model_fields)}"
            )
        if not self.weights or not all(np.isfinite(item) and item >= 0.0 for item in self.weights.values()):
            raise InputError("weights of tokens must be finite numbers from 0 up, one at least")

    def of(self, solution: SolutionRecord) -> float:
        """See `Cost`."""
        return float(sum(weight * getattr(solution.terminal.tokens, kind) for kind, weight in self.weights.items()))


@dataclass(frozen=True)
class MoneySpent:
    """Money at given prices (`trim_pomdp.runtime.money.spent`)."""

    prices: Prices

    @property
    def unit(self) -> str:
        """Currency of the prices."""
        return self.prices.currency or "money"

    def of(self, solution: SolutionRecord) -> float:
        """See `Cost`.

        Raises
        ------
        InputError
            If a model that was asked has no price, or reads at a price and nobody counted what it read.
        """
        tokens = solution.terminal.tokens
        total = spent(tokens, self.prices).total
        priced = {role for role in ROLES if (price := getattr(self.prices, role)) is not None and price.input > 0.0}
        _require_counted(solution, priced)
        return total


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of forward passes: twice the parameters for each token that is read or written.

    Source: Kaplan et al., "Scaling laws for neural language models", 2020, section 2.1, without the term for attention
    over the context. Tokens that a prefix cache held are not read again; the reward model only reads.

    Attributes
    ----------
    weak, strong, prm : float or None
        Parameters of each model (of a mixture of experts the active ones); None where it is not asked.
    """

    weak: float | None = None
    strong: float | None = None
    prm: float | None = None
    unit: str = "FLOPs"

    def of(self, solution: SolutionRecord) -> float:
        """See `Cost`.

        Raises
        ------
        InputError
            If a model that was asked has no number of parameters, or nobody counted what it read.
        """
        tokens = solution.terminal.tokens
        _require_counted(solution, set(ROLES))
        return sum(self._of(role, count) for role, count in forward_passes(tokens).items() if count)

    def _of(self, role: Role, tokens: int) -> float:
        parameters: dict[Role, float | None] = {"weak": self.weak, "strong": self.strong, "prm": self.prm}
        if (number := parameters[role]) is None:
            raise InputError(f"no number of parameters of the {role} model, which was asked; give Flops({role}=…)")
        return _FLOPS_PER_PARAMETER * number * tokens


@dataclass(frozen=True)
class ModelSeconds:
    """Wall time of a problem's requests one after the other, waiting included: how long a user waits for the models.

    It depends on what else the servers did at the time. Drafts that were written ahead count in full.
    """

    unit: str = "seconds"

    def of(self, solution: SolutionRecord) -> float:
        """See `Cost`."""
        requests = [item.strong for item in solution.decisions]
        requests += [draft.weak for item in solution.decisions for draft in item.all_drafts]
        scorings = [draft.scoring for item in solution.decisions for draft in item.all_drafts]
        scorings.append(solution.terminal.scoring)
        return sum(item.seconds for item in (*requests, *scorings) if item is not None)


def forward_passes(tokens: TokenCounts) -> dict[Role, int]:
    """Tokens that went through each model: read and not cached, or written."""
    return {
        "weak": tokens.weak_read - tokens.weak_cached + tokens.weak_kept + tokens.weak_discarded
        + tokens.weak_ahead_read - tokens.weak_ahead_cached + tokens.weak_ahead,
        "strong": tokens.strong_read - tokens.strong_cached + tokens.strong
        + tokens.strong_ahead_read - tokens.strong_ahead_cached + tokens.strong_ahead,
        "prm": tokens.scored - tokens.scored_cached,
    }  # fmt: skip


def outcomes(points: Sequence[Iterable[SolutionRecord]], cost: Cost | None = None) -> Outcomes:
    """Outcomes of runs over the same problems, a run a point; columns are problems by their ids, sorted.

    A problem that failed counts as not solved, with what it had cost by then. Several runs of one point (seeds) are
    averaged before or after; this takes each as a point of its own.

    Parameters
    ----------
    points : sequence of iterables of SolutionRecord
        Ended solutions of each point, in any order (`trim_pomdp.runtime.traces.read_traces`).
    cost : Cost or None
        What is counted; None: strong tokens.

    Raises
    ------
    InputError
        If there are no runs or problems, runs differ in their problems, one has a problem twice, or no right answer is
        known of a problem; and as the cost.
    """
    counted = StrongTokens() if cost is None else cost
    rows: list[dict[str, tuple[float, float]]] = []
    for number, solutions in enumerate(points):
        row: dict[str, tuple[float, float]] = {}
        for solution in solutions:
            end = solution.terminal
            if end.correct is None:
                raise InputError(f"point {number}: no right answer of problem {end.problem!r} is known")
            if end.problem in row:
                raise InputError(f"point {number}: problem {end.problem!r} ended twice")
            row[end.problem] = float(end.correct), counted.of(solution)
        if rows and (others := sorted(row.keys() ^ rows[0].keys())):
            raise InputError(f"points 0 and {number} are of different problems: only one of them has {others[0]!r}")
        rows.append(row)
    if not rows or not rows[0]:
        raise InputError("no solutions, so no outcomes")
    table = np.array([[row[problem] for problem in sorted(row)] for row in rows])
    return Outcomes(table[:, :, 0], table[:, :, 1])


def _require_counted(solution: SolutionRecord, roles: set[Role]) -> None:
    """`InputError` where a model wrote or scored, and nobody counted what it read."""
    tokens = solution.terminal.tokens
    wrote: dict[Role, int] = {
        "weak": tokens.weak_kept + tokens.weak_discarded,
        "strong": tokens.strong,
        "prm": sum(draft.scoring is not None for item in solution.decisions for draft in item.all_drafts),
    }
    read: dict[Role, int] = {"weak": tokens.weak_read, "strong": tokens.strong_read, "prm": tokens.scored}
    for role in ROLES:
        if role in roles and wrote[role] and not read[role]:
            raise InputError(
                f"problem {solution.terminal.problem!r}: nobody counted what the {role} model read; "
                "this cost needs a backend that does"
            )
