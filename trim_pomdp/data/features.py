"""Features of scored steps, for whole sequences and one step at a time, and the npz files that hold them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.equality import ByContent
from trim_pomdp.errors import InputError

CLASSES = ("S0", "S1", "S2")
LogprobName = Literal["logprob_min", "logprob_mean", "logprob_first"]
"""Of the tokens of a weak step: smallest and mean log-probability, and that of the first token; at most 0, in nats."""
LOGPROBS: tuple[LogprobName, ...] = get_args(LogprobName)


@dataclass(frozen=True)
class StepFeatures:
    """What a score sequence says of one step: minimum of the earlier scores (1.0 at the first), and its own."""

    minimum: float
    score: float


def running_minimum(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimum of the scores *before* each step, 1.0 at the first.

    Parameters
    ----------
    scores : ndarray of shape (..., T)
        Step scores in [0, 1].

    Returns
    -------
    ndarray of shape (..., T)

    Examples
    --------
    >>> running_minimum(np.array([0.9, 0.4, 0.7])).tolist()
    [1.0, 0.9, 0.4]
    """
    before = np.ones_like(scores)
    before[..., 1:] = np.minimum.accumulate(scores, axis=-1)[..., :-1]
    return before


def stream_features(scores: Sequence[float]) -> Iterator[StepFeatures]:
    """Features one step at a time; equal to `running_minimum` on the whole sequence."""
    minimum = 1.0
    for score in scores:
        yield StepFeatures(minimum, score)
        minimum = min(minimum, score)


@dataclass(frozen=True, eq=False)
class ClassFeatures(ByContent):
    """Features of partial solutions, by class.

    Attributes
    ----------
    features : dict of str to ndarray of shape (n, 2)
        For each of S0, S1, S2: minimum of the earlier scores, and the score of the current step; NaN where no PRM
        was asked.
    groups : dict of str to ndarray of str, or None
        Id of the solution that each row comes from, where the file has them.
    logprobs : dict of str to dict of str to ndarray of shape (n,)
        For each class, by name: features of the weak step's token log-probabilities, where the file has them.
    """

    features: dict[str, NDArray[np.float64]]
    groups: dict[str, NDArray[np.str_]] | None
    logprobs: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)

    @property
    def has_scores(self) -> bool:
        """Whether a PRM was asked."""
        return not any(np.isnan(values).any() for values in self.features.values())

    def of_steps(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Features of the single steps of a class, by name: ``score``, where a PRM was asked, and log-probabilities."""
        score = {"score": self.features[name][:, 1]} if self.has_scores else {}
        return {**score, **self.logprobs.get(name, {})}


def read_class_features(path: str | Path) -> ClassFeatures:
    """Read an ``.npz`` file with arrays S0, S1, S2 of shape (n, 2); ``S0_id`` and so on are optional.

    Raises
    ------
    InputError
        If the file is absent, damaged or holds pickles; an array is absent, empty, of another shape, or has a
        value outside [0, 1]; or ids are there for some classes only, or not one a row.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name.startswith(CLASSES)}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not an npz file, cut off, or with pickled arrays ({error})") from None
    features = {name: _checked(arrays, name, path) for name in CLASSES}
    ids = {name: arrays[f"{name}_id"] for name in CLASSES if f"{name}_id" in arrays}
    if not ids:
        return ClassFeatures(features, None)
    for name in CLASSES:
        if name not in ids:
            raise InputError(f"{path}: no array {name}_id, but {', '.join(f'{k}_id' for k in ids)}; give all or none")
        if ids[name].shape != (len(features[name]),):
            raise InputError(
                f"{path}: {name}_id has shape {ids[name].shape}; expected one id a row, ({len(features[name])},)"
            )
    return ClassFeatures(features, {name: ids[name].astype(np.str_) for name in CLASSES})


def _checked(arrays: dict[str, NDArray[np.generic]], name: str, path: str | Path) -> NDArray[np.float64]:
    if name not in arrays:
        raise InputError(f"{path}: no array {name!r}; expected S0, S1 and S2, each of shape (n, 2)")
    raw = arrays[name]
    if raw.ndim != 2 or raw.shape[1] != 2:
        raise InputError(f"{path}: {name} has shape {raw.shape}; expected (n, 2): minimum before, current score")
    if len(raw) == 0:
        raise InputError(f"{path}: class {name} is empty; each class needs at least one row")
    if raw.dtype.kind not in "iuf":
        raise InputError(f"{path}: {name} holds {raw.dtype}; expected numbers")
    values = raw.astype(np.float64)
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(f"{path}: {name} row {row}, column {column} is {values[row, column]}; scores lie in [0, 1]")
    return values
