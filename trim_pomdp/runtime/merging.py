"""Joining the finished shards of a run, of a rollout or of a scoring into what the whole job would have written.

The files are those of one run on all problems, in the order of the problems; times alone tell of the shards: every
session of a shard becomes one of the whole, so that ``wall_s`` is the time of all clients together.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from trim_pomdp.artifacts import require_writable, write_text
from trim_pomdp.data.problems import Problem, read_problems
from trim_pomdp.data.processbench import read_step_scores
from trim_pomdp.data.solutions import read_solution_texts
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.live import CLASS_TABLE_FILE, POLICY_FILE
from trim_pomdp.runtime.money import PRICES_FILE
from trim_pomdp.runtime.recording import Again
from trim_pomdp.runtime.records import TerminalRecord
from trim_pomdp.runtime.rollouts import PROBLEMS_FILE, ROLLOUT_FILES
from trim_pomdp.runtime.run import fingerprint
from trim_pomdp.runtime.scoring import shard_file
from trim_pomdp.runtime.shards import Shard, interleaved
from trim_pomdp.runtime.solutions import SOLUTIONS_FILE
from trim_pomdp.runtime.traces import (
    RUN_FILE,
    TRACE_FILE,
    RunArtifact,
    first_difference,
    read_run_artifact,
    trace_places,
)

_RESUME = "finish it by its own command with --resume"


@dataclass(frozen=True)
class _Part:
    """A shard that is to be joined."""

    path: Path
    shard: Shard
    config: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path, run: RunArtifact) -> _Part:
        shard = Shard.of_config(run.config)
        if shard is None:
            raise InputError(f"{path}: is no shard; it was made without --shard, so there is nothing to join")
        return cls(path, shard, {key: value for key, value in run.config.items() if key != "shard"})


def merge_runs(folders: Sequence[Path], out: Path) -> None:
    """Join the shards of a run or a rollout into one folder.

    Parameters
    ----------
    folders : sequence of Path
        All shards, in any order.
    out : Path
        A folder that is not there yet; it is written whole or not at all.

    Raises
    ------
    InputError
        If `out` exists; or the folders are not all the shards of one run, each once and finished.
    """
    if out.exists():
        raise InputError(f"{out}: exists; name a folder that is not there yet")
    require_writable(out)
    parts = _in_order([_Part.of(folder, read_run_artifact(folder)) for folder in folders])
    config = parts[0].config
    problems = _problems(parts)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name[:100]}."))
    try:
        RunArtifact.of(config).save(temporary / RUN_FILE)
        _join_traces(parts, [item.id for item in problems], temporary / TRACE_FILE)
        for name in (POLICY_FILE, CLASS_TABLE_FILE, PROBLEMS_FILE):
            if _all_have(parts, name):
                write_text(temporary / name, _same(parts, name))
        if _all_have(parts, PRICES_FILE) and len({(part.path / PRICES_FILE).read_bytes() for part in parts}) == 1:
            shutil.copyfile(parts[0].path / PRICES_FILE, temporary / PRICES_FILE)  # prices define no run
        if config.get("mode") == "run":
            _write_lines(
                temporary / SOLUTIONS_FILE, interleaved([_lines(part.path / SOLUTIONS_FILE) for part in parts])
            )
        else:
            _join_rollout(parts, problems, temporary)
        temporary.chmod(parts[0].path.stat().st_mode & 0o777)  # mkdtemp makes folders private
        temporary.rename(out)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None
        raise


def merge_scores(files: Sequence[Path], out: Path) -> int:
    """Join the shards of a scoring into one file; returns how many solutions it holds.

    Parameters
    ----------
    files : sequence of Path
        What `score --shard` wrote, all shards in any order, each with its ``.shard.json`` beside it.
    out : Path
        A file that is not there yet; it is written whole or not at all.

    Raises
    ------
    InputError
        If `out` exists; or the files are not all the shards of one scoring, each once and finished.
    """
    if out.exists():
        raise InputError(f"{out}: exists; name a file that is not there yet")
    require_writable(out)
    parts = _in_order([_Part.of(file, _scoring(file)) for file in files])
    total = parts[0].config["solutions"]["count"]
    seen: set[str] = set()
    for part in parts:
        found = [item.id for item in read_step_scores(part.path)] if part.path.stat().st_size else []
        _require_finished(part, len(found), total, "solutions")
        if doubles := seen.intersection(found):
            raise InputError(f"{part.path}: holds scores of {min(doubles)}, which another shard has too")
        seen.update(found)
    _write_lines(out, interleaved([_lines(part.path) for part in parts]))
    return total if isinstance(total, int) else len(seen)


def _scoring(file: Path) -> RunArtifact:
    path = shard_file(file)
    if not path.is_file():
        raise InputError(f"{file}: is no shard of a scoring (there is no {path.name} beside it)")
    return RunArtifact.read(path)


def _in_order(parts: Sequence[_Part]) -> list[_Part]:
    """Parts by their index; `InputError` unless they are the shards of one job, all of them, each once."""
    first = parts[0]
    by_index: dict[int, _Part] = {}
    for part in parts:
        if part.shard.count != first.shard.count:
            raise InputError(f"{part.path}: is shard {part.shard}, but {first.path} is shard {first.shard}")
        if part.config != first.config:
            difference = first_difference(first.config, part.config)
            raise InputError(f"{part.path}: is a shard of another run than {first.path}; {difference}")
        if part.shard.index in by_index:
            raise InputError(f"{part.path}: is shard {part.shard}, and so is {by_index[part.shard.index].path}")
        by_index[part.shard.index] = part
    absent = [str(i) for i in range(1, first.shard.count + 1) if i not in by_index]
    if absent:
        raise InputError(
            f"{len(parts)} of {first.shard.count} shards are given; absent: {', '.join(absent[:10])}"
            + (", …" if len(absent) > 10 else "")
        )
    return [by_index[index] for index in sorted(by_index)]


def _require_finished(part: _Part, found: int, total: int, noun: str) -> None:
    if found != (expected := part.shard.size(total)):
        raise InputError(f"{part.path}: is not finished ({found} of {expected} {noun}); {_RESUME}")


def _problems(parts: Sequence[_Part]) -> list[Problem]:
    """The problems of the whole run, in order, as its shards know them."""
    known = parts[0].config["problems"]
    if parts[0].config.get("mode") == "run":
        for part in parts:
            _require(part, SOLUTIONS_FILE)
        texts = [read_solution_texts(part.path / SOLUTIONS_FILE) for part in parts]
        for part, found in zip(parts, texts, strict=True):
            _require_finished(part, len(found), known["count"], "problems")
        problems = [Problem(item.id, item.prompt, item.reference) for item in interleaved(texts)]
    else:
        for part in parts:
            _require(part, PROBLEMS_FILE)
        problems = read_problems(parts[0].path / PROBLEMS_FILE)
    if fingerprint(problems) != known:
        name = SOLUTIONS_FILE if parts[0].config.get("mode") == "run" else PROBLEMS_FILE
        raise InputError(f"{parts[0].path / name}: is not what the run wrote; it tells of other problems")
    return problems


def _require(part: _Part, name: str) -> None:
    if not (part.path / name).is_file():
        raise InputError(f"{part.path}: holds no {name}, so it is not finished; {_RESUME}")


def _join_traces(parts: Sequence[_Part], order: Sequence[str], out: Path) -> None:
    """Write the traces of all problems, in order; a trace is not held in memory."""
    places: dict[str, tuple[int, int, int, int]] = {}
    sessions = 0
    for number, part in enumerate(parts):
        ended = list(trace_places(part.path))
        _require_finished(part, len(ended), len(order), "problems")
        for terminal, begin, end in ended:
            places[terminal.problem] = (number, begin, end, sessions + terminal.session)
        sessions += 1 + max(terminal.session for terminal, _, _ in ended)
    if strangers := places.keys() - set(order):
        raise InputError(f"{parts[places[min(strangers)][0]].path}: holds problem {min(strangers)!r} of another set")
    with ExitStack() as stack:
        streams = [stack.enter_context((part.path / TRACE_FILE).open("rb")) for part in parts]
        writer = stack.enter_context(out.open("wb"))
        for problem in order:
            number, begin, end, session = places[problem]
            streams[number].seek(begin)
            *decisions, last = streams[number].read(end - begin).splitlines(keepends=True)
            terminal = TerminalRecord.model_validate_json(last).model_copy(update={"session": session})
            writer.write(b"".join([*decisions, terminal.model_dump_json().encode(), b"\n"]))


def _join_rollout(parts: Sequence[_Part], problems: Sequence[Problem], out: Path) -> None:
    """Write the files of a rollout: weak and strong solutions by problem id, repairs and redrafts in their order."""
    mode = str(parts[0].config.get("mode"))
    for part in parts:
        _require(part, f"{mode}.jsonl")
    place = {item.id: index for index, item in enumerate(problems)}
    order: Callable[[str], Any] = place.__getitem__ if mode in get_args(Again) else str
    for name in ROLLOUT_FILES:
        if not _all_have(parts, name):
            continue
        rows = [_rollout_line(line, part.path / name) for part in parts for line in _lines(part.path / name)]
        if strangers := [problem for problem, _, _ in rows if problem not in place]:
            raise InputError(f"{name}: problem {strangers[0]!r} is none of the rollout's")
        if len({labelled for _, labelled, _ in rows}) > 1:
            raise InputError(
                f"{name}: some shards were made with --labels, others without; write them alike (--resume)"
            )
        _write_lines(out / name, [line for _, _, line in sorted(rows, key=lambda row: order(row[0]))])


def _rollout_line(line: str, path: Path) -> tuple[str, bool, str]:
    """Problem of a line, whether it has a label, and the line."""
    import json

    try:
        record = json.loads(line)
        return record["id"].rpartition("/")[0], "label" in record or "class" in record, line
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: a line is no record of a rollout ({error!r})") from None


def _all_have(parts: Sequence[_Part], name: str) -> bool:
    """Whether the shards have a file; `InputError` where some have and others have not."""
    without = [part for part in parts if not (part.path / name).is_file()]
    if without and len(without) < len(parts):
        raise InputError(f"{without[0].path}: holds no {name}, but other shards do; make them all alike (--resume)")
    return not without


def _same(parts: Sequence[_Part], name: str) -> str:
    """A file that all shards have alike."""
    texts = [(part.path / name).read_text(encoding="utf-8") for part in parts]
    for part, text in zip(parts, texts, strict=True):
        if text != texts[0]:
            raise InputError(f"{part.path / name}: differs from {parts[0].path / name}; these are not one run")
    return texts[0]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
