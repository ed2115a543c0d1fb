"""Traces: a run on disk, as one folder with one writer.

``run.json`` holds the run's configuration, everything that defines it, and its hash; a run is resumed under the same
configuration or not at all. Further files may say the same at length (the policy, the problems). ``traces.jsonl`` is
append-only: when a problem ends, its decision records and its terminal record are written together. ``.lock`` is
locked (flock) as long as the writer lives.

*What is lost.* If the process dies, by ``kill -9`` at any moment, the problems in flight and nothing else: their
models' work is repeated on resuming, finished problems are not. If the machine dies, also what ended since the last
fsync, which follows a terminal record no more often than every second, and the end of the run. On resuming, whatever
stands after the last terminal record (a half-written line, decisions without their end) is cut off; a whole line
that is no record is no trace of a kill, and refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from io import FileIO
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, BinaryIO, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError

from trim_pomdp.artifacts import Artifact, write_text
from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.runtime.records import DecisionRecord, SolutionRecord, TerminalRecord

RUN_FILE, TRACE_FILE, LOCK_FILE = "run.json", "traces.jsonl", ".lock"
_FSYNC_SECONDS = 1.0
_LINE: TypeAdapter[DecisionRecord | TerminalRecord] = TypeAdapter(
    Annotated[DecisionRecord | TerminalRecord, Field(discriminator="kind")]
)


class RunArtifact(Artifact):
    """What defines a run.

    Attributes
    ----------
    config : dict
        Everything that defines it.
    config_hash : str
        SHA-256 of the configuration as canonical JSON.
    """

    kind: Literal["run"] = "run"
    config: dict[str, Any]
    config_hash: str

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> RunArtifact:
        """The artifact of a configuration of JSON values."""
        text = json.dumps(config, sort_keys=True, allow_nan=False)
        return cls(config=json.loads(text), config_hash=hashlib.sha256(text.encode()).hexdigest())


class TraceWriter:
    """The one writer of a run's folder; a context manager.

    Parameters
    ----------
    folder : path
        The run. An absent folder starts the run afresh.
    config : mapping
        Everything that defines the run, as JSON values.
    resume : bool
        Go on with the run that an existing folder holds.
    files : mapping of str to str
        Texts that go into the folder beside ``run.json``, by file name; they follow from the configuration.

    Attributes
    ----------
    terminals : list of TerminalRecord
        How the problems ended that have ended so far, earlier sessions included.
    session : int
        How often the run had been resumed.

    Raises
    ------
    InputError
        If the folder exists and `resume` is False; holds no run, or one of another configuration (the message names
        what differs); another process writes to it; or a whole line of its trace is no record.
    """

    def __init__(
        self,
        folder: str | Path,
        config: Mapping[str, Any],
        *,
        resume: bool = False,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.terminals: list[TerminalRecord] = []
        run = RunArtifact.of(config)
        _open_folder(self.folder, resume)
        _refuse_others(self.folder, run)  # before a lock stays in a folder that is not ours
        self._lock = _locked(self.folder / LOCK_FILE)
        try:
            if not _refuse_others(self.folder, run):
                run.save(self.folder / RUN_FILE)
            for name, text in (files or {}).items():
                write_text(self.folder / name, text)
            self._stream = self._open_trace(self.folder / TRACE_FILE)
        except BaseException:
            self._lock.close()
            raise
        self.session = max((item.session + 1 for item in self.terminals), default=0)
        self._synced = monotonic()

    def _open_trace(self, path: Path) -> FileIO:
        whole = 0
        if path.exists():
            with path.open("rb") as stream:
                for solution, whole in _solutions(stream, path):  # noqa: B007
                    self.terminals.append(solution.terminal)
            os.truncate(path, whole)
        return path.open("ab", buffering=0)

    def append(self, solution: SolutionRecord) -> None:
        """Write an ended solution.

        Raises
        ------
        TrimError
            If the disk is full or the file cannot be written to.
        """
        lines = [item.model_dump_json() for item in (*solution.decisions, solution.terminal)]
        rest = memoryview("".join(f"{line}\n" for line in lines).encode())
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except OSError as error:  # what was half written is cut off by the next session
            path = self.folder / TRACE_FILE
            raise TrimError(f"{path}: cannot be written ({error.strerror or error}); make room and --resume") from None
        self.terminals.append(solution.terminal)
        if monotonic() - self._synced >= _FSYNC_SECONDS:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._stream.fileno())
        self._synced = monotonic()

    def close(self) -> None:
        """Sync, and let others write."""
        try:
            self._sync()
        finally:
            self._stream.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What went wrong before says more than that the rest cannot be synced either.
        with suppress(OSError) if kind is not None else nullcontext():
            self.close()


def read_run_artifact(folder: str | Path) -> RunArtifact:
    """What defines the run of a folder."""
    return RunArtifact.read(Path(folder) / RUN_FILE)


def read_traces(folder: str | Path) -> Iterator[SolutionRecord]:
    """The ended solutions of a run, in the order in which they ended, also while it goes on.

    Raises
    ------
    InputError
        If there is no trace, or a whole line of it is no record.
    """
    yield from read_trace(Path(folder) / TRACE_FILE)


def read_trace(path: str | Path) -> Iterator[SolutionRecord]:
    """The ended solutions of a trace that stands on its own, outside of a run's folder; see `read_traces`."""
    with _opened(Path(path)) as stream:
        for solution, _ in _solutions(stream, Path(path)):
            yield solution


