"""Files outside of ``docs`` that are pages of the site too; links to them lead to the page."""

from typing import Any

from sphinx.application import Sphinx

PAGES = {
    "../trim_pomdp/lab/weights/README.md": "lab.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../notebooks/README.md": "notebooks.md",
    "../CHANGELOG.md": "changelog.md",
}


def _relink(app: Sphinx, name: str, source: list[str]) -> None:
    if "{include}" in source[0]:
        return
    up = "../" * name.count("/")
    for path, page in PAGES.items():
        source[0] = source[0].replace(f"]({up}{path}", f"]({up}{page}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Change links as pages are read."""
    app.connect("source-read", _relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
