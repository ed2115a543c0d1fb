"""What a run takes for granted of its models, looked into before it: a verdict each, with the remedy.

Some problems are solved by each generator alone; what they wrote is asked for again, told back, spoilt and scored. So
every backend is checked by what it does, and served ones also by what their servers say of themselves
(`SelfExamining`).
"""

from __future__ import annotations

import asyncio
import re
import statistics
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from trim_pomdp.data.problems import Problem
from trim_pomdp.display import html_table
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.policies import StrategyRule
from trim_pomdp.policies.base import Author, Role
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.base import AnyGenerator, given_logprobs
from trim_pomdp.runtime.config import ROLES
from trim_pomdp.runtime.engine import Models, solve_all
from trim_pomdp.runtime.findings import Finding, SelfExamining, State, Verdict
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.protocols import Generator, ScoreRequest, StepRequest, StepScorer
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.rollouts import accepted
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.sources import Backends, FileSource, ModelSource

SAMPLE = (
    Problem("sample-1", "A box holds 12 pens. Tom buys 3 boxes and gives away 7 pens. How many has he left?", "29"),
    Problem("sample-2", "What is the sum of the first 10 positive even numbers?", "110"),
    Problem("sample-3", "A train goes 180 km in 2.5 hours. How fast is it on average, in km/h?", "72"),
    Problem("sample-4", "Solve 3x - 7 = 2x + 5 for x, then give x squared.", "144"),
)
"""Problems for models that can read."""

_STATES: tuple[State, ...] = ("bad", "note", "good")
_SEED = 0
_RAW = 0.02
_REPEATED = 1e-3
_NUMBER = re.compile(r"\d+")


class Verdicts(tuple[Verdict, ...]):
    """What was found of the models of a source; in notebooks a table, the bad ones first."""

    __slots__ = ()

    @property
    def bad(self) -> tuple[Verdict, ...]:
        """Why a run would fail, or mean nothing."""
        return tuple(item for item in self if item.state == "bad")

    def __repr__(self) -> str:
        counts = Counter(item.state for item in self)
        return f"Verdicts({', '.join(f'{counts[state]} {state}' for state in _STATES if counts[state])})"

    def _repr_html_(self) -> str:
        rows = [
            (item.role, item.what, item.state, item.found, item.remedy)
            for item in sorted(self, key=lambda item: _STATES.index(item.state))
        ]
        return html_table(repr(self)[len("Verdicts(") : -1], ("model", "what", "verdict", "found", "remedy"), rows)


def check_models(source: ModelSource, problems: Sequence[Problem] = SAMPLE) -> Verdicts:
    """Load the models of a source, each apart, and look into those that are there.

    Parameters
    ----------
    source : ModelSource
    problems : sequence of Problem
        A few, of the kind that the models are for.

    Raises
    ------
    InputError
        If the source names no model.
    """
    roles = _roles(source)
    loaded, absent = Backends(), []
    for role in roles:
        try:
            loaded = replace(loaded, **{role: getattr(source.load([role]), role)})
        except InputError as error:
            absent.append(Verdict(role, "there", "bad", str(error), "start the server, or mend its table"))
    return Verdicts([*absent, *check(source, loaded, problems)])


def _roles(source: ModelSource) -> list[Role]:
    """The models that there are."""
    if not isinstance(source, FileSource):
        return list(ROLES)
    there = [role for role in ROLES if source.file.table(role) is not None]
    if not there:
        raise InputError(f"{source.path}: no table [weak], [strong] or [prm], so there is nothing to check")
    return there


def check(source: ModelSource, backends: Backends, problems: Sequence[Problem] = SAMPLE) -> list[Verdict]:
    """Look into the models of a source.

    Parameters
    ----------
    source : ModelSource
    backends : Backends
        Its models, loaded.
    problems : sequence of Problem
        A few, of the kind that the models are for.
    """
    return run_to_end(_Check(source, backends, tuple(problems)).verdicts())


