"""The line that says that kernels are compiled: once, when they really are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOLVE = """
from solvers import POMDP, solve_epochs
coin = POMDP(transition=[[[1.0]]], observation=[[[1.0]]], reward=[[2.0]], start=[1.0], discount=0.5)
solve_epochs(coin.finite_horizon(3), report=print)
solve_epochs(coin.finite_horizon(4), report=print)
"""


@pytest.mark.slow
def test_compilation_is_told_once_and_only_if_it_happens(tmp_path: Path) -> None:
    def run() -> tuple[str, str]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", SOLVE], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    out, err = run()
    assert out.count("compiling the solver, once per installation") == 1
    assert out.count("\n") == 1
    assert err == ""
    assert run() == ("", "")


@pytest.mark.slow
def test_the_policy_verb_says_it_on_stderr(tmp_path: Path) -> None:
    arguments = ["policy", "--preset", "qwen2.5-1.5b-7b-math", "--tradeoff", "0.1", "--json"]
    code = f"from trim_pomdp.cli.app import main; main({arguments})"

    def run() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("{")
        return done.stderr

    assert run().count("compiling the solver, once per installation") == 1
    assert run() == ""
