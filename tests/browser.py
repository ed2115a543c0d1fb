"""A real browser for tests: where it is, and pages that keep what went wrong on them."""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE_MS = 60_000  # a first paint on a busy machine
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """Where the browser is; skips where there is none."""
    named = os.environ.get("TRIM_POMDP_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None or not Path(found).exists():
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} on the path, and TRIM_POMDP_CHROMIUM names none")
    return found


@dataclass
class Browsing:
    """Pages of a test: what they logged, and pictures of them if it fails."""

    browser: object
    folder: Path
    name: str
    pages: list = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def page(self, *, width: int = 1280, height: int = 900, scheme: str = "light", **options: object):
        """A page in a context of its own; its errors are in `errors`."""
        context = self.browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._on_error(str(error)))
        self.pages.append(page)
        return page

    def _on_console(self, message) -> None:
        self.log.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")
        if message.type == "error":
            self.errors.append(self.log[-1])

    def _on_error(self, text: str) -> None:
        self.log.append(f"uncaught: {text}")
        self.errors.append(self.log[-1])

    def keep(self) -> None:
        """Pictures of the pages, and all that they logged."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for index, page in enumerate(self.pages):
            page.screenshot(path=self.folder / f"{self.name}-{index}.png", full_page=True)
        (self.folder / f"{self.name}.log").write_text("\n".join(self.log) + "\n", encoding="utf-8")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    """Until a server answers; says what it logged if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer; the server's log ends in\n{log.read_text(errors='replace')[-3000:]}")


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def number_in(text: str) -> float:
    """The number in what a page shows, as in "right >0.99"."""
    return float(re.findall(r"\d+(?:\.\d+)?", text)[-1])


def until(look: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
