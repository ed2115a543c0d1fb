"""The command line: documents with exactly the promised keys, tables that fit, one line and code 2 for bad input."""

import gzip
import json
import math
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.cli import output
from trim_pomdp.data.features import CLASSES

FITTED, PAPER = "qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"
POINT = {"tradeoff", "accuracy", "strong_tokens", "regenerations", "budget"}
MORE = {"kept_tokens", "discarded_tokens", "steps"}
WEAK, STRONG = "qwen2.5-1.5b-instruct", "qwen2.5-7b-instruct"


@pytest.fixture(scope="module")
def files(shared, tmp_path_factory) -> dict[str, Path]:
    """Artifacts made once: observations and dynamics of sequences and of steps, a policy, a frontier."""
    folder, data = tmp_path_factory.mktemp("files"), shared / "data"
    names = ("observations", "from_sequences", "from_steps", "policy", "frontier", "dynamics", "preset")
    paths = {name: folder / f"{name}.json" for name in names}
    observations = tp.fit_observations("math", tp.read_class_features(data / "prm_features_math.npz"))
    observations.save(paths["observations"])
    counts = tp.read_step_counts(data / "trim_step_counts.json.gz")
    sources = tp.Sources(weak_counts=counts.of(WEAK), strong_counts=counts.of(STRONG))
    tp.fit_dynamics("steps", sources, observations, intervals=False).save(paths["from_steps"])
    few = folder / "few.jsonl"
    with gzip.open(data / "math500_sequences_dev.jsonl.gz", "rt") as lines:
        few.write_text("".join(line for _, line in zip(range(120), lines, strict=False)))
    batch = tp.SequenceBatch.of(tp.read_sequences(few))
    tp.fit_dynamics("few", tp.Sources(sequences=batch), observations, intervals=False).save(paths["from_sequences"])
    preset = tp.load_preset(FITTED)
    preset.save(paths["preset"])
    preset.dynamics.save(paths["dynamics"])
    preset.observations.save(folder / "preset-observations.json")
    model = preset.routing_model()
    tp.policy_for_budget(model, 0.2).save(paths["policy"])
    from trim_pomdp.planning.frontier_artifact import FrontierArtifact

    planned = tp.solve_frontier(model, 12, gap=1e-3)
    FrontierArtifact.of(planned, tp.threshold_curve(model)).save(paths["frontier"])
    return {**paths, "sequences": few, "preset_observations": folder / "preset-observations.json"}


# What the verbs print ---------------------------------------------------------------------------------------


def test_frontier_document(cli_json, tmp_path):
    out, plot = tmp_path / "frontier.json", tmp_path / "frontier.png"
    document = cli_json("frontier", "--preset", FITTED, "--tradeoffs", 25, "--out", out, "--plot", plot)
    assert {"points", "dominated", "weak_only", "strong_only", "elapsed_s"} <= set(document)
    points = document["points"]
    assert len(points) + len(document["dominated"]) == 25
    assert all(set(point) >= POINT for point in [*points, *document["dominated"]])
    assert all(isinstance(point[key], float) for point in points for key in POINT)
    budgets, accuracies = [[point[key] for point in points] for key in ("budget", "accuracy")]
    assert budgets == sorted(budgets)
    assert accuracies == sorted(accuracies)
    assert budgets[0] == pytest.approx(0, abs=1e-9)
    assert points[-1]["tradeoff"] == 0 or document["dominated"]
    assert document["weak_only"]["budget"] == 0
    assert document["strong_only"]["budget"] == pytest.approx(1, abs=0.02)
    assert document["strong_only"]["strong_tokens"] > points[-1]["strong_tokens"]
    assert 0 < document["elapsed_s"] < 60
    for point in points:
        value = 100 * point["accuracy"] - point["tradeoff"] * point["strong_tokens"]
        assert point["value_lower"] - 1e-6 <= value <= point["value_upper"] + 1e-6
        assert point["value_upper"] - point["value_lower"] <= 1e-5 * 100 + 1e-9
    assert tp.load(out).model_dump(mode="json") == document
    check_picture(plot)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0, 0.2, 1])
