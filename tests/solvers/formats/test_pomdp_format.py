"""The .pomdp reader, statement by statement, and the round trip through the writer."""
# ruff: noqa: E741 (O is the number of observations)

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import POMDP, PomdpFormatError, read_pomdp, write_pomdp

HEAD = """discount: 0.9
values: reward
states: a b
actions: go stay
observations: x y z
"""
BODY = """T: *
identity
O: *
uniform
"""


def parse(tmp_path: Path, text: str) -> POMDP:
    path = tmp_path / "model.pomdp"
    path.write_bytes(text.encode())
    return read_pomdp(path)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("tiger.95", (2, 3, 2)), ("1d", (4, 2, 2)), ("shuttle.95", (8, 3, 5)), ("4x3.95", (11, 4, 6)),
        ("cheese.95", (11, 4, 7)), ("network", (7, 4, 2)), ("web-ad", (4, 3, 5)), ("tiger-grid", (36, 5, 17)),
        ("hallway", (60, 5, 21)), ("rocksample_4_4", (257, 9, 2)),
    ],
)  # fmt: skip
def test_published_files(shared: Path, name: str, sizes: tuple[int, int, int]) -> None:
    pomdp = read_pomdp(shared / "pomdp_files" / f"{name}.pomdp")
    assert (len(pomdp.states), len(pomdp.actions), len(pomdp.observations)) == sizes
    assert pomdp.discount == (0.75 if name == "1d" else 0.95)


def test_light_maze_warns_about_its_start(shared: Path) -> None:
    with pytest.warns(UserWarning, match="line 10: 'start:' with several states"):
        pomdp = read_pomdp(shared / "pomdp_files" / "light_maze.pomdp")
    np.testing.assert_array_equal(pomdp.start, [0.5, 0.5] + [0.0] * 7)
    # an explicit zero took the diagonal of `identity` back
    assert pomdp.transition_array[0, 0].tolist() == [0, 0, 1] + [0] * 6


def test_layout_does_not_matter(tmp_path: Path) -> None:
    text = HEAD + "start: 0.25 0.75\n" + BODY + "R: go : a : b : x - 1\nR:stay:*:*:* +2.5\n"
    one = parse(tmp_path, text)
    for other in (
        " ".join(text.split()),
        text.replace("\n", "\r\n"),
        text.replace("\n", " # café → T: go\n\t"),
        text.replace(" : ", ":"),
        text.replace(":", " : "),
    ):
        two = parse(tmp_path, other)
        for field in ("transition_array", "observation_array", "reward", "start"):
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
    assert one.rewards is not None
    assert one.rewards.array()[0, 0, 1, 0] == -1
    assert (one.rewards.array()[1] == 2.5).all()


@pytest.mark.parametrize("number", [".5", "0.5", "5e-1", "5.E-1", "+.5"])
def test_numbers(tmp_path: Path, number: str) -> None:
    assert parse(tmp_path, HEAD.replace("0.9", number) + BODY).discount == 0.5


def test_the_last_rule_wins_even_if_more_general(tmp_path: Path) -> None:
    rules = """
    T: go : a : b 1.0  T: go : a : a 0.0
    O: * : b 0.2 0.3 0.5
    O: go : * : x 1 O: go : * : y 0 O: go : * : z 0
    R: go : a : * : * 5  R: go : * : * : * 1  R: stay : b : a : y 7
    """
    pomdp = parse(tmp_path, HEAD + BODY + rules)
    assert pomdp.transition_array[0].tolist() == [[0, 1], [0, 1]]
    assert pomdp.observation_array[0].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert pomdp.observation_array[1, 1].tolist() == [0.2, 0.3, 0.5]
    assert pomdp.reward[0].tolist() == [1, 1]
    assert pomdp.rewards is not None
    assert pomdp.rewards.array()[1, 1, 0].tolist() == [0, 7, 0]