class _Check:
    """The look into the models of one source."""

    def __init__(self, source: ModelSource, backends: Backends, problems: tuple[Problem, ...]) -> None:
        self._source = source
        self._backends = backends
        self._problems = problems
        self._models = backends.models
        self._solutions: dict[Role, list[SolutionRecord]] = {}

    async def verdicts(self) -> list[Verdict]:
        out: list[Verdict] = []
        try:
            generators: tuple[tuple[Author, Generator | None], ...] = (
                ("weak", self._models.weak),
                ("strong", self._models.strong),
            )
            for role, generator in generators:
                if generator is not None:
                    out += [item.of(role) for item in await _told(self._of_generator(role, generator))]
            if self._models.prm is not None:
                out += [item.of("prm") for item in await _told(self._of_prm(self._models.prm))]
        finally:
            await self._models.close()
        return out

    # Generators -----------------------------------------------------------------------------------------------

    async def _of_generator(self, role: Author, generator: Generator) -> list[Finding]:
        began = perf_counter()
        solutions = await self._solve(role)
        seconds = perf_counter() - began
        failed = [item for item in solutions if item.terminal.error is not None]
        if failed:
            return [Finding("replies", "bad", f"{len(failed)} of {len(solutions)}: {failed[0].terminal.error}")]
        self._solutions[role] = solutions
        tokens = sum(step.tokens for item in solutions for step in accepted(item))
        found = [
            Finding("replies", "good", f"{len(solutions)} problems, {tokens} tokens in {seconds:.1f} s"),
            self._steps(solutions),
            self._answers(solutions),
            self._logprobs(role, solutions),
            await self._repeatable(generator),
        ]
        model = self._backends.weak if role == "weak" else self._backends.strong
        found += await self._raw(model, solutions)
        if isinstance(model, SelfExamining):
            found += await model.examine(self._scoring(solutions[0]), self._source.caps.max_step_tokens)
        return found

    async def _solve(self, role: Author) -> list[SolutionRecord]:
        routing = Routing(
            StrategyRule(strategy=role),
            seed=_SEED,
            caps=self._alone,
            format=self._source.format,
            checker=self._source.checker,
        )
        ended: list[SolutionRecord] = []
        alone = Models(weak=self._models.weak, strong=self._models.strong, keep_clock=True)
        await solve_all(self._problems, routing.start, alone, ended.append)
        order = {item.id: index for index, item in enumerate(self._problems)}
        return sorted(ended, key=lambda item: order[item.terminal.problem])

    @property
    def _alone(self) -> Caps:
        """The caps, without what lets the other model go on."""
        return Caps(max_steps=self._source.caps.max_steps, max_step_tokens=self._source.caps.max_step_tokens)

    def _steps(self, solutions: Sequence[SolutionRecord]) -> Finding:
        counts = [item.terminal.steps for item in solutions]
        told = f"{min(counts)} to {max(counts)} a solution"
        if statistics.median(counts) > 1:
            return Finding("steps", "good", told)
        remedy = "ask for blank lines between steps (system_prompt), or say what separates them ([steps] separator)"
        return Finding("steps", "bad", f"{told}: there is nothing to route", remedy)

    def _answers(self, solutions: Sequence[SolutionRecord]) -> Finding:
        answered = sum(item.terminal.reason == "answer" for item in solutions)
        told = f"{answered} of {len(solutions)} end with an answer in a box"
        if 2 * answered >= len(solutions):
            return Finding("answers", "good", told)
        remedy = "ask for \\boxed{} (system_prompt), or leave more room ([limits] max_steps, max_step_tokens)"
        return Finding("answers", "note" if answered else "bad", told, remedy)

    def _logprobs(self, role: Author, solutions: Sequence[SolutionRecord]) -> Finding:
        if all(step.logprobs or not step.tokens for item in solutions for step in accepted(item)):
            return Finding("log-probabilities", "good", "of every token")
        if role == "strong":
            return Finding("log-probabilities", "good", "none, and none needed")
        remedy = "plan on evidence = prm, or take a server that offers them"
        return Finding("log-probabilities", "note", "none: no policy can look at them", remedy)

    async def _repeatable(self, generator: Generator) -> Finding:
        """Whether a step is the same alone, twice at once, and among others."""
        format_ = self._source.format
        limit = self._source.caps.max_step_tokens
        requests = [StepRequest(problem, (), _SEED, limit, format_) for problem in self._problems]
        alone = await generator.generate(requests[0])
        again = await asyncio.gather(*(generator.generate(request) for request in (*requests, requests[0])))
        if again[0].text == again[-1].text == alone.text:
            return Finding("repeatable", "good", "the same step alone and among others")
        remedy = "a run can be resumed, but not repeated; does the server take seeds?"
        return Finding("repeatable", "note", f"{alone.text[:40]!r}, then {again[-1].text[:40]!r}", remedy)

    async def _raw(self, model: AnyGenerator | None, solutions: Sequence[SolutionRecord]) -> list[Finding]:
        """Whether log-probabilities of a step as it is written are those of the same text as it is given."""
        steps = accepted(solutions[0])
        request = self._scoring(solutions[0])
        told = await given_logprobs(model, [request])
        if told is None or not steps[0].logprobs:
            return []
        written, given = steps[0].logprobs, told[0][0]
        if len(written) != len(given):
            note = f"the first step was written in {len(written)} tokens, and is {len(given)} when it is given"
            return [Finding("before temperature", "note", note)]
        largest = max(abs(one - other) for one, other in zip(written, given, strict=True))
        if largest < _RAW:
            return [Finding("before temperature", "good", f"log-probabilities within {largest:.1g} of the model's own")]
        remedy = "start vLLM with --logprobs-mode raw_logprobs"
        return [Finding("before temperature", "bad", f"log-probabilities differ by {largest:.2g}", remedy)]

    # The process reward model -----------------------------------------------------------------------------------

    async def _of_prm(self, prm: StepScorer) -> list[Finding]:
        solutions = [item for written in self._solutions.values() for item in written]
        if not solutions:
            steps = ("First, 2 + 2 = 4.", "So the answer is \\boxed{4}.")
            requests = [ScoreRequest(problem, steps, self._source.format) for problem in self._problems]
        else:
            requests = [self._scoring(item) for item in solutions]
        try:
            replies = await asyncio.gather(*(prm.score(request) for request in requests))
            again = await prm.score(requests[0])
            shorter = await prm.score(_shorter(requests[0]))
        except Exception as error:
            return [Finding("replies", "bad", f"{type(error).__name__}: {error}")]
        scores = [score for reply in replies for score in reply.scores]
        found = [
            Finding("replies", "good", f"one score for each of {len(scores)} steps"),
            _spread(scores),
            _same("repeatable", again.scores, replies[0].scores, "the server gives another score each time"),
            _same(
                "steps judged as they come",
                shorter.scores,
                replies[0].scores,
                "a step's score changes with later steps",
            ),
        ]
        found += await self._bad_steps(prm, solutions)
        model = self._backends.prm
        if isinstance(model, SelfExamining):
            found += await model.examine(requests[0], self._source.caps.max_step_tokens)
        return found

    async def _bad_steps(self, prm: StepScorer, solutions: Iterable[SolutionRecord]) -> list[Finding]:
        """Whether steps of right solutions score above the same steps with a number changed."""
        right = [self._scoring(item) for item in solutions if item.terminal.correct]
        spoilt = [(request, other) for request in right if (other := _spoilt(request)) is not None]
        if not spoilt:
            remedy = "give --problems that the strong model solves"
            return [Finding("bad steps", "note", "no right solution to spoil", remedy)]
        good = await asyncio.gather(*(prm.score(_first(request, len(other.steps))) for request, other in spoilt))
        bad = await asyncio.gather(*(prm.score(other) for _, other in spoilt))
        below = [low.scores[-1] < high.scores[-1] for high, low in zip(good, bad, strict=True)]
        lower = sum(below) / len(below)
        told = f"{lower:.0%} of {len(spoilt)} steps score lower with a number changed"
        if lower > 0.5:
            return [Finding("bad steps", "good", told)]
        return [
            Finding("bad steps", "bad", told, "is it the right model, template and separator, and kind of problem?")
        ]

    # Requests ---------------------------------------------------------------------------------------------------

    def _scoring(self, solution: SolutionRecord) -> ScoreRequest:
        steps = tuple(item.text for item in accepted(solution))
        return ScoreRequest(self._problem(solution), steps, self._source.format)

    def _problem(self, solution: SolutionRecord) -> Problem:
        return next(item for item in self._problems if item.id == solution.terminal.problem)


