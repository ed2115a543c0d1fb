"""Beliefs of a few hidden states, divided into simplices where the bounds need it; see `solvers.epoch_solver`.

Halving the edge between two corners keeps simplices few and their corners shared: those around the edge split it at
the same point. A lookup (`_descend` in `solvers._epoch_kernels`) takes one comparison for each cell on its way.
"""
# mypy: disallow-untyped-decorators=False

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers._epoch_arrays import Cells, Floats, Ints, Mesh
from solvers._epoch_kernels import entry, inner

_MOST_LEVELS = 6  # how often a cell is halved in one round


class Room(NamedTuple):
    """Points and cells of a mesh, not in order of their nodes, with room for more behind them."""

    points: Floats
    node_of_point: Ints
    corner: Ints
    child: Ints
    pair: Ints
    share: Floats
    node_of_cell: Ints
    count: Ints  # cells and points that there are


def whole(live: NDArray[np.bool_], start: Floats) -> Mesh:
    """One cell for each node, its corners the hidden states; that of node 0 is split at the start belief.

    A terminal node owns a point and a cell that nothing looks at. `live` (N,) says which are not.
    """
    N, S = live.size, start.size
    offset = np.concatenate([[0], np.cumsum(np.where(live, S, 1))])
    points = np.concatenate([np.eye(S) if there else np.eye(S)[:1] for there in live])
    corner = offset[:-1, None] + np.where(live[:, None], np.arange(S), 0)
    cells = Cells(
        offset=np.arange(N + 1),
        corner=corner,
        child=np.full(N, -1),
        pair=np.full((N, 2), -1),
        share=np.zeros((N, S)),
    )
    mesh = Mesh(offset, points, cells)
    if start.max() == 1.0:
        return mesh
    first = np.zeros(1, np.int64)
    return split(mesh, np.zeros(points.shape), first, first, np.array(start[None]))


def wanted_levels(excess: Floats, target: float, n_states: int) -> Ints:
    """How often to halve cells (Q,), so that about `target` of their excess remains, with the fewest points.

    Excess falls with the square of the diameter, which it takes S - 1 halvings to halve; each also halves what there
    is in either part.
    """
    fall = 4.0 ** (1.0 / (n_states - 1))
    depth = np.log(np.maximum(excess, 1e-300)) / np.log(2.0 * fall)
    low, high = depth.min() - 1.0, depth.max()
    for _ in range(40):
        level = 0.5 * (low + high)
        levels = np.clip(np.ceil(depth - level), 0.0, _MOST_LEVELS)
        if (excess / fall**levels).sum() > target:
            high = level
        else:
            low = level
    return np.asarray(np.clip(np.ceil(depth - low), 0.0, _MOST_LEVELS), np.int64)


def split(mesh: Mesh, tangent: Floats, chosen: Ints, levels: Ints, peak: Floats) -> Mesh:
    """Mesh with more points.

    Parameters
    ----------
    mesh : Mesh
    tangent : array, shape (P, S)
        Alpha-vector that is best at each point: where it changes most along an edge, the edge is halved.
    chosen : int array, shape (Q,)
        Cells to split, without children.
    levels : int array, shape (Q,)
        How often to halve each.
    peak : array, shape (Q, S)
        Where a row is not zero: barycentric coordinates at which the cell is split instead, once.
    """
    N, S = mesh.offset.size - 1, mesh.points.shape[1]
    C, P = mesh.cells.child.size, len(mesh.points)
    star = peak.any(axis=1)
    more_cells = int(np.where(star, S, 2 ** (levels + 1) - 2).sum())
    more_points = int(np.where(star, 1, 2**levels - 1).sum())
    points = np.concatenate([mesh.points, np.zeros((more_points, S))])
    corner = np.concatenate([mesh.cells.corner, np.zeros((more_cells, S), np.int64)])
    child = np.concatenate([mesh.cells.child, np.full(more_cells, -1)])
    pair = np.concatenate([mesh.cells.pair, np.full((more_cells, 2), -1)])
    share = np.concatenate([mesh.cells.share, np.zeros((more_cells, S))])
    node_of_cell = np.concatenate([np.repeat(np.arange(N), np.diff(mesh.cells.offset)), np.zeros(more_cells, np.int64)])
    node_of_point = np.concatenate([np.repeat(np.arange(N), np.diff(mesh.offset)), np.zeros(more_points, np.int64)])
    room = Room(points, node_of_point, corner, child, pair, share, node_of_cell, np.array([C, P]))
    size = 1 << int(2 * (C + more_cells) + 1).bit_length()
    _split(room, tangent, chosen, levels, star, peak, np.full(size, -1), np.zeros(size, np.int64))
    n_cells, n_points = room.count.tolist()
    # Each node's points and cells behind each other again: new ones come after those that are there.
    offset, order, new_point = _sorted(node_of_point[:n_points], N)
    cell_offset, cell_order, new_cell = _sorted(node_of_cell[:n_cells], N)
    child = child[cell_order]
    cells = Cells(
        offset=cell_offset,
        corner=new_point[corner[cell_order]],
        child=np.where(child >= 0, new_cell[child], -1),
        pair=pair[cell_order],
        share=share[cell_order],
    )
    return Mesh(offset, points[order], cells)


