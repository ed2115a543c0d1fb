"""What traces would cost on other machines: a small model of a server's time, and the paper's third table under it.

    python benchmarks/step_times.py fit RUNS                      times from traces of benchmarks/serving_speed.py
    python benchmarks/step_times.py table                         the paper's table, under times inferred from it
    python benchmarks/step_times.py table --traces RUNS           the same of traces of the lab's models
    python benchmarks/step_times.py table --times gpu.json        under times of benchmarks/gpu_step_times.py

A step takes ``start + read · (tokens of the prompt that no cache knew) + write · (tokens written)``, a score ``start +
read · (tokens)``; nothing else takes time, and nobody else uses the servers. Of a solution that is the sum over its
requests, less, with overlap, the shorter of a score and the draft of the next step, where the step was kept and the
weak model wrote the next one too: the draft is written while the score is awaited.

*Times inferred from the paper's table.* A token of Qwen2.5-32B takes 1/31.77 s and one of 7B 1/65.20 s, each on both
GPUs. The line through the two, in GB of weights on a GPU (32.8 and 7.6), is .64 ms per GB and 10.4 ms; the 1.5B model
(3.1 GB, one GPU) is put on that line, which is an assumption. So is all the rest: a forward pass of the 7B PRM takes
what a token of 15.2 GB on one GPU would; reading is 2 floating-point operations per weight and token at 400 TFLOP/s
and GPU; 5 ms per request for HTTP and scheduling.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from report import heading, table
from scipy.optimize import nnls
from serving_speed import OPTIONS, Setting, speed

from trim_pomdp import StrategyRule, ThresholdRule, load_preset, policy_for_budget
from trim_pomdp.policies import Rule
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, DummyWorld, dummy_problems
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.protocols import Usage
from trim_pomdp.runtime.records import Generation, SolutionRecord
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.traces import read_traces

PRESET = "qwen2.5-1.5b-7b-math"
PROMPT_TOKENS = 150


@dataclass(frozen=True)
class Times:
    """Of a model: seconds per request, per token read, per token written (0 for a PRM)."""

    start_s: float
    read_s: float
    write_s: float = 0.0

    def of(self, read: int, written: int = 0) -> float:
        """Seconds of a request."""
        return self.start_s + self.read_s * read + self.write_s * written


@dataclass(frozen=True)
class Trio:
    """Of the three models."""

    weak: Times
    strong: Times
    prm: Times


_MS_A_GB, _MS = 0.643, 10.4  # the line through 32B and 7B
_FLOP_S = 400e12
PAPER = {
    "1.5B": Times(5e-3, 2 * 1.5e9 / _FLOP_S, (_MS + _MS_A_GB * 3.1) / 1e3),
    "7B": Times(5e-3, 2 * 7.6e9 / (2 * _FLOP_S), 1 / 65.20),
    "32B": Times(5e-3, 2 * 32.5e9 / (2 * _FLOP_S), 1 / 31.77),
    "PRM": Times(5e-3 + (_MS + _MS_A_GB * 15.2) / 1e3, 2 * 7.6e9 / _FLOP_S),
}


@dataclass(frozen=True)
class Turn:
    """The requests behind a step: what the weak model read and wrote, tokens that the PRM read, what the strong did."""

    weak: Usage | None
    scored: int | None
    strong: Usage | None

    @property
    def standing(self) -> int:
        """Tokens of the step that stands."""
        stands = self.strong or self.weak
        return 0 if stands is None else stands.output


def turns_of(record: SolutionRecord, *, cache: bool | None = None) -> list[Turn]:
    """The requests of a solution.

    Parameters
    ----------
    cache : bool or None
        None: what the servers counted. Else what a server with, or without, a prefix cache would count that knows
        every token it has read or written for this problem, on a prompt of `PROMPT_TOKENS`; for traces of models
        that count nothing.
    """
    out = []
    length, known = PROMPT_TOKENS, {"weak": 0, "strong": 0}

    def usage(author: str, item: Generation | None) -> Usage | None:
        if item is None or cache is None:
            return None if item is None else item.usage
        cached = known[author] if cache else 0
        known[author] = length
        return Usage(length, cached, item.tokens)

    for item in record.decisions:
        weak = usage("weak", item.weak)
        strong = usage("strong", item.strong)
        scored = None if item.scoring is None else item.scoring.tokens - item.scoring.cached
        if scored is not None and cache is not None and item.weak is not None:
            scored = length + item.weak.tokens
        out.append(Turn(weak, scored, strong))
        length += out[-1].standing
        known["strong" if strong else "weak"] = length
    return out


def seconds(turns: Sequence[Turn], times: Trio, *, overlap: bool = False) -> float:
    """What a solution takes, alone on its servers."""
    weak = [0.0 if t.weak is None else _step(times.weak, t.weak) for t in turns]
    score = [0.0 if t.scored is None else times.prm.of(t.scored) for t in turns]
    strong = [0.0 if t.strong is None else _step(times.strong, t.strong) for t in turns]
    whole = sum(weak) + sum(score) + sum(strong)
    if not overlap:
        return whole
    return whole - sum(min(score[i], weak[i + 1]) for i in range(len(turns) - 1) if turns[i].strong is None)


def _step(times: Times, usage: Usage) -> float:
    return times.of(usage.prompt - usage.cached, usage.output)


# Times from traces --------------------------------------------------------------------------------------------


def fit(records: Iterable[SolutionRecord]) -> Trio:
    """Times that explain the seconds of requests best (least squares, none below 0)."""
    rows: dict[str, list[tuple[float, float, float, float]]] = {"weak": [], "strong": [], "prm": []}
    for record in records:
        for turn, item in zip(turns_of(record), record.decisions, strict=True):
            for name, usage, asked in (("weak", turn.weak, item.weak), ("strong", turn.strong, item.strong)):
                if usage is not None and asked is not None:
                    rows[name].append((1.0, usage.prompt - usage.cached, usage.output, asked.seconds))
            if turn.scored is not None and item.scoring is not None:
                rows["prm"].append((1.0, turn.scored, 0.0, item.scoring.seconds))

    def times(name: str) -> Times:
        values = np.array(rows[name])
        found, _ = nnls(values[:, :3], values[:, 3])
        return Times(*map(float, found))

    return Trio(times("weak"), times("strong"), times("prm"))


def report_fit(work: Path) -> None:
    """Fit on every other repeat, one problem in flight, nothing ahead; predict the others, overlap too."""
    said = json.loads((work / "settings.json").read_text())
    rows = [row for item in said["rows"] if (row := Setting(**item)).in_flight == 1]

    def traces(row: Setting, repeats: Iterable[int]) -> list[SolutionRecord]:
        return [record for repeat in repeats for record in read_traces(row.folder(work, repeat))]

    some = range(0, said["repeats"], 2)
    times = fit(record for row in rows if not row.ahead for record in traces(row, some))
    heading("Times fitted to traces of served models")
    cells = [
        (name, *(f"{value * 1e3:.3f}" for value in asdict(getattr(times, name)).values()))
        for name in ("weak", "strong", "prm")
    ]
    table(("model", "ms a request", "ms a token read", "ms a token written"), cells)
    heading("Predicted and measured: s per problem, one in flight, repeats that nothing was fitted to")
    others = range(1, said["repeats"], 2)
    cells = []
    for row in rows:
        if OPTIONS[row.ahead][1]:
            continue
        plain = Setting(row.policy, "", row.cache, 1)
        predicted = mean(seconds(turns_of(r), times, overlap=bool(row.ahead)) for r in traces(plain, others))
        measured = mean(speed(row.folder(work, repeat), 1).seconds for repeat in others)
        difference = f"{predicted / measured - 1:+.0%}"
        cells.append((row.policy, row.ahead or "–", "on" if row.cache else "off", predicted, measured, difference))
    table(("policy", "ahead", "prefix cache", "predicted", "measured", "difference"), cells)


# The table ----------------------------------------------------------------------------------------------------


def dummy_traces(problems: int) -> dict[str, list[SolutionRecord]]:
    """Traces of a world in which steps are as many and as long as the preset says, by policy."""
    model = load_preset(PRESET).routing_model()
    world = DummyWorld.of(model.observations, model.dynamics)
    rules: dict[str, Rule] = {
        "strong-only": StrategyRule(strategy="strong"),
        "weak-only": StrategyRule(strategy="weak"),
        **{f"budget {budget}": policy_for_budget(model, budget).policy for budget in (0.1, 0.2, 0.4)},
        **{f"threshold {k}": ThresholdRule(threshold=k) for k in (0.1, 0.4, 0.7)},
    }
    out = {}
    for name, rule in rules.items():
        models = batched(DummyGenerator(world, "weak"), DummyGenerator(world, "strong"), DummyScorer(world))
        with tempfile.TemporaryDirectory() as folder:
            run(dummy_problems(problems), Routing(rule).start, models, Path(folder) / "run", config={})
            out[name] = list(read_traces(Path(folder) / "run"))
    return out


def lab_traces(work: Path) -> dict[str, list[SolutionRecord]]:
    """Traces of `serving_speed` with a prefix cache and nothing ahead, by policy."""
    said = json.loads((work / "settings.json").read_text())
    rows = [row for item in said["rows"] if (row := Setting(**item)).cache and not row.ahead]
    out: dict[str, list[SolutionRecord]] = {}
    for row in rows:
        for repeat in range(said["repeats"]):
            out.setdefault(row.policy, []).extend(read_traces(row.folder(work, repeat)))
    return out


def report_table(traces: dict[str, list[SolutionRecord]], times: Trio, title: str, cache: bool | None) -> None:
    """Seconds per problem and tokens per second under some times, and how much faster than strong-only that is."""
    heading(title)
    base = mean(seconds(turns_of(r, cache=cache), times) for r in traces["strong-only"])
    base_tokens = mean(sum(t.standing for t in turns_of(r, cache=cache)) for r in traces["strong-only"])
    cells = []
    for policy, records in traces.items():
        turns = [turns_of(record, cache=cache) for record in records]
        plain, ahead = (mean(seconds(t, times, overlap=overlap) for t in turns) for overlap in (False, True))
        tokens = mean(sum(turn.standing for turn in solution) for solution in turns)
        strong = mean(sum(turn.strong.output for turn in solution if turn.strong) for solution in turns)
        cells.append(
            (
                *(policy, f"{strong / base_tokens:.2f}", f"{tokens:.0f}", f"{plain:.2f}", f"{tokens / plain:.1f}"),
                *(f"{base / plain:.2f}", f"{base / plain * tokens / base_tokens:.2f}", f"{base / ahead:.2f}"),
            )
        )
    table(
        (
            *("policy", "budget spent", "tokens", "s per problem", "tokens per s"),
            *("speed-up", "at equal tokens", "speed-up with overlap"),
        ),
        cells,
    )


def named_times(path: Path | None, weak: str, strong: str, prm: str) -> Trio:
    """Times of three models of a file, or of the paper's."""
    if path is None:
        models = PAPER
    else:
        items = json.loads(path.read_text())["models"].items()
        models = {name: Times(item["start_s"], item["read_s"], item.get("write_s", 0.0)) for name, item in items}
    missing = [name for name in (weak, strong, prm) if name not in models]
    if missing:
        raise SystemExit(f"{path or 'the paper'}: no model {missing[0]!r}; expected one of {', '.join(models)}")
    return Trio(models[weak], models[strong], models[prm])


def main() -> None:
    """Fit times, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    fitting = verbs.add_parser("fit")
    fitting.add_argument("work", type=Path)
    printing = verbs.add_parser("table")
    printing.add_argument("--traces", type=Path, help="folder of serving_speed (default: a dummy world)")
    printing.add_argument("--times", type=Path, help="JSON: models by name, each with start_s, read_s, write_s")
    printing.add_argument("--weak", default="1.5B")
    printing.add_argument("--strong", nargs="+", default=["32B", "7B"])
    printing.add_argument("--prm", default="PRM")
    printing.add_argument("--problems", type=int, default=1000)
    given = parser.parse_args()
    if given.verb == "fit":
        return report_fit(given.work)
    traces = dummy_traces(given.problems) if given.traces is None else lab_traces(given.traces)
    for strong in given.strong:
        times = named_times(given.times, given.weak, strong, given.prm)
        title = f"{given.weak} and {strong}, times of {given.times or 'the paper'}"
        report_table(traces, times, title, True if given.traces is None else None)
    return None


if __name__ == "__main__":
    main()
