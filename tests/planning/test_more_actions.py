"""More actions than keep and regenerate: plans against a belief tree written down by hand, policies against draws."""

import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from solvers import EpochSolution, solve_epochs
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.actions import KEEP, REGENERATE, action_named
from trim_pomdp.model.dynamics import PerClass, Shares, StepDynamics
from trim_pomdp.model.observations import ObservationModel, StepEmission
from trim_pomdp.model.prices import Prices, Tariff
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.model.redrafts import Tilts
from trim_pomdp.planning.courses import planned_course
from trim_pomdp.planning.evaluation import evaluate, evaluate_money
from trim_pomdp.planning.frontier import policy_for_budget, policy_for_tradeoff, rule_from_solution, solve_frontier
from trim_pomdp.planning.money import policy_for_cost
from trim_pomdp.planning.plots import gains
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import AlphaVectorRule, MixedRule, PolicyArtifact, StepObservation, ThresholdRule
from trim_pomdp.policies.alpha_vectors import AlphaVectorRouter, decide
from trim_pomdp.policies.redraft import RedraftRule

REDRAFT, TAKEOVER, RECALL = (action_named(name).code for name in ("redraft", "takeover", "recall"))
ALL = ("keep", "regenerate", "redraft", "takeover", "recall")
TOKENS = PerClass(right=10.0, derailed=12.0, wrong=20.0)


def model_of(
    T: int = 5,
    actions: tuple[str, ...] = ALL,
    drafts: int = 3,
    emission: tuple[tuple[float, ...], ...] = ((0.1, 0.2, 0.7), (0.4, 0.3, 0.3), (0.7, 0.2, 0.1)),
    **changes: object,
) -> RoutingModel:
    right, derailed, wrong = emission
    edges = tuple(np.linspace(0.0, 1.0, len(right)).tolist())
    observations = ObservationModel(
        name="o", step_emission=StepEmission(score_edges=edges, right=right, derailed=derailed, wrong=wrong),
        estimator="by hand",
    )  # fmt: skip
    fields: dict[str, object] = {
        "weak_success": (0.7,), "strong_success": 0.95, "repair": 0.7, "look_right": 0.8,
        "derailed_emission": "labelled", "hazard": (*(0.2,) * (T - 1), 1.0),
        "weak_tokens": PerClass.constant(8.0), "strong_tokens": TOKENS, "redraft_repair": 0.4,
        "redraft_same": Shares(right=0.6, derailed=0.5, wrong=0.3), "redraft_same_slope": -0.3,
        "redraft_tilt": {"right": (0.4, -0.1), "derailed": (0.2, 0.0), "wrong": (0.1, 0.05)},
        "strong_success_again": 0.85, "repair_again": 0.5,
    }  # fmt: skip
    dynamics = StepDynamics(name="d", **{**fields, **changes})  # type: ignore[arg-type]
    return RoutingModel(observations, dynamics, actions=actions, max_drafts=drafts)


def urn(p_w: float, repair: float | None, before: int) -> tuple[float, float]:
    """P(next right | so many drafts before, all wrong but for the last, which was right), and if that was wrong too."""
    assert repair is not None
    if repair >= p_w:
        return p_w, p_w
    right, wrong = p_w * repair / (p_w - repair), (1.0 - p_w) * repair / (p_w - repair)  # balls at first
    return (right + 1.0) / (right + wrong + before), right / (right + wrong + before)


Emission = tuple[tuple[float, ...], ...]
TWO_BINS: Emission = ((0.2, 0.8), (0.5, 0.5), (0.9, 0.1))
THREE_BINS: Emission = ((0.1, 0.1, 0.8), (0.4, 0.3, 0.3), (0.5, 0.3, 0.2))  # of which two are doubted


def repeats(d: StepDynamics, emission: np.ndarray) -> np.ndarray:
    """P(the next draft is the same | class, bin), and of one that came again."""
    same = np.zeros(3) if d.redraft_same is None else d.redraft_same.array
    out = np.repeat(same[:, None], emission.shape[1] + 1, axis=1)
    x = np.log(emission[2] / emission[0])
    for c in range(3) if d.redraft_same_slope is not None else ():
        weights = emission[c, x > 0.0] / emission[c, x > 0.0].sum()
        low, high = -60.0, 60.0  # the intercept, by bisection
        for _ in range(100):
            middle = (low + high) / 2
            shares = 1.0 / (1.0 + np.exp(-middle - d.redraft_same_slope * x))
            low, high = (middle, high) if weights @ shares[x > 0.0] < same[c] else (low, middle)
        if 0.0 < same[c] < 1.0:
            out[c, :-1], out[c, -1] = shares, (weights @ shares[x > 0.0] ** 2) / same[c]
    return out


