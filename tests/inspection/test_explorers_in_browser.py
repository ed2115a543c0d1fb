"""The explorers in a real browser: sliders are moved, and the numbers that come back are those of the model."""

import json
import statistics

import pytest
from browser import number_in, until

import trim_pomdp as tp
from trim_pomdp.inspection.frontiers import FrontierView
from trim_pomdp.inspection.observation_views import ObservationView
from trim_pomdp.inspection.policy_maps import policy_map_state
from trim_pomdp.inspection.static import source, style

pytestmark = pytest.mark.slow

SETUP = """
import trim_pomdp as tp
from trim_pomdp.inspection.widgets import FrontierExplorer, ObservationExplorer, PolicyMap
from IPython.display import display

model = tp.load_preset("lab-loop.prm").routing_model()
frontier = tp.solve_frontier(model, 60)
"""
SHOW = """
display(FrontierExplorer(frontier, {"<b>a run</b>": (0.3, 0.7, 0.02)}, budget=0.2))
display(PolicyMap(tp.policy_for_tradeoff(model, 0.4)))
display(ObservationExplorer(model))
"""


@pytest.fixture(scope="module")
def model():
    return tp.load_preset("lab-loop.prm").routing_model()


@pytest.fixture(scope="module")
def frontier(model):
    return tp.solve_frontier(model, 60)


def opened(browsing, draw, files, state, **options):
    """A page of its own with a drawing, whose questions are kept in `window.asked`."""
    page = browsing.page(**options)
    scripts = source("svg.js", "explorers.js", *files)
    told = json.dumps(state).replace("<", "\\u003c")
    page.set_content(
        f"<!doctype html><meta charset=utf-8><style>body {{ margin: 0 }}{style()}{source('explorers.css')}</style>"
        f"<div id=root></div><script>{scripts}\nwindow.asked = [];\n"
        f"const put = (name) => (question) => window.asked.push([name, question]);\n"
        f"window.update = {draw}(document.getElementById('root'), {told}, "
        "{look: put('look'), move: put('move'), details: put('details')});</script>"
    )
    page.locator(".tp-explorer").wait_for()
    return page


DRAWINGS = {
    "drawFrontier": "frontier.js",
    "drawPolicyMap": "policy_map.js",
    "drawObservations": "observations.js",
}


