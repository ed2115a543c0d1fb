"""What notebook 02 asks of its reader, done with its own cells in JupyterLab: a score is dragged, a belief chosen."""

import json
from pathlib import Path

import pytest
from browser import until
from test_belief_in_browser import agrees, run_notebook

from trim_pomdp.inspection.rivals import AS_LABELLED, AS_PLANNED
from trim_pomdp.inspection.solutions import edit, inspect_solution

pytestmark = pytest.mark.slow
BOOK = Path(__file__).resolve().parents[2] / "notebooks" / "02_belief_inspector.ipynb"


def cell(needle: str) -> str:
    """The one cell of code with this in it."""
    cells = json.loads(BOOK.read_text(encoding="utf-8"))["cells"]
    (found,) = [text for item in cells if item["cell_type"] == "code" and needle in (text := "".join(item["source"]))]
    return found


def drag_to(page, share: float) -> float:
    """Move the chosen step's score to a share of the width of its curve; returns the score."""
    knob = page.locator(".tp-handle-knob").bounding_box()
    plot = page.locator(".tp-curve svg").bounding_box()
    y = knob["y"] + knob["height"] / 2
    before = page.locator(".tp-inspector").get_attribute("data-serial")
    page.mouse.move(knob["x"] + knob["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * share, y, steps=8)
    page.mouse.up()
    until(lambda: page.locator(".tp-inspector").get_attribute("data-serial") != before, "the answer")
    page.wait_for_timeout(500)
    return float(page.locator(".tp-handle").get_attribute("aria-valuenow"))


def test_one_score_is_dragged_and_one_belief_forgets_it(jupyter, browsing):
    names: dict = {}
    preset = "preset = tp.load_preset("
    first = next(line for line in cell(preset).splitlines() if line.startswith(preset))
    source = "\n".join([cell("import trim_pomdp as tp"), first, cell("clean = {")])
    lines = source.splitlines()
    exec("\n".join(lines[:-1]), names)  # all but the widget
    assert lines[-1].startswith("tp.BeliefInspector(scores, never, rivals=rivals")
    rivals, scores = names["rivals"], names["scores"]

    page = browsing.page(height=1300)
    run_notebook(page, jupyter.notebook("forgets", source))
    page.locator(".tp-inspector").wait_for()
    agrees(page, inspect_solution(scores, rivals[AS_PLANNED]))
    page.locator(".tp-curve svg").scroll_into_view_if_needed()
    value = drag_to(page, 0.3)
    assert 0.001 < value < 0.2
    kept = edit(inspect_solution(scores, rivals[AS_PLANNED]), 2, score=value)
    agrees(page, kept)
    before = page.locator(".tp-inspector").get_attribute("data-serial")
    page.get_by_label("belief", exact=True).select_option(AS_LABELLED)
    until(lambda: page.locator(".tp-inspector").get_attribute("data-serial") != before, "the other belief")
    forgot = edit(inspect_solution(scores, rivals[AS_LABELLED]), 2, score=value)
    agrees(page, forgot)
    assert kept.q_end < 0.3 < 0.9 < forgot.q_end
    assert browsing.errors == []
