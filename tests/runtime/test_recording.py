"""Rollouts, checks and outcomes from Python: the same as the verbs', and told in tables."""

from pathlib import Path

import pytest
from fake_vllm import FakeVllm, problems
from scripted import DYNAMICS, MODEL, OBSERVATIONS, PRICES, WORLD
from scripted import recorded as recorded_solution
from test_served_models import Servers, models_file, servers, source

import trim_pomdp as tp
from trim_pomdp.data.problems import problems_text
from trim_pomdp.runtime.backends.dummy import dummy_problems
from trim_pomdp.runtime.rollouts import ROLLOUT_FILES
from trim_pomdp.runtime.sources import FileSource

__all__ = ["servers"]

# In this world a step ends the solution by a hazard of each class, for which there are few rollouts here.
COUNT = 60


@pytest.fixture(scope="module")
def dummy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models file of scripted models, by which nothing but the way through the files is tested."""
    folder = tmp_path_factory.mktemp("dummy")
    OBSERVATIONS.save(folder / "observations.json")
    tables = (
        f'[{role}]\nbackend = "dummy"\nobservations = "observations.json"\ndynamics = "dynamics.json"\n'
        for role in ("weak", "strong", "prm")
    )
    DYNAMICS.save(folder / "dynamics.json")
    (folder / "models.toml").write_text("\n".join(tables) + "[limits]\nmax_steps = 6\n")
    return folder / "models.toml"


def asked(count: int = COUNT) -> list[tp.Problem]:
    return list(dummy_problems(count))


@pytest.fixture(scope="module")
def recorded(dummy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "rollouts"
    summaries = tp.record_rollouts(asked(), tp.model_source(str(dummy)), folder)
    assert {mode: item.problems for mode, item in summaries.items()} == dict.fromkeys(
        ("weak", "strong", "repair", "redraft"), COUNT
    )
    return folder


@pytest.mark.slow
def test_rollouts_are_those_of_the_verb(dummy: Path, recorded: Path, tmp_path: Path, run_cli) -> None:
    (tmp_path / "problems.jsonl").write_text(problems_text(asked()))
    models = ("--models", dummy, "--problems", tmp_path / "problems.jsonl")
    code, _, errors = run_cli("rollout", "--mode", "all", *models, "--out", tmp_path / "verb")
    assert code == 0, errors
    names = [name for name in ROLLOUT_FILES if (recorded / name.split(".")[0] / name).exists()]
    assert names == ["weak.jsonl", "strong.jsonl", "repair.jsonl", "redraft.jsonl"]
    for name in names:
        mode = name.split(".")[0]
        mine, verbs = ((folder / mode / name).read_text() for folder in (recorded, tmp_path / "verb"))
        assert sorted(mine.splitlines()) == sorted(verbs.splitlines())


@pytest.mark.slow
def test_dynamics_are_fitted_from_the_folder(recorded: Path) -> None:
    rollouts = tp.read_rollouts(recorded)
    found = rollouts.sources.rollouts
    assert found is not None
    right = sum(item.correct for item in found.weak) / COUNT
    assert rollouts.facts() == {
        "weak right": f"{right:.3f} of {COUNT}",
        "strong right": f"{sum(item.correct for item in found.strong) / COUNT:.3f} of {COUNT}",
        "repairs right": f"{sum(item.correct for item in found.repairs) / COUNT:.3f} of {COUNT}",
        "redrafts right": f"{sum(item.correct for item in found.redrafts) / COUNT:.3f} of {COUNT}",
        "max_steps": 6,
    }
    dynamics = rollouts.fit(OBSERVATIONS, name="mine", intervals=False)
    assert (dynamics.name, dynamics.max_steps) == ("mine", 6)
    assert dynamics.conditions is not None
    assert dynamics.conditions.models["weak"]["backend"] == "dummy"
    assert tp.evaluate(tp.StrategyRule(strategy="weak"), tp.RoutingModel(OBSERVATIONS, dynamics)).accuracy == (
        pytest.approx(right, abs=0.12)
    )


@pytest.mark.parametrize("mode", ["weak", "strong", "repair", "redraft"])
def test_a_rollout_is_read_with_what_was_asked(recorded: Path, mode: str) -> None:
    run = tp.read_run(recorded / mode)
    prompts = {item.id: item.prompt for item in asked()}
    assert {name.split("@")[0] for name in run.prompts} <= set(prompts)  # a repair has the step in its name
    assert set(run.prompts) == set(run.problems["problem"])
    assert list(run.problems["prompt"]) == [prompts[name.split("@")[0]] for name in run.problems["problem"]]
    order = list(run.prompts)
    assert [order.index(name) for name in run.problems["problem"]] == list(range(COUNT))


def test_the_folder_of_all_rollouts_names_those_in_it(recorded: Path, tmp_path: Path, cli_refused) -> None:
    inside = r"holds no run; there are runs in redraft, repair, strong, weak"
    with pytest.raises(tp.InputError, match=inside):
        tp.read_run(recorded)
    with pytest.raises(tp.InputError, match=inside):
        tp.inspect_run(recorded)
    cli_refused("inspect", recorded, words=(inside,))
    cli_refused("report", recorded, "--out", tmp_path / "report.html", words=(inside,))
    with pytest.raises(tp.InputError, match="there is no such run"):
        tp.read_run(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(tp.InputError, match="is no folder of a run"):
        tp.read_run(tmp_path / "notes.txt")
    assert tp.read_run(recorded / "weak" / "run.json").folder == recorded / "weak"


def test_what_is_there_is_not_written_over(dummy: Path, recorded: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in recorded.rglob("*.jsonl")}
    with pytest.raises(tp.InputError):
        tp.record_rollouts(asked(), tp.model_source(str(dummy)), recorded)
    assert {path: path.stat().st_mtime_ns for path in recorded.rglob("*.jsonl")} == before
    with pytest.raises(tp.InputError, match="holds no weak rollouts"):
        tp.read_rollouts(tmp_path)
    blind = tmp_path / "models.toml"
    blind.write_text('[weak]\nbackend = "transformers"\nmodel = "a"\n[strong]\nbackend = "transformers"\nmodel = "b"\n')
    with pytest.raises(tp.InputError, match="exist only where true classes are known"):
        tp.record_rollouts(asked(2), tp.model_source(str(blind)), tmp_path / "labels", labels=True)
    assert not (tmp_path / "labels").exists()


@pytest.fixture
def no_prm(dummy: Path) -> Path:
    """The same models without the third."""
    path = dummy.with_name("no-prm.toml")
    text = dummy.read_text()
    path.write_text(text[: text.index("[prm]")] + text[text.index("[limits]") :])
    return path


def test_without_a_prm_rollouts_have_no_scores(no_prm: Path, tmp_path: Path) -> None:
    source = tp.model_source(str(no_prm))
    with pytest.raises(tp.InputError, match=r"no table \[prm\]"):
        tp.record_rollouts(asked(), source, tmp_path / "rollouts")
    assert not (tmp_path / "rollouts").exists()
    summaries = tp.record_rollouts(asked(), source, tmp_path / "rollouts", scores=False)
    assert summaries["weak"].tokens["scored"] == 0
    weak = tp.read_weak_rollouts(tmp_path / "rollouts" / "weak" / "weak.jsonl")
    assert [item.scores for item in weak] == [None] * COUNT
    assert all(set(item.features) == {"logprob_min", "logprob_mean", "logprob_first"} for item in weak)
    assert len(tp.read_repair_rollouts(tmp_path / "rollouts" / "repair" / "repair.jsonl")) == COUNT


def test_the_verb_records_all_modes_without_a_prm(no_prm: Path, tmp_path: Path, run_cli, cli_refused) -> None:
    (tmp_path / "problems.jsonl").write_text(problems_text(asked()))
    models = ("rollout", "--mode", "all", "--models", no_prm, "--problems", tmp_path / "problems.jsonl")
    cli_refused(*models, "--out", tmp_path / "verb", words=("no table [prm]",))
    assert not (tmp_path / "verb").exists()
    code, told, errors = run_cli(*models, "--no-scores", "--repairs", 7, "--out", tmp_path / "verb")
    assert code == 0, errors
    assert [line.split("/: ")[0] for line in told.splitlines() if line.startswith("wrote ")] == [
        f"wrote {tmp_path / 'verb' / mode}" for mode in ("weak", "strong", "repair", "redraft")
    ]
    tp.record_rollouts(asked(), tp.model_source(str(no_prm)), tmp_path / "python", scores=False, repairs=7)
    for name in ("weak", "strong", "repair", "redraft"):
        mine, verbs = ((tmp_path / by / name / f"{name}.jsonl").read_text() for by in ("python", "verb"))
        assert sorted(mine.splitlines()) == sorted(verbs.splitlines())
        assert len(mine.splitlines()) == (7 if name.startswith("re") else COUNT)


@pytest.mark.parametrize("repairs", [0, -3])
def test_how_many_repairs_is_checked_before_anything_is_run(dummy: Path, tmp_path: Path, repairs: int) -> None:
    with pytest.raises(tp.InputError, match=f"repairs is {repairs}; expected"):
        tp.record_rollouts(asked(), tp.model_source(str(dummy)), tmp_path / "rollouts", repairs=repairs)
    assert not (tmp_path / "rollouts").exists()


def test_rollouts_go_on(dummy: Path, recorded: Path, tmp_path: Path) -> None:
    models = tp.model_source(str(dummy))

    def stop(done: int, _: int, __: object) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tp.record_rollouts(asked(), models, tmp_path / "rollouts", in_flight=4, progress=stop)
    tp.record_rollouts(asked(), models, tmp_path / "rollouts", resume=True)
    for name in ("weak", "strong", "repair"):
        mine, whole = ((folder / name / f"{name}.jsonl").read_text() for folder in (tmp_path / "rollouts", recorded))
        assert sorted(mine.splitlines()) == sorted(whole.splitlines())


# The look into models ---------------------------------------------------------------------------------------


def test_a_check_is_a_table_with_the_bad_ones_first(tmp_path: Path, servers: Servers) -> None:
    path = models_file(tmp_path, servers)
    good = tp.check_models(source(path), problems(8))
    assert {item.role for item in good} == {"weak", "strong", "prm"}
    servers["prm"].constant = 0.5
    found = tp.check_models(source(path), problems(8))
    assert [(item.role, item.what) for item in found.bad][:1] == [("prm", "range")]
    assert repr(found).startswith(f"Verdicts({len(found.bad)} bad, ")
    html = found._repr_html_()
    assert html.index("<td>bad</td>") < html.index("<td>good</td>")
    assert html.count("<tr>") == 1 + len(found)


@pytest.mark.slow  # it is asked for ten seconds
def test_a_server_that_is_not_there_is_one_verdict(tmp_path: Path) -> None:
    weak, strong, prm = FakeVllm(WORLD, "weak"), FakeVllm(WORLD, "strong"), FakeVllm(WORLD, None)
    with weak.running(), strong.running():
        with prm.running():
            path = models_file(tmp_path, {"weak": weak, "strong": strong, "prm": prm})
        found = tp.check_models(source(path), problems(4))
    assert [(item.role, item.what) for item in found.bad] == [("prm", "there")]


def test_a_file_without_models_has_nothing_to_check(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("[limits]\nmax_steps = 3\n")
    with pytest.raises(tp.InputError, match="nothing to check"):
        tp.check_models(tp.model_source(str(tmp_path / "models.toml")))


# What was measured beside what was planned -------------------------------------------------------------------


def test_the_outcome_is_what_the_verb_shows(dummy: Path, tmp_path: Path, cli_json) -> None:
    policy = tp.policy_for_budget(MODEL, 0.3)
    policy.save(tmp_path / "policy.json")
    (tmp_path / "problems.jsonl").write_text(problems_text(asked()))
    told = cli_json(
        *("run", "--models", dummy, "--problems", tmp_path / "problems.jsonl"),
        *("--policy", tmp_path / "policy.json", "--out", tmp_path / "verb"),
        quiet=False,
    )
    summary = tp.run_live(policy, asked(), tp.model_source(str(dummy)), tmp_path / "run")
    rows = {row[0]: row[1:] for row in tp.Outcome.of(summary, policy).rows}
    for name in ("accuracy", "strong_tokens", "regenerations"):
        planned, measured, error, weak, strong = rows[name.replace("_", " ")]
        assert (planned, measured, error) == (told["planned"][name], told[name], told.get(f"{name}_se", error))
        assert (weak, strong) == (told["weak_only"][name], told["strong_only"][name])
    assert rows["budget"][1] == told["budget"]
    shown = repr(tp.Outcome.of(summary, policy))
    assert shown.startswith(f"Outcome(problems {COUNT}, accuracy 0.")
    assert "planned accuracy 0." in shown
    html = tp.Outcome.of(summary, tp.ThresholdRule(threshold=0.5))._repr_html_()
    assert "<td>–</td>" in html, "nothing was planned of a bare rule"


def test_a_run_wants_prices_of_all_models_that_it_asks(
    dummy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any of them is loaded; not of those that it does not ask."""
    source, no_prm = tp.model_source(str(dummy)), PRICES.model_copy(update={"prm": None})
    with monkeypatch.context() as patch:
        patch.setattr(FileSource, "load", lambda *_: pytest.fail("a model is loaded"))
        with pytest.raises(tp.InputError, match=r"no price of the prm model; give a table \[prm\.price\]"):
            tp.run_live(tp.ThresholdRule(threshold=0.5), asked(4), source, tmp_path / "run", prices=no_prm)
    assert not (tmp_path / "run").exists()
    rule = tp.StrategyRule(strategy="random", probability=0.5)
    tp.run_live(rule, asked(4), source, tmp_path / "run", prices=no_prm)
    run = tp.read_run(tmp_path / "run")
    assert run.unpriced == ()
    assert all(money > 0.0 for money in run.problems["money"])


