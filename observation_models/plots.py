"""Pictures of held-out comparisons. Needs matplotlib."""

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from observation_models.comparison import Comparison
from observation_models.errors import ObservationModelError

# Colours that colour-blind people tell apart (Okabe and Ito), a marker and a line beside each.
_LOOKS = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."), ("#CC79A7", "D", ":"))
_STYLE: dict[Any, Any] = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def plot_reliability(comparison: Comparison, label: Any) -> Figure:
    """Observed frequency of a label against its held-out probability, a curve for each row of a comparison.

    Parameters
    ----------
    comparison : Comparison
    label : object
        One of its classes.

    Raises
    ------
    ObservationModelError
        If it has no such class.
    """
    if label not in comparison.classes:
        raise ObservationModelError(f"there is no class {label!r}; there are {', '.join(map(str, comparison.classes))}")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color="#8a8a8a", linewidth=1.0, label="as promised")
        for index, row in enumerate(comparison.rows):
            colour, marker, line = _LOOKS[index % len(_LOOKS)]
            curve = comparison.reliability[row.name][label]
            name = f"{row.name}, ECE {row.ece.value:.3f}"
            axis.plot(curve.predicted, curve.observed, line, marker=marker, color=colour, markersize=4, label=name)
            # An area for a share of the steps: what few steps say is small.
            axis.scatter(curve.predicted, curve.observed, 1000 * curve.weight, color=colour, alpha=0.25, linewidth=0)
        axis.set(
            xlabel=f"P({label}), held out",
            ylabel=f"share that is {label}",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            title=f"{comparison.n_samples} steps, areas by how many a point is of",
        )
        axis.legend(loc="lower right", fontsize=11)
        return figure
