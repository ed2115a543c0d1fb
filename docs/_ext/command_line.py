"""``.. command-line::`` writes the help of every verb, asked of the application when the site is built."""

from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

_WIDTH = 80


def helps(
    command: Any = None, path: tuple[str, ...] = ("trim-pomdp",), parent: Any = None
) -> Iterator[tuple[str, str]]:
    """Every command with its help, the application first."""
    if command is None:
        from trim_pomdp.cli.app import app

        command = typer.main.get_command(app)
    context = command.context_class(
        command, info_name=path[-1], parent=parent, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield " ".join(path), command.get_help(context)
    for name, child in getattr(command, "commands", {}).items():
        yield from helps(child, (*path, name), context)


class CommandLine(SphinxDirective):
    """A section a verb."""

    def run(self) -> list[nodes.Node]:
        """Sections with the help in a literal block."""
        sections: list[nodes.Node] = []
        for name, text in helps():
            section = nodes.section(ids=[nodes.make_id(name)], names=[name])
            section += nodes.title("", name)
            section += nodes.literal_block(text, text, language="text")
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directive known."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
