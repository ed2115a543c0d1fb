"""The documentation: every block of code runs, page by page; the site builds without warnings; nothing is missing."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fake_vllm import FakeVllm
from pages import PAGES, ROOT, RUN_BY_CI, Block, Session, blocks

from trim_pomdp.data.problems import Problem, problems_text
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.backends.dummy import RIGHT_ANSWER, DummyWorld
from trim_pomdp.runtime.config import read_models_file

DOCS = ROOT / "docs"
# What is not run on a machine with two cores and no network, and how often, by page.
NOT_RUN = {
    "docs/index.md": 1,
    "docs/howto/bench.md": 2,
    "docs/howto/install.md": 1,
    "docs/howto/no-prm.md": 1,
    "docs/howto/own-pair.md": 1,
    "docs/results.md": 1,
    "docs/results-first-lab.md": 1,
    "docs/field.md": 1,
    "docs/servers.md": 1,
    "docs/tutorial.md": 1,
}


class Served(FakeVllm):
    """A fake that reads prompts as a server of a model with a system prompt gets them: only the problem matters."""

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        messages = body.get("messages", [])
        text = (
            body["prompt"]
            if "prompt" in body
            else "".join(item["content"] + "\n\n" for item in messages if item["role"] != "system")
        )
        return web.json_response({"tokens": [ord(character) for character in text]})


def write_problems(folder: Path) -> None:
    """A problem set to fit on, and another to run on."""
    for name, count in (("problems", 150), ("test", 40)):
        found = [Problem(f"{name}-{i}", f"{name}-{i}", RIGHT_ANSWER) for i in range(count)]
        (folder / f"{name}.jsonl").write_text(problems_text(found))


@pytest.fixture(scope="module")
def addresses() -> Iterator[Mapping[str, str]]:
    """Addresses that pages name, and those of the fakes that stand for them."""
    preset = load_preset("qwen2.5-1.5b-7b-math")
    world = DummyWorld.of(preset.observations, preset.dynamics)
    servers = {
        "http://10.0.0.1:8001": Served(world, "weak"),
        "http://10.0.0.2:8001": Served(world, "strong"),
        "http://10.0.0.1:8002": Served(world, None),
    }
    names = ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-Math-PRM-7B")
    with ExitStack() as stack:
        for server, name in zip(servers.values(), names, strict=True):
            server.names = [name]
            stack.enter_context(server.running())
        yield {address: server.url for address, server in servers.items()}


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, addresses: Mapping[str, str]) -> Session:
    """A reader in an empty folder."""
    import matplotlib

    matplotlib.use("agg")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Session(folder, addresses, {"problems": write_problems})


def runnable(page: str) -> bool:
    return any(item.language in ("bash", "python") and item.key not in ("not run", *RUN_BY_CI) for item in blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_every_block_of_a_page_runs(page: str, session: Session, request: pytest.FixtureRequest) -> None:
    found = [block for block in blocks(page) if block.key not in RUN_BY_CI]
    if any("../shared" in block.text for block in found):
        (session.folder.parent / "shared").symlink_to(request.getfixturevalue("shared"))
    for block in found:
        session.run(block)


SAID = Block("p:1", "bash", "A=3\necho planned $A.5 0.25; echo 4.0 s, 9 problems; echo done\n")


@pytest.mark.parametrize(
    ("block", "is_right"),
    [
        (Block("p:2", "text", "planned   3.5 0.25\n…\n", "output"), True),
        (Block("p:2", "text", "planned 3.5 0.26\ndone\n", "output"), True),
        (Block("p:2", "text", "planned … 0.25\n7.1 s, 8 problems\n", "output"), True),
        (Block("p:2", "text", "planned 7.1 0.25\n", "output"), False),
        (Block("p:2", "text", "planned 3.5 0.28\n", "output"), False),
        (Block("p:2", "text", "planned 3.5\n", "output"), False),
        (Block("p:2", "text", "7.1 s, 9 answers\n", "output"), False),
        (Block("p:2", "text", "done\nplanned 3.5 0.25\n", "output"), False),
        (Block("p:2", "text", "measured 3.5 0.25\n", "output"), False),
        (Block("p:2", "bash", "test $A = 3\n"), True),
        (Block("p:2", "bash", "test $A = 4; echo so\n"), False),
        (Block("p:2", "python", ">>> 1 + 1\n2\n"), True),
        (Block("p:2", "python", ">>> 1 + 1\n3\n"), False),
        (Block("p:2", "python", "raise AssertionError\n"), False),
    ],
)
def test_what_is_wrong_in_a_page_is_found(block: Block, is_right: bool, tmp_path: Path) -> None:
    session = Session(tmp_path, {}, {})
    session.run(SAID)
    with nullcontext() if is_right else pytest.raises(AssertionError):
        session.run(block)


def test_what_is_not_run_is_what_cannot_be() -> None:
    found = {page: [block.value for block in blocks(page) if block.key == "not run"] for page in PAGES}
    assert {page: len(reasons) for page, reasons in found.items() if reasons} == {
        page: count for page, count in NOT_RUN.items() if count
    }
    assert all(reasons for reason in found.values() for reasons in reason)


def test_comments_above_blocks_are_known() -> None:
    known = ("", "not run", "file", "output", "meanwhile", *RUN_BY_CI)
    for page in PAGES:
        for block in blocks(page):
            assert block.key in known or block.language not in ("bash", "python"), block.place


@pytest.mark.parametrize("page", PAGES)
def test_every_table_of_models_is_read(page: str, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            assert tomllib.loads(block.text)
            path = tmp_path / "models.toml"
            path.write_text(block.text)
            if "backend" in block.text:
                read_models_file(path)


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_commands_in_the_text_exist(page: str) -> None:
    """Verbs and options that pages name in passing."""
    import typer

    from trim_pomdp.cli.app import app

    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    for command in re.findall(r"`trim-pomdp ([^`]+)`", text):
        found, words = typer.main.get_command(app), command.split()
        while words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]
        assert not words or words[0].startswith("-") or not hasattr(found, "commands"), (
            f"{page}: {command}: no such verb"
        )
        known = {option for item in found.params for option in item.opts} | {"--help"}
        for word in words:
            assert not word.startswith("--") or word.split("=")[0] in known, f"{page}: {command}: no option {word}"


PACKAGES = ("trim_pomdp", "solvers", "observation_models")


def documented(package: str) -> list[str]:
    """What the pages of the reference name."""
    found: list[str] = []
    for path in sorted((DOCS / "reference").glob("*.rst")):
        for body in re.findall(rf"^\.\. names:: {re.escape(package)}\n\n((?:   \w+\n)+)", path.read_text(), re.M):
            found += body.split()
    return found


@pytest.mark.parametrize(
    "package",
    [
        "trim_pomdp",
        "trim_pomdp.inspection.widgets",
        "trim_pomdp.metrics",
        "solvers",
        "solvers.bridges",
        "observation_models",
    ],
)
def test_the_reference_has_all_that_is_public(package: str) -> None:
    assert sorted(documented(package)) == sorted(importlib.import_module(package).__all__)


def test_no_method_refers_to_itself() -> None:
    """A bare name in a docstring is first the class's own: what a method calls by its name needs a dotted one."""
    found = []
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            methods = [node for node in ast.iter_child_nodes(item) if isinstance(node, ast.FunctionDef)]
            if isinstance(item, ast.ClassDef):
                found += [f"{path.name}: {f.name}" for f in methods if f"`{f.name}`" in (ast.get_docstring(f) or "")]
    assert found == []


