"""Equality of records that hold arrays, whose own ``==`` answers element by element and so says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


class ByContent:
    """For dataclasses (``eq=False``): equal if the class and all fields are, arrays by shape and elements.

    NaN equals NaN, since what is compared is what is held. Equal things have equal hashes; of arrays, mappings and
    lists the size alone enters them.
    """

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(same(getattr(self, name), getattr(other, name)) for name in _names(self))

    def __hash__(self) -> int:
        return hash((type(self), *(_hashable(getattr(self, name)) for name in _names(self))))


def same(first: Any, second: Any) -> bool:
    """Whether two values hold the same, arrays inside of tuples, lists and mappings included."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return _same_arrays(np.asarray(first), np.asarray(second))
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, (tuple, list)) and type(first) is type(second):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def _same_arrays(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    with_nan = first.dtype.kind in "fc" and second.dtype.kind in "fc"
    return np.array_equal(first, second, equal_nan=with_nan)


def _names(item: Any) -> list[str]:
    return [field.name for field in fields(item) if field.compare]


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape
    if isinstance(value, (Mapping, list)):
        return len(value)
    return tuple(map(_hashable, value)) if isinstance(value, tuple) else value