def test_policy_meets_a_budget(budget, cli_json, tmp_path):
    out = tmp_path / "policy.json"
    document = cli_json("policy", "--preset", FITTED, "--budget", budget, "--out", out)
    assert set(document) >= {"form", "planned", "asked_budget", "notes", "out", "kind", "model"}
    planned = document["planned"]
    assert set(planned) == POINT | MORE | {"money", "rate", "redrafts"}
    assert document["asked_budget"] == budget
    assert document["notes"]
    if budget < 1:
        assert planned["budget"] == pytest.approx(budget, abs=1e-6)
        assert planned["tradeoff"] is None
    else:
        assert planned["budget"] < 1
        assert "cannot be spent" in document["notes"][0]
    policy = tp.load(out)
    assert policy.policy.form == document["form"]
    exact = tp.evaluate(policy, tp.load_preset(FITTED).routing_model())
    assert exact.model_dump() == pytest.approx(planned)


def test_policy_for_a_tradeoff(cli_json):
    document = cli_json("policy", "--preset", PAPER, "--tradeoff", 0.25)
    assert (document["form"], document["out"], document["asked_tradeoff"]) == ("alpha_vectors", None, 0.25)
    value = 100 * document["planned"]["accuracy"] - 0.25 * document["planned"]["strong_tokens"]
    assert document["value_lower"] <= document["value_upper"] <= document["value_lower"] + 1e-3
    assert value == pytest.approx(document["value_upper"], abs=0.01)


SIMULATED = {"problems", "tradeoff"} | {
    key + end for key in (POINT | MORE | {"money", "redrafts"}) - {"tradeoff"} for end in ("", "_se")
}


@pytest.mark.parametrize(
    ("how", "tradeoff"),
    [
        (["--policy", "policy"], None),
        (["--threshold", 0.4], None),
        (["--threshold", 0], None),
        (["--threshold", 1], None),
        (["--belief", "posterior", "--closeness", 0.4], None),
        (["--strategy", "oracle"], None),
        (["--strategy", "random:0.3"], None),
    ],
    ids=str,
)
def test_simulate_document(how, tradeoff, cli_json, files):
    how = [files.get(item, item) if isinstance(item, str) else item for item in how]
    document = cli_json("simulate", "--preset", FITTED, *how, "--problems", 20_000, "--seed", 3)
    assert set(document) == SIMULATED
    assert document["tradeoff"] is tradeoff
    assert document["problems"] == 20_000
    model = tp.load_preset(FITTED).routing_model()
    if how[0] == "--threshold":
        exact = tp.evaluate(tp.ThresholdRule(threshold=how[1]), model)
    elif how[0] == "--policy":
        exact = tp.evaluate(tp.load(how[1]), model)
    elif how[0] == "--belief":
        exact = tp.evaluate(tp.PosteriorRule(closeness=0.4), model)
    else:
        name, _, share = how[1].partition(":")
        exact = tp.evaluate(tp.StrategyRule(strategy=name, probability=float(share) if share else None), model)
    for key in ("accuracy", "strong_tokens", "regenerations", "budget", "steps"):
        error = document[f"{key}_se"]
        assert abs(document[key] - getattr(exact, key)) <= 5 * error + 1e-9, key
    p = document["accuracy"]
    assert document["accuracy_se"] == pytest.approx(math.sqrt(p * (1 - p) / 20_000), rel=1e-3)


@pytest.mark.parametrize("preset", ["lab-mixed", "lab-mixed.prm"])
@pytest.mark.parametrize(
    ("written", "form", "fields"),
    [
        ("evidence-threshold:0.4", tp.ThresholdRule, {"threshold": 0.4}),
        ("evidence-takeover:0.4", tp.TakeoverRule, {"threshold": 0.4}),
        (
            "evidence-best-of-m:2,0.1",
            tp.RedraftRule,
            {"max_drafts": 2, "regenerate_below": 0.1, "redraft_below": 1.0},
        ),
        (
            "evidence-best-of-m:3,0.1,0.5",
            tp.RedraftRule,
            {"max_drafts": 3, "regenerate_below": 0.1, "redraft_below": 0.5},
        ),
    ],
)
def test_strategies_on_the_evidence_of_a_model(preset, written, form, fields, cli_json):
    model = tp.load_preset(preset).routing_model()
    assert (model.observations.evidence is None) == preset.endswith("prm")
    exact = tp.evaluate(form(**fields, evidence=model.observations.evidence), model)
    document = cli_json("simulate", "--preset", preset, "--strategy", written, "--problems", 20_000)
    for key in ("accuracy", "strong_tokens", "regenerations", "steps"):
        assert abs(document[key] - getattr(exact, key)) <= 5 * document[f"{key}_se"] + 1e-9, key


