"""Reader of Cassandra's .pomdp format: text in which a POMDP's tables are given line by line, later ones overriding.

Liberal: names that other programs write, numbers in any form, a colon before numbers (as POMDPs.jl writes), `rewards`
for `reward`. `T`, `O` and `R` entries are kept as rules, in their order; the last one wins. Costs (`values: cost`)
become negative rewards. A file without observations is an MDP: its state is observed.
"""
# ruff: noqa: E741 (O is the number of observations)

import re
import warnings
from array import array
from bisect import bisect_right
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError, PomdpFormatError
from solvers.formats import text
from solvers.formats.tables import TooLargeError, distributions
from solvers.formats.text import NUMBER, TOLERANCE, failed, index_of, short, shown
from solvers.formats.tokens import Tokens
from solvers.pomdp import POMDP
from solvers.reward_rules import RewardRules
from solvers.rules import Rules, Where

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PREAMBLE = ("discount", "values", "states", "actions", "observations")
_WORDS = ("uniform", "identity", "reset")  # that stand for probabilities
KEYWORDS = frozenset([*PREAMBLE, *"TOR", *_WORDS, "reward", "cost", "start", "include", "exclude"])
_STATEMENTS = frozenset([*PREAMBLE, "start", *"TOR"])
_SIGNS = {"reward": 1.0, "rewards": 1.0, "cost": -1.0, "costs": -1.0}
_NAME = re.compile(r"[\w.(\[{<'\"]\S*")  # liberal: what other programs' names look like, but no comment signs
_PLACE = r"\s*:\s*(\*|[^\s:*#]+)"
# The usual entry, a line of its own: read at once, and big files hold little else.
_ENTRY = re.compile(rf"\s*(?:([TO]){_PLACE}{_PLACE}{_PLACE}|R{_PLACE * 4})\s+({text.SIGNED.pattern})\s*(?:#.*)?\n?")
_STATEMENT_AHEAD = re.compile(r"\s*[TOR]\s*:")
_KINDS = {"T": ("actions", "states", "states"), "O": ("actions", "states", "observations")}
_REWARD_KINDS = ("actions", "states", "states", "observations")


def read_pomdp(path: str | PathLike[str]) -> POMDP:
    """Read a model from a .pomdp file.

    Rows of probabilities must sum to one within 1e-5, and are then renormalised. In a file without an
    `observations` line, the observation is the state itself. Rewards that depend on the end state or the
    observation are kept as `POMDP.rewards`. With `values: cost` the numbers are costs: they are negated, so that
    what solves the model minimises them.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    PomdpFormatError
        If the file is not such a model, or has more than a million states, 32,767 actions or 50 million probabilities
        other than zero; the message names file, line and what is wrong.
    OSError
        If the file cannot be read.

    Warns
    -----
    UserWarning
        For `start:` with several names and no `include`, which is read as `include`.
    """
    return _Reader(Tokens(str(path), text.read_text(path))).read()


class _Table:
    """Rules for probabilities, and the lines that they stand on."""

    def __init__(self, letter: str, shape: tuple[int, int, int]) -> None:
        self.letter = letter
        self.rules = Rules(shape)
        self._first = array("q")  # rule with which each statement begins
        self._lines = array("q")

    def stands_on(self, line: int) -> Rules:
        """Rules, to which those of a statement on this line are added next."""
        self._first.append(len(self.rules))
        self._lines.append(line)
        return self.rules

    def line(self, a: int, s: int) -> int | None:
        """Line of the last statement about a row."""
        rule = self.rules.last(a, s, None)
        return None if rule < 0 else self._lines[bisect_right(self._first, rule) - 1]


