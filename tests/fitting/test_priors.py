"""The prior: its densities against scipy's, where it puts what data leave open, and how it gives way."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime

from trim_pomdp.data.outcomes import PilotRow, StepCounts, StepCountsFile, read_pilot, read_step_counts
from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
from trim_pomdp.fitting.estimation import fit, prior_decides, profile_intervals
from trim_pomdp.fitting.likelihood import Pilot, StrongSteps, WeakSteps
from trim_pomdp.fitting.parameters import FALSE_ALARMS, PARAMETERS, SEQUENCE_CANDIDATES, Explanation
from trim_pomdp.fitting.priors import PRIORS, Prior
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.hazard import trials_from_counts
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.presets.store import load_preset

pytestmark = pytest.mark.slow  # minutes in all

WEAK, STRONG, OTHER = "qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct", "qwen3-8b"
TRUE_UNIT = 494.84
ACCURACY = Explanation("accuracy", "", ("weak_success", "strong_success", "repair"))
TYPICAL = {
    **{name: start for name, (_, _, start) in PARAMETERS.items()},
    "look_right": 0.8,
    "false_alarms": 0.2,
    "weak_success_slope": 0.1,
    "derailed_hazard_factor": 0.6,
    "recovery": 0.03,
}


# Densities ---------------------------------------------------------------------------------------------------


def test_shares_are_beta_and_ratios_log_normal() -> None:
    """Differences of log-densities are those of the distributions that the text names."""
    other = {**TYPICAL, "weak_success": 0.7, "strong_success": 0.9, "repair": 0.5, "false_alarms": 0.3, "misses": 0.2}
    other |= {"recovery": 0.1, "weak_tokens.wrong": 60.0, "strong_tokens.right": 40.0, "look_right": 0.6}

    def logits(p: float) -> float:
        return float(np.log(p / (1 - p)))

    expected = {
        "weak_success": lambda v: stats.beta(4.0, 1.5).logpdf(v["weak_success"]),
        "strong_success": lambda v: stats.beta(3.0, 1.1).logpdf(
            (v["strong_success"] - v["weak_success"]) / (1 - v["weak_success"])
        ),
        "repair": lambda v: stats.beta(2.0, 1.5).logpdf(v["repair"] / v["strong_success"]),
        "false_alarms": lambda v: stats.beta(1.0, 4.0).logpdf(v["false_alarms"]),
        "misses": lambda v: stats.beta(1.0, 10.0).logpdf(v["misses"]),
        "recovery": lambda v: stats.beta(1.0, 21.0).logpdf(v["recovery"]),
        "look_right": lambda v: stats.norm(0, 1.5).logpdf(logits(v["look_right"]) - logits(v["weak_success"])),
        "weak_tokens.wrong": lambda v: stats.norm(0, 0.7).logpdf(
            np.log(v["weak_tokens.wrong"] / v["weak_tokens.right"])
        ),
        "strong_tokens.right": lambda v: stats.norm(0, 0.5).logpdf(
            np.log(v["strong_tokens.right"] / v["weak_tokens.right"])
        ),
        "strong_tokens.wrong": lambda v: stats.norm(0, 0.5).logpdf(
            np.log(v["strong_tokens.wrong"] / v["strong_tokens.right"])
            - np.log(v["weak_tokens.wrong"] / v["weak_tokens.right"])
        ),
    }
    for name, density in expected.items():
        prior = Prior((name,))
        change = prior.log_likelihood(other) - prior.log_likelihood(TYPICAL)
        assert change == pytest.approx(density(other) - density(TYPICAL), abs=1e-9), name


@pytest.mark.parametrize("moved", [{}, {"strong_success": 0.85}, {"repair": 0.99, "misses": 1e-4}])
def test_slopes_are_those_of_the_density(moved: dict[str, float]) -> None:
    """Beyond an order (p_s below p_w, p_r above p_s) too, where the density goes on."""
    values = {**TYPICAL, **moved}
    names = tuple(PRIORS)
    prior = Prior(names)
    every = tuple(values)

    def density(x: np.ndarray) -> float:
        return prior.log_likelihood(dict(zip(every, x.tolist(), strict=True)))

    found = prior.slopes(values)[1]
    point = np.array([values[name] for name in every])
    numeric = approx_fprime(point, density, 1e-8)
    for name, slope in zip(every, numeric, strict=True):
        assert found.get(name, 0.0) == pytest.approx(slope, rel=1e-3, abs=1e-3), name


def test_fixed_and_tied_parameters_have_no_factor() -> None:
    tied = fit(SEQUENCE_CANDIDATES[0], [WeakSteps(90, 10)], prior=True)
    assert tied.prior == Prior(("weak_success",))
    assert tied.free["weak_success"] == pytest.approx(93 / 103.5, abs=1e-5)


# Giving way, and deciding ------------------------------------------------------------------------------------


def test_step_counts_alone_leave_the_split_to_the_prior() -> None:
    """p̄ is told to a thousandth; where p_s and p_r lie on that line, the prior says."""
    found = fit(ACCURACY, [WeakSteps(8700, 1300), StrongSteps(9700, 300)], prior=True)
    p_w, p_s, p_r = found.free.values()
    assert p_w * p_s + (1 - p_w) * p_r == pytest.approx(0.97, abs=1e-3)
    assert p_w < p_s < 1.0
    assert p_r < p_s
    decided = prior_decides(found)
    assert "weak_success" not in decided
    assert {"strong_success", "repair"} & set(decided)
    spans = profile_intervals(found)
    assert not spans["repair"].identified


def test_enough_data_overrule_an_order() -> None:
    found = fit(ACCURACY, [WeakSteps(900_000, 100_000), StrongSteps(700_000, 300_000)], prior=True)
    assert found.free["strong_success"] * 0.9 + found.free["repair"] * 0.1 == pytest.approx(0.7, abs=0.01)


def test_without_a_prior_nothing_is_decided_by_it() -> None:
    assert prior_decides(fit(ACCURACY, [WeakSteps(870, 130), StrongSteps(970, 30)])) == ()


# Pilots that lack rows ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def observations() -> ObservationModel:
    return load_preset("qwen2.5-1.5b-7b-math").observations


@pytest.fixture(scope="module")
def rows(shared) -> list[PilotRow]:  # type: ignore[no-untyped-def]
    return read_pilot(shared / "data" / "trim_measured_thr.jsonl")


@pytest.fixture(scope="module")
def counts(shared) -> StepCountsFile:  # type: ignore[no-untyped-def]
    return read_step_counts(shared / "data" / "trim_step_counts.json.gz")


def fitted(
    observations: ObservationModel,
    rows: list[PilotRow],
    weak: StepCounts,
    strong: StepCounts,
    explanation: str = "best",
) -> StepDynamics:
    return fit_dynamics(
        "x",
        Sources(weak_counts=weak, strong_counts=strong, pilot=rows),
        observations,
        explanation=explanation,
        rivals=explanation == "best",
        intervals=False,
    )


def check_orders(dynamics: StepDynamics) -> None:
    assert dynamics.strong_success is not None
    assert dynamics.repair is not None
    assert dynamics.weak_success[0] <= dynamics.strong_success
    assert dynamics.repair <= dynamics.strong_success
    assert dynamics.weak_tokens is not None
    assert dynamics.strong_tokens is not None
    for tokens in (dynamics.weak_tokens.array, dynamics.strong_tokens.array):
        assert tokens.max() < 10 * tokens.min()


def test_a_pilot_of_low_thresholds_plans_for_the_pair_that_it_is(observations, rows, counts) -> None:  # type: ignore[no-untyped-def]
    """Issue 15: p_s was .597 (or less), strong-only accuracy .06 and the unit 1,226 tokens; and nothing was said."""
    found = fitted(observations, [row for row in rows if row.threshold <= 0.3], counts.of(WEAK), counts.of(STRONG))
    check_orders(found)
    assert found.strong_only_tokens == pytest.approx(TRUE_UNIT, rel=0.1)
    assert found.fit is not None
    strong = next(c for c in found.fit.checks if c.quantity.startswith("strong-only"))
    assert strong.implied == pytest.approx(0.73, abs=0.1)
    assert found.warnings[0].startswith("no strong-only row")
    assert "measure the strong-only row (threshold 1) and add it to --pilot" in found.warnings[0]
    assert "strong_success" in found.fit.prior_decides


@pytest.mark.parametrize("thresholds", [(0.2,), (0.0, 0.3), (0.95,), (0.0,), (1.0,)], ids=str)
def test_few_rows_stay_where_pairs_live(observations, rows, counts, thresholds) -> None:  # type: ignore[no-untyped-def]
    few = [row for row in rows if row.threshold in thresholds]
    found = fitted(observations, few, counts.of(WEAK), counts.of(STRONG), "false-alarms")
    check_orders_where_told(found)
    assert (1.0 in thresholds) != any("measure the strong-only row" in line for line in found.warnings)
    if found.strong_only_tokens is not None:
        assert found.strong_only_tokens == pytest.approx(TRUE_UNIT, rel=0.25)


def check_orders_where_told(dynamics: StepDynamics) -> None:
    """A row at threshold 0 alone tells no tokens of the strong model."""
    assert dynamics.strong_success is not None
    assert dynamics.weak_success[0] <= dynamics.strong_success
    assert dynamics.repair is not None
    assert dynamics.repair <= dynamics.strong_success


@pytest.fixture(scope="module")
def whole(observations, rows, counts) -> StepDynamics:  # type: ignore[no-untyped-def]
    return fitted(observations, rows, counts.of(WEAK), counts.of(STRONG), "false-alarms")


@pytest.mark.parametrize("left_out", [0.0, 1.0])
def test_the_other_rows_make_up_for_an_end(observations, rows, counts, whole, left_out) -> None:  # type: ignore[no-untyped-def]
    found = fitted(
        observations, [r for r in rows if r.threshold != left_out], counts.of(WEAK), counts.of(STRONG), "false-alarms"
    )
    check_orders(found)
    assert found.strong_only_tokens == pytest.approx(TRUE_UNIT, rel=0.1)
    assert found.fit is not None
    assert whole.fit is not None
    for mine, theirs in zip(found.fit.checks[-2:], whole.fit.checks[-2:], strict=True):
        assert mine.quantity == theirs.quantity  # accuracy of weak-only and strong-only
        assert mine.implied == pytest.approx(theirs.implied, abs=0.1)


def test_step_counts_of_other_models_are_contradicted(observations, rows, counts) -> None:  # type: ignore[no-untyped-def]
    few = [row for row in rows if row.threshold <= 0.3]
    found = fitted(observations, few, counts.of(STRONG), counts.of(OTHER), "false-alarms")
    check_orders(found)
    assert found.warnings
    assert "the step counts say" in found.warnings[0]
    assert "z = " in found.warnings[0]
    assert found.warnings[0].count("\n") == 0
    seven = [row for row in rows if row.threshold in (0.0, 0.05, 0.2, 0.4, 0.6, 0.9, 1.0)]
    whole = fitted(observations, seven, counts.of(STRONG), counts.of(OTHER), "false-alarms")
    assert any("see whether the step counts are of these two models" in line for line in whole.warnings)


def test_the_whole_pilot_hardly_notices_the_prior(observations, rows, counts) -> None:  # type: ignore[no-untyped-def]
    """Estimates move by a small part of their standard errors, and intervals are as they were."""
    hazard = trials_from_counts(counts.of(WEAK), 30).estimate()
    pilot = Pilot.of(rows, observations, hazard, labelled=False)
    with_prior, without = (fit(FALSE_ALARMS, [pilot], n_starts=1, prior=prior) for prior in (True, False))
    core = ("weak_success", "strong_success", "repair", "false_alarms")
    spans = profile_intervals(without, names=core)
    for name in core:
        error = (spans[name].high - spans[name].low) / (2 * 1.96)
        assert abs(with_prior.free[name] - without.free[name]) < 0.3 * error, name
    assert not {*core} & {*prior_decides(with_prior)}
    again = profile_intervals(with_prior, names=("repair",))["repair"]
    assert (again.low, again.high) == pytest.approx((spans["repair"].low, spans["repair"].high), abs=0.01)
