r"""What an answer says: numbers with units, lists, sets, tuples, intervals, matrices, words, expressions.

`read` takes an answer apart as far as its notation goes; `trim_pomdp.text.answers` compares what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from trim_pomdp.text.latex import CLOSING, FUNCTIONS, MATRIX, OPENING, TEXT, UnreadableError, listed, tokens
from trim_pomdp.text.numbers import HugeError, exact_number

Tokens: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Number:
    """An exact rational number."""

    value: Fraction


@dataclass(frozen=True)
class Expression:
    """Mathematics that is no number; `huge`: nobody computes it."""

    tokens: Tokens
    huge: bool = False


@dataclass(frozen=True)
class Words:
    """An answer in words, in small letters."""

    text: str


@dataclass(frozen=True)
class Choice:
    """An option's letter, `marked` as such by brackets or text, perhaps with what the option says."""

    letter: str
    marked: bool
    content: Value | None = None


@dataclass(frozen=True)
class Quantity:
    """A value with a unit: ``cm``, ``°``, ``%``, ``$``, ``base 6``, …."""

    value: Value
    unit: str


@dataclass(frozen=True)
class Named:
    r"""A value with a left side: ``m = 23``, ``x \in [1, 6]``."""

    name: Tokens
    value: Value
    tokens: Tokens