async def _told(looking: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    """What was found, or what went wrong, so that the other models are looked at too."""
    try:
        return await looking
    except TrimError as error:
        return [Finding("replies", "bad", str(error), "is it the server that the table means?")]


def _spread(scores: Sequence[float]) -> Finding:
    told = f"{min(scores):.3g} to {max(scores):.3g}"
    if max(scores) - min(scores) > _REPEATED:
        return Finding("range", "good", told)
    return Finding("range", "bad", f"always {scores[0]:.3g}", "is it the right model, template and separator?")


def _same(what: str, scores: Sequence[float], known: Sequence[float], otherwise: str) -> Finding:
    largest = max(abs(score - other) for score, other in zip(scores, known, strict=False))
    if largest <= _REPEATED:
        return Finding(what, "good", f"within {largest:.1g}")
    return Finding(what, "note", f"differs by {largest:.2g}", f"{otherwise}; plans take scores as fixed")


def _first(request: ScoreRequest, steps: int) -> ScoreRequest:
    return ScoreRequest(request.problem, request.steps[:steps], request.format)


def _shorter(request: ScoreRequest) -> ScoreRequest:
    return _first(request, max(len(request.steps) - 1, 1))


def _spoilt(request: ScoreRequest) -> ScoreRequest | None:
    """The solution up to its first step with a number after an equals sign, or any number, which is one more now."""
    for index, step in enumerate(request.steps):
        numbers = list(_NUMBER.finditer(step))
        if numbers:
            last = numbers[-1]
            bad = step[: last.start()] + str(int(last.group()) + 1) + step[last.end() :]
            return ScoreRequest(request.problem, (*request.steps[:index], bad), request.format)
    return None
