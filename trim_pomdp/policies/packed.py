"""Arrays inside of rules: single precision in base64, so that a policy with fitted weights is one JSON file."""

from __future__ import annotations

import base64
import binascii
import math
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import NonNegativeInt, model_validator

from trim_pomdp.artifacts import Record

_TYPE = "<f4"


class PackedArray(Record):
    """An array of finite numbers.

    Attributes
    ----------
    shape : tuple of int
    base64 : str
        Its elements, row by row, as little-endian single-precision numbers.
    """

    shape: tuple[NonNegativeInt, ...]
    base64: str

    @classmethod
    def of(cls, values: ArrayLike) -> PackedArray:
        """The array, rounded to single precision."""
        array = np.ascontiguousarray(values, dtype=_TYPE)
        return cls(shape=array.shape, base64=base64.b64encode(array.tobytes()).decode("ascii"))

    @model_validator(mode="after")
    def _is_whole(self) -> PackedArray:
        try:
            raw = base64.b64decode(self.base64, validate=True)
        except binascii.Error as error:
            raise ValueError(f"base64 is malformed ({error})") from None
        if len(raw) != 4 * math.prod(self.shape):
            raise ValueError(f"base64 holds {len(raw)} bytes; expected {4 * math.prod(self.shape)} for {self.shape}")
        if not np.isfinite(np.frombuffer(raw, _TYPE)).all():
            raise ValueError("base64 holds numbers that are not finite")
        return self

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The array in double precision; not to be written to."""
        array = np.frombuffer(base64.b64decode(self.base64), _TYPE).reshape(self.shape).astype(np.float64)
        array.flags.writeable = False
        return array