def tree(
    model: RoutingModel,
    price: float,
    t: int,
    draft: int,
    held: np.ndarray,
    emission: np.ndarray,
    last_ended: bool = False,
    is_same: bool = False,
) -> float:
    """Value of an unnormalised hidden state before a draft is seen, by enumerating scores, ends and actions.

    Hazards are alike for all classes here, so that a rewritten step ends the solution iff its draft did.
    """
    d, reward, first, drafting = model.dynamics, model.reward, emission, model.redraft_price * model.reward
    p_w, p_s, p_r, h = d.weak_success[0], d.strong_success, d.repair, d.hazard[t]
    assert p_s is not None
    assert p_r is not None
    a, b = p_w, 0.0  # of a first draft, of which state 2 knows nothing
    if draft > 0:
        a, b = urn(p_w, d.redraft_repair, draft)
        a = min(a, 1.0 if d.redraft_success is None else d.redraft_success)
    same = np.zeros(3)
    if draft > 0 and d.redraft_same is not None:
        same = d.redraft_same.array
    # Of another text; what is right in all is as far as can be what the urn says.
    spoilt, repaired = (
        held[c] * min(1.0, x / (1.0 - same[c])) if same[c] < 1.0 else 0.0 for c, x in ((0, 1.0 - a), (2, b))
    )
    moved = np.diag(held) + np.array(
        [[-spoilt, 0.0, spoilt], [0.0, 0.0, 0.0], [repaired, 0.0, -repaired]]
    )  # by class of the draft before, and of this one
    if draft > 0 and d.redraft_tilt is not None:
        x = np.log(emission[2] / emission[0])
        rows = zip(emission, (d.redraft_tilt.right, d.redraft_tilt.derailed, d.redraft_tilt.wrong), strict=True)
        emission = np.array([row * np.exp(slope * x + bend * x**2) for row, (slope, bend) in rows])
        emission /= emission.sum(axis=1, keepdims=True)
    cost = price * TOKENS.array
    total = 0.0
    J = emission.shape[1]
    seen = [(j, ended, moved * emission[:, j] * (h if ended else 1.0 - h)) for j in range(J) for ended in (False, True)]
    again = [x if x is not None else y for x, y in ((d.strong_success_again, p_s), (d.repair_again, p_r))]
    for j, ended, both in [(J, last_ended, np.diag(held))] if is_same else seen:
        c, before = both.sum(axis=0), both.sum(axis=1)
        if c.sum() == 0.0:
            continue

        def go(good: float, mass: float, ended: bool = ended) -> float:
            after = np.array([good, mass - good, 0.0])
            return reward * good if ended else tree(model, price, t + 1, 0, after, first)

        def alone(t: int, good: float, mass: float) -> float:
            """The strong model writes from the opening of step t on."""
            of = np.array([good * p_w, mass - good, good * (1.0 - p_w)])
            now = of[0] * p_s + of[2] * p_r + d.recovery * of[1]
            over = d.hazard[t]
            onward = 0.0 if over == 1.0 else (1.0 - over) * alone(t + 1, now, mass)
            return -float(of @ cost) + over * reward * now + onward

        kept = c[0] + d.recovery * c[1]
        is_first = draft == 0 or (draft == 1 and is_same)
        redone = c[0] * (p_s if is_first else again[0]) + c[2] * (p_r if is_first else again[1]) + d.recovery * c[1]
        options = {"keep": go(kept, c.sum())}
        options["regenerate"] = go(redone, c.sum()) - float(c @ cost)
        options["takeover"] = -float(c @ cost) + (reward * redone if ended else alone(t + 1, redone, c.sum()))
        if draft > 0 and not is_same:
            options["recall"] = go(before[0] + d.recovery * before[1], before.sum(), last_ended)
        if draft + 1 < model.max_drafts:
            shares = repeats(d, first)[:, j]
            options["redraft"] = -drafting * c.sum() + sum(
                tree(model, price, t, draft + 1, part, first, ended, comes_again)
                for part, comes_again in ((c * (1.0 - shares), False), (c * shares, True))
            )
        total += max(value for name, value in options.items() if name in model.actions)
    return total


