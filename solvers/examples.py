"""Small problems to look at: the tiger, and a maze in which looking first is worth the way."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError
from solvers.pomdp import POMDP

DIRECTIONS = {"north": (-1, 0), "east": (0, 1), "south": (1, 0), "west": (0, -1)}
_DOORS, _SIGN, _START, _FREE, _WALL = "AB", "?", "S", ".", "#"


def tiger(*, hearing: float = 0.85, discount: float = 0.95) -> POMDP:
    """Two doors, a tiger behind one of them; listening costs 1, the right door pays 10, the tiger costs 100.

    After a door is opened all begins anew. Kaelbling, Littman and Cassandra 1998 (Artificial Intelligence 101).

    Parameters
    ----------
    hearing : float
        Probability that listening hears the tiger where it is.
    discount : float
    """
    wrong = round(1.0 - hearing, 12)  # as one would write it into a file
    behind = np.array([[hearing, wrong], [wrong, hearing]])
    nothing = np.full((2, 2), 0.5)
    return POMDP(
        transition=np.stack([np.eye(2), nothing, nothing]),
        observation=np.stack([behind, nothing, nothing]),
        reward=np.array([[-1.0, -1.0], [-100.0, 10.0], [10.0, -100.0]]),
        start=np.array([0.5, 0.5]),
        discount=discount,
        states=("tiger-left", "tiger-right"),
        actions=("listen", "open-left", "open-right"),
        observations=("hear-left", "hear-right"),
    )


def maze(
    rows: Sequence[str],
    *,
    reading: float = 0.9,
    slip: float = 0.1,
    step: float = -1.0,
    prize: float = 20.0,
    trap: float = -40.0,
) -> POMDP:
    """Two doors, a prize behind one and a trap behind the other; a sign says which, and is off the way.

    The place is seen, so that it is a fully observed factor (`POMDP.observed`); what is hidden is the door of the
    prize. Standing on the sign reads it, once a step. After a door all is over.

    Parameters
    ----------
    rows : sequence of str
        The map, a character a cell: ``#`` wall, ``.`` free, ``S`` the start, ``?`` the sign, ``A`` and ``B`` the doors.
    reading : float
        Probability that the sign is read as it is.
    slip : float
        Probability that a step leads nowhere. So does a step against a wall.
    step, prize, trap : float
        Reward of each step, and of going through either door.

    Returns
    -------
    POMDP
        With states ``r,c/A`` (row, column, where the prize is), and ``over/A``.

    Raises
    ------
    ModelError
        If rows differ in length, have other characters, or the map has not one each of ``S``, ``?``, ``A`` and ``B``.

    Examples
    --------
    >>> maze(["A.B", "#S#", "#?#"]).states[:3]
    ('0,0/A', '0,1/A', '0,2/A')
    """
    cells = _cells(rows)
    place = {cell: i for i, (cell, _) in enumerate(cells)}
    over, n = len(cells), len(cells) + 1
    moves = np.zeros((len(DIRECTIONS), n, n))
    moves[:, over, over] = 1.0
    for i, (cell, kind) in enumerate(cells):
        for a, (down, right) in enumerate(DIRECTIONS.values()):
            there = place.get((cell[0] + down, cell[1] + right), i)
            moves[a, i, over if kind in _DOORS else there] += 1.0 if kind in _DOORS else 1.0 - slip
            moves[a, i, i] += 0.0 if kind in _DOORS else slip
    reward = np.zeros((2, n))
    read = np.zeros((2, n, 3))
    read[:, :, 2] = 1.0
    for i, (_, kind) in enumerate(cells):
        for side in range(2):
            reward[side, i] = step if kind not in _DOORS else prize if kind == _DOORS[side] else trap
            if kind == _SIGN:
                read[side, i] = (reading, 1.0 - reading, 0.0) if side == 0 else (1.0 - reading, reading, 0.0)
    start = np.zeros(n)
    start[[kind for _, kind in cells].index(_START)] = 1.0
    names = [f"{r},{c}" for (r, c), _ in cells] + ["over"]
    return POMDP(
        transition=np.stack([np.kron(np.eye(2), move) for move in moves]),
        observation=np.broadcast_to(read.reshape(2 * n, 3), (len(DIRECTIONS), 2 * n, 3)),
        reward=np.broadcast_to(reward.reshape(2 * n), (len(DIRECTIONS), 2 * n)),
        start=np.concatenate([start, start]) / 2.0,
        discount=1.0,
        states=tuple(f"{name}/{door}" for door in _DOORS for name in names),
        actions=tuple(DIRECTIONS),
        observations=("sign says A", "sign says B", "nothing"),
        observed=_twice(n),
    )


def _twice(n: int) -> NDArray[np.int64]:
    return np.tile(np.arange(n), 2)


def _cells(rows: Sequence[str]) -> list[tuple[tuple[int, int], str]]:
    """Cells that are no wall, row by row, with what they are; the map checked."""
    known = _DOORS + _SIGN + _START + _FREE + _WALL
    for r, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ModelError(f"row {r} of the map has {len(row)} cells; row 0 has {len(rows[0])}")
        if odd := set(row) - set(known):
            raise ModelError(f"row {r} of the map has {sorted(odd)[0]!r}; cells are {' '.join(known)}")
    for kind in _START + _SIGN + _DOORS:
        if (count := "".join(rows).count(kind)) != 1:
            raise ModelError(f"the map has {count} cells {kind!r}; one is needed")
    return [((r, c), kind) for r, row in enumerate(rows) for c, kind in enumerate(row) if kind != _WALL]
