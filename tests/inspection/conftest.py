"""A browser, and servers of notebooks, for the tests of what is drawn."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import Browsing, chromium_path, free_port, stop, wait_for

import trim_pomdp

CODE = Path(trim_pomdp.__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture
def browsing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browsing]:
    """Chromium, for this test alone: while Playwright's sync interface runs, nothing else can run an event loop.

    What a test needs of event loops (a run of the lab, say) comes from fixtures that are asked for before this one. On
    failure pictures and logs stand in the folder that TRIM_POMDP_ARTEFACTS names, else in the test's own.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    path = chromium_path()
    named = os.environ.get("TRIM_POMDP_ARTEFACTS")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        found = Browsing(browser, Path(named) if named else tmp_path / "artefacts", request.node.name.replace("/", "-"))
        try:
            yield found
            if getattr(request.node, "report_call", None) is None or request.node.report_call.failed:
                found.keep()
        finally:
            browser.close()


def environment(folder: Path) -> dict[str, str]:
    """Of a notebook server: nothing of the user's own is read or written, and kernels import this code."""
    paths = os.pathsep.join([str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])])
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_WORKSPACES_DIR")
    own = {name: str(folder / name.lower()) for name in (*names, "JUPYTERLAB_SETTINGS_DIR", "XDG_CONFIG_HOME")}
    return {**os.environ, **own, "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": paths}


@dataclass
class Lab:
    """A JupyterLab that runs."""

    url: str
    token: str
    folder: Path

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells; returns where it opens."""
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{i}",
                    "source": cell,
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                }
                for i, cell in enumerate(cells)
            ],
        }
        (self.folder / f"{name}.ipynb").write_text(json.dumps(book), encoding="utf-8")
        return f"{self.url}/doc/tree/{name}.ipynb?token={self.token}"


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab with a port, a token and folders of its own."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab: pip install jupyterlab")
    folder = tmp_path_factory.mktemp("jupyter")
    books, log, port, token = folder / "books", folder / "log", free_port(), os.urandom(12).hex()
    books.mkdir()
    own = environment(folder)
    notices = Path(own["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab/apputils-extension/notification.jupyterlab-settings")
    notices.parent.mkdir(parents=True)
    notices.write_text('{"fetchNews": "false"}')
    arguments = [
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--notebook-dir={books}",
    ]
    quiet = ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command = [sys.executable, "-m", "jupyterlab", *arguments, *quiet, f"--IdentityProvider.token={token}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=own, cwd=books, stdout=stream, stderr=stream)
    try:
        wait_for(f"http://127.0.0.1:{port}/api?token={token}", process, log)
        yield Lab(f"http://127.0.0.1:{port}", token, books)
    finally:
        stop(process)


@pytest.fixture
def marimo_app(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Serve a marimo notebook (its source); returns where it opens."""
    pytest.importorskip("marimo", reason="no marimo: pip install marimo")
    running: list[subprocess.Popen] = []

    def serve(text: str) -> str:
        file, log, port = tmp_path / "app.py", tmp_path / "marimo.log", free_port()
        file.write_text(text, encoding="utf-8")
        arguments = ["run", str(file), "--headless", "--host", "127.0.0.1", "--port", str(port), "--no-token"]
        command = [sys.executable, "-m", "marimo", "-q", *arguments]
        with log.open("w") as stream:
            running.append(
                subprocess.Popen(command, env=environment(tmp_path), cwd=tmp_path, stdout=stream, stderr=stream)
            )
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", running[-1], log)
        return url

    yield serve
    for process in running:
        stop(process)
