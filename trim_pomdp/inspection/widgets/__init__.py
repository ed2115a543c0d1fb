"""Widgets for notebooks: what a reader does is answered by the pure functions of the room, the page only draws.

They need anywidget, which comes with ``pip install '.[notebooks]'`` in the checkout; names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.inspection.widgets.belief import BeliefInspector
    from trim_pomdp.inspection.widgets.frontier import FrontierExplorer
    from trim_pomdp.inspection.widgets.observations import ObservationExplorer
    from trim_pomdp.inspection.widgets.policy_map import PolicyMap

_MODULE_OF = {
    "BeliefInspector": "belief",
    "FrontierExplorer": "frontier",
    "ObservationExplorer": "observations",
    "PolicyMap": "policy_map",
}

__all__ = ["BeliefInspector", "FrontierExplorer", "ObservationExplorer", "PolicyMap"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "ipywidgets", "traitlets"):
            raise
        raise InputError(f"{name} needs {error.name}: pip install '.[notebooks]' in the checkout") from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
