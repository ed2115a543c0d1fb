"""What takes part in a bench: strategies as settled rules, one for every budget that was asked for, as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trim_pomdp.artifacts import Artifact, Record
from trim_pomdp.policies import PlannedPoint
from trim_pomdp.policies.base import AnyRule, Rule


@dataclass(frozen=True)
class Settled:
    """A rule for a budget: `Entry`, but for the name."""

    asked_budget: float | None
    rule: Rule
    planned: PlannedPoint | None = None


class Entry(Record):
    """A point of a strategy: a rule, settled before any test problem is seen.

    Attributes
    ----------
    strategy : str
        Its name.
    asked_budget : float or None
        Share of strong-only's tokens that it was made for; None where nothing can be asked for, as of weak-only.
    rule : Rule
        What decides.
    planned : PlannedPoint or None
        What a model expects of it, where it was planned in one.
    """

    strategy: str
    asked_budget: float | None = None
    rule: AnyRule
    planned: PlannedPoint | None = None


class Entries(Artifact):
    """All that take part.

    Attributes
    ----------
    config_hash : str
        Of what defines the bench.
    entries : tuple of Entry
    left_out : dict of str to str
        Strategies that were asked for and cannot take part, and why.
    """

    kind: Literal["bench-entries"] = "bench-entries"
    config_hash: str
    entries: tuple[Entry, ...]
    left_out: dict[str, str] = {}

    def by_strategy(self) -> dict[str, tuple[Entry, ...]]:
        """Entries by the name of their strategy, in the order of both."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.strategy, []).append(entry)
        return {name: tuple(entries) for name, entries in found.items()}

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            **{name: len(entries) for name, entries in self.by_strategy().items()},
            "left out": ", ".join(self.left_out) or None,
        }


def distinct(rules: Sequence[AnyRule]) -> list[AnyRule]:
    """Rules, each once, in order."""
    return list({rule.policy_hash: rule for rule in rules}.values())
