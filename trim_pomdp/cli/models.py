"""Where a routing model comes from: a preset, or two artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.model.dynamics import StepDynamics
    from trim_pomdp.model.observations import ObservationModel
    from trim_pomdp.model.process import RoutingModel

PresetOption = Annotated[str | None, typer.Option("--preset", help="Name of a preset.")]
OBSERVATIONS_HELP = "Observation model (JSON), or the name of a preset that has it."
ObservationsOption = Annotated[Path | None, typer.Option("--observations", help=OBSERVATIONS_HELP)]
DynamicsOption = Annotated[Path | None, typer.Option("--dynamics", help="Step dynamics (JSON).")]
ActionsOption = Annotated[
    str | None,
    typer.Option(
        "--actions",
        metavar="A,B,…",
        help="What a plan may do with a weak step, such as keep,redraft,regenerate (default: keep,regenerate).",
    ),
]
MaxDraftsOption = Annotated[
    int | None, typer.Option("--max-drafts", min=2, help="Drafts of one step at most, where redraft is an action.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Source of chance.")]
LayoutOption = Annotated[
    str | None,
    typer.Option("--layout", help="Layout of the file, such as prm800k or gsm8k (default: recognised)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]


def read_parts(
    preset: str | None, observations: Path | None, dynamics: Path | None
) -> tuple[ObservationModel, StepDynamics, float]:
    """Observation model, dynamics and reward named by the options.

    Raises
    ------
    InputError
        Unless exactly one source is given: a preset, or both files.
    """
    from trim_pomdp.model.dynamics import StepDynamics
    from trim_pomdp.presets.store import load_preset, preset_names

    if preset is not None:
        if observations is not None or dynamics is not None:
            raise InputError("--preset stands alone; give it, or --observations and --dynamics")
        item = load_preset(preset)
        return item.observations, item.dynamics, item.reward
    if observations is None or dynamics is None:
        raise InputError(
            f"no model given: use --preset ({', '.join(preset_names())}), or --observations FILE and --dynamics FILE"
        )
    return read_observations(observations), StepDynamics.read(dynamics), 100.0


def read_observations(source: Path) -> ObservationModel:
    """An observation model from a file, or that of a preset: what a PRM's scores look like is no matter of the pair."""
    from trim_pomdp.model.observations import ObservationModel
    from trim_pomdp.presets.store import load_preset, preset_names

    if str(source) in preset_names() and not source.exists():
        return load_preset(str(source)).observations
    return ObservationModel.read(source)


def read_model(
    preset: str | None,
    observations: Path | None,
    dynamics: Path | None,
    actions: str | None = None,
    max_drafts: int | None = None,
) -> RoutingModel:
    """Routing model named by the options; see `read_parts`.

    Parameters
    ----------
    actions : str or None
        What plans may do with a weak step, separated by commas; None: keep, regenerate.
    max_drafts : int or None
        Drafts of one step at most; None: as models have it.

    Raises
    ------
    InputError, UnsetParameterError
        If an option is wrong, or the dynamics do not know what an action needs.
    """
    from trim_pomdp.model.process import RoutingModel

    more: dict[str, Any] = {}
    if actions is not None:
        more["actions"] = tuple(name.strip() for name in actions.split(","))
    if max_drafts is not None:
        more["max_drafts"] = max_drafts
    return RoutingModel(*read_parts(preset, observations, dynamics), **more)
