"""What the explorers have in common: their style sheet, and what stands for a picture that cannot be drawn."""

from __future__ import annotations

from collections.abc import Mapping

from trim_pomdp.inspection.static import source, style
from trim_pomdp.inspection.widgets.base import Drawn

__all__ = ["Explorer"]


class Explorer(Drawn):
    """A `Drawn` whose picture may be missing; then a table, or its text alone, stands where no kernel runs."""

    _css = f"{style()}\n{source('explorers.css')}"

    @property
    def pictured(self) -> bool:
        """Whether `picture` can be drawn."""
        return True

    @property
    def table(self) -> str | None:
        """HTML in place of a picture that cannot be drawn."""
        return None

    def still(self) -> Mapping[str, str]:
        """See `Drawn`; the table, if there is one, in place of a picture that cannot be drawn."""
        if self.pictured:
            return super().still()
        return {} if self.table is None else {"text/html": self.table}
