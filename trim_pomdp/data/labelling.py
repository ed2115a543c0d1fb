"""Files for people or a judge to label: solutions in ProcessBench's form without a label; and what comes back, checked.

To label is to write into ``label`` the index of the first wrong step, from 0, or -1 if every step is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trim_pomdp.artifacts import validate
from trim_pomdp.data.layouts import TEXTS, Tell, read_in_layout
from trim_pomdp.data.processbench import LabelledSolution, Steps
from trim_pomdp.data.records import EXPECTED, Id, OpenRecord, check_not_wrapped, iter_records
from trim_pomdp.errors import InputError


class UnlabelledSolution(OpenRecord):
    """A solution that nobody has labelled, in ProcessBench's form."""

    id: Id
    generator: str = "weak"
    problem: str
    steps: Steps
    label: None = None
    final_answer_correct: bool | None = None


def read_texts(path: str | Path, *, layout: str | None = None, tell: Tell | None = None) -> list[UnlabelledSolution]:
    """Solutions to label: the weak model's of a ``solutions.jsonl``; or in ProcessBench's form, labels dropped.

    Parameters
    ----------
    path : str or Path
        JSON lines, a JSON array or parquet; plain or gzip.
    layout : str or None
        ``solutions`` or ``processbench``; None recognises it.
    tell : callable or None
        Told in a line what is left out, if anything; None warns.

    Raises
    ------
    InputError
        Naming file, line (record in arrays and parquet), field and reason.
    """
    raws, source = iter_records(path), str(path)
    found = read_in_layout(raws, source, UnlabelledSolution, TEXTS, layout=layout, tell=tell, noun="solution")
    return [solution for _, solution in found]


def to_label(solutions: Sequence[UnlabelledSolution], n: int | None = None, seed: int = 0) -> list[UnlabelledSolution]:
    """Solutions that are worth a look: each text once, `n` of them at random, in their order.

    Parameters
    ----------
    solutions : sequence of UnlabelledSolution
    n : int or None
        None takes all.
    seed : int
        Of the choice.

    Raises
    ------
    InputError
        If there are not so many, or two differ but have one id.
    """
    unique = list({(item.problem, item.steps): item for item in reversed(solutions)}.values())[::-1]
    ids: set[str] = set()
    for item in unique:
        if item.id in ids:
            raise InputError(f"id {item.id!r} is that of two solutions; ids are unique")
        ids.add(item.id)
    if n is None:
        return unique
    if not 1 <= n <= len(unique):
        raise InputError(f"a sample of {n}; expected 1 to {len(unique)}, the number of different solutions")
    return [unique[i] for i in sorted(np.random.default_rng(seed).choice(len(unique), size=n, replace=False).tolist())]


def labels_text(solutions: Sequence[UnlabelledSolution] | Sequence[LabelledSolution]) -> str:
    """Solutions as JSONL."""
    return "".join(f"{item.model_dump_json()}\n" for item in solutions)


@dataclass(frozen=True)
class LabelCheck:
    """What came back.

    Attributes
    ----------
    labelled : tuple of LabelledSolution
        Those with a label.
    unlabelled : int
        How many have none yet.
    wrong : tuple of str
        Place and reason of every record that is not right.
    """

    labelled: tuple[LabelledSolution, ...]
    unlabelled: int
    wrong: tuple[str, ...]

    @property
    def records(self) -> int:
        """How many there are."""
        return len(self.labelled) + self.unlabelled + len(self.wrong)


def check_labels(path: str | Path) -> LabelCheck:
    """Read a file in ProcessBench's form of which some solutions are labelled, and null says that one is not.

    Raises
    ------
    InputError
        If it cannot be read as records at all, or holds none.
    """
    labelled: list[LabelledSolution] = []
    unlabelled = 0
    wrong: list[str] = []
    place_of: dict[str, str] = {}
    for raw in iter_records(path):
        check_not_wrapped(raw, LabelledSolution.model_fields)
        blank = isinstance(raw.value, Mapping) and raw.value.get("label", 0) is None
        try:
            item: LabelledSolution | UnlabelledSolution = (
                validate(UnlabelledSolution, raw.value, source=raw.place)
                if blank
                else validate(LabelledSolution, raw.value, source=raw.place)
            )
            if item.id in place_of:
                raise InputError(f"{raw.place}: id {item.id!r} is that of {place_of[item.id]} too")
        except InputError as error:
            wrong.append(str(error))
            continue
        place_of[item.id] = raw.place
        if isinstance(item, LabelledSolution):
            labelled.append(item)
        else:
            unlabelled += 1
    if not (labelled or unlabelled or wrong):
        raise InputError(f"{path}: holds no solution; expected {EXPECTED}")
    return LabelCheck(tuple(labelled), unlabelled, tuple(wrong))