def test_reward_rows_and_matrices(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD + BODY + "R: go : a 1 2 3 4 - 5 6\nR: stay : b : * 7 8 9\nR: 0 : 1 : 0 : 2 -.5")
    assert pomdp.rewards is not None
    assert pomdp.rewards.array()[0, 0].tolist() == [[1, 2, 3], [4, -5, 6]]
    assert pomdp.rewards.array()[1, 1].tolist() == [[7, 8, 9], [7, 8, 9]]
    assert pomdp.rewards.array()[0, 1].tolist() == [[0, 0, -0.5], [0, 0, 0]]
    assert pomdp.reward[0, 0] == pytest.approx((1 + 2 + 3) / 3)  # identity, uniform


def test_costs_become_negative_rewards(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD.replace("reward", "cost") + BODY + "R: go : a : * : * 3")
    assert pomdp.reward.tolist() == [[-3, 0], [0, 0]]
    assert pomdp.rewards is None


@pytest.mark.parametrize(
    ("start", "belief"),
    [
        ("", [0.5, 0.5]),
        ("start: uniform", [0.5, 0.5]),
        ("start: 0.3 0.7", [0.3, 0.7]),
        ("start: b", [0, 1]),
        ("start: 0", [1, 0]),
        ("start: 1", [0, 1]),
        ("start include: b", [0, 1]),
        ("start include: 0 b", [0.5, 0.5]),
        ("start exclude: b", [1, 0]),
        ("start: 0 1", [0, 1]),
        ("start: 0.500003 0.500003", [0.5, 0.5]),
    ],
)
def test_start(tmp_path: Path, start: str, belief: list[float]) -> None:
    np.testing.assert_allclose(parse(tmp_path, HEAD + start + "\n" + BODY).start, belief)


def test_a_single_state_has_probability_one(tmp_path: Path) -> None:
    text = "discount: 1 values: reward states: 1 actions: 1 observations: 1 start: 1 T: 0 identity O: 0 uniform"
    assert parse(tmp_path, text).start.tolist() == [1]


def test_reset_goes_to_the_start_belief(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD + "start: 0.2 0.8\n" + BODY + "T: go : * reset\n")
    assert pomdp.transition_array[0].tolist() == [[0.2, 0.8], [0.2, 0.8]]


def test_an_mdp_file_observes_its_state(tmp_path: Path) -> None:
    text = "discount: 0.9 values: reward states: a b actions: go T: go uniform R: go : a : b 4 R: go : b 1 2"
    pomdp = parse(tmp_path, text)
    assert pomdp.observations == ("a", "b")
    assert pomdp.observation_array[0].tolist() == [[1, 0], [0, 1]]
    assert pomdp.reward.tolist() == [[2, 1.5]]


def test_names_and_indices_may_mix(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD.replace("a b", "1st _b.c") + BODY + "T: go : 1st : _b.c 1 T: 0 : 0 : 0 0")
    assert pomdp.transition_array[0, 0].tolist() == [0, 1]
    assert pomdp.states == ("1st", "_b.c")


