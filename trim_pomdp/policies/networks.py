r"""Small networks that decide on steps, as data, and their arithmetic in numpy: no torch where solutions are routed.

Two forms, both from a row of numbers a step to one logit, log-odds of regenerating:

* ``mlp``: layers of ReLU on the row of the current step alone;
* ``transformer``: pre-norm causal self-attention over the rows of all steps so far, learned positions. It is run a step
  at a time; keys and values of the steps before are its memory.

What a row holds is said by name (`RouterNetwork.features`), last of all log λ, so that one network serves all prices.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from safetensors.numpy import load, save

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.model.belief import clipped_logit
from trim_pomdp.model.evidence import SCORE_CLIP, EvidenceMap
from trim_pomdp.model.observations import ObservationModel

Row = NDArray[np.float32]
Memory = tuple[Row, ...]
"""Keys and values of each layer for the steps so far, shape (n, t, d) each; none for an `mlp`."""

Architecture = Literal["mlp", "transformer"]
StepFeature = Literal["score", "minimum", "tokens", "step", "ended", "regenerated"]
STEP_FEATURES: tuple[StepFeature, ...] = get_args(StepFeature)
_EPSILON = 1e-5  # of layer norms, as torch has it


class RouterNetwork(Shown, Record):
    """A network that decides on steps.

    Attributes
    ----------
    architecture : {"mlp", "transformer"}
    features : tuple of str
        What a row holds before log λ: ``score`` of the weak step and ``minimum`` of those before, both as log-odds;
        ``tokens`` of the weak step; ``step``, its index from 0; ``ended``, whether it ends the solution;
        ``regenerated``, whether the step before was.
    centres, scales : tuple of float
        Of every feature and log λ: (value − centre) · scale goes in. A scale of 0 leaves out what never varied in
        training, and of which the network knows nothing.
    prices : tuple of two floats
        Range of λ/reward that it was trained for.
    heads : int
        Of attention.
    weights : str
        Safetensors bytes in base64, float32.
    evidence : EvidenceMap or None
        What the score is made of; None: it is the PRM's.
    """

    architecture: Architecture
    features: tuple[StepFeature, ...] = Field(min_length=1)
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    prices: tuple[float, float]
    heads: int = Field(default=1, ge=1)
    weights: str
    evidence: EvidenceMap | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> RouterNetwork:
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features {', '.join(self.features)} name one twice")
        for name in ("centres", "scales"):
            if len(getattr(self, name)) != len(self.features) + 1:
                raise ValueError(f"{name} are {len(getattr(self, name))}; expected one for each feature, and for λ")
        if not 0.0 < self.prices[0] < self.prices[1]:
            raise ValueError(f"prices are {self.prices[0]:g} and {self.prices[1]:g}; expected 0 < lowest < highest")
        first = "layers.0.weight" if self.architecture == "mlp" else "embed.weight"
        found = self.arrays.get(first)
        if found is None or found.ndim != 2 or found.shape[1] != len(self.features) + 1:
            raise ValueError(f"weights have no {first!r} for rows of {len(self.features)} features and λ")
        return self

    @classmethod
    def encoded(cls, arrays: Mapping[str, Row]) -> str:
        """Arrays as `weights`."""
        return base64.b64encode(save({name: np.ascontiguousarray(a) for name, a in arrays.items()})).decode()

    @cached_property
    def arrays(self) -> dict[str, Row]:
        """The weights by name."""
        try:
            return {name: np.asarray(a, dtype=np.float32) for name, a in load(base64.b64decode(self.weights)).items()}
        except Exception as error:
            raise ValueError(f"weights are no safetensors in base64 ({error})") from None

    @property
    def sees_score(self) -> bool:
        """Whether it looks at a score, the PRM's or the evidence's."""
        return "score" in self.features or "minimum" in self.features

    @property
    def needs_score(self) -> bool:
        """Whether it looks at the PRM's score."""
        return self.sees_score and (self.evidence is None or self.evidence.needs_score)

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "architecture": self.architecture,
            "features": (*self.features, "price"),
            "evidence": "prm" if self.evidence is None else self.evidence.kind,
            "parameters": sum(a.size for a in self.arrays.values()),
        }

    def require(self, observations: ObservationModel) -> None:
        """Raise `InputError` unless the observations bin the score that it looks at, by the step."""
        if observations.emission != "step":
            raise InputError(
                f"observations {observations.name!r} draw (min, current) afresh at every step, which is no sequence of "
                "scores; use observations with emission 'step'"
            )
        if observations.evidence != self.evidence:
            mine, its = ("prm" if e is None else e.formula for e in (self.evidence, observations.evidence))
            raise InputError(
                f"the network decides on {mine}, but observations {observations.name!r} bin {its}; expected the same"
            )

    def rows(self, columns: Mapping[str, NDArray[np.float64]], prices: NDArray[np.float64]) -> Row:
        """What goes into the network.

        Parameters
        ----------
        columns : mapping of str to ndarray of shape (n,)
            By the name of the feature, scores as they are; others than `features` are not looked at.
        prices : ndarray of shape (n,)
            λ/reward.

        Returns
        -------
        ndarray of shape (n, features + 1)
        """
        raw = raw_rows(self.features, columns, prices)
        return np.asarray((raw - np.array(self.centres)) * np.array(self.scales), dtype=np.float32)

    def logits(self, rows: Row, memory: Memory | None = None) -> tuple[Row, Memory]:
        """Log-odds of regenerating the next step of n problems, and what to remember for the one after.

        Parameters
        ----------
        rows : ndarray of shape (n, features + 1)
            `rows` of the step.
        memory : tuple of ndarray, or None
            As returned for the step before; None at the first.

        Returns
        -------
        logits : ndarray of shape (n,)
        memory : tuple of ndarray
        """
        if self.architecture == "mlp":
            return _mlp(self.arrays, rows), ()
        return _transformer(self.arrays, rows, self.heads, memory)


