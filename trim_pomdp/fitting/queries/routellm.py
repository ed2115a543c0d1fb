"""RouteLLM's routers, fitted on outcomes: matrix factorisation, BERT-style classifier, similarity-weighted ranking.

Ties: the source makes them a label of their own for BERT, and half a win of either model for the ranking
(``compute_elo_mle_with_tie``). So it is here. It leaves them out of matrix factorisation (its training script keeps
battles that have a winner). Of right and wrong answers most are ties, and what is left does not tell problems that
only the strong model solves from those that both solve: so they are half a win there too unless one asks otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.queries import QueryOutcome
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.queries.preferences import STRONG_WINS, TIE, WEAK_WINS, labelled_rows, preferences
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.prompt_features import AnyPromptFeatures
from trim_pomdp.policies.routellm_bert import BertRule
from trim_pomdp.policies.routellm_mf import MatrixFactorisationRule
from trim_pomdp.policies.routellm_sw import SimilarityRule, unit_length

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

IntArray = NDArray[np.int64]
_STRENGTHS = tuple(10.0**power for power in range(-2, 4))  # of the data against the penalty, to choose from


def fit_mf(
    outcomes: Sequence[QueryOutcome],
    features: AnyPromptFeatures,
    *,
    ties: Literal["half", "dropped"] = "half",
    seen: FloatArray | None = None,
) -> MatrixFactorisationRule:
    r"""Matrix factorisation of two models.

    With two models the source's score δ(strong, q) − δ(weak, q) is linear in the prompt's embedding, whatever the inner
    dimension, and its loss is that of a logistic regression on battles. Its trainer adds Gaussian
    noise to embeddings and decays weights; both shrink the weights, as a quadratic penalty does, whose strength is
    chosen here by cross-validated likelihood. The intercept is w₂ᵀ((v_strong − v_weak) ⊙ b) of the paper; the
    released code has no b.

    Parameters
    ----------
    outcomes : sequence of QueryOutcome
    features : HashedNgrams or SentenceEmbedding
    ties : {"half", "dropped"}
        Half a win of either model: P(strong wins) is then 1/2 + (P(strong right) − P(weak right))/2, what escalating
        gains. Or left out, as the source has it.
    seen : ndarray of shape (n, dimensions) or None
        Features of the problems, where they are known already.

    Raises
    ------
    InputError
        If one model wins nowhere (ties left out), or a label is so rare that it cannot be divided among two folds.
    """
    shares = preferences(outcomes)
    if ties == "half":
        shares = shares + 0.5 * shares[:, [TIE]] * np.array([1.0, 0.0, 1.0])
    index, label, weight = labelled_rows(shares, (WEAK_WINS, STRONG_WINS))
    found = _logistic(_seen(outcomes, features, seen)[index], label, weight)
    return MatrixFactorisationRule(
        features=features, weights=PackedArray.of(found.coef_[0]), intercept=float(found.intercept_[0])
    )


def fit_bert(
    outcomes: Sequence[QueryOutcome], features: AnyPromptFeatures, *, seen: FloatArray | None = None
) -> BertRule:
    """A linear head for three labels on a frozen encoder, with a penalty chosen by cross-validated likelihood.

    A label that a single problem has is left out. Parameters as in `fit_mf`.

    Raises
    ------
    InputError
        If the strong model is right alone on fewer than two problems, or on all.
    """
    index, label, weight = labelled_rows(preferences(outcomes), (WEAK_WINS, TIE, STRONG_WINS))
    if np.count_nonzero(label == STRONG_WINS) < 2:
        raise InputError("hardly a fitting problem is solved by the strong model alone; use more of them")
    kept = np.bincount(label)[label] >= 2
    found = _logistic(_seen(outcomes, features, seen)[index[kept]], label[kept], weight[kept])
    weights, bias = head_of(found)
    return BertRule(
        features=features,
        weights=PackedArray.of(weights),
        bias=PackedArray.of(bias),
        strong_wins=int(np.argmax(found.classes_ == STRONG_WINS)),
    )


def head_of(found: LogisticRegression) -> tuple[FloatArray, FloatArray]:
    """Weights (dimensions, labels) and bias (labels,) of a softmax; of two labels the first one has none."""
    weights, bias = found.coef_.T, found.intercept_
    if len(found.classes_) == 2:
        return np.hstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return weights, bias


def _logistic(rows: FloatArray, label: IntArray, weight: FloatArray) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    classes, column, counts = np.unique(label, return_inverse=True, return_counts=True)
    folds = min(5, int(counts.min()))
    if folds < 2 or len(classes) < 2:
        raise InputError("one model wins a single fitting problem, so that nothing tells where it would; use more")
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(rows, label))

    def fitted(strength: float, train: IntArray | slice) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000).fit(rows[train], label[train], weight[train])

    def loss(strength: float) -> float:
        total = 0.0
        for train, test in splits:
            sure = fitted(strength, train).predict_proba(rows[test])[np.arange(len(test)), column[test]]
            total -= float(weight[test] @ np.log(np.maximum(sure, 1e-300)))
        return total

    return fitted(min(_STRENGTHS, key=loss), slice(None))


def fit_sw(
    outcomes: Sequence[QueryOutcome], features: AnyPromptFeatures, *, seen: FloatArray | None = None
) -> SimilarityRule:
    """Similarity-weighted ranking: the fitting problems are the battles. Parameters as in `fit_mf`."""
    shares = preferences(outcomes)
    return SimilarityRule(
        features=features,
        battles=PackedArray.of(unit_length(_seen(outcomes, features, seen))),
        outcomes=PackedArray.of(shares[:, STRONG_WINS] + 0.5 * shares[:, TIE]),
    )


def _seen(outcomes: Sequence[QueryOutcome], features: AnyPromptFeatures, seen: FloatArray | None) -> FloatArray:
    return features.transform([item.problem.prompt for item in outcomes]) if seen is None else seen