def test_simulating_a_planned_tradeoff_tells_it(cli_json, tmp_path):
    out = tmp_path / "p.json"
    cli_json("policy", "--preset", FITTED, "--tradeoff", 0.25, "--out", out)
    document = cli_json("simulate", "--preset", FITTED, "--policy", out, "--problems", 1000)
    assert document["tradeoff"] == 0.25
    again = cli_json("simulate", "--preset", FITTED, "--policy", out, "--problems", 1000, "--seed", 0)
    other = cli_json("simulate", "--preset", FITTED, "--policy", out, "--problems", 1000, "--seed", 1)
    assert again == document != other


@pytest.mark.slow
def test_two_files_do_what_the_preset_made_of_them_does(cli_json, files):
    both = ["--observations", files["preset_observations"], "--dynamics", files["dynamics"]]
    for verb in (["policy", "--budget", 0.3], ["simulate", "--threshold", 0.4, "--problems", 1000], ["inspect"]):
        assert cli_json(*verb, *both) == cli_json(*verb, "--preset", FITTED)


def test_fit_observations_document(cli_json, shared, tmp_path):
    out = tmp_path / "obs.json"
    npz = shared / "data" / "prm_features_math.npz"
    document = cli_json("fit-observations", "--features", npz, "--out", out, "--estimator", "histogram", "--compare")
    assert set(document) == {"out", "estimator", "diagnostics", "comparison"}
    assert document["estimator"] == "histogram"
    assert {row["name"] for row in document["comparison"]} == {"likelihood-ratio", "histogram", "reflected-kde"}
    assert document["diagnostics"]["n_S0"] == 1233
    model = tp.load(out)
    assert model.name == "prm_features_math"
    assert [item.file for item in model.provenance] == ["prm_features_math.npz"]
    assert model.class_table is not None


def test_fit_observations_warns_without_ids(run_cli, shared, tmp_path):
    with np.load(shared / "data" / "prm_features_math.npz") as archive:
        np.savez(tmp_path / "no-ids.npz", **{name: archive[name] for name in CLASSES})
    code, out, err = run_cli("fit-observations", "--features", tmp_path / "no-ids.npz", "--out", tmp_path / "o.json")
    assert code == 0
    assert "wrote" in out
    assert all(line.startswith(str(tmp_path / "no-ids.npz")) for line in err.splitlines())
    assert "optimistic" in err or "by row" in err or "as if independent" in err


def test_fit_observations_of_a_prm(cli_json, shared, tmp_path):
    scores = shared / "data" / "processbench_prm_scores.jsonl.gz"
    out = tmp_path / "obs.json"
    cli_json("fit-observations", "--scores", scores, "--prm", "Qwen2.5-Math-PRM-7B", "--out", out)
    assert tp.load(out).class_table is None


def test_fit_dynamics_from_step_counts(cli_json, shared, files, tmp_path):
    counts = shared / "data" / "trim_step_counts.json.gz"
    out = tmp_path / "dynamics.json"
    arguments = ["--step-counts", counts, "--weak", WEAK, "--strong", STRONG, "--observations", files["observations"]]
    document = cli_json("fit-dynamics", *arguments, "--out", out, "--no-intervals")
    assert document["weak_success"] == [pytest.approx(0.8660, abs=5e-5)]
    assert document["strong_success"] is None
    assert any("0.9704" in note for note in document["fit"]["notes"])
    dynamics = tp.load(out)
    assert [item.file for item in dynamics.provenance] == ["trim_step_counts.json.gz"]


@pytest.mark.slow
def test_from_raw_files_to_a_policy_and_a_report(cli_json, shared, files, tmp_path):
    data = shared / "data"
    obs, dynamics, policy = (tmp_path / f"{name}.json" for name in ("obs", "dynamics", "policy"))
    cli_json("fit-observations", "--features", data / "prm_features_math.npz", "--out", obs)
    document = cli_json(
        "fit-dynamics", "--step-counts", data / "trim_step_counts.json.gz", "--weak", WEAK, "--strong", STRONG,
        "--pilot", data / "trim_measured_thr.jsonl", "--observations", obs, "--out", dynamics, "--no-intervals",
        "--fit-thresholds", "0,0.05,0.2,0.4,0.6,0.9,1",
    )  # fmt: skip
    accuracy = [c for c in document["fit"]["checks"] if c["quantity"] == "accuracy" and not c["used_in_fit"]]
    assert len(accuracy) == 14
    assert math.sqrt(np.mean([(c["implied"] - c["observed"]) ** 2 for c in accuracy])) <= 0.03
    both = ["--observations", obs, "--dynamics", dynamics]
    planned = cli_json("policy", *both, "--budget", 0.2, "--out", policy)["planned"]
    simulated = cli_json("simulate", *both, "--policy", policy)
    assert abs(simulated["accuracy"] - planned["accuracy"]) <= 5 * simulated["accuracy_se"]
    assert simulated["budget"] == pytest.approx(0.2, abs=5 * simulated["budget_se"])


