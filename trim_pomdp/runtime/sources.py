"""Where the models of a live run come from: what a run asks of a source, and the models file as one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trim_pomdp.errors import InputError
from trim_pomdp.policies import StrategyRule
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.config import (
    ModelsFile,
    load_generator,
    load_scorer,
    model_config,
)
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.protocols import BatchGenerator, BatchScorer, ScoreRequest
from trim_pomdp.runtime.routers import AnyRule, Role, needs_score
from trim_pomdp.runtime.solution import Caps, Oracle


class WeakModel(BatchGenerator, Protocol):
    """A generator that also tells how likely given steps are."""

    def step_logprobs(self, requests: Sequence[ScoreRequest]) -> list[list[tuple[float, ...]]]:
        """Log-probabilities of the tokens of every step of every request."""
        ...


@dataclass(frozen=True)
class Backends:
    """Loaded models, as many as were asked for."""

    weak: WeakModel | None = None
    strong: BatchGenerator | None = None
    prm: BatchScorer | None = None

    @property
    def models(self) -> Models:
        """As the engine takes them, batched together."""
        return batched(self.weak, self.strong, self.prm)


class ModelSource(Protocol):
    """Models that can be loaded, and what is known of them before that.

    Attributes
    ----------
    caps : Caps
        Hard limits of a problem.
    oracle : callable or None
        True class of a step, where it can be known.
    prm_name : str
        What the process reward model is called in files of scores.
    """

    @property
    def caps(self) -> Caps: ...  # noqa: D102

    @property
    def oracle(self) -> Oracle | None: ...  # noqa: D102

    @property
    def prm_name(self) -> str: ...  # noqa: D102

    def require(self, roles: Collection[Role]) -> None:
        """Raise `InputError` unless there are models for these roles."""
        ...

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """What defines them, as JSON values."""
        ...

    def load(self, roles: Collection[Role]) -> Backends:
        """Load the models of these roles and no others."""
        ...


def roles_asked(rule: AnyRule, caps: Caps, *, record_scores: bool = False) -> frozenset[Role]:
    """The models that a rule can ask for anything."""
    roles: set[Role] = {"weak", "strong"}
    if isinstance(rule, StrategyRule) and rule.strategy == "weak":
        roles = {"weak"}
    elif isinstance(rule, StrategyRule) and rule.strategy == "strong" and caps.max_strong_tokens is None:
        roles = {"strong"}
    return frozenset(roles | {"prm"}) if record_scores or needs_score(rule) else frozenset(roles)


@dataclass(frozen=True)
class FileSource:
    """The models of a models file (a `ModelSource`); nobody knows true classes."""

    path: Path
    file: ModelsFile
    oracle: None = None

    @property
    def caps(self) -> Caps:
        """See `ModelSource`."""
        return self.file.limits.caps

    @property
    def prm_name(self) -> str:
        """See `ModelSource`."""
        return "prm" if self.file.prm is None else Path(self.file.prm.model).name

    def require(self, roles: Collection[Role]) -> None:
        """See `ModelSource`."""
        for role in ("weak", "strong", "prm"):
            if role in roles and getattr(self.file, role) is None:
                raise InputError(f"{self.path}: no table [{role}], but that model is asked here")

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """See `ModelSource`."""
        return model_config(self.file, roles, self.path.parent)

    def load(self, roles: Collection[Role]) -> Backends:
        """See `ModelSource`."""
        _require_transformers()
        weak, strong, prm, base = self.file.weak, self.file.strong, self.file.prm, self.path.parent
        return Backends(
            load_generator(weak, "weak", base, where=f"{self.path}, [weak]") if weak and "weak" in roles else None,
            load_generator(strong, "strong", base, where=f"{self.path}, [strong]")
            if strong and "strong" in roles
            else None,
            load_scorer(prm, base, where=f"{self.path}, [prm]") if prm and "prm" in roles else None,
        )


def _require_transformers() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"backend 'transformers' needs {' and '.join(missing)}; install them with: pip install 'trim-pomdp[lab]'"
        )
