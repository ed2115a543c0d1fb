"""The form of a POMDP that the discounted solvers work on: sparse, without worthless states, split into classes.

*Worthless* states are those from which no action earns or costs anything, now or ever (terminal states are). Their
value is 0, so they are left out of beliefs: rows of transitions sum to the chance of going on.

*Classes* are the fully observed factor of the state. They partition the states such that class, action and observation
determine the next class; `find_classes` finds the finest such partition. Every belief that follows an action lies in one
class, and so alpha-vectors and points of the upper bound are needed on the states of one class only. The belief at the
start may spread over classes: then its states get copies, a class of their own that nothing leads to.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError

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


class SearchModel(NamedTuple):
    """A `Table`, and what leads back to the states that people know."""

    table: Table
    original: Ints  # (S,) state of the POMDP
    start_state: Ints  # support of the start, worthless states left out
    start_prob: Floats
    n_original: int
    seen: Ints  # (n_seen,) observation of the POMDP

    @property
    def n_states(self) -> int:
        """Number of states, copies for the start included."""
        return self.original.size

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.table.class_start.size - 1


def build(
    transition: Sequence[Any],
    observation: Sequence[Any],
    reward: Floats,
    start: Floats,
    discount: float,
    observed: Ints | None = None,
) -> SearchModel:
    """Build the model from a `scipy.sparse.csr_array` for each action.

    Parameters
    ----------
    transition : sequence of csr_array, shape (S, S)
    observation : sequence of csr_array, shape (S, O)
    reward : array, shape (A, S)
    start : array, shape (S,)
    discount : float
    observed : int array, shape (S,), optional
        Declared fully observed factor: its value after an action is seen beside the observation.
    """
    S = start.size
    worth = _worth(transition, reward)
    tables, table_of = _distinct(observation)
    if observed is not None:
        tables = [_with_factor(table, observed) for table in tables]
    support = np.flatnonzero((start > 0.0) & worth)
    labels = find_classes(transition, [tables[i] for i in table_of], worth, support)
    split = np.unique(labels[support]).size > 1
    original = np.flatnonzero(worth)
    original = original[np.argsort(labels[original], kind="stable")]
    classes = labels[original]
    if split:
        original = np.concatenate([original, support])
        classes = np.concatenate([classes, np.full(support.size, classes.max(initial=-1) + 1)])
    _, class_of, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    place = np.full(S, -1)
    n_first = original.size - (support.size if split else 0)
    place[original[:n_first]] = np.arange(n_first)
    start_state = np.arange(n_first, original.size) if split else np.sort(place[support])
    t_start, t_state, t_prob = _flat(transition, original, place)
    used, o_start, o_seen, o_prob = _flat_observations(tables, original)
    table = Table(
        t_start=t_start,
        t_state=t_state,
        t_prob=t_prob,
        o_table=table_of,
        o_start=o_start,
        o_seen=o_seen,
        o_prob=o_prob,
        reward=np.ascontiguousarray(reward[:, original]),
        class_of=class_of.astype(np.int32),
        class_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        n_seen=used.size,
        discount=float(discount),
    )
    factor = 1 if observed is None else int(observed.max()) + 1
    return SearchModel(
        table=table,
        original=original,
        start_state=start_state,
        start_prob=start[original[start_state]],
        n_original=S,
        seen=used // factor,
    )


def find_classes(
    transition: Sequence[Any], observation: Sequence[Any], worth: NDArray[np.bool_], support: Ints
) -> Ints:
    """Label states by the finest partition in which class, action and observation determine the next class.

    Starts from single states and merges what must be merged until nothing changes: states that follow the same
    (class, action, observation) belong together. The support of the start is one more class, of copies that nothing
    leads to. States without worth are left alone.
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import connected_components

    S = worth.size
    labels = np.arange(S)
    rows = [np.diff(o.indptr) for o in observation]
    pairs = []
    for a, t in enumerate(transition):
        s, s2 = np.repeat(np.arange(S), np.diff(t.indptr)), t.indices
        keep = worth[s] & worth[s2] & (t.data > 0.0)
        first = keep & np.isin(s, support)
        pairs.append((np.concatenate([s[keep], np.full(first.sum(), S)]), np.concatenate([s2[keep], s2[first]])))
        if rows[a][pairs[a][1]].sum() > _MOST_TRIPLES:
            return np.zeros(S, np.int64)
    n_classes = S
    while True:
        tail, head, n_keys = [], [], 0
        for (s, s2), o, row in zip(pairs, observation, rows, strict=True):
            both = np.unique(np.append(labels, S)[s] * S + s2)
            before, after = np.divmod(both, S)
            count = row[after]
            at = np.repeat(o.indptr[after], count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            key = np.repeat(before, count) * o.shape[1] + o.indices[at]
            distinct, key = np.unique(key, return_inverse=True)
            tail.append(key + n_keys)
            head.append(np.repeat(after, count))
            n_keys += distinct.size
        tails = np.concatenate([*tail, labels + n_keys])
        heads = np.concatenate([*head, np.arange(S)])
        size = n_keys + S + S
        links = csr_array(coo_array((np.ones(tails.size, np.int8), (tails, heads + n_keys + S)), shape=(size, size)))
        found = connected_components(links, directed=False)[1][n_keys + S :]
        _, labels = np.unique(found, return_inverse=True)
        if (count_now := int(labels.max()) + 1) == n_classes:
            return np.asarray(labels, np.int64)
        n_classes = count_now


def _worth(transition: Sequence[Any], reward: Floats) -> NDArray[np.bool_]:
    """States from which a reward other than 0 can be reached; (S,)."""
    from scipy.sparse import csr_array

    step = csr_array(sum((t != 0).astype(np.int8) for t in transition) > 0).astype(np.int8)
    worth = (reward != 0.0).any(axis=0)
    while True:
        more = worth | (step @ worth.astype(np.int8) > 0)
        if (more == worth).all():
            return np.asarray(worth)
        worth = more


def _distinct(tables: Sequence[Any]) -> tuple[list[Any], Ints]:
    """Tables without those that are the same object, and which of them each action has."""
    number: dict[int, int] = {}
    kept = []
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


def _flat_observations(tables: Sequence[Any], original: Ints) -> tuple[Ints, Ints, NDArray[np.int32], Floats]:
    """The observations that occur, and rows of their numbers and probabilities behind each other."""
    rows = [table[original] for table in tables]
    used, seen = np.unique(np.concatenate([r.indices for r in rows]), return_inverse=True)
    start = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(r.indptr) for r in rows]))]).astype(np.int64)
    return used.astype(np.int64), start, seen.astype(np.int32), np.concatenate([r.data for r in rows]).astype(np.float64)


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
