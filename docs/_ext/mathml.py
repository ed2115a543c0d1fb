"""Formulas as MathML, made when the site is built: no JavaScript, no fonts to fetch, and readable without a network."""

import html
import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
# What latex2mathml does not know, in words that it does.
_UNKNOWN = {r"\arg": r"\operatorname{arg}", "{aligned}": "{align*}"}


def to_mathml(formula: str, display: str) -> str:
    """LaTeX as a ``<math>`` element.

    Raises
    ------
    ValueError
        If something in it is not understood.
    """
    for command, other in _UNKNOWN.items():
        formula = formula.replace(command, other)
    formula = re.sub(
        "'+", lambda primes: "^{" + r"\prime" * len(primes[0]) + "}", formula
    )  # beside an index, not above
    try:
        out = convert(formula, display=display)
    except Exception as error:
        raise ValueError(f"{error!r}") from error
    if "\\" in out or ">&<" in out:  # it hands through what it does not know
        raise ValueError("a command that is not known is left over")
    return out


def _write(translator: Any, node: nodes.Element, display: str) -> None:
    try:
        out = to_mathml(node.astext(), display)
    except ValueError as error:
        _LOGGER.warning("formula %r: %s", node.astext(), error, location=node)
        out = f"<code>{html.escape(node.astext())}</code>"
    tag = "div" if display == "block" else "span"
    translator.body.append(f'<{tag} class="math">{out}</{tag}>')
    raise nodes.SkipNode


def _inline(translator: Any, node: nodes.Element) -> None:
    _write(translator, node, "inline")


def _block(translator: Any, node: nodes.Element) -> None:
    _write(translator, node, "block")


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the renderer known."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
