"""The .pomdpx reader and writer: against arrays made by hand and by brute force, and against what attackers send."""
# ruff: noqa: E741 (O is the number of observations)

import itertools
import re
import warnings
from pathlib import Path

import numpy as np
import pomdp_samples as samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import POMDP, PomdpFormatError
from solvers.formats import read, read_pomdp, read_pomdpx, write, write_pomdp, write_pomdpx
from solvers.reward_rules import RewardRules

TABLES = ("transition_array", "observation_array", "reward", "start")


def parse(tmp_path: Path, text: str | bytes) -> POMDP:
    path = tmp_path / "model.pomdpx"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_pomdpx(path)


def rover() -> dict[str, np.ndarray]:
    """The model of `samples.ROVER` from its definition: state 2·field + rock, where a good rock is 0."""
    moves, told, reward = np.zeros((4, 6, 6)), np.zeros((4, 6, 2)), np.zeros((4, 6))
    for field, rock in np.ndindex(3, 2):
        s = 2 * field + rock
        fields = [{0: 2, 1: 0, 2: 2}[field], {0: 1, 1: 2, 2: 2}[field], field, field]
        rocks = [rock, rock, rock, 1 if field == 0 else rock]
        for a in range(4):
            moves[a, s, 2 * fields[a] + rocks[a]] = 1.0
            told[a, s] = [1.0, 0.0]
        right = {0: 1.0, 1: 0.8, 2: 1.0}[field]
        told[2, s] = [right, 1 - right] if rock == 0 or field == 2 else [1 - right, right]
        reward[0, s] = -100.0 * (field == 0)
        reward[1, s] = 10.0 * (field == 1)
        reward[3, s] = {0: 10.0 - 20.0 * rock, 1: -100.0, 2: 0.0}[field]
    return {
        "transition_array": moves,
        "observation_array": told,
        "reward": reward,
        "start": np.array([0, 0, 0.5, 0.5, 0, 0]),
    }


@pytest.mark.parametrize("text", [samples.ROVER, samples.ROVER_DIAGRAMS])
def test_tables_and_diagrams_say_what_was_meant(tmp_path: Path, text: str) -> None:
    pomdp = parse(tmp_path, text)
    for name, table in rover().items():
        np.testing.assert_allclose(getattr(pomdp, name), table, atol=1e-12)
    assert pomdp.states == ("s0_good", "s0_bad", "s1_good", "s1_bad", "s2_good", "s2_bad")
    assert pomdp.actions == ("west", "east", "check", "sample")
    assert pomdp.observations == ("ogood", "obad")
    assert pomdp.observed is not None
    assert pomdp.observed.tolist() == [0, 0, 1, 1, 2, 2]
    assert pomdp.discount == 0.95
    assert pomdp.rewards is None


def worth(pomdp: POMDP, belief: np.ndarray, steps: int) -> float:
    """Value of a belief by walking the tree of all actions and observations."""
    if steps == 0:
        return 0.0
    best = -np.inf
    for a in range(pomdp.n_actions):
        value = float(belief @ pomdp.reward[a])
        after = belief @ pomdp.transition_array[a]
        for o in range(pomdp.n_observations):
            seen = after * pomdp.observation_array[a][:, o]
            if seen.sum() > 0:
                value += pomdp.discount * seen.sum() * worth(pomdp, seen / seen.sum(), steps - 1)
        best = max(best, value)
    return best


def test_a_rover_is_worth_what_it_is_worth_by_hand(tmp_path: Path) -> None:
    """With one to three steps it leaves at once, for 10. With five it drives to the rock, looks, samples a good one,
    and leaves: with a good rock after four steps, with a bad one after three.
    """
    pomdp = parse(tmp_path, samples.ROVER_DIAGRAMS)
    assert [worth(pomdp, pomdp.start, h) for h in (1, 3)] == pytest.approx([10.0, 10.0])
    value = 0.5 * (0.95**2 * 10 + 0.95**4 * 10) + 0.5 * 0.95**3 * 10
    assert worth(pomdp, pomdp.start, 5) == pytest.approx(value)


# Random models in several variables -------------------------------------------------------------------------------


def words(values: np.ndarray) -> str:
    return " ".join(repr(float(v)) for v in values.reshape(-1))


def table_entry(values: np.ndarray, tag: str = "ProbTable") -> str:
    dashes = " ".join("-" * values.ndim)
    return f"<Entry><Instance>{dashes}</Instance><{tag}>{words(values)}</{tag}></Entry>"


