"""What a heuristic search keeps in memory: flat arrays that kernels fill, and that grow between their calls.

See `solvers.search` for the mathematics, and `solvers._search_kernels` for what is done with these arrays.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._search_model import SearchModel, Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LANES = 16  # vectors, or points, that stand side by side

# Places in `State.count`: what is used of each kind of room, …
BELIEFS, SHARES, EXPANDED, EDGES, BLOCKS, POOL, VECTORS, FOLLOWS, POINTS, HULL_BLOCKS, HULL_POOL = range(11)
KINDS = 11
# … and where the search stands.
DEPTH, GOING_UP, TRIALS, BACKUPS, CHANGES, CHANGES_BEFORE, TICK, WORK = range(KINDS, KINDS + 8)
COUNTS = KINDS + 8
# Places in `State.number`.
PRECISION, TIE, SHRINK, TARGET = range(4)
NUMBERS = 4


class Graph(NamedTuple):
    """N beliefs, of which X are expanded: their actions have E edges to the beliefs that follow.

    Beliefs are sparse, on states of one class, and stand once each: a hash table finds those seen before.
    """

    start: Ints  # (N + 1,) the support of belief n is start[n]:start[n + 1]
    state: NDArray[np.int32]
    prob: Floats
    cls: NDArray[np.int32]  # (N,)
    mask: NDArray[np.uint64]  # (N,) bit i: a state of the support is number i of its class, modulo 64
    corner: Floats  # (N,) interpolation of the upper bounds of single states
    low: Floats  # (N,)
    up: Floats  # (N,)
    vector: Ints  # (N,) vector that gives `low`; -1 before the first look
    low_seen: Ints  # (N,) last vector of the class at the last look; -1
    up_seen: Ints  # (N,) last point of the class at the last look; -1: none; -2: before the first look
    hull_seen: Ints  # (N,) changes of the class's points when the hull was last looked at; -1
    point: Ints  # (N,) its point, or -1
    place: Ints  # (N,) its place in the hull, or -1
    node: Ints  # (N,) number among the expanded, or -1
    expanded: Ints  # (X,) their beliefs
    edges: Ints  # (X * A,) first edge of the action; -1: not looked into yet
    edges_end: Ints  # (X * A,)
    gain: Floats  # (X * A,) reward, and what shares too small to be kept may be worth
    action_up: Floats  # (X * A,) upper bound of the action
    child: Ints  # (E,)
    seen: NDArray[np.int32]  # (E,) observation
    weight: Floats  # (E,) discounted probability
    table: Ints  # (a power of two,) beliefs by hash, or -1


class Vectors(NamedTuple):
    """V alpha-vectors, on the states of their classes, in blocks of `LANES`; the blocks of a class are a chain.

    Vector v is ``pool[block_at[v // LANES] + i * LANES + v % LANES]`` in state i of its class: products of a belief
    with all vectors of a block are sums of contiguous pieces. Vectors follow each other in the order of `made`; a plan
    goes on with vectors that were made before, or, those of single actions, with itself.
    """

    block_at: Ints  # (B,) where the block begins in the pool
    following: Ints  # (B,) next block of the class, or -1
    pool: Floats
    action: NDArray[np.int16]  # (B * LANES,)
    cls: NDArray[np.int32]  # (B * LANES,)
    follow: Ints  # (B * LANES,) first place in `after` and `with`; -1: the same action for ever
    follow_end: Ints  # (B * LANES,)
    after: NDArray[np.int32]  # (F,) observation
    then: Ints  # (F,) the vector that the plan goes on with; after others, with `default` of the class
    made: Ints  # (V,)
    first: Ints  # (C,) first block
    last: Ints  # (C,) last block
    newest: Ints  # (C,) newest vector
    default: Ints  # (C,) vector of a single action


class Points(NamedTuple):
    """Points of the upper bound, a chain for each class, with a new link at the end whenever a point falls."""

    belief: Ints  # (P,)
    drop: Floats  # (P,) what it lies below the interpolation of single states; 0: there is a newer link
    following: Ints  # (P,)
    before: Ints  # (P,)
    first: Ints  # (C,)
    last: Ints  # (C,)
    changes: Ints  # (C,) links that were ever made


class Hull(NamedTuple):
    """The points of classes with few states once more, in blocks like those of vectors, for linear programs."""

    block_at: Ints  # (H,)
    following: Ints  # (H,)
    pool: Floats  # shares
    worth: Floats  # (H * LANES,) minus the drop
    mask: NDArray[np.uint64]  # (H * LANES,)
    first: Ints  # (C,) first block; -1: no point yet; -2: a class that has no hull
    last: Ints  # (C,)
    newest: Ints  # (C,) newest place


class Room(NamedTuple):
    """Scratch."""

    dense: Floats  # (S,) shares of what may follow, or of a belief; zero between uses
    after: Floats  # (S,) value of a plan's continuation
    mark: Ints  # (S,) last use of `after`
    touched: Ints  # (S,)
    size: Ints  # (O,) zero between uses
    seen: Ints  # (O,)
    chosen: Ints  # (O,) vector after each observation; -1 between uses
    state: Ints  # (I,) I: shares after one action
    prob: Floats  # (I,)
    lanes: Floats  # (LANES,)
    actions: Floats  # (A,)
    path: Ints  # (most depth,) beliefs of the trial
    inverse: Floats  # (M, M) of the basis; M: states of the largest class with a hull
    basic: Floats  # (M,)
    column: Floats  # (M,)
    price: Floats  # (M,)
    basis: Ints  # (M,)


class State(NamedTuple):
    """All that a search has."""

    m: Table
    q: Floats  # (S, A) fast informed bound
    root: Floats  # (R,) chances of beliefs 0 … R - 1, where trials begin
    b: Graph
    v: Vectors
    p: Points
    h: Hull
    room: Room
    need: Ints  # (KINDS,) room that one step may take
    capacity: Ints  # (KINDS,)
    count: Ints  # (COUNTS,)
    number: Floats  # (NUMBERS,)


MOST_HULL = 64  # states of a class with a hull: their numbers fit into a mask
_MOST_DEPTH = 4096
# Arrays that grow with each kind of room: field of `State`, fields of that, entries per unit ("A": one an action).
_GROWING: tuple[tuple[int, str, tuple[str, ...], Any], ...] = (
    (BELIEFS, "b", ("start", "cls", "mask", "corner", "low", "up", "vector", "low_seen", "up_seen", "hull_seen"), 1),
    (BELIEFS, "b", ("point", "place", "node"), 1),
    (SHARES, "b", ("state", "prob"), 1),
    (EXPANDED, "b", ("expanded",), 1),
    (EXPANDED, "b", ("edges", "edges_end", "gain", "action_up"), "A"),
    (EDGES, "b", ("child", "seen", "weight"), 1),
    (BLOCKS, "v", ("block_at", "following"), 1),
    (BLOCKS, "v", ("action", "cls", "follow", "follow_end"), LANES),
    (POOL, "v", ("pool",), 1),
    (VECTORS, "v", ("made",), 1),
    (FOLLOWS, "v", ("after", "then"), 1),
    (POINTS, "p", ("belief", "drop", "following", "before"), 1),
    (HULL_BLOCKS, "h", ("block_at", "following"), 1),
    (HULL_BLOCKS, "h", ("worth", "mask"), LANES),
    (HULL_POOL, "h", ("pool",), 1),
)


def allocate(model: SearchModel, q: Floats, blind: Floats) -> State:
    """State with no belief, and of the plans of single actions those that no other dominates.

    Parameters
    ----------
    model : SearchModel
    q : array, shape (S, A)
        Upper bound of each action in each state.
    blind : array, shape (A, S)
        Lower bound of each action for ever.
    """
    m = model.table
    A, S = m.reward.shape
    C = model.n_classes
    sizes = np.diff(m.class_start)
    hulls = (sizes > 1) & (sizes <= MOST_HULL)
    M = int(sizes[hulls].max(initial=1))
    edges, shares, of_action = _most(m, C)
    need = np.ones(KINDS, np.int64)
    need[[BELIEFS, EDGES, FOLLOWS]] = edges + 1
    need[SHARES] = shares + 1
    need[POOL] = int(sizes.max()) * LANES
    need[HULL_POOL] = M * LANES
    capacity = np.maximum(64, 4 * need)
    types = {
        "state": np.int32,
        "cls": np.int32,
        "seen": np.int32,
        "after": np.int32,
        "action": np.int16,
        "mask": np.uint64,
    }
    real = {"prob", "corner", "low", "up", "gain", "action_up", "weight", "pool", "drop", "worth"}
    arrays: dict[str, dict[str, Any]] = {"b": {}, "v": {}, "p": {}, "h": {}}
    for kind, part, fields, per in _GROWING:
        n = int(capacity[kind]) * (A if per == "A" else per) + 1
        for name in fields:
            arrays[part][name] = np.zeros(n, np.float64 if name in real else types.get(name, np.int64))
    b = Graph(**arrays["b"], table=_empty_table(capacity))
    vectors, used = _plans(arrays["v"], m, blind)
    p = Points(**arrays["p"], first=np.full(C, -1), last=np.full(C, -1), changes=np.zeros(C, np.int64))
    h = Hull(**arrays["h"], first=np.where(hulls, -1, -2), last=np.full(C, -1), newest=np.full(C, -1))
    count = np.zeros(COUNTS, np.int64)
    for kind, n in used.items():
        count[kind] = n
        capacity[kind] = max(capacity[kind], n)
    room = Room(
        dense=np.zeros(S),
        after=np.zeros(S),
        mark=np.zeros(S, np.int64),
        touched=np.zeros(S, np.int64),
        size=np.zeros(m.n_seen, np.int64),
        seen=np.zeros(m.n_seen, np.int64),
        chosen=np.full(m.n_seen, -1),
        state=np.zeros(of_action, np.int64),
        prob=np.zeros(of_action),
        lanes=np.zeros(LANES),
        actions=np.zeros(A),
        path=np.zeros(_MOST_DEPTH, np.int64),
        inverse=np.zeros((M, M)),
        basic=np.zeros(M),
        column=np.zeros(M),
        price=np.zeros(M),
        basis=np.zeros(M, np.int64),
    )
    root = np.array([r.weight for r in model.roots])
    return State(m, q, root, b, vectors, p, h, room, need, capacity, count, np.zeros(NUMBERS))


def grown(z: State) -> tuple[State, bool]:
    """State in which one more step finds room, and whether the table of beliefs is to be filled anew."""
    A = z.m.reward.shape[0]
    short = z.count[:KINDS] + z.need > z.capacity
    z.capacity[short] = np.maximum(2 * z.capacity, z.count[:KINDS] + 2 * z.need)[short]
    parts = {"b": z.b, "v": z.v, "p": z.p, "h": z.h}
    for kind, part, fields, per in _GROWING:
        if short[kind]:
            n = int(z.capacity[kind]) * (A if per == "A" else per) + 1
            for name in fields:
                new = np.zeros(n, getattr(parts[part], name).dtype)
                old = getattr(parts[part], name)
                new[: old.size] = old
                parts[part] = parts[part]._replace(**{name: new})  # type: ignore[attr-defined]
                del old
    if short[BELIEFS]:
        parts["b"] = z.b._replace(**{**parts["b"]._asdict(), "table": _empty_table(z.capacity)})  # type: ignore[attr-defined]
    return z._replace(**parts), bool(short[BELIEFS])  # type: ignore[arg-type]


def size_after_growing(z: State) -> int:
    """Bytes that a state takes once it has grown."""
    short = z.count[:KINDS] + z.need > z.capacity
    total = sum(array.nbytes for part in (z.m, z.b, z.v, z.p, z.h) for array in part if isinstance(array, np.ndarray))
    parts = {"b": z.b, "v": z.v, "p": z.p, "h": z.h}
    return total + sum(
        getattr(parts[part], name).nbytes for kind, part, fields, _ in _GROWING if short[kind] for name in fields
    )


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
    most = edges.sum(axis=1).max(initial=0), shares.sum(axis=1).max(initial=0), shares.max(initial=1)
    return int(most[0]), int(most[1]), int(most[2])


def _plans(arrays: dict[str, Any], m: Table, blind: Floats) -> tuple[Vectors, dict[int, int]]:
    """Vectors of single actions, and the room that they use."""
    C = m.class_start.size - 1
    first, last, newest = np.zeros(C, np.int64), np.zeros(C, np.int64), np.zeros(C, np.int64)
    pool, sizes, made, actions = [], [], [], []
    for c in range(C):
        part = blind[:, m.class_start[c] : m.class_start[c + 1]]
        kept = _undominated(part)
        first[c] = len(sizes)
        for i in range(0, len(kept), LANES):
            block = np.zeros((part.shape[1], LANES))
            lanes = kept[i : i + LANES]
            block[:, : len(lanes)] = part[lanes].T
            made.append(len(sizes) * LANES + np.arange(len(lanes)))
            actions.append(lanes)
            sizes.append(block.size)
            pool.append(block.reshape(-1))
        last[c] = len(sizes) - 1
        newest[c] = made[-1][-1]
    for name, per, n in (("block_at", 1, len(sizes)), ("following", 1, len(sizes)), ("pool", 1, sum(sizes))):
        arrays[name] = np.concatenate([arrays[name], np.zeros(n * per, arrays[name].dtype)])
    for name in ("action", "cls", "follow", "follow_end"):
        arrays[name] = np.concatenate([arrays[name], np.zeros(len(sizes) * LANES, arrays[name].dtype)])
    order = np.concatenate(made)
    arrays["made"] = np.concatenate([arrays["made"], np.zeros(order.size, np.int64)])
    arrays["block_at"][: len(sizes)] = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    arrays["following"][: len(sizes)] = np.arange(1, len(sizes) + 1)
    arrays["following"][last] = -1
    arrays["pool"][: sum(sizes)] = np.concatenate(pool)
    arrays["action"][order] = np.concatenate(actions)
    arrays["cls"][order] = np.searchsorted(first, order // LANES, side="right") - 1
    arrays["follow"][order] = -1
    arrays["made"][: order.size] = order
    vectors = Vectors(**arrays, first=first, last=last, newest=newest, default=first * LANES)
    return vectors, {BLOCKS: len(sizes), POOL: sum(sizes), VECTORS: order.size}


def _undominated(rows: Floats) -> list[int]:
    """Rows that no other is above everywhere, the largest sum first."""
    kept: list[int] = []
    for i in np.argsort(-rows.sum(axis=1), kind="stable"):
        if not any((rows[j] >= rows[i]).all() for j in kept):
            kept.append(int(i))
    return kept
