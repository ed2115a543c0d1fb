"""A policy on a run that it was not planned for: refused where nothing of it would be true, else told."""

import dataclasses
from pathlib import Path

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS, alpha_rule

from trim_pomdp.errors import InputError
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.planning.frontier import policy_for_budget, policy_for_tradeoff
from trim_pomdp.policies import PolicyArtifact, ThresholdRule
from trim_pomdp.presets.store import load_preset, preset_names
from trim_pomdp.runtime.live import LivePlan, misfits, plan_for_rule
from trim_pomdp.runtime.sources import FileSource, ModelsFile

MEASURED = Conditions(
    family="chain",
    max_steps=6,
    models={
        "weak": {"backend": "transformers", "model": "a", "temperature": 0.7, "files": "123"},
        "strong": {"backend": "transformers", "model": "b", "temperature": 0.7, "files": None},
    },
)


def weak(**changes: object) -> dict[str, object]:
    return {**MEASURED.models, "weak": {**MEASURED.models["weak"], **changes}}


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (MEASURED, ()),
        (Conditions(), ()),
        (Conditions(family="loop"), ("problems of the family chain, now loop",)),
        (Conditions(max_steps=9), ("solutions of up to 6 steps, now 9",)),
        (Conditions(models=weak(temperature=1.0)), ("weak temperature 0.7, now 1.0",)),
        (Conditions(models=weak(model="./copy")), ()),
        (Conditions(models=weak(model="c", files="456")), ("weak model 'a', now 'c'",)),
        (Conditions(models=weak(files="456")), ("weak files '123', now '456'",)),
        (Conditions(models=weak(backend="vllm", dtype="bfloat16")), ()),
        (Conditions(models={"strong": {"model": "b", "files": "789"}}), ()),
    ],
)
def test_what_is_otherwise(now: Conditions, told: tuple[str, ...]) -> None:
    assert MEASURED.differences(now) == told


def test_the_lab_is_known_by_its_files() -> None:
    before = Conditions(models={"lab": {"weak": "aa", "prm": "bb"}})
    assert before.differences(Conditions(models={"lab": {"weak": "aa", "prm": "cc"}})) == ("prm files 'bb', now 'cc'",)
    assert before.differences(Conditions(models={"lab": {"weak": "aa"}})) == ()


def test_conditions_of_several_runs_add_up() -> None:
    one = Conditions.of_run({"family": "loop", "caps": {"max_steps": 30}, "models": {"lab": {"weak": "a"}}})
    two = Conditions.of_run({"family": "loop", "models": {"lab": {"strong": "b"}}})
    both = one | two
    assert both == Conditions(family="loop", max_steps=30, models={"lab": {"weak": "a", "strong": "b"}})
    assert Conditions.model_validate_json(both.model_dump_json()) == both


def source(max_steps: int) -> FileSource:
    return FileSource(Path("models.toml"), ModelsFile.model_validate({"limits": {"max_steps": max_steps}}))


def test_a_run_that_ends_before_the_plans_cap_is_refused() -> None:
    plan = LivePlan(policy_for_budget(MODEL, 0.2))
    assert plan.artifact.policy.horizon == 6
    with pytest.raises(InputError, match=r"planned for solutions of up to 6 steps, but this run ends them after 5"):
        misfits(plan, source(5))
    assert misfits(plan, source(6)) == ()
    assert misfits(plan, source(9)) == ("solutions of up to 6 steps, now 9",)
    assert misfits(plan_for_rule(ThresholdRule(threshold=0.5), None), source(2)) == ()


def test_policies_keep_the_conditions_of_the_dynamics() -> None:
    model = dataclasses.replace(MODEL, dynamics=DYNAMICS.model_copy(update={"conditions": MEASURED}))
    artifact = policy_for_tradeoff(model, 1.5)
    assert artifact.conditions == MEASURED
    assert policy_for_tradeoff(MODEL, 1.5).conditions == Conditions(max_steps=6)
    assert plan_for_rule(ThresholdRule(threshold=0.5), MODEL).artifact.conditions == Conditions(max_steps=6)
    assert PolicyArtifact.model_validate_json(artifact.model_dump_json()) == artifact
    assert misfits(LivePlan(artifact), source(6), family="loop") == ("problems of the family chain, now loop",)
    assert model.observations == OBSERVATIONS
    assert alpha_rule().horizon == 6


def test_presets_of_the_lab_say_what_they_were_fitted_on() -> None:
    """The weights that ship are those that the presets were fitted on, and plans of other families are told."""
    lab = LabSource()
    models = lab.config({"weak", "strong", "prm"})
    for name in preset_names():
        if name.startswith("lab-"):
            conditions = load_preset(name).dynamics.conditions
            assert conditions == Conditions(family=name[4:].split(".")[0], max_steps=lab.caps.max_steps, models=models)


def test_run_tells_of_another_family(run_cli, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("torch")
    policy = tmp_path / "policy.json"
    policy_for_budget(load_preset("lab-chain.prm").routing_model(), 0.1).save(policy)
    common = ["run", "--models", "lab", "--problems", "2", "--policy", policy]
    code, _, told = run_cli(*common, "--family", "loop", "--out", tmp_path / "loop")
    assert code == 0
    assert "the plan may not come true: it is for problems of the family chain, now loop" in told
    code, _, told = run_cli(*common, "--family", "chain", "--out", tmp_path / "chain")
    assert (code, told) == (0, "")