probability = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0.01, 0.99))


@given(
    st.sampled_from([(1, 3, TWO_BINS), (2, 2, TWO_BINS), (1, 4, TWO_BINS), (1, 3, THREE_BINS)]),
    st.floats(0.05, 0.95), probability, probability, probability,
    st.floats(0.0, 0.3), st.one_of(st.none(), st.tuples(probability, probability, probability)),
    st.sampled_from([0.0, 0.05, 1.0]), st.sampled_from([None, -0.5, 0.3]),
    st.sampled_from([
        ALL, ("keep", "redraft"), ("keep", "takeover"), ("keep", "regenerate", "redraft"),
        ("keep", "redraft", "recall"),
    ]),
    st.one_of(st.none(), st.tuples(*(st.tuples(st.floats(-1.0, 1.0), st.floats(-0.2, 0.2)),) * 3)),
    st.one_of(st.none(), st.tuples(probability, probability)),
)  # fmt: skip
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
def test_plans_are_worth_what_the_belief_tree_says(
    size: tuple[int, int, Emission], p_w: float, p_s: float, p_r: float, repair: float, recovery: float,
    same: tuple[float, float, float] | None, price: float, slope: float | None, actions: tuple[str, ...],
    tilt: tuple[tuple[float, float], ...] | None, again: tuple[float, float] | None,
) -> None:  # fmt: skip
    T, drafts, emission = size
    model = model_of(
        T, actions, drafts, emission, weak_success=(p_w,), strong_success=p_s, repair=p_r, redraft_repair=repair,
        redraft_success=None if same is None or same[0] > 0.5 else same[0] + 0.3,
        redraft_same=None if same is None else Shares(right=same[0], derailed=same[1], wrong=same[2]),
        redraft_same_slope=slope,
        redraft_tilt=tilt and Tilts.of(np.array(tilt)),
        strong_success_again=again and again[0], repair_again=again and again[1],
        recovery=recovery, hazard=(*(0.3,) * (T - 1), 1.0), strong_only_tokens=10.0,
    )  # fmt: skip
    exact = tree(model, price, 0, 0, np.array([1.0, 0.0, 0.0]), np.array(emission))
    solution = solve_epochs(model.epoch_model, model.weights(price), gap=1e-3, max_sweeps=60)
    assert solution.lower - 1e-8 <= exact <= solution.upper + 1e-8
    assert solution.upper - solution.lower <= 1e-4 * model.reward
    assert solution.components @ model.weights(price) == pytest.approx(solution.lower, abs=1e-6)


PRICES = Prices.model_validate(
    {"weak": {"input": 0.1, "output": 0.4}, "strong": {"input": 0.1, "output": 2.0}, "prm": {"input": 0.05}}
)
RATE = 5e4


@pytest.fixture(scope="module")
def model() -> RoutingModel:
    return replace(model_of(), tariff=Tariff.of(PRICES, 40.0))


@pytest.fixture(scope="module")
def solution(model: RoutingModel) -> EpochSolution:
    return solve_epochs(model.epoch_model, model.weights(RATE, "money"), gap=1e-4 * model.reward)


@pytest.fixture(scope="module")
def rule(model: RoutingModel, solution: EpochSolution) -> AlphaVectorRule:
    """Over money, where all five actions have their uses: taking over saves drafts and scores."""
    rule = rule_from_solution(solution, model, RATE, "money")
    assert (rule.course(model).decisions.sum(axis=1) > 1e-2).all()
    return rule


def test_the_policy_is_worth_what_was_planned(
    model: RoutingModel, solution: EpochSolution, rule: AlphaVectorRule
) -> None:
    """Its belief is kept on a grid, which costs little, and with a fine one next to nothing."""
    fine = rule.model_copy(update={"draft_cells": (512, 256), "belief_cells": 1 << 14})
    for executed, tolerance in ((rule, 2e-2), (fine, 1e-3)):
        exact = evaluate_money(executed, model)
        value = model.reward * exact.point.accuracy - RATE * exact.planned_money  # redrafts are in the money
        assert solution.lower - tolerance < value < solution.upper + 1e-9


