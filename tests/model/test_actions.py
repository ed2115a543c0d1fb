"""Actions: their tables against hand-made cases and against simulation by hand, and the catalogue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.actions import AGAIN, NEXT, OVER, StepLaw, action_named, action_of, actions_of, catalogue
from trim_pomdp.model.dynamics import StepDynamics
from trim_pomdp.model.redrafts import redraft_class

share = st.floats(0.0, 1.0)


def law(**changes: object) -> StepLaw:
    fields = {
        "weak_success": np.array([0.8, 0.7, 0.6]),
        "strong_success": 0.9,
        "repair": 0.5,
        "recovery": np.array([0.0, 0.1, 0.1]),
        "end": np.array([[0.1, 0.2, 0.3], [0.4, 0.3, 0.2], [1.0, 1.0, 1.0]]),
    }
    return StepLaw(**{**fields, **changes})  # type: ignore[arg-type]


def test_catalogue_has_stable_codes() -> None:
    assert [(a.name, a.code) for a in catalogue()] == [
        ("keep", 0),
        ("regenerate", 1),
        ("redraft", 2),
        ("takeover", 3),
        ("recall", 4),
    ]
    assert [a.asks for a in catalogue()] == [None, "strong", "weak", "strong", None]
    assert [a.is_judged_again for a in catalogue()] == [False, False, True, False, False]
    assert action_named("redraft") is not action_of(1)
    assert action_of(2).name == "redraft"


def test_what_is_no_set_of_actions_is_refused() -> None:
    assert [a.name for a in actions_of(("takeover", "keep"))] == ["keep", "takeover"]
    for names, words in (
        (("keep", "rewrite"), "no action 'rewrite'"),
        (("regenerate",), "expected keep"),
        (("keep",), "at least one more"),
        (("keep", "redraft", "redraft"), "twice"),
        (("keep", "recall"), "no draft before"),
    ):
        with pytest.raises(InputError, match=words):
            actions_of(names)
    with pytest.raises(InputError, match="code 9"):
        action_of(9)


@given(share, share, share, st.tuples(share, share, share))
def test_every_table_is_a_distribution(p_s: float, p_r: float, p_w: float, end: tuple[float, float, float]) -> None:
    steps = law(
        weak_success=np.array([p_w, p_w]), strong_success=p_s, repair=p_r, recovery=np.zeros(2),
        end=np.array([end, (1.0, 1.0, 1.0)]),
    )  # fmt: skip
    for action in catalogue():
        table = action.outcomes(steps)
        happens = np.stack([1.0 - steps.end, steps.end], axis=1) > 0.0  # no draft at the cap goes on
        np.testing.assert_allclose(table.sum(axis=(3, 4))[happens], 1.0, atol=1e-12)
        assert (table >= -1e-12).all()
        assert (action.strong_steps(steps) >= 0.0).all()


def test_redrafting_remembers_how_the_last_draft_was() -> None:
    table = action_named("redraft").outcomes(law())
    assert table[..., NEXT, :].sum() == table[..., OVER, :].sum() == 0.0
    np.testing.assert_array_equal(table[1, 0, :, AGAIN], np.eye(3))


def rest_by_hand(steps: StepLaw, t: int, ended: int, c: int, rng: np.random.Generator) -> tuple[bool, np.ndarray]:
    """Let the strong model write from a draft of class c on, one draw after another."""
    written = np.zeros(3)
    while True:
        written[c] += 1
        before = steps.end[t]
        was = c
        right = c != 1 and rng.random() < (steps.strong_success if c == 0 else steps.repair)
        recovered = c == 1 and rng.random() < steps.recovery[t]
        now = 0 if right else (2 if c != 1 else 1)
        over = bool(ended)
        if now != was:  # the end follows the class that the step has now
            h, g = before[was], before[now]
            share = (min(1.0, g / h) if h > 0 else 1.0) if ended else max(0.0, (g - h) / (1.0 - h))
            over = rng.random() < share
        is_right = right or recovered
        if over:
            return is_right, written
        t += 1
        c = (0 if rng.random() < steps.weak_success[t] else 2) if is_right else 1
        ended = int(rng.random() < steps.end[t, c])


@pytest.mark.parametrize(("t", "ended", "c"), [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (1, 0, 2)])
def test_taking_over_is_regenerating_to_the_end(t: int, ended: int, c: int) -> None:
    steps, rng, n = law(), np.random.default_rng(7), 4000
    takeover = action_named("takeover")
    drawn = [rest_by_hand(steps, t, ended, c, rng) for _ in range(n)]
    rights, written = np.array([right for right, _ in drawn]), np.array([count for _, count in drawn])
    table = takeover.outcomes(steps)[t, ended, c]
    assert table[NEXT].sum() == table[AGAIN].sum() == 0.0
    assert abs(rights.mean() - table[OVER, 0]) < 4.0 * max(rights.std(), 0.01) / np.sqrt(n)
    errors = 4.0 * np.maximum(written.std(axis=0), 0.01) / np.sqrt(n)
    assert (np.abs(written.mean(axis=0) - takeover.strong_steps(steps)[t, ended, c]) < errors).all()


def test_taking_over_at_the_cap_is_regenerating_there() -> None:
    steps = law()
    redone, over = (action_named(name).outcomes(steps)[-1, 1] for name in ("regenerate", "takeover"))
    np.testing.assert_allclose(over, redone, atol=1e-15)
    assert action_named("takeover").strong_steps(steps)[-1, 1].tolist() == np.eye(3).tolist()


@given(st.floats(0.05, 0.95), st.floats(0.01, 0.99))
def test_drafts_of_a_step_are_drawn_from_an_urn(p_w: float, share: float) -> None:
    """Against the moments of a Beta-distributed success: n = b / (p_w − b) balls, p_w of them right."""
    b = share * p_w
    right, wrong = p_w * b / (p_w - b), (1.0 - p_w) * b / (p_w - b)

    def all_as(drafts: str) -> float:
        """P(these drafts), in this order, of "r" and "w"."""
        out, balls = 1.0, [right, wrong]
        for draft in drafts:
            out *= balls["rw".index(draft)] / sum(balls)
            balls["rw".index(draft)] += 1.0
        return out

    table = redraft_class(np.array([p_w]), b, 4)[0]
    np.testing.assert_allclose(table.sum(axis=2), 1.0)
    for m in (1, 2, 3):
        history = "w" * (m - 1)
        assert table[m - 1, 2, 0] == pytest.approx(all_as(history + "wr") / all_as(history + "w"))
        assert table[m - 1, 0, 2] == pytest.approx(all_as(history + "rw") / all_as(history + "r"))
    assert table[0, 2, 0] == pytest.approx(b)
    assert p_w * table[0, 0, 2] == pytest.approx((1.0 - p_w) * b)  # drafts could change places
    assert table[:, 1].tolist() == [[0.0, 1.0, 0.0]] * 3


def test_a_right_draft_that_looked_bad_may_be_known_to_fail_more_often() -> None:
    known, urn = (redraft_class(np.array([0.9]), 0.3, 4, success)[0] for success in (0.7, None))
    np.testing.assert_allclose(known[:, 0, 2], np.maximum(urn[:, 0, 2], 0.3))
    np.testing.assert_array_equal(known[:, 1:], urn[:, 1:])
    assert (known[:, 0, 2] > urn[:, 0, 2]).tolist() == [True, False, False]


def test_drafts_are_independent_where_a_first_error_says_nothing() -> None:
    table = redraft_class(np.array([0.3, 0.5]), 0.5, 3)
    np.testing.assert_allclose(table[:, :, ::2, 0], np.array([0.3, 0.5])[:, None, None] * np.ones((2, 2, 2)))


@pytest.fixture
def dynamics() -> StepDynamics:
    return StepDynamics(name="d", weak_success=(0.8,), look_right=0.9, hazard=(0.2, 1.0))


EMISSION = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])


def test_dynamics_say_what_redrafts_need(dynamics: StepDynamics) -> None:
    with pytest.raises(UnsetParameterError, match=r"redraft_repair unset.*rollout --mode redraft"):
        dynamics.draft_law(2, EMISSION)
    assert "redraft_repair" not in dynamics.model_dump()
    known = dynamics.replace(redraft_repair=0.4)
    assert known.draft_law(2, EMISSION).other[:, 0, 0, 0] == pytest.approx([0.9, 0.9])
    assert known.draft_law(1, EMISSION).other.size == dynamics.draft_law(1, EMISSION).other.size == 0
    assert StepDynamics.model_validate(known.model_dump()) == known
    assert known.model_dump()["redraft_repair"] == 0.4
