"""What the data want, on held-out problems: which of p_d, e and d to free, hazards by class or one, p_w by step.

A fit takes one structure, the simplest that is not clearly worse. That others might be as true is part of what is not
known: `Choice.draw` draws structures with the weights that held-out data give them (pseudo-BMA+: Yao, Vehtari, Simpson
and Gelman, Bayesian Analysis 13, 2018), for the draws that plans take their intervals from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.fitting.lengths import UNKNOWN, Ends
from trim_pomdp.fitting.parameters import SEQUENCE_CANDIDATES, Explanation
from trim_pomdp.fitting.rollout_data import RolloutRows
from trim_pomdp.fitting.rollout_estimation import Fitter, Plan
from trim_pomdp.model.hazard import PRIOR_TRIALS

FloatArray = NDArray[np.float64]
_FOLDS = 5
# Where a parameter stays at its bound, explanations with and without it differ by what the optimiser leaves, in nats.
_NOTHING = 0.01
_ENDS: dict[Ends, str] = {
    "alike": "one hazard",
    "before": "hazards by class, first errors as right steps",
    "after": "hazards by class, first errors as derailed ones",
    "apart": "hazards by class",
}


@dataclass(frozen=True)
class Choice:
    """What was chosen, and from what.

    Attributes
    ----------
    plan : Plan
        The one taken.
    explanations : tuple of Explanation
        Candidates, each alone.
    structures : tuple of (bool, Ends)
        Whether p_w is by step, and what first errors end like.
    shares : tuple of two ndarrays
        Weights of explanations and of structures, each summing to 1.
    """

    plan: Plan
    explanations: tuple[Explanation, ...]
    structures: tuple[tuple[bool, Ends], ...]
    shares: tuple[FloatArray, FloatArray]

    def draw(self, rng: np.random.Generator) -> Plan:
        """A plan, explanation and structure drawn apart, as they were judged."""
        explanation = self.explanations[rng.choice(len(self.explanations), p=self.shares[0])]
        by_step, ends = self.structures[rng.choice(len(self.structures), p=self.shares[1])]
        return Plan(_steep(explanation) if by_step else explanation, ends, ())


def choose_plan(
    fitter: Fitter,
    rows: RolloutRows,
    *,
    class_hazards: bool,
    by_step: bool,
    seed: int,
    progress: Callable[[str], None],
) -> Choice:
    """Decide what first errors end like, which of p_d, e, d and recovery to free, on hazards by class, p_w by step.

    In this order, the first with everything free. Each time it is the simplest that is not clearly (one standard error)
    worse than the best; among equally simple ones the better. All rollouts decide.

    Parameters
    ----------
    fitter : Fitter
        Fits a plan.
    rows : RolloutRows
        All that there are.
    class_hazards, by_step : bool
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

    known: dict[tuple[str, Ends], FloatArray] = {}

    def held_out(explanation: Explanation, ends: Ends) -> FloatArray:
        """Held-out log-likelihood of each fold; the costliest part of a fit, so nothing is done twice."""
        key = (explanation.description, ends)
        if key not in known:
            progress(f"cross-validating: {explanation.description}, {_ENDS[ends]}")
            known[key] = np.array(list(cross_validated(explanation, ends)))
        return known[key]

    def cross_validated(explanation: Explanation, ends: Ends) -> Iterator[float]:
        for train, test in map(rows.split, folds):
            estimate, hazards = fitter.fit_roughly(train, _of_both(explanation, rows), ends=ends)
            yield sum(term.log_likelihood(estimate.parameters) for term in fitter.terms(test, hazards))

    recovering = tuple(_with(candidate, "recovery", "recovery") for candidate in SEQUENCE_CANDIDATES)
    plain = () if (weak.correct & (weak.labels >= 0)).any() else SEQUENCE_CANDIDATES
    candidates = recovering[-1:] if (weak.labels != UNKNOWN).all() else (*plain, *recovering)
    by_class: tuple[Ends, ...] = ("apart",) if (weak.labels >= 0).any() else ("before", "after")
    tried = {ends: held_out(candidates[-1], ends) for ends in by_class} if len(by_class) > 1 else {}
    best = max(tried, key=lambda ends: float(tried[ends].sum()), default=by_class[0])
    scores = {candidate.description: held_out(candidate, best) for candidate in candidates}
    chosen = candidates[simplest([len(candidate.free) for candidate in candidates], list(scores.values()))]
    kinds: list[tuple[bool, Ends]] = [
        (is_steep, ends)
        for ends in ((best,) if class_hazards else ("alike", best))
        for is_steep in ((True,) if by_step else (False, True))
    ]
    structures = [(_steep(chosen) if is_steep else chosen, ends) for is_steep, ends in kinds]
    judged = [held_out(*structure) for structure in structures]
    # Hazards by class and p_w by step count alike.
    sizes = [(ends != "alike") + ("weak_success_slope" in explanation.free) for explanation, ends in structures]
    explanation, ends = structures[simplest(sizes, judged)]

    shown = {_structure(*item): score for item, score in zip(structures, judged, strict=True)}
    notes = [
        *(_choice({_ENDS[item]: score for item, score in tried.items()}, _ENDS[best], rows.size) if tried else ()),
        *_choice(scores, chosen.description, rows.size),
        *_choice(shown, _structure(explanation, ends), rows.size),
    ]
    if "false_alarms" not in chosen.free:
        notes.append("false_alarms and misses are 0 by choice; other intervals grant that")
    if ends != "alike":
        notes.append(f"each step of a hazard leans on the one before with {PRIOR_TRIALS:g} trials")
    return Choice(
        Plan(_of_both(explanation, rows), ends, tuple(notes)),
        tuple(_of_both(candidate, rows) for candidate in candidates),
        tuple(kinds),
        (averaging_weights(list(scores.values()), seed), averaging_weights(judged, seed)),
    )


