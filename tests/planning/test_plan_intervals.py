"""Intervals of plans: the same policy in the model of every draw, against models written down with these values."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS

import trim_pomdp as tp
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.dynamics import Sources, fit_dynamics
from trim_pomdp.model.draws import Draws
from trim_pomdp.model.dynamics import FitReport, StepDynamics
from trim_pomdp.model.redrafts import Tilts
from trim_pomdp.planning.evaluation import mix
from trim_pomdp.planning.frontier import Frontier, solve_frontier
from trim_pomdp.planning.frontier_artifact import FrontierArtifact
from trim_pomdp.planning.intervals import drawn_models, intervals_of, planned_intervals, with_intervals
from trim_pomdp.planning.plots import plot_frontier
from trim_pomdp.planning.synthetic import draw_rollouts
from trim_pomdp.policies import PlannedPoint, StrategyRule, ThresholdRule

UNIT = MODEL.strong_only_tokens
REPAIRS = (0.5, 0.6, 0.65, 0.75, 0.8, 0.9)  # as 32-bit floats hold them, or nearly


def with_draws(dynamics: StepDynamics, draws: list[StepDynamics]) -> StepDynamics:
    kept = Draws.of([item.model_dump() for item in draws])
    report = FitReport(explanation="by hand", sources=(), log_likelihood=0.0, draws=kept)
    return dynamics.model_copy(update={"fit": report, "strong_only_tokens": UNIT})


@pytest.fixture(scope="module")
def model() -> tp.RoutingModel:
    draws = [DYNAMICS.replace(repair=value, weak_success=(0.8 + value / 10,)) for value in REPAIRS]
    return tp.RoutingModel(OBSERVATIONS, with_draws(DYNAMICS, draws))


@pytest.fixture(scope="module")
def frontier(model: tp.RoutingModel) -> Frontier:
    return with_intervals(solve_frontier(model, 25, threads=1), 5, threads=1)


def expected(policy: object, model: tp.RoutingModel, name: str) -> list[float]:
    """In models written down with the values of the draws."""
    found = []
    for value in REPAIRS:
        dynamics = DYNAMICS.replace(repair=value, weak_success=(0.8 + value / 10,), strong_only_tokens=UNIT)
        found.append(getattr(tp.evaluate(policy, tp.RoutingModel(OBSERVATIONS, dynamics)), name))  # type: ignore[arg-type]
    return found


# Draws -------------------------------------------------------------------------------------------------------


def test_draws_come_back_as_they_went_in() -> None:
    full = DYNAMICS.replace(
        weak_success=(0.9, 0.8, 0.7, 0.75, 0.5, 0.25),
        redraft_repair=0.25,
        redraft_same={"right": 0.5, "derailed": 0.25, "wrong": 0.125},
        redraft_tilt=Tilts(right=(0.5, 0.25), derailed=(1.0, 0.0), wrong=(-1.0, -0.5)),
    )
    bare = DYNAMICS.replace(repair=0.5)
    first, second = with_draws(DYNAMICS, [full, bare]).drawn
    for drawn, meant in ((first, full), (second, bare)):
        for name in ("weak_success", "repair", "hazard", "hazard_wrong", "redraft_repair", "redraft_same"):
            near = pytest.approx(getattr(meant, name), abs=1e-6) if name != "redraft_same" else getattr(meant, name)
            assert getattr(drawn, name) == near
    assert first.redraft_tilt == full.redraft_tilt
    assert second.redraft_tilt is None


def test_what_a_draw_does_not_tell_is_as_fitted() -> None:
    fitted = DYNAMICS.replace(redraft_repair=0.3)
    (drawn,) = with_draws(fitted, [DYNAMICS.replace(repair=0.5)]).drawn
    assert (drawn.redraft_repair, drawn.repair, drawn.strong_only_tokens) == (0.3, 0.5, UNIT)
    assert drawn.fit is None


def test_dynamics_without_draws_are_written_as_ever(tmp_path: Path) -> None:
    report = FitReport(explanation="by hand", sources=(), log_likelihood=0.0)
    dynamics = DYNAMICS.model_copy(update={"fit": report})
    path = dynamics.save(tmp_path / "dynamics.json")
    assert "draws" not in path.read_text()
    assert StepDynamics.read(path).drawn == ()
    assert "intervals" not in tp.evaluate(StrategyRule(strategy="weak"), MODEL).model_dump()


def test_draws_go_through_a_file_and_are_lost_with_the_fit(model: tp.RoutingModel, tmp_path: Path) -> None:
    again = StepDynamics.read(model.dynamics.save(tmp_path / "dynamics.json"))
    assert again == model.dynamics
    assert again.drawn == model.dynamics.drawn
    assert again.replace(repair=0.1).drawn == ()
    assert again.without_draws.drawn == ()
    assert again.without_draws.fit is not None


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        (("repair",), "no base64!", "values are no base64"),
        (("repair", "recovery"), base64.b64encode(bytes(12)).decode(), "hold 12 bytes; expected a multiple of 8"),
        (("repair",), "", "hold 0 bytes"),
        (("repairs",), base64.b64encode(bytes(4)).decode(), "columns name repairs; draws are of weak_success"),
        (("repair",), base64.b64encode(np.float32(np.inf).tobytes()).decode(), "infinities"),
    ],
)
def test_files_whose_draws_are_not_right(
    model: tp.RoutingModel, tmp_path: Path, columns: tuple[str, ...], values: str, message: str
) -> None:
    document = json.loads(model.dynamics.model_dump_json())
    document["fit"]["draws"] = {"columns": columns, "values": values}
    path = tmp_path / "dynamics.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        StepDynamics.read(path)


# Through plans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [ThresholdRule(threshold=0.6), StrategyRule(strategy="weak")])
def test_ends_are_those_of_models_with_these_values(model: tp.RoutingModel, rule: ThresholdRule | StrategyRule) -> None:
    # Of six draws the ends of a 5/7 interval are the lowest and the highest one.
    found = planned_intervals(rule, model, level=5 / 7, threads=1)
    assert found.draws == len(REPAIRS)
    for name in ("accuracy", "budget", "regenerations"):
        values = expected(rule, model, name)
        assert getattr(found, name) == pytest.approx((min(values), max(values)), abs=1e-6)


def test_graphs_tell_what_rules_do(model: tp.RoutingModel) -> None:
    policy = tp.policy_for_budget(model, 0.3)
    assert policy.planned is not None
    by_graph, by_rule = policy.planned.intervals, planned_intervals(policy, model, threads=1)
    assert by_graph is not None
    for name in ("accuracy", "budget", "regenerations"):
        assert getattr(by_graph, name) == pytest.approx(getattr(by_rule, name), abs=2e-3)
    assert policy.weak_only is not None
    assert policy.weak_only.intervals == planned_intervals(StrategyRule(strategy="weak"), model, threads=1)


def test_the_unit_of_the_budget_stays_as_fitted(model: tp.RoutingModel) -> None:
    assert {drawn.strong_only_tokens for drawn in drawn_models(model)} == {UNIT}
    strong = tp.policy_for_budget(model, 0.3).strong_only
    assert strong is not None
    assert strong.intervals is not None
    low, high = strong.intervals.budget
    assert low < strong.budget < high, "what strong-only spends is not known either"


def test_policies_keep_their_intervals(model: tp.RoutingModel, tmp_path: Path) -> None:
    policy = tp.policy_for_budget(model, 0.3)
    assert tp.PolicyArtifact.read(policy.save(tmp_path / "policy.json")) == policy
    without = tp.policy_for_budget(tp.RoutingModel(OBSERVATIONS, model.dynamics.without_draws), 0.3)
    assert without.planned is not None
    assert policy.planned is not None
    assert without.planned == policy.planned.model_copy(update={"intervals": None})
    assert without.policy == policy.policy
    mixed = mix(policy.planned, policy.planned, 0.5)
    assert mixed.intervals is None, "ends of intervals cannot be averaged"


def test_frontiers_with_intervals(frontier: Frontier, tmp_path: Path) -> None:
    known = frontier.with_spans
    assert known[0] is frontier.weak_only
    assert 4 <= len(known) <= 6
    assert frontier.last in known
    for point in known:
        assert point.intervals is not None
        low, high = point.intervals.accuracy
        assert low <= point.accuracy <= high
        assert frontier.accuracy_span(point.budget) == pytest.approx((low, high), abs=2e-3)
    artifact = FrontierArtifact.of(frontier, ())
    again = FrontierArtifact.read(artifact.save(tmp_path / "frontier.json"))
    assert again == artifact
    assert sum(row.intervals is not None for row in again.points) == len(known) - 1
    document = json.loads((tmp_path / "frontier.json").read_text())
    assert sum("intervals" in row for row in document["points"]) == len(known) - 1


def test_the_band_is_drawn(frontier: Frontier) -> None:
    (axis,) = plot_frontier(frontier, ()).axes
    (band,) = axis.collections
    assert band.get_label() == "95 % interval of planned accuracy"
    corners = band.get_paths()[0].vertices
    ends = [end for point in frontier.with_spans if point.intervals for end in point.intervals.accuracy]
    assert {round(float(y), 9) for _, y in corners} == {round(end, 9) for end in ends}


def test_a_frontier_without_intervals_has_no_band(model: tp.RoutingModel) -> None:
    plain = solve_frontier(model, 5, threads=1)
    assert plain.accuracy_span(0.2) is None
    assert not plot_frontier(plain, ()).axes[0].collections


def test_intervals_hold_what_was_planned() -> None:
    point = PlannedPoint(accuracy=0.9, strong_tokens=10.0, regenerations=1.0, budget=0.2)
    found = intervals_of(point, np.full((10, 3), 0.25), 50.0)
    assert found.accuracy == (0.9, 1.0), "stretched on one side, cut off on the other"
    assert found.budget == pytest.approx((0.2, 0.205))
    assert found.regenerations == (1.0, 1.25)


def test_ends_leave_out_their_share() -> None:
    """Of 99 exchangeable draws and the truth, the ends of a 90 % interval are the fifth on either side."""
    point = PlannedPoint(accuracy=0.5, strong_tokens=10.0, regenerations=1.0, budget=0.2)
    moved = np.tile(np.linspace(-0.49, 0.49, 99)[:, None], 3)
    assert intervals_of(point, moved, 50.0, level=0.9).accuracy == pytest.approx((0.5 - 0.45, 0.5 + 0.45))


def test_what_is_refused(model: tp.RoutingModel) -> None:
    rule = ThresholdRule(threshold=0.5)
    with pytest.raises(InputError, match=r"'small' hold no draws.*fit-dynamics --rollouts"):
        planned_intervals(rule, MODEL)
    with pytest.raises(InputError, match="level is 95; expected a share"):
        planned_intervals(rule, model, level=95.0)
    with pytest.raises(InputError, match="1 points with intervals; expected at least 2"):
        with_intervals(solve_frontier(model, 3, threads=1), 1)


# From rollouts -----------------------------------------------------------------------------------------------


def fitted(rollouts: Rollouts, **options: object) -> StepDynamics:
    return fit_dynamics("small", Sources(rollouts=rollouts), OBSERVATIONS, max_steps=6, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_fit_keeps_its_draws() -> None:
    rollouts = draw_rollouts(MODEL, 60, 60, 60, np.random.default_rng(0))
    dynamics = fitted(rollouts, draws=40, seed=1)
    report = dynamics.fit
    assert report is not None
    assert report.draws is not None
    assert len(report.draws) == 40
    # Structures are drawn as well: recovery is free in some, and so are the false alarms.
    for name in ("recovery", "false_alarms"):
        column = report.draws.array[:, report.draws.columns.index(name)]
        assert 0 < np.mean(column == 0.0) < 1, name
    assert dynamics == fitted(rollouts, draws=40, seed=1), "the same by the same seed"
    plain = fitted(rollouts, intervals=False)
    assert plain.fit is not None
    assert plain.fit.draws is None


def test_draws_that_cannot_be_had() -> None:
    rollouts = draw_rollouts(MODEL, 20, 20, 20, np.random.default_rng(0))
    with pytest.raises(InputError, match="20 draws; expected at least 39"):
        fitted(rollouts, draws=20)
    with pytest.raises(InputError, match="draws are what intervals come from"):
        fitted(rollouts, draws=50, intervals=False)
    with pytest.raises(InputError, match="draws are of dynamics from rollouts"):
        fit_dynamics("small", Sources(), OBSERVATIONS, draws=50)
