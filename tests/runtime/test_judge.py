"""A generator as judge of steps: scores from the answer's log-probabilities, one question for each new step."""

import asyncio
import json
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
from fake_openai import Fake, chat, completion, listed, refusal

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.backends.base import Place
from trim_pomdp.runtime.backends.judge import Judge
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.http import ServerError
from trim_pomdp.runtime.protocols import ScoreRequest, SolutionScores

PROBLEM = Problem("p", "3 + 4 - 2?")


def judge(tmp_path: Path, keys: str, url: str) -> Judge:
    path = tmp_path / "models.toml"
    path.write_text(f'[prm]\nbackend = "judge"\nbase_url = "{url}/v1"\nmodel = "m"\ntries = 1\n{keys}')
    table = read_models_file(path).prm
    assert table is not None
    model = table.load(Place(tmp_path, "t"))
    assert isinstance(model, Judge)
    return model


def score(
    fake: Fake, tmp_path: Path, *solutions: tuple[str, ...], keys: str = "", problem: Problem = PROBLEM
) -> list[SolutionScores]:
    async def ask() -> list[SolutionScores]:
        async with fake.served() as url:
            model = await asyncio.to_thread(judge, tmp_path, keys, url)
            try:
                return [await model.score(ScoreRequest(problem, steps)) for steps in solutions]
            finally:
                await model.close()

    return asyncio.run(ask())


def answers(**top: float) -> dict[str, Any]:
    likeliest = max(top, key=lambda text: top[text])
    return chat(likeliest, "length", tokens=1, logprobs=listed((likeliest, top[likeliest], top)))


def test_a_score_is_the_share_of_yes(tmp_path: Path) -> None:
    fake = Fake(lambda path, body: answers(Yes=log(0.6), No=log(0.1), The=log(0.3)))
    ((found),) = score(fake, tmp_path, ("3 + 4 = 7",))
    assert found.scores == (pytest.approx(0.6 / 0.7),)
    assert found.tokens == 12
    (body,) = fake.asked
    assert (body["logprobs"], body["top_logprobs"], body["temperature"]) == (True, 20, 1.0)
    ((message),) = body["messages"]
    assert message["role"] == "user"
    assert "3 + 4 - 2?" in message["content"]
    assert message["content"].count("3 + 4 = 7") == 2


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ({"Yes": log(0.3), " yes": log(0.2), "YES": log(0.1), "No": log(0.2)}, 0.75),
        ({"**Yes": log(0.6), "\u2581No": log(0.2)}, 0.75),
        ({"Yes.": log(0.6), '"no"': log(0.2)}, 0.75),
        ({"No": log(0.9), "The": log(0.1)}, 0.0),
        ({"Yes": 0.0, "No": -300.0}, 1.0),
        ({"Yesterday": log(0.5), "Yes": log(0.3), "Not": log(0.1), "no": log(0.1)}, 0.75),
    ],
)
def test_spellings(tmp_path: Path, top: dict[str, float], expected: float) -> None:
    fake = Fake(lambda path, body: answers(**top))
    assert score(fake, tmp_path, ("a",))[0].scores == (pytest.approx(expected),)


def test_the_answer_may_come_after_what_is_none(tmp_path: Path) -> None:
    tokens = listed(
        ("\n", -0.1, {"\n": -0.1, "**": -0.2}), ("No", log(0.8), {"No": log(0.8), "Yes": log(0.2)}), (".", 0.0, {})
    )
    fake = Fake(lambda path, body: chat("\nNo.", logprobs=tokens))
    assert score(fake, tmp_path, ("a",))[0].scores == (pytest.approx(0.2),)


def test_only_what_is_new_is_asked_for(tmp_path: Path) -> None:
    def answer(path: str, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][0]["content"]
        return answers(Yes=-0.1 * len(text), No=-9.0)

    fake = Fake(answer)
    grown = score(fake, tmp_path, ("a",), ("a", "bb"), ("a", "ccc"), ("a", "ccc", "d"), ("a", "ccc", "d"))
    assert len(fake.asked) == 4
    assert [item.tokens for item in grown] == [12, 12, 12, 12, 0]
    first = grown[0].scores[0]
    assert all(item.scores[0] == first for item in grown)
    assert grown[3] == SolutionScores((*grown[2].scores, grown[3].scores[-1]), 12)
    assert grown[4].scores == grown[3].scores
    # All at once, the same.
    assert score(Fake(answer), tmp_path, ("a", "ccc", "d"))[0] == SolutionScores(grown[3].scores, 36)
    # Another problem is another matter.
    other = score(Fake(answer), tmp_path, ("a",), problem=Problem("p", "Longer than that?"))
    assert other[0].scores != (first,)


