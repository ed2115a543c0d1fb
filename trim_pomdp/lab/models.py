"""The three models of the lab: where their files are, and how they are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.lab.problems import Arithmetic, check
from trim_pomdp.text.format import StepFormat

if TYPE_CHECKING:
    from trim_pomdp.policies.base import Author
    from trim_pomdp.runtime.backends.torch_models import TransformersGenerator, TransformersScorer
    from trim_pomdp.runtime.records import StepClass

TEMPERATURE = 0.7
# Steps of the lab hold no blank line, so that a box that was opened and forgotten ends with its step.
FORMAT = StepFormat(keep_blocks=False)
MAX_STEP_TOKENS = 24
# Too small for a GPU, and the same everywhere.
_PLACE = {"dtype": "float32", "device": "cpu"}


@dataclass(frozen=True)
class LabModels:
    """Weak generator, strong generator, process reward model (absent only while it is being trained)."""

    weak: TransformersGenerator
    strong: TransformersGenerator
    prm: TransformersScorer | None = None


def require_extra() -> None:
    """Raise `InputError` unless torch and transformers are installed."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"the lab's models need {' and '.join(missing)}; install them in the checkout: pip install '.[lab]'"
        )


def shipped_folder() -> Path:
    """Folder of the models that come with the package."""
    return Path(str(resources.files("trim_pomdp") / "lab" / "weights"))


def use_cores(count: int = 1) -> None:
    """Limit the cores of torch in this process: models so small gain nothing by more, and lose on a busy machine."""
    try:
        import torch
    except ImportError:  # told better where models are loaded
        return
    torch.set_num_threads(count)


def load_models(folder: Path | None = None) -> LabModels:
    """Load the lab's models.

    Parameters
    ----------
    folder : Path or None
        With the folders ``weak``, ``strong`` and ``prm``; None for those that come with the package.

    Raises
    ------
    InputError
        If torch or transformers is not installed, or a model is absent.
    """
    require_extra()
    from trim_pomdp.runtime.backends.torch_models import TransformersScorer

    folder = folder or shipped_folder()
    prm = TransformersScorer.load(folder / "prm", system_prompt=None, **_PLACE)
    return replace(load_generators(folder), prm=prm)


def load_generators(folder: Path) -> LabModels:
    """The weak and the strong model of a folder."""
    return LabModels(load_generator(folder / "weak", "weak"), load_generator(folder / "strong", "strong"))


def load_generator(folder: Path, role: Author) -> TransformersGenerator:
    """A generator from its own folder."""
    from trim_pomdp.runtime.backends.torch_models import TransformersGenerator

    # No system prompt: the lab's tokenizer has no words for one.
    return TransformersGenerator.load(folder, role=role, temperature=TEMPERATURE, system_prompt=None, **_PLACE)


@lru_cache(maxsize=4096)
def _parsed(prompt: str) -> Arithmetic:
    return Arithmetic.parse(prompt)


def true_class(problem: Problem, steps: tuple[str, ...]) -> StepClass:
    """Class of the last step, by the exact checker: 0, 1, 2 for S0, S1, S2."""
    return cast("StepClass", check(_parsed(problem.prompt), steps).classes[-1])
