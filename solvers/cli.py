"""Command line: ``python -m solvers solve tiger.pomdp``. Results on stdout, progress and errors on stderr.

Bad input ends in one line and exit code 2, Ctrl-C before there is a result in exit code 130; no file is half-written,
and what was found is printed before it is written.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from solvers.errors import SolverError
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.solution import shown

if TYPE_CHECKING:
    from solvers.pomdp import POMDP
    from solvers.solution import Solution

_PLAIN = {"±": "+/-", "≤": "<=", "…": "...", "×": "x", "·": "*"}
_METHODS = "qmdp,fib,blind,perseus,sarsop"
_METHODS_OF_A_HORIZON = "epochs,exact"
_PRECISION = 1e-3
_MANY = 12  # names that `info` lists before it says how many more there are


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], dict[str, Any]] = options.command
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            found = command(options)
            text, then = found.pop("text"), found.pop("then", None)
            _put(json.dumps(found) if options.json else text, sys.stdout)
            if then is not None:
                then()
    except (SolverError, OSError) as error:
        _put(f"error: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        _put("interrupted", sys.stderr)
        return 130
    return 0


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _put(f"warning: {message}", sys.stderr)


def _put(text: str, stream: TextIO) -> None:
    """Print a line, in the signs that the stream has."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, plain in _PLAIN.items():
            text = text.replace(sign, plain)
        text = text.encode(encoding, "replace").decode(encoding)
    print(text, file=stream, flush=True)


# Commands -------------------------------------------------------------------------------------------------------


