"""The drawing of the inspector alone, without a kernel, as the report has it: what it marks, that it fits and walks."""

import asyncio
import json

import pytest
from report_runs import DRAFTY, drafty_rule, made
from scripted import alpha_rule, dummy_models, recorded

import trim_pomdp as tp
from trim_pomdp.inspection.drawing import solution_state
from trim_pomdp.inspection.runs import read_run
from trim_pomdp.inspection.static import source, style
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends.dummy import Faults, dummy_problems
from trim_pomdp.runtime.engine import solve_all
from trim_pomdp.runtime.run import Routing

pytestmark = pytest.mark.slow
RULE = tp.ThresholdRule(threshold=0.4)

HOSTILE = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'> & \\frac{1}{2}"
PAGE = """<!doctype html><meta charset="utf-8"><style>%s body {margin: 0}</style><div id="root"></div>
<script type="module">%s
window.asked = [];
window.draw = (state, names) => {
  const on = Object.fromEntries(names.map((name) => [name, (...values) => window.asked.push([name, ...values])]));
  window.update = drawInspector(document.getElementById("root"), state, on);
};
</script>"""


def page_of(browsing, inspection, *, chosen=0, names=(), **options):
    page = browsing.page(**options)
    page.set_content(PAGE % (style(), source("svg.js", "inspector.js")))
    state = json.loads(json.dumps(solution_state(inspection, chosen), allow_nan=False))
    page.evaluate("([state, names]) => window.draw(state, names)", [state, list(names)])
    return page


@pytest.fixture(scope="module")
def typed():
    steps = [HOSTILE, *(f"step {i}, $\\sum_{{k={i}}}^{{n}} a_k$ " + "and so on " * 40 for i in range(22))]
    scores = [0.95 - 0.03 * (i % 7) for i in range(23)]
    return tp.inspect_solution(tp.TypedSolution(steps, scores, prompt=HOSTILE), alpha_rule())


def test_texts_are_texts(typed, browsing):
    page = page_of(browsing, typed)
    assert page.locator(".tp-text").first.text_content() == HOSTILE
    assert page.locator(".tp-prompt").text_content() == HOSTILE
    assert page.locator("#root img, #root script").count() == 0
    assert page.evaluate("window.pwned") is None
    assert browsing.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_its_place(typed, browsing, width, scheme):
    page = page_of(browsing, typed, chosen=11, width=width, scheme=scheme, names=["score"])
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # The chosen step is in sight within the list, and the page itself has not been scrolled.
    frame, row = (page.locator(name).bounding_box() for name in (".tp-steps", ".tp-chosen"))
    assert frame["y"] <= row["y"] <= frame["y"] + frame["height"]
    assert page.evaluate("window.scrollY") == 0
    look = "getComputedStyle(document.querySelector('.tp-root'))"
    ink, paper = page.evaluate(f"[{look}.color, {look}.backgroundColor]")
    bright = [sum(map(int, colour[4:-1].split(","))) > 384 for colour in (ink, paper)]
    assert bright == ([False, True] if scheme == "light" else [True, False])


def test_steps_are_walked_by_keys_and_by_click(typed, browsing):
    page = page_of(browsing, typed, names=["choose"])
    chosen = page.locator(".tp-chosen .tp-number")
    page.get_by_role("listbox").focus()
    for key, number in (("ArrowDown", 2), ("ArrowRight", 3), ("ArrowUp", 2), ("End", 23), ("Home", 1)):
        page.keyboard.press(key)
        assert chosen.inner_text() == str(number)
    page.keyboard.type("14")
    assert chosen.inner_text() == "14"
    assert page.locator("[role=option][aria-selected=true]").count() == 1
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active} .tp-number").inner_text() == "14"
    assert page.evaluate("window.asked.at(-1)") == ["choose", 13]
    page.get_by_role("option").nth(3).click()
    assert chosen.inner_text() == "4"
    plot = page.get_by_role("img", name="Belief that the step is right").bounding_box()
    page.mouse.click(plot["x"] + plot["width"] - 12, plot["y"] + plot["height"] / 2)
    assert chosen.inner_text() == "23"


def test_without_a_kernel_nothing_can_be_dragged_and_all_can_be_read(typed, browsing):
    page = page_of(browsing, typed, names=["choose"])
    assert page.get_by_role("slider").count() == 0
    assert page.get_by_role("button").count() == 0
    assert page.locator(".tp-curve svg").is_visible()
    assert page.locator(".tp-gain-line").count() == 1


