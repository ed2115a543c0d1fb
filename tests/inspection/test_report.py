"""Reports as data and as pages: numbers against those of `result_document`, texts that attack, runs of every kind."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from report_runs import HOSTILE, RULE, Page, hostile, made
from scripted import MODEL, PRICES, alpha_rule, feed, recorded, scored, wrote

import trim_pomdp as tp
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.comparison import compare_runs
from trim_pomdp.inspection.drawing import solution_state
from trim_pomdp.inspection.glossary import FILTER_MEANINGS
from trim_pomdp.inspection.packing import compact, packed, script_json, unpacked
from trim_pomdp.inspection.report import report_document, write_report
from trim_pomdp.inspection.runs import FILTERS, read_run
from trim_pomdp.planning.evaluation import end_money, evaluate_money
from trim_pomdp.policies import MixedRule, PolicyArtifact, PosteriorRule, StrategyRule, ThresholdRule
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.live import POLICY_FILE, plan_for_rule, plan_from_file, result_document
from trim_pomdp.runtime.money import run_money
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.summary import summarise
from trim_pomdp.runtime.traces import TraceWriter, read_traces


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("report") / "one", caps=Caps(max_strong_tokens=15), faults=0.02, prices=PRICES)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("report") / "two", alpha_rule(0.5), first=10, prices=PRICES)


def page_of(runs: Any, path: Path, **options: Any) -> Page:
    write_report(runs if isinstance(runs, list) else [runs], path, **options)
    return Page(path.read_text(encoding="utf-8"))


def own_state(detail: dict[str, Any]) -> dict[str, Any]:
    """The state under the policy that routed it."""
    return detail["states"][detail["own"]]


# Numbers --------------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_run_to_the_bit(folder: Path) -> None:
    (run,) = report_document([folder])["runs"]
    plan = plan_from_file(PolicyArtifact.read(folder / POLICY_FILE), None)
    summary = summarise((item.terminal for item in read_traces(folder)), plan.strong_only_tokens)
    money = run_money(folder)
    assert money is not None
    assert run["result"] == result_document(summary, plan, money.document)
    outcome = {row["quantity"]: row for row in run["outcome"]}
    assert list(outcome) == ["accuracy", "budget", "strong_tokens", "regenerations"]
    for name, row in outcome.items():
        assert row["measured"] == getattr(summary, name)
        assert row["planned"] == getattr(plan.artifact.planned, name)
    low, high = run["intervals"]["strong_tokens"]
    assert (low + high) / 2 == pytest.approx(summary.strong_tokens)
    assert (high - low) / 2 == pytest.approx(2.022691 * summary.strong_tokens_se)  # Student, 39
    assert (run["right"], run["judged"]) == (round(summary.accuracy * 40), 40)
    per_problem = {(row["model"], row["purpose"]): row["total"] for row in run["tokens"]}
    assert per_problem["strong", "steps"] == summary.tokens["strong"]
    assert run["money"]["rows"][-1]["values"][0] == money.money.total
    assert sum(row["values"][0] for row in run["money"]["rows"][:-1]) == pytest.approx(money.money.total)


def test_rows_add_up(folder: Path) -> None:
    (run,) = report_document([folder])["runs"]
    records = list(read_traces(folder))
    steps = run["by_step"]
    kinds = ("kept", "regenerated", "capped", "alone", "failed")
    assert steps[0]["reached"] == sum(bool(item.decisions) for item in records)
    assert all(row["reached"] == sum(row[kind] for kind in kinds) for row in steps)
    strong = sum(item.terminal.tokens.strong for item in records)
    assert sum(row["strong_tokens"] for row in steps) == strong
    assert sum(row["regenerated"] for row in steps) == sum(item.terminal.regenerations for item in records)
    capped = sum(step.capped for item in records for step in item.decisions)
    assert sum(row["capped"] for row in steps) == capped > 0
    assert sum(row["problems"] * row["per_problem"] for row in run["by_outcome"]) == pytest.approx(strong)
    assert {row["name"] for row in run["by_outcome"]} == {"right", "wrong", "failed"}
    assert run["spending"]["by"] == "truth"
    assert sum(row["strong_tokens"] for row in run["spending"]["rows"]) == strong - run["spending"]["undecided_tokens"]
    assert [part["of"] for part in run["calibration"]] == ["answers", "steps"]


def test_no_verdict_where_chance_is_not_known(tmp_path: Path) -> None:
    few = made(tmp_path / "few", n=9)
    (run,) = report_document([few])["runs"]
    assert [line.split(":")[1] for line in run["verdicts"]] == [
        " too few problems to tell whether it is as planned."
    ] * 2
    same = made(tmp_path / "same", ThresholdRule(threshold=1e-9), n=12)
    (run,) = report_document([same])["runs"]
    assert run["result"]["strong_tokens"] == 0.0 < run["result"]["planned"]["strong_tokens"]
    assert run["intervals"]["strong_tokens"] is None
    assert (
        run["verdicts"][1]
        == "The budget: the same in all problems, which is too little to tell whether it is as planned."
    )
    enough = made(tmp_path / "enough", alpha_rule(3.0), n=12)
    (run,) = report_document([enough])["runs"]
    assert "chance" in " ".join(run["verdicts"])
    assert all(ends is None or 0.0 <= ends[0] < ends[1] for ends in run["intervals"].values())


def test_runs_side_by_side(folder: Path, other: Path) -> None:
    document = report_document([folder, other])
    assert [run["letter"] for run in document["runs"]] == ["A", "B"]
    assert [run["name"] for run in document["runs"]] == ["one", "two"]
    (pair,) = document["comparison"]
    ends = [[item.terminal for item in read_run(path).solutions] for path in (folder, other)]
    known = compare_runs(*ends, prices=PRICES)
    assert {key: pair[key] for key in known.document} == known.document
    assert (pair["shared"], pair["only_first"], pair["only_second"]) == (30, 10, 10)
    names = ["accuracy", "strong tokens", "steps regenerated", "steps", "money of 1\u202f000 problems"]
    assert [row["name"] for row in pair["rows"]] == names
    assert pair["rows"][4]["value"] == 1000 * known.differences["money"].value
    tokens, money = document["cost"]
    assert [row["values"] for row in tokens["rows"] if row["purpose"] == "steps" and row["model"] == "strong"] == [
        [run["result"]["tokens"]["strong"] / 40 for run in document["runs"]]
    ]
    assert money["rows"][-1]["values"] == [1000 * run["money"]["rows"][-1]["values"][0] for run in document["runs"]]


def test_outcomes_are_counted_alike_everywhere(folder: Path, other: Path, tmp_path: Path) -> None:
    document = report_document([folder, other])
    data = page_of([folder, other], tmp_path / "r.html").data
    for run, rows in zip(document["runs"], data["rows"], strict=True):
        shown = [row for row in rows if row is not None]
        told = {row["name"]: row["problems"] for row in run["by_outcome"]}
        assert told == {name: sum(row[0] == name for row in shown) for name in told}
        filters = {item["name"]: sum(row[9] >> bit & 1 for row in shown) for bit, item in enumerate(data["filters"])}
        assert (filters["wrong"], filters["failed"]) == (told["wrong"], told.get("failed", 0))
        (pair,) = document["comparison"]
        assert filters["outcome differs between runs"] == pair["first_alone"] + pair["second_alone"] > 0
        assert run["has_failed"] == any(row["failed"] for row in run["by_step"])
    assert document["runs"][0]["has_failed"]
    assert set(FILTER_MEANINGS) == {item["name"] for item in data["filters"]} > set(FILTERS)


def test_other_problems_of_the_same_ids_stay_apart(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", n=4), made(tmp_path / "two", alpha_rule(0.5), n=4)
    texts = [json.loads(line) for line in (two / "solutions.jsonl").read_text().splitlines()]
    for item in texts[1:]:
        item["prompt"] = f"another {item['prompt']}"
    (two / "solutions.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in texts))
    page = page_of([one, two], tmp_path / "r.html")
    data, prompts = page.data, [read_run(path).prompts for path in (one, two)]
    assert sorted(data["ids"]) == sorted([f"dummy-{i}" for i in range(4)] + [f"dummy-{i}" for i in range(1, 4)])
    for index, (name, prompt) in enumerate(zip(data["ids"], data["prompts"], strict=True)):
        for place in (0, 1):
            assert (data["rows"][place][index] is None) == (page.details[index][place] is None)
            if data["rows"][place][index] is not None:
                assert prompt == prompts[place][name]
                assert own_state(page.details[index][place])["problem"]["prompt"] == prompt
    (pair,) = report_document([one, two])["comparison"]
    assert (pair["shared"], pair["other_problem"]) == (1, 3)
    alike = [index for index, name in enumerate(data["ids"]) if all(rows[index] for rows in data["rows"])]
    assert [data["ids"][index] for index in alike] == ["dummy-0"]


def test_given_prices_count_everywhere(folder: Path, tmp_path: Path) -> None:
    free = tp.Price(input=0.0, output=0.0)
    prices = tp.Prices(weak=tp.Price(input=5.0, output=90.0), strong=free, prm=PRICES.prm, currency="coins")
    data = page_of(folder, tmp_path / "r.html", prices=prices).data
    bit = [item["name"] for item in data["filters"]].index("most expensive")
    marked = [name for name, row in zip(data["ids"], data["rows"][0], strict=True) if row[9] >> bit & 1]
    priced = replace(read_run(folder), prices=prices)
    assert marked == [item.terminal.problem for item in priced.where("most expensive").solutions]
    assert marked != [item.terminal.problem for item in read_run(folder).where("most expensive").solutions]
    (run,) = report_document([folder], prices=prices)["runs"]
    assert run["money"]["currency"] == run["spending"]["currency"] == "coins"
    assert [row["money"] for row in run["spending"]["rows"]] == [0.0] * len(run["spending"]["rows"])


def test_planned_money_where_the_model_is_known(folder: Path, other: Path, tmp_path: Path) -> None:
    tariff = tp.Tariff.of(PRICES, 100.0)
    planned = made(tmp_path / "planned", prices=PRICES)
    artifact = PolicyArtifact.read(planned / POLICY_FILE)
    (planned / POLICY_FILE).write_text(artifact.model_copy(update={"tariff": tariff}).model_dump_json())
    (alone,) = report_document([planned])["runs"]
    assert [column["name"] for column in alone["money"]["columns"]] == ["measured"]
    assert alone["money"]["assumed"].endswith(f"the model of the plan, {MODEL.name}: name it (--preset).")
    (run,) = report_document([planned], model=MODEL)["runs"]
    names = ["measured", "planned", "weak-only, planned", "strong-only, planned"]
    assert [column["name"] for column in run["money"]["columns"]] == names
    priced = replace(MODEL, tariff=tariff)
    known = [evaluate_money(RULE, priced).money, *end_money(priced).values()]
    assert run["money"]["rows"][-1]["values"][1:] == [money.total for money in known]
    assert run["money"]["assumed"] == "What is planned reads what the policy was planned with."
    foreign = made(tmp_path / "foreign", n=2, prices=PRICES)
    update = {"tariff": tariff, "model": "another"}
    (foreign / POLICY_FILE).write_text(artifact.model_copy(update=update).model_dump_json())
    assert len(report_document([foreign], model=MODEL)["runs"][0]["money"]["columns"]) == 1
    _, money = report_document([planned, other], model=MODEL)["cost"]
    assert [row["name"] for row in money["planned"]] == names[1:]
    assert money["planned"][0]["values"] == [pytest.approx(1000 * known[0].total), None]
    assert report_document([other], model=MODEL)["runs"][0]["money"]["assumed"].endswith("which nobody counted here.")
    words = " ".join(page_of(folder, tmp_path / "r.html").texts)
    assert "Where did the money go?" in words
    assert "Where did the tokens go?" in " ".join(page_of(made(tmp_path / "x", n=2), tmp_path / "x.html").texts)


def test_steps_without_a_decision_are_told(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", caps=Caps(on_failure="strong"), weak_faults=0.05)
    (run,) = report_document([folder])["runs"]
    written = sum(item.terminal.regenerations for item in read_run(folder).solutions)
    decided = sum(row["regenerated"] for row in run["by_step"])
    assert 0 < decided < written
    assert run["undecided"].startswith(
        f"Of {written} steps that the strong model wrote, {written - decided} are among those without a decision"
    )
    rows = run["spending"]["rows"]
    assert [row["name"] for row in rows][-1] == "no decision"
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert sum(row["strong_tokens"] for row in rows) == sum(row["strong_tokens"] for row in run["by_step"])
    (usual,) = report_document([made(tmp_path / "usual", n=4)])["runs"]
    assert usual["undecided"] == ""


def test_the_unit_of_the_budget_is_explained(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", n=2)
    artifact = PolicyArtifact.read(folder / POLICY_FILE)
    assert artifact.planned is not None
    for budget, told in ((0.964, True), (1.0, False)):
        end = artifact.planned.model_copy(update={"budget": budget})
        (folder / POLICY_FILE).write_text(artifact.model_copy(update={"strong_only": end}).model_dump_json())
        words = " ".join(page_of(folder, tmp_path / "r.html").texts)
        assert ("Strong-only stands at 0.964, not at 1" in words) == told


def test_the_first_error_is_the_one_that_the_run_told(tmp_path: Path) -> None:
    records = [recorded(name) for name in ("a", "b", "c")]
    ends = [
        item.terminal.model_copy(update={"reason": "error", "error": f"at {item.terminal.problem}", "elapsed_s": when})
        for item, when in zip(records, (3.0, 1.0, 2.0), strict=True)
    ]
    solutions = tuple(replace(item, terminal=end) for item, end in zip(records, ends, strict=True))
    run = replace(read_run(made(tmp_path / "run", n=1)), solutions=solutions)
    assert run.summary.error == "at b"


def test_the_page_says_which_policy_ran(tmp_path: Path) -> None:
    bare = made(tmp_path / "bare", ThresholdRule(threshold=0.6), n=4)
    planned = made(tmp_path / "planned", n=4)
    artifact = json.loads((planned / POLICY_FILE).read_text())
    (planned / POLICY_FILE).write_text(json.dumps({**artifact, "asked_budget": 0.25}))
    page = page_of([bare, planned], tmp_path / "r.html")
    words = " ".join(" ".join(page.texts).split())
    assert "bare , routed by threshold 0.6: 4 problems." in words
    assert "planned , routed by a policy planned for a budget of 0.25: 4 problems." in words
    assert [run["policy"] for run in page.data["runs"]] == ["threshold 0.6", "budget 0.25"]


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    for name in ("a/run", "b/run"):
        (tmp_path / name).parent.mkdir()
        made(tmp_path / name, n=2)
    document = report_document([tmp_path / "a/run", tmp_path / "b/run", tmp_path / "b/run"])
    assert [run["name"] for run in document["runs"]] == ["run (1)", "run (2)", "run (3)"]
    names = [run["name"] for run in report_document([tmp_path / "a/run", tmp_path / "b/run"])["runs"]]
    assert names == ["a/run", "b/run"]
    assert str(tmp_path) not in json.dumps(document)


# Runs of every kind ---------------------------------------------------------------------------------------------


def test_a_rule_without_belief_and_an_unknown_unit(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", ThresholdRule(threshold=0.6), planned=False)
    (run,) = report_document([folder])["runs"]
    assert run["calibration"] == []
    assert run["no_calibration"] == "This policy has no belief that could be compared with what came out."
    assert run["result"]["budget"] is None
    assert [row["quantity"] for row in run["outcome"]] == ["accuracy", "strong_tokens", "regenerations"]
    assert run["warnings"] == ["Nothing was planned for this policy, so there is nothing to compare with."]
    page = page_of(folder, tmp_path / "r.html")
    state = page.details[0][0]["states"][0]
    assert [step["q"] for step in state["steps"]] == [None] * len(state["steps"])
    assert state["steps"][0]["flip_score"] == 0.6
    assert page.details[0][0]["curves"][0][0]["flips"] == [0.6]


def test_what_nobody_knows(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", truth=False, answers=False)
    (run,) = report_document([folder])["runs"]
    assert run["result"]["accuracy"] is None
    assert run["intervals"]["accuracy"] is None
    assert run["spending"]["by"] == "belief"
    assert run["calibration"] == []
    assert run["no_calibration"].startswith("Neither right answers nor true classes are known")
    assert [row["name"] for row in run["by_outcome"]] == ["not known"]
    words = " ".join(page_of(folder, tmp_path / "r.html").texts)
    assert "not known (no right answers)" in words


def test_a_run_of_one_problem(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", n=1)
    (run,) = report_document([folder])["runs"]
    assert run["intervals"]["strong_tokens"] is None
    assert run["intervals"]["accuracy"] is not None
    assert page_of(folder, tmp_path / "r.html").data["ids"] == ["dummy-0"]


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", n=6)
    lines = (folder / "traces.jsonl").read_text().splitlines(keepends=True)
    ends = [index for index, line in enumerate(lines) if '"kind":"terminal"' in line]
    (folder / "traces.jsonl").write_text("".join(lines[: ends[3] + 1]) + lines[-1][:40])
    (folder / "solutions.jsonl").unlink()
    (run,) = report_document([folder])["runs"]
    assert run["ended"] == 4
    assert run["warnings"] == ["2 of 6 problems have not ended yet: the run goes on, or was stopped."]
    assert page_of(folder, tmp_path / "r.html").data["prompts"] == [""] * 4


def test_failed_given_capped_and_alone(tmp_path: Path) -> None:
    routing = Routing(RULE, caps=Caps(on_failure="weak"))
    failed, given, alone = (routing.start(Problem(name, "?", "7"), prefix) for name, prefix in (
        ("failed", ()), ("given", ("a", "b")), ("alone", ()),
    ))  # fmt: skip
    failed.fail(RuntimeError("no memory"))
    feed(given, ("weak", wrote("c \\boxed{7}", 5, 20, stop="answer")), ("prm", scored(9, 0.9, 0.8, 0.9)))
    feed(alone, ("weak", wrote("a", 5, 20)))
    alone.lose(ConnectionError("gone"))
    feed(alone, ("weak", wrote("\\boxed{8}", 5, 20, stop="answer")))
    files = {POLICY_FILE: plan_for_rule(RULE, MODEL).artifact.model_dump_json()}
    with TraceWriter(tmp_path / "run", {**routing.config, "mode": "run"}, files=files) as traces:
        for item in (failed, given, alone):
            item.judge()
            traces.append(item.record)
    page = page_of(tmp_path / "run", tmp_path / "r.html")
    notes = [item[0]["notes"] for item in page.details]
    assert notes[0] == ["The problem failed before any step was decided on."]
    assert notes[1] == ["The first 2 steps were given."]
    assert notes[2] == [
        "From step 1 on the weak model went on alone, since the prm model had been given up: ConnectionError: gone"
    ]
    assert [len(item[0]["states"][0]["steps"]) for item in page.details] == [1, 3, 2]
    words = " ".join(page.texts)
    assert "1 of 3 problems failed, the first by RuntimeError: no memory." in words
    assert "1 of 3 problems were finished by one model alone" in words


def test_a_policy_that_cannot_be_asked_again_is_shown_as_recorded(tmp_path: Path) -> None:
    folder = made(tmp_path / "run", PosteriorRule(closeness=0.3), table=False, n=4)
    details = page_of(folder, tmp_path / "r.html").details
    for record, (detail,) in zip(read_run(folder).solutions, details, strict=True):
        assert detail["notes"][0].startswith("Shown as recorded, since the policy cannot be asked again: ")
        (state,) = detail["states"]
        assert [step["action"] for step in state["steps"]] == [item.action for item in record.decisions]
        assert [step["score"] for step in state["steps"]] == compact([item.score for item in record.decisions])
        assert detail["curves"] == [None]
    with_table = page_of(made(tmp_path / "known", PosteriorRule(closeness=0.3), n=4), tmp_path / "k.html").details
    assert all(not item[0]["notes"] for item in with_table)
    same = [[step["action"] for step in item[0]["states"][0]["steps"]] for item in details]
    assert same == [[step["action"] for step in item[0]["states"][0]["steps"]] for item in with_table]


# Details --------------------------------------------------------------------------------------------------------


def as_drawn(detail: dict[str, Any], index: int) -> dict[str, Any]:
    """The state of a policy, as the page's script puts it together."""
    own, state = detail["states"][detail["own"]], detail["states"][index]
    if index == detail["own"]:
        return state
    steps = [{**before, **step} for before, step in zip(own["steps"], state["steps"], strict=False)]
    return {**own, **state, "steps": steps}


