"""The lab as a source of models, beside models files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Role
from trim_pomdp.runtime.attempt import Caps, Oracle
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.files import fingerprint
from trim_pomdp.runtime.sources import Backends, FileSource, ModelSource
from trim_pomdp.text.format import StepFormat

LAB = "lab"


def model_source(name: str, *, cores: int | None = None) -> ModelSource:
    """The lab by its name, or a models file by its path.

    Parameters
    ----------
    name : str
        ``"lab"``, or the path of a models file.
    cores : int or None
        Of torch, for the lab (`LabSource`).

    Raises
    ------
    InputError
        If the file cannot be read or something in it is wrong.
    """
    return LabSource(cores=cores or 1) if name == LAB else FileSource(Path(name), read_models_file(name))


@dataclass(frozen=True)
class LabSource:
    """The lab's models (a `ModelSource`).

    Attributes
    ----------
    folder : Path or None
        With the models; None for those that come with the package.
    prm_name : str
        What tables of scores call the PRM.
    checker : str
        Judges answers.
    cores : int
        Of torch, in this whole process, once they are loaded: models so small gain nothing by more than one, and on a
        busy machine lose much.
    """

    folder: Path | None = None
    prm_name: str = "lab-prm"
    checker: str = "math"
    cores: int = 1

    @property
    def caps(self) -> Caps:
        """See `ModelSource`."""
        from trim_pomdp.lab.solving import CAPS

        return CAPS

    @property
    def format(self) -> StepFormat:
        """See `ModelSource`."""
        from trim_pomdp.lab.models import FORMAT

        return FORMAT

    @property
    def oracle(self) -> Oracle:
        """See `ModelSource`."""
        from trim_pomdp.lab.models import true_class

        return true_class

    def require(self, roles: Collection[Role]) -> None:
        """See `ModelSource`."""
        from trim_pomdp.lab.models import require_extra

        for role in roles:
            if not (self._folder / role / "config.json").is_file():
                raise InputError(f"{self._folder}: no model {role!r} of the lab; train them with: trim-pomdp lab train")
        require_extra()

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """See `ModelSource`."""
        return {LAB: {role: fingerprint(self._folder / role) for role in sorted(roles)}}

    def load(self, roles: Collection[Role]) -> Backends:
        """See `ModelSource`."""
        from trim_pomdp.lab.models import load_models, use_cores

        use_cores(self.cores)
        loaded = load_models(self.folder)
        return Backends(
            loaded.weak if "weak" in roles else None,
            loaded.strong if "strong" in roles else None,
            loaded.prm if "prm" in roles else None,
        )

    @property
    def _folder(self) -> Path:
        from trim_pomdp.lab.models import shipped_folder

        return self.folder or shipped_folder()
