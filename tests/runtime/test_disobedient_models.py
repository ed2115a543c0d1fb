"""When models do not write as they are asked to, a run says so in one line with the remedy."""

import dataclasses

import pytest

from trim_pomdp.runtime.records import TerminalRecord, TokenCounts
from trim_pomdp.runtime.summary import RunSummary, disobedience, summarise


def ended(reason: str, steps: int, n: int) -> list[TerminalRecord]:
    error = "E" if reason == "error" else None
    return [
        TerminalRecord.model_validate(
            {
                "problem": f"{reason}-{steps}-{i}",
                "reason": reason,
                "steps": steps,
                "regenerations": 0,
                "degenerate": 0,
                "tokens": TokenCounts(),
                "policy_hash": "h",
                "error": error,
            }
        )
        for i in range(n)
    ]


def summary(*groups: list[TerminalRecord]) -> RunSummary:
    return summarise([item for group in groups for item in group])


def test_models_that_obey() -> None:
    assert disobedience(summary(ended("answer", 5, 9), ended("no answer", 5, 1), ended("answer", 1, 4))) == ()
    assert disobedience(summary(ended("answer", 1, 4))) == (), "too few to judge by"
    assert disobedience(summary(ended("error", 0, 20), ended("answer", 3, 6))) == (), "failures are told elsewhere"


@pytest.mark.parametrize("reason", ["no answer", "step cap", "degenerate"])
def test_no_boxes(reason: str) -> None:
    (line,) = disobedience(summary(ended(reason, 5, 7), ended("answer", 5, 3)))
    assert line.startswith("7 of 10 solutions end without an answer in a box")
    assert r"\boxed{} (system_prompt)" in line


def test_one_step_solutions() -> None:
    told = disobedience(summary(ended("answer", 1, 8), ended("answer", 2, 2), ended("error", 1, 3)))
    (line,) = told
    assert line.startswith("8 of 10 solutions are a single step")
    assert '[steps] separator = "newline"' in line
    both = disobedience(summary(ended("no answer", 1, 10)))
    assert len(both) == 2
    assert all("\n" not in item for item in both)


def test_the_count_of_one_step_solutions() -> None:
    assert summary(ended("answer", 1, 3), ended("error", 1, 2), ended("answer", 2, 1)).one_step == 3
    assert "one_step" in {item.name for item in dataclasses.fields(RunSummary)}
