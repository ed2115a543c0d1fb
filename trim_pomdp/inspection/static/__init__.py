"""The scripts and the style sheet that draw inspections, as texts.

Scripts are plain functions in files that are joined: no imports between them, no framework, no build step. The last
file of a use says how it starts (``*_widget.js`` exports ``render`` for anywidget, ``report.js`` starts the report).
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from trim_pomdp.errors import InputError

__all__ = ["source", "style"]


def source(*names: str) -> str:
    """Scripts of this folder, joined in the order given.

    Parameters
    ----------
    *names
        Names of files, for example ``"svg.js", "inspector.js"``.

    Raises
    ------
    InputError
        If there is no script of that name.
    """
    return "\n".join(_text(name) for name in names)


def style() -> str:
    """The style sheet of every drawing: light and dark, colours that colour-blind people tell apart."""
    return _text("style.css")


@cache
def _text(name: str) -> str:
    folder = resources.files(__name__)
    known = sorted(item.name for item in folder.iterdir() if item.name.endswith((".js", ".css")))
    if name not in known:
        raise InputError(f"no script {name!r}; there are {', '.join(known)}")
    return folder.joinpath(name).read_text(encoding="utf-8")
