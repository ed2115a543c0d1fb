r"""Money: what models charge for tokens, what they read, and what a problem costs by model and purpose.

A generator is asked once a step, for which it reads the problem and the solution so far, and writes the step. The
process reward model reads problem, solution so far and the weak step. With $P$ tokens of the problem (prompt template
included) and $a$ tokens of an accepted step, the request at step t = 1, 2, … reads

.. math::
    R_t = P + a (t - 1) \text{ tokens (the reward model: and the weak step's)},

of which the share that prefix caches hold is charged at the cached price. That the solution so far has its mean length
whatever became of it is an approximation: what a plan knows of the past is P(right) alone. `a` is the mean of a weak
step that does not end the solution, or as measured (`Reading.step_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from trim_pomdp.artifacts import Record
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError, UnsetParameterError

FloatArray = NDArray[np.float64]
Role = Literal["weak", "strong", "prm"]
_MILLION = 1e6
_KEEP, _REGENERATE = 0, 1


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


class Money(Shown, Record):
    """Money by model and purpose, in the currency of the prices.

    Attributes
    ----------
    weak_read, weak_kept, weak_discarded : float
        The weak model's reading, and its steps that were kept and those that were regenerated.
    strong_read, strong : float
        The strong model's reading and writing.
    scored : float
        What the process reward model read.
    """

    weak_read: NonNegativeFloat = 0.0
    weak_kept: NonNegativeFloat = 0.0
    weak_discarded: NonNegativeFloat = 0.0
    strong_read: NonNegativeFloat = 0.0
    strong: NonNegativeFloat = 0.0
    scored: NonNegativeFloat = 0.0

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
    step_tokens : float or None
        Mean tokens that an accepted step adds; None: as the dynamics have it.
    cached : float
        Share of what it reads that prefix caches hold.
    """

    prompt_tokens: NonNegativeFloat
    step_tokens: NonNegativeFloat | None = None
    cached: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class Tariff(Record):
    """What a plan over money takes for granted: prices, and what each model reads."""

    prices: Prices
    weak: Reading
    strong: Reading
    prm: Reading

    @classmethod
    def of(cls, prices: Prices, prompt_tokens: float, cached: Mapping[str, float] | float = 0.0) -> Tariff:
        """The same prompt length for all models, and a cached share for all or by model."""
        shares = cached if isinstance(cached, Mapping) else dict.fromkeys(("weak", "strong", "prm"), cached)
        readings = {
            role: Reading(prompt_tokens=prompt_tokens, cached=shares.get(role, 0.0))
            for role in ("weak", "strong", "prm")
        }
        return cls(prices=prices, **readings)

    def reading_by_step(self, role: Role, step_tokens: float, steps: int) -> FloatArray:
        """Money that a model's reading of problem and solution so far costs at each step, shape (steps,)."""
        reading, price = self.reading(role), self.prices.of(role)
        added = step_tokens if reading.step_tokens is None else reading.step_tokens
        tokens = reading.prompt_tokens + added * np.arange(steps)
        return tokens * price.reading(1.0, reading.cached)

    def reading(self, role: Role) -> Reading:
        """What a model reads."""
        readings: dict[Role, Reading] = {"weak": self.weak, "strong": self.strong, "prm": self.prm}
        return readings[role]


@dataclass(frozen=True, eq=False)
class StepCosts:
    """Money of one step by step index, action (keep, regenerate) and class of the weak step, for every purpose.

    Attributes
    ----------
    tables : mapping of str to ndarray of shape (T, 2, 3)
        By the names of `Money`.
    """

    tables: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        tariff: Tariff,
        steps: int,
        *,
        weak_tokens: FloatArray,
        strong_tokens: FloatArray,
        step_tokens: float,
        scored: bool,
    ) -> StepCosts:
        """Costs where every weak step is drafted, and `scored` if the PRM is asked.

        Parameters
        ----------
        weak_tokens, strong_tokens : ndarray of shape (3,)
            Mean tokens of a step by class.
        step_tokens : float
            Mean tokens of an accepted step.
        """
        prices = tariff.prices
        weak, strong = prices.of("weak"), prices.of("strong")
        names = Money.model_fields
        out = {name: np.zeros((steps, 2, 3)) for name in names}
        out["weak_read"][:] = tariff.reading_by_step("weak", step_tokens, steps)[:, None, None]
        out["weak_kept"][:, _KEEP] = weak.writing(1.0) * weak_tokens
        out["weak_discarded"][:, _REGENERATE] = weak.writing(1.0) * weak_tokens
        out["strong_read"][:, _REGENERATE] = tariff.reading_by_step("strong", step_tokens, steps)[:, None]
        out["strong"][:, _REGENERATE] = strong.writing(1.0) * strong_tokens
        if scored:
            before = tariff.reading_by_step("prm", step_tokens, steps)[:, None, None]
            out["scored"][:] = before + prices.of("prm").reading(1.0, tariff.prm.cached) * weak_tokens
        return cls(out)

    @property
    def total(self) -> FloatArray:
        """Money of a step, all purposes together, shape (T, 2, 3)."""
        return np.asarray(sum(self.tables.values()))

    def expected(self, counts: FloatArray, *, drafted: bool = True, scored: bool = True) -> Money:
        """Money of expected counts of (step, action, class), shape (T, 2, 3).

        Parameters
        ----------
        drafted : bool
            Whether the weak model is asked at all; the strong model alone writes without drafts.
        scored : bool
            Whether the policy asks the PRM.
        """
        amounts = {name: float((table * counts).sum()) for name, table in self.tables.items()}
        for name in amounts:
            if (name == "scored" and not (scored and drafted)) or (name.startswith("weak") and not drafted):
                amounts[name] = 0.0
        return Money(**amounts)


def require_tokens(name: str, weak_tokens: FloatArray | None) -> FloatArray:
    """Weak tokens of the dynamics of that name, which money needs."""
    if weak_tokens is None:
        raise UnsetParameterError(f"dynamics {name!r} leave weak_tokens unset, and money needs them; set them there")
    return weak_tokens

