"""The page of a report: one file that asks nobody for anything, rendered from plain data by templates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from trim_pomdp.inspection.figures import brief, counted, fixed, percent, signed, whole
from trim_pomdp.inspection.packing import script_json
from trim_pomdp.inspection.static import source, style

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPTS = ("svg.js", "inspector.js", "report.js")


def render_page(report: Mapping[str, Any], data: Mapping[str, Any], chunks: Sequence[str]) -> str:
    """The page as HTML.

    Parameters
    ----------
    report : mapping
        What the templates say in words and tables, see `trim_pomdp.inspection.report.report_document`.
    data : mapping
        What the script lists and draws at once.
    chunks : sequence of str
        Details, see `trim_pomdp.inspection.packing.packed`.
    """
    from markupsafe import Markup

    script = source(*_SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render(
        "report.html.j2",
        report=report,
        # Our own files, and JSON in which nothing can end a script; everything else is escaped by the templates.
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        data=Markup(script_json(data)),
        chunks=chunks,
    )


def render(template: str, **said: object) -> str:
    """A page of the templates, in the style of reports; what is said is escaped unless it is `Markup`."""
    from markupsafe import Markup

    return _environment().get_template(template).render(style=Markup(style() + source("report.css")), **said)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("trim_pomdp.inspection", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "fixed": fixed,
        "signed": signed,
        "brief": brief,
        "whole": whole,
        "percent": percent,
        "counted": counted,
    }
    return made
