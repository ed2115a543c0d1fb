r"""One problem's way to its end, as a pure state machine: no model, no clock, no event loop.

An `Attempt` says what it wants next (`Attempt.pending`) and goes on when it gets it (`Attempt.receive`), or when it is
told that the model has been given up (`Attempt.lose`). A step is

    weak step → PRM score, if the router needs one → what the router decides → append → stop?

What a decision has the engine do, its action says (`trim_pomdp.model.actions`): the step stands, or another model is
asked for one in its place, or for all that follows too; or the step is asked for again, and the new draft is scored
and decided on like the first. A draft that repeats an earlier one word for word has that one's score, and the PRM is
not asked again.

The solution ends with an answer (a box in the step that stands), with the model's own end of the text ("no
answer"), after `Caps.degenerate_steps` degenerate steps in a row, or at the step cap. Routers that leave nothing to
decide (always weak, always strong) get their steps from that model directly: no draft, no score.

Once the strong model has written `Caps.max_strong_tokens` for a problem (its last step there is cut short, if need
be), the weak model goes on alone.

A model that is given up (so is one whose reply the request does not allow) ends the problem as `Caps.on_failure`
declares: it fails; or the weak or the strong model goes on alone, beginning with the step in hand, whose draft the weak
model keeps and the strong one replaces. Where that model is itself given up, or out of tokens, the problem fails.

While a score is awaited, `Attempt.foreseen` says what will be wanted next if the step is kept, or if it is not, so that
a model can begin; what it does in vain is counted apart (`Attempt.note_ahead`) and changes nothing else. That a
step is asked for again is not foreseen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, get_args

from trim_pomdp.data.features import LOGPROBS
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.policies.base import Author, Role, Router, StepObservation
from trim_pomdp.runtime.making import Step
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest, Usage
from trim_pomdp.runtime.records import (
    ENDED,
    Fallback,
    Generation,
    Reason,
    Scoring,
    SolutionRecord,
    StepClass,
    TerminalRecord,
    TokenCounts,
    action_by_code,
    fill_in,
)
from trim_pomdp.runtime.stepping import flaw_of
from trim_pomdp.text.answers import AnswerChecker, same_answer
from trim_pomdp.text.format import DEFAULT_FORMAT, StepFormat

# A policy that never stops asking ends here; those of the package have limits of their own.
_MOST_DRAFTS = 64

Oracle = Callable[[Problem, tuple[str, ...]], StepClass]
"""True class (0, 1, 2 for S0, S1, S2) of the last of the steps."""


OnFailure = Literal["fail", "weak", "strong"]


class ReplyError(TrimError):
    """A model replied with something that the request does not allow."""


class _GivenUpError(Exception):
    """A model is of no use to this problem any more."""

    def __init__(self, role: Role) -> None:
        super().__init__(role)
        self.role = role


@dataclass(frozen=True)
class Caps:
    """Hard limits per problem.

    Attributes
    ----------
    max_steps : int
        Steps of a solution, given ones included; then it ends ("step cap").
    max_step_tokens : int
        Tokens of a step; a step that hits them is over-long.
    max_strong_tokens : int or None
        Strong tokens; then the weak model goes on alone. None: no limit.
    degenerate_steps : int
        So many degenerate steps in a row end the solution ("degenerate").
    max_prompt_characters : int
        A problem with a longer prompt fails before any model is asked.
    on_failure : {"fail", "weak", "strong"}
        What becomes of a problem that a model has been given up for: it fails, or that model goes on alone.

    Raises
    ------
    InputError
        If a limit is below 1 (max_strong_tokens: below 0), or `on_failure` is none of the three.
    """

    max_steps: int = 30
    max_step_tokens: int = 512
    max_strong_tokens: int | None = None
    degenerate_steps: int = 3
    max_prompt_characters: int = 200_000
    on_failure: OnFailure = "fail"

    def __post_init__(self) -> None:
        for name in ("max_steps", "max_step_tokens", "degenerate_steps", "max_prompt_characters"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.max_strong_tokens is not None and self.max_strong_tokens < 0:
            raise InputError(f"max_strong_tokens is {self.max_strong_tokens}; expected at least 0")
        if self.on_failure not in get_args(OnFailure):
            raise InputError(f"on_failure is {self.on_failure!r}; expected one of {', '.join(get_args(OnFailure))}")


@dataclass(frozen=True)
class Call:
    """A request, and whom it is for."""

    role: Role
    request: StepRequest | ScoreRequest


@dataclass(frozen=True)
class _Reply:
    value: GeneratedStep | SolutionScores | Exception
    seconds: float = 0.0


@dataclass(eq=False)
class Attempt:
    """One problem on its way.

    Parameters
    ----------
    problem : Problem
        What is to be solved.
    router : Router
        Decides about every step of this problem.
    caps : Caps
        Hard limits.
    seed : int
        Seed of the run, passed on to the generators.
    oracle : callable or None
        True class of a step, given the problem and the steps up to it; recorded whatever the router is.
    record_scores : bool
        Have every step scored, even where the router needs no score: before the decision if there is one, else by
        one last call, which scores all steps that no call had scored yet.
    format : StepFormat
        What separates steps.
    checker : callable
        Whether an answer (first) is the reference (second).
    prefix : tuple of str
        Steps to start from. A planned policy takes them as right (q = 1).
    discarded : tuple of str
        What the weak model wrote before as the first step after those: it is drafted again.

    Raises
    ------
    InputError
        If the given steps leave no step to write.
    """

    problem: Problem
    router: Router
    caps: Caps = field(default_factory=Caps)
    seed: int = 0
    oracle: Oracle | None = None
    record_scores: bool = False
    format: StepFormat = DEFAULT_FORMAT
    checker: AnswerChecker = same_answer
    prefix: tuple[str, ...] = ()
    discarded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.prefix) >= self.caps.max_steps:
            raise InputError(f"{len(self.prefix)} given steps leave none of max_steps = {self.caps.max_steps}")
        self._texts: list[str] = list(self.prefix)
        self._own_scores: list[float | None] = [None] * len(self.prefix)
        self._steps: list[Step] = []
        self._last_scoring: Scoring | None = None
        self._reason: Reason | None = None
        self._error: str | None = None
        self._fallback: Fallback | None = None
        self._rest: Author | None = None  # who writes all that follows, by a decision
        self._given_up: dict[Role, str] = {}  # what each of them met
        self._strong_tokens = 0
        self._flawed_in_a_row = 0
        self._answer: str | None = None
        self._correct: bool | None = None
        self._is_judged = False
        self._course = self._solve()
        self._pending: Call | None = next(self._course)
        length, limit = len(self.problem.prompt), self.caps.max_prompt_characters
        if length > limit:
            self.fail(InputError(f"the prompt has {length} characters; [limits] max_prompt_characters is {limit}"))

    @property
    def pending(self) -> Call | None:
        """What is wanted next; None once the solution has ended."""
        return self._pending

    def foreseen(self, action: int) -> Call | None:
        """The call that follows the pending score if it leads to this action, as far as can be told.

        None unless a score is awaited for a decision; and none after a kept step that ends the solution, or before one
        that the strong model writes alone.
        """
        step = self._steps[-1] if self._steps else None
        if self._pending is None or self._pending.role != "prm" or step is None or step.action is not None:
            return None
        if (asked := action_by_code(action).asks) is not None:
            return self._call(asked, tuple(self._texts), self._drafts(step))
        weak = step.draft.weak
        assert weak is not None
        is_last = len(self._texts) + 1 >= self.caps.max_steps or (
            weak.flaw is not None and self._flawed_in_a_row + 1 >= self.caps.degenerate_steps
        )
        if step.draft.ended or is_last or self.router.writer(len(self._texts) + 1) == "strong":
            return None
        return self._call("weak", (*self._texts, weak.text))

    def note_ahead(self, author: Author, usage: Usage) -> None:
        """Count what a model did in vain on a foreseen call, or only to be ready for it."""
        spent = self._steps[-1].ahead
        spent[author] = spent.get(author, Usage(0, 0, 0)) + usage

    def receive(self, reply: GeneratedStep | SolutionScores, seconds: float = 0.0) -> None:
        """Go on with the reply to the pending call, which took so many seconds.

        A reply of the wrong kind, without one score a step, or with values that are none, is a failure of the model.
        """
        self._go_on(_Reply(reply, seconds))

    def lose(self, error: Exception) -> None:
        """Go on, or end, without a reply to the pending call: its model has been given up for this problem."""
        self._go_on(_Reply(error))

    def _go_on(self, reply: _Reply) -> None:
        assert self._pending is not None, "the solution has ended"
        try:
            self._pending = self._course.send(reply)
        except StopIteration as stop:
            self._pending, self._reason = None, stop.value
        except _GivenUpError:
            self._end_failed("; then ".join(self._given_up.values()))

    def fail(self, error: Exception) -> None:
        """End here: something else than a model failed, such as the router or the checker of answers."""
        self._course.close()
        self._end_failed(described(error))

    def _end_failed(self, error: str) -> None:
        self._pending, self._reason, self._is_judged = None, "error", False
        self._error = error

    # The course of a solution, written as it happens; every `yield` waits for a model ------------------------

    def _solve(self) -> Generator[Call, _Reply, Reason]:
        reason = yield from self._write_steps()
        if self.record_scores and None in self._own_scores and "prm" not in self._given_up:
            try:
                self._last_scoring = yield from self._score(tuple(self._texts))
            except _GivenUpError as lost:
                self._fall_back(lost, writes=False)
        return reason

    def _write_steps(self) -> Generator[Call, _Reply, Reason]:
        while len(self._texts) < self.caps.max_steps:
            accepted = yield from self._next_step()
            self._texts.append(accepted.text)
            self._answer = self.format.answer(self._texts)
            if self._answer is not None:
                return "answer"
            if accepted.stop == "end":
                return "no answer"
            self._flawed_in_a_row = self._flawed_in_a_row + 1 if accepted.flaw else 0
            if self._flawed_in_a_row >= self.caps.degenerate_steps:
                return "degenerate"
        return "step cap"

    def _next_step(self) -> Generator[Call, _Reply, Generation]:
        step = Step(capped=self._strong_tokens_left == 0, fallback=self._fallback is not None)
        self._steps.append(step)
        try:
            yield from self._route(step)
        except _GivenUpError as lost:
            yield from self._write_alone(step, lost)
        self._own_scores.append(step.own_score)
        accepted = step.accepted
        assert accepted is not None
        return accepted

    def _route(self, step: Step) -> Generator[Call, _Reply, None]:
        writer = self._writer(step)
        if writer is None:
            yield from self._decide(step)
        else:
            yield from self._write(step, writer)

    def _write(self, step: Step, author: Author) -> Generator[Call, _Reply, None]:
        """Have a model write a step alone; a weak draft that is there already stands."""
        if author == "strong":
            step.action, step.strong = REGENERATE, (yield from self._generate("strong", step))
        else:
            step.action, step.draft.weak = KEEP, step.draft.weak or (yield from self._generate("weak", step))

    def _writer(self, step: Step) -> Author | None:
        if step.capped:
            return "weak"
        if self._fallback is not None:
            return self._fallback.author
        return self._rest or self.router.writer(len(self._texts))

    def _write_alone(self, step: Step, lost: _GivenUpError) -> Generator[Call, _Reply, None]:
        """Finish a step with the declared model; raises where there is none."""
        author = self._fall_back(lost)
        step.fallback = True
        yield from self._write(step, author)

    def _fall_back(self, lost: _GivenUpError, *, writes: bool = True) -> Author:
        """The model that goes on alone, if there is anything left to write; raises where the problem fails instead."""
        author = self.caps.on_failure
        if author == "fail":
            raise lost
        if writes and (author in self._given_up or (author == "strong" and self._strong_tokens_left == 0)):
            raise lost
        if self._fallback is None:
            error = self._given_up[lost.role]
            self._fallback = Fallback(author=author, step=len(self._texts), given_up=lost.role, error=error)
        return author

    def _decide(self, step: Step) -> Generator[Call, _Reply, None]:
        """Have drafts of the weak model judged until the router wants no further one, and do what it wants then."""
        while True:
            step.draft.weak = yield from self._generate("weak", step)
            yield from self._judge(step)
            assert step.draft.decision is not None
            action = action_by_code(step.draft.decision.action)
            if not action.is_judged_again:
                break
            if len(step.earlier) + 1 >= _MOST_DRAFTS:
                raise TrimError(f"the policy asks for more than {_MOST_DRAFTS} drafts of step {len(self._texts) + 1}")
            step.set_aside()
        if action.asks is None:
            stands = len(step.earlier) - 1 if action.is_of_former else step.draft.decision.draft
            if stands == -1:
                raise TrimError(f"the policy recalls a draft of step {len(self._texts) + 1} before there is any")
            step.stands = None if stands == len(step.earlier) else stands
        else:
            step.strong = yield from self._generate(action.asks, step)
        step.action = action.code
        if action.writes == "rest":
            self._rest = action.asks

    def _judge(self, step: Step) -> Generator[Call, _Reply, None]:
        """Have a draft scored, if that is wanted, and decided on."""
        draft = step.draft
        weak = draft.weak
        assert weak is not None
        features = draft_features(weak.step)
        draft.ended = weak.stop == "end" or self.format.answer((*self._texts, weak.text)) is not None
        if self.router.needs_score or self.record_scores:
            known = step.known_scoring(weak.text)
            draft.scoring = known.repeated if known else (yield from self._score((*self._texts, weak.text)))
            features["score"] = draft.scoring.scores[-1]
            features["minimum"] = min((score for score in self._own_scores if score is not None), default=1.0)
        draft.seen = StepObservation(
            len(self._texts),
            draft.ended,
            features,
            weak.true_class,
            draft=len(step.earlier),
            repeated=step.discarded[-1:] == (weak.text,),
        )
        draft.decision = self.router.decide(draft.seen)

    def _generate(self, role: Author, step: Step) -> Generator[Call, _Reply, Generation]:
        if role in self._given_up:
            raise _GivenUpError(role)
        steps = tuple(self._texts)
        reply = yield self._call(role, steps, self._drafts(step))
        try:
            found = _step_in(reply, role)
            written = Generation(
                text=found.text,
                logprobs=found.logprobs,
                stop=found.stop,
                usage=found.usage,
                flaw=flaw_of(found, steps),
                seconds=reply.seconds,
            )
        except Exception as error:
            raise self._lost(role, error) from None
        if role == "strong":
            self._strong_tokens += found.tokens
        if self.oracle is None:
            return written
        return written.model_copy(update={"true_class": self.oracle(self.problem, (*steps, found.text))})

    def _drafts(self, step: Step) -> tuple[str, ...]:
        """What the weak model wrote in this place before."""
        given = self.discarded if step is self._steps[0] else ()
        return (*given, *step.discarded)

    def _call(self, role: Author, steps: tuple[str, ...], drafts: tuple[str, ...] = ()) -> Call:
        limit = self.caps.max_step_tokens
        if role == "strong":
            limit = min(limit, self._strong_tokens_left)
        return Call(role, StepRequest(self.problem, steps, self.seed, limit, self.format, drafts))

    def _score(self, steps: tuple[str, ...]) -> Generator[Call, _Reply, Scoring]:
        """Have the steps scored; those that stand and had no score yet get theirs."""
        reply = yield Call("prm", ScoreRequest(self.problem, steps, self.format))
        try:
            scores = _scores_in(reply, len(steps))
            scoring = Scoring(scores=scores.scores, tokens=scores.tokens, cached=scores.cached, seconds=reply.seconds)
        except Exception as error:
            raise self._lost("prm", error) from None
        fill_in(self._own_scores, scoring.scores)
        return scoring

    def _lost(self, role: Role, error: Exception) -> _GivenUpError:
        self._given_up[role] = described(error)
        return _GivenUpError(role)

    @property
    def _strong_tokens_left(self) -> int:
        cap = self.caps.max_strong_tokens
        return sys.maxsize if cap is None else max(cap - self._strong_tokens, 0)

    # What is left of it ---------------------------------------------------------------------------------------

    @property
    def steps(self) -> tuple[str, ...]:
        """The solution so far, given steps included."""
        return tuple(self._texts)

    @property
    def strong_tokens(self) -> int:
        """Strong tokens so far."""
        return self._strong_tokens

    @property
    def answer(self) -> str | None:
        """The answer of a solution that has ended with one."""
        return self._answer if self._reason == "answer" else None

    @property
    def answer_is_plain(self) -> bool:
        """Whether there is hardly anything to judge, as without answer or reference, or with the very reference."""
        return self.answer in (None, self.problem.answer) or self.problem.answer is None

    def judge(self) -> None:
        """Compare the answer with the reference, which may take long and raises what the checker raises."""
        answer, reference = self.answer, self.problem.answer
        self._correct = None if reference is None else answer is not None and self.checker(answer, reference)
        self._is_judged = True

    @property
    def record(self) -> SolutionRecord:
        """The ended solution, for the trace; judged now, if it was not before."""
        assert self._reason is not None, "the solution has not ended"
        if not self._is_judged:
            self.judge()
        first, policy = len(self.prefix), self.router.policy_hash
        decisions = tuple(
            step.record(self.problem.id, index, policy) for index, step in enumerate(self._steps, start=first)
        )
        accepted = [item for step in self._steps if (item := step.accepted)]
        tokens = TokenCounts.total(item.tokens for item in decisions)
        if self._last_scoring:
            tokens += TokenCounts(scored=self._last_scoring.tokens, scored_cached=self._last_scoring.cached)
        terminal = TerminalRecord(
            problem=self.problem.id,
            reason=self._reason,
            fallback=self._fallback,
            answer=self.answer,
            reference=self.problem.answer,
            correct=self._correct,
            error=self._error,
            prefix=self.prefix,
            steps=len(accepted),
            regenerations=sum(step.strong is not None for step in self._steps),
            redrafts=sum(len(step.earlier) for step in self._steps),
            degenerate=sum(item.flaw is not None for item in accepted),
            tokens=tokens,
            scoring=self._last_scoring,
            q=self._believed_right,
            policy_hash=policy,
        )
        return SolutionRecord(decisions, terminal)

    @property
    def _believed_right(self) -> float | None:
        """P(the solution is right) after its last step; None where the router has not seen what came last."""
        last = self._steps[-1] if self._steps else None
        if self._fallback or self._reason == "error" or last is None or last.accepted is None:
            return None
        assert last.action is not None
        decision = last.draft.decision
        return decision.believed_at_end(last.action, ended=self._reason in ENDED) if decision else None


def draft_features(draft: GeneratedStep) -> dict[str, float]:
    """What the weak model's own reply says of its step."""
    features = {"tokens": float(len(draft.logprobs) or draft.tokens)}
    if draft.logprobs or not draft.tokens:  # else the model offers none, which says nothing of the step
        features |= logprob_features(draft.logprobs)
    return features