@pytest.mark.slow
def test_fit_dynamics_from_sequences_and_assess_the_beliefs(run_cli, cli_json, shared, files, tmp_path):
    sequences = shared / "data" / "math500_sequences_dev.jsonl.gz"
    out = tmp_path / "dynamics.json"
    both = ["--observations", files["observations"], "--sequences", sequences]
    document = cli_json("fit-dynamics", *both, "--out", out, "--no-intervals")
    assert document["strong_success"] is document["repair"] is document["strong_tokens"] is None
    assessed = cli_json("assess-beliefs", *both, "--dynamics", out, quiet=False)
    assert assessed["sequences"] == 1000
    assert set(assessed["beliefs"]) == {"filter", "posterior", "running_minimum"}
    assert all(set(item) == {"log_loss", "brier", "auc", "ece"} for item in assessed["beliefs"].values())
    assert assessed["beliefs"]["filter"]["log_loss"] < 0.25
    _, _, err = run_cli("assess-beliefs", *both, "--dynamics", out)
    assert "in-sample" in err  # fitted on this very file
    code, _, err = run_cli("policy", "--observations", files["observations"], "--dynamics", out, "--budget", 0.2)
    assert code == 2
    assert "strong_success, repair, strong_tokens unset; fit them on a pilot sweep" in err


def test_assess_beliefs_says_what_is_missing(cli_json, run_cli, files):
    assessed = cli_json("assess-beliefs", "--preset", FITTED, "--sequences", files["sequences"], quiet=False)
    assert assessed["sequences"] == 120
    assert set(assessed["beliefs"]) == {"filter", "posterior"}
    code, out, err = run_cli("assess-beliefs", "--preset", FITTED, "--sequences", files["sequences"])
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[3:5]] == ["filter", "posterior"]
    assert err.startswith("running_minimum: ")
    assert err.count("\n") == 1


KINDS = ("observations", "from_sequences", "from_steps", "policy", "frontier", "dynamics", "preset")


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_every_kind(kind, run_cli, cli_json, files):
    assert cli_json("inspect", files[kind]) == tp.load(files[kind]).model_dump(mode="json")
    code, out, err = run_cli("inspect", files[kind])
    assert (code, err) == (0, "")
    artifact = tp.load(files[kind])
    assert out.startswith(f"{artifact.kind}, schema 1, written by trim-pomdp {artifact.package_version}")
    assert len(out.splitlines()) > 5
    assert not re.search(r"-0\.0+\b", out)  # no negative zeros


@pytest.mark.parametrize("preset", [FITTED, PAPER])
def test_inspect_a_model(preset, cli_json):
    document = cli_json("inspect", "--preset", preset)
    assert set(document) == {"observations", "dynamics", "reward", "weak_only", "strong_only", "threshold_rule"}
    assert document["weak_only"]["strong_tokens"] == 0
    assert document["strong_only"]["budget"] == pytest.approx(1, abs=0.02)


# The demo ---------------------------------------------------------------------------------------------------


def check_picture(path: Path) -> None:
    """A PNG that decodes to pixels of the size it claims, and is no empty sheet."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, data, size = 8, b"", None
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        if kind == b"IDAT":
            data += body
        at += 12 + length
    assert kind == b"IEND"
    assert size is not None
    assert min(size) >= 500
    pixels = zlib.decompress(data)
    assert len(pixels) == size[1] * (1 + 4 * size[0])
    assert len(set(pixels)) > 50


@pytest.fixture
def few_live(monkeypatch):
    """Fewer live problems; the README's demo command, which .ci/run runs, has all of them."""
    monkeypatch.setattr("trim_pomdp.cli.demo._LIVE_PROBLEMS", 20)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [FITTED, PAPER, "lab-loop"])
