"""Reader of the .pomdpx format: XML in which a POMDP's state, actions and observations have several variables.

Joint states are all combinations of the variables' values, in the order of the file, the last changing fastest.
"""
# ruff: noqa: E741 (O is the number of observations)

import warnings
from itertools import product
from math import prod
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError
from solvers.formats import text
from solvers.formats.factors import BadRowError, Digits, Factor, Rows, digits_of, in_order, joint
from solvers.formats.pomdpx_functions import Function, Variable
from solvers.formats.tables import TooLargeError
from solvers.formats.text import SIGNED, index_of, short, shown
from solvers.formats.xml import Document, Element
from solvers.pomdp import POMDP
from solvers.reward_rules import RewardRules

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_LETTERS = {"StateVar": "s", "ActionVar": "a", "ObsVar": "o"}


def read_pomdpx(path: str | PathLike[str]) -> POMDP:
    """Read a model from a .pomdpx file: tables and decision diagrams, several variables, fully observed ones.

    States, actions and observations are named by the values of their variables, joined by `_`. Fully observed
    variables become `POMDP.observed`. Of rewards that look at the state after the action, or at the observation,
    `POMDP.rewards` keeps those of outcomes that can occur; several reward functions are added. Without observation
    variables there is one observation, which says nothing.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    PomdpFormatError
        If the file is not such a model, or too large a one (see `read_pomdp`); the message names file, line and what
        is wrong. Document types and entities are refused.
    OSError
        If the file cannot be read.

    Warns
    -----
    UserWarning
        For an attribute `xmlns:`, which XML does not allow and published files have: it is ignored.
    """
    return _Reader(Document(str(path), text.read_bytes(path))).read()


