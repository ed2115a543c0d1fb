"""Facts about .pomdp files that were tested on other programs, each a test; and files as large as people have them."""

import itertools
import re
import resource
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pomdp_samples as samples
import pytest

from solvers import POMDP, PomdpFormatError, read_pomdp, write_pomdp

HEAD = "discount: 0.9\nvalues: reward\nstates: a b\nactions: go stay\nobservations: x y z\n"
BODY = "T: *\nidentity\nO: *\nuniform\n"
# Sizes from the README beside the files: |S|, |A|, |O|, discount.
PUBLISHED = {
    "tiger.aaai": (2, 3, 2, 0.75), "tiger.95": (2, 3, 2, 0.95), "1d": (4, 2, 2, 0.75), "shuttle.95": (8, 3, 5, 0.95),
    "4x3.95": (11, 4, 6, 0.95), "cheese.95": (11, 4, 7, 0.95), "paint.95": (4, 4, 2, 0.95),
    "parr95.95": (7, 3, 6, 0.95), "network": (7, 4, 2, 0.95), "mini-hall2": (13, 3, 9, 0.95), "web-ad": (4, 3, 5, 0.95),
    "tiger-grid": (36, 5, 17, 0.95), "hallway": (60, 5, 21, 0.95), "rocksample_4_4": (257, 9, 2, 0.95),
    "light_maze": (9, 4, 6, 0.95),
}  # fmt: skip


def parse(tmp_path: Path, text: str) -> POMDP:
    path = tmp_path / "model.pomdp"
    path.write_bytes(text.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_pomdp(path)


def refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PomdpFormatError, match=re.escape(message)) as error:
        parse(tmp_path, text)
    assert re.match(r".*model\.pomdp, line \d+: ", str(error.value))
    assert "\n" not in str(error.value)


def test_every_published_file_is_read(shared: Path) -> None:
    found = sorted(path.stem for path in (shared / "pomdp_files").glob("*.pomdp"))
    assert found == sorted([*PUBLISHED, *(name for name in found if name not in PUBLISHED)])
    assert set(PUBLISHED) <= set(found)
    for name in found:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if name == "light_maze" else "error")
            pomdp = read_pomdp(shared / "pomdp_files" / f"{name}.pomdp")
        sizes = (pomdp.n_states, pomdp.n_actions, pomdp.n_observations, pomdp.discount)
        assert sizes == PUBLISHED.get(name, sizes)


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"light_maze"}))
def test_published_files_are_written_and_read_back(shared: Path, tmp_path: Path, name: str) -> None:
    pomdp = read_pomdp(shared / "pomdp_files" / f"{name}.pomdp")
    write_pomdp(pomdp, tmp_path / "again.pomdp")
    again = read_pomdp(tmp_path / "again.pomdp")
    for field in ("transition_array", "observation_array", "reward", "start"):
        np.testing.assert_allclose(getattr(again, field), getattr(pomdp, field), rtol=1e-13, atol=1e-13)
    assert (again.states, again.actions, again.observations) == (pomdp.states, pomdp.actions, pomdp.observations)


def test_the_tiger_is_what_it_is(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, samples.TIGER)
    assert pomdp.transition_array.tolist() == [np.eye(2).tolist(), [[0.5, 0.5]] * 2, [[0.5, 0.5]] * 2]
    assert pomdp.observation_array[0].tolist() == [[0.85, 0.15], [0.15, 0.85]]
    assert pomdp.reward.tolist() == [[-1, -1], [-100, 10], [10, -100]]
    assert pomdp.rewards is None


