"""Text as a stream of words with line numbers, read as it is needed: newlines mean nothing to .pomdp files."""

import re
from collections import deque
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from solvers.errors import PomdpFormatError
from solvers.formats.text import LARGEST, NUMBER, SIGNED, failed, lines_of, short, shown

_WORDS = re.compile(r":|\*|[^\s:*]+")
_CHUNK = 65_536  # numbers that are looked at together


class Tokens:
    """Words of a text, without comments (`#` to the end of the line); `:` and `*` are words of their own."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.line = 1  # of the word read last
        self._lines = lines_of(text)
        self._raw: deque[tuple[int, str]] = deque()  # lines that were looked at and not cut yet
        self._words: list[str] = []
        self._on: list[int] = []  # line of each word
        self._next = 0

    def fail(self, message: str) -> PomdpFormatError:
        """Return the error to raise about the word read last."""
        return failed(self.path, self.line, message)

    def peek(self, ahead: int = 0) -> str:
        """Return a word that comes, unread; empty if the text ends before."""
        i = self._next + ahead
        if i >= len(self._words):
            self._fill(ahead + 1)
            i = self._next + ahead
        return self._words[i] if i < len(self._words) else ""

    def next(self, wanted: str) -> str:
        """Read a word; `wanted` says in an error what should be there."""
        text = self.peek()
        if not text:
            raise self.fail(f"the file ends where {wanted} should be")
        self.line = self._on[self._next]
        self._next += 1
        return text

    def colon(self) -> None:
        """Read a colon."""
        text = self.next("':'")
        if text != ":":
            raise self.fail(f"expected ':', found {shown(text)}")

    def more(self) -> bool:
        """Read a colon if one is there."""
        if self.peek() != ":":
            return False
        self.colon()
        return True

    def number(self, wanted: str = "a number") -> float:
        """Read a number, whose sign may stand apart."""
        text = self.next(wanted)
        digits, sign = text.lstrip("+-"), text[0]
        if text in ("+", "-"):
            digits = self.next(wanted)
        if not NUMBER.fullmatch(digits) or len(text) - len(digits) > 1:
            raise self.fail(f"expected {wanted}, found {shown(text if text not in ('+', '-') else digits)}")
        value = float(digits)
        if value > LARGEST:
            raise self.fail(f"{short(digits)} is too large a number")
        return -value if sign == "-" else value

    def numbers(self, count: int, wanted: str) -> NDArray[np.float64]:
        """Read so many numbers, shape (count,)."""
        parts = []
        left = count
        while left:
            n = min(left, _CHUNK)
            parts.append(self._chunk(n, wanted, count - left, count))
            left -= n
        return np.concatenate(parts) if parts else np.zeros(0)

    def _chunk(self, n: int, wanted: str, before: int, count: int) -> NDArray[np.float64]:
        self._fill(n)
        words = self._words[self._next : self._next + n]
        if len(words) == n and all(map(SIGNED.fullmatch, words)):  # nearly always
            values = np.array(list(map(float, words)))
            if np.abs(values).max() <= LARGEST:
                self._next += n
                self.line = self._on[self._next - 1]
                return values
        named = [wanted if count == 1 else f"{wanted} ({before + i + 1} of {count})" for i in range(n)]
        return np.array([self.number(name) for name in named])

    def count_until(self, stops: frozenset[str], most: int) -> int:
        """Count words that come before one of `stops`, up to `most`, without signs that stand apart."""
        count = i = 0
        while count < most and (text := self.peek(i)) and text not in stops:
            count += text not in "+-"
            i += 1
        return count

    def ahead(self, count: int) -> list[str]:
        """Words that come, fewer if the text ends before."""
        self._fill(count)
        return self._words[self._next : self._next + count]

    def whole_line(self, form: re.Pattern[str], then: re.Pattern[str]) -> re.Match[str] | None:
        """Read a whole line at once if it has this form and what follows it begins with `then`, or is nothing."""
        if self._next < len(self._words):
            return None
        self._raw.extend(islice(self._lines, 2 - len(self._raw)))
        if not self._raw or not (match := form.fullmatch(self._raw[0][1])):
            return None
        if len(self._raw) > 1 and not then.match(self._raw[1][1]):
            return None
        self.line = self._raw.popleft()[0]
        return match

    def _fill(self, count: int) -> None:
        """Cut lines until so many words are ahead, or there are no more."""
        if self._next >= _CHUNK:  # forget what was read
            del self._words[: self._next], self._on[: self._next]
            self._next = 0
        while len(self._words) - self._next < count:
            line = self._raw.popleft() if self._raw else next(self._lines, None)
            if line is None:
                break
            words = _WORDS.findall(line[1].partition("#")[0])
            self._words += words
            self._on += [line[0]] * len(words)