def test_every_solution_under_every_policy(folder: Path, other: Path, tmp_path: Path) -> None:
    mixed = MixedRule(first=alpha_rule(0.7), second=alpha_rule(4.0), probability=0.3)
    further = plan_for_rule(mixed, MODEL).artifact
    page = page_of([folder, other], tmp_path / "r.html", policies=[further], model=MODEL, budgets=(0.1, 0.6))
    for place, path in enumerate((folder, other)):
        run, policies = read_run(path), page.data["runs"][place]["policies"]
        assert len(policies) == 5
        assert [item["label"] for item in policies if item["label"] in ("0.1", "0.6")] == ["0.1", "0.6"]
        shown = 0
        for name, details in zip(page.data["ids"], page.details, strict=True):
            if (detail := details[place]) is None:
                continue
            shown += 1
            own = detail["own"]
            state = solution_state(run.inspect(name), None)
            wanted = compact({key: value for key, value in state.items() if key not in ("chosen", "curve")})
            assert as_drawn(detail, own) == json.loads(json.dumps(wanted))
            for index in range(5):
                drawn = as_drawn(detail, index)
                assert len(detail["curves"][index]) == len(drawn["steps"])
        assert shown == 40
    # The other run's policy on a solution of the first, whatever is left out of it.
    first, second = read_run(folder), read_run(other)
    name = first.solutions[3].terminal.problem
    seen = first.inspect(name, second.policy)
    detail = page.details[page.data["ids"].index(name)][0]
    drawn = [[step["action"] for step in as_drawn(detail, index)["steps"]] for index in range(5)]
    assert [step.action for step in seen.steps] in drawn
    beliefs = [[step["q"] for step in as_drawn(detail, index)["steps"]] for index in range(5)]
    assert compact([step.q for step in seen.steps]) in beliefs


