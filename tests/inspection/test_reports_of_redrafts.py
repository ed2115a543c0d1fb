"""Reports of runs whose steps are drafted again, recalled and taken over: told beside the rest, and only there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_runs import DRAFTY, RULE, drafty_rule, made
from scripted import PRICES

from trim_pomdp.inspection.comparison import compare_runs
from trim_pomdp.inspection.drawing import policy_state
from trim_pomdp.inspection.pictures import plot_inspection
from trim_pomdp.inspection.policy_maps import policy_map_state
from trim_pomdp.inspection.report import report_document
from trim_pomdp.inspection.runs import RecordedRun, read_run
from trim_pomdp.inspection.solutions import Inspection
from trim_pomdp.planning.plots import plot_policy_map
from trim_pomdp.runtime.live import LivePlan, Outcome, plan_from_file, result_document


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("report") / "drafty", drafty_rule(), n=60, prices=PRICES, model=DRAFTY)


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


# Words and marks ------------------------------------------------------------------------------------------------


def legends(inspection: Inspection) -> list[str]:
    keys = [axes.get_legend() for axes in plot_inspection(inspection).axes]
    return [text.get_text() for key in keys if key is not None for text in key.get_texts()]


def with_action(run: RecordedRun, name: str) -> Inspection:
    found = (item for item in run.solutions if name in [step.action for step in item.decisions])
    return run.inspect(next(found).terminal.problem)


@pytest.mark.parametrize(("name", "done"), [("recall", "recalled"), ("takeover", "taken over")])
def test_pictures_tell_what_was_done(drafty: RecordedRun, name: str, done: str) -> None:
    look = with_action(drafty, name)
    assert name in [step.action for step in look.steps]
    shown = legends(look)
    assert f"gain, {done}" in shown
    assert "intervenes" in shown
    assert "regenerates" not in shown


def test_the_picture_begins_with_a_step_that_was_not_kept(drafty: RecordedRun) -> None:
    look = with_action(drafty, "recall")
    first = next(index for index, step in enumerate(look.steps) if step.action != "keep")
    assert any(axes.get_title(loc="left").startswith(f"Step {first + 1}: ") for axes in plot_inspection(look).axes)


def test_what_the_strong_model_wrote_after_taking_over_counts(drafty: RecordedRun) -> None:
    look = with_action(drafty, "takeover")
    assert look.end is not None
    assert look.facts()["regenerations"] == look.end.regenerations > 1


@pytest.mark.parametrize(("which", "verb"), [("drafty", "intervene"), ("plain", "regenerate")])
def test_maps_say_what_any_action_does(drafty: RecordedRun, which: str, verb: str) -> None:
    assert drafty.policy is not None
    rule, does = drafty.policy.policy if which == "drafty" else RULE, f"{verb}s"
    state = policy_map_state(rule)
    assert (state["verb"], state["does"], policy_state(rule)["verb"]) == (verb, does, verb)
    figure = plot_policy_map(rule)
    assert figure.get_suptitle() == f"Where the policy {does}, if the solution goes on"
    assert figure.axes[-1].get_ylabel().endswith(f"blue: {verb}")


def test_of_two_actions_words_are_as_ever(plain: RecordedRun, drafty: RecordedRun) -> None:
    shown = legends(with_action(plain, "regenerate"))
    assert "gain, regenerated" in shown
    assert "regenerates" in shown
    words = [dict(report_document(run)["glossary"]) for run in (plain, drafty)]
    assert "by the strong model" in words[0]["gain"]
    assert "by the strong model" not in words[1]["gain"]
    assert set(words[1]) - set(words[0]) == {"redrafted, recalled", "taken over"}


def test_the_command_line_tells_the_error_of_redrafts(folder: Path, drafty: RecordedRun, run_cli: Any) -> None:
    code, out, _ = run_cli("inspect", folder)
    assert code == 0
    row = next(line for line in out.splitlines() if "redrafts" in line)
    planned = plan_of(drafty).artifact.planned
    assert planned is not None
    numbers = [float(word) for word in row.split() if word[0].isdigit()]
    expected = [planned.redrafts, drafty.summary.redrafts, drafty.summary.redrafts_se]
    assert numbers == pytest.approx(expected, rel=1e-3)
