"""The fenced blocks of a Markdown page, and running them as a reader would: in order, in one folder, in one session.

A comment above a block says what it is, where that is not plain:

* ``<!-- file: NAME -->``: what a file holds; it is written.
* ``<!-- output -->``: what the commands above print; every line must come, in this order, with the same numbers within
  2 % or one of the last digit ("…" stands for anything). In lines of times, sizes and speeds numbers may be any.
* ``<!-- not run: REASON -->``: read, not run.
* ``<!-- meanwhile: NAME -->``: somebody else does something before the block, as `Page.run` is told.
"""

import ast
import doctest
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "howto").glob("*.md"))
)
# Blocks that .ci/run takes out of the README and runs.
RUN_BY_CI = ("demo command", "test command")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.M | re.S)
_COMMENT = re.compile(r"<!-- (?P<key>[a-z ]+?)(?:: (?P<value>[^>]*?))? -->\s*\Z")
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_NUMBER = r"[-+−]?[\d.,]*\d(?:e[-+]?\d+)?"
# Of lines whose numbers are the machine's, or the version's.
_MEASURED = re.compile(r"\d (s|seconds?|minutes?|MB)\b|\ba minute\b|\bwritten by\b")
_TOLERANCE = 0.02
_DRAWN_TOLERANCE = 0.06  # of the lab's runs: a draw may turn out otherwise where the arithmetic is another one


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is in, what it holds, and what the comment above it says."""

    place: str
    language: str
    text: str
    key: str = ""
    value: str = ""


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        comment = _COMMENT.search(text[: match.start()])
        indent = match[1]
        body = "".join(line.removeprefix(indent) for line in match[3].splitlines(keepends=True))
        place = f"{page}:{text.count(chr(10), 0, match.start()) + 1}"
        yield Block(place, match[2], body, *((comment["key"], comment["value"] or "") if comment else ()))


class Session:
    """A reader at work in a folder: a shell whose variables stay, and a Python session.

    Parameters
    ----------
    folder : Path
        Where to work.
    replaced : mapping of str to str
        What stands in the page, and what is done instead: addresses of servers.
    meanwhile : mapping of str to function
        What others do meanwhile, by name; they are given the folder.
    """

    def __init__(
        self, folder: Path, replaced: Mapping[str, str], meanwhile: Mapping[str, Callable[[Path], None]]
    ) -> None:
        self.folder, self.replaced, self.meanwhile = folder, replaced, meanwhile
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.output = ""
        self.tolerance = _TOLERANCE
        bin_folder = str(Path(sys.executable).parent)
        path = os.pathsep.join([bin_folder, os.environ["PATH"]])
        here = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self.environment = {**os.environ, "PATH": path, "PYTHONPATH": here, "COLUMNS": "120"}

    def run(self, block: Block) -> None:
        """Do what a block says."""
        text = block.text
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        if block.key == "not run":
            return
        if block.key == "meanwhile":
            self.meanwhile[block.value](self.folder)
        if block.key == "file":
            (self.folder / block.value).write_text(text, encoding="utf-8")
        elif block.key == "output":
            self._compare(block)
        elif block.language == "bash":
            self._shell(block.place, text)
        elif block.language == "python":
            self._python(block.place, text)

    def _shell(self, place: str, text: str) -> None:
        # Variables stay: they are exported, and written down at the end.
        kept = self.folder / ".environment"
        script = f"set -a\n{text}\nenv -0 > .environment\n"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.output = done.stdout
        if "--models lab" in text:
            self.tolerance = _DRAWN_TOLERANCE
        assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{text}\n{done.stdout}"
        pairs = (item.partition("=") for item in kept.read_text().split("\0") if item)
        self.environment = {name: value for name, _, value in pairs if name not in ("_", "SHLVL")}
        kept.unlink()

    def _python(self, place: str, text: str) -> None:
        if ">>>" not in text:
            exec(compile(ast.parse(text, place), place, "exec"), self.names)
            return
        test = doctest.DocTestParser().get_doctest(text, self.names, place, place, 0)
        told: list[str] = []
        result = doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=told.append, clear_globs=False)
        self.names = test.globs
        assert not result.failed, "".join(told)

    def _compare(self, block: Block) -> None:
        printed = iter(self.output.splitlines())
        for line in block.text.splitlines():
            if line.strip() not in ("", "…"):
                assert any(_is_told(line, other, self.tolerance) for other in printed), (
                    f"{block.place}: not printed, or not in this place: {line!r}\n{self.output}"
                )


def _is_told(line: str, printed: str, tolerance: float = _TOLERANCE) -> bool:
    """Whether what is printed is a line of a page: the same words, and numbers that are near enough."""
    found, line = numbers_of(line, printed), _narrowed(line)
    if found is None or _MEASURED.search(line):
        return found is not None
    return all(_is_near(told, other, tolerance) for told, other in zip(re.findall(_NUMBER, line), found, strict=True))


def numbers_of(line: str, printed: str) -> list[str] | None:
    """The numbers that a printed line has where a page's line has some; None if its words are others."""
    line, printed = _narrowed(line), _narrowed(printed)
    between = [".*".join(map(re.escape, part.split("…"))) for part in re.split(_NUMBER, line)]
    found = re.fullmatch(f"({_NUMBER})".join(between), printed)
    return list(found.groups()) if found else None


def _narrowed(line: str) -> str:
    """Without how wide the columns of a table are."""
    return " ".join(re.sub("[─━═]+", "─", line).split())


def _is_near(told: str, printed: str, tolerance: float) -> bool:
    """Whether a printed number is the one that is told, within the tolerance or one of the last digit."""
    try:
        a, b = (float(text.replace(",", "").replace("−", "-")) for text in (told, printed))
    except ValueError:  # versions and the like
        return told == printed
    mantissa, _, exponent = told.partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    last = 1.001 * 10.0**-decimals if decimals else 0.0
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=last)
