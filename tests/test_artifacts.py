"""Artifacts survive a round trip bit by bit, are refused when anything is wrong, and are written whole or not."""

import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp import artifacts
from trim_pomdp.artifacts import Artifact, Provenance, read_json, require_writable, write_bytes, write_text
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.lab.problems import FAMILIES
from trim_pomdp.loading import KINDS, load
from trim_pomdp.metrics.standings import BenchResult, Difference, Point, Standing
from trim_pomdp.metrics.standings import Interval as Bounds
from trim_pomdp.model.dynamics import Check, FitReport, Interval, MinimumCalibration, PerClass, RivalFit, StepDynamics
from trim_pomdp.model.evidence import EVIDENCE_KINDS
from trim_pomdp.model.observations import ClassTable, ObservationModel, StepEmission
from trim_pomdp.planning.frontier_artifact import FrontierArtifact, FrontierRow
from trim_pomdp.policies import (
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.policies.networks import RouterNetwork, TrainedRouter
from trim_pomdp.policies.trim_agg import TrimAggRule
from trim_pomdp.presets.store import Preset, load_preset, preset_names

THIRD = 1 / 3  # not a short decimal
PROVENANCE = (Provenance(file="x.npz", sha256="0" * 64),)


def observations() -> ObservationModel:
    return ObservationModel(
        name="toy",
        estimator="by hand",
        provenance=PROVENANCE,
        step_emission=StepEmission(
            score_edges=(0.0, THIRD, 1.0),
            right=(0.1, 0.2, 0.7),
            wrong=(0.1 + 0.2, 0.3, 0.4),
            derailed=(THIRD, THIRD, THIRD),
        ),
        class_table=ClassTable(
            minimum_edges=(0.0, 1.0),
            score_edges=(0.0, 0.5, 1.0),
            right=(0.1, 0.9),
            derailed=(THIRD, 2 / 3),
            wrong=(1.0, 0.0),
        ),
        diagnostics={"n_S0": 3, "log_loss": 0.1 + 0.2, "folds": "by row", "warnings": ("few", "rows")},
    )


def dynamics() -> StepDynamics:
    return StepDynamics(
        name="pair",
        weak_success=(0.1 + 0.2, THIRD),
        strong_success=0.97,
        repair=2 / 3,
        look_right=0.86,
        false_alarms=5e-324,
        misses=0.0,
        hazard=(THIRD, 1.0),
        hazard_derailed=(0.1, 1.0),
        hazard_wrong=(THIRD, 1.0),
        weak_tokens=PerClass(right=45.1, derailed=50, wrong=80),
        strong_tokens=PerClass.constant(60.3),
        strong_only_tokens=1e300,
        running_minimum=MinimumCalibration(intercept=-THIRD, slope=0.1, clip=1e-4, fitted_on="outcomes"),
        fit=FitReport(
            explanation="local",
            sources=("a",),
            log_likelihood=-THIRD,
            intervals={"repair": Interval(estimate=0.7, low=0.1, high=0.9, identified=False)},
            checks=(Check(quantity="accuracy", threshold=0.4, implied=THIRD, observed=0.3, used_in_fit=False),),
            rivals=(
                RivalFit(
                    name="r", description="d", parameters={"repair": THIRD}, log_likelihood=-1.5, free_parameters=2,
                    accuracy_rmse=0.1, regenerations_rmse=0.2, held_out_accuracy_rmse=None,
                    held_out_regenerations_rmse=THIRD, held_out_log_likelihood=None, weak_only_accuracy=0.3,
                    strong_only_accuracy=0.7, visible_tokens_error=None,
                ),
            ),
            notes=("ein Maß für λ",),
        ),
    )  # fmt: skip


def alpha_rule() -> AlphaVectorRule:
    return AlphaVectorRule(
        tradeoff=THIRD, reward=100.0, alpha_vectors=(((90.1, 10.0), (80.0, THIRD)), ()), weak_success=(0.9,),
        strong_success=0.97, repair=0.5, hazard=(0.2, 1.0), hazard_derailed=(0.1, 1.0), hazard_wrong=(0.0, 1.0),
        score_edges=(0.0, 1.0),
        emission_right=(0.3, 0.7), emission_derailed=(THIRD, 2 / 3), emission_wrong=(0.5, 0.5),
        strong_tokens=PerClass.constant(60.0),
    )  # fmt: skip


def policy(rule) -> PolicyArtifact:
    return PolicyArtifact(
        model="a × b",
        policy=rule,
        planned=PlannedPoint(accuracy=THIRD, strong_tokens=1.0, regenerations=0.1, budget=0.2),
        asked_budget=0.2,
        added_variance=THIRD,
        notes=("a draw",),
    )


def frontier() -> FrontierArtifact:
    point = {"accuracy": THIRD, "strong_tokens": 0.1, "regenerations": 0.3, "budget": 0.1 + 0.2}
    row = FrontierRow(**point, tradeoff=0.25, value_lower=1.0, value_upper=1.0 + THIRD)
    end = PlannedPoint(**point)
    return FrontierArtifact(
        model="a × b", points=(row,), dominated=(row, row), weak_only=end, strong_only=end, threshold_rule=(end,),
        elapsed_s=0.1, compile_s=0.0, gap=1e-5,
    )  # fmt: skip


def network() -> RouterNetwork:
    rng = np.random.default_rng(0)
    shapes = {"layers.0.weight": (3, 2), "layers.0.bias": (3,), "layers.1.weight": (1, 3), "layers.1.bias": (1,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return RouterNetwork(
        architecture="mlp", features=("score",), centres=(THIRD, -2.0), scales=(0.1, 1.0), prices=(0.001, THIRD),
        weights=RouterNetwork.encoded(arrays),
    )  # fmt: skip


def trained_router() -> TrainedRouter:
    return TrainedRouter(
        network=network(), model="a × b", reward=100.0, seed=1, episodes=64, seconds=THIRD, cpu_seconds=0.2,
        settings={"architecture": "mlp", "features": None, "updates": 3}, curve=({"return": THIRD},),
    )  # fmt: skip


def bench_result() -> BenchResult:
    point = Point(
        asked_budget=0.2, budget=THIRD, budget_se=0.01, accuracy=2 / 3, accuracy_se=0.02, strong_tokens=20.1,
        weak_tokens=90.0, prm_tokens=300.0,
    )  # fmt: skip
    reached, not_reached = (Bounds(value=x, low=x, high=None, reached=0.5) for x in (THIRD, None))
    standing = Standing(
        about="a", points=(point,), cpt={"50": reached, "80": not_reached, "95": not_reached}, apgr=reached,
        delta_ibc=reached,
    )  # fmt: skip
    difference = Difference(
        strategy="a", against="b", budget=0.2, difference=-THIRD, low=-0.5, high=0.1, p_adjusted=THIRD
    )
    return BenchResult(
        name="n", fitted_on="f", problems=30, seeds=(1, 2), weak=THIRD, strong=0.7, strong_only_tokens=60.3,
        strategies={"a": standing}, differences=(difference,), left_out={"c": "why"}, draws=100,
    )  # fmt: skip


def every_artifact() -> list[Artifact]:
    rules = [
        ThresholdRule(threshold=THIRD),
        StrategyRule(strategy="oracle"),
        StrategyRule(strategy="random", probability=THIRD),
        PosteriorRule(closeness=0.4),
        alpha_rule(),
        MixedRule(first=StrategyRule(strategy="weak"), second=alpha_rule(), probability=THIRD),
        TrimAggRule(network=network(), tradeoff=0.2),
    ]
    small = Preset(
        name="p", description="d", observations=observations(), dynamics=dynamics(), command="make", reward=THIRD
    )
    made = [observations(), dynamics(), frontier(), small, trained_router(), bench_result()]
    return [*made, *map(policy, rules), *map(load_preset, preset_names())]


def name_of(artifact: Artifact) -> str:
    form = f"-{artifact.policy.form}" if isinstance(artifact, PolicyArtifact) else ""
    return f"{artifact.kind}{form}"


# Round trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("artifact", every_artifact(), ids=name_of)
def test_a_round_trip_changes_nothing(artifact, tmp_path):
    path = artifact.save(tmp_path / "a.json")
    again = load(path)
    assert type(again) is type(artifact)
    assert again == artifact
    assert type(artifact).read(path) == artifact
    # Equal floats are equal bit by bit but for the sign of zero: compare their shortest exact texts too.
    assert repr(again.model_dump()) == repr(artifact.model_dump())
    assert again.save(tmp_path / "b.json").read_bytes() == path.read_bytes()
    assert artifact.package_version == artifacts.package_version() != "unknown"


def test_every_kind_takes_part_in_the_round_trip():
    assert {artifact.kind for artifact in every_artifact()} == set(KINDS)


@given(st.floats(min_value=0, max_value=1e7))
def test_any_float_survives_bit_by_bit(value):
    tokens = PerClass(right=value, derailed=0.0, wrong=1.0)
    again = PerClass.model_validate(json.loads(tokens.model_dump_json()))
    assert again.right.hex() == value.hex()


def test_provenance_names_the_file_and_its_hash_without_the_folder(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    item = Provenance.of(tmp_path / "x")
    # FIPS 180-2, appendix B.1
    assert item.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert item.file == "x"


# Files that are wrong ---------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message, message


def changed(tmp_path: Path, artifact: Artifact, change) -> Path:
    document = json.loads(artifact.model_dump_json())
    change(document)
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(document))
    return path


def put(key: str, value: object = 1):
    def change(document):
        *folders, last = key.split(".")
        for folder in folders:
            document = document[int(folder) if folder.isdigit() else folder]
        document[last] = value

    return change


@pytest.mark.parametrize(
    ("artifact", "key", "near"),
    [
        (dynamics(), "weak_sucess", "weak_success"),
        (dynamics(), "weak_tokens.wron", "wrong"),
        (dynamics(), "running_minimum.interceptt", "intercept"),
        (dynamics(), "fit.log_likelyhood", "log_likelihood"),
        (dynamics(), "fit.checks.0.quantitty", "quantity"),
        (dynamics(), "fit.intervals.repair.lowe", "low"),
        (observations(), "step_emission.score_edge", "score_edges"),
        (observations(), "class_table.minimum_edge", "minimum_edges"),
        (frontier(), "points.0.value_uper", "value_upper"),
        (policy(ThresholdRule(threshold=0.4)), "policy.treshold", "threshold"),
        (policy(MixedRule(first=alpha_rule(), second=alpha_rule(), probability=0)), "policy.first.repairs", "repair"),
        (load_preset(preset_names()[0]), "dynamics.look_rigth", "look_right"),
        (load_preset(preset_names()[0]), "provenance.0.sha265", "sha256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(artifact, key, near, tmp_path):
    last = key.rpartition(".")[2]
    refused(changed(tmp_path, artifact, put(key)), "unknown key", last, f"did you mean {near!r}?")


def test_an_unknown_key_like_no_other_is_refused_with_those_that_are_known(tmp_path):
    refused(changed(tmp_path, dynamics(), put("weak_tokens.zzz")), "'weak_tokens.zzz'", "derailed, right, wrong")


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, [1]])
def test_another_schema_version_is_refused_also_inside_a_preset(version, tmp_path):
    refused(changed(tmp_path, dynamics(), put("schema_version", version)), "schema_version", repr(version), "reads 1")
    preset = load_preset(preset_names()[0])
    path = changed(tmp_path, preset, put("observations.schema_version", version))
    refused(path, "observations.schema_version", repr(version), "reads 1")


def test_a_version_must_be_there(tmp_path):
    refused(changed(tmp_path, dynamics(), lambda document: document.pop("schema_version")), "schema_version is None")


@pytest.mark.parametrize("kind", ["dynamic", None, 1, [], {}])
def test_an_unknown_kind_is_refused(kind, tmp_path):
    refused(changed(tmp_path, dynamics(), put("kind", kind)), "kind is", "observations, dynamics, frontier, policy")


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    path = dynamics().save(tmp_path / "d.json")
    with pytest.raises(InputError, match="kind is 'dynamics'; expected 'observations'"):
        ObservationModel.read(path)


@pytest.mark.parametrize(
    ("artifact", "key", "value", "words"),
    [
        (dynamics(), "repair", math.nan, ["repair", "finite"]),
        (dynamics(), "repair", 1.3, ["repair", "less than or equal to 1", "1.3"]),
        (dynamics(), "repair", "often", ["repair", "number", "often"]),
        (dynamics(), "weak_success", [], ["weak_success", "at least 1 item"]),
        (dynamics(), "weak_success", [0.5] * 3, ["weak_success has 3 values; expected 1 or 2"]),
        (dynamics(), "hazard", [0.5, 0.9], ["hazard", "must be 1 at the step cap (step 2)"]),
        (dynamics(), "strong_tokens.right", -1, ["strong_tokens.right", "greater than or equal to 0"]),
        (dynamics(), "strong_only_tokens", math.inf, ["strong_only_tokens", "finite"]),
        (observations(), "step_emission.right", [0.5, 0.5], ["right has 2 values; expected 3"]),
        (observations(), "step_emission.right", [0.5, 0.2, 0.2], ["step_emission: right sums to 0.9; expected 1"]),
        (observations(), "step_emission.wrong", [-0.1, 0.1, 1.0], ["wrong has a negative probability at bin 0"]),
        (observations(), "step_emission.score_edges", [0, 0.5, 0.9], ["score_edges must rise from 0 to 1"]),
        (observations(), "class_table.minimum_edges", [0, 0.5], ["minimum_edges must rise from 0 to 1"]),
        (observations(), "class_table.derailed", [1.0], ["derailed has 1 values; expected 2"]),
        (observations(), "emission", "row", ["emission", "'step' or 'class'"]),
        (frontier(), "points.0.accuracy", None, ["points.0.accuracy", "None"]),
        (policy(ThresholdRule(threshold=0)), "policy.threshold", 1.2, ["threshold", "less than or equal to 1"]),
        (policy(alpha_rule()), "policy.emission_right", [1.0], ["emission_right has 1 values"]),
        (policy(alpha_rule()), "policy.alpha_vectors", [[], []], ["at least one alpha-vector"]),
        (policy(alpha_rule()), "policy.form", "table", ["policy", "'alpha_vectors'"]),
        (load_preset(preset_names()[0]), "reward", 0, ["reward", "greater than 0"]),
    ],
)
def test_wrong_values_are_refused(artifact, key, value, words, tmp_path):
    refused(changed(tmp_path, artifact, put(key, value)), *words)


def test_a_missing_field_is_named_with_how_many_more_are_wrong(tmp_path):
    def drop(document):
        del document["look_right"], document["name"]

    refused(changed(tmp_path, dynamics(), drop), "missing 'name' (and 1 more)")


def test_files_that_hold_no_document(tmp_path):
    whole = dynamics().save(tmp_path / "d.json").read_bytes()
    contents = {
        "cut.json": whole[: len(whole) // 2],
        "empty.json": b"",
        "latin.json": b'{"kind": "\xe9"}',
        "deep.json": b'{"a":' * 100_000,
        "digits.json": b'{"a": ' + b"9" * 5000 + b"}",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "not a JSON document")
    for name, content, what in (("list.json", "[1]", "list"), ("null.json", "null", "NoneType")):
        (tmp_path / name).write_text(content)
        refused(tmp_path / name, f"holds {what}; expected one JSON object")
    refused(tmp_path / "absent.json", "cannot be read (No such file or directory)")
    refused(tmp_path, "is a folder; tp.read_run reads the run in it")


def test_every_error_of_the_package_can_be_caught_as_one():
    with pytest.raises(TrimError):
        read_json("/no/such/file.json")


def test_a_copy_with_changes_does_not_keep_what_was_computed_from_the_original():
    step = observations().step_emission
    assert step.evidence[0] < 0
    even = step.model_copy(update={"wrong": step.right})
    assert even.evidence.tolist() == [0.0, 0.0, 0.0]
    assert even.table[2].tolist() == list(step.right)
    assert step.table[2].tolist() == list(step.wrong)


def test_artifacts_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        dynamics().repair = 0.5  # type: ignore[misc]


# Presets ----------------------------------------------------------------------------------------------------


def test_an_unknown_preset_is_refused_with_the_nearest_one():
    lab = {f"lab-{family}{kind}" for family in FAMILIES for kind in ("", *(f".{kind}" for kind in EVIDENCE_KINDS))}
    assert set(preset_names()) == {"qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"} | lab
    with pytest.raises(InputError, match=r"no preset 'qwen-1.5b-7b-math'; did you mean 'qwen2.5-1.5b-7b-math'\?"):
        load_preset("qwen-1.5b-7b-math")
    with pytest.raises(InputError, match=r"there are lab-chain, .*qwen2"):
        load_preset("../x")


def test_the_paper_preset_is_exactly_as_published(shared):
    import gzip

    import numpy as np

    preset = load_preset("qwen2.5-1.5b-7b-math-paper")
    parameters = preset.dynamics
    assert parameters.weak_success == (0.866,)
    assert parameters.strong_success == parameters.repair == 0.9704
    assert parameters.strong_tokens == PerClass.constant(60.0)
    assert (parameters.false_alarms, parameters.misses, parameters.hazard_derailed) == (0.0, 0.0, None)
    assert parameters.derailed_emission == "labelled"
    assert (preset.reward, parameters.max_steps, preset.observations.emission) == (100.0, 30, "class")
    raw = json.loads(gzip.decompress((shared / "data" / "trim_step_counts.json.gz").read_bytes()))
    hazard = raw["terminal_hazard"]["slm"]["hazard"]
    assert parameters.hazard == tuple(hazard[str(step)] for step in range(1, 31))
    with np.load(shared / "data" / "prm_features_math.npz") as archive:
        published = archive["bin_probs_0.05"]
    np.testing.assert_allclose(preset.observations.class_emission(parameters), published, atol=1e-12)


# Writing ----------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), Interrupted()])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(failure, where, tmp_path, monkeypatch):
    path = dynamics().save(tmp_path / "d.json")
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), fail)
    expected = InputError if isinstance(failure, OSError) else Interrupted
    with pytest.raises(expected, match="No space left" if expected is InputError else None):
        dynamics().replace(name="other").save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["d.json"]


def test_writing_replaces_the_file_and_gives_it_the_usual_mode(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    assert write_text(path, "neu ✓").read_text(encoding="utf-8") == "neu ✓"
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "other"]


def test_writing_follows_a_link_and_leaves_devices_alone(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_long_name_can_be_written(tmp_path):
    assert write_text(tmp_path / ("n" * 250), "x").read_text() == "x"


@pytest.mark.parametrize("write", [lambda path: write_bytes(path, b"x"), require_writable])
def test_places_that_cannot_be_written_to(write, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for path, words in (
        (tmp_path / "absent" / "a.json", "there is no folder"),
        (tmp_path / "file" / "a.json", "there is no folder"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(InputError, match=words):
            write(path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="no permission"):
        write(tmp_path / "a.json")
    assert os.listdir(tmp_path) == ["file"]
