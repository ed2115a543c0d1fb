"""What a run tells of its policy: how far its belief can be trusted, where the strong model's tokens went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.intervals import share_interval
from trim_pomdp.inspection.runs import RecordedRun
from trim_pomdp.model.prices import Prices
from trim_pomdp.runtime.money import spent
from trim_pomdp.runtime.records import ENDED, DecisionRecord, TokenCounts

CLASS_NAMES = ("S0 right", "S1 derailed", "S2 first error")
_BINS = 10
CalibrationOf = Literal["answers", "steps"]


@dataclass(frozen=True)
class CalibrationBin:
    """Cases of about the same belief.

    Attributes
    ----------
    low, high : float
        Beliefs in [low, high); the last bin holds 1 as well.
    count : int
        Cases.
    believed : float
        Their mean belief.
    share : float
        Share of them that were right.
    interval : tuple of (float, float)
        Wilson's 95 % interval of the share; steps of one solution are not independent, which it does not know.
    """

    low: float
    high: float
    count: int
    believed: float
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Belief against truth.

    Attributes
    ----------
    of : {"answers", "steps"}
        P(the solution is right) after its last step, against outcomes, of solutions that ended by their own text, and
        not by a limit; or P(S0) of a weak step, against true classes.
    bins : tuple of CalibrationBin
        Those that have cases, ascending.
    count : int
    brier : float
        Mean squared difference of belief and truth.
    error : float
        Expected calibration error: mean distance of belief and share, by count.
    """

    of: CalibrationOf
    bins: tuple[CalibrationBin, ...]
    count: int
    brier: float
    error: float


def calibration(run: RecordedRun, of: CalibrationOf = "answers", *, bins: int = _BINS) -> Calibration:
    """How a policy's belief compares with what is true.

    Parameters
    ----------
    run : RecordedRun
    of : {"answers", "steps"}
        See `Calibration`.
    bins : int
        Of equal width.

    Raises
    ------
    InputError
        If the policy believes nothing, or no truth is known; or there is no such calibration.
    """
    if of not in get_args(CalibrationOf) or bins < 1:
        raise InputError(f"calibration of {of!r} in {bins} bins; expected 'answers' or 'steps', and at least one bin")
    pairs = list(_answers(run) if of == "answers" else _steps(run))
    if not pairs:
        lacks = "known outcomes" if of == "answers" else "known true classes"
        raise InputError(f"{run.folder}: there are no {of} with both a belief and {lacks}")
    believed, right = (np.array(values, dtype=np.float64) for values in zip(*pairs, strict=True))
    place = np.minimum((believed * bins).astype(np.int64), bins - 1)
    found = tuple(_bin(index, bins, believed[place == index], right[place == index]) for index in np.unique(place))
    return Calibration(
        of=of,
        bins=found,
        count=len(pairs),
        brier=float(np.mean((believed - right) ** 2)),
        error=sum(item.count * abs(item.believed - item.share) for item in found) / len(pairs),
    )


def _bin(index: int, bins: int, believed: np.ndarray, right: np.ndarray) -> CalibrationBin:
    interval = share_interval(int(right.sum()), len(right))
    assert interval is not None  # there are cases
    return CalibrationBin(
        low=int(index) / bins,
        high=(int(index) + 1) / bins,
        count=len(right),
        believed=float(believed.mean()),
        share=float(right.mean()),
        interval=interval,
    )


def _answers(run: RecordedRun) -> Iterator[tuple[float, bool]]:
    for item in run.solutions:
        end = item.terminal
        if end.q is not None and end.correct is not None and end.reason in ENDED:
            yield end.q, end.correct


def _steps(run: RecordedRun) -> Iterator[tuple[float, bool]]:
    for record in run.solutions:
        for item in record.decisions:
            if item.belief is not None and item.weak is not None and item.weak.true_class is not None:
                yield item.belief[0], item.weak.true_class == 0


@dataclass(frozen=True)
class ClassSpending:
    """What was done with weak steps of one class; whole numbers by truth, expected ones by belief.

    Attributes
    ----------
    steps, regenerations : float
        Weak steps, and those among them that the strong model wrote again.
    strong_tokens : float
    money : float or None
        Of these strong steps, writing and reading; None without a price of the strong model.
    """

    steps: float
    regenerations: float
    strong_tokens: float
    money: float | None


