"""Frames: named columns, as a pandas data frame where pandas is installed, else as plain lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from trim_pomdp.display import html_table

if TYPE_CHECKING:
    import pandas as pd

    Frame: TypeAlias = "pd.DataFrame | Columns"

_SHOWN = 20


class Columns(Mapping[str, list[Any]]):
    """Named columns of equal length, where pandas is not installed; ``frame["name"]`` is a list."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = {name: list(values) for name, values in columns.items()}

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Row by row."""
        return list(zip(*self._columns.values(), strict=True))

    def __repr__(self) -> str:
        return f"Columns({len(self.rows)} rows of {', '.join(self._columns)})"

    def _repr_html_(self) -> str:
        rows = [(index, *row) for index, row in enumerate(self.rows[:_SHOWN])]
        more = "" if len(self.rows) <= _SHOWN else f", the first {_SHOWN}"
        return html_table(f"{len(self.rows)} rows{more}", ("", *self._columns), rows)


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
