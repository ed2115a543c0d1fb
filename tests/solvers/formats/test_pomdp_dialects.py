"""The .pomdp reader on what other programs and people write, and on rewards that must not be expanded."""
# ruff: noqa: E741 (O is the number of observations)

import codecs
import itertools
import re
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from solvers import POMDP, PomdpFormatError, read_pomdp, write_pomdp
from solvers.reward_rules import RewardRules

CASES = Path(__file__).resolve().parents[2] / "cases" / "pomdp"
HEAD = "discount: 0.9\nvalues: reward\nstates: a b c\nactions: go stay\nobservations: x y z w\n"
BODY = "T: *\nidentity\nO: *\nuniform\n"
MDP = "discount: 0.9\nvalues: reward\nstates: a b\nactions: go\nT: go\nuniform\n"


def parse(tmp_path: Path, text: str | bytes) -> POMDP:
    path = tmp_path / "model.pomdp"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_pomdp(path)


def test_a_byte_order_mark_is_no_text() -> None:
    pomdp = read_pomdp(CASES / "bom.pomdp")
    assert pomdp.states == ("wet", "dry")
    assert pomdp.transition_array[1].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)  # fmt: skip
def test_byte_order_marks(tmp_path: Path, mark: bytes, encoding: str) -> None:
    text = (HEAD + BODY).replace("\n", "\r\n")
    assert parse(tmp_path, mark + text.encode(encoding)).states == ("a", "b", "c")


def test_colon_before_number() -> None:
    pomdp = read_pomdp(CASES / "colon_before_number.pomdp")
    assert pomdp.transition_array.tolist() == [[[1, 0], [0, 1]], [[0, 1], [0, 1]]]
    assert pomdp.reward.tolist() == [[0, 0], [2, 0]]


@pytest.mark.parametrize(
    ("plain", "with_colons"),
    [
        ("T: go : a 0.2 0.3 0.5", "T: go : a : 0.2 0.3 0.5"),
        ("T: go : 1 0 1 0", "T: go : 1 : 0 1 0"),
        ("T: go 0 1 0 0 0 1 1 0 0", "T: go : 0 1 0 0 0 1 1 0 0"),
        ("T: go uniform", "T : go : uniform"),
        ("T: go identity", "T: go : identity"),
        ("T: go : a reset", "T: go : a : reset"),
        ("T: go : a : a 0 T: go : a : 2 1", "T: go : a : a : 0 T: go : a : 2 : 1"),
        ("O: go : b 0 0 1 0", "O: go : b : 0 0 1 0"),
        ("O: * 0 0 1 0 1 0 0 0 0 1 0 0", "O: * : 0 0 1 0 1 0 0 0 0 1 0 0"),
        ("O: go : b : x 0.5 O: go : b : 3 0", "O: go : b : x : 0.5 O: go : b : 3 : 0"),
        ("R: go : a : b : x - 1", "R: go : a : b : x : - 1"),
        ("R: go : a : * 1 - 2 3 4", "R: go : a : * : 1 - 2 3 4"),
        ("R: go : a : 1 1 2 3 4", "R: go : a : 1 : 1 2 3 4"),
        ("R: go : 0 1 2 3 4 5 6 7 8 9 10 11 -12", "R: go : 0 : 1 2 3 4 5 6 7 8 9 10 11 -12"),
    ],
)
@pytest.mark.parametrize("after", ["", "\nR: stay : * : * : y 3"])
def test_a_colon_may_stand_before_numbers(tmp_path: Path, plain: str, with_colons: str, after: str) -> None:
    one, other = (parse(tmp_path, HEAD + BODY + text + after) for text in (plain, with_colons))
    for table in ("transition_array", "observation_array", "reward"):
        np.testing.assert_array_equal(getattr(one, table), getattr(other, table))
    before = parse(tmp_path, HEAD + BODY + after)
    changed = any(
        (getattr(one, t) != getattr(before, t)).any() for t in ("transition_array", "observation_array", "reward")
    )
    assert changed or "uniform" not in plain or "identity" in plain