def test_rows_are_renormalised(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD + BODY + "O: go : a 0.333333 0.333333 0.333333")
    np.testing.assert_allclose(pomdp.observation_array[0, 0], 1 / 3, rtol=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("discount: 0.9\n", "") + BODY, "line 5: no 'discount:' before this"),
        (HEAD.replace("values: reward\n", "") + BODY, "no 'values:' before this"),
        (
            HEAD.replace("reward", "gain") + BODY,
            "line 2: values must be 'reward' or 'cost', found 'gain'",
        ),
        (HEAD.replace("0.9", "1.5") + BODY, "discount must lie in (0, 1], found 1.5"),
        (HEAD.replace("0.9", "high") + BODY, "line 1: expected a number, found 'high'"),
        (HEAD.replace("a b", "a a") + BODY, "line 3: the name 'a' is given twice in states"),
        (
            HEAD.replace("a b", "a start") + BODY,
            "line 3: 'start' is a keyword and cannot be a name in states",
        ),
        (HEAD.replace("a b", "") + BODY, "states need a count or names"),
        (HEAD + "start: 0.2 0.7\n" + BODY, "line 6: the start belief sums to 0.9, not 1"),
        (HEAD + BODY + "start: uniform", "line 10: start must be given once, before T, O and R"),
        (HEAD + "start exclude: a b\n" + BODY, "start excludes every state"),
        (HEAD + "start include: c\n" + BODY, "'c' is none of the states"),
        ("start: uniform\n" + HEAD + BODY, "line 1: no 'discount:' before this"),
        (HEAD + BODY + "discount: 0.9", "'discount' must come before start, T, O and R"),
        (HEAD + BODY + "T: go : c : a 1", "line 10: 'c' is none of the states"),
        (HEAD + BODY + "T: go : 2 : a 1", "state 2 is out of range: there are 2"),
        (HEAD + BODY + "T: go : a identity", "'identity' is not possible in this T entry"),
        (HEAD + BODY + "O: go identity", "'identity' is not possible in this O entry"),
        (HEAD + BODY + "O: go : a reset", "'reset' is not possible in this O entry"),
        (HEAD + BODY + "T: go : a : a -0.5", "negative probability -0.5"),
        (HEAD + BODY + "T: go : a 0.5 0.4999", "T row of action 'go', state 'a' sums to 0.9999, not 1"),
        (HEAD + BODY + "O: stay : b 0.5 0.5 0.5", "O row of action 'stay', state 'b' sums to 1.5, not 1"),
        (HEAD + "O: * uniform", "T row of action 'go', state 'a' sums to 0, not 1 (4 such rows)"),
        (HEAD + BODY + "T: go : a 0.5", "the file ends where a probability (2 of 2) should be"),
        (HEAD + BODY + "R: go : a : b : x", "the file ends where a reward should be"),
        (HEAD + BODY + "Z: go", "expected a statement"),
        (HEAD + BODY + "T go : a", "expected ':', found 'go'"),
        ("", "no 'discount:'"),
    ],
)
def test_errors_name_file_line_and_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PomdpFormatError, match=re.escape(message)) as error:
        parse(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "model.pomdp"))
    assert "\n" not in str(error.value)


@st.composite
def pomdps(draw: st.DrawFn) -> POMDP:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    A, S, O = (draw(st.integers(1, 4)) for _ in range(3))

    def rows(*shape: int) -> np.ndarray:
        table = rng.random(shape) ** 4 * (rng.random(shape) < 0.7)
        table[..., 0] += 1e-9
        return table / table.sum(-1, keepdims=True)

    named = draw(st.booleans())
    outcome = draw(st.booleans())
    scale = draw(st.sampled_from([1e-12, 1.0, 1e9]))
    return POMDP(
        transition=rows(A, S, S),
        observation=rows(A, S, O),
        reward=scale * rng.normal(size=(A, S, S, O) if outcome else (A, S)),
        start=rows(S),
        discount=float(rng.uniform(0.01, 1)),
        states=tuple(f"s-{i}_x" for i in range(S)) if named else (),
    )


@settings(max_examples=50, deadline=None)
@given(pomdp=pomdps())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, pomdp: POMDP) -> None:
    path = tmp_path_factory.mktemp("round") / "model.pomdp"
    write_pomdp(pomdp, path)
    assert "e-" not in path.read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = read_pomdp(path)
    assert (again.states, again.actions, again.observations) == (
        pomdp.states,
        pomdp.actions,
        pomdp.observations,
    )
    assert again.discount == pomdp.discount
    for field in ("transition_array", "observation_array", "start"):
        np.testing.assert_allclose(getattr(again, field), getattr(pomdp, field), rtol=1e-14, atol=0)
    np.testing.assert_allclose(again.reward, pomdp.reward, rtol=1e-12, atol=1e-25)
    if pomdp.rewards is not None:
        assert again.rewards is not None
        np.testing.assert_array_equal(again.rewards.array(), pomdp.rewards.array())


@pytest.mark.parametrize("name", ["start", "T", "1st", "two words", "é"])
def test_names_that_the_format_does_not_allow_are_not_written(tmp_path: Path, name: str) -> None:
    pomdp = POMDP(
        transition=[[[1.0]]], observation=[[[1.0]]], reward=[[0.0]], start=[1.0], discount=1.0, states=(name,)
    )
    with pytest.raises(PomdpFormatError, match="cannot be a name in states"):
        write_pomdp(pomdp, tmp_path / "model.pomdp")
