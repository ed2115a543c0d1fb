"""How things show themselves: one line with the numbers that matter, a plain escaped table."""

import html
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import trim_pomdp as tp
from trim_pomdp.display import html_table, one_line, text
from trim_pomdp.planning.frontier import Frontier, FrontierPoint, policy_for_budget, policy_for_tradeoff
from trim_pomdp.planning.frontier_artifact import FrontierArtifact
from trim_pomdp.runtime.records import DecisionRecord, Generation, Scoring, SolutionRecord, TerminalRecord, TokenCounts

PRESET = "lab-loop.prm"
NASTY = "<script>alert('x')</script> & \"y\"\nsecond line"


class Tables(HTMLParser):
    """Cells of tables, row by row; anything but a plain table fails."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.captions: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in ("table", "caption", "tr", "th", "td")
        assert attrs == []
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data
        if self.open and self.open[-1] == "caption":
            self.captions.append(data)


def tables(item: Any) -> Tables:
    found = Tables()
    found.feed(item if isinstance(item, str) else item._repr_html_())
    found.close()
    assert found.open == []
    return found


def solution(**changes: Any) -> SolutionRecord:
    tokens = TokenCounts(weak_kept=2, strong=3)
    decisions = (
        DecisionRecord(
            problem="p",
            step=0,
            weak=Generation(text=NASTY, logprobs=(-0.1, -0.2), stop="separator"),
            scoring=Scoring(scores=(0.25,), tokens=4),
            q=0.75,
            action="keep",
            tokens=tokens,
            policy_hash="x",
        ),
        DecisionRecord(
            problem="p",
            step=1,
            strong=Generation(text="so 4", logprobs=(-0.1,), stop="answer"),
            action="regenerate",
            tokens=tokens,
            policy_hash="x",
        ),
    )
    end = {
        "problem": "p", "reason": "answer", "answer": "4", "correct": True, "steps": 2, "regenerations": 1,
        "degenerate": 0, "tokens": tokens, "policy_hash": "x",
    }  # fmt: skip
    return SolutionRecord(decisions, TerminalRecord.model_validate({**end, **changes}))


@pytest.fixture(scope="module")
def things() -> dict[str, Any]:
    preset = tp.load_preset(PRESET)
    model = preset.routing_model()
    policy = policy_for_tradeoff(model, 0.5)
    assert policy.planned is not None
    weak, strong = (tp.evaluate(tp.StrategyRule(strategy=name), model) for name in ("weak", "strong"))
    points = tuple(FrontierPoint(policy.planned, 1.0, 2.0) for _ in range(30))
    frontier = Frontier(model, points, (), weak, strong, 1.0, 2.0, 1e-5)
    batch = tp.SequenceBatch(
        np.array([[0.1, 1.0], [0.2, 0.3]]), np.array([1, 2]), np.array([True, False]), np.array(["a", "a"])
    )
    return {
        "StepDynamics": preset.dynamics,
        "ObservationModel": preset.observations,
        "Preset": preset,
        "RoutingModel": model,
        "PolicyArtifact": policy,
        "PlannedPoint": weak,
        "AlphaVectorRule": policy.policy,
        "MixedRule": policy_for_budget(model, 0.1).policy,
        "StrategyRule": tp.StrategyRule(strategy="random", probability=0.25),
        "ThresholdRule": tp.ThresholdRule(threshold=0.4),
        "PosteriorRule": tp.PosteriorRule(closeness=0.4),
        "ScheduleRule": tp.ScheduleRule(strong_steps=frozenset({2})),
        "Frontier": frontier,
        "FrontierArtifact": FrontierArtifact.of(frontier, ()),
        "SequenceBatch": batch,
        "SimulatedPoint": tp.simulate(tp.StrategyRule(strategy="weak"), model, 200),
        "SolutionRecord": solution(),
    }


EVERY = (
    "StepDynamics", "ObservationModel", "Preset", "RoutingModel", "PolicyArtifact", "PlannedPoint", "AlphaVectorRule",
    "MixedRule", "StrategyRule", "ThresholdRule", "PosteriorRule", "ScheduleRule", "Frontier", "FrontierArtifact",
    "SequenceBatch", "SimulatedPoint", "SolutionRecord",
)  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_one_line_and_a_table(name: str, things: dict[str, Any]) -> None:
    line = repr(things[name])
    assert line.startswith(f"{name}(")
    assert line.endswith(")")
    assert "\n" not in line
    assert len(line) < 400
    assert str(things[name]) == line
    shown = tables(things[name])
    assert shown.captions[0] == name
    assert len(shown.rows) >= 1


def test_the_numbers_are_the_things_own(things: dict[str, Any]) -> None:
    dynamics = things["StepDynamics"]
    line = repr(dynamics)
    for value in (dynamics.strong_success, dynamics.repair, dynamics.look_right, dynamics.strong_only_tokens):
        assert f" {value:.4g}" in line
    assert repr(dynamics.name) in line
    planned = things["PolicyArtifact"].planned
    assert f"accuracy {planned.accuracy:.4g}, budget {planned.budget:.4g}" in repr(things["PolicyArtifact"])
    assert repr(things["ThresholdRule"]) == "ThresholdRule(threshold 0.4)"
    assert repr(things["StrategyRule"]) == "StrategyRule(strategy random, probability 0.25)"
    assert (
        repr(things["SequenceBatch"])
        == "SequenceBatch(sequences 2, problems 1, steps 3, longest 2, right 1, evidence prm)"
    )
    simulated = things["SimulatedPoint"]
    assert f"accuracy {simulated.accuracy:.4g} ± {simulated.accuracy_se:.2g}" in repr(simulated)
    mixed = things["MixedRule"]
    assert f"second alpha_vectors {mixed.probability:.4f} at λ {mixed.second.tradeoff:.4g}" in repr(mixed)
    ends = things["Frontier"]
    assert f"weak-only {ends.weak_only.accuracy:.4f}, strong-only {ends.strong_only.accuracy:.4f}" in repr(ends)


@pytest.mark.parametrize("name", ["Frontier", "FrontierArtifact"])
def test_a_frontier_shows_both_ends_and_some_points(name: str, things: dict[str, Any]) -> None:
    rows = {row[0]: row[1:] for row in tables(things[name]).rows}
    strong = things["Frontier"].strong_only
    assert rows["strong-only"] == [
        text(v) for v in (strong.budget, strong.accuracy, strong.strong_tokens, strong.regenerations)
    ]
    assert rows["weak-only"][0] == "0"
    assert len([row for row in tables(things[name]).rows if row[0].startswith("λ")]) == 10


def test_a_solution_shows_who_wrote_what() -> None:
    line = repr(solution())
    assert (
        line
        == "SolutionRecord(problem p, ended by answer, answer 4, right True, steps 2, regenerations 1, strong tokens 3)"
    )
    rows = tables(solution()).rows
    assert ["1", "weak", "0.25", "0.75", NASTY] in rows
    assert ["2", "strong", "–", "–", "so 4"] in rows
    failed = repr(solution(reason="error", error="DummyError: " + "x" * 500, answer=None, correct=None))
    assert "answer" not in failed
    assert len(failed) < 200


def test_whatever_a_name_says_is_escaped_and_stays_on_one_line(things: dict[str, Any]) -> None:
    named = things["StepDynamics"].model_copy(update={"name": NASTY})
    assert "\n" not in repr(named)
    assert "<script>" not in named._repr_html_()
    assert html.escape(NASTY) in named._repr_html_()
    assert ["name", NASTY] in tables(named).rows


def test_a_solution_of_the_solver_shows_its_bounds_and_components() -> None:
    from solvers import EpochModel, solve_epochs

    # One state, one action, one epoch: 3 right answers for half a token.
    model = EpochModel(
        joint=np.ones((1, 1, 1, 1, 1, 1)),
        reward=np.array([3.0, 0.5]).reshape(1, 1, 1, 1, 2),
        children=np.array([[1], [1]]),
        table_of=np.array([0, -1]),
        start=np.ones(1),
        component_names=("<right>", "tokens"),
    )
    found = solve_epochs(model, [1.0, -2.0])
    line = repr(found)
    assert line.startswith("EpochSolution(value 2 to 2, <right> 3, tokens 0.5, ended gap reached, ")
    assert "\n" not in line
    assert ["<right>", "3"] in tables(found).rows


def test_a_policy_of_ones_own_needs_nothing_to_be_shown() -> None:
    from typing import Literal

    from trim_pomdp.policies import Rule

    class Own(Rule):
        form: Literal["display test"] = "display test"
        words: tuple[str, ...] = ("a", "b")
        unset: float | None = None

    assert repr(Own()) == "Own(words a, b)"
    assert tables(Own()).rows == [["words", "a, b"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0.123456, "0.1235"),
        (1234567.0, "1.235e+06"),
        (7, "7"),
        (True, "True"),
        ((), "none"),
        ([1.0, 2], "1, 2"),
    ],
)
def test_texts_of_values(value: Any, expected: str) -> None:
    assert text(value) == expected


def test_lines_and_tables() -> None:
    assert one_line("X", {"a": "b, c 2", "d": (1, 2)}) == "X(a 'b, c 2', d 1, 2)"
    assert one_line("X", {"name": "a\nb", "long": "y" * 100, "gone": None}) == f"X('a b', long {'y' * 59}…)"
    assert tables(html_table("<c>", ("", "n"), [("a", 1)])).rows == [["", "n"], ["a", "1"]]
    assert tables(html_table("c", ("", ""), [("a", 1)])).rows == [["a", "1"]]
