"""What a heuristic search keeps in memory: flat arrays that kernels fill, and that grow between their calls.

See `solvers.search` for the mathematics, and `solvers._search_kernels` for what is done with these arrays.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._search_model import SearchModel, Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Records = Any  # a structured array, whose fields kernels read as attributes of its entries

LANES = 16  # vectors, or points, that stand side by side
# Classes of more states have no hull: there, time is better spent on more beliefs. At most 64, see `BELIEF`.
MOST_HULL = 16
_MOST_DEPTH = 4096

# Places in `State.count`: what is used of each kind of room, …
BELIEFS, SHARES, EXPANDED, EDGES, BLOCKS, POOL, VECTORS, FOLLOWS, POINTS, HULL_BLOCKS, HULL_POOL, KINDS = range(12)
# … and where the search stands.
DEPTH, GOING_UP, TRIALS, CHANGES, CHANGES_BEFORE, TICK, WORK, COUNTS = range(KINDS, KINDS + 8)
# Places in `State.number`: TOP is the highest upper bound of any state, and not below 0.
DISCOUNT, PRECISION, TIE, SHRINK, TARGET, TOP, NUMBERS = range(7)

BELIEF = np.dtype(
    [
        ("first", "i8"),  # its support is first:end of `state` and `prob`
        ("end", "i8"),
        ("cls", "i8"),
        ("mask", "u8"),  # bit i: a state of the support is number i of its class, modulo 64
        ("corner", "f8"),  # interpolation of the upper bounds of single states
        ("low", "f8"),
        ("up", "f8"),
        ("vector", "i8"),  # that gives `low`; -1 before the first look
        ("low_seen", "i8"),  # last vector of the class at the last look; -1
        ("up_seen", "i8"),  # last point of the class at the last look; -1: none; -2: before the first look
        ("hull_seen", "i8"),  # changes of the class's points when the hull was looked at last; -1
        ("point", "i8"),  # its point, or -1
        ("place", "i8"),  # its place in the hull, or -1
        ("node", "i8"),  # number among the expanded, or -1
    ]
)
ACTION = np.dtype(
    [
        ("first", "i8"),  # its edges are first:end; -1: not looked into yet
        ("end", "i8"),
        ("gain", "f8"),  # reward
        ("lost", "f8"),  # discounted chance of shares that were too small to be kept
        ("up", "f8"),  # upper bound
    ]
)
EDGE = np.dtype([("belief", "i8"), ("seen", "i8"), ("weight", "f8")])  # weight: discounted probability
BLOCK = np.dtype([("at", "i8"), ("following", "i8")])  # where it begins in the pool; next of the class, or -1
VECTOR = np.dtype(
    [
        ("cls", "i8"),
        ("action", "i8"),
        ("follow", "i8"),  # the plan goes on by follow:follow_end of `State.follow`, those of single actions apart
        ("follow_end", "i8"),
    ]
)
FOLLOW = np.dtype([("seen", "i8"), ("vector", "i8")])  # after other observations, with the class's `default`
POINT = np.dtype(
    [
        ("belief", "i8"),
        ("drop", "f8"),  # what it lies below the interpolation of single states; 0: there is a newer link
        ("following", "i8"),
        ("before", "i8"),
    ]
)
PLACE = np.dtype([("worth", "f8"), ("mask", "u8")])  # minus the drop; as of beliefs
CHAIN = np.dtype(
    [
        ("first_state", "i8"),
        ("n_states", "i8"),
        ("first_block", "i8"),
        ("last_block", "i8"),
        ("newest", "i8"),  # vector
        ("default", "i8"),  # vector of a single action
        ("first_point", "i8"),  # -1: none
        ("last_point", "i8"),
        ("changes", "i8"),  # links that were ever made
        ("first_hull", "i8"),  # block; -1: no point yet; -2: a class that has no hull
        ("last_hull", "i8"),
        ("newest_place", "i8"),
    ]
)
_BY_SEEN = np.dtype([("size", "i8"), ("order", "i8"), ("chosen", "i8")])
_AFTER = np.dtype([("value", "f8"), ("tick", "i8")])


class State(NamedTuple):
    """All that a search has; A actions, S states, C classes, and what is counted in `count`.

    *Beliefs* are sparse, on states of one class, and stand once each: a hash table finds those seen before. X of them
    are expanded: their actions have edges to the beliefs that follow.

    *Vectors* come first for every class and action: the same action for ever, see `single_actions`. They stand
    in blocks of `LANES`, on the states of their class; the blocks of a class are a chain. Vector v is
    ``pool[block[v // LANES].at + i * LANES + v % LANES]`` in state i of its class, so that products of a belief with
    all vectors of a block are sums of contiguous pieces. A plan goes on with vectors that were made before it.

    *Points* of the upper bound are a chain for each class, with a new link at the end whenever a point falls. Those of
    classes with few states stand in blocks too, like vectors, for linear programs over them.
    """

    t_start: Ints
    t_state: NDArray[np.int32]
    t_prob: Floats
    o_table: Ints
    o_start: Ints
    o_seen: NDArray[np.int32]
    o_prob: Floats
    reward: Floats  # (A, S)
    class_of: NDArray[np.int32]  # (S,)
    q: Floats  # (A, S) fast informed bound
    corner: Floats  # (S,) its maximum
    root: Floats  # (R,) chances of beliefs 0 … R - 1, where trials begin
    chain: Records  # (C,) CHAIN
    belief: Records  # BELIEF
    state: NDArray[np.int32]
    prob: Floats
    expanded: Ints  # (X,) their beliefs
    action: Records  # (X * A,) ACTION
    edge: Records  # EDGE
    table: Ints  # (a power of two,) beliefs by hash, or -1
    block: Records  # BLOCK
    vector: Records  # VECTOR, LANES a block
    pool: Floats
    follow: Records  # FOLLOW
    made: Ints  # vectors in the order in which they came
    point: Records  # POINT
    hull: Records  # BLOCK
    place: Records  # PLACE, LANES a block
    hull_pool: Floats
    need: Ints  # (KINDS,) room that one step may take
    capacity: Ints  # (KINDS,)
    count: Ints  # type: ignore[assignment]  # (COUNTS,)
    number: Floats  # (NUMBERS,)
    # Scratch:
    dense: Floats  # (S,) shares of what may follow, or of a belief; zero between uses
    touched: Ints  # (S,)
    after: Records  # (S,) value of a plan's continuation, and its last use
    by_seen: Records  # (O,) size: zero between uses; order; chosen vector: -1 between uses
    item_state: Ints  # (I,) I: shares after one action
    item_prob: Floats  # (I,)
    lanes: Floats  # (LANES,)
    path: Ints  # (most depth,) beliefs of the trial
    inverse: Floats  # (M, M) of the basis, transposed; M: states of the largest class with a hull
    basic: Floats  # (M,)
    basis: Ints  # (M,)
    column: Floats  # (M,)
    price: Floats  # (M,)


# Arrays that grow with each kind of room, their types, and their entries for one unit of it (0: one an action).
_GROWING: tuple[tuple[int, str, Any, int], ...] = (
    (BELIEFS, "belief", BELIEF, 1),
    (SHARES, "state", np.int32, 1),
    (SHARES, "prob", np.float64, 1),
    (EXPANDED, "expanded", np.int64, 1),
    (EXPANDED, "action", ACTION, 0),
    (EDGES, "edge", EDGE, 1),
    (BLOCKS, "block", BLOCK, 1),
    (BLOCKS, "vector", VECTOR, LANES),
    (POOL, "pool", np.float64, 1),
    (VECTORS, "made", np.int64, 1),
    (FOLLOWS, "follow", FOLLOW, 1),
    (POINTS, "point", POINT, 1),
    (HULL_BLOCKS, "hull", BLOCK, 1),
    (HULL_BLOCKS, "place", PLACE, LANES),
    (HULL_POOL, "hull_pool", np.float64, 1),
)


def allocate(model: SearchModel, q: Floats, blind: Floats) -> State:
    """State with no belief, and the plans of single actions for ever.

    Parameters
    ----------
    model : SearchModel
    q, blind : array, shape (A, S)
        Upper bound of each action in each state, and lower bound of each action for ever.
    """
    m = model.table
    A, S = m.reward.shape
    sizes = np.diff(m.class_start)
    hulls = (sizes > 1) & (sizes <= MOST_HULL)
    M = int(sizes[hulls].max(initial=1))
    edges, shares, of_action = _most(m, sizes.size)
    need = np.ones(KINDS, np.int64)
    need[[BELIEFS, EDGES, FOLLOWS]] = edges + 2
    need[SHARES] = shares + 1
    need[POOL] = int(sizes.max()) * LANES
    need[HULL_POOL] = M * LANES
    chain = np.zeros(sizes.size, CHAIN)
    chain["first_state"], chain["n_states"] = m.class_start[:-1], sizes
    chain["first_hull"] = np.where(hulls, -1, -2)
    for name in ("first_point", "last_point", "newest_place"):
        chain[name] = -1
    plans = _plans(chain, blind)
    capacity = np.maximum(64, 4 * need)
    count = np.zeros(COUNTS, np.int64)
    for kind, name in ((BLOCKS, "block"), (POOL, "pool"), (VECTORS, "made")):
        count[kind] = plans[name].size
        capacity[kind] += 2 * count[kind]
    arrays = {name: np.zeros(capacity[kind] * (per or A), dtype) for kind, name, dtype, per in _GROWING}
    for name, array in plans.items():
        arrays[name][: array.size] = array
    by_seen = np.zeros(m.n_seen, _BY_SEEN)
    by_seen["chosen"] = -1
    number = np.zeros(NUMBERS)
    number[DISCOUNT] = m.discount
    number[TOP] = max(0.0, float(q.max()))
    return State(
        t_start=m.t_start,
        t_state=m.t_state,
        t_prob=m.t_prob,
        o_table=m.o_table,
        o_start=m.o_start,
        o_seen=m.o_seen,
        o_prob=m.o_prob,
        reward=m.reward,
        class_of=m.class_of,
        q=q,
        corner=q.max(axis=0),
        root=np.array([root.weight for root in model.roots]),
        chain=chain,
        table=_empty_table(capacity),
        need=need,
        capacity=capacity,
        count=count,
        number=number,
        dense=np.zeros(S),
        touched=np.zeros(S, np.int64),
        after=np.zeros(S, _AFTER),
        by_seen=by_seen,
        item_state=np.zeros(of_action, np.int64),
        item_prob=np.zeros(of_action),
        lanes=np.zeros(LANES),
        path=np.zeros(_MOST_DEPTH, np.int64),
        inverse=np.zeros((M, M)),
        basic=np.zeros(M),
        basis=np.zeros(M, np.int64),
        column=np.zeros(M),
        price=np.zeros(M),
        **arrays,
    )


def grown(z: State) -> State:
    """State in which one more step finds room; if `table` is a new one, it is empty."""
    A = z.reward.shape[0]
    short = z.count[:KINDS] + z.need > z.capacity
    # A new array: until all are there, `z` is as it was, whatever interrupts this.
    capacity = np.where(short, np.maximum(2 * z.capacity, z.count[:KINDS] + 2 * z.need), z.capacity)
    larger: dict[str, Any] = {"capacity": capacity}
    for kind, name, dtype, per in _GROWING:
        if short[kind]:
            old = getattr(z, name)
            larger[name] = np.zeros(capacity[kind] * (per or A), dtype)
            larger[name][: old.size] = old
    if short[BELIEFS]:
        larger["table"] = _empty_table(capacity)
    return z._replace(**larger)


def size_after_growing(z: State) -> int:
    """Bytes that a state takes once it has grown, about."""
    short = z.count[:KINDS] + z.need > z.capacity
    more = sum(getattr(z, name).nbytes for kind, name, _, _ in _GROWING if short[kind])
    return int(more + sum(array.nbytes for array in z))


def _empty_table(capacity: Ints) -> Ints:
    """Hash table that is at most half full."""
    return np.full(1 << int(2 * capacity[BELIEFS] - 1).bit_length(), -1)


def _most(m: Table, n_classes: int) -> tuple[int, int, int]:
    """Most edges, and shares, that follow one belief; most shares that follow one action."""
    A, S = m.reward.shape
    action, state = np.divmod(np.repeat(np.arange(A * S), np.diff(m.t_start)), S)
    pair, after = np.divmod(np.unique((m.class_of[state].astype(np.int64) * A + action) * S + m.t_state), S)
    row = m.o_table[pair % A] * S + after
    shares = np.bincount(pair, weights=m.o_start[row + 1] - m.o_start[row], minlength=n_classes * A)
    shares = shares.reshape(n_classes, A)
    edges = np.minimum(shares, m.n_seen)
    return int(edges.sum(axis=1).max()), int(shares.sum(axis=1).max()), int(shares.max())


def _plans(chain: Records, blind: Floats) -> dict[str, Any]:
    """Vectors of single actions, class by class; fills in where the chains of blocks begin and end."""
    A = len(blind)
    per_class = -(-A // LANES)
    numbers = single_actions(chain.size, A)
    blocks = np.zeros(chain.size * per_class, BLOCK)
    sizes = np.repeat(chain["n_states"] * LANES, per_class)
    blocks["at"] = np.cumsum(sizes) - sizes
    blocks["following"] = np.arange(blocks.size) + 1
    chain["first_block"] = np.arange(chain.size) * per_class
    chain["last_block"] = chain["first_block"] + per_class - 1
    blocks["following"][chain["last_block"]] = -1
    chain["newest"] = numbers[:, -1]
    pool = np.zeros(sizes.sum())
    for cls, link in enumerate(chain):
        part = blind[:, link["first_state"] : link["first_state"] + link["n_states"]]
        link["default"] = numbers[cls, part.sum(axis=1).argmax()]
    vectors = np.zeros(blocks.size * LANES, VECTOR)
    vectors["cls"][numbers] = np.arange(chain.size)[:, None]
    vectors["action"][numbers] = np.arange(A)
    write_single_actions(pool, blocks, chain, blind)
    return {"block": blocks, "made": numbers.reshape(-1), "pool": pool, "vector": vectors}


def single_actions(n_classes: int, n_actions: int) -> Ints:
    """Numbers of the vectors of single actions for ever, shape (C, A): blocks of their own at the front, all of them.

    None is left out as worse than another: with other rewards it may be better, and what an action earns in one class
    counts on the same action in those that follow.
    """
    first = np.arange(n_classes)[:, None] * (-(-n_actions // LANES) * LANES)
    return np.asarray(first + np.arange(n_actions))


def write_single_actions(pool: Floats, block: Records, chain: Records, blind: Floats) -> None:
    """Put values (A, S) into the vectors of single actions."""
    numbers = single_actions(chain.size, len(blind))
    for cls, link in enumerate(chain):
        places = block["at"][numbers[cls] // LANES] + numbers[cls] % LANES
        local = np.arange(link["n_states"])
        pool[places[:, None] + local * LANES] = blind[:, link["first_state"] + local]
