"""Looking into solutions whose steps were drafted again: what is shown is what was recorded."""

from __future__ import annotations

import pytest
from scripted import feed, scores, step

from trim_pomdp.data.problems import Problem
from trim_pomdp.inspection.solutions import inspect_solution
from trim_pomdp.inspection.wording import decision_in_words, done_in_words, flips_of
from trim_pomdp.model.dynamics import PerClass, StepDynamics
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import policy_for_tradeoff
from trim_pomdp.policies import Rule
from trim_pomdp.policies.redraft import RedraftRule
from trim_pomdp.runtime.attempt import Attempt
from trim_pomdp.runtime.records import SolutionRecord

PROBLEM = Problem("p", "1 + 6?", "7")
ANSWER = r"so \boxed{7}"


@pytest.fixture(scope="module")
def planned() -> Rule:
    """A plan that drafts again what looks wrong."""
    observations = ObservationModel(
        name="o", estimator="by hand",
        step_emission=StepEmission(
            score_edges=(0.0, 0.3, 0.7, 1.0), right=(0.1, 0.2, 0.6, 0.1), derailed=(0.3, 0.3, 0.3, 0.1),
            wrong=(0.7, 0.2, 0.1, 0.0),
        ),
    )  # fmt: skip
    dynamics = StepDynamics(
        name="d", weak_success=(0.7,), strong_success=0.95, repair=0.7, look_right=0.8, hazard=(*(0.2,) * 5, 1.0),
        weak_tokens=PerClass.constant(8.0), strong_tokens=PerClass.constant(12.0), redraft_repair=0.5,
    )  # fmt: skip
    model = RoutingModel(observations, dynamics, actions=("keep", "redraft", "regenerate"), max_drafts=3)
    return policy_for_tradeoff(model, 1.0, gap=1e-3).policy


def routed(rule: Rule) -> SolutionRecord:
    """The first step is drafted three times, the second is kept."""
    item = Attempt(PROBLEM, rule.router(PROBLEM))
    for text, score in (("a", 0.05), ("b", 0.1), ("c", 0.9)):
        feed(item, ("weak", step(text, 3)), ("prm", scores(score)))
    feed(item, ("weak", step(ANSWER, 2, "answer")), ("prm", scores(0.9, 0.8)))
    assert item.pending is None
    return item.record


@pytest.mark.parametrize("which", ["planned", "best of a few"])
def test_drafts_are_decided_as_they_were(which: str, planned: Rule) -> None:
    rule = planned if which == "planned" else RedraftRule(redraft_below=0.3)
    record = routed(rule)
    assert [draft.action for draft in record.decisions[0].drafts] == ["redraft", "redraft"]
    look = inspect_solution(record, rule)
    assert [item.text for item in look.steps] == ["c", ANSWER]
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
    first = inspect_solution(routed(planned), RedraftRule(redraft_below=0.02, regenerate_below=0.01)).steps[0]
    assert (first.text, first.score, first.action) == ("a", 0.05, "keep")


def test_what_is_drafted_again_without_a_further_draft_is_said_in_words(planned: Rule) -> None:
    look = inspect_solution([0.05, 0.9], planned)
    first, second = look.steps
    assert (first.action, first.text, first.author) == ("redraft", None, None)
    assert second.hypothetical is False
    assert done_in_words(first) == "redraft"
    probe = look.probes[0]
    assert probe is not None
    words = "".join(decision_in_words(first, flips_of(first, probe)))
    assert words.startswith("Redrafts; would keep at a score of ")
