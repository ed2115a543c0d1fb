"""Redraft: the weak model writes the same step once more."""

from __future__ import annotations

from trim_pomdp.model.actions.base import AGAIN, Action, FloatArray, StepLaw, no_outcomes


class Redraft(Action):
    """Discard the draft and ask the weak model again, for weak tokens alone; the new draft is decided on afresh.

    How likely it is to be right depends on how many drafts came before and how the last one was
    (`trim_pomdp.model.redrafts`), since drafts of one hard step fail together.
    """

    name = "redraft"
    code = 2
    verb, does, done = "redraft", "redrafts", "redrafted"
    asks = "weak"
    writes = "step"
    is_judged_again = True
    needs = ("redraft_repair",)

    def outcomes(self, law: StepLaw) -> FloatArray:
        """See `Action`."""
        out = no_outcomes(law)
        for c in range(3):
            out[:, :, c, AGAIN, c] = 1.0
        return out
