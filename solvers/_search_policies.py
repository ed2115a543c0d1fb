"""The policy that a heuristic search amounts to: the alpha-vectors of it that are needed, on the states of the POMDP.

Every vector promises what its plan earns. So that the policy that follows the best vector at each belief attains that,
each must find what its plan goes on with: the vectors that a backup chose, and after a single action for ever the same
action in the classes that it leads to.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from solvers import _search_state as at
from solvers._search_model import Floats, Ints
from solvers._search_state import LANES, State
from solvers.policies import AlphaVectorPolicy
from solvers.pomdp import POMDP
from solvers.pruning import undominated

if TYPE_CHECKING:
    from solvers.search import Searcher

_MOST_CELLS = 25_000_000  # entries of the vectors of a policy; beyond, those that the start needs are kept alone


def policy(searcher: "Searcher") -> AlphaVectorPolicy:
    """The vectors that are best at some belief of the search, and those that their plans go on with."""
    pomdp = searcher.pomdp
    if not searcher.model.n_states:
        return AlphaVectorPolicy(pomdp, np.zeros((1, pomdp.n_states)), np.zeros(1, np.int64))
    state = searcher.state
    beliefs = np.concatenate([np.arange(state.root.size), state.expanded[: state.count[at.EXPANDED]]])
    kept = _kept(searcher, beliefs)
    if kept.size * pomdp.n_states > _MOST_CELLS:
        kept = _kept(searcher, beliefs[: state.root.size])
    if pomdp.observed is not None:
        return _policy_by_value(searcher, kept, pomdp, pomdp.observed)
    labels = searcher.model.labels
    one_class = searcher.model.n_classes == labels.max() + 1
    if kept.size * pomdp.n_states > _MOST_CELLS and one_class:
        found = np.unique(labels, return_inverse=True)[1]
        return _policy_by_value(searcher, kept, _with_factor(pomdp, found), found)
    floor = _floor(searcher)
    rows = np.tile(floor, (kept.size, 1))
    for states, mine, block in _blocks(searcher, kept):
        rows[mine[:, None], states] = block
    return AlphaVectorPolicy(pomdp, rows, state.vector["action"][kept])


def _kept(searcher: "Searcher", beliefs: Ints) -> Ints:
    """Vectors that are best at beliefs, with what their plans need, in the order in which they were made."""
    from solvers import _search_kernels as kernels

    state = searcher.state
    wanted = np.zeros(state.vector.size, bool)
    best = state.belief["vector"][beliefs]
    wanted[best[best >= 0]] = True
    kernels.needed(state, wanted)
    _want_single_actions(searcher, wanted)
    made = state.made[: state.count[at.VECTORS]]
    return made[wanted[made]]


def _want_single_actions(searcher: "Searcher", wanted: NDArray[np.bool_]) -> None:
    """Want wanted single actions in all classes that they lead to, too; then leave out those that others exceed."""
    from scipy.sparse import csr_array

    z, m = searcher.state, searcher.model.table
    A, S = z.reward.shape
    C = z.chain.size
    numbers = at.single_actions(C, A)
    for a in range(A):
        start = m.t_start[a * S : (a + 1) * S + 1]
        before, after = m.class_of[np.repeat(np.arange(S), np.diff(start))], m.class_of[m.t_state[start[0] : start[-1]]]
        leads = csr_array((np.ones(before.size), (after, before)), shape=(C, C))
        here = wanted[numbers[:, a]]
        while True:
            more = here | (leads @ here > 0.0)
            if (more == here).all():
                break
            here = more
        wanted[numbers[:, a]] = here
    for cls, link in enumerate(z.chain):
        mine = numbers[cls][wanted[numbers[cls]]]
        if mine.size > 1:
            rows = _values(z, mine, link["n_states"])
            wanted[np.delete(mine, undominated(rows))] = False


def _values(z: State, vectors: Ints, n_states: int) -> Floats:
    """Values of vectors of a class of so many states, (V, states)."""
    first = z.block["at"][vectors // LANES] + vectors % LANES
    return np.asarray(z.pool[first[:, None] + np.arange(n_states) * LANES])


def _blocks(searcher: "Searcher", kept: Ints) -> Any:
    """For each class: its states of the POMDP, which of the kept vectors are for it, and these (V, states)."""
    z, start = searcher.state, searcher.model.table.class_start
    of_class = z.vector["cls"][kept]
    for cls in np.unique(of_class).tolist():
        states = searcher.model.original[start[cls] : start[cls + 1]]
        mine = np.flatnonzero(of_class == cls)
        yield states, mine, _values(z, kept[mine], states.size)


def _floor(searcher: "Searcher") -> Floats:
    """What no policy does worse than, in each state of the POMDP (S,)."""
    model = searcher.model
    floor = np.zeros(model.n_original)
    floor[model.original] = min(float(model.table.reward.min()), 0.0) * searcher.time_to_go
    return floor


def _policy_by_value(searcher: "Searcher", kept: Ints, pomdp: POMDP, value: Ints) -> AlphaVectorPolicy:
    """Sparse vectors, each for one value of an observed factor, of which the classes are parts."""
    from scipy.sparse import coo_array, csr_array

    floor = _floor(searcher)
    # Values all of whose states are worthless get a vector, too: of zeros.
    idle = np.setdiff1d(np.unique(value), value[searcher.model.original])
    observed = np.append(np.zeros(kept.size, np.int64), idle)
    actions = np.append(searcher.state.vector["action"][kept], np.zeros_like(idle))
    rows, columns, entries = [], [], []
    for states, mine, block in _blocks(searcher, kept):
        observed[mine] = y = value[states[0]]
        others = np.setdiff1d(np.flatnonzero((value == y) & (floor < 0.0)), states)
        both = np.concatenate([states, others])
        rows.append(np.repeat(mine, both.size))
        columns.append(np.tile(both, mine.size))
        entries.append(np.hstack([block, np.tile(floor[others], (mine.size, 1))]).reshape(-1))
    cells = (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))
    vectors = csr_array(coo_array(cells, shape=(actions.size, pomdp.n_states)))
    return AlphaVectorPolicy(pomdp, vectors, actions, observed)


def _with_factor(pomdp: POMDP, value: Ints) -> POMDP:
    """The same POMDP with the observed factor that was found in it."""
    return POMDP(
        transition=pomdp.transition,
        observation=pomdp.observation,
        reward=pomdp.reward,
        rewards=pomdp.rewards,
        start=pomdp.start,
        discount=pomdp.discount,
        states=pomdp.states,
        actions=pomdp.actions,
        observations=pomdp.observations,
        observed=value,
    )