def logprob_features(logprobs: tuple[float, ...]) -> dict[str, float]:
    """The features of `LOGPROBS`, each at most 0 whatever rounding did; 0 where there are no tokens."""
    if not logprobs:
        return dict.fromkeys(LOGPROBS, 0.0)
    found = {
        "logprob_min": min(logprobs),
        "logprob_mean": sum(logprobs) / len(logprobs),
        "logprob_first": logprobs[0],
    }
    return {name: min(0.0, found[name]) for name in LOGPROBS}


def described(error: Exception) -> str:
    """Class and message of an error, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _step_in(reply: _Reply, role: Author) -> GeneratedStep:
    """The step in a generator's reply; raises what stands in its place, or what is wrong with it."""
    step = reply.value
    if isinstance(step, Exception):
        raise step
    if not isinstance(step, GeneratedStep):
        raise ReplyError(f"{role} model: replied with {type(step).__name__}; expected a GeneratedStep")
    if not all(map(math.isfinite, step.logprobs)):
        raise ReplyError(f"{role} model: a log-probability is not finite; expected one number a token")
    if step.usage is not None and min(step.usage.prompt, step.usage.cached, step.usage.output) < 0:
        raise ReplyError(f"{role} model: counts tokens as {step.usage}; expected none below 0")
    step.text.encode()  # half a character could not be written down
    return step


def _scores_in(reply: _Reply, n: int) -> SolutionScores:
    """The scores in the PRM's reply; raises what stands in their place, or what is wrong with them."""
    scores = reply.value
    if isinstance(scores, Exception):
        raise scores
    if not isinstance(scores, SolutionScores) or len(scores.scores) != n:
        raise ReplyError(f"PRM: replied with {scores!r:.80}; expected scores of {n} steps")
    if not all(0.0 <= score <= 1.0 for score in scores.scores):
        raise ReplyError(f"PRM: scores are {scores.scores!r:.80}; expected probabilities")
    return scores
