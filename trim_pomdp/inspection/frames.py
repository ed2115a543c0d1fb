"""Frames: named columns, as a pandas data frame where pandas is installed, else as plain lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from trim_pomdp.display import html_table

if TYPE_CHECKING:
    import pandas as pd

    Frame: TypeAlias = "pd.DataFrame | Columns"

_SHOWN = 20


class Columns:
    """A frame where pandas is not installed: ``frame["name"]`` is a list, ``frame[["a", "b"]]`` a smaller frame.

    Rows are counted by ``len``, and column names walked through, as of a data frame.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = {name: list(values) for name, values in columns.items()}

    @overload
    def __getitem__(self, name: str) -> list[Any]: ...

    @overload
    def __getitem__(self, name: list[str]) -> Columns: ...

    def __getitem__(self, name: str | list[str]) -> list[Any] | Columns:
        if isinstance(name, list):
            return Columns({item: self._columns[item] for item in name})
        return self._columns[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"plain columns have no {name!r}; data frames come with pandas: pip install pandas")

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """Names."""
        return list(self._columns)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Row by row."""
        return list(zip(*self._columns.values(), strict=True))

    def __repr__(self) -> str:
        return f"Columns({len(self)} rows of {', '.join(self._columns)})"

    def _repr_html_(self) -> str:
        rows = [(index, *row) for index, row in enumerate(self.rows[:_SHOWN])]
        more = "" if len(self) <= _SHOWN else f", the first {_SHOWN}"
        return html_table(f"{len(self)} rows{more}", ("", *self._columns), rows)


def frame(columns: Mapping[str, Sequence[Any]]) -> Frame:
    """A frame of named columns.

    Parameters
    ----------
    columns : mapping of str to sequence
        All of one length; what is not known is None.

    Returns
    -------
    pandas.DataFrame, or `Columns` where pandas is not installed
    """
    try:
        import pandas as pd
    except ImportError:
        return Columns(columns)
    return pd.DataFrame({name: list(values) for name, values in columns.items()})
