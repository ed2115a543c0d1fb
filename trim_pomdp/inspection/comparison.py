"""Two runs over the same problems: differences of the second from the first, paired by problem.

A difference is the mean over shared problems of what the second run did minus what the first did. Its interval is
Student's of that mean, from the standard deviation of the paired differences, so that what is hard for both runs does
not widen it; of the accuracy it is Bonett and Price's, from how often only one of the runs was right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trim_pomdp.inspection.intervals import Interval, mean_interval, paired_share_interval
from trim_pomdp.model.prices import Prices
from trim_pomdp.runtime.money import spent
from trim_pomdp.runtime.records import TerminalRecord
from trim_pomdp.runtime.summary import mean_and_error

Pair = tuple[TerminalRecord, TerminalRecord]


@dataclass(frozen=True)
class Asked:
    """What tells problems apart: two problem sets may use the same ids.

    Attributes
    ----------
    problem : str
        Its id.
    reference, prompt : str or None
        The right answer and what was asked, where a run knows them.
    """

    problem: str
    reference: str | None
    prompt: str | None

    @classmethod
    def of(cls, end: TerminalRecord, prompts: Mapping[str, str]) -> Asked:
        """As a run knows it."""
        return cls(end.problem, end.reference, prompts.get(end.problem))

    def may_be(self, other: Asked) -> bool:
        """Whether nothing that is known of both speaks against their being the same problem."""
        known = ((self.reference, other.reference), (self.prompt, other.prompt))
        return self.problem == other.problem and all(a is None or b is None or a == b for a, b in known)

    def joined(self, other: Asked) -> Asked:
        """The same problem, with what either knows."""
        return Asked(
            self.problem,
            other.reference if self.reference is None else self.reference,
            other.prompt if self.prompt is None else self.prompt,
        )


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, second minus first.

    Attributes
    ----------
    first, second : float
        Means over the problems in question.
    value : float
    error : float or None
        Standard error; None where one problem tells nothing of it.
    interval : (float, float) or None
        At 95 %; None where nothing can be told: of one pair, or of differences that are all the same (but for the
        accuracy).
    problems : int
        How many pairs it is of.
    """

    first: float
    second: float
    value: float
    error: float | None
    interval: Interval | None
    problems: int


@dataclass(frozen=True)
class PairedRuns:
    """What two runs did on the problems that both of them ended.

    Attributes
    ----------
    shared : int
        Problems with the same id in both, and the same right answer and prompt where both know them.
    only_first, only_second : int
        Problems that the other run has not.
    other_problem : int
        Problems whose id is shared, but whose right answer or prompt is another one; they are not compared.
    differences : mapping of str to Difference
        ``accuracy`` (of problems whose outcome both know), ``strong_tokens``, ``regenerations``, ``steps``,
        ``redrafts`` where there were any, and ``money`` where there are prices; empty where nothing is shared.
    both, first_alone, second_alone, neither : int
        Shared problems with known outcomes by who solved them.
    """

    shared: int
    only_first: int
    only_second: int
    other_problem: int
    differences: Mapping[str, Difference]
    both: int
    first_alone: int
    second_alone: int
    neither: int

    @property
    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def compare_runs(
    first: Iterable[TerminalRecord],
    second: Iterable[TerminalRecord],
    *,
    prices: Prices | None = None,
    prompts: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> PairedRuns:
    """Pair two runs by the ids of their problems.

    Parameters
    ----------
    first, second : iterable of TerminalRecord
        How the problems of each run ended; the last record of an id counts.
    prices : Prices or None
        The same for both runs.
    prompts : (mapping, mapping)
        What each run asked, by id, where that is known.

    Raises
    ------
    InputError
        If a model that was asked has no price.
    """
    before, after = ({item.problem: item for item in run} for run in (first, second))
    common = [(before[name], after[name]) for name in before if name in after]
    pairs = [(a, b) for a, b in common if Asked.of(a, prompts[0]).may_be(Asked.of(b, prompts[1]))]
    judged = [pair for pair in pairs if pair[0].correct is not None and pair[1].correct is not None]
    quantities: dict[str, tuple[list[Pair], Callable[[TerminalRecord], float]]] = {
        "accuracy": (judged, lambda item: float(bool(item.correct))),
        "strong_tokens": (pairs, lambda item: float(item.tokens.strong)),
        "regenerations": (pairs, lambda item: float(item.regenerations)),
        "steps": (pairs, lambda item: float(item.steps)),
    }
    if any(item.redrafts for pair in pairs for item in pair):
        quantities["redrafts"] = (pairs, lambda item: float(item.redrafts))
    if prices is not None:
        known = prices
        quantities["money"] = (pairs, lambda item: spent(item.tokens, known).total)
    outcomes = [(bool(a.correct), bool(b.correct)) for a, b in judged]
    return PairedRuns(
        shared=len(pairs),
        only_first=len(before) - len(common),
        only_second=len(after) - len(common),
        other_problem=len(common) - len(pairs),
        differences={name: _difference(name, chosen, of) for name, (chosen, of) in quantities.items() if chosen},
        both=outcomes.count((True, True)),
        first_alone=outcomes.count((True, False)),
        second_alone=outcomes.count((False, True)),
        neither=outcomes.count((False, False)),
    )


def _difference(name: str, pairs: list[Pair], of: Callable[[TerminalRecord], float]) -> Difference:
    first, second = [of(a) for a, _ in pairs], [of(b) for _, b in pairs]
    value, error = mean_and_error([b - a for a, b in zip(first, second, strict=True)])
    left, right = mean_and_error(first)[0], mean_and_error(second)[0]
    assert value is not None
    assert left is not None
    assert right is not None
    if name == "accuracy":
        apart = [b - a for a, b in zip(first, second, strict=True)]
        interval = paired_share_interval(apart.count(-1.0), apart.count(1.0), len(pairs))
    else:
        interval = mean_interval(value, error, len(pairs))
    return Difference(left, right, value, error, interval, len(pairs))