def test_rows_of_the_list_know_their_filters(folder: Path, tmp_path: Path) -> None:
    page = page_of(folder, tmp_path / "r.html")
    run = read_run(folder)
    names = [item["name"] for item in page.data["filters"]]
    assert names[1:-1] == list(FILTERS)
    for bit, name in enumerate(FILTERS, start=1):
        marked = [page.data["ids"][i] for i, row in enumerate(page.data["rows"][0]) if row[9] >> bit & 1]
        assert marked == [item.terminal.problem for item in run.where(name).solutions]


def test_packing() -> None:
    value = {"a": [0.1, None, True, "</script>", "\u2028"], "b": {"c": float("nan")}}
    assert unpacked(packed(compact(value))) == {"a": [0.1, None, True, "</script>", "\u2028"], "b": {"c": None}}
    assert packed([1]) == packed([1])
    for text in HOSTILE:
        written = script_json(text)
        assert json.loads(written) == text
        assert written.isascii()
        assert not set(written) & set("<>&")
    assert compact([0.123456, 123456.0, 1e-9, 0.99999999, True, 3]) == [0.1235, 123500, 1e-9, 0.99999999, True, 3]


# Pages ----------------------------------------------------------------------------------------------------------


def test_nothing_that_a_model_says_becomes_markup(tmp_path: Path) -> None:
    folder, problems = hostile(tmp_path / HOSTILE[3].replace(":", "-"))
    page = page_of(folder, tmp_path / "r.html", title=HOSTILE[0], command=HOSTILE[1])
    tame, _ = made(tmp_path / "tame", n=len(problems)), None
    usual = page_of(tame, tmp_path / "t.html")
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in usual.elements}
    assert [tag for tag, _ in page.elements].count("script") == [tag for tag, _ in usual.elements].count("script")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "javascript" not in str(attributes.get("href", "")), tag
    assert page.data["ids"] == [item.id for item in problems]
    assert page.data["prompts"] == [item.prompt for item in problems]
    assert HOSTILE[0] in "".join(page.texts)
    texts = [step["text"] for item in page.details for step in item[0]["states"][0]["steps"]]
    assert any(HOSTILE[0] in text for text in texts if text)


