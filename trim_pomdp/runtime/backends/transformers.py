"""``backend = "transformers"``: Hugging Face models in this process; what a models file may say of them.

torch and transformers are imported when a model is loaded (`trim_pomdp.runtime.backends.torch_models`).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Author
from trim_pomdp.runtime.backends.base import FolderTable, GeneratorTable, Place, ScorerTable
from trim_pomdp.runtime.files import fingerprint
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT

if TYPE_CHECKING:
    from trim_pomdp.runtime.backends.torch_models import TransformersGenerator, TransformersScorer


class _TransformersTable(FolderTable):
    """What generators and process reward models in this process have in common.

    Attributes
    ----------
    dtype : {"auto", "float32", "bfloat16", "float16"}
        ``auto`` takes that of the model's files (float16 becomes bfloat16 on a CPU).
    device : str
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    system_prompt : str or False
        First message; "" or false leaves it out.
    max_batch : int
        Most requests in one forward pass.
    """

    backend: Literal["transformers"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
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

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`: what the files hold, not where they run."""
        files = folder / self.model
        return {
            **self.model_dump(mode="json", exclude={"device", "max_batch"}),
            "files": fingerprint(files) if files.is_dir() else None,
        }

    def _located(self, place: Place) -> Path | str:
        """As `located`; `InputError` also if packages or the device are absent."""
        name = self.located(place)
        _require_packages()
        _require_device(self.device, place.table)
        return name


class TransformersGeneratorTable(_TransformersTable, GeneratorTable):
    """A causal language model.

    Attributes
    ----------
    temperature : float
        0 takes the likeliest token.
    top_p : float
        Nucleus.
    """

    temperature: NonNegativeFloat = 0.7
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0

    def load(self, role: Author, place: Place) -> TransformersGenerator:
        """See `GeneratorTable`."""
        name = self._located(place)
        from trim_pomdp.runtime.backends.torch_models import TransformersGenerator

        options = {**self.options, "temperature": self.temperature, "top_p": self.top_p}
        return TransformersGenerator.load(name, role=role, **options)


class TransformersScorerTable(_TransformersTable, ScorerTable):
    """A process reward model in the layout of Qwen2.5-Math-PRM."""

    def load(self, place: Place) -> TransformersScorer:
        """See `ScorerTable`."""
        name = self._located(place)
        from trim_pomdp.runtime.backends.torch_models import TransformersScorer

        return TransformersScorer.load(name, **self.options)


GENERATOR = TransformersGeneratorTable
PRM = TransformersScorerTable


def _require_packages() -> None:
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"backend 'transformers' needs {' and '.join(missing)}; install them in the checkout: pip install '.[lab]'"
        )


def _require_device(device: str, where: str) -> None:
    import torch

    kind, _, index = device.partition(":")
    there = {
        "auto": True,
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count(),
    }
    if not there[kind]:
        raise InputError(f"{where}: this machine has no device {device!r}")
