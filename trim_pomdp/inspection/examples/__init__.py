"""A few solutions that the lab's models wrote and its policies routed, to look at without running anything.

``README.md`` beside this file says where they come from and how they are made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trim_pomdp.artifacts import Record, read_json, validate
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.policies import PolicyArtifact
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.traces import read_trace

FOLDER = Path(__file__).parent
INDEX_FILE = "examples.json"
# Scores of labelled solutions, as one has them of a PRM of one's own (`read_step_scores`).
SCORES = FOLDER / "scores.jsonl"


class ExampleEntry(Record):
    """What the index says of an example.

    Attributes
    ----------
    name : str
    about : str
        What there is to see.
    family : str
        Of the lab; the files of its records and policy are named after it.
    problem : str
        Id of the problem.
    prompt : str
        What was asked.
    """

    name: str
    about: str
    family: str
    problem: str
    prompt: str


class ExampleIndex(Record):
    """All examples, in the order in which to look at them."""

    examples: tuple[ExampleEntry, ...]


@dataclass(frozen=True, repr=False)
class Example(Shown):
    """A recorded solution, and the policy that routed it: `inspect_solution(x.record, x.policy, prompt=x.prompt)`.

    Attributes
    ----------
    name, about, family, prompt : str
        See `ExampleEntry`.
    record : SolutionRecord
    policy : PolicyArtifact
    """

    name: str
    about: str
    family: str
    prompt: str
    record: SolutionRecord
    policy: PolicyArtifact

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {"name": self.name, "family": self.family, "about": self.about, **self.record.facts()}


def example_records(folder: Path = FOLDER) -> dict[str, Example]:
    """The examples by name, in the order in which to look at them.

    Parameters
    ----------
    folder : Path
        Where index, records and policies are; the shipped ones by default.

    Raises
    ------
    InputError
        If a file is damaged, or a record is not there.

    Examples
    --------
    >>> list(example_records())
    ['missed error', 'repaired', 'long and right', 'lost cause', 'made worse', 'found back']
    """
    path = folder / INDEX_FILE
    entries = validate(ExampleIndex, read_json(path), source=str(path)).examples
    families = sorted({entry.family for entry in entries})
    records = {
        (family, record.terminal.problem): record
        for family in families
        for record in read_trace(folder / records_file(family))
    }
    policies = {family: PolicyArtifact.read(folder / policy_file(family)) for family in families}
    out = {}
    for entry in entries:
        record = records.get((entry.family, entry.problem))
        if record is None:
            raise InputError(f"{folder / records_file(entry.family)}: no record of {entry.problem}")
        out[entry.name] = Example(entry.name, entry.about, entry.family, entry.prompt, record, policies[entry.family])
    return out


def records_file(family: str) -> str:
    """Name of the file of a family's records."""
    return f"{family}.jsonl"


def policy_file(family: str) -> str:
    """Name of the file of the policy that routed them."""
    return f"{family}.policy.json"
