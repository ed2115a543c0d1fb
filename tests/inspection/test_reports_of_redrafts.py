"""Reports of runs whose steps are drafted again, recalled and taken over: told beside the rest, and only there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_runs import made
from scripted import DYNAMICS, OBSERVATIONS, PRICES

from solvers import solve_epochs
from trim_pomdp.inspection.comparison import compare_runs
from trim_pomdp.inspection.report import report_document
from trim_pomdp.inspection.runs import RecordedRun, read_run
from trim_pomdp.model.dynamics import Shares
from trim_pomdp.model.prices import Tariff
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import rule_from_solution
from trim_pomdp.runtime.live import LivePlan, Outcome, plan_from_file, result_document

MODEL = RoutingModel(
    OBSERVATIONS,
    DYNAMICS.replace(weak_success=(0.7,), redraft_repair=0.4, redraft_same=Shares(right=0.5, derailed=0.4, wrong=0.3)),
    actions=("keep", "regenerate", "redraft", "takeover", "recall"),
    max_drafts=3,
    tariff=Tariff.of(PRICES, 40.0),
)
RATE = 3e3  # at which all five have their uses


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    solution = solve_epochs(MODEL.epoch_model, MODEL.weights(RATE, "money"), gap=1e-2)
    rule = rule_from_solution(solution, MODEL, RATE, "money")
    return made(tmp_path_factory.mktemp("report") / "drafty", rule, n=60, prices=PRICES, model=MODEL)


@pytest.fixture(scope="module")
def drafty(folder: Path) -> RecordedRun:
    return read_run(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return read_run(made(tmp_path_factory.mktemp("report") / "plain", n=20))


def plan_of(run: RecordedRun) -> LivePlan:
    assert run.policy is not None
    return plan_from_file(run.policy, None)


def test_redrafts_are_told_with_their_error(drafty: RecordedRun) -> None:
    summary, plan = drafty.summary, plan_of(drafty)
    counts = np.array([item.terminal.redrafts for item in drafty.solutions])
    assert summary.redrafts == pytest.approx(counts.mean())
    assert summary.redrafts_se == pytest.approx(counts.std(ddof=1) / len(counts) ** 0.5)
    planned = plan.artifact.planned
    assert planned is not None
    assert planned.redrafts is not None
    result = result_document(summary, plan)
    assert (result["redrafts"], result["redrafts_se"]) == (summary.redrafts, summary.redrafts_se)
    assert result["planned"]["redrafts"] == planned.redrafts
    row = Outcome.of(summary, plan).rows[-1]
    assert row[:4] == ("redrafts", planned.redrafts, summary.redrafts, summary.redrafts_se)
    assert sum(drafty.problems["redrafts"]) == counts.sum() > 0


def test_the_report_has_them_beside_the_rest(folder: Path, drafty: RecordedRun) -> None:
    document = report_document([folder, folder])
    run = document["runs"][0]
    row = next(row for row in run["outcome"] if row["quantity"] == "redrafts")
    assert (row["name"], row["measured"]) == ("redrafts", drafty.summary.redrafts)
    assert row["planned"] == run["result"]["planned"]["redrafts"]
    low, high = row["interval"]
    assert low < row["measured"] < high
    assert "redrafts" in [row["name"] for row in document["comparison"][0]["rows"]]
    purposes = [row["purpose"] for row in run["tokens"]] + [row["purpose"] for row in run["money"]["rows"]]
    assert purposes.count("steps discarded") == 2
    assert "steps regenerated" not in purposes


def test_a_plan_with_redrafts_is_told_where_none_came(drafty: RecordedRun) -> None:
    """As one whose first problems all looked well."""
    nothing, plan = replace(drafty.summary, redrafts=0.0, redrafts_se=0.0), plan_of(drafty)
    assert result_document(nothing, plan)["redrafts"] == 0.0
    assert Outcome.of(nothing, plan).rows[-1][0] == "redrafts"


def test_runs_without_redrafts_say_nothing_of_them(plain: RecordedRun) -> None:
    def words(value: Any) -> str:
        return str(value).lower()

    summary, plan = plain.summary, plan_of(plain)
    assert "redraft" not in words(result_document(summary, plan))
    assert "redraft" not in words(Outcome.of(summary, plan).rows)
    assert "redraft" not in words(report_document(plain)["runs"][0])
    assert "redraft" not in words(plain.problems)
    ends = [item.terminal for item in plain.solutions]
    assert "redrafts" not in compare_runs(ends, ends).differences
