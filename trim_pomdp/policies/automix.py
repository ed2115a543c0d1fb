r"""AutoMix (Aggarwal et al. 2024, arXiv 2310.12963): escalate where the weak model's own verification has doubts.

The weak model solves the problem, verifies its solution, and a meta-verifier decides on that confidence v whether the
strong model solves the problem anew. The meta-verifiers of the source are all points for bins of v, or v itself:

* threshold: escalate iff v is low: points 1 − v.
* double threshold: iff v lies between two numbers, since what is hopeless is worth no strong solution: points 1 there.
* POMDP of one step (`trim_pomdp.fitting.queries.automix`): what is hidden is which of the two models is right, v is
  what is seen of it; points are what escalating is expected to gain per strong token, given the bin of v.

What is assumed: the source has the weak model asked, several times and with examples, whether its answer is right; v is
the share of yes. Models that only write solutions cannot be asked, so v is the share of further weak samples with
the same answer (self-consistency; each sample is paid for), or e to the mean log-probability of a token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.query import QueryRule, required_solutions
from trim_pomdp.text.answers import same_answer


class VerifiedRule(QueryRule):
    """A rule that looks at how confident a verifier is of the weak model's finished solution.

    Attributes
    ----------
    cuts : tuple of float
        Where bins of the confidence end, ascending; a bin holds its lower end.
    worth : tuple of float or None
        Points of each bin, one more than cuts; None: 1 − confidence.
    """

    cuts: tuple[float, ...] = ()
    worth: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _a_worth_for_every_bin(self) -> VerifiedRule:
        if any(b <= a for a, b in zip(self.cuts, self.cuts[1:], strict=False)):
            raise ValueError("cuts are not ascending")
        if self.worth is not None and len(self.worth) != len(self.cuts) + 1:
            raise ValueError(f"worth has {len(self.worth)} values; expected {len(self.cuts) + 1}")
        return self

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {**super().facts(), "bins": None if self.worth is None else len(self.worth)}

    @property
    def needs_solution(self) -> bool:
        """See `QueryRule`."""
        return True

    def confidence(self, solution: WeakSolution) -> float:
        """How sure the verifier is that a solution is right, in [0, 1].

        Raises
        ------
        InputError
            If the solution lacks what it looks at.
        """
        raise NotImplementedError(f"{type(self).__name__} has no verifier")

    def points(
        self, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None = None, *, seed: int = 0
    ) -> FloatArray:
        """See `QueryRule`."""
        seen = np.array([self.confidence(item) for item in required_solutions(self, problems, solutions)])
        return 1.0 - seen if self.worth is None else np.asarray(self.worth)[self.bins(seen)]

    def bins(self, confidences: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        """Bin of each confidence, from 0."""
        return np.searchsorted(np.asarray(self.cuts), confidences, side="right")


class AutoMixRule(VerifiedRule):
    """AutoMix with a verifier that needs no instruction.

    Attributes
    ----------
    verifier : {"agreement", "logprob"}
        Share of further weak samples with the same answer; e to the mean log-probability of a token.
    samples : int
        How many further samples, for agreement.
    """

    form: Literal["automix"] = "automix"
    verifier: Literal["agreement", "logprob"] = "agreement"
    samples: PositiveInt = 1

    @property
    def further_samples(self) -> int:
        """See `QueryRule`."""
        return self.samples if self.verifier == "agreement" else 0

    def confidence(self, solution: WeakSolution) -> float:
        """See `VerifiedRule`."""
        if self.verifier == "logprob":
            if solution.mean_logprob is None:
                raise InputError("automix looks at log-probabilities, but a weak solution has none; use agreement")
            return float(np.exp(solution.mean_logprob))
        if len(solution.further) < self.samples:
            raise InputError(
                f"automix asks {self.samples} further weak samples, but a solution has {len(solution.further)}"
            )
        return float(np.mean([same_answers(solution.answer, other) for other in solution.further[: self.samples]]))


def same_answers(first: str | None, second: str | None) -> bool:
    """Whether two answers are there, and the same."""
    return first is not None and second is not None and same_answer(first, second)
