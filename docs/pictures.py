"""Make docs/inspector.png: the belief inspector on a solution that ships with the package, drawn by a real browser.

python docs/pictures.py [/usr/bin/chromium]
"""

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

import trim_pomdp as tp
from trim_pomdp.inspection.examples import example_records
from trim_pomdp.inspection.static import source, style
from trim_pomdp.inspection.widgets import BeliefInspector

EXAMPLE, STEP = "lost cause", 7
PAGE = """<!doctype html><meta charset="utf-8">
<style>{style}
body {{ margin: 0; padding: 8px; background: #fff; }}</style>
<div id="root"></div>
<script>{script}
const on = Object.fromEntries(["choose", "score", "budget", "belief", "reset"].map((name) => [name, () => {{}}]));
drawInspector(document.getElementById("root"), {state}, on);</script>
"""


def main(browser: str = "/usr/bin/chromium") -> None:
    """Draw what the widget draws, and keep a picture of it."""
    example = example_records()[EXAMPLE]
    model = tp.load_preset(f"lab-{example.family}").routing_model()
    policies = {"as routed": example.policy} | {f"budget {x:g}": tp.policy_for_budget(model, x) for x in (0.05, 0.4)}
    inspector = BeliefInspector(example.record, example.policy, prompt=example.prompt, chosen=STEP, policies=policies)
    # Text of a model must not end the script.
    state = json.dumps(dict(inspector.drawn())).replace("<", "\\u003c")
    page = PAGE.format(style=style(), script=source("svg.js", "inspector.js"), state=state)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = chromium.new_page(viewport={"width": 1100, "height": 800}, device_scale_factor=1.25)
        shown.set_content(page)
        shown.locator("#root").screenshot(path=Path(__file__).parent / "inspector.png")
        chromium.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