def diagram(names: list[str], values: np.ndarray) -> str:
    """A full decision diagram over variables, in their order."""
    if not names:
        return f"<Terminal>{float(values)!r}</Terminal>"
    edges = "".join(f'<Edge val="{i}">{diagram(names[1:], values[i])}</Edge>' for i in range(len(values)))
    return f'<Node var="{names[0]}">{edges}</Node>'


def function(rng: np.random.Generator, tag: str, var: str, parents: list[str], values: np.ndarray) -> str:
    """A function as a table or as a diagram, by chance."""
    names = [*parents, var] if tag == "CondProb" else parents
    if rng.random() < 0.5:
        body = table_entry(values, "ProbTable" if tag == "CondProb" else "ValueTable")
        body = f'<Parameter type="TBL">{body}</Parameter>'
    else:
        order = rng.permutation(len(names))
        body = diagram([names[i] for i in order], values.transpose(order))
        body = f'<Parameter type="DD"><DAG>{body}</DAG></Parameter>'
    return f"<{tag}><Var>{var}</Var><Parent>{' '.join(parents) or 'null'}</Parent>{body}</{tag}>"


@pytest.mark.parametrize("seed", range(12))
def test_models_in_several_variables_against_brute_force(tmp_path: Path, seed: int) -> None:
    """Two or three state variables, two actions' variables, two observations' variables, rewards of everything.

    Variables may depend on each other at the same time; the model is multiplied out here cell by cell.
    """
    rng = np.random.default_rng(seed)
    n_states = int(rng.integers(2, 4))
    size = {f"x{i}": int(rng.integers(1, 4)) for i in range(n_states)} | {"a0": 2, "a1": 2, "o0": 2, "o1": 3}
    states, actions, seen = [f"x{i}" for i in range(n_states)], ["a0", "a1"], ["o0", "o1"]
    observed = [name for name in states if rng.random() < 0.5]
    base = {f"{name}_{when}": n for name, n in size.items() if name[0] == "x" for when in (0, 1)}
    base |= {name: n for name, n in size.items() if name[0] != "x"}

    def pick(names: list[str]) -> list[str]:
        return [name for name in rng.permutation(names).tolist() if rng.random() < 0.6] if names else []

    def conditional(var: str, parents: list[str]) -> np.ndarray:
        table = rng.random([base[p] for p in parents] + [base[var]]) + 0.01
        return table / table.sum(-1, keepdims=True)

    before, after = [f"{x}_0" for x in states], [f"{x}_1" for x in states]
    order = rng.permutation(n_states).tolist()  # in which variables may depend on each other
    parents: dict[str, list[str]] = {}
    for k, i in enumerate(order):
        parents[before[i]] = pick([before[j] for j in order[:k]])
        parents[after[i]] = pick(actions + before + [after[j] for j in order[:k]])
    parents["o0"] = pick([*actions, *after])
    parents["o1"] = pick([*actions, *after, "o0"])
    tables = {var: conditional(var, names) for var, names in parents.items()}
    gains = {f"r{i}": pick([*actions, *before, *(after if i else []), *(seen if i > 1 else [])]) for i in range(3)}
    tables |= {r: rng.normal(size=[base[p] for p in names]).round(3) for r, names in gains.items()}
    variables = "".join(
        f'<StateVar vnamePrev="{x}_0" vnameCurr="{x}_1" fullyObs="{str(x in observed).lower()}">'
        f"<NumValues>{size[x]}</NumValues></StateVar>"
        for x in states
    )
    variables += "".join(f'<ActionVar vname="{a}"><NumValues>2</NumValues></ActionVar>' for a in actions)
    variables += "".join(f'<ObsVar vname="{o}"><NumValues>{size[o]}</NumValues></ObsVar>' for o in seen)
    variables += "".join(f'<RewardVar vname="{r}"/>' for r in gains)
    parts = [
        ("InitialStateBelief", "CondProb", before),
        ("StateTransitionFunction", "CondProb", after),
        ("ObsFunction", "CondProb", seen),
        ("RewardFunction", "Func", list(gains)),
    ]
    text = f'<pomdpx version="1.0"><Discount>0.9</Discount><Variable>{variables}</Variable>'
    for i in rng.permutation(4):  # sections in any order
        section, tag, names = parts[i]
        body = "".join(function(rng, tag, v, (parents | gains)[v], tables[v]) for v in rng.permutation(names).tolist())
        text += f"<{section}>{body}</{section}>"
    pomdp = parse(tmp_path, text + "</pomdpx>")

    def joint(names: list[str], where: dict[str, int]) -> float:
        return float(np.prod([tables[v][(*(where[p] for p in parents[v]), where[v])] for v in names]))

    def cases(names: list[str]) -> list[dict[str, int]]:
        return [dict(zip(names, v, strict=True)) for v in itertools.product(*(range(base[n]) for n in names))]

    S0, S1, A, O = cases(before), cases(after), cases(actions), cases(seen)
    np.testing.assert_allclose(pomdp.start, [joint(before, s) for s in S0], atol=1e-12)
    moves = [[[joint(after, a | s | t) for t in S1] for s in S0] for a in A]
    told = [[[joint(seen, a | t | o) for o in O] for t in S1] for a in A]
    np.testing.assert_allclose(pomdp.transition_array, moves, atol=1e-12)
    np.testing.assert_allclose(pomdp.observation_array, told, atol=1e-12)
    paid = [
        [
            [[sum(tables[r][tuple((a | s | t | o)[p] for p in gains[r])] for r in gains) for o in O] for t in S1]
            for s in S0
        ]
        for a in A
    ]
    np.testing.assert_allclose(pomdp.reward, np.einsum("ast,ato,asto->as", moves, told, paid), atol=1e-12)
    if pomdp.rewards is not None:
        np.testing.assert_allclose(pomdp.rewards.array(), paid, atol=1e-12)
    values = [tuple(s[f"{x}_0"] for x in observed) for s in S0]
    if len(set(values)) > 1:
        assert pomdp.observed is not None
        assert pomdp.observed.tolist() == [sorted(set(values)).index(v) for v in values]
    else:
        assert pomdp.observed is None


