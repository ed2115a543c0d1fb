"""Rivals that the studies compare, and no fit may choose: difficulty that spreads, and the published model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trim_pomdp.fitting.estimation import Estimate, fit
from trim_pomdp.fitting.likelihood import Pilot, PilotPrediction, Term
from trim_pomdp.fitting.parameters import LOCAL, TOKENS, Explanation

_QUADRATURE_NODES = 15
SPREADS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)

FREE_REPAIR = Explanation(
    "free-repair",
    "as published, but with the repair rate and weak success free",
    ("weak_success", "repair", *TOKENS),
    fixed={"strong_success": 0.9704, "look_right": 1.0},
    derailed_emission="labelled",
)


def published(weak_success: float, strong_success: float) -> Explanation:
    """The published model: both next-step accuracies fixed, p_r = p_s, S1 as labelled; only tokens are free."""
    return Explanation(
        "as-published",
        "published: p_w and p_r = p_s from step counts, one hazard, S1 scores as labelled",
        TOKENS,
        fixed={
            "weak_success": weak_success,
            "strong_success": strong_success,
            "repair": strong_success,
            "look_right": 1.0,
        },
        derailed_emission="labelled",
    )


@dataclass(frozen=True)
class SpreadPilot(Pilot):
    """A pilot on problems whose weak success differs: its log-odds are normal with standard deviation `spread`."""

    spread: float = 0.0

    def predict(self, parameters: Mapping[str, float]) -> PilotPrediction:
        """Expected columns, averaged over problems by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE_NODES)
        mean = parameters["weak_success"]
        centre = np.log(mean) - np.log1p(-mean)
        successes = 1.0 / (1.0 + np.exp(-centre - self.spread * nodes))
        shares = (weights / weights.sum()).tolist()
        return self.combine(
            parameters,
            [(share, self.moments(parameters, float(p))) for share, p in zip(shares, successes, strict=True)],
        )


def fit_spread(pilot: Pilot, terms: Sequence[Term] = (), *, n_starts: int = 2) -> tuple[Estimate, SpreadPilot]:
    """`LOCAL` with the spread, of `SPREADS`, that makes the pilot likeliest."""
    fits = []
    for spread in SPREADS:
        spread_pilot = SpreadPilot(pilot.rows, pilot.below, pilot.hazard, pilot.labelled, spread=spread)
        fits.append((fit(LOCAL, [spread_pilot, *terms], n_starts=n_starts), spread_pilot))
    return max(fits, key=lambda item: item[0].log_likelihood)
