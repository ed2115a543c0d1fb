"""Totals of a run, from the terminal records of its problems."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trim_pomdp.errors import TrimError
from trim_pomdp.runtime.records import TerminalRecord, TokenCounts


@dataclass(frozen=True)
class RunSummary:
    """What a run achieved and spent. Standard errors are None where one problem tells nothing of them.

    Attributes
    ----------
    problems : int
        Problems that ended, failed ones among them.
    accuracy, accuracy_se : float or None
        Share of right answers among problems with a known answer; a problem that failed counts as not solved.
    strong_tokens, strong_tokens_se : float or None
        Mean strong tokens per problem, whatever a failed one had spent included.
    regenerations, regenerations_se, steps : float
        Mean number of steps that the strong model wrote, its standard error, and mean number of all steps, per problem.
    budget, budget_se : float or None
        Strong tokens in units of strong-only's; None where those are not given.
    tokens : dict of str to int
        Totals by model and purpose, see `TokenCounts`.
    decisions : int
        Steps of all problems.
    degenerate : int
        Degenerate steps among them.
    one_step : int
        Solutions of a single step, failed ones apart.
    reasons : dict of str to int
        How often solutions ended for which reason.
    failed : int
        Problems that ended by an error.
    error : str or None
        What the first of them met.
    alone : int
        Problems that one model finished alone, since another one was given up.
    given_up : str or None
        What the first of those met.
    wall_s : float
        Time that the run took, summed over its sessions; what a killed session did after its last problem is not known.
    overhead_share : float
        Share of it in which no model worked.
    redrafts, redrafts_se : float
        Mean number of further drafts of weak steps, per problem, and its standard error.
    constant_score : float or None
        The score that every step of this session had, if all were the same.
    faults : dict of str to dict of str to int
        Requests to served models that failed and were tried again, by role and kind; of this session.
    """

    problems: int
    accuracy: float | None
    accuracy_se: float | None
    strong_tokens: float
    strong_tokens_se: float | None
    regenerations: float
    regenerations_se: float | None
    steps: float
    budget: float | None
    budget_se: float | None
    tokens: dict[str, int]
    decisions: int
    degenerate: int
    one_step: int
    reasons: dict[str, int]
    failed: int
    error: str | None
    alone: int
    given_up: str | None
    wall_s: float
    overhead_share: float
    faults: dict[str, dict[str, int]] = field(default_factory=dict)
    redrafts: float = 0.0
    redrafts_se: float | None = None
    constant_score: float | None = None


def summarise(terminals: Iterable[TerminalRecord], strong_only_tokens: float | None = None) -> RunSummary:
    """Totals of ended problems.

    Parameters
    ----------
    terminals : iterable of TerminalRecord
        In the order in which they were written.
    strong_only_tokens : float or None
        Strong tokens per problem of always regenerating, the unit of the budget.
    """
    ended = list(terminals)
    # Sums do not depend on the order in which problems happened to end.
    tokens = TokenCounts.total(item.tokens for item in ended)
    accuracy, accuracy_se = mean_and_error([float(item.correct) for item in ended if item.correct is not None])
    strong, strong_se = mean_and_error([float(item.tokens.strong) for item in ended])
    redone, redone_se = mean_and_error([float(item.regenerations) for item in ended])
    again, again_se = mean_and_error([float(item.redrafts) for item in ended])
    reasons = Counter(item.reason for item in ended)
    steps = sum(item.steps for item in ended)
    wall, models = _times(ended)
    unit = strong_only_tokens
    lost = [item.fallback.error for item in ended if item.fallback is not None and item.error is None]
    return RunSummary(
        problems=len(ended),
        accuracy=accuracy,
        accuracy_se=accuracy_se,
        strong_tokens=strong or 0.0,
        strong_tokens_se=strong_se,
        regenerations=redone or 0.0,
        regenerations_se=redone_se,
        steps=steps / max(len(ended), 1),
        budget=None if unit is None or strong is None else strong / unit,
        budget_se=None if unit is None or strong_se is None else strong_se / unit,
        tokens=tokens.model_dump(),
        decisions=steps,
        degenerate=sum(item.degenerate for item in ended),
        one_step=sum(item.steps == 1 and item.error is None for item in ended),
        reasons=dict(sorted(reasons.items())),
        failed=reasons["error"],
        error=next((item.error for item in ended if item.error is not None), None),
        alone=len(lost),
        given_up=lost[0] if lost else None,
        wall_s=wall,
        overhead_share=max(1.0 - models / wall, 0.0) if wall > 0 else 0.0,
        redrafts=again or 0.0,
        redrafts_se=again_se,
    )


# Of so few problems, or so small a share of them, nothing is said.
_FEW, _SHARE = 5, 0.5


def disobedience(summary: RunSummary) -> tuple[str, ...]:
    """Where models do not write as they are asked to, a line each with the remedy."""
    ended = summary.problems - summary.failed
    if ended < _FEW:
        return ()
    lines = []
    if summary.one_step > _SHARE * ended:
        lines.append(
            f"{summary.one_step} of {ended} solutions are a single step, which leaves little to route: ask for blank "
            'lines between steps (system_prompt), or say what separates them ([steps] separator = "newline")'
        )
    if summary.constant_score is not None:
        lines.append(
            f"every step has the score {summary.constant_score:g}, which tells nothing of it: is it the right PRM, "
            "template and question? (trim-pomdp check)"
        )
    unanswered = ended - summary.reasons.get("answer", 0)
    if unanswered > _SHARE * ended:
        lines.append(
            f"{unanswered} of {ended} solutions end without an answer in a box: ask for \\boxed{{}} (system_prompt), "
            "or leave more room ([limits] max_steps, max_step_tokens)"
        )
    return tuple(lines)


def mean_and_error(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and its standard error; None for what too few values do not tell."""
    n = len(values)
    if n == 0:
        return None, None
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    return mean, math.sqrt(variance / n)


def _times(ended: Sequence[TerminalRecord]) -> tuple[float, float]:
    """Time that passed and time that models worked, summed over sessions."""
    last: dict[int, TerminalRecord] = {}
    for item in ended:
        if item.session not in last or item.elapsed_s >= last[item.session].elapsed_s:
            last[item.session] = item
    return sum(item.elapsed_s for item in last.values()), sum(item.models_s for item in last.values())


def require_success(summary: RunSummary, out: str | Path) -> None:
    """Raise `TrimError` if every problem failed: what was measured then tells nothing."""
    if summary.failed == summary.problems:
        raise TrimError(f"{out}: every problem failed, the first by {summary.error}")
