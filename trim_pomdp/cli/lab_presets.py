"""Fit the lab's presets from fitting problems: ``python -m trim_pomdp.cli.lab_presets --work FOLDER``.

It runs the very commands that fit one's own models (and prints them): rollouts of the weak and the strong model,
repairs and redrafts for every family; observations fitted on labelled solutions *of the other families*, as one's
own PRM would be judged on somebody else's labels, and so are redrafts; all else of the dynamics, transfer included,
from outcomes alone. Steps in words look like no others, so `wordy` has labels of its own. A family's default evidence
is the kind whose filter foretells the outcomes of held-out solutions best. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from trim_pomdp.cli.app import main as run_command
from trim_pomdp.data.rollouts import RedraftRollout, beside_repairs, read_redraft_rollouts, read_repair_rollouts
from trim_pomdp.data.sequences import read_sequences
from trim_pomdp.errors import TrimError
from trim_pomdp.fitting.assessment import score_belief
from trim_pomdp.lab.problems import FAMILIES, MAX_STEPS, PLAIN, Family
from trim_pomdp.model.belief import FilterBelief
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.evidence import EVIDENCE_KINDS, EvidenceKind
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.sequences import SequenceBatch
from trim_pomdp.presets.store import Preset

COMMAND = "python -m trim_pomdp.cli.lab_presets --work FOLDER"
WEAK, STRONG, REPAIRS, HELD_OUT = 4000, 4000, 4000, 1000
_REDRAFTS = "labelled-redrafts.jsonl"


def main(arguments: list[str] | None = None) -> int:
    """Build all presets of the lab and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for rollouts and fits")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "presets", help="folder to write to")
    parsed = parser.parse_args(arguments)
    try:
        for family in FAMILIES:
            _roll_out(parsed.work, family)
        for family in FAMILIES:
            labelled = _labelled(parsed.work, family)
            _labelled_redrafts(parsed.work, family)
            fitted = {kind: _fit(parsed.work, family, kind, labelled) for kind in EVIDENCE_KINDS}
            for preset in fitted.values():
                preset.save(parsed.out / f"{preset.name}.json")
            chosen = _best_on_held_out(parsed.work, family, fitted)
            chosen.model_copy(update={"name": f"lab-{family}"}).save(parsed.out / f"lab-{family}.json")
    except TrimError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _roll_out(work: Path, family: Family) -> None:
    base = work / family
    base.mkdir(parents=True, exist_ok=True)
    common = ["--models", "lab", "--resume", "--in-flight", "128"]
    drawn = ["--family", family, "--problems"]
    for name, options in (
        # Labels are for the other families' observations and for studies; dynamics are fitted without them.
        ("weak", [*drawn, str(WEAK), "--labels"]),
        ("strong", [*drawn, str(STRONG), "--labels"]),
        ("repair", ["--from", str(base / "weak"), "--repairs", str(REPAIRS), "--labels"]),
        ("redraft", ["--from", str(base / "weak"), "--repairs", str(REPAIRS), "--labels"]),
    ):
        if not (base / name / f"{name}.jsonl").is_file():
            _run("rollout", "--mode", name, *options, *common, "--seed", "0", "--out", str(base / name))
    if not _held_out(work, family).is_file():
        folder = str(_held_out(work, family).parent)
        _run("rollout", "--mode", "weak", *drawn, str(HELD_OUT), *common, "--seed", "1", "--out", folder)


def _held_out(work: Path, family: Family) -> Path:
    return work / family / "held-out" / "weak.jsonl"


def _labelled_elsewhere(family: Family) -> list[Family]:
    """The families whose labels a family's fits have."""
    return [other for other in PLAIN if other != family] if family in PLAIN else [family]


def _best_on_held_out(work: Path, family: Family, fitted: dict[EvidenceKind, Preset]) -> Preset:
    """The preset whose filter has the least log loss on outcomes of solutions that no fit has seen."""
    sequences = read_sequences(_held_out(work, family))
    loss: dict[EvidenceKind, float] = {}
    for kind, preset in fitted.items():
        batch = SequenceBatch.of(sequences, preset.observations.evidence)
        loss[kind] = score_belief(FilterBelief(preset.observations, preset.dynamics), batch).log_loss
    told = ", ".join(f"{kind} {value:.4f}" for kind, value in loss.items())
    print(f"{family}: log loss on {len(sequences)} held-out solutions: {told}", file=sys.stderr)  # noqa: T201
    return fitted[min(loss, key=lambda kind: loss[kind])]


def _labelled(work: Path, family: Family) -> Path:
    """Labelled solutions for a family's observations, in one file."""
    path = work / family / "labelled.jsonl"
    path.write_text(
        "".join((work / other / "weak" / "scores.jsonl").read_text() for other in _labelled_elsewhere(family))
    )
    return path


def _labelled_redrafts(work: Path, family: Family) -> None:
    """Labelled redrafts for a family's dynamics, beside what the strong model made of the same steps."""
    found: list[RedraftRollout] = []
    for other in _labelled_elsewhere(family):
        redrafts = read_redraft_rollouts(work / other / "redraft" / "redraft.jsonl")
        found += beside_repairs(redrafts, read_repair_rollouts(work / other / "repair" / "repair.jsonl"))
    lines = (item.model_dump_json(exclude_none=True, by_alias=True) for item in found)
    (work / family / _REDRAFTS).write_text("".join(f"{line}\n" for line in lines))


def _fit(work: Path, family: Family, kind: EvidenceKind, labelled: Path) -> Preset:
    base = work / family
    observations, dynamics = base / f"observations.{kind}.json", base / f"dynamics.{kind}.json"
    if not observations.is_file():
        name = f"lab PRM, labelled solutions of {' and '.join(_labelled_elsewhere(family))}"
        _run(
            "fit-observations", "--scores", str(labelled), "--evidence", kind, "--name", name,
            "--out", str(observations),
        )  # fmt: skip
    if not dynamics.is_file():
        _run(
            "fit-dynamics", "--observations", str(observations), "--max-steps", str(MAX_STEPS),
            "--rollouts", str(base / "weak" / "weak.jsonl"), "--strong", str(base / "strong" / "strong.jsonl"),
            "--repair", str(base / "repair" / "repair.jsonl"), "--redraft", str(base / _REDRAFTS),
            "--redraft-labels", "--name", f"lab {family}, outcomes alone", "--out", str(dynamics),
        )  # fmt: skip
    fitted = StepDynamics.read(dynamics)
    return Preset(
        name=f"lab-{family}.{kind}",
        description=f"the lab's tiny models on the family {family}, evidence {kind}; dynamics from outcomes alone, of "
        f"redrafts from labels of {' and '.join(_labelled_elsewhere(family))}",
        observations=ObservationModel.read(observations),
        # Plans from presets are made often, and with draws each takes seconds.
        dynamics=fitted.without_draws,
        command=COMMAND,
        provenance=fitted.provenance,
    )


def _run(*arguments: str) -> None:
    print(f"trim-pomdp {shlex.join(arguments)}", file=sys.stderr)  # noqa: T201
    try:
        run_command(list(arguments))
    except SystemExit as end:
        if end.code:
            raise TrimError(f"trim-pomdp {arguments[0]} failed") from None


if __name__ == "__main__":
    sys.exit(main())