@pytest.mark.parametrize(("word", "sign"), [("reward", 1), ("rewards", 1), ("cost", -1), ("costs", -1)])
def test_values_in_singular_and_plural(tmp_path: Path, word: str, sign: int) -> None:
    text = HEAD.replace("values: reward", f"values: {word}") + BODY + "R: go : a : * : * 3"
    assert parse(tmp_path, text).reward.tolist() == [[3 * sign, 0, 0], [0, 0, 0]]


def test_values_rewards_and_mdp_with_star() -> None:
    assert read_pomdp(CASES / "values_rewards.pomdp").reward.tolist() == [[0, 3]]
    pomdp = read_pomdp(CASES / "mdp_with_star.pomdp")
    assert pomdp.observations == ("a", "b")
    assert pomdp.reward.tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("rules", "reward"),
    [
        ("R: go : a : b 4", [2, 0]),
        ("R: go : a : b : 4", [2, 0]),
        ("R: go : a : b : * 4", [2, 0]),
        ("R: go : a : b : * : 4", [2, 0]),
        ("R: * : * : * : * 4 R: go : b : 1 0", [4, 2]),
        ("R: go : a 1 2", [1.5, 0]),
        ("R: go : a : 1 2", [1, 0]),  # an end state, as the format says
    ],
)
def test_rewards_of_an_mdp(tmp_path: Path, rules: str, reward: list[float]) -> None:
    pomdp = parse(tmp_path, MDP + rules)
    assert pomdp.reward.tolist() == [reward]
    assert pomdp.rewards is None or pomdp.rewards.shape == (1, 2, 2, 2)


def test_an_mdp_has_no_observation_to_name(tmp_path: Path) -> None:
    with pytest.raises(PomdpFormatError, match="line 7: expected a reward, found 'a'"):
        parse(tmp_path, MDP + "R: go : a : b : a 4")


def test_comments_of_other_languages_are_no_names() -> None:
    with pytest.raises(PomdpFormatError, match="line 6: '//' cannot be a name in observations"):
        read_pomdp(CASES / "slash_comment.pomdp")
    with pytest.raises(PomdpFormatError, match="line 6: 'horizon' is no statement"):
        read_pomdp(CASES / "unknown_statement_after_names.pomdp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("a b c", "a b // three"), "line 3: '//' cannot be a name in states"),
        (HEAD.replace("a b c", "3 // three"), "line 3: '//' cannot be a name in states"),
        (HEAD.replace("go stay", "go stay//two"), "line 4: 'stay//two' cannot be a name in actions"),
        (HEAD.replace("go stay", "go ; two"), "line 4: ';' cannot be a name in actions"),
        (HEAD.replace("go stay", "go % two"), "line 4: '%' cannot be a name in actions"),
        (HEAD + "/* two\nlines */", "line 6: '/' cannot be a name"),
        (HEAD.replace("values", "horizon : 7\nvalues"), "line 2: expected a statement"),
        (HEAD.replace("actions", "agents: 2\nactions"), "line 4: 'agents' is no statement"),
        (HEAD.replace("a b c", "3\nepsilon:0.1"), "line 4: 'epsilon' is no statement"),
        (HEAD + "start: a\nhorizon: 7\n", "line 7: 'horizon' is none of the states"),
        (HEAD + "start: uniform\nhorizon: 7\n", "line 7: expected a statement"),
        (HEAD + BODY + "horizon: 7\n", "line 10: expected a statement"),
        (HEAD.replace("a b c", "0"), "line 3: there must be at least one of states"),
        (HEAD + BODY + "R: go : a : a : x 1e999", "line 10: 1e999 is too large a number"),
    ],
)
def test_other_dialects_are_refused_by_line_and_word(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PomdpFormatError, match=re.escape(message)) as error:
        parse(tmp_path, text + ("" if "T:" in text else BODY))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("states", "start", "belief"),
    [
        ("0 1", "1 0", [1, 0]),
        ("0 1", "0 1", [0, 1]),
        ("1 0", "1 0", [1, 0]),
        ("0 1", "0.25 0.75", [0.25, 0.75]),
        ("0 1", "1", [0, 1]),
        ("2", "1 0", [1, 0]),
        ("2", "1", [0, 1]),
        ("0 1 2", "1 0 0", [1, 0, 0]),
        ("1", "1", [1]),
        ("1 2", "2", [0, 1]),
    ],
)
def test_numbers_that_sum_to_one_are_a_belief_first(
    tmp_path: Path, states: str, start: str, belief: list[float]
) -> None:
    head = f"discount: 1 values: reward states: {states} actions: 1 observations: 1 start: {start}"
    assert parse(tmp_path, head + " T: 0 identity O: 0 uniform").start.tolist() == belief


