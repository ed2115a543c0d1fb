"""Draws of dynamics: what the parameters might be as well, jointly, as refits on resampled data have them.

An interval of one parameter says nothing of errors that go together: a fit may know a sum, and neither part. What a
plan promises hangs on all of them at once, so a fit keeps whole draws (`FitReport.draws`).
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from trim_pomdp.artifacts import Record

FloatArray = NDArray[np.float64]
_STORED = np.dtype("<f4")

DRAWN = (
    "weak_success", "strong_success", "repair", "look_right", "false_alarms", "misses", "recovery", "hazard",
    "hazard_derailed", "hazard_wrong", "weak_tokens", "strong_tokens", "redraft_repair", "redraft_success",
    "redraft_same", "redraft_same_slope", "redraft_tilt", "strong_success_again", "repair_again",
)  # fmt: skip
"""Fields of `trim_pomdp.model.dynamics.StepDynamics` that draws are of; the others are as fitted in all of them."""


class Draws(Record):
    """Joint draws of parameters.

    Attributes
    ----------
    columns : tuple of str
        Names of the numbers: ``repair``, ``hazard.3`` (from 0), ``strong_tokens.wrong``, ``redraft_tilt.right.0``.
    values : str
        An array (draws, columns) of little-endian 32-bit floats, in base64; NaN where a draw does not tell.
    """

    columns: tuple[str, ...] = Field(min_length=1)
    values: str = Field(repr=False)

    @model_validator(mode="after")
    def _is_a_table(self) -> Draws:
        unknown = sorted({name.split(".")[0] for name in self.columns} - set(DRAWN))
        if unknown:
            raise ValueError(f"columns name {', '.join(unknown)}; draws are of {', '.join(DRAWN)}")
        try:
            size = len(base64.b64decode(self.values, validate=True))
        except binascii.Error:
            raise ValueError("values are no base64") from None
        row = _STORED.itemsize * len(self.columns)
        if size == 0 or size % row:
            raise ValueError(f"values hold {size} bytes; expected a multiple of {row}, {len(self.columns)} columns")
        if np.isinf(self.array).any():
            raise ValueError("values hold infinities")
        return self

    @classmethod
    def of(cls, items: Sequence[Mapping[str, Any]]) -> Draws:
        """From fields of dynamics, as `StepDynamics.model_dump` has them; at least one draw."""
        rows = [dict(_leaves({name: item.get(name) for name in DRAWN})) for item in items]
        columns = tuple(dict.fromkeys(name for row in rows for name in row))
        table = np.array([[row.get(name, np.nan) for name in columns] for row in rows], dtype=_STORED)
        return cls(columns=columns, values=base64.b64encode(table.tobytes()).decode())

    @cached_property
    def array(self) -> FloatArray:
        """Shape (draws, columns)."""
        flat = np.frombuffer(base64.b64decode(self.values), dtype=_STORED)
        return flat.reshape(-1, len(self.columns)).astype(np.float64)

    def __len__(self) -> int:
        """Number of draws."""
        return len(self.array)

    def fields(self) -> Iterator[dict[str, Any]]:
        """Of each draw the fields of dynamics that it tells."""
        for row in self.array.tolist():
            told = {name: value for name, value in zip(self.columns, row, strict=True) if not math.isnan(value)}
            yield {name: item for name, item in _grown(told).items() if item is not None}


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Numbers in nested mappings and sequences, by their paths."""
    if value is None:
        return
    if isinstance(value, Mapping | Sequence):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, float(value)


def _grown(leaves: Mapping[str, float]) -> dict[str, Any]:
    """What `_leaves` took apart."""
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        *path, last = name.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = value
    return {name: _sequences(item) for name, item in tree.items()}


def _sequences(node: Any) -> Any:
    """Mappings with the keys 0, 1, … are sequences."""
    if not isinstance(node, dict):
        return node
    if set(node) == {str(i) for i in range(len(node))}:
        return tuple(_sequences(node[str(i)]) for i in range(len(node)))
    return {key: _sequences(item) for key, item in node.items()}