@dataclass(frozen=True)
class Items:
    """Several values; kinds: list, set, union (no order), ``(]`` and other brackets, ``2x3`` matrix (in order)."""

    kind: str
    items: tuple[Value, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order counts."""
        return self.kind not in ("list", "set", "union")

    @property
    def is_matrix(self) -> bool:
        """Whether the kind is that of a matrix."""
        return self.kind[0].isdigit()


Value: TypeAlias = Number | Expression | Words | Choice | Quantity | Named | Items

_BRACKETS = {"(": ")", "[": "]", r"\{": r"\}", r"\langle": r"\rangle"}
_RELATIONS = frozenset(("=", "<", ">", r"\le", r"\ge", r"\in", r"\ne", r"\approx", r"\equiv"))
_CURRENCIES = {r"\$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee"}
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_BASES = {name: i for i, name in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 2)}
_UNIT_NAMES = {
    other: unit
    for unit, others in {
        "°": "degree deg",
        "%": "percent",
        "in": "inches inch",
        "ft": "feet foot",
        "mi": "mile",
        "yd": "yard",
        "lb": "pound lbs",
        "oz": "ounce",
        "m": "meter metre",
        "cm": "centimeter centimetre",
        "mm": "millimeter millimetre",
        "km": "kilometer kilometre",
        "g": "gram",
        "kg": "kilogram",
        "s": "second sec",
        "min": "minute",
        "h": "hour hr",
        "l": "liter litre",
        "dollar": "usd",
    }.items()
    for other in others.split()
}
_NO_UNITS = listed(
    "and or if when where for with mod is are not than to plus minus times over more less least most but"
)
_CHOICE = re.compile(r"(\()?([A-Za-z])(?(1)\)|[.:)]?)")
_INTERVALS = {"<": "(", r"\le": "[", ">": ")", r"\ge": "]"}
INFINITY = (r"\infty",)


def read(text: str) -> Value:
    """What an answer says.

    Raises
    ------
    UnreadableError
        If it is malformed, too long or too deep.
    """
    return _several(tuple(tokens(text)))


def bare(value: Value) -> Value:
    """Without a left side and a unit."""
    while isinstance(value, Named | Quantity):
        value = value.value
    return value


# Lists -------------------------------------------------------------------------------------------------------


def _several(found: Tokens) -> Value:
    """A list, or the one value that there is."""
    parts = _split(found, {",", ";"})
    items = tuple(item for part in parts if part for item in _one_or_both(part))
    if not items:
        raise UnreadableError("no answer")
    return items[0] if len(items) == 1 else _alternatives(items) or Items("list", items)


def _alternatives(items: tuple[Value, ...]) -> Value | None:
    """Inequalities of one name (``x < 2`` or ``x > 3``) as a union."""
    named = [item for item in items if isinstance(item, Named) and isinstance(item.value, Items)]
    if len(named) < len(items) or len({item.name for item in named}) != 1 or "=" in named[0].tokens:
        return None
    return Named(named[0].name, Items("union", tuple(item.value for item in named)), ())


def _one_or_both(found: Tokens) -> tuple[Value, ...]:
    r"""An item; two where it has one ``\pm``."""
    if found.count(r"\pm") + found.count(r"\mp") != 1 or found[0] == r"\{":
        return (_one(found),)
    place = next(i for i, token in enumerate(found) if token in (r"\pm", r"\mp"))
    return tuple(_one((*found[:place], sign, *found[place + 1 :])) for sign in "+-")


def _split(found: Tokens, at: set[str] | frozenset[str]) -> list[Tokens]:
    """Parts between tokens outside of all brackets."""
    parts: list[list[str]] = [[]]
    for token, depth in _depths(found):
        if depth == 0 and token in at:
            parts.append([])
        else:
            parts[-1].append(token)
    return [tuple(part) for part in parts]


def _depths(found: Tokens) -> list[tuple[str, int]]:
    """Every token with the number of brackets that it is in, its own included."""
    depth, out = 0, []
    for token in found:
        depth += token in OPENING or token.startswith(r"\begin")
        out.append((token, depth))
        depth -= token in CLOSING or token.startswith(r"\end")
    return out


# One value ---------------------------------------------------------------------------------------------------


def _one(found: Tokens) -> Value:
    while found[:1] in (("+",), ("=",), (r"\approx",)):
        found = found[1:]
    while found and found[-1] in (".", ":", ","):
        found = found[:-1]
    if not found:
        raise UnreadableError("nothing where a value should be")
    for reader in (_words, _choice, _relation, _union, _matrix, _bracketed, _quantity):
        value = reader(found)
        if value is not None:
            return value
    return _number_or_expression(found)


def _number_or_expression(found: Tokens) -> Value:
    try:
        number = exact_number(found)
    except HugeError:
        return Expression(found, huge=True)
    return Expression(found) if number is None else Number(number)


def _words(found: Tokens) -> Words | None:
    """An answer of nothing but words (one letter is a choice or a variable)."""
    if not any(token.startswith(TEXT) for token in found) or found[0] == "-":
        return None
    if not all(token.startswith(TEXT) or token.isalpha() or token in list(".,-'!?()") for token in found):
        return None
    if _choice(found) is not None:
        return None
    text = " ".join(token.removeprefix(TEXT) for token in found).casefold()
    return Words(" ".join(re.sub(r"[^\w%$+/*^<>=|.]+|\.(?!\w)", " ", text).split()))


def _choice(found: Tokens) -> Choice | None:
    """``B``, ``(B)``, text of these, and such a text with what the option says."""
    whole = _CHOICE.fullmatch("".join(token.removeprefix(TEXT) for token in found)) if len(found) <= 3 else None
    if whole:
        return Choice(whole[2], len(found) > 1 or found[0].startswith(TEXT))
    if found[0].casefold() in (TEXT + "option", TEXT + "choice", TEXT + "answer"):
        return _choice(found[1:]) if found[1:] else None
    first = _CHOICE.fullmatch(found[0].removeprefix(TEXT)) if found[0].startswith(TEXT) else None
    if first and len(first[0]) > 1 and found[1:]:
        return Choice(first[2], True, _one(found[1:]))
    plain = re.match(r"(?:\( ([A-E]) \)|([A-E]) [:.)]) \d", " ".join(found))
    if plain:  # "(B) 7", "B: 7"
        return Choice(plain[1] or plain[2], True, _one(found[3 if plain[1] else 2 :]))
    return None


def _relation(found: Tokens) -> Value | None:
    parts = _split(found, _RELATIONS)
    rounded = _split(found, {r"\approx"})
    if len(rounded) > 1 and not _is_name(rounded[0]):
        return _one(rounded[0])
    signs = [token for token, depth in _depths(found) if depth == 0 and token in _RELATIONS]
    if not signs or not all(parts):
        return None
    if set(signs) <= {"=", r"\approx"}:
        return _equation(parts, found)
    if signs == [r"\in"] and _is_name(parts[0]):
        return Named(parts[0], _one(parts[1]), found)
    return _inequality(parts, signs, found)


def _equation(parts: list[Tokens], found: Tokens) -> Value:
    names = [part for part in parts[:-1] if _is_name(part)]
    if names and (not _is_name(parts[-1]) or "(" in names[0]):
        return Named(names[0], _one(parts[-1]), found)
    values = [_number_or_expression(part) for part in parts]
    if isinstance(values[0], Number) and all(value == values[0] for value in values):
        return values[0]
    return Expression(found)


def _is_name(found: Tokens) -> bool:
    r"""Whether tokens may be a left side: ``x``, ``x_1``, ``f(x)``, ``\angle ABC``, ``(x, y)``, words."""
    text = " ".join(found)
    letter = r"(?:[A-Za-z]|\\(?!infty|pi\b)[a-z]+|\\[A-Z][a-z]+)"
    script = r"(?: _ \{ [^{}]* \})?(?: ')*(?: \^ \{ - 1 \})?"
    name = rf"{letter}{script}"
    capitals = rf"(?:\\angle |\\overline \{{ )?[A-Z]{script}(?: [A-Z]{script})*(?: \}})?"
    return bool(
        not FUNCTIONS & set(found)
        and (
            re.fullmatch(rf"(?:{name}|{capitals})(?: \( [^()]* \))?|\( {name}(?: , {name})* \)", text)
            or all(token.startswith(TEXT) for token in found)
        )
    )


def _inequality(parts: list[Tokens], signs: list[str], found: Tokens) -> Value:
    r"""``a < x \le b`` as the interval of a name, likewise ``x \ge a`` and ``a \le x``."""
    if not set(signs) <= set(_INTERVALS):
        return Expression(found)
    if len(signs) == 1 and _is_name(parts[1]) and not _is_name(parts[0]):
        parts, signs = parts[::-1], [_mirrored(signs[0])]
    elif len(signs) == 2 and set(signs) <= {">", r"\ge"}:
        parts, signs = parts[::-1], [_mirrored(sign) for sign in signs[::-1]]
    if len(signs) == 1 and _is_name(parts[0]):
        upper = signs[0] in ("<", r"\le")
        low: Value = Expression(("-", *INFINITY)) if upper else _one(parts[1])
        high: Value = _one(parts[1]) if upper else Expression(INFINITY)
        brackets = ("(" + ("]" if signs[0] == r"\le" else ")")) if upper else (_low(signs[0]) + ")")
        return Named(parts[0], Items(brackets, (low, high)), found)
    if len(signs) == 2 and set(signs) <= {"<", r"\le"} and _is_name(parts[1]):
        brackets = _low(signs[0]) + ("]" if signs[1] == r"\le" else ")")
        return Named(parts[1], Items(brackets, (_one(parts[0]), _one(parts[2]))), found)
    return Expression(found)


def _mirrored(sign: str) -> str:
    return {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}[sign]


def _low(sign: str) -> str:
    return "[" if sign in (r"\le", r"\ge") else "("


def _union(found: Tokens) -> Items | None:
    parts = _split(found, {r"\cup"})
    return Items("union", tuple(map(_one, parts))) if len(parts) > 1 and all(parts) else None


def _matrix(found: Tokens) -> Value | None:
    if found == (r"\mathbb", "R"):
        return Items("()", (Expression(("-", *INFINITY)), Expression(INFINITY)))
    if found in ((r"\emptyset",), (r"\{", r"\}")):
        return Items("set", ())
    if len(found) < 3 or (found[0], found[-1]) != (MATRIX, r"\end{matrix}"):
        return None
    depths = _depths(found)
    if any(depth == 0 for _, depth in depths[1:-1]):
        return None
    inside = found[1:-1]
    rows = [_split(row, {"&"}) for row in _split(inside, {"\\\\"})]
    if rows[-1] == [()]:
        rows.pop()
    if not rows or any(len(row) != len(rows[0]) or not all(row) for row in rows):
        return None
    return Items(f"{len(rows)}x{len(rows[0])}", tuple(_one(cell) for row in rows for cell in row))


def _bracketed(found: Tokens) -> Value | None:
    """Tuples, intervals, sets; round brackets around one value are none."""
    if len(found) < 3 or found[0] not in _BRACKETS or found[-1] not in _BRACKETS.values():
        return None
    if any(depth == 0 for _, depth in _depths(found)[1:-1]) or _closes_early(found):
        return None
    inside = found[1:-1]
    brackets = found[0] + found[-1]
    if brackets == r"\{\}":
        return _set(inside)
    parts = _split(inside, {",", ";"})
    if not all(parts):
        return None
    if len(parts) > 1 and not brackets.startswith(r"\{") and not brackets.endswith(r"\}"):
        return Items("()" if brackets == r"\langle\rangle" else brackets, tuple(map(_one, parts)))
    return _one(inside) if brackets == "()" else None


def _closes_early(found: Tokens) -> bool:
    """Whether the first bracket's partner is not the last one: ``(a)(b)``."""
    depth = 0
    for i, token in enumerate(found):
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0:
            return i < len(found) - 1
    return True


def _set(inside: Tokens) -> Value | None:
    r"""A set by its elements, or by a condition on its element (``\{x \mid x > 2\}``)."""
    for mark in ("|", ":"):
        parts = _split(inside, {mark})
        if len(parts) == 2 and _is_name(_split(parts[0], {r"\in"})[0]):
            return _one(parts[1]) if parts[1] else None
    items = _several(inside)
    return Items("set", items.items if isinstance(items, Items) and items.kind == "list" else (items,))


# Units -------------------------------------------------------------------------------------------------------


def _quantity(found: Tokens) -> Value | None:
    """A value with a unit before or after it."""
    if found[:1] and found[0] in _CURRENCIES:
        return _with_unit(found[1:], _CURRENCIES[found[0]])
    if found[:1] == ("-",) and found[1:2] and found[1] in _CURRENCIES:
        return _with_unit(("-", *found[2:]), _CURRENCIES[found[1]])
    if found[-1:] and found[-1] in _CURRENCIES:
        return _with_unit(found[:-1], _CURRENCIES[found[-1]])
    if re.fullmatch(r'\d+ \^ \{ "(st|nd|rd|th) \}', " ".join(found)):  # an ordinal
        return _one(found[:1])
    if found[-1:] == ("%",):
        return _with_unit(found[:-1], "%")
    if found[-2:] in (("°", "C"), ("°", "F")):
        return _with_unit(found[:-2], found[-2] + found[-1])
    if "°" in found and not FUNCTIONS & set(found):
        return _with_unit(tuple(token for token in found if token != "°"), "°")
    return _based(found) or _measured(found)


def _with_unit(found: Tokens, unit: str) -> Value | None:
    if not found:
        return None
    value = _one(found)
    if isinstance(value, Quantity):  # "$5.40 dollars"
        return value if value.unit == unit else Expression((*found, TEXT + unit))
    return Quantity(value, unit)


def _based(found: Tokens) -> Value | None:
    """Digits with their base below."""
    if len(found) < 4 or (found[1], found[2], found[-1]) != ("_", "{", "}") or not re.fullmatch(r"\d+", found[0]):
        return None
    name = "".join(token.removeprefix(TEXT) for token in found[3:-1]).casefold()
    base = _BASES.get(name, int(name) if name.isdigit() and len(name) < 3 else 0)
    return Quantity(Number(Fraction(found[0])), f"base {base}") if base > 1 else None


def _measured(found: Tokens) -> Value | None:
    """A number or expression, then words, which may have an exponent or stand in a fraction."""
    place = next((i for i, token in enumerate(found) if token.startswith(TEXT)), 0)
    if place == 0 or any(depth for _, depth in _depths(found[:place])[-1:] if found[place - 1] not in CLOSING):
        return None
    rest = found[place:]
    if not all(token.startswith(TEXT) or token in (*"^{}-/°'", r"\cdot") or token.isalnum() for token in rest):
        return None
    unit = "".join(token.removeprefix(TEXT) + (" " if token.startswith(TEXT) else "") for token in rest)
    words = re.sub(r"[.]|\bof\b.*", "", unit).replace("{", "").replace("}", "").split()
    if _NO_UNITS & set(words) or any(word[0].isdigit() for word in words):
        return None
    value = _one(found[:place])
    while words and words[0].casefold() in _SCALES:
        value = _scaled(value, _SCALES[words.pop(0).casefold()])
    return value if not words else _with_value(value, _unit(words))


def _with_value(value: Value, unit: str) -> Value:
    if isinstance(value, Quantity):
        return value if value.unit == unit else Quantity(value.value, f"{value.unit} {unit}")
    return Quantity(value, unit)


def _scaled(value: Value, scale: int) -> Value:
    if isinstance(value, Number):
        return Number(value.value * scale)
    if isinstance(value, Quantity):
        return Quantity(_scaled(value.value, scale), value.unit)
    return (
        Quantity(value, f"times {scale}")
        if not isinstance(value, Expression)
        else Expression((*value.tokens, TEXT + str(scale)))
    )


def _unit(words: Sequence[str]) -> str:
    return " ".join(_singular(word) for word in words)


def _singular(word: str) -> str:
    name = word.casefold() if len(word) > 2 else word
    for candidate in (name, name.removesuffix("s")):
        if candidate in _UNIT_NAMES:
            return _UNIT_NAMES[candidate]
    return name.removesuffix("s") if len(name) > 3 and not name.endswith("ss") else name