def test_a_question_of_ones_own(tmp_path: Path) -> None:
    keys = (
        'question = "{prompt}|{before}|{step}|{steps}|{other}"\nyes = ["+", "Ja"]\nno = "-"\nsystem_prompt = "Judge."\n'
        'api = "completions"\ntemplate = "{system}#{prompt}#"\n'
    )
    legacy = {
        "tokens": ["+"],
        "token_logprobs": [log(0.5)],
        "top_logprobs": [{"+": log(0.5), " -": log(0.2), "ja": log(0.1)}],
    }
    fake = Fake(lambda path, body: completion("+", logprobs=legacy))
    assert score(fake, tmp_path, ("a", "b"), keys=keys)[0].scores == (pytest.approx(0.75),) * 2
    assert {body["prompt"] for body in fake.asked} == {
        "Judge.#3 + 4 - 2?||a|a|{other}#",
        "Judge.#3 + 4 - 2?|a|b|a\n\nb|{other}#",
    }
    assert fake.asked[0]["logprobs"] == 20


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answers(The=-0.5, Maybe=-1.0), "answers neither yes nor no, but 'The', 'Maybe'; ask another question"),
        (chat("Yes", logprobs=None), "offers no log-probabilities"),
        (chat("Yes"), "offers no log-probabilities"),
        (chat("Yes", logprobs=listed(("Yes", float("nan"), {"Yes": -0.1}))), "no known layout"),
        (chat("Yes", logprobs=listed(("Yes", -0.1, {"Yes": float("nan")}))), "no known layout"),
        (refusal("You are not allowed to request logprobs from this model", 403), "HTTP 403"),
    ],
)
def test_what_is_no_judgement(tmp_path: Path, reply: Any, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        score(Fake(lambda path, body: reply), tmp_path, ("a",))
    assert words in str(caught.value)


def test_a_server_that_refuses_log_probabilities(tmp_path: Path) -> None:
    def answer(path: str, body: dict[str, Any]) -> Any:
        return refusal("You are not allowed to request logprobs", 403) if "logprobs" in body else chat("Yes")

    with pytest.raises(ServerError, match="offers no log-probabilities"):
        score(Fake(answer), tmp_path, ("a",))


def test_a_generators_table_will_do(tmp_path: Path) -> None:
    keys = 'api = "chat"\ncontinuation = "prefill"\ntemperature = 0.7\ntop_p = 0.9\n'
    fake = Fake(lambda path, body: answers(Yes=log(0.6), No=log(0.2)))
    assert score(fake, tmp_path, ("a",), keys=keys)[0].scores == (pytest.approx(0.75),)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('question = "Is {prompt} right?"', "neither {step} nor {steps}"),
        ('yes = ["yes", "No"]', "have an answer in common"),
        ("yes = []", "prm.yes"),
        ('continuation = "prefil"', "prm.continuation"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, keys: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        judge(tmp_path, keys, "http://127.0.0.1:9")
    assert words in str(caught.value)


def test_scores_are_probabilities_whatever_rounding_does(tmp_path: Path) -> None:
    fake = Fake(lambda path, body: answers(Yes=1e-7, No=-745.0))
    (found,) = score(fake, tmp_path, ("a",))
    assert 0.0 <= found.scores[0] <= 1.0
    assert exp(-745.0) > 0.0


def test_chat_models_and_a_judge_route(cli_json: Any, tmp_path: Path) -> None:
    """No PRM, no completions: the weak model fails at the second step, the judge sees it, the strong one mends it."""

    def answer(path: str, body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        if body["model"] == "judge":
            right = "= 6" not in text.split("That step is:")[1]
            return answers(Yes=log(0.9 if right else 0.1), No=log(0.1 if right else 0.9))
        if "The solution so far" not in text:
            return chat("Here is the first step:\n\n3 + 4 = 7\n\n7 - 2 = 6", tokens=9)
        return chat("Step 2: 7 - 2 = 6, so \\boxed{6}." if body["model"] == "weak" else "7 - 2 = 5, so \\boxed{5}.")

    problems = [{"id": f"p{i}", "prompt": f"3 + 4 - 2? ({i})", "answer": "5"} for i in range(20)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(item) + "\n" for item in problems))
    fake = Fake(answer)
    with fake.in_thread() as url:
        tables = [("weak", "openai"), ("strong", "openai"), ("prm", "judge")]
        (tmp_path / "models.toml").write_text(
            "".join(
                f'[{role}]\nbackend = "{backend}"\nbase_url = "{url}/v1"\nmodel = "{role}"\n'
                for role, backend in tables
            ).replace('"prm"', '"judge"')
        )
        out = cli_json(
            *("run", "--models", tmp_path / "models.toml", "--problems", tmp_path / "problems.jsonl"),
            *("--threshold", 0.5, "--out", tmp_path / "run"),
        )
    assert (out["accuracy"], out["regenerations"], out["strong_tokens"], out["failed"]) == (1.0, 1.0, 5.0, 0)
    # Two weak steps of each problem were judged, each once, and the strong one, which ended it, by nobody.
    assert sum(body["model"] == "judge" for body in fake.asked) == 40
    assert out["tokens"]["scored"] == 40 * 12
    assert (out["tokens"]["weak_kept"], out["tokens"]["weak_discarded"]) == (20 * 9, 20 * 5)
