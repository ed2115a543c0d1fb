"""The observation model of the router, as an artifact: what scores look like, by class.

It holds (a) the *step emission*: probabilities of fine bins of the score under a right step (f_right, from S0), a
first wrong one (f_wrong, from S2) and a derailed one as labelled (S1), and (b) the two-dimensional class table of
(min, current) that the paper's posterior needs. Transfer to a weak model (e, d) and the derailed mixture (p_d)
belong to the dynamics and are applied by `ObservationModel.class_emission`. With an evidence map the step emission is
about the evidence score (`trim_pomdp.model.evidence`); the class table stays with the PRM score.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.evidence import EvidenceMap

FloatArray = NDArray[np.float64]
_SUM_TOLERANCE = 1e-6


class StepEmission(Record):
    """Class-conditional probabilities of score bins.

    Attributes
    ----------
    score_edges : tuple of float, length J
        Lower edges of the bins, from 0; bin j is [edge_j, edge_{j+1}), the last one the atom {1.0}.
    right, wrong : tuple of float, length J
        P(bin | right step), P(bin | first wrong step).
    derailed : tuple of float, length J, or None
        P(bin | derailed step, as labelled); None where the data had no scores of derailed steps.
    """

    score_edges: tuple[float, ...] = Field(min_length=2)
    right: tuple[float, ...]
    wrong: tuple[float, ...]
    derailed: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _is_a_distribution(self) -> StepEmission:
        edges = np.array(self.score_edges)
        check_edges("score_edges", edges)
        for name in ("right", "wrong", "derailed"):
            values = getattr(self, name)
            if values is not None:
                check_distribution(name, np.array(values), len(edges))
        return self

    @property
    def size(self) -> int:
        """Number of bins J."""
        return len(self.score_edges)

    @cached_property
    def table(self) -> FloatArray:
        """Rows right, derailed (as labelled; NaN where not known), wrong; shape (3, J)."""
        unknown = (float("nan"),) * self.size
        return np.array([self.right, self.derailed or unknown, self.wrong])

    @cached_property
    def evidence(self) -> FloatArray:
        """z = log f_right / f_wrong of every bin, shape (J,); ±inf where one class can emit it, 0 where neither."""
        right, wrong = self.table[0], self.table[2]
        seen = (right > 0) | (wrong > 0)
        z = np.zeros(self.size)
        with np.errstate(divide="ignore"):
            z[seen] = np.log(right[seen]) - np.log(wrong[seen])
        return z

    def bins(self, scores: FloatArray) -> NDArray[np.int64]:
        """Bin of every score, same shape."""
        return np.searchsorted(np.array(self.score_edges), scores, side="right") - 1

    def share_below(self, threshold: float) -> FloatArray:
        """Share of each bin that lies below a threshold, shape (J,); 1 everywhere at threshold 1."""
        if threshold >= 1.0:
            return np.ones(self.size)
        edges = np.array(self.score_edges)
        width = np.append(np.diff(edges), 1.0)
        return np.asarray(np.clip((threshold - edges) / width, 0.0, 1.0) * (edges < threshold))


class ClassTable(Record):
    """Class-conditional probabilities of bins of (min of the earlier scores, current score).

    Attributes
    ----------
    minimum_edges, score_edges : tuple of float
        Edges of the bins on the two axes, from 0 to 1.
    right, derailed, wrong : tuple of float
        P(bin | S0), P(bin | S1), P(bin | S2), the minimum being the slow index.
    """

    minimum_edges: tuple[float, ...] = Field(min_length=2)
    score_edges: tuple[float, ...] = Field(min_length=2)
    right: tuple[float, ...]
    derailed: tuple[float, ...]
    wrong: tuple[float, ...]

    @model_validator(mode="after")
    def _is_a_distribution(self) -> ClassTable:
        for name, edges in (("minimum_edges", self.minimum_edges), ("score_edges", self.score_edges)):
            check_edges(name, np.array(edges))
        for name in ("right", "derailed", "wrong"):
            check_distribution(name, np.array(getattr(self, name)), self.shape[0] * self.shape[1])
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins on the two axes."""
        return len(self.minimum_edges) - 1, len(self.score_edges) - 1

    @cached_property
    def table(self) -> FloatArray:
        """Rows S0, S1, S2; shape (3, number of bins), the minimum being the slow index."""
        return np.array([self.right, self.derailed, self.wrong])

    def bins(self, minimum: FloatArray, score: FloatArray) -> NDArray[np.int64]:
        """Flat bin index of (min, current) pairs."""
        rows, columns = self.shape
        row = np.searchsorted(np.array(self.minimum_edges), minimum, side="right") - 1
        column = np.searchsorted(np.array(self.score_edges), score, side="right") - 1
        # 1.0 belongs to the last bin.
        return np.minimum(row, rows - 1) * columns + np.minimum(column, columns - 1)

    @cached_property
    def class_posterior(self) -> FloatArray:
        """P(class | bin) under a uniform prior, shape (number of bins, 3); uniform where no class can be."""
        total = self.table.sum(axis=0)
        posterior = np.full((self.table.shape[1], 3), 1.0 / 3.0)
        seen = total > 0
        posterior[seen] = (self.table[:, seen] / total[seen]).T
        return posterior

    def posterior(self, minimum: FloatArray, score: FloatArray) -> FloatArray:
        """P(class | min, current) under a uniform prior, shape (..., 3)."""
        return np.asarray(self.class_posterior[self.bins(minimum, score)])