def test_over_strong_tokens_taking_over_is_regenerating_to_the_end() -> None:
    """Which can be done step by step, so that nothing is gained by it."""
    found = [
        solve_epochs(item.epoch_model, item.weights(0.6), gap=1e-6)
        for item in (model_of(actions=("keep", "regenerate")), model_of(actions=("keep", "regenerate", "takeover")))
    ]
    assert found[0].lower == pytest.approx(found[1].lower, abs=2e-6)


def test_evaluation_is_what_simulation_draws(model: RoutingModel, rule: AlphaVectorRule) -> None:
    exact, drawn = evaluate(rule, model), simulate(rule, model, 100_000, 3)
    assert exact.redrafts == pytest.approx(drawn.redrafts, abs=4 * (drawn.redrafts_se or 0.0))
    assert all(abs(z) < 4.0 for z in drawn.z_scores(exact).values()), drawn.z_scores(exact)
    assert set(drawn.z_scores(exact)) >= {"accuracy", "redrafts", "discarded_tokens", "steps"}


def test_a_policy_is_evaluated_in_other_models_too(rule: AlphaVectorRule) -> None:
    """What is true then is the other model's, whatever its own plans may do; classes may end solutions unalike."""
    other = model_of(
        actions=("keep", "regenerate"), redraft_repair=0.1, weak_success=(0.6,), recovery=0.1,
        redraft_same=Shares(right=0.8, derailed=0.2, wrong=0.4),
        hazard_derailed=(0.1, 0.1, 0.3, 0.1, 1.0), hazard_wrong=(0.3, 0.1, 0.1, 0.1, 1.0),
    )  # fmt: skip
    exact, drawn = evaluate(rule, other), simulate(rule, other, 100_000, 4)
    assert exact.redrafts is not None
    assert all(abs(z) < 4.0 for z in drawn.z_scores(exact).values()), drawn.z_scores(exact)
    unknown = replace(other, dynamics=other.dynamics.replace(redraft_repair=None))
    with pytest.raises(UnsetParameterError, match="redraft_repair"):
        evaluate(rule, unknown)
    with pytest.raises(UnsetParameterError, match="rollout --mode redraft"):
        replace(unknown, actions=ALL)


def test_the_router_decides_as_the_kernels_do(rule: AlphaVectorRule) -> None:
    """Led through drafts and steps at random, also beyond the cap."""
    rng, router, tried = np.random.default_rng(5), AlphaVectorRouter(rule), set()
    for _ in range(400):
        router = AlphaVectorRouter(rule, q=float(rng.random()))
        for t in range(7):
            draft = 0
            while True:
                q, before = router.q, router.held
                score, ended = float(rng.choice([0.0, 0.5, 1.0])), bool(rng.random() < 0.2)
                repeated = draft > 0 and bool(rng.random() < 0.4)
                seen = StepObservation(t, ended, {"score": score}, draft=draft, repeated=repeated)
                weighed = np.array(router.prior(seen)) * router.likelihood(seen)
                got = router.decide(seen)
                assert got.belief == pytest.approx(weighed / weighed.sum())
                held = None if before is None else np.array([before.belief(repeated=repeated)])
                wanted = decide(
                    rule, np.array([q]), np.array([int(2 * score)]), np.array([ended]), np.array([t]),
                    held=held, draft=draft,
                    former_ended=np.array([before is not None and before.ended]), repeated=repeated,
                )  # fmt: skip
                assert got.action == wanted[0]
                tried.add((got.action, draft))
                assert got.after is not None
                assert len(got.after) == (TAKEOVER if draft == 0 or repeated else RECALL) + 1
                assert (got.after[REDRAFT] is None) == (draft == 2)
                assert router.q == got.after[got.action]
                if repeated:  # to go back to the same text is no choice
                    assert len(got.after) <= RECALL or got.after[RECALL] is None
                if got.action != REDRAFT:
                    assert router.held is None
                    break
                assert router.held is not None
                assert all(sum(router.held.belief(repeated=same)) == pytest.approx(1.0) for same in (False, True))
                draft += 1
            if got.action == TAKEOVER:
                break
    assert {action for action, _ in tried} == {KEEP, REGENERATE, REDRAFT, TAKEOVER, RECALL}
    assert max(draft for _, draft in tried) == 2


