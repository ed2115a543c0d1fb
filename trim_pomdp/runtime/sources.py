"""Where the models of a live run come from: what a run asks of a source, and the models file as one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Author, Role, Rule
from trim_pomdp.runtime.attempt import Caps, Oracle
from trim_pomdp.runtime.backends.base import AnyGenerator, AnyScorer, Place
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.config import ROLES, ModelsFile, model_config
from trim_pomdp.runtime.engine import Models
from trim_pomdp.text.format import StepFormat


@dataclass(frozen=True)
class Backends:
    """Loaded models, as many as were asked for, each of whatever backend."""

    weak: AnyGenerator | None = None
    strong: AnyGenerator | None = None
    prm: AnyScorer | None = None

    @property
    def models(self) -> Models:
        """As the engine takes them; those in this process are batched together."""
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
    format : StepFormat
        What separates steps.
    checker : str
        What judges answers.
    """

    @property
    def caps(self) -> Caps: ...  # noqa: D102

    @property
    def oracle(self) -> Oracle | None: ...  # noqa: D102

    @property
    def prm_name(self) -> str: ...  # noqa: D102

    @property
    def format(self) -> StepFormat: ...  # noqa: D102

    @property
    def checker(self) -> str: ...  # noqa: D102

    def require(self, roles: Collection[Role]) -> None:
        """Raise `InputError` unless there are models for these roles."""
        ...

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """What defines them, as JSON values."""
        ...

    def load(self, roles: Collection[Role]) -> Backends:
        """Load the models of these roles and no others."""
        ...


def roles_asked(rule: Rule, caps: Caps, *, record_scores: bool = False) -> frozenset[Role]:
    """The models that a rule can ask for anything."""
    roles: set[Role] = set(rule.authors)
    if caps.max_strong_tokens is not None:  # the weak model goes on once they are spent
        roles.add("weak")
    if caps.on_failure != "fail":
        roles.add(caps.on_failure)
    if record_scores or rule.needs_score:
        roles.add("prm")
    return frozenset(roles)


@dataclass(frozen=True)
class FileSource:
    """The models of a models file (a `ModelSource`)."""

    path: Path
    file: ModelsFile

    @property
    def caps(self) -> Caps:
        """See `ModelSource`."""
        return self.file.limits.caps

    @property
    def oracle(self) -> Oracle | None:
        """See `ModelSource`; there is one where both generators' backend knows it."""
        weak, strong = self.file.weak, self.file.strong
        if weak is None or strong is None or weak.backend != strong.backend:
            return None
        return weak.oracle

    @property
    def prm_name(self) -> str:
        """See `ModelSource`."""
        return "prm" if self.file.prm is None else self.file.prm.title

    @property
    def format(self) -> StepFormat:
        """See `ModelSource`."""
        return self.file.steps.format

    @property
    def checker(self) -> str:
        """See `ModelSource`."""
        return self.file.checker

    def require(self, roles: Collection[Role]) -> None:
        """See `ModelSource`."""
        for role in ROLES:
            if role in roles and self.file.table(role) is None:
                raise InputError(f"{self.path}: no table [{role}], but that model is asked here")

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """See `ModelSource`."""
        return model_config(self.file, roles, self.path.parent)

    def load(self, roles: Collection[Role]) -> Backends:
        """See `ModelSource`."""
        prm = self.file.prm
        return Backends(
            weak=self._generator("weak") if "weak" in roles else None,
            strong=self._generator("strong") if "strong" in roles else None,
            prm=prm.load(self._place("prm")) if prm is not None and "prm" in roles else None,
        )

    def _generator(self, role: Author) -> AnyGenerator | None:
        table = self.file.weak if role == "weak" else self.file.strong
        return None if table is None else table.load(role, self._place(role))

    def _place(self, role: Role) -> Place:
        return Place(self.path.parent, f"{self.path}, [{role}]")
