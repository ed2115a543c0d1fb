"""The belief inspector in JupyterLab and marimo, in a real browser: a score is dragged, what follows is read back."""

import statistics
import sys

import pytest
from browser import number_in, until

import trim_pomdp as tp

pytestmark = pytest.mark.slow

SETUP = r"""
import trim_pomdp as tp
from trim_pomdp.inspection.widgets import BeliefInspector

rule = tp.policy_for_tradeoff(tp.load_preset("lab-loop.prm").routing_model(), 0.1).policy
texts = ["a) 60+31=91", "<img src=x onerror=alert(1)> \\frac{91}{47}", "c) 53*61=33", "d) 33+31=64", "\\boxed{64}"]
solution = tp.TypedSolution(texts, [0.999, 0.31, 0.9985, 0.9, 0.998])
"""


@pytest.fixture(scope="module")
def expected():
    """The same solution under the same policy, here."""
    names = {}
    exec(SETUP, names)
    return tp.inspect_solution(names["solution"], names["rule"])


def drag(page, steps=8):
    """Move the score of the chosen step to the right by mouse; returns where it then is."""
    handle = page.locator(".tp-handle")
    knob = page.locator(".tp-handle-knob").bounding_box()
    plot = page.locator(".tp-curve svg").bounding_box()
    x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
    before = page.locator(".tp-inspector").get_attribute("data-serial")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.93, y, steps=steps)
    page.mouse.up()
    until(lambda: page.locator(".tp-inspector").get_attribute("data-serial") != before, "the answer")
    page.wait_for_timeout(500)  # the last of a drag's questions
    return float(handle.get_attribute("aria-valuenow"))


def shown(page):
    """Decision and belief of every step, as the page says."""
    return [
        (
            row.locator(".tp-decision").inner_text().split()[1],
            row.locator(".tp-belief").inner_text(),
            number_in(row.locator(".tp-score").inner_text()),
        )
        for row in page.locator(".tp-step").all()
    ]


def agrees(page, inspection):
    found = shown(page)
    assert len(found) == len(inspection.steps)
    names = ("right", "derailed", "first error")
    for (action, belief, score), step in zip(found, inspection.steps, strict=True):
        likely = max(range(3), key=lambda kind: step.belief[kind])
        assert action == step.action
        assert belief.startswith(names[likely])
        assert number_in(belief) == pytest.approx(step.belief[likely], abs=0.0101)
        assert score == pytest.approx(step.score, abs=0.0101)
    gains = page.get_by_role("img", name="Gain against price").get_attribute("aria-label")
    for step in inspection.steps:
        assert f"step {step.step + 1} " in gains


def walk(page):
    """By keys alone: digits jump, arrows walk, the handle moves by arrows of its own."""
    steps = page.get_by_role("listbox", name="Steps of the solution")
    steps.focus()
    page.keyboard.press("4")
    assert page.locator(".tp-chosen .tp-number").inner_text() == "4"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    until(lambda: page.locator(".tp-title").inner_text().startswith("Step 2:"), "step 2")
    until(lambda: page.locator(".tp-handle").is_visible(), "its curve")


def follow(page, expected):
    """What every front end must do."""
    page.locator(".tp-inspector").wait_for()
    agrees(page, expected)
    walk(page)
    value = drag(page)
    moved = tp.edit(expected, 1, score=value)
    assert moved.steps[1].action != expected.steps[1].action
    agrees(page, moved)
    handle = page.locator(".tp-handle")
    handle.focus()
    lower = value
    for _ in range(25):  # every answer repaints the curve, and the handle must keep the focus
        page.keyboard.press("ArrowLeft")
        until(lambda before=lower: float(handle.get_attribute("aria-valuenow")) < before, "the handle to move")
        lower = float(handle.get_attribute("aria-valuenow"))
    page.wait_for_timeout(300)
    assert page.locator(".tp-chosen .tp-number").inner_text() == "2"  # no press walked the steps
    agrees(page, tp.edit(expected, 1, score=lower))
    page.get_by_role("button", name="undo changes").click()
    until(lambda: page.locator(".tp-edited:visible").count() == 0, "the changes to be undone")
    agrees(page, expected)
    page.keyboard.press("ArrowDown")  # the button is disabled now, and has handed the focus to the steps
    until(lambda: page.locator(".tp-chosen .tp-number").inner_text() == "3", "the next step")
    page.keyboard.press("ArrowUp")
    until(lambda: page.locator(".tp-title").inner_text().startswith("Step 2:"), "step 2 again")


ROUND_TRIP = """async () => {
  const root = document.querySelector(".tp-inspector") || find(document);
  function find(place) {
    for (const element of place.querySelectorAll("*")) {
      const inner = element.shadowRoot;
      const found = inner && (inner.querySelector(".tp-inspector") || find(inner));
      if (found) return found;
    }
    return null;
  }
  const handle = root.querySelector(".tp-handle");
  const times = [];
  for (let index = 0; index < 25; index += 1) {
    const before = root.dataset.serial;
    const begin = performance.now();
    const key = index % 2 ? "ArrowLeft" : "ArrowRight";
    handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    while (root.dataset.serial === before) await new Promise((done) => requestAnimationFrame(done));
    await new Promise((done) => requestAnimationFrame(done));
    times.push(performance.now() - begin);
  }
  return times;
}"""


def report_round_trip(page, where, capsys):
    times = page.evaluate(ROUND_TRIP)
    middle, most = statistics.median(times), max(times)
    with capsys.disabled():
        sys.stdout.write(f"\n{where}: a moved score is drawn after {middle:.0f} ms (at most {most:.0f} ms)\n")


def run_notebook(page, url):
    page.goto(url)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.get_by_text("(ipykernel) | Idle").wait_for()  # the kernel is there
    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")


def test_jupyterlab_shows_it_a_score_is_dragged_and_all_follows(jupyter, expected, browsing, capsys):
    page = browsing.page(height=1300)
    run_notebook(page, jupyter.notebook("inspector", SETUP + "\nBeliefInspector(solution, rule)"))
    follow(page, expected)
    report_round_trip(page, "JupyterLab", capsys)
    assert page.locator(".jp-Cell").count() <= 2  # no key of the inspector reached the notebook
    assert page.locator(".jp-MarkdownCell").count() == 0
    assert page.locator(".tp-inspector img").count() == 0
    assert browsing.errors == []


def test_marimo_shows_it_a_score_is_dragged_and_other_cells_follow(marimo_app, expected, browsing, capsys):
    cell = "\n    ".join(SETUP.strip().splitlines())
    url = marimo_app(
        f"""import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import marimo as mo
    {cell}
    return BeliefInspector, mo, rule, solution


@app.cell
def _(BeliefInspector, mo, rule, solution):
    inspector = mo.ui.anywidget(BeliefInspector(solution, rule))
    inspector
    return (inspector,)


@app.cell
def _(inspector, mo):
    inspector.value
    mo.md(f"right in the end: **{{inspector.inspection.q_end:.6f}}**")
    return


if __name__ == "__main__":
    app.run()
"""
    )
    page = browsing.page(height=1300)
    page.goto(url)
    follow(page, expected)
    report_round_trip(page, "marimo", capsys)
    moved = tp.edit(expected, 1, score=drag(page))
    before, after = (f"{item.q_end:.6f}" for item in (expected, moved))
    assert before != after
    page.get_by_text(f"right in the end: {after}").wait_for()
    assert page.locator(".tp-inspector img").count() == 0
    assert browsing.errors == []