# Tables -----------------------------------------------------------------------------------------------------------


def two_states(entries: list[tuple[str, str]], *, reward: str = "") -> str:
    """Two states p, q and one action; instances and numbers of the transition."""
    table = "".join(f"\n<Entry><Instance>{i}</Instance><ProbTable>{p}</ProbTable></Entry>" for i, p in entries)
    reward = reward or "<Entry><Instance></Instance><ValueTable>2</ValueTable></Entry>"
    return (
        '<pomdpx version="1.0"><Discount>0.5</Discount><Variable>'
        '<StateVar vnamePrev="x" vnameCurr="y"><ValueEnum>p q</ValueEnum></StateVar>'
        '<ActionVar vname="a"><ValueEnum>do</ValueEnum></ActionVar><RewardVar vname="r"/></Variable>'
        "<InitialStateBelief><CondProb><Var>x</Var><Parent>null</Parent><Parameter>"
        "<Entry><Instance>null -</Instance><ProbTable>uniform</ProbTable></Entry></Parameter></CondProb>"
        "</InitialStateBelief><StateTransitionFunction><CondProb><Var>y</Var><Parent>a x</Parent><Parameter>"
        f"{table}</Parameter></CondProb></StateTransitionFunction><RewardFunction><Func><Var>r</Var>"
        f"<Parent>null</Parent><Parameter>{reward}</Parameter></Func></RewardFunction></pomdpx>"
    )


@pytest.mark.parametrize(
    ("entries", "moves"),
    [
        ([("do - -", "0.25 0.75 1 0")], [[0.25, 0.75], [1, 0]]),
        ([("* * -", "0.25 0.75")], [[0.25, 0.75]] * 2),
        ([("* * -", "uniform")], [[0.5, 0.5]] * 2),
        ([("* - -", "identity")], [[1, 0], [0, 1]]),
        ([("* * *", "0.5")], [[0.5, 0.5]] * 2),
        ([("do - q", "0.5 1"), ("do p p", "0.5")], [[0.5, 0.5], [0, 1]]),
        # Later entries override earlier ones cell by cell, and with zeros too.
        ([("* - -", "identity"), ("do p p", "0"), ("0 0 1", "1")], [[0, 1], [0, 1]]),
        ([("do p q", "0.7"), ("* - -", "identity")], [[1, 0], [0, 1]]),
        ([("do - -", "0 1 1 0"), ("do p -", "1 0")], [[1, 0], [1, 0]]),
    ],
)
def test_tables(tmp_path: Path, entries: list[tuple[str, str]], moves: list[list[float]]) -> None:
    pomdp = parse(tmp_path, two_states(entries))
    assert pomdp.transition_array[0].tolist() == moves
    assert pomdp.reward.tolist() == [[2, 2]]
    assert (pomdp.observations, pomdp.n_observations) == (("none",), 1)