class _Reader:
    """Variables first, then functions of them, then their product."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.variables: dict[str, Variable] = {}
        self.of_kind: dict[str, list[str]] = {"before": [], "after": [], "action": [], "observation": [], "reward": []}
        self.seen: list[str] = []  # names, before the action, of fully observed state variables

    def read(self) -> POMDP:
        root = self.document.root
        if root.tag != "pomdpx":
            raise self.document.fail(root, f"expected <pomdpx>, found <{short(root.tag)}>")
        if "xmlns:" in root.attributes:
            warnings.warn(
                f"{self.document.path}, line {root.line}: the attribute 'xmlns:' names no prefix, which XML does not "
                "allow; it is ignored ('xmlns' is meant, or nothing)",
                stacklevel=3,
            )
        self._read_variables(self.document.child(root, "Variable"))
        discount = self._discount(self.document.child(root, "Discount"))
        try:
            start = self._start(self.document.child(root, "InitialStateBelief"))
            moves = self._moves(self.document.child(root, "StateTransitionFunction"))
            told = self._told(root)
            reward = self._reward(self.document.child(root, "RewardFunction"), moves, told)
            return POMDP(
                transition=moves,
                observation=told,
                reward=reward,
                start=start,
                discount=discount,
                states=self._joint_names("before"),
                actions=self._joint_names("action"),
                observations=self._joint_names("observation") if self.of_kind["observation"] else ("none",),
                observed=self._observed(),
            )
        except ModelError as error:
            raise self.document.fail(root, str(error)) from None

    def _discount(self, element: Element) -> float:
        word = element.text.strip()
        if not SIGNED.fullmatch(word) or not 0.0 < float(word) <= 1.0:
            raise self.document.fail(element, f"discount must lie in (0, 1], found {shown(word)}")
        return float(word)

    # Variables

    def _read_variables(self, section: Element) -> None:
        for element in section.children:
            if element.tag == "StateVar":
                before, after = (self.document.attribute(element, name) for name in ("vnamePrev", "vnameCurr"))
                values = self._values(element)
                self._declare(element, Variable(before, "before", values))
                self._declare(element, Variable(after, "after", values, before))
                full = element.attributes.get("fullyObs", "false").strip().lower()
                if full not in ("true", "false", "1", "0"):
                    raise self.document.fail(element, f"fullyObs must be 'true' or 'false', found {shown(full)}")
                if full in ("true", "1"):
                    self.seen.append(before)
            elif element.tag in ("ActionVar", "ObsVar"):
                kind = "action" if element.tag == "ActionVar" else "observation"
                self._declare(element, Variable(self.document.attribute(element, "vname"), kind, self._values(element)))
            elif element.tag == "RewardVar":
                self._declare(element, Variable(self.document.attribute(element, "vname"), "reward", ()))
            else:
                raise self.document.fail(element, f"<{short(element.tag)}> is no kind of variable")
        for kind, tag in (("before", "StateVar"), ("action", "ActionVar"), ("reward", "RewardVar")):
            if not self.of_kind[kind]:
                raise self.document.fail(section, f"at least one <{tag}> is needed")
        A, S, O = (self._size(kind) for kind in ("action", "before", "observation"))
        for count, most, what in (
            (S, text.MAX_PLACES, "states"),
            (A, text.MAX_ACTIONS, "actions"),
            (O, text.MAX_PLACES, "observations"),
            (A * S, text.MAX_CELLS, "actions × states"),
        ):
            if count > most:
                raise self.document.fail(section, f"{count} {what} are too many: at most {most} are read")

    def _declare(self, element: Element, variable: Variable) -> None:
        if variable.name in self.variables or variable.name == "null":
            raise self.document.fail(element, f"the name {shown(variable.name)} is taken")
        if len(variable.name.split()) != 1:
            raise self.document.fail(element, f"a variable's name has no spaces, found {shown(variable.name)}")
        self.variables[variable.name] = variable
        self.of_kind[variable.kind].append(variable.name)

    def _values(self, element: Element) -> tuple[str, ...]:
        tags = {child.tag for child in element.children}
        if "NumValues" in tags:
            number = self.document.child(element, "NumValues")
            count = index_of(number.text.strip())
            if count is None or not 1 <= count <= text.MAX_PLACES:
                raise self.document.fail(
                    number,
                    f"a number of values from 1 to {text.MAX_PLACES} is needed, found {shown(number.text.strip())}",
                )
            return tuple(f"{_LETTERS[element.tag]}{i}" for i in range(count))
        listing = self.document.child(element, "ValueEnum")
        values = tuple(listing.text.split())
        if not values or len(set(values)) < len(values):
            raise self.document.fail(listing, "different names of values are needed")
        return values

    def _size(self, kind: str) -> int:
        return prod(len(self.variables[name].values) for name in self.of_kind[kind])

    def _joint_names(self, kind: str) -> tuple[str, ...]:
        parts = [self.variables[name].values for name in self.of_kind[kind]]
        names = tuple("_".join(values) for values in product(*parts)) if parts else ()
        return names if len(set(names)) == len(names) else ()

    def _observed(self) -> NDArray[np.int64] | None:
        sizes = [len(self.variables[name].values) for name in self.seen]
        if prod(sizes) == 1:
            return None
        digits = self._digits("before", np.arange(self._size("before")))
        return np.asarray(np.ravel_multi_index(tuple(digits[name] for name in self.seen), sizes))

    def _digits(self, kind: str, index: NDArray[np.int64]) -> Digits:
        names = self.of_kind[kind]
        return digits_of(index, names, [len(self.variables[name].values) for name in names])

    # Functions

    def _functions(self, section: Element, kind: str, allowed: tuple[str, ...]) -> list[tuple[Element, Factor]]:
        """Read functions of a section, each of one or several variables of a kind."""
        tag = "Func" if kind == "reward" else "CondProb"
        found: list[tuple[Element, Factor]] = []
        for element in section.children:
            if element.tag != tag:
                raise self.document.fail(element, f"<{section.tag}> is made of <{tag}>, found <{short(element.tag)}>")
            variables = self._named(self.document.child(element, "Var"), (kind,))
            parents = self._named(self.document.child(element, "Parent"), allowed)
            if not variables:
                raise self.document.fail(element, "<Var> names no variable")
            axes = () if kind == "reward" else variables
            names = [variable.name for variable in (*parents, *axes)]
            if len(set(names)) < len(names):
                raise self.document.fail(element, "a variable is named twice")
            try:
                function = Function(self.document, element, parents, axes)
            except ModelError as error:
                raise self.document.fail(element, str(error)) from None
            factor = Factor(tuple(v.name for v in parents), tuple(v.name for v in axes), function.rules)
            found.append((element, factor))
        return found

    def _named(self, element: Element, kinds: tuple[str, ...]) -> tuple[Variable, ...]:
        names = element.text.split()
        for name in names:
            if name not in self.variables and name != "null":
                raise self.document.fail(element, f"there is no variable {shown(name)}")
            if name != "null" and self.variables[name].kind not in kinds:
                raise self.document.fail(
                    element, f"{shown(name)} ({self.variables[name].kind}) cannot stand here, only: {', '.join(kinds)}"
                )
        return tuple(self.variables[name] for name in names if name != "null")

    def _distributions(self, section: Element, kind: str, given: tuple[str, ...]) -> list[Rows]:
        """P(all variables of a kind | those of the kinds given), in an order that can be multiplied."""
        rows: list[Rows] = []
        for element, factor in self._functions(section, kind, (*given, kind)):
            try:
                rows.append(factor.rows())
            except BadRowError as error:
                values, total = error.args
                known = " ".join(
                    f"{name}={self.variables[name].values[i]}" for name, i in zip(factor.parents, values, strict=True)
                )
                what = " ".join(factor.variables) + (f" given {known}" if known else "")
                raise self.document.fail(element, f"the probabilities of {what} sum to {total:.9g}, not 1") from None
            except TooLargeError:
                raise self.document.fail(element, "the table of this function is too large") from None
        names = [name for factor in rows for name in factor.variables]
        for name in self.of_kind[kind]:
            if names.count(name) != 1:
                count = "no" if name not in names else "more than one"
                raise self.document.fail(section, f"{count} <CondProb> in <{section.tag}> is about {shown(name)}")
        try:
            return in_order(rows, [name for k in given for name in self.of_kind[k]])
        except ValueError as error:
            raise self.document.fail(section, f"variables depend on each other in a circle: {error}") from None

    def _start(self, section: Element) -> NDArray[np.float64]:
        _, state, chance = self._joint(section, self._distributions(section, "before", ()), {}, 1, "before")
        return np.asarray(np.bincount(state, chance, self._size("before")), np.float64)

    def _moves(self, section: Element) -> list["csr_array"]:
        rows = self._distributions(section, "after", ("action", "before"))
        return self._matrices(section, rows, "before", "after", self._digits("before", np.arange(self._size("before"))))

    def _told(self, root: Element) -> list["csr_array"]:
        A, S = self._size("action"), self._size("before")
        if not self.of_kind["observation"]:
            from scipy.sparse import csr_array

            return [csr_array(np.ones((S, 1)))] * A
        section = self.document.child(root, "ObsFunction")
        rows = self._distributions(section, "observation", ("action", "after"))
        return self._matrices(section, rows, "before", "observation", self._digits("after", np.arange(S)))

    def _matrices(self, section: Element, rows: list[Rows], given: str, kind: str, known: Digits) -> list["csr_array"]:
        """One matrix for each action, or one for all where no factor looks at the action."""
        from scipy.sparse import csr_array

        A, S, width = self._size("action"), self._size(given), self._size(kind)
        acts = any(name in self.of_kind["action"] for factor in rows for name in factor.parents)
        matrices: list[csr_array] = []
        stored = 0
        for a in range(A if acts else 1):
            digits = {name: np.broadcast_to(i, S) for name, i in self._digits("action", np.array(a)).items()}
            row, column, chance = self._joint(section, rows, known | digits, S, kind)
            matrices.append(csr_array((chance, (row, column)), shape=(S, width)))
            stored += matrices[-1].nnz
            if stored > text.MAX_CELLS:
                raise self.document.fail(section, f"more than {text.MAX_CELLS} probabilities are not zero")
        return matrices if acts else matrices * A

    def _joint(
        self, section: Element, rows: list[Rows], known: Digits, count: int, kind: str
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        sizes = {name: len(variable.values) for name, variable in self.variables.items()}
        try:
            return joint(rows, known, count, self.of_kind[kind], sizes)
        except TooLargeError:
            raise self.document.fail(section, f"more than {text.MAX_CELLS} probabilities are not zero") from None

    # Rewards

    def _reward(
        self, section: Element, moves: list["csr_array"], told: list["csr_array"]
    ) -> NDArray[np.float64] | RewardRules:
        functions = [f for _, f in self._functions(section, "reward", ("action", "before", "after", "observation"))]
        A, S, O = self._size("action"), self._size("before"), self._size("observation")
        looks = {self.variables[name].kind for factor in functions for name in factor.parents}

        def total(a: NDArray[np.int64], s: NDArray[np.int64], after: object, seen: object) -> NDArray[np.float64]:
            digits = self._digits("action", a) | self._digits("before", s)
            digits |= self._digits("after", np.asarray(after)) | self._digits("observation", np.asarray(seen))
            value = np.zeros(s.shape)
            for function in functions:
                value += function.value(digits)
            return value

        if not looks & {"after", "observation"}:
            return np.stack([total(np.array(a), np.arange(S), 0, 0) for a in range(A)])
        rules = RewardRules((A, S, S, O))
        for a in range(A):
            move = moves[a].tocoo()
            s, after = move.coords
            seen: object = None
            if "observation" in looks:
                width = np.diff(told[a].indptr)[after]
                if len(rules) + width.sum() > text.MAX_CELLS:
                    raise self.document.fail(section, f"more than {text.MAX_CELLS} rewards of outcomes")
                place = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width)
                s, after = np.repeat(s, width), np.repeat(after, width)
                seen = told[a].indices[place + told[a].indptr[after]]
            value = total(np.array(a), s, after, 0 if seen is None else seen)
            there = value != 0.0
            places = (a, s[there], after[there], None if seen is None else np.asarray(seen)[there])
            rules.add_cells(places, value[there])
        return rules
