"""The tiger, the maze, episodes of policies in them, and the pictures."""

from dataclasses import replace

import numpy as np
import pytest

from solvers import POMDP, EpochSolution, ModelError, solve_epochs
from solvers.episodes import play, played_value
from solvers.examples import hallway, maze, tiger
from solvers.plots import plot_rounds, plot_values, plot_way, steps_to_go

MAP = ["A...B", "##.##", "#?S##"]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def listened() -> EpochSolution:
    return solve_epochs(tiger().finite_horizon(10), gap=1e-6)


@pytest.fixture(scope="module")
def walked() -> EpochSolution:
    return solve_epochs(maze(MAP).finite_horizon(12), gap=1e-6)


# Exact values of pomdp-solve 5.3 (incremental pruning) for the published tiger.
@pytest.mark.parametrize(("horizon", "value"), [(1, -1.0), (2, -1.95), (3, 2.3098), (4, 1.7955442), (10, 6.6933684)])
def test_the_tiger_is_the_published_one(horizon: int, value: float) -> None:
    assert solve_epochs(tiger().finite_horizon(horizon), gap=1e-7).lower == pytest.approx(value, abs=1e-6)


def test_a_maze_solved_by_hand() -> None:
    """The sign is read without error one step to the west: 18 where the prize is there, 17 where it is behind."""
    there = maze(["A?SB"], reading=1.0, slip=0.0)
    assert solve_epochs(there.finite_horizon(4), gap=1e-9).lower == pytest.approx(17.5)
    # Too late for both the sign and the door behind: read, and take the prize if it is ahead.
    assert solve_epochs(there.finite_horizon(3), gap=1e-9).lower == pytest.approx((18.0 - 3.0) / 2.0)


@pytest.mark.slow
def test_the_place_may_as_well_be_told_by_the_observation() -> None:
    """The same maze without an observed factor: each observation then says the place too."""
    small = maze(["A?SB"])
    seen, n = small.n_observations, len(small.states) // 2
    told = np.zeros((*small.observation_array.shape[:2], seen * n))
    for state, place in enumerate(np.tile(np.arange(n), 2)):
        told[:, state, place * seen : (place + 1) * seen] = small.observation_array[:, state]
    plain = replace(small, observation=told, observations=(), observed=None)
    values = [solve_epochs(model.finite_horizon(6), gap=1e-8).lower for model in (small, plain)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["A?SB", "..."], "row 1 of the map has 3 cells; row 0 has 4"),
        (["A?SX", "...B"], "row 0 of the map has 'X'"),
        (["A?S."], "the map has 0 cells 'B'; one is needed"),
        (["A?SB", "S..."], "the map has 2 cells 'S'; one is needed"),
    ],
)
def test_maps_that_are_none(rows: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        maze(rows)


@pytest.mark.slow
def test_an_episode_filters_as_the_model_does(listened: EpochSolution) -> None:
    there = tiger()
    episode = play(there, listened.policy, rng=rng())
    belief = there.start
    for t in range(10):
        assert episode.belief[t] == pytest.approx(belief, abs=1e-12)
        assert episode.action[t] == listened.policy.action(t, belief)
        assert episode.reward[t] == there.reward[episode.action[t], episode.state[t]]
        belief, _ = listened.model.update(t, belief, 0, int(episode.action[t]), int(episode.observation[t]))
    assert episode.value == pytest.approx(sum(0.95**t * r for t, r in enumerate(episode.reward)))
    assert episode.rows == play(there, listened.policy, rng=rng()).rows


@pytest.mark.slow
@pytest.mark.parametrize(("name", "episodes"), [("tiger", 3000), ("maze", 2000)])
def test_what_was_promised_comes_true(name: str, episodes: int, listened: EpochSolution, walked: EpochSolution) -> None:
    """Episodes run in the POMDP's own tables, observed factor and all; the bound comes from the epoch form."""
    world, solution = (tiger(), listened) if name == "tiger" else (maze(MAP), walked)
    played = played_value(world, solution.policy, episodes=episodes, rng=rng())
    assert abs(played.mean - solution.lower) < 4.0 * played.standard_error
    assert played.episodes == episodes


def test_the_maze_is_walked_by_way_of_the_sign(walked: EpochSolution) -> None:
    there = maze(MAP, slip=0.0)
    for seed in range(5):
        episode = play(there, walked.policy, rng=np.random.default_rng(seed))
        visited = [there.states[s].partition("/")[0] for s in episode.state]
        assert visited.index("2,1") < min(visited.index(cell) for cell in ("0,0", "0,4") if cell in visited)
        assert len(episode.rows) == visited.index("over")
        assert "likeliest state" in episode._repr_html_()


def test_rewards_of_outcomes_are_what_an_episode_gets() -> None:
    """A reward that depends on the observation alone."""
    outcome = np.zeros((1, 1, 1, 2))
    outcome[..., 1] = 4.0
    world = POMDP(transition=[[[1.0]]], observation=[[[0.5, 0.5]]], reward=outcome, start=[1.0], discount=1.0)
    episode = play(world, solve_epochs(world.finite_horizon(30)).policy, rng=rng())
    assert (episode.reward == 4.0 * episode.observation).all()
    assert 0 < episode.observation.sum() < 30


def test_a_policy_for_something_else_is_refused(listened: EpochSolution) -> None:
    with pytest.raises(ModelError, match=r"the policy is for another model: .*\(3, 2, 2\), expected \(4, "):
        play(maze(MAP), listened.policy, rng=rng())
    with pytest.raises(ModelError, match="episodes must be at least 2, got 1"):
        played_value(tiger(), listened.policy, episodes=1, rng=rng())


@pytest.mark.parametrize("name", ["tiger", "maze"])
def test_rounds_tell_how_the_bounds_closed(name: str, listened: EpochSolution, walked: EpochSolution) -> None:
    solution = listened if name == "tiger" else walked
    assert len(solution.rounds) == solution.sweeps > 1
    last = solution.rounds[-1]
    assert (last.lower, last.upper, last.n_points) == (solution.lower, solution.upper, solution.n_points)
    for before, after in zip(solution.rounds, solution.rounds[1:], strict=False):
        assert before.lower - 1e-9 <= after.lower <= after.upper <= before.upper + 1e-9
        assert before.n_points < after.n_points
    stopped = solve_epochs(solution.model, gap=1e-6, max_sweeps=2)
    assert stopped.rounds == solution.rounds[:2]


def test_values_are_drawn_as_they_are(listened: EpochSolution) -> None:
    figure = plot_values(listened, nodes=(9, 0), states=tiger().states)
    late, first = figure.axes
    assert late.get_title(loc="left").startswith("1 to go, 3 vectors")
    assert first.get_title(loc="left").startswith("10 to go")
    assert late.get_xlabel() == "P(tiger-right)"
    drawn = [line.get_ydata() for line in late.lines[:3]]
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, listened.vectors(9)))
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"alpha-vectors", "upper bound", "start", "listen", "open-left", "open-right"} <= labels
    # With one step to go the left door is opened from 0.9 on (10 p - 100 (1 - p) = -1), listening is best below.
    spans = [patch.get_paths()[0].get_extents() for patch in late.collections[1:]]
    assert [round(span.x1, 2) for span in spans] == pytest.approx([0.1, 0.9, 1.0], abs=0.011)