def test_demo(preset, run_cli, tmp_path, few_live):
    folder = tmp_path / "new" / "demo"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    code, out, err = run_cli("demo", "--preset", preset, "--tradeoffs", 30, "--out", folder)
    assert (code, err) == (0, "")
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) >= 4
    for picture in pictures:
        check_picture(picture)
    assert tp.load(folder / "frontier.json").kind == "frontier"
    policy = tp.load(folder / "policy-budget-0.2.json")
    assert policy.planned.budget == pytest.approx(0.2, abs=1e-6)
    assert ("threshold" in out) == (preset != "lab-loop")  # which looks at more than the PRM score
    assert "planned" in out
    assert f"wrote {folder}/" in out
    assert "notes.txt" not in out  # only what the demo wrote
    assert f"open {folder}/report.html" in out
    assert "The demo’s live runs" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_demo_document(cli_json, tmp_path, few_live):
    document = cli_json("demo", "--tradeoffs", 10, "--out", tmp_path / "demo")
    assert sorted(document["files"]) == sorted(path.name for path in (tmp_path / "demo").iterdir() if path.is_file())
    assert {"preset", "out", "files", "elapsed_s", "policy", "live"} <= set(document)


# Bad input --------------------------------------------------------------------------------------------------


def test_options_out_of_range(cli_refused):
    model = ["--preset", FITTED]
    cli_refused("frontier", "--preset", "qwen2.5-1.5b-7b-maths", words=("no preset", f"did you mean '{FITTED}'"))
    cli_refused("frontier", *model, "--tradeoffs", 0, words=("--tradeoffs", "1"))
    cli_refused("frontier", *model, "--tradeoffs", -3, words=("--tradeoffs", "1"))
    cli_refused("frontier", *model, "--tradeoffs", "ten", words=("--tradeoffs", "integer"))
    for gap in (0, -1, "nan", 2):
        cli_refused("frontier", *model, "--gap", gap, words=("--gap", "expected"))
        cli_refused("policy", *model, "--budget", 0.2, "--gap", gap, words=("--gap", "expected"))
    for tradeoff in (-1, "nan", "inf"):
        cli_refused("policy", *model, "--tradeoff", tradeoff, "--out", "p.json", words=("tradeoff", "at least 0"))
    for budget in (-0.1, 1.2, "nan"):
        cli_refused("policy", *model, "--budget", budget, "--out", "p.json", words=("budget", "from 0 to 1"))
    for threshold in (-0.1, 1.3, "nan"):
        cli_refused("simulate", *model, "--threshold", threshold, words=("--threshold",))
    cli_refused("simulate", *model, "--belief", "posterior", "--closeness", 1.5, words=("--closeness", "1.5"))
    cli_refused("simulate", *model, "--threshold", 0.4, "--seed", -1, words=("--seed", "0"))
    cli_refused("simulate", *model, "--threshold", 0.4, "--problems", 1, words=("--problems", "2"))
    cli_refused("simulate", *model, "--strategy", "clever", words=("no strategy 'clever'; there are weak, strong",))
    cli_refused("simulate", *model, "--strategy", "takeover", words=("--strategy takeover", "threshold"))
    cli_refused("simulate", *model, "--strategy", "evidence-threshold:1.2", words=("less than or equal to 1",))
    cli_refused("simulate", *model, "--strategy", "best-of-m:3", words=("expected M,R or M,R,D",))
    cli_refused("simulate", *model, "--strategy", "best-of-m:3,0.5,0.2", words=("above redraft_below",))
    cli_refused("simulate", *model, "--strategy", "logprob:0.5", words=("less than or equal to 0",))
    cli_refused(
        "simulate", *model, "--strategy", "logprob:-1", words=("no simulation in a routing model; run it live",)
    )
    cli_refused("simulate", *model, "--strategy", "random", words=("a probability goes with the strategy 'random'",))
    cli_refused("simulate", *model, "--strategy", "random:2", words=("less than or equal to 1",))
    cli_refused("simulate", *model, "--strategy", "weak:0.5", words=("a probability goes with",))


def test_options_that_do_not_go_together(cli_refused, files):
    model = ["--preset", FITTED]
    cli_refused("policy", *model, words=("--budget", "--tradeoff"))
    cli_refused("policy", *model, "--budget", 0.2, "--tradeoff", 0.1, words=("one of the three",))
    cli_refused("simulate", *model, words=("give one of --policy",))
    cli_refused("simulate", *model, "--threshold", 0.4, "--strategy", "weak", words=("give one of --policy",))
    cli_refused("simulate", *model, "--closeness", 0.4, words=("go together",))
    cli_refused("simulate", *model, "--belief", "posterior", words=("go together",))
    cli_refused("simulate", *model, "--belief", "hope", "--threshold", 0.4, words=("filter and posterior",))
    cli_refused("frontier", words=("no model given", FITTED))
    cli_refused("frontier", "--observations", files["observations"], words=("no model given",))
    cli_refused("frontier", *model, "--dynamics", files["dynamics"], words=("--preset stands alone",))
    cli_refused("inspect", files["policy"], *model, words=("not both",))
    cli_refused("inspect", words=("no model given",))
    cli_refused("fit-observations", "--out", "o.json", words=("--features", "--scores"))


