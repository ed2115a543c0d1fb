"""A models file of the lab's models: in this process where there is no vLLM, served where there is."""

import sys
from pathlib import Path

import pytest
from test_notebooks import FOLDER, executed, machinery

import trim_pomdp as tp
from trim_pomdp.lab.problems import draw
from trim_pomdp.servers.environment import Environment
from trim_pomdp.servers.lab import lab_models_file

__all__ = ["machinery"]

RULE = tp.ThresholdRule(threshold=0.5)


def test_without_vllm_models_run_in_this_process_as_the_labs_do(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    lab = lab_models_file(tmp_path / "models.toml", python=sys.executable)  # which has no vLLM
    assert "in this process" in lab.how
    assert "has no vLLM" in lab.how
    problems = draw("loop", "test", 0, 6)
    mine = tp.run_live(RULE, problems, tp.model_source(str(lab.path)), tmp_path / "mine")
    labs = tp.run_live(RULE, problems, tp.model_source("lab"), tmp_path / "labs")
    assert (mine.accuracy, mine.tokens) == (labs.accuracy, labs.tokens)
    lab.close()


def test_servers_that_are_asked_for_need_an_environment(tmp_path: Path) -> None:
    with pytest.raises(tp.InputError, match="has no vLLM"):
        lab_models_file(tmp_path / "models.toml", served=True, python=sys.executable)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_with_vllm_they_are_served_until_closed(own_servers: Environment, tmp_path: Path) -> None:
    with lab_models_file(tmp_path / "models.toml", python=own_servers.python) as lab:
        assert lab.how == f"on 3 servers of vLLM {own_servers.version}"
        source = tp.model_source(str(lab.path))
        problems = draw("loop", "test", 0, 6)
        assert not tp.check_models(source, problems).bad
        tp.run_live(RULE, problems, source, tmp_path / "served")
        in_process = tp.run_live(RULE, problems, tp.model_source("lab"), tmp_path / "labs")
        served = tp.read_run(tmp_path / "served").summary
        assert (served.accuracy, served.strong_tokens) == (in_process.accuracy, in_process.strong_tokens)
    with pytest.raises(tp.InputError, match=r"out of reach|cannot connect|given up"):
        tp.run_live(RULE, problems, source, tmp_path / "after")


@pytest.mark.slow
@pytest.mark.usefixtures("machinery")
def test_the_notebook_of_ones_own_models_takes_the_servers(own_servers: Environment, tmp_path: Path) -> None:
    python = str(own_servers.python)
    outputs = executed(FOLDER / "05_your_own_models.ipynb", tmp_path, 1200.0, TRIM_POMDP_VLLM_PYTHON=python)
    shown = "".join(str(output.get("data", {}).get("text/html", "")) for _, output in outputs)
    assert f"on 3 servers of vLLM {own_servers.version}" in shown
    assert not [output for _, output in outputs if output.get("name") == "stderr"]
    assert "vllm" in (tmp_path / "work" / "models.toml").read_text()