def test_rules_go_through_files_and_say_what_is_wrong(model: RoutingModel, rule: AlphaVectorRule) -> None:
    artifact = policy_for_tradeoff(model, 0.6, gap=1e-3)
    again = PolicyArtifact.from_mapping(json.loads(artifact.model_dump_json()), source="file")
    assert again == artifact
    assert again.policy.policy_hash == artifact.policy.policy_hash
    document = rule.model_dump()
    for changes, words in (
        ({"draft_vectors": ()}, "draft_vectors"),
        ({"max_drafts": 1}, "max_drafts"),
        ({"redraft_repair": None}, "redraft_repair"),
        ({"actions": ("regenerate", "keep")}, "order"),
        ({"hazard": None, "hazard_derailed": None, "hazard_wrong": None}, "hazards must be known"),
        ({"actions": ("keep", "rewrite")}, "rewrite"),
    ):
        with pytest.raises(ValueError, match=words):
            AlphaVectorRule.model_validate({**document, **changes})


def test_more_actions_are_never_worth_less() -> None:
    """Of the same budget, by plans for it."""
    sets = [
        ("keep", "regenerate"), ("keep", "regenerate", "takeover"), ("keep", "regenerate", "redraft"),
        ("keep", "regenerate", "redraft", "recall"), ALL,
    ]  # fmt: skip
    planned = [policy_for_budget(model_of(actions=actions), 0.25, gap=2e-4) for actions in sets]
    accuracy = [item.planned.accuracy for item in planned if item.planned is not None]
    assert all(item.planned is not None and item.planned.budget <= 0.25 + 1e-9 for item in planned)
    assert accuracy[0] == pytest.approx(accuracy[1], abs=1e-3)
    assert accuracy[1] < accuracy[2] - 1e-2
    assert accuracy[2] < accuracy[3] - 1e-3
    assert accuracy[3] <= accuracy[4] + 1e-3
    assert isinstance(planned[2].policy, MixedRule)
    assert planned[2].policy.choices == ("keep", "regenerate", "redraft")


def test_frontiers_and_courses_of_redrafts() -> None:
    frontier = solve_frontier(model_of(actions=("keep", "redraft", "regenerate")), 8, gap=1e-4)
    assert frontier.points[0].point.redrafts is not None
    for item in frontier.points:
        course = planned_course(frontier, item)
        assert course.strong_tokens.sum() == pytest.approx(item.point.strong_tokens, abs=1e-9)
        assert course.steps.sum() == pytest.approx(item.point.steps, abs=1e-9)
        exact = evaluate(course.rule, frontier.model)
        # Belief in cells may spend a little more or less, at next to no loss of value.
        weights = frontier.model.weights(item.point.tradeoff or 0.0)
        of = [frontier.model.components.index(name) for name in ("accuracy", "strong_tokens", "redrafts")]
        worth = [weights[of] @ [p.accuracy, p.strong_tokens, p.redrafts] for p in (exact, item.point)]
        assert worth[0] == pytest.approx(worth[1], abs=0.05)
    # Redrafts cost no strong token: weak-only, which asks for none, is beaten for nothing.
    assert frontier.points[0].point.accuracy > frontier.weak_only.accuracy + 0.05


def test_money_of_redrafts_and_takeovers(model: RoutingModel) -> None:
    artifact = policy_for_cost(model, 3e-4, gap=1e-4)
    assert artifact.planned is not None
    assert artifact.planned.money is not None
    assert artifact.planned.money <= 3e-4 * (1.0 + 1e-9)
    exact, drawn = evaluate_money(artifact, model), simulate(artifact, model, 100_000, 6)
    assert exact.point.money == pytest.approx(exact.money.total)
    assert abs(drawn.z_scores(exact.point)["money"]) < 4.0
    assert artifact.planned.redrafts is not None
    assert artifact.planned.redrafts > 0.0