def test_rounds_are_drawn_as_they_are(walked: EpochSolution, listened: EpochSolution) -> None:
    figure = plot_rounds(walked, listened, names=("maze", "tiger"))
    upper, lower = figure.axes[0].lines
    assert list(lower.get_ydata()) == [r.lower for r in walked.rounds]
    assert list(upper.get_ydata()) == [r.upper for r in walked.rounds]
    assert figure.axes[2].get_title(loc="left") == "tiger: value at the start"


def test_a_way_is_drawn_step_by_step(walked: EpochSolution) -> None:
    episode = play(maze(MAP), walked.policy, rng=rng())
    texts = [text.get_text() for text in plot_way(MAP, episode).axes[0].texts]
    assert texts[:4] == ["A", "B", "?", "S"]
    assert texts[4:] == [str(t) for t in range(len(texts) - 4)]


def test_pictures_that_cannot_be(listened: EpochSolution) -> None:
    two = np.eye(3)[None]
    wide = POMDP(transition=two, observation=two, reward=[[1.0, 0.0, 0.0]], start=[1.0, 0.0, 0.0], discount=1.0)
    with pytest.raises(ModelError, match="beliefs over 3 hidden states cannot be drawn on a line"):
        plot_values(solve_epochs(wide.finite_horizon(2)))
    with pytest.raises(ModelError, match="node 10 is terminal or unknown"):
        plot_values(listened, nodes=(10,))
    with pytest.raises(ModelError, match="a solution and a node are needed"):
        plot_values()
    with pytest.raises(ModelError, match="1 solutions and 2 names"):
        plot_rounds(listened, names=("a", "b"))


def test_steps_to_go(walked: EpochSolution, listened: EpochSolution) -> None:
    assert steps_to_go(listened.model).tolist() == list(range(10, -1, -1))
    places = len(maze(MAP).states) // 2
    assert steps_to_go(walked.model).tolist() == [12, *np.repeat(np.arange(11, -1, -1), places)]


@pytest.mark.parametrize(
    ("action", "state", "row"),
    [
        ("forward", 0, {0: 0.9, 5: 0.05, 24: 0.025, 26: 0.025}),  # a corner: a wall ahead
        ("forward", 8, {7: 0.05, 8: 0.85, 13: 0.05, 28: 0.025, 30: 0.025}),
        ("forward", 35, {16: 0.05, 35: 0.85, 37: 0.025, 39: 0.025, 50: 0.05}),
        ("forward", 82, {60: 0.025, 62: 0.025, 79: 0.05, 82: 0.85, 85: 0.05}),
        ("around", 5, {4: 0.15, 5: 0.1, 6: 0.15, 7: 0.6}),
        ("left", 23, {20: 0.1, 21: 0.1, 22: 0.7, 23: 0.1}),
    ],
)
def test_the_hallway_is_the_published_one(action: str, state: int, row: dict[int, float]) -> None:
    """Against rows of the file that the field passes on as Hallway2 (states by room, from the top left, and side)."""
    model = hallway()
    found = model.transition[model.actions.index(action)][[state]].toarray()[0]
    assert {int(i): round(float(found[i]), 6) for i in np.flatnonzero(found)} == row


def test_what_is_seen_in_the_hallway() -> None:
    model = hallway()
    sight = model.observation[0].toarray()
    assert sight[4, 10] == pytest.approx(0.731025)  # facing a wall, another one behind
    assert sight[8, 8] == pytest.approx(0.771637, abs=1e-6)
    assert sight[20, 11] == pytest.approx(0.69255)  # three walls
    assert (sight[68:72, 16] == 1.0).all()
    assert model.start[68:72].sum() == 0.0
    # It drives into the goal from the room beside it, and from the goal it begins anew.
    forward = model.transition[1].toarray()
    assert forward[65, 69] == pytest.approx(0.8)
    assert forward[70] == pytest.approx(model.start)
    for rows, words in ((["*x+"], "has 'x'"), (["**"], "0 goals"), (["++"], "2 goals")):
        with pytest.raises(ModelError, match=words):
            hallway(rows)
