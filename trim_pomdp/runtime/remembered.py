"""Models that remember: what was asked before is looked up, and not asked again.

A reply belongs to all that decides it: which model it is of, and the request, which names seed, problem, step and
draft. So strategies that meet the same steps share what models made of them, and no random draw passes for another:
a second draft of a step, or the same step under another seed, is another request. The memory is one SQLite file, which
outlives a killed process; every batch of replies is written in one transaction. Time is not remembered: what is looked
up takes none.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import Author, Role
from trim_pomdp.runtime.attempt import Caps, Oracle
from trim_pomdp.runtime.protocols import (
    BatchGenerator,
    BatchScorer,
    Closable,
    GeneratedStep,
    Generator,
    ScoreRequest,
    ServedModel,
    SolutionScores,
    StepRequest,
    StepScorer,
    Usage,
)
from trim_pomdp.runtime.sources import Backends, ModelSource
from trim_pomdp.text.format import StepFormat

_AT_ONCE = 500  # variables of one statement
Request = TypeVar("Request", StepRequest, ScoreRequest)
Reply = TypeVar("Reply", GeneratedStep, SolutionScores)


class Memory:
    """Replies by their key, in one file.

    Parameters
    ----------
    path : path
        The file; made if it is absent.

    Attributes
    ----------
    asked, found : int
        How many requests there were, and how many of them were answered from memory.

    Raises
    ------
    InputError
        If the file is there and no memory.
    """

    def __init__(self, path: str | Path) -> None:
        self.asked = self.found = 0
        self._lock = Lock()  # models answer in another thread than the one that made this
        try:
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute("CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be used as a memory of replies ({error})") from None

    def look_up(self, keys: Sequence[bytes]) -> dict[bytes, str]:
        """Replies that are known, as JSON, by their key."""
        out: dict[bytes, str] = {}
        with self._lock:
            for first in range(0, len(keys), _AT_ONCE):
                some = keys[first : first + _AT_ONCE]
                marks = ",".join("?" * len(some))
                with closing(
                    self._file.execute(f"SELECT key, reply FROM replies WHERE key IN ({marks})", some)
                ) as rows:
                    out.update(rows)
            self.asked += len(keys)
            self.found += sum(key in out for key in keys)
        return out

    def keep(self, replies: Iterable[tuple[bytes, str]]) -> None:
        """Remember replies; of two to one request, made at once, the first."""
        with self._lock:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?)", replies)
            self._file.execute("COMMIT")

    def __len__(self) -> int:
        with self._lock:
            return int(self._file.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@dataclass(frozen=True)
class _Kept:
    """What the replies of one model are kept as."""

    memory: Memory
    model: str  # all that defines it

    def key(self, *parts: Hashable) -> bytes:
        text = json.dumps([self.model, *parts], ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=20).digest()

    def answers(
        self,
        requests: Sequence[Request],
        key_of: Callable[[Request], bytes],
        read: Callable[[str], Reply],
        ask: Callable[[list[Request]], list[Reply]],
    ) -> list[Reply]:
        """Replies to requests; the model is asked those that nobody asked before, each once."""
        keys = [key_of(request) for request in requests]
        known = {key: read(text) for key, text in self.memory.look_up(keys).items()}
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        if new:
            replies = dict(zip(new, ask(list(new.values())), strict=True))
            self.memory.keep((key, _written(reply)) for key, reply in replies.items())
            known.update(replies)
        return [known[key] for key in keys]

    async def answer(self, key: bytes, read: Callable[[str], Reply], ask: Callable[[], Any]) -> Reply:
        """As `answers`, of one request to a model elsewhere."""
        found = self.memory.look_up([key])
        if key in found:
            return read(found[key])
        reply: Reply = await ask()
        self.memory.keep([(key, _written(reply))])
        return reply


def _written(reply: GeneratedStep | SolutionScores) -> str:
    return json.dumps(asdict(reply))


def _step(text: str) -> GeneratedStep:
    found = json.loads(text)
    usage = found["usage"] and Usage(**found["usage"])
    return GeneratedStep(found["text"], tuple(found["logprobs"]), found["stop"], usage)


def _scores(text: str) -> SolutionScores:
    found = json.loads(text)
    return SolutionScores(tuple(found["scores"]), found["tokens"], found["cached"])


@dataclass(frozen=True)
class _RememberingGenerator:
    kept: _Kept
    role: Author

    def _key(self, request: StepRequest) -> bytes:
        # The drafts themselves, and not their number alone: servers may be shown what was discarded.
        asked = (request.problem.prompt, request.steps, request.drafts, request.max_tokens, astuple(request.format))
        return self.kept.key(request.seed, request.key(self.role), asked)


@dataclass(frozen=True)
class BatchedRememberingGenerator(_RememberingGenerator):
    """A generator of this process that remembers (a `BatchGenerator`)."""

    model: BatchGenerator

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        """See `BatchGenerator`."""
        return self.kept.answers(requests, self._key, _step, self.model.generate_batch)


@dataclass(frozen=True)
class _Elsewhere:
    """What of a model elsewhere is not remembered."""

    model: Any

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `ServedModel`."""
        return self.model.facts if isinstance(self.model, ServedModel) else {}

    @property
    def faults(self) -> Mapping[str, int]:
        """See `ServedModel`."""
        return self.model.faults if isinstance(self.model, ServedModel) else {}

    async def close(self) -> None:
        """See `Closable`."""
        if isinstance(self.model, Closable):
            await self.model.close()


