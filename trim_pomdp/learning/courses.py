"""One problem as an agent meets it, decision by decision: drawn from a routing model, or solved by real models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.learning.live import attempt
from trim_pomdp.learning.rollouts import FloatArray
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.episodes import Episodes
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.policies import Decision, StepObservation
from trim_pomdp.policies.base import Author
from trim_pomdp.policies.learned import StepView
from trim_pomdp.runtime.attempt import Attempt, Call
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.live import require_answers
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.protocols import GeneratedStep, SolutionScores
from trim_pomdp.runtime.sources import Backends, ModelSource

Columns = Mapping[str, FloatArray]


@dataclass(frozen=True)
class Moment:
    """Where a problem is.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (1,), or None
        Features of the weak step that waits for a decision, by name; None where the solution is over.
    strong_tokens : float
        What the decision before took.
    right : bool or None
        Whether the solution is right, once it is over.
    true_class : int or None
        0, 1, 2 for S0, S1, S2 of the weak step, where truth is known; not for agents.
    """

    columns: Columns | None
    strong_tokens: float = 0.0
    right: bool | None = None
    true_class: int | None = None


class Course(Protocol):
    """Problems, one after the other.

    Attributes
    ----------
    reward : float
        Of a right answer: the units of λ.
    max_steps : int
        Steps of a problem at most.
    """

    @property
    def reward(self) -> float: ...  # noqa: D102

    @property
    def max_steps(self) -> int: ...  # noqa: D102

    def begin(self, rng: np.random.Generator) -> Moment:
        """A problem at its first weak step."""
        ...

    def act(self, regenerate: bool) -> Moment:
        """What follows a decision."""
        ...


class SimulatedCourse:
    """Problems drawn from a routing model (a `Course`): `Episodes`, one at a time."""

    def __init__(self, model: RoutingModel) -> None:
        self._model, self._episodes, self._regenerated = model, None, False
        self.reward, self.max_steps = model.reward, model.dynamics.max_steps

    _episodes: Episodes | None

    def begin(self, rng: np.random.Generator) -> Moment:
        """See `Course`."""
        self._episodes, self._regenerated = Episodes(self._model, 1, rng), False
        return self._moment(0.0)

    def act(self, regenerate: bool) -> Moment:
        """See `Course`."""
        assert self._episodes is not None, "begin first"
        tokens = self._episodes.act(np.array([regenerate]))
        self._regenerated = regenerate
        return self._moment(float(tokens[0]))

    def _moment(self, tokens: float) -> Moment:
        at = self._episodes
        assert at is not None
        if not len(at.alive):
            return Moment(None, tokens, right=bool(at.drawn.right[0]))
        return Moment(at.columns(np.array([self._regenerated])), tokens, true_class=int(at.classes[0]))


class LiveCourse:
    """Problems that real models solve (a `Course`).

    An `Attempt` asks its router at once, and an agent takes its time. So each decision is met twice: by an attempt
    whose router notes what it sees and is then thrown away, and, once the agent has decided, by another that is told
    all replies and decisions so far. Attempts are pure state machines, so that costs no model anything.

    Parameters
    ----------
    problems : sequence of Problem
        With answers; drawn from at random.
    source, backends
        As in `trim_pomdp.learning.live.LiveProblems`.
    evidence : EvidenceMap or None
        What the score is made of; None: it is the PRM's.
    reward : float

    Raises
    ------
    InputError
        If there is no problem, or one has no answer.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        source: ModelSource,
        backends: Backends,
        *,
        evidence: EvidenceMap | None = None,
        reward: float = 100.0,
    ) -> None:
        if not problems:
            raise InputError("no problem is given; expected at least one")
        require_answers(problems)
        self._problems, self._source, self._backends, self._evidence = tuple(problems), source, backends, evidence
        self._needs_score = evidence is None or evidence.needs_score
        self.reward, self.max_steps = reward, source.caps.max_steps

    def begin(self, rng: np.random.Generator) -> Moment:
        """See `Course`."""
        self._problem = self._problems[int(rng.integers(len(self._problems)))]
        self._seed = int(rng.integers(2**31))
        self._replies: list[GeneratedStep | SolutionScores] = []
        self._actions: list[int] = []
        self._strong_tokens = 0.0
        self._view = StepView(self._evidence, sees_score=True)
        return self._go_on()

    def act(self, regenerate: bool) -> Moment:
        """See `Course`."""
        self._actions.append(REGENERATE if regenerate else KEEP)
        self._view.note(regenerate)
        return self._go_on()

    def _go_on(self) -> Moment:
        """To the next decision, or the end."""
        router = _ToldRouter(self._actions, self._needs_score)
        tried = attempt(self._problem, router, self._source, self._seed)
        for reply in self._replies:
            tried.receive(reply)
        while router.seen is None and (call := tried.pending) is not None:
            reply = run_to_end(_ask(self._backends.models, call))
            self._replies.append(reply)
            tried.receive(reply)
        if router.seen is not None:
            tokens = self._spent(tried)
            return Moment(self._view.columns(router.seen), tokens, true_class=router.seen.true_class)
        terminal = tried.record.terminal
        if terminal.error is not None:
            raise TrimError(f"{terminal.problem}: {terminal.error}")
        return Moment(None, self._spent(tried), right=bool(terminal.correct))

    def _spent(self, tried: Attempt) -> float:
        """Strong tokens since this was asked last."""
        spent = float(tried.strong_tokens) - self._strong_tokens
        self._strong_tokens += spent
        return spent


async def _ask(models: Models, call: Call) -> GeneratedStep | SolutionScores:
    try:
        return await models.answer(call)
    finally:
        await models.close()  # connections belong to this call's event loop


class _ToldRouter:
    """A router that does what was decided, and notes what it sees of the step after."""

    def __init__(self, actions: Sequence[int], needs_score: bool) -> None:
        self.policy_hash, self.needs_score, self.q = "agent", needs_score, None
        self._left = iter(tuple(actions))
        self.seen: StepObservation | None = None

    def writer(self, step: int) -> Author | None:
        return None

    def decide(self, seen: StepObservation) -> Decision:
        action = next(self._left, None)
        if action is None:
            self.seen = seen
        return Decision(KEEP if action is None else action)
