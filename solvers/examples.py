"""Problems to look at: the tiger, a maze in which looking first is worth the way, robots in a hallway and at tag."""

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


HALLWAY2 = (" *****", "** * **", " * * *", "** * *+", " *****")
"""The map of `hallway`'s second problem: 23 rooms, ``+`` the goal."""


def hallway(rows: Sequence[str] = HALLWAY2) -> POMDP:
    """A robot that sees walls, badly, must find the goal; 92 states. Littman, Cassandra and Kaelbling 1995 (ICML).

    In every room it may face north, east, south or west. Driving forward it drifts to the left or the right, or back;
    turns fail, too. It sees on which of its four sides walls are: a wall with probability .9, none where none is with
    .95. At the goal, which it sees, it gets 1 and begins anew in any other room, facing anywhere.

    Parameters
    ----------
    rows : sequence of str
        The map, a character a room: ``*`` a room, ``+`` the goal, blank a wall.

    Raises
    ------
    ModelError
        If the map has other characters, or not one goal.

    Examples
    --------
    >>> hallway()
    POMDP(92 states, 5 actions, 17 observations, discount 0.95)
    """
    if odd := set("".join(rows)) - set(" *+"):
        raise ModelError(f"the map has {sorted(odd)[0]!r}; rooms are * and +, walls are blank")
    if (count := "".join(rows).count("+")) != 1:
        raise ModelError(f"the map has {count} goals '+'; one is needed")
    rooms = [(r, c) for r, row in enumerate(rows) for c, kind in enumerate(row) if kind != " "]
    place, sides, n = {room: i for i, room in enumerate(rooms)}, list(DIRECTIONS.values()), 4 * len(rooms)
    at_goal = np.repeat([rows[r][c] == "+" for r, c in rooms], 4)
    start = ~at_goal / (~at_goal).sum()
    move = {name: np.zeros((n, n)) for name in ("stay", "forward", "right", "around", "left")}
    sight = np.zeros((n, 17))
    for i, (r, c) in enumerate(rooms):
        next_to = [place.get((r + down, c + right)) for down, right in sides]
        for facing in range(4):
            state = 4 * i + facing
            ways = _drift(facing)
            for turn, to, share in ways:
                there = next_to[turn]
                move["forward"][state, state if there is None else 4 * there + to] += share
            move["forward"][state, state] += 1.0 - sum(share for _, _, share in ways)
            move["stay"][state, state] = 1.0
            for name, shares in _TURNS.items():
                for quarter, share in enumerate(shares):
                    move[name][state, 4 * i + (facing + quarter) % 4] = share
            walls = [next_to[(facing + side) % 4] is None for side in range(4)]  # ahead, right, behind, left
            for seen in range(16):
                bits = [bool(seen >> (3 - side) & 1) for side in range(4)]
                seeing = [
                    (0.9 if bit else 0.1) if wall else (0.05 if bit else 0.95)
                    for bit, wall in zip(bits, walls, strict=True)
                ]
                sight[state, seen] = np.prod(seeing)
    for table in move.values():
        table[at_goal] = start
    sight[at_goal] = np.eye(17)[16]
    return POMDP(
        transition=np.stack(list(move.values())),
        observation=np.broadcast_to(sight, (5, n, 17)),
        reward=np.stack([table @ at_goal for table in move.values()]),
        start=start,
        discount=0.95,
        states=tuple(f"{r},{c}/{side}" for r, c in rooms for side in DIRECTIONS),
        actions=tuple(move),
    )


_TURNS = {"right": (0.1, 0.7, 0.1, 0.1), "around": (0.1, 0.15, 0.6, 0.15), "left": (0.1, 0.1, 0.1, 0.7)}