def test_a_page_asks_nobody(folder: Path, tmp_path: Path) -> None:
    page = page_of(folder, tmp_path / "r.html")
    for _, attributes in page.elements:
        assert "src" not in attributes
        href = attributes.get("href") or "#"
        assert href.startswith(("#", "data:"))
    (policy,) = [item["content"] for tag, item in page.elements if item.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "connect-src" not in policy
    assert str(folder.parent) not in (tmp_path / "r.html").read_text()


def test_pages_are_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    paths = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in paths:
        write_report([folder], path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


# Refused --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run is given"):
        write_report([], tmp_path / "r.html")
    with TraceWriter(tmp_path / "weak", {"mode": "weak"}) as traces:
        traces.append(recorded())
    with pytest.raises(InputError, match="was not routed by a policy \\(mode weak\\)"):
        write_report([tmp_path / "weak"], tmp_path / "r.html")
    policy = plan_for_rule(StrategyRule(strategy="weak"), MODEL).artifact
    with TraceWriter(tmp_path / "young", {"mode": "run"}, files={POLICY_FILE: policy.model_dump_json()}):
        pass
    with pytest.raises(InputError, match="no problem has ended yet"):
        write_report([tmp_path / "young"], tmp_path / "r.html")
    with pytest.raises(InputError, match="absent"):
        write_report([folder], tmp_path / "absent" / "r.html")
    with pytest.raises(InputError, match="27 runs do not fit"):
        report_document([folder] * 27)
    only_weak = tp.Prices(weak=PRICES.weak)
    with pytest.raises(InputError, match="price"):
        write_report([folder], tmp_path / "r.html", prices=only_weak)
    assert not (tmp_path / "r.html").exists()


def test_a_run_whose_prices_lack_a_model_is_told_without_money(folder: Path, tmp_path: Path) -> None:
    no_prm = PRICES.model_copy(update={"prm": None})
    short = made(tmp_path / "short", n=10, prices=no_prm)
    document = report_document([short, short])
    assert document["runs"][0]["money"] is None
    assert document["runs"][0]["unpriced"] == ["prm"]
    write_report([short], tmp_path / "r.html")
    assert "No money: the run kept no price of prm. Give" in (tmp_path / "r.html").read_text(encoding="utf-8")
    write_report([short, folder], tmp_path / "two.html")
    assert "No money: the run kept no price of prm; give" in (tmp_path / "two.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no price of the prm model"):
        write_report([short], tmp_path / "no.html", prices=no_prm)


# The verb -------------------------------------------------------------------------------------------------------


def test_the_verb(folder: Path, other: Path, run_cli: Any, cli_json: Any, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    document = cli_json("report", folder, other / "run.json", "--out", page)
    assert document["bytes"] == page.stat().st_size
    whole = json.loads(json.dumps(report_document([folder, other])))
    assert document["runs"] == whole["runs"]
    assert document["comparison"] == whole["comparison"]
    assert document["command"] == "trim-pomdp report one run.json --out r.html" or "two" in document["command"]
    code, out, err = run_cli("report", folder, "--out", page, "--policies", other / POLICY_FILE, "--title", "Mine")
    assert code == 0
    assert "is there already and will be replaced" in err
    assert f"wrote {page}" in out
    found = Page(page.read_text())
    assert len(found.data["runs"][0]["policies"]) == 2
    assert "Mine" in found.texts
    single = made(tmp_path / "single", n=1)
    assert "single: 1 problem. " in run_cli("report", single, "--out", page)[1]
    code, _, _ = run_cli("report", folder, "--out", page, "--title", "Mine of 2")
    assert "--title 'Mine of 2'" in " ".join(Page(page.read_text()).texts)


def test_a_folder_that_one_stands_in_has_a_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (run,) = report_document(["."])["runs"]
    told = dict(run["made"])
    assert told["Again: look"] == "trim-pomdp inspect one"
    assert told["Again: route"].startswith("trim-pomdp run --policy one/policy.json ")


def test_what_the_verb_refuses(folder: Path, cli_refused: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    cli_refused("report", folder, "--out", "absent/r.html", words=("absent/r.html", "make it first"))
    cli_refused("report", folder, "--out", ".", words=("is a folder",))
    cli_refused("report", "nowhere", words=("nowhere: there is no such run",))
    cli_refused("report", "file", words=("file: is no folder of a run",))
    cli_refused("report", ".", words=("holds no run",))
    cli_refused("report", folder, "--budgets", "0.2", words=("--budgets needs a model",))
    cli_refused("report", folder, "--preset", "lab-loop", "--budgets", "2", words=("--budgets: 2", "from 0 to 1"))
    cli_refused("report", folder, "--preset", "lab-lop", words=("no preset", "did you mean"))
    cli_refused("report", folder, "--policies", "file", words=("file",))
    cli_refused("report", folder, "--prices", "file", words=("file",))


def test_plain_data(folder: Path) -> None:
    document = report_document([folder])
    assert json.loads(json.dumps(document, allow_nan=False))["runs"][0]["name"] == "one"
    assert asdict(read_run(folder).summary)["problems"] == document["runs"][0]["ended"]


def test_a_model_that_does_not_fit_a_run_is_refused(folder: Path, tmp_path: Path) -> None:
    """Its policies would say nothing of the run's steps."""
    other = tp.load_preset("qwen2.5-1.5b-7b-math").routing_model()
    with pytest.raises(InputError, match=r"does not fit .* planned on other observation bins"):
        write_report(folder, tmp_path / "page.html", model=other)
    threshold = made(tmp_path / "threshold", ThresholdRule(threshold=0.5), n=3, caps=Caps(max_steps=6))
    with pytest.raises(InputError, match="of solutions of up to 30 steps, the run's policy or its limit of up to 6"):
        write_report(threshold, tmp_path / "page.html", model=other)
    assert not (tmp_path / "page.html").exists()


def test_one_run_needs_no_list(folder: Path, tmp_path: Path) -> None:
    assert len(write_report(str(folder), tmp_path / "page.html")["runs"]) == 1
    assert len(report_document(read_run(folder))["runs"]) == 1
