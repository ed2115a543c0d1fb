"""Fitting what a router sees of a prompt, where no encoder is installed or prompts are no language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from trim_pomdp.errors import InputError
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.prompt_features import HashedNgrams, hashed_counts


def fit_ngrams(
    prompts: Sequence[str],
    *,
    analyzer: Literal["char", "char_wb", "word"] = "char_wb",
    ngram: tuple[int, int] = (1, 3),
    buckets: int = 2048,
    dimensions: int = 64,
    seed: int = 0,
) -> HashedNgrams:
    """Hashed n-grams, weighted by inverse document frequency, on the main directions of some prompts.

    All directions are scaled alike, so that the mean squared length is 1. That of a single prompt tells how long it is,
    which no scaling row by row would keep.

    Parameters
    ----------
    prompts : sequence of str
    analyzer : {"char", "char_wb", "word"}
    ngram : tuple of two ints
        Elements of the shortest and the longest n-gram.
    buckets : int
        That n-grams are hashed into.
    dimensions : int
        At most; fewer where there are fewer prompts or buckets.
    seed : int
        Of the singular value decomposition, which is randomised.

    Raises
    ------
    InputError
        If there are fewer than two prompts, or no n-gram in them.
    """
    from sklearn.decomposition import TruncatedSVD

    if len(prompts) < 2:
        raise InputError(f"{len(prompts)} prompts; expected at least 2 to fit n-grams on")
    counts = hashed_counts(prompts, analyzer, ngram, buckets)
    if counts.nnz == 0:
        raise InputError(f"no prompt has an n-gram of {ngram[0]} to {ngram[1]} elements ({analyzer})")
    holding = np.asarray((counts > 0).sum(axis=0)).ravel()
    weights = np.log((1.0 + len(prompts)) / (1.0 + holding)) + 1.0
    weighted = counts.multiply(weights).tocsr()
    kept = min(dimensions, len(prompts) - 1, buckets - 1)
    directions = TruncatedSVD(kept, random_state=seed).fit(weighted).components_.T
    scale = np.sqrt(np.mean(np.sum((weighted @ directions) ** 2, axis=1)))
    return HashedNgrams(
        analyzer=analyzer,
        shortest=ngram[0],
        longest=ngram[1],
        weights=PackedArray.of(weights),
        projection=PackedArray.of(directions / scale),
    )
