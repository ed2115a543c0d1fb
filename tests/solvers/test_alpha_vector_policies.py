"""Looking vectors up: single and batch, dense and sparse, ties, and vectors for a part of the state that is seen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from solvers import POMDP, ModelError
from solvers.exact import exact
from solvers.examples import maze, tiger
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy

MAP = ["A?SB", "#..#"]


@pytest.fixture(scope="module")
def listened() -> AlphaVectorPolicy:
    return exact(tiger(), 10).policy.with_steps_to_go()


@pytest.fixture(scope="module")
def walked() -> AlphaVectorPolicy:
    return exact(maze(MAP), 6).policy.with_steps_to_go()


def some_beliefs(p: POMDP) -> np.ndarray:
    """Beliefs that know what is seen of the state."""
    rng = np.random.default_rng(1)
    factor = np.zeros(p.n_states, int) if p.observed is None else p.observed
    beliefs = rng.dirichlet(np.ones(p.n_states), 40) * (factor == rng.integers(0, factor.max() + 1, 40)[:, None])
    return beliefs / beliefs.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["listened", "walked"])
def test_every_way_to_ask_says_the_same(name: str, request: pytest.FixtureRequest) -> None:
    policy = request.getfixturevalue(name)
    p = policy.pomdp
    beliefs = some_beliefs(p)
    values, actions = policy.value(beliefs), policy.action(beliefs)
    sparse = replace(policy, vectors=csr_array(policy.vectors))
    for other in (policy, sparse):
        assert other.value(csr_array(beliefs)) == pytest.approx(values, abs=1e-12)
        assert other.value(beliefs) == pytest.approx(values, abs=1e-12)
        assert (other.action(csr_array(beliefs)) == actions).all()
    for b, value, action in zip(beliefs, values, actions, strict=True):
        mine = np.ones(policy.n_vectors, bool) if policy.observed is None else policy.observed == p.observed[b.argmax()]
        scores = np.where(mine, policy.vectors @ b, -np.inf)
        assert policy.value(b) == pytest.approx(scores.max(), abs=1e-12)
        assert policy.value(b) == pytest.approx(value, abs=1e-12)
        assert policy.action(b) == action == policy.actions[policy.best_vector(b)]
        assert scores[policy.best_vector(b)] == pytest.approx(scores.max(), abs=1e-9)


def test_ties_go_to_the_lowest_action() -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    policy = AlphaVectorPolicy(tiger(), vectors, [2, 1, 0, 1])
    assert policy.action([0.5, 0.5]) == 0
    assert policy.best_vector([1.0, 0.0]) == 3
    assert policy.action([1.0, 0.0]) == 1
    assert policy.action([0.9, 0.1]) == 1
    nearly = AlphaVectorPolicy(tiger(), [[1.0, 1.0 + 1e-13], [1.0, 1.0]], [1, 0])
    assert nearly.action([0.0, 1.0]) == 0
    assert nearly.value([0.0, 1.0]) == 1.0 + 1e-13


def test_a_belief_over_what_is_seen_gets_the_mean(walked: AlphaVectorPolicy) -> None:
    p = walked.pomdp
    one, two = (1.0 * (p.observed == y) for y in (0, 1))
    one, two = one / one.sum(), two / two.sum()
    assert walked.value(0.3 * one + 0.7 * two) == pytest.approx(0.3 * walked.value(one) + 0.7 * walked.value(two))
    with pytest.raises(ModelError, match="belief 0 leaves the value of the observed factor open"):
        walked.action(0.3 * one + 0.7 * two)
    first = walked.observed == 0
    some = AlphaVectorPolicy(p, walked.vectors[first], walked.actions[first], walked.observed[first])
    with pytest.raises(ModelError, match="belief 0 is on a value of the observed factor that no vector is for"):
        some.value(two)


def test_pruning_keeps_what_counts(listened: AlphaVectorPolicy, walked: AlphaVectorPolicy) -> None:
    for policy in (listened, walked):
        more = AlphaVectorPolicy(
            policy.pomdp,
            np.concatenate([policy.vectors - 0.5, policy.vectors]),
            np.tile(policy.actions, 2),
            None if policy.observed is None else np.tile(policy.observed, 2),
        )
        kept = more.pruned()
        beliefs = some_beliefs(policy.pomdp)
        assert kept.n_vectors == policy.n_vectors
        assert kept.value(beliefs) == pytest.approx(policy.value(beliefs), abs=1e-9)


def test_beliefs_are_updated_as_by_the_model(listened: AlphaVectorPolicy, walked: AlphaVectorPolicy) -> None:
    """Heard on the left: .85; in the maze, one step is seen to have been taken, or not."""
    belief, chance = listened.update([0.5, 0.5], 0, 0)
    assert belief == pytest.approx([0.85, 0.15])
    assert chance == pytest.approx(0.5)
    p = walked.pomdp
    west, nothing = p.actions.index("west"), p.observations.index("sign says A")
    there = int(p.observed[p.states.index("0,1/A")])
    belief, chance = walked.update(p.start, west, nothing, value=there)
    assert chance == pytest.approx(0.9 * 0.5)
    assert belief[p.states.index("0,1/A")] == pytest.approx(0.9)
    with pytest.raises(ModelError, match="the value 0 of the observed factor cannot follow"):
        walked.update(p.start, west, nothing, value=0)
    with pytest.raises(ModelError, match="the POMDP has no observed factor"):
        listened.update([0.5, 0.5], 0, 0, value=0)


def test_each_step_to_go_has_its_policy() -> None:
    ten = exact(tiger(), 4).policy
    assert ten.horizon == 4
    assert ten.value([0.5, 0.5], 1) == -1.0
    assert ten.value([0.5, 0.5]) == pytest.approx(1.7955442, abs=1e-6)
    assert ten.action([[0.5, 0.5], [0.95, 0.05]], 1).tolist() == [0, 2]
    assert len(list(ten)) == 4
    with pytest.raises(ModelError, match=r"the policy is for 1 … 4 steps to go, not 5"):
        ten.action([0.5, 0.5], 5)
    with pytest.raises(ModelError, match="a policy, and successors, for each of at least one step"):
        FiniteHorizonPolicy((), ())


def test_what_is_shown(listened: AlphaVectorPolicy) -> None:
    assert "27 over 2 states" in repr(listened)
    assert "<td>6.69337</td>" in listened._repr_html_()
    assert "horizon 3" in repr(exact(tiger(), 3).policy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, 2.0, 3.0]], [0]), r"vectors must have shape \(1, 2\), got \(1, 3\)"),
        (lambda p, m: AlphaVectorPolicy(p, np.zeros((0, 2)), []), r"vectors must have shape \(1, 2\), got \(0, 2\)"),
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, 2.0]], [3]), r"actions must lie in 0 … 2, got 3 … 3"),
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, 2.0]], [0, 1]), r"actions must have shape \(1,\), got \(2,\)"),
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, np.inf]], [0]), "vectors has an entry that is not finite"),
        (lambda p, m: AlphaVectorPolicy(p, csr_array([[1.0, np.inf]]), [0]), "vectors has an entry that is not finite"),
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, 2.0]], [0], [0]), "but the POMDP has none"),
        (lambda p, m: AlphaVectorPolicy(m, np.ones((1, m.n_states)), [0], [99]), "observed must lie in 0 … "),
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, 2.0]], [0]).value([0.5, 0.6]), "belief must sum to 1"),
        (lambda p, m: AlphaVectorPolicy(p, [[1.0, 2.0]], [0]).value(csr_array([[0.5, 0.6]])), "and sum to 1"),
    ],
)
def test_what_is_no_policy(make: Callable[[POMDP, POMDP], object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make(tiger(), maze(MAP))
