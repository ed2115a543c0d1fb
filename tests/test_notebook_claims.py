"""Numbers that stand in the prose of notebooks, made anew."""

import numpy as np
import pytest

from solvers import Solution, solve
from solvers.examples import maze, tiger

# 06_pomdps_beyond_routing ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ten() -> Solution:
    return solve(tiger().finite_horizon(10), gap=1e-6)


def opens_from(solution: Solution, to_go: int) -> float:
    """Least belief in the tiger on the left from which the right door is opened."""
    share = np.linspace(0.5, 1.0, 2001)
    actions = solution.policy.action(10 - to_go, np.stack([share, 1.0 - share], axis=1))
    return float(share[actions == 2][0])


def test_the_tiger(ten: Solution) -> None:
    assert ten.lower == pytest.approx(6.693368, abs=1e-6)
    assert ten.sweeps == 6
    assert len(ten.vectors(9)) == 3
    assert opens_from(ten, 1) == pytest.approx(0.9, abs=0.001)
    assert (round(opens_from(ten, 4), 2), round(opens_from(ten, 3), 2)) == (0.93, 0.99)
    assert all(opens_from(ten, to_go) > 0.901 for to_go in range(2, 11))


def test_how_often_the_tiger_must_be_heard(ten: Solution) -> None:
    odds = (0.85 / 0.15) ** np.array([1, 2, 3])
    heard = odds / (1.0 + odds)
    assert round(heard[1], 2) == 0.97
    for to_go in range(1, 11):
        needed = 3 if to_go in (5, 3, 2) else 2
        assert heard[needed - 2] < opens_from(ten, to_go) <= heard[needed - 1], to_go


def test_the_maze() -> None:
    rows = ["A...B", "##.##", "#?S##"]
    walk = solve(maze(rows).finite_horizon(20), gap=1e-4)
    still_open = [round(r.upper - r.lower, 1) for r in walk.rounds]
    assert still_open[8] == 6.0
    assert still_open[-2:] == [0.0, 0.0]
    blind = solve(maze(rows, reading=0.5).finite_horizon(20), gap=1e-4)
    assert blind.lower == pytest.approx(-10.0 - 4.0 / 0.9, abs=0.01)
    assert round(4.0 / 0.9, 1) == 4.4
    assert round(walk.lower - blind.lower, 1) == 25.6
