"""The policy map: where a policy intervenes, over the belief before a step and the step's score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trim_pomdp.display import one_line
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.policy_maps import policy_map_state
from trim_pomdp.inspection.widgets.base import script
from trim_pomdp.inspection.widgets.explorer import Explorer
from trim_pomdp.policies import PolicyArtifact, Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PolicyMap"]


class PolicyMap(Explorer):
    """Gain of intervening less its price, over q and the score, for a step; the line where they are equal.

    Parameters
    ----------
    policy : rule or PolicyArtifact
        One that was not planned on bins of a score has no map; the widget then says why.
    step : int
        Index of the step to begin with.
    threshold : float, optional
        Of a threshold rule to draw beside it.

    Raises
    ------
    InputError
        If it is no policy, the step is negative, or the threshold is no probability.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> PolicyMap(tp.policy_for_tradeoff(tp.load_preset("lab-loop").routing_model(), 0.1))
    PolicyMap(λ = 0.1, step 2)
    """

    _esm = script("explorers.js", "policy_map.js", "policy_map_widget.js")

    def __init__(self, policy: Rule | PolicyArtifact, *, step: int = 1, threshold: float | None = None) -> None:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise InputError(f"threshold is {threshold}; expected a score from 0 to 1")
        self._policy, self._threshold = policy, threshold
        self._map = policy_map_state(policy, step, threshold=threshold)
        super().__init__()
        self.show()

    def answer(self, name: str, *values: Any) -> None:
        """See `Drawn`: ``look`` says at which step and part, and whether the step ends the solution."""
        if name != "look":
            raise InputError(f"the page asked for {name!r}; it can ask for look")
        (question,) = values
        step, part, ended = int(question["step"]), int(question["part"]), bool(question["ended"])
        self._map = policy_map_state(self._policy, step, part=part, ended=ended, threshold=self._threshold)

    def drawn(self) -> Mapping[str, Any]:
        """See `Drawn`."""
        return self._map

    @property
    def pictured(self) -> bool:
        """See `Explorer`."""
        from trim_pomdp.planning.plots import has_policy_map

        return has_policy_map(self._policy)

    def picture(self) -> Figure:
        """See `Drawn`."""
        from trim_pomdp.planning.plots import plot_policy_map

        return plot_policy_map(self._policy)

    def __repr__(self) -> str:
        shown = self._map["parts"][self._map["part"]]["label"]
        at = {"step": self._map["step"] + 1} if self._map["grid"] else {"map": "none"}
        return one_line(type(self).__name__, {"policy": shown, **at}).replace("(policy ", "(", 1)
