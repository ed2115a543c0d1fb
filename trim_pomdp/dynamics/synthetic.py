"""Data drawn from known dynamics: what estimators are tested on, since only here the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.outcomes import PilotRow, StepCounts
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.data.sequences import SequenceBatch
from trim_pomdp.dynamics.model import StepDynamics
from trim_pomdp.policies.records import ThresholdRule
from trim_pomdp.routing import RoutingModel
from trim_pomdp.simulation import simulate

FloatArray = NDArray[np.float64]


def draw_classes(
    dynamics: StepDynamics, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Classes of the steps of `n` weak-only solutions.

    Returns
    -------
    classes : ndarray of shape (n, max_steps)
        0, 1, 2 for S0, S1, S2; -1 beyond the end.
    lengths : ndarray of shape (n,)
        Number of steps.
    """
    T = dynamics.max_steps
    fails = rng.random((n, T)) >= dynamics.weak_success_by_step
    first = np.where(fails.any(axis=1), fails.argmax(axis=1), T)[:, None]
    steps = np.arange(T)
    classes = np.where(steps < first, 0, np.where(steps == first, 2, 1))
    hazard = np.where(classes == 1, dynamics.hazard_derailed_array, dynamics.hazard_array)
    lengths = (rng.random((n, T)) < hazard).argmax(axis=1) + 1
    return np.where(steps < lengths[:, None], classes, -1), lengths


def draw_sequences(model: RoutingModel, n: int, rng: np.random.Generator, *, per_problem: int = 1) -> SequenceBatch:
    """`n` scored weak-only solutions with outcomes, `per_problem` of them under each problem name.

    Scores come from the step emission, also where the planner sees bins of (min, current).
    """
    classes, lengths = draw_classes(model.dynamics, n, rng)
    emission = model.observations.model_copy(update={"emission": "step"}).class_emission(model.dynamics)
    scores = np.ones(classes.shape)
    for c in range(3):
        where = classes == c
        scores[where] = _draw_scores(model, emission[c], int(where.sum()), rng)
    last = classes[np.arange(n), lengths - 1]
    return SequenceBatch(
        scores[:, : lengths.max()],
        lengths,
        last == 0,
        np.array([f"problem {i // per_problem}" for i in range(n)], dtype=np.str_),
        model.observations.evidence,
    )


def _draw_scores(model: RoutingModel, emission: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """Scores of `n` steps of a class: a bin of the emission, then a place in the bin."""
    edges = np.append(np.array(model.observations.step_emission.score_edges), 1.0)
    bins = rng.choice(len(emission), size=n, p=emission / emission.sum())
    return np.asarray(rng.uniform(edges[bins], edges[bins + 1]))


def draw_step_counts(dynamics: StepDynamics, n: int, rng: np.random.Generator) -> StepCounts:
    """Step counts with outcomes: lengths of right solutions, first errors of the others (their lengths are lost)."""
    classes, lengths = draw_classes(dynamics, n, rng)
    wrong = classes == 2
    failed = wrong.any(axis=1)
    return StepCounts(
        correct_steps=tuple(lengths[~failed].tolist()),
        first_error_step=tuple((wrong[failed].argmax(axis=1) + 1).tolist()),
    )


def draw_labelled(dynamics: StepDynamics, n: int, rng: np.random.Generator) -> list[LabelledSolution]:
    """Complete solutions with their first wrong step."""
    classes, lengths = draw_classes(dynamics, n, rng)
    out = []
    for i, (row, length) in enumerate(zip(classes, lengths, strict=True)):
        errors = np.flatnonzero(row[:length] == 2)
        out.append(
            LabelledSolution(
                id=str(i),
                generator="drawn",
                problem=str(i),
                steps=("step",) * int(length),
                label=int(errors[0]) if len(errors) else -1,
                final_answer_correct=len(errors) == 0,
            )
        )
    return out


def draw_pilot(
    model: RoutingModel, thresholds: Sequence[float], problems: int, rng: np.random.Generator
) -> list[PilotRow]:
    """A pilot sweep: each threshold on its own sample of problems."""
    rows = []
    for threshold in thresholds:
        point = simulate(ThresholdRule(threshold=threshold), model, problems, rng)
        rows.append(
            PilotRow(
                threshold=threshold,
                problems=problems,
                accuracy=point.accuracy,
                regenerations=point.regenerations,
                strong_tokens=point.strong_tokens,
                kept_tokens=point.kept_tokens,
                discarded_tokens=point.discarded_tokens,
            )
        )
    return rows
