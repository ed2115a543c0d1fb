r"""``backend = "judge"``: no process reward model, but a generator that is asked whether the last step is right.

The score of a step is P(yes) / (P(yes) + P(no)), from the likeliest tokens where the answer begins. Each step is judged
once, with the steps before it: of a solution that grows only what is new is asked for. Any server behind OpenAI's
interface that offers log-probabilities will do, vLLM and llama.cpp among them; one that was trained to write ``+`` or
``-`` after a step (``yes = "+"``) as well.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from math import exp, fsum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, NonNegativeFloat, model_validator

from trim_pomdp.runtime.backends.base import Place, ScorerTable
from trim_pomdp.runtime.backends.openai_server import (
    OpenAIServer,
    OpenAITable,
    Prefill,
    Question,
    system_message,
    user_message,
)
from trim_pomdp.runtime.http import ServerError
from trim_pomdp.runtime.protocols import ScoreRequest, SolutionScores, Usage
from trim_pomdp.runtime.replies import Reply, Token

QUESTION = (
    "Problem:\n{prompt}\n\nA solution so far, step by step:\n\n{steps}\n\nIs the last of these steps right? Check it "
    "against the problem and the steps before it. That step is:\n\n{step}\n\nAnswer with one word: Yes or No."
)
# Prompt, and the steps up to the one that is judged.
_Key: TypeAlias = tuple[str, tuple[str, ...]]
_PLACES = re.compile(r"\{(prompt|steps|before|step)\}")
# The answer may come after white space or what makes it bold.
_ANSWER_TOKENS = 3
_TOP = 20
_KEPT = 50_000
_AROUND = " \t\r\n*_\"'`.,:;!()[]▁Ġ"


Found = TypeVar("Found")


class JudgeTable(OpenAITable, ScorerTable):
    """A generator that judges steps.

    Attributes
    ----------
    system_prompt : str or False
        First message; "" or false (the default) leaves it out.
    question : str
        What is asked: ``{prompt}``, ``{steps}`` (all of them), ``{before}`` (all but the last) and ``{step}`` (the
        last) stand for what is judged.
    yes, no : str or tuple of str
        The answers, whatever the case.
    temperature : float
        Nothing is drawn from it; but some servers temper the log-probabilities that they tell, and only 1 leaves these
        as they are.
    continuation, prefill, top_p
        Keys of a generator, taken so that its table will do: a judge continues nothing, and draws nothing.
    """

    backend: Literal["judge"]
    system_prompt: str | Literal[False] = False
    temperature: NonNegativeFloat = 1.0
    continuation: Literal["instruct", "prefill"] | None = None
    prefill: Prefill = "auto"
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    question: str = QUESTION
    yes: str | Annotated[tuple[str, ...], Field(min_length=1)] = "yes"
    no: str | Annotated[tuple[str, ...], Field(min_length=1)] = "no"

    @model_validator(mode="after")
    def _question_asks(self) -> Self:
        if not {"step", "steps"} & set(_PLACES.findall(self.question)):
            raise ValueError("question: there is neither {step} nor {steps} in it, so that nothing would be judged")
        if not _words(self.yes).isdisjoint(_words(self.no)):
            raise ValueError("yes and no: they have an answer in common")
        return self

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`."""
        config = super().config(folder)
        return {key: value for key, value in config.items() if key not in ("continuation", "prefill", "top_p")}

    def load(self, place: Place) -> Judge:
        """See `ScorerTable`."""
        return Judge(
            self.server(place),
            question=self.question,
            yes=_words(self.yes),
            no=_words(self.no),
            system_prompt=self.system_prompt,
            temperature=self.temperature,
        )


GENERATOR = None
PRM = JudgeTable


