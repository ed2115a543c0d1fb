"""What the widgets have in common: questions from the page, states back to it, and a picture where no kernel runs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from trim_pomdp.errors import TrimError
from trim_pomdp.inspection.static import source, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Drawn", "script"]

_PICTURE_DPI = 110


def script(*names: str) -> str:
    """The scripts of a widget: the helpers of every drawing, its own, and the talk with Python, in this order.

    Parameters
    ----------
    *names
        Files of `trim_pomdp.inspection.static`; the last one calls ``widgetOf(draw)`` and exports what it returns.
    """
    return source("svg.js", "talk.js", *names)


class Drawn(anywidget.AnyWidget):
    """A widget whose page draws `state`, and asks for another one.

    A subclass sets ``_esm`` (`script`), answers in `answer`, gives `drawn` and `picture`, and calls `show` at the end
    of its constructor.

    Attributes
    ----------
    state : dict
        What is drawn: plain JSON values.
    asked : dict
        ``serial`` and ``questions``: what the reader did since the page last asked, as ``[name, *values]``. The answer
        carries the serial back, so that the page asks on only when it has drawn.
    """

    _css = style()

    state = traitlets.Dict().tag(sync=True)
    asked = traitlets.Dict().tag(sync=True)

    def answer(self, name: str, *values: Any) -> None:
        """Do what the reader asked for.

        Raises
        ------
        TrimError
            If it cannot be done; the page then says why, and all is as it was.
        """
        raise NotImplementedError

    def drawn(self) -> Mapping[str, Any]:
        """What is to be drawn now."""
        raise NotImplementedError

    def picture(self) -> Figure:
        """What is shown where no kernel runs."""
        raise NotImplementedError

    def still(self) -> Mapping[str, str]:
        """What stands where no kernel runs, by its media type: the picture."""
        return {"image/png": _png(self.picture())}

    def show(self, *, serial: int | None = None, trouble: str | None = None) -> None:
        """Send the state of now to the page."""
        self.state = {**self.drawn(), "serial": serial, "trouble": trouble}

    @traitlets.observe("asked")
    def _on_asked(self, change: Mapping[str, Any]) -> None:
        asked = change["new"]
        trouble = None
        for name, *values in asked.get("questions", ()):
            try:
                self.answer(name, *values)
            except TrimError as error:
                trouble = str(error)
        self.show(serial=asked.get("serial"), trouble=trouble)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The live view for front ends that can show it, a picture for those that cannot (GitHub, nbviewer)."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, **self.still(), "text/plain": repr(self)}, metadata


def _png(figure: Figure) -> str:
    with io.BytesIO() as stream:
        figure.savefig(stream, format="png", dpi=_PICTURE_DPI)
        return base64.b64encode(stream.getvalue()).decode("ascii")