class ObservationModel(Artifact):
    """Densities of scores by class; reused for every budget and for the next model pair.

    Attributes
    ----------
    estimator : str
        How the step emission was estimated, with its parameters.
    evidence : EvidenceMap or None
        From features of a step to the score that is binned; None: the PRM score as it is.
    step_emission : StepEmission
        Fine bins of the score.
    class_table : ClassTable or None
        Bins of (min, current) for the paper's posterior; None where the data had no scores of derailed steps.
    emission : {"step", "class"}
        What the planner takes as the observation of a step: the fine score bins (default), or the class table as a
        fresh emission at every step (paper).
    diagnostics : dict
        Held-out metrics of the fit, sample sizes, warnings.
    """

    kind: Literal["observations"] = "observations"
    name: str
    estimator: str
    evidence: EvidenceMap | None = None
    step_emission: StepEmission
    class_table: ClassTable | None = None
    emission: Literal["step", "class"] = "step"
    diagnostics: dict[str, float | int | str | tuple[str, ...]] = {}

    @model_validator(mode="after")
    def _evidence_is_binned(self) -> ObservationModel:
        if self.evidence is not None and self.emission == "class":
            raise ValueError("evidence goes with emission 'step'; the class table is of PRM scores")
        return self

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "name": self.name,
            "estimator": self.estimator,
            "evidence": "prm" if self.evidence is None else self.evidence.kind,
            "emission": self.emission,
            "bins": self.n_bins,
        }

    def require_prm(self, who: str) -> None:
        """Raise `InputError` where the binned score is not the PRM's; `who` looks at that one."""
        if self.evidence is not None:
            raise InputError(
                f"{who} looks at the PRM score, but observations {self.name!r} bin an evidence score of "
                f"{', '.join(self.evidence.features)}; use a model on observations fitted with evidence 'prm'"
            )

    def require_evidence(self, evidence: EvidenceMap | None, who: str) -> None:
        """Raise `InputError` where the binned score is not the one that this map makes, which `who` looks at."""
        if evidence is None:
            self.require_prm(who)
        elif evidence != self.evidence:
            raise InputError(
                f"{who} decides on other evidence than observations {self.name!r} bin; take its evidence from them"
            )

    @property
    def posterior_table(self) -> ClassTable:
        """The class table; raises `UnsetParameterError` where there is none."""
        if self.class_table is None:
            raise UnsetParameterError(
                f"observations {self.name!r} have no class table of (min, current): they were fitted without scores "
                "of derailed steps (S1)"
            )
        return self.class_table

    @property
    def n_bins(self) -> int:
        """Number of observation bins that the planner sees."""
        return self.step_emission.size if self.emission == "step" else self.posterior_table.table.shape[1]

    @property
    def table(self) -> FloatArray:
        """P(observation bin | right, derailed as labelled, wrong) before any transfer, shape (3, J)."""
        return self.step_emission.table if self.emission == "step" else self.posterior_table.table

    def bins(self, scores: FloatArray) -> NDArray[np.int64]:
        """Observation bin of every step of score sequences, shape (n, T) → (n, T)."""
        if self.emission == "step":
            return self.step_emission.bins(scores)
        from trim_pomdp.data.features import running_minimum

        return self.posterior_table.bins(running_minimum(scores), scores)

    def class_emission(self, dynamics: StepDynamics) -> FloatArray:
        """P(observation bin | S0, S1, S2) for a weak model, shape (3, J).

        Weights of f_right first; then transfer: f_right → (1−e)·f_right + e·f_wrong and f_wrong → (1−d)·f_wrong +
        d·f_right; then the derailed class: p_d·f_right + (1−p_d)·f_wrong, or the density as labelled.
        """
        raw = self.table
        if dynamics.right_weights is not None:
            raw = with_right_weights(raw, np.array(dynamics.right_weights))
        if dynamics.derailed_emission == "labelled" and np.isnan(raw[1]).any():
            raise UnsetParameterError(
                f"observations {self.name!r} have no density of derailed steps as labelled (S1); use dynamics with "
                "derailed_emission 'local', or observations fitted with S1"
            )
        return transferred(
            raw,
            look_right=dynamics.look_right,
            false_alarms=dynamics.false_alarms,
            misses=dynamics.misses,
            labelled=dynamics.derailed_emission == "labelled",
        )

    def share_below(self, threshold: float, evidence: EvidenceMap | None = None) -> FloatArray:
        """Share of each observation bin whose current score lies below a threshold, shape (J,).

        Parameters
        ----------
        threshold : float
            In [0, 1].
        evidence : EvidenceMap or None
            What makes the score that the threshold is for; None: it is the PRM's.

        Raises
        ------
        InputError
            If the bins are of another score than that.
        """
        self.require_evidence(evidence, "the threshold")
        if self.emission == "step":
            return self.step_emission.share_below(threshold)
        rows, _ = self.posterior_table.shape
        edges = np.array(self.posterior_table.score_edges)
        share = np.ones(len(edges) - 1)
        if threshold < 1.0:
            share = np.clip((threshold - edges[:-1]) / np.diff(edges), 0.0, 1.0)
        return np.tile(share, rows)


