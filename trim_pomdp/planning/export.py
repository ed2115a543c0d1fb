"""The routing problem as an ordinary POMDP, for other solvers, other programs, and files.

What the router sees before it acts, the observation bin of the weak step and whether that ends the solution, is shown
by the action before it; a first action, which does nothing whatever it is, shows the first step. States are known up to
whether the prefix is right and what the step is (`solvers.unfolding`: a handful a step, however many bins there are),
the step is a fully observed factor, and a solution that is over is a terminal state. Rewards are those of a plan: the
reward of a right answer less the price of what was spent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trim_pomdp.model.actions.base import AGAIN
from trim_pomdp.model.belief import DERAILED, RIGHT
from trim_pomdp.model.process import RoutingModel, Spending
from trim_pomdp.model.redrafts import DraftPlace

if TYPE_CHECKING:
    from solvers import POMDP
    from solvers.unfolding import Sight, Unfolded

_ENDS = ("goes-on", "ends")
_HIDDEN = {RIGHT: "right", DERAILED: "derailed", 2: "draft-wrong"}  # the last: of a step that is drafted again


def routing_pomdp(
    model: RoutingModel, price: float, over: Spending = "strong_tokens", *, observed: bool = True
) -> POMDP:
    """Return routing at a tradeoff as a POMDP, whose value at the start is that of the plan.

    Parameters
    ----------
    model : RoutingModel
    price : float
        Of one strong token (the tradeoff λ), or of one unit of money, in units of reward.
    over : {"strong_tokens", "money"}
        What has the price.
    observed : bool
        Whether the step, and whether it ends the solution, are declared as a fully observed factor. Files in the format
        ``.pomdp`` cannot say so and want False: what is seen tells it anyway, one action a step.

    Returns
    -------
    POMDP
        Discount 1 and no horizon: all is over after ``max_steps + 1`` actions (the first look is one). States are named
        ``before``, ``step-3_right_goes-on-0`` (step 3, prefix right; the last part says whether the weak step ends the
        solution, and numbers kinds of steps that differ in how likely they are right), and ``over_right``,
        ``over_derailed``; observations ``bin-7``, ``bin-7_ends`` and ``over``. Where plans may redraft, states are
        ``step-3_draft-1_…``, and those of a further draft ``step-3_draft-2_…``, or ``step-3_draft-2-same_…`` where it
        is the one before it word for word; another draft is seen as ``again_bin-7``, or as ``same``.

    Raises
    ------
    InputError
        If the price is negative or not finite, or money is meant and no tariff is there.

    Examples
    --------
    >>> from trim_pomdp.presets.store import load_preset
    >>> routing_pomdp(load_preset("qwen2.5-1.5b-7b-math").routing_model(), 0.1)
    POMDP(178 states (61 values of them seen), 2 actions, 263 observations, discount 1)
    """
    from solvers.unfolding import unfold

    weights = model.weights(price, over)
    unfolded = unfold(model.epoch_model)
    bins = model.emission.shape[1]
    return unfolded.pomdp(
        weights,
        observed=observed,
        states=list(_place_names(unfolded, model.dynamics.max_steps, bins)),
        observations=[_sight_name(sight, bins) for sight in unfolded.sights],
    )


def _place_names(unfolded: Unfolded, steps: int, bins: int) -> Iterator[str]:
    places = (unfolded.model.n_nodes - 1) // steps  # of a step (`RoutingModel.places`): nodes are by step, then place
    count: dict[str, int] = {}
    for state, place in enumerate(unfolded.places):
        if place.node < 0:
            yield "before"
        elif place.kind < 0:
            yield f"over_{_HIDDEN[place.hidden]}"
        else:
            step, number = divmod(place.node, places)
            drafted = DraftPlace.numbered(number)
            same = "-same" if drafted.repeated else ""
            where = f"step-{step + 1}" + (f"_draft-{drafted.draft + 1}{same}" if places > 1 else "")
            ends = _ENDS[drafted.ended] if drafted.repeated else _end(unfolded, state, bins)
            name = f"{where}_{_HIDDEN[place.hidden]}_{ends}"
            count[name] = count.get(name, -1) + 1
            yield f"{name}-{count[name]}"


def _end(unfolded: Unfolded, state: int, bins: int) -> str:
    """Whether the weak step of a state ends the solution, which its signals tell."""
    ends = {sight.signal >= bins for sight in unfolded.shown[state]}
    return "either" if len(ends) > 1 else _ENDS[True in ends]


def _sight_name(sight: Sight, bins: int) -> str:
    if sight.signal < 0:
        return "over"
    if sight.seen > AGAIN:
        return "same"
    again = "again_" if sight.seen == AGAIN else ""
    return f"{again}bin-{sight.signal % bins}" + ("_ends" if sight.signal >= bins else "")
