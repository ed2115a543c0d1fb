"""The concave hull of points (cost, accuracy): what mixtures of two of them reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def concave_hull(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vertices of the least concave, non-decreasing function above the points (x, y), from the smallest x.

    Examples
    --------
    >>> concave_hull(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.1, 1.0]))
    (array([0., 2.]), array([0., 1.]))
    """
    order = np.lexsort((-y, x))
    hull: list[tuple[float, float]] = []
    for px, py in zip(x[order].tolist(), y[order].tolist(), strict=True):
        if hull and (py <= hull[-1][1] or px == hull[-1][0]):
            continue
        while len(hull) >= 2 and _above(hull[-2], hull[-1], (px, py)):
            hull.pop()
        hull.append((px, py))
    vertices = np.array(hull)
    return vertices[:, 0], vertices[:, 1]


def _above(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether the middle point b lies on or below the chord from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) <= (c[1] - a[1]) * (b[0] - a[0])
