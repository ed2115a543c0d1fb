"""What separates steps, what ends a solution, and who judges answers: from the models file to the trace."""

import asyncio
from pathlib import Path

import pytest
from scripted import feed, scores, step

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.lab.source import model_source
from trim_pomdp.policies import StrategyRule
from trim_pomdp.runtime.attempt import Attempt
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.engine import Models, solve_all
from trim_pomdp.runtime.protocols import GeneratedStep, StepRequest
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing
from trim_pomdp.text.format import StepFormat

WEAK = StrategyRule(strategy="weak")


def attempt(answer: str = "9", **options: object) -> Attempt:
    problem = Problem("p", "4+5?", answer)
    return Attempt(problem, WEAK.router(problem), **options)  # type: ignore[arg-type]


def test_an_empty_box_ends_nothing() -> None:
    item = attempt()
    feed(item, ("weak", step(r"The result goes in \boxed{}.")), ("weak", step("4+5=9.")), ("weak", step(r"\boxed{9}")))
    terminal = item.record.terminal
    assert (terminal.reason, terminal.answer, terminal.steps, terminal.correct) == ("answer", "9", 3, True)


def test_a_box_in_a_think_block_ends_nothing() -> None:
    item = attempt()
    texts = ("<think>", r"Perhaps \boxed{8}.", "No.\n</think>", r"\boxed{9}")
    feed(item, *(("weak", step(text)) for text in texts))
    assert (item.record.terminal.reason, item.record.terminal.answer) == ("answer", "9")


def test_several_boxes_in_one_sentence_are_one_answer() -> None:
    item = attempt("-9, 4")
    feed(item, ("weak", step(r"The zeros are \boxed{4} and \boxed{-9}.")))
    assert (item.record.terminal.answer, item.record.terminal.correct) == ("4, -9", True)


def test_requests_carry_the_format() -> None:
    format_ = StepFormat("newline")
    item = attempt(format=format_, record_scores=True)
    assert item.pending is not None
    assert item.pending.request == StepRequest(item.problem, (), 0, 512, format_)
    feed(item, ("weak", step(r"\boxed{9}")))
    assert item.pending.request.format == format_
    feed(item, ("prm", scores(0.5)))
    assert item.record.terminal.correct


def test_blocks_may_be_cut() -> None:
    """As the lab does, where a box that is opened and forgotten is to end with its step."""
    text = "\\boxed{9\n\nTwice"
    assert StepFormat().next_step(text, ()) is None
    assert StepFormat(keep_blocks=False).next_step(text, ()) == "\\boxed{9"


def test_tables_of_the_models_file(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text('checker = "exact"\n[steps]\nseparator = "## Step"\nthinking = "one-step"\n')
    source = model_source(str(path))
    assert (source.format, source.checker) == (StepFormat("## Step", "one-step"), "exact")
    path.write_bytes(b'\xef\xbb\xbf[steps]\r\nseparator = "newline"\r\n')
    assert read_models_file(path).steps.format == StepFormat("newline")
    path.write_text("")
    assert (model_source(str(path)).format, model_source(str(path)).checker) == (StepFormat(), "math")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[steps]\nseparator = "["', "steps.*'\\[' is no regular expression"),
        ('[steps]\nthinking = "skip"', r"steps\.thinking"),
        ('[steps]\nseperator = "newline"', r"unknown key 'steps\.seperator'; did you mean 'separator'"),
        ('checker = "maths"', "checker.*expected 'math', 'exact' or 'package.module:function'"),
        ('checker = "no.such:thing"', "checker.*cannot be imported"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_models_file(path)
    assert "\n" not in str(caught.value)


class Says:
    def __init__(self, text: str) -> None:
        self._text = text

    async def generate(self, request: StepRequest) -> GeneratedStep:
        return GeneratedStep(self._text, (-0.1,), "end")


def run_one(routing: Routing, text: str) -> SolutionRecord:
    ended: list[SolutionRecord] = []
    asyncio.run(solve_all([Problem("p", "?", "x")], routing.start, Models(weak=Says(text)), ended.append))
    return ended[0]


def test_a_checker_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_checker.py").write_text(
        "def same_letters(given, reference):\n"
        "    if given == 'bad':\n        raise RuntimeError('cannot judge')\n"
        "    return given.lower() == reference\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_one(Routing(WEAK, checker="own_checker:same_letters"), r"\boxed{X}").terminal.correct
    assert not run_one(Routing(WEAK, checker="exact"), r"\boxed{X}").terminal.correct
    failed = run_one(Routing(WEAK, checker="own_checker:same_letters"), r"\boxed{bad}").terminal
    assert (failed.reason, failed.correct) == ("error", False)
    assert failed.error == "RuntimeError: cannot judge"
    assert Routing(WEAK, checker="exact").config["checker"] == "exact"
    assert Routing(WEAK).config["steps"] == {"separator": "blank-line", "thinking": "route", "keep_blocks": True}


class Letters:
    """A tokenizer of single characters, as far as cutting needs one."""

    def decode(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


@pytest.mark.parametrize(
    ("separator", "text", "wanted", "stop"),
    [
        ("blank-line", "\n\nAdd: 9.\n \nTwice", "Add: 9.", "separator"),
        ("blank-line", "One\nline", "One\nline", "length"),
        ("newline", "Add: 9.\nTwice", "Add: 9.", "separator"),
        ("## Step", "## Step 1\n4\n\n5\n## Step 2", "## Step 1\n4\n\n5", "separator"),
        ("blank-line", "\\[\\boxed{\n\n9\n\n}\\]\n\nx", "\\[\\boxed{\n\n9\n\n}\\]", "separator"),
    ],
)
def test_steps_are_cut_token_by_token(separator: str, text: str, wanted: str, stop: str) -> None:
    pytest.importorskip("torch")
    from trim_pomdp.runtime.backends.tokens import Reading, WrittenStep

    reading = Reading(Letters(), frozenset({ord("\n")}), frozenset({0}))  # type: ignore[arg-type]
    request = StepRequest(Problem("p", "?"), (), 0, len(text), StepFormat(separator))
    row = WrittenStep(request, reading, 0)
    for character in text:
        if row.stop is None:
            row.append(ord(character), -0.1)
    assert (row.step().text, row.step().stop) == (wanted, stop)
