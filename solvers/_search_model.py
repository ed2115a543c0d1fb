"""The form of a POMDP that the discounted solvers work on: sparse, without worthless states, split into classes.

*Worthless* states are those from which no action earns or costs anything, now or ever (terminal states are). Their
value is 0, so they are left out of beliefs: rows of transitions sum to the chance of going on.

*Classes* are the fully observed factor of the state. They partition the states such that class, action and observation
determine the next class; `find_classes` finds the finest such partition. Every belief after an action lies in one
class, and so alpha-vectors and points of the upper bound are needed on the states of one class only. The belief at the
start may spread over classes: then its states get copies, a class of their own that nothing leads to.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError

if TYPE_CHECKING:
    from solvers.pomdp import POMDP

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_MOST_TRIPLES = 30_000_000  # outcomes that the search for classes works on at once; larger models stay one class


class Table(NamedTuple):
    """What kernels read: S states in the order of their classes, A actions, rows ``a * S + s``."""

    t_start: Ints  # (A * S + 1,)
    t_state: NDArray[np.int32]  # next state
    t_prob: Floats
    o_table: Ints  # (A,) which observation table an action has
    o_start: Ints  # (tables * S + 1,) rows table * S + s', s' the state after the action
    o_seen: NDArray[np.int32]  # observation
    o_prob: Floats
    reward: Floats  # (A, S)
    class_of: NDArray[np.int32]  # (S,)
    class_start: Ints  # (C + 1,) states class_start[c]:class_start[c + 1] are class c
    n_seen: int  # observations, with the values of a declared factor
    discount: float


class Root(NamedTuple):
    """A belief before the first action."""

    weight: float  # its chance; worthless states carry the rest
    state: NDArray[np.int32]
    prob: Floats


class SearchModel(NamedTuple):
    """A `Table`, and what leads back to the states that people know."""

    table: Table
    original: Ints  # (S,) state of the POMDP
    roots: tuple[Root, ...]  # one, or one for each value of a declared factor that the start holds possible
    n_original: int
    labels: Ints  # (n_original,) class of each state of the POMDP, -1: worthless
    worth: NDArray[np.bool_]  # (n_original,)

    @property
    def n_states(self) -> int:
        """Number of states, copies for the start included."""
        return self.original.size

    @property
    def n_classes(self) -> int:
        """Number of classes, those of copies included."""
        return self.table.class_start.size - 1


def build(pomdp: "POMDP", valued: NDArray[np.bool_] | None = None) -> SearchModel:
    """Build the model of a POMDP, whose declared factor, if there is one, splits what is seen and the start.

    States in `valued` (S,) are of worth even if no action has a reward there.
    """
    S = pomdp.n_states
    rewarded = (pomdp.reward != 0.0).any(axis=0)
    worth = _worth(pomdp.transition, rewarded if valued is None else rewarded | valued)
    tables, table_of = _distinct(pomdp.observation)
    supports = [np.flatnonzero((pomdp.start > 0.0) & worth)]
    if pomdp.observed is not None:
        tables = [_with_factor(table, pomdp.observed) for table in tables]
        value = pomdp.observed[supports[0]]
        supports = [supports[0][value == y] for y in np.unique(value)]
    found = find_classes(pomdp.transition, [tables[i] for i in table_of], worth, supports)
    declared = np.zeros(S, np.int64) if pomdp.observed is None else pomdp.observed.copy()
    labels = declared if found is None else found
    labels[~worth] = -1
    original = np.flatnonzero(worth)
    original = original[np.argsort(labels[original], kind="stable")]
    place = np.full(S, -1)
    place[original] = np.arange(original.size)
    states, classes = [original], [labels[original]]
    roots: list[Root] = []
    size = original.size
    for support in supports:
        here = np.sort(place[support])
        if np.unique(labels[support]).size > 1:
            here = np.arange(size, size + support.size)
            size += support.size
            states.append(support)
            classes.append(np.full(support.size, S + len(roots)))
        prob = pomdp.start[np.concatenate(states)[here]]
        if prob.size:
            roots.append(Root(float(prob.sum()), here.astype(np.int32), prob / prob.sum()))
    every = np.concatenate(states)
    _, class_of, sizes = np.unique(np.concatenate(classes), return_inverse=True, return_counts=True)
    t_start, t_state, t_prob = _flat(pomdp.transition, every, place)
    n_seen, o_start, o_seen, o_prob = _flat_observations(tables, every)
    table = Table(
        t_start=t_start,
        t_state=t_state,
        t_prob=t_prob,
        o_table=table_of,
        o_start=o_start,
        o_seen=o_seen,
        o_prob=o_prob,
        reward=np.ascontiguousarray(pomdp.reward[:, every]),
        class_of=class_of.astype(np.int32),
        class_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        n_seen=n_seen,
        discount=pomdp.discount,
    )
    _, labels[original] = np.unique(labels[original], return_inverse=True)
    return SearchModel(table=table, original=every, roots=tuple(roots), n_original=S, labels=labels, worth=worth)


def find_classes(
    transition: Sequence[Any], observation: Sequence[Any], worth: NDArray[np.bool_], supports: Sequence[Ints]
) -> Ints | None:
    """Label states by the finest partition in which class, action and observation determine the next class.

    Starts from single states and merges what must be merged until nothing changes: states that follow the same
    (class, action, observation) belong together. Supports of starts are classes too, of copies that nothing leads to.
    States without worth are left alone.

    Returns
    -------
    int array, shape (S,)
        None where that would take too much memory.
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import connected_components

    S = worth.size
    labels = np.arange(S)
    rows = [np.diff(o.indptr) for o in observation]
    pairs = [_pairs(t, worth, supports) for t in transition]
    if sum(int(row[s2].sum()) for row, (_, s2) in zip(rows, pairs, strict=True)) > _MOST_TRIPLES:
        return None
    n_classes = S
    while True:
        before_of = np.concatenate([labels, S + np.arange(len(supports))])
        tails, heads, n_keys = [], [], 0
        for (s, s2), o, row in zip(pairs, observation, rows, strict=True):
            before, after = np.divmod(np.unique(before_of[s] * S + s2), S)
            count = row[after]
            at = np.repeat(o.indptr[after], count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            key = np.repeat(before, count) * o.shape[1] + o.indices[at]
            distinct, key = np.unique(key, return_inverse=True)
            tails.append(key + n_keys)
            heads.append(np.repeat(after, count))
            n_keys += distinct.size
        # A graph of keys, labels and states, in which each state hangs on its label, and on the keys that lead to it.
        tail = np.concatenate([*tails, labels + n_keys])
        head = np.concatenate([*heads, np.arange(S)]) + n_keys + S
        size = n_keys + S + S
        graph = csr_array(coo_array((np.ones(tail.size, np.int8), (tail, head)), shape=(size, size)))
        _, labels = np.unique(connected_components(graph, directed=False)[1][n_keys + S :], return_inverse=True)
        now = int(labels.max()) + 1
        if now == n_classes:
            return np.asarray(labels, np.int64)
        n_classes = now


def _pairs(transition: Any, worth: NDArray[np.bool_], supports: Sequence[Ints]) -> tuple[Ints, Ints]:
    """States, and copies of starts (S, S + 1, …), with the states that may follow."""
    S = worth.size
    s, s2 = np.repeat(np.arange(S), np.diff(transition.indptr)), transition.indices.astype(np.int64)
    keep = worth[s] & worth[s2]
    s, s2 = s[keep], s2[keep]
    first = [np.isin(s, support) for support in supports]
    copies = [np.full(int(f.sum()), S + r) for r, f in enumerate(first)]
    return np.concatenate([s, *copies]), np.concatenate([s2, *(s2[f] for f in first)])


def _worth(transition: Sequence[Any], rewarded: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """States from which one with a reward other than 0 can be reached; (S,)."""
    from scipy.sparse import csr_array

    step = csr_array(sum((t != 0).astype(np.int8) for t in transition) > 0).astype(np.int8)
    worth = rewarded
    while True:
        more = worth | (step @ worth.astype(np.int8) > 0)
        if (more == worth).all():
            return np.asarray(worth)
        worth = more


def _distinct(tables: Sequence[Any]) -> tuple[list[Any], Ints]:
    """Tables without those that are the same object, and which of them each action has."""
    number: dict[int, int] = {}
    kept: list[Any] = []
    for table in tables:
        if id(table) not in number:
            number[id(table)] = len(kept)
            kept.append(table)
    return kept, np.array([number[id(table)] for table in tables], np.int64)


def _with_factor(table: Any, observed: Ints) -> Any:
    """The observations o·Y + y of an observation o together with the value y of the factor."""
    from scipy.sparse import csr_array

    n = int(observed.max()) + 1
    value = np.repeat(observed, np.diff(table.indptr))
    shape = (table.shape[0], table.shape[1] * n)
    return csr_array((table.data, table.indices.astype(np.int64) * n + value, table.indptr), shape=shape)


def _flat(matrices: Sequence[Any], original: Ints, place: Ints) -> tuple[Ints, NDArray[np.int32], Floats]:
    """Rows of states, behind each other for all actions; columns that have no place are dropped."""
    counts, states, probs = [], [], []
    for matrix in matrices:
        rows = matrix[original]
        column = place[rows.indices]
        keep = (column >= 0) & (rows.data != 0.0)
        row = np.repeat(np.arange(original.size), np.diff(rows.indptr))[keep]
        counts.append(np.bincount(row, minlength=original.size))
        states.append(column[keep])
        probs.append(rows.data[keep])
    start = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return start, np.concatenate(states).astype(np.int32), np.concatenate(probs).astype(np.float64)


def _flat_observations(tables: Sequence[Any], original: Ints) -> tuple[int, Ints, NDArray[np.int32], Floats]:
    """Number of observations that occur, and rows of their numbers and probabilities behind each other."""
    rows = [table[original] for table in tables]
    used, seen = np.unique(np.concatenate([r.indices for r in rows]), return_inverse=True)
    start = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(r.indptr) for r in rows]))]).astype(np.int64)
    return used.size, start, seen.astype(np.int32), np.concatenate([r.data for r in rows]).astype(np.float64)


