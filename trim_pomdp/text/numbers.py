"""Exact rational numbers from tokens: what cheap comparison ends with."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from trim_pomdp.text.latex import TEXT

MAX_BITS = 20_000
"""Of a numerator or denominator; nobody answers with more."""


class HugeError(ValueError):
    """A number that nobody wants to see computed."""


def exact_number(tokens: Sequence[str]) -> Fraction | None:
    r"""Value of ``+ - \cdot / ^ \frac`` and brackets on numbers; None where there is anything else.

    Raises
    ------
    HugeError
        If the number, or one on the way to it, has more than `MAX_BITS`.

    Examples
    --------
    >>> from trim_pomdp.text.latex import tokens
    >>> exact_number(tokens(r"-\frac{3}{4} + 2^{-1}"))
    Fraction(-1, 4)
    >>> exact_number(tokens("2x")) is None
    True
    """
    if any(token[0].isalpha() or token[0] == TEXT for token in tokens):
        return None
    reader = _Reader(list(tokens))
    try:
        value = reader.sum()
    except (_NotANumberError, ZeroDivisionError):
        return None
    return value if reader.at_end else None


class _NotANumberError(ValueError):
    pass


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens[::-1]

    @property
    def at_end(self) -> bool:
        return not self._tokens

    def _take(self, *wanted: str) -> str | None:
        if self._tokens and self._tokens[-1] in wanted:
            return self._tokens.pop()
        return None

    def _between(self, opening: str, closing: str) -> Fraction:
        if not self._take(opening):
            raise _NotANumberError
        value = self.sum()
        if not self._take(closing):
            raise _NotANumberError
        return value

    def sum(self) -> Fraction:
        sign = self._take("+", "-")
        value = -self._product() if sign == "-" else self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            value = _small(value + term if sign == "+" else value - term)
        return value

    def _product(self) -> Fraction:
        value = self._power()
        while sign := self._take("\\cdot", "/"):
            factor = -self._power() if self._take("-") else self._power()
            value = _small(value * factor if sign == "\\cdot" else value / factor)
        return value

    def _power(self) -> Fraction:
        base = self._atom()
        if not self._take("^"):
            return base
        exponent = self._between("{", "}")
        if exponent.denominator != 1 or (base == 0 and exponent <= 0):
            raise _NotANumberError
        if abs(base) == 1:
            exponent %= 2
        if abs(exponent) * max(abs(base.numerator), base.denominator).bit_length() > MAX_BITS:
            raise HugeError
        return Fraction(base ** int(exponent))

    def _atom(self) -> Fraction:
        if self._tokens and self._tokens[-1][0].isdigit():
            return _parsed(self._tokens.pop())
        if self._take("\\frac"):
            over = self._between("{", "}")
            return _small(over / self._between("{", "}"))
        return self._between("(", ")")


def _parsed(token: str) -> Fraction:
    mantissa, _, exponent = token.partition("e")
    if exponent and abs(int(exponent)) > MAX_BITS / 4:
        raise HugeError
    return _small(Fraction(mantissa) * Fraction(10) ** int(exponent or 0))


def _small(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise HugeError
    return value