@dataclass(frozen=True)
class Spending:
    """Where the strong model's tokens went, by class of the weak step.

    Attributes
    ----------
    by : {"truth", "belief"}
        True classes, or the policy's belief where they are not known.
    classes : tuple of three ClassSpending
        S0 (needless), S1 (in vain), S2 (where it can help).
    undecided_tokens : int
        Strong tokens of steps that nobody believed anything of, such as those written alone.
    undecided_money : float or None
        What these cost; None without a price of the strong model.
    """

    by: Literal["truth", "belief"]
    classes: tuple[ClassSpending, ClassSpending, ClassSpending]
    undecided_tokens: int
    undecided_money: float | None = None


def spending_by_class(run: RecordedRun, prices: Prices | None = None) -> Spending:
    """Where the strong model's tokens went: on right steps, on lost causes, on first errors.

    Parameters
    ----------
    run : RecordedRun
    prices : Prices or None
        In place of the run's own.

    Raises
    ------
    InputError
        If prices are given, but none of the strong model, which was asked.
    """
    own = None if run.prices is None or run.prices.strong is None else run.prices
    prices = own if prices is None else prices
    decisions = [item for record in run.solutions for item in record.decisions]
    by_truth = any(item.weak is not None and item.weak.true_class is not None for item in decisions)
    sums, undecided, undecided_money = np.zeros((4, 3)), 0, 0.0
    for item in decisions:
        weights = _weights(item, by_truth=by_truth)
        if weights is None:
            undecided += item.tokens.strong
            undecided_money += 0.0 if prices is None else _strong_money(item, prices)
            continue
        redone = item.author == "strong"
        money = 0.0 if prices is None or not redone else _strong_money(item, prices)
        sums += np.outer([1.0, float(redone), item.tokens.strong, money], weights)
    first, second, third = (
        ClassSpending(steps, redone, tokens, None if prices is None else money)
        for steps, redone, tokens, money in sums.T.tolist()
    )
    told = None if prices is None else undecided_money
    return Spending("truth" if by_truth else "belief", (first, second, third), undecided, told)


def _weights(item: DecisionRecord, *, by_truth: bool) -> Sequence[float] | None:
    if not by_truth:
        return item.belief
    weak = item.standing.weak
    if weak is None or weak.true_class is None:
        return None
    return [float(weak.true_class == index) for index in range(3)]


def _strong_money(item: DecisionRecord, prices: Prices) -> float:
    tokens = item.tokens
    counts = TokenCounts(strong=tokens.strong, strong_read=tokens.strong_read, strong_cached=tokens.strong_cached)
    return spent(counts, prices).total


StepOutcome = Literal["kept", "regenerated", "capped", "alone", "failed"]
STEP_OUTCOMES: tuple[StepOutcome, ...] = get_args(StepOutcome)


@dataclass(frozen=True)
class StepSummary:
    """What was done at one step, over the problems that got there.

    Attributes
    ----------
    step : int
        Index from 0.
    counts : mapping of str to int
        ``kept``, ``regenerated``; ``capped``: kept since the strong model was out of tokens; ``alone``: without a
        decision, or against it, since a model had been given up; ``failed``: an error came first.
    strong_tokens : int
    q : float or None
        Mean P(prefix right) before it.
    """

    step: int
    counts: Mapping[str, int]
    strong_tokens: int
    q: float | None

    @property
    def reached(self) -> int:
        """Problems that got there."""
        return sum(self.counts.values())


def decisions_by_step(run: RecordedRun) -> tuple[StepSummary, ...]:
    """What was done at each step, from the first on."""
    by_step: dict[int, list[DecisionRecord]] = {}
    for record in run.solutions:
        for item in record.decisions:
            by_step.setdefault(item.step, []).append(item)
    return tuple(_step_summary(step, by_step[step]) for step in sorted(by_step))


def _step_summary(step: int, items: Sequence[DecisionRecord]) -> StepSummary:
    beliefs = [item.q for item in items if item.q is not None]
    outcomes = Counter(map(step_outcome, items))
    return StepSummary(
        step=step,
        counts={name: outcomes[name] for name in STEP_OUTCOMES},
        strong_tokens=sum(item.tokens.strong for item in items),
        q=float(np.mean(beliefs)) if beliefs else None,
    )


def step_outcome(item: DecisionRecord) -> StepOutcome:
    """What was done at a step, see `StepSummary`."""
    if item.action is None:
        return "failed"
    if item.fallback:
        return "alone"
    if item.capped:
        return "capped"
    return "regenerated" if item.author == "strong" else "kept"
