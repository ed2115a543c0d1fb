"""Real data where a reader has them: notebooks run with them and without, and say which."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

SHARED = "TRIM_POMDP_SHARED"

_T = TypeVar("_T")
_U = TypeVar("_U")
_P = ParamSpec("_P")


@dataclass(frozen=True, repr=False)
class Real(Generic[_T]):
    """What was made of real data, or, where they are not there, the sentence that says so.

    Attributes
    ----------
    value : object or None
    missing : str or None
        Why there is none.
    """

    value: _T | None
    missing: str | None = None

    def then(self, function: Callable[Concatenate[_T, _P], _U], *args: _P.args, **kwargs: _P.kwargs) -> Real[_U]:
        """What a function makes of it; where there are no data, the same sentence again."""
        if self.missing is not None:
            return Real(None, self.missing)
        return Real(function(cast(_T, self.value), *args, **kwargs))

    @property
    def shown(self) -> Any:
        """The value, or the sentence."""
        return self.value if self.missing is None else self.missing

    def __repr__(self) -> str:
        return str(self.shown)

    def _ipython_display_(self) -> None:
        from IPython.display import Markdown, display

        display(self.value if self.missing is None else Markdown(self.missing))  # type: ignore[no-untyped-call]

    def _display_(self) -> Any:
        """What marimo shows."""
        return self.shown


def real_data(name: str) -> Real[Path]:
    """A file of the data folder: ``$TRIM_POMDP_SHARED/data``, or ``shared/data`` here or in a folder above.

    Parameters
    ----------
    name : str
        Of the file, such as ``prm_features_math.npz``.
    """
    named = os.environ.get(SHARED)
    places = [Path(named)] if named else [folder / "shared" for folder in (Path.cwd(), *Path.cwd().parents)]
    for place in places:
        if (place / "data" / name).is_file():
            return Real(place / "data" / name)
    return Real(
        None,
        f"*Without real data: there is no `{name}` in a folder `shared/data` here or above, and `{SHARED}` names none.*"
        if not named
        else f"*Without real data: `{SHARED}` is set, but its folder has no `data/{name}`.*",
    )