def test_costs_of_outcomes_and_erased_entries(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, samples.WALK)
    assert pomdp.start.tolist() == [0.5, 0.5, 0, 0]
    assert pomdp.transition_array[1].tolist() == [[0.25, 0.75, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0.5, 0.5, 0, 0]]
    assert pomdp.observation_array[1].tolist() == [[0, 1], [0, 1], [0, 1], [0.9, 0.1]]
    assert pomdp.rewards is not None
    costs = -np.ones((2, 4, 4, 2))
    costs[1, 2, 3] = 0
    costs[1, 3, 0] = [-5, -6]
    costs[0, 1] = [[-1, -2], [-3, -4], [-5, -6], [-7, -8]]
    np.testing.assert_array_equal(pomdp.rewards.array(), costs)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (BODY + "T: * : * : * 0.0 T: * identity", BODY),
        (BODY + "T: go : a : * 0 T: go : a : a 1", BODY),
        (BODY + "T: go : * : b 0.5 T: go : * : a 0.5", BODY + "T: go uniform"),
        ("O: go : * : y 0.5 T: * identity O: * uniform", BODY),
        (BODY + "O: go : a 1 0 0 T: stay : b uniform O: go uniform T: stay : b 0 1", BODY),
        (BODY + "O: * : * : * 0 O: * : * : x 1", BODY + "O: * 1 0 0 1 0 0"),
        (BODY + "T: 1 : 1 : 1 0.25 T: 1 : 1 : 0 0.75", BODY + "T: stay : b 0.75 0.25"),
        (BODY + "T: go : * uniform", BODY + "T: go uniform"),
    ],
)
def test_later_entries_override_cell_by_cell(tmp_path: Path, text: str, same: str) -> None:
    one, other = parse(tmp_path, HEAD + text), parse(tmp_path, HEAD + same)
    np.testing.assert_array_equal(one.transition_array, other.transition_array)
    np.testing.assert_array_equal(one.observation_array, other.observation_array)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + BODY + "T: go Uniform", "line 10: expected a probability (1 of 4), found 'Uniform'"),  # case matters
        (HEAD.replace("a b", "2") + BODY + "T: go : a : b 1", "line 10: 'a' is none of the states"),
        (HEAD + "T: go : a reset\nstart: uniform\n" + BODY, "line 7: start must be given once, before T, O and R"),
        (HEAD + BODY + "states: 3", "line 10: 'states' must come before start, T, O and R"),
        (HEAD.replace("states", "states: a b states"), "line 3: states are declared twice"),
        (HEAD + "start: 0.5 0.4999\n" + BODY, "line 6: the start belief sums to 0.9999, not 1"),
        (HEAD + BODY + "T: go : a 0.9999 0", "line 10: T row of action 'go', state 'a' sums to 0.9999, not 1"),
        (HEAD + BODY + "T: go : a : a 0\nO: go : b : x 1", "line 10: T row of action 'go', state 'a' sums to 0, not 1"),
        (HEAD + BODY + "O: go\n0 1 0\n1 0 1", "line 10: O row of action 'go', state 'b' sums to 2, not 1"),
        (HEAD + BODY + "T: stay\nidentity\nT: stay : b : a 0.25", "line 12: T row of action 'stay', state 'b' sums"),
        (HEAD + "O: *\nuniform", "state 'a' sums to 0, not 1 (4 such rows); no statement sets it"),
        (HEAD + BODY + "T: go : a : b 1.5", "line 10: probability 1.5 is larger than 1"),
        (HEAD + BODY + "T: go : a 0 1e99", "line 10: probability 1e+99 is larger than 1"),
        (HEAD + BODY + "R: go : a : b : x 1e308", "line 10: 1e308 is too large a number"),
        (HEAD + BODY + "R: go : a : b 1 2 1e308", "line 10: 1e308 is too large a number"),
        (HEAD + BODY + "R: go : a : b nan 1 2", "line 10: expected a reward (1 of 3), found 'nan'"),
        (HEAD.replace("a b", "999999999"), "line 3: at most 1000000 states are read, not 999999999"),
        (HEAD.replace("a b", "9" * 5000), "line 3: at most 1000000 states are read, not 9999999999"),
        (HEAD.replace("go stay", "32768"), "line 4: at most 32767 actions are read, not 32768"),
        (HEAD.replace("x y z", "1000001"), "line 5: at most 1000000 observations are read, not 1000001"),
        (HEAD.replace("a b", "900000").replace("go stay", "900") + BODY, "900 actions × 900000 states are too many"),
        (HEAD.replace("a b", "100000") + BODY + "T: * uniform", "more than 50000000 probabilities in T are not zero"),
        (HEAD.replace("a b", "20000").replace("x y z", "20000") + BODY, "probabilities in O are not zero"),
    ],
)  # fmt: skip
def test_errors_name_line_and_reason(tmp_path: Path, text: str, message: str) -> None:
    refused(tmp_path, text, message)


