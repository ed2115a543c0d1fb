"""The page of a report: one file that asks nobody for anything, rendered from plain data by templates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

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
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            # Our own files, and JSON in which nothing can end a script; everything else is escaped by the templates.
            style=Markup(style() + source("report.css")),
            script=Markup(script),
            script_hash=f"sha256-{digest}",
            data=Markup(script_json(data)),
            chunks=chunks,
        )
    )


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
    }
    return made


# Numbers as texts -----------------------------------------------------------------------------------------------

_NONE = "–"


def fixed(value: float | None, digits: int = 3) -> str:
    """So many decimals; a dash for what is not known.

    Examples
    --------
    >>> fixed(0.78349), fixed(-0.0001), fixed(None)
    ('0.783', '0.000', '–')
    """
    return _NONE if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """The same with its sign, of differences.

    Examples
    --------
    >>> signed(0.02), signed(-0.02), signed(0.0)
    ('+0.020', '−0.020', '0.000')
    """
    text = fixed(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def brief(value: float | None) -> str:
    """As many digits as the size asks for; whole numbers as they are.

    Examples
    --------
    >>> brief(0.2), brief(20.6943), brief(1.9933), brief(6208), brief(None)
    ('0.2', '20.7', '1.99', '6208', '–')
    """
    if value is None:
        return _NONE
    if abs(value) >= 10_000:
        return whole(value)
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def whole(value: float | None) -> str:
    """A count, thousands apart.

    Examples
    --------
    >>> whole(234940)
    '234\u202f940'
    """
    return _NONE if value is None else f"{round(value):,}".replace(",", "\u202f")


def percent(value: float | None) -> str:
    """A share in percent."""
    return _NONE if value is None else f"{100 * value:.0f} %"