def _of_both(explanation: Explanation, rows: RolloutRows) -> Explanation:
    """With what repairs tell of the strong model, if there are any."""
    return explanation if rows.repairs is None else _with(explanation, "p_s and p_r", "strong_success", "repair")


def _choice(scores: Mapping[str, FloatArray], taken: str, rollouts: int) -> Iterator[str]:
    """What was chosen, and from what."""
    best = _best(scores.values())
    for title, score in scores.items():
        value = f"{score.sum() / rollouts:.4f} (over all of them {_difference(score, best)} against the best)"
        yield f"held-out log-likelihood per rollout, {title}: {value}"
    yield f"taken: {taken}, the simplest that is not clearly worse than the best"


def _structure(explanation: Explanation, ends: Ends) -> str:
    by_step = "p_w by step (log-odds linear in it)" if "weak_success_slope" in explanation.free else "one p_w"
    return f"{_ENDS[ends]}, {by_step}"


def _steep(explanation: Explanation) -> Explanation:
    return _with(explanation, "p_w by step", "weak_success_slope")


def _with(explanation: Explanation, description: str, *names: str) -> Explanation:
    return replace(
        explanation, description=f"{explanation.description}, {description}", free=(*explanation.free, *names)
    )


def _folds(groups: NDArray[np.str_], seed: int) -> Iterator[NDArray[np.str_]]:
    """Problems to hold out, fold by fold."""
    from sklearn.model_selection import GroupKFold

    n_folds = min(_FOLDS, len(np.unique(groups)))
    if n_folds < 2:
        raise InputError("rollouts of a single problem cannot be cross-validated; give several problems")
    for _, held_out in GroupKFold(n_folds, shuffle=True, random_state=seed).split(groups, groups=groups):
        yield np.unique(groups[held_out])


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


def averaging_weights(scores: Sequence[FloatArray], seed: int, draws: int = 1000) -> FloatArray:
    """Weights of options by what they say of held-out data, uncertainty of that included (pseudo-BMA+).

    Parameters
    ----------
    scores : sequence of ndarray of shape (folds,)
        Held-out log-likelihoods.
    seed : int
        Of the Bayesian bootstrap over folds.
    draws : int

    Returns
    -------
    ndarray of shape (options,)
    """
    table = np.array(scores)
    folds = table.shape[1]
    sums = folds * np.random.default_rng(seed).dirichlet(np.ones(folds), draws) @ table.T
    likelihood = np.exp(sums - sums.max(axis=1, keepdims=True))
    weights: FloatArray = (likelihood / likelihood.sum(axis=1, keepdims=True)).mean(axis=0)
    return weights


def _best(scores: Iterable[FloatArray]) -> FloatArray:
    return max(scores, key=lambda score: float(score.sum()))


def _clearly_better(a: FloatArray, b: FloatArray) -> bool:
    """Whether held-out log-likelihoods by fold differ by more than a standard error, and than where searches stop."""
    return bool((a - b).sum() > max(_error(a - b), _NOTHING))


def _difference(a: FloatArray, b: FloatArray) -> str:
    return f"{(a - b).sum():+.1f} ± {_error(a - b):.1f}"


def _error(by_fold: FloatArray) -> float:
    """Standard error of a sum over folds."""
    return float(np.sqrt(len(by_fold)) * by_fold.std(ddof=1))
