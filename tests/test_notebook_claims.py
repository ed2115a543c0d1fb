"""Numbers that stand in the prose of notebooks, made anew; and notebooks on data run without them too."""

from pathlib import Path

import numpy as np
import pytest
from test_notebooks import FOLDER, executed

import trim_pomdp as tp
from solvers import EpochSolution, solve_epochs
from solvers.examples import maze, tiger
from trim_pomdp.data.processbench import class_features
from trim_pomdp.data.scored_texts import read_scored_texts
from trim_pomdp.fitting.assessment import judge_filters
from trim_pomdp.fitting.observations import compare_all
from trim_pomdp.inspection.examples import SCORES, example_records
from trim_pomdp.inspection.prms import compare_prms
from trim_pomdp.inspection.rivals import AS_LABELLED, AS_PLANNED, rival_rules, side_by_side
from trim_pomdp.inspection.solutions import edit, inspect_solution

CLEAN = {"weak_success": (0.95,), "look_right": 0.95, "false_alarms": 0.0}

# 06_pomdps_beyond_routing ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ten() -> EpochSolution:
    return solve_epochs(tiger().finite_horizon(10), gap=1e-6)


def opens_from(solution: EpochSolution, to_go: int) -> float:
    """Least belief in the tiger on the left from which the right door is opened."""
    share = np.linspace(0.5, 1.0, 2001)
    actions = solution.policy.action(10 - to_go, np.stack([share, 1.0 - share], axis=1))
    return float(share[actions == 2][0])


def test_the_tiger(ten: EpochSolution) -> None:
    assert ten.lower == pytest.approx(6.693368, abs=1e-6)
    assert ten.sweeps == 6
    assert len(ten.vectors(9)) == 3
    assert opens_from(ten, 1) == pytest.approx(0.9, abs=0.001)
    assert (round(opens_from(ten, 4), 2), round(opens_from(ten, 3), 2)) == (0.93, 0.99)
    assert all(opens_from(ten, to_go) > 0.901 for to_go in range(2, 11))


def test_how_often_the_tiger_must_be_heard(ten: EpochSolution) -> None:
    odds = (0.85 / 0.15) ** np.array([1, 2, 3])
    heard = odds / (1.0 + odds)
    assert round(heard[1], 2) == 0.97
    for to_go in range(1, 11):
        needed = 3 if to_go in (5, 3, 2) else 2
        assert heard[needed - 2] < opens_from(ten, to_go) <= heard[needed - 1], to_go


def test_the_maze() -> None:
    rows = ["A...B", "##.##", "#?S##"]
    walk = solve_epochs(maze(rows).finite_horizon(20), gap=1e-4)
    still_open = [round(r.upper - r.lower, 1) for r in walk.rounds]
    assert still_open[8] == 6.0
    assert still_open[-2:] == [0.0, 0.0]
    blind = solve_epochs(maze(rows, reading=0.5).finite_horizon(20), gap=1e-4)
    assert blind.lower == pytest.approx(-10.0 - 4.0 / 0.9, abs=0.01)
    assert round(4.0 / 0.9, 1) == 4.4
    assert round(walk.lower - blind.lower, 1) == 25.6


# 02_belief_inspector --------------------------------------------------------------------------------------------


def test_the_missed_error() -> None:
    example = example_records()["missed error"]
    seen = inspect_solution(example.record, example.policy)
    third = seen.steps[2]
    assert (third.true_class, third.action) == (2, "keep")
    assert (round(third.score or 0.0, 3), round(third.evidence or 0.0, 2)) == (0.995, 0.83)
    assert round(third.flip_score or 0.0, 2) == 0.57
    assert round(seen.q_end or 0.0, 2) == 0.96
    changed = edit(seen, 2, score=0.5)
    assert changed.steps[2].action == "regenerate"
    assert [step.hypothetical for step in changed.steps] == [False, False, False, *[True] * 5]


def test_the_solution_that_was_made_worse() -> None:
    example = example_records()["made worse"]
    seen = inspect_solution(example.record, example.policy)
    assert [step.action for step in seen.steps].index("regenerate") == 5
    assert [step.true_class for step in seen.steps] == [0] * 6 + [1] * 10
    assert [round(seen.steps[index].q, 2) for index in (6, 9, 10, 11)] == [0.87, 0.71, 0.01, 0.0]