def _drift(facing: int) -> list[tuple[int, int, float]]:
    """Where driving forward leads: side of the room, side that is faced then, probability; else it stays as it is."""
    right, back, left = ((facing + quarter) % 4 for quarter in (1, 2, 3))
    return [
        (facing, facing, 0.8), (right, right, 0.05), (left, left, 0.05), (back, facing, 0.025), (back, back, 0.025),
    ]  # fmt: skip


# The map of Tag: x from the left, y from below.
_TAG_CELLS = [(x, y) for y in range(2) for x in range(10)] + [(x, y) for y in range(2, 5) for x in range(5, 8)]
_MOVES = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}


def tag(*, seen: bool = True) -> POMDP:
    """A robot must find and tag an opponent who flees; 870 states. Pineau, Gordon and Thrun 2003 (IJCAI).

    The map has 29 cells. Moves cost 1; tagging earns 10 in the opponent's cell, which ends the game, and costs 10
    anywhere else. The opponent stays with probability 0.2, and otherwise moves away from the robot: with 0.4 to the
    left or right, with 0.4 up or down, against a wall nowhere. Along a line that both are on, either way is away. The
    robot sees the opponent in its own cell alone.

    Parameters
    ----------
    seen : bool
        Whether the robot's cell is declared a fully observed factor, known before the first action too. Otherwise it is
        an observation, and unknown at the start.
    """
    from scipy.sparse import coo_array, csr_array

    n = len(_TAG_CELLS)
    size = n * (n + 1)  # robot's cell, opponent's cell or n: tagged
    place = {cell: i for i, cell in enumerate(_TAG_CELLS)}
    reward = np.full((5, size), -1.0)
    reward[:, n :: n + 1] = 0.0
    tables = []
    for a, (dx, dy) in enumerate([*_MOVES.values(), (0, 0)]):
        rows, columns, chances = [], [], []
        for r, (x, y) in enumerate(_TAG_CELLS):
            there = place.get((x + dx, y + dy), r)
            for o in range(n + 1):
                state = r * (n + 1) + o
                tagged = o == n or (a == 4 and r == o)
                after = {n: 1.0} if tagged else _flight(_TAG_CELLS[o], (x, y), place)
                if a == 4 and o < n:
                    reward[a, state] = 10.0 if r == o else -10.0
                for cell, chance in after.items():
                    rows.append(state)
                    columns.append(there * (n + 1) + cell if o < n else state)
                    chances.append(chance)
        tables.append(csr_array(coo_array((chances, (rows, columns)), shape=(size, size))))
    robot, opponent = np.divmod(np.arange(size), n + 1)
    sight = np.zeros((size, n + 1))
    sight[np.arange(size), np.where(robot == opponent, n, robot)] = 1.0
    look = csr_array(sight)
    names = [f"{x},{y}" for x, y in _TAG_CELLS]
    return POMDP(
        transition=tables,
        observation=[look] * 5,
        reward=reward,
        start=np.where(opponent < n, 1.0 / (n * n), 0.0),
        discount=0.95,
        states=[f"robot {name} opponent {other}" for name in names for other in [*names, "tagged"]],
        actions=[*_MOVES, "tag"],
        observations=[*(f"at {name}" for name in names), "opponent here"],
        observed=robot if seen else None,
    )


def _flight(opponent: tuple[int, int], robot: tuple[int, int], place: dict[tuple[int, int], int]) -> dict[int, float]:
    """Where the opponent goes, and with what chance."""
    after = {place[opponent]: 0.2}
    for axis in range(2):
        away = opponent[axis] - robot[axis]
        steps = (1, -1) if away == 0 else (1 if away > 0 else -1,)
        for step in steps:
            there = (opponent[0] + step * (axis == 0), opponent[1] + step * (axis == 1))
            cell = place.get(there, place[opponent])
            after[cell] = after.get(cell, 0.0) + 0.4 / len(steps)
    return after


_ROCKS_7_8 = ((2, 0), (0, 1), (3, 1), (6, 3), (2, 4), (3, 4), (5, 5), (1, 6))


