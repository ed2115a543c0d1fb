"""Problem sets: what is asked, and the right answer where it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, Field, field_validator

from trim_pomdp.data.benchmarks import BENCHMARKS, benchmark_rows
from trim_pomdp.data.layouts import PROBLEMS, Tell, final_answer, read_in_layout
from trim_pomdp.data.records import Answer, Id, OpenRecord, iter_records
from trim_pomdp.errors import InputError


@dataclass(frozen=True)
class Problem:
    """A problem to solve.

    Attributes
    ----------
    id : str
        Unique in a run.
    prompt : str
        What the models are asked.
    answer : str or None
        Reference answer; None where nobody knows it.
    """

    id: str
    prompt: str
    answer: str | None = None


class ProblemRecord(OpenRecord):
    """A problem as it stands in a file; further keys are ignored, since data sets carry subject, level and more.

    Attributes
    ----------
    id : str
        Unique in the file; whole numbers are taken as text.
    prompt : str
        What the models are asked; ``problem`` or ``question`` in many data sets.
    answer : str or None
        The right answer, as it would stand in a box; numbers are taken as text. Of a worked solution in GSM8K's form
        what follows ``####``.
    """

    id: Id = Field(min_length=1)
    prompt: str = Field(min_length=1, validation_alias=AliasChoices("prompt", "problem", "question"))
    answer: Answer | None = None

    @field_validator("answer")
    @classmethod
    def _the_number_alone(cls, value: str | None) -> str | None:
        return value if value is None else final_answer(value)


def read_problems(path: str | Path, *, layout: str | None = None, tell: Tell | None = None) -> list[Problem]:
    """Read a problem set, in this form or the layout of MATH-500 or GSM8K (`trim_pomdp.data.layouts`).

    Parameters
    ----------
    path : str or Path
        JSON lines, a JSON array or parquet; plain or gzip. Or the name of a set on the hub
        (`trim_pomdp.data.benchmarks`): ``math-500``, ``aime``, ``aime24``, ``aime25``, ``amc23``, ``gsm8k``,
        ``minerva-math``, ``olympiadbench``.
    layout : str or None
        ``problems``, ``math-500`` or ``gsm8k``; None recognises it.
    tell : callable or None
        Told in a line what is left out, if anything; None warns.

    Raises
    ------
    InputError
        Naming file, line (record in arrays and parquet), field and reason; also if two problems have one id, or there
        is none.
    """
    if str(path) in BENCHMARKS and not Path(path).exists():
        return [Problem(*row) for row in benchmark_rows(str(path))]
    place_of: dict[str, str] = {}
    problems = []
    raws, source = iter_records(path), str(path)
    for raw, record in read_in_layout(raws, source, ProblemRecord, PROBLEMS, layout=layout, tell=tell, noun="problem"):
        if record.id in place_of:
            raise InputError(f"{raw.where}: id {record.id!r} is that of {place_of[record.id]} too; ids are unique")
        place_of[record.id] = raw.place
        problems.append(Problem(record.id, record.prompt, record.answer))
    return problems


def problems_text(problems: Sequence[Problem]) -> str:
    """A problem set as JSONL."""
    records = (ProblemRecord(id=item.id, prompt=item.prompt, answer=item.answer) for item in problems)
    return "".join(f"{record.model_dump_json()}\n" for record in records)