def with_right_weights(raw: FloatArray, weights: FloatArray) -> FloatArray:
    """Multiply f_right, the first row, by weights of the bins; shape (3, J).

    Raises
    ------
    InputError
        If there are other bins than weights.
    """
    if weights.shape != raw.shape[1:]:
        raise InputError(f"the dynamics weigh {len(weights)} bins, but the observations have {raw.shape[1]}")
    right = raw[0] * weights
    return np.stack([right / right.sum(), *raw[1:]])


def transferred(
    raw: FloatArray, *, look_right: float, false_alarms: float, misses: float, labelled: bool
) -> FloatArray:
    """Apply transfer and the derailed mixture to rows (right, derailed as labelled, wrong); shape (3, J)."""
    right = (1.0 - false_alarms) * raw[0] + false_alarms * raw[2]
    wrong = (1.0 - misses) * raw[2] + misses * raw[0]
    derailed = raw[1] if labelled else look_right * right + (1.0 - look_right) * wrong
    return np.stack([right, derailed, wrong])


def check_distribution(name: str, values: FloatArray, length: int) -> None:
    """Raise `ValueError` unless the values are a distribution over `length` bins."""
    if values.shape != (length,):
        raise ValueError(f"{name} has {len(values)} values; expected {length}")
    if (values < 0).any():
        raise ValueError(f"{name} has a negative probability at bin {int(np.argmin(values))}")
    if abs(values.sum() - 1.0) > _SUM_TOLERANCE:
        raise ValueError(f"{name} sums to {values.sum():.9g}; expected 1")


def check_edges(name: str, edges: FloatArray) -> None:
    """Raise `ValueError` unless the edges rise from 0 to 1."""
    if edges[0] != 0.0 or edges[-1] != 1.0 or (np.diff(edges) <= 0).any():
        raise ValueError(f"{name} must rise from 0 to 1")
