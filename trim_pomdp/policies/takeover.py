"""Take over: after the first step that scores low the strong model writes all the rest, the paper's ablation of TRIM.

The threshold rule of TRIM (Kapoor et al., arXiv 2601.10245), but for handing back: whoever is called in stays.
"""

from __future__ import annotations

from typing import Literal

from trim_pomdp.model.actions.takeover import TakeOver
from trim_pomdp.policies.threshold import ScoreRule


class TakeoverRule(ScoreRule):
    """Have the strong model write the first step whose score is below the threshold, and everything that follows.

    The score is the PRM's, or an evidence score. At 0 the weak model writes all; at 1 the strong model does, after one
    draft that it replaces.
    """

    form: Literal["takeover"] = "takeover"
    intervention = TakeOver.code

    @property
    def choices(self) -> tuple[str, ...]:
        """See `Rule`."""
        return ("keep", TakeOver.name)
