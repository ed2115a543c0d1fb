"""Ways to and from other libraries: Gymnasium, pomdp-py. Each is imported when it is used, and is an extra."""

import importlib
from typing import Any

from solvers.errors import SolverError

_MODULE_OF = {
    "PomdpEnvironment": "gymnasium",
    "PolicyPlanner": "pomdp_py",
    "Twin": "pomdp_py",
    "from_pomdp_py": "pomdp_py",
    "to_pomdp_py": "pomdp_py",
}
_EXTRA = {"gymnasium": "gymnasium", "pomdp_py": "pomdp-py"}

__all__ = ["PolicyPlanner", "PomdpEnvironment", "Twin", "from_pomdp_py", "to_pomdp_py"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise SolverError(f"{name} needs {error.name}: pip install {_EXTRA[error.name]}") from None
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
