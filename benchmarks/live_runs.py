"""Runs of the live study as arrays: all runs of a family, problem by problem in one order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from live_statistics import FloatArray, IntArray
from numpy.typing import NDArray
from study_live import RESULT_FILE, budget_run, evidence_of

from trim_pomdp.data.features import LOGPROBS
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.model.evidence import EvidenceKind
from trim_pomdp.presets.store import Preset, load_preset
from trim_pomdp.runtime.attempt import logprob_features
from trim_pomdp.runtime.records import DecisionRecord, SolutionRecord, TerminalRecord
from trim_pomdp.runtime.rollouts import weak_rollout
from trim_pomdp.runtime.traces import TRACE_FILE, read_run_artifact, read_traces

_TERMINAL = b'{"kind":"terminal"'


class ReportError(Exception):
    """The runs are not what a report can be made of."""


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes
    ----------
    folder : Path
    result : dict
        What ``result.json`` says.
    correct, strong_tokens : ndarray of shape (n,)
        Of each problem, in the family's order.
    steps : int
        Of all problems.
    """

    folder: Path
    result: dict[str, Any]
    correct: FloatArray
    strong_tokens: FloatArray
    steps: int

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def planned(self) -> dict[str, float]:
        """Accuracy, strong tokens and regenerations that the model predicts.

        Raises
        ------
        ReportError
            If nothing was predicted.
        """
        planned: dict[str, float] | None = self.result["planned"]
        if planned is None:
            raise ReportError(f"{self.folder}: result.json has no prediction")
        return planned


@dataclass(frozen=True)
class Drafts:
    """Weak steps with their true classes.

    Attributes
    ----------
    features : dict of str to ndarray of shape (rows,)
        ``score`` (NaN where the PRM was not asked), ``logprob_min``, ``logprob_mean``.
    true_class, step, problem : ndarray of int, shape (rows,)
        Class 0, 1 or 2; index of the step; index of the problem in the family's order.
    belief : ndarray of shape (rows,) or None
        P(S0) as the run's own router believed it.
    """

    features: dict[str, FloatArray]
    true_class: IntArray
    step: IntArray
    problem: IntArray
    belief: FloatArray | None = None

    def take(self, rows: NDArray[np.bool_]) -> Drafts:
        """Some of the rows."""
        return Drafts(
            {name: values[rows] for name, values in self.features.items()},
            self.true_class[rows],
            self.step[rows],
            self.problem[rows],
            None if self.belief is None else self.belief[rows],
        )


