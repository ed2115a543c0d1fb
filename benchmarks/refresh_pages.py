"""Bring numbers in pages up to date: ``python benchmarks/refresh_pages.py [--all] docs/tutorial.md``.

Runs the blocks of pages as `tests/test_docs.py` does, and where an output differs in its numbers alone writes those
that came; with `--all` those too that are within the test's tolerance. What differs in words, and numbers in the text
around, are left to whoever reads the page: they are listed.
"""

import doctest
import os
import re
import sys
import tempfile
from pathlib import Path

import matplotlib

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import pages


class Refreshing(pages.Session):
    """A session that notes what a page should say in place of what it says."""

    def __init__(self, folder: Path, *, every: bool) -> None:
        super().__init__(folder, {}, {})
        self.every = every
        self.replaced_lines: list[tuple[str, str]] = []
        self.to_read: list[str] = []

    def _compare(self, block: pages.Block) -> None:
        printed = self.output.splitlines()
        for line in block.text.splitlines():
            if line.strip() in ("", "…"):
                continue
            near = [i for i, other in enumerate(printed) if pages._is_told(line, other, self.tolerance)]
            alike = near or [i for i, other in enumerate(printed) if pages.numbers_of(line, other) is not None]
            if not alike:
                self.to_read.append(f"{block.place}: {line}")
                continue
            found = pages.numbers_of(line, printed[alike[0]])
            printed = printed[alike[0] + 1 :]
            if found is not None and (not near or (self.every and not pages._MEASURED.search(line))):
                rest = iter(found)
                self.replaced_lines.append((line, re.sub(pages._NUMBER, lambda _: next(rest), line)))

    def _python(self, place: str, text: str) -> None:
        if ">>>" not in text:
            super()._python(place, text)
            return
        test = doctest.DocTestParser().get_doctest(text, self.names, place, place, 0)
        session = self

        class Noting(doctest.DocTestRunner):
            def report_failure(self, out, test, example, got):
                session.replaced_lines.append((example.want, got))

            def report_unexpected_exception(self, out, test, example, exc_info):
                session.to_read.append(f"{place}: {example.source.strip()}: {exc_info[1]}")

        Noting(optionflags=pages._FLAGS).run(test, out=lambda _: None, clear_globs=False)
        self.names = test.globs


def refresh(page: str, *, every: bool) -> None:
    """Bring one page up to date."""
    path = pages.ROOT / page
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "work"
        folder.mkdir()
        (Path(place) / "shared").symlink_to(pages.ROOT.parent / "shared")
        os.chdir(folder)  # where a Python session looks for files
        session = Refreshing(folder, every=every)
        try:
            for block in pages.blocks(page):
                if block.key not in pages.RUN_BY_CI:
                    session.run(block)
        except (AssertionError, KeyError) as error:
            session.to_read.append(f"stopped: {error}")
    text = path.read_text(encoding="utf-8")
    done = 0
    for old, new in session.replaced_lines:  # in the order of the page
        at = text.index(old, done)
        text = text[:at] + new + text[at + len(old) :]
        done = at + len(new)
        if new != old:
            print(f"- {old}\n+ {new}")
    path.write_text(text, encoding="utf-8")
    for line in session.to_read:
        print(f"to read: {line}")


if __name__ == "__main__":
    matplotlib.use("agg")
    for name in (item for item in sys.argv[1:] if item != "--all"):
        print(f"== {name}")
        here = Path.cwd()
        refresh(name, every="--all" in sys.argv)
        os.chdir(here)
