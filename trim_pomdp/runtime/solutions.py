"""Solutions for people to read: ``solutions.jsonl``, a line a problem, made from the traces of a run that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trim_pomdp.artifacts import write_text
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.solutions import Author, SolutionText, solutions_text
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.traces import read_traces

SOLUTIONS_FILE = "solutions.jsonl"


def solution_text(record: SolutionRecord, problem: Problem) -> SolutionText:
    """A problem's solution, with the author of every step."""
    end = record.terminal
    steps: list[tuple[str, Author]] = [(text, "given") for text in end.prefix]
    for item in record.decisions:
        if item.accepted is not None and item.author is not None:
            steps.append((item.accepted.text, item.author))
    return SolutionText(
        id=problem.id,
        prompt=problem.prompt,
        steps=tuple(text for text, _ in steps),
        authors=tuple(author for _, author in steps),
        answer=end.answer,
        reference=end.reference,
        correct=end.correct,
        reason=end.reason,
        error=end.error,
        tokens=end.tokens.model_dump(),
    )


def write_solutions(folder: str | Path, problems: Sequence[Problem]) -> Path:
    """Write the solutions of a run beside its traces, in the order of the problems."""
    ended = {record.terminal.problem: record for record in read_traces(folder)}
    texts = (solution_text(ended[problem.id], problem) for problem in problems if problem.id in ended)
    return write_text(Path(folder) / SOLUTIONS_FILE, solutions_text(texts))
