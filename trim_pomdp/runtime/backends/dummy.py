"""``backend = "dummy"``: scripted models that do what a routing model says, to try everything but models.

A `DummyWorld` holds the parameters; its generators and its PRM draw from them by keyed uniforms, so that what a
policy achieves among them is what `trim_pomdp.planning.evaluation` computes, within sampling error. A step's text says
what it is: ``"3 weak right 0.4127"`` (index, author, whether right, and a nonce that keys its score).

Given the seed, the weak model writes the same step whatever came before, apart from the class that follows from it,
and the strong model knows that step: where the weak one would be right it is right with probability p_s, where it
would just have failed with p_r, and its step ends the solution iff the weak one's does. A further draft of a step is
right or wrong given how the last one was, and ends or not by itself; or it is the last one word for word. Of another
text its own says so (``again``), since it may look worse than first drafts do.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import NonNegativeFloat, model_validator

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.model.dynamics import Probability, StepDynamics
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.redrafts import DraftPlace, tilted
from trim_pomdp.policies.base import Author
from trim_pomdp.randomness import keyed_uniform, keyed_uniforms
from trim_pomdp.runtime.backends.base import GeneratorTable, ModelTable, Place, ScorerTable
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest
from trim_pomdp.runtime.records import StepClass

if TYPE_CHECKING:
    from trim_pomdp.runtime.attempt import Oracle

RIGHT_ANSWER = "42"
_DRAFTS = 16  # what drafts of a step depend on is told for so many
_PRM_TOKENS = 10
_AGAIN = " again"


def dummy_problems(n: int, *, first: int = 0) -> list[Problem]:
    """So many problems, all with the same right answer."""
    return [Problem(f"dummy-{i}", "What is 6 · 7?", RIGHT_ANSWER) for i in range(first, first + n)]


def _further_drafts(observations: ObservationModel, dynamics: StepDynamics) -> dict[str, Any]:
    """What further drafts are, as fields of a `DummyWorld`."""
    first = observations.class_emission(dynamics)
    law, emission = dynamics.draft_law(_DRAFTS, first), tilted(first, dynamics.redraft_tilt)
    return {
        "redraft": tuple(tuple(map(tuple, step)) for step in law.other[..., ::2, 0].tolist()),
        "same": tuple(map(tuple, law.same.tolist())),
        "emission_again": tuple(map(tuple, emission.tolist())),
        "again": (
            dynamics.strong_success if dynamics.strong_success_again is None else dynamics.strong_success_again,
            dynamics.repair if dynamics.repair_again is None else dynamics.repair_again,
        ),
    }


def step_class(steps: Sequence[str]) -> StepClass:
    """True class of the last step: S0 right, S1 after an earlier error, S2 the first error."""
    if any(" wrong " in step for step in steps[:-1]):
        return 1
    return 2 if " wrong " in steps[-1] else 0


def dummy_oracle(problem: Problem, steps: tuple[str, ...]) -> StepClass:
    """`step_class`, as the engine's oracle."""
    return step_class(steps)


