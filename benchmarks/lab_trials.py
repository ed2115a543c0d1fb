"""Rules on the lab's test problems, live: accuracy and strong tokens, for studies that make rules of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from trim_pomdp.bench.running import Runner, Trial
from trim_pomdp.lab.problems import Family, draw
from trim_pomdp.lab.source import LabSource
from trim_pomdp.policies.base import Rule


@dataclass(frozen=True)
class LabTrial:
    """So many test problems of a family under a seed; runs are kept in a folder."""

    source: LabSource
    folder: Path
    family: Family
    problems: int
    seed: int

    @cached_property
    def trial(self) -> Trial:
        """The problems, drawn once."""
        return Trial(f"test-{self.family}", draw(self.family, "test", self.seed, self.problems), self.seed)

    def measured(self, rule: Rule) -> tuple[float, float]:
        """Accuracy and strong tokens a problem of a rule."""
        runner = Runner(self.source, self.folder)
        runner.make(rule, self.trial)
        ended = [item.terminal for item in runner.records(rule, self.trial)]
        return float(np.mean([bool(i.correct) for i in ended])), float(np.mean([i.tokens.strong for i in ended]))