def test_the_handle_is_dragged_by_finger_too(typed, browsing):
    page = page_of(browsing, typed, names=["score"], width=390, has_touch=True)
    page.locator(".tp-curve").scroll_into_view_if_needed()
    knob = page.locator(".tp-handle-knob").bounding_box()
    x, y = knob["x"] + 7, knob["y"] + 7
    client = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", x), ("touchMove", x - 40), ("touchMove", x - 120), ("touchEnd", None)):
        points = [] if at is None else [{"x": at, "y": y}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(60)
    name, step, value = page.evaluate("window.asked.at(-1)")
    assert (name, step) == ("score", 0)
    assert value == pytest.approx(0.95 - 120 / (page.locator(".tp-curve svg").bounding_box()["width"] - 52), abs=0.02)


def test_what_was_recorded_after_another_step_is_marked(browsing):
    seen = tp.inspect_solution(recorded(), tp.ThresholdRule(threshold=0.4))
    page = page_of(browsing, tp.edit(seen, 1, score=0.6), chosen=1)
    rows = page.locator(".tp-step")
    assert rows.nth(1).locator(".tp-decision").inner_text() == "● keep (recorded: regenerate)"
    assert rows.nth(1).locator(".tp-edited").is_visible()
    assert page.get_by_text("What follows was recorded after another step").locator("visible=true").count() == 1
    assert [row.get_attribute("class").count("tp-hypothetical") for row in rows.all()] == [0, 0, 1]
    assert "would regenerate at a score below 0.40" in page.locator(".tp-words").inner_text()


@pytest.fixture(scope="module")
def forced():
    """A solution whose strong model never answers, so that the weak one goes on alone."""
    out = []
    routing = Routing(RULE, seed=5, caps=Caps(on_failure="weak"))
    models = dummy_models(strong=Faults(probability=1.0))
    asyncio.run(solve_all(dummy_problems(40), routing.start, models, out.append))
    return next(record for record in out if record.terminal.fallback is not None and len(record.decisions) > 2)


def test_a_step_that_nobody_decided_does_not_read_as_if(forced, browsing):
    lost = forced.terminal.fallback.step
    page = page_of(browsing, tp.inspect_solution(forced, RULE), chosen=lost)
    decisions = page.locator(".tp-decision").all_inner_texts()
    assert decisions[:lost] == ["● keep"] * lost
    assert set(decisions[lost:]) == {"kept: the strong model had been given up"}
    assert page.locator(".tp-title").inner_text() == f"Step {lost + 1}: kept: the strong model had been given up"
    assert page.locator(".tp-words").inner_text() == (
        "The policy itself regenerates; it would keep at a score of 0.40 or more."
    )
    assert page.locator(".tp-words b").all_inner_texts() == ["0.40"]


def test_a_draft_whose_replacement_nobody_wrote(browsing):
    page = page_of(browsing, tp.inspect_solution(recorded(), tp.ThresholdRule(threshold=0.95)))
    row = page.locator(".tp-step").first
    assert row.locator(".tp-missing").inner_text() == "a strong step that was never written"
    assert row.locator(".tp-draft-head").inner_text() == (
        "weak draft; the strong step that would replace it was never written"
    )


def test_a_replaced_draft_stands_under_the_step_that_replaced_it(browsing):
    page = page_of(browsing, tp.inspect_solution(recorded(), tp.ThresholdRule(threshold=0.4)), chosen=1)
    row = page.locator(".tp-step").nth(1)
    assert row.locator(".tp-author").inner_text() == "by strong"
    assert row.locator(".tp-text").all_inner_texts() == ["B", "b"]
    assert row.locator(".tp-draft-head").inner_text() == "weak draft, replaced"
    assert "would keep at a score of 0.40 or more" in page.locator(".tp-words").inner_text()
    assert page.locator(".tp-verdict").inner_text() in ("✓ right", "✗ wrong")


def test_the_handle_keeps_the_focus_while_it_is_moved(typed, browsing):
    """Every answer repaints the curve, and the next press must still find the handle."""
    page = page_of(browsing, typed, names=["score", "reset", "choose"])
    seen = typed
    page.locator(".tp-handle").focus()
    places = []
    for _ in range(25):
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("window.asked.length > 0")
        name, step, value = page.evaluate("window.asked.splice(0).at(-1)")
        assert (name, step) == ("score", 0)
        places.append(value)
        seen = tp.edit(typed, 0, score=value)
        state = {**solution_state(seen), "controls": {"budgets": None, "beliefs": None, "edited": True}}
        page.evaluate("(state) => window.update(state)", json.loads(json.dumps(state)))
        assert page.evaluate("document.activeElement.getAttribute('class')") == "tp-handle tp-movable"
    assert places == sorted(set(places), reverse=True)
    assert page.locator(".tp-chosen .tp-number").inner_text() == "1"
    # What undoes it is disabled then, and hands the focus to the steps: their keys work on.
    page.get_by_role("button", name="undo changes").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("window.asked.at(-1)") == ["reset"]
    state = {**solution_state(typed), "controls": {"budgets": None, "beliefs": None, "edited": False}}
    page.evaluate("(state) => window.update(state)", json.loads(json.dumps(state)))
    page.keyboard.press("ArrowDown")
    assert page.locator(".tp-chosen .tp-number").inner_text() == "2"


def test_a_late_answer_does_not_pull_the_handle_back(typed, browsing):
    page = page_of(browsing, typed, names=["score", "reset"])

    def answer(value):
        state = solution_state(typed if value is None else tp.edit(typed, 0, score=value))
        state["controls"] = {"budgets": None, "beliefs": None, "edited": value is not None}
        page.evaluate("(state) => window.update(state)", json.loads(json.dumps(state)))
        return float(handle.get_attribute("aria-valuenow"))

    handle = page.locator(".tp-handle")
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    first, second, third = (value for _, _, value in page.evaluate("window.asked"))
    assert first > second > third
    assert answer(first) == third
    assert answer(third) == third
    assert answer(second) == second  # nothing is waited for now: what Python says holds
    page.keyboard.press("ArrowLeft")
    answer(second)
    page.get_by_role("button", name="undo changes").click()
    assert answer(None) == typed.steps[0].score


def test_points_are_of_the_reward_that_was_planned_for(typed, browsing):
    page = page_of(browsing, typed)
    assert page.get_by_text("points of 100 for a right answer").is_visible()
    state = solution_state(typed)
    state["policy"]["reward"] = 40.0
    page.evaluate("(state) => window.update(state)", json.loads(json.dumps(state)))
    assert page.get_by_text("points of 40 for a right answer").is_visible()


def test_a_printed_solution_is_whole_and_light(typed, browsing):
    page = page_of(browsing, typed, scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    steps = page.locator(".tp-steps")
    assert steps.evaluate("(list) => list.scrollHeight - list.clientHeight") <= 1
    last = page.locator(".tp-step").last.bounding_box()
    frame = page.locator(".tp-frame").bounding_box()
    assert last["y"] + last["height"] <= frame["y"] + frame["height"]
    look = "getComputedStyle(document.querySelector('.tp-root'))"
    ink, paper = page.evaluate(f"[{look}.color, {look}.backgroundColor]")
    assert [sum(map(int, colour[4:-1].split(","))) > 384 for colour in (ink, paper)] == [False, True]


def test_budget_and_belief_are_chosen_and_what_cannot_be_is_said(typed, browsing):
    page = page_of(browsing, typed, names=["budget", "belief", "reset"])
    assert page.get_by_role("slider").count() == 0
    controls = {
        "budgets": {"labels": ["0.1", "0.2, this policy", "0.4"], "chosen": 1},
        "beliefs": {"labels": ["as planned", "S1 as labelled"], "chosen": 0},
        "edited": True,
    }
    state = {**solution_state(typed), "controls": controls, "trouble": "not under this policy"}
    page.evaluate("(state) => window.update(state)", json.loads(json.dumps(state)))
    slider = page.get_by_role("slider", name="budget")
    assert slider.get_attribute("aria-valuetext") == "0.2, this policy"
    assert page.locator(".tp-budget").inner_text() == "0.2, this policy"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".tp-budget").inner_text() == "0.4"
    page.wait_for_function("window.asked.length === 1")
    page.get_by_role("combobox", name="belief").select_option("S1 as labelled")
    page.get_by_role("button", name="undo changes").click()
    assert page.evaluate("window.asked") == [["budget", 2], ["belief", 1], ["reset"]]
    assert page.get_by_text("not under this policy").is_visible()
    assert page.locator(".tp-chosen .tp-number").inner_text() == "1"  # keys of a control walk no steps


def test_recalled_and_taken_over_steps_have_marks_of_their_own(browsing, tmp_path):
    run = read_run(made(tmp_path / "run", drafty_rule(), n=30, model=DRAFTY))
    for name, mark, words in (
        ("recall", "↶ recall", "gain ↶ recalled"),
        ("takeover", "▲▲ take over", "gain ▲▲ taken over"),
    ):
        found = next(item for item in run.solutions if name in [step.action for step in item.decisions])
        look = run.inspect(found.terminal.problem)
        at = [step.action for step in look.steps].index(name)
        page = page_of(browsing, look, chosen=at)
        assert page.locator(".tp-decision").nth(at).inner_text() == mark
        keys = page.locator(".tp-keys").all_inner_texts()
        assert any(words in text for text in keys)
        assert any("would intervene" in text for text in keys)
        assert page.locator("text.tp-action-mark").first.text_content() == mark.split()[0]
        assert page.locator(".tp-title").last.inner_text().startswith(f"Step {at + 1}: {mark.split(' ', 1)[1]}, gain")
    assert browsing.errors == []
