"""`Sources`: the data that dynamics can be fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trim_pomdp.artifacts import Provenance
from trim_pomdp.data.outcomes import PilotRow, StepCounts
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.data.rollouts import Rollouts
from trim_pomdp.fitting.likelihood import Term, labelled_steps, strong_steps, weak_steps
from trim_pomdp.model.sequences import SequenceBatch

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """The data that dynamics can be fitted on; any non-empty combination, but for rollouts, which stand alone.

    Attributes
    ----------
    weak_counts, strong_counts : StepCounts, optional
        Step counts with outcomes of the two models.
    pilot : sequence of PilotRow
        Measured thresholds.
    sequences : SequenceBatch, optional
        Scored weak-only solutions with outcomes.
    labelled : sequence of LabelledSolution
        Weak-only solutions with a known first error.
    rollouts : Rollouts, optional
        Live rollouts of both models.
    provenance : tuple of Provenance
        The files they came from.
    """

    weak_counts: StepCounts | None = None
    strong_counts: StepCounts | None = None
    pilot: Sequence[PilotRow] = ()
    sequences: SequenceBatch | None = None
    labelled: Sequence[LabelledSolution] = ()
    rollouts: Rollouts | None = None
    provenance: tuple[Provenance, ...] = ()


def step_terms(sources: Sources) -> list[Term]:
    """Terms of step counts and labelled solutions."""
    terms: list[Term] = []
    if sources.weak_counts is not None:
        terms.append(weak_steps(sources.weak_counts))
    if sources.strong_counts is not None:
        terms.append(strong_steps(sources.strong_counts))
    if sources.labelled:
        terms.append(labelled_steps(sources.labelled))
    return terms