def test_the_filter_that_forgets() -> None:
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    dynamics = preset.dynamics.model_copy(update=CLEAN)
    never = tp.policy_for_tradeoff(tp.RoutingModel(preset.observations, dynamics), 3.0).policy
    assert isinstance(never, tp.AlphaVectorRule)
    rivals = rival_rules(never, preset.observations, dynamics)
    scores = [1.0, 1.0, 1.0, 0.98, 1.0, 1.0, 0.95, 1.0, 1.0, 1.0]
    looks = {name: edit(inspect_solution(scores, rivals[name]), 2, score=0.02) for name in (AS_PLANNED, AS_LABELLED)}
    assert {step.action for look in looks.values() for step in look.steps} == {"keep"}
    table = side_by_side(looks)
    assert [round(table[name][2], 2) for name in looks] == [0.12, 0.12]
    assert [round(table[name][9], 2) for name in looks] == [0.12, 0.99]


def test_what_forgetting_costs_on_real_rollouts(shared: Path) -> None:
    preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    dynamics = preset.dynamics.model_copy(update=CLEAN)
    labelled = dynamics.model_copy(update={"derailed_emission": "labelled"})
    sequences = tp.read_sequences(shared / "data" / "math500_sequences_dev.jsonl.gz")
    scores = judge_filters(sequences, preset.observations, {AS_PLANNED: dynamics, AS_LABELLED: labelled})
    assert {name: round(score.log_loss, 2) for name, score in scores.items()} == {AS_PLANNED: 0.26, AS_LABELLED: 1.65}
    share = np.mean([item.correct for item in sequences])
    assert -share * np.log(share) - (1 - share) * np.log(1 - share) == pytest.approx(0.58, abs=0.005)


def test_the_real_rollout(shared: Path) -> None:
    solution = read_scored_texts(shared / "data" / "math500_rollouts_dev.jsonl.gz")["test/precalculus/681.json#1"]
    assert "By trial" in solution.steps[7]
    assert [round(float(score), 2) for score in solution.scores[7:]] == [0.02, 0.82, 0.91, 1.0, 1.0]
    assert "{64}" in solution.steps[-1]


# 03_observation_models ------------------------------------------------------------------------------------------


def test_the_table_of_scores() -> None:
    features = class_features(tp.read_step_scores(SCORES), "my-prm")
    mine = tp.fit_observations("my PRM", features)
    assert [mine.diagnostics[f"n_{name}"] for name in ("S0", "S2", "S1")] == [807, 122, 432]
    assert mine.evidence is None  # the score alone, unless more is asked for
    held_out = compare_all(features)
    density, prm, logprob, both = (
        {row.name: row for row in held_out["comparison"].rows},
        *held_out["evidence"].rows,
    )
    losses = [density[name].log_loss.value for name in ("likelihood-ratio", "histogram", "reflected-kde")]
    assert losses == sorted(losses)
    assert (round(prm.auc.value, 2), round(prm.auc.standard_error, 3)) == (0.93, 0.010)
    rows = (prm, logprob, both)
    assert [round(row.log_loss.value, 2) for row in rows] == [0.21, 0.18, 0.17]


def test_what_log_probabilities_are_worth_in_the_plan() -> None:
    names = ("lab-mixed.prm", "lab-mixed.prm+logprob")
    planned = [tp.policy_for_budget(tp.load_preset(name).routing_model(), 0.2).planned for name in names]
    accuracies = [point.accuracy for point in planned if point is not None]
    assert [round(value, 3) for value in accuracies] == [0.633, 0.654]


def test_the_false_alarms_of_the_preset() -> None:
    assert round(tp.load_preset("qwen2.5-1.5b-7b-math").dynamics.false_alarms, 3) == 0.265


def test_real_prms(shared: Path) -> None:
    table = compare_prms(tp.read_step_scores(shared / "data" / "processbench_prm_scores.jsonl.gz"))
    assert [round(value, 2) for value in table["auc"]] == [0.96, 0.92, 0.81, 0.76]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["02_belief_inspector", "03_observation_models"])
def test_notebooks_on_data_say_so_where_there_are_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbclient")
    monkeypatch.setenv("TRIM_POMDP_SHARED", str(tmp_path))
    shown = [
        output.get("data", {}).get("text/markdown", "") for _, output in executed(FOLDER / f"{name}.ipynb", tmp_path)
    ]
    assert any("Without real data" in text for text in shown)
