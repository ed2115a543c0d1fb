"""Writer of the .pomdpx format: tables of what is not zero, and a fully observed variable where the model has one."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from solvers.errors import PomdpFormatError
from solvers.formats.text import STRICT_NAME, plain, warn_of_horizon, write_texts
from solvers.pomdp import POMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Entry = tuple[str, str]
"""An instance and the numbers for it."""


def write_pomdpx(pomdp: POMDP, path: str | PathLike[str], *, names: bool = True) -> None:
    """Write a model as a .pomdpx file, in plain decimals that are read back as the same numbers.

    Without an observed factor there is one state variable. With one there are two: `seen`, the factor, and `hidden`,
    which tells apart the states that share a value of it. Joint states are then ordered by value, states of one value
    as they were; where values have unequal numbers of states, states that are never reached fill up; and transitions
    are split by the chain rule, so that they come back to within rounding. Other programs refuse a discount of 1, and
    may refuse rewards that depend on the observation. There is no place for a horizon: a warning
    says so where the model has one.

    Parameters
    ----------
    pomdp : POMDP
    path : str or path
    names : bool
        False: write numbers instead of the names of states, actions and observations.

    Raises
    ------
    PomdpFormatError
        If a name is not allowed there (a letter, then letters, digits, `-`, `_`).
    """
    warn_of_horizon(pomdp.horizon, path)
    write_texts({path: "\n".join(_Writer(pomdp, str(path), names).lines()) + "\n"})


class _Writer:
    """Names of all values, and the model's states as values of one or two variables."""

    def __init__(self, pomdp: POMDP, path: str, names: bool) -> None:
        self.pomdp = pomdp
        self.names = names
        self.path = path
        self.actions, self.action_values = self._values("actions", "a")
        self.observations, self.observation_values = self._values("observations", "o")
        if pomdp.observed is None:
            self.states, values = self._values("states", "s")
            self.variables = {"state": values}
            self.fill: list[tuple[int, int]] = []
        else:
            y = self.seen = pomdp.observed
            order = np.argsort(y, kind="stable")
            self.hidden = np.empty_like(order)
            self.hidden[order] = np.arange(y.size) - np.searchsorted(y[order], y[order])
            sizes = np.bincount(y)
            self.variables = {"seen": _count("s", sizes.size), "hidden": _count("s", int(sizes.max()))}
            self.states = [f"s{i} s{j}" for i, j in zip(y.tolist(), self.hidden.tolist(), strict=True)]
            self.fill = [(i, j) for i, n in enumerate(sizes.tolist()) for j in range(n, int(sizes.max()))]

    def _values(self, kind: str, letter: str) -> tuple[list[str], str]:
        """Names by which tables call the values, and the element that declares them."""
        given = getattr(self.pomdp, kind)
        if not self.names or given == tuple(f"{kind[:-1]} {i}" for i in range(len(given))):
            return [f"{letter}{i}" for i in range(len(given))], _count(letter, len(given))
        for name in given:
            if not STRICT_NAME.fullmatch(name):
                raise PomdpFormatError(
                    f"{self.path}: {name!r} cannot be a name in {kind}: "
                    "a letter must come first, then letters, digits, '-' and '_'; "
                    "names=False (--no-names) writes numbers"
                )
        return list(given), f"<ValueEnum>{' '.join(given)}</ValueEnum>"

    def _names(self, when: int) -> str:
        return " ".join(f"{name}_{when}" for name in self.variables)

    def lines(self) -> Iterator[str]:
        yield '<?xml version="1.0" encoding="UTF-8"?>'
        yield '<pomdpx version="1.0" id="model">'
        yield f"<Discount>{plain(self.pomdp.discount)}</Discount>"
        yield "<Variable>"
        for name, values in self.variables.items():
            full = ' fullyObs="true"' if name == "seen" else ""
            yield f'<StateVar vnamePrev="{name}_0" vnameCurr="{name}_1"{full}>{values}</StateVar>'
        yield f'<ActionVar vname="action">{self.action_values}</ActionVar>'
        yield f'<ObsVar vname="observation">{self.observation_values}</ObsVar>'
        yield '<RewardVar vname="reward"/>'
        yield "</Variable>"
        yield "<InitialStateBelief>"
        yield from self._start()
        yield "</InitialStateBelief>"
        yield "<StateTransitionFunction>"
        yield from self._moves() if len(self.variables) == 1 else self._moves_of_two()
        yield "</StateTransitionFunction>"
        yield "<ObsFunction>"
        yield from self._told()
        yield "</ObsFunction>"
        yield "<RewardFunction>"
        yield from self._reward()
        yield "</RewardFunction>"
        yield "</pomdpx>"

    def _start(self) -> Iterator[str]:
        start = self.pomdp.start
        if len(self.variables) == 1:
            yield from _function("CondProb", "state_0", "null", [("-", " ".join(map(plain, start)))])
            return
        seen = np.bincount(self.seen, start)
        hidden = np.zeros((seen.size, int(self.hidden.max()) + 1))
        hidden[self.seen, self.hidden] = start
        hidden[seen == 0.0, 0] = 1.0
        hidden /= hidden.sum(axis=1, keepdims=True)
        yield from _function("CondProb", "seen_0", "null", [("-", " ".join(map(plain, seen)))])
        entries = [(f"s{y} -", " ".join(map(plain, row))) for y, row in enumerate(hidden)]
        yield from _function("CondProb", "hidden_0", "seen_0", entries)

    def _moves(self) -> Iterator[str]:
        entries = self._rows(self.pomdp.transition, self.states)
        yield from _function("CondProb", "state_1", "action state_0", entries)

    def _told(self) -> Iterator[str]:
        entries = list(self._rows(self.pomdp.observation, self.observations))
        entries += [(f"* s{y} s{h} {self.observations[0]}", "1.0") for y, h in self.fill]
        yield from _function("CondProb", "observation", f"action {self._names(1)}", entries)

    def _rows(self, tables: tuple["csr_array", ...], columns: list[str]) -> Iterator[Entry]:
        """Rows of a table, whole where most of it is not zero."""
        for action, table in self._by_action(tables):
            width = table.shape[1]
            for s, (first, last) in enumerate(pairwise(table.indptr.tolist())):
                places, values = table.indices[first:last].tolist(), table.data[first:last].tolist()
                if 2 * len(places) > width:
                    row = ["0.0"] * width
                    for j, value in zip(places, values, strict=True):
                        row[j] = plain(value)
                    yield f"{action} {self.states[s]} -", " ".join(row)
                else:
                    for j, value in zip(places, values, strict=True):
                        yield f"{action} {self.states[s]} {columns[j]}", plain(value)

    def _by_action(self, tables: tuple["csr_array", ...]) -> Iterable[tuple[str, "csr_array"]]:
        alike = all(table is tables[0] for table in tables)
        return [("*", tables[0])] if alike else zip(self.actions, tables, strict=True)

    def _moves_of_two(self) -> Iterator[str]:
        """P(seen') and P(hidden' | seen'), given the action and both before; where nothing is said, `hidden` stays."""
        seen: list[Entry] = [(f"* s{y} s{h} s{y}", "1.0") for y, h in self.fill]
        hidden: list[Entry] = [("* * - * -", "identity")]
        for action, table in self._by_action(self.pomdp.transition):
            for s, (first, last) in enumerate(pairwise(table.indptr.tolist())):
                after, chance = table.indices[first:last], table.data[first:last]
                for y in np.unique(self.seen[after]).tolist():
                    among = self.seen[after] == y
                    share = float(chance[among].sum())
                    given = f"{action} {self.states[s]} s{y}"
                    seen.append((given, plain(share)))
                    hidden += _unless_it_stays(
                        given, int(self.hidden[s]), self.hidden[after[among]], chance[among] / share
                    )
        yield from _function("CondProb", "seen_1", "action seen_0 hidden_0", seen)
        yield from _function("CondProb", "hidden_1", "action seen_0 hidden_0 seen_1", hidden)

    def _reward(self) -> Iterator[str]:
        rewards = self.pomdp.rewards
        anywhere = " ".join("*" * len(self.variables))
        if rewards is None:
            places = np.argwhere(self.pomdp.reward).tolist()
            entries = [(f"{self.actions[a]} {self.states[s]}", plain(self.pomdp.reward[a, s])) for a, s in places]
            parents = f"action {self._names(0)}"
        else:
            told = any(where[3] is not None for where, _ in rewards)
            kinds = (self.actions, self.states, self.states, self.observations)[: 4 if told else 3]
            wild = ("*", anywhere, anywhere, "*")
            entries = []
            for where, value in rewards:
                words = [w if i is None else kind[i] for i, kind, w in zip(where, kinds, wild, strict=False)]
                entries.append((" ".join(words), plain(value)))
            parents = f"action {self._names(0)} {self._names(1)}" + " observation" * told
        filled = " ".join("*" * (len(parents.split()) - 3))
        entries += [(f"* s{y} s{h} {filled}".strip(), "0.0") for y, h in self.fill]
        entries = entries or [(" ".join("*" * len(parents.split())), "0.0")]
        yield from _function("Func", "reward", parents, entries)


def _count(letter: str, n: int) -> str:
    """Element that declares n values; other programs want a count of at least two."""
    return f"<NumValues>{n}</NumValues>" if n > 1 else f"<ValueEnum>{letter}0</ValueEnum>"


def _unless_it_stays(given: str, before: int, after: NDArray[np.int64], chance: NDArray[np.float64]) -> Iterator[Entry]:
    """P(hidden' | given), of which a table knows already that hidden' is as before, with certainty."""
    if after.tolist() == [before]:
        return
    if before not in after:
        yield f"{given} s{before}", "0.0"
    for h, p in zip(after.tolist(), chance.tolist(), strict=True):
        yield f"{given} s{h}", plain(p)


def _function(tag: str, variable: str, parents: str, entries: Iterable[Entry]) -> Iterator[str]:
    table = "ValueTable" if tag == "Func" else "ProbTable"
    yield f'<{tag}><Var>{variable}</Var><Parent>{parents}</Parent><Parameter type="TBL">'
    for instance, numbers in entries:
        yield f"<Entry><Instance>{instance}</Instance><{table}>{numbers}</{table}></Entry>"
    yield f"</Parameter></{tag}>"
