"""The explorers without a browser: what the page asks for, what it gets to draw, what a kernel-less page shows."""

import base64
import io
import json
import subprocess
import sys

import pytest
from scripted import MODEL, OBSERVATIONS, alpha_rule

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.frontiers import FrontierView
from trim_pomdp.inspection.observation_views import observation_state
from trim_pomdp.inspection.policy_maps import policy_map_state
from trim_pomdp.inspection.static import source
from trim_pomdp.inspection.widgets import FrontierExplorer, ObservationExplorer, PolicyMap

OWN = {"serial", "trouble"}


@pytest.fixture(scope="module")
def frontier():
    return tp.solve_frontier(MODEL, 30)


def ask(widget, *questions, serial=7):
    widget.asked = {"serial": serial, "questions": [list(item) for item in questions]}
    return json.loads(json.dumps(widget.state, allow_nan=False))


def drawn(widget):
    return {name: value for name, value in widget.state.items() if name not in OWN}


def test_a_moved_budget_is_answered_at_once_and_its_details_when_they_are_asked_for(frontier):
    widget = FrontierExplorer(frontier, budget=0.1)
    view = FrontierView(frontier)
    before = widget.state["details"]
    state = ask(widget, ("look", {"spend": 0.3, "step": 2, "part": None}))
    assert (state["serial"], state["trouble"], state["late"]) == (7, None, True)
    assert state["chosen"] == view.chosen(0.3)
    assert state["details"] == before
    state = ask(widget, ("details",), serial=8)
    assert not state["late"]
    assert state["details"] == view.details(0.3, step=2)
    # What was looked into before is there at once.
    state = ask(widget, ("look", {"spend": 0.1, "step": 1, "part": 0}))
    assert not state["late"]
    assert state["details"] == view.details(0.1, step=1, part=0)
    assert widget.budget == 0.1
    assert widget.rule == view.rule(0.1)


def test_the_budget_can_be_set_by_hand(frontier):
    widget = FrontierExplorer(frontier)
    widget.budget = 0.33
    assert drawn(widget) == FrontierView(frontier).state(0.33) | {"late": False}
    with pytest.raises(InputError, match="did you mean"):
        widget.budget = 33


def test_what_cannot_be_done_is_told_and_leaves_all_as_it_was(frontier):
    widget = FrontierExplorer(frontier, budget=0.2)
    before = drawn(widget)
    assert "budget is 1.5" in ask(widget, ("look", {"spend": 1.5, "step": 1, "part": None}))["trouble"]
    assert drawn(widget) == before
    for other in (widget, PolicyMap(alpha_rule()), ObservationExplorer(MODEL)):
        assert "asked for 'explode'" in ask(other, ("explode",))["trouble"]


def test_a_map_of_another_step_and_of_an_end(frontier):
    policy = frontier.policy_for_budget(0.2)
    widget = PolicyMap(policy, threshold=0.4)
    assert drawn(widget) == policy_map_state(policy, threshold=0.4)
    ask(widget, ("look", {"step": 3, "part": 1, "ended": True}))
    assert drawn(widget) == policy_map_state(policy, 3, part=1, ended=True, threshold=0.4)
    assert "no part 2" in ask(widget, ("look", {"step": 3, "part": 2, "ended": True}))["trouble"]
    assert drawn(widget)["step"] == 3


def test_moved_sliders_are_answered_by_the_model():
    widget = ObservationExplorer(MODEL)
    at = {"false_alarms": 0.2, "misses": 0.1, "look_right": 0.5, "base_rate": 0.8}
    ask(widget, ("move", at))
    assert drawn(widget) == observation_state(MODEL, **at)
    assert "expected a probability" in ask(widget, ("move", {**at, "misses": 2}))["trouble"]
    assert drawn(widget)["sliders"] == at
    assert "d 0.1" in repr(widget)


def pictures(widget):
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == repr(widget)
    return data


def test_where_no_kernel_runs_there_is_a_picture_or_what_stands_for_it(frontier, tmp_path):
    from matplotlib.image import imread

    for widget in (FrontierExplorer(frontier), PolicyMap(alpha_rule()), ObservationExplorer(OBSERVATIONS)):
        picture = imread(io.BytesIO(base64.b64decode(pictures(widget)["image/png"])), format="png")
        assert picture.shape[1] > 800
        assert picture.std() > 0.05
    no_map = pictures(PolicyMap(tp.ThresholdRule(threshold=0.3)))
    assert "image/png" not in no_map
    assert "text/html" not in no_map
    artifact = tp.load(frontier.save(tmp_path / "frontier.json"))
    table = pictures(FrontierExplorer(artifact))
    assert "image/png" not in table
    assert "strong-only" in table["text/html"]


def test_the_picture_has_what_was_measured(frontier):
    measured = {"one run": (0.3, 0.7, 0.02), "$x$ and": (0.6, 0.8)}
    axis = FrontierExplorer(frontier, measured).picture().axes[0]
    assert {text.get_text() for text in axis.texts} >= set(measured)
    points = [line for line in axis.lines if line.get_marker() == "o" and line.get_label() == "measured"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(0.3, 0.7)]
    bars = [tuple(line.get_ydata()) for line in axis.lines if tuple(line.get_xdata()) == (0.3, 0.3)]
    assert bars == [pytest.approx((0.7 - 1.96 * 0.02, 0.7 + 1.96 * 0.02), abs=1e-4)]
    assert "measured" in {text.get_text() for text in axis.get_legend().get_texts()}
    assert FrontierExplorer(frontier).picture().axes[0].get_legend() is not None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda frontier: FrontierExplorer("frontier.json"), "expected a Frontier"),
        (lambda frontier: FrontierExplorer(frontier, budget=30), "did you mean"),
        (lambda frontier: FrontierExplorer(frontier, [(1,)]), "a point of 1 numbers"),
        (lambda frontier: PolicyMap(frontier), "expected a rule"),
        (lambda frontier: PolicyMap(alpha_rule(), threshold=3), "expected a score"),
        (lambda frontier: ObservationExplorer(frontier), "expected observations"),
    ],
)
def test_bad_input_is_one_line(frontier, make, says):
    with pytest.raises(InputError, match=says) as error:
        make(frontier)
    assert "\n" not in str(error.value)


def test_without_anywidget_the_message_says_what_to_install():
    program = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from trim_pomdp.errors import InputError\n"
        "import trim_pomdp.inspection.widgets as widgets\n"
        "for name in ('FrontierExplorer', 'PolicyMap', 'ObservationExplorer'):\n"
        "    try: getattr(widgets, name)\n"
        "    except InputError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    needs = "needs anywidget: pip install '.[notebooks]' in the checkout"
    assert said.stdout.splitlines() == [
        f"{n} {needs}" for n in ("FrontierExplorer", "PolicyMap", "ObservationExplorer")
    ]


def test_nothing_reaches_the_page_as_markup():
    scripts = source("explorers.js", "frontier.js", "policy_map.js", "observations.js")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "http"):
        assert word not in scripts