def _sorted(node: Ints, n_nodes: int) -> tuple[Ints, Ints, Ints]:
    """Offsets of the nodes, the order of things by node, and where each thing goes."""
    order = np.argsort(node, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return np.concatenate([[0], np.cumsum(np.bincount(node, minlength=n_nodes))]), order, place


@inner
def _place(keys: Ints, key: int) -> int:
    """Where a key stands in an open-addressed table, or may be put."""
    i = (key * 0x9E3779B97F4A7C1 >> 17) & (keys.size - 1)
    while keys[i] >= 0 and keys[i] != key:
        i = (i + 1) & (keys.size - 1)
    return i


@inner
def _edge(corner: Ints, q: int, i: int, j: int) -> int:
    """One number for an edge, whichever cell it is seen from."""
    return int(min(corner[q, i], corner[q, j]) * (1 << 31) + max(corner[q, i], corner[q, j]))


@inner
def _divide(room: Room, q: int, at: Floats, row: int, middle: int) -> None:
    """Give cell q a child for each corner with a share in at[row]; put point `middle` there, if it is new."""
    points, corner, count = room.points, room.corner, room.count
    S = points.shape[1]
    if middle == count[1]:
        room.node_of_point[middle] = room.node_of_cell[q]
        count[1] += 1
        for s in range(S):
            value = 0.0
            for i in range(S):
                value += at[row, i] * points[corner[q, i], s]
            points[middle, s] = value
    room.child[q] = count[0]
    for i in range(S):
        if at[row, i] > 0.0:
            room.node_of_cell[count[0]] = room.node_of_cell[q]
            for j in range(S):
                corner[count[0], j] = corner[q, j]
            corner[count[0], i] = middle
            count[0] += 1


@inner
def _bends(room: Room, tangent: Floats, q: int, bend: Floats) -> None:
    """How much the value bends along the edges (S, S) of a cell."""
    points, corner = room.points, room.corner
    S = points.shape[1]
    for i in range(S):
        for j in range(S):
            v, w = corner[q, i], corner[q, j]
            value = 0.0
            for s in range(S):
                value += (points[v, s] - points[w, s]) * (tangent[v, s] - tangent[w, s])
            bend[i, j] = max(0.0, value)


@inner
def _edge_to_halve(room: Room, q: int, bend: Floats) -> tuple[int, int]:
    """The edge, lower corner first, that bends most; where nothing bends, as far as is known, the longest."""
    points, corner = room.points, room.corner
    S = points.shape[1]
    left, right, most = 0, 1, bend[0, 1]
    for j in range(S):
        for i in range(j):
            if bend[i, j] > most:
                left, right, most = i, j, bend[i, j]
    if most > 0.0:
        return left, right
    for j in range(S):
        for i in range(j):
            length = 0.0
            for s in range(S):
                length = max(length, abs(points[corner[q, i], s] - points[corner[q, j], s]))
            if length > most:
                left, right, most = i, j, length
    return left, right


@entry
def _split(
    room: Room,
    tangent: Floats,
    chosen: Ints,
    levels: Ints,
    star: NDArray[np.bool_],
    peak: Floats,
    keys: Ints,
    middle_of: Ints,
) -> None:
    """Split cells, those of `star` at `peak`; see `split`. keys and middle_of are room for halved edges."""
    corner, child, pair, share, count = room.corner, room.child, room.pair, room.share, room.count
    S = corner.shape[1]
    for q in range(count[0]):
        if child[q] >= 0 and pair[q, 0] >= 0:
            i = _place(keys, _edge(corner, q, pair[q, 0], pair[q, 1]))
            keys[i] = _edge(corner, q, pair[q, 0], pair[q, 1])
            middle_of[i] = corner[child[q], pair[q, 0]]
    at = np.empty((1, S))
    here = np.empty((S, S))
    # Cells that are still to be split: of each pair of children one waits while the other is.
    cell = np.empty(2 * _MOST_LEVELS, np.int64)
    level = np.empty(2 * _MOST_LEVELS, np.int64)
    bend = np.empty((2 * _MOST_LEVELS, S, S))
    for n in range(chosen.size):
        if star[n]:
            for s in range(S):
                share[chosen[n], s] = peak[n, s]
            _divide(room, chosen[n], peak, n, count[1])
            continue
        waiting = 1
        cell[0] = chosen[n]
        level[0] = levels[n]
        _bends(room, tangent, chosen[n], bend[0])
        while waiting > 0:
            waiting -= 1
            q = cell[waiting]
            rest = level[waiting] - 1
            left, right = _edge_to_halve(room, q, bend[waiting])
            pair[q, 0] = left
            pair[q, 1] = right
            i = _place(keys, _edge(corner, q, pair[q, 0], pair[q, 1]))
            if keys[i] < 0:
                keys[i] = _edge(corner, q, pair[q, 0], pair[q, 1])
                middle_of[i] = count[1]
            for k in range(S):
                at[0, k] = 0.5 if k in (left, right) else 0.0
                for j in range(S):
                    here[k, j] = bend[waiting, k, j]
            _divide(room, q, at, np.int64(0), middle_of[i])
            if rest == 0:
                continue
            for part in range(2):  # from here on as if the value were quadratic
                moved = left if part == 0 else right
                for k in range(S):
                    for j in range(S):
                        bend[waiting, k, j] = here[k, j]
                for k in range(S):
                    value = max(0.0, 0.5 * (here[k, left] + here[k, right]) - 0.25 * here[left, right])
                    if k != moved:
                        bend[waiting, moved, k] = value
                        bend[waiting, k, moved] = value
                cell[waiting] = child[q] + part
                level[waiting] = rest
                waiting += 1
