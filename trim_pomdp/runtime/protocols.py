"""What the engine asks of models: one protocol for generators, one for process reward models.

Both are asynchronous, one request a call, so that a server behind HTTP fits as it is; models in this process batch
the requests that wait for them (`trim_pomdp.runtime.batching`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from trim_pomdp.data.problems import Problem
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

StopReason = Literal["separator", "answer", "end", "length"]


@dataclass(frozen=True)
class StepRequest:
    """The next step of a solution is wanted.

    Attributes
    ----------
    problem : Problem
    steps : tuple of str
        Steps so far, without separators.
    seed : int
        Seed of the run. The draw of token n of this step is the uniform at n of the stream of seed and `key`, so that
        it depends on nothing else that happens in the process.
    max_tokens : int
        Tokens that the step may have.
    format : StepFormat
        What ends a step, and what stands between steps.
    drafts : tuple of str
        What the weak model wrote in this place before, and was asked for again. Models see nothing of it: it is their
        number that keys a draw of its own.
    """

    problem: Problem
    steps: tuple[str, ...]
    seed: int
    max_tokens: int
    format: StepFormat = DEFAULT_FORMAT
    drafts: tuple[str, ...] = ()

    def key(self, role: str) -> tuple[str | int, ...]:
        """What draws belong to beside the seed: problem, step, role, and which draft, where it is not the first."""
        first = (self.problem.id, len(self.steps), role)
        return (*first, len(self.drafts)) if self.drafts else first


@dataclass(frozen=True)
class Usage:
    """Tokens of the requests behind a reply, as whoever served them counts.

    Attributes
    ----------
    prompt : int
        Tokens read, cached ones included.
    cached : int
        Those among them that a prefix cache knew.
    output : int
        Tokens generated, the stop token and any thrown away behind the step's end included.
    """

    prompt: int
    cached: int
    output: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.cached + other.cached, self.output + other.output)


@dataclass(frozen=True)
class GeneratedStep:
    """A generated step.

    Attributes
    ----------
    text : str
        The step, without the separator.
    logprobs : tuple of float
        Log-probability of every generated token, the stop token included, under the untempered distribution. None at
        all where the model offers none.
    stop : {"separator", "answer", "end", "length"}
        What ended it: what separates steps, an answer in a box, the end of the text, or the token limit.
    usage : Usage or None
        Tokens read and generated; None where nobody counted.
    """

    text: str
    logprobs: tuple[float, ...]
    stop: StopReason
    usage: Usage | None = None

    @property
    def tokens(self) -> int:
        """Generated tokens, the stop token included."""
        return len(self.logprobs) if self.usage is None else self.usage.output


@dataclass(frozen=True)
class ScoreRequest:
    """The probability that each step is right is wanted.

    Attributes
    ----------
    problem : Problem
    steps : tuple of str
        All steps so far; every one is scored.
    format : StepFormat
        What stands between steps.
    """

    problem: Problem
    steps: tuple[str, ...]
    format: StepFormat = DEFAULT_FORMAT


@dataclass(frozen=True)
class SolutionScores:
    """Scores of a solution so far.

    Attributes
    ----------
    scores : tuple of float
        Probability in [0, 1] that each step is right.
    tokens : int
        Tokens that the PRM read.
    cached : int
        Those among them that a prefix cache knew.
    """

    scores: tuple[float, ...]
    tokens: int
    cached: int = 0


class Generator(Protocol):
    """A model that writes steps."""

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """Write the next step."""
        ...


@runtime_checkable
class WarmedGenerator(Protocol):
    """A generator whose server can be made ready for a step before it is wanted."""

    async def warm(self, request: StepRequest) -> Usage:
        """Have the prompt of a step read, so that the server's prefix cache knows it; nothing is written."""
        ...


class StepScorer(Protocol):
    """A process reward model."""

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """Score every step."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A model that holds something, such as connections, as long as it is asked."""

    async def close(self) -> None:
        """Let go of it."""
        ...


@runtime_checkable
class ServedModel(Closable, Protocol):
    """A model behind servers.

    Attributes
    ----------
    facts : mapping of str
        What was found out about the servers and defines a run, as JSON values.
    faults : mapping of str to int
        What went wrong with requests so far, by kind.
    """

    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def faults(self) -> Mapping[str, int]: ...  # noqa: D102


@runtime_checkable
class GivenSteps(Protocol):
    """A generator that also tells how likely given steps are."""

    async def given_logprobs(self, request: ScoreRequest) -> list[tuple[float, ...]]:
        """Log-probabilities of the tokens of every step, as if the model had written them.

        The separator's are with its step, and those of the end of the text where the last step holds an answer
        (without one nobody knows whether the text was over).
        """
        ...


@runtime_checkable
class BatchGenerator(Protocol):
    """A generator in this process: many requests at once, synchronously."""

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        """Write the next step of every request."""
        ...


@runtime_checkable
class BatchScorer(Protocol):
    """A process reward model in this process: many requests at once, synchronously."""

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        """Score every step of every request."""
        ...
