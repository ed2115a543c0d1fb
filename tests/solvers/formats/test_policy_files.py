"""Files of alpha-vectors and policy graphs: what other programs write, round trips, and errors."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pomdp_samples as samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import ModelError, PomdpFormatError
from solvers.formats import (
    GraphNodes,
    VectorSet,
    read_alpha,
    read_appl_policy,
    read_policy_graph,
    write_alpha,
    write_appl_policy,
    write_policy_graph,
)

# Any float at all: huge, tiny, negative zero. .policy and .alpha must bring every bit of it back.
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def save(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file"
    path.write_bytes(text.encode())
    return path


def test_alpha_vectors_as_pomdp_solve_writes_them(tmp_path: Path) -> None:
    found = read_alpha(save(tmp_path, samples.ALPHA))
    assert found.actions.tolist() == [0, 1, 2]
    assert found.vectors.tolist() == [[-81.597241, 28.402759], [3.0104, 24.6956], [-4.0, 10.0]]
    assert found.observed is None
    windows = read_alpha(save(tmp_path, samples.ALPHA.replace("\n", "\r\n").replace("1\r", "1 # a comment\r", 1)))
    np.testing.assert_array_equal(windows.vectors, found.vectors)


def test_policy_graphs_as_pomdp_solve_writes_them(tmp_path: Path) -> None:
    found = read_policy_graph(save(tmp_path, samples.GRAPH))
    assert found.actions.tolist() == [2, 0, 1, 0]
    assert found.successors.tolist() == [[1, 3], [0, -1], [-2, 3], [2, 2]]
    # Of a finite horizon: successors are nodes of the next file.
    later = save(tmp_path, "0 1  7 5\n")
    assert read_policy_graph(later, n_next=8).successors.tolist() == [[7, 5]]
    with pytest.raises(PomdpFormatError, match="line 1: node 0 leads to node 7, but there are 1; for a finite horizon"):
        read_policy_graph(later)
    with pytest.raises(PomdpFormatError, match=r"node 0 leads to node 7, but there are 7$"):
        read_policy_graph(later, n_next=7)


def test_policies_as_appl_writes_them(tmp_path: Path) -> None:
    found = read_appl_policy(save(tmp_path, samples.APPL))  # with a path that XML does not allow in its attribute
    assert found.actions.tolist() == [1, 0, 2]
    assert found.observed is not None
    assert found.observed.tolist() == [0, 1, 1]
    assert found.vectors.tolist() == [[19.3711, -80.5, 1e-5], [28.4028, -81.5972, 0], [3.5, 0, -1.25]]
    plain = samples.APPL.replace('numObsValue="2"', 'numObsValue="1"').replace('obsValue="1"', 'obsValue="0"')
    assert read_appl_policy(save(tmp_path, plain)).observed is None


@st.composite
def vector_sets(draw: st.DrawFn, observed: bool | None = None) -> VectorSet:
    V, S = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    vectors = np.array(draw(st.lists(FLOATS, min_size=V * S, max_size=V * S))).reshape(V, S)
    actions = np.array(draw(st.lists(st.integers(0, 40), min_size=V, max_size=V)))
    if not (draw(st.booleans()) if observed is None else observed):
        return VectorSet(vectors, actions)
    values = np.array(draw(st.lists(st.integers(0, 4), min_size=V, max_size=V)))
    return VectorSet(vectors, actions, values if values.any() else None)


def assert_same(one: VectorSet, two: VectorSet) -> None:
    assert one.vectors.tobytes() == two.vectors.tobytes()  # signs of zeros too
    np.testing.assert_array_equal(one.actions, two.actions)
    assert (one.observed is None) == (two.observed is None)
    if one.observed is not None:
        np.testing.assert_array_equal(one.observed, two.observed)


@settings(max_examples=60, deadline=None)
@given(vectors=vector_sets())
def test_round_trip_of_policies(tmp_path_factory: pytest.TempPathFactory, vectors: VectorSet) -> None:
    path = tmp_path_factory.mktemp("round") / "x.policy"
    write_appl_policy(vectors, path, model='a "b" & <c>.pomdp')
    assert_same(read_appl_policy(path), vectors)
    assert max(map(len, path.read_text().split())) < 200  # APPL's buffer


@settings(max_examples=60, deadline=None)
@given(vectors=vector_sets(observed=False))
def test_round_trip_of_alpha_vectors(tmp_path_factory: pytest.TempPathFactory, vectors: VectorSet) -> None:
    path = tmp_path_factory.mktemp("round") / "x.alpha"
    write_alpha(vectors, path)
    assert_same(read_alpha(path), vectors)
    assert "e" not in path.read_text()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), nodes=st.integers(1, 6), width=st.integers(1, 4))
def test_round_trip_of_graphs(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, nodes: int, width: int
) -> None:
    after = data.draw(st.lists(st.integers(-2, nodes - 1), min_size=nodes * width, max_size=nodes * width))
    actions = data.draw(st.lists(st.integers(0, 9), min_size=nodes, max_size=nodes))
    graph = GraphNodes(np.array(actions), np.array(after).reshape(nodes, width))
    path = tmp_path_factory.mktemp("round") / "x.pg"
    write_policy_graph(graph, path)
    again = read_policy_graph(path)
    np.testing.assert_array_equal(again.actions, graph.actions)
    np.testing.assert_array_equal(again.successors, graph.successors)


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_alpha, "", "line 1: the file ends where the number of an action should be"),
        (read_alpha, "0\n1 2\n\n1\n", "line 4: the file ends where a vector should be"),
        (read_alpha, "0 1\n1 2\n", "line 1: expected an action's number, alone in a line, found '0 1'"),
        (read_alpha, "-1\n1 2\n", "line 1: expected an action's number"),
        (read_alpha, "0\n1 2\n\n1\n1 2 3\n", "line 5: a vector has 3 numbers, the first one has 2"),
        (read_alpha, "0\n1 x\n", "line 2: expected a number, found 'x'"),
        (read_alpha, "0\n1 nan\n", "line 2: expected a number, found 'nan'"),
        (read_alpha, "0\n1 1e999\n", "line 2: 1e999 is too large a number"),
        (read_policy_graph, "# empty\n", "line 1: there is no node"),
        (read_policy_graph, "1 0 0\n", "line 1: nodes are numbered from 0: expected 0, found '1'"),
        (read_policy_graph, "0 0\n", "line 1: a node needs an action and a successor for each observation"),
        (read_policy_graph, "0 0 0 0\n1 0 0\n", "line 2: node 1 has 1 successors, the first one has 2"),
        (read_policy_graph, "0 - 0\n", "line 1: expected a node's number, '-' or 'X', found '-'"),
        (read_policy_graph, "0 0 a\n", "line 1: expected a node's number, '-' or 'X', found 'a'"),
        (read_policy_graph, "0 0 -3\n", "line 1: expected a node's number, '-' or 'X', found '-3'"),
        (read_policy_graph, "0 0 0\n\n1 0 2\n", "line 3: node 1 leads to node 2, but there are 2"),
    ],
)
def test_errors_in_lines(tmp_path: Path, reader: Callable[[Path], object], text: str, message: str) -> None:
    path = save(tmp_path, text)
    with pytest.raises(PomdpFormatError, match=re.escape(f"{path}, {message}")):
        reader(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("AlphaVector", "Vectors", "line 2: <Policy> needs a <AlphaVector>"),
        ('vectorLength="3" ', "", "line 3: <AlphaVector> needs an attribute 'vectorLength'"),
        (
            'vectorLength="3"',
            'vectorLength="999999999"',
            "line 3: vectorLength must be a whole number from 0 to 1000000",
        ),
        ('vectorLength="3"', 'vectorLength="2"', "line 4: a vector has 3 numbers, but vectorLength is 2"),
        ('vectorLength="3"', 'vectorLength="0"', "line 3: at least one vector with at least one number is needed"),
        ('numVectors="3"', 'numVectors="4"', "line 3: numVectors is 4, but there are 3 vectors"),
        ('obsValue="1"', 'obsValue="2"', "line 5: obsValue must be a whole number from 0 to 1, found '2'"),
        ('action="1"', 'action="-1"', "line 4: action must be a whole number from 0 to 32767, found '-1'"),
        ('action="1" ', "", "line 4: <Vector> needs an attribute 'action'"),
        ("19.3711", "inf", "line 4: expected a number, found 'inf'"),
        ("19.3711", "1e400", "line 4: 1e400 is too large a number"),
        ("<Entry>2 ", "<Entry>3 ", "line 6: expected <Entry>, with a place below 3 and a number"),
        ("SparseVector", "ShortVector", "line 6: expected <Vector> or <SparseVector>, found <ShortVector>"),
        ("</Policy>", "", "line 8: this is not well-formed XML: no element found"),
        ("<Policy", "<!DOCTYPE a><Policy", "line 2: a document type or entity, 'a', is declared"),
    ],
)
def test_errors_in_policies(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in samples.APPL
    path = save(tmp_path, samples.APPL.replace(old, new))
    with pytest.raises(PomdpFormatError, match=re.escape(f"{path}, {message}")):
        read_appl_policy(path)


def test_other_documents_are_no_policies(tmp_path: Path) -> None:
    with pytest.raises(PomdpFormatError, match="line 1: expected <Policy>, found <pomdpx>"):
        read_appl_policy(save(tmp_path, "<pomdpx/>"))


def test_much_is_refused_before_it_is_made(tmp_path: Path) -> None:
    """A thousand sparse vectors of a million zeros each would take 8 GB."""
    vectors = "".join(f'<SparseVector action="{i}" obsValue="0"></SparseVector>' for i in range(1000))
    path = save(tmp_path, f'<Policy><AlphaVector vectorLength="1000000">{vectors}</AlphaVector></Policy>')
    with pytest.raises(PomdpFormatError, match="the vectors have more than 50000000 numbers"):
        read_appl_policy(path)


def test_what_a_format_cannot_say_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(PomdpFormatError, match="the format cannot say for which value of an observed factor"):
        write_alpha(VectorSet(np.ones((1, 2)), np.array([0]), np.array([1])), tmp_path / "x.alpha")
    assert not (tmp_path / "x.alpha").exists()


def test_wrong_sets_are_refused() -> None:
    with pytest.raises(ModelError, match="actions must be numbers from 0"):
        VectorSet(np.ones((1, 2)), np.array([-1]))
    with pytest.raises(ModelError, match="actions"):
        VectorSet(np.ones((2, 2)), np.array([0]))
    with pytest.raises(ModelError, match="at least one vector"):
        VectorSet(np.ones((0, 2)), np.zeros(0, int))
    with pytest.raises(ModelError, match="actions start at 0 and successors at -2"):
        GraphNodes(np.array([0]), np.array([[-3]]))
    with pytest.raises(ModelError, match=r"successors \(N, O\) are needed"):
        GraphNodes(np.array([0, 1]), np.array([[0]]))
