r"""AutoMix's meta-verifiers, fitted on outcomes.

The POMDP of one step: hidden is s, which of the two models is right on the problem; seen is o, the bin of the
verifier's confidence. Reporting the weak answer is worth reward·1[weak right in s], escalating
reward·1[strong right in s] − λ·c_s, with c_s the mean strong tokens of such problems. Having seen o, with
P(s | o) ∝ P(s)·P(o | s), escalating is best iff

    (P(strong alone is right | o) − P(weak alone is right | o)) / Σ_s P(s | o)·c_s  >  λ / reward,

so the left side is the points of the bin, and every λ is a threshold on them. The source has three categories (its
"good" holds whatever weak solves), constant costs, and finds the same by listing actions; that no solver is needed
for one step it says too. Tests check this form against the solvers of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trim_pomdp.data.queries import QueryOutcome, WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.policies.automix import VerifiedRule
from trim_pomdp.policies.base import FloatArray

CATEGORIES = ("both right", "weak alone is right", "strong alone is right", "both wrong")
_WEAK, _STRONG = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])


@dataclass(frozen=True)
class OneStepModel:
    """AutoMix's POMDP.

    Attributes
    ----------
    prior : ndarray of shape (4,)
        P(s), in the order of `CATEGORIES`.
    likelihood : ndarray of shape (4, bins)
        P(bin of the confidence | s).
    strong_tokens : ndarray of shape (4,)
        Mean tokens of a strong solution, given s.
    """

    prior: FloatArray
    likelihood: FloatArray
    strong_tokens: FloatArray

    @property
    def posterior(self) -> FloatArray:
        """P(s | bin), shape (bins, 4); of bins that cannot be seen the prior."""
        joint = (self.prior[:, None] * self.likelihood).T
        total = joint.sum(axis=1, keepdims=True)
        return np.where(total > 0, joint / np.where(total > 0, total, 1.0), self.prior)

    @property
    def worth(self) -> FloatArray:
        """What escalating gains per strong token, by bin, shape (bins,)."""
        posterior = self.posterior
        return np.asarray(posterior @ (_STRONG - _WEAK) / (posterior @ self.strong_tokens))


def fit_one_step(rule: VerifiedRule, outcomes: Sequence[QueryOutcome], *, prior_count: float = 1.0) -> OneStepModel:
    """The POMDP of a verifier, counted.

    Parameters
    ----------
    rule : VerifiedRule
        Its verifier and bins.
    outcomes : sequence of QueryOutcome
    prior_count : float
        Problems of each category that P(bin | s) is worth before any is seen, spread as all problems are.

    Raises
    ------
    InputError
        If an outcome lacks what the verifier looks at.
    """
    bins = rule.bins(confidences(rule, outcomes))
    weak = np.array([item.weak_right for item in outcomes])
    strong = np.array([item.strong_right for item in outcomes])
    shares = np.stack([weak * strong, weak * (1 - strong), strong * (1 - weak), (1 - weak) * (1 - strong)])
    tokens = np.array([item.strong_tokens for item in outcomes])
    indicator = np.eye(len(rule.cuts) + 1)[bins]  # (n, bins)
    counted = shares @ indicator + prior_count * indicator.mean(axis=0)
    total = shares.sum(axis=1)
    # Categories that never occur have the tokens of all, and a likelihood that says nothing.
    costs = np.where(total > 0, shares @ tokens / np.where(total > 0, total, 1.0), tokens.mean())
    seen = counted.sum(axis=1, keepdims=True)
    flat = np.broadcast_to(indicator.mean(axis=0), counted.shape)
    likelihood = np.where(seen > 0, counted / np.where(seen > 0, seen, 1.0), flat)
    return OneStepModel(total / total.sum(), likelihood, costs)


def with_bins(
    rule: VerifiedRule, outcomes: Sequence[QueryOutcome], bins: int = 8, *, even: bool = False
) -> VerifiedRule:
    """The verifier with bins of its confidence, and no points for them yet.

    Parameters
    ----------
    rule : VerifiedRule
    outcomes : sequence of QueryOutcome
    bins : int
        At most so many, between quantiles; fewer where confidences coincide.
    even : bool
        As the source has it: bins + 1 around 0, 1/bins, …, 1.
    """
    if even:
        cuts = (np.arange(bins) + 0.5) / bins
    else:
        seen = np.sort(confidences(rule, outcomes))
        cuts = np.unique(np.quantile(seen, np.arange(1, bins) / bins, method="higher"))
        cuts = cuts[cuts > seen[0]]
    return rule.model_copy(update={"cuts": tuple(cuts.tolist()), "worth": None})


def fit_pomdp(rule: VerifiedRule, outcomes: Sequence[QueryOutcome], *, prior_count: float = 1.0) -> VerifiedRule:
    """The rule of the one-step POMDP: points of each bin are what escalating gains per strong token.

    Parameters
    ----------
    rule : VerifiedRule
        With bins (`with_bins`).
    outcomes, prior_count
        As in `fit_one_step`.
    """
    worth = fit_one_step(rule, outcomes, prior_count=prior_count).worth
    return rule.model_copy(update={"worth": tuple(worth.tolist())})


def at_tradeoff(rule: VerifiedRule, tradeoff: float, reward: float = 100.0) -> VerifiedRule:
    """The POMDP's rule at a price λ of a strong token: escalate iff that gains more than it costs."""
    return rule.model_copy(update={"threshold": tradeoff / reward, "at_threshold": 0.0})