@dataclass(frozen=True)
class FamilyRuns:
    """All runs of a family that ended, on the same problems.

    Attributes
    ----------
    name : str
    problems : tuple of str
        Ids, in the order of all arrays.
    runs : dict of str to Run
    seed : int
        Of all runs.
    load : callable
        Finds presets by name.
    """

    name: str
    problems: tuple[str, ...]
    runs: dict[str, Run]
    seed: int
    load: Callable[[str], Preset] = load_preset

    def __getitem__(self, name: str) -> Run:
        return self.runs[name]

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the named runs that are not there."""
        return [name for name in names if name not in self.runs]

    def named(self, kind: str) -> list[Run]:
        """Runs called ``KIND-number``, by their numbers."""
        found = [
            run for name, run in self.runs.items() if name.startswith(f"{kind}-") and is_number(name[len(kind) + 1 :])
        ]
        return sorted(found, key=lambda run: float(run.name[len(kind) + 1 :]))

    def on_evidence(self, budget: float, kind: EvidenceKind) -> str:
        """Name of the run that was planned for a budget on some evidence."""
        return budget_run(budget, kind, self.default_evidence)

    def preset(self, kind: str | None = None) -> Preset:
        """The preset of some evidence, or the default one."""
        return self.load(f"lab-{self.name}" if kind is None else f"lab-{self.name}.{kind}")

    @cached_property
    def default_evidence(self) -> EvidenceKind:
        """Evidence of the default preset."""
        return evidence_of(self.preset())

    @cached_property
    def unit(self) -> float:
        """Strong tokens that a budget is a share of, in the default preset.

        Raises
        ------
        ReportError
            If a run was made with another one.
        """
        unit = self.preset().routing_model().strong_only_tokens
        for name in ("strong", *(run.name for run in self.named("budget"))):
            result = self[name].result if name in self.runs else {"budget": 0.0, "strong_tokens": 0.0}
            if abs(result["budget"] * unit - result["strong_tokens"]) > 1e-6 * unit:
                raise ReportError(f"{self[name].folder}: was made with another preset than lab-{self.name} is now")
        return unit

    def correct(self, names: Sequence[str]) -> FloatArray:
        """Outcomes of runs, shape (n, k)."""
        return np.stack([self[name].correct for name in names], axis=1)

    def tokens(self, names: Sequence[str]) -> FloatArray:
        """Strong tokens of runs, shape (n, k)."""
        return np.stack([self[name].strong_tokens for name in names], axis=1)

    def solutions(self, name: str) -> list[SolutionRecord]:
        """Whole solutions of a run that met no error, in the family's order."""
        by_problem = {item.terminal.problem: item for item in read_traces(self[name].folder)}
        return [by_problem[problem] for problem in self.problems if by_problem[problem].terminal.error is None]

    def place(self, problem: str) -> int:
        """Index of a problem."""
        return self._places[problem]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {problem: index for index, problem in enumerate(self.problems)}

    @cached_property
    def weak_solutions(self) -> list[ScoredSequence]:
        """Weak-only solutions, step by step, with their first errors.

        Raises
        ------
        ReportError
            If their steps have no scores.
        """
        sequences = [weak_rollout(record, labels=True) for record in self.solutions("weak")]
        if any(item.scores is None for item in sequences):
            raise ReportError(f"{self['weak'].folder}: its steps have no PRM scores; make the run again")
        return sequences

    def drafts(self, name: str) -> Drafts:
        """Weak steps of a run whose true class is known."""
        rows = [
            (item, item.weak, score)
            for record in self.solutions(name)
            for item, score in zip(record.decisions, record.own_scores, strict=True)
            if item.weak is not None and item.weak.true_class is not None
        ]
        features = [
            {"score": _draft_score(item, score), **logprob_features(weak.logprobs)} for item, weak, score in rows
        ]
        beliefs = [item.belief[0] for item, _, _ in rows if item.belief is not None]
        return Drafts(
            {key: np.array([row[key] for row in features]) for key in ("score", *LOGPROBS)},
            np.array([weak.true_class for _, weak, _ in rows]),
            np.array([item.step for item, _, _ in rows]),
            np.array([self.place(item.problem) for item, _, _ in rows]),
            np.array(beliefs) if len(beliefs) == len(rows) else None,
        )


def _draft_score(decision: DecisionRecord, own_score: float | None) -> float:
    """Score of the weak step: seen before the decision, or learned later of one that stands; else NaN."""
    if decision.score is not None:
        return decision.score
    return own_score if decision.action == "keep" and own_score is not None else float("nan")


def is_number(text: str) -> bool:
    """Whether a text is a plain number."""
    return text.replace(".", "", 1).isdigit()


def read_terminals(folder: Path) -> dict[str, TerminalRecord]:
    """Terminal records of a run by problem, without reading the decisions."""
    out = {}
    with (folder / TRACE_FILE).open("rb") as stream:
        for line in stream:
            if line.startswith(_TERMINAL):
                record = TerminalRecord.model_validate_json(line)
                out[record.problem] = record
    return out


def read_family(folder: Path, load: Callable[[str], Preset] = load_preset) -> FamilyRuns:
    """All ended runs of a family's folder.

    Raises
    ------
    ReportError
        If there is none, or two have not the same problems and the same seed.
    """
    folders = sorted(item.parent for item in folder.glob(f"*/{RESULT_FILE}"))
    if not folders:
        raise ReportError(f"{folder}: no run has ended; make them with benchmarks/study_live.py")
    defined: dict[str, Any] = {}
    runs: dict[str, Run] = {}
    problems: tuple[str, ...] = ()
    for path in folders:
        config = read_run_artifact(path).config
        same = {"seed": config["seed"], "problems": config["problems"]}
        if defined and same != defined:
            raise ReportError(f"{path}: has other problems or another seed than {folders[0]}")
        defined = same
        ends = read_terminals(path)
        problems = problems or tuple(sorted(ends, key=_order))
        if set(ends) != set(problems):
            raise ReportError(f"{path}: {len(ends)} problems have ended, {len(problems)} in {folders[0]}")
        ordered = [ends[problem] for problem in problems]
        runs[path.name] = Run(
            path,
            json.loads((path / RESULT_FILE).read_text()),
            np.array([float(bool(item.correct)) for item in ordered]),
            np.array([float(item.tokens.strong) for item in ordered]),
            sum(item.steps for item in ordered),
        )
    return FamilyRuns(folder.name, problems, runs, int(defined["seed"]), load)


def _order(problem: str) -> tuple[str, int]:
    stem, _, index = problem.rpartition("-")
    return (stem, int(index)) if index.isdigit() else (problem, 0)
