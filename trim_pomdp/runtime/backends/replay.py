"""``backend = "replay"``: every request is answered as it was answered in a trace.

Under the policy that wrote the trace a replay gives the same trace; under another one it goes as far as the same
requests come up. A request that was not recorded is an error, which names problem and step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.policies.base import Author
from trim_pomdp.runtime.backends.base import GeneratorTable, ModelTable, Place, ScorerTable
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.protocols import (
    GeneratedStep,
    Generator,
    ScoreRequest,
    SolutionScores,
    StepRequest,
    StepScorer,
)
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.traces import read_run_artifact, read_traces

Key = tuple[str, tuple[str, ...], int]
Reply = TypeVar("Reply")


class NotRecordedError(TrimError):
    """A request that the trace has no reply to."""


@dataclass(frozen=True)
class ReplayGenerator:
    """A generator's recorded steps, by problem id, steps before, and number of drafts before."""

    name: str
    steps: dict[Key, GeneratedStep]

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator.generate`."""
        before, which = len(request.drafts), f"{self.name} step {len(request.steps)}"
        key = request.problem.id, request.steps, before
        return _recorded(self.steps, key, f"{which}, draft {before + 1}" if before else which)


@dataclass(frozen=True)
class ReplayScorer:
    """A process reward model's recorded replies, by problem id and steps."""

    scores: dict[tuple[str, tuple[str, ...]], SolutionScores]

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer.score`."""
        return _recorded(self.scores, (request.problem.id, request.steps), f"score of step {len(request.steps) - 1}")


def replay_models(traces: Iterable[SolutionRecord]) -> Models:
    """The models of a run as they answered in it.

    Parameters
    ----------
    traces : iterable of SolutionRecord
        Such as `trim_pomdp.runtime.traces.read_traces` gives.
    """
    weak: dict[Key, GeneratedStep] = {}
    strong: dict[Key, GeneratedStep] = {}
    scores: dict[tuple[str, tuple[str, ...]], SolutionScores] = {}
    for solution in traces:
        problem, steps = solution.terminal.problem, solution.terminal.prefix
        for item in solution.decisions:
            for number, draft in enumerate(item.all_drafts):
                if draft.weak is not None:
                    weak[problem, steps, number] = draft.weak.step
                    if draft.scoring is not None:  # a later draft of the same text had no request of its own
                        scores.setdefault((problem, (*steps, draft.weak.text)), draft.scoring.reply)
            if item.strong is not None:
                strong[problem, steps, len(item.drafts)] = item.strong.step
            if item.accepted is not None:
                steps = (*steps, item.accepted.text)
        if solution.terminal.scoring is not None:
            scores[problem, steps] = solution.terminal.scoring.reply
    return Models(ReplayGenerator("weak", weak), ReplayGenerator("strong", strong), ReplayScorer(scores))


def _recorded(replies: dict[Any, Reply], key: tuple[Any, ...], what: str) -> Reply:
    try:
        return replies[key]
    except KeyError:
        raise NotRecordedError(f"problem {key[0]!r}: the trace holds no {what} after these steps") from None


class _ReplayTable(ModelTable):
    """Which run is replayed.

    Attributes
    ----------
    run : str
        Its folder, relative to the models file or absolute.
    """

    backend: Literal["replay"]
    run: str = Field(min_length=1)

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`: the run by what defines it, not by where it is."""
        return {"backend": self.backend, "run": read_run_artifact(folder / self.run).config_hash}

    def models(self, place: Place) -> Models:
        """The models of the run; raises `InputError` naming the table."""
        try:
            return replay_models(read_traces(place.folder / self.run))
        except InputError as error:
            raise InputError(f"{place.table}: {error}") from None


class ReplayGeneratorTable(_ReplayTable, GeneratorTable):
    """A recorded generator."""

    def load(self, role: Author, place: Place) -> Generator:
        """See `GeneratorTable`."""
        models = self.models(place)
        found = models.weak if role == "weak" else models.strong
        assert found is not None
        return found


class ReplayScorerTable(_ReplayTable, ScorerTable):
    """A recorded process reward model."""

    def load(self, place: Place) -> StepScorer:
        """See `ScorerTable`."""
        found = self.models(place).prm
        assert found is not None
        return found


GENERATOR = ReplayGeneratorTable
PRM = ReplayScorerTable
