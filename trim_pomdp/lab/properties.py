"""Measured properties of the lab: what makes it a fair test, and whether they are in their ranges.

All are measured on fresh problems of the fitting space, with true classes from the exact checker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observation_models import auc
from trim_pomdp.data.features import LOGPROBS
from trim_pomdp.data.problems import Problem
from trim_pomdp.lab.models import FORMAT, LabModels, true_class
from trim_pomdp.lab.problems import Arithmetic, Family, check, draw
from trim_pomdp.lab.solving import CAPS, run_solutions, solve, texts
from trim_pomdp.model.evidence import EvidenceMap, evidence_scores
from trim_pomdp.policies import ScheduleRule
from trim_pomdp.runtime.attempt import Attempt, logprob_features
from trim_pomdp.runtime.protocols import ScoreRequest
from trim_pomdp.runtime.records import SolutionRecord

# Drawn with a seed of their own, far from those of fitting.
SEED = 9_000_001
_BATCH = 256


@dataclass(frozen=True)
class Properties:
    """What the lab's models do on a family.

    Attributes
    ----------
    weak, strong : float
        Share of problems that each model solves alone.
    p_w : float
        Weak step success: right steps among right steps and first errors.
    p_s, p_r : float
        Strong step success where the weak step was right, and where it was the first error.
    p_d : float
        How often a derailed step is right on its own terms.
    prm_auc, logprob_auc, evidence_auc : float
        AUC of right steps against first errors: by the PRM score, by the least log-probability of a token, and by an
        evidence map.
    fate_prm, fate_logprob : float
        AUC of solved problems against the others: by the least PRM score of a solution, and by the mean of its steps'
        mean log-probabilities. Large models have about .64 by a small PRM and .61 to .68 by log-probabilities.
    steps_right, steps_derailed : float
        Mean steps of right and of derailed weak solutions.
    error_by_step : tuple of float
        Weak error rate 1 − p_w at steps 1, 2, … (as long as 100 solutions are still right).
    n : int
        Problems.
    """

    weak: float
    strong: float
    p_w: float
    p_s: float
    p_r: float
    p_d: float
    prm_auc: float
    logprob_auc: float
    evidence_auc: float
    fate_prm: float
    fate_logprob: float
    steps_right: float
    steps_derailed: float
    error_by_step: tuple[float, ...]
    n: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values; error rates by step are for people."""
        return {name: value for name, value in asdict(self).items() if name != "error_by_step"}


def ranges(family: Family) -> dict[str, tuple[float, float]]:
    """Ranges in which the properties of a family have to lie."""
    if family == "wordy":
        return {
            "weak": (0.25, 0.62),
            "strong": (0.65, 0.92),
            "logprob_auc": (0.50, 0.68),
            "fate_prm": (0.50, 0.70),
            "fate_logprob": (0.58, 0.70),
        }
    return {
        "weak": (0.25, 0.52),
        "strong": (0.65, 0.92),
        "prm_auc": (0.90, 0.97),
        "p_r": (0.0, 0.9 if family == "chain" else 0.8),
    }


def violations(family: Family, measured: Properties) -> list[str]:
    """What is out of its range, one line each."""
    out = []
    for name, (low, high) in ranges(family).items():
        value = getattr(measured, name)
        if not low <= value <= high:
            out.append(f"{family}: {name} is {value:.3f}; expected {low:g} to {high:g}")
    if measured.strong < measured.weak + 0.15:
        gap = f"strong is {measured.strong:.3f}; expected clearly above weak = {measured.weak:.3f}"
        out.append(f"{family}: {gap}")
    if measured.p_r > measured.p_s - 0.05:
        out.append(f"{family}: p_r is {measured.p_r:.3f}; expected clearly below p_s = {measured.p_s:.3f}")
    return out


