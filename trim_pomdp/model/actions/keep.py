"""Keep: the weak step stands, and the solution goes on or is over as it says."""

from __future__ import annotations

import numpy as np

from trim_pomdp.model.actions.base import NEXT, OVER, Action, FloatArray, StepLaw, no_outcomes


class Keep(Action):
    """Let the weak step stand: right in class S0, and in S1 with the probability of a recovery."""

    name = "keep"
    code = 0
    verb, does, done = "keep", "keeps", "kept"
    asks = None
    writes = "nothing"

    def outcomes(self, law: StepLaw) -> FloatArray:
        """See `Action`."""
        out = no_outcomes(law)
        for exit_ in (NEXT, OVER):  # a draft that ends the solution is over, else the next step comes
            out[:, exit_, 0, exit_, 0] = 1.0
            out[:, exit_, 1, exit_, :2] = np.stack([law.recovery, 1.0 - law.recovery], axis=1)
            out[:, exit_, 2, exit_, 1] = 1.0
        return out
