"""The look into models before a run: what is found to be good, and what is found to be wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm, problems
from scripted import WORLD
from test_served_models import Servers, models_file, servers, source

from trim_pomdp.data.problems import problems_text
from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.runtime.check import check
from trim_pomdp.runtime.findings import Verdict
from trim_pomdp.runtime.scoring import SolutionScorer

__all__ = ["servers"]


def verdicts(path: Path) -> dict[tuple[str, str], Verdict]:
    models = source(path)
    found = check(models, models.load({"weak", "strong", "prm"}), problems(12))
    return {(item.role, item.what): item for item in found}


def test_good_servers_are_found_to_be_good(tmp_path: Path, servers: Servers) -> None:
    found = verdicts(models_file(tmp_path, servers))
    # The world judges a step by its text, so that a spoilt one is as good as a right one; its tokens are all the same.
    states = {key: item.state for key, item in found.items() if key[1] not in ("bad steps", "read back")}
    assert set(states.values()) <= {"good"}, found
    assert {what for role, what in found if role == "weak"} >= {
        "replies", "steps", "answers", "log-probabilities", "repeatable", "before temperature", "model",
        "context length", "draws", "prefix cache", "read back",
    }  # fmt: skip
    assert {what for role, what in found if role == "prm"} >= {"range", "repeatable", "bad steps", "model"}


def rename(server: FakeVllm) -> None:
    server.names = ["another"]


def shrink(server: FakeVllm) -> None:
    server.room = 40


def temper(server: FakeVllm) -> None:
    server.tempered = 0.7


def unkey(server: FakeVllm) -> None:
    server.keyed = False


def level(server: FakeVllm) -> None:
    server.constant = 0.5


def break_down(server: FakeVllm) -> None:
    server.fault = lambda _: "count"


@pytest.mark.parametrize(
    ("role", "spoil", "what", "state", "words"),
    [
        ("weak", rename, "model", "bad", "the server has another, not weak"),
        ("strong", shrink, "context length", "bad", "40 tokens; a solution and one more step"),
        ("weak", temper, "before temperature", "bad", "differ by"),
        ("weak", unkey, "draws", "note", "by seeds in the server"),
        ("prm", level, "range", "bad", "always 0.5"),
        ("prm", level, "bad steps", "bad", "0% of"),
        ("prm", break_down, "replies", "bad", "scores for"),
    ],
)
def test_what_is_wrong_is_found(
    tmp_path: Path,
    servers: Servers,
    role: str,
    spoil: Callable[[FakeVllm], None],
    what: str,
    state: str,
    words: str,
) -> None:
    spoil(servers[role])
    path = models_file(tmp_path, servers, "tries = 2")
    item = verdicts(path)[role, what]
    assert item.state == state
    assert words in item.found
    assert item.remedy or what == "replies"


def test_the_verb(tmp_path: Path, servers: Servers, run_cli: Any) -> None:
    servers["prm"].constant = 0.5
    file = tmp_path / "problems.jsonl"
    file.write_text(problems_text(problems(20)))
    path = models_file(tmp_path, servers)
    code, out, _ = run_cli("check", "--models", path, "--problems", file, "--count", 6, "--json")
    assert code == 1
    document = json.loads(out)
    assert document["bad"] == sum(item["state"] == "bad" for item in document["verdicts"]) == 2
    code, out, err = run_cli("check", "--models", path, "--problems", file)
    assert code == 1
    assert "always 0.5" in out
    assert "is it the right model, template and separator?" in err
    path.write_text("[limits]\nmax_steps = 3\n")
    code, _, err = run_cli("check", "--models", path)
    assert code == 2
    assert "nothing to check" in err


def test_log_probabilities_of_given_steps_over_http(tmp_path: Path, servers: Servers) -> None:
    """Those of the very steps, as `score --logprobs` needs them."""
    weak = source(models_file(tmp_path, servers)).load({"weak"}).weak
    from trim_pomdp.runtime.protocols import StepRequest

    problem, steps, logprobs = problems(1)[0], (), []
    for _ in range(3):
        step = WORLD.write(StepRequest(problem, steps, 3, 99), "weak")
        steps = (*steps, step.text)
        logprobs.append(step.logprobs)
        if step.stop == "answer":
            break
    solution = LabelledSolution(
        id="a", generator="weak", problem=problem.prompt, steps=steps, label=-1, final_answer_correct=True
    )
    (record,) = SolutionScorer(None, "prm", weak)([solution])
    assert record.features["logprob_min"] == pytest.approx([min(step) for step in logprobs])
