"""The notebooks run top to bottom, each in an empty folder, and are kept as they should be: no outputs, no logic."""

import ast
import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LIMIT_S = 300.0  # what hangs is ended; how long each takes is printed
# What a cell is not made of: a notebook calls the package and says what one sees.
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.While,
    ast.If,
    ast.IfExp,
    ast.Try,
)
ABSOLUTE = re.compile(r"(?<![\w.:/-])(?:/(?:home|root|tmp|work|usr|opt|mnt|var|Users)/|[A-Za-z]:\\\\|~/|file://)")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def code_of(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in document(path)["cells"] if cell["cell_type"] == "code"]


# As they are kept --------------------------------------------------------------------------------------------


@each_notebook
def test_outputs_are_stripped_and_metadata_are_few(path: Path) -> None:
    notebook = document(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@each_notebook
def test_cells_hold_no_logic(path: Path) -> None:
    for source in code_of(path):
        python = re.sub(r"^%.*$", "", source, flags=re.MULTILINE)  # without magics
        found = [type(node).__name__ for node in ast.walk(ast.parse(python)) if isinstance(node, LOGIC)]
        assert not found, f"{found} in:\n{source}"
        assert max(map(len, source.splitlines())) <= 100, source


@each_notebook
def test_no_path_of_any_machine_is_inside(path: Path) -> None:
    assert ABSOLUTE.search(path.read_text(encoding="utf-8")) is None


@each_notebook
def test_it_begins_with_a_heading_and_says_what_one_sees(path: Path) -> None:
    cells = document(path)["cells"]
    assert "".join(cells[0]["source"]).startswith("# ")
    kinds = "".join(cell["cell_type"][0] for cell in cells)
    assert "ccc" not in kinds, "three cells of code without a word between them"


def test_every_notebook_is_listed_with_its_point() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| \[`?([\w.]+?)`?\]\(\1\) \| (.+?) \|", text, flags=re.MULTILINE))
    assert set(listed) == {path.name for path in NOTEBOOKS}
    assert len(set(listed.values())) == len(listed)


# As they run -------------------------------------------------------------------------------------------------


def kernel_environment(folder: Path) -> dict[str, str]:
    """This one, with the checkout first, and nothing of what people have configured at home."""
    own = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "TRIM_POMDP_VLLM_PYTHON": sys.executable,  # without vLLM: its servers start for minutes
        "TRIM_POMDP_SHARED": os.environ.get("TRIM_POMDP_SHARED", str(ROOT.parent / "shared")),
    }
    return {**os.environ, **own}


@pytest.fixture
def machinery() -> None:
    for module in ("nbclient", "ipykernel"):
        pytest.importorskip(module, reason=f"notebooks are executed by {module}, which the extras notebooks, dev bring")


def executed(path: Path, folder: Path, limit_s: float = LIMIT_S, **more: str) -> list[tuple[str, dict[str, Any]]]:
    """The outputs of a notebook, each with the code of its cell, after all cells ran in an empty folder.

    More of the kernel's environment can be given.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises; it shows the cell and the traceback.
    """
    import nbformat
    from nbclient import NotebookClient

    work = folder / "work"
    work.mkdir()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=limit_s, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    )
    asyncio.run(asyncio.wait_for(client.async_execute(env={**kernel_environment(folder), **more}), limit_s))
    return [
        (cell["source"], output)
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("machinery")
@each_notebook
def test_it_runs_top_to_bottom(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    outputs = executed(path, tmp_path)
    seconds = time.perf_counter() - began
    with capsys.disabled():
        sys.stdout.write(f"\n{path.name}: {seconds:.1f} s\n")
    assert outputs, "it shows nothing"
    for source, output in outputs:
        assert output.get("name") != "stderr", f"a reader would see\n{output['text']}after\n{source}"
        data = output.get("data", {})
        if set(data) == {"text/plain"}:  # what shows itself in no better way
            bare = re.search(r" object at 0x|^<Figure|ipywidgets", data["text/plain"])
            assert bare is None, f"a reader would see {data['text/plain']} after\n{source}"


# Interrupting a kernel ---------------------------------------------------------------------------------------

SETTING = """
import sys
sys.path[:0] = [{tests!r}]
from scripted import WORLD
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, dummy_problems
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.run import Routing, run

def solve(delay, tell=None):
    models = Models(*(DummyGenerator(WORLD, role, delay_s=delay) for role in ("weak", "strong")), DummyScorer(WORLD))
    routing = Routing(ThresholdRule(threshold=0.5))
    options = dict(config=routing.config, resume=True, in_flight=16)
    return run(dummy_problems(200), routing.start, models, "run", progress=tell, **options)

def told(done, *_):
    if done == 20:
        print("ready", flush=True)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("machinery")
@pytest.mark.parametrize("before", ["", "import asyncio; await asyncio.sleep(0.01)\n"], ids=["plain", "with await"])
def test_interrupting_the_kernel_ends_the_cell_and_the_run_goes_on(before: str, tmp_path: Path) -> None:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=kernel_environment(tmp_path), cwd=str(tmp_path))
    client = manager.blocking_client()
    client.start_channels()
    told: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        told.append(content.get("text") or content.get("data", {}).get("text/plain") or content.get("ename") or "")
        if message["msg_type"] == "stream" and content["text"].startswith("ready"):
            manager.interrupt_kernel()

    def run_cell(code: str) -> dict[str, Any]:
        return client.execute_interactive(code, output_hook=hear, timeout=120)["content"]

    try:
        client.wait_for_ready(timeout=120)
        assert run_cell(SETTING.format(tests=str(ROOT / "tests")))["status"] == "ok", told
        run_cell(f"{before}solve(0.05, told)")
        assert any("KeyboardInterrupt" in item for item in told), told
        told.clear()
        progress = 'tp.ProgressLine("routing")'
        assert run_cell(f"{before}import trim_pomdp as tp; solve(0.0, {progress}).problems")["status"] == "ok", told
        assert "200" in told
        assert any(item.startswith("routing: 200 of 200 problems, ") for item in told), told
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
