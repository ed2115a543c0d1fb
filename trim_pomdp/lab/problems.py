r"""Problems of the lab: multi-step arithmetic modulo 100, in four families, and an exact checker of every step.

A problem gives a start and labelled operations, a solution writes one operation a step on the running value and
puts the answer in a box:

    Start 75; a) -87; b) *19          a) 75-87=88    b) 88*19=72 \boxed{72}
    Start 59; a) -14; b) *91; c) *13; until 00    a) 59-14=45    b) 45*91=95    …    g) 14-14=00 \boxed{07}

Every operation is a bijection modulo 100 (multipliers are coprime to 100), so no right step hides an error before it:
what follows a first error is derailed, and only a second error can lead back by chance.

* ``chain``: operations are listed, so the length is fixed by the problem, and derailed steps look like any other.
* ``loop``: three operations in turn until 00 is met; the answer is the number of steps. The solution itself
  decides when it is done, so a derailed one misses the target and runs on.
* ``mixed``: lists like ``chain``, some problems easy, some hard.
* ``wordy``: lists whose steps are written with words that say nothing, one before the sum and two behind it. No model
  can foretell which, as no model can foretell the wording of a proof, so the log-probabilities of a step say as little
  of its being right as those of large models do.

    Start 75; a) -87; b) *19; in words    a) so 75-87=88 indeed still    b) now 88*19=72 too again \boxed{72}

Sums, differences and products with one digit are easy for the models, products of two digits harder, and quotients,
which take an inverse, hardest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError

Family = Literal["chain", "loop", "mixed", "wordy"]
Split = Literal["train", "fit", "test"]
FAMILIES: tuple[Family, ...] = get_args(Family)
PLAIN: tuple[Family, ...] = ("chain", "loop", "mixed")
"""The families whose steps are sums and no words."""
_SPLITS: tuple[Split, ...] = get_args(Split)
MODULUS = 100
LABELS = "abcdefghijklmnopqrstuvwx"
MAX_STEPS = 16
LOOP = 3
DIGITS = (3, 7, 9)
FACTORS = tuple(n for n in range(11, MODULUS) if n % 2 and n % 5)
OPENING = ("so", "then", "thus", "next", "now", "hence", "clearly")
CLOSING = ("indeed", "surely", "plainly", "again", "too", "still", "rightly")
_OPENED, _CLOSED = 1, 2
_INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}
_STEP = re.compile(r"([a-x])\) (\d\d)([-+*/])(\d\d)=(\d\d)(?: \\boxed\{(\d\d)\})?")
_PROMPT = re.compile(r"Start (\d\d)((?:; [a-x]\) [-+*/]\d\d)+)(?:; until (\d\d))?(; in words)?")
_OPENING_WORDS = re.compile(rf"(?<=^[a-x]\) )(?:(?:{'|'.join(OPENING)}) )+")
_CLOSING_WORDS = re.compile(rf" (?:{'|'.join(CLOSING)})(?= |$)")


def parse_family(name: str) -> Family:
    """A family by its name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    for family in FAMILIES:
        if family == name:
            return family
    raise InputError(f"no family {name!r}; expected {', '.join(FAMILIES)}")


@dataclass(frozen=True)
class Operation:
    """One operation on the running value, modulo 100: ``+``, ``-``, ``*`` or ``/`` and a two-digit operand."""

    kind: str
    operand: int

    def __call__(self, value: int) -> int:
        """Value after the operation."""
        if self.kind in "+-":
            return (value + self.operand if self.kind == "+" else value - self.operand) % MODULUS
        factor = self.operand if self.kind == "*" else pow(self.operand, -1, MODULUS)
        return value * factor % MODULUS

    def undo(self, value: int) -> int:
        """Value before the operation."""
        return Operation(_INVERSE[self.kind], self.operand)(value)

    def __str__(self) -> str:
        return f"{self.kind}{self.operand:02d}"


