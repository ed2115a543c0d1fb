"""Fixtures that every test may use."""

import os
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
