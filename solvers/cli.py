"""Command line: ``python -m solvers solve tiger.pomdp``. Results on stdout, progress and errors on stderr.

Bad input ends in one line and exit code 2; nothing is half-written.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from solvers.errors import SolverError
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy

_MANY = 12  # names that `info` lists before it says how many more there are


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], dict[str, Any]] = options.command
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            found = command(options)
    except (SolverError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({name: value for name, value in found.items() if name != "text"}))
    elif text := found.get("text"):
        print(text)
    return 0


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


# Commands -------------------------------------------------------------------------------------------------------


def _solve(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read
    from solvers.policy_files import check_policy_suffix, write_policy
    from solvers.solving import solve

    if options.out is not None:
        check_policy_suffix(options.out)
        _writable(options.out, options.force)
    pomdp = read(options.file)
    with _Progress(sys.stderr, options.quiet or options.json) as progress:
        solution = solve(
            pomdp,
            options.method,
            precision=options.precision,
            time_limit=options.time_limit,
            horizon=options.horizon,
            seed=options.seed,
            progress=progress.show,
            report=progress.report,
        )
    if options.out is not None:
        write_policy(solution.policy, options.out)
    return {**solution.summary(), "text": str(solution)}


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

    _writable(options.out, options.force)
    p = read(options.file)
    write(p, options.out)
    return {"written": str(options.out), "text": f"wrote {options.out}: {p}"}


def _simulate(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read
    from solvers.policy_files import read_policy
    from solvers.simulation import simulate
    from solvers.solving import solve

    pomdp = read(options.file)
    policy: AlphaVectorPolicy | FiniteHorizonPolicy
    if options.policy is not None:
        policy = read_policy(options.policy, pomdp)
    else:
        with _Progress(sys.stderr, options.quiet or options.json) as progress:
            solution = solve(
                pomdp, options.method, precision=options.precision, time_limit=options.time_limit,
                horizon=options.horizon, seed=options.seed, progress=progress.show,
                report=progress.report,
            )  # fmt: skip
        policy = solution.policy
    played = simulate(pomdp, policy, episodes=options.episodes, seed=options.seed)
    return {
        "mean": played.mean,
        "standard_error": played.standard_error,
        "episodes": played.episodes,
        "text": str(played),
    }


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    from solvers.formats import read
    from solvers.solving import solve

    pomdp = read(options.file)
    rows = []
    for method in options.methods.split(","):
        with _Progress(sys.stderr, options.quiet or options.json) as progress:
            solution = solve(
                pomdp, method.strip(), precision=options.precision, time_limit=options.time_limit,
                horizon=options.horizon, seed=options.seed, progress=progress.show,
                report=progress.report,
            )  # fmt: skip
        rows.append(solution.summary())
    columns = ("method", "lower", "upper", "vectors", "elapsed_s", "ended_by")
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    text = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
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
    simulating = verb("simulate", _simulate, "play a policy many times: mean discounted reward with standard error")
    simulating.add_argument("--policy", type=Path, help=".alpha or .policy file; by default the model is solved first")
    simulating.add_argument("--episodes", type=_count, default=10_000, help="how many (default: %(default)s)")
    _add_solving(simulating)
    _add_method(simulating)
    comparing = verb("compare", _compare, "solve by several methods, and print their bounds beside each other")
    comparing.add_argument(
        "--methods", default="qmdp,fib,blind,perseus,sarsop", help="separated by commas (default: %(default)s)"
    )
    _add_solving(comparing)
    return parser


def _add_solving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", type=_positive, default=1e-3, help="stop when the bounds are so close (default: %(default)s)"
    )
    parser.add_argument("--time-limit", type=_positive, metavar="SECONDS", help="stop then (default: no limit)")
    parser.add_argument("--horizon", type=_count, metavar="STEPS", help="number of actions (default: no end)")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _add_method(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", default="auto", help="auto, sarsop, pbvi, perseus, exact, epochs, qmdp, fib, blind, mdp"
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive integer")
    return value


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
            print(line, file=self._stream)

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._length:
            self._stream.write("\r" + " " * self._length + "\r")
            self._stream.flush()

    def show(self, elapsed_s: float, lower: float, upper: float) -> None:
        if self._shows:
            line = f"{elapsed_s:7.1f} s   {lower:.6g} ≤ value ≤ {upper:.6g}   gap {upper - lower:.3g}"
            self._stream.write("\r" + line.ljust(self._length))
            self._stream.flush()
            self._length = max(self._length, len(line))


def _writable(path: Path, force: bool) -> None:
    """Raise now what would be raised after the work."""
    if path.exists() and not force:
        raise SolverError(f"{path} exists; --force overwrites it")
    if not path.parent.is_dir():
        raise SolverError(f"{path.parent} is no folder to write {path.name} in")


def _listed(names: Sequence[str]) -> str:
    shown = " ".join(names[:_MANY])
    return shown if len(names) <= _MANY else f"{shown} … ({len(names) - _MANY} more)"


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
