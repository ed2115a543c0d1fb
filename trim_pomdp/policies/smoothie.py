r"""Smoothie (Guha et al. 2024, arXiv 2412.04692): quality without labels, from how outputs of three voters differ.

The source takes outputs λ_i of models i as Gaussian around the unknown true one y, with precision θ_i, and finds
E‖λ_i − y‖² = (δ_ij + δ_ik − δ_jk)/2 from mean squared distances δ of any three of them. Its local form averages over
the problems that are nearest to the one at hand, and picks the model with the largest θ.

How it maps here, and what is assumed:

* Voters are the strong model, the weak one, and a second sample of the weak one, as if that were independent.
* An output is its answer: λ is the answer's indicator, δ twice the share of different answers. A solution without an
  answer differs from all.
* Neighbours are fitting problems, on which all three voters were asked; of the problem at hand the prompt alone is
  seen. (The source averages over test problems, on all of which every model was asked, which leaves nothing to save;
  training problems are an ablation of it.)
* Points are E‖λ_weak − y‖² − E‖λ_strong − y‖² = δ(weak, second) − δ(strong, second). At 0 θ is the same for both, so
  that the threshold 0 is the source's own decision; others trade accuracy for tokens.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveInt, model_validator

from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.query import PromptRule
from trim_pomdp.policies.routellm_sw import unit_length


class SmoothieRule(PromptRule):
    """Points are how much farther the weak model's answers are from the truth than the strong model's, by neighbours.

    Attributes
    ----------
    places : PackedArray of shape (n, dimensions)
        Features of the fitting problems, of unit length.
    distances : PackedArray of shape (n, 2)
        Squared distances of their answers: of the weak model and its second sample; of the strong model and that one.
    neighbours : int
        How many of the nearest ones are averaged over, by cosine.
    """

    form: Literal["smoothie"] = "smoothie"
    places: PackedArray
    distances: PackedArray
    neighbours: PositiveInt = 20

    @model_validator(mode="after")
    def _fits_features(self) -> SmoothieRule:
        n = self.distances.shape[0] if self.distances.shape else 0
        if self.distances.shape != (n, 2) or self.places.shape != (n, self.features.dimensions):
            raise ValueError(
                f"places are {self.places.shape}, distances {self.distances.shape}; "
                f"expected (n, {self.features.dimensions}) and (n, 2)"
            )
        if self.neighbours > n:
            raise ValueError(f"neighbours is {self.neighbours}; there are {n} fitting problems")
        return self

    def points_of(self, features: FloatArray) -> FloatArray:
        """See `PromptRule`."""
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=self.neighbours, algorithm="brute").fit(self.places.values)
        nearest = search.kneighbors(unit_length(features), return_distance=False)
        weak, strong = np.moveaxis(self.distances.values[nearest].mean(axis=1), 1, 0)
        return np.asarray(weak - strong)
