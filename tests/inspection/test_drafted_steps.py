"""Looking into solutions whose steps were drafted again: what is shown is of the draft that stands, others beside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from scripted import DraftingRouter, dummy_models, feed, scores, step

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.assessment import spending_by_class
from trim_pomdp.inspection.course import DiscardedDraft
from trim_pomdp.inspection.drawing import solution_state
from trim_pomdp.inspection.report_details import recorded_state
from trim_pomdp.inspection.rivals import side_by_side
from trim_pomdp.inspection.runs import RecordedRun, is_missed_error, read_run
from trim_pomdp.inspection.solutions import Inspection, edit, inspect_solution
from trim_pomdp.inspection.wording import decision_in_words, done_in_words, flips_of
from trim_pomdp.model.actions import KEEP, action_named
from trim_pomdp.model.dynamics import PerClass, Shares, StepDynamics
from trim_pomdp.model.evidence import EvidenceMap, evidence_score
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_tradeoff
from trim_pomdp.policies import Decision, Router, Rule, StepObservation, StrategyRule
from trim_pomdp.policies.base import RuleRouter
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.runtime.attempt import Attempt, Caps, Oracle
from trim_pomdp.runtime.backends.dummy import DummyWorld, dummy_oracle, dummy_problems
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing, run

PROBLEM = Problem("p", "1 + 6?", "7")
ANSWER = r"so \boxed{7}"
REDRAFT, RECALL = action_named("redraft").code, action_named("recall").code
THREE = (("a", 0.05), ("b", 0.1), ("c", 0.9))
BEST_SECOND = (("a", 0.5), ("b", 0.9), ("c", 0.05))
LATEST = RedraftRule(redraft_below=0.95, max_drafts=3, keeps="latest")
BETTER = RedraftRule(redraft_below=0.95, max_drafts=3, keeps="better")

SMALL = ObservationModel(
    name="o", estimator="by hand",
    step_emission=StepEmission(
        score_edges=(0.0, 0.3, 0.7, 1.0), right=(0.1, 0.2, 0.6, 0.1), derailed=(0.3, 0.3, 0.3, 0.1),
        wrong=(0.7, 0.2, 0.1, 0.0),
    ),
)  # fmt: skip
DYNAMICS = StepDynamics(
    name="d", weak_success=(0.7,), strong_success=0.95, repair=0.7, look_right=0.8, hazard=(*(0.2,) * 5, 1.0),
    weak_tokens=PerClass.constant(8.0), strong_tokens=PerClass.constant(12.0), redraft_repair=0.5,
)  # fmt: skip


def plan(*actions: str, tradeoff: float = 1.0) -> Rule:
    model = RoutingModel(SMALL, DYNAMICS, actions=("keep", *actions), max_drafts=3 if "redraft" in actions else 1)
    return policy_for_tradeoff(model, tradeoff, gap=1e-3).policy


class Told(Rule):
    """Does as told of each draft of each step."""

    form: str = "told"
    decisions: Any

    def router(self, problem, *, seed=0, class_table=None):  # type: ignore[no-untyped-def]
        return ToldRouter(self)


class ToldRouter(RuleRouter):
    def __init__(self, rule: Told) -> None:
        super().__init__(rule)
        self.needs_score, self._decisions = True, rule.decisions

    def decide(self, seen: StepObservation) -> Decision:
        told = self._decisions[seen.step][seen.draft]
        return told if isinstance(told, Decision) else Decision(told)


@pytest.fixture(scope="module")
def planned() -> Rule:
    """A plan that drafts again what looks wrong."""
    return plan("redraft", "regenerate")


@pytest.fixture(scope="module")
def recalling() -> Rule:
    """A plan that goes back to the draft before where the new one looks worse."""
    return plan("redraft", "recall", "regenerate")


def routed(
    rule: Rule | Router, drafts: Sequence[tuple[str, float]] = THREE, *, oracle: Oracle | None = None
) -> SolutionRecord:
    """The first step is drafted as given, tokens counting up from 3; what comes next is the answer, and is kept."""
    router = rule.router(PROBLEM) if isinstance(rule, Rule) else rule
    item = Attempt(PROBLEM, router, oracle=oracle)
    for tokens, (text, score) in enumerate(drafts, start=3):
        feed(item, ("weak", step(text, tokens)))
        if item.pending is not None and item.pending.role == "prm":
            feed(item, ("prm", scores(score)))
    known = dict(drafts)
    while item.pending is not None:
        if item.pending.role == "weak":
            item.receive(step(ANSWER, 2, "answer"))
        else:
            item.receive(scores(*(known.get(text, 0.98) for text in item.pending.request.steps)))
    return item.record


def classes(**of: int) -> Oracle:
    """The true class of drafts by their text."""
    return lambda problem, steps: of.get(steps[-1], 0)  # type: ignore[return-value]


def agrees(look: Inspection) -> None:
    """The compiled loops decide as the router does, wherever its decision may change."""
    for probe in look.probes:
        if probe is not None and probe.points:
            assert probe.actions == tuple(item.action for item in probe.decisions)


@pytest.mark.parametrize("which", ["planned", "best of a few"])
def test_drafts_are_decided_as_they_were(which: str, planned: Rule) -> None:
    rule = planned if which == "planned" else RedraftRule(redraft_below=0.3)
    record = routed(rule)
    assert [draft.action for draft in record.decisions[0].drafts] == ["redraft", "redraft"]
    look = inspect_solution(record, rule)
    assert [item.text for item in look.steps] == ["c", ANSWER]
    assert [len(item.drafts) for item in look.steps] == [2, 0]
    for shown, recorded in zip(look.steps, record.decisions, strict=True):
        assert (shown.action, shown.decided, shown.recorded_action) == ("keep", "keep", "keep")
        assert (shown.belief, shown.q) == (recorded.belief, recorded.q)
        assert (shown.gain, shown.price) == (recorded.gain, recorded.price)
        assert not shown.hypothetical
    assert look.q_end == record.terminal.q


def test_another_policy_stops_at_another_draft(planned: Rule) -> None:
    """Of one that redrafts nothing the first draft is all that it sees; what it would do else is said of it."""
    look = inspect_solution(routed(planned), RedraftRule(redraft_below=0.08))
    assert look.steps[0].text == "b", "only the first looks that bad"
    first, second = inspect_solution(routed(planned), RedraftRule(redraft_below=0.02, regenerate_below=0.01)).steps
    assert (first.text, first.score, first.action, first.tokens_weak) == ("a", 0.05, "keep", 3)
    assert first.diverges
    assert second.hypothetical
    alone = inspect_solution(routed(planned), StrategyRule(strategy="weak")).steps[0]
    assert (alone.text, alone.drafts) == ("a", ()), "nobody asks for another draft"


def test_what_is_drafted_again_without_a_further_draft_is_said_in_words(planned: Rule) -> None:
    look = inspect_solution([0.05, 0.9], planned)
    first, second = look.steps
    assert (first.action, first.text, first.author, first.q_after) == ("redraft", None, None, None)
    assert second.hypothetical is False
    assert done_in_words(first) == "redraft"
    probe = look.probes[0]
    assert probe is not None
    words = "".join(decision_in_words(first, flips_of(first, probe)))
    assert words.startswith("Redrafts; would keep at a score of ")


# An earlier draft stands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["recall", "better"])
def test_what_is_shown_is_of_the_draft_that_stands(which: str, recalling: Rule) -> None:
    rule = recalling if which == "recall" else BETTER
    record = routed(rule, BEST_SECOND, oracle=classes(a=0, b=2, c=1))
    item, action = record.decisions[0], {"recall": "recall", "better": "keep"}[which]
    assert (item.action, item.stands) == (action, 1)
    look = inspect_solution(record, rule)
    first = look.steps[0]
    assert (first.text, first.score, first.tokens_weak, first.true_class) == ("b", 0.9, 4, 2)
    assert first.features["logprob_min"] == pytest.approx(-0.4)
    assert (first.draft, first.author, first.action) == (None, "weak", action)
    assert first.drafts == (
        DiscardedDraft("a", "redraft", 0.5, tokens=3, true_class=0),
        DiscardedDraft("c", action, 0.05, tokens=5, true_class=1),
    )
    assert (first.q, first.belief, first.gain, first.price) == (item.q, item.belief, item.gain, item.price)
    assert look.as_recorded
    assert not any(shown.diverges or shown.hypothetical for shown in look.steps)
    assert look.q_end == record.terminal.q
    assert next(iter(look.frame["drafts"])) == first.drafts

    asked, told = solution_state(look)["steps"][0], recorded_state(record, None)["steps"][0]
    assert json.loads(json.dumps(asked))["drafts"][1]["action"] == action
    for name in ("text", "score", "true_class", "drafts", "draft", "ended", "author", "action", "belief"):
        assert asked[name] == told[name], name
    assert asked["tokens"]["weak"] == told["tokens"]["weak"] == 4


def test_evidence_is_of_the_draft_that_stands() -> None:
    evidence = EvidenceMap(features=("score",), coefficients=(0.5,), intercept=0.0)
    rule = BETTER.model_copy(update={"evidence": evidence})
    record = routed(rule, BEST_SECOND)
    first = inspect_solution(record, rule).steps[0]
    found = [first.drafts[0].evidence, first.evidence, first.drafts[1].evidence]
    assert found == [evidence_score(evidence, {"score": score}) for _, score in BEST_SECOND]
    told = recorded_state(record, None)["steps"][0]
    assert [told["drafts"][0]["evidence"], told["evidence"], told["drafts"][1]["evidence"]] == found


@pytest.mark.parametrize(("wrong", "missed"), [("b", True), ("c", False), ("a", False)])
@pytest.mark.parametrize("which", ["recall", "better"])
def test_a_missed_error_is_one_that_stands(which: str, wrong: str, missed: bool, recalling: Rule) -> None:
    record = routed(recalling if which == "recall" else BETTER, BEST_SECOND, oracle=classes(**{wrong: 2}))
    assert is_missed_error(record.decisions[0]) == missed


def test_the_score_that_stands_goes_into_the_minimum(recalling: Rule) -> None:
    look = inspect_solution(routed(recalling, BEST_SECOND), recalling)
    edited = edit(look, 0, score=0.06)
    assert edited.steps[0].drafts[-1].score == 0.06, "what is edited is the draft that was decided on"
    assert (edited.steps[0].action, edited.steps[0].score) == ("recall", 0.9)
    assert edited.steps[1].features["minimum"] == 0.9
    other = inspect_solution(routed(LATEST, BEST_SECOND), BETTER)
    assert other.steps[1].features["minimum"] == 0.9


def test_minima_of_drafts_are_of_what_stands() -> None:
    """Off the recorded course earlier drafts too are seen behind what stands there."""
    seen: list[StepObservation] = []

    class Noting(RedraftRule):
        def router(self, problem, **options):  # type: ignore[no-untyped-def]
            router = super().router(problem, **options)
            decide = router.decide
            router.decide = lambda look: (seen.append(look), decide(look))[1]  # type: ignore[func-returns-value]
            return router

    item = Attempt(PROBLEM, LATEST.router(PROBLEM))
    for text, score in BEST_SECOND:
        feed(item, ("weak", step(text)), ("prm", scores(score)))
    for text, score in (("d", 0.2), (ANSWER, 0.99)):
        feed(item, ("weak", step(text)), ("prm", scores(0.05, score)))
    inspect_solution(item.record, Noting(**BETTER.model_dump(exclude={"form"})))
    minima = {look.features["minimum"] for look in seen if look.step == 1}
    assert len([look for look in seen if look.step == 1]) > 1
    assert minima == {0.9}


# Other policies, and edits ------------------------------------------------------------------------------------


def test_another_policy_lets_another_draft_stand(recalling: Rule) -> None:
    latest = routed(LATEST, BEST_SECOND)
    assert latest.decisions[0].accepted.text == "c"  # type: ignore[union-attr]
    for other, action in ((BETTER, "keep"), (recalling, "recall")):
        look = inspect_solution(latest, other)
        first, second = look.steps
        assert (first.text, first.score, first.tokens_weak, first.action) == ("b", 0.9, 4, action)
        assert [draft.text for draft in first.drafts] == ["a", "c"]
        assert (first.diverges, first.hypothetical, second.hypothetical) == (True, False, True)
        assert not look.as_recorded
    back = inspect_solution(routed(recalling, BEST_SECOND), LATEST)
    assert (back.steps[0].text, back.steps[0].diverges) == ("c", True)
    assert not inspect_solution(routed(recalling, BEST_SECOND), BETTER).steps[0].diverges, "the same draft stands"


def test_a_draft_of_the_same_text_is_the_same_course() -> None:
    record = routed(LATEST, (("a", 0.5), ("b", 0.1), ("a", 0.5)))
    look = inspect_solution(record, RedraftRule(redraft_below=0.3))
    assert (look.steps[0].text, look.steps[0].drafts) == ("a", ())
    assert look.as_recorded


def test_a_strong_step_after_fewer_drafts_is_another_one() -> None:
    rule = RedraftRule(redraft_below=0.95, regenerate_below=0.95, max_drafts=2)
    item = Attempt(PROBLEM, rule.router(PROBLEM))
    feed(item, ("weak", step("a")), ("prm", scores(0.1)), ("weak", step("b")), ("prm", scores(0.2)))
    feed(item, ("strong", step("s", 9)), ("weak", step(ANSWER, 2, "answer")), ("prm", scores(0.9, 0.99)))
    look = inspect_solution(item.record, rule)
    assert (look.steps[0].draft, look.steps[0].score, look.steps[0].drafts[0].text) == ("b", 0.2, "a")
    assert look.as_recorded
    once = inspect_solution(item.record, rule.model_copy(update={"max_drafts": 1}))
    assert (once.steps[0].action, once.steps[0].draft, once.steps[0].diverges) == ("regenerate", "a", True)


def test_an_earlier_draft_that_ends_the_solution_ends_it() -> None:
    drafts = ((ANSWER, 0.5), (ANSWER + "!", 0.9), ("c", 0.05))
    after = [None, None, 0.6, None, 0.8]
    over = [None, None, 0.6, None, 0.9]
    told = Told(decisions=([REDRAFT, REDRAFT, Decision(RECALL, after=tuple(after), over=tuple(over))],))
    record = routed(told, drafts)
    assert (len(record.decisions), record.decisions[0].action, record.terminal.q) == (1, "recall", 0.9)
    longer = routed(LATEST, drafts)
    assert len(longer.decisions) > 1
    for course in (record, longer):
        look = inspect_solution(course, told)
        assert [item.ended for item in look.steps] == [True]
        assert look.q_end == 0.9
    assert [item.text for item in inspect_solution(longer, BETTER).steps] == [ANSWER + "!"]


def test_a_belief_set_to_what_it_is_changes_nothing(recalling: Rule, planned: Rule) -> None:
    for rule, drafts in ((recalling, BEST_SECOND), (planned, THREE), (recalling, THREE)):
        look = inspect_solution(routed(rule, drafts), rule)
        same = edit(look, 0, q=look.steps[0].q)
        assert [replace(item, edited=False) for item in same.steps] == list(look.steps)
        assert same.q_end == look.q_end


@pytest.mark.parametrize("q", [0.0, 0.1, 0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("drafts", [THREE, BEST_SECOND])
def test_another_belief_leaves_what_drafts_told_of_each_other(
    q: float, drafts: Sequence[tuple[str, float]], recalling: Rule
) -> None:
    look = inspect_solution(routed(recalling, drafts), recalling)
    edited = edit(look, 0, q=q)
    before, after = look.steps[0].prior, edited.steps[0].prior
    assert before is not None
    assert after is not None
    assert edited.steps[0].q == q
    assert after[1] == pytest.approx(1.0 - q)
    assert after[0] * before[2] == pytest.approx(after[2] * before[0]), "right against wrong, as the drafts before said"
    agrees(edited)
    agrees(edit(look, 0, q=q, score=0.5))
    agrees(edit(edit(look, 0, tradeoff=0.3), 0, strong_tokens=40.0))


def test_an_edit_is_of_the_draft_that_is_decided_on(planned: Rule) -> None:
    look = inspect_solution(routed(planned), RedraftRule(redraft_below=0.02))
    assert look.steps[0].score == 0.05
    edited = edit(look, 0, score=0.9)  # as the last draft's is, which this policy never sees
    assert (edited.steps[0].text, edited.steps[0].score, edited.steps[0].edited) == ("a", 0.9, True)


def test_what_a_policy_misses_of_an_earlier_draft_is_said() -> None:
    record = routed(DraftingRouter([[REDRAFT, KEEP], [KEEP]], needs_score=False), THREE[:2])
    with pytest.raises(InputError, match=r"steps\[0\]: the evidence needs 'score'"):
        inspect_solution(record, BETTER)


def test_a_first_draft_cannot_be_recalled() -> None:
    with pytest.raises(InputError, match=r"steps\[0\]: the policy recalls a draft before there is any"):
        inspect_solution([0.5], Told(decisions=([RECALL],)))


def test_what_is_believed_afterwards_is_of_what_is_done(recalling: Rule) -> None:
    record = routed(recalling, BEST_SECOND)
    look = inspect_solution(record, recalling)
    assert record.decisions[0].belief is not None
    assert look.steps[0].q_after == record.decisions[1].q != record.decisions[0].belief[0]
    assert list(side_by_side({"plan": look})["plan"]) == [record.decisions[1].q, record.terminal.q]


def test_what_is_believed_after_a_takeover_is_of_that() -> None:
    decision = Decision(action_named("takeover").code, after=(0.1, 0.2, None, 0.7), belief=(0.3, 0.3, 0.4))
    taken = inspect_solution([0.1, 0.9], Told(decisions=([decision], [Decision(KEEP, belief=(0.6, 0.2, 0.2))])))
    assert list(side_by_side({"told": taken})["told"]) == [0.7, 0.6]


# Runs ---------------------------------------------------------------------------------------------------------


DRAFTY = DYNAMICS.replace(redraft_same=Shares(right=0.5, derailed=0.4, wrong=0.3))
RULES: dict[str, Callable[[], Rule]] = {
    "better": lambda: BETTER,
    "recall": lambda: (
        policy_for_tradeoff(
            RoutingModel(SMALL, DRAFTY, actions=("keep", "redraft", "recall", "regenerate"), max_drafts=3),
            1.0,
            gap=1e-3,
        ).policy
    ),
}


@pytest.fixture(scope="module", params=list(RULES))
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordedRun, Rule]:
    """A run among dummies, many of whose steps are earlier drafts."""
    rule, folder = RULES[request.param](), tmp_path_factory.mktemp("drafted") / "run"
    routing = Routing(rule, seed=3, caps=Caps(max_steps=6), oracle=dummy_oracle)
    run(dummy_problems(40), routing.start, dummy_models(DummyWorld.of(SMALL, DRAFTY)), folder, config=routing.config)
    found = read_run(folder)
    assert sum(item.stands is not None for record in found.solutions for item in record.decisions) > 10
    return found, rule


def test_runs_come_back_to_the_bit(live: tuple[RecordedRun, Rule]) -> None:
    found, rule = live
    for record in found.solutions:
        look = found.inspect(record.terminal.problem, rule)
        assert look.as_recorded
        assert look.q_end == record.terminal.q
        for shown, item, own in zip(look.steps, record.decisions, record.own_scores, strict=True):
            names = ("q", "belief", "gain", "price", "action")
            assert [getattr(shown, name) for name in names] == [getattr(item, name) for name in names]
            standing = item.standing.weak
            assert standing is not None
            assert (shown.tokens_weak, shown.true_class) == (standing.tokens, standing.true_class)
            if item.author == "weak":
                assert (shown.text, shown.score) == (standing.text, own)
                assert shown.tokens_weak == item.tokens.weak_kept
            assert sum(draft.tokens or 0 for draft in shown.drafts) == item.tokens.weak_discarded - (
                0 if item.author == "weak" else standing.tokens
            )
            assert not shown.hypothetical
        agrees(look)


def test_rows_of_runs_are_of_what_stands(live: tuple[RecordedRun, Rule]) -> None:
    found, _ = live
    items = [
        (item, own) for record in found.solutions for item, own in zip(record.decisions, record.own_scores, strict=True)
    ]
    table = found.decisions
    for index, (item, own) in enumerate(items):
        if item.author != "weak":
            continue
        assert item.accepted is not None
        row = {name: list(table[name])[index] for name in ("text", "score", "true_class", "weak_tokens", "minimum")}
        assert row == {
            "text": item.accepted.text,
            "score": own,
            "true_class": item.accepted.true_class,
            "weak_tokens": item.accepted.tokens,
            "minimum": item.features["minimum"],
        }
        assert len(list(table["drafts"])[index]) == len(item.drafts)
    stands = [item.accepted.true_class == 2 for item, _ in items if item.author == "weak" and item.accepted]
    assert sum(list(found.problems["missed_errors"])) == sum(stands) > 0
    kept = [item for item, _ in items if item.author == "weak"]
    redone = [item for item, _ in items if item.author == "strong"]
    wanted = [
        sum(item.accepted.true_class == kind for item in kept if item.accepted)
        + sum(item.weak.true_class == kind for item in redone if item.weak)
        for kind in range(3)
    ]
    assert [item.steps for item in spending_by_class(found).classes] == wanted
