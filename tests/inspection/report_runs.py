"""Runs for the tests of reports: of dummy models, and of a hostile one."""

import gzip
import json
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from scripted import DYNAMICS, MODEL, OBSERVATIONS, PRICES, alpha_rule, dummy_models, feed, scored, wrote

from solvers import solve_epochs
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.solutions import solutions_text
from trim_pomdp.model.dynamics import Shares
from trim_pomdp.model.prices import Prices, ReaderPrice, Tariff
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.frontier import rule_from_solution
from trim_pomdp.policies import AlphaVectorRule, PolicyArtifact, PosteriorRule, Rule
from trim_pomdp.runtime.attempt import Attempt, Caps
from trim_pomdp.runtime.backends.dummy import DummyWorld, Faults, dummy_oracle, dummy_problems
from trim_pomdp.runtime.live import CLASS_TABLE_FILE, POLICY_FILE, plan_for_rule
from trim_pomdp.runtime.money import PRICES_FILE
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.solutions import SOLUTIONS_FILE, solution_text, write_solutions
from trim_pomdp.runtime.traces import TraceWriter

RULE = alpha_rule(1.5)
# Scores that cost more than what the strong model reads, which taking over saves.
DEAR_SCORES = PRICES.model_copy(
    update={"strong": PRICES.strong.model_copy(update={"input": 0.5}), "prm": ReaderPrice(input=5.0)}
)
DRAFTY = RoutingModel(
    OBSERVATIONS,
    DYNAMICS.replace(weak_success=(0.7,), redraft_repair=0.4, redraft_same=Shares(right=0.5, derailed=0.4, wrong=0.3)),
    actions=("keep", "regenerate", "redraft", "takeover", "recall"),
    max_drafts=3,
    tariff=Tariff.of(DEAR_SCORES, 40.0),
)


def drafty_rule() -> AlphaVectorRule:
    """Of `DRAFTY`, at a price at which all five actions have their uses."""
    solution = solve_epochs(DRAFTY.epoch_model, DRAFTY.weights(1e3, "money"), gap=1e-2)
    return rule_from_solution(solution, DRAFTY, 1e3, "money")


def made(
    folder: Path,
    rule: Rule = RULE,
    *,
    n: int = 40,
    first: int = 0,
    caps: Caps | None = None,
    truth: bool = True,
    answers: bool = True,
    planned: bool = True,
    faults: float = 0.0,
    weak_faults: float = 0.0,
    table: bool = True,
    prices: Prices | None = None,
    model: RoutingModel = MODEL,
) -> Path:
    """A run of dummy models, as `run_live` leaves one."""
    class_table = OBSERVATIONS.class_table
    assert class_table is not None
    routing = Routing(
        rule, seed=3, caps=caps or Caps(), class_table=class_table, oracle=dummy_oracle if truth else None
    )
    artifact = plan_for_rule(rule, model).artifact if planned else PolicyArtifact(model="none", policy=rule)
    files = {POLICY_FILE: artifact.model_dump_json()}
    if isinstance(rule, PosteriorRule) and table:
        files[CLASS_TABLE_FILE] = class_table.model_dump_json()
    if prices is not None:
        files[PRICES_FILE] = prices.model_dump_json()
    problems = dummy_problems(n, first=first)
    if not answers:
        problems = [Problem(item.id, item.prompt) for item in problems]
    models = dummy_models(
        DummyWorld.of(model.observations, model.dynamics),
        prm=Faults(probability=faults),
        strong=Faults(probability=faults),
        weak=Faults(probability=weak_faults),
    )
    run(problems, routing.start, models, folder, config={**routing.config, "mode": "run"}, files=files)
    write_solutions(folder, problems)
    return folder


HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\u2028alert(3)//\u2029",
    "javascript:alert(4)",
    "<!--<script>",
    "]]>&lt;b&gt;&amp;{{ 7*7 }}{% raw %}",
    '" onmouseover="alert(5)" x=\'',
    "\x00\x1b[31m\ufeff\ud7ff𝕏 עברית \u202egnol",
)


def hostile(folder: Path) -> tuple[Path, list[Problem]]:
    """A run in which every text that a model, or a problem set, gives is an attack."""
    routing = Routing(RULE, seed=0)
    problems = [Problem(f"{text} {i}/?&run=2#%zz", f"prompt {text}", text) for i, text in enumerate(HOSTILE)]
    problems += [Problem("__proto__", "constructor", "1"), Problem("tp-cost", "an id of the page's own", "1")]
    texts = []
    config = {**routing.config, "mode": "run", "models": {"weak": HOSTILE[0]}}
    files = {
        POLICY_FILE: plan_for_rule(RULE, MODEL).artifact.model_copy(update={"notes": HOSTILE[:2]}).model_dump_json()
    }
    with TraceWriter(folder, config, files=files) as traces:
        for index, problem in enumerate(problems):
            item = routing.start(problem)
            text = HOSTILE[index % len(HOSTILE)]
            _answer(item, text, fails=index == 1)
            item.judge()
            traces.append(item.record)
            texts.append(solution_text(item.record, problem))
    (folder / SOLUTIONS_FILE).write_text(solutions_text(texts), encoding="utf-8")
    return folder, problems


def _answer(item: Attempt, text: str, *, fails: bool) -> None:
    """Give hostile replies until the problem ends."""
    while item.pending is not None:
        step = len(item.steps)
        if item.pending.role == "prm":
            feed(item, ("prm", scored(10, *[0.9] * step, 0.1 if step == 1 else 0.9)))
        elif fails and step == 1:
            item.fail(RuntimeError(text))
        else:
            box = f" \\boxed{{{text.replace('{', '').replace('}', '')}}}" if step == 3 else ""
            stop = "answer" if box else "separator"
            role = item.pending.role
            feed(item, (role, wrote(f"{step} {text} {role}{box}", 5, 20, stop=stop)))


# What a page holds ----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """A page as a browser's parser takes it: its elements, its scripts, its texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.texts: list[str] = []
        self._script: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id") or "main"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.texts.append(data)
        else:
            self.scripts[self._script] += data

    @property
    def data(self) -> dict[str, Any]:
        """What the script lists and draws at once."""
        return json.loads(self.scripts["tp-data"])

    @property
    def details(self) -> list[list[Any]]:
        """Details by problem and run."""
        chunks = [text for name, text in self.scripts.items() if name.startswith("tp-chunk-")]
        return [item for text in chunks for item in json.loads(gzip.decompress(b64decode(text)))]
