r"""Proximal policy optimisation of routers, on whole problems, for all prices at once.

An episode is a problem at a price λ, drawn log-uniformly. Its return is 1 if the solution is right, less
:math:`(\lambda/R)\,` strong tokens, R the reward of a right answer: rewards of order one, whatever R is. The clipped
objective of Schulman et al. 2017 (arXiv:1707.06347) with generalised advantages, undiscounted.

What makes it end in one policy for all prices, "never" the most common of them, is a reward of 100 as published, with
nothing that scales the critic's targets, whose gradients then dwarf the actor's. Where actor and critic share a network
it serves the critic alone; where they do not, a limit on the norm of both gradients together leaves the actor nothing
to learn by (with a limit for each, none collapsed). Here returns are of order one, and limits apart. Each choice
below is a switch of `Settings` (``benchmarks/study_trim_agg.py``):

* λ is in what the network sees, or else all prices have one policy by construction;
* stakes of high prices, whose returns begin as large negative numbers, are divided out;
* the critic is a network of its own, and in the simulator sees the true class (Pinto et al. 2017, arXiv:1710.06542): a
  single bit at the end of a problem says little about any one step;
* inputs are centred and scaled, scores are log-odds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from trim_pomdp.errors import InputError
from trim_pomdp.learning.networks import Mlp, arrays_of, build
from trim_pomdp.learning.rollouts import Backend, FloatArray, Rollout
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.policies.networks import Architecture, RouterNetwork, Row, StepFeature, TrainedRouter
from trim_pomdp.policies.trim_agg import AGG_FEATURES
from trim_pomdp.policies.trim_seq import SEQ_FEATURES

Progress = Callable[[int, int, dict[str, float]], None]
"""Told after every update: how many are done, of how many, and the entry of the learning curve."""


@dataclass(frozen=True)
class Settings:
    """How a router is trained.

    Attributes
    ----------
    architecture : {"mlp", "transformer"}
    features : tuple of str or None
        What it sees of a step; None: as published for the architecture.
    updates, episodes : int
        Updates, and problems for each.
    epochs, minibatches : int
        Passes over the problems of an update, in so many parts each.
    learning_rate : float
        Of Adam, falling to zero.
    clip, gae, entropy, gradient : float
        Clip of the ratio; λ of the advantages; weight of the entropy, falling to zero; largest norm of a gradient.
    width, heads : int
        Of the network; 64 and 32 are usual for the two.
    critic : {"state", "observation"}
        Whether the critic sees the true class of the step, as a simulator can tell, or what the router sees.
    shares_trunk : bool
        Whether actor and critic are one network with two outputs.
    price_seen : bool
        Whether the network sees log λ; if not, all prices get the same policy.
    stakes : bool
        Divide an episode's rewards by 1 + (λ/R) · strong tokens of a dear step, so that high prices, whose returns are
        large negative numbers at first, do not drown the others.
    raw : bool
        Inputs as they are: scores, tokens and index neither centred nor scaled. As people write it first.
    reward : float
        Of a right answer in what is learned from; 100, as published, is what training collapses with.
    clips_apart : bool
        Limit the gradients of actor and critic each for itself, where they are two networks; or both together.
    normalises : bool
        Advantages to mean 0 and deviation 1, by minibatch.
    """

    architecture: Architecture = "mlp"
    features: tuple[StepFeature, ...] | None = None
    updates: int = 150
    episodes: int = 2048
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 2e-3
    clip: float = 0.2
    gae: float = 0.9
    entropy: float = 0.01
    gradient: float = 0.5
    width: int = 64
    heads: int = 2
    critic: Literal["state", "observation"] = "state"
    shares_trunk: bool = False
    price_seen: bool = True
    stakes: bool = True
    raw: bool = False
    reward: float = 1.0
    clips_apart: bool = True
    normalises: bool = True

    @property
    def seen(self) -> tuple[StepFeature, ...]:
        """Features of a row."""
        return self.features or (AGG_FEATURES if self.architecture == "mlp" else SEQ_FEATURES)


LIVE: dict[str, Any] = {"updates": 40, "episodes": 512, "critic": "observation"}
"""Changes of `Settings` where problems are solved by real models: fewer of them, and nobody knows true classes."""


def settings_for(architecture: Architecture) -> Settings:
    """What was tuned for an architecture."""
    if architecture == "mlp":
        return Settings()
    return Settings(architecture=architecture, width=32, learning_rate=2e-3)


def train_router(
    backend: Backend,
    prices: tuple[float, float],
    settings: Settings | None = None,
    *,
    seed: int = 0,
    evidence: EvidenceMap | None = None,
    progress: Progress | None = None,
) -> TrainedRouter:
    """Train a router for a range of prices.

    Parameters
    ----------
    backend : Backend
        Where problems come from: a simulator, or models.
    prices : tuple of two floats
        Lowest and highest λ, in the units of the backend's reward; `price_range` finds those of a model.
    settings : Settings or None
        None: those for the architecture `mlp` (`settings_for`).
    seed : int
        Of all chance. The same seed, backend and torch give the same network.
    evidence : EvidenceMap or None
        What the score is made of, as the backend's observations have it.
    progress : callable or None
        Told after every update.

    Raises
    ------
    InputError
        If prices do not rise from above 0, problems are too few for the minibatches, or a critic that sees the state
        shares the router's trunk.
    """
    settings = settings or Settings()
    low, high = (price / backend.reward for price in prices)
    if not 0.0 < low < high:
        raise InputError(f"prices are {prices[0]:g} and {prices[1]:g}; expected 0 < lowest < highest")
    if settings.episodes < 2 * settings.minibatches:
        raise InputError(
            f"{settings.episodes} problems an update in {settings.minibatches} parts; expected two or more in each"
        )
    if settings.shares_trunk and settings.critic == "state":
        raise InputError("a critic that sees the state cannot share the router's network; use critic 'observation'")
    began, cpu, rng = time.perf_counter(), time.process_time(), np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        learner = _Learner(settings, backend.max_steps, (low, high), evidence)
    learner.calibrate(backend.rollout(learner.network, _prices(low, high, settings.episodes, rng), rng))
    curve = []
    for update in range(settings.updates):
        learner.anneal(1.0 - update / settings.updates)
        rollout = backend.rollout(learner.network, _prices(low, high, settings.episodes, rng), rng)
        entry = {"episodes": float((update + 1) * settings.episodes), **learner.learn(rollout, rng)}
        curve.append(entry)
        if progress is not None:
            progress(update + 1, settings.updates, entry)
    return TrainedRouter(
        network=learner.network,
        model=backend.name,
        reward=backend.reward,
        seed=seed,
        episodes=settings.episodes * (settings.updates + 1),
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - cpu,
        settings={name: _plain(value) for name, value in asdict(settings).items()},
        curve=tuple(curve),
    )


class _Learner:
    """Actor, critic and optimiser, and the actor as the numpy network that acts."""

    def __init__(
        self, settings: Settings, steps: int, prices: tuple[float, float], evidence: EvidenceMap | None
    ) -> None:
        self._settings, s = settings, settings
        inputs = len(s.seen) + 1
        self._actor = build(s.architecture, inputs, 1 + s.shares_trunk, width=s.width, heads=s.heads, steps=steps)
        self._critic: nn.Module | None = None
        if s.critic == "state":
            self._critic = build("mlp", inputs + 4, 1, width=64, heads=1, steps=steps)
        elif not s.shares_trunk:
            self._critic = build(s.architecture, inputs, 1, width=s.width, heads=s.heads, steps=steps)
        parts = [self._actor, *([] if self._critic is None else [self._critic])]
        parameters = [list(part.parameters()) for part in parts]
        every = [p for some in parameters for p in some]
        self._clipped = parameters if s.clips_apart else [every]
        self._optimiser = torch.optim.Adam(every, lr=s.learning_rate, eps=1e-5)
        self._entropy, self._dear = s.entropy, 0.0
        self.network = RouterNetwork(
            architecture=s.architecture,
            features=s.seen,
            centres=(0.0,) * inputs,
            scales=(1.0,) * inputs,
            prices=prices,
            heads=s.heads if s.architecture == "transformer" else 1,
            weights=RouterNetwork.encoded(arrays_of(self._actor)),
            evidence=evidence,
        )

    def calibrate(self, rollout: Rollout) -> None:
        """Take centres and scales from problems that an untrained network routed, at random as good as."""
        rows = rollout.rows[rollout.mask].astype(np.float64)
        spread = rows.std(axis=0)
        # Nothing is known of what does not vary: it stays out. What is all but constant would be blown up.
        scales = np.where(spread > 1e-3, 1.0 / np.maximum(spread, 1e-3), 0.0)
        centres = rows.mean(axis=0)
        if self._settings.raw:
            centres, scales = np.zeros_like(centres), np.ones_like(scales)
        if not self._settings.price_seen:
            scales[-1] = 0.0
        update = {"centres": tuple(centres.tolist()), "scales": tuple(scales.tolist())}
        self.network = self.network.model_copy(update=update)
        share = rollout.actions.sum() / rollout.mask.sum()
        self._dear = float(rollout.strong_tokens.sum(axis=1).mean() / max(share, 1e-3))  # of always regenerating

    def anneal(self, left: float) -> None:
        """Learning rate and weight of the entropy, by the share of the training that is left."""
        self._entropy = self._settings.entropy * left
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * left

    def learn(self, rollout: Rollout, rng: np.random.Generator) -> dict[str, float]:
        """One update; returns the entry of the learning curve."""
        s = self._settings
        scale = s.reward / (1.0 + self._dear * rollout.prices if s.stakes else np.ones_like(rollout.prices))
        with torch.no_grad():
            values = self._values(_torch(rollout.rows), _torch(rollout.hidden), torch.from_numpy(rollout.mask)).numpy()
        advantages = _advantages(rollout, values.astype(np.float64), scale, s.gae)
        batch = {
            "rows": _torch(rollout.rows),
            "hidden": _torch(rollout.hidden),
            "actions": _torch(rollout.actions),
            "old": -nn.functional.softplus(_torch((1.0 - 2.0 * rollout.actions) * rollout.logits)),  # log π(a)
            "advantages": _torch(advantages),
            "targets": _torch(advantages + values),
            "mask": torch.from_numpy(rollout.mask),
        }
        losses = []
        for _ in range(s.epochs):
            for part in np.array_split(rng.permutation(len(rollout.prices)), s.minibatches):
                index = torch.from_numpy(part)
                losses.append(self._improve({name: item[index] for name, item in batch.items()}))
        weights = RouterNetwork.encoded(arrays_of(self._actor))
        self.network = self.network.model_copy(update={"weights": weights})
        policy, value, entropy = np.mean(losses, axis=0)
        return {
            "return": float(rollout.returns.mean()),
            "accuracy": float(rollout.right.mean()),
            "strong_tokens": float(rollout.strong_tokens.sum(axis=1).mean()),
            "regenerated": float(rollout.actions.sum() / rollout.mask.sum()),
            "entropy": float(entropy),
            "policy_loss": float(policy),
            "value_loss": float(value),
        }

    def _improve(self, batch: dict[str, Tensor]) -> tuple[float, float, float]:
        """A step of gradient descent on some of the problems."""
        s, mask = self._settings, batch["mask"]
        out = _where(self._actor, batch["rows"], mask)  # (n, T, 1), or 2 with a shared trunk
        logits, actions, advantages = (item[mask] for item in (out[..., 0], batch["actions"], batch["advantages"]))
        values = out[..., 1] if s.shares_trunk else self._values(batch["rows"], batch["hidden"], mask)
        if s.normalises:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_p = -nn.functional.softplus((1.0 - 2.0 * actions) * logits)  # of the action that was taken
        ratio = (log_p - batch["old"][mask]).exp()
        gained = torch.minimum(ratio * advantages, ratio.clamp(1.0 - s.clip, 1.0 + s.clip) * advantages)
        p = torch.sigmoid(logits)
        entropy = (nn.functional.softplus(logits) - p * logits).mean()
        value_loss = 0.5 * (values[mask] - batch["targets"][mask]).square().mean()
        loss = -gained.mean() + value_loss - self._entropy * entropy
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for parameters in self._clipped:
            nn.utils.clip_grad_norm_(parameters, s.gradient)
        self._optimiser.step()
        return -gained.mean().item(), value_loss.item(), entropy.item()

    def _values(self, rows: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
        """The critic, (n, T)."""
        if self._critic is None:
            return _where(self._actor, rows, mask)[..., 1]
        seen = torch.cat([rows, hidden], dim=-1) if self._settings.critic == "state" else rows
        return _where(self._critic, seen, mask)[..., 0]


def _where(network: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """Outputs (n, T, outputs), 0 where no decision was; a network that looks at rows one by one is spared those."""
    if not isinstance(network, Mlp):
        return network(x)  # type: ignore[no-any-return]
    found: Tensor = network(x[mask])
    return found.new_zeros(*mask.shape, found.shape[-1]).masked_scatter(mask[..., None], found)


def _advantages(rollout: Rollout, values: FloatArray, scale: FloatArray, gae: float) -> FloatArray:
    """Generalised advantages, undiscounted, shape (n, T); the reward of a right answer comes with the last step."""
    n, T = rollout.mask.shape
    going_on = np.append(rollout.mask[:, 1:], np.zeros((n, 1), np.bool_), axis=1)
    last = rollout.mask & ~going_on
    rewards = scale[:, None] * (last * rollout.right[:, None] - rollout.prices[:, None] * rollout.strong_tokens)
    out, ahead = np.zeros((n, T)), np.zeros(n)
    for t in reversed(range(T)):
        follows = values[:, t + 1] * going_on[:, t] if t + 1 < T else 0.0
        ahead = (rewards[:, t] + follows - values[:, t] + gae * ahead * going_on[:, t]) * rollout.mask[:, t]
        out[:, t] = ahead
    return out


def _prices(low: float, high: float, n: int, rng: np.random.Generator) -> FloatArray:
    return np.exp(rng.uniform(np.log(low), np.log(high), n))


def _torch(array: FloatArray | Row) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _plain(value: object) -> float | int | str | bool | None:
    return value if isinstance(value, (float, int, str)) or value is None else ", ".join(map(str, value))  # type: ignore[call-overload]