@dataclass(frozen=True)
class DummyWorld:
    """What the dummy models do.

    Attributes
    ----------
    weak_success, hazard, hazard_derailed, hazard_wrong : tuple of float, one a step
        p_w, h, h', h''. The last step ends every solution.
    strong_success, repair : float
        p_s, p_r.
    redraft : tuple of tuples of two floats, one a step and further draft, or None
        P(a further draft of another text is right | the last one was right, was wrong), the last for all that follow;
        None: as often as a first one.
    same : tuple of three tuples of float or None
        P(a further draft is the last one word for word | class of that, its score bin); the last of each for one that
        came again already. None: never.
    emission_again : tuple of three tuples of float or None
        As `emission`, of further drafts of another text; None: the same.
    again : tuple of two floats or None
        p_s and p_r where the weak draft is another text than the first; None: the same.
    score_edges : tuple of float
        Lower edges of the score bins, the last one the atom {1.0}; scores are uniform within a bin.
    emission : tuple of three tuples of float
        P(bin | S0), P(bin | S1), P(bin | S2).
    weak_tokens, strong_tokens : tuple of three floats
        Mean tokens of a step, by class of the weak step.
    """

    weak_success: tuple[float, ...]
    hazard: tuple[float, ...]
    hazard_derailed: tuple[float, ...]
    hazard_wrong: tuple[float, ...]
    strong_success: float
    repair: float
    score_edges: tuple[float, ...]
    emission: tuple[tuple[float, ...], ...]
    weak_tokens: tuple[float, float, float] = (10.0, 10.0, 12.0)
    strong_tokens: tuple[float, float, float] = (9.0, 9.0, 11.0)
    redraft: tuple[tuple[tuple[float, float], ...], ...] | None = None
    same: tuple[tuple[float, ...], ...] | None = None
    emission_again: tuple[tuple[float, ...], ...] | None = None
    again: tuple[float, float] | None = None

    @classmethod
    def of(cls, observations: ObservationModel, dynamics: StepDynamics) -> DummyWorld:
        """The world of a routing model with fine score bins.

        Raises
        ------
        UnsetParameterError
            If the dynamics leave unset what the models do.
        InputError
            If the observations are not of single PRM scores, or derailed solutions recover.
        """
        dynamics.require("strong_success", "repair", "strong_tokens", "weak_tokens")
        observations.require_prm("the dummy PRM")
        if observations.emission != "step":
            raise InputError(f"observations {observations.name!r} are of (min, current), not of single scores")
        if dynamics.recovery > 0:
            raise InputError(
                f"dynamics {dynamics.name!r} let derailed solutions recover, which the dummy models never do"
            )
        assert dynamics.strong_success is not None
        assert dynamics.repair is not None
        assert dynamics.strong_tokens is not None
        assert dynamics.weak_tokens is not None
        hazard, hazard_derailed, hazard_wrong = map(tuple, dynamics.end.T.tolist())
        return cls(
            weak_success=tuple(dynamics.weak_success_by_step.tolist()),
            hazard=hazard,
            hazard_derailed=hazard_derailed,
            hazard_wrong=hazard_wrong,
            strong_success=dynamics.strong_success,
            repair=dynamics.repair,
            score_edges=observations.step_emission.score_edges,
            emission=tuple(map(tuple, observations.class_emission(dynamics).tolist())),
            weak_tokens=tuple(dynamics.weak_tokens.array.tolist()),
            strong_tokens=tuple(dynamics.strong_tokens.array.tolist()),
            **({} if dynamics.redraft_repair is None else _further_drafts(observations, dynamics)),
        )

    @property
    def strong_again(self) -> tuple[float, float]:
        """p_s and p_r of drafts of another text."""
        return (self.strong_success, self.repair) if self.again is None else self.again

    @cached_property
    def _cumulative(self) -> list[list[float]]:
        return [list(accumulate(row)) for row in self.emission]

    @cached_property
    def _cumulative_again(self) -> list[list[float]]:
        return [list(accumulate(row)) for row in self.emission_again or self.emission]

    def write(self, request: StepRequest, author: Author) -> GeneratedStep:
        """The step that the weak or the strong model writes."""
        t = min(len(request.steps), len(self.hazard) - 1)
        draw = [float(u) for u in keyed_uniforms(5, request.seed, *request.key("dummy"))]
        derailed = any(" wrong " in step for step in request.steps)
        repeated = self._is_repeated(request)
        weak_right = " wrong " not in request.drafts[-1] if repeated else draw[0] < self._success(request, t)
        weak_class = 1 if derailed else (0 if weak_right else 2)
        if repeated:  # it ends the solution as it did, so that of the draw one thing is known
            h = (self.hazard, self.hazard_derailed, self.hazard_wrong)[weak_class][t]
            draw[4] = draw[4] * h if "\\boxed" in request.drafts[-1] else h + draw[4] * (1.0 - h)
        if author == "weak":
            right, means = weak_right, self.weak_tokens
        else:
            first = DraftPlace(len(request.drafts), repeated).is_first_text
            success, repair = (self.strong_success, self.repair) if first else self.strong_again
            right = draw[1] < (repair if weak_class == 2 else success)
            means = self.strong_tokens
        text = f"{len(request.steps)} {author} {'right' if right else 'wrong'} {draw[2 if author == 'weak' else 3]:.6f}"
        if author == "weak" and request.drafts:
            text += _AGAIN
        hazard = self.hazard_derailed if derailed else self.hazard if right else self.hazard_wrong
        ends = draw[4] < hazard[t]
        if ends:
            reference = request.problem.answer or RIGHT_ANSWER
            wrong = "13" if reference != "13" else "31"
            text += f" \\boxed{{{reference if right and not derailed else wrong}}}"
        if repeated and author == "weak":
            text = request.drafts[-1]
        tokens = max(math.floor(means[weak_class] + draw[2]), 1)
        lowest = math.log(0.02 + 0.9 * draw[3]) * (1.0 if right else 2.0)
        logprobs = (lowest, *(-0.01,) * (tokens - 1))
        if tokens > request.max_tokens:
            return GeneratedStep(text, logprobs[: request.max_tokens], "length")
        return GeneratedStep(text, logprobs, "answer" if ends else "separator")

    def _is_repeated(self, request: StepRequest) -> bool:
        """Whether the weak draft is the last one once more."""
        if not request.drafts or self.same is None:
            return False
        steps = (*request.steps, request.drafts[-1])
        came_again = request.drafts[-1] in request.drafts[-2:-1]
        looks = -1 if came_again else self._bin(request.problem.id, steps)[0]
        share = self.same[step_class(steps)][looks]
        return float(keyed_uniforms(1, request.seed, *request.key("dummy"), "same")[0]) < share

    def _success(self, request: StepRequest, t: int) -> float:
        """P(the weak draft of step t is right after a right prefix), given how the last one was, if there was one."""
        if not request.drafts or self.redraft is None:
            return self.weak_success[t]
        by_draft = self.redraft[t]
        after_right, after_wrong = by_draft[min(len(request.drafts), len(by_draft)) - 1]
        return after_wrong if " wrong " in request.drafts[-1] else after_right

    def score(self, request: ScoreRequest) -> SolutionScores:
        """Scores of all steps; that of a step depends on its text and the ones before it, not on later ones."""
        scores = tuple(
            self._step_score(request.problem.id, request.steps[: index + 1]) for index in range(len(request.steps))
        )
        return SolutionScores(scores, _PRM_TOKENS * len(scores))

    def _bin(self, problem: str, steps: tuple[str, ...]) -> tuple[int, float]:
        """Score bin of the last step, and where in it; rollouts that take it up again, as name@2, see the same."""
        name = problem.partition("@")[0]
        bin_draw, place = keyed_uniforms(2, 0, name, len(steps), steps[-1], "score").tolist()
        cumulative = self._cumulative_again if _AGAIN in steps[-1] else self._cumulative
        return min(bisect_right(cumulative[step_class(steps)], bin_draw), len(self.score_edges) - 1), place

    def _step_score(self, problem: str, steps: tuple[str, ...]) -> float:
        edges, (j, place) = self.score_edges, self._bin(problem, steps)
        if j == len(edges) - 1:
            return edges[j]
        return float(edges[j] + place * (edges[j + 1] - edges[j]))


