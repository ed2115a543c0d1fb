"""What `trim_pomdp.runtime.check` finds, and how a model can look into itself for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from trim_pomdp.policies.base import Role
from trim_pomdp.runtime.protocols import ScoreRequest

State = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Verdict:
    """What was found of one thing that a run takes for granted.

    Attributes
    ----------
    role : {"weak", "strong", "prm"}
    what : str
        The thing.
    state : {"good", "note", "bad"}
        Bad: a run would fail, or mean nothing. Note: it would work, but not everything would.
    found : str
    remedy : str
        What to do about it; empty where nothing need be done.
    """

    role: Role
    what: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """A verdict of a model on itself, which does not know its role."""

    what: str
    state: State
    found: str
    remedy: str = ""

    def of(self, role: Role) -> Verdict:
        """The verdict."""
        return Verdict(role, self.what, self.state, self.found, self.remedy)


@runtime_checkable
class SelfExamining(Protocol):
    """A model that can ask its servers what they are."""

    async def examine(self, request: ScoreRequest, max_tokens: int) -> list[Finding]:
        """Look into what only the backend knows of, with a solution at hand, and the most tokens of a step."""
        ...
