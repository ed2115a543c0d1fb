"""The recorded solutions that ship with the package: ``python benchmarks/build_examples.py [--out FOLDER]``.

Routes 300 test problems of each of two families of the lab, live, under the policy for a budget of .2, and keeps those
solutions that the table below names. Beside them, a table of scores as one has them of a PRM of one's own: 200 weak
solutions of problems for fitting, scored, with log-probabilities and labels. Half a minute on two idle cores; needs the
extra ``lab``. Times are left out of the records, so that what is made anew is the same, up to the last digits of other
builds of PyTorch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

import trim_pomdp as tp
from trim_pomdp.artifacts import write_text
from trim_pomdp.inspection.examples import (
    FOLDER,
    INDEX_FILE,
    SCORES,
    ExampleEntry,
    ExampleIndex,
    policy_file,
    records_file,
)
from trim_pomdp.lab.problems import draw, parse_family
from trim_pomdp.lab.source import LabSource
from trim_pomdp.runtime.live import plan_for_budget
from trim_pomdp.runtime.records import DecisionRecord, SolutionRecord
from trim_pomdp.runtime.rollouts import labelled_scores

BUDGET, PROBLEMS, SEED = 0.2, 300, 0
SCORED_FAMILY, SCORED, PRM_NAME = "mixed", 200, "my-prm"
# (name, family, number of the problem, what there is to see)
CHOSEN = (
    (
        "missed error",
        "mixed",
        242,
        "The third step is wrong and looks right, by its score and by its log-probabilities. Nothing is spent, and "
        "the solution is believed right to the end.",
    ),
    (
        "repaired",
        "mixed",
        88,
        "The weak model multiplies where it should divide; the strong one writes the step anew, and the answer is "
        "right.",
    ),
    (
        "long and right",
        "loop",
        1,
        "Ten steps, three of them written anew: two that were right already, and one that was not.",
    ),
    (
        "lost cause",
        "loop",
        11,
        "The strong model fails at the second step too. One more step of a solution that is lost is bought before it "
        "is given up; from there on nothing is spent.",
    ),
    (
        "made worse",
        "loop",
        73,
        "A step that was right is written anew, wrong. The solution runs to the step cap; not ending where it should "
        "gives it away five steps later.",
    ),
    (
        "found back",
        "loop",
        10,
        "Derailed at the second step, and right after all: it ends where a right one does. The belief had given it up, "
        "until it ended.",
    ),
)


def main() -> None:
    """Route, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the models are so small that threads wait for each other
    prompts: dict[str, str] = {}
    for family in sorted({family for _, family, _, _ in CHOSEN}):
        ids = [problem_id(family, number) for _, chosen, number, _ in CHOSEN if chosen == family]
        prompts |= build(family, ids, out)
    index = ExampleIndex(
        examples=tuple(
            ExampleEntry(
                name=name,
                about=about,
                family=family,
                problem=problem_id(family, number),
                prompt=prompts[problem_id(family, number)],
            )
            for name, family, number, about in CHOSEN
        )
    )
    write_text(out / INDEX_FILE, index.model_dump_json(indent=1) + "\n")
    write_text(out / SCORES.name, scores_table())


def problem_id(family: str, number: int) -> str:
    """Id of a test problem of the lab."""
    return f"{family}-test-{SEED}-{number}"


def build(family: str, ids: list[str], out: Path) -> dict[str, str]:
    """Write records and policy of a family; the prompts of its problems."""
    plan = plan_for_budget(tp.load_preset(f"lab-{family}").routing_model(), BUDGET)
    problems = draw(parse_family(family), "test", SEED, PROBLEMS)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / family
        tp.run_live(plan, problems, LabSource(), folder, seed=SEED)
        records = {record.terminal.problem: record for record in tp.read_traces(folder)}
    lines = [line for problem in ids for line in timeless_lines(records[problem])]
    write_text(out / records_file(family), "".join(f"{line}\n" for line in lines))
    plan.artifact.save(out / policy_file(family))
    return {problem.id: problem.prompt for problem in problems}


def scores_table() -> str:
    """Scored weak solutions with their labels, as `fit-observations --scores` takes them."""
    problems = draw(parse_family(SCORED_FAMILY), "fit", SEED, SCORED)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "weak"
        weak = tp.StrategyRule(strategy="weak")
        tp.run_live(weak, problems, LabSource(), folder, seed=SEED, record_scores=True)
        records = {record.terminal.problem: record for record in tp.read_traces(folder)}
    rows = [labelled_scores(records[problem.id], PRM_NAME) for problem in problems]
    return "".join(f"{json.dumps(rounded(row.model_dump()))}\n" for row in rows)


def rounded(value: Any) -> Any:
    """The same with six digits behind the point."""
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def timeless_lines(record: SolutionRecord) -> list[str]:
    """Lines of a trace, without the times: they are all that differs between two runs that are the same."""
    decisions = [timeless(item).model_dump_json() for item in record.decisions]
    end = record.terminal.model_copy(update={"elapsed_s": 0.0, "models_s": 0.0})
    return [*decisions, end.model_dump_json()]


def timeless(item: DecisionRecord) -> DecisionRecord:
    """A decision without the times of its models."""
    parts = {name: getattr(item, name) for name in ("weak", "strong", "scoring")}
    update = {name: part.model_copy(update={"seconds": 0.0}) for name, part in parts.items() if part is not None}
    return item.model_copy(update=update)


if __name__ == "__main__":
    main()
