"""Sets of alpha-vectors, and pomdp-solve's .alpha files: lines with an action and with a vector in turn."""

from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.checks import check_array, check_shape
from solvers.errors import ModelError, PomdpFormatError
from solvers.formats.text import (
    MAX_ACTIONS,
    SIGNED,
    failed,
    index_of,
    lines_of,
    plain,
    read_text,
    short,
    shown,
    write_texts,
)


@dataclass(frozen=True, eq=False)
class VectorSet:
    """Alpha-vectors with their actions: what a policy file holds, without the model.

    Parameters
    ----------
    vectors : array, shape (V, N)
        Over all states, or over the hidden part of the state where `observed` says of which value.
    actions : int array, shape (V,)
    observed : int array, shape (V,), optional
        Value of the fully observed factor for which a vector holds.

    Raises
    ------
    ModelError
        If shapes do not agree, or numbers are not finite.
    """

    vectors: NDArray[np.float64]
    actions: NDArray[np.int64]
    observed: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        vectors = check_array("vectors", self.vectors, 2)
        if not vectors.size:
            raise ModelError("at least one vector with at least one number is needed")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "actions", _whole("actions", self.actions, len(vectors)))
        if self.observed is not None:
            object.__setattr__(self, "observed", _whole("observed", self.observed, len(vectors)))
        for array in (self.vectors, self.actions, self.observed):
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.vectors)


def read_alpha(path: str | PathLike[str]) -> VectorSet:
    """Read alpha-vectors as pomdp-solve writes them: a line with the action's number, a line with a number each state.

    Empty lines and comments (`#`) are skipped.

    Raises
    ------
    PomdpFormatError
        If the file is something else; the message names file, line and what is wrong.
    OSError
        If the file cannot be read.
    """
    actions: list[int] = []
    rows: list[NDArray[np.float64]] = []
    number = 1
    for number, line in lines_of(read_text(path)):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(actions) == len(rows):
            action = index_of(words[0]) if len(words) == 1 else None
            if action is None or action > MAX_ACTIONS:
                what = shown(line.strip())
                raise failed(path, number, f"expected an action's number, alone in a line, found {what}")
            actions.append(action)
        else:
            rows.append(numbers(words, path, number))
            if rows[-1].size != rows[0].size:
                what = f"a vector has {rows[-1].size} numbers, the first one has {rows[0].size}"
                raise failed(path, number, what)
    if not actions or len(actions) > len(rows):
        what = "a vector" if actions else "the number of an action"
        raise failed(path, number, f"the file ends where {what} should be")
    return VectorSet(np.stack(rows), np.array(actions))


def write_alpha(vectors: VectorSet, path: str | PathLike[str]) -> None:
    """Write alpha-vectors as pomdp-solve does, in plain decimals that are read back as the same numbers.

    Raises
    ------
    PomdpFormatError
        If vectors hold for values of an observed factor, which the format cannot say.
    """
    if vectors.observed is not None:
        raise PomdpFormatError(
            f"{path}: the format cannot say for which value of an observed factor a vector holds; "
            ".policy can (write_appl_policy)"
        )
    write_texts({path: alpha_text(vectors)})


def alpha_text(vectors: VectorSet) -> str:
    """What an .alpha file of these vectors holds."""
    pairs = zip(vectors.actions.tolist(), vectors.vectors, strict=True)
    return "".join(f"{a}\n{' '.join(map(plain, v))}\n\n" for a, v in pairs)


def numbers(words: list[str], path: str | PathLike[str], line: int) -> NDArray[np.float64]:
    """Numbers of a vector: written with any exponent, but finite.

    Raises
    ------
    PomdpFormatError
        If a word is no number, or not finite.
    """
    for word in words:
        if not SIGNED.fullmatch(word):
            raise failed(path, line, f"expected a number, found {shown(word)}")
    values = np.array(list(map(float, words)))
    if not np.isfinite(values).all():
        raise failed(path, line, f"{short(words[int(np.isinf(values).argmax())])} is too large a number")
    return values


def _whole(name: str, value: ArrayLike, size: int) -> NDArray[np.int64]:
    array = np.array(value)
    check_shape(name, array.shape, (size,))
    if array.dtype.kind not in "iu" or (array < 0).any():
        raise ModelError(f"{name} must be numbers from 0, got {array.tolist()[:5]}")
    return array.astype(np.int64)
