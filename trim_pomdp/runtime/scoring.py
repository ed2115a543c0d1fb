"""Scores of labelled solutions, written as they come, so that an interrupted scoring goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trim_pomdp.artifacts import require_writable, validate
from trim_pomdp.data.features import LOGPROBS, LogprobName
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.processbench import LabelledSolution, StepScores
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.attempt import logprob_features
from trim_pomdp.runtime.backends.base import AnyGenerator, AnyScorer, given_logprobs, tells_given_logprobs
from trim_pomdp.runtime.batching import ask_once, score_all
from trim_pomdp.runtime.protocols import ScoreRequest
from trim_pomdp.runtime.shards import Shard
from trim_pomdp.runtime.traces import RunArtifact, first_difference
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

_BATCH = 32


@dataclass(frozen=True)
class SolutionScorer:
    """What is measured of a labelled solution.

    Attributes
    ----------
    prm : StepScorer, BatchScorer or None
        Scores every step.
    name : str
        What it is called in the file.
    weak : generator or None
        Tells how likely the steps' tokens are.
    format : StepFormat
        What stands between steps.

    Raises
    ------
    InputError
        If it does not tell that of steps that are given.
    """

    prm: AnyScorer | None
    name: str
    weak: AnyGenerator | None = None
    format: StepFormat = DEFAULT_FORMAT

    def __post_init__(self) -> None:
        if self.weak is not None and not tells_given_logprobs(self.weak):
            raise InputError(
                "this weak model's backend tells no log-probabilities of given steps; leave out --logprobs, or "
                'take backend = "vllm" or "transformers"'
            )

    def __call__(self, solutions: Sequence[LabelledSolution]) -> list[StepScores]:
        """Measure solutions."""
        requests = [ScoreRequest(Problem(item.id, item.problem), item.steps, self.format) for item in solutions]
        scores = [reply.scores for reply in score_all(self.prm, requests)] if self.prm else [None] * len(solutions)
        told = None if self.weak is None else ask_once(self.weak, given_logprobs(self.weak, requests))
        logprobs: Sequence[list[tuple[float, ...]] | None] = told or [None] * len(solutions)
        return [
            StepScores(
                id=item.id,
                label=item.label,
                n_scored=len(item.steps),
                scores={} if row is None else {self.name: row},
                features={} if tokens is None else _features(tokens),
            )
            for item, row, tokens in zip(solutions, scores, logprobs, strict=True)
        ]

    def made(self, record: StepScores) -> bool:
        """Whether a record holds what this measures."""
        return set(record.scores) == ({self.name} if self.prm else set()) and bool(record.features) == bool(self.weak)


def _features(steps: Sequence[tuple[float, ...]]) -> dict[LogprobName, tuple[float, ...]]:
    rows = [logprob_features(step) for step in steps]
    return {name: tuple(row[name] for row in rows) for name in LOGPROBS}


def score_solutions(
    solutions: Sequence[LabelledSolution],
    scorer: SolutionScorer,
    out: Path,
    *,
    resume: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Score solutions into a file that `fit-observations` reads, in their order.

    Parameters
    ----------
    solutions : sequence of LabelledSolution
        With distinct ids.
    scorer : SolutionScorer
    out : Path
        One line a solution, written batch by batch.
    resume : bool
        Go on with the file; a half-written last line is made anew.
    progress : callable
        Told how many solutions are done.

    Returns
    -------
    int
        How many were scored now.

    Raises
    ------
    InputError
        If the file exists and `resume` is False, was made otherwise or from other solutions, or another process
        writes to it; or two solutions have one id.
    """
    by_id = {item.id: item for item in solutions}
    if len(by_id) < len(solutions):
        double = next(item.id for item in solutions if by_id[item.id] is not item)
        raise InputError(f"solution {double} occurs twice; ids are unique")
    check_out(out, resume=resume)
    with _opened(out) as stream, _nothing_left_empty(out):
        done = _done(stream, out, by_id, scorer)
        todo = [item for item in solutions if item.id not in done]
        progress(len(done))
        for start in range(0, len(todo), _BATCH):
            records = scorer(todo[start : start + _BATCH])
            stream.write("".join(f"{record.model_dump_json(exclude_defaults=True)}\n" for record in records).encode())
            stream.flush()
            progress(len(done) + start + len(records))
        os.fsync(stream.fileno())
    return len(todo)


@contextmanager
def _nothing_left_empty(out: Path) -> Iterator[None]:
    """Remove the file if what made it failed before anything was written."""
    try:
        yield
    except BaseException:
        if out.stat().st_size == 0:
            out.unlink()
        raise


def scoring_config(
    solutions: Sequence[LabelledSolution], scorer: SolutionScorer, models: Mapping[str, Any]
) -> dict[str, Any]:
    """What defines the scoring of these solutions, shards apart, as JSON values."""
    text = json.dumps([(item.id, item.problem, item.steps, item.label) for item in solutions])
    return {
        "mode": "score",
        "models": models,
        "prm": scorer.name if scorer.prm else None,
        "logprobs": scorer.weak is not None,
        "steps": asdict(scorer.format),
        "solutions": {"count": len(solutions), "sha256": hashlib.sha256(text.encode()).hexdigest()},
    }


def shard_file(out: Path) -> Path:
    """What stands beside the scores of a shard, and says of what they are one."""
    return out.with_name(f"{out.name}.shard.json")


def claim_shard(out: Path, shard: Shard | None, config: Mapping[str, Any]) -> None:
    """Write, beside the scores of a shard that are to come, what they are a part of.

    Raises
    ------
    InputError
        If `out` is there already, and is another shard, or one at all where the whole is wanted.
    """
    path = shard_file(out)
    run = RunArtifact.of({**config, **({} if shard is None else shard.config)})
    if out.exists():
        before = RunArtifact.read(path) if path.is_file() else RunArtifact.of(config)
        if before.config_hash != run.config_hash:
            raise InputError(f"{out}: is another scoring; {first_difference(before.config, run.config)}")
    elif shard is not None:
        run.save(path)
    else:
        path.unlink(missing_ok=True)  # of a file that is gone


def check_out(out: Path, *, resume: bool) -> None:
    """Refuse, before long work, a file that exists, unless it is to be gone on with."""
    require_writable(out)
    if out.exists() and not resume:
        raise InputError(f"{out}: exists; go on with it (--resume), or name another file")


def _opened(out: Path) -> BinaryIO:
    """The file for appending, with a lock on it that dies with the process."""
    import fcntl

    stream = out.open("a+b")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        raise InputError(f"{out}: another process writes to it") from None
    return stream


def _done(stream: BinaryIO, out: Path, by_id: dict[str, LabelledSolution], scorer: SolutionScorer) -> set[str]:
    """Ids of the solutions that the file holds; its half-written last line, if there is one, is cut off."""
    stream.seek(0)
    content = stream.read()
    whole = content.rfind(b"\n") + 1
    done: set[str] = set()
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        record = _parsed(line, f"{out}, line {number}")
        solution = by_id.get(record.id)
        if solution is None or solution.label != record.label or len(solution.steps) != record.n_scored:
            raise InputError(f"{out}: holds scores of {record.id}, which is no solution of these")
        if not scorer.made(record):
            known = ", ".join((*record.scores, *record.features))
            raise InputError(f"{out}: {record.id} has {known}; this is another scoring")
        done.add(record.id)
    if whole < len(content):
        stream.truncate(whole)
    return done


def _parsed(line: bytes, source: str) -> StepScores:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise InputError(f"{source}: not JSON ({error})") from None
    return validate(StepScores, document, source=source)