def fit_double_threshold(rule: VerifiedRule, outcomes: Sequence[QueryOutcome], budget: float) -> VerifiedRule:
    """The double threshold that is most accurate on fitting problems within a budget.

    All runs of neighbouring bins are tried. One that costs more than the budget is escalated with the probability that
    meets it.

    Parameters
    ----------
    rule : VerifiedRule
        With bins (`with_bins`).
    outcomes : sequence of QueryOutcome
    budget : float
        Strong tokens per problem, as a share of strong-only's.

    Raises
    ------
    InputError
        If the budget lies outside [0, 1], or an outcome lacks what the verifier looks at.
    """
    if not 0.0 <= budget <= 1.0:
        raise InputError(f"budget is {budget}; expected a share in [0, 1]")
    bins, n = rule.bins(confidences(rule, outcomes)), len(rule.cuts) + 1
    gain = np.bincount(bins, [item.gain for item in outcomes], n)
    tokens = np.bincount(bins, [item.strong_tokens for item in outcomes], n)
    limit, best, chosen = budget * tokens.sum(), (0.0, 0.0), (0, 0, 0.0)
    for first in range(n):
        for last in range(first + 1, n + 1):
            spent = tokens[first:last].sum()
            share = 1.0 if spent <= limit else limit / spent
            value = (share * gain[first:last].sum(), -share * spent)  # of what gains the same the cheaper one
            if value > best:
                best, chosen = value, (first, last, share)
    first, last, share = chosen
    worth = tuple(float(first <= index < last) for index in range(n))
    return rule.model_copy(update={"worth": worth, "threshold": 1.0, "at_threshold": float(share)})


def confidences(rule: VerifiedRule, outcomes: Sequence[QueryOutcome]) -> FloatArray:
    """The verifier's confidence on fitting problems.

    Raises
    ------
    InputError
        If one has no weak solution, or it lacks what the verifier looks at.
    """
    return np.array([rule.confidence(weak_of(item)) for item in outcomes])


def weak_of(outcome: QueryOutcome) -> WeakSolution:
    """The weak solution of an outcome; raises `InputError` where there is none."""
    if outcome.weak is None:
        raise InputError(f"nobody kept the weak solution of problem {outcome.problem.id!r}")
    return outcome.weak
