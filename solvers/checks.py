"""Checks of arguments, in the words that errors have everywhere."""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.errors import ModelError

_TOLERANCE = 1e-9


def whole(name: str, value: SupportsIndex, low: int, high: int | None = None) -> int:
    """Return a whole number in low … high - 1, as an int.

    Raises
    ------
    ModelError
        If it is none: text, or a fraction, or outside.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise ModelError(f"{name} must be a whole number, got {value!r}") from None
    if high is not None and not low <= number < high:
        raise ModelError(f"{name} must lie in {low} … {high - 1}, got {number}")
    if number < low:
        raise ModelError(f"{name} must be at least {low}, got {number}")
    return number


def real(name: str, value: SupportsFloat) -> float:
    """Return a finite number as a float; text is none.

    Raises
    ------
    ModelError
        If it is none.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ModelError(f"{name} must be a number, got {value!r}")
    return number


def discount(value: SupportsFloat) -> float:
    """Return a discount, in (0, 1].

    Raises
    ------
    ModelError
        If it is none.
    """
    number = real("discount", value)
    if not 0.0 < number <= 1.0:
        raise ModelError(f"discount must lie in (0, 1], got {number}")
    return number


def of_type(name: str, value: Any, *types: type) -> None:
    """Raise unless a value is of one of these types.

    Raises
    ------
    ModelError
        If it is not; the message says what it is instead.
    """
    if not isinstance(value, types):
        wanted = " or ".join(kind.__name__ for kind in types)
        raise ModelError(f"{name} must be a {wanted}, got {type(value).__name__}")


def check_belief(name: str, value: ArrayLike, size: int) -> NDArray[np.float64]:
    """Return a belief as an array that sums to one exactly; within 1e-9 it must already.

    Raises
    ------
    ModelError
        If it is no distribution over `size` states.
    """
    b = check_array(name, value, 1)
    check_shape(name, b.shape, (size,))
    if (b < 0).any():
        raise ModelError(f"{name} has a negative entry: {b.min()}")
    if abs(b.sum() - 1.0) > _TOLERANCE:
        raise ModelError(f"{name} must sum to 1, not {b.sum():.12g}")
    return np.asarray(b / b.sum())


def check_beliefs(name: str, value: ArrayLike, size: int) -> NDArray[np.float64]:
    """Return a belief (S,), or beliefs (B, S), as an array (B, S); see `check_belief`.

    Raises
    ------
    ModelError
        If one is no distribution over `size` states.
    """
    beliefs = check_array(name, value, 1, 2)
    check_shape(name, beliefs.shape[-1:], (size,))
    beliefs = beliefs.reshape(-1, size)
    wrong = (beliefs < 0).any(axis=1) | (np.abs(beliefs.sum(axis=1) - 1.0) > _TOLERANCE)
    for row in np.flatnonzero(wrong):
        check_belief(name if len(beliefs) == 1 else f"{name} {row}", beliefs[row], size)
    return beliefs


def check_array(name: str, value: ArrayLike, *ndim: int) -> NDArray[np.float64]:
    """Return a copy as an array of finite numbers, with one of these numbers of dimensions.

    Raises
    ------
    ModelError
        If that cannot be.
    """
    try:
        array = np.array(value, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise ModelError(f"{name} is not an array of numbers: {error}") from None
    if array.ndim not in ndim:
        raise ModelError(f"{name} must have {' or '.join(map(str, ndim))} dimensions, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ModelError(f"{name} has an entry that is not finite")
    return array


def check_indices(name: str, value: ArrayLike, ndim: int, low: int | None, high: int | None) -> NDArray[np.int64]:
    """Return whole numbers in low … high - 1 as an array; without bounds where they are None.

    Raises
    ------
    ModelError
        If that cannot be.
    """
    floats = check_array(name, value, ndim)
    array = floats.astype(np.int64)
    if (array != floats).any():
        raise ModelError(f"{name} must hold integers")
    if array.size and low is not None and high is not None and (array.min() < low or array.max() >= high):
        raise ModelError(f"{name} must lie in {low} … {high - 1}, got {array.min()} … {array.max()}")
    return array


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise unless a shape is the expected one.

    Raises
    ------
    ModelError
        If that cannot be.
    """
    if shape != expected:
        raise ModelError(f"{name} must have shape {expected}, got {shape}")


def check_names(field_name: str, names: Sequence[str], kind: str, count: int) -> tuple[str, ...]:
    """Return names, all different; ``kind 0``, ``kind 1``, … where none are given.

    Raises
    ------
    ModelError
        If that cannot be.
    """
    if isinstance(names, str):
        raise ModelError(f"{field_name} must be a sequence of names, not one string")
    if not isinstance(names, Iterable):
        raise ModelError(f"{field_name} must be a sequence of names, got {names!r}")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise ModelError(f"{field_name} must be names, that is strings, got {name!r}")
    result = tuple(map(str, names)) or tuple(f"{kind} {i}" for i in range(count))
    if len(result) != count or len(set(result)) != count:
        raise ModelError(f"{field_name} must be {count} different names, got {list(result)}")
    return result
