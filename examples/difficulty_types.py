"""Easy and hard problems that look alike at first: planned with the type hidden, and what knowing it would be worth.

The types are made up, loosely after what is measured: 15 % of the problems of MATH-500 are never solved by one
model, and repaired solutions come out right in .61 on GSM8K, but .27 on MATH-500. All else is the lab's.
"""

import trim_pomdp as tp
from trim_pomdp.planning.difficulty import DifficultyTypes

lab = tp.load_preset("lab-loop").routing_model()


def of_type(weak_success: float, strong_success: float, repair: float) -> tp.RoutingModel:
    """The lab's pair on problems of another difficulty."""
    changes = {"weak_success": (weak_success,), "strong_success": strong_success, "repair": repair}
    return tp.RoutingModel(lab.observations, lab.dynamics.model_copy(update=changes))


types = DifficultyTypes([of_type(0.94, 0.99, 0.61), of_type(0.6, 0.7, 0.27)], [0.85, 0.15])
for price in (0.1, 1.0, 2.0):
    worth = types.worth(price)
    accuracy, tokens = worth.hidden.components[:2]
    print(f"a strong token costs {price} points: {accuracy:.3f} right with {tokens:.1f} strong tokens a problem")
    print(f"  the type hidden: {worth.hidden.lower:.2f} to {worth.hidden.upper:.2f} points a problem")
    print("  knowing it would add {:.2f} to {:.2f}".format(*worth.knowing))
    print("  minding types adds {:.2f} to {:.2f} to the plan of the pooled model".format(*worth.minding))