@dataclass(frozen=True)
class Arithmetic:
    """A problem of the lab.

    Attributes
    ----------
    start : int
        Value before the first step.
    operations : tuple of Operation
        Carried out once each in a list; in turn, again and again, in a loop.
    target : int or None
        Value that ends a loop; None in a list.
    in_words : bool
        Whether its steps are asked for with words around them. All texts that are made here are without.
    """

    start: int
    operations: tuple[Operation, ...]
    target: int | None = None
    in_words: bool = False

    @property
    def prompt(self) -> str:
        """Text of the problem."""
        listed = "".join(f"; {label}) {op}" for label, op in zip(LABELS, self.operations, strict=False))
        end = "" if self.target is None else f"; until {self.target:02d}"
        return f"Start {self.start:02d}{listed}{end}{'; in words' if self.in_words else ''}"

    @classmethod
    def parse(cls, prompt: str) -> Arithmetic:
        """Read a prompt.

        Raises
        ------
        InputError
            If the text is not a problem of the lab.
        """
        match = _PROMPT.fullmatch(prompt)
        listed = re.findall(r"([a-x])\) ([-+*/])(\d\d)", match[2]) if match else []
        if match is None or [label for label, _, _ in listed] != list(LABELS[: len(listed)]):
            raise InputError(f"not a problem of the lab: {prompt!r}; expected such as 'Start 75; a) -87; b) *19'")
        operations = tuple(Operation(kind, int(operand)) for _, kind, operand in listed)
        target = None if match[3] is None else int(match[3])
        return cls(int(match[1]), operations, target, in_words=match[4] is not None)

    def operation(self, index: int) -> Operation | None:
        """Operation of step `index` (from 0), or None beyond the end of a list."""
        if self.target is None:
            return self.operations[index] if index < len(self.operations) else None
        return self.operations[index % len(self.operations)]

    def ends(self, index: int, value: int) -> bool:
        """Whether step `index` with this result is the last one."""
        return index == len(self.operations) - 1 if self.target is None else value == self.target

    def step(self, index: int, before: int) -> str:
        """The right text of step `index` on a running value.

        Raises
        ------
        IndexError
            Beyond the end of a list.
        """
        operation = self.operation(index)
        if operation is None:
            raise IndexError(f"step {index} of a list of {len(self.operations)}")
        return self.written(index, before, operation(before))

    def written(self, index: int, before: int, result: int, operation: Operation | None = None) -> str:
        """The text of step `index` with a result or operation that may be wrong, but ends as it should with that."""
        text = f"{LABELS[index]}) {before:02d}{operation or self.operation(index)}={result:02d}"
        if not self.ends(index, result):
            return text
        return f"{text} \\boxed{{{result if self.target is None else index + 1:02d}}}"

    def steps(self, limit: int = len(LABELS)) -> list[str]:
        """The right solution, one text a step."""
        texts: list[str] = []
        value = self.start
        for index in range(limit):
            texts.append(self.step(index, value))
            result = step_result(texts[-1])
            assert result is not None
            value = result
            if self.ends(index, value):
                break
        return texts

    @property
    def answer(self) -> str:
        """The right answer, two digits."""
        match = _STEP.fullmatch(self.steps()[-1])
        assert match is not None
        return match[6]


@dataclass(frozen=True)
class Checked:
    """What the checker says of a solution's steps.

    Attributes
    ----------
    right : tuple of bool
        Whether each step is right *on its own terms*: it carries out its operation on the value that the step
        before wrote, and ends the solution iff that should end.
    first_error : int
        Index of the first step that is not right, -1 if there is none: the label of ProcessBench.
    """

    right: tuple[bool, ...]

    @property
    def first_error(self) -> int:
        """See the class."""
        return self.right.index(False) if False in self.right else -1

    @property
    def classes(self) -> tuple[int, ...]:
        """Class of each step, that is 0 right so far (S0), 1 derailed earlier (S1), 2 first error (S2)."""
        first = self.first_error if self.first_error >= 0 else len(self.right)
        return tuple(0 if index < first else 2 if index == first else 1 for index in range(len(self.right)))


def check(problem: Arithmetic, steps: Sequence[str]) -> Checked:
    """Check every step of a solution."""
    right = []
    value: int | None = problem.start
    for index, text in enumerate(steps):
        right.append(_is_right(problem, index, value, text))
        value = step_result(text)
    return Checked(tuple(right))


def _is_right(problem: Arithmetic, index: int, before: int | None, text: str) -> bool:
    if before is None or index >= len(LABELS) or problem.operation(index) is None:
        return False
    return (plain(text) if problem.in_words else text) == problem.step(index, before)


def plain(text: str) -> str:
    """A step without the words around its sum."""
    return _CLOSING_WORDS.sub("", _OPENING_WORDS.sub("", text))


def opening_words(text: str) -> int:
    """How many words a step has before its sum."""
    match = _OPENING_WORDS.search(text)
    return len(match[0].split()) if match else 0


def in_words(text: str, rng: np.random.Generator) -> str:
    """A plain step with words around its sum, drawn independently; the frequent ones come first in their lists."""
    label, space, rest = text.partition(" ")
    opening = "".join(f"{word} " for word in _words(OPENING, _OPENED, rng))
    closing = "".join(f" {word}" for word in _words(CLOSING, _CLOSED, rng))
    written, box, number = rest.partition(" \\boxed{")
    return f"{label}{space}{opening}{written}{closing}{box}{number}"