class DummyError(Exception):
    """An error made on purpose."""


@dataclass
class Faults:
    """When a dummy model fails.

    Attributes
    ----------
    problems : set of str
        Always on these problems.
    calls : set of int
        On these requests, counted from 0.
    probability : float
        On this share of (problem, step), whatever the order.
    """

    problems: frozenset[str] = frozenset()
    calls: frozenset[int] = frozenset()
    probability: float = 0.0
    count: int = field(default=0, init=False)

    def check(self, request: StepRequest | ScoreRequest) -> None:
        """Count the request; raise `DummyError` if it is to fail."""
        call, self.count = self.count, self.count + 1
        problem = request.problem.id
        if (
            problem in self.problems
            or call in self.calls
            or keyed_uniform(0, problem, len(request.steps), "fault") < self.probability
        ):
            raise DummyError(f"call {call}\nfails on {problem}")


@dataclass
class DummyGenerator:
    """The weak or the strong model of a world, asynchronous or in batches.

    Attributes
    ----------
    world : DummyWorld
    author : {"weak", "strong"}
    faults : Faults
    delay_s : float
        Time that a request takes (asynchronous use), or a batch.
    """

    world: DummyWorld
    author: Author
    faults: Faults = field(default_factory=Faults)
    delay_s: float = 0.0

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator.generate`."""
        await asyncio.sleep(self.delay_s)
        return self._generate(request)

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        """See `BatchGenerator.generate_batch`."""
        return [self._generate(request) for request in requests]

    def _generate(self, request: StepRequest) -> GeneratedStep:
        self.faults.check(request)
        return self.world.write(request, self.author)


@dataclass
class DummyScorer:
    """The PRM of a world, asynchronous or in batches."""

    world: DummyWorld
    faults: Faults = field(default_factory=Faults)
    delay_s: float = 0.0

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer.score`."""
        await asyncio.sleep(self.delay_s)
        return self._score(request)

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        """See `BatchScorer.score_batch`."""
        return [self._score(request) for request in requests]

    def _score(self, request: ScoreRequest) -> SolutionScores:
        self.faults.check(request)
        return self.world.score(request)


class _DummyTable(ModelTable):
    """Which world the dummies live in: that of a preset, or of two files; the same for all three.

    Attributes
    ----------
    preset : str or None
        Name of a preset; or
    observations, dynamics : str or None
        files, relative to the models file or absolute.
    fault_probability : float
        Share of the steps on which the model fails.
    delay_s : float
        Time that a request takes.
    """

    backend: Literal["dummy"]
    preset: str | None = None
    observations: str | None = None
    dynamics: str | None = None
    fault_probability: Probability = 0.0
    delay_s: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _one_world(self) -> Self:
        files = self.observations is not None and self.dynamics is not None
        if (self.preset is not None) == files or (self.observations is None) != (self.dynamics is None):
            raise ValueError("a dummy needs a preset, or observations and dynamics")
        return self

    @property
    def oracle(self) -> Oracle:
        """See `ModelTable`."""
        return dummy_oracle

    @property
    def faults(self) -> Faults:
        """When it fails."""
        return Faults(probability=self.fault_probability)

    def world(self, place: Place) -> DummyWorld:
        """The world of the table; raises `InputError` naming the table."""
        from trim_pomdp.presets.store import load_preset

        try:
            if self.preset is not None:
                preset = load_preset(self.preset)
                return DummyWorld.of(preset.observations, preset.dynamics)
            assert self.observations is not None
            assert self.dynamics is not None
            observations = ObservationModel.read(place.folder / self.observations)
            return DummyWorld.of(observations, StepDynamics.read(place.folder / self.dynamics))
        except TrimError as error:
            raise InputError(f"{place.table}: {error}") from None


class DummyGeneratorTable(_DummyTable, GeneratorTable):
    """A dummy that writes steps."""

    def load(self, role: Author, place: Place) -> DummyGenerator:
        """See `GeneratorTable`."""
        return DummyGenerator(self.world(place), role, self.faults, self.delay_s)


class DummyScorerTable(_DummyTable, ScorerTable):
    """A dummy that scores them."""

    def load(self, place: Place) -> DummyScorer:
        """See `ScorerTable`."""
        return DummyScorer(self.world(place), self.faults, self.delay_s)


GENERATOR = DummyGeneratorTable
PRM = DummyScorerTable
