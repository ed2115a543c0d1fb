"""Reading any artifact by its path, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from trim_pomdp.artifacts import Artifact, read_json
from trim_pomdp.errors import InputError
from trim_pomdp.metrics.standings import BenchResult
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.planning.frontier_artifact import FrontierArtifact
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.policies.networks import TrainedRouter
from trim_pomdp.presets.store import Preset

KINDS: dict[str, type[Artifact]] = {
    model.model_fields["kind"].default: model
    for model in (
        ObservationModel,
        StepDynamics,
        FrontierArtifact,
        PolicyArtifact,
        Preset,
        TrainedRouter,
        BenchResult,
    )
}


def load(path: str | Path) -> Artifact:
    """Read an artifact: observations, dynamics, frontier, policy, preset, trained router or the result of a bench.

    Raises
    ------
    InputError
        Naming file, field and reason.
    """
    if Path(path).is_dir():
        raise InputError(f"{path}: is a folder; tp.read_run reads the run in it, if there is one")
    document = read_json(path)
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"{path}: kind is {kind!r}; expected one of {', '.join(KINDS)}")
    return KINDS[kind].from_mapping(document, source=str(path))