def rocksample(
    size: int = 7,
    rocks: Sequence[tuple[int, int]] = _ROCKS_7_8,
    *,
    start: tuple[int, int] | None = None,
    half: float = 20.0,
    exponential: bool = False,
    seen: bool = True,
) -> POMDP:
    """A rover samples rocks, good ones for 10 and bad ones for -10, and leaves to the right for 10.

    Rocks are good with probability 1/2, and bad once sampled. Sampling where no rock is costs 100, moving out of the
    map too, except to the right. The default is RockSample[7,8], 12,545 states. Smith and Simmons 2004 (UAI).

    Parameters
    ----------
    size : int
        Cells in each direction.
    rocks : sequence of (int, int)
        Column and row of each rock, from the left and from below.
    start : (int, int), optional
        The rover's cell; by default the middle of the left column.
    half : float
        Distance at which a look's advantage over guessing has halved: it is right with probability
        (1 + 2^(-distance / half)) / 2. The paper's is 20.
    exponential : bool
        Instead (1 + exp(-distance)) / 2, as in files that go round.
    seen : bool
        Whether the rover's cell is declared a fully observed factor.

    Raises
    ------
    ModelError
        If a rock is outside of the map, or two share a cell.

    Examples
    --------
    >>> rocksample(2, [(0, 1)]).n_states
    9
    """
    from scipy.sparse import csr_array

    k = len(rocks)
    if len(set(rocks)) < k or not all(0 <= x < size and 0 <= y < size for x, y in rocks):
        raise ModelError(f"rocks must have different cells of a map of {size} × {size}, got {list(rocks)}")
    n = size * size * 2**k  # and the end
    state = np.arange(n)
    cell, good = np.divmod(state, 2**k)
    y, x = np.divmod(cell, size)

    def leads(to: NDArray[np.int64]) -> "csr_array":
        return csr_array((np.ones(n + 1), (np.arange(n + 1), np.append(to, n))), shape=(n + 1, n + 1))

    reward = np.zeros((5 + k, n + 1))
    tables = []
    for a, (dx, dy) in enumerate(_MOVES.values()):
        inside = (x + dx >= 0) & (x + dx < size) & (y + dy >= 0) & (y + dy < size)
        out = n if dx == 1 else state
        tables.append(leads(np.where(inside, state + (dx + size * dy) * 2**k, out)))
        reward[a, :n] = np.where(inside, 0.0, 10.0 if dx == 1 else -100.0)
    sampled, gain = state.copy(), np.full(n, -100.0)
    nothing = np.zeros((n + 1, 3))
    nothing[:, 2] = 1.0
    looks = [csr_array(nothing)] * 5
    for i, (rx, ry) in enumerate(rocks):
        is_good = (good >> i & 1) == 1
        here = (x == rx) & (y == ry)
        gain[here] = np.where(is_good, 10.0, -10.0)[here]
        sampled[here & is_good] -= 1 << i
        distance = np.hypot(x - rx, y - ry)
        right = (1.0 + (np.exp(-distance) if exponential else 2.0 ** (-distance / half))) / 2.0
        look = nothing.copy()
        look[:n, 2] = 0.0
        look[:n, 0] = np.where(is_good, right, 1.0 - right)
        look[:n, 1] = 1.0 - look[:n, 0]
        looks.append(csr_array(look))
    tables += [leads(sampled)] + [leads(state)] * k
    reward[4, :n] = gain
    begin = start if start is not None else (0, size // 2)
    first = begin[1] * size + begin[0]
    belief = np.zeros(n + 1)
    belief[first * 2**k : (first + 1) * 2**k] = 2.0**-k
    return POMDP(
        transition=tables,
        observation=looks,
        reward=reward,
        start=belief,
        discount=0.95,
        actions=[*_MOVES, "sample", *(f"look{i}" for i in range(k))],
        observations=("good", "bad", "nothing"),
        observed=np.append(cell, size * size) if seen else None,
    )