def _words(words: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    weights = 1.0 / np.arange(1, len(words) + 1)
    return [str(word) for word in rng.choice(words, count, p=weights / weights.sum())]


@dataclass(frozen=True)
class StepParts:
    """What a step says: value before, operation, result, and whether there is a box."""

    before: int
    operation: Operation
    result: int
    boxed: bool

    @property
    def computed(self) -> int | None:
        """What the written operation gives on the written value; None if it has no result (a divisor without one)."""
        if self.operation.kind == "/" and not (self.operation.operand % 2 and self.operation.operand % 5):
            return None
        return self.operation(self.before)


def step_parts(text: str) -> StepParts | None:
    """Take a step apart, whatever words are around its sum; None if it is not a step at all."""
    match = _STEP.fullmatch(plain(text))
    if match is None:
        return None
    return StepParts(int(match[2]), Operation(match[3], int(match[4])), int(match[5]), match[6] is not None)


def step_result(text: str) -> int | None:
    """Value that a step writes; None if it is not a step at all."""
    match = _STEP.match(plain(text))
    return int(match[5]) if match else None


def draw(family: Family, split: Split, seed: int, n: int, first: int = 0) -> list[Problem]:
    """Problems `first` … `first + n - 1` of a family; the three splits never share a seed.

    Returns
    -------
    list of Problem
        Ids are ``family-split-seed-index``; problem `i` depends on nothing but these.
    """
    return [_problem(family, split, seed, index) for index in range(first, first + n)]


def _problem(family: Family, split: Split, seed: int, index: int) -> Problem:
    rng = np.random.default_rng([_SPLITS.index(split), FAMILIES.index(family), seed, index])
    arithmetic = sample(family, rng)
    return Problem(f"{family}-{split}-{seed}-{index}", arithmetic.prompt, arithmetic.answer)


def sample(family: Family, rng: np.random.Generator) -> Arithmetic:
    """Draw a problem of a family."""
    if family == "loop":
        return sample_loop(rng, int(rng.integers(6, 11)), divide=0.175)
    if family == "chain":
        return sample_list(rng, int(rng.integers(5, 10)), multiply=0.5, divide=0.075)
    if family == "wordy":
        return replace(_any_list(rng), in_words=True)
    if rng.random() < 0.85:
        return sample_list(rng, int(rng.integers(5, 9)), multiply=0.75, divide=0.115)
    return sample_list(rng, int(rng.integers(6, 13)), multiply=0.1, divide=0.0)


def _any_list(rng: np.random.Generator) -> Arithmetic:
    """A list from short and easy to long and hard."""
    kind = rng.random()
    if kind < 0.2:
        return sample_list(rng, int(rng.integers(4, 7)), multiply=0.0, divide=0.0)
    if kind < 0.8:
        return sample_list(rng, int(rng.integers(5, 9)), multiply=0.7, divide=0.0)
    return sample_list(rng, int(rng.integers(8, 13)), multiply=0.7, divide=0.02)


def sample_list(rng: np.random.Generator, length: int, *, multiply: float, divide: float) -> Arithmetic:
    """A list of operations, with these probabilities of a multiplication and of a division by two digits."""
    operations = []
    for kind in rng.random(length):
        if kind < multiply + divide:
            operations.append(_hard_operation(rng, divide / (multiply + divide)))
        else:
            operations.append(_easy_operation(rng))
    return Arithmetic(int(rng.integers(MODULUS)), tuple(operations))


def sample_loop(rng: np.random.Generator, length: int | None, *, divide: float) -> Arithmetic:
    """A loop that meets its target, 00, after `length` steps and not before; None: any loop, which seldom does.

    Of its three operations one is a sum or difference, each of the others a division with probability `divide`.
    """
    while True:
        # No product of coprime factors is 00, so the last step is the shift.
        place = int(rng.integers(LOOP)) if length is None else (length - 1) % LOOP
        operations = tuple(_shift(rng) if i == place else _hard_operation(rng, divide) for i in range(LOOP))
        if length is None:
            return Arithmetic(int(rng.integers(1, MODULUS)), operations, target=0)
        values = [0]
        for index in reversed(range(length)):
            values.append(operations[index % LOOP].undo(values[-1]))
        if 0 not in values[1:]:
            return Arithmetic(values[-1], operations, target=0)


def _shift(rng: np.random.Generator) -> Operation:
    return Operation("+" if rng.random() < 0.5 else "-", int(rng.integers(1, MODULUS)))


def _easy_operation(rng: np.random.Generator) -> Operation:
    """A sum or difference, or a product with one digit."""
    return Operation("*", int(rng.choice(DIGITS))) if rng.random() < 0.2 else _shift(rng)


def _hard_operation(rng: np.random.Generator, divide: float) -> Operation:
    return Operation("/" if rng.random() < divide else "*", FACTORS[int(rng.integers(len(FACTORS)))])
