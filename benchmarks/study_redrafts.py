"""What further drafts of a step are worth: how drafts depend on each other, and which of them to keep.

    python benchmarks/study_redrafts.py --work FOLDER [--problems 300] [--family loop]

The weak model solves problems of the lab's fitting split alone, and drafts each of its steps three more times; the
first draft stands, so that solutions are those that it always writes. True classes are known, so that counts say

* whether drafts could change places, P(second right) = P(first right);
* whether how the last one was is all that matters, P(third right | two wrong) = P(second right | first wrong) = b;
* how alike the evidence of two wrong drafts is, and how often they are the same text;
* which draft to keep of those that a rule asks for: the latest or the one of the better evidence.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.data.problems import Problem
from trim_pomdp.lab.problems import FAMILIES, Family, draw
from trim_pomdp.lab.source import LabSource
from trim_pomdp.model.actions import KEEP
from trim_pomdp.model.actions.redraft import Redraft
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Author, Decision, Rule, RuleRouter, StepObservation
from trim_pomdp.presets.store import load_preset
from trim_pomdp.runtime.attempt import draft_features
from trim_pomdp.runtime.live import run_live
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.traces import read_traces

DRAFTS = 4
# Presets were fitted on seed 0 of this split.
FIT_SEED = 1
IN_FLIGHT = 256
EVIDENCE = ("", ".prm")


class EveryDraftRule(Rule):
    """Draft every step so many times, and keep the first: what it costs tells nothing, its drafts do."""

    form: Literal["every draft"] = "every draft"
    drafts: int = DRAFTS

    @property
    def authors(self) -> frozenset[Author]:
        """See `Rule`."""
        return frozenset(("weak",))

    @property
    def needs_score(self) -> bool:
        """See `Rule`: so that every draft has one."""
        return True

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> EveryDraftRouter:
        """See `Rule`."""
        return EveryDraftRouter(self)


class EveryDraftRouter(RuleRouter):
    """The rule on one problem."""

    def __init__(self, rule: EveryDraftRule) -> None:
        super().__init__(rule)
        self._last = rule.drafts - 1

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        return Decision(Redraft.code) if seen.draft < self._last else Decision(KEEP, draft=0)


@dataclass(frozen=True)
class Drafts:
    """All drafts of steps after right prefixes.

    Attributes
    ----------
    right : ndarray of bool, shape (n, DRAFTS)
    evidence : dict of str to ndarray of shape (n, DRAFTS)
        Evidence score, by what it is made of.
    text : ndarray of int, shape (n, DRAFTS)
        Equal numbers in a row are equal texts.
    problem : ndarray of int, shape (n,)
    """

    right: NDArray[np.bool_]
    evidence: dict[str, NDArray[np.float64]]
    text: NDArray[np.int64]
    problem: NDArray[np.int64]

    @classmethod
    def of(cls, records: Sequence[SolutionRecord], maps: dict[str, EvidenceMap | None]) -> Drafts:
        """Of recorded solutions."""
        right, text, problem = [], [], []
        evidence: dict[str, list[list[float]]] = {name: [] for name in maps}
        for number, record in enumerate(records):
            for item in record.decisions:
                found = [(draft.weak, draft.scoring) for draft in item.all_drafts]
                if any(weak is None or scoring is None or weak.true_class == 1 for weak, scoring in found):
                    continue
                texts = [weak.text for weak, _ in found if weak]
                right.append([weak.true_class == 0 for weak, _ in found if weak])
                text.append([texts.index(name) for name in texts])
                problem.append(number)
                features = [
                    {**draft_features(weak.step), "score": scoring.scores[-1]}
                    for weak, scoring in found
                    if weak and scoring
                ]
                for name, kind in maps.items():
                    evidence[name].append([evidence_score(kind, item) for item in features])
        return cls(
            np.array(right),
            {name: np.array(rows) for name, rows in evidence.items()},
            np.array(text),
            np.array(problem),
        )


def share(hits: NDArray[np.bool_], among: NDArray[np.bool_], problem: NDArray[np.int64]) -> str:
    """A share with its standard error over problems, and of how many."""
    n = int(among.sum())
    if n == 0:
        return "      -"
    p = float(hits[among].mean())
    by_problem = np.bincount(problem[among], hits[among] - p)
    return f"{p:.3f} ± {np.sqrt((by_problem**2).sum()) / n:.3f} (n {n})"


def dependence(drafts: Drafts) -> Iterator[str]:
    """Lines on how drafts depend on each other."""
    right, problem = drafts.right, drafts.problem
    everything = np.ones(len(right), dtype=np.bool_)
    for m in range(DRAFTS):
        yield f"draft {m + 1} right: {share(right[:, m], everything, problem)}"
    yield f"b = P(2nd right | 1st wrong): {share(right[:, 1], ~right[:, 0], problem)}"
    yield f"a = P(2nd right | 1st right): {share(right[:, 1], right[:, 0], problem)}"
    yield f"P(3rd right | wrong, wrong): {share(right[:, 2], ~right[:, 0] & ~right[:, 1], problem)}"
    yield f"P(3rd right | right, wrong): {share(right[:, 2], right[:, 0] & ~right[:, 1], problem)}"
    yield f"P(4th right | three wrong): {share(right[:, 3], ~right[:, :3].any(axis=1), problem)}"
    same = drafts.text[:, 1] == drafts.text[:, 0]
    for what, where in (("wrong", ~right[:, 0]), ("right", right[:, 0])):
        yield f"2nd the same text | 1st {what}: {share(same, where, problem)}"
    for name, values in drafts.evidence.items():
        first, second = values[:, 0], values[:, 1]
        both, low = ~right[:, 0] & ~right[:, 1], first < 0.3
        yield (
            f"{name}: of two wrong, 2nd evidence < .3 | 1st < .3: {share(second < 0.3, both & low, problem)}; "
            f"| 1st >= .3: {share(second < 0.3, both & ~low, problem)}"
        )
        fine = right[:, 0] & right[:, 1]
        yield (
            f"{name}: of two right, 2nd evidence < .3 | 1st < .3: {share(second < 0.3, fine & low, problem)}; "
            f"| 1st >= .3: {share(second < 0.3, fine & ~low, problem)}"
        )
        fresh = np.array([len(set(row.tolist())) == DRAFTS for row in drafts.text])
        yield f"{name}: steps whose four drafts are four texts: {fresh.mean():.3f}"


def kept(drafts: Drafts, name: str, below: float) -> Iterator[str]:
    """Lines on which draft to keep under the rule: draft again below, up to four."""
    values = drafts.evidence[name]
    rows = np.arange(len(values))
    good = values >= below
    last = np.where(good.any(axis=1), good.argmax(axis=1), DRAFTS - 1)
    seen = np.where(np.arange(DRAFTS) <= last[:, None], values, -1.0)
    best = DRAFTS - 1 - seen[:, ::-1].argmax(axis=1)
    redrafted, problem = last > 0, drafts.problem
    head = f"{name} below {below:g}"
    for which, index in (("first", np.zeros_like(last)), ("latest", last), ("better", best)):
        right = share(drafts.right[rows, index], redrafted, problem)
        yield f"{head}, of redrafted steps right, {which} kept: {right}"
    differ = redrafted & (best != last)
    gain = drafts.right[rows, best].astype(float) - drafts.right[rows, last]
    mean = float(gain[differ].mean()) if differ.any() else 0.0
    yield f"{head}: they differ in {differ.sum()} of {redrafted.sum()}; there better − latest = {mean:+.3f}"


def main() -> int:
    """Record drafts that are not there yet, and print what they tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--family", choices=FAMILIES, action="append")
    parsed = parser.parse_args()
    families: Sequence[Family] = parsed.family or FAMILIES
    for family in families:
        folder = parsed.work / f"drafts-{family}"
        problems = draw(family, "fit", FIT_SEED, parsed.problems)
        run_live(EveryDraftRule(), problems, LabSource(), folder, seed=FIT_SEED, resume=True, in_flight=IN_FLIGHT)
        maps = {f"lab-{family}{kind}": load_preset(f"lab-{family}{kind}").observations.evidence for kind in EVIDENCE}
        drafts = Drafts.of(list(read_traces(folder)), maps)
        print(f"## {family}: {len(drafts.right)} steps after right prefixes, {parsed.problems} problems")
        for line in dependence(drafts):
            print(f"  {line}")
        for name in maps:
            for below in (0.1, 0.3, 0.7):
                for line in kept(drafts, name, below):
                    print(f"  {line}")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
