"""One next step asked for in words: the question, and what is made of replies that are more, or something else."""

import pytest

from trim_pomdp.runtime.instruct import question, step_of_reply
from trim_pomdp.text.format import StepFormat

SO_FAR = ("3 + 4 = 7",)


def test_the_question() -> None:
    first = question("How {many}?", (), "\n\n")
    assert first.startswith("How {many}?\n\nWrite only the first step")
    assert first.endswith("put the final answer within \\boxed{}.")
    asked = question("How many?", ("a {steps}", "b"), "\n")
    assert "The solution so far:\n\na {steps}\nb\n\nWrite only the next step" in asked


@pytest.mark.parametrize(
    ("reply", "step", "more"),
    [
        ("7 - 2 = 5", "7 - 2 = 5", False),
        ("\n\n7 - 2 = 5\n", "7 - 2 = 5", False),
        ("7 - 2 = 5\n\nSo \\boxed{5}.", "7 - 2 = 5", True),
        # What is there is repeated: all of it, its end, with a label.
        ("3 + 4 = 7\n\n7 - 2 = 5", "7 - 2 = 5", False),
        ("Step 1: 3 + 4 = 7\n\nStep 2: 7 - 2 = 5", "7 - 2 = 5", False),
        ("**Step 1:** 3 + 4  = 7\n\n**Step 2:**\n\n7 - 2 = 5", "7 - 2 = 5", False),
        ("3 + 4 = 7", "3 + 4 = 7", False),  # nothing new: the engine calls it repeated
        # Labels, where the steps so far have none.
        ("Step 2: 7 - 2 = 5", "7 - 2 = 5", False),
        ("### Step 2\n7 - 2 = 5", "7 - 2 = 5", False),
        ("**Step 2: 7 - 2 = 5**", "7 - 2 = 5", False),
        ("**Next step:** 7 - 2 = 5", "7 - 2 = 5", False),
        ("Step by step we get 5.", "Step by step we get 5.", False),
        ("Step 2 gives 5.", "Step 2 gives 5.", False),
        # Openings.
        ("Sure! Here is the next step:\n\n7 - 2 = 5", "7 - 2 = 5", False),
        ("Here's the next step:\n\n7 - 2 = 5\n\nLet me know!", "7 - 2 = 5", True),
        ("Let's think about the next step:\n\n7 - 2 = 5", "7 - 2 = 5", False),
        ("The next step is to subtract 2.\n\n7 - 2 = 5", "The next step is to subtract 2.", True),
        ("Sure.", "Sure.", False),
        # Fences round all of it, and in it.
        ("```\n7 - 2 = 5\n```", "7 - 2 = 5", False),
        ("```latex\nStep 2: 7 - 2 = 5\n\nThen 5.\n```\n", "7 - 2 = 5", True),
        ("Run this:\n```python\nprint(7)\n\nprint(5)\n```", "Run this:\n```python\nprint(7)\n\nprint(5)\n```", False),
        ("", "", False),
        ("\n \n", "", False),
    ],
)
def test_the_step_in_a_reply(reply: str, step: str, more: bool) -> None:
    assert step_of_reply(reply, SO_FAR, StepFormat()) == (step, more)


def test_labels_stay_where_the_steps_so_far_have_them() -> None:
    steps = ("Step 1: 3 + 4 = 7",)
    assert step_of_reply("Step 2: 7 - 2 = 5", steps, StepFormat()) == ("Step 2: 7 - 2 = 5", False)
    assert step_of_reply("3 + 4 = 7\n\nStep 2: 7 - 2 = 5", steps, StepFormat()) == ("Step 2: 7 - 2 = 5", False)
    headed = StepFormat("## Step")
    reply = "## Step 1\n3 + 4 = 7\n\nadded.\n\n## Step 2\n7 - 2 = 5"
    assert step_of_reply(reply, (), headed) == ("## Step 1\n3 + 4 = 7\n\nadded.", True)
    assert step_of_reply("7 - 2 = 5\nSo 5.", SO_FAR, StepFormat("newline")) == ("7 - 2 = 5", True)


@pytest.mark.parametrize(
    ("steps", "reply", "step"),
    [
        # SmolLM2-135M-Instruct, temperature .7.
        (
            ("12 * 7 = 80",),
            "12 * 7 = 80\n\nOne way to approach this problem would be to calculate 12 * 7 = 80.\n\n"
            "However, there is another.",
            "One way to approach this problem would be to calculate 12 * 7 = 80.",
        ),
        (
            ("Tom has 7 apples.",),
            "Let's think about the next step:\n\nTom has 3 apples and buys 4 more, so he has 7.",
            "Tom has 3 apples and buys 4 more, so he has 7.",
        ),
        (
            (),
            "Sure, I'd be happy to provide an answer with no additional context. Here's the solution:"
            "\n\nTom has 7 apples.",
            "Tom has 7 apples.",
        ),
        (
            ("First.", "You've completed the solution."),
            "You've completed the solution.\n\nIf you didn't, here's the next step:\n\nTom gave away 2 apples. \n"
            "If you did, you would have 8.\n\nJust add 8.",
            "Tom gave away 2 apples. \nIf you did, you would have 8.",
        ),
        (
            ("To solve x^2 = 49, use square roots.",),
            "To solve x^2 = 49, use square roots.\n\nWe start by considering x^2 = 49.\n\nWe find that x = 10.",
            "We start by considering x^2 = 49.",
        ),
    ],
)
def test_replies_of_a_real_model(steps: tuple[str, ...], reply: str, step: str) -> None:
    assert step_of_reply(reply, steps, StepFormat())[0] == step
