"""`StepDynamics`: the parameters of the routing process, as an artifact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from itertools import groupby
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.errors import UnsetParameterError
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.model.draws import Draws
from trim_pomdp.model.hazard import recovery_by_step
from trim_pomdp.model.redrafts import DraftLaw, Slope, Tilts

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


Tokens = Annotated[float, Field(ge=0.0, le=1e7)]


class PerClass(Record):
    """Tokens of a step, by class of the weak step: S0 (right), S1 (derailed), S2 (first error)."""

    right: Tokens
    derailed: Tokens
    wrong: Tokens

    @property
    def array(self) -> NDArray[np.float64]:
        """Values in the order S0, S1, S2."""
        return np.array([self.right, self.derailed, self.wrong])

    @classmethod
    def constant(cls, value: float) -> PerClass:
        """The same value for every class."""
        return cls(right=value, derailed=value, wrong=value)


class Shares(PerClass):
    """Probabilities, by class of the weak step."""

    right: Probability
    derailed: Probability
    wrong: Probability


class Interval(Record):
    """Estimate of a parameter with an interval; `identified` is False where the data do not pin it down."""

    estimate: float
    low: float
    high: float
    level: Probability = 0.95
    method: Literal["profile", "bootstrap", "exact"] = "profile"
    identified: bool = True


class Check(Record):
    """One quantity of the goodness of fit: what the dynamics imply against what was observed.

    `threshold` names the row of a pilot sweep (0: weak-only, 1: strong-only), None anything else.
    """

    quantity: str
    threshold: Probability | None = None
    implied: float
    observed: float
    standard_error: NonNegativeFloat | None = None
    used_in_fit: bool

    @property
    def label(self) -> str:
        """Quantity and row, for tables."""
        if self.threshold is None:
            return self.quantity
        row = {0.0: "weak-only", 1.0: "strong-only"}.get(self.threshold, f"threshold {self.threshold:g}")
        return f"{row}: {self.quantity}"

    @property
    def z_score(self) -> float | None:
        """Difference in standard errors."""
        return (self.implied - self.observed) / self.standard_error if self.standard_error else None


class RivalFit(Record):
    """How another explanation of the same data fares."""

    name: str
    description: str
    parameters: dict[str, float]
    log_likelihood: float
    free_parameters: int = Field(ge=0)
    accuracy_rmse: float
    regenerations_rmse: float
    held_out_accuracy_rmse: float | None
    held_out_regenerations_rmse: float | None
    held_out_log_likelihood: float | None = Field(description="per held-out row; higher is better")
    weak_only_accuracy: float
    strong_only_accuracy: float
    visible_tokens_error: float | None = Field(description="largest relative error of kept + strong tokens")


class FitReport(Record):
    """Diagnostics of a fit, kept inside the artifact.

    Attributes
    ----------
    explanation : str
        What was fitted.
    sources : tuple of str
        Terms of the likelihood.
    log_likelihood : float
        Of the data, at the estimates.
    intervals : dict of str to Interval
        By the data alone, whatever prior there was.
    unidentified : tuple of str
        What the data leave open, or what is assumed.
    prior_decides : tuple of str
        What the data tell less of than the prior does.
    checks : tuple of Check
        Goodness of fit.
    rivals : tuple of RivalFit
        Other explanations.
    warnings : tuple of str
        Why not to trust the fit, worst first, each with the remedy.
    notes : tuple of str
        What else to know.
    draws : Draws or None
        What the parameters might be as well, jointly: refits on resampled problems, by the data alone.
    """

    explanation: str
    sources: tuple[str, ...]
    log_likelihood: float
    intervals: dict[str, Interval] = {}
    unidentified: tuple[str, ...] = ()
    prior_decides: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    rivals: tuple[RivalFit, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    draws: Draws | None = None

    @model_serializer(mode="wrap")
    def _without_draws(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fits that keep no draws are written as before there were any."""
        document: dict[str, Any] = serialise(self)
        if self.draws is None:
            document.pop("draws", None)
        return document

    @property
    def noted(self) -> tuple[str, ...]:
        """The notes, those that follow each other and begin alike (up to their first comma) in one line."""
        lines = []
        for beginning, items in groupby(self.notes, key=lambda note: note.partition(", ")[0]):
            same = list(items)
            rest = "; ".join(note.removeprefix(f"{beginning}, ") for note in same)
            lines.append(f"{beginning}: {rest}" if len(same) > 1 else same[0])
        return tuple(lines)


class MinimumCalibration(Record):
    """Platt calibration of the running minimum, fitted on outcomes: P(right) = σ(intercept + slope · logit(min))."""

    intercept: float
    slope: float
    clip: Annotated[float, Field(gt=0, lt=0.5)]
    fitted_on: str


