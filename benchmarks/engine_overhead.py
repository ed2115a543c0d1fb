"""Time per decision that the engine itself takes: everything but the models, asyncio and traces included.

    python benchmarks/engine_overhead.py [--problems 2000] [--in-flight 64] [--profile]

Dummy models stand in; the time that they take is counted apart, as a run does (`overhead_share`).
"""

import argparse
import cProfile
import pstats
import tempfile
from pathlib import Path

from trim_pomdp import StrategyRule, ThresholdRule, load_preset, policy_for_tradeoff
from trim_pomdp.policies import PosteriorRule, Rule
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, DummyWorld, dummy_oracle, dummy_problems
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.summary import RunSummary

MODEL = load_preset("qwen2.5-1.5b-7b-math").routing_model()
WORLD = DummyWorld.of(MODEL.observations, MODEL.dynamics)
RULES: dict[str, Rule] = {
    "alpha-vectors": policy_for_tradeoff(MODEL, 0.1).policy,
    "threshold .4": ThresholdRule(threshold=0.4),
    "posterior": PosteriorRule(closeness=0.4),
    "random .3": StrategyRule(strategy="random", probability=0.3),
    "strong": StrategyRule(strategy="strong"),
}


def measure(rule: Rule, problems: int, in_flight: int) -> RunSummary:
    """Totals of a run on dummy models."""
    routing = Routing(rule, class_table=MODEL.observations.class_table, oracle=dummy_oracle)
    models = batched(DummyGenerator(WORLD, "weak"), DummyGenerator(WORLD, "strong"), DummyScorer(WORLD))
    with tempfile.TemporaryDirectory() as folder:
        return run(
            dummy_problems(problems), routing.start, models, Path(folder) / "run", config={}, in_flight=in_flight
        )


def main() -> None:
    """Print the overhead of every kind of policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--profile", action="store_true", help="profile the alpha-vector rule")
    arguments = parser.parse_args()
    if arguments.profile:
        with cProfile.Profile() as profile:
            measure(RULES["alpha-vectors"], arguments.problems, arguments.in_flight)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    for name, rule in RULES.items():
        measure(rule, 100, arguments.in_flight)
        summary = measure(rule, arguments.problems, arguments.in_flight)
        overhead = summary.wall_s * summary.overhead_share
        print(f"{name:15} {overhead / summary.decisions * 1e6:6.1f} µs per decision, {summary.decisions} decisions")


if __name__ == "__main__":
    main()
