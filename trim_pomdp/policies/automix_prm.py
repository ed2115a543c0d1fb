"""AutoMix with a process reward model as its verifier: confidence is the cumulative score of the weak solution.

TRIM's baseline "AutoMix-PRM". What cumulates the scores its page does not say; the product is the default: the
probability that every step is right, if scores are such probabilities and independent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from trim_pomdp.data.queries import WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.policies.automix import VerifiedRule

Cumulative = Literal["product", "minimum", "mean", "last"]
_CUMULATE: Mapping[Cumulative, Callable[[Sequence[float]], float]] = {
    "product": math.prod,
    "minimum": min,
    "mean": statistics.fmean,
    "last": lambda scores: scores[-1],
}


class AutoMixPrmRule(VerifiedRule):
    """AutoMix on PRM scores.

    Attributes
    ----------
    cumulative : {"product", "minimum", "mean", "last"}
        From the scores of the steps to the confidence.
    """

    form: Literal["automix-prm"] = "automix-prm"
    cumulative: Cumulative = "product"

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return True

    def confidence(self, solution: WeakSolution) -> float:
        """See `VerifiedRule`."""
        if not solution.scores:
            raise InputError("automix-prm looks at PRM scores, but a weak solution has none; record them")
        return float(_CUMULATE[self.cumulative](solution.scores))
