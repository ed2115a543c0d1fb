"""Slopes of log-likelihoods against differences, scores of solutions against every path, and fits with and without."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.fitting.estimation import fit
from trim_pomdp.fitting.lengths import Ends, Hazards, LengthCounts, LengthFit, OutcomeChain, fit_lengths
from trim_pomdp.fitting.likelihood import SmoothTerm, StrongSteps, WeakSteps
from trim_pomdp.fitting.parameters import Explanation
from trim_pomdp.fitting.rollout_data import RolloutRows
from trim_pomdp.fitting.rollout_estimation import Fitter
from trim_pomdp.fitting.rollout_terms import SeenSteps, WeakOutcomes, WeakScores
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.synthetic import draw_rollouts
from trim_pomdp.presets.store import load_preset

NAMES = (
    "weak_success",
    "weak_success_slope",
    "look_right",
    "false_alarms",
    "misses",
    "recovery",
    "strong_success",
    "repair",
)
INSIDE = dict(zip(NAMES, (0.86, 0.04, 0.8, 0.06, 0.05, 0.03, 0.95, 0.7), strict=True))
STEP = 1e-5
SHORT = Hazards(
    np.array([0.1, 0.3, 0.4, 1.0]), np.array([0.05, 0.1, 0.2, 1.0]), np.array([0.08, 0.15, 0.3, 1.0])
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> RoutingModel:
    return load_preset("lab-loop.prm").routing_model()


@pytest.fixture(scope="module")
def rollouts(model: RoutingModel) -> Rollouts:
    return draw_rollouts(model, 60, 50, 70, np.random.default_rng(11))


def check_slopes(term: SmoothTerm, at: Mapping[str, float]) -> None:
    """Central differences of the value say what the slopes say, of every parameter."""
    value, slopes = term.slopes(at)
    assert value == pytest.approx(term.log_likelihood(at), abs=1e-9)
    for name in NAMES:
        up, down = (term.log_likelihood({**at, name: at[name] + sign * STEP}) for sign in (1, -1))
        # Differences are as good as the third derivative lets them.
        assert slopes.get(name, 0.0) == pytest.approx((up - down) / (2 * STEP), rel=1e-4, abs=2e-4), name


@pytest.mark.parametrize(
    ("labelled", "ends"), [(False, "alike"), (False, "before"), (False, "after"), (True, "alike"), (True, "apart")]
)
def test_slopes_of_every_term_of_rollouts(model: RoutingModel, rollouts: Rollouts, labelled: bool, ends: Ends) -> None:
    rows = RolloutRows.of(rollouts, None, labelled=labelled)
    cap = model.dynamics.max_steps
    fitter = Fitter.of(model.observations, cap, rows)
    hazards = fit_lengths(fitter.counts(rows.weak), ends=ends, recovery=0.02).hazards
    terms = fitter.terms(rows, hazards)
    assert len(terms) == (4 if labelled else 5)
    for term, slope in itertools.product(terms, (0.0, 0.04)):
        check_slopes(term, {**INSIDE, "weak_success_slope": slope})


def test_slopes_of_rollouts_some_of_which_are_labelled(model: RoutingModel, rollouts: Rollouts) -> None:
    """Solutions beyond the cap, too."""
    some = Rollouts(
        [item if i % 2 else item.model_copy(update={"label": None}) for i, item in enumerate(rollouts.weak)],
        rollouts.strong,
        [item if i % 2 else item.model_copy(update={"true_class": None}) for i, item in enumerate(rollouts.repairs)],
    )
    rows = RolloutRows.of(some, None, labelled=True)
    cap = 6
    assert (rows.weak.lengths > cap).any()
    fitter = Fitter.of(model.observations, cap, rows)
    hazards = fit_lengths(fitter.counts(rows.weak), ends="apart", recovery=0.02).hazards
    terms = fitter.terms(rows, hazards)
    assert len(terms) == 7
    for term in terms:
        check_slopes(term, INSIDE)


def test_slopes_of_step_counts() -> None:
    for term in (WeakSteps(87, 13), StrongSteps(95, 5)):
        check_slopes(term, INSIDE)


def test_slopes_where_evidence_is_impossible() -> None:
    """A score that no class has, and an end that none can explain, are no evidence, and neither has a slope."""
    table = np.array([[0.7, 0.3, 0.0], [0.5, 0.5, 0.0], [0.4, 0.6, 0.0]])
    never = np.array([0.0, 0.2, 0.3, 1.0])
    hazards = Hazards(never, np.array([0.0, 0.1, 0.2, 1.0]), never)
    steps = SeenSteps(np.array([[0, 2, 1], [1, 1, 2], [1, 0, 0]]), np.array([3, 3, 1]), np.array([True] * 3), table)
    term = WeakOutcomes(steps, np.array([True, False, True]), hazards)
    check_slopes(term, INSIDE)


@pytest.mark.parametrize("recovery", [0.0, 0.15])
def test_slopes_of_the_chain(recovery: float) -> None:
    """Any function of all of its table: here a sum with random weights, which is linear."""
    rng = np.random.default_rng(0)
    success, upon = np.array([0.9, 0.8, 0.7, 0.95]), rng.normal(size=(4, 2, 4, 2))
    found = OutcomeChain.of(success, SHORT, recovery).step_slopes(upon)
    for t in range(4):
        moved = [
            (upon * OutcomeChain.of(success + sign * STEP * np.eye(4)[t], SHORT, recovery).table).sum()
            for sign in (1, -1)
        ]
        assert found.success[t] == pytest.approx((moved[0] - moved[1]) / (2 * STEP), abs=1e-8)
    moved = [(upon * OutcomeChain.of(success, SHORT, recovery + sign * STEP).table).sum() for sign in (1, -1)]
    assert found.recovery @ SHORT.recovery(1.0) == pytest.approx((moved[0] - moved[1]) / (2 * STEP), abs=1e-8)


def test_a_chain_keeps_what_its_slopes_are_given() -> None:
    chain, upon = OutcomeChain.of(np.full(4, 0.8), SHORT), np.ones((4, 2, 4, 2))
    first, second = chain.step_slopes(upon), chain.step_slopes(upon)
    np.testing.assert_array_equal(first.success, second.success)
    assert (upon == 1.0).all()


@pytest.mark.parametrize("recovery", [0.0, 0.15])
def test_scores_given_lengths_and_outcomes_against_every_path(recovery: float) -> None:
    """P(bin of step t | length, answer), by summing over all paths of the hidden state."""
    table = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    values = {**INSIDE, "weak_success_slope": 0.0, "false_alarms": 0.0, "misses": 0.0, "recovery": recovery}
    emission = np.array([table[0], 0.8 * table[0] + 0.2 * table[2], table[2]])
    back = SHORT.recovery(recovery)
    share = np.zeros((4, 4, 2, 3))  # step, last step, answer, class
    for length in range(1, 5):
        for path in itertools.product((0, 1), repeat=length):  # derailed after each step?
            before, probability, classes = 0, 1.0, []
            for t, after in enumerate(path):
                c = 1 if before else 2 * after
                turn = back[t] if before else 0.86
                probability *= turn if after == 0 else 1.0 - turn
                h = SHORT.end[t, c]
                probability *= h if t == length - 1 else 1.0 - h
                classes.append(c)
                before = after
            for t, c in enumerate(classes):
                share[t, length - 1, path[-1], c] += probability
    bins, lengths, correct = np.array([[1, 0, 1, 0], [0, 1, 0, 0]]), np.array([4, 2]), np.array([True, False])
    term = WeakScores.of(SeenSteps(bins, lengths, np.array([True, True]), table), correct, SHORT)
    expected = 0.0
    for row, length in enumerate(lengths):
        for t in range(length):
            joint = share[t, length - 1, int(not correct[row])]
            expected += np.log(joint @ emission[:, bins[row, t]] / joint.sum())
    assert term.log_likelihood(values) == pytest.approx(expected * 2 / 6, abs=1e-12)


def test_expected_numbers_against_every_path() -> None:
    """Of one solution of three steps with a wrong answer."""
    success, back = np.array([0.9, 0.8, 0.7, 0.95]), SHORT.recovery(0.15)
    numbers, total = np.zeros((3, 4)), 0.0
    for path in itertools.product((0, 1), repeat=3):
        if path[-1] == 0:
            continue
        before, probability, classes = 0, 1.0, []
        for t, after in enumerate(path):
            classes.append(1 if before else 2 * after)
            turn = back[t] if before else success[t]
            h = SHORT.end[t, classes[-1]]
            probability *= (turn if after == 0 else 1.0 - turn) * (h if t == 2 else 1.0 - h)
            before = after
        total += probability
        for t, c in enumerate(classes):
            numbers[c, t] += probability
    counts = LengthCounts(np.zeros(4), np.eye(4)[2], np.zeros(4), np.zeros((4, 4, 2)))
    trials, ends = LengthFit(success, SHORT, 0.15).expected(counts)
    np.testing.assert_allclose(trials, numbers / total, atol=1e-12)
    np.testing.assert_allclose(ends, numbers / total * np.eye(4)[2], atol=1e-12)


@dataclass(frozen=True)
class Plain:
    """A term that does not tell its slopes."""

    term: SmoothTerm
    name: str = "plain"

    @property
    def informs(self) -> frozenset[str]:
        return self.term.informs

    def log_likelihood(self, parameters: Mapping[str, float]) -> float:
        return self.term.log_likelihood(parameters)


def test_terms_without_slopes_give_the_same_fit(model: RoutingModel, rollouts: Rollouts) -> None:
    """Free and tied parameters, some of them at their bounds."""
    rows = RolloutRows.of(rollouts, None, labelled=False)
    fitter = Fitter.of(model.observations, model.dynamics.max_steps, rows)
    hazards = fit_lengths(fitter.counts(rows.weak), ends="after").hazards
    terms = fitter.terms(rows, hazards)
    free = ("weak_success", "false_alarms", "misses", "strong_success", "repair", "recovery")
    tied = Explanation("tied", "", free, tied={"look_right": "weak_success"})
    known, mixed, plain = (
        fit(tied, items, n_starts=1)
        for items in (terms, [*terms[:2], *map(Plain, terms[2:])], [Plain(term) for term in terms])
    )
    for other in (mixed, plain):
        assert other.log_likelihood == pytest.approx(known.log_likelihood, abs=1e-3)
        assert other.free == pytest.approx(known.free, abs=5e-3)
    assert known.log_likelihood >= plain.log_likelihood - 1e-4
