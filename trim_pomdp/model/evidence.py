r"""Evidence from several features of a step: one number in [0, 1] that stands where the PRM score stands alone.

An `EvidenceMap` is a logistic combination of features,

.. math:: \tilde r = \sigma\bigl(a + \sum_i c_i\,\operatorname{logit}(\operatorname{clip}(p_i))\bigr),

where :math:`p_i` is the PRM's score, or the probability exp(x) of a token log-probability x of the weak step. It is
fitted on right steps against first errors with the prior odds taken off, so that :math:`\operatorname{logit}\tilde r`
is itself evidence, log f_right / f_wrong. Bins, transfer, filter and planner then work on :math:`\tilde r` as they do
on a score. No map (None) means the PRM score as it is.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from trim_pomdp.artifacts import Record
from trim_pomdp.data.features import LogprobName
from trim_pomdp.errors import InputError

FloatArray = NDArray[np.float64]
FeatureName = Literal["score", "logprob_min", "logprob_mean", "logprob_first"]
EvidenceKind = Literal["prm", "logprob", "prm+logprob"]
EVIDENCE_KINDS: tuple[EvidenceKind, ...] = get_args(EvidenceKind)
# What fits take of log-probabilities: how a step opens is there for maps that name it, and for rules of its own.
FITTED_LOGPROBS: tuple[LogprobName, ...] = ("logprob_min", "logprob_mean")
# The score's as in `fitting.observations.CLIP`; a token's probability is known to more digits than a PRM's score.
SCORE_CLIP = 1e-4
LOGPROB_CLIP = 1e-6

Clip = Annotated[float, Field(gt=0.0, lt=0.5)]


class EvidenceMap(Record):
    """Weights of a logistic combination of features.

    Attributes
    ----------
    features : tuple of str
        Among ``score`` (of the PRM, in [0, 1]), ``logprob_min``, ``logprob_mean`` and ``logprob_first`` (smallest and
        mean log-probability of the weak step's tokens, and that of the first one, at most 0).
    coefficients : tuple of float
        One for each feature's log-odds.
    intercept : float
    score_clip, logprob_clip : float
        Probabilities are clipped to [clip, 1 − clip] before their log-odds.
    """

    features: tuple[FeatureName, ...] = Field(min_length=1)
    coefficients: tuple[float, ...]
    intercept: float
    score_clip: Clip = SCORE_CLIP
    logprob_clip: Clip = LOGPROB_CLIP

    @model_validator(mode="after")
    def _one_coefficient_each(self) -> EvidenceMap:
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features {', '.join(self.features)} name one twice")
        if len(self.coefficients) != len(self.features):
            raise ValueError(f"{len(self.coefficients)} coefficients; expected one for each of {len(self.features)}")
        return self

    @property
    def needs_score(self) -> bool:
        """Whether the PRM's score is among the features."""
        return "score" in self.features

    @property
    def kind(self) -> EvidenceKind:
        """What the features are, in one word."""
        if not self.needs_score:
            return "logprob"
        return "prm" if len(self.features) == 1 else "prm+logprob"

    @property
    def formula(self) -> str:
        """The map in one line, for people."""
        weighted = (f"{c:+.3g}·logit({name})" for name, c in zip(self.features, self.coefficients, strict=True))
        return f"logit of the evidence score = {self.intercept:.3g} {' '.join(weighted)}"

    def clip(self, name: str) -> float:
        """Clip of a feature's probability."""
        return self.score_clip if name == "score" else self.logprob_clip

    @cached_property
    def terms(self) -> tuple[tuple[str, bool, float, float, float], ...]:
        """Name, whether it is a log-probability, coefficient, and lowest and highest probability of each feature."""
        return tuple(
            (name, name != "score", coefficient, self.clip(name), 1.0 - self.clip(name))
            for name, coefficient in zip(self.features, self.coefficients, strict=True)
        )


def evidence_scores(evidence: EvidenceMap | None, features: Mapping[str, FloatArray]) -> FloatArray:
    """Evidence score in [0, 1] of many steps.

    Parameters
    ----------
    evidence : EvidenceMap or None
        None: the PRM score as it is.
    features : mapping from name to ndarray
        Features of the steps, all of one shape; those that the map does not name are not looked at.

    Returns
    -------
    ndarray
        Of the features' shape.

    Raises
    ------
    InputError
        If a feature is missing, or a value is out of its range.
    """
    if evidence is None:
        return _feature(features, "score")
    z: FloatArray | float = evidence.intercept
    for name, _, coefficient, low, high in evidence.terms:
        p = np.clip(probability(name, _feature(features, name)), low, high)
        z = z + coefficient * (np.log(p) - np.log1p(-p))
    decay = np.exp(-np.abs(z))
    return np.asarray(np.where(np.asarray(z) >= 0.0, 1.0, decay) / (1.0 + decay))


def evidence_score(evidence: EvidenceMap | None, features: Mapping[str, float]) -> float:
    """Evidence score of one step; equal to `evidence_scores`, in microseconds.

    Raises
    ------
    InputError
        If a feature is missing, or a value is out of its range.
    """
    try:
        if evidence is None:
            return features["score"]
        z = evidence.intercept
        for name, is_log, coefficient, low, high in evidence.terms:
            value = features[name]
            if not (value <= 0.0 if is_log else 0.0 <= value <= 1.0):
                raise _out_of_range(name, value)
            p = min(max(math.exp(value) if is_log else value, low), high)
            z += coefficient * (math.log(p) - math.log1p(-p))
    except KeyError as error:
        raise _missing(str(error.args[0]), features) from None
    decay = math.exp(-abs(z))
    return (1.0 if z >= 0.0 else decay) / (1.0 + decay)


def probability(name: str, values: FloatArray) -> FloatArray:
    """A feature as a probability: a score as it is, exp of a log-probability.

    Raises
    ------
    InputError
        If a value is out of its range.
    """
    good = (values >= 0.0) & (values <= 1.0) if name == "score" else values <= 0.0
    if not good.all():
        raise _out_of_range(name, float(values[~good].flat[0]))
    return values if name == "score" else np.exp(values)


def feature_names(kind: str, available: Collection[str]) -> tuple[FeatureName, ...]:
    """Features that an evidence map of this kind takes, of those that the data have.

    Raises
    ------
    InputError
        If the kind is unknown, or the data have no such features.
    """
    if kind not in EVIDENCE_KINDS:
        raise InputError(f"unknown evidence {kind!r}; there are {', '.join(EVIDENCE_KINDS)}")
    logprobs = tuple(name for name in FITTED_LOGPROBS if name in available)
    if kind != "logprob" and "score" not in available:
        raise InputError(f"evidence {kind!r} needs PRM scores, and the data have none")
    if kind != "prm" and not logprobs:
        raise InputError(f"evidence {kind!r} needs logprob_min or logprob_mean with every step")
    if kind == "prm":
        return ("score",)
    return logprobs if kind == "logprob" else ("score", *logprobs)


def _feature(features: Mapping[str, FloatArray], name: str) -> FloatArray:
    if name not in features:
        raise _missing(name, features)
    return np.asarray(features[name], dtype=np.float64)


def _missing(name: str, features: Mapping[str, object]) -> InputError:
    return InputError(f"the evidence needs {name!r} of each step; given are {', '.join(features) or 'none'}")


def _out_of_range(name: str, value: float) -> InputError:
    right = "a score lies in [0, 1]" if name == "score" else "a log-probability is at most 0"
    return InputError(f"feature {name!r} is {value:g}; {right}")
