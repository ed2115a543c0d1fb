"""Problems that real models solve, for training: an `Attempt` each, and many of them in flight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.learning.rollouts import FloatArray, Rollout
from trim_pomdp.policies import Decision, StepObservation, TrimAggRule, TrimSeqRule
from trim_pomdp.policies.base import Router
from trim_pomdp.policies.learned import LearnedRouter, LearnedRule
from trim_pomdp.policies.networks import RouterNetwork, Row
from trim_pomdp.runtime.attempt import Attempt
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.live import require_answers
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.sources import Backends, ModelSource
from trim_pomdp.text.answers import checker


@dataclass(frozen=True)
class LiveProblems:
    """Problems that a source's models solve (a `Backend`).

    Every rollout draws problems from the given ones, and what models draw on them, afresh: fitting problems, never
    those that a router is judged on.

    Attributes
    ----------
    problems : sequence of Problem
        With answers.
    source : ModelSource
        What is known of the models.
    backends : Backends
        The models, loaded (`ModelSource.load`).
    name : str
        Of the problems.
    reward : float
        Of a right answer: the units of λ.
    in_flight : int
        Problems under way at once.

    Raises
    ------
    InputError
        If there is no problem, or one has no answer.
    """

    problems: Sequence[Problem]
    source: ModelSource
    backends: Backends
    name: str = "live"
    reward: float = 100.0
    in_flight: int = 256

    def __post_init__(self) -> None:
        if not self.problems:
            raise InputError("no problem is given to train on; expected at least one")
        require_answers(self.problems)

    @property
    def max_steps(self) -> int:
        """See `Backend`."""
        return self.source.caps.max_steps

    def rollout(self, network: RouterNetwork, prices: FloatArray, rng: np.random.Generator) -> Rollout:
        """See `Backend`.

        Raises
        ------
        TrimError
            If a problem fails, with the reason: nothing can be learned from it.
        """
        out = Rollout.empty(prices, self.max_steps, len(network.features) + 1)
        chosen = rng.choice(len(self.problems), size=len(prices)).tolist()
        # A problem may come more than once: ids are what draws belong to.
        given = [replace(self.problems[k], id=f"{self.problems[k].id}#{i}") for i, k in enumerate(chosen)]
        kind = TrimAggRule if network.architecture == "mlp" else TrimSeqRule
        rules = [kind(network=network, tradeoff=p * self.reward, reward=self.reward, sampled=True) for p in prices]
        seed, places = int(rng.integers(2**31)), {problem.id: i for i, problem in enumerate(given)}
        routers: dict[int, WatchedRouter] = {}

        def start(problem: Problem) -> Attempt:
            i = places[problem.id]
            routers[i] = WatchedRouter(rules[i], seed, problem.id)
            return attempt(problem, routers[i], self.source, seed)

        def finished(record: SolutionRecord) -> None:
            if record.terminal.error is not None:
                raise TrimError(f"{record.terminal.problem}: {record.terminal.error}; nothing can be learned from it")
            i = places[record.terminal.problem]
            routers.pop(i).write(out, i, record)

        run_to_end(solve_all(given, start, self.backends.models, finished, in_flight=self.in_flight))
        return out.trimmed


def attempt(problem: Problem, router: Router, source: ModelSource, seed: int) -> Attempt:
    """A problem on its way under a source's limits, its answer judged as that one's are."""
    return Attempt(
        problem,
        router,
        caps=source.caps,
        seed=seed,
        oracle=source.oracle,
        format=source.format,
        checker=checker(source.checker),
    )


class WatchedRouter(LearnedRouter):
    """A learned router that keeps what it saw and did."""

    def __init__(self, rule: LearnedRule, seed: int, problem: str) -> None:
        super().__init__(rule, seed, problem)
        self._trail: list[tuple[StepObservation, Row, float, int]] = []

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`."""
        decision = super().decide(seen)
        self._trail.append((seen, self.row, self.logit, decision.action))
        return decision

    def write(self, out: Rollout, i: int, record: SolutionRecord) -> None:
        """Write the ended problem into row i."""
        strong = {item.step: item.tokens.strong for item in record.decisions}
        for t, (seen, row, logit, action) in enumerate(self._trail):
            out.rows[i, t], out.logits[i, t], out.actions[i, t], out.mask[i, t] = row[0], logit, action, True
            out.strong_tokens[i, t] = strong[seen.step]
            if seen.true_class is not None:
                out.hidden[i, t, seen.true_class] = 1.0
            out.hidden[i, t, 3] = seen.ended
        out.right[i] = bool(record.terminal.correct)
