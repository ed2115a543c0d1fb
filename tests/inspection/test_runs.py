"""Runs as frames: against what the engine recorded and what is counted by hand; filters, calibration, spending."""

import sys
from pathlib import Path

import pytest
from scripted import MODEL, OBSERVATIONS, PRICES, alpha_rule, dummy_models, recorded

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.assessment import calibration, decisions_by_step, spending_by_class
from trim_pomdp.inspection.frames import Columns, frame
from trim_pomdp.inspection.runs import RecordedRun, expense, inspect_run, read_run
from trim_pomdp.policies import MixedRule, PosteriorRule, Rule, ThresholdRule
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.live import CLASS_TABLE_FILE, POLICY_FILE, plan_for_rule
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.solutions import write_solutions
from trim_pomdp.runtime.summary import summarise
from trim_pomdp.runtime.traces import RunArtifact, read_traces

N = 80
MIXED = MixedRule(first=alpha_rule(0.5), second=alpha_rule(3.0), probability=0.5)


def made(folder: Path, rule: Rule = MIXED, *, caps: Caps | None = None, n: int = N, truth: bool = True) -> RecordedRun:
    """A run of dummy models, as `run_live` leaves one."""
    table = OBSERVATIONS.class_table
    oracle = dummy_oracle if truth else None
    routing = Routing(rule, seed=3, caps=caps or Caps(), class_table=table, oracle=oracle)
    artifact = plan_for_rule(rule, MODEL).artifact
    files = {POLICY_FILE: artifact.model_dump_json()}
    assert table is not None
    if isinstance(rule, PosteriorRule):
        files[CLASS_TABLE_FILE] = table.model_dump_json()
    models = dummy_models(prm=Faults(probability=0.02))
    problems = dummy_problems(n)
    run(problems, routing.start, models, folder, config={**routing.config, "mode": "run"}, files=files)
    write_solutions(folder, problems)
    return read_run(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    made(path, caps=Caps(max_strong_tokens=15))
    return path


@pytest.fixture(scope="module")
def routed(folder: Path) -> RecordedRun:
    return read_run(folder)


def test_a_row_a_problem_and_a_row_a_decision(routed: RecordedRun, folder: Path) -> None:
    records = {item.terminal.problem: item for item in read_traces(folder)}
    problems, decisions = routed.problems, routed.decisions
    assert list(problems["problem"]) == [f"dummy-{i}" for i in range(N)]  # the order of the problems
    for name in ("correct", "reason", "steps", "regenerations"):
        assert list(problems[name]) == [getattr(records[i].terminal, name) for i in problems["problem"]]
    assert sum(problems["strong_tokens"]) == routed.summary.tokens["strong"]
    assert sum(problems["scored_tokens"]) == routed.summary.tokens["scored"]
    assert len(list(decisions["step"])) == sum(len(item.decisions) for item in records.values())
    redone = [action == "regenerate" for action in decisions["action"]]
    assert sum(redone) == sum(problems["regenerations"])
    assert (
        routed.summary == summarise((item.terminal for item in routed.solutions), routed.summary.strong_tokens and None)
        or routed.summary.budget is not None
    )


def test_what_was_asked_stands_beside(routed: RecordedRun) -> None:
    prompts = {item.id: item.prompt for item in dummy_problems(N)}
    assert dict(zip(routed.problems["problem"], routed.problems["prompt"], strict=True)) == prompts


def test_solutions_under_the_run_s_own_policy_are_as_recorded(routed: RecordedRun) -> None:
    for item in routed.solutions:
        seen = routed.inspect(item.terminal.problem)
        assert seen.as_recorded
        assert seen.prompt
        assert [step.q for step in seen.steps] == [decision.q for decision in item.decisions]
    other = routed.inspect("dummy-3", ThresholdRule(threshold=0.9))
    assert other.rule.form == "threshold"
    paper = routed.inspect("dummy-3", PosteriorRule(closeness=0.3), class_table=OBSERVATIONS.class_table)
    assert paper.rule.form == "posterior"


def test_policies_on_minima_find_their_table_in_the_run(tmp_path: Path) -> None:
    found = made(tmp_path / "run", PosteriorRule(closeness=0.3), n=10)
    assert found.class_table == OBSERVATIONS.class_table
    assert all(found.inspect(f"dummy-{i}").as_recorded for i in range(10))


def test_filters_against_counts_by_hand(routed: RecordedRun) -> None:
    def ids(which: str) -> set[str]:
        return {item.terminal.problem for item in routed.where(which).solutions}

    def true_classes(item: SolutionRecord, action: str) -> list[int | None]:
        return [step.weak.true_class for step in item.decisions if step.weak and step.action == action]

    every = routed.solutions
    free = {i.terminal.problem: [step for step in i.decisions if not step.capped] for i in every}
    missed = {
        i
        for i, steps in free.items()
        if any(step.weak and step.weak.true_class == 2 and step.action == "keep" for step in steps)
    }
    assert ids("missed errors") == missed
    assert ids("spent on lost causes") == {i.terminal.problem for i in every if 1 in true_classes(i, "regenerate")}
    ended = [i for i in every if i.terminal.reason == "answer"]
    wrong = {i.terminal.problem for i in ended if not i.terminal.correct and (i.terminal.q or 0) >= 0.5}
    assert ids("wrong though believed right") == wrong
    assert ids("capped") == {i.terminal.problem for i in every if any(step.capped for step in i.decisions)}
    assert ids("failed") == {i.terminal.problem for i in every if i.terminal.error}
    assert all(ids(name) for name in ("missed errors", "capped", "failed"))  # the comparison sees something
    dear = ids("most expensive")
    least = min(i.terminal.tokens.strong for i in every if i.terminal.problem in dear)
    assert len(dear) == N // 10
    assert all(i.terminal.tokens.strong <= least for i in every if i.terminal.problem not in dear)


def test_a_filter_narrows_frames_and_totals(routed: RecordedRun, folder: Path) -> None:
    failed = inspect_run(folder, "failed")
    assert list(failed.problems["reason"]) == ["error"] * len(list(failed.problems["problem"]))
    mine = routed.where(lambda item: item.terminal.problem == "dummy-7")
    assert mine.summary.problems == 1
    assert set(mine.decisions["problem"]) == {"dummy-7"}
    assert list(inspect_run(folder).problems["problem"]) == list(routed.problems["problem"])
    with pytest.raises(InputError, match="there are 'wrong though believed right'"):
        routed.where("nonsense")
    with pytest.raises(InputError, match="no ended problem 'x'"):
        routed.solution("x")


def test_money_where_prices_are_known() -> None:
    record = recorded()
    found = RecordedRun(Path("r"), RunArtifact.of({}), (record,), prices=PRICES)
    by_hand = (20 + 4 + 24 * 0.1 + 9 + 28 * 0.1) * 1e-6 + 19 * 5e-6 + 32 * 10e-6 + 9 * 40e-6 + (30 + 37 + 46) * 2e-6
    assert list(found.problems["money"]) == pytest.approx([by_hand])
    assert expense(record, None) == 9.0
    with pytest.raises(InputError, match="was not routed"):
        found.inspect("p")


def test_no_money_where_a_price_is_missing_and_all_else_stands() -> None:
    tokens = recorded().terminal.tokens
    assert tokens.scored
    no_prm = PRICES.model_copy(update={"prm": None})
    found = RecordedRun(Path("r"), RunArtifact.of({}), (recorded(),), prices=no_prm)
    whole = RecordedRun(Path("r"), RunArtifact.of({}), (recorded(),), prices=PRICES)
    assert list(found.problems["money"]) == [None]
    assert list(found.problems["strong_tokens"]) == list(whole.problems["strong_tokens"])
    assert found.unpriced == ("prm",)
    assert "no price of prm" in repr(found)
    assert "no price of" not in repr(whole)
    assert [item.terminal.problem for item in found.where("most expensive").solutions] == ["p"]
    spending = spending_by_class(found)  # of strong tokens, whose price is known
    assert spending == spending_by_class(whole)
    assert {item.money is None for item in spending.classes} == {False}
    no_strong = PRICES.model_copy(update={"strong": None})
    bare = RecordedRun(Path("r"), RunArtifact.of({}), (recorded(),), prices=no_strong)
    assert [item.money for item in spending_by_class(bare).classes] == [None] * 3
    with pytest.raises(InputError, match="no price of the strong model"):
        spending_by_class(found, no_strong)


def test_a_run_without_truth_spends_by_belief(tmp_path: Path) -> None:
    found = made(tmp_path / "run", alpha_rule(), truth=False, n=30)
    spending = spending_by_class(found)
    assert spending.by == "belief"
    assert sum(item.strong_tokens for item in spending.classes) + spending.undecided_tokens == pytest.approx(
        found.summary.tokens["strong"]
    )
    with pytest.raises(InputError, match="no steps with both"):
        calibration(found, "steps")
    assert not list(found.where("missed errors").solutions)
    assert {value is None or value != value for value in found.problems["missed_errors"]} == {True}  # not known
    assert all(
        isinstance(value, (int, float)) and value >= 0 for value in found.problems["lost_causes"] if value == value
    )
    with pytest.raises(InputError, match="expected 'answers' or 'steps'"):
        calibration(found, "nonsense")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one bin"):
        calibration(found, bins=0)


def test_spending_by_true_class(routed: RecordedRun) -> None:
    spending = spending_by_class(routed, PRICES)
    assert spending.by == "truth"
    steps = [step for item in routed.solutions for step in item.decisions if step.weak and step.action]
    for index, found in enumerate(spending.classes):
        mine = [step for step in steps if step.weak and step.weak.true_class == index and step.action == "regenerate"]
        assert found.regenerations == len(mine)
        assert found.strong_tokens == sum(step.tokens.strong for step in mine)
        assert found.money == pytest.approx(
            sum(step.tokens.strong * 40e-6 + step.tokens.strong_read * 10e-6 for step in mine)
        )


def test_calibration_by_hand(tmp_path: Path) -> None:
    record = recorded()

    def ended(problem: str, q: float, correct: bool) -> SolutionRecord:
        terminal = record.terminal.model_copy(update={"problem": problem, "q": q, "correct": correct})
        return SolutionRecord(record.decisions, terminal)

    solutions = (ended("a", 0.91, True), ended("b", 0.99, False), ended("c", 1.0, True), ended("d", 0.05, False))
    found = calibration(RecordedRun(tmp_path, RunArtifact.of({}), solutions))
    assert [(item.low, item.count, item.share) for item in found.bins] == [(0.0, 1, 0.0), (0.9, 3, 2 / 3)]
    assert found.bins[1].believed == pytest.approx((0.91 + 0.99 + 1.0) / 3)
    # Wilson's interval of 2 out of 3, from a table.
    assert found.bins[1].interval == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert found.brier == pytest.approx((0.09**2 + 0.99**2 + 0 + 0.05**2) / 4)
    assert found.error == pytest.approx((0.05 + 3 * abs((0.91 + 0.99 + 1.0) / 3 - 2 / 3)) / 4)


def test_the_dummy_world_is_calibrated(tmp_path: Path) -> None:
    """The belief is that of the model which the dummies do: its bins hold what they say."""
    found = made(tmp_path / "run", alpha_rule(), n=600)
    for of in ("answers", "steps"):
        result = calibration(found, of)  # type: ignore[arg-type]
        assert result.error < 0.06
        off = [item for item in result.bins if not item.interval[0] - 0.03 <= item.believed <= item.interval[1] + 0.03]
        assert len(off) <= 1, off


def test_decisions_by_step(routed: RecordedRun) -> None:
    found = decisions_by_step(routed)
    assert [item.step for item in found] == list(range(len(found)))
    steps = [step for item in routed.solutions for step in item.decisions]
    assert sum(item.reached for item in found) == len(steps)
    assert sum(item.strong_tokens for item in found) == routed.summary.tokens["strong"]
    by_hand = {
        "failed": sum(step.action is None for step in steps),
        "capped": sum(step.capped and step.action is not None for step in steps),
        "regenerated": sum(step.action == "regenerate" for step in steps),
    }
    assert all(by_hand.values())
    assert {name: sum(item.counts[name] for item in found) for name in by_hand} == by_hand
    assert found[0].q == 1.0
    assert found[0].reached == sum(bool(item.decisions) for item in routed.solutions)


def test_frames_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    table = frame({"a": [1, None], "b": ["<x>", "y"]})
    assert isinstance(table, Columns)
    assert table["a"] == [1, None]
    assert table.rows == [(1, "<x>"), (None, "y")]
    assert list(table) == ["a", "b"]
    assert "&lt;x&gt;" in table._repr_html_()
    assert repr(table) == "Columns(2 rows of a, b)"
    assert (len(table), table.columns, table[["b"]].columns) == (2, ["a", "b"], ["b"])
    with pytest.raises(AttributeError, match="no 'head'; data frames come with pandas"):
        table.head()


def test_no_run_no_frames(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        tp.read_run(tmp_path)