class TrainedRouter(Artifact):
    """A network, and how it was trained.

    Attributes
    ----------
    network : RouterNetwork
    model : str
        Where it was trained: names of observations and dynamics, or of the problems.
    reward : float
        Of a right answer there; λ is in the same units.
    seed, episodes : int
        Seed of all chance; problems that it was trained on, in all.
    seconds, cpu_seconds : float
        That it took, by the clock and of processors.
    settings : dict
        Of the trainer (`trim_pomdp.learning.ppo.Settings`).
    curve : tuple of dict
        An entry an update: episodes so far, means of the return (in units of the reward), accuracy, strong tokens and
        the share of regenerated steps over all λ, entropy, losses.
    """

    kind: Literal["trained-router"] = "trained-router"
    network: RouterNetwork
    model: str
    reward: float
    seed: int
    episodes: int
    seconds: float
    cpu_seconds: float
    settings: dict[str, float | int | str | bool | None]
    curve: tuple[dict[str, float], ...]

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {**self.network.facts(), "model": self.model, "episodes": self.episodes, "seconds": self.seconds}


def chosen(memory: Memory, rows: NDArray[np.bool_]) -> Memory:
    """What is remembered of some of the problems."""
    return tuple(item[rows] for item in memory)


def raw_rows(
    features: tuple[StepFeature, ...], columns: Mapping[str, NDArray[np.float64]], prices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Features as `RouterNetwork.rows` takes them, scores as log-odds, then log λ, neither centred nor scaled."""
    found = [clipped_logit(columns[name], SCORE_CLIP) if name in _SCORES else columns[name] for name in features]
    return np.stack([*found, np.log(prices)], axis=1)


_SCORES = ("score", "minimum")


def _mlp(w: Mapping[str, Row], x: Row) -> Row:
    last = sum(name.endswith(".weight") for name in w) - 1
    for i in range(last):
        x = np.maximum(x @ w[f"layers.{i}.weight"].T + w[f"layers.{i}.bias"], 0.0)
    return np.asarray((x @ w[f"layers.{last}.weight"].T + w[f"layers.{last}.bias"])[:, 0])


def _transformer(w: Mapping[str, Row], x: Row, heads: int, memory: Memory | None) -> tuple[Row, Memory]:
    n, t = len(x), memory[0].shape[1] if memory else 0
    x = x @ w["embed.weight"].T + w["embed.bias"] + w["position"][min(t, len(w["position"]) - 1)]  # (n, d)
    d, remembered = x.shape[1], []
    for i in range(sum(name.endswith(".qkv.weight") for name in w)):
        at = f"blocks.{i}."
        q, k, v = np.split(_linear(w, at + "qkv", _norm(w, at + "norm1", x)), 3, axis=1)  # each (n, d)
        past = memory[2 * i : 2 * i + 2] if memory else (k[:, :0, None].reshape(n, 0, d),) * 2
        k, v = (np.concatenate([old, new[:, None]], axis=1) for old, new in zip(past, (k, v), strict=True))
        remembered += [k, v]  # (n, t + 1, d)
        by_head = [item.reshape(n, -1, heads, d // heads) for item in (q, k, v)]
        scores = np.einsum("nahe,nthe->nht", by_head[0], by_head[1]) / np.float32(np.sqrt(d // heads))
        share = np.exp(scores - scores.max(axis=2, keepdims=True))
        share /= share.sum(axis=2, keepdims=True)
        x = x + _linear(w, at + "out", np.einsum("nht,nthe->nhe", share, by_head[2]).reshape(n, d))
        x = x + _linear(w, at + "down", np.maximum(_linear(w, at + "up", _norm(w, at + "norm2", x)), 0.0))
    return np.asarray(_linear(w, "head", _norm(w, "norm", x))[:, 0]), tuple(remembered)


def _linear(w: Mapping[str, Row], name: str, x: Row) -> Row:
    return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])


def _norm(w: Mapping[str, Row], name: str, x: Row) -> Row:
    centred = x - x.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.float32(_EPSILON))
    return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"])