def test_rows_are_renormalised_and_wrong_ones_named(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, two_states([("* * -", "0.333333 0.666666")]))
    np.testing.assert_allclose(pomdp.transition_array[0, 0], [1 / 3, 2 / 3], rtol=1e-6)
    assert pomdp.transition_array[0, 0].sum() == pytest.approx(1.0, abs=1e-15)
    message = "line 1: the probabilities of y given a=do x=q sum to 0.85, not 1"
    with pytest.raises(PomdpFormatError, match=re.escape(message)):
        parse(tmp_path, two_states([("do p p", "1"), ("do q -", "0.5 0.35")]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<pomdpx", "<pomdp", "this is not well-formed XML: mismatched tag"),
        ("0.95</Discount>", "1.5</Discount>", "line 3: discount must lie in (0, 1], found '1.5'"),
        ("<Discount>0.95</Discount>", "", "line 2: <pomdpx> needs a <Discount>"),
        ("<Discount>", "<Discount>0.9</Discount><Discount>", "line 3: a second <Discount> in one <pomdpx>"),
        ("<NumValues>3<", "<NumValues>0<", "line 5: a number of values from 1 to 1000000 is needed, found '0'"),
        ("<NumValues>3<", "<NumValues>999999999<", "line 5: a number of values from 1 to 1000000 is needed"),
        ("<NumValues>3<", "<NumValues>900000<", "line 4: 1800000 states are too many: at most 1000000 are read"),
        ("good bad<", "good good<", "line 6: different names of values are needed"),
        ('"rock_0"', '"rover_0"', "line 6: the name 'rover_0' is taken"),
        ('vnamePrev="rock_0" ', "", "line 6: <StateVar> needs an attribute 'vnamePrev'"),
        ('fullyObs="true"', 'fullyObs="maybe"', "line 5: fullyObs must be 'true' or 'false', found 'maybe'"),
        ("RewardVar", "Reward", "line 9: <Reward> is no kind of variable"),
        ('<RewardVar vname="gain"/>', "", "line 4: at least one <RewardVar> is needed"),
        ("<Var>rover_1<", "<Var>rover_9<", "line 18: there is no variable 'rover_9'"),
        ("<Var>rover_1<", "<Var>rover_0<", "line 18: 'rover_0' (before) cannot stand here, only: after"),
        ("move rover_0<", "move move<", "line 18: a variable is named twice"),
        ("move rover_1 rock_1<", "move rover_0 rock_1<", "'rover_0' (before) cannot stand here, only: action, after"),
        ("<Instance>east s0 -", "<Instance>east s7 -", "line 21: 's7' is no value of 'rover_0', which has 3"),
        ("<Instance>east s0 -", "<Instance>east s0", "line 21: an instance has a word for each of move rover_0 rover"),
        ("<ProbTable>0 1 0<", "<ProbTable>0 1<", "line 21: expected 3 numbers, one for each value that '-'"),
        ("<ProbTable>0 1 0<", "<ProbTable>0 one 0<", "line 21: expected a number, found 'one'"),
        ("<ProbTable>0 1 0<", "<ProbTable>0 -1 0<", "line 21: a probability lies between 0 and 1, found -1"),
        ("<ProbTable>0 1 0<", "<ProbTable>0 1e308 0<", "line 21: 1e308 is too large a number"),
        ("<ProbTable>0 1 0<", "<ProbTable>identity<", "line 21: 'identity' needs an instance with two '-'"),
        ("s1 s1</Instance><ProbTable>0.0", "s1 s1</Instance><ProbTable>uniform", "'uniform' needs an instance"),
        ("<ProbTable>0 1 0<", "<ProbTable>0 .9 0<", "of rover_1 given move=east rover_0=s0 sum to 0.9"),
        ('type="TBL"', 'type="CONT"', "a parameter's type must be 'TBL' or 'DD', found 'CONT'"),
        ("<ValueTable>10<", "<ValueTable>nan<", "line 39: expected a number, found 'nan'"),
        ("ValueTable>10</ValueTable", "ProbTable>10</ProbTable", "line 39: <Entry> needs a <ValueTable>"),
        ("<Instance>east s1 *<", "<Instance>east s1 * * *<", "line 39: an instance has a word for each of"),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_reason(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in samples.ROVER
    with pytest.raises(PomdpFormatError, match=re.escape(message)) as error:
        parse(tmp_path, samples.ROVER.replace(old, new, 1))
    assert str(error.value).startswith(f"{tmp_path / 'model.pomdpx'}, line ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<Node var="move">', '<Node var="gain">', "'gain' is neither the variable of this function nor a parent"),
        ('<Edge val="west">', '<Edge val="up">', "'up' is no value of 'move', which has 4"),
        ('<Edge val="east">', '<Edge val="west">', "a second edge for one value of 'move'"),
        ("<Terminal>1.0</Terminal>", "", "<Edge> needs one <Node>, <Terminal> or <SubDAG>, found 0"),
        ("<Terminal>1.0</Terminal>", "<Leaf/>", "expected <Node>, <Terminal> or <SubDAG>, found <Leaf>"),
        ("<Terminal>1.0</Terminal>", "<Terminal>1 0</Terminal>", "<Terminal> needs one number, found 2"),
        ('idref="stay"', 'idref="go"', "there is no template 'go'"),
        ('<SubDAG type="persistent" var="rover_1"/></SubDAGT', '<SubDAG type="template" idref="stay"/></SubDAGT',
         "template 'stay' refers to itself"),
        ('type="deterministic" var="rover_1" val="s2"', 'type="sure" var="rover_1" val="s2"', "found 'sure'"),
        ('type="deterministic" var="rover_1" val="s2"', 'type="deterministic" var="rover_1"', "attribute 'val'"),
        ("<Parent>move rover_0</Parent>", "<Parent>move</Parent>", "'persistent' needs 'rover_0' among the parents"),
        ('<Node var="rover_0">', '<Node var="rock_0">', "'rock_0' is neither the variable of this function"),
    ],
)  # fmt: skip
def test_errors_in_diagrams(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = samples.pomdpx(moves=samples.MOVES_DIAGRAM)
    assert old in text
    with pytest.raises(PomdpFormatError, match=re.escape(message)):
        parse(tmp_path, text.replace(old, new, 1))


def test_variables_that_depend_on_each_other_in_a_circle(tmp_path: Path) -> None:
    entry = "<Parameter><Entry><Instance>* -</Instance><ProbTable>uniform</ProbTable></Entry></Parameter></CondProb>"
    circle = "".join(
        f"<CondProb><Var>{one}</Var><Parent>{other}</Parent>{entry}"
        for one, other in (("rover_1", "rock_1"), ("rock_1", "rover_1"))
    )
    moves = f"<StateTransitionFunction>{circle}</StateTransitionFunction>"
    with pytest.raises(PomdpFormatError, match="depend on each other in a circle: rover_1, rock_1"):
        parse(tmp_path, samples.pomdpx(moves=moves))
    with pytest.raises(PomdpFormatError, match="no <CondProb> in <StateTransitionFunction> is about 'rock_1'"):
        parse(tmp_path, samples.pomdpx(moves=moves.replace(circle, circle[: len(circle) // 2])))
    twice = samples.MOVES.replace("</StateTransitionFunction>", circle + "</StateTransitionFunction>")
    with pytest.raises(PomdpFormatError, match=r"more than one <CondProb> in .* is about 'rover_1'"):
        parse(tmp_path, samples.pomdpx(moves=twice))


# XML --------------------------------------------------------------------------------------------------------------

BOMB = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))


@pytest.mark.parametrize(
    "head",
    [
        f'<!DOCTYPE pomdpx [<!ENTITY e0 "ha">{BOMB}]>',
        '<!DOCTYPE pomdpx [<!ENTITY e11 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE pomdpx SYSTEM "http://localhost/x.dtd">',
        f'<!DOCTYPE pomdpx [<!ENTITY % e0 "ha"><!ENTITY e11 "{"ha" * 1000}">]>',
    ],
)
def test_document_types_are_refused(tmp_path: Path, head: str) -> None:
    text = samples.ROVER.replace("<pomdpx", head + "<pomdpx", 1).replace("0.95", "&e11;", 1)
    with pytest.raises(PomdpFormatError, match="line 2: a document type or entity, 'pomdpx', is declared"):
        parse(tmp_path, text)


def test_depth_is_bounded(tmp_path: Path) -> None:
    deep = "<Node var='move'><Edge val='west'>" * 100_000
    text = samples.pomdpx(gain=samples.GAIN_DIAGRAM).replace("<DAG>", "<DAG>" + deep)
    with pytest.raises(PomdpFormatError, match="elements are nested more than 500 deep"):
        parse(tmp_path, text)


def test_branches_of_templates_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each template branches into the next: 4^7 paths from eight lines."""
    monkeypatch.setattr("solvers.formats.pomdpx_functions._MOST_STEPS", 1000)
    names = [f"x{i}" for i in range(8)]
    variables = "".join(
        f'<StateVar vnamePrev="{x}_0" vnameCurr="{x}"><NumValues>4</NumValues></StateVar>' for x in names
    )
    variables = f'<Variable>{variables}<ActionVar vname="move"><NumValues>2</NumValues></ActionVar>'
    edges = [
        "".join(f'<Edge val="{v}"><SubDAG type="template" idref="t{i + 1}"/></Edge>' for v in range(4))
        for i in range(8)
    ]
    templates = "".join(
        f'<SubDAGTemplate id="t{i}"><Node var="x{i}_0">{edges[i]}</Node></SubDAGTemplate>' for i in range(8)
    )
    belief = (
        f"<InitialStateBelief><CondProb><Var>{' '.join(f'{x}_0' for x in names)}</Var><Parent>null</Parent>"
        '<Parameter type="DD"><DAG><SubDAG type="template" idref="t0"/></DAG>'
        f'{templates}<SubDAGTemplate id="t8"><Terminal>1e-5</Terminal></SubDAGTemplate></Parameter></CondProb>'
        "</InitialStateBelief>"
    )
    text = samples.pomdpx(variables=f'{variables}<RewardVar vname="gain"/></Variable>', belief=belief)
    with pytest.raises(PomdpFormatError, match="the diagram has more than 1000 branches"):
        parse(tmp_path, text)


def test_an_attribute_that_is_no_xml_is_said_and_ignored(tmp_path: Path) -> None:
    path = tmp_path / "model.pomdpx"
    path.write_text(samples.ROVER.replace("<pomdpx", "<pomdpx xmlns:='http://www.w3.org/2001/XMLSchema-instance'", 1))
    with pytest.warns(UserWarning, match="line 2: the attribute 'xmlns:' names no prefix"):
        pomdp = read_pomdpx(path)
    np.testing.assert_array_equal(pomdp.reward, parse(tmp_path, samples.ROVER).reward)


def test_encodings(tmp_path: Path) -> None:
    text = samples.ROVER.replace("<Discount>", "<Description>Rover’s é</Description><Discount>", 1)
    latin = text.replace("UTF-8", "ISO-8859-1").replace("’", "'").encode("latin-1")
    for data in (
        text.encode(),
        latin,
        text.replace("UTF-8", "UTF-16").encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
    ):
        assert parse(tmp_path, data).n_states == 6
    with pytest.raises(PomdpFormatError, match="line 1: the encoding that the file declares is not read"):
        parse(tmp_path, text.replace("UTF-8", "no-such-thing"))
    with pytest.raises(
        PomdpFormatError, match=r"line 3: this is not well-formed XML: not well-formed \(invalid token\)"
    ):
        parse(tmp_path, text.encode().replace("é".encode(), b"\xe9"))


# Writing ----------------------------------------------------------------------------------------------------------


@st.composite
def pomdps(draw: st.DrawFn, *, observed: bool | None = None) -> POMDP:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    A, S, O = (draw(st.integers(1, 4)) for _ in range(3))

    def rows(*shape: int) -> np.ndarray:
        table = rng.random(shape) ** 4 * (rng.random(shape) < draw(st.sampled_from([0.3, 0.9])))
        table[..., 0] += 1e-9
        return table / table.sum(-1, keepdims=True)

    factor = None
    if draw(st.booleans()) if observed is None else observed:
        factor = rng.permutation(np.append(np.arange(min(S, 2)), rng.integers(0, min(S, 2), S - min(S, 2))))
    kind = draw(st.sampled_from(["state", "rules", "table"]))
    if kind == "state":
        reward: object = rng.normal(size=(A, S)) * (rng.random((A, S)) < 0.5)
    elif kind == "table":
        reward = rng.normal(size=(A, S, S, O))
    else:
        reward = RewardRules((A, S, S, O))
        for _ in range(draw(st.integers(0, 6))):
            where = tuple(None if rng.random() < 0.5 else int(rng.integers(n)) for n in (A, S, S, O))
            reward.add(where, draw(st.sampled_from([0.0, 1.5, -1e9, 1e-12])))
    return POMDP(
        transition=rows(A, S, S),
        observation=rows(A, S, O),
        reward=reward,
        start=rows(S),
        discount=float(rng.uniform(0.01, 1)),
        states=tuple(f"s-{i}_x" for i in range(S)) if draw(st.booleans()) else (),
        actions=tuple(f"go{i}" for i in range(A)) if draw(st.booleans()) else (),
        observed=factor,
    )


@settings(max_examples=40, deadline=None)
@given(pomdp=pomdps())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, pomdp: POMDP) -> None:
    path = tmp_path_factory.mktemp("round") / "model.pomdpx"
    write_pomdpx(pomdp, path)
    assert "e-" not in path.read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = read_pomdpx(path)
    S = pomdp.n_states
    if pomdp.observed is None or pomdp.observed.max() == 0:
        place = np.arange(S)
        assert again.observed is None
    else:
        assert again.observed is not None
        order = np.argsort(pomdp.observed, kind="stable")
        wide = np.bincount(pomdp.observed).max()
        place = np.empty(S, int)
        place[order] = np.concatenate([y * wide + np.arange(n) for y, n in enumerate(np.bincount(pomdp.observed))])
        assert again.observed[place].tolist() == pomdp.observed.tolist()
        filled = np.setdiff1d(np.arange(again.n_states), place)
        assert not again.start[filled].any()
        assert not again.transition_array[:, place][:, :, filled].any()  # never reached
        assert not again.reward[:, filled].any()
    for name, pick in (("transition_array", np.ix_(range(pomdp.n_actions), place, place)), ("start", place)):
        np.testing.assert_allclose(getattr(again, name)[pick], getattr(pomdp, name), rtol=1e-13, atol=0)
    np.testing.assert_allclose(again.observation_array[:, place], pomdp.observation_array, rtol=1e-13, atol=0)
    np.testing.assert_allclose(again.reward[:, place], pomdp.reward, rtol=1e-9, atol=1e-12)
    if pomdp.rewards is not None:  # of what can occur
        chance = np.einsum("ast,ato->asto", pomdp.transition_array, pomdp.observation_array)
        there = np.zeros_like(chance) if again.rewards is None else again.rewards.array()[:, place][:, :, place]
        if again.rewards is None:
            there += again.reward[:, place, None, None]
        np.testing.assert_array_equal(there[chance > 0], pomdp.rewards.array()[chance > 0])
    assert again.discount == pomdp.discount
    assert again.actions == (
        pomdp.actions if pomdp.actions[0].startswith("go") else tuple(f"a{i}" for i in range(pomdp.n_actions))
    )


@settings(max_examples=15, deadline=None)
@given(pomdp=pomdps(observed=False))
def test_both_formats_say_the_same(tmp_path_factory: pytest.TempPathFactory, pomdp: POMDP) -> None:
    folder = tmp_path_factory.mktemp("both")
    write_pomdp(pomdp, folder / "model.pomdp")
    write_pomdpx(pomdp, folder / "model.pomdpx")
    one, two = read_pomdp(folder / "model.pomdp"), read_pomdpx(folder / "model.pomdpx")
    for name in TABLES:
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-9, atol=1e-12)


def test_names_that_the_format_does_not_allow_are_not_written(tmp_path: Path) -> None:
    pomdp = POMDP(
        transition=[[[1.0]]], observation=[[[1.0]]], reward=[[0.0]], start=[1.0], discount=1.0, actions=("<go>",)
    )
    with pytest.raises(PomdpFormatError, match="'<go>' cannot be a name in actions"):
        write_pomdpx(pomdp, tmp_path / "model.pomdpx")
    assert not (tmp_path / "model.pomdpx").exists()


def test_the_suffix_names_the_format(tmp_path: Path) -> None:
    pomdp = parse(tmp_path, two_states([("* - -", "identity")]))
    for name in ("a.pomdp", "b.POMDPX"):
        write(pomdp, tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name).transition_array, pomdp.transition_array)
    with pytest.raises(PomdpFormatError, match=r"a model's file ends in \.pomdp or \.pomdpx, not in '\.json'"):
        read(tmp_path / "a.json")
    with pytest.raises(PomdpFormatError, match="this name has no ending"):
        write(pomdp, tmp_path / "a")