def trace_places(folder: str | Path) -> Iterator[tuple[TerminalRecord, int, int]]:
    """How the problems of a run ended, each with the offsets in the trace at which its lines begin and end.

    Raises
    ------
    InputError
        As `read_traces`.
    """
    path, begin = Path(folder) / TRACE_FILE, 0
    with _opened(path) as stream:
        for solution, end in _solutions(stream, path):
            yield solution.terminal, begin, end
            begin = end


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _solutions(stream: BinaryIO, path: Path) -> Iterator[tuple[SolutionRecord, int]]:
    """Ended solutions, each with the offset at which it ends; a half-written last line is passed over."""
    decisions: list[DecisionRecord] = []
    end = 0
    for number, line in enumerate(stream, start=1):
        if not line.endswith(b"\n"):
            return
        end += len(line)
        try:
            record = _LINE.validate_json(line)
        except ValidationError as error:
            finding = error.errors(include_url=False)[0]
            where = ".".join(map(str, finding["loc"]))
            raise InputError(f"{path}, line {number}: no trace record ({where or 'line'}: {finding['msg']})") from None
        if isinstance(record, DecisionRecord):
            decisions.append(record)
            continue
        yield SolutionRecord(tuple(decisions), record), end
        decisions = []


def run_folder(path: str | Path) -> Path | None:
    """The folder of a run that a path names, itself or by a file in it; None where it names another file, or nothing.

    Raises
    ------
    InputError
        If it is a folder that holds no run; the message names runs inside of it.
    """
    path = Path(path)
    if not path.is_dir():
        return path.parent if path.name in (RUN_FILE, TRACE_FILE) and path.is_file() else None
    if not (path / RUN_FILE).is_file():
        inside = sorted(item.parent.name for item in path.glob(f"*/{RUN_FILE}"))
        where = f"; there are runs in {', '.join(inside)}" if inside else ""
        raise InputError(f"{path}: is a folder without {RUN_FILE}, so it holds no run{where}")
    return path


def require_run_folder(path: str | Path) -> Path:
    """The folder of a run, as `run_folder` finds it.

    Raises
    ------
    InputError
        If there is no run.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such run")
    if (folder := run_folder(path)) is None:
        raise InputError(f"{path}: is no folder of a run")
    return folder


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse, before long work, a folder that a run would not be written to.

    Raises
    ------
    InputError
        If the folder exists and `resume` is False, or is none.
    """
    if folder.exists():
        if not resume:
            raise InputError(f"{folder}: exists; resume the run in it (--resume), or name another folder")
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder")


def _open_folder(folder: Path, resume: bool) -> None:
    check_folder(folder, resume=resume)
    try:
        folder.mkdir(parents=True, exist_ok=resume)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror or error})") from None


def _locked(path: Path) -> BinaryIO:
    """The lock, held until the file is closed or the process dies."""
    import fcntl

    try:
        stream = path.open("a+b")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.seek(0)
        owner = stream.read().decode(errors="replace").strip() or "unknown"
        stream.close()
        raise InputError(f"{path.parent}: another process ({owner}) writes to this run") from None
    stream.truncate(0)
    stream.write(str(os.getpid()).encode())
    stream.flush()
    return stream


def _refuse_others(folder: Path, run: RunArtifact) -> bool:
    """Whether the folder holds this run; False where it holds nothing; `InputError` where it holds anything else."""
    path = folder / RUN_FILE
    if not path.exists():
        strangers = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
        if strangers:
            raise InputError(f"{folder}: holds no run ({RUN_FILE} is absent, {strangers[0]} is there)")
        return False
    before = RunArtifact.read(path)
    if before.config_hash != run.config_hash:
        raise InputError(f"{folder}: is another run; {first_difference(before.config, run.config)}")
    return True


def first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of a configuration is another one now, as a phrase."""
    old, new = _flat(before), _flat(now)
    for key in sorted({*old, *new}):
        if key not in old or key not in new or old[key] != new[key]:
            return f"its {key} is {old.get(key, 'unset')!r:.80}, now {new.get(key, 'unset')!r:.80}"
    return "its configuration differs"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            out.update(_flat(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out
