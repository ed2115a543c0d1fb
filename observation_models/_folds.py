"""Folds that keep a problem's rows together."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observation_models._inputs import IntArray
from observation_models.errors import ObservationModelError, ObservationModelWarning


def stratified_folds(
    codes: IntArray, groups: NDArray[Any] | None, n_folds: int, seed: int
) -> list[tuple[IntArray, IntArray]]:
    """Split rows into ``n_folds`` (train, held-out) index pairs, stratified by class.

    With groups no group is on both sides; without, rows are split as if independent, and a warning says so.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    units = np.bincount(codes)
    if groups is not None:
        units = np.array([len(np.unique(groups[codes == c])) for c in range(len(units))])
    if n_folds < 2 or units.min() < n_folds:
        what = "samples" if groups is None else "groups"
        raise ObservationModelError(
            f"{n_folds} folds need at least 2 and at most {units.min()}: {what} of the rarest class"
        )
    if groups is None:
        warnings.warn(
            "no groups given: folds by row; if rows share a problem, held-out results look too good",
            ObservationModelWarning,
            stacklevel=3,
        )
        splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    else:
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    return [(train, test) for train, test in splitter.split(np.zeros(len(codes)), codes, groups)]
