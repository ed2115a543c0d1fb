"""What a table of a models file is, whatever its backend, and how a backend is found by its name."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import Field

from trim_pomdp.artifacts import Record
from trim_pomdp.errors import InputError
from trim_pomdp.model.prices import Price, ReaderPrice
from trim_pomdp.policies.base import Author, Role
from trim_pomdp.runtime.backends import BACKENDS
from trim_pomdp.runtime.protocols import (
    BatchGenerator,
    BatchScorer,
    Generator,
    GivenSteps,
    ScoreRequest,
    StepScorer,
)

if TYPE_CHECKING:
    from trim_pomdp.runtime.attempt import Oracle

AnyGenerator = Generator | BatchGenerator
AnyScorer = StepScorer | BatchScorer


@runtime_checkable
class LogprobGenerator(BatchGenerator, Protocol):
    """A generator in this process that also tells how likely given steps are, see `GivenSteps`."""

    def step_logprobs(self, requests: Sequence[ScoreRequest]) -> list[list[tuple[float, ...]]]:
        """Log-probabilities of the tokens of every step of every request."""
        ...


async def given_logprobs(
    model: AnyGenerator | None, requests: Sequence[ScoreRequest]
) -> list[list[tuple[float, ...]]] | None:
    """Log-probabilities of given steps; None from a model that tells none."""
    if isinstance(model, LogprobGenerator):
        return model.step_logprobs(requests)
    if isinstance(model, GivenSteps):
        return await asyncio.gather(*(model.given_logprobs(request) for request in requests))
    return None


def tells_given_logprobs(model: AnyGenerator) -> bool:
    """Whether a model can tell how likely given steps are."""
    return isinstance(model, LogprobGenerator | GivenSteps)


@dataclass(frozen=True)
class Place:
    """Where a table stands.

    Attributes
    ----------
    folder : Path
        Of the models file; relative paths are seen from there.
    table : str
        File and table, for errors.
    """

    folder: Path
    table: str


class ModelTable(Record):
    """A table of a models file: ``[weak]``, ``[strong]`` or ``[prm]``."""

    backend: str

    @property
    def title(self) -> str:
        """What the model is called in files of scores."""
        return self.backend

    @property
    def oracle(self) -> Oracle | None:
        """True class of a step, where the backend can know it."""
        return None

    def config(self, folder: Path) -> dict[str, Any]:
        """What of the table defines a run, as JSON values; paths are seen from `folder`."""
        return self.model_dump(mode="json")


class FolderTable(ModelTable):
    """A table of a model that this process loads.

    Attributes
    ----------
    model : str
        Folder, relative to the models file or absolute, or a name on the hub.
    """

    model: str = Field(min_length=1)

    @property
    def title(self) -> str:
        """See `ModelTable`."""
        return Path(self.model).name

    def located(self, place: Place) -> Path | str:
        """The folder that `model` names, or else its name on the hub; `InputError` if it can only be a folder."""
        folder = place.folder / self.model
        if not folder.is_dir() and (self.model.startswith((".", "/", "~")) or self.model.count("/") > 1):
            raise InputError(
                f"{place.table}: no folder {folder}; model is a folder, seen from the models file, or a hub name"
            )
        return folder if folder.is_dir() else self.model


class GeneratorTable(ModelTable):
    """A table of a model that writes steps; its price, as that of a scorer, is no part of what defines a run."""

    price: Price | None = None

    def load(self, role: Author, place: Place) -> AnyGenerator:
        """Load the model for a role.

        Raises
        ------
        InputError
            If it cannot be loaded; naming the table.
        """
        raise NotImplementedError


class ScorerTable(ModelTable):
    """A table of a process reward model."""

    price: ReaderPrice | None = None

    def load(self, place: Place) -> AnyScorer:
        """Load the model.

        Raises
        ------
        InputError
            If it cannot be loaded; naming the table.
        """
        raise NotImplementedError


def table_class(backend: str, role: Role) -> type[ModelTable]:
    """The table that a backend has for a role.

    Raises
    ------
    InputError
        If there is no such backend, or it has no such model.
    """
    module = importlib.import_module(BACKENDS[backend]) if backend in BACKENDS else _from_elsewhere(backend)
    kind: Literal["GENERATOR", "PRM"] = "PRM" if role == "prm" else "GENERATOR"
    found: type[ModelTable] | None = getattr(module, kind, None)
    if found is None:
        what = "process reward model" if role == "prm" else "generator"
        raise InputError(f"the backend {backend!r} has no {what}")
    return found


def _from_elsewhere(backend: str) -> Any:
    if "." in backend:
        with suppress(ImportError, ValueError):
            return importlib.import_module(backend)
    known = ", ".join(sorted(BACKENDS))
    raise InputError(f"unknown backend {backend!r}; there are {known}, or a module of one's own (package.module)")
