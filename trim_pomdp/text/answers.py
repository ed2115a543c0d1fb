r"""Whether two answers are the same: cheap exact comparison first, math-verify for what is left.

Most pairs end with strings or exact numbers and cost microseconds; expressions with variables, roots, functions go to
math-verify (`trim_pomdp.text.mathematics`), milliseconds. Nothing that an answer says can stop or slow a run: what is
malformed, huge or takes too long is equal to nothing but the same string.

Where conventions differ, this holds (a wrong answer accepted is worse than a right one missed):

===================================  ===================================================================================
units, degrees, currency, left side  may be absent on one side (``23`` is ``23\text{ cm}``, ``35`` is ``35^\circ``,
                                     ``7.5`` is ``\$7.50``, ``5`` is ``x = 5``); where both have one they must agree
                                     (``5\text{ cm}`` is not ``5\text{ m}``). Units are not converted.
percent                              ``35\%`` is ``35`` (the sign is a unit) and is ``0.35`` (what it means)
bases                                ``41`` is ``41_6``; ``41_7`` is not, nor is ``25``, its value in base ten
scales                               ``3\text{ million}`` is ``3000000``
mixed numbers                        ``3\frac14`` and ``3 1/4`` are 13/4
thousands                            ``3,456`` is 3456, or the list of 3 and 456 if the other one is a list; inside of
                                     brackets a comma always parts: ``(4,250)`` is a pair. ``3{,}456`` is a number
decimals                             exact: ``0.333`` is not 1/3. What stands behind ``\approx`` does not count, if
                                     anything but a left side stands before it
lists and sets                       the order is free; ``\{4, 9\}`` is ``4, 9``; a list counts repetitions, a set not
``\pm``                              both values
tuples, intervals, matrices          the order and the kind of brackets count; ``\langle\rangle`` are round, ``pmatrix``
                                     and ``bmatrix`` one kind. A tuple is not a matrix
inequalities                         ``x \ge 4`` is ``[4, \infty)``
choices                              ``B``, ``(B)``, ``\text{(B)}``, ``B.``; ``(B)\ 7`` is both ``B`` and ``7``
words                                capitals, punctuation and spaces do not count
letters                              capitals count: ``x`` is not ``X``; ``i`` is the imaginary unit, others are real;
                                     ``\log`` without a base is the decimal one
===================================  ===================================================================================
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

from trim_pomdp.errors import InputError
from trim_pomdp.text.latex import FUNCTIONS, MATRIX, MAX_LENGTH, UnreadableError, listed
from trim_pomdp.text.mathematics import Budget, same_expression
from trim_pomdp.text.values import Choice, Expression, Items, Named, Number, Quantity, Value, Words, read

AnswerChecker: TypeAlias = Callable[[str, str], bool]
"""Whether an answer (first) is the same as the reference (second)."""

_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_FREE = 8
"""Items of a list that may be left to find a partner for by math-verify."""


def same_answer(given: str, reference: str) -> bool:
    r"""Whether two answers in LaTeX or plain text are the same; the module says by which conventions. Never raises.

    Parameters
    ----------
    given, reference : str
        Answers as they stand in the box, delimiters of mathematics included or not.

    Examples
    --------
    >>> same_answer("07", "7"), same_answer(r"\frac{1}{2}", "0.5"), same_answer("x", "y")
    (True, True, False)
    >>> same_answer("35", r"35^\circ"), same_answer("[1,6]", r"w \in [1,6]"), same_answer("(1,6)", "[1,6]")
    (True, True, False)
    """
    given, reference = given.strip(), reference.strip()
    if given == reference:
        return True
    budget = Budget()
    return any(_same(a, b, budget) for a in _readings(given) for b in _readings(reference))


def exact_answer(given: str, reference: str) -> bool:
    """Whether two answers are the same string, white space around them aside."""
    return given.strip() == reference.strip()


def checker(name: str) -> AnswerChecker:
    """A checker by name.

    Parameters
    ----------
    name : str
        ``math``: `same_answer`. ``exact``: `exact_answer`. ``package.module:function``: one of your own.

    Raises
    ------
    InputError
        If there is no such checker.
    """
    known: dict[str, AnswerChecker] = {"math": same_answer, "exact": exact_answer}
    if name in known:
        return known[name]
    module_name, colon, function_name = name.partition(":")
    if not colon or not module_name or not function_name:
        raise InputError(f"checker: {name!r}; expected 'math', 'exact' or 'package.module:function'")
    try:
        found = importlib.import_module(module_name)
        for part in function_name.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the module does when it is imported
        raise InputError(f"checker {name!r}: cannot be imported ({type(error).__name__}: {error})") from None
    if not callable(found):
        raise InputError(f"checker {name!r}: is a {type(found).__name__}; expected a function of two strings")
    own: AnswerChecker = found
    return own


# Reading -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[Value, ...]:
    """What an answer may say: two things where a comma may part thousands or a list; nothing if it is malformed."""
    if len(text) > 2 * MAX_LENGTH:
        return ()
    texts = dict.fromkeys((text, _without_thousands(text)))
    values = []
    for candidate in texts:
        with suppress(UnreadableError, RecursionError):
            values.append(read(candidate))
    return tuple(values)


def _without_thousands(text: str) -> str:
    """The text without commas that may part thousands: those outside of brackets."""

    def joined(match: re.Match[str]) -> str:
        before = text[: match.start()]
        outside = sum(map(before.count, "([")) == sum(map(before.count, ")]"))
        return match[0].replace(",", "") if outside and before.count(r"\{") == before.count(r"\}") else match[0]

    return _THOUSANDS.sub(joined, text)


# Comparing ---------------------------------------------------------------------------------------------------


def _same(a: Value, b: Value, budget: Budget) -> bool:
    if a == b:
        return True
    for comparison in (_choices, _names, _quantities, _items):
        verdict = comparison(a, b, budget)
        if verdict is not None:
            return verdict
    if isinstance(a, Words) or isinstance(b, Words):
        return False  # not the same words
    if isinstance(a, Number) and isinstance(b, Number):
        return False  # not the same number
    return _expressions(_latex(a), _latex(b), budget)


def _choices(a: Value, b: Value, budget: Budget) -> bool | None:
    if isinstance(b, Choice) and not isinstance(a, Choice):
        return _choices(b, a, budget)
    if not isinstance(a, Choice):
        return None
    if isinstance(b, Choice):
        if a.letter != b.letter and not ((a.marked or b.marked) and a.letter.upper() == b.letter.upper()):
            return False
        return a.content is None or b.content is None or _same(a.content, b.content, budget)
    if a.content is not None:
        return _same(a.content, b, budget)
    return None if isinstance(b, Named) else False


def _names(a: Value, b: Value, budget: Budget) -> bool | None:
    """Left sides."""
    if isinstance(b, Named) and not isinstance(a, Named):
        return _names(b, a, budget)
    if not isinstance(a, Named):
        return None
    if not isinstance(b, Named):
        if isinstance(b, Expression) and "=" in b.tokens:
            return _expressions(a.tokens, b.tokens, budget)
        return _same(a.value, b, budget)
    if a.name == b.name:
        return _same(a.value, b.value, budget)
    return "=" in a.tokens and "=" in b.tokens and _expressions(a.tokens, b.tokens, budget)


def _quantities(a: Value, b: Value, budget: Budget) -> bool | None:
    """Units."""
    if isinstance(b, Quantity) and not isinstance(a, Quantity):
        return _quantities(b, a, budget)
    if not isinstance(a, Quantity):
        return None
    if isinstance(b, Quantity):
        return a.unit == b.unit and _same(a.value, b.value, budget)
    if a.unit == "%" and isinstance(a.value, Number) and _same(Number(a.value.value / 100), b, budget):
        return True
    return _same(a.value, b, budget)


def _items(a: Value, b: Value, budget: Budget) -> bool | None:
    """Lists, sets, tuples, matrices."""
    if isinstance(b, Items) and not isinstance(a, Items):
        return _items(b, a, budget)
    if not isinstance(a, Items):
        return None
    if not isinstance(b, Items):
        if a.is_matrix and isinstance(b, Expression) and MATRIX in b.tokens:
            return None
        return a.kind == "set" and len(a.items) == 1 and _same(a.items[0], b, budget)
    if {a.kind, b.kind} == {"list", "set"} or a.kind == b.kind == "set":
        return _matched(_distinct(a.items), _distinct(b.items), budget)
    named_point = {a.kind, b.kind} == {"list", "()"} and (_names_differ(a) or _names_differ(b))  # x = 3, y = 4
    if (a.kind != b.kind and not named_point) or len(a.items) != len(b.items):
        return False
    if a.ordered or _names_differ(a) != _names_differ(b):
        return all(_same(x, y, budget) for x, y in zip(a.items, b.items, strict=True))
    return _matched(a.items, b.items, budget)


def _names_differ(items: Items) -> bool:
    """Whether the items are values of different things (x = 1, y = 2), whose order then matters."""
    return len({item.name for item in items.items if isinstance(item, Named)}) > 1


def _distinct(items: Sequence[Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(items))


def _matched(a: Sequence[Value], b: Sequence[Value], budget: Budget) -> bool:
    """Whether every item has a partner of its own on the other side."""
    if len(a) != len(b):
        return False
    left = list(b)
    rest = []
    for item in a:
        if item in left:
            left.remove(item)
        else:
            rest.append(item)
    if len(rest) > _FREE:
        return False
    for item in rest:
        partner = next((i for i, other in enumerate(left) if _same(item, other, budget)), None)
        if partner is None:
            return False
        del left[partner]
    return True


# For math-verify ---------------------------------------------------------------------------------------------

_KNOWN = FUNCTIONS | listed(
    r"\frac \sqrt \binom \cdot \infty \lfloor \rfloor \lceil \rceil \le \ge \overline \sum \prod \int \hbar \ell "
    r"\pi \alpha \beta \gamma \delta \epsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \rho \sigma \tau "
    r"\upsilon \phi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega "
    r"+ - / ^ _ { } ( ) [ ] | ! = < > ,"
)
_GROWING = frozenset(("!", r"\binom", r"\sum", r"\prod"))
_LONGEST = 600  # tokens
_MOST = 10_000  # factorials and sums of more are not asked for
_MATRIX_ONLY = frozenset((MATRIX, r"\end{matrix}", "&", "\\\\"))


def _latex(value: Value) -> tuple[str, ...] | None:
    if isinstance(value, Number):
        return _ratio(value.value)
    if isinstance(value, Items):
        cells = [_latex(item) for item in value.items]
        columns = int(value.kind.partition("x")[2])
        parts = [MATRIX]
        for i, cell in enumerate(cells):
            if cell is None:
                return None
            parts += [] if i == 0 else ["&" if i % columns else "\\\\"]
            parts += cell
        return (*parts, r"\end{matrix}")
    return value.tokens if isinstance(value, Expression) and not value.huge else None


def _ratio(value: Fraction) -> tuple[str, ...]:
    sign = ("-",) if value < 0 else ()
    over, under = (str(abs(part)) for part in value.as_integer_ratio())
    return (*sign, over) if under == "1" else (*sign, "\\frac", "{", over, "}", "{", under, "}")


def _expressions(a: tuple[str, ...] | None, b: tuple[str, ...] | None, budget: Budget) -> bool:
    """Equality by math-verify, where both sides are mathematics that it reads."""
    if a is None or b is None:
        return False
    if a == b:
        return True
    a, b = _in_radians(a), _in_radians(b)
    if not (_is_mathematics(a) and _is_mathematics(b)) or ("=" in a) != ("=" in b):
        return False
    first, second = sorted((_joined(a), _joined(b)))
    return same_expression(first, second, budget)


def _in_radians(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Degrees in functions as multiples of pi."""
    out: list[str] = []
    for token in tokens:
        if token == "°" and out and out[-1].isdigit():
            out[-1:] = ["(", "\\frac", "{", out[-1], "\\pi", "}", "{", "180", "}", ")"]
        else:
            out.append(token)
    return tuple(out)


