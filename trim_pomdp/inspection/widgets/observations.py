"""The observation explorer: what scores look like by class, what a score is worth, what transfer changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from trim_pomdp.display import one_line
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.observation_views import ObservationView, Source
from trim_pomdp.inspection.widgets.base import script
from trim_pomdp.inspection.widgets.explorer import Explorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ObservationExplorer"]


class ObservationExplorer(Explorer):
    """Densities of scores by class, the chance that a step of a score is right, and sliders of transfer.

    Parameters
    ----------
    source : ObservationModel, RoutingModel or Preset
        With dynamics the sliders begin where those were fitted: false alarms e, misses d, looks right p_d.
    labelled : pair of arrays, optional
        Scores of steps after right prefixes, and whether each is right: what was measured beside the model.

    Raises
    ------
    InputError
        If it is none of these, or the labelled steps are no scores and labels.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> ObservationExplorer(tp.load_preset("lab-loop.prm"))
    ObservationExplorer(e 0.0553, d 0.1548, p_d 0.8559, AUC 0.8248)
    """

    _esm = script("explorers.js", "observations.js", "observations_widget.js")

    def __init__(self, source: Source, *, labelled: tuple[ArrayLike, ArrayLike] | None = None) -> None:
        self._view = ObservationView(source, labelled)
        self._now = self._view.state()
        super().__init__()
        self.show()

    def answer(self, name: str, *values: Any) -> None:
        """See `Drawn`: ``move`` says where all sliders stand."""
        if name != "move":
            raise InputError(f"the page asked for {name!r}; it can ask for move")
        (sliders,) = values
        self._now = self._view.state(**sliders)

    def drawn(self) -> Mapping[str, Any]:
        """See `Drawn`."""
        return self._now

    def picture(self) -> Figure:
        """See `Drawn`."""
        from trim_pomdp.planning.plots import plot_emission

        at = self._now["sliders"]
        table = self._view.table(at["look_right"], at["false_alarms"], at["misses"])
        return plot_emission(self._view.observations, table)

    def __repr__(self) -> str:
        at = self._now["sliders"]
        facts = {"e": at["false_alarms"], "d": at["misses"], "p_d": at["look_right"], "AUC": self._now["auc"]}
        return one_line(type(self).__name__, facts)