def time_to_go(table: Table) -> Floats:
    """Bound w(s) of the expected discounted number of steps from each state, whatever the policy; (S,).

    w ≥ 1 + γ T_a w for all actions a. With a discount below 1 it is 1 / (1 - γ). At 1, it exists where every policy
    ends: w = v / (1 - δ) for any v with 1 + T_a v ≤ v + δ, δ < 1, and value iteration finds such a v.

    Raises
    ------
    ModelError
        If the discount is 1 and some policy need not end.
    """
    S = table.class_of.size
    if table.discount < 1.0:
        return np.full(S, 1.0 / (1.0 - table.discount))
    from solvers._bound_kernels import expected_steps

    w = np.zeros(S)
    if _may_go_on(table) or not expected_steps(table, w, 1_000_000):
        raise ModelError(
            "a discount of 1 without a horizon needs that every policy ends: some policy goes on for ever; "
            "give a horizon or a discount below 1"
        )
    return w


def _may_go_on(table: Table) -> bool:
    """Whether some policy can stay among the states of worth for ever."""
    S = table.class_of.size
    A = table.reward.shape[0]
    counts = np.diff(table.t_start)
    mass = np.add.reduceat(np.append(table.t_prob, 0.0), np.minimum(table.t_start[:-1], table.t_prob.size))
    mass[counts == 0] = 0.0
    full = mass > 1.0 - 1e-12
    row = np.repeat(np.arange(A * S), counts)
    stays = np.ones(S, bool)
    while stays.any():
        leaves = np.bincount(row, weights=~stays[table.t_state], minlength=A * S) > 0
        safe = (full & ~leaves).reshape(A, S).any(axis=0) & stays
        if (safe == stays).all():
            return True
        stays = safe
    return False
