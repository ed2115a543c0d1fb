"""Which weak steps are redone: failed and right ones, and never by what comes after them."""

from collections import Counter

import pytest
from scripted import dummy_models

from trim_pomdp.errors import InputError
from trim_pomdp.policies import StrategyRule
from trim_pomdp.runtime.backends.dummy import dummy_oracle, dummy_problems
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.rollouts import accepted, choose_repairs, first_error, usable, weak_rollout
from trim_pomdp.runtime.run import Routing


@pytest.fixture(scope="module")
def weak() -> list[SolutionRecord]:
    import asyncio

    out: list[SolutionRecord] = []
    routing = Routing(StrategyRule(strategy="weak"), oracle=dummy_oracle, record_scores=True)
    asyncio.run(solve_all(dummy_problems(300), routing.start, dummy_models(), out.append))
    return usable(out)


def test_half_are_suspicious_first_steps_and_both_classes_occur(weak: list[SolutionRecord]) -> None:
    chosen = choose_repairs(weak, 200, seed=1)
    assert len({item.id for item in chosen}) == 200
    assert chosen == choose_repairs(weak, 200, seed=1)
    assert chosen != choose_repairs(weak, 200, seed=2)
    classes = Counter(accepted(item.weak)[item.step].true_class for item in chosen)
    assert classes[0] >= 40, "right steps"
    assert classes[2] >= 40, "first errors"
    for item in chosen:
        assert item.prefix == tuple(step.text for step in accepted(item.weak)[: item.step])


def test_any_step_means_all_steps_alike(weak: list[SolutionRecord]) -> None:
    """A single repair is of the second kind: every step is as likely, whatever its solution's length."""
    few = weak[:40]
    lengths = [len(record.decisions) for record in few]
    n = 1500
    chosen = [choose_repairs(few, 1, seed)[0] for seed in range(n)]
    by_length = Counter(len(item.weak.decisions) for item in chosen)
    for length, solutions in Counter(lengths).items():
        expected = n * length * solutions / sum(lengths)
        assert by_length[length] == pytest.approx(expected, abs=4.5 * expected**0.5)
    last = sum(item.step == len(item.weak.decisions) - 1 for item in chosen)
    assert last == pytest.approx(n * len(few) / sum(lengths), abs=4.5 * (n * len(few) / sum(lengths)) ** 0.5)


def test_a_solution_that_is_cut_short_keeps_its_earlier_choice(weak: list[SolutionRecord]) -> None:
    from dataclasses import replace

    from trim_pomdp.runtime.rollouts import _suspicious

    found = dict(_suspicious(weak))
    cut = [replace(record, decisions=record.decisions[: found.get(i, 99) + 1]) for i, record in enumerate(weak)]
    assert dict(_suspicious(cut)) == found
    assert 0.3 * len(weak) < len(found) < 0.6 * len(weak)


def test_how_many_there_can_be(weak: list[SolutionRecord]) -> None:
    everything = sum(len(record.decisions) for record in weak)
    assert len(choose_repairs(weak, everything, 0)) == everything
    assert len(choose_repairs(weak, 1, 0)) == 1
    for n in (0, everything + 1):
        with pytest.raises(InputError, match=f"expected 1 to {everything}"):
            choose_repairs(weak, n, 0)


def test_labels_are_of_the_first_error(weak: list[SolutionRecord]) -> None:
    for record in weak:
        label = first_error(record)
        rollout = weak_rollout(record, labels=True)
        assert rollout.label == label
        assert (label == -1) == all(" right " in step.text for step in accepted(record))
        assert weak_rollout(record).label is None
    stripped = (
        weak[0]
        .decisions[0]
        .model_copy(update={"weak": weak[0].decisions[0].weak.model_copy(update={"true_class": None})})
    )  # type: ignore[union-attr]
    from dataclasses import replace

    with pytest.raises(InputError, match="the lab"):
        first_error(replace(weak[0], decisions=(stripped,)))