def test_rows_within_tolerance_are_taken(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD + "start: 0.499995 0.5\n" + BODY + "T: go : a 0.999995 0 O: go : a 0.999995 0 0")
    assert pomdp.start.sum() == 1.0
    assert pomdp.transition_array[0, 0].tolist() == [1, 0]
    assert pomdp.observation_array[0, 0].tolist() == [1, 0, 0]


def test_nothing_is_won_without_a_reward_and_a_discount_of_one_is_legal(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, HEAD.replace("0.9", "1") + BODY)
    assert not pomdp.reward.any()
    assert pomdp.discount == 1.0
    write_pomdp(pomdp, tmp_path / "again.pomdp")
    assert "R: * : * : * : * 0.0" in (tmp_path / "again.pomdp").read_text()  # APPL refuses a file without a reward


def test_lines_are_read_the_same_however_they_are_cut(tmp_path: Path) -> None:
    """Whole-line entries take a path of their own; cut otherwise, or followed by something else, they do not."""
    entries = ["T: go : a : b 0.5", "T : 0 : 0 : 0 +.5", "O: * : b : y 1.0 # sure", "O: * : b : x 0.0", "O:*:b:2 0"]
    entries += ["R: go : a : b : x -3", "R: * : * : * : z 2e0", "R: stay : 1 : * : * 4"]
    one = parse(tmp_path, HEAD + BODY + "\n".join(entries))
    for between in ("\n\n", "\n# a comment\n", "\r\n", "\r", "\n \t"):
        again = parse(tmp_path, HEAD + BODY + between.join(entries))
        split = parse(tmp_path, HEAD + BODY + between.join(" ".join(entries).replace("# sure", "").split(" ")))
        for other in (again, split):
            for field in ("transition_array", "observation_array", "reward"):
                np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    refused(tmp_path, HEAD + BODY + "T: go : a : b 0.5\n0.5", "line 11: expected a statement")
    refused(tmp_path, HEAD + BODY + "T: go : a : c 0.5\nT: go : a : a 0.5", "line 10: 'c' is none of the states")
    refused(tmp_path, HEAD + BODY + "T: go : a : b -0.5\nT: go : a : a 0.5", "line 10: negative probability -0.5")


# Large files ------------------------------------------------------------------------------------------------------


