"""Regenerate: the strong model writes the step in place of the weak one's draft."""

from __future__ import annotations

import numpy as np

from trim_pomdp.model.actions.base import NEXT, OVER, Action, FloatArray, StepLaw, no_outcomes
from trim_pomdp.model.hazard import coupled_end


class Regenerate(Action):
    r"""Have the strong model write the step: right with p_s in class S0, with p_r in S2.

    The step then ends the solution iff the draft did, but where that makes a wrong prefix right, or a right one wrong:
    then it is over with the hazard of a right step, or of a first error (`trim_pomdp.model.hazard.coupled_end`).
    """

    name = "regenerate"
    code = 1
    verb, does, done = "regenerate", "regenerates", "regenerated"
    asks = "strong"
    writes = "step"

    def outcomes(self, law: StepLaw) -> FloatArray:
        """See `Action`."""
        out, (success, repair) = no_outcomes(law), law.here
        h, _, h_wrong = law.end.T
        for ended in (NEXT, OVER):
            redone = out[:, ended]
            redone[:, 1, ended, :2] = np.stack([law.recovery, 1.0 - law.recovery], axis=1)
            redone[:, 0, ended, 0] = success
            redone[:, 2, ended, 1] = 1.0 - repair
            for over, share in enumerate(coupled_end(h, h_wrong, ended)):
                redone[:, 0, over, 1] += (1.0 - success) * share
            for over, share in enumerate(coupled_end(h_wrong, h, ended)):
                redone[:, 2, over, 0] += repair * share
        return out

    def strong_steps(self, law: StepLaw) -> FloatArray:
        """See `Action`: one, in the draft's place."""
        return np.broadcast_to(np.eye(3), (law.steps, 2, 3, 3)).copy()
