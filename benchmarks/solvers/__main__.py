"""Discounted solvers beside each other: ``python benchmarks/solvers [--time-limit 60] [--peers PYTHON] [MODEL …]``.

Every solve runs in a process of its own, one after the other, and is given the same time. Ours is warm: kernels are
loaded from Numba's cache before the clock starts, and what compiling them takes with an empty cache is printed apart.
Peers are run where they are found: with ``--peers``, a Python in which scikit-decide and pomdp-toolkit are installed;
APPL's ``pomdpsol`` where it is on the path. The reference rows are those of the data folder's table (APPL SARSOP, C++).
Models are the files there, and hallway2, tag and rocksample, which are made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from solvers import POMDP, read_pomdp
from solvers.examples import hallway, rocksample, tag

sys.path.append(str(Path(__file__).resolve().parents[1]))
from report import data_folder, heading, table

FILES = data_folder().parent / "pomdp_files"
MADE = {"tag": tag, "hallway2": hallway, "rocksample_7_8": rocksample}
PRECISION = 1e-3
PEERS = ("skdecide-sarsop", "skdecide-hsvi", "toolkit-hsvi", "toolkit-perseus")
_DENSE = 4_000_000  # entries of T that peers are given


def model(name: str) -> POMDP:
    """A file of the data folder, or a model that is made."""
    return MADE[name]() if name in MADE else read_pomdp(FILES / f"{name}.pomdp")


def references() -> dict[str, tuple[float, float, float]]:
    """Lower bound, upper bound and processor seconds of APPL SARSOP, by model."""
    found = {}
    for line in (FILES / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 13 and re.fullmatch(r"[\d.-]+", cells[7]) and re.fullmatch(r"[\d.]+", cells[9]):
            found[cells[1]] = (float(cells[7]), float(cells[8]), float(cells[9]))
    return found


def solve_here(name: str, seconds: float) -> dict[str, Any]:
    """Our solver, in this process, warm."""
    from solvers import solve

    begin = time.process_time()
    solve(read_pomdp(FILES / "1d.pomdp"), precision=PRECISION)
    solve(tag(), precision=1e3)
    loading = time.process_time() - begin
    pomdp = model(name)
    begin = time.process_time()
    solution = solve(pomdp, precision=PRECISION, time_limit=seconds)
    found = {**solution.summary(), "cpu_s": time.process_time() - begin, "loading_s": loading}
    return {**found, "timed_out": solution.ended_by == "time limit"}


def child(command: list[str], seconds: float, env: dict[str, str] | None = None) -> dict[str, Any]:
    """What a process prints; its error in one line where it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=3 * seconds + 120,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired:
        return {"error": "did not stop"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["?"])[-1][:80]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def appl(name: str, seconds: float) -> dict[str, Any]:
    """APPL's ``pomdpsol``, where it is on the path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pomdp"
        if name in MADE:
            from solvers import write_pomdp

            write_pomdp(model(name), path)
        else:
            shutil.copy(FILES / f"{name}.pomdp", path)
        command = ["pomdpsol", "--precision", str(PRECISION), "--timeout", str(seconds), "-o", "/dev/null", str(path)]
        begin = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        end = os.times()
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"^\s*[\d.]+\s+\d+\s+\d+\s+-?[\d.]", line)]
    if not rows:
        return {"error": done.stdout.strip()[-80:]}
    cpu = end.children_user + end.children_system - begin.children_user - begin.children_system
    return {"lower": float(rows[-1][3]), "upper": float(rows[-1][4]), "vectors": int(rows[-1][6]), "cpu_s": cpu}


def arrays(name: str, folder: Path) -> Path | None:
    """A model as peers are given it, or None where its dense tables would be too large."""
    p = model(name)
    if p.n_actions * p.n_states**2 > _DENSE:
        return None
    path = folder / f"{name}.npz"
    np.savez(
        path, transition=p.transition_array, observation=p.observation_array, reward=p.reward, start=p.start,
        discount=p.discount,
    )  # fmt: skip
    return path


def compile_seconds() -> float:
    """Processor seconds of a first solve with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        code = (
            "import time; from solvers import solve; from solvers.examples import tiger; p = tiger(); "
            "b = time.process_time(); solve(p); print(time.process_time() - b)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
        )  # fmt: skip
        return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Run all, one process after the other, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--time-limit", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python in which peers are installed")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(solve_here(options.one, options.time_limit)))
        return
    known = references()
    heading(f"Discounted solvers, precision {PRECISION:g}, at most {options.time_limit:g} s")
    rows = []
    for name in options.models or [*known, *MADE]:
        here = [sys.executable, __file__, "--one", name, "--time-limit", str(options.time_limit)]
        runs = {"ours": child(here, options.time_limit)}
        if shutil.which("pomdpsol"):
            runs["pomdpsol"] = appl(name, options.time_limit)
        if options.peers:
            with tempfile.TemporaryDirectory() as folder:
                if path := arrays(name, Path(folder)):
                    script = str(Path(__file__).with_name("peers.py"))
                    for peer in PEERS:
                        command = [options.peers, script, peer, str(path), str(options.time_limit)]
                        runs[peer] = child(command, options.time_limit)
        if name in known:
            lower, upper, cpu = known[name]
            runs["APPL SARSOP (reference)"] = {"lower": lower, "upper": upper, "cpu_s": cpu}
        for solver, found in runs.items():
            low, up = found.get("lower"), found.get("upper")
            gap = None if low is None or up is None else up - low
            rows.append(
                [name, solver, _value(low), _value(up), gap, found.get("cpu_s"), found.get("vectors"), _ended(found)]
            )
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    table(["model", "solver", "lower", "upper", "gap", "CPU s", "vectors", ""], rows)
    print(f"First solve with an empty cache: {compile_seconds():.1f} s of processor time, nearly all of it compiling.")


def _value(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _ended(found: dict[str, Any]) -> str:
    return str(found.get("error") or ("time is up" if found.get("timed_out") else ""))


if __name__ == "__main__":
    main()
