"""The house: imports between rooms run one way, and the drawing in CONTRIBUTING shows the rooms there are."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the bottom to the top; a room may import the rooms that stand before it, whenever it does so.
ROOMS = (
    "errors",
    "display",
    "equality",
    "_kernels",
    "randomness",
    "files",
    "text",
    "artifacts",
    "data",
    "model",
    "policies",
    "fitting",
    "planning",
    "presets",
    "metrics",
    "loading",
    "runtime",
    "learning",
    "inspection",
    "lab",
    "bench",
    "servers",
    "cli",
)
# What a room must not import at all, beside the rooms above it.
FORBIDDEN = {
    "observation_models": ("trim_pomdp", "solvers"),
    "solvers": ("trim_pomdp", "observation_models"),
    "data": ("solvers", "observation_models"),
    "policies": ("solvers", "observation_models"),
    "metrics": ("solvers", "observation_models"),
    "runtime": ("solvers", "observation_models"),
    "inspection": ("solvers", "observation_models"),
}


def rooms() -> list[str]:
    folder = ROOT / "trim_pomdp"
    found = {item.stem for item in folder.glob("*.py")} | {item.parent.name for item in folder.glob("*/__init__.py")}
    return sorted(found - {"__init__"})


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, inside of functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(room: str) -> list[Path]:
    folder = ROOT / "trim_pomdp" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_every_room_has_its_place() -> None:
    assert set(rooms()) == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_run_one_way(room: str) -> None:
    above = ROOMS[ROOMS.index(room) + 1 :]
    forbidden = tuple(f"trim_pomdp.{name}" for name in above) + FORBIDDEN.get(room, ())
    for path in files(room):
        for name in imports(path):
            assert name.split(".")[0] not in forbidden, path
            assert ".".join(name.split(".")[:2]) not in forbidden, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", ["observation_models", "solvers"])
def test_the_lower_packages_know_no_routing(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in FORBIDDEN[package], path


def test_importing_a_backend_imports_nothing_of_the_others() -> None:
    from trim_pomdp.runtime.backends import BACKENDS

    for name, module in BACKENDS.items():
        others = [other for key, other in BACKENDS.items() if key != name]
        program = (
            f"import sys, {module}\n"
            f"loaded = [m for m in {[*others, 'torch', 'transformers', 'solvers', 'numba']!r} if m in sys.modules]\n"
            "assert not loaded, loaded"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_drawing_shows_the_rooms() -> None:
    """CONTRIBUTING draws every package and room, from the bottom up."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawing = text.split("<!-- rooms -->")[1].split("```")[1]
    drawn = [line.split()[0].rstrip("/") for line in drawing.splitlines() if line.strip()]
    assert drawn == ["observation_models", "solvers", "trim_pomdp", *ROOMS]


def test_public_names_are_what_they_say_whatever_was_imported() -> None:
    """A room of the same name would take the place of a function once it is imported."""
    import importlib

    import trim_pomdp as tp

    for room in ROOMS:
        importlib.import_module(f"trim_pomdp.{room}")
    for name in tp.__all__:
        assert not inspect.ismodule(getattr(tp, name)), name
    assert not set(tp.__all__) & set(ROOMS)


def test_scripts_beside_a_folder_of_the_same_name_find_the_package() -> None:
    """A script's own folder comes first, and `benchmarks/solvers` must not pass for `solvers` there."""
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import solvers; print(solvers.__file__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert Path(done.stdout.strip()) == ROOT / "solvers" / "__init__.py"
