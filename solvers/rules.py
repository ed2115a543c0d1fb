"""Tables given by rules with wildcards, the last of which wins; never expanded into all their cells.

File formats speak so ("every action, from this state, to that one: 0.2"), for probabilities and rewards alike. Rules
that name the same axes are kept together, sorted by what they name, so that a table costs as much as its rules.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.errors import ModelError

Where = tuple[int | None, ...]
"""A place on each axis; None: everywhere."""
Box = tuple[tuple[int, int], ...]
"""First place and one past the last, for each axis."""
Sorted = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]
_LARGEST = 2**62  # a place in a table is one 64-bit number


class Rules:
    """Values of a table's cells, zero at first; of all rules that fit a cell, the last one says its value.

    Parameters
    ----------
    shape : sequence of int
        Size of each axis.

    Examples
    --------
    >>> table = Rules((2, 3))
    >>> table.add((None, 1), 5.0)
    >>> table.add((0, None), 7.0)
    >>> table.at([0, 1, 1], [1, 1, 2]).tolist()
    [7.0, 5.0, 0.0]
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(n) for n in shape)
        self._groups: dict[tuple[int, ...], _Group] = {}
        self._added = 0

    def __len__(self) -> int:
        """Number of rules that were added."""
        return self._added

    def __iter__(self) -> Iterator[tuple[Where, float]]:
        """Rules in their order, without those of which a later one names the same places."""
        rules: list[tuple[int, Where, float]] = []
        for named, group in self._groups.items():
            keys, values, turns = group.sorted()
            places = self._unravel(named, keys)
            columns = [
                places[axis].tolist() if axis in places else [None] * len(keys) for axis in range(len(self.shape))
            ]
            rules += zip(turns.tolist(), zip(*columns, strict=True), values.tolist(), strict=True)
        rules.sort()
        return ((where, value) for _, where, value in rules)

    def names(self, *axes: int) -> bool:
        """Whether any rule looks at one of these axes."""
        return any(axis in named for named in self._groups for axis in axes)

    def places(self, axis: int) -> NDArray[np.int64]:
        """Places of an axis that rules name, sorted."""
        found = [
            self._unravel(named, group.sorted()[0])[axis] for named, group in self._groups.items() if axis in named
        ]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def apart(self) -> tuple["Rules", tuple[NDArray[np.int64], ...]]:
        """Rules with a wildcard, in a table of their own, and the cells that the others name: places on each axis."""
        whole = tuple(range(len(self.shape)))
        rest = Rules(self.shape)
        rest._groups = {named: group for named, group in self._groups.items() if named != whole}
        rest._added = self._added
        keys = self._groups[whole].sorted()[0] if whole in self._groups else np.zeros(0, np.int64)
        places = self._unravel(whole, keys)
        return rest, tuple(places[axis] for axis in whole)

    def add(self, where: Where, value: float) -> None:
        """Add a rule: every cell at these places has this value.

        Raises
        ------
        ModelError
            If there is no such place.
        """
        key, named = 0, []
        for axis, (place, size) in enumerate(zip(where, self.shape, strict=True)):
            if place is not None:
                if not 0 <= place < size:
                    raise ModelError(f"place {place} is out of range on axis {axis} of a table of {self.shape}")
                named.append(axis)
                key = key * size + place
        group = self._group(tuple(named))
        group.keys.append(key)
        group.values.append(value)
        group.turns.append(self._added)
        self._added += 1

    def add_table(self, where: Where, axes: Sequence[int], values: NDArray[np.float64]) -> None:
        """Add a rule for each place on some open axes, zeros too: `values` has these axes, in this order.

        Raises
        ------
        ModelError
            If shapes do not agree, or there is no such place.
        """
        if values.shape != tuple(self.shape[axis] for axis in axes) or any(where[axis] is not None for axis in axes):
            raise ModelError(f"values of shape {values.shape} do not fit axes {tuple(axes)} of a table of {self.shape}")
        if not axes:
            self.add(where, float(values))
            return
        if not values.all():
            self.add(where, 0.0)
        cells = np.nonzero(values)
        self.add_cells(
            tuple(cells[axes.index(i)] if i in axes else place for i, place in enumerate(where)), values[cells]
        )

    def add_cells(self, where: Sequence[NDArray[np.int64] | int | None], values: NDArray[np.float64]) -> None:
        """Add many rules at once: arrays of places, or one place, or None for everywhere; in the order of `values`."""
        keys = np.zeros(values.shape, np.int64)
        named = tuple(axis for axis, place in enumerate(where) if place is not None)
        if not keys.size:
            return
        group = self._group(named)
        for axis in named:
            place = np.asarray(where[axis])
            if place.min() < 0 or place.max() >= self.shape[axis]:
                raise ModelError(f"a place is out of range on axis {axis} of a table of {self.shape}")
            keys = keys * self.shape[axis] + place
        group.keys.frombytes(keys.tobytes())
        group.values.frombytes(np.asarray(values, np.float64).tobytes())
        group.turns.frombytes(np.arange(self._added, self._added + len(values)).tobytes())
        self._added += len(values)

    def at(self, *index: ArrayLike) -> NDArray[np.float64]:
        """Value of each cell, given as index arrays, one for each axis, that broadcast against each other."""
        shaped = np.broadcast_arrays(np.zeros((), np.int64), *(np.asarray(i, np.int64) for i in index))
        places = [place.reshape(-1) for place in shaped[1:]]
        value, turn = np.zeros(shaped[0].size), np.full(shaped[0].size, -1, np.int64)
        for named, group in self._groups.items():
            keys, values, turns = group.sorted()
            if not keys.size:
                continue
            asked = np.zeros(value.size, np.int64)
            for axis in named:
                asked = asked * self.shape[axis] + places[axis]
            found = np.searchsorted(keys, asked)
            found[found == len(keys)] = 0
            fits = (keys[found] == asked) & (turns[found] > turn)
            found = found[fits]
            value[fits], turn[fits] = values[found], turns[found]
        return value.reshape(shaped[0].shape)

    def last(self, *index: int | None) -> int:
        """Number, in the order of adding, of the last rule that says something about these places; -1 if none does."""
        newest = -1
        for named, group in self._groups.items():
            keys, _, turns = group.sorted()
            fits = np.ones(len(keys), bool)
            for axis, place in self._unravel(named, keys).items():
                if index[axis] is not None:
                    fits &= place == index[axis]
            newest = max(newest, int(turns[fits].max(initial=-1)))
        return newest

    def count(self, box: Box) -> int:
        """Cells of a box that rules give other values than zero, those that several give counted as often."""
        count = 0
        for named, group in self._groups.items():
            wild = [last - first for axis, (first, last) in enumerate(box) if axis not in named]
            speaking = int(np.count_nonzero(self._inside(named, group, box)[1]))
            count += speaking * int(np.prod(wild, dtype=object))
        return count

    def cells(self, box: Box) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.float64]]:
        """Cells of a box that are not zero, row by row: their places on each axis, and their values.

        Takes time and memory for `count(box)` cells.
        """
        first, sizes = [b[0] for b in box], [b[1] - b[0] for b in box]
        strides = [int(np.prod(sizes[axis + 1 :])) for axis in range(len(sizes))]
        found: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        speaking = 0
        for named, group in self._groups.items():
            places, values = self._inside(named, group, box)
            speaking += values.size > 0
            there = values != 0.0
            flat = np.zeros(int(there.sum()), np.int64)
            for axis, place in places.items():
                flat += (place[there] - first[axis]) * strides[axis]
            values = values[there]
            for axis in range(len(sizes)):
                if axis not in named:
                    flat = (flat[:, None] + np.arange(sizes[axis]) * strides[axis]).reshape(-1)
                    values = np.repeat(values, sizes[axis])
            found.append((flat, values))
        flat = np.concatenate([cells for cells, _ in found]) if found else np.zeros(0, np.int64)
        if speaking > 1:  # rules of other kinds may say something else
            flat = np.unique(flat)
            value = self.at(*self._index(flat, box))
        else:
            value = np.concatenate([values for _, values in found]) if found else np.zeros(0)
            if not (flat[1:] > flat[:-1]).all():
                order = np.argsort(flat)
                flat, value = flat[order], value[order]
        kept = value != 0.0
        return self._index(flat[kept], box), value[kept]

    @staticmethod
    def _index(flat: NDArray[np.int64], box: Box) -> tuple[NDArray[np.int64], ...]:
        places = np.unravel_index(flat, [last - first for first, last in box])
        return tuple(place + first for place, (first, _) in zip(places, box, strict=True))

    def _inside(
        self, named: tuple[int, ...], group: "_Group", box: Box
    ) -> tuple[dict[int, NDArray[np.int64]], NDArray[np.float64]]:
        """Places that a group's rules in a box name, on each axis, and the values of these rules."""
        keys, values, _ = group.sorted()
        if not named:
            return {}, values
        # Sorted by their first place: those in question stand together.
        size = int(np.prod([self.shape[axis] for axis in named[1:]], dtype=object))
        span = slice(*np.searchsorted(keys, [bound * size for bound in box[named[0]]]))
        places, values = self._unravel(named, keys[span]), values[span]
        inside = np.ones(values.size, bool)
        for axis in named[1:]:
            inside &= (places[axis] >= box[axis][0]) & (places[axis] < box[axis][1])
        return {axis: place[inside] for axis, place in places.items()}, values[inside]

    def _unravel(self, named: tuple[int, ...], keys: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
        places = {}
        for axis in reversed(named):
            keys, places[axis] = np.divmod(keys, self.shape[axis])
        return places

    def _group(self, named: tuple[int, ...]) -> "_Group":
        group = self._groups.get(named)
        if group is None:
            if np.prod([self.shape[axis] for axis in named], dtype=object) > _LARGEST:
                raise ModelError(f"a table of {self.shape} has more cells than can be numbered")
            group = self._groups[named] = _Group()
        return group


@dataclass
class _Group:
    """Rules that name the same axes: where (one number each), their values, their turns in the order of adding."""

    keys: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    turns: "array[int]" = field(default_factory=lambda: array("q"))
    _sorted: Sorted | None = None

    def sorted(self) -> Sorted:
        """Keys in increasing order, each with its last value."""
        if self._sorted is not None and not self.keys:
            return self._sorted
        keys, values, turns = np.array(self.keys), np.array(self.values), np.array(self.turns)
        if self._sorted is not None:
            old = self._sorted
            keys, values, turns = (np.concatenate(pair) for pair in zip(old, (keys, values, turns), strict=True))
        if not (keys[1:] > keys[:-1]).all():
            order = np.argsort(keys, kind="stable")
            last = np.append(keys[order[1:]] != keys[order[:-1]], True)
            order = order[last]
            keys, values, turns = keys[order], values[order], turns[order]
        self.keys, self.values, self.turns = array("q"), array("d"), array("q")
        self._sorted = keys, values, turns
        return self._sorted