def rocksample(n: int, rocks: list[tuple[int, int]]) -> Iterator[str]:
    """RockSample as Smith and Simmons define it, an entry a line: n² · 2^k + 1 states, 5 + k actions."""
    k = len(rocks)
    moves = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
    checks = [f"check{i}" for i in range(k)]
    fields = list(itertools.product(range(n), range(n)))
    name = {(x, y, m): f"x{x}y{y}r{m}" for x, y in fields for m in range(2**k)}
    yield "discount: 0.95\nvalues: reward"
    yield f"states: {' '.join(name.values())} end"
    yield f"actions: {' '.join([*moves, 'sample', *checks])}"
    yield "observations: good bad"
    yield "start include: " + " ".join(name[0, n // 2, m] for m in range(2**k))
    yield "T: * : end : end 1.0\nO: * : * : good 1.0"
    for x, y, m in name:
        s = name[x, y, m]
        for action, (dx, dy) in moves.items():
            if x + dx == n:
                yield f"T: {action} : {s} : end 1.0\nR: {action} : {s} : * : * 10"
            elif (x + dx, y + dy, m) in name:
                yield f"T: {action} : {s} : {name[x + dx, y + dy, m]} 1.0"
            else:
                yield f"T: {action} : {s} : {s} 1.0\nR: {action} : {s} : * : * -100"
        rock = rocks.index((x, y)) if (x, y) in rocks else None
        good = rock is not None and m >> rock & 1
        after = name[x, y, m - (1 << rock)] if good else s
        yield f"T: sample : {s} : {after} 1.0\nR: sample : {s} : * : * {10 if good else -100 if rock is None else -10}"
        for i, (rx, ry) in enumerate(rocks):
            right = (1 + 2 ** (-np.hypot(x - rx, y - ry) / 20)) / 2
            p = right if m >> i & 1 else 1 - right
            yield f"T: check{i} : {s} : {s} 1.0\nO: check{i} : {s} : good {p:.9f}\nO: check{i} : {s} : bad {1 - p:.9f}"


def test_a_small_rocksample_by_hand(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, "\n".join(rocksample(2, [(1, 1)])))
    assert pomdp.states == ("x0y0r0", "x0y0r1", "x0y1r0", "x0y1r1", "x1y0r0", "x1y0r1", "x1y1r0", "x1y1r1", "end")
    assert pomdp.transition_array[4, 7].tolist() == [0] * 6 + [1, 0, 0]  # sampled, and no longer good
    assert pomdp.reward[:, 7].tolist() == [-100, 0, 10, 0, 10, 0]
    assert pomdp.observation_array[5, 7].tolist() == [1, 0]
    assert pomdp.terminal.tolist() == [False] * 8 + [True]


@pytest.mark.slow
def test_a_large_rocksample(tmp_path: Path) -> None:
    """RockSample[7,8], of 12,545 states and 13 actions: 380,000 lines, read in seconds and little memory."""
    rocks = [(2, 0), (0, 1), (3, 1), (6, 3), (2, 4), (3, 4), (5, 5), (1, 6)]
    path = tmp_path / "rocksample.pomdp"
    path.write_text("\n".join(rocksample(7, rocks)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kilobytes, on Linux
    begin = time.process_time()
    pomdp = read_pomdp(path)
    assert time.process_time() - begin < 60  # about 3 s
    assert (pomdp.n_states, pomdp.n_actions, pomdp.n_observations) == (12_545, 13, 2)
    assert sum(matrix.nnz for matrix in pomdp.transition) == 12_545 * 13
    write_pomdp(pomdp, tmp_path / "again.pomdp")
    again = read_pomdp(tmp_path / "again.pomdp")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 600e6  # one dense T: 16 GB
    for one, other in zip(pomdp.transition + pomdp.observation, again.transition + again.observation, strict=True):
        assert (one != other).nnz == 0
    np.testing.assert_array_equal(again.reward, pomdp.reward)


def test_actions_without_rules_of_their_own_share_their_matrices(tmp_path: Path) -> None:
    text = "discount: 0.9 values: reward states: 400 actions: 200 observations: 2\nT: * uniform\nO: * uniform\n"
    tracemalloc.start()
    pomdp = parse(tmp_path, text + "T: 7 identity")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({id(matrix) for matrix in pomdp.transition}) == 2
    assert len({id(matrix) for matrix in pomdp.observation}) == 1
    assert peak < 50e6  # 200 such matrices would take 400 MB
    write_pomdp(parse(tmp_path, text), tmp_path / "again.pomdp")
    lines = (tmp_path / "again.pomdp").read_text().splitlines()
    assert [line for line in lines if line[0] in "TO"] == ["T: *", "O: *"]


def test_matrices_that_are_large_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    text = HEAD.replace("a b", "12").replace("go stay", "3")
    for a in range(3):
        table = rng.random((12, 12)) * (rng.random((12, 12)) < 0.5)
        table[:, 0] += 0.1
        table /= table.sum(axis=1, keepdims=True)
        text += f"T: {a}\n" + "\n".join(" ".join(f"{p:.12f}" for p in row) for row in table) + "\nT: 1 : 3 uniform\n"
    one = parse(tmp_path, text + "O: * uniform")
    monkeypatch.setattr("solvers.formats.tables._BLOCK", 1)
    monkeypatch.setattr("solvers.formats.tokens._CHUNK", 5)
    other = parse(tmp_path, text + "O: * uniform")
    np.testing.assert_array_equal(one.transition_array, other.transition_array)
    assert one.transition_array[1, 3].tolist() == [1 / 12] * 12
