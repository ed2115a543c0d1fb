"""Cassandra's .pomdp format: text in which a POMDP's tables are given line by line, later ones overriding.

Read liberally, written strictly. `T` and `O` entries expand wildcards at once, `R` entries stay rules; the last one
wins. A colon may stand before numbers, as POMDPs.jl writes. Costs (`values: cost`) become negative rewards. A file
without observations is an MDP: its state is observed.
"""
# ruff: noqa: E741 (O is the number of observations)

import codecs
import re
import warnings
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError, PomdpFormatError
from solvers.pomdp import POMDP
from solvers.reward_rules import RewardRules, Where

_TOLERANCE = 1e-5
_MAX_CELLS = 50_000_000
_KEYWORDS = frozenset(
    [
        "discount",
        "values",
        "states",
        "actions",
        "observations",
        "T",
        "O",
        "R",
        "uniform",
        "identity",
        "reward",
        "cost",
        "start",
        "include",
        "exclude",
        "reset",
    ]
)
_LEXER = re.compile(r":|\*|[^\s:*]+")
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"[\w.(\[{<'\"]\S*")  # liberal: what other programs' names look like, but no comment signs
_STRICT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_PREAMBLE = ("discount", "values", "states", "actions", "observations")
_STATEMENTS = frozenset([*_PREAMBLE, "start", "T", "O", "R"])
_SIGNS = {"reward": 1.0, "rewards": 1.0, "cost": -1.0, "costs": -1.0}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class _Token(NamedTuple):
    text: str
    line: int


def read_pomdp(path: str | PathLike[str]) -> POMDP:
    """Read a model from a .pomdp file.

    Rows of probabilities must sum to one within 1e-5, and are then renormalised. In a file without an
    `observations` line, the observation is the state itself. Rewards that depend on the end state or the
    observation are kept as `POMDP.rewards`.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    PomdpFormatError
        If the file is not such a model; the message names file, line and what is wrong.
    OSError
        If the file cannot be read.

    Warns
    -----
    UserWarning
        For `start:` with several names and no `include`, which is read as `include`.
    """
    return _Reader(str(path), _decode(Path(path).read_bytes())).read()


def write_pomdp(pomdp: POMDP, path: str | PathLike[str]) -> None:
    """Write a model as a .pomdp file, in plain decimals that `read_pomdp` and other programs take.

    Raises
    ------
    PomdpFormatError
        If a name is not allowed there (a letter, then letters, digits, `-`, `_`; no keyword), or the model has
        what the format cannot say: a fully observed factor.
    """
    if pomdp.observed is not None:
        raise PomdpFormatError(f"{path}: the format cannot say that a factor of the state is observed")
    lines = [f"discount: {_plain(pomdp.discount)}", "values: reward"]
    for kind in ("states", "actions", "observations"):
        names = getattr(pomdp, kind)
        generated = names == tuple(f"{kind[:-1]} {i}" for i in range(len(names)))
        for name in () if generated else names:
            if not _STRICT_NAME.fullmatch(name) or name in _KEYWORDS:
                raise PomdpFormatError(f"{path}: {name!r} cannot be a name in {kind}")
        lines.append(f"{kind}: {len(names) if generated else ' '.join(names)}")
    lines.append("start: " + " ".join(map(_plain, pomdp.start)))
    for letter, tables in (("T", pomdp.transition), ("O", pomdp.observation)):
        for a, table in enumerate(tables):
            lines.append(f"{letter}: {a}")
            lines.extend(" ".join(map(_plain, row)) for row in table.toarray())
    if pomdp.rewards is None:
        for a, s in np.argwhere(pomdp.reward):
            lines.append(f"R: {a} : {s} : * : * {_plain(pomdp.reward[a, s])}")
    else:
        lines.extend(_reward_lines(pomdp.rewards))
    Path(path).write_text("\n".join(lines) + "\n", encoding="ascii")


def _reward_lines(rewards: RewardRules) -> Iterator[str]:
    """Rules in their order, which is what the format has: a later line overrides."""
    S, O = rewards.shape[2:]
    for where, values in rewards.rules:
        a, s, end, seen = ("*" if index is None else str(index) for index in where)
        if values.ndim == 2:
            table = np.broadcast_to(values, (S, O))
            yield f"R: {a} : {s}"
            yield from (" ".join(map(_plain, row)) for row in table)
        elif values.ndim == 1:
            yield f"R: {a} : {s} : {end} " + " ".join(map(_plain, values))
        else:
            yield f"R: {a} : {s} : {end} : {seen} {_plain(float(values))}"


def _plain(value: float) -> str:
    """Shortest decimal, without exponent, that is this number."""
    return np.format_float_positional(value, trim="0")


