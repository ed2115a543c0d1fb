"""What the tests of the runtime share: a small routing model, steps by hand, a router that does as told."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from trim_pomdp.data.problems import Problem
from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.observations import ClassTable, ObservationModel, StepEmission
from trim_pomdp.model.prices import Price, Prices, ReaderPrice
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.policies import AlphaVectorRule, Decision, StepObservation
from trim_pomdp.runtime.attempt import Attempt, Caps
from trim_pomdp.runtime.backends.dummy import DummyGenerator, DummyScorer, DummyWorld, Faults
from trim_pomdp.runtime.batching import batched
from trim_pomdp.runtime.engine import Models
from trim_pomdp.runtime.protocols import GeneratedStep, SolutionScores, StopReason, Usage
from trim_pomdp.runtime.records import SolutionRecord

EDGES = (0.0, 0.2, 0.5, 0.8, 0.95, 1.0)
GRID = (0.0, 0.5, 0.95, 1.0)

OBSERVATIONS = ObservationModel(
    name="small",
    estimator="by hand",
    step_emission=StepEmission(
        score_edges=EDGES,
        right=(0.02, 0.03, 0.05, 0.1, 0.3, 0.5),
        wrong=(0.4, 0.25, 0.15, 0.1, 0.06, 0.04),
    ),
    class_table=ClassTable(
        minimum_edges=GRID,
        score_edges=GRID,
        right=(0.02, 0.03, 0.05, 0.02, 0.08, 0.2, 0.05, 0.15, 0.4),
        derailed=(0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01),
        wrong=(0.2, 0.05, 0.02, 0.25, 0.05, 0.03, 0.3, 0.07, 0.03),
    ),
)

DYNAMICS = StepDynamics(
    name="small",
    weak_success=(0.85,),
    strong_success=0.97,
    repair=0.7,
    look_right=0.6,
    false_alarms=0.05,
    hazard=(0.02, 0.1, 0.2, 0.3, 0.4, 1.0),
    hazard_derailed=(0.02, 0.05, 0.1, 0.2, 0.3, 1.0),
    hazard_wrong=(0.0, 0.02, 0.15, 0.3, 0.2, 1.0),
    weak_tokens=PerClass(right=8.0, derailed=9.0, wrong=10.5),
    strong_tokens=PerClass(right=7.0, derailed=8.0, wrong=9.5),
)

MODEL = RoutingModel(OBSERVATIONS, DYNAMICS)
WORLD = DummyWorld.of(OBSERVATIONS, DYNAMICS)


def alpha_rule(tradeoff: float = 1.5) -> AlphaVectorRule:
    from trim_pomdp.planning.frontier import policy_for_tradeoff

    rule = policy_for_tradeoff(MODEL, tradeoff).policy
    assert isinstance(rule, AlphaVectorRule)
    return rule


def dummy_models(
    world: DummyWorld = WORLD, *, weak: Faults | None = None, strong: Faults | None = None, prm: Faults | None = None
) -> Models:
    return batched(
        DummyGenerator(world, "weak", weak or Faults()),
        DummyGenerator(world, "strong", strong or Faults()),
        DummyScorer(world, prm or Faults()),
    )


def step(text: str, tokens: int = 5, stop: StopReason = "separator") -> GeneratedStep:
    return GeneratedStep(text, tuple(-0.1 * (i + 1) for i in range(tokens)), stop)


def scores(*values: float) -> SolutionScores:
    return SolutionScores(values, 100 * len(values))


@dataclass
class ToldRouter:
    """Does as told, and remembers what it saw."""

    actions: str  # one letter a step: k keep, r regenerate, w and s: that model writes it alone
    needs_score: bool = True
    policy_hash: str = "told"
    seen: list[StepObservation] = field(default_factory=list)
    q: float = 1.0

    def writer(self, index: int) -> str | None:
        return {"w": "weak", "s": "strong"}.get(self.actions[index])

    def decide(self, seen: StepObservation) -> Decision:
        self.seen.append(seen)
        q, action = self.q, {"k": KEEP, "r": REGENERATE}[self.actions[seen.step]]
        after = (q * 0.9, q * 0.95)
        self.q = after[action]
        return Decision(action, q, after, belief=(q, 1 - q, 0))


@dataclass
class DraftingRouter:
    """Does as told of each draft of each step, and remembers what it saw."""

    decisions: Sequence[Sequence[int | Decision]]  # of every step those of its drafts, in order
    needs_score: bool = True
    policy_hash: str = "drafting"
    seen: list[StepObservation] = field(default_factory=list)
    q: float | None = None

    def writer(self, index: int) -> None:
        return None

    def decide(self, seen: StepObservation) -> Decision:
        self.seen.append(seen)
        told = self.decisions[seen.step][seen.draft]
        return told if isinstance(told, Decision) else Decision(told)


def solution(actions: str = "k" * 99, *, answer: str | None = "7", caps: Caps | None = None, **options) -> Attempt:  # type: ignore[no-untyped-def]
    needs_score = options.pop("needs_score", True)
    router = ToldRouter(actions, needs_score=needs_score)
    return Attempt(Problem("p", "1 + 6?", answer), router, caps=caps or Caps(), **options)


def feed(item: Attempt, *replies: tuple[str, GeneratedStep | SolutionScores]) -> None:
    """Give replies in turn, each with the role that is expected to be asked."""
    for role, reply in replies:
        assert item.pending is not None, f"ended, but {role} was to be asked"
        assert item.pending.role == role
        item.receive(reply)


def timeless(record: SolutionRecord) -> tuple[object, ...]:
    """A record without its times."""
    times = {"weak": {"seconds"}, "strong": {"seconds"}, "scoring": {"seconds"}}
    exclude = {**times, "drafts": {"__all__": times}}
    terminal = record.terminal.model_dump(
        exclude={"session": True, "elapsed_s": True, "models_s": True, "scoring": {"seconds"}}
    )
    return (*(item.model_dump(exclude=exclude) for item in record.decisions), terminal)


def by_problem(records: Sequence[SolutionRecord]) -> dict[str, tuple[object, ...]]:
    return {record.terminal.problem: timeless(record) for record in records}


def with_hazard(world: DummyWorld, hazard: float) -> DummyWorld:
    """The same world with one hazard before the cap."""
    row = (*(hazard,) * (len(world.hazard) - 1), 1.0)
    return replace(world, hazard=row, hazard_derailed=row, hazard_wrong=row)


# A run that costs money ------------------------------------------------------------------------------------

PRICES = Prices(
    weak=Price(input=1.0, cached=0.1, output=5.0),
    strong=Price(input=10.0, output=40.0),
    prm=ReaderPrice(input=2.0),
    currency="EUR",
)


def wrote(text: str, tokens: int, read: int, cached: int = 0, stop: StopReason = "separator") -> GeneratedStep:
    return GeneratedStep(text, (-0.1,) * tokens, stop, Usage(read, cached, tokens))


def scored(tokens: int, *values: float, cached: int = 0) -> SolutionScores:
    return SolutionScores(values, tokens, cached)


def recorded(problem: str = "p") -> SolutionRecord:
    """Weak step kept (8 tokens), weak step replaced (6 by 9 of the strong model), weak step with the answer (5).

    The weak model's prompt has 20 tokens, the strong one's 24; the PRM reads 22, and one more for every earlier step.
    """
    item = solution("krk")
    feed(
        item,
        ("weak", wrote("a", 8, 20)),
        ("prm", scored(22 + 8, 0.9)),
        ("weak", wrote("b", 6, 20 + 8, cached=24)),
        ("prm", scored(22 + 8 + 6 + 1, 0.9, 0.2, cached=5)),
        ("strong", wrote("B", 9, 24 + 8)),
        ("weak", wrote("\\boxed{7}", 5, 20 + 17, cached=28, stop="answer")),
        ("prm", scored(22 + 17 + 5 + 2, 0.9, 0.8, 0.9)),
    )
    record = item.record
    return replace(record, terminal=record.terminal.model_copy(update={"problem": problem}))
