r"""The models file: which models a run asks, how they sample, and the limits of a problem (TOML).

.. code-block:: toml

    [weak]
    backend = "transformers"
    model = "Qwen/Qwen2.5-1.5B-Instruct"   # or a folder, from where this file is
    temperature = 0.7

    [strong]
    backend = "transformers"
    model = "Qwen/Qwen2.5-7B-Instruct"
    device = "cuda:1"                       # a GPU, if there is one, is found without being named

    [prm]
    backend = "transformers"
    model = "Qwen/Qwen2.5-Math-PRM-7B"

    [limits]
    max_steps = 30

A table may be absent where nothing asks its model. What it may say depends on its backend
(`trim_pomdp.runtime.backends`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt, PositiveInt, create_model

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Role
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.base import GeneratorTable, ModelTable, ScorerTable, table_class

ROLES: tuple[Role, ...] = ("weak", "strong", "prm")


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
        Of any backend.
    prm : ScorerTable or None
    limits : Limits
    """

    weak: GeneratorTable | None = None
    strong: GeneratorTable | None = None
    prm: ScorerTable | None = None
    limits: Limits = Limits()

    def table(self, role: Role) -> ModelTable | None:
        """The table of a role."""
        tables: dict[Role, ModelTable | None] = {"weak": self.weak, "strong": self.strong, "prm": self.prm}
        return tables[role]


def read_models_file(path: str | Path) -> ModelsFile:
    """Read a models file.

    Raises
    ------
    InputError
        Naming file, table, key and reason; an unknown key with the nearest known one.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # TOML's and Unicode's errors are of this kind
        raise InputError(f"{path}: not TOML in UTF-8 ({error})") from None
    return validate(_file_of(document, path), document, source=str(path))


def _file_of(document: dict[str, Any], path: str | Path) -> type[ModelsFile]:
    """The models file with the tables that the backends named in it have."""
    tables: dict[str, Any] = {}
    for role in ROLES:
        table = document.get(role)
        if not isinstance(table, dict):
            continue
        if not isinstance(table.get("backend"), str):
            raise InputError(f"{path}: missing '{role}.backend'")
        try:
            tables[role] = (table_class(table["backend"], role) | None, None)
        except InputError as error:
            raise InputError(f"{path}: {role}.backend: {error}") from None
    return create_model("ModelsFile", __base__=ModelsFile, **tables)


def model_config(file: ModelsFile, roles: Collection[Role], folder: Path) -> dict[str, Any]:
    """What of a models file defines a run that asks these roles, as JSON values."""
    tables = {role: file.table(role) for role in ROLES if role in roles}
    return {role: table.config(folder) for role, table in tables.items() if table is not None}