def _decode(data: bytes) -> str:
    """Text of a file, by its byte order mark; bytes that are no text occur in comments."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    return data.decode("utf-8", errors="replace")


class _Reader:
    """One pass over the tokens."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.tokens = [
            _Token(match, number)
            for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1)
            for match in _LEXER.findall(line.partition("#")[0])
        ]
        self.at = 0
        self.line = 1
        self.discount: float | None = None
        self.sign: float | None = None
        self.names: dict[str, list[str]] = {}
        self.sizes: dict[str, int] = {}
        self.start: NDArray[np.float64] | None = None
        self.tables: dict[str, NDArray[np.float64]] = {}
        self.index: dict[str, dict[str, int]] = {}
        self.rules: list[tuple[Where, NDArray[np.float64]]] = []
        self.is_mdp = False

    def read(self) -> POMDP:
        while self.at < len(self.tokens):
            self._statement()
        self._close_preamble()
        A, S, O = (self.sizes[k] for k in ("actions", "states", "observations"))
        for letter, table in self.tables.items():
            self._normalise(letter, table)
        assert self.start is not None
        assert self.discount is not None
        rules = RewardRules((A, S, S, O), self.rules)
        try:
            return POMDP(
                transition=self.tables["T"],
                observation=self.tables["O"],
                reward=rules,
                start=self.start,
                discount=self.discount,
                states=tuple(self.names["states"]),
                actions=tuple(self.names["actions"]),
                observations=tuple(self.names["observations"]),
            )
        except ModelError as error:
            raise PomdpFormatError(f"{self.path}: {error}") from None

    # Tokens

    def _fail(self, message: str) -> PomdpFormatError:
        return PomdpFormatError(f"{self.path}, line {self.line}: {message}")

    def _peek(self, ahead: int = 0) -> str:
        i = self.at + ahead
        return self.tokens[i].text if i < len(self.tokens) else ""

    def _next(self, wanted: str) -> str:
        if self.at >= len(self.tokens):
            raise self._fail(f"the file ends where {wanted} should be")
        token = self.tokens[self.at]
        self.at += 1
        self.line = token.line
        return token.text

    def _colon(self) -> None:
        text = self._next("':'")
        if text != ":":
            raise self._fail(f"expected ':', found {text!r}")

    def _number(self, what: str = "a number", i: int = 0, count: int = 1) -> float:
        text = self.tokens[self.at].text if self.at < len(self.tokens) else ""
        if _NUMBER.fullmatch(text):  # nearly always
            self.line = self.tokens[self.at].line
            self.at += 1
            return self._finite(float(text), text)
        wanted = what if count == 1 else f"{what} ({i + 1} of {count})"
        text = self._next(wanted)
        sign = 1.0
        if text in "+-":
            sign = -1.0 if text == "-" else 1.0
            text = self._next(wanted)
        elif text[0] in "+-":
            sign = -1.0 if text[0] == "-" else 1.0
            text = text[1:]
        if not _NUMBER.fullmatch(text):
            raise self._fail(f"expected {wanted}, found {text!r}")
        return sign * self._finite(float(text), text)

    def _finite(self, value: float, text: str) -> float:
        if value == float("inf"):
            raise self._fail(f"{text} is too large a number")
        return value

    def _numbers(self, count: int, wanted: str) -> NDArray[np.float64]:
        return np.array([self._number(wanted, i, count) for i in range(count)])

    def _values_ahead(self, most: int) -> int:
        """Tokens before the next statement or colon, counted to `most`, without signs that stand apart."""
        count = 0
        for i in range(self.at, len(self.tokens)):
            text = self.tokens[i].text
            if text in _STATEMENTS or text == ":" or count == most:
                break
            count += text not in "+-"
        return count

    def _probabilities(self, count: int) -> NDArray[np.float64]:
        values = self._numbers(count, "a probability")
        if (values < 0).any():
            raise self._fail(f"negative probability {values.min()}")
        return values

    # Statements

    def _statement(self) -> None:
        word = self._next("a statement")
        if word in _PREAMBLE:
            if self.tables:
                raise self._fail(f"{word!r} must come before start, T, O and R")
            self._colon()
            if word == "discount":
                self.discount = self._number()
            elif word == "values":
                self._values()
            else:
                self._declare(word)
        elif word == "start":
            self._close_preamble(default_start=False)
            self._read_start()
        elif word in "TOR":
            self._close_preamble()
            self._colon()
            {"T": self._transition, "O": self._observation, "R": self._reward}[word]()
        else:
            raise self._fail(f"expected a statement (discount, values, states, …, start, T, O, R), found {word!r}")

    def _values(self) -> None:
        word = self._next("'reward' or 'cost'")
        if word not in _SIGNS:
            raise self._fail(f"values must be 'reward' or 'cost', found {word!r}")
        self.sign = _SIGNS[word]

    def _declare(self, kind: str) -> None:
        if kind in self.sizes:
            raise self._fail(f"{kind} are declared twice")
        words = []
        while self._peek() and self._peek() not in _KEYWORDS and self._peek() not in (":", "*"):
            word = self._next("a name")
            if self._peek() == ":":
                raise self._fail(
                    f"{word!r} is no statement of this format (discount, values, states, …, start, T, O, R)"
                )
            if not _NAME.fullmatch(word) or "//" in word:
                raise self._fail(f"{word!r} cannot be a name in {kind}; comments start with '#'")
            words.append(word)
        if self._peek() in _KEYWORDS and self._peek(1) not in (":", "include", "exclude"):
            raise self._fail(f"{self._peek()!r} is a keyword and cannot be a name in {kind}")
        if len(words) == 1 and words[0].isdecimal():
            if not 1 <= int(words[0]) <= _MAX_CELLS:
                raise self._fail(f"there must be at least one of {kind}, and not {words[0]}")
            words = [f"{kind[:-1]} {i}" for i in range(int(words[0]))]
        if not words:
            raise self._fail(f"{kind} need a count or names, found {self._peek()!r}")
        if len(set(words)) != len(words):
            twice = next(w for w in words if words.count(w) > 1)
            raise self._fail(f"the name {twice!r} is given twice in {kind}")
        self.names[kind] = words
        self.sizes[kind] = len(words)
        self.index[kind] = {word: i for i, word in enumerate(words)}

    def _close_preamble(self, default_start: bool = True) -> None:
        """Check that the preamble is complete and make the tables, once."""
        if not self.tables:
            for word, there in (
                ("discount", self.discount is not None),
                ("values", self.sign is not None),
                ("states", "states" in self.sizes),
                ("actions", "actions" in self.sizes),
            ):
                if not there:
                    raise self._fail(f"no '{word}:' before this")
            assert self.discount is not None
            if not 0.0 < self.discount <= 1.0:
                raise self._fail(f"discount must lie in (0, 1], found {self.discount}")
            self.is_mdp = "observations" not in self.sizes
            if self.is_mdp:
                self.names["observations"] = list(self.names["states"])
                self.sizes["observations"] = self.sizes["states"]
                self.index["observations"] = self.index["states"]
            A, S, O = (self.sizes[k] for k in ("actions", "states", "observations"))
            if A * S * max(S, O) > _MAX_CELLS:
                raise self._fail(f"{A} actions × {S} states make tables too large for this dense reader")
            self.tables["T"] = np.zeros((A, S, S))
            self.tables["O"] = np.tile(np.eye(S), (A, 1, 1)) if self.is_mdp else np.zeros((A, S, O))
        if default_start and self.start is None:
            self.start = np.full(self.sizes["states"], 1.0 / self.sizes["states"])

    def _index(self, kind: str, text: str) -> int:
        if text in self.index[kind]:
            return self.index[kind][text]
        if text.isdecimal():
            if int(text) < self.sizes[kind]:
                return int(text)
            raise self._fail(f"{kind[:-1]} {text} is out of range: there are {self.sizes[kind]}")
        raise self._fail(f"{text!r} is none of the {kind}")

    def _choice(self, kind: str) -> int | None:
        """Index, or None for a wildcard."""
        text = self._next(f"one of the {kind}, or '*'")
        return None if text == "*" else self._index(kind, text)

    def _more(self) -> bool:
        """Whether another ': item' follows."""
        if self._peek() != ":":
            return False
        self._colon()
        return True

    def _read_start(self) -> None:
        S = self.sizes["states"]
        if self.start is not None:
            raise self._fail("start must be given once, before T, O and R")
        word = self._next("':', 'include' or 'exclude'")
        if word in ("include", "exclude"):
            self._colon()
            chosen = np.zeros(S, bool)
            chosen[self._state_list()] = True
            chosen = chosen if word == "include" else ~chosen
            if not chosen.any():
                raise self._fail("start excludes every state")
            self.start = chosen / chosen.sum()
            return
        if word != ":":
            raise self._fail(f"expected ':', 'include' or 'exclude' after start, found {word!r}")
        if self._peek() == "uniform":
            self._next("uniform")
            self.start = np.full(S, 1.0 / S)
            return
        # As many numbers as states, which sum to 1, are probabilities even where states are called by numbers.
        given = [token.text for token in self.tokens[self.at : self.at + self._values_ahead(S + 1)]]
        numbers = [float(text) for text in given if _NUMBER.fullmatch(text)]
        belief = len(numbers) == len(given) == S and abs(sum(numbers) - 1.0) <= _TOLERANCE
        states_only = all(text in self.index["states"] or (text.isdecimal() and len(given) == 1) for text in given)
        if belief or not (states_only or _is_word(self._peek())):
            values = self._probabilities(S)
            if abs(values.sum() - 1.0) > _TOLERANCE:
                raise self._fail(f"the start belief sums to {values.sum():.9g}, not 1")
            self.start = values / values.sum()
            return
        states = self._state_list()
        if len(states) > 1:
            warnings.warn(
                f"{self.path}, line {self.line}: 'start:' with several states is not in the format; "
                "read as 'start include:'",
                stacklevel=5,
            )
        self.start = np.zeros(S)
        self.start[states] = 1.0 / len(states)

    def _state_list(self) -> list[int]:
        states = []
        while self._peek() and self._peek() not in _KEYWORDS:
            states.append(self._index("states", self._next("a state")))
        if not states:
            raise self._fail("start needs at least one state")
        return sorted(set(states))

    def _colon_before(self, count: int, otherwise: int) -> bool:
        """Whether the colon just read stands before `count` numbers or a word for them, not before another index.

        With another index, `otherwise` tokens would follow; if both may be meant, it is the index.
        """
        if self._peek() in ("uniform", "identity", "reset"):
            return True
        if self._peek(1) == ":" or _is_word(self._peek()):
            return False
        return self._values_ahead(max(count, otherwise) + 1) == count != otherwise

    def _transition(self) -> None:
        self._matrix("T", "states", identity=True, reset=True)

    def _observation(self) -> None:
        if self.is_mdp:
            raise self._fail("O in a file without 'observations:'")
        self._matrix("O", "observations", identity=False, reset=False)

    def _matrix(self, letter: str, columns: str, *, identity: bool, reset: bool) -> None:
        """One T or O entry: an action's matrix, a state's row, or a single probability."""
        table = self.tables[letter]
        S, width = table.shape[1:]
        a = _span(self._choice("actions"))
        if not self._more() or self._colon_before(S * width, 1 + width):
            words: dict[str, Callable[[], NDArray[np.float64]]] = {"uniform": lambda: np.full((S, width), 1.0 / width)}
            if identity:
                words["identity"] = lambda: np.eye(S)
            table[a] = self._word_or(words, lambda: self._probabilities(S * width).reshape(S, width), letter)
            return
        s = _span(self._choice("states"))
        if not self._more() or self._colon_before(width, 2):
            words = {"uniform": lambda: np.full(width, 1.0 / width)}
            if reset:
                assert self.start is not None
                start = self.start
                words["reset"] = lambda: start
            table[a, s] = self._word_or(words, lambda: self._probabilities(width), letter)
            return
        column = _span(self._choice(columns))
        self._more()
        table[a, s, column] = self._probabilities(1)[0]

    def _word_or(
        self,
        words: dict[str, Callable[[], NDArray[np.float64]]],
        otherwise: Callable[[], NDArray[np.float64]],
        letter: str,
    ) -> NDArray[np.float64]:
        word = self._peek()
        if word in ("uniform", "identity", "reset"):
            self._next(word)
            if word not in words:
                raise self._fail(f"{word!r} is not possible in this {letter} entry")
            return words[word]()
        return otherwise()

    def _reward(self) -> None:
        """One R entry: kept as a rule, since a wildcard rule may stand for very many cells."""
        assert self.sign is not None
        S, O = self.sizes["states"], 1 if self.is_mdp else self.sizes["observations"]
        a = self._choice("actions")
        self._colon()
        s = self._choice("states")
        if not self._more() or self._colon_before(S * O, 1 + O):
            shape: tuple[int, ...] = (S, O)
            where: Where = (a, s, None, None)
        else:
            end, seen = self._choice("states"), None
            more = self._more()
            if self.is_mdp:  # a fourth field can only be a wildcard
                shape = ()
                if more and self._peek() == "*":
                    self._next("*")
                    self._more()
            elif more and not self._colon_before(O, 2):
                seen = self._choice("observations")
                self._more()
                shape = ()
            else:
                shape = (O,)
            where = (a, s, end, seen)
        values = self._numbers(int(np.prod(shape, dtype=int)), "a reward").reshape(shape)
        self.rules.append((where, self.sign * values + 0.0))  # no negative zeros

    # Results

    def _normalise(self, letter: str, table: NDArray[np.float64]) -> None:
        sums = table.sum(axis=2)
        bad = np.argwhere(np.abs(sums - 1.0) > _TOLERANCE)
        if bad.size:
            a, s = map(int, bad[0])
            action, state = self.names["actions"][a], self.names["states"][s]
            raise PomdpFormatError(
                f"{self.path}: {letter} row of action {action!r}, state {state!r} sums to {sums[a, s]:.9g}, not 1"
                + (f" ({len(bad)} such rows)" if len(bad) > 1 else "")
            )
        table /= sums[:, :, None]


def _is_word(text: str) -> bool:
    return _NUMBER.fullmatch(text.lstrip("+-")) is None and text not in ("+", "-")


def _span(index: int | None) -> slice:
    return slice(None) if index is None else slice(index, index + 1)
