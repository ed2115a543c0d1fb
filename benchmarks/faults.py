"""A thousand problems through servers that fail in every way: what was met, what was survived, what it cost.

    python benchmarks/faults.py [--problems 1000] [--share 0.1]

The servers are those of the tests (`tests/fake_vllm.py`): a dummy world behind vLLM's interface, in threads of this
process. The same problems are solved by the same world in this process; texts, decisions and totals are compared.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fake_vllm import KINDS, SEED, FakeVllm, problems  # noqa: E402
from scripted import WORLD, dummy_models  # noqa: E402

from trim_pomdp import ThresholdRule  # noqa: E402
from trim_pomdp.runtime.attempt import Caps  # noqa: E402
from trim_pomdp.runtime.config import read_models_file  # noqa: E402
from trim_pomdp.runtime.live import run_live  # noqa: E402
from trim_pomdp.runtime.run import Routing, run  # noqa: E402
from trim_pomdp.runtime.sources import FileSource  # noqa: E402
from trim_pomdp.runtime.summary import RunSummary  # noqa: E402
from trim_pomdp.runtime.traces import read_traces  # noqa: E402

RULE = ThresholdRule(threshold=0.5)
PATIENCE = "timeout_s = 0.5\ntries = 12\ndeadline_s = 60\n"


def course(folder: Path) -> dict[str, object]:
    """What was written and decided, by problem."""
    return {
        item.terminal.problem: [(row.action, row.accepted and row.accepted.text) for row in item.decisions]
        for item in read_traces(folder)
    }


def over_http(servers: dict[str, FakeVllm], folder: Path, n: int, *, patience: str, on_failure: str) -> RunSummary:
    """A run through the servers."""
    tables = "".join(
        f'[{role}]\nbackend = "{"vllm-prm" if role == "prm" else "vllm"}"\nmodel = "{role}"\nsystem_prompt = false\n'
        f'base_url = "{server.url}/v1"\n{patience}\n'
        for role, server in servers.items()
    )
    path = folder / "models.toml"
    path.write_text(f'{tables}[limits]\nmax_steps = 6\non_failure = "{on_failure}"\n')
    source = FileSource(path, read_models_file(path))
    return run_live(RULE, problems(n), source, folder / "run", seed=SEED, in_flight=256)


def every_kind(folder: Path, n: int, share: float) -> None:
    """Faults that pass."""
    routing = Routing(RULE, seed=SEED, caps=Caps(max_steps=6))
    here = run(problems(n), routing.start, dummy_models(), folder / "here", config={})
    servers = {"weak": FakeVllm(WORLD, "weak"), "strong": FakeVllm(WORLD, "strong"), "prm": FakeVllm(WORLD, None)}
    with ExitStack() as stack:
        for server in servers.values():
            server.faulty = share
            stack.enter_context(server.running())
        out = over_http(servers, folder, n, patience=PATIENCE, on_failure="fail")
    met = {kind: sum(server.counts[kind] for server in servers.values()) for kind in KINDS}
    print(f"{n} problems, 256 in flight, a share of {share:g} of requests goes wrong: {out.wall_s:.1f} s")
    print("| fault | met |\n|---|---|")
    for kind, count in met.items():
        print(f"| {kind} | {count} |")
    for role, kinds in out.faults.items():
        print(f"{role}: tried again: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
    same = course(folder / "run") == course(folder / "here")
    records = sum(1 for _ in read_traces(folder / "run"))
    print(f"terminal records {records}, failed {out.failed}, texts and decisions as in process: {same}")
    print(f"strong tokens {out.strong_tokens:.3f} (in process {here.strong_tokens:.3f})")


def declared_ends(folder: Path, n: int) -> None:
    """Faults that do not pass: every seventh problem's requests to one server always fail."""
    print(
        "| on_failure | server that fails | problems | failed | went on alone | accuracy of these |",
        "|---|---|---|---|---|---|",
        sep="\n",
    )
    hopeless = frozenset(item.id for item in problems(n)[::7])
    for on_failure, role in (
        ("fail", "prm"),
        ("weak", "prm"),
        ("weak", "strong"),
        ("strong", "weak"),
        ("strong", "prm"),
    ):
        servers = {"weak": FakeVllm(WORLD, "weak"), "strong": FakeVllm(WORLD, "strong"), "prm": FakeVllm(WORLD, None)}
        servers[role].hopeless = hopeless
        place = folder / f"{on_failure}-{role}"
        place.mkdir()
        with ExitStack() as stack:
            for server in servers.values():
                stack.enter_context(server.running())
            out = over_http(servers, place, n, patience="tries = 2\n", on_failure=on_failure)
        ends = [item.terminal for item in read_traces(place / "run") if item.terminal.problem in hopeless]
        alone = sum(item.fallback is not None for item in ends)
        right = sum(bool(item.correct) for item in ends) / len(ends)
        print(f"| {on_failure} | {role} | {len(ends)} of {out.problems} | {out.failed} | {alone} | {right:.2f} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every_kind(Path(folder), arguments.problems, arguments.share)
        declared_ends(Path(folder), arguments.problems)


if __name__ == "__main__":
    main()