def test_usage_errors(cli_refused):
    cli_refused("fronteir", words=("No such command 'fronteir'", "frontier"))
    cli_refused("frontier", "--bogus", words=("--bogus",))
    cli_refused("frontier", "--preset", words=("--preset", "argument"))
    cli_refused("fit-observations", words=("--out",))
    cli_refused("fit-dynamics", "--out", "d.json", words=("--observations",))
    cli_refused("inspect", "a.json", "b.json", words=("unexpected", "b.json"))


def test_wrong_feature_files_on_the_command_line(cli_refused, tmp_path):
    def write(**changes):
        rng = np.random.default_rng(0)
        arrays = {name: rng.uniform(size=(20, 2)) for name in CLASSES} | changes
        np.savez("x.npz", **{name: value for name, value in arrays.items() if value is not None})

    command = ["fit-observations", "--features", "x.npz", "--out", "o.json"]
    cli_refused(*command, words=("x.npz: cannot be read (No such file",))
    write(S1=None)
    cli_refused(*command, words=("x.npz: no array 'S1'",))
    write(S0=np.array([[0.5, 1.3]]))
    cli_refused(*command, words=("x.npz: S0 row 0, column 1 is 1.3; scores lie in [0, 1]",))
    write(S2=np.array([[math.nan, 0.3]]))
    cli_refused(*command, words=("x.npz: S2 row 0, column 0 is nan",))
    write(S2=np.zeros((0, 2)))
    cli_refused(*command, words=("x.npz: class S2 is empty",))
    write(S2=np.zeros((4, 3)))
    cli_refused(*command, words=("x.npz: S2 has shape (4, 3); expected (n, 2)",))
    write(S1=np.full((5, 2), 0.5))  # no spread: no kernel density
    cli_refused(*command, words=("x.npz: ",))
    write()
    Path("x.npz").write_bytes(Path("x.npz").read_bytes()[:300])
    cli_refused(*command, words=("x.npz: not an npz file, cut off",))
    write()
    cli_refused(*command, "--estimator", "kde", words=("unknown estimator 'kde'", "histogram"))
    cli_refused(*command, "--seed", -1, words=("--seed",))


def test_wrong_lines_on_the_command_line(cli_refused, files):
    good = {"id": "a", "scores": [0.5, 0.9], "correct": True}
    command = ["assess-beliefs", "--preset", FITTED, "--sequences", "s.jsonl"]
    for wrong, words in (
        ({**good, "scores": [0.5, 1.3]}, ("s.jsonl, line 2: scores.1", "less than or equal to 1", "1.3")),
        ({**good, "scores": [math.nan]}, ("s.jsonl, line 2: scores.0", "finite")),
        ({"id": "a", "scores": [0.5]}, ("s.jsonl, line 2: missing 'correct'",)),
    ):
        Path("s.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(wrong)}\n")
        cli_refused(*command, words=words)
        fit = ["fit-dynamics", "--observations", files["observations"], "--out", "d.json", "--no-intervals"]
        cli_refused(*fit, "--sequences", "s.jsonl", words=words)
    Path("s.jsonl").write_text("")
    cli_refused(*command, words=("s.jsonl: holds no record",))
    cli_refused(*command[:-1], "absent.jsonl", words=("absent.jsonl: cannot be read",))