def test_money_of_a_takeover_is_that_of_its_requests(model: RoutingModel, rule: AlphaVectorRule) -> None:
    """One for each step, which reads those before it: all the strong model's steps are requests."""
    exact, drawn = evaluate_money(rule, model), simulate(rule, model, 100_000, 8)
    assert abs(drawn.z_scores(exact.point)["money"]) < 4.0
    free = replace(model, tariff=Tariff.of(PRICES, 0.0))  # a problem of no length, so that steps are all that is read
    course, longer = rule.course(model), Tariff.of(PRICES, 1000.0)
    requests = (replace(model, tariff=longer).money(course, drafted=True, scored=True).strong_read) - (
        free.money(course, drafted=True, scored=True).strong_read
    )
    assert requests / (1000.0 * 0.1e-6) == pytest.approx(course.strong_steps.sum())
    # With h = .2 at each step: from the first one on, .8 of those that go on go on once more, and so forth.
    first = model_of(T=3).tables.further_requests[TAKEOVER, 0, 0, 0]
    assert first == pytest.approx([1.0 + 0.8, 1.0 + 2 * 0.8])
    assert (model.tables.further_requests[REGENERATE] == 0.0).all()


@pytest.mark.slow
def test_money_of_drafts_by_hand() -> None:
    """One step, two drafts at most: what is read and written is counted request by request."""
    model = replace(
        model_of(
            T=1,
            actions=("keep", "redraft"),
            drafts=2,
            strong_only_tokens=10.0,
            redraft_same=None,
            redraft_tilt=None,
        ),
        tariff=Tariff.of(PRICES, 40.0),
    )
    rule = rule_from_solution(solve_epochs(model.epoch_model, model.weights(0.0), gap=1e-3), model, 0.0)
    point, money = evaluate(rule, model), evaluate_money(rule, model).money
    assert point.redrafts is not None
    drafts = 1.0 + point.redrafts
    assert money.weak_read == pytest.approx(drafts * 40.0 * 0.1e-6)
    assert money.weak_kept == pytest.approx(8.0 * 0.4e-6)
    assert money.weak_discarded == pytest.approx(point.redrafts * 8.0 * 0.4e-6)
    assert money.scored == pytest.approx(drafts * 48.0 * 0.05e-6)
    assert money.strong == money.strong_read == 0.0
    # P(right) is .25, .7 and .94 in the three bins, and a new draft is likelier to be right below .7: in the lowest.
    assert point.redrafts == pytest.approx(0.28)
    assert point.accuracy == pytest.approx(0.14 + 0.49 + 0.07 * (1.0 - 0.3 * 0.4 / 0.7) + 0.21 * 0.4)


@pytest.mark.parametrize("keeps", ["latest", "better"])
@pytest.mark.parametrize(
    ("redraft", "regenerate", "drafts"), [(0.9, 0.3, 4), (0.5, 0.5, 3), (1.0, 0.0, 2), (0.4, 0.4, 1)]
)
def test_best_of_a_few_drafts_is_what_draws_say(
    keeps: Literal["latest", "better"], redraft: float, regenerate: float, drafts: int
) -> None:
    """Thresholds cut bins, classes end solutions unalike, derailed ones recover."""
    tariff = Tariff.of(PRICES, 40.0)
    other = replace(
        model_of(
            recovery=0.1, hazard_derailed=(0.1, 0.1, 0.3, 0.1, 1.0), hazard_wrong=(0.3, 0.1, 0.1, 0.1, 1.0),
            emission=((0.1, 0.2, 0.5, 0.2), (0.4, 0.2, 0.2, 0.2), (0.6, 0.2, 0.1, 0.1)),
        ),
        tariff=tariff,
    )  # fmt: skip
    best = RedraftRule(redraft_below=redraft, regenerate_below=regenerate, max_drafts=drafts, keeps=keeps)
    course = best.course(other)
    assert course.counts[0].sum() - course.counts[0, REDRAFT].sum() == pytest.approx(1.0)
    assert course.counts.min() >= -1e-12
    exact, drawn = evaluate(best, other), simulate(best, other, 200_000, 8)
    assert all(abs(z) < 4.0 for z in drawn.z_scores(exact).values()), drawn.z_scores(exact)
    if drafts == 1:
        threshold = evaluate(ThresholdRule(threshold=regenerate), other)
        assert threshold.accuracy == pytest.approx(exact.accuracy)
        assert threshold.money == pytest.approx(exact.money)


