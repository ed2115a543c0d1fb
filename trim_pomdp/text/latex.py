r"""LaTeX as tokens in one spelling: what looks the same on paper becomes the same list.

``\dfrac43``, ``\frac{4}{3}`` and ``{\tfrac 4 3}`` are one list of tokens; so are ``35^\circ`` and ``35°``, and
``\(x\)``, ``$x$`` and ``x``. Nothing is computed but mixed numbers, a spelling too: ``3\frac14`` is ``\frac{13}{4}``.

Tokens are commands (``\frac``), numbers, single letters, other characters, and *text*: words of ``\text{…}``, or plain
ones after a number, in one token that begins with a quotation mark (``"cm``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MAX_LENGTH = 2000
"""Characters of an answer that is read; longer ones are compared as strings."""
MAX_DEPTH = 40
"""Braces and brackets inside one another."""

TEXT = '"'
MATRIX = r"\begin{matrix}"
OPENING = frozenset(("(", "[", "{", r"\{", r"\langle"))
CLOSING = frozenset((")", "]", "}", r"\}", r"\rangle"))


class UnreadableError(ValueError):
    """Malformed, too long or too deep."""


def listed(words: str, before: str = "") -> frozenset[str]:
    """A set of words, given with blanks between them and perhaps something before each."""
    return frozenset(before + word for word in words.split())


def _commands(names: str) -> frozenset[str]:
    return listed(names, "\\")


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


FUNCTIONS = _commands("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp gcd max min det lim")

# Characters outside ASCII, as LaTeX --------------------------------------------------------------------------------

_SYMBOLS = _pairs(
    r"√ \sqrt ∛ \sqrt[3] ± \pm ∓ \mp ∞ \infty ≤ \le ⩽ \le ≥ \ge ⩾ \ge ≠ \ne ≈ \approx ∈ \in ∪ \cup ∩ \cap ∅ \emptyset "
    r"ℝ \mathbb{R} ℤ \mathbb{Z} ⟨ \langle ⟩ \rangle … \ldots ⌊ \lfloor ⌋ \rfloor ⌈ \lceil ⌉ \rceil ∠ \angle "
    r"· \cdot ⋅ \cdot ∙ \cdot • \cdot × \times ✕ \times ÷ / ⁄ / ∕ / − - – - ‒ - ‐ - ∣ | º ° ˚ ° ⇒ \Rightarrow → \to "
    r"½ \frac12 ⅓ \frac13 ⅔ \frac23 ¼ \frac14 ¾ \frac34 ⅕ \frac15 ⅖ \frac25 ⅗ \frac35 ⅘ \frac45 ⅙ \frac16 ⅚ \frac56 "
    r"⅛ \frac18 ⅜ \frac38 ⅝ \frac58 ⅞ \frac78 "
    r"α \alpha β \beta γ \gamma δ \delta ε \epsilon ζ \zeta η \eta θ \theta κ \kappa λ \lambda μ \mu ν \nu ξ \xi π \pi "
    r"ρ \rho σ \sigma τ \tau φ \phi χ \chi ψ \psi ω \omega Γ \Gamma Δ \Delta Θ \Theta Λ \Lambda Π \Pi Σ \Sigma Φ \Phi "
    r"Ψ \Psi Ω \Omega"
)
_CHARACTERS = str.maketrans(
    {
        **{character: f"{command} " for character, command in _SYMBOLS.items()},
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad“”", ""),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", "~"),
        **dict.fromkeys("’‘′", "'"),
        **{chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full width
    }
)
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋ₙ"
_PLAIN = str.maketrans(_RAISED + _LOWERED, "0123456789+-n" * 2)
_SCRIPTS = re.compile(f"[{_RAISED}]+|[{_LOWERED}]+")

# Commands ----------------------------------------------------------------------------------------------------------

_SPACES = _commands(", ; : > quad qquad thinspace enspace space nobreakspace") | {"\\ ", "\\\n", "\\\t"}
_SILENT = _commands(
    "! left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle limits "
    "nolimits mathbf mathit boldsymbol bm mathnormal boxed fbox ( ) [ ] thinspace negthinspace mathstrut underline"
)
_TEXTS = _commands("text textbf textit textrm textsf texttt textnormal mbox hbox mathrm mathsf operatorname rm")
_HIDDEN = _commands("color textcolor hspace vspace phantom hphantom vphantom label tag hspace*")
_SYNONYMS = {
    f"\\{a}": f"\\{b}"
    for a, b in _pairs(
        "dfrac frac tfrac frac cfrac frac dbinom binom tbinom binom geq ge geqslant ge leq le leqslant le neq ne "
        "times cdot ast cdot varnothing emptyset dots ldots cdots ldots lbrace { rbrace } varepsilon epsilon "
        "varphi phi to rightarrow setminus backslash operatorname* operatorname R mathbb{R} infin infty"
    ).items()
} | _pairs(
    r"\lt < \gt > \% % \lvert | \rvert | \vert | \mid | \colon : \div / \degree ° \textdegree ° \prime ' \lbrack ["
)
_SYNONYMS |= {"\\rbrack": "]", "\\dollar": "\\$", "\\pounds": "£", "\\euro": "€"}
_WORDS = (
    {name[1:]: name for name in FUNCTIONS}
    | {name: f"\\{name}" for name in ("sqrt", "pi", "theta", "alpha", "beta", "infty", "cup", "pm")}
    | {"infinity": r"\infty", "inf": r"\infty", "degrees": "°", "degree": "°", "and": ",", "or": ",", "percent": "%"}
)
_ENVIRONMENTS = dict.fromkeys(("pmatrix", "bmatrix", "matrix", "smallmatrix", "array"), "matrix")

# Digits in groups of three, parted by what parts nothing else. (A plain comma may part a list: see `answers`.)
_PART = r"\{,\}|,\\!|\\!|\\[,;: ]|\\thinspace"
_GROUPS = re.compile(rf"(?<![\d.,])\d{{1,3}}(?:(?:,?\s*(?:{_PART})\s*|[ ~])\d{{3}})+(?!\d|\s*/)")

_SPEED = re.compile(r"(?<=\d)\s*(k?m/[sh](?:\^?\{?2\}?)?)\s*\Z")  # m alone may be a variable
_REPEATING = re.compile(r"(?<![\d.])(\d{0,20})\.(\d{0,20})\\overline\s*\{(\d{1,20})\}")

_TOKEN = re.compile(
    r"(?P<row>\\\\(?:\s*\[[\d.\s]+[a-z]{2}\])?)"
    r"|(?P<command>\\[A-Za-z]+\*?|\\.)"
    r"|(?P<space>[\s~]+)"
    r"|(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<word>[A-Za-z]{2,})"
    r"|(?P<other>.)",
    re.DOTALL,
)
_UNITS = listed(
    "mm cm dm km mi ft yd lb lbs oz kg mg ml mL kW kJ Hz kHz min hr hrs sec ms mph kph kmh rpm pm am AM PM USD EUR "
    "dollars cents inch inches feet foot mile miles yard yards meter meters metre metres hour hours day days week "
    "weeks year years"
)


def tokens(text: str) -> list[str]:
    r"""Tokens of an answer, in one spelling.

    Raises
    ------
    UnreadableError
        If braces do not balance, or the text is too long or too deep.

    Examples
    --------
    >>> tokens(r"$\dfrac 43 \text{ cm}$")
    ['\\frac', '{', '4', '}', '{', '3', '}', '"cm']
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError(f"{len(text)} characters")
    _check_depth(text)
    text = _SCRIPTS.sub(_script, text).translate(_CHARACTERS)
    text = _SPEED.sub(r"\\text{\1}", text)
    text = _REPEATING.sub(_repeating, text)
    text = _GROUPS.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    return _Reader(_words_settled(list(_raw(text)))).all()


