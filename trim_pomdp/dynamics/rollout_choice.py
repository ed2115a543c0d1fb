"""What the data want, decided on held-out problems: one hazard or two, which of p_d, e and d to free, p_w by step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.dynamics.hazard import PRIOR_TRIALS
from trim_pomdp.dynamics.lengths import UNKNOWN
from trim_pomdp.dynamics.parameters import SEQUENCE_CANDIDATES, Explanation
from trim_pomdp.dynamics.rollout_data import RolloutRows, take
from trim_pomdp.dynamics.rollout_estimation import Fitter, Plan
from trim_pomdp.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_FOLDS = 5


def choose_plan(
    fitter: Fitter,
    rows: RolloutRows,
    *,
    two_hazards: bool,
    by_step: bool,
    seed: int,
    progress: Callable[[str], None],
) -> Plan:
    """Decide which of p_d, e, d and recovery to free, then whether to have one hazard or two, and p_w by step or not.

    Each time it is the simplest that is not clearly (one standard error) worse than the best; among equally many free
    parameters, the better.

    Parameters
    ----------
    fitter : Fitter
        Fits a plan.
    rows : RolloutRows
        The weak-only solutions decide.
    two_hazards, by_step : bool
        Do without the simpler choice.
    seed : int
        Of the folds.
    progress : callable
        Told what is being done.

    Raises
    ------
    InputError
        If all solutions are of one problem.
    """
    weak = rows.weak
    folds = list(_folds(weak.groups, seed))

    def held_out(explanation: Explanation, *, two: bool) -> FloatArray:
        """Held-out log-likelihood of each fold: lengths with outcomes, and outcomes given scores."""
        progress(f"cross-validating: {explanation.description}, {'two hazards' if two else 'one hazard'}")
        out = []
        for train, test in folds:
            estimate, hazards = fitter.fit_weak(take(weak, train), explanation, two=two)
            terms = fitter.weak_terms(take(weak, test), hazards)
            out.append(sum(term.log_likelihood(estimate.parameters) for term in terms))
        return np.array(out)

    recovering = tuple(_with(candidate, "recovery", "recovery") for candidate in SEQUENCE_CANDIDATES)
    plain = () if (weak.correct & (weak.labels >= 0)).any() else SEQUENCE_CANDIDATES
    candidates = recovering[-1:] if (weak.labels != UNKNOWN).all() else (*plain, *recovering)
    scores = {candidate.description: held_out(candidate, two=True) for candidate in candidates}
    chosen = candidates[simplest([len(candidate.free) for candidate in candidates], list(scores.values()))]
    steep = _with(chosen, "p_w by step", "weak_success_slope")
    structures = [
        (explanation, two)
        for two in ((True,) if two_hazards else (False, True))
        for explanation in ((steep,) if by_step else (chosen, steep))
    ]
    judged = [
        scores[chosen.description] if two and explanation is chosen else held_out(explanation, two=two)
        for explanation, two in structures
    ]
    explanation, two = structures[simplest(range(len(structures)), judged)]

    shown = {_structure(*item): score for item, score in zip(structures, judged, strict=True)}
    notes = [
        *_choice(scores, chosen.description, len(weak.labels)),
        *_choice(shown, _structure(explanation, two), len(weak.labels)),
    ]
    if "false_alarms" not in chosen.free:
        notes.append("false_alarms and misses are 0 by choice; other intervals grant that")
    if two:
        notes.append(f"each of the two hazards leans on the pooled one with {PRIOR_TRIALS:g} trials a step")
    if rows.repairs is not None:
        explanation = _with(explanation, "p_s and p_r", "strong_success", "repair")
    return Plan(explanation, two, tuple(notes))


def _choice(scores: Mapping[str, FloatArray], taken: str, solutions: int) -> Iterator[str]:
    """What was chosen, and from what."""
    best = _best(scores.values())
    for title, score in scores.items():
        value = f"{score.sum() / solutions:.4f} (over all solutions {_difference(score, best)} against the best)"
        yield f"held-out log-likelihood per solution, {title}: {value}"
    yield f"taken: {taken}, the simplest that is not clearly worse than the best"


def _structure(explanation: Explanation, two: bool) -> str:
    by_step = "p_w by step (log-odds linear in it)" if "weak_success_slope" in explanation.free else "one p_w"
    return f"{'two hazards' if two else 'one hazard'}, {by_step}"


def _with(explanation: Explanation, description: str, *names: str) -> Explanation:
    return replace(
        explanation, description=f"{explanation.description}, {description}", free=(*explanation.free, *names)
    )


def _folds(groups: NDArray[np.str_], seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    from sklearn.model_selection import GroupKFold

    n_folds = min(_FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        raise InputError("rollouts of a single problem cannot be cross-validated; give several problems")
    yield from GroupKFold(n_folds, shuffle=True, random_state=seed).split(groups, groups=groups)


def simplest(sizes: Sequence[int], scores: Sequence[FloatArray]) -> int:
    """Index of the smallest option that is not clearly worse than the best; among equals the better.

    Parameters
    ----------
    sizes : sequence of int
        How complex each option is.
    scores : sequence of ndarray of shape (folds,)
        Held-out log-likelihoods.
    """
    best = _best(scores)
    near = [index for index, score in enumerate(scores) if not _clearly_better(best, score)]
    return min(near, key=lambda index: (sizes[index], -float(scores[index].sum())))


def _best(scores: Iterable[FloatArray]) -> FloatArray:
    return max(scores, key=lambda score: float(score.sum()))


def _clearly_better(a: FloatArray, b: FloatArray) -> bool:
    """Whether held-out log-likelihoods by fold differ by more than a standard error."""
    return bool((a - b).sum() > _error(a - b))


def _difference(a: FloatArray, b: FloatArray) -> str:
    return f"{(a - b).sum():+.1f} ± {_error(a - b):.1f}"


def _error(by_fold: FloatArray) -> float:
    """Standard error of a sum over folds."""
    return float(np.sqrt(len(by_fold)) * by_fold.std(ddof=1))
