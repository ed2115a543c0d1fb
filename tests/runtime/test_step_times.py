"""The replay of traces by step times, against times computed by hand; step times of tiny shapes where vLLM is."""

import json
import sys
from pathlib import Path

import pytest
from scripted import WORLD, dummy_models

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from gpu_step_times import SHAPES, configuration, line
from step_times import PROMPT_TOKENS, Times, Trio, Turn, fit, named_times, seconds, turns_of

from trim_pomdp.policies import ThresholdRule
from trim_pomdp.runtime.backends.dummy import dummy_problems
from trim_pomdp.runtime.protocols import Usage
from trim_pomdp.runtime.records import DecisionRecord, Generation, Scoring, SolutionRecord, TerminalRecord, TokenCounts
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.traces import read_traces

TIMES = Trio(weak=Times(1.0, 0.01, 0.1), strong=Times(2.0, 0.02, 1.0), prm=Times(3.0, 0.1))


def test_a_solution_takes_the_sum_of_its_requests_and_with_overlap_what_is_not_hidden() -> None:
    turns = [
        Turn(Usage(100, 0, 10), 20, None),  # weak 1 + 1 + 1 = 3, score 3 + 2 = 5, kept
        Turn(Usage(110, 100, 29), 10, Usage(110, 10, 4)),  # weak 1 + .1 + 2.9 = 4, score 4, strong 2 + 2 + 4 = 8
        Turn(Usage(114, 114, 20), None, None),  # weak 1 + 0 + 2 = 3
    ]
    assert seconds(turns, TIMES) == pytest.approx(3 + 5 + 4 + 4 + 8 + 3)
    # The second draft (4 s) is written within the first score (5 s); the third cannot begin before the strong step.
    assert seconds(turns, TIMES, overlap=True) == pytest.approx(27 - 4)
    assert [turn.standing for turn in turns] == [10, 4, 20]


def _generation(tokens: int, usage: Usage | None = None, seconds: float = 0.0) -> Generation:
    return Generation(text="x", logprobs=(-0.1,) * tokens, stop="separator", usage=usage, seconds=seconds)


def _solution(decisions: list[DecisionRecord]) -> SolutionRecord:
    terminal = TerminalRecord(
        problem="p", reason="answer", steps=len(decisions), regenerations=0, degenerate=0, tokens=TokenCounts(),
        policy_hash="h",
    )  # fmt: skip
    return SolutionRecord(tuple(decisions), terminal)


def _decision(step: int, weak: Generation, strong: Generation | None, scoring: Scoring | None = None) -> DecisionRecord:
    return DecisionRecord(
        problem="p", step=step, weak=weak, strong=strong, scoring=scoring or Scoring(scores=(0.5,), tokens=7),
        action="regenerate" if strong else "keep", tokens=TokenCounts(), policy_hash="h",
    )  # fmt: skip


def test_what_a_prefix_cache_would_know() -> None:
    record = _solution(
        [
            _decision(0, _generation(10), None),
            _decision(1, _generation(20), _generation(30)),
            _decision(2, _generation(5), _generation(6)),
        ]
    )
    p = PROMPT_TOKENS
    cached = turns_of(record, cache=True)
    assert [t.weak for t in cached] == [Usage(p, 0, 10), Usage(p + 10, p + 10, 20), Usage(p + 40, p + 10, 5)]
    assert [t.strong for t in cached] == [None, Usage(p + 10, 0, 30), Usage(p + 40, p + 40, 6)]
    assert [t.scored for t in cached] == [p + 10, p + 30, p + 45]
    bare = turns_of(record, cache=False)
    assert [t.weak and t.weak.cached for t in bare] == [0, 0, 0]
    assert [t.scored for t in turns_of(record)] == [7, 7, 7]


def test_a_fit_finds_the_times_that_requests_took() -> None:
    decisions = []
    for step, (read, cached, wrote, scored) in enumerate([(50, 10, 5, 60), (80, 10, 9, 90), (20, 0, 30, 200)]):
        usage = Usage(read, cached, wrote)
        weak = _generation(wrote, usage, TIMES.weak.of(read - cached, wrote))
        strong = _generation(wrote, usage, TIMES.strong.of(read - cached, wrote))
        scoring = Scoring(scores=(0.5,), tokens=scored, seconds=TIMES.prm.of(scored))
        decisions.append(_decision(step, weak, strong, scoring))
    found = fit([_solution(decisions)])
    for name in ("weak", "strong", "prm"):
        found_times, times = getattr(found, name), getattr(TIMES, name)
        assert (found_times.start_s, found_times.read_s, found_times.write_s) == pytest.approx(
            (times.start_s, times.read_s, times.write_s)
        )


def test_traces_of_a_dummy_run_replay_in_the_time_that_the_models_would_take(tmp_path: Path) -> None:
    """A million tokens a second for all but writing by the strong model: time is that model's tokens."""
    assert WORLD.strong_tokens
    run(dummy_problems(20), Routing(ThresholdRule(threshold=0.5)).start, dummy_models(), tmp_path / "run", config={})
    only_strong = Trio(Times(0.0, 0.0, 0.0), Times(0.0, 0.0, 0.5), Times(0.0, 0.0))
    for record in read_traces(tmp_path / "run"):
        turns = turns_of(record, cache=True)
        assert seconds(turns, only_strong) == pytest.approx(0.5 * record.terminal.tokens.strong)
        assert sum(turn.standing for turn in turns) == record.terminal.tokens.weak_kept + record.terminal.tokens.strong


def test_measured_times_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    item = {"start_s": 1.0, "read_s": 2.0, "write_s": 3.0, "cached_s": 4.0}
    path.write_text(json.dumps({"models": {"a": item, "b": {"start_s": 5.0, "read_s": 6.0}}}))
    assert named_times(path, "a", "a", "b") == Trio(Times(1, 2, 3), Times(1, 2, 3), Times(5, 6))
    with pytest.raises(SystemExit, match="no model 'c'; expected one of a, b"):
        named_times(path, "a", "c", "b")


def test_the_line_through_measured_times() -> None:
    assert line([(100, 1.2), (200, 1.4), (300, 1.6)]) == pytest.approx((1.0, 0.002))
    assert line([(100, 3.0), (200, 2.0)]) == pytest.approx((2.5, 0.0))


@pytest.mark.parametrize(("name", "billions"), [("1.5B", 1.54), ("7B", 7.62), ("32B", 32.8), ("PRM", 7.08)])
def test_shapes_have_as_many_weights_as_the_models(name: str, billions: float) -> None:
    """Published counts of parameters; the PRM has no output matrix."""
    c = configuration(name, tiny=False)
    hidden, groups = c["hidden_size"], c["num_key_value_heads"]
    attention = 2 * hidden * hidden + 2 * hidden * hidden // c["num_attention_heads"] * groups
    embeddings = c["vocab_size"] * hidden * (1 if c["tie_word_embeddings"] or name == "PRM" else 2)
    weights = c["num_hidden_layers"] * (attention + 3 * hidden * c["intermediate_size"]) + embeddings
    assert weights / 1e9 == pytest.approx(billions, rel=0.01)
    assert set(SHAPES) == {"1.5B", "7B", "32B", "PRM"}
