"""Writer of Cassandra's .pomdp format, strict: what every program that reads it takes."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from solvers.errors import PomdpFormatError
from solvers.formats.pomdp_reader import KEYWORDS
from solvers.formats.text import STRICT_NAME, plain, warn_of_horizon, write_texts
from solvers.pomdp import POMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_WIDE = 20  # columns of a table that is written entry by entry if most are zero


def write_pomdp(pomdp: POMDP, path: str | PathLike[str], *, names: bool = True) -> None:
    """Write a model as a .pomdp file, in plain decimals that `read_pomdp` and other programs take.

    Decimals are as long as needed to be read back as the same numbers. Large tables are written entry by entry, without
    zeros. The format has no place for a horizon: a warning says so where the model has one.

    Parameters
    ----------
    pomdp : POMDP
    path : str or path
    names : bool
        False: write numbers instead of the names of states, actions and observations.

    Raises
    ------
    PomdpFormatError
        If a name is not allowed there (a letter, then letters, digits, `-`, `_`; no keyword), or the model has
        what the format cannot say: a fully observed factor.
    """
    if pomdp.observed is not None:
        raise PomdpFormatError(
            f"{path}: the format cannot say that a factor of the state is observed; .pomdpx can (write_pomdpx)"
        )
    warn_of_horizon(pomdp.horizon, path)
    lines = [f"discount: {plain(pomdp.discount)}", "values: reward"]
    called: dict[str, Sequence[object]] = {}
    for kind in ("states", "actions", "observations"):
        given = getattr(pomdp, kind)
        generated = not names or given == tuple(f"{kind[:-1]} {i}" for i in range(len(given)))
        for name in () if generated else given:
            if not STRICT_NAME.fullmatch(name) or name in KEYWORDS:
                raise PomdpFormatError(
                    f"{path}: {name!r} cannot be a name in {kind}: a letter must come first, then letters, digits, "
                    "'-' and '_', and keywords of the format are taken; names=False (--no-names) writes numbers"
                )
        called[kind] = range(len(given)) if generated else given
        lines.append(f"{kind}: {len(given) if generated else ' '.join(given)}")
    lines.append("start: " + " ".join(map(plain, pomdp.start)))
    lines.extend(_table_lines("T", pomdp.transition, called["actions"], called["states"], called["states"]))
    lines.extend(_table_lines("O", pomdp.observation, called["actions"], called["states"], called["observations"]))
    lines.extend(list(_reward_lines(pomdp, called)) or ["R: * : * : * : * 0.0"])  # APPL refuses a file without any
    write_texts({path: "\n".join(lines) + "\n"})


def _table_lines(
    letter: str,
    tables: Sequence["csr_array"],
    actions: Sequence[object],
    rows: Sequence[object],
    columns: Sequence[object],
) -> Iterator[str]:
    alike = len(tables) > 1 and all(table is tables[0] for table in tables)
    for action, table in [("*", tables[0])] if alike else zip(actions, tables, strict=True):
        decimals = {value: plain(value) for value in np.unique(table.data).tolist()}
        width = table.shape[1]
        dense = width <= _WIDE or 2 * table.nnz > table.shape[0] * width
        if dense:
            yield f"{letter}: {action}"
        for s, (first, last) in enumerate(pairwise(table.indptr.tolist())):
            entries = zip(table.indices[first:last].tolist(), table.data[first:last].tolist(), strict=True)
            if dense:
                row = ["0.0"] * width
                for j, value in entries:
                    row[j] = decimals[value]
                yield " ".join(row)
            else:
                for j, value in entries:
                    yield f"{letter}: {action} : {rows[s]} : {columns[j]} {decimals[value]}"


def _reward_lines(pomdp: POMDP, names: dict[str, Sequence[object]]) -> Iterator[str]:
    """Rules in their order, which is what the format has: a later line overrides."""
    if pomdp.rewards is None:
        for a, s in np.argwhere(pomdp.reward).tolist():
            yield f"R: {names['actions'][a]} : {names['states'][s]} : * : * {plain(pomdp.reward[a, s])}"
        return
    kinds = ("actions", "states", "states", "observations")
    for where, value in pomdp.rewards:
        words = ("*" if i is None else str(names[kind][i]) for kind, i in zip(kinds, where, strict=True))
        yield f"R: {' : '.join(words)} {plain(value)}"
