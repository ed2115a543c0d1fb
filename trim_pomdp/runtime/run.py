"""A run: problems through the engine into a folder of traces, resumable, and its totals."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Rule, SetupError, content_hash
from trim_pomdp.runtime.attempt import Attempt, Caps, Oracle
from trim_pomdp.runtime.engine import Models, solve_all
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.records import SolutionRecord, TerminalRecord
from trim_pomdp.runtime.shards import Shard
from trim_pomdp.runtime.summary import RunSummary, summarise
from trim_pomdp.runtime.traces import TraceWriter
from trim_pomdp.text import mathematics
from trim_pomdp.text.answers import checker as answer_checker
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

# References that are compared without math-verify.
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")

_FEW_SCORES = 2

Progress = Callable[[int, int, TerminalRecord], None]
"""Told after every problem: how many have ended, of how many, and how this one did.

Where an event loop runs already, as in a notebook, it is called in another thread than the run was, one call at a time.
"""


@dataclass(frozen=True)
class Routing:
    """How problems are solved; the same for all problems of a run.

    Attributes
    ----------
    policy : rule or mixture
        Any policy of the package.
    seed : int
        Seed of all draws.
    caps : Caps
        Hard limits per problem.
    class_table : ClassTable or None
        Densities of (min, current), for policies that look at them.
    oracle : callable or None
        True class of a step, where it can be known.
    record_scores : bool
        Have every step scored, whether the policy needs it or not.
    format : StepFormat
        What separates steps.
    checker : str
        Judges answers; a name that `trim_pomdp.text.answers.checker` knows.

    Raises
    ------
    SetupError
        If the policy needs to know the truth and there is no oracle.
    InputError, UnsetParameterError
        If it needs the class table and there is none, or another one.
    """

    policy: Rule
    seed: int = 0
    caps: Caps = field(default_factory=Caps)
    class_table: ClassTable | None = None
    oracle: Oracle | None = None
    record_scores: bool = False
    format: StepFormat = DEFAULT_FORMAT
    checker: str = "math"

    def __post_init__(self) -> None:
        if self.policy.needs_truth and self.oracle is None:
            raise SetupError("the strategy 'oracle' exists only where true classes are known")
        self.policy.require(self.class_table)

    def start(self, problem: Problem, prefix: tuple[str, ...] = (), discarded: tuple[str, ...] = ()) -> Attempt:
        """A problem's solution, not begun yet, or begun with given steps, and drafts that were discarded after them."""
        return Attempt(
            problem,
            self.policy.router(problem, seed=self.seed, class_table=self.class_table),
            caps=self.caps,
            seed=self.seed,
            oracle=self.oracle,
            record_scores=self.record_scores,
            format=self.format,
            checker=answer_checker(self.checker),
            prefix=prefix,
            discarded=discarded,
        )

    @property
    def config(self) -> dict[str, Any]:
        """What defines it, as JSON values."""
        return {
            "policy": self.policy.policy_hash,
            "class_table": None if self.class_table is None else content_hash(self.class_table),
            "seed": self.seed,
            "caps": asdict(self.caps),
            "record_scores": self.record_scores,
            "steps": asdict(self.format),
            "checker": self.checker,
        }


def run(
    problems: Sequence[Problem],
    start: Callable[[Problem], Attempt],
    models: Models,
    folder: str | Path,
    *,
    config: Mapping[str, Any],
    resume: bool = False,
    in_flight: int = 64,
    progress: Progress | None = None,
    strong_only_tokens: float | None = None,
    files: Mapping[str, str] | None = None,
    shard: Shard | None = None,
    overlap: bool = False,
    warm_strong: bool = False,
    keep_steps: bool = True,
) -> RunSummary:
    """Solve problems and write their traces.

    Parameters
    ----------
    problems : sequence of Problem
        With distinct ids.
    start : callable
        Makes the solution of a problem, such as `Routing.start`.
    models : Models
        Answer the requests.
    folder : path
        Where the traces go; see `TraceWriter`.
    config : mapping
        What defines the run: policy, seed, caps, models. A fingerprint of the problems is added, and what was found
        out about served models.
    resume : bool
        Go on with the run in the folder: problems that ended, by an error or otherwise, are not repeated.
    in_flight : int
        Problems under way at once; totals do not depend on it.
    progress : callable or None
        Told after every problem.
    strong_only_tokens : float or None
        The unit of the budget.
    files : mapping of str to str
        Texts to keep in the folder, by file name; written before the first problem.
    shard : Shard or None
        Solve this part of the problems.
    overlap, warm_strong : bool
        What models do while a score is awaited, see `trim_pomdp.runtime.engine.solve_all`; all but time and tokens that
        were spent ahead are the same without, so that a run may be resumed with or without.
    keep_steps : bool
        Write what was seen and decided at each step; without, only how every problem ended.

    Returns
    -------
    RunSummary
        Of all sessions together.

    Raises
    ------
    InputError
        If two problems have the same id, there are fewer than shards, the folder is not fit (see
        `TraceWriter`), or the strong model cannot be made to read without writing (`warm_strong`).
    """
    _require_distinct(problems)
    if warm_strong:
        models.require_warmed()
    mine, part = (problems, {}) if shard is None else (shard.of(problems), shard.config)
    if any(problem.answer is not None and not _PLAIN.fullmatch(problem.answer) for problem in problems):
        mathematics.start()  # in the background, so that the first answer need not wait for it
    found = {"found": models.facts} if models.facts else {}
    defined = {**config, **part, "problems": fingerprint(problems), **found}
    with TraceWriter(folder, defined, resume=resume, files=files) as traces:
        done = {item.problem for item in traces.terminals}
        began, worked = perf_counter(), models.clock.seconds

        scores: set[float] = set()

        def finished(solution: SolutionRecord) -> None:
            times = {
                "session": traces.session,
                "elapsed_s": perf_counter() - began,
                "models_s": models.clock.seconds - worked,
            }
            terminal = solution.terminal.model_copy(update=times)
            traces.append(SolutionRecord(solution.decisions if keep_steps else (), terminal))
            scores.update(score for item in solution.decisions if item.scoring for score in item.scoring.scores)
            while len(scores) > _FEW_SCORES:  # enough to know that they differ
                scores.pop()
            if progress is not None:
                progress(len(traces.terminals), len(mine), terminal)

        todo = (problem for problem in mine if problem.id not in done)
        ahead = {"overlap": overlap, "warm_strong": warm_strong}
        run_to_end(solve_all(todo, start, models, finished, in_flight=in_flight, **ahead))
        summary = summarise(traces.terminals, strong_only_tokens)
        return replace(summary, faults=models.faults, constant_score=scores.pop() if len(scores) == 1 else None)


def _require_distinct(problems: Sequence[Problem]) -> None:
    for problem, count in Counter(problem.id for problem in problems).items():
        if count > 1:
            raise InputError(f"{count} problems have the id {problem!r}; ids are unique in a run")


def fingerprint(problems: Sequence[Problem]) -> dict[str, Any]:
    """How many problems, and a hash of them."""
    text = json.dumps([(problem.id, problem.prompt, problem.answer) for problem in problems])
    return {"count": len(problems), "sha256": hashlib.sha256(text.encode()).hexdigest()}