def test_numbers_that_are_no_belief_may_be_states(tmp_path: Path) -> None:
    path = tmp_path / "model.pomdp"
    text = "discount: 1 values: reward states: 0 1 2 actions: 1 observations: 1 start: {} T: 0 identity O: 0 uniform"
    path.write_text(text.format("0 2"))
    with pytest.warns(UserWarning, match="read as 'start include:'"):
        assert read_pomdp(path).start.tolist() == [0.5, 0, 0.5]
    path.write_text(text.format("0.5 0.4 0"))
    with pytest.raises(PomdpFormatError, match=re.escape("the start belief sums to 0.9, not 1")):
        read_pomdp(path)


# Rewards ------------------------------------------------------------------------------------------------------


def test_rewards_of_a_large_file_are_not_expanded() -> None:
    tracemalloc.start()
    begin = time.process_time()
    pomdp = read_pomdp(CASES / "reward_by_end_state_big.pomdp")
    seconds = time.process_time() - begin
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.argwhere(pomdp.reward).tolist() == [[a, 7] for a in range(4)]
    assert (pomdp.reward[:, 7] == 5).all()
    assert pomdp.rewards is not None
    places = np.array([[3, 299, 7, 149], [3, 7, 299, 149]]).T
    assert pomdp.rewards.at(*places).tolist() == [5, 0]
    assert peak < 200e6  # 54 million outcomes would take 432 MB
    assert seconds < 60


def brute_force(pomdp: POMDP, rules: list[tuple[tuple[int | None, ...], float]]) -> np.ndarray:
    """Expected reward by looking at every outcome."""
    A, S, O = pomdp.observation_array.shape
    reward = np.zeros((A, S))
    for outcome in itertools.product(range(A), range(S), range(S), range(O)):
        a, s, s2, o = outcome
        value = 0.0
        for where, v in rules:
            if all(i is None or i == j for i, j in zip(where, outcome, strict=True)):
                value = v
        reward[a, s] += pomdp.transition_array[a, s, s2] * pomdp.observation_array[a, s2, o] * value
    return reward


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("little", [False, True])
def test_expected_rewards_against_all_outcomes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, little: bool
) -> None:
    """Random rules with wildcards; `little`: in the smallest blocks."""
    rng = np.random.default_rng(seed)
    A, S, O = rng.integers(1, 5, 3)
    lines = [f"discount: 0.9 values: cost states: {S} actions: {A} observations: {O}"]
    for letter, width in (("T", S), ("O", O)):
        for a, s in np.ndindex(A, S):
            row = rng.dirichlet(np.ones(width)).round(4)
            row[-1] = 1.0 - row[:-1].sum()
            lines.append(f"{letter}: {a} : {s} " + " ".join(f"{abs(p):.4f}" for p in row))
    rules: list[tuple[tuple[int | None, ...], float]] = []
    for _ in range(rng.integers(1, 12)):
        where = [None if rng.random() < 0.5 else int(rng.integers(n)) for n in (A, S, S, O)]
        text = ["*" if i is None else str(i) for i in where]
        kind = rng.integers(4)
        if kind == 0:
            values = rng.normal(size=O).round(3)
            rules += [((*where[:3], o), -v) for o, v in enumerate(values)]
            text = text[:3]
        elif kind == 1:
            values = rng.normal(size=(S, O)).round(3)
            rules += [((*where[:2], s2, o), -v) for (s2, o), v in np.ndenumerate(values)]
            text = text[:2]
        else:
            values = rng.normal(size=1).round(3)
            rules.append((tuple(where), -float(values[0])))
        lines.append("R: " + " : ".join(text) + " " + " ".join(f"{v:.3f}" for v in values.ravel()))
    if little:
        monkeypatch.setattr("solvers.reward_rules._BLOCK", 1)
    path = tmp_path / "model.pomdp"
    path.write_text("\n".join(lines))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pomdp = read_pomdp(path)
    np.testing.assert_allclose(pomdp.reward, brute_force(pomdp, rules), atol=1e-12)
    if pomdp.rewards is not None:
        full = POMDP(
            transition=pomdp.transition_array, observation=pomdp.observation_array, reward=pomdp.rewards.array(),
            start=pomdp.start, discount=0.9,
        )  # fmt: skip
        np.testing.assert_allclose(full.reward, pomdp.reward, atol=1e-12)


