"""The verbs run, rollout and score: what they write and print, on tiny random models and on dummies."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS, WORLD

from trim_pomdp.data.problems import problems_text, read_problems
from trim_pomdp.data.processbench import LabelledSolution, read_step_scores
from trim_pomdp.data.rollouts import (
    read_redraft_rollouts,
    read_repair_rollouts,
    read_strong_rollouts,
    read_weak_rollouts,
)
from trim_pomdp.errors import InputError
from trim_pomdp.lab import source as lab_source
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.frontier import policy_for_budget
from trim_pomdp.policies import (
    LogprobRule,
    MixedRule,
    PolicyArtifact,
    PosteriorRule,
    StrategyRule,
    TakeoverRule,
    ThresholdRule,
)
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.records import TokenCounts
from trim_pomdp.runtime.sources import Backends
from trim_pomdp.runtime.traces import read_run_artifact, read_traces
from trim_pomdp.text.format import DEFAULT_FORMAT

pytest.importorskip("torch")
pytest.importorskip("transformers")

RUN_KEYS = {
    "problems", "accuracy", "accuracy_se", "strong_tokens", "strong_tokens_se", "regenerations", "budget", "budget_se",
    "asked_budget", "asked_max_cost", "planned", "weak_only", "strong_only", "tokens", "money", "wall_s",
    "overhead_share", "failed", "alone", "scores",
}  # fmt: skip
KINDS = set(TokenCounts.model_fields)


class DummySource:
    """The dummy models, as a source."""

    caps = Caps(max_steps=6)
    prm_name = "dummy-prm"
    format, checker = DEFAULT_FORMAT, "math"

    def __init__(self, faults: Faults | None = None, oracle: Any = dummy_oracle) -> None:
        self.faults, self.oracle = faults or Faults(), oracle
        self.asked: list[set[str]] = []

    def require(self, roles: Any) -> None:
        self.asked.append(set(roles))

    def config(self, roles: Any) -> dict[str, Any]:
        return {"dummy": sorted(roles)}

    def load(self, roles: Any) -> Backends:
        return Backends(
            DummyGenerator(WORLD, "weak", self.faults) if "weak" in roles else None,  # type: ignore[arg-type]
            DummyGenerator(WORLD, "strong") if "strong" in roles else None,
            DummyScorer(WORLD) if "prm" in roles else None,
        )


@pytest.fixture
def dummy(monkeypatch: pytest.MonkeyPatch) -> DummySource:
    source = DummySource()
    monkeypatch.setattr(lab_source, "model_source", lambda _, cores=None: source)
    return source


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("fitted")
    return {
        "observations": OBSERVATIONS.save(folder / "observations.json"),
        "dynamics": DYNAMICS.save(folder / "dynamics.json"),
        "policy": policy_for_budget(MODEL, 0.3).save(folder / "policy.json"),
    }


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A thousand dummy problems."""
    path = tmp_path / "dummies.jsonl"
    rows = [{"id": item.id, "prompt": item.prompt, "answer": item.answer} for item in dummy_problems(1000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random models and their file."""
    import torch
    from tiny import write_models

    torch.set_num_threads(1)
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    from tiny import write_problems

    return write_problems(tmp_path / "problems.jsonl")


def model_options(fitted: dict[str, Path]) -> tuple[object, ...]:
    return ("--observations", fitted["observations"], "--dynamics", fitted["dynamics"])


# run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (("--threshold", 0.5), ThresholdRule(threshold=0.5)),
        (("--strategy", "weak"), StrategyRule(strategy="weak")),
        (("--strategy", "strong"), StrategyRule(strategy="strong")),
        (("--strategy", "random:0.3"), StrategyRule(strategy="random", probability=0.3)),
        (("--strategy", "oracle"), StrategyRule(strategy="oracle")),
        (("--strategy", "takeover:0.5"), TakeoverRule(threshold=0.5)),
        (("--strategy", "evidence-threshold:0.5"), ThresholdRule(threshold=0.5)),  # the PRM score is the evidence here
        (("--belief", "posterior", "--closeness", 0.3), PosteriorRule(closeness=0.3)),
        (("--budget", 0.2), None),
        (("--policy", "FILE"), "file"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_is_run_and_planned(
    dummy: DummySource, cli_json: Any, fitted: dict[str, Path], many: Path, tmp_path: Path, options: Any, rule: Any
) -> None:
    options = [fitted["policy"] if item == "FILE" else item for item in options]
    out = cli_json(
        "run", "--models", "dummy", "--problems", many, *model_options(fitted), *options, "--out", tmp_path / "run"
    )
    assert set(out) == RUN_KEYS
    assert set(out["tokens"]) == KINDS
    assert set(out["planned"]) == {"accuracy", "strong_tokens", "regenerations"}
    assert (out["problems"], out["failed"]) == (1000, 0)
    saved = PolicyArtifact.read(tmp_path / "run" / "policy.json")
    assert out["asked_budget"] == saved.asked_budget == {"--budget": 0.2, "--policy": 0.3}.get(options[0])
    if rule == "file":
        assert saved == PolicyArtifact.read(fitted["policy"])
    elif rule is not None:
        assert saved.policy == rule
    else:
        assert isinstance(saved.policy, MixedRule)
    exact = evaluate(saved.policy, MODEL)
    for name, value in out["planned"].items():
        assert value == pytest.approx(getattr(exact, name), abs=1e-9)
    assert out["accuracy"] == pytest.approx(exact.accuracy, abs=4 * out["accuracy_se"])
    assert out["strong_tokens"] == pytest.approx(exact.strong_tokens, abs=4 * out["strong_tokens_se"])
    assert out["budget"] == pytest.approx(out["strong_tokens"] / MODEL.strong_only_tokens)
    assert out["budget_se"] == pytest.approx(out["strong_tokens_se"] / MODEL.strong_only_tokens)
    assert ("prm" in dummy.asked[0]) == saved.policy.needs_score
    records = list(read_traces(tmp_path / "run"))
    for kind in KINDS:
        assert out["tokens"][kind] == sum(getattr(record.terminal.tokens, kind) for record in records)
    assert (out["scores"] is None) == (not saved.policy.needs_score)
    assert out["scores"] is None or not out["scores"]["raised"]


def test_scores_that_are_not_those_of_the_plan_raise_an_alarm(
    dummy: DummySource, run_cli: Any, cli_json: Any, fitted: dict[str, Path], many: Path, tmp_path: Path
) -> None:
    """The plan takes a third of right steps to look wrong, and the PRM alarms for one in twenty."""
    other = DYNAMICS.replace(false_alarms=0.33).save(tmp_path / "other.json")
    run = (
        "run", "--models", "dummy", "--problems", many, "--observations", fitted["observations"],
        "--dynamics", other, "--budget", 0.2,
    )  # fmt: skip
    code, _, told = run_cli(*run, "--out", tmp_path / "a")
    assert code == 0
    assert "PRM: higher scores than the plan was made on" in told
    assert cli_json(*run, "--out", tmp_path / "b", quiet=False)["scores"]["raised"]


def test_a_rule_that_no_model_knows_is_run_beside_both_ends(
    dummy: DummySource, cli_json: Any, run_cli: Any, fitted: dict[str, Path], problems: Path, tmp_path: Path
) -> None:
    run = ("run", "--models", "dummy", "--problems", problems, *model_options(fitted))
    out = cli_json(*run, "--strategy", "logprob-first:-1", "--out", tmp_path / "a")
    assert PolicyArtifact.read(tmp_path / "a" / "policy.json").policy == LogprobRule(
        feature="logprob_first", threshold=-1.0
    )
    assert out["planned"] is None
    assert out["weak_only"]["accuracy"] == pytest.approx(evaluate(StrategyRule(strategy="weak"), MODEL).accuracy)
    assert out["budget"] == pytest.approx(out["strong_tokens"] / MODEL.strong_only_tokens)
    assert out["tokens"]["scored"] == 0
    code, text, _ = run_cli(*run, "--strategy", "logprob:-1", "--out", tmp_path / "b")
    assert code == 0
    assert "weak-only," in text  # the head of a column, wrapped


@pytest.mark.slow
def test_resume_and_what_is_refused(
    dummy: DummySource, cli_json: Any, cli_refused: Any, many: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    options = ("run", "--models", "dummy", "--problems", many, "--strategy", "random:0.5", "--out", folder)
    whole = cli_json(*options)
    assert whole["planned"] is whole["budget"] is whole["budget_se"] is None
    assert PolicyArtifact.read(folder / "policy.json").planned is None
    cli_refused(*options, words=("exists", "--resume"))
    trace = folder / "traces.jsonl"
    content = trace.read_bytes()
    trace.write_bytes(content[: len(content) // 2])
    resumed = cli_json(*options, "--resume")
    times = {"wall_s", "overhead_share"}
    assert {k: v for k, v in resumed.items() if k not in times} == {k: v for k, v in whole.items() if k not in times}
    cli_refused(*options, "--resume", "--seed", 3, words=("is another run", "seed"))
    cli_refused(
        "run", "--models", "dummy", "--problems", many, "--strategy", "random:0.2", "--out", folder,
        "--resume", words=("is another run", "policy"),
    )  # fmt: skip
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("")
    cli_refused(*options[:-1], tmp_path / "foreign", "--resume", words=("holds no run", "mine.txt"))
    assert cli_json(*options[:-1], tmp_path / "new" / "run", "--resume")["problems"] == 1000, "an absent folder starts"


def test_a_summary_for_people(
    dummy: DummySource, run_cli: Any, fitted: dict[str, Path], many: Path, tmp_path: Path
) -> None:
    dummy.faults = Faults(problems=frozenset({"dummy-3"}))
    options = ("run", "--models", "dummy", "--problems", many, *model_options(fitted), "--budget", 0.2)
    code, out, err = run_cli(*options, "--out", tmp_path / "run")
    assert code == 0
    for word in (
        "planned",
        "measured",
        "standard",
        "accuracy",
        "strong tokens",
        "weak discarded",
        "a minute",
        "error 1",
    ):
        assert word in out
    assert err.startswith("1 of 1000 problems failed, the first by DummyError: call")
    assert err.endswith("fails on dummy-3\n")
    assert "a draw for each problem" in out
    assert list(read_traces(tmp_path / "run"))


def test_problems_that_one_model_finished_alone_are_told(
    dummy: DummySource, run_cli: Any, cli_json: Any, many: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(DummySource, "caps", Caps(max_steps=6, on_failure="strong"))
    dummy.faults = Faults(problems=frozenset({"dummy-3", "dummy-5"}))
    run = ("run", "--models", "dummy", "--problems", many, "--strategy", "weak", "--out", tmp_path / "run")
    code, out, err = run_cli(*run)
    assert (code, dummy.asked) == (0, [{"weak", "strong"}])
    assert "; went on alone 2\n" in out
    assert err.startswith("2 of 1000 problems were finished by one model alone, since another one had been given up")
    assert "the first by DummyError: call" in err
    document = cli_json("inspect", tmp_path / "run")
    assert (document["alone"], document["failed"]) == (2, 0)
    assert document["given_up"].startswith("DummyError: call ")
    assert "; went on alone 2\n" in run_cli("inspect", tmp_path / "run")[1]
    # Rollouts are of one model alone, which nobody stands in for.
    weak = cli_json("rollout", "--models", "dummy", "--problems", many, "--mode", "weak", "--out", tmp_path / "weak")
    assert weak["failed"] == 2
    assert dummy.asked[-1] == {"weak", "prm"}
    repair = ("rollout", "--models", "dummy", "--mode", "repair", "--from", tmp_path / "weak", "--out", tmp_path / "re")
    assert cli_json(*repair)["problems"] == 998


@pytest.mark.slow
def test_work_ahead_of_time_is_counted_and_changes_nothing_else(
    dummy: DummySource, run_cli: Any, cli_json: Any, cli_refused: Any, many: Path, tmp_path: Path
) -> None:
    run = ("run", "--models", "dummy", "--problems", many, "--threshold", 0.5, "--out")
    plain = cli_json(*run, tmp_path / "plain")
    ahead = cli_json(*run, tmp_path / "ahead", "--overlap")
    spent = {key for key, count in plain["tokens"].items() if ahead["tokens"][key] != count}
    assert spent == {"weak_ahead"}
    times = {"wall_s", "overhead_share", "tokens"}
    assert {k: v for k, v in ahead.items() if k not in times} == {k: v for k, v in plain.items() if k not in times}
    assert read_run_artifact(tmp_path / "ahead").config_hash == read_run_artifact(tmp_path / "plain").config_hash
    assert "weak ahead" in run_cli("inspect", tmp_path / "ahead")[1]
    assert "ahead" not in run_cli("inspect", tmp_path / "plain")[1].replace(str(tmp_path), "")
    cli_refused(*run, tmp_path / "warm", "--warm-strong", words=("cannot be made to read without writing",))


def test_a_step_cap_that_was_not_planned_is_told(
    dummy: DummySource, run_cli: Any, fitted: dict[str, Path], many: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    options = ("run", "--models", "dummy", "--problems", many, *model_options(fitted), "--threshold", 0.5, "--out")
    assert run_cli(*options, tmp_path / "same")[2] == ""
    monkeypatch.setattr(DummySource, "caps", Caps(max_steps=4))
    code, _, err = run_cli(*options, tmp_path / "other")
    assert (code, err.count("\n")) == (0, 2)
    assert "the plan may not come true: it is for solutions of up to 6 steps, now 4" in err
    assert "solutions end without an answer in a box" in err


def test_rules_that_do_not_fit_are_refused(
    cli_refused: Any, fitted: dict[str, Path], tiny: Path, problems: Path, tmp_path: Path
) -> None:
    run = ("run", "--models", tiny, "--problems", problems, "--out", tmp_path / "run")
    for options, words in (
        ((), ("give one of --budget B, --policy FILE, --threshold K",)),
        (("--threshold", 0.5, "--strategy", "weak"), ("give one of", "(got --threshold and --strategy)")),
        (("--budget", 0.2, "--threshold", 0.5), ("(got --budget and --threshold)",)),
        (("--budget", 0.2), ("--budget needs a fitted model",)),
        (("--budget", 1.2, *model_options(fitted)), ("budget is 1.2",)),
        (("--threshold", 1.5), ("--threshold",)),
        (("--strategy", "random"), ("--strategy random", "probability")),
        (("--strategy", "best"), ("--strategy best", "no strategy 'best'; there are weak, strong")),
        (("--strategy", "evidence-takeover:0.3"), ("--strategy evidence-takeover:0.3 needs a fitted model",)),
        (("--strategy", "oracle"), ("true classes are known",)),
        (("--belief", "posterior", "--closeness", 0.3), ("class table",)),
        (("--belief", "posterior"), ("go together",)),
        (("--strategy", "weak", "--family", "loop"), ("--family", "--models lab")),
        (("--strategy", "weak", "--evidence", "prm"), ("--evidence", "lab")),
        (("--policy", tmp_path / "absent.json"), ("cannot be read",)),
    ):
        cli_refused(*run, *options, words=words)
    assert not (tmp_path / "run").exists()
    for given, words in ((("--problems", 5), ("need a problem set",)), ((), ("--problems FILE.jsonl is needed",))):
        cli_refused("run", "--models", tiny, *given, "--strategy", "weak", "--out", tmp_path / "run", words=words)
    text = tiny.read_text()
    without = tiny.parent / "without.toml"
    without.write_text(text[: text.index("[prm]")])
    cli_refused(
        "run", "--models", without, "--problems", problems, "--threshold", 0.5, "--out", tmp_path / "run",
        words=("without.toml: no table [prm]",),
    )  # fmt: skip


def test_the_lab_draws_its_own_problems(cli_refused: Any, problems: Path, tmp_path: Path) -> None:
    lab = ("run", "--models", "lab", "--strategy", "weak", "--out", tmp_path / "run")
    cli_refused(*lab, "--problems", problems, words=("the lab draws its own",))
    cli_refused(*lab, "--problems", 0, words=("at least 1",))
    cli_refused(*lab, "--problems", "²", words=("give how many",))
    cli_refused(*lab, "--family", "ring", words=("no family 'ring'", "chain, loop, mixed, wordy"))


def test_real_models_of_ones_own(cli_json: Any, tiny: Path, problems: Path, tmp_path: Path) -> None:
    options = ("run", "--models", tiny, "--problems", problems, "--threads", 1)
    out = cli_json(*options, "--threshold", 0.4, "--out", tmp_path / "run", "--in-flight", 5)
    assert set(out) == RUN_KEYS
    assert out["problems"] == 12
    assert out["tokens"]["scored"] > 0
    again = cli_json(*options, "--threshold", 0.4, "--out", tmp_path / "again", "--in-flight", 12)
    assert {**again, "wall_s": 0, "overhead_share": 0} == {**out, "wall_s": 0, "overhead_share": 0}
    assert cli_json(*options, "--strategy", "weak", "--out", tmp_path / "weak")["tokens"]["scored"] == 0
    assert set(read_run_artifact(tmp_path / "weak").config["models"]) == {"weak"}
    text = (tmp_path / "run" / "run.json").read_text()
    assert str(tiny.parent) not in text, "no private paths"
    unknown = tmp_path / "unknown.jsonl"
    unknown.write_text('{"id": "a", "prompt": "Start 11; a) +11"}\n')
    alone = cli_json(
        "run",
        "--models",
        tiny,
        "--problems",
        unknown,
        "--strategy",
        "weak",
        "--threads",
        1,
        "--out",
        tmp_path / "alone",
    )
    assert alone["accuracy"] is None


# rollout ----------------------------------------------------------------------------------------------------


def test_rollouts_of_dummies_say_what_the_dummies_do(
    dummy: DummySource, cli_json: Any, many: Path, tmp_path: Path
) -> None:
    common = ("rollout", "--models", "dummy", "--labels", "--seed", 4)
    weak = cli_json(*common, "--problems", many, "--mode", "weak", "--out", tmp_path / "weak")
    assert set(weak) == {
        "mode", "problems", "accuracy", "accuracy_se", "steps", "tokens", "wall_s", "failed", "files",
    }  # fmt: skip
    assert weak["files"] == ["weak.jsonl", "scores.jsonl", "labelled.jsonl"]
    strong = cli_json(*common, "--problems", many, "--mode", "strong", "--out", tmp_path / "strong")
    repair = cli_json(
        *common, "--mode", "repair", "--from", tmp_path / "weak", "--repairs", 900, "--out", tmp_path / "re"
    )
    again = cli_json(
        *common, "--mode", "redraft", "--from", tmp_path / "weak", "--repairs", 300, "--out", tmp_path / "again"
    )
    assert dummy.asked == [{"weak", "prm"}, {"strong"}, {"strong"}, {"weak", "prm"}]
    assert again["files"] == ["redraft.jsonl"]
    assert (strong["files"], repair["files"]) == (["strong.jsonl"], ["repair.jsonl"])

    rows = read_weak_rollouts(tmp_path / "weak" / "weak.jsonl")
    traces = {record.terminal.problem: record for record in read_traces(tmp_path / "weak")}
    assert [row.problem_id for row in rows] == sorted(traces)
    for row in rows:
        record = traces[row.group]
        assert row.tokens == tuple(item.weak.tokens for item in record.decisions if item.weak)
        assert row.scores == record.own_scores
        assert row.correct == record.terminal.correct == (row.label == -1)
    assert sum(row.correct for row in rows) / 1000 == weak["accuracy"]
    assert sum(sum(row.tokens or ()) for row in rows) == weak["tokens"]["weak_kept"]
    assert {len(row.tokens) for row in read_strong_rollouts(tmp_path / "strong" / "strong.jsonl")} <= set(range(1, 7))

    redone = read_repair_rollouts(tmp_path / "re" / "repair.jsonl")
    assert len(redone) == 900
    assert sum(sum(row.strong_tokens) for row in redone) == repair["tokens"]["strong"]
    by_problem = {row.problem_id: row for row in rows}
    for item in redone:
        original = by_problem[item.group]
        assert original.scores is not None
        assert item.scores == original.scores[: item.n_steps]
        assert item.redone_right or not item.correct
        draft = traces[item.group].decisions[item.n_steps - 1].weak
        assert draft is not None
        assert item.ended == (draft.stop == "answer")
    # A dummy draws the weak step anew for every id, and a repair has an id of its own.
    right = [bool(item.redone_right) for item in redone if item.true_class != 1]
    assert DYNAMICS.strong_success is not None
    assert DYNAMICS.repair is not None
    rate = 0.85 * DYNAMICS.strong_success + 0.15 * DYNAMICS.repair
    assert sum(right) / len(right) == pytest.approx(rate, abs=4 * (rate * (1 - rate) / len(right)) ** 0.5)
    assert not any(item.redone_right for item in redone if item.true_class == 1)

    redrafts = read_redraft_rollouts(tmp_path / "again" / "redraft.jsonl")
    assert len(redrafts) == 300
    for drafted in redrafts:
        original = by_problem[drafted.group]
        assert original.scores is not None
        assert drafted.scores == original.scores[: drafted.n_steps]
        assert drafted.redrafted.scores is not None
        assert drafted.redrafted_right or not drafted.correct
        assert drafted.repeated is False, "no two texts of the dummies are alike"
        assert drafted.n_steps - 1 + drafted.redrafted.n_steps <= 6
    written = sum(sum(drafted.redrafted.tokens or ()) for drafted in redrafts)
    assert written == again["tokens"]["weak_kept"]

    scores = read_step_scores(tmp_path / "weak" / "scores.jsonl")
    assert {name for record in scores for name in record.scores} == {"dummy-prm"}
    assert [record.label for record in scores] == [row.label for row in rows]
    assert read_problems(tmp_path / "weak" / "problems.jsonl") == dummy_problems(1000)


def test_without_labels_nothing_of_the_truth_is_written(
    dummy: DummySource, cli_json: Any, many: Path, tmp_path: Path
) -> None:
    common = ("rollout", "--models", "dummy")
    cli_json(*common, "--problems", many, "--mode", "weak", "--no-scores", "--out", tmp_path / "weak")
    cli_json(*common, "--problems", many, "--mode", "strong", "--out", tmp_path / "strong")
    cli_json(*common, "--mode", "repair", "--from", tmp_path / "weak", "--repairs", 50, "--out", tmp_path / "repair")
    assert dummy.asked[0] == {"weak"}
    for name in ("weak", "strong", "repair"):
        text = (tmp_path / name / f"{name}.jsonl").read_text()
        assert not any(word in text for word in ("label", "class", "redone_right", "scores"))
    assert sorted(os.listdir(tmp_path / "weak")) == [
        ".lock",
        "problems.jsonl",
        "run.json",
        "traces.jsonl",
        "weak.jsonl",
    ]
    (row, *_) = read_weak_rollouts(tmp_path / "weak" / "weak.jsonl")
    assert set(row.features) == {"logprob_min", "logprob_mean", "logprob_first"}
    assert len(read_repair_rollouts(tmp_path / "repair" / "repair.jsonl")) == 50


@pytest.mark.parametrize("verb", [("run", "--strategy", "weak"), ("rollout", "--mode", "weak")])
def test_a_run_in_which_everything_failed_is_an_error(
    dummy: DummySource, run_cli: Any, many: Path, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    dummy.faults = Faults(probability=1.0)
    run = (*verb, "--models", "dummy", "--problems", many, "--out", tmp_path / "run", "--json")
    code, out, err = run_cli(*run)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "every problem failed, the first by DummyError" in err
    assert run_cli(*run, "--resume") == (code, out, err)


def test_planned_and_measured_budgets_of_a_policy_have_one_unit(
    dummy: DummySource, cli_json: Any, fitted: dict[str, Path], many: Path, tmp_path: Path
) -> None:
    dynamics = DYNAMICS.model_copy(update={"strong_only_tokens": MODEL.strong_only_tokens / 2})
    elsewhere = ("--observations", fitted["observations"], "--dynamics", dynamics.save(tmp_path / "other.json"))
    out = cli_json(
        "run",
        "--models",
        "dummy",
        "--problems",
        many,
        *elsewhere,
        "--policy",
        fitted["policy"],
        "--out",
        tmp_path / "r",
    )
    assert out["strong_tokens"] / out["budget"] == pytest.approx(MODEL.strong_only_tokens)


@pytest.mark.slow
def test_rollouts_resume_and_leave_out_what_failed(
    dummy: DummySource, run_cli: Any, cli_json: Any, cli_refused: Any, many: Path, tmp_path: Path
) -> None:
    dummy.faults = Faults(problems=frozenset({"dummy-3", "dummy-7"}))
    weak = ("rollout", "--models", "dummy", "--problems", many, "--mode", "weak", "--out", tmp_path / "weak")
    code, out, err = run_cli(*weak)
    assert (code, err.count("\n")) == (0, 2)
    assert "2 of 1000 problems failed, the first by DummyError" in err
    assert "weak.jsonl" in out
    before = (tmp_path / "weak" / "weak.jsonl").read_bytes()
    assert before.count(b"\n") == 998
    cli_refused(*weak, words=("exists",))
    trace = tmp_path / "weak" / "traces.jsonl"
    trace.write_bytes(trace.read_bytes()[:-1000])
    repair = ("rollout", "--models", "dummy", "--mode", "repair", "--from", tmp_path / "weak", "--out", tmp_path / "re")
    cli_refused(*repair, words=("is not finished",))
    (tmp_path / "weak" / "weak.jsonl").unlink()
    assert cli_json(*weak, "--resume")["failed"] == 2
    assert (tmp_path / "weak" / "weak.jsonl").read_bytes() == before
    assert cli_json(*repair)["problems"] == 998, "one a solution by default"
    trace = tmp_path / "re" / "traces.jsonl"
    written = (tmp_path / "re" / "repair.jsonl").read_bytes()
    trace.write_bytes(trace.read_bytes()[:5000])
    cli_json(*repair, "--resume")
    assert (tmp_path / "re" / "repair.jsonl").read_bytes() == written
    cli_refused(*repair, "--resume", "--seed", 5, words=("is another run",))
    (tmp_path / "weak" / "problems.jsonl").write_text('{"id": "dummy-0", "prompt": "x", "answer": "y"}\n')
    cli_refused(*repair[:-1], tmp_path / "other", words=("holds other problems",))


def test_rollouts_that_do_not_fit_are_refused(cli_refused: Any, tiny: Path, problems: Path, tmp_path: Path) -> None:
    from tiny import write_problems

    out = ("--out", tmp_path / "out")
    solo = ("rollout", "--models", tiny, "--problems", problems, *out, "--mode")
    for options, words in (
        (("both",), ("unknown mode 'both'",)),
        (("weak", "--repairs", 3), ("--repairs",)),
        (("strong", "--no-scores"), ("--no-scores",)),
        (("weak", "--labels"), ("--labels", "the lab")),
        (("repair",), ("--from",)),
        (("weak", "--from", tmp_path), ("--from",)),
        (("repair", "--from", tmp_path), ("leave out --problems",)),
    ):
        cli_refused(*solo, *options, words=words)
    cli_refused("rollout", "--models", tiny, *out, "--mode", "repair", "--from", tmp_path, words=("run.json",))
    unknown = write_problems(tmp_path / "unknown.jsonl", answers=False)
    cli_refused(
        "rollout", "--models", tiny, "--problems", unknown, *out, "--mode", "weak", words=("'p0' has no answer",)
    )
    assert not (tmp_path / "out").exists()


def test_rollouts_of_real_models(cli_json: Any, cli_refused: Any, tiny: Path, problems: Path, tmp_path: Path) -> None:
    common = ("rollout", "--models", tiny, "--threads", 1)
    weak = cli_json(*common, "--problems", problems, "--mode", "weak", "--out", tmp_path / "weak")
    cli_json(*common, "--problems", problems, "--mode", "strong", "--out", tmp_path / "strong")
    cli_json(*common, "--mode", "repair", "--from", tmp_path / "weak", "--out", tmp_path / "repair")
    rows = read_weak_rollouts(tmp_path / "weak" / "weak.jsonl")
    assert len(rows) == 12
    assert weak["tokens"]["scored"] > 0
    assert all(row.scores for row in rows)
    assert len(read_strong_rollouts(tmp_path / "strong" / "strong.jsonl")) == 12
    assert len(read_repair_rollouts(tmp_path / "repair" / "repair.jsonl")) == 12
    cli_refused(
        *common, "--mode", "repair", "--from", tmp_path / "strong", "--out", tmp_path / "x", words=("no weak rollout",)
    )
    with pytest.raises(InputError, match=r"repair\.jsonl, line 1.*it is a repair"):
        read_weak_rollouts(tmp_path / "repair" / "repair.jsonl")
    for other in ((), ("--models", tiny.with_name("other.toml"))):
        tiny.with_name("other.toml").write_text(tiny.read_text().replace("[weak]", "[weak]\ntemperature = 0.6", 1))
        repair = ("rollout", *other, "--mode", "repair", "--from", tmp_path / "weak", "--out", tmp_path / "x")
        cli_refused(*repair, words=(str(tmp_path / "weak"), "other models"))


# score ------------------------------------------------------------------------------------------------------


def labelled(path: Path, n: int = 160) -> Path:
    rows = []
    for i in range(n):
        steps = [f"a) 1{i % 10}+11={i % 100:02d}", "b) 33+10=43", "c) 43*11=73 \\boxed{73}"]
        label = i % 4 - 1
        row = LabelledSolution(
            id=f"s{i}",
            generator="g",
            problem="Start 10",
            steps=tuple(steps),
            label=label,
            final_answer_correct=label < 0,
        )
        rows.append(row.model_dump_json() + "\n")
    path.write_text("".join(rows))
    return path


@pytest.mark.slow
def test_scores_are_what_observations_are_fitted_on(
    cli_json: Any, cli_refused: Any, tiny: Path, tmp_path: Path
) -> None:
    solutions, out = labelled(tmp_path / "solutions.jsonl"), tmp_path / "scores.jsonl"
    score = ("score", "--models", tiny, "--solutions", solutions, "--threads", 1, "--out", out)
    document = cli_json(*score, "--logprobs")
    assert set(document) == {"out", "solutions", "scored", "measured", "wall_s"}
    assert (document["solutions"], document["scored"], document["measured"]) == (160, 160, ["prm", "logprobs"])
    records = read_step_scores(out)
    assert [record.id for record in records] == [f"s{i}" for i in range(160)]
    for record in records:
        assert record.n_scored == 3
        assert set(record.features) == {"logprob_min", "logprob_mean", "logprob_first"}
        assert len(record.scores["prm"]) == 3
    whole = out.read_bytes()
    cli_refused(*score, "--logprobs", words=("exists", "--resume"))
    out.write_bytes(whole[: len(whole) // 2])
    half = whole[: len(whole) // 2].count(b"\n")
    assert cli_json(*score, "--logprobs", "--resume")["scored"] == 160 - half
    assert [record.id for record in read_step_scores(out)] == [record.id for record in records]
    for before, after in zip(records, read_step_scores(out), strict=True):
        assert after.scores["prm"] == pytest.approx(before.scores["prm"], abs=1e-5)
    assert cli_json(*score, "--logprobs", "--resume")["scored"] == 0
    cli_refused(*score, "--resume", words=("another scoring",))
    cli_refused(*score, "--logprobs", "--resume", "--prm", "other", words=("another scoring",))
    cli_refused(
        "score", "--models", tiny, "--solutions", labelled(tmp_path / "few.jsonl", 3), "--logprobs", "--out", out,
        "--resume", words=("no solution of these",),
    )  # fmt: skip
    alone = tmp_path / "alone.jsonl"
    cli_json("score", "--models", tiny, "--solutions", solutions, "--no-scores", "--logprobs", "--out", alone)
    for kind in ("prm", "prm+logprob"):
        fit = ("fit-observations", "--scores", alone, "--evidence", kind, "--out", tmp_path / "none.json")
        cli_refused(*fit, words=(str(alone), "no PRM scores", "--evidence logprob"))
    for kind in ("prm", "logprob", "prm+logprob"):
        fit = ("fit-observations", "--scores", out, "--evidence", kind, "--out", tmp_path / f"{kind}.json")
        assert cli_json(*fit)["out"] == str(tmp_path / f"{kind}.json")
        named = ObservationModel.read(tmp_path / f"{kind}.json").name
        assert named == ("scores" if kind == "logprob" else "prm"), "by what it is of"


def test_scores_that_cannot_be_made_are_refused(cli_refused: Any, tiny: Path, tmp_path: Path) -> None:
    solutions = labelled(tmp_path / "solutions.jsonl", 3)
    score = ("score", "--models", tiny, "--out", tmp_path / "scores.jsonl", "--solutions")
    cli_refused(*score, solutions, "--no-scores", words=("--logprobs",))
    cli_refused(*score, tmp_path / "absent.jsonl", words=("cannot be read",))
    (tmp_path / "bad.jsonl").write_text('{"id": "a"}\n')
    cli_refused(*score, tmp_path / "bad.jsonl", words=("bad.jsonl, line 1", "missing"))
    (tmp_path / "twice.jsonl").write_text(solutions.read_text() * 2)
    cli_refused(*score, tmp_path / "twice.jsonl", words=("occurs twice",))
    (tmp_path / "token.jsonl").write_text(solutions.read_text().replace("Start 10", "Start <extra_0>"))
    cli_refused(*score, tmp_path / "token.jsonl", words=("its prompt contains <extra_0>",))
    cli_refused(
        "score", "--models", tiny, "--out", tmp_path / "no" / "x", "--solutions", solutions, words=("no folder",)
    )


def test_log_probabilities_of_given_steps_are_those_of_writing_them(tiny: Path) -> None:
    from trim_pomdp.data.problems import Problem
    from trim_pomdp.runtime.protocols import ScoreRequest, StepRequest

    (weak,) = (lab_source.model_source(str(tiny)).load({"weak"}).weak,)
    assert weak is not None
    compared = 0
    for i in range(60):  # a random model leaves boxes open, whose steps are over with their last token only
        problem = Problem(f"q{i}", "Start 10; a) +11", "21")
        steps: list[str] = []
        written = []
        for _ in range(3):
            (step,) = weak.generate_batch([StepRequest(problem, tuple(steps), 1, 12)])
            if step.stop != "separator" or not step.text:
                break
            steps.append(step.text)
            written.append(step.logprobs)
        if not steps:
            continue
        (given,) = weak.step_logprobs([ScoreRequest(problem, (*steps, "b) 21+10=31 \\boxed{31}"))])
        for mine, theirs in zip(given[:-1], written, strict=True):
            if len(mine) == len(theirs):  # texts that a random model writes need not be cut into the same tokens again
                assert mine == pytest.approx(theirs, abs=1e-4)
                compared += 1
    assert compared >= 10


@pytest.mark.parametrize("verb", ["run", "rollout"])
def test_ctrl_c_says_how_to_go_on(
    dummy: DummySource, run_cli: Any, fitted: dict[str, Path], many: Path, tmp_path: Path, monkeypatch: Any, verb: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trim_pomdp.runtime.run.solve_all", interrupted)
    options = ("--threshold", 0.5) if verb == "run" else ("--mode", "weak")
    code, out, err = run_cli(verb, "--models", "dummy", "--problems", many, *options, "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    assert err == "interrupted; what was done is kept: the same command with --resume goes on\n"


@pytest.mark.slow
def test_four_commands_from_models_to_a_run(dummy: DummySource, run_cli: Any, tmp_path: Path) -> None:
    """All rollouts at once, a fit of their folder on a preset's observations, a policy, a run."""
    problems, dynamics, policy = tmp_path / "problems.jsonl", tmp_path / "dynamics.json", tmp_path / "policy.json"
    problems.write_text(problems_text(dummy_problems(120)))
    models = ("--models", "dummy", "--problems", problems)

    def good(*arguments: object) -> str:
        code, out, err = run_cli(*arguments)
        assert code == 0, err
        return str(out)

    told = good("rollout", "--mode", "all", *models, "--out", tmp_path / "all", "--seed", 1)
    assert "next: trim-pomdp fit-dynamics --rollouts" in told
    for mode in ("weak", "strong", "repair"):
        assert len((tmp_path / "all" / mode / f"{mode}.jsonl").read_text().splitlines()) > 100
    code, _, err = run_cli("rollout", "--mode", "all", *models, "--out", tmp_path / "all", "--seed", 1)
    assert (code, "resume the run in it" in err) == (2, True)
    good("rollout", "--mode", "all", *models, "--out", tmp_path / "all", "--seed", 1, "--resume")
    seen = ("--observations", "qwen2.5-1.5b-7b-math")
    good("fit-dynamics", "--rollouts", tmp_path / "all", *seen, "--no-intervals", "--out", dynamics)
    fitted = StepDynamics.read(dynamics)
    assert fitted.max_steps == DummySource.caps.max_steps == fitted.conditions.max_steps  # type: ignore[union-attr]
    assert fitted.repair is not None
    good("policy", *seen, "--dynamics", dynamics, "--budget", 0.2, "--out", policy)
    document = json.loads(good("run", *models, "--policy", policy, "--out", tmp_path / "run", "--json"))
    assert document["weak_only"]["accuracy"] < document["planned"]["accuracy"]
    assert document["strong_only"]["strong_tokens"] > document["planned"]["strong_tokens"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--from", "x"), "--from goes with --mode repair"),
        (("--shard", "1/2"), "--shard goes with one mode at a time"),
        (("--json",), "--json goes with one mode at a time"),
    ],
)
def test_all_modes_at_once_refuse_what_goes_with_one(run_cli: Any, tmp_path: Path, more: Any, words: str) -> None:
    code, _, err = run_cli("rollout", "--mode", "all", "--models", "dummy", "--out", tmp_path / "all", *more)
    assert (code, words in err) == (2, True)
