"""The lab's problems and its exact checker."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.lab.problems import (
    CLOSING,
    FAMILIES,
    LABELS,
    MAX_STEPS,
    OPENING,
    Arithmetic,
    Operation,
    StepParts,
    check,
    draw,
    in_words,
    opening_words,
    plain,
    sample,
    sample_list,
    sample_loop,
    step_parts,
    step_result,
)

families = st.sampled_from(FAMILIES)
seeds = st.integers(0, 10**6)


def test_a_list_by_hand():
    problem = Arithmetic.parse("Start 75; a) -87; b) *19")
    assert problem.steps() == ["a) 75-87=88", "b) 88*19=72 \\boxed{72}"]
    assert problem.answer == "72"


def test_a_loop_by_hand():
    problem = Arithmetic.parse("Start 90; a) *21; b) *29; c) -89; until 00")
    assert problem.steps() == [
        "a) 90*21=90", "b) 90*29=10", "c) 10-89=21", "d) 21*21=41", "e) 41*29=89", "f) 89-89=00 \\boxed{06}",
    ]  # fmt: skip
    assert problem.answer == "06"


IN_WORDS = ("Start 75; a) -87; b) *19; in words", ["a) so 75-87=88 indeed still", "b) now 88*19=72 too \\boxed{72}"])


def test_a_list_in_words_by_hand():
    prompt, steps = IN_WORDS
    problem = Arithmetic.parse(prompt)
    assert problem.in_words
    assert problem.prompt == prompt
    assert problem.steps() == [plain(step) for step in steps] == ["a) 75-87=88", "b) 88*19=72 \\boxed{72}"]
    assert check(problem, steps).right == (True, True)
    assert step_parts(steps[1]) == StepParts(88, Operation("*", 19), 72, boxed=True)
    assert step_result(steps[0]) == 88
    assert [opening_words(step) for step in (*steps, "c) 12+01=13", "c) so now 12+01=13")] == [1, 1, 0, 2]


def test_words_do_not_hide_an_error():
    problem = Arithmetic.parse(IN_WORDS[0])
    assert check(problem, ["a) so 75-87=78 indeed still"]).right == (False,)
    assert check(problem, ["a) 75-87=88"]).right == (True,), "words are asked for, and not judged"
    assert check(problem, ["a) so 75-87 indeed=88"]).right == (False,)
    assert check(problem, ["a) so 75-87=88 indeedy"]).right == (False,)


def test_words_where_none_are_asked_for_are_wrong():
    assert check(Arithmetic.parse("Start 75; a) -87; b) *19"), IN_WORDS[1]).right == (False, False)


@given(families, seeds)
def test_words_come_off_again(family, seed):
    rng = np.random.default_rng(seed)
    for step in sample(family, rng).steps():
        worded = in_words(step, rng)
        assert plain(worded) == step
        found = [word for word in worded.split() if word in (*OPENING, *CLOSING)]
        assert [word in OPENING for word in found] == [True, False, False]


def test_words_are_drawn_the_frequent_first():
    rng = np.random.default_rng(0)
    words = [in_words("a) 75-87=88", rng).split()[1] for _ in range(4000)]
    shares = [words.count(word) / len(words) for word in OPENING]
    harmonic = sum(1 / i for i in range(1, 8))
    assert shares == pytest.approx([1 / i / harmonic for i in range(1, 8)], abs=0.03)


def test_division_undoes_multiplication():
    for operand in (11, 37, 99):
        for value in range(100):
            assert Operation("/", operand)(Operation("*", operand)(value)) == value


@given(families, seeds)
def test_prompts_read_back_and_right_solutions_check(family, seed):
    problem = sample(family, np.random.default_rng(seed))
    assert Arithmetic.parse(problem.prompt) == problem
    steps = problem.steps()
    assert len(steps) <= MAX_STEPS
    assert check(problem, steps).classes == (0,) * len(steps)
    assert f"\\boxed{{{problem.answer}}}" in steps[-1]
    assert all("boxed" not in step for step in steps[:-1])


@given(families, seeds, st.integers(0, 15), st.integers(1, 99))
def test_a_wrong_result_is_the_first_error_and_right_work_on_it_never_recovers(family, seed, at, by):
    problem = sample(family, np.random.default_rng(seed))
    right = problem.steps()
    at %= len(right)
    value, steps = problem.start, []
    for index in range(len(LABELS)):
        operation = problem.operation(index)
        if operation is None:
            break
        result = (operation(value) + (by if index == at else 0)) % 100
        steps.append(problem.written(index, value, result))
        value = result
        if problem.ends(index, value):
            break
    checked = check(problem, steps)
    assert checked.first_error == at
    assert checked.right == tuple(index != at for index in range(len(steps)))
    assert checked.classes == tuple(0 if i < at else 2 if i == at else 1 for i in range(len(steps)))
    if family != "loop":
        assert problem.answer not in steps[-1].split("boxed")[-1]


@pytest.mark.parametrize(
    ("steps", "first"),
    [
        (["a) 75-87=88", "b) 88*19=72"], 1),  # no box at the end
        (["a) 75-87=88 \\boxed{88}"], 0),  # a box too early
        (["b) 75-87=88"], 0),  # the wrong label
        (["a) 75-78=97"], 0),  # another operand
        (["a) 74-87=87"], 0),  # another value
        (["a) 75-87=88", "b) 87*19=53 \\boxed{53}"], 1),  # not the value before
        (["a) 75-87=88", "b) 88*19=72 \\boxed{72}", "c) 72+01=73"], 2),  # beyond the end
        (["rubbish", "b) 88*19=72 \\boxed{72}"], 0),
        ([""], 0),
    ],
)
def test_every_way_to_be_wrong(steps, first):
    assert check(Arithmetic.parse("Start 75; a) -87; b) *19"), steps).first_error == first


def test_steps_after_rubbish_are_not_right_on_their_own_terms():
    checked = check(Arithmetic.parse("Start 75; a) -87; b) *19"), ["rubbish", "b) 88*19=72 \\boxed{72}"])
    assert checked.right == (False, False)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "Start 5; a) +01",
        "Start 05; in words",
        "Start 05; a) +01 in words",
        "Start 05",
        "Start 05; b) +01",
        "Start 05; a) %01",
    ],
)
def test_other_text_is_no_problem_of_the_lab(prompt):
    with pytest.raises(InputError, match="not a problem of the lab"):
        Arithmetic.parse(prompt)


@given(seeds, st.integers(1, MAX_STEPS))
def test_loops_end_after_their_length_and_not_before(seed, length):
    problem = sample_loop(np.random.default_rng(seed), length, divide=0.3)
    assert len(problem.steps()) == length


def test_shares_of_operations():
    rng = np.random.default_rng(0)
    kinds = [op for _ in range(400) for op in sample_list(rng, 10, multiply=0.4, divide=0.1).operations]
    hard = [op.kind for op in kinds if op.kind in "*/" and op.operand > 10]
    assert hard.count("/") / len(kinds) == pytest.approx(0.1, abs=0.02)
    assert hard.count("*") / len(kinds) == pytest.approx(0.4, abs=0.03)


def test_problems_depend_on_family_split_seed_and_index_alone():
    assert draw("loop", "fit", 3, 5, first=2) == draw("loop", "fit", 3, 10)[2:7]
    prompts = {
        (family, split, seed): tuple(item.prompt for item in draw(family, split, seed, 20))
        for family in FAMILIES
        for split in ("train", "fit", "test")
        for seed in (0, 1)
    }
    assert len(set(prompts.values())) == len(prompts)
    together = [prompt for drawn in prompts.values() for prompt in drawn]
    assert len(set(together)) == len(together)
