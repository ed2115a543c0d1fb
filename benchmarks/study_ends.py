"""How first errors end a solution: as right steps do, as derailed ones do, or in a way of their own.

    python benchmarks/study_ends.py [--work FOLDER]

On labelled solutions: ProcessBench's of twelve models, and, with --work, the rollouts that the lab's presets were
fitted from (``python -m trim_pomdp.cli.lab_presets``). Hazards by step of right steps (h), of steps after a first
error (h') and of first errors (h'') are estimated on four fifths of the problems. How often first errors end the
solution is predicted with each on the last fifth, and scored against h. Intervals are from 1,000 bootstrap draws of
problems.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import data_folder, heading, table

from trim_pomdp.data.processbench import read_solutions
from trim_pomdp.data.rollouts import read_weak_rollouts
from trim_pomdp.fitting.rollout_terms import step_classes
from trim_pomdp.lab.problems import FAMILIES
from trim_pomdp.model.hazard import HazardTrials

FloatArray = NDArray[np.float64]
SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")
MAX_STEPS, FOLDS, DRAWS = 40, 5, 1000
COLUMNS = ("expected with h", "with h'", "with h''", "better with h', nats", "with h'', nats")


@dataclass(frozen=True)
class Solutions:
    """Lengths, first wrong steps (from 0; -1: none) and problems of labelled solutions."""

    name: str
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    problems: NDArray[np.str_]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parsed = parser.parse_args()
    heading("How first errors end a solution")
    sources = [*processbench(), *(() if parsed.work is None else lab(parsed.work))]
    columns = ("source", "first errors", "that end it", *COLUMNS)
    table(columns, [[item.name, *compare(item)] for item in sources])


def processbench() -> Iterator[Solutions]:
    """ProcessBench, by split."""
    for split in SPLITS:
        items = read_solutions(data_folder() / "processbench" / f"{split}.jsonl.gz")
        yield Solutions(
            f"ProcessBench {split}",
            np.array([len(item.steps) for item in items]),
            np.array([item.label for item in items]),
            np.array([item.problem for item in items], dtype=np.str_),
        )


def lab(work: Path) -> Iterator[Solutions]:
    """The weak model's rollouts, by family."""
    for family in FAMILIES:
        items = read_weak_rollouts(work / family / "weak" / "weak.jsonl")
        yield Solutions(
            f"lab, {family}",
            np.array([item.n_steps for item in items]),
            np.array([item.label for item in items]),
            np.array([item.group for item in items], dtype=np.str_),
        )


def compare(data: Solutions) -> list[object]:
    """Number of first errors, share that end the solution, and `COLUMNS`."""
    index = np.arange(MAX_STEPS)
    exists, ends = index < data.lengths[:, None], index == data.lengths[:, None] - 1
    classes = step_classes(data.labels, MAX_STEPS)
    fold = np.random.default_rng(0).permutation(len(data.lengths)) % FOLDS
    expected = np.zeros((len(data.lengths), 3))
    error = np.flatnonzero((data.labels >= 0) & (data.labels < MAX_STEPS))
    for held_out in range(FOLDS):
        train = (fold != held_out)[:, None]
        for column in range(3):
            trials = train & exists & (classes == column)
            hazard = HazardTrials((trials & ends).sum(axis=0).astype(float), trials.sum(axis=0).astype(float)).rates()
            least = 0.5 / (len(data.lengths) + 1)  # what none did is rare, not impossible
            test = error[fold[error] == held_out]
            expected[test, column] = np.clip(hazard, least, 1 - least)[data.labels[test]]
    ended = ends[error, data.labels[error]]
    likelihood = np.where(ended[:, None], expected[error], 1 - expected[error])
    better = np.log(likelihood[:, 1:]) - np.log(likelihood[:, :1])
    differences = [_difference(column, data.problems[error]) for column in better.T]
    return [
        len(error),
        f"{ended.mean():.3f}",
        *(f"{share:.3f}" for share in expected[error].mean(axis=0)),
        *differences,
    ]


def _difference(values: FloatArray, problems: NDArray[np.str_]) -> str:
    """A sum with its 95 % interval, by problem."""
    sums = np.bincount(np.unique(problems, return_inverse=True)[1], values)
    draws = np.random.default_rng(1).choice(sums, (DRAWS, len(sums))).sum(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{values.sum():+.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
