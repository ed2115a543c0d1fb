"""Fast bounds on the optimal value: of the MDP, QMDP, the fast informed bound, and of single actions for ever.

From above, for states s, actions a, with r the reward and γ the discount:

* MDP: V(s) = max_a [r(s, a) + γ Σ_s' T(s'|s, a) V(s')], as if the state were seen.
* QMDP: Q(s, a) = r(s, a) + γ Σ_s' T(s'|s, a) V(s'), as if it were seen after one action
  (Littman, Cassandra and Kaelbling 1995).
* FIB: Q(s, a) = r(s, a) + γ Σ_o max_a' Σ_s' T(s'|s, a) O(o|a, s') Q(s', a'), as if it were seen with one action's
  delay (Hauskrecht 2000). The bound at a belief is max_a Σ_s b(s) Q(s, a), and MDP ≥ QMDP ≥ FIB ≥ V*.

From below, *blind* plans: α_a(s) = r(s, a) + γ Σ_s' T(s'|s, a) α_a(s'), the same action for ever.

All start from r_max w, or r_min w, where w(s) bounds the discounted number of steps (`_search_model.time_to_go`), and
move in one direction only. So they hold wherever iteration ends.
"""

import numpy as np

from solvers._search_model import Floats, SearchModel

_MOST_SWEEPS = 100_000


def fast_bounds(model: SearchModel, time_to_go: Floats, tolerance: float) -> tuple[Floats, Floats]:
    """The fast informed bound (S, A), and values of single actions for ever (A, S).

    Parameters
    ----------
    model : SearchModel
    time_to_go : array, shape (S,)
    tolerance : float
        Iteration ends when no value changes by more.
    """
    from solvers._bound_kernels import lower_fib, lower_mdp, raise_blind

    m = model.table
    A, S = m.reward.shape
    value = max(float(m.reward.max(initial=0.0)), 0.0) * time_to_go
    lower_mdp(m, value, tolerance, _MOST_SWEEPS)
    q = np.repeat(value[:, None], A, axis=1)
    lower_fib(m, q, tolerance, _MOST_SWEEPS)
    blind = np.tile(min(float(m.reward.min(initial=0.0)), 0.0) * time_to_go, (A, 1))
    raise_blind(m, blind, tolerance, _MOST_SWEEPS)
    return q, blind