def states(model, frontier):
    return {
        "drawFrontier": FrontierView(frontier, {"<img src=x onerror=alert(1)>": (0.3, 0.7, 0.02)}).state(0.2),
        "drawPolicyMap": policy_map_state(tp.policy_for_tradeoff(model, 0.4)),
        "drawObservations": ObservationView(model, ([0.1, 0.4, 0.9, 0.95], [0, 0, 1, 1])).state(),
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_drawings_fit_a_phone_and_a_desk_in_light_and_dark(model, frontier, browsing, width, scheme):
    for draw, state in states(model, frontier).items():
        page = opened(browsing, draw, [DRAWINGS[draw]], state, width=width, scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.evaluate(
            """(width) => [...document.querySelectorAll(".tp-root text")].filter((text) => {
                 const box = text.getBoundingClientRect();
                 return box.width > 0 && (box.left < -0.5 || box.right > width + 0.5);
               }).map((text) => text.textContent)""",
            width,
        )
        assert outside == []
        ink, paper = page.evaluate(
            """(() => {
                 const look = getComputedStyle(document.querySelector(".tp-root"));
                 return [look.color, look.backgroundColor];
               })()"""
        )
        light, dark = (sum(map(int, colour[4:-1].split(","))) for colour in (ink, paper))
        assert (light < dark) == (scheme == "light")
        assert page.locator("img").count() == 0
    assert browsing.errors == []


def test_sliders_are_called_as_they_are_labelled_and_say_what_they_move(model, frontier, browsing):
    for draw, state in states(model, frontier).items():
        page = opened(browsing, draw, [DRAWINGS[draw]], state)
        for slider in page.get_by_role("slider").all():
            label = slider.evaluate("(input) => input.labels[0].firstChild.textContent")
            assert slider.get_attribute("aria-label") == label
            told = slider.get_attribute("aria-describedby")
            assert told is None or page.locator(f"#{told}").is_visible()
            assert slider.evaluate("(input) => input.closest('[title]')") is None
        assert page.locator(".tp-slider-words").count() == {"drawFrontier": 1, "drawObservations": 4}.get(draw, 0)


def test_every_line_of_the_keys_can_be_seen(model, frontier, browsing):
    page = opened(browsing, "drawFrontier", ["frontier.js"], states(model, frontier)["drawFrontier"])
    opaque = page.evaluate(
        """() => [...document.querySelectorAll(".tp-key line")].map((line) => {
             const own = getComputedStyle(line);
             return own.opacity * getComputedStyle(line.parentNode).opacity * own.strokeOpacity;
           })"""
    )
    assert len(opaque) >= 3
    assert min(opaque) >= 0.5


def test_options_that_are_there_are_left_alone(model, browsing):
    """A list that is open would close, and lose the focus."""
    policy = tp.policy_for_budget(model, 0.2)
    state = policy_map_state(policy)
    page = opened(browsing, "drawPolicyMap", ["policy_map.js"], state)
    assert page.locator("option").count() == 2
    page.evaluate("window.first = document.querySelector('option')")
    page.evaluate("(state) => window.update(state)", policy_map_state(policy, part=1))
    assert page.evaluate("window.first === document.querySelector('option')")
    assert page.get_by_role("combobox").evaluate("(select) => select.selectedIndex") == 1
    page.get_by_role("combobox").select_option(index=0)
    assert page.evaluate("window.asked.at(-1)")[1]["part"] == 0


def test_a_late_answer_does_not_pull_a_slider_back(model, browsing):
    view = ObservationView(model)
    page = opened(browsing, "drawObservations", ["observations.js"], view.state())
    slider = page.get_by_role("slider", name="misses d")
    slider.focus()
    asked = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.wait_for_function("(count) => window.asked.length > count", arg=len(asked))
        asked = [question["misses"] for _, question in page.evaluate("window.asked")]
    for answered, shown in ((asked[0], asked[2]), (asked[2], asked[2]), (asked[1], asked[1])):
        page.evaluate("(state) => window.update(state)", view.state(misses=answered))
        assert float(slider.input_value()) == pytest.approx(shown)


def test_undone_sliders_keep_the_keys(model, browsing):
    view = ObservationView(model)
    page = opened(browsing, "drawObservations", ["observations.js"], view.state(misses=0.4))
    page.get_by_role("button", name="as it was").focus()
    page.keyboard.press("Enter")
    page.evaluate("(state) => window.update(state)", view.state())
    assert page.get_by_role("button", name="as it was").is_disabled()
    assert page.evaluate("document.activeElement.type") == "range"


def test_the_page_asks_for_what_the_reader_moves_and_draws_what_comes_back(model, frontier, browsing):
    view = FrontierView(frontier)
    page = opened(browsing, "drawFrontier", ["frontier.js"], view.state(0.2) | {"late": False})
    page.get_by_role("slider", name="budget").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    until(lambda: page.evaluate("window.asked.length") > 0, "a question")
    page.wait_for_timeout(100)
    name, question = page.evaluate("window.asked.at(-1)")
    assert (name, question) == ("look", {"spend": pytest.approx(0.22), "step": 1, "part": None})
    page.evaluate("(state) => window.update(state)", {"chosen": view.chosen(0.22), "late": True})
    assert number_in(page.locator(".tp-figure-accuracy").inner_text()) == pytest.approx(
        view.chosen(0.22)["accuracy"], abs=6e-5
    )
    until(lambda: page.evaluate("window.asked.at(-1)[0]") == "details", "details to be asked for")
    page.evaluate("(state) => window.update(state)", {"details": view.details(0.22), "late": False})
    # By mouse, in the plot itself.
    plot = page.locator(".tp-drag svg").bounding_box()
    page.mouse.move(plot["x"] + plot["width"] * 0.5, plot["y"] + 100)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.7, plot["y"] + 100, steps=5)
    page.mouse.up()
    until(lambda: page.evaluate("window.asked.at(-1)[1]?.spend ?? 0") > 0.5, "the drag to be told")
    # The map's pixels: orange where it regenerates, blue where it keeps.
    grid = view.details(0.22)["map"]["grid"]
    page.evaluate("(state) => window.update(state)", view.state(0.22) | {"late": False})
    for column, q in ((4, grid["q"][4]), (76, grid["q"][76])):
        row = next(j for j, edge in enumerate(grid["edges"]) if edge >= 0.1) - 1
        red, _, blue, alpha = page.evaluate(
            """([column]) => {
                const canvas = document.querySelector(".tp-map-canvas");
                const at = Math.round(canvas.height * (1 - 0.1 * (canvas.height - 12) / canvas.height));
                return [...canvas.getContext("2d").getImageData(column, at, 1, 1).data];
            }""",
            [column],
        )
        assert (red > blue) == (grid["values"][row][column] > 0), q
        assert alpha > 0
    assert browsing.errors == []


def answered(page, move):
    before = page.get_attribute("data-serial")
    move()
    until(lambda: page.get_attribute("data-serial") != before, "an answer")


def test_jupyterlab_moves_a_budget_a_step_and_a_slider_of_transfer(jupyter, model, frontier, browsing, capsys):
    page = browsing.page(height=2400)
    page.goto(jupyter.notebook("explorers", SETUP + SHOW))
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.get_by_text("(ipykernel) | Idle").wait_for()  # the kernel is there
    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    explorer = page.get_by_role("region", name="Frontier explorer")
    explorer.wait_for()
    view = FrontierView(frontier)
    accuracy = explorer.locator(".tp-figure-accuracy")
    assert number_in(accuracy.inner_text()) == pytest.approx(view.chosen(0.2)["accuracy"], abs=6e-5)
    slider = explorer.get_by_role("slider", name="budget")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    expected = view.chosen(0.25)
    until(lambda: abs(number_in(accuracy.inner_text()) - expected["accuracy"]) < 6e-5, "the accuracy of 0.25")
    until(lambda: explorer.locator(".tp-late").count() == 0, "the details")
    assert float(slider.input_value()) == pytest.approx(0.25)
    rows = explorer.locator(".tp-table tbody tr").all()
    for row, policy in zip(rows, expected["policies"], strict=True):
        assert row.locator("th").inner_text() == policy["label"]
        assert row.locator("td").nth(2).inner_text() == f"{policy['accuracy']:.4f}"
    assert explorer.locator("b").count() == 0

    policy_map = page.get_by_role("region", name="Policy map")
    policy_map.get_by_role("slider", name="step").focus()
    answered(policy_map, lambda: page.keyboard.press("ArrowRight"))
    assert policy_map.locator(".tp-control output").first.inner_text() == "3"
    limit = policy_map_state(tp.policy_for_tradeoff(model, 0.4), 2)["grid"]["limit"]
    assert number_in(policy_map.locator(".tp-map-key span").first.inner_text()) == pytest.approx(limit, rel=0.01)

    observations = page.get_by_role("region", name="Observation explorer")
    misses = observations.get_by_role("slider").nth(1)
    misses.focus()
    answered(observations, lambda: page.keyboard.press("End"))
    auc = ObservationView(model).state(misses=1.0)["auc"]
    until(
        lambda: abs(number_in(observations.locator(".tp-figure-accuracy").inner_text()) - auc) < 6e-4,
        "the separation with nothing but misses",
    )
    report_round_trip(page, slider, capsys)
    assert [error for error in browsing.errors if "trim" in error or "tp-" in error or "uncaught" in error] == []


ROUND_TRIP = """async (slider) => {
  const root = slider.closest(".tp-explorer");
  const times = { first: [], again: [] };
  for (const kind of ["first", "again"]) {
    for (let index = 0; index < 20; index += 1) {
      const before = root.dataset.serial;
      const begin = performance.now();
      slider.value = String(0.05 + 0.02 * index);
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      while (root.dataset.serial === before) await new Promise((done) => requestAnimationFrame(done));
      times[kind].push(performance.now() - begin);
      await new Promise((done) => setTimeout(done, 400));
    }
  }
  return times;
}"""


def report_round_trip(page, slider, capsys):
    times = slider.evaluate(ROUND_TRIP)
    with capsys.disabled():
        for kind, values in times.items():
            sys_line = (
                f"{kind}: a moved budget is drawn after {statistics.median(values):.0f} ms (at most {max(values):.0f})"
            )
            print(sys_line)  # noqa: T201


def test_marimo_shows_the_frontier_and_other_cells_follow_its_budget(marimo_app, frontier, browsing):
    url = marimo_app(
        """import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import marimo as mo
    import trim_pomdp as tp
    from trim_pomdp.inspection.widgets import FrontierExplorer

    frontier = tp.solve_frontier(tp.load_preset("lab-loop.prm").routing_model(), 60)
    explorer = mo.ui.anywidget(FrontierExplorer(frontier, budget=0.2))
    explorer
    return explorer, mo


@app.cell
def _(explorer, mo):
    explorer.value
    mo.md(f"the budget is **{explorer.budget:.3f}**")
    return


if __name__ == "__main__":
    app.run()
"""
    )
    page = browsing.page(height=1300, scheme="dark")
    page.goto(url)
    explorer = page.get_by_role("region", name="Frontier explorer")
    explorer.wait_for()
    slider = explorer.get_by_role("slider", name="budget")
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    accuracy, expected = explorer.locator(".tp-figure-accuracy"), FrontierView(frontier).chosen(0.23)["accuracy"]
    until(lambda: abs(number_in(accuracy.inner_text()) - expected) < 6e-5, "the accuracy of 0.23")
    page.get_by_text("the budget is 0.230").wait_for()
    until(lambda: explorer.locator(".tp-late").count() == 0, "the details")
    assert [error for error in browsing.errors if "trim" in error or "tp-" in error or "uncaught" in error] == []
