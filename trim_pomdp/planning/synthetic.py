"""Data drawn from known dynamics: what estimators are tested on, since only here the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.outcomes import PilotRow, StepCounts
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.data.rollouts import RepairRollout, Rollouts, StrongRollout
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.model.belief import REGENERATE, RIGHT
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import ThresholdRule

FloatArray = NDArray[np.float64]


def draw_classes(
    dynamics: StepDynamics, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Classes of the steps of `n` weak-only solutions.

    Returns
    -------
    classes : ndarray of shape (n, max_steps)
        0, 1, 2 for S0, S1, S2; -1 beyond the end. After a recovery they begin anew.
    lengths : ndarray of shape (n,)
        Number of steps.
    correct : ndarray of bool, shape (n,)
        Whether the answer is right.
    """
    T = dynamics.max_steps
    fails = rng.random((n, T)) >= dynamics.weak_success_by_step
    recovers = (
        np.zeros((n, T), dtype=np.bool_) if dynamics.recovery == 0 else rng.random((n, T)) < dynamics.recovery_by_step
    )
    classes, after = np.zeros((n, T), dtype=np.int64), np.ones((n, T), dtype=np.bool_)
    right = np.ones(n, dtype=np.bool_)
    for t in range(T):
        classes[:, t] = np.where(right, np.where(fails[:, t], 2, 0), 1)
        right = after[:, t] = (classes[:, t] == 0) | ((classes[:, t] == 1) & recovers[:, t])
    hazard = dynamics.end[np.arange(T), classes]
    lengths = (rng.random((n, T)) < hazard).argmax(axis=1) + 1
    return np.where(np.arange(T) < lengths[:, None], classes, -1), lengths, after[np.arange(n), lengths - 1]


