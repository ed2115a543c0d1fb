r"""What a router is worth, from numbers alone: CPT, APGR and ΔIBC, with intervals and paired comparisons.

A router has points, each a setting with its cost and its accuracy. Costs are in units of strong-only's, so that
strong-only costs 1 (whatever is counted: strong tokens by default; see `trim_pomdp.runtime.costs`), and weak-only costs
`weak_cost`, which is 0 for strong tokens. Of an accuracy a, what counts is the share of the gap that it recovers,

.. math::
    g = \frac{a - a_\text{weak}}{a_\text{strong} - a_\text{weak}}.

What holds for all measures:

* Order does not matter. Of points of the same cost the most accurate one counts, since one would choose it.
* Between two points lies their chord: drawing one of the two settings for each problem reaches it. So does the
  (concave) hull, on which neighbours are chosen to be best; with noisy points it is the more optimistic for it.
* Weak-only is always part of the curve. Strong-only is part of it in `apgr`, `delta_ibc` and `compare`, which need all
  costs; not in `cpt`, where a target that no point reaches is not reached.
* Accuracies may fall where costs rise, exceed the strong model's, or lie below the weak one's; costs may exceed 1.
* Refused with `InputError`: a strong model that is no better than the weak one, numbers that are not finite, costs
  below zero, no points at all.
"""

from trim_pomdp.metrics.benefit import DeltaIbc, Null, delta_ibc
from trim_pomdp.metrics.comparisons import Comparison, compare
from trim_pomdp.metrics.recovery import Apgr, Cpt, apgr, cpt, pgr
from trim_pomdp.metrics.resampling import Estimate, Measured, Outcomes, PointEstimate, bootstrap

__all__ = [
    "Apgr",
    "Comparison",
    "Cpt",
    "DeltaIbc",
    "Estimate",
    "Measured",
    "Null",
    "Outcomes",
    "PointEstimate",
    "apgr",
    "bootstrap",
    "compare",
    "cpt",
    "delta_ibc",
    "pgr",
]
