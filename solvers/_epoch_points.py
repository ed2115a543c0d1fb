"""Where `solvers.epoch_solver` puts belief points, and which of them a warm start leaves out."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from solvers import _epoch_kernels as _kernels
from solvers import _simplices as simplices
from solvers._epoch_arrays import Beliefs, Bounds, Epoch, Mesh, Model, no_cells
from solvers.epochs import EpochModel

_WORK = 4e6  # bounds the beliefs followed for each node, with many hidden states
_APART = 1e-10  # least distance of points, with two hidden states
_MOST_PARTS = 8  # of an interval between points, in one round


def first_mesh(m: Model, model: EpochModel) -> Mesh:
    """Corners of every node, and the start belief; one (unused) for a terminal node."""
    S, live = model.n_states, model.table_of >= 0
    if len(m.fixed) == 3:
        return simplices.whole(live, model.start)
    corners = np.eye(S)
    offset = np.concatenate([[0], np.cumsum(np.where(live, S, 1))])
    points = np.concatenate([corners if there else corners[:1] for there in live])
    if model.start.max() < 1.0:
        offset, points = _insert(offset, points, np.zeros(1, np.int64), model.start[None])
    return Mesh(offset, points, no_cells(S))


def more_points(
    m: Model,
    z: Bounds,
    e: Epoch,
    b: Beliefs,
    model: EpochModel,
    *,
    gap: float,
    target: float,
    sweeps: int,
    room: int,
    renew: bool,
) -> Mesh | Literal["stalled", "point limit"]:
    """Points for the next sweep, or why there is none.

    Parameters
    ----------
    m, z, e, b : Model, Bounds, Epoch, Beliefs
        The model, its bounds after a sweep, and room for the kernels.
    model : EpochModel
    gap, target : float
        At the start belief: what it is, and what it should be.
    sweeps : int
        How many there were.
    room : int
        How many points may come.
    renew : bool
        Whether points that came with a warm start are left out where they are idle; two states only.
    """
    if len(m.fixed) == 3:
        return _finer_mesh(m, z, e, b, model, gap=gap, target=target, room=room)
    node, belief, inflow = _new_points(m, z, e, b, model, gap, target, sweeps)
    if node.size == 0:
        return "stalled"
    if room <= 0:
        return "point limit"
    offset, points = z.offset, z.points
    if renew and model.n_states == 2:
        offset, points = _drop_idle(z, model, inflow, 0.1 * target)
    return Mesh(*_insert(offset, points, node[:room], belief[:room]), z.cells)


def _finer_mesh(
    m: Model,
    z: Bounds,
    e: Epoch,
    b: Beliefs,
    model: EpochModel,
    *,
    gap: float,
    target: float,
    room: int,
) -> Mesh | Literal["stalled", "point limit"]:
    """As `more_points`, with cells."""
    S, first = model.n_states, z.cells.offset + z.offset
    Q = int(first[-1])
    mass, peak = np.zeros((Q, S)), np.zeros((Q, S))
    inflow, widest, excess = np.zeros(Q), np.zeros(Q), np.zeros(Q)
    used = np.zeros(model.n_nodes, np.int64)
    _kernels.explore(
        m.fixed, m, z, e, b, model.start, gap, 1e-5 * target, first, used, mass, inflow, widest, excess, peak
    )
    slot = np.arange(z.cells.child.size) + np.repeat(z.offset[:-1], np.diff(z.cells.offset))
    inflow, widest, excess, peak = inflow[slot], widest[slot], excess[slot], peak[slot]
    excess[excess <= max(1e-6 * target, 100 * m.tie)] = 0.0
    peak[widest <= 0.5 * inflow] = 0.0  # where one belief has most of the gap, it becomes a point
    peak[peak < 1e-12] = 0.0
    chosen = np.flatnonzero(excess)
    if chosen.size == 0:
        return "stalled"
    levels = simplices.wanted_levels(excess[chosen], max(0.65 * target, 0.1 * gap), S)
    cost = np.where(peak[chosen].any(axis=1), 1, 2**levels - 1)
    order = np.argsort(-excess[chosen], kind="stable")
    order = order[levels[order] > 0]
    order = order[np.cumsum(cost[order]) <= room]
    if order.size == 0:
        return "point limit"
    chosen, levels = chosen[order], levels[order]
    tangent = z.vectors[np.repeat(z.offset[:-1], np.diff(z.offset)) + z.left]
    mesh, peak = Mesh(z.offset, z.points, z.cells), peak[chosen]
    return simplices.split(mesh, tangent, chosen, levels, peak)


def _insert(
    offset: NDArray[np.int64],
    points: NDArray[np.float64],
    node: NDArray[np.int64],
    belief: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Points with new ones put in: sorted with two states, else behind the old ones."""
    counts = np.diff(offset)
    nodes = np.concatenate([np.repeat(np.arange(counts.size), counts), node])
    points = np.concatenate([points, belief])
    order = np.lexsort((points[:, 1], nodes)) if points.shape[1] == 2 else np.argsort(nodes, kind="stable")
    offset = np.concatenate([[0], np.cumsum(counts + np.bincount(node, minlength=counts.size))])
    return offset, np.ascontiguousarray(points[order])


