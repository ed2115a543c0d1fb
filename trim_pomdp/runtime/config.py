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
    on_failure = "weak"                     # a model is given up: "fail", or "weak" or "strong" goes on alone

    [steps]
    separator = "blank-line"                # or "newline", or how a step's first line begins: '## Step'
    thinking = "route"                      # or "one-step": what stands in <think>…</think> is not routed

A model's prices stand in a table of its own, per million tokens, ``[weak.price]``, ``[strong.price]``, ``[prm.price]``:
``input``, ``cached`` (where a prefix cache held them; default: as input), ``output``.

Before the tables, ``checker = "exact"`` or ``"package.module:function"`` says who judges answers that are not
mathematics, ``currency`` what prices are in.

A table may be absent where nothing asks its model. What it may say depends on its backend
(`trim_pomdp.runtime.backends`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from pydantic import NonNegativeInt, PositiveInt, create_model, field_validator, model_validator

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.errors import InputError
from trim_pomdp.files import read_text
from trim_pomdp.model.prices import Prices
from trim_pomdp.policies.base import Role
from trim_pomdp.runtime.attempt import Caps, OnFailure
from trim_pomdp.runtime.backends.base import GeneratorTable, ModelTable, ScorerTable, table_class
from trim_pomdp.text.answers import checker as answer_checker
from trim_pomdp.text.format import StepFormat
from trim_pomdp.text.steps import BLANK_LINE, Thinking

ROLES: tuple[Role, ...] = ("weak", "strong", "prm")


class Limits(Record):
    """Hard limits per problem, see `Caps`."""

    max_steps: PositiveInt = 30
    max_step_tokens: PositiveInt = 512
    max_strong_tokens: NonNegativeInt | None = None
    degenerate_steps: PositiveInt = 3
    max_prompt_characters: PositiveInt = 200_000
    on_failure: OnFailure = "fail"

    @property
    def caps(self) -> Caps:
        """As the engine takes them."""
        return Caps(**self.model_dump())


class Steps(Record):
    """How solutions are written, see `StepFormat`."""

    separator: str = BLANK_LINE
    thinking: Thinking = "route"
    keep_blocks: bool = True

    @model_validator(mode="after")
    def _separator_is_one(self) -> Self:
        self.format  # noqa: B018  # raises if it is none
        return self

    @property
    def format(self) -> StepFormat:
        """As the engine takes it."""
        return StepFormat(self.separator, self.thinking, self.keep_blocks)


class ModelsFile(Record):
    """A models file.

    Attributes
    ----------
    weak, strong : GeneratorTable or None
        Of any backend.
    prm : ScorerTable or None
    limits : Limits
    steps : Steps
    checker : str
        What judges answers: ``math``, ``exact``, or ``package.module:function``.
    currency : str or None
        Of all prices, for people.
    """

    weak: GeneratorTable | None = None
    strong: GeneratorTable | None = None
    prm: ScorerTable | None = None
    limits: Limits = Limits()
    steps: Steps = Steps()
    checker: str = "math"
    currency: str | None = None

    @field_validator("checker")
    @classmethod
    def _checker_is_one(cls, name: str) -> str:
        answer_checker(name)
        return name

    def table(self, role: Role) -> ModelTable | None:
        """The table of a role."""
        tables: dict[Role, ModelTable | None] = {"weak": self.weak, "strong": self.strong, "prm": self.prm}
        return tables[role]

    @property
    def prices(self) -> Prices | None:
        """What the models charge; None where no table has a price."""
        found = Prices(
            weak=None if self.weak is None else self.weak.price,
            strong=None if self.strong is None else self.strong.price,
            prm=None if self.prm is None else self.prm.price,
            currency=self.currency,
        )
        return None if found.weak is None and found.strong is None and found.prm is None else found


def read_models_file(path: str | Path) -> ModelsFile:
    """Read a models file.

    Raises
    ------
    InputError
        Naming file, table, key and reason; an unknown key with the nearest known one.
    """
    text = read_text(path, "TOML in UTF-8")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
    configs = {role: table.config(folder) for role, table in tables.items() if table is not None}
    # A run is the same run whatever it costs.
    return {role: {key: value for key, value in config.items() if key != "price"} for role, config in configs.items()}