def _is_mathematics(tokens: Sequence[str]) -> bool:
    """Whether math-verify reads all of it (it would drop primes, and subscripts of numbers)."""
    known = all(
        token in _KNOWN or token in _MATRIX_ONLY or (token.isascii() and (token.isalpha() or token[0].isdigit()))
        for token in tokens
    )
    subscripts = any(a[0].isdigit() and b == "_" for a, b in pairwise(tokens))
    if _GROWING & set(tokens) and any(token.isdigit() and int(token) > _MOST for token in tokens):
        return False
    in_matrix = MATRIX in tokens or not _MATRIX_ONLY & set(tokens)
    return 0 < len(tokens) <= _LONGEST and known and in_matrix and not subscripts


def _joined(tokens: Sequence[str]) -> str:
    return "".join(_spaced([part for token in tokens for part in _exact(token)]))


def _exact(token: str) -> Sequence[str]:
    """A token, decimals as fractions: nothing is rounded."""
    if token[0].isdigit() and not token.isdigit():
        mantissa, _, exponent = token.partition("e")
        return _ratio(Fraction(mantissa) * Fraction(10) ** max(-99, min(99, int(exponent or 0))))
    return (token,)


def _spaced(tokens: Sequence[str]) -> Iterator[str]:
    for i, token in enumerate(tokens):
        if i and tokens[i - 1][0] == "\\" and token[0].isalpha():
            yield " "
        yield token