@dataclass(frozen=True)
class RememberingGenerator(_Elsewhere, _RememberingGenerator):
    """A generator elsewhere that remembers (a `Generator`)."""

    async def generate(self, request: StepRequest) -> GeneratedStep:
        """See `Generator`."""
        return await self.kept.answer(self._key(request), _step, lambda: self.model.generate(request))


@dataclass(frozen=True)
class _RememberingScorer:
    kept: _Kept

    def _key(self, request: ScoreRequest) -> bytes:
        return self.kept.key(request.problem.id, request.problem.prompt, request.steps, astuple(request.format))


@dataclass(frozen=True)
class BatchedRememberingScorer(_RememberingScorer):
    """A process reward model of this process that remembers (a `BatchScorer`)."""

    model: BatchScorer

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        """See `BatchScorer`."""
        return self.kept.answers(requests, self._key, _scores, self.model.score_batch)


@dataclass(frozen=True)
class RememberingScorer(_Elsewhere, _RememberingScorer):
    """A process reward model elsewhere that remembers (a `StepScorer`)."""

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer`."""
        return await self.kept.answer(self._key(request), _scores, lambda: self.model.score(request))


@dataclass(frozen=True)
class RememberingSource:
    """The models of another source, with a memory (a `ModelSource`); each is loaded once.

    Attributes
    ----------
    source : ModelSource
    memory : Memory
    """

    source: ModelSource
    memory: Memory
    _loaded: dict[Role, Any] = field(default_factory=dict, repr=False)

    @property
    def caps(self) -> Caps:
        """See `ModelSource`."""
        return self.source.caps

    @property
    def oracle(self) -> Oracle | None:
        """See `ModelSource`."""
        return self.source.oracle

    @property
    def prm_name(self) -> str:
        """See `ModelSource`."""
        return self.source.prm_name

    @property
    def format(self) -> StepFormat:
        """See `ModelSource`."""
        return self.source.format

    @property
    def checker(self) -> str:
        """See `ModelSource`."""
        return self.source.checker

    def require(self, roles: Collection[Role]) -> None:
        """See `ModelSource`."""
        self.source.require(roles)

    def config(self, roles: Collection[Role]) -> dict[str, Any]:
        """See `ModelSource`."""
        return self.source.config(roles)

    def load(self, roles: Collection[Role]) -> Backends:
        """See `ModelSource`."""
        for role in sorted(set(roles) - set(self._loaded)):
            self._loaded[role] = self._remembering(role)
        return Backends(**{role: self._loaded[role] for role in roles})

    def _remembering(self, role: Role) -> Any:
        model = getattr(self.source.load([role]), role)
        kept = _Kept(self.memory, json.dumps(self.source.config([role]), sort_keys=True))
        if role == "prm":
            if isinstance(model, BatchScorer):
                return BatchedRememberingScorer(kept, model)
            return RememberingScorer(kept=kept, model=cast(StepScorer, model))
        if isinstance(model, BatchGenerator):
            return BatchedRememberingGenerator(kept, role, model)
        return RememberingGenerator(kept=kept, role=role, model=cast(Generator, model))
