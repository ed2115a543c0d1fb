"""The belief inspector without a browser: what a page asks for, what it gets to draw, the picture without a kernel."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS, alpha_rule

import trim_pomdp as tp
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.rivals import AS_LABELLED, rival_rules
from trim_pomdp.inspection.widgets import BeliefInspector
from trim_pomdp.planning.frontier import solve_frontier

SCORES = [0.9, 0.3, 0.85, 0.6]


@pytest.fixture(scope="module")
def rule():
    return alpha_rule()


def ask(widget, *questions, serial=7):
    widget.asked = {"serial": serial, "questions": [list(item) for item in questions]}
    return widget.state


def actions(inspection):
    return [step.action for step in inspection.steps]


def test_a_moved_score_is_answered_by_an_edit(rule):
    widget = BeliefInspector(SCORES, rule)
    state = ask(widget, ("score", 1, 0.97))
    expected = tp.edit(tp.inspect_solution(SCORES, rule), 1, score=0.97)
    assert widget.inspection.steps == expected.steps
    assert actions(expected) != actions(tp.inspect_solution(SCORES, rule))
    assert [step["belief"] for step in state["steps"]] == [step.belief for step in expected.steps]
    assert state["serial"] == 7
    assert state["trouble"] is None
    assert state["controls"]["edited"]
    assert list(widget.frame["score"]) == [0.9, 0.97, 0.85, 0.6]


def test_what_is_drawn_is_json_and_says_what_the_inspection_says(rule):
    widget = BeliefInspector(SCORES, rule, chosen=2)
    state = json.loads(json.dumps(widget.state, allow_nan=False))
    assert state["chosen"] == 2 == state["curve"]["step"]
    assert state["curve"]["at"] == 0.85
    assert state["q_end"] == tp.inspect_solution(SCORES, rule).q_end
    assert not state["controls"]["edited"]


def test_questions_are_answered_in_order_and_one_that_cannot_be_leaves_all_as_it_was(rule):
    widget = BeliefInspector(SCORES, rule)
    state = ask(widget, ("score", 1, 0.97), ("score", 9, 0.5), ("choose", 1))
    assert "no" in state["trouble"]
    assert state["chosen"] == 1
    assert widget.inspection.steps[1].score == 0.97
    before = widget.inspection
    assert "in [0, 1]" in ask(widget, ("score", 1, 1.5))["trouble"]
    assert widget.inspection is before
    assert "asked for 'explode'" in ask(widget, ("explode",))["trouble"]
    assert ask(widget, ("choose", 0))["trouble"] is None


def test_reset_leads_back_to_what_was_recorded(rule):
    widget = BeliefInspector(SCORES, rule)
    first = widget.inspection
    ask(widget, ("score", 0, 0.1), ("score", 2, 0.2))
    state = ask(widget, ("reset",))
    assert widget.inspection is first
    assert not state["controls"]["edited"]


def test_the_slider_walks_policies_and_keeps_what_was_moved(rule):
    cheap, dear = alpha_rule(4.0), alpha_rule(0.1)
    widget = BeliefInspector(SCORES, rule, policies={"a tight budget": cheap, "mine": rule, "a wide one": dear})
    budgets = widget.state["controls"]["budgets"]
    assert budgets == {"labels": ["a tight budget", "mine", "a wide one"], "chosen": 1}
    ask(widget, ("score", 0, 0.4), ("budget", 2))
    expected = tp.edit(tp.edit(tp.inspect_solution(SCORES, rule), 0, score=0.4), policy=dear)
    assert widget.inspection.steps == expected.steps
    assert widget.inspection.policy is dear
    assert "there are 3" in ask(widget, ("budget", 3))["trouble"]


def test_another_belief_of_the_same_plan_can_be_chosen(rule):
    labelled = rule.model_copy(update={"emission_derailed": rule.emission_right})
    widget = BeliefInspector(SCORES, rule, rivals={"forgets": labelled})
    assert widget.state["controls"]["beliefs"]["labels"] == ["as planned", "forgets"]
    state = ask(widget, ("belief", 1))
    assert state["controls"]["beliefs"]["chosen"] == 1
    assert widget.inspection.steps == tp.inspect_solution(SCORES, labelled).steps
    assert widget.inspection.q_end > tp.inspect_solution(SCORES, rule).q_end


def test_a_frontier_gives_budgets_in_order_each_with_the_beliefs_of_its_plan(rule):
    frontier = solve_frontier(MODEL)
    widget = BeliefInspector(SCORES, rule, frontier=frontier)
    budgets = [float(label.split(",")[0]) for label in widget.state["controls"]["budgets"]["labels"]]
    assert budgets == sorted(budgets)
    assert len(budgets) > 3
    own = widget.state["controls"]["budgets"]["chosen"]
    assert budgets[own] == pytest.approx(tp.evaluate(rule, MODEL).budget, abs=5e-4)
    most = len(budgets) - 1
    ask(widget, ("budget", most))
    assert tp.evaluate(widget.inspection.policy, MODEL).budget == pytest.approx(budgets[most], abs=5e-4)
    labels = set(rival_rules(widget.inspection.policy, OBSERVATIONS, DYNAMICS))
    beliefs = widget.state["controls"]["beliefs"]
    assert set(beliefs["labels"] if beliefs else ["as planned"]) == labels
    assert AS_LABELLED not in labels or OBSERVATIONS.step_emission.derailed is not None


def test_of_a_mixture_the_part_that_was_drawn_is_looked_at_and_named(rule):
    mixture = tp.MixedRule(first=rule, second=alpha_rule(0.1), probability=0.25)
    widget = BeliefInspector(SCORES, mixture)
    assert widget.inspection.rule in mixture.parts
    expected = "75%" if widget.inspection.rule == mixture.first else "25%"
    assert expected in widget.state["controls"]["note"]
    assert widget.state["controls"]["budgets"] is None


def test_a_changed_inspection_can_be_looked_at_further(rule):
    changed = tp.edit(tp.inspect_solution(SCORES, rule), 0, score=0.2)
    widget = BeliefInspector(changed)
    assert widget.inspection is changed
    ask(widget, ("score", 1, 0.5), ("reset",))
    assert widget.inspection is changed


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((SCORES,), {}, "give a policy"),
        ((SCORES, "policy.json"), {}, "expected a rule"),
        (([], tp.ThresholdRule(threshold=0.4)), {}, "no step"),
        (([0.2, 1.7], tp.ThresholdRule(threshold=0.4)), {}, "in [0, 1]"),
        ((SCORES, tp.ThresholdRule(threshold=0.4)), {"chosen": 4}, "no step 4"),
        ((SCORES, tp.ThresholdRule(threshold=0.4)), {"policies": {}, "frontier": object()}, "both given"),
        ((SCORES, tp.ThresholdRule(threshold=0.4)), {"frontier": 0.2}, "solve_frontier"),
        ((SCORES, tp.ThresholdRule(threshold=0.4)), {"policies": {"half": 0.5}}, "a policy is a float"),
        ((SCORES, tp.ThresholdRule(threshold=0.4)), {"rivals": {"half": 0.5}}, "a policy is a float"),
    ],
)
def test_bad_input_is_one_line(arguments, options, says):
    with pytest.raises(InputError, match=re.escape(says)) as error:
        BeliefInspector(*arguments, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("policy", [alpha_rule(), tp.ThresholdRule(threshold=0.4), tp.StrategyRule(strategy="weak")])
def test_where_no_kernel_runs_there_is_a_picture(policy):
    from matplotlib.image import imread

    data, _ = BeliefInspector(SCORES, policy)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("BeliefInspector(")
    picture = imread(io.BytesIO(base64.b64decode(data["image/png"])), format="png")
    assert picture.shape[1] > 800
    assert picture.std() > 0.05


@pytest.mark.slow
def test_a_shared_page_has_the_picture_by_the_line_of_the_readme(tmp_path):
    """Executed notebooks hold the state of widgets, which nbconvert would load from the network."""
    nbformat = pytest.importorskip("nbformat", reason="no Jupyter: pip install jupyterlab")
    readme = Path(__file__).resolve().parents[2] / "notebooks" / "README.md"
    command = re.search(r"^jupyter (nbconvert --to html .*) notebooks/\S+\.ipynb$", readme.read_text("utf-8"), re.M)
    cell = (
        "import trim_pomdp as tp\nfrom trim_pomdp.inspection.widgets import BeliefInspector\n"
        "BeliefInspector([0.9, 0.2, 0.8], tp.ThresholdRule(threshold=0.4))"
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), tmp_path / "one.ipynb")
    plain = ["nbconvert", "--to", "html", "--execute"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(readme.parents[1]), os.environ.get("PYTHONPATH", "")])}
    pages = []
    for name, arguments in (("plain", plain), ("shared", command[1].split())):
        line = [sys.executable, "-m", "jupyter", *arguments, "--output", name, str(tmp_path / "one.ipynb")]
        subprocess.run(line, check=True, capture_output=True, timeout=180, env=env)
        page = (tmp_path / f"{name}.html").read_text("utf-8")
        pages.append(("data:image/png;base64" in page, "widget-view+json" in page))
    without, shared = pages
    assert shared == (True, False)
    assert without[1], "nbconvert shows pictures by itself now: the line in notebooks/README.md is not needed any more"


def test_without_anywidget_the_message_says_what_to_install():
    program = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from trim_pomdp.errors import InputError\n"
        "import trim_pomdp.inspection.widgets as widgets\n"
        "try: widgets.BeliefInspector\n"
        "except InputError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.strip() == "BeliefInspector needs anywidget: pip install '.[notebooks]' in the checkout"


def test_texts_never_reach_the_page_as_markup():
    from trim_pomdp.inspection.static import source

    scripts = source("svg.js", "talk.js", "inspector.js", "inspector_widget.js")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in scripts
