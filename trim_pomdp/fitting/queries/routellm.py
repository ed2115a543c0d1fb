"""RouteLLM's routers, fitted on outcomes: matrix factorisation, BERT-style classifier, similarity-weighted ranking.

Ties: the source makes them a label of their own for BERT, and half a win of either model for the ranking
(``compute_elo_mle_with_tie``). So it is here. It leaves them out of matrix factorisation (its training script keeps
battles that have a winner). Of right and wrong answers most are ties, and what is left does not tell problems that
only the strong model solves from those that both solve: so they are half a win there too unless one asks otherwise.
"""

from __future__ import annotations

import copy
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
from trim_pomdp.policies.routellm_bert import BertRule, Layer
from trim_pomdp.policies.routellm_mf import MatrixFactorisationRule
from trim_pomdp.policies.routellm_sw import SimilarityRule, unit_length

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_LEFT_OUT, _MOST_EPOCHS, _PATIENCE = 0.2, 300, 10
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
    rows, wins = _seen(outcomes, features, seen)[index], label == STRONG_WINS
    coefficients, intercept = _logistic(rows, wins, weight)
    return MatrixFactorisationRule(features=features, weights=PackedArray.of(coefficients), intercept=intercept)


def _logistic(rows: FloatArray, wins: BoolArray, weight: FloatArray) -> tuple[FloatArray, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    folds = min(5, int(wins.sum()), int((~wins).sum()))
    if folds < 2:
        raise InputError("one model wins a single fitting problem, so that nothing tells where it would; use more")
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(rows, wins))

    def fitted(strength: float, train: IntArray | slice) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000).fit(rows[train], wins[train], weight[train])

    def loss(strength: float) -> float:
        total = 0.0
        for train, test in splits:
            found = fitted(strength, train).predict_proba(rows[test])[:, 1]
            sure = np.where(wins[test], found, 1.0 - found)
            total -= float(weight[test] @ np.log(np.maximum(sure, 1e-300)))
        return total

    best = fitted(min(_STRENGTHS, key=loss), slice(None))
    return best.coef_[0], float(best.intercept_[0])


def fit_bert(
    outcomes: Sequence[QueryOutcome],
    features: AnyPromptFeatures,
    *,
    hidden: int = 64,
    penalties: Sequence[float] = (1.0, 10.0, 100.0),
    seed: int = 0,
    seen: FloatArray | None = None,
) -> BertRule:
    """A classifier of three labels with one hidden layer, on a frozen encoder.

    Trained by scikit-learn's Adam. A fifth of the problems is left out: the penalty and the epoch are those at which it
    is most likely.

    Parameters
    ----------
    outcomes, features, seen
        As in `fit_mf`.
    hidden : int
        Units of the hidden layer.
    penalties : sequence of float
        Of squared weights (scikit-learn's ``alpha``), to choose from.
    seed : int
        Of initial weights, batches and what is left out.

    Raises
    ------
    InputError
        If the strong model wins nowhere alone, or always.

    Notes
    -----
    Outcomes of several samples a problem need scikit-learn 1.7, whose network takes weights.
    """
    from sklearn.neural_network import MLPClassifier

    index, label, weight = labelled_rows(preferences(outcomes), (WEAK_WINS, TIE, STRONG_WINS))
    if STRONG_WINS not in label:
        raise InputError(
            "no fitting problem is solved by the strong model alone, so that nothing tells where; use more"
        )
    rows = _seen(outcomes, features, seen)[index]
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
    left_out = np.random.default_rng(seed).random(len(outcomes))[index] < _LEFT_OUT
    scaled = (rows - mean) / scale
    fits = [
        _trained(MLPClassifier((hidden,), alpha=penalty, random_state=seed), scaled, label, weight, left_out)
        for penalty in penalties
    ]
    network = min(fits, key=lambda fit: fit[0])[1]
    return BertRule(
        features=features,
        layers=layers_of(network, mean, scale),
        strong_wins=int(np.argmax(network.classes_ == STRONG_WINS)),
    )


def _trained(
    network: MLPClassifier, rows: FloatArray, label: IntArray, weight: FloatArray, left_out: BoolArray
) -> tuple[float, MLPClassifier]:
    """The network after the epoch at which what is left out is most likely, behind its negative log-likelihood."""
    classes, column = np.unique(label, return_inverse=True)
    weights = {} if np.all(weight == 1.0) else {"sample_weight": weight[~left_out]}
    best, loss, since = network, np.inf, 0
    for _ in range(_MOST_EPOCHS):
        network.partial_fit(rows[~left_out], label[~left_out], classes=classes, **weights)
        sure = network.predict_proba(rows[left_out])[np.arange(left_out.sum()), column[left_out]]
        found = -float(weight[left_out] @ np.log(np.maximum(sure, 1e-300)))
        since += 1
        if found < loss:
            best, loss, since = copy.deepcopy(network), found, 0
        if since >= _PATIENCE:
            break
    return loss, best


def layers_of(network: MLPClassifier, mean: FloatArray, scale: FloatArray) -> tuple[Layer, ...]:
    """Layers of a network of inputs that were standardised, for inputs as they are."""
    first = network.coefs_[0] / scale[:, None]
    coefficients = [first, *network.coefs_[1:]]
    biases = [network.intercepts_[0] - mean @ first, *network.intercepts_[1:]]
    if len(network.classes_) == 2:  # one logit, of the second label
        coefficients[-1] = np.hstack([np.zeros_like(coefficients[-1]), coefficients[-1]])
        biases[-1] = np.concatenate([[0.0], biases[-1]])
    return tuple(
        Layer(weights=PackedArray.of(matrix), bias=PackedArray.of(bias))
        for matrix, bias in zip(coefficients, biases, strict=True)
    )


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