def test_wrong_sources_of_dynamics(cli_refused, files, shared):
    counts = shared / "data" / "trim_step_counts.json.gz"
    scores = shared / "data" / "processbench_prm_scores.jsonl.gz"
    fit = ["fit-dynamics", "--observations", files["observations"], "--out", "d.json", "--no-intervals"]
    cli_refused(*fit, words=("nothing to fit on", "--step-counts"))
    cli_refused(*fit, "--weak", WEAK, words=("--step-counts",))
    cli_refused(*fit, "--step-counts", counts, words=("--weak",))
    cli_refused(*fit, "--step-counts", counts, "--weak", "gpt", words=(str(counts), "no model 'gpt'", WEAK))
    cli_refused(*fit, "--labelled", "absent.jsonl.gz", words=("absent.jsonl.gz: no such file",))
    pilot = [*fit, "--pilot", shared / "data" / "trim_measured_thr.jsonl", "--step-counts", counts, "--weak", WEAK]
    cli_refused(*pilot, "--fit-thresholds", "0,0.33", words=("no pilot row has threshold 0.33",))
    cli_refused(*pilot, "--fit-thresholds", "0,x", words=("--fit-thresholds is '0,x'",))
    cli_refused(*pilot, "--fit-thresholds", "", words=("--fit-thresholds is ''",))
    cli_refused(*pilot, "--explanation", "magic", words=("unknown explanation 'magic'", "best"))
    cli_refused(*fit, "--sequences", files["sequences"], "--max-steps", 0, words=("--max-steps",))
    observations = ["fit-observations", "--out", "o.json", "--scores", scores, "--prm"]
    cli_refused(*observations[:-1], words=("--prm NAME", "Qwen2.5-Math-PRM-7B"))
    cli_refused(*observations, "Qwen2.5-Math-PRM-7B", "--evidence", "logprob", words=(str(scores), "needs logprob_min"))
    cli_refused(
        *observations, "Qwen2.5-Math-PRM-7B", "--evidence", "magic", words=("unknown evidence 'magic'", "logprob")
    )
    cli_refused(*observations, "other", words=(str(scores), "no scores of 'other'", "Qwen2.5-Math-PRM-7B"))


def test_wrong_artifacts_on_the_command_line(cli_refused, files):
    document = json.loads(files["dynamics"].read_text())

    def model(**changes):
        Path("d.json").write_text(json.dumps({**document, **changes}))
        return ["frontier", "--observations", files["observations"], "--dynamics", "d.json", "--out", "f.json"]

    cli_refused(*model(reapir=0.7), words=("d.json: unknown key 'reapir'; did you mean 'repair'?",))
    cli_refused(*model(schema_version=2), words=("d.json: schema_version is 2", "reads 1"))
    cli_refused(*model(kind="policy"), words=("d.json: kind is 'policy'; expected 'dynamics'",))
    cli_refused(*model(repair=1.3), words=("d.json: repair", "less than or equal to 1 (got 1.3)"))
    cli_refused(*model(repair=math.nan), words=("d.json: repair", "finite"))
    cli_refused(*model(hazard=document["hazard"][:-1]), words=("d.json: hazard: must be 1 at the step cap",))
    cli_refused(*model(strong_success=None), words=("leave strong_success unset",))
    command = model()
    Path("d.json").write_text(Path("d.json").read_text()[:500])
    cli_refused(*command, words=("d.json: not a JSON document", "cut off"))
    cli_refused("inspect", "d.json", words=("d.json: not a JSON document",))
    cli_refused("inspect", "absent.json", words=("absent.json: cannot be read",))
    cli_refused("simulate", "--preset", FITTED, "--policy", files["dynamics"], words=("expected 'policy'",))
    cli_refused("simulate", "--preset", PAPER, "--policy", files["policy"], words=("other observation bins",))
    cli_refused("policy", "--observations", files["observations"], "--dynamics", files["from_steps"], "--budget", 0.2)


def test_what_cannot_be_written_is_refused_before_the_work(cli_refused, files, shared, monkeypatch):
    def no_work(*args, **kwargs):
        pytest.fail("the work was begun")

    for name in ("trim_pomdp.fitting.observations.fit_observations", "trim_pomdp.fitting.dynamics.fit_dynamics"):
        monkeypatch.setattr(name, no_work)
    for name in ("solve_frontier", "policy_for_budget"):
        monkeypatch.setattr(f"trim_pomdp.planning.frontier.{name}", no_work)
    npz, words = shared / "data" / "prm_features_math.npz", ("absent/x: cannot be written", "make it first")
    cli_refused("fit-observations", "--features", npz, "--out", "absent/x", words=words)
    sources = ["--observations", files["observations"], "--sequences", files["sequences"]]
    cli_refused("fit-dynamics", *sources, "--out", "absent/x", words=words)
    picture = ("absent/x.png: cannot be written", "make it first")
    cli_refused("frontier", "--preset", FITTED, "--out", "f.json", "--plot", "absent/x.png", words=picture)
    cli_refused("policy", "--preset", FITTED, "--budget", 0.2, "--out", "absent/x", words=words)
    cli_refused("policy", "--preset", FITTED, "--budget", 0.2, "--out", ".", words=("is a folder",))
    Path("file").write_text("x")
    cli_refused("demo", "--out", "file", words=("file: cannot be made a folder",))
    cli_refused("demo", "--preset", "x", "--out", "folder", words=("no preset 'x'",))


