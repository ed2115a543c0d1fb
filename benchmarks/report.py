"""What the studies share: Markdown tables, the machine and commit they ran on, where the data are."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """The data folder; named by TRIM_POMDP_SHARED, ``../shared`` by default."""
    return Path(os.environ.get("TRIM_POMDP_SHARED", ROOT.parent / "shared")) / "data"


def heading(title: str) -> None:
    """Print a title with commit and machine under it."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"### {title}\n\ncommit {commit or 'unknown'}, {platform.machine()}, {os.cpu_count()} cores\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row) + " |")
    print(flush=True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}" if abs(value) >= 10 else f"{value:.4f}"
    return str(value)