def test_no_property_begins_with_what_reads_as_a_type() -> None:
    """Of a property's docstring, napoleon takes what stands before a colon in the first line for a type."""
    found = []
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
                is_property = any("property" in ast.unparse(decorator) for decorator in item.decorator_list)
                first_line = (ast.get_docstring(item) or "").partition("\n")[0]
                if is_property and ":" in first_line:
                    found.append(f"{path.name}: {item.name}: {first_line}")
    assert found == []


def test_what_the_reference_says_of_json() -> None:
    """All verbs but those that it names."""
    import typer

    from trim_pomdp.cli.app import app

    def verbs(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
        for name, item in group.commands.items():
            if hasattr(item, "commands"):
                yield from verbs(item, *before, name)
            else:
                yield " ".join((*before, name)), item

    text = " ".join((DOCS / "reference" / "cli.rst").read_text().split())
    (said,) = re.findall(r"Every verb but ([^.]*?) takes ``--json``", text)
    without = {
        name
        for name, item in verbs(typer.main.get_command(app))
        if "--json" not in {option for parameter in item.params for option in parameter.opts}
    }
    assert set(re.findall(r"``([^`]+)``", said)) == without


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as CI builds it."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_the_site_needs_no_network(site: Path) -> None:
    """No script, style, font or picture comes from elsewhere; formulas are MathML."""
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//', text), path
        assert "\\begin{" not in text or path.name == "changelog.html", path
    assert (site / "model.html").read_text().count("<math") > 300


@pytest.mark.slow
def test_every_verb_is_in_the_site(site: Path, run_cli: Callable[..., Any]) -> None:
    text = (site / "reference" / "cli.html").read_text()
    verbs = re.findall(r"^  (\S+) {2,}", run_cli("--help")[1].split("Commands:")[1], re.M)
    assert len(verbs) > 10
    for verb in verbs:
        assert f'id="trim-pomdp-{verb}"' in text, verb


def anchors(path: Path) -> set[str]:
    """Anchors of headings as GitHub makes them."""
    found: list[str] = []
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for title in re.findall(r"^#+ (.*)$", text, re.M):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.append(anchor if anchor not in found else f"{anchor}-{sum(a == anchor for a in found)}")
    return set(found)


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    """As GitHub shows the files; Sphinx checks the site."""
    here = ROOT / page
    text = re.sub(r"```.*?```", "", here.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = here.parent / name if name else here
        assert path.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(path), f"{page}: {target}"
