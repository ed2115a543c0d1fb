"""Recall: the draft before this one stands after all."""

from __future__ import annotations

from trim_pomdp.model.actions.base import Action, FloatArray, StepLaw
from trim_pomdp.model.actions.keep import Keep


class Recall(Action):
    """Let the draft that was discarded last stand, and discard the one that came in its place.

    Its table is that of keeping, of end and class of the draft that stands.
    """

    name = "recall"
    code = 4
    verb, does, done = "recall", "recalls", "recalled"
    asks = None
    writes = "nothing"
    is_of_former = True
    needs = ("redraft_repair",)

    def outcomes(self, law: StepLaw) -> FloatArray:
        """See `Action`."""
        return Keep().outcomes(law)