def _solve(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read
    from solvers.policy_files import check_policy_file, policy_paths, write_policy

    pomdp = read(options.file)
    if options.out is not None:
        check_policy_file(options.out, pomdp, options.horizon or pomdp.horizon)
        for path in policy_paths(options.out):
            _check_writable(path, options.force)
    solution = _solved(pomdp, options, options.method)
    found = {**solution.summary(), "text": str(solution)}
    return found if options.out is None else {**found, "then": lambda: write_policy(solution.policy, options.out)}


def _solved(pomdp: "POMDP", options: argparse.Namespace, method: str | None) -> "Solution":
    from solvers.solving import solve

    with _Progress(sys.stderr, options.quiet or options.json) as progress:
        return solve(
            pomdp,
            method or "auto",
            precision=options.precision or _PRECISION,
            time_limit=options.time_limit,
            horizon=options.horizon,
            seed=options.seed,
            progress=progress.show,
            report=progress.report,
        )


def _info(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read

    p = read(options.file)
    facts = {
        "states": p.n_states,
        "actions": p.n_actions,
        "observations": p.n_observations,
        "discount": p.discount,
        "horizon": p.horizon,
        "transitions": sum(int(matrix.nnz) for matrix in p.transition),
        "observation_entries": sum(int(matrix.nnz) for matrix in p.observation),
        "rewards": [float(p.reward.min()), float(p.reward.max())],
        "rewards_by_outcome": p.rewards is not None,
        "start_states": int((p.start > 0).sum()),
        "terminal_states": int(p.terminal.sum()),
        "observed_values": None if p.observed is None else int(p.observed.max()) + 1,
    }
    names = {"state": p.states, "action": p.actions, "observation": p.observations}
    lines = [
        f"{p.n_states} states, {p.n_actions} actions, {p.n_observations} observations, discount {p.discount:g}"
        + ("" if p.horizon is None else f", horizon {p.horizon}"),
        f"probabilities: {facts['transitions']} of transitions, {facts['observation_entries']} of observations",
        f"rewards from {p.reward.min():g} to {p.reward.max():g}"
        + (", which depend on what follows too" if p.rewards is not None else ""),
        f"start: {facts['start_states']} states are possible; {facts['terminal_states']} states are terminal",
        *(f"{kind}s: {_listed(items)}" for kind, items in names.items()),
    ]
    if p.observed is not None:
        lines.append(f"a factor of {facts['observed_values']} values is fully observed")
    return {**facts, "text": "\n".join(lines)}


def _convert(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read, write

    _check_writable(options.out, options.force)
    p = read(options.file)
    write(p, options.out, names=not options.no_names)
    return {"written": str(options.out), "text": f"wrote {options.out}: {p}"}


def _simulate(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read
    from solvers.policy_files import read_policy
    from solvers.simulation import simulate

    if options.policy is not None:
        for name in ("method", "precision", "time_limit", "horizon"):
            if getattr(options, name) is not None:
                raise SolverError(
                    f"--{name.replace('_', '-')} is for solving, which --policy leaves out"
                    + ("; --steps says how long to play" if name == "horizon" else "")
                )
    pomdp = read(options.file)
    if pomdp.discount == 1.0 and options.steps is None and (options.horizon or pomdp.horizon) is None:
        raise SolverError("with a discount of 1 and no horizon, --steps must say how long to play")
    policy: AlphaVectorPolicy | FiniteHorizonPolicy
    expected: dict[str, float | None]
    if options.policy is not None:
        policy = read_policy(options.policy, pomdp)
        expected = {"promised": float(policy.value(pomdp.start))}
        text = f"promised        {expected['promised']:.6g}, by the vectors of {options.policy.name}"
    else:
        solution = _solved(pomdp, options, options.method)
        policy = solution.policy
        expected = {name: solution.summary()[name] for name in ("lower", "upper")}
        text = f"optimal value   {shown(solution.lower, solution.upper)}, by {solution.method}"
    played = simulate(pomdp, policy, episodes=options.episodes, steps=options.steps, seed=options.seed)
    return {
        "mean": played.mean,
        "standard_error": played.standard_error,
        "episodes": played.episodes,
        "steps": played.steps,
        "truncation": played.truncation,
        "unfinished": played.unfinished,
        **expected,
        "text": f"{played}\n{text}",
    }


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read

    pomdp = read(options.file)
    ended = options.horizon is not None or pomdp.horizon is not None
    methods = (_METHODS_OF_A_HORIZON if ended else _METHODS) if options.methods is None else options.methods
    rows: list[dict[str, Any]] = []
    failures: list[SolverError] = []
    for method in map(str.strip, methods.split(",")):
        try:
            rows.append(_solved(pomdp, options, method).summary())
        except SolverError as error:  # the others may do better
            failures.append(error)
            rows.append({"method": method, "ended_by": f"error: {error}"})
        except KeyboardInterrupt:  # what is known already is shown
            if not rows:
                raise
            break
    if len(failures) == len(rows):
        raise failures[0]
    columns = ("method", "lower", "upper", "vectors", "elapsed_s", "ended_by")
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    text = "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    return {"methods": rows, "text": text}


# The parser -----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m solvers", description="Solve POMDPs with certified bounds, and look at their files."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, command: Callable[[argparse.Namespace], dict[str, Any]], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        made.add_argument("file", type=Path, metavar="FILE", help=".pomdp or .pomdpx file")
        made.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
        return made

    solving = verb("solve", _solve, "bound the value at the start, and find a policy that attains the lower bound")
    _add_solving(solving)
    _add_method(solving)
    solving.add_argument("--out", type=Path, metavar="POLICY", help="write the policy: .alpha, .policy or .pg")
    solving.add_argument("--force", action="store_true", help="overwrite it if it exists")
    verb("info", _info, "sizes, names and rewards of a model")
    converting = verb("convert", _convert, "write a model in another format, by the name's end")
    converting.add_argument("out", type=Path, metavar="OUT", help=".pomdp or .pomdpx file to write")
    converting.add_argument("--force", action="store_true", help="overwrite it if it exists")
    converting.add_argument("--no-names", action="store_true", help="write numbers instead of names")
    simulating = verb("simulate", _simulate, "play a policy many times: mean discounted reward with standard error")
    simulating.add_argument("--policy", type=Path, help=".alpha or .policy file; by default the model is solved first")
    simulating.add_argument("--episodes", type=_count, default=10_000, help="how many (default: %(default)s)")
    simulating.add_argument("--steps", type=_count, help="most actions in an episode (default: by horizon or discount)")
    _add_solving(simulating)
    _add_method(simulating)
    comparing = verb("compare", _compare, "solve by several methods, and print their bounds beside each other")
    comparing.add_argument(
        "--methods", help=f"separated by commas (default: {_METHODS}; with a horizon {_METHODS_OF_A_HORIZON})"
    )
    _add_solving(comparing)
    return parser


def _add_solving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", type=_positive, help=f"stop when the bounds are so close (default: {_PRECISION})"
    )
    parser.add_argument("--time-limit", type=_positive, metavar="SECONDS", help="stop then (default: no limit)")
    parser.add_argument("--horizon", type=_count, metavar="STEPS", help="number of actions (default: no end)")
    parser.add_argument("--seed", type=_seed, default=0, help="of all chance (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_method(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", help="auto (default), sarsop, pbvi, perseus, exact, epochs, qmdp, fib, blind, mdp")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


# Output ---------------------------------------------------------------------------------------------------------


class _Progress:
    """Bounds as they close, on one line of a terminal; nothing where there is none."""

    def __init__(self, stream: TextIO, quiet: bool) -> None:
        self._stream = stream
        self._shows = not quiet and stream.isatty()
        self._quiet = quiet
        self._length = 0

    def report(self, line: str) -> None:
        if not self._quiet:
            _put(line, self._stream)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()

    def show(self, elapsed_s: float, lower: float, upper: float) -> None:
        if self._shows:
            line = f"{elapsed_s:7.1f} s   value {shown(lower, upper)}"
            self._stream.write("\r" + line.ljust(self._length))
            self._stream.flush()
            self._length = max(self._length, len(line))


def _check_writable(path: Path, force: bool) -> None:
    """Raise now what would be raised after the work."""
    if path.is_dir():
        raise SolverError(f"{path} is a folder")
    if path.exists() and not force:
        raise SolverError(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir():
        raise SolverError(f"{path.parent} is no folder to write {path.name} in")
    if not os.access(path.parent, os.W_OK):
        raise SolverError(f"nothing may be written in {path.parent}")


def _listed(names: Sequence[str]) -> str:
    shown = " ".join(names[:_MANY])
    return shown if len(names) <= _MANY else f"{shown} … ({len(names) - _MANY} more)"


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
