"""How long a fit of rollouts takes, and what comes out: ``python benchmarks/fit_speed.py``.

As many rollouts of each kind as asked for (150) are drawn from the lab's presets, or read from a folder that holds
`weak/weak.jsonl`, `strong/strong.jsonl` and `repair/repair.jsonl`, and fitted as `fit-dynamics --rollouts W --strong S
--repair R` does, intervals and choice included. Times are CPU seconds of this process, compilation apart; give
OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1. `--save FILE` keeps estimates, `--against FILE` compares with such a file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from report import heading, table

import trim_pomdp as tp
from trim_pomdp.data.rollouts import (
    Rollouts,
    read_repair_rollouts,
    read_strong_rollouts,
    read_weak_rollouts,
)
from trim_pomdp.fitting import optimise
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.planning.synthetic import draw_rollouts

MAX_STEPS = 16
PARAMETERS = ("weak_success", "strong_success", "repair", "look_right", "false_alarms", "misses", "recovery")


class Clock:
    """CPU seconds and likelihood evaluations by stage, told by `progress`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.evaluations: dict[str, int] = defaultdict(int)
        self._stage, self._begin = "reading, weights", time.process_time()

    def enter(self, message: str) -> None:
        """A stage begins; all comparisons of candidates are one."""
        now = time.process_time()
        self.seconds[self._stage] += now - self._begin
        self._stage, self._begin = message.split(":")[0], now

    def counting(self, minimize: Any) -> Any:
        """SciPy's optimiser, its evaluations counted."""

        def counted(*arguments: Any, **options: Any) -> Any:
            found = minimize(*arguments, **options)
            self.evaluations[self._stage] += int(found.nfev)
            return found

        return counted


def drawn(name: str, n: int) -> tuple[Rollouts, ObservationModel]:
    """Rollouts from a preset, and its observations."""
    model = tp.load_preset(name).routing_model()
    return draw_rollouts(model, n, n, n, np.random.default_rng(0)), model.observations


def recorded(folder: Path) -> tuple[Rollouts, ObservationModel]:
    """Rollouts of a folder, named after the family, and the observations of its preset."""
    rollouts = Rollouts(
        read_weak_rollouts(folder / "weak" / "weak.jsonl"),
        read_strong_rollouts(folder / "strong" / "strong.jsonl"),
        read_repair_rollouts(folder / "repair" / "repair.jsonl"),
    )
    return rollouts, tp.load_preset(f"lab-{folder.name}").observations


def measure(
    rollouts: Rollouts, observations: ObservationModel, *, labels: bool, intervals: bool = True
) -> tuple[StepDynamics, Clock]:
    """Fit once."""
    clock = Clock()
    original = optimise.minimize
    optimise.minimize = clock.counting(original)
    try:
        found = fit_rollouts(
            "measured",
            rollouts,
            observations,
            labels=labels,
            intervals=intervals,
            max_steps=MAX_STEPS,
            progress=clock.enter,
        )
    finally:
        optimise.minimize = original
    clock.enter("")
    return found, clock


def estimates(found: StepDynamics, seconds: dict[str, float]) -> dict[str, Any]:
    """What to keep of a fit."""
    assert found.fit is not None
    return {
        "explanation": found.fit.explanation,
        "seconds": seconds,
        "taken": [note for note in found.fit.notes if note.startswith("taken")],
        "held out": [note for note in found.fit.notes if note.startswith("held-out")],
        "log likelihood": found.fit.log_likelihood,
        "parameters": {name: value_of(found, name) for name in PARAMETERS},
        "hazards": {name: getattr(found, name) for name in ("hazard", "hazard_derailed", "hazard_wrong")},
        "intervals": {name: (item.low, item.high) for name, item in found.fit.intervals.items()},
    }


def value_of(found: StepDynamics, name: str) -> float | None:
    """One number of a parameter; of weak success by step the first."""
    value = getattr(found, name)
    return value[0] if isinstance(value, tuple) else value


def compare(now: dict[str, Any], before: dict[str, Any]) -> list[Any]:
    """Differences of two fits: of the log-likelihood, of parameters, and of those by the width of their intervals."""
    moved, wide = {}, {}
    for name, value in now["parameters"].items():
        old = before["parameters"][name]
        moved[name] = 0.0 if value is None or old is None else abs(value - old)
        low, high = before["intervals"].get(name, (0.0, 0.0))
        wide[name] = moved[name] / ((high - low) / 3.92) if high > low else 0.0
    worst, widest = max(moved, key=moved.__getitem__), max(wide, key=wide.__getitem__)
    return [
        now["taken"] == before["taken"] and now["explanation"] == before["explanation"],
        now["log likelihood"] - before["log likelihood"],
        f"{moved[worst]:.5f} ({worst})",
        f"{wide[widest]:.3f} ({widest})",
    ]


def main() -> None:
    """Time every set of rollouts, from outcomes and with labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=Path, nargs="*", default=[], help="folders of recorded rollouts")
    parser.add_argument("-n", type=int, default=150, help="drawn rollouts of each kind")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--against", type=Path)
    parsed = parser.parse_args()
    sets = {f"drawn {name}": drawn(name, parsed.n) for name in ("lab-loop.prm", "lab-chain.prm")}
    sets |= {f"recorded {folder.name}": recorded(folder) for folder in parsed.rollouts}
    begin = time.process_time()
    for labels in (False, True):
        measure(*drawn("lab-loop.prm", 30), labels=labels, intervals=False)
    heading(f"Fits of rollouts; compilation and first calls: {time.process_time() - begin:.1f} CPU s")
    kept: dict[str, Any] = {}
    rows, stages = [], []
    for title, data in sets.items():
        for labels in (False, True):
            name = f"{title}, {'labels' if labels else 'outcomes'}"
            found, clock = measure(*data, labels=labels)
            kept[name] = estimates(found, clock.seconds)
            rows.append([name, sum(clock.seconds.values()), sum(clock.evaluations.values())])
            rows[-1].append(kept[name]["log likelihood"])
            stages += [[name, stage, s, clock.evaluations[stage]] for stage, s in clock.seconds.items()]
            if parsed.save is not None:
                parsed.save.write_text(json.dumps(kept, indent=1))
    table(["rollouts", "CPU s", "evaluations", "log-likelihood"], rows)
    table(["rollouts", "stage", "CPU s", "evaluations"], stages)
    if parsed.against is not None:
        before = json.loads(parsed.against.read_text())
        heading(f"Against {parsed.against.name}")
        columns = ["same structure", "log-likelihood", "largest move", "largest move ÷ standard error"]
        table(["rollouts", *columns], [[name, *compare(kept[name], before[name])] for name in kept if name in before])


if __name__ == "__main__":
    main()
