"""What scores look like by class, what a score is worth, and what transfer to another weak model changes: numbers.

Transfer, weights and the derailed mixture are the model's own functions (`trim_pomdp.model.observations`); here they
are asked with other numbers, as the sliders of `ObservationExplorer` have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.inspection.intervals import share_interval
from trim_pomdp.model.observations import ObservationModel, transferred, with_right_weights
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.plots import by_score, display_bins, score_name, shares_by_score
from trim_pomdp.presets.store import Preset

FloatArray = NDArray[np.float64]
Source = ObservationModel | RoutingModel | Preset
SLIDERS = ("false_alarms", "misses", "look_right", "base_rate")
_BINS = 10


@dataclass(frozen=True)
class ObservationView:
    """Observations, and the dynamics that transfer them to a weak model where those are known.

    Attributes
    ----------
    source : ObservationModel, RoutingModel or Preset
        Of observations alone nothing is transferred, and a derailed step looks right as often as not, to begin with.
    labelled : pair of arrays, or None
        Scores (of the kind that the observations bin) of steps after right prefixes, and whether each step is right.
    """

    source: Source
    labelled: tuple[ArrayLike, ArrayLike] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.source, (ObservationModel, RoutingModel, Preset)):
            raise InputError(f"expected observations, a routing model or a preset, got {type(self.source).__name__}")
        self.sample  # noqa: B018  # raises where the labelled steps are none

    @property
    def observations(self) -> ObservationModel:
        """The densities."""
        return self.source if isinstance(self.source, ObservationModel) else self.source.observations

    @property
    def fitted(self) -> dict[str, float] | None:
        """Transfer and base rate as the dynamics have them; None without dynamics."""
        if isinstance(self.source, ObservationModel):
            return None
        dynamics = self.source.dynamics
        return {
            "false_alarms": dynamics.false_alarms,
            "misses": dynamics.misses,
            "look_right": dynamics.look_right,
            "base_rate": float(np.mean(dynamics.weak_success)),
        }

    @property
    def start(self) -> dict[str, float]:
        """Where the sliders begin; the base rate is that of labelled steps, where there are any."""
        sample = self.sample
        start = self.fitted or {"false_alarms": 0.0, "misses": 0.0, "look_right": 0.5, "base_rate": 0.5}
        return start if sample is None else start | {"base_rate": float(sample[1].mean())}

    @cached_property
    def sample(self) -> tuple[FloatArray, NDArray[np.bool_]] | None:
        """Labelled steps as arrays."""
        if self.labelled is None:
            return None
        scores, right = (np.asarray(values).ravel() for values in self.labelled)
        if len(scores) != len(right) or not len(scores):
            raise InputError(f"{len(scores)} scores and {len(right)} labels; expected as many, at least one")
        scores = scores.astype(np.float64)
        if not ((scores >= 0.0) & (scores <= 1.0)).all():
            raise InputError("a labelled score lies outside of [0, 1]")
        if not np.isin(right, (0, 1)).all():
            raise InputError("a label is neither 0 (wrong) nor 1 (right)")
        return scores, right.astype(np.bool_)

    @cached_property
    def measured(self) -> list[dict[str, Any]]:
        """What labelled steps say of their scores (`measured_reliability`), which no slider moves."""
        return [] if self.sample is None else measured_reliability(*self.sample)

    @property
    def as_labelled(self) -> bool:
        """Whether derailed steps have the density as labelled, which no slider moves."""
        return not isinstance(self.source, ObservationModel) and self.source.dynamics.derailed_emission == "labelled"

    def table(self, look_right: float, false_alarms: float, misses: float) -> FloatArray:
        """P(observation bin | S0, S1, S2) at this transfer, shape (3, J)."""
        raw = self.observations.table
        if not isinstance(self.source, ObservationModel) and self.source.dynamics.right_weights is not None:
            raw = with_right_weights(raw, np.array(self.source.dynamics.right_weights))
        return transferred(
            raw, look_right=look_right, false_alarms=false_alarms, misses=misses, labelled=self.as_labelled
        )

    def state(self, **moved: float) -> dict[str, Any]:
        """What is drawn, as JSON has it.

        Parameters
        ----------
        **moved : float
            Of `SLIDERS`, probabilities; others stand where they begin.

        Raises
        ------
        InputError
            If there is no such slider, or a value is no probability.
        """
        at = self.start | {name: _probability(name, value) for name, value in moved.items()}
        observations = self.observations
        table = self.table(at["look_right"], at["false_alarms"], at["misses"])
        edges, rows = by_score(observations, table)
        before = by_score(observations, observations.table)[1]
        right, _, wrong = rows
        return {
            "name": observations.name,
            "score": score_name(observations.evidence),
            "over_minimum": observations.emission == "class",
            "sliders": at,
            "start": self.start,
            "fitted": self.fitted,
            "as_labelled": self.as_labelled,
            "bins": display_bins(),
            "densities": [shares_by_score(edges, row).tolist() for row in rows],
            "labelled": [None if np.isnan(row).any() else shares_by_score(edges, row).tolist() for row in before],
            "auc": separation(right, wrong),
            "reliability": _reliability(edges, right, wrong, at["base_rate"]),
            "measured": self.measured,
        }


def observation_state(source: Source, *, labelled: tuple[ArrayLike, ArrayLike] | None = None, **moved: float) -> Any:
    """What `ObservationExplorer` draws, as JSON has it: `ObservationView.state`.

    Parameters
    ----------
    source, labelled
        As `ObservationView` takes them.
    **moved : float
        ``false_alarms`` (e), ``misses`` (d), ``look_right`` (p_d), ``base_rate``: share of right steps after a right
        prefix.

    Raises
    ------
    InputError
        As `ObservationView` and its `state`.
    """
    return ObservationView(source, labelled).state(**moved)


def separation(right: FloatArray, wrong: FloatArray) -> float:
    """P(the evidence of a right step exceeds that of a first wrong one), ties by halves, of P(bin | class), shape (n,).

    Bins are ordered by their evidence, f_right / f_wrong: what any rule on them could make of it.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(wrong > 0, right / wrong, np.where(right > 0, np.inf, 1.0))
    _, level = np.unique(ratio, return_inverse=True)
    f_right, f_wrong = (np.bincount(level, weights=row) for row in (right, wrong))
    below = np.cumsum(f_wrong) - f_wrong
    return float(f_right @ (below + 0.5 * f_wrong))