def _repeating(match: re.Match[str]) -> str:
    """A repeating decimal as a fraction."""
    before, period = match[1] + match[2], match[3]
    over = int(before + period) - int(before or 0)
    return rf"\frac{{{over}}}{{{10 ** len(before + period) // 10 ** len(match[1]) - 10 ** len(match[2])}}}"


def _script(match: re.Match[str]) -> str:
    mark = "^" if match[0][0] in _RAISED else "_"
    return f"{mark}{{{match[0].translate(_PLAIN)}}}"


def _check_depth(text: str) -> None:
    depth = 0
    for character in text:
        depth += (character in OPENING) - (character in CLOSING)
        if depth > MAX_DEPTH:
            raise UnreadableError(f"more than {MAX_DEPTH} brackets inside one another")


def _raw(text: str) -> Iterator[str]:
    """Tokens as they come; white space is one blank, plain words begin with a quotation mark and a blank."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None
        token, kind, position = match[0], match.lastgroup, match.end()
        token = _SYNONYMS.get(token, token)
        if kind == "space" or token in _SPACES:
            yield " "
        elif kind == "row":
            yield "\\\\"
        elif kind == "number":
            yield _number(token)
        elif token in ("no", "No", "NO"):
            yield TEXT + token
        elif kind == "word":
            yield _WORDS.get(token.lower() if token[1:].islower() else token, f"{TEXT} {token}")
        elif token in _TEXTS or token in _HIDDEN or token in ("\\begin", "\\end"):
            content, position = _argument(text, position)
            yield from _worded(token, content)
            if content.startswith("array") and token == "\\begin":
                _, position = _argument(text, position)
        elif token == "\\mathbb{R}":
            yield from ("\\mathbb", "{", "R", "}")
        elif token not in _SILENT and token not in ("$", "\\"):
            yield token


def _argument(text: str, position: int) -> tuple[str, int]:
    """What stands in the braces at a position (or the one character there), and where they end."""
    while position < len(text) and text[position].isspace():
        position += 1
    if text[position : position + 1] != "{":
        return text[position : position + 1], position + 1
    depth = 0
    for end in range(position, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[position + 1 : end], end + 1
    raise UnreadableError("a brace is not closed")


def _worded(command: str, content: str) -> Iterator[str]:
    """Tokens of a command whose argument is words."""
    if command in _HIDDEN:
        return
    if command in ("\\begin", "\\end"):
        yield f"{command}{{{_ENVIRONMENTS.get(content.strip('*'), content)}}}"
        return
    words = " ".join(re.sub(r"\\[,;:! ]|[~${}]", " ", content).split())
    roman = command in ("\\mathrm", "\\operatorname", "\\rm")
    if f"\\{words}" in FUNCTIONS:
        yield f"\\{words}"
    elif words in ("and", "or", ",", ", and", ", or"):
        yield ","
    elif words[:1].isdigit() or not re.search("[A-Za-z]", words) or "\\" in words or (roman and len(words) == 1):
        yield from _raw(content)
    else:
        for i, item in enumerate(re.split(r"\s*,\s*(?:and\s+|or\s+)?", words)):
            yield from [","] if i else []
            yield from [f"{TEXT}{item}"] if item else []


def _number(token: str) -> str:
    """Without superfluous zeros."""
    mantissa, mark, exponent = token.partition("e" if "e" in token else "E")
    whole, _, digits = mantissa.partition(".")
    digits = digits.rstrip("0")
    number = (whole.lstrip("0") or "0") + (f".{digits}" if digits else "")
    return f"{number}e{int(exponent)}" if mark else number


def _words_settled(raw: list[str]) -> list[str]:
    """Plain words become text (all of an answer, or a unit after it) or letters; blanks stay only between numbers."""
    plain = f"{TEXT} "
    is_words = all(token.startswith(TEXT) or token in " .,-'!?()" or token.isalpha() for token in raw)
    if is_words and any(token.startswith(TEXT) and (len(token) > 4 or token[1] != " ") for token in raw):
        return [token.replace(plain, TEXT) for token in raw if token != " "]
    settled: list[str] = []
    for i, token in enumerate(raw):
        if not token.startswith(plain):
            settled.append(token)
            continue
        word = token[len(plain) :]
        spaced = i > 0 and raw[i - 1] == " "
        before = next((other for other in reversed(settled) if other != " "), "")
        is_unit = before[:1].isdigit() or before in ("}", ")") or before.startswith(TEXT)
        if is_unit and (word in _UNITS or (spaced and len(word) > 3)):
            settled.append(TEXT + word)
        else:
            settled.extend(word)
    return [
        token
        for i, token in enumerate(settled)
        if token != " " or (_is_number(settled[i - 1 : i]) and _is_number(settled[i + 1 : i + 2]))
    ]


def _is_number(found: Sequence[str]) -> bool:
    return bool(found) and found[0][0].isdigit()


class _Reader:
    """Reads arguments of commands with and without braces; every argument gets braces, no other group keeps them."""

    def __init__(self, raw: list[str]) -> None:
        self._raw = raw[::-1]
        self._depth = 0

    def all(self) -> list[str]:
        read = self._group(None)
        while read and read[-1] in (".", ",", ";", ":"):
            read.pop()
        return read

    def _group(self, end: str | None) -> list[str]:
        read: list[str] = []
        while self._raw:
            if self._raw[-1] == end:
                self._raw.pop()
                return read
            if self._raw[-1] == "}":
                raise UnreadableError("a closing brace too many")
            self._append(read)
        if end is not None:
            raise UnreadableError("a brace is not closed")
        return read

    def _append(self, read: list[str]) -> None:
        """One thing more, with its arguments."""
        if self._mixed(read):
            return
        token = self._raw.pop()
        if token == "{":
            group = self._group("}")
            is_argument = read[-1:] and read[-1] in FUNCTIONS and len(group) > 1  # of \\sin{2t}
            read += ["(", *group, ")"] if is_argument else group
        elif token in ("\\frac", "\\binom"):
            read += [token, *self._argument(), *self._argument()]
        elif token == "\\sqrt":
            read.append(token)
            if self._next() == "[":
                self._raw.pop()
                index = self._group("]")
                read += [] if index == ["2"] else ["[", *index, "]"]
            read += self._argument(whole=True)
        elif token in ("^", "_"):
            argument = self._argument()
            if argument[1:-1] in (["\\circ"], ["°"]):
                read.append("°")
            elif argument[1:-1] and set(argument[1:-1]) == {"'"}:
                read += argument[1:-1]
            else:
                read += [token, *argument]
        elif token in ("*", "\\cdot"):
            read.append("\\cdot")
        elif token == " " and not _is_number(read[-1:]):
            return  # after an argument
        else:
            read.append(token)

    def _next(self) -> str:
        return self._raw[-1] if self._raw else ""

    def _argument(self, *, whole: bool = False) -> list[str]:
        """An argument in braces. Without braces of its own it is one token; one digit of a number unless `whole`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError(f"more than {MAX_DEPTH} arguments inside one another")
        while self._next() == " ":
            self._raw.pop()
        token = self._next()
        if token in ("", "}", "&", "\\\\"):
            raise UnreadableError("an argument is absent")
        read: list[str] = []
        if whole and token == "(":
            self._raw.pop()
            read = self._group(")")
        elif _is_number([token]) and not whole and len(token) > 1:
            self._raw[-1] = token[1:]
            read = [token[0]]
        else:
            self._append(read)
        self._depth -= 1
        return ["{", *read, "}"]

    def _mixed(self, read: list[str]) -> bool:
        r"""Read a whole number and a proper fraction (``3\frac14``, ``3 1/4``) as one fraction, if they come next."""
        ahead = self._raw[-1:-12:-1]
        if not ahead or not ahead[0].isdigit() or (read and read[-1] in ("_", "^")):
            return False
        if ahead[1:2] == ["\\frac"]:
            fraction = _Reader(list(self._raw[-2::-1]))
            parts: list[str] = []
            fraction._append(parts)
            if len(parts) != 7 or not (parts[2].isdigit() and parts[5].isdigit()):
                return False
            over, under, left = int(parts[2]), int(parts[5]), fraction._raw
        elif len(ahead) > 4 and (ahead[1], ahead[3]) == (" ", "/") and ahead[2].isdigit() and ahead[4].isdigit():
            over, under, left = int(ahead[2]), int(ahead[4]), self._raw[:-5]
        else:
            return False
        if not over < under:
            return False
        self._raw = left
        read += ["\\frac", "{", str(int(ahead[0]) * under + over), "}", "{", str(under), "}"]
        return True
