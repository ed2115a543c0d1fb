"""Models in several variables: conditional probabilities of each, multiplied into sparse tables of joint states."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.formats.tables import TooLargeError
from solvers.formats.text import MAX_CELLS, TOLERANCE
from solvers.rules import Rules

Digits = dict[str, NDArray[np.int64]]
"""Value of each variable, as arrays that broadcast."""
_MOST_ROWS = 10_000_000
_MOST_ENTRIES = 20_000_000
_BLOCK = 500_000  # combinations that are worked on at once


class BadRowError(Exception):
    """Probabilities, given these values of the parents, that do not sum to one: values, sum."""


@dataclass(frozen=True)
class Factor:
    """P(variables | parents), or a function of parents alone: names, sizes of their axes, and rules over both.

    Axes of `rules` are the parents' and then the variables'.
    """

    parents: tuple[str, ...]
    variables: tuple[str, ...]
    rules: Rules

    def value(self, digits: Digits) -> NDArray[np.float64]:
        """Return the function's value where variables have these values."""
        return self.rules.at(*(digits[name] for name in self.parents))

    def rows(self) -> "Rows":
        """Return the distributions, one for each combination of the parents' values.

        Raises
        ------
        BadRowError
            If one does not sum to one within 1e-5.
        TooLargeError
            If there are more than 10 million, or 20 million probabilities other than zero.
        """
        n = len(self.parents)
        sizes, widths = self.rules.shape[:n], self.rules.shape[n:]
        count = int(np.prod(sizes, dtype=object))
        box = tuple((0, size) for size in self.rules.shape)
        if count > _MOST_ROWS or self.rules.count(box) > _MOST_ENTRIES:
            raise TooLargeError
        places, chance = self.rules.cells(box)
        row = np.ravel_multi_index(places[:n], sizes) if n else np.zeros(len(chance), np.int64)
        sums = np.bincount(row, chance, count)
        bad = np.abs(sums - 1.0) > TOLERANCE
        if bad.any():
            worst = int(bad.argmax())
            raise BadRowError(tuple(int(i) for i in np.unravel_index(worst, sizes)) if n else (), float(sums[worst]))
        starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))])
        columns = np.ravel_multi_index(places[n:], widths)
        return Rows(self.parents, sizes, self.variables, widths, starts, columns, chance / sums[row])


@dataclass(frozen=True)
class Rows:
    """Distributions as sparse rows, a combination of the parents' values each."""

    parents: tuple[str, ...]
    sizes: tuple[int, ...]
    variables: tuple[str, ...]
    widths: tuple[int, ...]
    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    chance: NDArray[np.float64]


def in_order(factors: Iterable[Rows], known: Iterable[str]) -> list[Rows]:
    """Factors in an order in which every parent comes before.

    Raises
    ------
    ValueError
        If there is none; the message names the variables.
    """
    known, left, ordered = set(known), list(factors), []
    while left:
        ready = [factor for factor in left if known.issuperset(factor.parents)]
        if not ready:
            raise ValueError(", ".join(name for factor in left for name in factor.variables))
        ordered += ready
        known.update(name for factor in ready for name in factor.variables)
        left = [factor for factor in left if not known.issuperset(factor.variables)]
    return ordered


def digits_of(index: NDArray[np.int64], names: Sequence[str], sizes: Sequence[int]) -> Digits:
    """Value of each variable in joint values; the last variable changes fastest."""
    return dict(zip(names, np.unravel_index(index, sizes) if names else (), strict=True))


def joint(
    factors: Sequence[Rows], known: Digits, count: int, names: Sequence[str], sizes: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Product of all factors: row, joint value of the variables `names`, and probability, of what can occur.

    Parameters
    ----------
    factors : sequence of Rows
        In an order in which every parent comes before.
    known : dict of int arrays, shape (count,)
        Values of the variables that are given, for each row.

    Raises
    ------
    TooLargeError
        If more than 50 million combinations can occur.
    """
    blocks, left, stored = [], [(0, count)], 0
    while left:
        first, last = left.pop()
        block = _joint_rows(factors, known, range(first, last), names, sizes)
        if block is None:
            middle = (first + last) // 2
            left += [(middle, last), (first, middle)]
            continue
        stored += len(block[0])
        if stored > MAX_CELLS:
            raise TooLargeError
        blocks.append(block)
    row, index, chance = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return row, index, chance


def _joint_rows(
    factors: Sequence[Rows], known: Digits, rows: range, names: Sequence[str], sizes: Mapping[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None:
    """`joint` for some rows; None if they are too many to be worked on at once."""
    row, chance = np.arange(rows.start, rows.stop), np.ones(len(rows))
    digits = {name: values[rows.start : rows.stop] for name, values in known.items()}
    for factor in factors:
        given = (
            np.ravel_multi_index(tuple(digits[name] for name in factor.parents), factor.sizes)
            if factor.parents
            else np.zeros(len(row), np.int64)
        )
        first, width = factor.starts[given], factor.starts[given + 1] - factor.starts[given]
        total = int(width.sum())
        if total > MAX_CELLS:
            raise TooLargeError
        if total > _BLOCK and len(rows) > 1:
            return None
        of = np.repeat(np.arange(len(row)), width)
        entry = np.arange(total) - np.repeat(np.cumsum(width) - width, width) + first[of]
        row, chance = row[of], chance[of] * factor.chance[entry]
        digits = {name: values[of] for name, values in digits.items()}
        digits |= digits_of(factor.columns[entry], factor.variables, factor.widths)
    index = np.ravel_multi_index(tuple(digits[name] for name in names), tuple(sizes[name] for name in names))
    return row, index, chance
