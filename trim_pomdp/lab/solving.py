"""Solutions of lab problems, written by one model alone or continued by the other, in large batches."""

from __future__ import annotations

from collections.abc import Sequence

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import TrimError
from trim_pomdp.lab.models import FORMAT, MAX_STEP_TOKENS, LabModels, true_class
from trim_pomdp.lab.problems import MAX_STEPS
from trim_pomdp.policies import StrategyRule
from trim_pomdp.runtime.attempt import Attempt, Caps
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.loops import run_to_end
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing

IN_FLIGHT = 256
CAPS = Caps(max_steps=MAX_STEPS, max_step_tokens=MAX_STEP_TOKENS)


def solve(problems: Sequence[Problem], models: LabModels, *, strong: bool, seed: int) -> list[SolutionRecord]:
    """Solutions by the weak or the strong model alone, with true classes, in the order of the problems.

    Raises
    ------
    TrimError
        If a model fails.
    """
    rule = StrategyRule(strategy="strong" if strong else "weak")
    routing = Routing(rule, seed=seed, caps=CAPS, oracle=true_class, format=FORMAT)
    return run_solutions([routing.start(problem) for problem in problems], models)


def run_solutions(solutions: Sequence[Attempt], models: LabModels) -> list[SolutionRecord]:
    """Bring solutions to their ends; in the order in which they were given."""
    waiting = {solution.problem.id: solution for solution in solutions}
    records: dict[str, SolutionRecord] = {}

    def finished(record: SolutionRecord) -> None:
        if record.terminal.error:
            raise TrimError(f"{record.terminal.problem}: {record.terminal.error}")
        records[record.terminal.problem] = record

    run_to_end(
        solve_all(
            [solution.problem for solution in solutions],
            lambda problem: waiting[problem.id],
            batched(models.weak, models.strong, models.prm),
            finished,
            in_flight=IN_FLIGHT,
        )
    )
    return [records[solution.problem.id] for solution in solutions]


def texts(record: SolutionRecord) -> list[str]:
    """Steps of a solution."""
    return [item.accepted.text for item in record.decisions if item.accepted]
