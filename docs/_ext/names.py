"""``.. names:: PACKAGE`` documents names of a package: a table of them, then each from its docstring.

Names in the docstrings link to what the site documents, however they are written (`Frontier`,
`trim_pomdp.planning.frontier.Frontier`, `Frontier.policy_for_budget`). What it does not document stays code.
"""

import importlib
import inspect
import re
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import inspect as sphinx_inspect
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode


class Names(SphinxDirective):
    """A table of names, and the docstring of each."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """What autosummary and autodoc make of them."""
        package = self.arguments[0]
        names = [line.strip() for line in self.content if line.strip()]
        lines = [".. autosummary::", "   :nosignatures:", "", *(f"   ~{package}.{name}" for name in names), ""]
        for name in names:
            lines += _documented(package, name)
        return self.parse_text_to_nodes("\n".join(lines))


def _documented(package: str, name: str) -> list[str]:
    item = getattr(importlib.import_module(package), name)
    if not inspect.isclass(item):
        kind = "autofunction" if callable(item) else "autodata"
        return [f".. {kind}:: {package}.{name}", ""]
    if issubclass(item, Exception):
        return [f".. autoexception:: {package}.{name}", ""]
    return [f".. autoclass:: {package}.{name}", "   :members:", ""]


def _skip(app: Sphinx, kind: str, name: str, item: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what pydantic, scikit-learn and `Shown` put into every class."""
    if re.fullmatch(r"model_(config|fields|post_init)|set_\w+_request|get_metadata_routing", name):
        return True
    return True if (item.__doc__ or "").startswith("See `Shown`") else None


def _sign(
    app: Sphinx, kind: str, name: str, item: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """Of records none: attributes describe them better than what pydantic makes; of widgets that of the constructor."""
    if kind != "class":
        return None
    if issubclass(item, BaseModel):
        return "", None
    if signature is not None and signature.startswith("(*args"):  # traitlets
        own = sphinx_inspect.signature(item.__init__, bound_method=True)
        return sphinx_inspect.stringify_signature(own, unqualified_typehints=True), None
    return None


def _find(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement) -> nodes.Element | None:
    """The one object that a name can mean; else the name as it is."""
    if node.get("refdomain") != "py":
        return None
    objects = env.domains.python_domain.objects
    wanted = str(node["reftarget"]).split(".")
    for last in (len(wanted), 2, 1):  # as written, Class.member, name
        ending = ".".join(wanted[-last:])
        found = [
            (name, entry)
            for name, entry in objects.items()
            if not entry.aliased and (name == ending or name.endswith("." + ending))
        ]
        found = [item for item in found if item[0].count(".") == min(name.count(".") for name, _ in found)]
        if len(found) == 1 and (last > 1 or len(wanted) == 1 or wanted[0] in _PACKAGES):
            name, entry = found[0]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
    # Not documented: no link, no warning. In a docstring's types any word may stand.
    return nodes.emphasis("", contnode.astext()) if node["reftype"] == "class" else contnode


_PACKAGES = ("trim_pomdp", "solvers", "observation_models")


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directive known, and how names are found."""
    app.add_directive("names", Names)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-signature", _sign)
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