def _new_points(
    m: Model,
    z: Bounds,
    e: Epoch,
    b: Beliefs,
    model: EpochModel,
    gap: float,
    target: float,
    sweeps: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Where to add points: nodes and beliefs, best first; and the gap that flows into each slot."""
    S = model.n_states
    if S == 2:
        first = z.offset
    else:  # each belief has K·O successors, and each of those is compared to all beliefs of its node
        slots_each = int(np.clip((_WORK / (model.n_signals * model.n_observations * S)) ** 0.5, 32, 512))
        first = slots_each * np.arange(model.n_nodes + 1)
    Q = int(first[-1])
    used = np.zeros(model.n_nodes, np.int64)
    mass, inflow, widest, excess = np.zeros((Q, S)), np.zeros(Q), np.zeros(Q), np.zeros(Q)
    none = np.zeros((0, S))
    _kernels.explore(
        m.fixed, m, z, e, b, model.start, gap, 1e-4 * target, first, used, mass, inflow, widest, excess, none
    )
    excess[excess <= max(1e-5 * target, 100 * m.tie)] = 0.0
    if S == 2:
        # Aim where the lower bound bends, or every third time at the mean belief: where few beliefs are
        # reached, or the value function has few pieces, they are met exactly.
        with np.errstate(invalid="ignore"):
            aim = mass[:, 1] / mass.sum(axis=1)
        if sweeps % 3 > 0:
            aim = np.where(z.bend < 1.0, z.bend, aim)
        slots, belief = _split(z, excess, aim, max(0.8 * target, 0.05 * gap))
    else:
        slots = np.flatnonzero(excess)
        belief = mass[slots] / mass[slots].sum(axis=1, keepdims=True)
    order = np.argsort(-excess[slots], kind="stable")
    if S != 2:
        remaining = excess[slots].sum() - np.cumsum(excess[slots[order]])
        order = order[: int(np.searchsorted(-remaining, -max(0.5 * target, 0.1 * gap))) + 1]
    return np.searchsorted(first, slots[order], side="right") - 1, belief[order], inflow


def _split(
    z: Bounds, excess: NDArray[np.float64], aim: NDArray[np.float64], target: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Beliefs that split intervals with two states, so that about `target` of their excess remains.

    The excess of an interval falls with the square of its width, so n equal parts of each leave Σ excess / n².
    With the fewest parts for that, n is proportional to the cube root of the excess. The cut that is nearest to the
    share `aim` of state 1 is made right there.
    """
    root = np.cbrt(excess)
    parts = root * np.sqrt(root.sum() / max(target, 1e-300))
    cuts = np.ceil(np.clip(parts - 0.1, 1.0, _MOST_PARTS)).astype(np.int64) - 1
    slots = np.repeat(np.arange(cuts.size), cuts)
    cut = np.arange(slots.size) - np.repeat(np.cumsum(cuts) - cuts, cuts) + 1
    parts_here = cuts[slots] + 1
    left, right = z.points[slots, 1], z.points[slots + 1, 1]
    share = left + (right - left) * cut / parts_here
    nearest = np.clip(np.rint((aim[slots] - left) / (right - left) * parts_here), 1, parts_here - 1)
    inside = (aim[slots] > left + _APART) & (aim[slots] < right - _APART)
    share = np.where((cut == nearest) & inside, aim[slots], share)
    apart = (share > left + _APART) & (share < right - _APART)
    return slots[apart], np.stack([1.0 - share[apart], share[apart]], axis=1)


def _drop_idle(
    z: Bounds, model: EpochModel, inflow: NDArray[np.float64], allowance: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Points without those that a warm start no longer needs, with two states.

    Without a point, its two intervals become one of about twice the width and four times the gap. Points are
    dropped while that adds no more than `allowance` in all, and never two neighbours at once.
    """
    counts = np.diff(z.offset)
    node = np.repeat(np.arange(counts.size), counts)
    place = np.arange(node.size) - z.offset[node]
    eligible = (place % 2 == 1) & (place < counts[node] - 1) & ~(z.points == model.start).all(axis=1)
    candidates = np.flatnonzero(eligible)
    cost = 3.0 * (inflow[candidates - 1] + inflow[candidates])
    order = np.argsort(cost, kind="stable")
    dropped = candidates[order[np.cumsum(cost[order]) <= allowance]]
    keep = np.ones(node.size, bool)
    keep[dropped] = False
    offset = np.concatenate([[0], np.cumsum(np.bincount(node[keep], minlength=counts.size))])
    return offset, z.points[keep]
