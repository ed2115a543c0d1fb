"""Checks of single arguments, in the words that errors have everywhere."""

import math
import operator
from typing import Any, SupportsFloat, SupportsIndex

from solvers.errors import ModelError


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
