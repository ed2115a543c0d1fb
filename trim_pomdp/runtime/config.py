r"""The models file: which models a run asks, how they sample, and the limits of a problem (TOML).

.. code-block:: toml

    [weak]
    backend = "transformers"
    model = "Qwen/Qwen2.5-1.5B-Instruct"   # or a folder, from where this file is
    temperature = 0.7

    [strong]
    backend = "transformers"
    model = "Qwen/Qwen2.5-7B-Instruct"
    dtype = "bfloat16"
    device = "cuda"

    [prm]
    backend = "transformers"
    model = "Qwen/Qwen2.5-Math-PRM-7B"

    [limits]
    max_steps = 30

A table may be absent where nothing asks its model.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.routers import Role
from trim_pomdp.runtime.solution import Caps
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT

if TYPE_CHECKING:
    from trim_pomdp.runtime.backends.transformers import TransformersGenerator, TransformersScorer

ROLES: tuple[Role, ...] = ("weak", "strong", "prm")
# Files up to this size are part of a model's fingerprint by content, larger ones by name and size.
_HASHED_BYTES = 1 << 26


class _TransformersTable(Record):
    """What generators and process reward models in this process have in common.

    Attributes
    ----------
    model : str
        Folder, relative to the models file or absolute, or a name on the hub.
    dtype : {"float32", "bfloat16", "float16"}
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    system_prompt : str or False
        First message; "" or false leaves it out.
    max_batch : int
        Most requests in one forward pass.
    """

    backend: Literal["transformers"]
    model: str = Field(min_length=1)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = Field(default="cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    system_prompt: str | Literal[False] = SYSTEM_PROMPT
    max_batch: PositiveInt = 64

    @property
    def options(self) -> dict[str, Any]:
        """What the loaders take."""
        return {
            "dtype": self.dtype,
            "device": self.device,
            "system_prompt": self.system_prompt or None,
            "max_batch": self.max_batch,
        }


class GeneratorTable(_TransformersTable):
    """A model that writes steps.

    Attributes
    ----------
    temperature : float
        0 takes the likeliest token.
    top_p : float
        Nucleus.
    """

    temperature: NonNegativeFloat = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class ScorerTable(_TransformersTable):
    """A process reward model."""


class Limits(Record):
    """Hard limits per problem, see `Caps`."""

    max_steps: PositiveInt = 30
    max_step_tokens: PositiveInt = 512
    max_strong_tokens: NonNegativeInt | None = None
    degenerate_steps: PositiveInt = 3

    @property
    def caps(self) -> Caps:
        """As the engine takes them."""
        return Caps(**self.model_dump())


class ModelsFile(Record):
    """A models file.

    Attributes
    ----------
    weak, strong : GeneratorTable or None
    prm : ScorerTable or None
    limits : Limits
    """

    weak: GeneratorTable | None = None
    strong: GeneratorTable | None = None
    prm: ScorerTable | None = None
    limits: Limits = Limits()


def read_models_file(path: str | Path) -> ModelsFile:
    """Read a models file.

    Raises
    ------
    InputError
        Naming file, table, key and reason; an unknown key with the nearest known one.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # TOML's and Unicode's errors are of this kind
        raise InputError(f"{path}: not TOML in UTF-8 ({error})") from None
    return validate(ModelsFile, document, source=str(path))


def locate(table: GeneratorTable | ScorerTable, base: Path, *, where: str) -> Path | str:
    """The folder that a table's `model` names, seen from `base`, or else its name on the hub.

    Raises
    ------
    InputError
        If it can only be meant as a folder, and there is none; `where` says in which file and table.
    """
    folder = base / table.model
    if folder.is_dir():
        return folder
    if table.model.startswith((".", "/", "~")) or table.model.count("/") > 1:
        raise InputError(f"{where}: no folder {folder}; model is a folder, seen from the models file, or a hub name")
    return table.model


def load_generator(
    table: GeneratorTable, role: Literal["weak", "strong"], base: Path, *, where: str
) -> TransformersGenerator:
    """The generator of a table; see `locate`."""
    from trim_pomdp.runtime.backends.transformers import TransformersGenerator

    name = locate(table, base, where=where)
    _require_device(table.device, where)
    options = {**table.options, "temperature": table.temperature, "top_p": table.top_p}
    return TransformersGenerator.load(name, role=role, **options)


def load_scorer(table: ScorerTable, base: Path, *, where: str) -> TransformersScorer:
    """The process reward model of a table; see `locate`."""
    from trim_pomdp.runtime.backends.transformers import TransformersScorer

    name = locate(table, base, where=where)
    _require_device(table.device, where)
    return TransformersScorer.load(name, **table.options)


def _require_device(device: str, where: str) -> None:
    import torch

    kind, _, index = device.partition(":")
    there = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
    }
    if not there[kind]:
        raise InputError(f"{where}: this machine has no device {device!r}")


def fingerprint(folder: Path) -> str:
    """Short hash of the files in a model's folder: small ones by content, large ones by name and size."""
    digest = hashlib.sha256()
    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        if size <= _HASHED_BYTES:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def model_config(file: ModelsFile, roles: Collection[Role], base: Path) -> dict[str, Any]:
    """What of a models file defines a run that asks these roles, as JSON values; folders by their fingerprint too."""
    out: dict[str, Any] = {}
    for role in ROLES:
        table = getattr(file, role)
        if role in roles and table is not None:
            folder = base / table.model
            out[role] = table.model_dump(mode="json", exclude={"device", "max_batch"})
            out[role]["files"] = fingerprint(folder) if folder.is_dir() else None
    return out
