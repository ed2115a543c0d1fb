"""Solutions as people read them: ``solutions.jsonl``, a line a problem, which a run writes beside its traces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, model_validator

from trim_pomdp.data.records import Id, OpenRecord, read_records

Author = Literal["weak", "strong", "given"]


class SolutionText(OpenRecord):
    """How a problem was solved.

    Attributes
    ----------
    id, prompt : str
        Of the problem; what was asked.
    steps : tuple of str
        The solution that stands.
    authors : tuple of {"weak", "strong", "given"}
        Who wrote each step; a given one stood before the run began.
    answer, reference : str or None
        What stands in the box; what should, where known.
    correct : bool or None
        Whether they agree; None where no reference is known.
    reason : str
        Why the solution ended: ``answer``, ``no answer``, ``degenerate``, ``step cap`` or ``error``.
    error : str or None
        What went wrong, if anything.
    tokens : dict of str to int
        Totals, by model and purpose.
    """

    id: Id
    prompt: str
    steps: tuple[str, ...]
    authors: tuple[Author, ...]
    answer: str | None = None
    reference: str | None = None
    correct: bool | None = None
    reason: str
    error: str | None = None
    tokens: dict[str, NonNegativeInt] = {}

    @model_validator(mode="after")
    def _one_author_a_step(self) -> SolutionText:
        if len(self.authors) != len(self.steps):
            raise ValueError(
                f"authors has {len(self.authors)} values; expected one for each of {len(self.steps)} steps"
            )
        return self


def solutions_text(solutions: Iterable[SolutionText]) -> str:
    """Solutions as JSONL."""
    return "".join(f"{item.model_dump_json()}\n" for item in solutions)


def read_solution_texts(path: str | Path) -> list[SolutionText]:
    """Read ``solutions.jsonl``.

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return read_records(path, SolutionText)