# Progress ------------------------------------------------------------------------------------------------------


def routed(models: Path, folder: Path) -> None:
    rule, source = tp.ThresholdRule(threshold=0.5), tp.model_source(str(models))
    tp.run_live(rule, asked(8), source, folder / "run", progress=tp.ProgressLine("routing"))


def test_progress_is_silent_where_nobody_could_see_it_change(dummy: Path, tmp_path: Path, capfd) -> None:
    progress = tp.ProgressLine("routing")
    tp.run_live(
        tp.ThresholdRule(threshold=0.5), asked(8), tp.model_source(str(dummy)), tmp_path / "run", progress=progress
    )
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_it_is_one_line(dummy: Path, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = tp.ProgressLine("routing")
    tp.run_live(
        tp.ThresholdRule(threshold=0.5), asked(8), tp.model_source(str(dummy)), tmp_path / "run", progress=progress
    )
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.endswith("\x1b[K\n")
    assert "routing: 8 of 8 problems, " in told.split("\r")[-1]


def test_it_tells_the_time_and_failures_of_each_job(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the second job alone, however long nothing went on before and between."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    now = [100.0]
    monkeypatch.setattr("trim_pomdp.inspection.progress.perf_counter", lambda: now[0])
    progress, ended = tp.ProgressLine("routing"), recorded_solution().terminal

    def tell(done: int, elapsed_s: float, error: str | None = None) -> str:
        now[0] += 60.0
        progress(done, 30, ended.model_copy(update={"elapsed_s": elapsed_s, "error": error}))
        return capfd.readouterr().err.removeprefix("\r").removesuffix("\x1b[K")

    assert tell(1, 0.4) == "routing: 1 of 30 problems, 0 s"
    assert tell(2, 7.0, "broken") == "routing: 2 of 30 problems, 1 failed, 7 s"
    assert tell(1, 9.0) == "routing: 1 of 30 problems, 9 s", "another job"
    assert tell(21, 2.0) == "routing: 21 of 30 problems, 2 s", "one that goes on"
