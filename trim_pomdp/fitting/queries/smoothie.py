"""Smoothie's distances on fitting problems; no label is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from trim_pomdp.data.queries import QueryOutcome
from trim_pomdp.errors import InputError
from trim_pomdp.policies.automix import same_answers
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.prompt_features import AnyPromptFeatures
from trim_pomdp.policies.routellm_sw import unit_length
from trim_pomdp.policies.smoothie import SmoothieRule


def fit_smoothie(
    outcomes: Sequence[QueryOutcome],
    features: AnyPromptFeatures,
    *,
    neighbours: int = 20,
    seen: FloatArray | None = None,
) -> SmoothieRule:
    """Smoothie on problems with a strong answer and two weak ones.

    Parameters
    ----------
    outcomes : sequence of QueryOutcome
    features : HashedNgrams or SentenceEmbedding
    neighbours : int
        Fitting problems that are averaged over; at most as many as there are.
    seen : ndarray of shape (n, dimensions) or None
        Features of the problems, where they are known already.

    Raises
    ------
    InputError
        If a problem has no second weak sample.
    """
    distances = []
    for item in outcomes:
        if item.weak is None or not item.weak.further:
            raise InputError(f"smoothie needs a second weak sample, but problem {item.problem.id!r} has none")
        second = item.weak.further[0]
        pair = (item.weak.answer, item.strong_answer)
        distances.append([0.0 if same_answers(answer, second) else 2.0 for answer in pair])
    prompts = [item.problem.prompt for item in outcomes]
    places = features.transform(prompts) if seen is None else seen
    return SmoothieRule(
        features=features,
        places=PackedArray.of(unit_length(places)),
        distances=PackedArray.of(distances),
        neighbours=min(neighbours, len(outcomes)),
    )