class _Reader:
    """One pass over the words."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.discount: float | None = None
        self.sign: float | None = None
        self.names: dict[str, tuple[str, ...]] = {}
        self.index: dict[str, dict[str, int]] = {}
        self.start: NDArray[np.float64] | None = None
        self.tables: dict[str, _Table] = {}
        self.rewards: RewardRules | None = None
        self.is_mdp = False

    def read(self) -> POMDP:
        try:
            self._read_statements()
        except ModelError as error:
            raise self.tokens.fail(str(error)) from None
        moves = self._distributions("T")
        seen = self._distributions("O") if not self.is_mdp else self._states_seen(len(moves))
        assert self.rewards is not None
        assert self.start is not None
        assert self.discount is not None
        try:
            return POMDP(
                transition=moves,
                observation=seen,
                reward=self.rewards,
                start=self.start,
                discount=self.discount,
                states=self.names["states"],
                actions=self.names["actions"],
                observations=self.names["observations"],
            )
        except ModelError as error:
            raise self.tokens.fail(str(error)) from None

    def _read_statements(self) -> None:
        while True:
            if self.tables and self.start is not None and not self.is_mdp:
                while entry := self.tokens.whole_line(_ENTRY, _STATEMENT_AHEAD):
                    self._entry(*entry.groups()[:9])
            if not self.tokens.peek():
                break
            self._statement()
        self._close_preamble()

    def _size(self, kind: str) -> int:
        return len(self.names[kind])

    # Preamble

    def _statement(self) -> None:
        tokens = self.tokens
        word = tokens.next("a statement")
        if word in PREAMBLE:
            if self.tables:
                raise tokens.fail(f"{word!r} must come before start, T, O and R")
            tokens.colon()
            if word == "discount":
                self.discount = tokens.number()
            elif word == "values":
                self._values()
            else:
                self._declare(word)
        elif word == "start":
            self._close_preamble(default_start=False)
            self._read_start()
        elif word in _STATEMENTS:
            self._close_preamble()
            line = tokens.line
            tokens.colon()
            if word == "R":
                self._reward()
            else:
                self._probability(self.tables[word], line)
        else:
            raise tokens.fail(
                f"expected a statement (discount, values, states, …, start, T, O, R), found {shown(word)}"
            )

    def _values(self) -> None:
        word = self.tokens.next("'reward' or 'cost'")
        if word not in _SIGNS:
            raise self.tokens.fail(f"values must be 'reward' or 'cost', found {shown(word)}")
        self.sign = _SIGNS[word]

    def _declare(self, kind: str) -> None:
        tokens = self.tokens
        if kind in self.names:
            raise tokens.fail(f"{kind} are declared twice")
        words = []
        while (word := tokens.peek()) and word not in KEYWORDS and word not in (":", "*"):
            tokens.next("a name")
            if tokens.peek() == ":":
                raise tokens.fail(
                    f"{shown(word)} is no statement of this format (discount, values, states, …, start, T, O, R)"
                )
            if not _NAME.fullmatch(word) or "//" in word:
                raise tokens.fail(f"{shown(word)} cannot be a name in {kind}; comments start with '#'")
            words.append(word)
        if word in KEYWORDS and tokens.peek(1) not in (":", "include", "exclude"):
            raise tokens.fail(f"{word!r} is a keyword and cannot be a name in {kind}")
        most = text.MAX_ACTIONS if kind == "actions" else text.MAX_PLACES
        count = len(words)
        if count == 1 and words[0].isdecimal():
            given = index_of(words[0])
            count = most + 1 if given is None else given
        if count > most:
            shown_count = words[0] if len(words) == 1 else count
            raise tokens.fail(f"at most {most} {kind} are read, not {short(str(shown_count))}")
        if not words:
            raise tokens.fail(f"{kind} need a count or names, found {shown(word)}")
        if count == 0:
            raise tokens.fail(f"there must be at least one of {kind}, and not {words[0]}")
        if len(words) == 1 and words[0].isdecimal():
            words = [f"{kind[:-1]} {i}" for i in range(count)]
        self.names[kind] = tuple(words)
        self.index[kind] = {word: i for i, word in enumerate(words)}
        if len(self.index[kind]) < len(words):
            twice = next(word for i, word in enumerate(words) if self.index[kind][word] != i)
            raise tokens.fail(f"the name {shown(twice)} is given twice in {kind}")

    def _close_preamble(self, default_start: bool = True) -> None:
        """Check that the preamble is complete and make the tables, once."""
        tokens = self.tokens
        if not self.tables:
            for word, there in (
                ("discount", self.discount is not None),
                ("values", self.sign is not None),
                ("states", "states" in self.names),
                ("actions", "actions" in self.names),
            ):
                if not there:
                    raise tokens.fail(f"no '{word}:' before this")
            assert self.discount is not None
            if not 0.0 < self.discount <= 1.0:
                raise tokens.fail(f"discount must lie in (0, 1], found {self.discount}")
            self.is_mdp = "observations" not in self.names
            if self.is_mdp:
                self.names["observations"] = self.names["states"]
                self.index["observations"] = self.index["states"]
            A, S, O = (self._size(kind) for kind in ("actions", "states", "observations"))
            if A * S > text.MAX_CELLS:
                raise tokens.fail(f"{A} actions × {S} states are too many: at most {text.MAX_CELLS} are read")
            self.tables = {"T": _Table("T", (A, S, S)), "O": _Table("O", (A, S, O))}
            self.rewards = RewardRules((A, S, S, O))
        if default_start and self.start is None:
            self.start = np.full(self._size("states"), 1.0 / self._size("states"))

    # Start

    def _read_start(self) -> None:
        tokens = self.tokens
        S = self._size("states")
        if self.start is not None:
            raise tokens.fail("start must be given once, before T, O and R")
        word = tokens.next("':', 'include' or 'exclude'")
        if word in ("include", "exclude"):
            tokens.colon()
            chosen = np.zeros(S, bool)
            chosen[self._state_list()] = True
            chosen = chosen if word == "include" else ~chosen
            if not chosen.any():
                raise tokens.fail("start excludes every state")
            self.start = chosen / chosen.sum()
            return
        if word != ":":
            raise tokens.fail(f"expected ':', 'include' or 'exclude' after start, found {shown(word)}")
        if tokens.peek() == "uniform":
            tokens.next("uniform")
            self.start = np.full(S, 1.0 / S)
            return
        # As many numbers as states, which sum to 1, are probabilities even where states are called by numbers.
        given = tokens.ahead(self._values_ahead(S + 1))
        numbers = [float(word) for word in given if NUMBER.fullmatch(word)]
        belief = len(numbers) == len(given) == S and abs(sum(numbers) - 1.0) <= TOLERANCE
        states_only = all(word in self.index["states"] or (word.isdecimal() and len(given) == 1) for word in given)
        if belief or not (states_only or _is_word(tokens.peek())):
            values = self._probabilities(S)
            if abs(values.sum() - 1.0) > TOLERANCE:
                raise tokens.fail(f"the start belief sums to {values.sum():.9g}, not 1")
            self.start = values / values.sum()
            return
        states = self._state_list()
        if len(states) > 1:
            warnings.warn(
                f"{tokens.path}, line {tokens.line}: 'start:' with several states is not in the format; "
                "read as 'start include:'",
                stacklevel=5,
            )
        self.start = np.zeros(S)
        self.start[states] = 1.0 / len(states)

    def _state_list(self) -> list[int]:
        states = set()
        while (word := self.tokens.peek()) and word not in KEYWORDS:
            states.add(self._index("states", self.tokens.next("a state")))
        if not states:
            raise self.tokens.fail("start needs at least one state")
        return sorted(states)

    # Places and numbers

    def _index(self, kind: str, word: str) -> int:
        found = self.index[kind].get(word)
        if found is None:
            found = index_of(word)
            if found is None:
                raise self.tokens.fail(f"{shown(word)} is none of the {kind}")
            if found >= self._size(kind):
                raise self.tokens.fail(f"{kind[:-1]} {found} is out of range: there are {self._size(kind)}")
        return found

    def _place(self, kind: str) -> int | None:
        """Index, or None for a wildcard."""
        word = self.tokens.next(f"one of the {kind}, or '*'")
        return None if word == "*" else self._index(kind, word)

    def _values_ahead(self, most: int) -> int:
        return self.tokens.count_until(_STATEMENTS | {":"}, most)

    def _colon_before(self, count: int, otherwise: int) -> bool:
        """Whether the colon just read stands before `count` numbers or a word for them, not before another index.

        With another index, `otherwise` words would follow; if both may be meant, it is the index.
        """
        tokens = self.tokens
        if tokens.peek() in _WORDS:
            return True
        if tokens.peek(1) == ":" or _is_word(tokens.peek()):
            return False
        return self._values_ahead(max(count, otherwise) + 1) == count != otherwise

    def _probabilities(self, count: int) -> NDArray[np.float64]:
        values = self.tokens.numbers(count, "a probability")
        self._check_probability(values.min(), values.max())
        return values

    def _check_probability(self, least: float, most: float) -> None:
        if least < 0.0:
            raise self.tokens.fail(f"negative probability {least}")
        if most > 1.0 + TOLERANCE:
            raise self.tokens.fail(f"probability {most} is larger than 1")

    # T, O and R

    def _entry(self, letter: str | None, *places_and_value: str) -> None:
        """One whole line `T: a : s : s2 p`, `O: a : s2 : o p` or `R: a : s : s2 : o v`."""
        *words, number = (word for word in places_and_value if word is not None)
        value = float(number)
        if abs(value) > text.LARGEST:
            raise self.tokens.fail(f"{short(number)} is too large a number")
        kinds = _KINDS[letter] if letter else _REWARD_KINDS
        where: Where = tuple(
            None if word == "*" else self._index(kind, word) for kind, word in zip(kinds, words, strict=True)
        )
        if letter is None:
            assert self.rewards is not None
            assert self.sign is not None
            self.rewards.add(where, self.sign * value + 0.0)
        else:
            self._check_probability(value, value)
            self.tables[letter].stands_on(self.tokens.line).add(where, value)

    def _probability(self, table: _Table, line: int) -> None:
        """One T or O entry: an action's matrix, a state's row, or a single probability."""
        tokens = self.tokens
        if table.letter == "O" and self.is_mdp:
            raise tokens.fail("O in a file without 'observations:'")
        rules = table.stands_on(line)
        _, S, width = rules.shape
        a = self._place("actions")
        if not tokens.more() or self._colon_before(S * width, 1 + width):
            if (word := self._word(table.letter, "uniform", *(["identity"] * (table.letter == "T")))) == "uniform":
                rules.add((a, None, None), 1.0 / width)
            elif word == "identity":
                rules.add((a, None, None), 0.0)
                rules.add_cells((a, np.arange(S), np.arange(S)), np.ones(S))
            else:
                rules.add_table((a, None, None), (1, 2), self._probabilities(S * width).reshape(S, width))
            return
        s = self._place("states")
        if not tokens.more() or self._colon_before(width, 2):
            if (word := self._word(table.letter, "uniform", *(["reset"] * (table.letter == "T")))) == "uniform":
                rules.add((a, s, None), 1.0 / width)
            else:
                assert self.start is not None
                row = self.start if word == "reset" else self._probabilities(width)
                rules.add_table((a, s, None), (2,), row)
            return
        column = self._place(_KINDS[table.letter][2])
        tokens.more()
        rules.add((a, s, column), float(self._probabilities(1)[0]))

    def _word(self, letter: str, *possible: str) -> str | None:
        """Read a word that stands for probabilities, if there is one."""
        word = self.tokens.peek()
        if word not in _WORDS:
            return None
        self.tokens.next(word)
        if word not in possible:
            raise self.tokens.fail(f"{word!r} is not possible in this {letter} entry")
        return word

    def _reward(self) -> None:
        """One R entry: of an action and a state, of an end state, or of an observation."""
        tokens = self.tokens
        assert self.sign is not None
        assert self.rewards is not None
        S, O = self._size("states"), 1 if self.is_mdp else self._size("observations")
        a = self._place("actions")
        tokens.colon()
        s = self._place("states")
        end = seen = None
        if not tokens.more() or self._colon_before(S * O, 1 + O):
            shape: tuple[int, ...] = (S, O)
        else:
            end = self._place("states")
            more = tokens.more()
            shape = ()
            if self.is_mdp:  # a fourth field can only be a wildcard
                if more and tokens.peek() == "*":
                    tokens.next("*")
                    tokens.more()
            elif more and not self._colon_before(O, 2):
                seen = self._place("observations")
                tokens.more()
            else:
                shape = (O,)
        values = tokens.numbers(int(np.prod(shape, dtype=object)), "a reward").reshape(shape)
        self.rewards.add((a, s, end, seen), self.sign * values + 0.0)  # no negative zeros

    # Results

    def _states_seen(self, actions: int) -> list["csr_array"]:
        from scipy.sparse import eye_array

        return [eye_array(self._size("states"), format="csr")] * actions

    def _distributions(self, letter: str) -> list["csr_array"]:
        table = self.tables[letter]

        def bad_row(a: int, s: int, total: float, count: int) -> PomdpFormatError:
            line = table.line(a, s)
            action, state = shown(self.names["actions"][a]), shown(self.names["states"][s])
            more = f" ({count} such rows)" if count > 1 else ""
            more += "" if line else "; no statement sets it"
            message = f"{letter} row of action {action}, state {state} sums to {total:.9g}, not 1{more}"
            return failed(self.tokens.path, line or self.tokens.line, message)

        try:
            return distributions(table.rules, bad_row)
        except TooLargeError:
            raise self.tokens.fail(f"more than {text.MAX_CELLS} probabilities in {letter} are not zero") from None


def _is_word(word: str) -> bool:
    return NUMBER.fullmatch(word.lstrip("+-")) is None and word not in ("+", "-")
