r"""Money: what models charge for tokens, what they read, and what a problem costs by model and purpose.

A generator is asked once a step, for which it reads the problem and the solution so far, and writes the step. The
process reward model reads problem, solution so far and the weak step. With P tokens of the problem (prompt template
included) and L of the solution so far, a request reads

.. math::
    P + L + o (t - 1) \text{ tokens at step } t \text{ (the reward model: and the weak step's)},

o being what an earlier step takes in the model's prompt beyond the tokens that were generated; the share of it that
prefix caches hold is charged at the cached price.

What a policy costs is exact: E[L] is carried along with the probability of every state (`money`). A *plan* over money
takes the solution so far to have its mean length at step t, :math:`L = a (t - 1)`, since all that it knows of the past
is P(right): money of a step then is a table (`StepCosts`), and the plan is optimal for that table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.files import read_text
from trim_pomdp.model.actions.tables import ActionTables
from trim_pomdp.model.propagation import Course

FloatArray = NDArray[np.float64]
Role = Literal["weak", "strong", "prm"]
ROLES: tuple[Role, ...] = ("weak", "strong", "prm")
_MILLION = 1e6
_WEAK, _STRONG = 0, 1


class Price(Record):
    """Price of a million tokens of a model that writes, in any currency.

    Attributes
    ----------
    input : float
        Of tokens read.
    cached : float or None
        Of tokens read that a prefix cache held; None: as `input`.
    output : float
        Of tokens written.
    """

    input: NonNegativeFloat
    cached: NonNegativeFloat | None = None
    output: NonNegativeFloat

    def reading(self, tokens: float, cached: float = 0.0) -> float:
        """Money for so many tokens read, so many of which a cache held."""
        held = self.input if self.cached is None else self.cached
        return ((tokens - cached) * self.input + cached * held) / _MILLION

    def writing(self, tokens: float) -> float:
        """Money for so many tokens written."""
        return tokens * self.output / _MILLION


class ReaderPrice(Price):
    """Price of a million tokens of a reward model, which only reads.

    `output` may be given (a judge's price list has one), but bills nothing: a verdict is one token a step.
    """

    output: NonNegativeFloat = 0.0


class Prices(Record):
    """Prices of the models, None where nobody said; `currency` is for people."""

    weak: Price | None = None
    strong: Price | None = None
    prm: ReaderPrice | None = None
    currency: str | None = None

    def of(self, role: Role) -> Price:
        """Price of a model.

        Raises
        ------
        InputError
            If it has none.
        """
        prices: dict[Role, Price | None] = {"weak": self.weak, "strong": self.strong, "prm": self.prm}
        if (price := prices[role]) is None:
            raise InputError(f"no price of the {role} model; give a table [{role}.price] with input, output and cached")
        return price

    def absent(self, roles: Collection[Role]) -> tuple[Role, ...]:
        """Those of some models that have no price."""
        return tuple(role for role in ROLES if role in roles and getattr(self, role) is None)

    def require(self, roles: Collection[Role]) -> None:
        """Raise `InputError` unless these models have prices."""
        for role in self.absent(roles):
            self.of(role)


def read_prices(path: str | Path) -> Prices | None:
    """Prices of a TOML file with tables ``[weak.price]``, ``[strong.price]``, ``[prm.price]``, such as a models file.

    What else stands there is passed over, but ``currency``. None where there is no price at all.

    Raises
    ------
    InputError
        If it is no TOML, or a price is wrong; naming file, table and key.
    """
    try:
        document = tomllib.loads(read_text(path, "TOML in UTF-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML in UTF-8 ({error})") from None
    found: dict[str, Price] = {
        role: validate(ReaderPrice if role == "prm" else Price, table["price"], source=f"{path}, [{role}.price]")
        for role in ROLES
        if isinstance(table := document.get(role), dict) and "price" in table
    }
    if not found:
        return None
    return validate(Prices, {**found, "currency": document.get("currency")}, source=str(path))


_PURPOSES = {
    "weak_read": ("weak", "reading"),
    "weak_kept": ("weak", "steps kept"),
    "weak_discarded": ("weak", "steps discarded"),
    "strong_read": ("strong", "reading"),
    "strong": ("strong", "steps"),
    "scored": ("PRM", "reading"),
    "weak_ahead": ("weak", "ahead, in vain"),
    "strong_ahead": ("strong", "ahead, in vain"),
}
_SELDOM = ("weak_ahead", "strong_ahead")


class Money(Shown, Record):
    """Money by model and purpose, in the currency of the prices.

    Attributes
    ----------
    weak_read, weak_kept, weak_discarded : float
        The weak model's reading, and its steps that were kept and those that were discarded.
    strong_read, strong : float
        The strong model's reading and writing.
    scored : float
        What the process reward model read.
    weak_ahead, strong_ahead : float
        Reading and writing ahead and in vain, in runs that were told to; no part of plans.
    """

    weak_read: NonNegativeFloat = 0.0
    weak_kept: NonNegativeFloat = 0.0
    weak_discarded: NonNegativeFloat = 0.0
    strong_read: NonNegativeFloat = 0.0
    strong: NonNegativeFloat = 0.0
    scored: NonNegativeFloat = 0.0
    weak_ahead: NonNegativeFloat = 0.0
    strong_ahead: NonNegativeFloat = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.by_purpose.values())

    @property
    def by_purpose(self) -> dict[str, float]:
        """Amounts by name."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {**self.by_purpose, "total": self.total}

    @staticmethod
    def told(columns: Iterable[Money]) -> Iterator[tuple[str, str, list[float]]]:
        """Rows of a table of several: model, purpose and amounts; what is seldom only where there is any."""
        known = list(columns)
        for name, (model, purpose) in _PURPOSES.items():
            amounts = [getattr(money, name) for money in known]
            if name not in _SELDOM or any(amounts):
                yield model, purpose, amounts

    @property
    def document(self) -> dict[str, float]:
        """Amounts by name and their total, as JSON values."""
        return {**self.by_purpose, "total": self.total}

    def scaled(self, factor: float) -> Money:
        """So many times of it."""
        return Money(**{name: factor * value for name, value in self.by_purpose.items()})

    def __add__(self, other: Money) -> Money:
        return Money(**{name: value + getattr(other, name) for name, value in self.by_purpose.items()})


class Reading(Record):
    """What a model reads.

    Attributes
    ----------
    prompt_tokens : float
        Mean tokens of a problem, prompt template included.
    step_overhead : float
        Mean tokens of an earlier step in the model's prompt beyond those that were generated (a mark that asks for its
        score; another tokenizer); negative where there are fewer.
    cached : float
        Share of what it reads that prefix caches hold.
    """

    prompt_tokens: NonNegativeFloat
    step_overhead: float = 0.0
    cached: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class Tariff(Record):
    """What money is reckoned by: prices, and what each model reads.

    Attributes
    ----------
    prices : Prices
    weak, strong, prm : Reading
    step_tokens : float or None
        Mean tokens that a step adds to a solution, as plans over money have it; None: as the dynamics imply.
    """

    prices: Prices
    weak: Reading
    strong: Reading
    prm: Reading
    step_tokens: NonNegativeFloat | None = None

    @classmethod
    def of(cls, prices: Prices, prompt_tokens: float, cached: Mapping[str, float] | float = 0.0) -> Tariff:
        """The same prompt length for all models, and a cached share for all or by model."""
        shares = cached if isinstance(cached, Mapping) else dict.fromkeys(ROLES, cached)
        readings = {role: Reading(prompt_tokens=prompt_tokens, cached=shares.get(role, 0.0)) for role in ROLES}
        return cls(prices=prices, weak=readings["weak"], strong=readings["strong"], prm=readings["prm"])

    def reading(self, role: Role) -> Reading:
        """What a model reads."""
        readings: dict[Role, Reading] = {"weak": self.weak, "strong": self.strong, "prm": self.prm}
        return readings[role]

    def read(self, role: Role, requests: FloatArray, before: FloatArray) -> FloatArray:
        """Money for reading problem and solution so far, of as many requests at each step; shape (T, …).

        Parameters
        ----------
        requests : ndarray of shape (T, …)
            Mean number of requests by step.
        before : ndarray of shape (T, …)
            Expected tokens of the solution so far, summed over them.
        """
        reading = self.reading(role)
        steps = np.arange(len(requests)).reshape(-1, *(1,) * (requests.ndim - 1))
        tokens = requests * (reading.prompt_tokens + reading.step_overhead * steps) + before
        return np.maximum(tokens, 0.0) * self.token(role)  # an overhead below zero may be more than there is

    def token(self, role: Role) -> float:
        """Money for a token that a model reads."""
        return self.prices.of(role).reading(1.0, self.reading(role).cached)


def money(
    tariff: Tariff,
    course: Course,
    tables: ActionTables,
    tokens: FloatArray,
    *,
    drafted: bool,
    scored: bool,
    step_tokens: float | None = None,
) -> Money:
    """Expected money per problem: every decision has a draft, and some actions ask the strong model, step by step.

    Parameters
    ----------
    course : Course
        What becomes of a policy step by step: `trim_pomdp.policies.Rule.course`.
    tables : ActionTables
        Of the model.
    tokens : ndarray of shape (2, 3)
        Mean tokens of a step by who wrote it (weak, strong) and class of the weak step.
    drafted : bool
        Whether the weak model is asked at all; the strong model alone writes without drafts.
    scored : bool
        Whether the PRM is asked.
    step_tokens : float or None
        Tokens that every step adds to a solution as it is read, as plans over money have it; None: those that it does.
    """
    if step_tokens is not None:
        course = _at_mean_length(course, step_tokens)
    weak, strong = tariff.prices.of("weak"), tariff.prices.of("strong")
    requests, drafts = course.counts.sum(axis=2), course.decisions
    asked, steps = tables.asks_strong, course.strong_steps.sum(axis=0)
    between = step_tokens
    if between is None:
        between = float(steps @ tokens[_STRONG] / steps.sum()) if steps.any() else 0.0
    length = np.divide(course.before, requests, out=np.zeros_like(course.before), where=requests > 0.0)
    number, after = np.moveaxis(course.further_requests, -1, 0)
    further = tariff.read("strong", number, number * length)
    further += tariff.token("strong") * (tariff.strong.step_overhead + between) * after
    out = {
        "strong_read": tariff.read("strong", requests[:, asked], course.before[:, asked]).sum() + further.sum(),
        "strong": strong.writing(steps @ tokens[_STRONG]),
    }
    if drafted:
        kept = drafts[tables.keeps].sum(axis=0)
        out["weak_read"] = tariff.read("weak", requests, course.before).sum()
        out["weak_kept"] = weak.writing(kept @ tokens[_WEAK])
        out["weak_discarded"] = weak.writing(drafts[~tables.keeps].sum(axis=0) @ tokens[_WEAK])
    if drafted and scored:
        written = drafts.sum(axis=0) @ tokens[_WEAK]
        out["scored"] = tariff.read("prm", requests, course.before).sum() + tariff.token("prm") * written
    return Money(**{name: float(value) for name, value in out.items()})


def mean_step_tokens(course: Course) -> float:
    """Mean tokens that a step adds to solutions, such that they explain all lengths of solutions so far."""
    steps = (course.counts.sum(axis=(1, 2)) * np.arange(len(course.counts))).sum()
    return float(course.before.sum() / steps) if steps > 0 else 0.0


def _at_mean_length(course: Course, step_tokens: float) -> Course:
    """The same course, with as many tokens for every earlier step, as plans over money have it."""
    requests = course.counts.sum(axis=2)
    return replace(course, before=requests * (step_tokens * np.arange(len(requests)))[:, None])


@dataclass(frozen=True, eq=False)
class StepCosts:
    """Money of one decision by action, step, end and class of the draft, where drafts are made at every step.

    Attributes
    ----------
    total : ndarray of shape (A, T, 2, 3)
        Of all purposes, the draft's among them.
    strong_read : ndarray of shape (T,)
        Of the strong model's reading, if it is asked, on one request.
    strong : ndarray of shape (3,)
        Of its writing a step, by class.
    """

    total: FloatArray
    strong_read: FloatArray
    strong: FloatArray

    @classmethod
    def of(
        cls, tariff: Tariff, tables: ActionTables, tokens: FloatArray, step_tokens: float, scored: bool
    ) -> StepCosts:
        """Costs where the solution so far has its mean length at every step.

        Parameters
        ----------
        tables : ActionTables
        tokens : ndarray of shape (2, 3)
            As in `money`.
        step_tokens : float
            Mean tokens that a step adds to the solution.
        scored : bool
            Whether every step is scored.
        """
        steps = len(tables.outcomes)
        once, before = np.ones(steps), step_tokens * np.arange(steps, dtype=np.float64)
        strong_read = tariff.read("strong", once, before)
        strong = tariff.prices.of("strong").writing(1.0) * tokens[_STRONG]
        total = np.zeros((len(tables.keeps), steps, 2, 3))
        total += tariff.read("weak", once, before)[:, None, None]
        total += tariff.prices.of("weak").writing(1.0) * tokens[_WEAK]
        if scored:
            total += tariff.read("prm", once, before)[:, None, None] + tariff.token("prm") * tokens[_WEAK]
        total += strong_reading(strong_read, tables) + tables.strong(strong)
        return cls(total, strong_read, strong)


def strong_reading(read: FloatArray, tables: ActionTables) -> FloatArray:
    """What the strong model's requests for a decision read, in money or its price; shape (A, T, 2, 3).

    Parameters
    ----------
    read : ndarray of shape (T,)
        Of one request, by step; it grows by as much at every step.
    """
    growth = float(read[-1] - read[0]) / max(len(read) - 1, 1)
    number, after = np.moveaxis(tables.further_requests, -1, 0)
    requests = tables.asks_strong[:, None, None, None] + number
    return np.asarray(requests * read[:, None, None] + after * growth)