def measure(
    family: Family,
    models: LabModels,
    *,
    n: int = 1000,
    seed: int = SEED,
    evidence: EvidenceMap | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Properties:
    """Measure a family's properties afresh.

    Parameters
    ----------
    evidence : EvidenceMap or None
        The map whose AUC is `evidence_auc`; None for the PRM score.
    """
    problems = draw(family, "fit", seed, n)
    progress(f"{family}: weak solutions")
    weak = solve(problems, models, strong=False, seed=seed)
    progress(f"{family}: strong solutions")
    strong = solve(problems, models, strong=True, seed=seed)
    progress(f"{family}: repairs")
    p_s, p_r = _strong_success(problems, weak, models, seed)
    progress(f"{family}: scores")
    scores = score_all(problems, weak, models)

    classes = [_classes(record) for record in weak]
    flat = np.concatenate(classes)
    lengths = np.array([len(item) for item in classes])
    solved = np.array([bool(record.terminal.correct) for record in weak])
    derailed = np.array([item[-1] != 0 for item in classes])
    labelled = flat != 1
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    features = features_of(weak, scores)
    looks_right = np.concatenate(
        [check(Arithmetic.parse(p.prompt), texts(record)).right for p, record in zip(problems, weak, strict=True)]
    )
    return Properties(
        weak=float(solved.mean()),
        strong=float(np.mean([bool(record.terminal.correct) for record in strong])),
        p_w=float((flat == 0).sum() / labelled.sum()),
        p_s=p_s,
        p_r=p_r,
        p_d=float(looks_right[flat == 1].mean()),
        prm_auc=auc(features["score"][labelled], flat[labelled] == 0),
        logprob_auc=auc(features["logprob_min"][labelled], flat[labelled] == 0),
        evidence_auc=auc(evidence_scores(evidence, features)[labelled], flat[labelled] == 0),
        fate_prm=auc(np.minimum.reduceat(features["score"], starts), solved),
        fate_logprob=auc(np.add.reduceat(features["logprob_mean"], starts) / lengths, solved),
        steps_right=float(lengths[~derailed].mean()),
        steps_derailed=float(lengths[derailed].mean()),
        error_by_step=_error_by_step(classes),
        n=n,
    )


def score_all(
    problems: Sequence[Problem], records: Sequence[SolutionRecord], models: LabModels
) -> list[NDArray[np.float64]]:
    """PRM scores of every step of every solution."""
    assert models.prm is not None
    requests = [ScoreRequest(problem, tuple(texts(record))) for problem, record in zip(problems, records, strict=True)]
    return [np.array(reply.scores) for reply in models.prm.score_batch(requests)]


def features_of(
    records: Sequence[SolutionRecord], scores: Sequence[NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Features of all weak steps, one after the other."""
    rows = [logprob_features(step.weak.logprobs) for record in records for step in record.decisions if step.weak]
    return {"score": np.concatenate(scores), **{name: np.array([row[name] for row in rows]) for name in LOGPROBS}}


def _classes(record: SolutionRecord) -> NDArray[np.int64]:
    return np.array([step.weak.true_class for step in record.decisions if step.weak], dtype=np.int64)


def _error_by_step(classes: Sequence[NDArray[np.int64]], least: int = 100) -> tuple[float, ...]:
    out: list[float] = []
    for step in range(max(map(len, classes))):
        at = np.array([item[step] for item in classes if len(item) > step and item[step] != 1])
        if len(at) < least:
            break
        out.append(float((at == 2).mean()))
    return tuple(out)


def _strong_success(
    problems: Sequence[Problem], weak: Sequence[SolutionRecord], models: LabModels, seed: int
) -> tuple[float, float]:
    """How often the strong model is right where the weak step was right, and where it was the first error."""
    at: list[tuple[Problem, tuple[str, ...], int]] = []
    for problem, record in zip(problems, weak, strict=True):
        steps = tuple(texts(record))
        for index, cls in enumerate(_classes(record)):
            if cls != 1:
                at.append((Problem(f"{problem.id}@{index}", problem.prompt, problem.answer), steps[:index], int(cls)))
    redoing = [
        Attempt(
            problem,
            ScheduleRule(strong_steps=frozenset({len(prefix)})).router(problem),
            caps=replace(CAPS, max_steps=len(prefix) + 1),
            seed=seed,
            oracle=true_class,
            format=FORMAT,
            prefix=prefix,
        )
        for problem, prefix, _ in at
    ]
    redone = run_solutions(redoing, models)
    right = np.array([record.decisions[0].strong.true_class == 0 for record in redone if record.decisions[0].strong])
    cls = np.array([item for _, _, item in at])
    return float(right[cls == 0].mean()), float(right[cls == 2].mean())