OF_REDRAFTS = (
    "redraft_repair", "redraft_success", "redraft_same", "redraft_same_slope", "redraft_tilt", "strong_success_again",
    "repair_again",
)  # fmt: skip
"""Fields of `StepDynamics` that tell of drafts after the first."""


class StepDynamics(Artifact):
    """What the weak and the strong model do, step by step.

    Attributes
    ----------
    weak_success : tuple of float
        p_w: probability that the weak model's next step is right, given a right prefix. One value, or one a step.
    strong_success : float or None
        p_s: probability that a regenerated step is right where the weak step was right. None: not known.
    repair : float or None
        p_r: the same where the weak step was a first error. None: not known.
    look_right : float
        p_d: how often a step of a derailed solution looks right.
    false_alarms, misses : float
        Transfer e and d of the observation model to this weak model.
    recovery : float
        ρ: probability that a step of a derailed solution, whoever writes it, leads back to where a right solution would
        be (errors that cancel, an error that is noticed), while that one would still be on its way.
    right_weights : tuple of float or None
        Factor of each observation bin in f_right (which is then normalised): how this weak model's right steps score,
        where that differs from the observation model's. None: 1.
    hazard : tuple of float
        h_t: probability that a weak step ends the solution, at t = 1 … `max_steps`, the last one 1.
    hazard_derailed, hazard_wrong : tuple of float or None
        h'_t, the same for steps of derailed solutions, and h''_t, for first errors; None: equal to `hazard`.
    derailed_emission : {"local", "labelled"}
        Whether a derailed step is judged step by step (mixture of f_right and f_wrong by `look_right`) or emits
        the density of S1 as labelled.
    weak_tokens, strong_tokens : PerClass or None
        Mean tokens of a weak step, and of the strong step that replaces it, by the weak step's class.
    strong_only_tokens : float or None
        Strong tokens per problem of strong-only (always regenerate): the unit of the budget, fixed at the fit.
    redraft_repair : float or None
        b: P(the second draft of a step is right | the first was a first error), the prefix being right, from which all
        further drafts follow (`trim_pomdp.model.redrafts`). None: not known, and nothing can be planned that redrafts.
    redraft_success : float or None
        P(another draft is right | the last was right, and looked bad enough to be drafted again), at most. None: what
        follows from b.
    redraft_same : Shares or None
        s̄: P(another draft is the last one word for word | class of that, which was doubted). None: never.
    redraft_same_slope : float or None
        β: how the log-odds of that rise with how wrong the last one looked, log E₂/E₀. None: not at all.
    redraft_tilt : Tilts or None
        How drafts after the first look, against first drafts of their class, since steps that are drafted again are
        hard to judge, too (`trim_pomdp.model.redrafts.Tilts`). None: the same.
    strong_success_again, repair_again : float or None
        p_s and p_r of a step whose draft is another text than its first one, which was doubted: what is hard for the
        weak model is so for the strong one. None: as of first drafts.
    running_minimum : MinimumCalibration or None
        Calibration of the reference belief of that name.
    conditions : Conditions or None
        Under which the data were made, where that is known.
    fit : FitReport or None
        Diagnostics of the fit.
    """

    kind: Literal["dynamics"] = "dynamics"
    name: str
    weak_success: tuple[Probability, ...] = Field(min_length=1)
    strong_success: Probability | None = None
    repair: Probability | None = None
    look_right: Probability
    false_alarms: Probability = 0.0
    misses: Probability = 0.0
    recovery: Probability = 0.0
    right_weights: tuple[PositiveFloat, ...] | None = None
    hazard: tuple[Probability, ...] = Field(min_length=1)
    hazard_derailed: tuple[Probability, ...] | None = None
    hazard_wrong: tuple[Probability, ...] | None = None
    derailed_emission: Literal["local", "labelled"] = "local"
    weak_tokens: PerClass | None = None
    strong_tokens: PerClass | None = None
    strong_only_tokens: PositiveFloat | None = None
    redraft_repair: Probability | None = None
    redraft_success: Probability | None = None
    redraft_same: Shares | None = None
    redraft_same_slope: Slope | None = None
    redraft_tilt: Tilts | None = None
    strong_success_again: Probability | None = None
    repair_again: Probability | None = None
    running_minimum: MinimumCalibration | None = None
    conditions: Conditions | None = None
    fit: FitReport | None = None

    @field_validator("hazard", "hazard_derailed", "hazard_wrong")
    @classmethod
    def _ends_at_the_cap(cls, hazard: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if hazard is not None and not math.isclose(hazard[-1], 1.0):
            raise ValueError(f"must be 1 at the step cap (step {len(hazard)}), where every step ends the solution")
        return hazard

    @model_validator(mode="after")
    def _lengths_agree(self) -> StepDynamics:
        if len(self.weak_success) not in (1, self.max_steps):
            raise ValueError(f"weak_success has {len(self.weak_success)} values; expected 1 or {self.max_steps}")
        for name in ("hazard_derailed", "hazard_wrong"):
            values = getattr(self, name)
            if values is not None and len(values) != self.max_steps:
                raise ValueError(f"{name} has {len(values)} values; expected {self.max_steps}")
        return self

    @model_serializer(mode="wrap")
    def _without_redrafts(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Dynamics that know nothing of redrafts are written as before there were any."""
        document: dict[str, Any] = serialise(self)
        for name in OF_REDRAFTS:
            if getattr(self, name) is None:
                document.pop(name, None)
        return document

    @property
    def max_steps(self) -> int:
        """Step cap."""
        return len(self.hazard)

    @property
    def weak_success_by_step(self) -> NDArray[np.float64]:
        """p_w at steps 1 … `max_steps`, shape (max_steps,)."""
        return np.broadcast_to(np.array(self.weak_success), (self.max_steps,)).copy()

    @property
    def hazard_array(self) -> NDArray[np.float64]:
        """h_t, shape (max_steps,)."""
        return np.array(self.hazard)

    @property
    def hazard_derailed_array(self) -> NDArray[np.float64]:
        """h'_t, shape (max_steps,)."""
        return np.array(self.hazard if self.hazard_derailed is None else self.hazard_derailed)

    @property
    def hazards_differ(self) -> bool:
        """Whether an end, or none, tells something of the class of a step."""
        return self.hazard_derailed is not None or self.hazard_wrong is not None

    @property
    def end(self) -> NDArray[np.float64]:
        """P(a weak step ends the solution | step, class S0, S1, S2), shape (max_steps, 3)."""
        return np.array([self.hazard, self.hazard_derailed or self.hazard, self.hazard_wrong or self.hazard]).T

    @property
    def recovery_by_step(self) -> NDArray[np.float64]:
        """ρ_t, shape (max_steps,), of `trim_pomdp.model.hazard.recovery_by_step`."""
        return recovery_by_step(self.recovery, self.hazard_array, self.hazard_derailed_array)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why not to trust them, as their fit has it."""
        return () if self.fit is None else self.fit.warnings

    def require(self, *names: str) -> None:
        """Raise `UnsetParameterError` if one of the named parameters is not known."""
        missing = [name for name in dict.fromkeys(names) if getattr(self, name) is None]
        if missing:
            how = "a pilot sweep (fit-dynamics --pilot) or on repair experiments"
            if all(name.startswith("redraft") for name in missing):
                how = "rollouts that draft steps again (rollout --mode redraft)"
            raise UnsetParameterError(
                f"dynamics {self.name!r} leave {', '.join(missing)} unset; fit them on {how}, or set them in the file"
            )

    def draft_law(self, drafts: int, emission: NDArray[np.float64]) -> DraftLaw:
        """What drafts after the first are, of so many in all (`trim_pomdp.model.redrafts`).

        Parameters
        ----------
        drafts : int
        emission : ndarray of shape (3, J)
            P(observation bin | class S0, S1, S2) of first drafts.

        Raises
        ------
        UnsetParameterError
            If `redraft_repair` is not known, and there are further drafts.
        """
        if drafts > 1:
            self.require("redraft_repair")
        same = np.zeros(3) if self.redraft_same is None else self.redraft_same.array
        return DraftLaw.of(
            self.weak_success_by_step,
            self.redraft_repair or 0.0,
            drafts,
            emission,
            same,
            self.redraft_same_slope,
            self.redraft_success,
        )

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: the parameters; p_w by step is shown by its mean."""
        return {
            "name": self.name,
            "p_w": float(np.mean(self.weak_success)),
            "p_s": self.strong_success,
            "p_r": self.repair,
            "p_d": self.look_right,
            "e": self.false_alarms,
            "d": self.misses,
            "ρ": self.recovery,
            "max_steps": self.max_steps,
            "strong-only tokens": self.strong_only_tokens,
        }

    @cached_property
    def drawn(self) -> tuple[StepDynamics, ...]:
        """What they might be as well (`FitReport.draws`), without fit reports; empty where no draws were kept.

        What a draw does not tell is as fitted, and so is `strong_only_tokens`, the unit of the budget.
        """
        if self.fit is None or self.fit.draws is None:
            return ()
        return tuple(self.replace(**fields) for fields in self.fit.draws.fields())

    @property
    def without_draws(self) -> StepDynamics:
        """The same without draws; plans are made faster then, and do not say how far off they may be."""
        fit = None if self.fit is None else self.fit.model_copy(update={"draws": None})
        return self.model_copy(update={"fit": fit})

    def replace(self, **changes: Any) -> StepDynamics:
        """A copy with some fields changed, validated afresh, without the fit report, which would not be true of it."""
        fields = self.model_dump(exclude={"fit"} | set(changes))
        return StepDynamics.model_validate({**fields, **changes})
