"""Problem sets: what is asked, and the right answer where it is known (JSONL, one problem a line)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, ConfigDict, Field

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.data.jsonl import iter_lines
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


class ProblemRecord(Record):
    """A line of a problem set; further keys are ignored, since data sets carry subject, level and more.

    Attributes
    ----------
    id : str
        Unique in the file; whole numbers are taken as text.
    prompt : str
        What the models are asked; ``problem`` in many data sets.
    answer : str or None
        The right answer, as it would stand in a box; numbers are taken as text.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    id: str = Field(min_length=1)
    prompt: str = Field(min_length=1, validation_alias=AliasChoices("prompt", "problem"))
    answer: str | None = None


def read_problems(path: str | Path) -> list[Problem]:
    """Read a problem set (JSONL, plain or ``.gz``).

    Raises
    ------
    InputError
        Naming file, line, field and reason; also if two problems have one id, or there is none.
    """
    line_of: dict[str, int] = {}
    problems = []
    for number, value in iter_lines(path):
        source = f"{path}, line {number}"
        record = validate(ProblemRecord, value, source=source)
        if record.id in line_of:
            raise InputError(f"{source}: id {record.id!r} is that of line {line_of[record.id]} too; ids are unique")
        line_of[record.id] = number
        problems.append(Problem(record.id, record.prompt, record.answer))
    if not problems:
        raise InputError(f"{path}: holds no problem; expected one JSON object a line")
    return problems


def problems_text(problems: Sequence[Problem]) -> str:
    """A problem set as JSONL."""
    records = (ProblemRecord(id=item.id, prompt=item.prompt, answer=item.answer) for item in problems)
    return "".join(f"{record.model_dump_json()}\n" for record in records)
