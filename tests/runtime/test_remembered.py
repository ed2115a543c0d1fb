"""Models that remember: the same runs as without, nothing asked twice, no draw taken for another."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from scripted import MODEL, WORLD, by_problem

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.policies import RedraftRule, ThresholdRule
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, SolutionScores, StepRequest, Usage
from trim_pomdp.runtime.remembered import Memory, RememberingSource
from trim_pomdp.runtime.run import Routing
from trim_pomdp.runtime.sources import Backends
from trim_pomdp.text.format import StepFormat

PROBLEMS = [Problem(f"p{i}", f"prompt {i}", "7") for i in range(30)]
ONE = StepRequest(PROBLEMS[0], ("a",), 3, 50)


@dataclass
class Counted:
    """A generator or scorer in this process that notes what it is asked."""

    model: object
    seen: list[object] = field(default_factory=list)

    def generate_batch(self, requests: Sequence[StepRequest]) -> list[GeneratedStep]:
        self.seen += requests
        return self.model.generate_batch(requests)

    def score_batch(self, requests: Sequence[ScoreRequest]) -> list[SolutionScores]:
        self.seen += requests
        return self.model.score_batch(requests)


@dataclass
class Elsewhere:
    """A generator and scorer behind a network."""

    asked: int = 0
    closed: bool = False
    facts = {"server": "x"}
    faults = {"timeout": 2}

    async def generate(self, request: StepRequest) -> GeneratedStep:
        self.asked += 1
        return GeneratedStep(f"step {self.asked}", (-0.25, -1.5), "separator", Usage(10, 4, 2))

    async def score(self, request: ScoreRequest) -> SolutionScores:
        self.asked += 1
        return SolutionScores(tuple(0.1 * self.asked for _ in request.steps), 9, 3)

    async def close(self) -> None:
        self.closed = True


@dataclass
class Source:
    """Models as they are."""

    weak: object = None
    strong: object = None
    prm: object = None
    version: int = 1

    def config(self, roles):
        return dict.fromkeys(sorted(roles), self.version)

    def load(self, roles):
        return Backends(**{role: getattr(self, role) for role in roles})


def dummies() -> Source:
    return Source(
        Counted(DummyGenerator(WORLD, "weak")), Counted(DummyGenerator(WORLD, "strong")), Counted(DummyScorer(WORLD))
    )


def solve(source, rule, seed=5, problems=PROBLEMS):
    routing = Routing(rule, seed=seed, class_table=MODEL.observations.class_table)
    records = []
    models = source.load(["weak", "strong", "prm"]).models
    asyncio.run(solve_all(problems, routing.start, models, records.append, in_flight=7))
    return by_problem(records)


@pytest.mark.parametrize(
    "rule", [ThresholdRule(threshold=0.6), RedraftRule(redraft_below=0.9, regenerate_below=0.3, max_drafts=3)]
)
def test_runs_are_the_same_with_a_memory_and_without(tmp_path, rule):
    plain, source = dummies(), dummies()
    remembering = RememberingSource(source, Memory(tmp_path / "memory"))
    first = solve(remembering, rule)
    assert first == solve(plain, rule)
    asked = [len(getattr(source, role).seen) for role in ("weak", "strong", "prm")]
    assert asked == [len(getattr(plain, role).seen) for role in ("weak", "strong", "prm")]
    assert solve(remembering, rule) == first
    assert asked == [len(getattr(source, role).seen) for role in ("weak", "strong", "prm")]
    assert remembering.memory.found == sum(asked) == len(remembering.memory)


def test_strategies_share_what_they_have_in_common_and_no_more(tmp_path):
    source = dummies()
    remembering = RememberingSource(source, Memory(tmp_path / "memory"))
    for threshold in (0.0, 0.3, 0.6, 1.0):
        assert solve(remembering, ThresholdRule(threshold=threshold)) == solve(
            dummies(), ThresholdRule(threshold=threshold)
        )
    seen = source.weak.seen
    assert len({(item.problem.id, item.steps, item.drafts) for item in seen}) == len(seen)


def test_another_seed_is_another_draw(tmp_path):
    remembering = RememberingSource(dummies(), Memory(tmp_path / "memory"))
    rule = ThresholdRule(threshold=0.6)
    assert solve(remembering, rule, seed=5) == solve(dummies(), rule, seed=5)
    assert solve(remembering, rule, seed=6) == solve(dummies(), rule, seed=6)


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, seed=4),
        replace(ONE, problem=PROBLEMS[1]),
        replace(ONE, problem=replace(PROBLEMS[0], prompt="another")),
        replace(ONE, steps=("b",)),
        replace(ONE, steps=("a", "a")),
        replace(ONE, drafts=("x",)),
        replace(ONE, max_tokens=51),
        replace(ONE, format=StepFormat("newline")),
    ],
)
def test_whatever_decides_a_reply_is_in_its_key(tmp_path, other):
    model = Elsewhere()
    generator = RememberingSource(Source(weak=model), Memory(tmp_path / "memory")).load(["weak"]).weak
    first = asyncio.run(generator.generate(ONE))
    assert asyncio.run(generator.generate(other)) != first
    assert asyncio.run(generator.generate(ONE)) == first
    assert model.asked == 2


def test_models_and_roles_do_not_share(tmp_path):
    memory, replies = Memory(tmp_path / "memory"), []
    for version in (1, 2):
        for role in ("weak", "strong"):
            model = Elsewhere(asked=len(replies))
            source = RememberingSource(Source(**{role: model}, version=version), memory)
            replies.append(asyncio.run(getattr(source.load([role]), role).generate(ONE)))
    assert len(set(replies)) == 4


def test_a_memory_outlives_its_process(tmp_path):
    request = ScoreRequest(PROBLEMS[0], ("a", "b"))
    for _ in range(2):
        memory = Memory(tmp_path / "memory")
        backends = RememberingSource(Source(weak=(weak := Elsewhere()), prm=(prm := Elsewhere())), memory).load(
            ["weak", "prm"]
        )
        assert asyncio.run(backends.prm.score(request)) == SolutionScores((0.1, 0.1), 9, 3)
        assert asyncio.run(backends.weak.generate(ONE)) == GeneratedStep(
            "step 1", (-0.25, -1.5), "separator", Usage(10, 4, 2)
        )
        memory.close()
    assert weak.asked == prm.asked == 0


def test_the_same_request_twice_in_a_batch_is_asked_once(tmp_path):
    source = dummies()
    generator = RememberingSource(source, Memory(tmp_path / "memory")).load(["weak"]).weak
    first, second, third = generator.generate_batch([ONE, replace(ONE, seed=4), ONE])
    assert first == third != second
    assert len(source.weak.seen) == 2


def test_more_requests_than_a_statement_takes(tmp_path):
    memory = Memory(tmp_path / "memory")
    keys = [i.to_bytes(4, "big") for i in range(1203)]
    memory.keep((key, str(i)) for i, key in enumerate(keys) if i % 2)
    assert memory.look_up(keys) == {key: str(i) for i, key in enumerate(keys) if i % 2}


def test_what_is_not_a_reply_goes_through(tmp_path):
    backends = RememberingSource(Source(strong=(model := Elsewhere())), Memory(tmp_path / "memory")).load(["strong"])
    assert backends.strong.facts == {"server": "x"}
    assert backends.strong.faults == {"timeout": 2}
    asyncio.run(backends.strong.close())
    assert model.closed


def test_another_file_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("not a memory, but more than a hundred bytes of text. " * 9)
    with pytest.raises(InputError, match=r"notes\.txt: cannot be used as a memory of replies"):
        Memory(tmp_path / "notes.txt")