def measured_reliability(scores: FloatArray, right: NDArray[np.bool_], bins: int = _BINS) -> list[dict[str, Any]]:
    """Share of right steps in bins of about as many steps each, with Wilson's 95% intervals.

    Parameters
    ----------
    scores : ndarray of shape (n,)
    right : ndarray of bool, shape (n,)
    bins : int
        At most so many: equal scores are not parted.
    """
    cuts = np.unique(np.quantile(scores, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    which = np.searchsorted(cuts, scores, side="right")
    points = []
    for index in np.unique(which).tolist():
        inside = which == index
        n, hits = int(inside.sum()), int(right[inside].sum())
        interval = share_interval(hits, n)
        assert interval is not None  # there are steps in it
        low, high = interval
        x = float(scores[inside].mean())
        points.append({"x": x, "y": hits / n, "low": low, "high": high, "n": n})
    return points


def _reliability(edges: FloatArray, right: FloatArray, wrong: FloatArray, base_rate: float) -> Mapping[str, list[Any]]:
    """P(the step is right | its score), where the prefix is right, at the middle of each bin that is ever seen."""
    last = edges[-1:] if edges[-1] == 1.0 else np.array([0.5 * (edges[-1] + 1.0)])
    middle = np.concatenate([0.5 * (edges[:-1] + edges[1:]), last])
    joint = np.stack([base_rate * right, (1.0 - base_rate) * wrong])
    seen = joint.sum(axis=0) > 0
    return {"x": middle[seen].tolist(), "y": (joint[0, seen] / joint[:, seen].sum(axis=0)).tolist()}


def _probability(name: str, value: float) -> float:
    if name not in SLIDERS:
        raise InputError(f"no slider {name!r}; there are {', '.join(SLIDERS)}")
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} is {value}; expected a probability")
    return float(value)
