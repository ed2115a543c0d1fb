"""Fixtures that every test may use."""

import json
import math
import os

# Several processes of pytest-xdist share the cores: each takes one. Before numpy and torch are imported.
if os.environ.get("PYTEST_XDIST_WORKER"):
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data; named by TRIM_POMDP_SHARED, ``../shared`` by default."""
    folder = Path(os.environ.get("TRIM_POMDP_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is absent, yet CI always has it")
        pytest.skip(f"real data absent: no folder {folder}/data (set TRIM_POMDP_SHARED)")
    return folder


@pytest.fixture
def run_cli(capfd, monkeypatch):
    """Run the command line; returns exit code, stdout and stderr, without the progress of slow machines."""
    from trim_pomdp.cli.app import main

    monkeypatch.setattr("trim_pomdp.cli.output.TOLD_EVERY_S", math.inf)

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(item) for item in arguments])
        return stop.value.code, *capfd.readouterr()

    return call


@pytest.fixture
def cli_json(run_cli):
    """Run a verb with --json; stdout must hold one JSON document and nothing else, stderr nothing if quiet."""

    def call(*arguments: object, quiet: bool = True) -> dict:
        code, out, err = run_cli(*arguments, "--json")
        assert code == 0, err
        assert not quiet or err == ""
        assert out.endswith("\n")
        assert out.count("\n") == 1
        return json.loads(out, parse_constant=pytest.fail)

    return call


@pytest.fixture
def cli_refused(run_cli, tmp_path, monkeypatch):
    """Run in tmp_path what must be refused: exit code 2, one line on stderr with all words in it, nothing written."""
    monkeypatch.chdir(tmp_path)

    def state() -> dict[Path, int]:
        # The lock of a run may be taken again.
        return {p: 0 if p.name == ".lock" else p.stat().st_mtime_ns for p in tmp_path.rglob("*")}

    def call(*arguments: object, words: tuple[str, ...] = ()) -> str:
        before = state()
        code, out, err = run_cli(*arguments)
        assert (code, out) == (2, ""), err
        assert err.count("\n") == 1
        assert err.startswith("trim-pomdp")
        assert "error: " in err
        assert "Traceback" not in err
        for word in words:
            assert word in err
        assert state() == before
        return err

    return call
