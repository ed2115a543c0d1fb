"""What outcomes say of which model wins a problem, as RouteLLM's routers are trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.queries import QueryOutcome
from trim_pomdp.errors import InputError

WEAK_WINS, TIE, STRONG_WINS = 0, 1, 2


def preferences(outcomes: Sequence[QueryOutcome]) -> NDArray[np.float64]:
    """Shares of pairs of a weak and a strong sample in which weak wins, neither does, strong wins; shape (n, 3).

    The strong model wins where it alone is right, and the weak model likewise; all else is a tie. With one sample of
    either this is one label a problem, as the source makes them of golden answers.
    """
    weak = np.array([item.weak_right for item in outcomes], dtype=np.float64)
    strong = np.array([item.strong_right for item in outcomes], dtype=np.float64)
    weak_wins, strong_wins = weak * (1.0 - strong), strong * (1.0 - weak)
    return np.stack([weak_wins, 1.0 - weak_wins - strong_wins, strong_wins], axis=1)


def labelled_rows(
    shares: NDArray[np.float64], labels: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Preferences as labelled rows: index of the problem, label, weight; labels that nothing weighs are left out.

    Raises
    ------
    InputError
        If fewer than two of the labels occur.
    """
    index, column = np.nonzero(shares[:, list(labels)] > 0)
    label = np.asarray(labels, dtype=np.int64)[column]
    if len(np.unique(label)) < 2:
        raise InputError(
            "one model wins nowhere in the fitting problems, so that nothing tells where it would; use more"
        )
    return index, label, shares[index, label]