@dataclass(eq=False)
class Judge:
    """A generator that judges steps (a `StepScorer`).

    Parameters
    ----------
    server : OpenAIServer
    question, yes, no, system_prompt, temperature
        See `JudgeTable`; the answers in lower case, with nothing round them.
    """

    server: OpenAIServer
    question: str = QUESTION
    yes: frozenset[str] = frozenset({"yes"})
    no: frozenset[str] = frozenset({"no"})
    system_prompt: str | Literal[False] = False
    temperature: float = 1.0
    _kept: OrderedDict[_Key, float] = field(default_factory=OrderedDict, init=False)

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer`; tokens are those of the new questions and their answers.

        Raises
        ------
        ServerError
            If the server offers no log-probabilities, or answers neither yes nor no.
        """
        keys = [(request.problem.prompt, request.steps[: count + 1]) for count in range(len(request.steps))]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        new = [key for key in keys if key not in found]
        judged = await _all_or_none([self._judge(*key, request.format.joiner) for key in new])
        for key, (score, _) in zip(new, judged, strict=True):
            found[key] = score
        self._keep(found)
        usage = sum((usage for _, usage in judged), Usage(0, 0, 0))
        return SolutionScores(tuple(found[key] for key in keys), usage.prompt + usage.output, usage.cached)

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `ServedModel`."""
        return self.server.facts

    @property
    def faults(self) -> Mapping[str, int]:
        """See `ServedModel`."""
        return self.server.faults

    async def close(self) -> None:
        """Close the connections."""
        await self.server.close()

    def _keep(self, found: Mapping[_Key, float]) -> None:
        for key, score in found.items():
            self._kept[key] = score
            self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    async def _judge(self, prompt: str, steps: tuple[str, ...], joiner: str) -> tuple[float, Usage]:
        parts = {"prompt": prompt, "steps": joiner.join(steps), "before": joiner.join(steps[:-1]), "step": steps[-1]}
        asked = user_message(_PLACES.sub(lambda place: parts[place[1]], self.question))
        messages = (*system_message(self.system_prompt), asked)
        question = Question(messages, _ANSWER_TOKENS, self.temperature, seed=0, top=_TOP)
        reply = await self.server.ask(question)
        return self._score(reply), reply.usage or Usage(0, 0, 0)

    def _score(self, reply: Reply) -> float:
        name = self.server.service.name
        if not reply.tokens:
            raise ServerError(
                f"{name}: the server offers no log-probabilities, of which a judge's scores are made; take another one"
            )
        if not any(token.top for token in reply.tokens):
            raise ServerError(
                f"{name}: the server tells the log-probability of the answer alone, not of others ({_TOP} of them are "
                "needed), so that there is no share of yes; take another one"
            )
        masses = [(self._mass(token, self.yes), self._mass(token, self.no)) for token in reply.tokens]
        yes, no = next((pair for pair in masses if sum(pair) > 0.0), (0.0, 0.0))
        if yes + no <= 0.0:
            shown = ", ".join(repr(text) for text, _ in _likeliest(reply.tokens[0])[:5])
            raise ServerError(
                f"{name}: the judge answers neither {'/'.join(sorted(self.yes))} nor {'/'.join(sorted(self.no))}, but "
                f"{shown}; ask another question, or name its answers (question, yes, no)"
            )
        return min(yes / (yes + no), 1.0)

    def _mass(self, token: Token, answers: frozenset[str]) -> float:
        return fsum(exp(min(value, 0.0)) for text, value in _likeliest(token) if _essence(text) in answers)


async def _all_or_none(asked: list[Coroutine[Any, Any, Found]]) -> list[Found]:
    """All results; where one fails, the others are broken off, and nothing goes on behind an error."""
    tasks = [asyncio.ensure_future(item) for item in asked]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _likeliest(token: Token) -> tuple[tuple[str, float], ...]:
    return token.top or ((token.text, token.logprob),)


def _words(answers: str | tuple[str, ...]) -> frozenset[str]:
    return frozenset(_essence(word) or word for word in ((answers,) if isinstance(answers, str) else answers))


def _essence(text: str) -> str:
    """A token without what may stand round an answer, and its case."""
    return text.strip(_AROUND).lower()