# Help, start, tables ----------------------------------------------------------------------------------------

VERBS = (
    "fit-observations",
    "fit-dynamics",
    "assess-beliefs",
    "frontier",
    "policy",
    "simulate",
    "inspect",
    "report",
    "demo",
)


def test_help_names_every_verb_in_full(run_cli):
    code, out, err = run_cli("--help")
    assert (code, err) == (0, "")
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\S", out, re.MULTILINE)
    assert "..." not in out.split("Commands:")[1]
    assert run_cli() == (0, out, "")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_offers_json(verb, run_cli):
    code, out, _ = run_cli(verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: trim-pomdp {verb}")
    assert "--json" in out


def test_a_group_without_a_verb_shows_its_help(run_cli):
    code, out, err = run_cli("lab")
    assert (code, err) == (0, "")
    assert re.search(r"^  train .*\n  check ", out, re.MULTILINE)


def test_version(run_cli):
    assert run_cli("--version") == (0, f"trim-pomdp {tp.artifacts.package_version()}\n", "")


def executed(*arguments: str, **changes: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "import sys; from trim_pomdp.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **changes)


def test_as_a_process(tmp_path):
    executed("policy", "--preset", FITTED, "--budget", "0", cwd=tmp_path)  # says so if it has to compile
    done = executed("policy", "--preset", FITTED, "--budget", "0", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["planned"]["strong_tokens"] == 0
    done = executed("policy", "--preset", FITTED, "--budget", "2", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "trim-pomdp policy: error: Invalid value for '--budget': budget is 2; expected a share of strong-only's "
        "tokens, from 0 to 1; did you mean 0.02?\n"
    )
    done = executed("nope", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_an_encoding_without_arrows_is_no_reason_to_fail():
    done = executed("policy", "--preset", FITTED, "--budget", "0", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "planned" in done.stdout


def test_a_reader_that_goes_away_is_no_reason_to_complain():
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from trim_pomdp.cli import main; main()"
    command = [sys.executable, "-c", code, "inspect", "--preset", FITTED, "--json"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


HEAVY = ("numba", "sklearn", "scipy", "matplotlib", "datasets", "pandas")


@pytest.mark.parametrize(
    "code", ["import trim_pomdp", "from trim_pomdp.cli import main\ntry:\n  main(['--help'])\nexcept SystemExit: pass"]
)
def test_start_is_light(code):
    code += f"\nimport sys; print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "[]\n"


def test_the_public_names_are_all_there():
    assert set(tp.__all__) <= set(dir(tp))
    for name in tp.__all__:
        assert getattr(tp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tp.nothing  # noqa: B018


@pytest.mark.parametrize("kind", ["preset", "frontier", "policy", "observations"])
@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_a_terminal(kind, width, run_cli, files, monkeypatch):
    """On a terminal tables are as wide as it is, and no number is cut."""
    wide = run_cli("inspect", files[kind])[1]
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": str(width), "LINES": "50"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(output, "say", lambda _: None)
    narrow = run_cli("inspect", files[kind])[1]
    rules = [line for line in narrow.splitlines() if set(line) == {"─"}]
    assert rules
    assert max(map(len, rules)) <= width
    numbers = re.compile(r"\d+\.\d{4}\b")
    assert sorted(numbers.findall(wide)) == sorted(numbers.findall(narrow))


def test_cells():
    assert [output.cell(value) for value in (None, 0.12345, -0.00001, 123.456, 7, "a", (), ("a", "b"))] == [
        "–", "0.1235", "0.0000", "123.5", "7", "a", "none", "a, b",
    ]  # fmt: skip


@pytest.mark.slow
def test_nothing_is_replaced_silently(run_cli, tmp_path):
    out, picture = tmp_path / "p.json", tmp_path / "f.svg"
    policy = ("policy", "--preset", "qwen2.5-1.5b-7b-math-paper", "--tradeoff", 5, "--out", out)
    assert run_cli(*policy)[2] == ""
    code, _, err = run_cli(*policy)
    assert (code, err) == (0, f"{out}: is there already and will be replaced\n")
    picture.write_text("old")
    code, _, err = run_cli(
        "frontier", "--preset", "qwen2.5-1.5b-7b-math-paper", "--tradeoffs", 1, "--gap", 0.1, "--plot", picture
    )
    assert (code, err) == (0, f"{picture}: is there already and will be replaced\n")
    assert "<svg" in picture.read_text()
