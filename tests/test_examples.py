"""The scripts in ``examples`` run, each by itself, and say what they promise."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from pages import ROOT

EXAMPLES = ROOT / "examples"
# What each prints: words that must come, in this order.
PRINTED: Mapping[str, tuple[str, ...]] = {
    "difficulty_types.py": ("0.1 points: 0.6", "knowing it would add", "2.0 points", "minding types adds"),
    "fit_your_own_prm.py": ("first errors in 200 solutions", "AUC 0.9", "held-out log loss", "multiplies the odds by"),
    "inspect_a_run.py": ("strong tokens a problem", "believed", "first errors", "flips at evidence", "became"),
    "plan_for_a_budget.py": ("best threshold", "both exact for this model", "as repair is"),
    "route_the_lab.py": ("accuracy", "budget"),
    "routing_in_pomdp_py.py": ("POMDP(94 states", "no policy more than 67.96", "planned: ", "searched: "),
    "solve_a_pomdp.py": ("precision  0.001:  19.371", "heard left once, P(left) = 0.850: listen", "open right"),
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples run: what they write, others read."""
    return tmp_path_factory.mktemp("examples")


def run_example(name: str, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rest = done.stdout
    for words in PRINTED[name]:
        assert words in rest, f"{words!r} is not printed, or not in this place:\n{done.stdout}"
        rest = rest.split(words, 1)[1]
    return done.stdout


def test_all_of_them_are_tested_and_short() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [path.name for path in scripts] == sorted(PRINTED)
    for path in scripts:
        assert len(path.read_text().splitlines()) < 40, path.name


def test_plan_for_a_budget(folder: Path) -> None:
    printed = run_example("plan_for_a_budget.py", folder)
    exact, drawn = (float(value) for value in re.findall(r"^(0\.\d+) (?:right|±)", printed, re.M))
    assert abs(exact - drawn) < 0.016, "four standard errors of 20,000 problems"
    assert (folder / "policy.json").is_file()


def test_route_the_lab_and_inspect_the_run(folder: Path) -> None:
    pytest.importorskip("torch")
    run_example("route_the_lab.py", folder)
    run_example("inspect_a_run.py", folder, "lab-run")


def test_a_run_to_inspect_must_be_given(folder: Path) -> None:
    script = str(EXAMPLES / "inspect_a_run.py")
    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "give the folder of a run: python inspect_a_run.py FOLDER\n"


def test_difficulty_types(folder: Path) -> None:
    """Knowing the type is worth 1.4 points where a strong token costs one; both ends are certified."""
    printed = run_example("difficulty_types.py", folder)
    found = re.findall(r"(knowing|minding).*? adds? (-?\d+\.\d+) to (-?\d+\.\d+)", printed)
    brackets = [(float(low), float(high)) for _, low, high in found]
    assert all(high - low < 0.021 for low, high in brackets)
    assert brackets[2] == pytest.approx((1.37, 1.39), abs=0.03)
    assert brackets[3] == pytest.approx((0.11, 0.11), abs=0.03)


def test_fit_your_own_prm(folder: Path) -> None:
    """Once with the scores that ship, once with those of a PRM of which the truth is known."""
    for arguments in ([], [str(made_up_scores(folder))]):
        printed = run_example("fit_your_own_prm.py", folder, *arguments)
        factors = [float(value) for value in re.findall(r"odds by +([\d.]+)", printed)]
        assert factors == sorted(factors)
        assert factors[0] < 1 < factors[-1]


def made_up_scores(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for index in range(200):
        label = int(rng.integers(-1, 5))
        scores = [float(rng.beta(2, 4) if step == label else rng.beta(9, 1)) for step in range(5)]
        lines.append(json.dumps({"id": f"p{index}", "label": label, "n_scored": 5, "scores": {"mine": scores}}))
    path = folder / "scores.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_routing_in_pomdp_py(folder: Path) -> None:
    """The plan gets what it promised, the search no more, up to four standard errors."""
    pytest.importorskip("pomdp_py")
    printed = run_example("routing_in_pomdp_py.py", folder)
    promised = float(re.search(r"worth ([\d.]+),", printed)[1])
    (planned, error), (searched, wider) = (map(float, found) for found in re.findall(r"ed: (\S+) ± (\S+)", printed))
    assert abs(planned - promised) < 4 * error
    assert promised - 40 < searched < promised + 4 * wider


def test_solve_a_pomdp(folder: Path) -> None:
    run_example("solve_a_pomdp.py", folder)