@pytest.mark.parametrize(("keeps", "drafts"), [("latest", 4), ("better", 2)])
def test_no_best_of_a_few_drafts_beats_the_plan(keeps: Literal["latest", "better"], drafts: int) -> None:
    """Of those that keep the better draft only of two, since plans come back to no earlier one than the last."""
    planned = model_of(drafts=drafts)
    for redraft in (0.3, 0.6, 1.0):
        for regenerate in (0.0, 0.3):
            best = RedraftRule(redraft_below=redraft, regenerate_below=regenerate, keeps=keeps, max_drafts=drafts)
            point = evaluate(best, planned)
            for price in (0.05, 0.6, 3.0):
                value = planned.reward * (point.accuracy - planned.redraft_price * (point.redrafts or 0.0))
                value -= price * point.strong_tokens
                solution = solve_epochs(planned.epoch_model, planned.weights(price), gap=1e-2)
                assert value <= solution.upper + 1e-9


def test_nothing_to_spend_still_buys_drafts() -> None:
    free = policy_for_budget(model_of(actions=("keep", "redraft", "regenerate")), 0.0)
    assert free.planned is not None
    assert free.weak_only is not None
    assert free.planned.strong_tokens == 0.0
    assert free.planned.accuracy > free.weak_only.accuracy + 0.05
    assert free.policy.choices == ("keep", "redraft")
    assert free.policy.authors == {"weak"}
    assert policy_for_budget(model_of(actions=("keep", "regenerate")), 0.0).policy.form == "strategy"


def test_a_policys_own_value_lies_within_what_is_certified() -> None:
    """Redrafts have their price in it, whatever the budget is."""
    model = model_of(T=3, actions=("keep", "regenerate", "redraft", "recall"), drafts=2)
    for artifact in (policy_for_budget(model, 1.0), policy_for_tradeoff(model, 0.3)):
        assert artifact.value is not None
        assert artifact.value_lower is not None
        assert artifact.value_upper is not None
        assert artifact.value_lower - 2e-2 * model.reward < artifact.value <= artifact.value_upper + 1e-9
        assert artifact.planned is not None
        assert artifact.planned.redrafts


def test_another_draft_must_be_worth_its_price() -> None:
    found = [policy_for_budget(replace(model_of(), redraft_price=price), 0.25).planned for price in (0.0, 0.003, 0.05)]
    redrafts = [item.redrafts for item in found if item is not None]
    assert redrafts[0] > redrafts[1] > redrafts[2]  # type: ignore[operator]
    with pytest.raises(InputError, match="redraft_price is -1"):
        replace(model_of(), redraft_price=-1.0)
    with pytest.raises(InputError, match="max_drafts is 1; expected at least 2"):
        model_of(drafts=1)
    assert model_of(actions=("keep", "regenerate"), drafts=1).drafts == 1


def test_maps_are_of_first_drafts_which_have_none_before_them() -> None:
    model = model_of(actions=("keep", "regenerate", "redraft", "recall"), drafts=2)
    rule = policy_for_tradeoff(model, 0.6).policy
    assert isinstance(rule, AlphaVectorRule)
    gain, price = gains(rule, 1, np.linspace(0.0, 1.0, 21))
    assert (gain - price).min() < -0.05


@pytest.mark.parametrize("ended", [False, True])
def test_maps_show_what_routers_decide(ended: bool) -> None:
    rule = policy_for_tradeoff(model_of(actions=("keep", "regenerate", "redraft"), drafts=3), 0.6).policy
    assert isinstance(rule, AlphaVectorRule)
    q, actions = np.linspace(0.0, 1.0, 9), set()
    gain, price = gains(rule, 1, q, ended=ended)
    for i, j in np.ndindex(gain.shape):
        got = AlphaVectorRouter(rule, q=float(q[i])).decide(StepObservation(1, ended, {"score": j / 2}))
        actions.add(got.action)
        assert (got.action != KEEP) == (gain[i, j] > price[i, j])
        if got.action != KEEP:
            assert (got.gain, got.price) == (pytest.approx(gain[i, j]), pytest.approx(price[i, j]))
    assert REDRAFT in actions