def draw_sequences(model: RoutingModel, n: int, rng: np.random.Generator, *, per_problem: int = 1) -> SequenceBatch:
    """`n` scored weak-only solutions with outcomes, `per_problem` of them under each problem name.

    Scores come from the step emission, also where the planner sees bins of (min, current).
    """
    classes, lengths, correct = draw_classes(model.dynamics, n, rng)
    scores = _score_steps(model, classes, rng)
    return SequenceBatch(
        scores[:, : lengths.max()],
        lengths,
        correct,
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
    classes, lengths, _ = draw_classes(dynamics, n, rng)
    wrong = classes == 2
    failed = wrong.any(axis=1)
    return StepCounts(
        correct_steps=tuple(lengths[~failed].tolist()),
        first_error_step=tuple((wrong[failed].argmax(axis=1) + 1).tolist()),
    )


def draw_labelled(dynamics: StepDynamics, n: int, rng: np.random.Generator) -> list[LabelledSolution]:
    """Complete solutions with their first wrong step."""
    classes, lengths, correct = draw_classes(dynamics, n, rng)
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
                final_answer_correct=bool(correct[i]),
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


# Live rollouts -----------------------------------------------------------------------------------------------


def draw_rollouts(
    model: RoutingModel,
    weak: int,
    strong: int,
    repairs: int,
    rng: np.random.Generator,
    *,
    problems: int | None = None,
) -> Rollouts:
    """Weak, strong and repair rollouts with tokens and truth, spread over so many problems (default: each its own)."""
    return Rollouts(
        draw_weak_rollouts(model, weak, rng, problems=problems),
        draw_strong_rollouts(model, strong, rng, problems=problems),
        draw_repair_rollouts(model, repairs, rng, problems=problems),
    )


def draw_weak_rollouts(
    model: RoutingModel, n: int, rng: np.random.Generator, *, problems: int | None = None
) -> list[ScoredSequence]:
    """`n` weak-only solutions with scores, tokens and labels."""
    classes, lengths, correct = draw_classes(model.dynamics, n, rng)
    scores, tokens = _score_steps(model, classes, rng), _draw_tokens(model.weak_tokens, classes, rng)
    out = []
    for i, length in enumerate(lengths.tolist()):
        wrong = np.flatnonzero(classes[i] == 2)
        out.append(
            ScoredSequence(
                id=f"weak {i}",
                problem_id=f"problem {i % (problems or n)}",
                scores=tuple(scores[i, :length].tolist()),
                tokens=tuple(tokens[i, :length].tolist()),
                correct=bool(correct[i]),
                label=int(wrong[0]) if len(wrong) else -1,
            )
        )
    return out


def draw_strong_rollouts(
    model: RoutingModel, n: int, rng: np.random.Generator, *, problems: int | None = None
) -> list[StrongRollout]:
    """`n` strong-only solutions with labels: each step stands where an unseen weak one would have."""
    out = []
    for i in range(n):
        tokens, wrong, correct = _strong_alone(model, 0, True, rng)
        out.append(
            StrongRollout(
                id=f"strong {i}",
                problem_id=f"problem {i % (problems or n)}",
                correct=correct,
                tokens=tuple(tokens),
                label=-1 if wrong is None else wrong,
            )
        )
    return out


def draw_repair_rollouts(
    model: RoutingModel,
    n: int,
    rng: np.random.Generator,
    *,
    problems: int | None = None,
    rate: float = 0.15,
    rate_low: float = 0.6,
) -> list[RepairRollout]:
    """`n` repairs: at each weak step a coin says whether it is redone, of a higher rate for scores below one half."""
    out: list[RepairRollout] = []
    while len(out) < n:
        classes, lengths, _ = draw_classes(model.dynamics, n, rng)
        scores, tokens = _score_steps(model, classes, rng), _draw_tokens(model.weak_tokens, classes, rng)
        redone = (rng.random(scores.shape) < np.where(scores < 0.5, rate_low, rate)) & (classes >= 0)
        for i in np.flatnonzero(redone.any(axis=1))[: n - len(out)]:
            step = int(redone[i].argmax())
            true_class = int(classes[i, step])
            ended = step == lengths[i] - 1
            over, right = _redo(model, step, ended, true_class, rng)
            strong, _, correct = ([], None, right) if over else _strong_alone(model, step + 1, right, rng)
            first = int(_draw_tokens(model.strong_tokens, np.array([true_class]), rng)[0])
            document = {
                "id": f"repair {len(out)}",
                "problem_id": f"problem {len(out) % (problems or n)}",
                "scores": tuple(scores[i, : step + 1].tolist()),
                "correct": correct,
                "weak_tokens": tuple(tokens[i, : step + 1].tolist()),
                "strong_tokens": (first, *strong),
                "ended": ended,
                "class": true_class,
                "redone_right": right and true_class != 1,
            }
            out.append(RepairRollout.model_validate(document))
    return out


def _strong_alone(
    model: RoutingModel, start: int, right: bool, rng: np.random.Generator
) -> tuple[list[int], int | None, bool]:
    """Tokens of the steps from `start` on, the first wrong one among them (0 if the prefix is), and the outcome."""
    dynamics = model.dynamics
    tokens: list[int] = []
    wrong = None if right else 0
    for step in range(start, dynamics.max_steps):
        true_class = 1 if not right else 0 if rng.random() < dynamics.weak_success_by_step[step] else 2
        tokens.append(int(_draw_tokens(model.strong_tokens, np.array([true_class]), rng)[0]))
        ended = bool(rng.random() < dynamics.end[step, true_class])
        was_right = right
        over, right = _redo(model, step, ended, true_class, rng)
        if was_right and not right and wrong is None:
            wrong = len(tokens) - 1
        if over:
            break
    return tokens, wrong, right


def _redo(model: RoutingModel, step: int, ended: bool, true_class: int, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether the solution is over, and right so far, after a weak step of a class was regenerated."""
    outcomes = model.outcomes[step, int(ended), REGENERATE, true_class, :2, :2]  # goes on or is over, right or not
    over, derailed = divmod(int(np.searchsorted(outcomes.cumsum()[:-1], rng.random(), side="right")), 2)
    return bool(over), derailed == RIGHT


def _score_steps(model: RoutingModel, classes: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
    """Scores of steps by their class, 1.0 where there is none."""
    emission = model.observations.model_copy(update={"emission": "step"}).class_emission(model.dynamics)
    scores = np.ones(classes.shape)
    for c in range(3):
        where = classes == c
        scores[where] = _draw_scores(model, emission[c], int(where.sum()), rng)
    return scores


def _draw_tokens(means: FloatArray | None, classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Tokens of steps by their class (at least one each), 0 where there is no step."""
    by_class = np.full(3, 20.0) if means is None else means
    drawn = 1 + rng.poisson(np.maximum(by_class[np.maximum(classes, 0)] - 1.0, 0.0))
    return np.where(classes < 0, 0, drawn)
