"""Shards: how several client machines share a job, each with a part of the problems.

Shard i of n takes every n-th item from the i-th on, so that shards are as long as each other, and alike where items are
sorted by difficulty. Draws are keyed by problem, so that no shard's results depend on the others
(`trim_pomdp.runtime.merging` joins them).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from trim_pomdp.errors import InputError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """A part of a job.

    Attributes
    ----------
    index : int
        Which part, from 1.
    count : int
        How many there are.

    Raises
    ------
    InputError
        Unless 1 ≤ index ≤ count.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(f"shard {self}: expected i/n with 1 ≤ i ≤ n")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """A shard as people write it, ``"2/8"``.

        Raises
        ------
        InputError
            If it is none.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise InputError(f"shard {text!r}: expected i/n with 1 ≤ i ≤ n, such as 2/8")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Shard | None:
        """The shard that a run's configuration names, if it is one."""
        known = config.get("shard")
        return None if known is None else cls(known["index"], known["count"])

    @property
    def config(self) -> dict[str, Any]:
        """What a run's configuration says of it beside what the whole run's says."""
        return {"shard": asdict(self)}

    def size(self, total: int) -> int:
        """How many of so many items it takes."""
        return len(range(self.index - 1, total, self.count))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Its items.

        Raises
        ------
        InputError
            If there are fewer items than shards.
        """
        if len(items) < self.count:
            raise InputError(f"shard {self}: there are only {len(items)} items; take at most as many shards")
        return items[self.index - 1 :: self.count]


def interleaved(parts: Sequence[Sequence[Item]]) -> list[Item]:
    """The items of all shards, in order, as they stood before `Shard.of`."""
    longest = max(map(len, parts), default=0)
    return [part[row] for row in range(longest) for part in parts if row < len(part)]