def test_many_rules_in_every_place(tmp_path: Path) -> None:
    """300 × 4 × 150 with 5,000 rules that name all four places: seconds, little memory, and the right sum."""
    rng = np.random.default_rng(0)
    lines = ["discount: 0.9 values: reward states: 300 actions: 4 observations: 150\nT: * uniform\nO: * uniform"]
    lines.append("R: * : * : * : * 1")
    places = {tuple(int(rng.integers(n)) for n in (4, 300, 300, 150)) for _ in range(5_000)}
    lines += [f"R: {a} : {s} : {s2} : {o} 46" for a, s, s2, o in places]
    path = tmp_path / "model.pomdp"
    path.write_text("\n".join(lines))
    tracemalloc.start()
    pomdp = read_pomdp(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    count = np.zeros((4, 300))
    for a, s, _, _ in places:
        count[a, s] += 1
    np.testing.assert_allclose(pomdp.reward, 1 + 45 * count / (300 * 150), rtol=1e-9)
    assert peak < 300e6


def test_rewards_alike_everywhere_are_written_with_wildcards(tmp_path: Path) -> None:
    pomdp = read_pomdp(CASES / "reward_by_end_state_big.pomdp")
    rules = RewardRules((1, 9, 9, 2))
    rules.add((None, None, 7, None), np.array(5.0))
    small = POMDP(
        transition=pomdp.transition_array[:1, :9, :9], observation=np.full((1, 9, 2), 0.5), reward=rules,
        start=np.full(9, 1 / 9), discount=0.9,
    )  # fmt: skip
    write_pomdp(small, tmp_path / "model.pomdp")
    assert [line for line in (tmp_path / "model.pomdp").read_text().splitlines() if line.startswith("R")] == [
        "R: * : * : 7 : * 5.0"
    ]


@pytest.mark.parametrize("name", [
    "1d", "4x3.95", "cheese.95", "hallway", "mini-hall2", "network", "paint.95", "parr95.95", "rocksample_4_4",
    "shuttle.95", "tiger-grid", "tiger.95", "tiger.aaai", "web-ad",
])  # fmt: skip
def test_layout_of_published_files_does_not_matter(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "pomdp_files" / f"{name}.pomdp"
    one = read_pomdp(path)
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = [line.partition("#")[0] for line in text.splitlines()]
    for other in ("\r\n".join(lines), "\t".join(lines), "\ufeff" + text):
        again = parse(tmp_path, other)
        for table in ("transition_array", "observation_array", "reward", "start"):
            np.testing.assert_array_equal(getattr(one, table), getattr(again, table))
