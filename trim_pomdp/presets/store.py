"""Presets: fitted observation models and dynamics of published model pairs, shipped as JSON.

Rebuild them from the data folder with ``python -m trim_pomdp.presets.build --data ../shared/data``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

from pydantic import PositiveFloat

from trim_pomdp.artifacts import Artifact
from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.process import RoutingModel


class Preset(Artifact):
    """A model pair with its PRM, ready to plan for.

    Attributes
    ----------
    name, description : str
        What it is.
    observations : ObservationModel
    dynamics : StepDynamics
    reward : float
        Reward of a right answer.
    command : str
        How it was made.
    """

    kind: Literal["preset"] = "preset"
    name: str
    description: str
    observations: ObservationModel
    dynamics: StepDynamics
    reward: PositiveFloat = 100.0
    command: str

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "name": self.name,
            "description": self.description,
            "observations": self.observations.name,
            "dynamics": self.dynamics.name,
            "reward": self.reward,
        }

    def routing_model(self) -> RoutingModel:
        """The routing model of the preset."""
        return RoutingModel(self.observations, self.dynamics, self.reward)


def _folder() -> Traversable:
    return resources.files("trim_pomdp.presets")


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the package."""
    folder = _folder()
    return tuple(sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json")))


def load_preset(name: str) -> Preset:
    """Read a preset by its name.

    Raises
    ------
    InputError
        If there is none of that name; the message names the nearest.
    """
    known = preset_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"no preset {name!r}{hint} (there are {', '.join(known)})")
    with resources.as_file(_folder() / f"{name}.json") as path:
        return Preset.read(path)
