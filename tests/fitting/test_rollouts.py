"""Dynamics from live rollouts: the chain by brute force, the filter by the other one, parameters by recovery."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.special import expit, logit

import trim_pomdp as tp
from trim_pomdp.data.rollouts import RepairRollout, Rollouts
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
from trim_pomdp.fitting.estimation import fit, profile_intervals
from trim_pomdp.fitting.lengths import UNKNOWN, Ends, Hazards, LengthCounts, LengthFit, OutcomeChain, fit_lengths
from trim_pomdp.fitting.likelihood import Pilot
from trim_pomdp.fitting.parameters import TRANSFER, Explanation
from trim_pomdp.fitting.rollout_data import RepairRows, RolloutRows, WeakRows
from trim_pomdp.fitting.rollout_estimation import Fitter
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.fitting.rollout_terms import (
    LabelledStepScores,
    Repairs,
    RepairTruth,
    SeenSteps,
    StrongOutcomes,
    emission,
    step_classes,
)
from trim_pomdp.model.belief import filter_states
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.hazard import HAZARDS
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.planning.synthetic import draw_pilot, draw_rollouts, draw_sequences, draw_weak_rollouts

pytestmark = pytest.mark.slow  # minutes in all

T = 12
RISING = np.append(np.clip(0.02 * np.arange(1, T) ** 1.4, 0, 0.9), 1.0)
LATE = np.append(np.full(T - 1, 0.04), 1.0)
BETWEEN = 0.5 * (RISING + LATE)
SHORT_HAZARDS = np.array([[0.1, 0.3, 0.4, 1.0], [0.05, 0.1, 0.2, 1.0], [0.08, 0.15, 0.3, 1.0]])
PARAMETERS = {
    "weak_success": 0.88,
    "look_right": 0.7,
    "false_alarms": 0.05,
    "misses": 0.05,
    "recovery": 0.0,
    "strong_success": 0.97,
    "repair": 0.7,
}
TOKENS = {
    "weak_tokens": PerClass(right=20, derailed=24, wrong=30),
    "strong_tokens": PerClass(right=22, derailed=30, wrong=40),
}


def model_with(**changes: object) -> RoutingModel:
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    values = {**PARAMETERS, "weak_success": (0.88,), "hazard": tuple(RISING)}
    values |= {"hazard_derailed": tuple(LATE), "hazard_wrong": tuple(LATE)}
    dynamics = preset.dynamics.replace(**{**values, **TOKENS, "strong_only_tokens": None, **changes})
    return RoutingModel(preset.observations, dynamics)


@pytest.fixture(scope="module")
def truth() -> RoutingModel:
    return model_with()


@pytest.fixture(scope="module")
def rollouts(truth: RoutingModel) -> Rollouts:
    return draw_rollouts(truth, 1200, 600, 800, np.random.default_rng(7), problems=400)


@pytest.fixture(scope="module")
def fitted(truth: RoutingModel, rollouts: Rollouts) -> StepDynamics:
    return fit_rollouts("outcomes", rollouts, truth.observations, max_steps=T, draws=40)


@pytest.fixture(scope="module")
def fitted_on_labels(truth: RoutingModel, rollouts: Rollouts) -> StepDynamics:
    return fit_rollouts("labels", rollouts, truth.observations, labels=True, max_steps=T, draws=40)


# The chain of lengths and outcomes ---------------------------------------------------------------------------


def every_path(
    success: np.ndarray, hazards: Hazards, start: int, recovery: float, *, right: bool
) -> Iterator[tuple[tuple[bool, ...], float]]:
    """Whether the prefix is right after each step from `start` on, and the probability of that and then the end."""
    back = hazards.recovery(recovery)
    for length in range(1, len(success) - start + 1):
        for path in itertools.product((True, False), repeat=length):
            before, probability = right, 1.0
            for t, after in enumerate(path, start=start):
                turns_right = success[t] if before else back[t]
                h = (hazards.right if after else hazards.wrong)[t] if before else hazards.derailed[t]
                probability *= turns_right if after else 1.0 - turns_right
                probability *= h if t == start + length - 1 else 1.0 - h
                before = after
            yield path, probability


def brute_force(
    success: np.ndarray, hazards: Hazards, start: int, recovery: float = 0.0, *, right: bool = True
) -> dict[tuple[bool, int], float]:
    """P(answer right, last step) from a right or derailed prefix before `start`, over every path of the prefix."""
    out: dict[tuple[bool, int], float] = {}
    for path, probability in every_path(success, hazards, start, recovery, right=right):
        key = (path[-1], start + len(path) - 1)
        out[key] = out.get(key, 0.0) + probability
    return out


@pytest.mark.parametrize("recovery", [0.0, 0.15])
def test_the_chain_against_brute_force(recovery: float) -> None:
    success = np.array([0.9, 0.8, 0.7, 0.95])
    hazards = Hazards(*SHORT_HAZARDS)
    chain = OutcomeChain.of(success, hazards, recovery)
    for start in range(4):
        flawless, derailed = (brute_force(success, hazards, start, recovery, right=right) for right in (True, False))
        for last in range(start, 4):
            assert chain.right[start, last] == pytest.approx(flawless[True, last], abs=1e-12)
            assert chain.wrong[start, last] == pytest.approx(flawless[False, last], abs=1e-12)
            assert chain.recovered[start, last] == pytest.approx(derailed[True, last], abs=1e-12)
            assert chain.derailed[start, last] == pytest.approx(derailed[False, last], abs=1e-12)
    np.testing.assert_allclose((chain.right + chain.wrong).sum(axis=1), 1.0)
    np.testing.assert_allclose((chain.recovered + chain.derailed).sum(axis=1), 1.0)
    assert chain.accuracy[0] == pytest.approx(
        sum(p for (right, _), p in brute_force(success, hazards, 0, recovery).items() if right)
    )


def test_recovery_ends_with_the_right_solutions() -> None:
    """From step 2 right solutions go on with .2, then .5, derailed ones with .8, then all; step 1 derails nothing."""
    right, derailed = np.array([0.5, 0.8, 0.5, 1.0]), np.array([0.9, 0.2, 0.0, 1.0])
    hazards = Hazards(right, derailed, right)
    np.testing.assert_allclose(hazards.recovery(0.4), [0.4, 0.4, 0.4 * 0.2 / 0.8, 0.4 * 0.1 / 0.8])
    np.testing.assert_array_equal(Hazards(derailed, right, right).recovery(0.4), 0.4)
    np.testing.assert_array_equal(Hazards.one(right).recovery(0.4), 0.4)
    right = np.array([0.5, 0.5, 0.5, 1.0])
    ended = Hazards(right, np.array([0.1, 1.0, 0.5, 1.0]), right)
    np.testing.assert_array_equal(ended.recovery(0.4), 0.4)
    np.testing.assert_array_equal(Hazards.one(np.ones(1)).recovery(0.4), 0.4)


def test_with_one_hazard_a_solution_of_given_length_is_right_by_a_power() -> None:
    hazards = Hazards.one(RISING)
    chain = OutcomeChain.of(np.full(T, 0.9), hazards)
    np.testing.assert_allclose(chain.right[0] / (chain.right[0] + chain.wrong[0]), 0.9 ** np.arange(1, T + 1))


def drawn_lengths(n: int, *, derailed: np.ndarray, labelled: bool = False, seed: int = 0) -> LengthCounts:
    model = model_with(hazard_derailed=tuple(derailed), hazard_wrong=tuple(BETWEEN if labelled else derailed))
    items = draw_weak_rollouts(model, n, np.random.default_rng(seed))
    rows = WeakRows.of(items, None, labelled=labelled)
    return LengthCounts.of(rows.lengths, rows.correct, T, rows.labels)


@pytest.mark.parametrize("labelled", [False, True])
def test_hazards_by_class_are_found_from_lengths_and_outcomes(labelled: bool) -> None:
    ends: Ends = "apart" if labelled else "after"
    found = fit_lengths(drawn_lengths(6000, derailed=LATE, labelled=labelled), ends=ends)
    assert found.success[0] == pytest.approx(0.88, abs=0.012)
    np.testing.assert_allclose(found.hazards.right[:7], RISING[:7], atol=0.04)
    np.testing.assert_allclose(found.hazards.derailed[2:-1], LATE[2:-1], atol=0.02)
    if labelled:
        np.testing.assert_allclose(found.hazards.wrong[:5], BETWEEN[:5], atol=0.04)
    else:
        assert not found.hazards.wrong_apart


def test_first_errors_may_end_solutions_as_right_steps_do() -> None:
    """Lengths and outcomes alone do not say so (it takes scores), but told it they are explained."""
    model = model_with(hazard_wrong=tuple(RISING))
    rows = WeakRows.of(draw_weak_rollouts(model, 6000, np.random.default_rng(0)), None, labelled=False)
    counts = LengthCounts.of(rows.lengths, rows.correct, T, rows.labels)
    before = fit_lengths(counts, ends="before")
    assert before.success[0] == pytest.approx(0.88, abs=0.012)
    np.testing.assert_allclose(before.hazards.wrong[:7], RISING[:7], atol=0.04)
    np.testing.assert_allclose(before.hazards.derailed[2:-1], LATE[2:-1], atol=0.02)


def test_labels_give_the_closed_form() -> None:
    """With every first error known, and no recovery, p_w is right steps over right steps and first errors."""
    counts = drawn_lengths(500, derailed=LATE, labelled=True)
    first, _, answer = np.nonzero(counts.labelled)
    number = counts.labelled[counts.labelled > 0]
    assert (answer == 1).all()
    steps = (counts.flawless * np.arange(1, T + 1)).sum() + (number * first).sum()
    assert fit_lengths(counts, ends="apart").success[0] == pytest.approx(steps / (steps + number.sum()), abs=1e-12)


def test_em_does_not_lose_likelihood() -> None:
    counts = drawn_lengths(800, derailed=LATE)
    several, one = (fit_lengths(counts, ends=ends) for ends in ("after", "alike"))
    assert several.log_likelihood(counts) > one.log_likelihood(counts) + 30
    moved = LengthFit(np.full(T, several.success[0] + 0.01), several.hazards)
    assert moved.log_likelihood(counts) < several.log_likelihood(counts)


def test_the_cap_cuts_off() -> None:
    lengths, correct = np.array([3, 12, 20, 20]), np.array([True, False, True, False])
    counts = LengthCounts.of(lengths, correct, T, np.array([UNKNOWN, UNKNOWN, UNKNOWN, 15]))
    assert counts.right.nonzero()[0].tolist() == [2, T - 1]
    assert counts.right[-1] == 1
    assert counts.flawless[-1] == 1  # its error comes after the cap
    assert counts.wrong[-1] == 1
    assert fit_lengths(counts, ends="after").hazards.right[-1] == 1.0


def test_recovered_solutions_are_not_taken_for_flawless_ones() -> None:
    model = model_with(recovery=0.06)
    rows = WeakRows.of(draw_weak_rollouts(model, 6000, np.random.default_rng(1)), None, labelled=True)
    assert 0.1 < rows.correct[rows.labels >= 0].mean() < 0.4
    counts = LengthCounts.of(rows.lengths, rows.correct, T, np.full(len(rows.labels), UNKNOWN))
    told, untold = (fit_lengths(counts, ends="after", recovery=recovery) for recovery in (0.06, 0.0))
    assert told.success[0] == pytest.approx(0.88, abs=0.012)
    np.testing.assert_allclose(told.hazards.derailed[2:-1], LATE[2:-1], atol=0.025)
    assert untold.success[0] > 0.895


@pytest.mark.parametrize("recovery", [0.0, 0.1])
def test_expected_numbers_are_those_of_the_hidden_states(recovery: float) -> None:
    """With as many solutions as the model expects, EM stays where it is, and its likelihood is at its largest."""
    start = LengthFit(np.full(T, 0.85), Hazards(RISING, LATE, LATE), recovery)
    n = 1e7  # so that the pseudo-counts are nothing
    counts = LengthCounts(n * start.chain.right[0], n * start.chain.wrong[0], np.zeros(T), np.zeros((T, T, 2)))
    found = fit_lengths(counts, ends="after", recovery=recovery)
    assert found.log_likelihood(counts) == pytest.approx(start.log_likelihood(counts), rel=1e-5)
    assert found.success[0] == pytest.approx(0.85, abs=5e-3)
    np.testing.assert_allclose(found.hazards.right[:-2], RISING[:-2], atol=1e-2)


def by_first_error(fit: LengthFit) -> LengthCounts:
    """Probabilities of first error, last step and answer, over every path of the prefix, as if they were numbers."""
    T = len(fit.success)
    flawless, labelled = np.zeros(T), np.zeros((T, T, 2))
    for path, probability in every_path(fit.success, fit.hazards, 0, fit.recovery, right=True):
        if all(path):
            flawless[len(path) - 1] += probability
        else:
            labelled[path.index(False), len(path) - 1, 0 if path[-1] else 1] += probability
    return LengthCounts(np.zeros(T), np.zeros(T), flawless, labelled)


SHORT = LengthFit(
    np.array([0.9, 0.8, 0.7, 0.95]),
    Hazards(*SHORT_HAZARDS),
    recovery=0.15,
)


def test_labelled_solutions_against_brute_force() -> None:
    exact = by_first_error(SHORT)
    assert exact.flawless.sum() + exact.labelled.sum() == pytest.approx(1.0)
    assert exact.labelled[..., 0].sum() > 0.01
    for index in zip(*np.nonzero(exact.labelled), strict=True):
        one = np.zeros_like(exact.labelled)
        one[index] = 1.0
        counts = LengthCounts(np.zeros(4), np.zeros(4), np.zeros(4), one)
        assert SHORT.log_likelihood(counts) == pytest.approx(np.log(exact.labelled[index]), abs=1e-12)
    for last in range(4):
        counts = LengthCounts(np.zeros(4), np.zeros(4), np.eye(4)[last], np.zeros((4, 4, 2)))
        assert SHORT.log_likelihood(counts) == pytest.approx(np.log(exact.flawless[last]), abs=1e-12)


def test_expected_numbers_of_labelled_solutions() -> None:
    """With as many as the model expects EM stays where it is; what follows an error may be a recovery."""
    exact, n = by_first_error(SHORT), 1e9
    counts = LengthCounts(exact.right, exact.wrong, n * exact.flawless, n * exact.labelled)
    found = fit_lengths(counts, ends="apart", success=SHORT.success, recovery=SHORT.recovery)
    np.testing.assert_allclose(found.hazards.right, SHORT.hazards.right, atol=1e-4)
    np.testing.assert_allclose(found.hazards.derailed[1:], SHORT.hazards.derailed[1:], atol=1e-4)
    np.testing.assert_allclose(found.hazards.wrong, SHORT.hazards.wrong, atol=1e-4)
    level = LengthFit(np.full(4, 0.8), SHORT.hazards, SHORT.recovery)
    exact = by_first_error(level)
    counts = LengthCounts(exact.right, exact.wrong, n * exact.flawless, n * exact.labelled)
    assert fit_lengths(counts, ends="apart", recovery=SHORT.recovery).success[0] == pytest.approx(0.8, abs=1e-6)


# Terms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("derailed", [None, tuple(LATE)])
@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("recovery", [0.0, 0.2])
def test_the_compiled_filter_is_the_filter(derailed: tuple[float, ...] | None, slope: float, recovery: float) -> None:
    p_w = tuple(expit(logit(0.88) + slope * np.arange(T)))
    hazards = {"hazard_derailed": derailed, "hazard_wrong": derailed and tuple(BETWEEN)}
    model = model_with(weak_success=p_w, recovery=recovery, **hazards)
    batch = draw_sequences(model, 400, np.random.default_rng(0))
    # Their model is cut short, so that some of the solutions end at its cap and others after it.
    d, cap = model.dynamics, T - 4
    h, h_derailed, h_wrong = (np.append(hazard[: cap - 1], 1.0) for hazard in d.end.T)
    d = d.replace(
        weak_success=p_w[:cap],
        hazard=tuple(h),
        hazard_derailed=None if derailed is None else tuple(h_derailed),
        hazard_wrong=None if derailed is None else tuple(h_wrong),
    )
    assert {-1, 0, 1} == set(np.sign(batch.lengths - cap))
    steps = SeenSteps.of(batch, model.observations, np.ones(model.emission.shape[1]))
    values, hazards = {**PARAMETERS, "weak_success_slope": slope, "recovery": recovery}, Hazards(h, h_derailed, h_wrong)
    found = steps.beliefs(values, hazards)
    np.testing.assert_allclose(found.sum(axis=2)[batch.mask], 1.0)
    expected = filter_states(model.observations.bins(batch.scores), batch.mask, model.emission, d)
    np.testing.assert_allclose(steps.probability_right(values, hazards), expected[:, -1], atol=1e-12)
    before_cap = batch.mask[:, : cap - 1]
    q = found[:, : cap - 1, 0] + d.recovery_by_step[: cap - 1] * found[:, : cap - 1, 1]
    np.testing.assert_allclose(q[before_cap], expected[:, : cap - 1][before_cap], atol=1e-12)


@pytest.mark.parametrize("recovery", [0.0, 0.2])
def test_a_repair_by_hand(recovery: float) -> None:
    """One weak step, redone, then two strong steps, or an end: belief, repair, and the rest of the chain.

    The weak step ends with .1 if it is right, with .08 if not. A repaired one that had not ended does with .02/.92, a
    spoiled one that had goes on with 1/5. For one in a hundred the end is no evidence.
    """
    table = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    hazards = Hazards(*SHORT_HAZARDS)
    steps = SeenSteps(np.array([[1], [1]]), np.array([1, 1]), np.array([False, True]), table)
    values = {**PARAMETERS, "false_alarms": 0.0, "misses": 0.0, "recovery": recovery}
    term = Repairs(steps, np.array([True, False]), np.array([2, 0]), hazards)
    # The first step is no derailed one.
    b0, b2 = np.array([0.88 * 0.1 * 0.9, 0.12 * 0.8 * 0.92])
    right, wrong = b0 * 0.97 + b2 * 0.7 * (0.9 / 0.92), b0 * 0.03 + b2 * 0.3
    q = 0.99 * right / (right + wrong) + 0.01 * (b0 * 0.97 + b2 * 0.7) / (b0 + b2)
    b0, b2 = np.array([0.88 * 0.1 * 0.1, 0.12 * 0.8 * 0.08])
    right, wrong = b0 * 0.97 + b2 * 0.7, b0 * 0.03 * 0.8 + b2 * 0.3
    at_end = 0.99 * right / (right + wrong) + 0.01 * right / (b0 + b2)
    success = np.full(4, 0.88 * 0.97 + 0.12 * 0.7)
    chain, lost = (brute_force(success, hazards, 1, recovery, right=right) for right in (True, False))
    expected = np.log(q * chain[True, 2] + (1 - q) * lost[True, 2]) + np.log(1 - at_end)
    assert term.log_likelihood(values) == pytest.approx(expected, abs=1e-12)
    shown = term.probability_right(values)
    answers = [sum(p for (right, _), p in outcomes.items() if right) for outcomes in (chain, lost)]
    assert shown == pytest.approx([q * answers[0] + (1 - q) * answers[1], at_end], abs=1e-12)


def test_a_repair_of_a_derailed_step_by_hand() -> None:
    """The third weak step is redone, and ends the solution or not; ends are evidence, recovery depends on the step."""
    table = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    hazards = Hazards(*SHORT_HAZARDS)
    steps = SeenSteps(np.array([[0, 1, 1]] * 2), np.array([3, 3]), np.array([False, True]), table)
    values = {**PARAMETERS, "look_right": 0.6, "false_alarms": 0.0, "misses": 0.0, "recovery": 0.3}
    found = Repairs(steps, np.array([True, True]), np.array([1, 0]), hazards).probability_right(values)
    derailed = 0.6 * table[0] + 0.4 * table[2]
    back = (0.3, 0.3, 0.3 * 0.7 / 0.9)
    for index, ended in enumerate((False, True)):
        q = 1.0
        for t, j in enumerate((0, 1, 1)):
            end = hazards.end[t] if ended and t == 2 else 1.0 - hazards.end[t]
            likelihood = np.array([table[0, j], derailed[j], table[2, j]]) * end
            b = np.array([q * 0.88, 1 - q, q * 0.12]) * likelihood
            b /= b.sum()
            q = b @ [1.0, back[t], 0.0]
        # Repaired, a step that had not ended goes on with .6/.7; spoiled, one that had stays the end with .3/.4.
        right = b @ [0.97, back[2], 0.7 * (1.0 if ended else 0.6 / 0.7)]
        q = right / (right + b @ [0.03 * (0.75 if ended else 1.0), 1 - back[2], 0.3])
        q = 0.99 * q + 0.01 * (b @ [0.97, back[2], 0.7])
        if not ended:  # one more step of the strong model, at the cap
            q = q * (0.88 * 0.97 + 0.12 * 0.7) + (1 - q) * 0.3 * (0.7 * 0.6) / (0.9 * 0.8)
        assert found[index] == pytest.approx(q, abs=1e-12)


def test_strong_solutions_tell_one_number(truth: RoutingModel, rollouts: Rollouts) -> None:
    rows = RolloutRows.of(rollouts, None, labelled=True).strong
    assert rows is not None
    hazards = Hazards(RISING, LATE, LATE)
    unlabelled = LengthCounts.of(rows.lengths, rows.correct, T, np.full(len(rows.lengths), UNKNOWN))
    labelled = LengthCounts.of(rows.lengths, rows.correct, T, rows.labels)
    free = Explanation("p_s", "", ("strong_success",), fixed={**PARAMETERS, "strong_success": 1.0})
    for counts in (unlabelled, labelled):
        found = fit(free, [StrongOutcomes(counts, hazards)], n_starts=1).free["strong_success"]
        assert 0.88 * found + 0.12 * 0.7 == pytest.approx(0.88 * 0.97 + 0.12 * 0.7, abs=0.012)


def test_many_repairs_tell_how_often_the_strong_model_repairs(truth: RoutingModel) -> None:
    drawn = draw_rollouts(truth, 10, 3000, 6000, np.random.default_rng(0), problems=6000)
    fitter = Fitter(truth.observations, T, np.ones(truth.emission.shape[1]))
    terms = fitter.terms(RolloutRows.of(drawn, None, labelled=False), Hazards(RISING, LATE, LATE))
    free = Explanation(
        "p_s, p_r",
        "",
        ("strong_success", "repair"),
        fixed={k: v for k, v in PARAMETERS.items() if k not in ("strong_success", "repair")},
    )
    found = fit(free, terms, n_starts=1).free
    assert found["repair"] == pytest.approx(0.7, abs=0.04)
    assert found["strong_success"] == pytest.approx(0.97, abs=0.02)


def test_repair_truth_is_a_count() -> None:
    term = RepairTruth.of(np.array([0, 0, 0, 1, 2, 2]), np.array([True, True, False, False, True, False]))
    assert term.counts.tolist() == [[2, 1], [1, 1]]
    free = Explanation("both", "", ("strong_success", "repair"))
    assert fit(free, [term], n_starts=1).free == pytest.approx({"strong_success": 2 / 3, "repair": 0.5}, abs=1e-4)


def test_scores_of_labelled_steps_count_by_class() -> None:
    assert step_classes(np.array([-1, 1]), 3).tolist() == [[0, 0, 0], [0, 2, 1]]
    table = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    steps = SeenSteps(np.array([[0, 1, 0], [0, 1, 1]]), np.array([2, 3]), np.array([True, True]), table)
    term = LabelledStepScores.of(steps, np.array([-1, 1]))
    assert term.counts.tolist() == [[2, 1], [0, 1], [0, 1]]
    right, derailed, wrong = emission(table, PARAMETERS)
    expected = 2 * np.log(right[0]) + np.log(right[1]) + np.log(derailed[1]) + np.log(wrong[1])
    assert term.log_likelihood(PARAMETERS) == pytest.approx(expected)


def test_repairs_break_the_ridge_that_thresholds_leave(truth: RoutingModel, rollouts: Rollouts) -> None:
    one = model_with(hazard_derailed=None, hazard_wrong=None)
    rng = np.random.default_rng(0)
    rows = [
        row.model_copy(update={"strong_tokens": None, "kept_tokens": None, "discarded_tokens": None})
        for row in draw_pilot(one, (0.0, 0.1, 0.4, 0.8, 1.0), 2000, rng)
    ]
    pilot = Pilot.of(rows, one.observations, RISING, labelled=False)
    repairs = draw_rollouts(one, 1, 1, 800, rng).repairs
    part = RepairRows.of(repairs, None, labelled=False)
    term = Repairs(
        SeenSteps.of(part.batch, one.observations, np.ones(one.emission.shape[1]), part.ended),
        part.batch.correct,
        part.further,
        Hazards.one(RISING),
    )
    widths = []
    for terms in ([pilot], [pilot, term]):
        span = profile_intervals(fit(TRANSFER, terms, n_starts=1), names=("repair",))["repair"]
        assert span.low <= 0.7 <= span.high
        widths.append(span.high - span.low)
    assert widths[1] < 0.7 * widths[0]


# Recovery ----------------------------------------------------------------------------------------------------


def misses_of(dynamics: StepDynamics, truth: RoutingModel) -> list[str]:
    """Names of parameters whose interval does not hold the true value."""
    d, report = truth.dynamics, dynamics.fit
    assert report is not None
    values = {**PARAMETERS}
    for name, array in zip(HAZARDS, d.end.T, strict=True):
        values |= {f"{name}.{t + 1}": float(value) for t, value in enumerate(array[:-1])}
    for kind, tokens in TOKENS.items():
        values |= {f"{kind}.{key}": value for key, value in tokens.model_dump().items()}
    return [n for n, span in report.intervals.items() if n in values and not span.low <= values[n] <= span.high]


def test_parameters_are_recovered_from_outcomes(fitted: StepDynamics, truth: RoutingModel) -> None:
    assert fitted.hazard_derailed is not None
    assert fitted.fit is not None
    assert set(PARAMETERS) - {"recovery"} <= set(fitted.fit.intervals)
    assert len(misses_of(fitted, truth)) <= 5  # of 37; over ten seeds 6 % miss
    assert not set(misses_of(fitted, truth)) & {"weak_success", "strong_success", "repair"}
    assert fitted.weak_success == pytest.approx((0.88,), abs=0.012)
    assert fitted.strong_success == pytest.approx(0.97, abs=0.03)
    assert fitted.repair == pytest.approx(0.7, abs=0.12)  # over eight seeds .69 ± .06
    assert "taken: hazards by class, first errors as derailed ones, the simplest" in "".join(fitted.fit.notes)
    assert fitted.false_alarms == pytest.approx(0.05, abs=0.03)


def test_parameters_are_recovered_from_labels(
    fitted: StepDynamics, fitted_on_labels: StepDynamics, truth: RoutingModel
) -> None:
    assert len(misses_of(fitted_on_labels, truth)) <= 5
    assert fitted_on_labels.repair == pytest.approx(0.7, abs=0.06)
    assert fitted_on_labels.strong_success == pytest.approx(0.97, abs=0.02)
    assert fitted_on_labels.misses == pytest.approx(0.05, abs=0.03)
    assert fitted_on_labels.fit is not None
    assert fitted.fit is not None
    for name in ("repair", "misses", "look_right"):
        label, outcome = (item.fit.intervals[name] for item in (fitted_on_labels, fitted))
        assert label.high - label.low < outcome.high - outcome.low
    assert any("by their labels: 1200 of 1200 weak, 600 of 600 strong" in note for note in fitted_on_labels.fit.notes)


def test_what_is_fitted_agrees_with_what_is_seen(fitted: StepDynamics, rollouts: Rollouts) -> None:
    assert fitted.fit is not None
    labels = {check.label for check in fitted.fit.checks}
    assert {
        "weak-only: accuracy",
        "strong-only: accuracy",
        "strong-only: steps",
        "strong-only: strong tokens",
    } <= labels
    assert {"steps of right weak-only solutions", "share of right repaired solutions, all"} <= labels
    for check in fitted.fit.checks:
        assert abs(check.z_score or 0.0) < 3.5, check.label
    assert fitted.strong_only_tokens == pytest.approx(np.mean([sum(item.tokens) for item in rollouts.strong]))


def test_the_fit_plans(fitted: StepDynamics, truth: RoutingModel) -> None:
    """What is planned in the fitted model does nearly as well in the true one as what is planned there."""
    model = RoutingModel(truth.observations, fitted)
    mine, best = (tp.policy_for_tradeoff(item, 0.3, gap=1e-3) for item in (model, truth))

    def worth(policy: tp.PolicyArtifact) -> float:
        point = tp.evaluate(policy, truth)
        return 100 * point.accuracy - 0.3 * point.strong_tokens

    assert worth(mine) > worth(best) - 0.5


# What the data want ------------------------------------------------------------------------------------------


def test_one_hazard_stays_one() -> None:
    model = model_with(hazard_derailed=None, hazard_wrong=None)
    items = draw_weak_rollouts(model, 1000, np.random.default_rng(1))
    found = fit_rollouts("one", Rollouts(items), model.observations, max_steps=T, intervals=False)
    assert found.hazard_derailed is None
    assert found.fit is not None
    assert any(note.startswith("taken: one hazard, one p_w") for note in found.fit.notes)
    assert (found.strong_success, found.repair, found.strong_tokens) == (None, None, None)
    assert {"strong_success", "repair"} <= set(found.fit.unidentified)
    assert any("--repair" in note for note in found.fit.notes)
    asked = fit_rollouts("two", Rollouts(items), model.observations, max_steps=T, intervals=False, class_hazards=True)
    assert asked.hazard_derailed is not None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_strong_solutions_tell_a_second_hazard_from_success_by_step(seed: int) -> None:
    """Of few weak solutions alone, where derailed ones run on, a p_w that falls step by step explains as much."""
    model = tp.load_preset("lab-loop.prm").routing_model()
    rollouts = draw_rollouts(model, 100, 100, 100, np.random.default_rng(seed))
    found = fit_rollouts("few", rollouts, model.observations, max_steps=model.dynamics.max_steps, intervals=False)
    assert found.hazard_derailed is not None


def test_a_cap_that_is_not_named_is_noticed() -> None:
    model = tp.load_preset("lab-loop.prm").routing_model()
    items = draw_weak_rollouts(model, 60, np.random.default_rng(0))
    notes = []
    for cap in (16, 30):
        fit = fit_rollouts("cap", Rollouts(items), model.observations, max_steps=cap, intervals=False).fit
        assert fit is not None
        notes.append([note for note in fit.notes if "end at step 16" in note])
    assert notes[0] == []
    assert "--max-steps 16" in notes[1][0]


@pytest.mark.slow
def test_what_first_errors_end_like_is_found() -> None:
    model = model_with(hazard_wrong=tuple(RISING))
    rollouts = draw_rollouts(model, 800, 400, 400, np.random.default_rng(4))
    found = fit_rollouts("before", rollouts, model.observations, max_steps=T, intervals=False)
    assert found.hazard_wrong == found.hazard
    assert found.hazard_derailed != found.hazard


@pytest.mark.slow
def test_weak_success_by_step_is_found_where_it_is() -> None:
    curve = expit(logit(0.97) - 0.25 * np.arange(T))
    model = model_with(weak_success=tuple(curve), look_right=0.9)
    items = draw_weak_rollouts(model, 1500, np.random.default_rng(2))
    found = fit_rollouts("slope", Rollouts(items), model.observations, max_steps=T, draws=10)
    np.testing.assert_allclose(found.weak_success[:7], curve[:7], atol=0.04)
    assert found.fit is not None
    assert "weak_success.3" in found.fit.intervals
    assert "weak_success" not in found.fit.intervals


# What is refused ---------------------------------------------------------------------------------------------


def test_wrong_rollouts_are_refused(truth: RoutingModel, rollouts: Rollouts) -> None:
    weak = list(rollouts.weak)
    right = Rollouts([item for item in weak if item.correct])
    for rollouts_given, word in (
        (right, "have right answers"),
        (Rollouts([item.model_copy(update={"problem_id": "p"}) for item in weak[:50]]), "a single problem"),
        (
            Rollouts([*weak, weak[0].model_copy(update={"scores": None, "features": {"logprob_min": (-1.0,)}})]),
            "no score",
        ),
    ):
        with pytest.raises(InputError, match=word):
            fit_rollouts("x", rollouts_given, truth.observations, max_steps=T, intervals=False)
    unlabelled = Rollouts([item.model_copy(update={"label": None}) for item in weak])
    with pytest.raises(InputError, match="no rollout holds any"):
        fit_rollouts("x", unlabelled, truth.observations, labels=True, max_steps=T, intervals=False)
    with pytest.raises(InputError, match=f"a rollout has {T} steps, more than the step cap of {T - 2}"):
        fit_rollouts("x", rollouts, truth.observations, max_steps=T - 2, intervals=False)
    both = Sources(rollouts=rollouts, sequences=SequenceBatch.of(weak))
    with pytest.raises(InputError, match="rollouts stand alone"):
        fit_dynamics("x", both, truth.observations)
    with pytest.raises(InputError, match="labels are those of rollouts"):
        fit_dynamics("x", Sources(sequences=SequenceBatch.of(weak)), truth.observations, labels=True)


def test_a_redone_step_that_ended_is_told_apart() -> None:
    base = {"id": "r", "scores": (0.5,), "correct": True, "weak_tokens": (1,)}
    rows = RepairRows.of(
        [
            RepairRollout.model_validate({**base, "strong_tokens": (1,)}),
            RepairRollout.model_validate({**base, "strong_tokens": (1, 2), "ended": True}),
        ],
        None,
        labelled=True,
    )
    assert rows.ended.tolist() == [True, True]
    assert rows.further.tolist() == [0, 1]
    assert rows.true_class.tolist() == [UNKNOWN, UNKNOWN]


@pytest.mark.slow
def test_recovery_is_found_from_outcomes() -> None:
    """Without it, right answers of derailed solutions would pass for false alarms and spoil p_d and p_r."""
    model = model_with(recovery=0.05, look_right=0.6, false_alarms=0.0, misses=0.0)
    drawn = draw_rollouts(model, 3000, 800, 2000, np.random.default_rng(6))
    found = fit_rollouts("recovering", drawn, model.observations, max_steps=T, intervals=False)
    assert found.recovery == pytest.approx(0.05, abs=0.02)
    assert found.weak_success[0] == pytest.approx(0.88, abs=0.012)
    assert found.repair == pytest.approx(0.7, abs=0.06)
    assert found.look_right == pytest.approx(0.6, abs=0.12)
    told = fit_rollouts("labels", drawn, model.observations, labels=True, max_steps=T, intervals=False)
    assert told.recovery == pytest.approx(0.05, abs=0.01)
    assert told.repair == pytest.approx(0.7, abs=0.04)


@pytest.mark.slow
def test_right_steps_may_score_lower_than_elsewhere() -> None:
    """Budgets follow how one's own right steps score."""
    plain = model_with(false_alarms=0.0, misses=0.0, look_right=0.88)
    bins = np.arange(plain.emission.shape[1]) / plain.emission.shape[1]
    weights = np.where(bins > 0.9, 0.6, 1.0)
    model = RoutingModel(plain.observations, plain.dynamics.replace(right_weights=tuple(weights.tolist())))
    assert np.array_equal(model.emission[2], plain.emission[2])
    drawn = draw_rollouts(model, 3000, 500, 1000, np.random.default_rng(8))
    found = fit_rollouts("weighted", drawn, plain.observations, max_steps=T, intervals=False)
    assert found.weak_success[0] == pytest.approx(0.88, abs=0.015)
    fitted, untold = (
        RoutingModel(plain.observations, found.replace(right_weights=weights))
        for weights in (found.right_weights, None)
    )
    for threshold in (0.8, 0.95):
        truth, told, wrong = (
            tp.evaluate(tp.ThresholdRule(threshold=threshold), item).regenerations for item in (model, fitted, untold)
        )
        assert abs(told - truth) < 0.75 * abs(wrong - truth)


def test_samples_in_which_hazards_are_alike_count_as_well() -> None:
    """Of few labelled solutions some samples have first errors end like others; they used to break the bootstrap."""
    model = tp.load_preset("lab-loop.prm").routing_model()
    few = draw_rollouts(model, 15, 15, 15, np.random.default_rng(0))
    found = fit_rollouts("few", few, model.observations, labels=True, max_steps=16, draws=10).fit
    assert found is not None
    assert "hazard_wrong.1" in found.intervals


def test_weights_of_other_bins_are_refused() -> None:
    model = model_with()
    wrong = model.dynamics.replace(right_weights=(1.0, 2.0))
    with pytest.raises(InputError, match="weigh 2 bins, but the observations have"):
        _ = RoutingModel(model.observations, wrong).emission
