"""Parameters of the step dynamics as a flat set of names, and *explanations*: which are free, fixed or tied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

# Name → (lower bound, upper bound, start). `weak_success_slope` is how much the log-odds of weak success change from
# one step to the next, `weak_success` being that of the first; `derailed_hazard_factor` is h' / h.
PARAMETERS: dict[str, tuple[float, float, float]] = {
    "weak_success": (0.02, 1 - 1e-6, 0.88),
    "weak_success_slope": (-1.0, 1.0, 0.0),
    "strong_success": (0.02, 1 - 1e-6, 0.97),
    "repair": (0.0, 1 - 1e-6, 0.8),
    "look_right": (0.0, 1.0, 0.9),
    "false_alarms": (0.0, 0.9, 0.05),
    "misses": (0.0, 0.9, 0.05),
    "recovery": (0.0, 0.5, 0.01),
    "derailed_hazard_factor": (0.02, 4.0, 1.0),
    "weak_tokens.right": (1.0, 2000.0, 45.0),
    "weak_tokens.derailed": (1.0, 2000.0, 55.0),
    "weak_tokens.wrong": (1.0, 2000.0, 80.0),
    "strong_tokens.right": (1.0, 2000.0, 60.0),
    "strong_tokens.derailed": (1.0, 2000.0, 60.0),
    "strong_tokens.wrong": (1.0, 2000.0, 75.0),
}
TOKENS = tuple(name for name in PARAMETERS if "tokens" in name)
DEFAULTS = {
    "false_alarms": 0.0,
    "misses": 0.0,
    "recovery": 0.0,
    "derailed_hazard_factor": 1.0,
}


@dataclass(frozen=True)
class Explanation:
    """A family of dynamics: which parameters the data may choose.

    Attributes
    ----------
    name, description : str
        For tables and artifacts.
    free : tuple of str
        Parameters to estimate.
    fixed : mapping
        Parameters held at a value (besides `DEFAULTS`).
    tied : mapping
        Parameters that equal another one.
    derailed_emission : {"local", "labelled"}
        See `StepDynamics`.
    """

    name: str
    description: str
    free: tuple[str, ...]
    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    derailed_emission: Literal["local", "labelled"] = "local"

    def __post_init__(self) -> None:
        unknown = ({*self.free, *self.fixed, *self.tied} | set(self.tied.values())) - set(PARAMETERS)
        if unknown:
            raise ValueError(f"unknown parameters {sorted(unknown)}")

    def complete(self, values: Mapping[str, float]) -> dict[str, float]:
        """Every known parameter, given values of the free ones."""
        known = {**DEFAULTS, **self.fixed, **values}
        known.update({name: known[other] for name, other in self.tied.items() if other in known})
        return known

    def fixing(self, **values: float) -> Explanation:
        """The same explanation with some free parameters held at a value."""
        return Explanation(
            self.name,
            self.description,
            tuple(name for name in self.free if name not in values),
            {**self.fixed, **values},
            {name: other for name, other in self.tied.items() if name not in values},
            self.derailed_emission,
        )


_ACCURACY = ("weak_success", "strong_success", "repair")

# A threshold sweep shows, of each step, only P(regenerated) and P(right after it), and both are linear in the two score
# distributions. That is four numbers (p_w and three coefficients) for the five parameters p_w, p_s, p_r, e, d, so one
# direction is free for ever: misses d against repair p_r (docs/results.md). `FALSE_ALARMS` closes it with d = 0.
FALSE_ALARMS = Explanation(
    "false-alarms",
    "one hazard, p_d = p_w, scores transferred by false alarms e alone (misses d = 0)",
    (*_ACCURACY, "false_alarms", *TOKENS),
    fixed={"misses": 0.0},
    tied={"look_right": "weak_success"},
)
TRANSFER = Explanation(
    "transfer",
    "one hazard, p_d = p_w, scores transferred (false alarms e, misses d)",
    (*_ACCURACY, "false_alarms", "misses", *TOKENS),
    tied={"look_right": "weak_success"},
)
TRANSFER_FREE = Explanation(
    "transfer-free-pd",
    "one hazard, scores transferred, derailed steps look right with a free rate p_d",
    (*_ACCURACY, "look_right", "false_alarms", "misses", *TOKENS),
)
LOCAL = Explanation(
    "local",
    "one hazard, scores as ProcessBench's, derailed steps look right with a free rate p_d",
    (*_ACCURACY, "look_right", *TOKENS),
)
LATE_END = Explanation(
    "late-end",
    "derailed solutions end later (h' = factor · h), S1 scores as labelled",
    (*_ACCURACY, "derailed_hazard_factor", *TOKENS),
    fixed={"look_right": 1.0},
    derailed_emission="labelled",
)

# What scored solutions with outcomes can tell apart, the simplest first.
SEQUENCE_CANDIDATES: tuple[Explanation, ...] = (
    Explanation("tied", "p_w free, p_d = p_w", ("weak_success",), tied={"look_right": "weak_success"}),
    Explanation("free-pd", "p_w and p_d free", ("weak_success", "look_right")),
    Explanation(
        "tied-transfer",
        "p_w, e and d free, p_d = p_w",
        ("weak_success", "false_alarms", "misses"),
        tied={"look_right": "weak_success"},
    ),
    Explanation("free-pd-transfer", "p_w, p_d, e and d free", ("weak_success", "look_right", "false_alarms", "misses")),
)


EXPLANATIONS = {item.name: item for item in (FALSE_ALARMS, TRANSFER, TRANSFER_FREE, LOCAL, LATE_END)}
# Rivals of the studies (`benchmarks/pilot_rivals.py`), which one dynamics cannot hold or no pair has.
STUDIED = ("difficulty-spread", "free-repair", "as-published")
# What an explanation fixes by assumption, a wider one frees: intervals are taken from the wider one.
WIDER = {FALSE_ALARMS.name: TRANSFER.name}


def bounds_of(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of parameters, each of shape (n,)."""
    table = np.array([PARAMETERS[name][:2] for name in names]).reshape(-1, 2)
    return table[:, 0], table[:, 1]
