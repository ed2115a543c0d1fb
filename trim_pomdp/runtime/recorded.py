"""Rollouts that were recorded: the files of a folder, under which conditions they were made, and dynamics from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim_pomdp.artifacts import hashes
from trim_pomdp.data.rollouts import (
    Rollouts,
    beside_repairs,
    read_redraft_rollouts,
    read_repair_rollouts,
    read_strong_rollouts,
    read_weak_rollouts,
)
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.model.conditions import Conditions
from trim_pomdp.runtime.rollouts import rollout_files
from trim_pomdp.runtime.traces import RUN_FILE, read_run_artifact

if TYPE_CHECKING:
    from trim_pomdp.fitting.dynamics import Sources
    from trim_pomdp.model.dynamics import StepDynamics
    from trim_pomdp.model.observations import ObservationModel


@dataclass(frozen=True, repr=False)
class RecordedRollouts(Shown):
    """Rollouts, ready to be fitted.

    Attributes
    ----------
    sources : Sources
        As `trim_pomdp.fitting.dynamics.fit_dynamics` takes them.
    conditions : Conditions or None
        Under which they were made, where their runs are still beside them.
    """

    sources: Sources
    conditions: Conditions | None = None

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        found = self.sources.rollouts
        assert found is not None
        outcomes = {
            "weak": [item.correct for item in found.weak],
            "strong": [item.correct for item in found.strong],
            "repairs": [item.correct for item in found.repairs],
            "redrafts": [item.correct for item in found.redrafts],
        }
        shares = {
            f"{name} right": f"{sum(right) / len(right):.3f} of {len(right)}"
            for name, right in outcomes.items()
            if right
        }
        return {**shares, "max_steps": None if self.conditions is None else self.conditions.max_steps}

    def fit(self, observations: ObservationModel, *, name: str = "rollouts", **options: Any) -> StepDynamics:
        """What the two models do, fitted on outcomes (`trim_pomdp.fitting.dynamics.fit_dynamics`).

        Parameters
        ----------
        observations : ObservationModel
            Of the PRM that scored the weak rollouts.
        name : str
            Of the artifact.
        **options
            Those of `fit_dynamics`; `max_steps` is that of the rollouts, where it is known.

        Raises
        ------
        InputError
            If the rollouts inform too little, or lack a feature of the evidence.
        """
        from trim_pomdp.fitting.dynamics import fit_dynamics

        known = self.conditions
        if known is not None and known.max_steps is not None:
            options.setdefault("max_steps", known.max_steps)
        dynamics = fit_dynamics(name, self.sources, observations, **options)
        return dynamics if known is None else dynamics.model_copy(update={"conditions": known})


def read_rollouts(
    rollouts: str | Path,
    *,
    strong: str | Path | None = None,
    repair: str | Path | None = None,
    redraft: str | Path | None = None,
) -> RecordedRollouts:
    """Read rollouts.

    Parameters
    ----------
    rollouts : path
        A folder that `record_rollouts` or ``rollout --mode all`` wrote, or a file of weak rollouts.
    strong, repair, redraft : path or None
        Files of the other kinds, if they are not those of the folder.

    Raises
    ------
    InputError
        If a folder holds no weak rollouts, or a file is not right.
    """
    weak = Path(rollouts)
    others = {"strong": strong, "repair": repair, "redraft": redraft}
    if weak.is_dir():
        found = rollout_files(weak)
        if "weak" not in found:
            raise InputError(f"{weak}: holds no weak rollouts; make them with: trim-pomdp rollout --mode all --out DIR")
        weak = found["weak"]
        others = {name: path or found.get(name) for name, path in others.items()}
    paths = {"weak": weak, **{name: Path(path) for name, path in others.items() if path is not None}}
    return RecordedRollouts(_sources(paths), _conditions(paths))


def _sources(paths: Mapping[str, Path]) -> Sources:
    from trim_pomdp.fitting.dynamics import Sources

    repairs = read_repair_rollouts(paths["repair"]) if "repair" in paths else []
    redrafts = read_redraft_rollouts(paths["redraft"]) if "redraft" in paths else []
    found = Rollouts(
        weak=read_weak_rollouts(paths["weak"]),
        strong=read_strong_rollouts(paths["strong"]) if "strong" in paths else (),
        repairs=repairs,
        redrafts=beside_repairs(redrafts, repairs),
    )
    return Sources(rollouts=found, provenance=hashes(list(paths.values())))


def _conditions(paths: Mapping[str, Path]) -> Conditions | None:
    """Under which conditions rollouts were made, where their runs are still beside them."""
    known = Conditions()
    for path in paths.values():
        if (path.parent / RUN_FILE).is_file():
            known |= Conditions.of_run(read_run_artifact(path.parent).config)
    return None if known == Conditions() else known
