"""How well beliefs predict outcomes on scored sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trim_pomdp.artifacts import Record
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.display import html_table
from trim_pomdp.errors import UnsetParameterError
from trim_pomdp.model.belief import Belief, FilterBelief, PosteriorBelief, RunningMinimumBelief
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.sequences import SequenceBatch

# A probability of exactly 0 or 1 that turns out wrong would make the log loss infinite.
_CLIP = 1e-9


class BeliefScore(Record):
    """Quality of P(right): smaller is better but for the AUC, which is None where all outcomes are alike."""

    log_loss: float
    brier: float
    auc: float | None
    ece: float


def score_belief(belief: Belief, batch: SequenceBatch) -> BeliefScore:
    """Judge one belief on outcomes."""
    from observation_models import auc, brier, ece, log_loss

    probability = np.clip(belief.probability_right(batch), _CLIP, 1.0 - _CLIP)
    outcome = batch.correct
    both = bool(outcome.any() and not outcome.all())
    return BeliefScore(
        log_loss=float(log_loss(probability, outcome)),
        brier=float(brier(probability, outcome)),
        auc=float(auc(probability, outcome)) if both else None,
        ece=float(ece(probability, outcome)),
    )


def assess(
    batch: SequenceBatch, observations: ObservationModel, dynamics: StepDynamics
) -> tuple[dict[str, BeliefScore], list[str]]:
    """Judge the filter, the paper's posterior and the calibrated running minimum.

    Returns
    -------
    scores : dict
        By belief, those that the artifacts allow.
    missing : list of str
        Why a belief is left out.
    """
    makers: dict[str, Callable[[], Belief]] = {
        "filter": lambda: FilterBelief(observations, dynamics),
        "posterior": lambda: PosteriorBelief(observations),
        "running_minimum": lambda: RunningMinimumBelief(dynamics.running_minimum),
    }
    scores, missing = {}, []
    for name, make in makers.items():
        try:
            scores[name] = score_belief(make(), batch)
        except UnsetParameterError as error:
            missing.append(f"{name}: {error}")
    return scores, missing


class FilterScores(dict[str, BeliefScore]):
    """How well filters predict outcomes, by name; in notebooks a table."""

    def _repr_html_(self) -> str:
        names = tuple(BeliefScore.model_fields)
        rows = [(filter_, *(getattr(score, name) for name in names)) for filter_, score in self.items()]
        return html_table("filters", ("filter", *names), rows)


def judge_filters(
    sequences: Sequence[ScoredSequence], observations: ObservationModel, dynamics: Mapping[str, StepDynamics]
) -> FilterScores:
    """Judge filters of different dynamics on the same outcomes.

    Parameters
    ----------
    sequences : sequence of ScoredSequence
        Solutions whose outcomes are known.
    observations : ObservationModel
    dynamics : mapping of str to StepDynamics
        By the names to show.

    See Also
    --------
    assess : one filter beside beliefs of other kinds.
    """
    batch = SequenceBatch.of(sequences, observations.evidence)
    return FilterScores(
        {name: score_belief(FilterBelief(observations, item), batch) for name, item in dynamics.items()}
    )
