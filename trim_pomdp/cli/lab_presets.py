"""Fit the lab's presets from fitting problems: ``python -m trim_pomdp.cli.lab_presets --work FOLDER``.

It runs the very commands that fit one's own models (and prints them): rollouts of the weak and the strong model,
repairs and redrafts for every family; observations fitted on labelled solutions *of the other two families*, as one's
own PRM would be judged on somebody else's labels, and so are redrafts; all else of the dynamics, transfer included,
from outcomes alone. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from trim_pomdp.cli.app import main as run_command
from trim_pomdp.data.rollouts import RedraftRollout, beside_repairs, read_redraft_rollouts, read_repair_rollouts
from trim_pomdp.errors import TrimError
from trim_pomdp.lab.problems import FAMILIES, MAX_STEPS, Family
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.evidence import EVIDENCE_KINDS, EvidenceKind
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.presets.store import Preset

DEFAULT_EVIDENCE: EvidenceKind = "prm+logprob"
COMMAND = "python -m trim_pomdp.cli.lab_presets --work FOLDER"
WEAK, STRONG, REPAIRS = 4000, 4000, 4000
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
            labelled = _from_elsewhere(parsed.work, family, "weak/scores.jsonl", "labelled.jsonl")
            _redrafts_from_elsewhere(parsed.work, family)
            for kind in EVIDENCE_KINDS:
                preset = _fit(parsed.work, family, kind, labelled)
                preset.save(parsed.out / f"{preset.name}.json")
                if kind == DEFAULT_EVIDENCE:
                    preset.model_copy(update={"name": f"lab-{family}"}).save(parsed.out / f"lab-{family}.json")
    except TrimError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _roll_out(work: Path, family: Family) -> None:
    base = work / family
    base.mkdir(parents=True, exist_ok=True)
    common = ["--models", "lab", "--seed", "0", "--resume", "--in-flight", "128"]
    drawn = ["--family", family, "--problems"]
    for name, options in (
        # Labels are for the other families' observations and for studies; dynamics are fitted without them.
        ("weak", [*drawn, str(WEAK), "--labels"]),
        ("strong", [*drawn, str(STRONG), "--labels"]),
        ("repair", ["--from", str(base / "weak"), "--repairs", str(REPAIRS), "--labels"]),
        ("redraft", ["--from", str(base / "weak"), "--repairs", str(REPAIRS), "--labels"]),
    ):
        if not (base / name / f"{name}.jsonl").is_file():
            _run("rollout", "--mode", name, *options, *common, "--out", str(base / name))


def _from_elsewhere(work: Path, family: Family, source: str, name: str) -> Path:
    """A file of every other family, in one."""
    path = work / family / name
    others = [work / other / source for other in FAMILIES if other != family]
    path.write_text("".join(other.read_text() for other in others))
    return path


def _redrafts_from_elsewhere(work: Path, family: Family) -> None:
    """Labelled redrafts of every other family, beside what the strong model made of the same steps."""
    found: list[RedraftRollout] = []
    for other in FAMILIES:
        if other != family:
            folder = work / other
            redrafts = read_redraft_rollouts(folder / "redraft" / "redraft.jsonl")
            found += beside_repairs(redrafts, read_repair_rollouts(folder / "repair" / "repair.jsonl"))
    lines = (item.model_dump_json(exclude_none=True, by_alias=True) for item in found)
    (work / family / _REDRAFTS).write_text("".join(f"{line}\n" for line in lines))


def _fit(work: Path, family: Family, kind: EvidenceKind, labelled: Path) -> Preset:
    base = work / family
    observations, dynamics = base / f"observations.{kind}.json", base / f"dynamics.{kind}.json"
    if not observations.is_file():
        name = f"lab PRM, labelled solutions of {' and '.join(item for item in FAMILIES if item != family)}"
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
        "redrafts from labels of the other families",
        observations=ObservationModel.read(observations),
        dynamics=fitted,
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
