"""The backend openai against a server that replies as it is told to: requests, endings, dialects, refusals."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_openai import Fake, chat, completion, listed, refusal

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.runtime.backends.base import Place
from trim_pomdp.runtime.backends.openai import OpenAIGenerator
from trim_pomdp.runtime.backends.openai_server import OpenAIServer
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.http import Patience, ServerError, Service
from trim_pomdp.runtime.protocols import GeneratedStep, StepRequest, Usage
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT
from trim_pomdp.text.format import StepFormat

PROBLEM = Problem("p", "3 + 4 - 2?", "5")
COMPLETIONS = 'api = "completions"\ntemplate = "{prompt}\\n"\n'
PREFILL = 'continuation = "prefill"\n'


def table(tmp_path: Path, keys: str = "", url: str = "http://127.0.0.1:9/v1") -> Any:
    path = tmp_path / "models.toml"
    path.write_text(f'[weak]\nbackend = "openai"\nbase_url = "{url}"\nmodel = "m"\n{keys}')
    found = read_models_file(path).weak
    assert found is not None
    return found


def write(
    fake: Fake,
    tmp_path: Path,
    keys: str = "",
    *,
    steps: tuple[str, ...] = (),
    times: int = 1,
    role: Any = "weak",
    problem: Problem = PROBLEM,
    seed: int = 0,
    max_tokens: int = 50,
    form: StepFormat | None = None,
) -> GeneratedStep:
    """The step that the backend makes of the fake's replies; that of the last time."""

    async def ask() -> GeneratedStep:
        async with fake.served() as url:
            # Tests of what is given up do not wait for it.
            found = table(tmp_path, f"tries = 2\ndeadline_s = 2\n{keys}", url + "/v1")
            model = await asyncio.to_thread(found.load, role, Place(tmp_path, "t"))
            assert isinstance(model, OpenAIGenerator)
            try:
                for _ in range(times):
                    step = await model.generate(StepRequest(problem, steps, seed, max_tokens, form or StepFormat()))
            finally:
                await model.close()
            return step

    return asyncio.run(ask())


def in_turn(*replies: Any) -> Callable[[str, dict[str, Any]], Any]:
    waiting = iter(replies)
    return lambda path, body: next(waiting)


def test_a_completion_goes_on_with_the_text_so_far(tmp_path: Path) -> None:
    fake = Fake(lambda path, body: completion("7 - 2 = 5", stop_reason="\n\n"))
    step = write(fake, tmp_path, COMPLETIONS + "temperature = 0.5\ntop_p = 0.9\n", steps=("3 + 4 = 7",))
    assert step == GeneratedStep("7 - 2 = 5", (), "separator", Usage(11, 0, 5))
    (body,) = fake.asked
    assert fake.paths == ["/v1/completions"]
    assert body.pop("seed") < 2**31
    assert body == {
        "model": "m",
        "prompt": "3 + 4 - 2?\n3 + 4 = 7\n\n",
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": "\n\n",
        "logprobs": 1,
    }


def test_a_prefill_is_the_assistants_turn_so_far(tmp_path: Path) -> None:
    fake = Fake(lambda path, body: chat("7 - 2 = 5\n\n"))
    step = write(fake, tmp_path, PREFILL, steps=("3 + 4 = 7",))
    assert (step.text, step.stop) == ("7 - 2 = 5", "separator")
    (body,) = fake.asked
    assert fake.paths == ["/v1/chat/completions"]
    assert body["messages"] == [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": "3 + 4 - 2?"},
        {"role": "assistant", "content": "3 + 4 = 7\n\n"},
    ]
    assert (body["logprobs"], body["stop"]) == (True, "\n\n")
    assert "continue_final_message" not in body
    first = Fake(lambda path, body: chat("3 + 4 = 7\n\n"))
    write(first, tmp_path, PREFILL + "system_prompt = false\n")
    assert first.asked[0]["messages"] == [{"role": "user", "content": "3 + 4 - 2?"}]


@pytest.mark.parametrize(
    ("owner", "key", "continues", "prefix"),
    [
        ("vllm", "auto", True, False),
        ("sglang", "auto", True, False),
        ("llamacpp", "auto", False, False),
        (None, "auto", False, False),
        (None, "continue", True, False),
        ("vllm", "plain", False, False),
        ("deepseek", "prefix", False, True),
    ],
)
def test_servers_are_told_in_their_own_way_to_go_on(
    tmp_path: Path, owner: str | None, key: str, continues: bool, prefix: bool
) -> None:
    fake = Fake(lambda path, body: chat("b\n\n"), owner=owner)
    write(fake, tmp_path, PREFILL + f'prefill = "{key}"\n', steps=("a",))
    (body,) = fake.asked
    assert body.get("continue_final_message", False) is continues
    assert body.get("add_generation_prompt", True) is not continues
    assert body["messages"][-1].get("prefix", False) is prefix


def test_what_a_server_repeats_of_the_prefill_is_no_part_of_the_step(tmp_path: Path) -> None:
    """llama.cpp's chat replies begin with the prefill."""
    fake = Fake(lambda path, body: chat("a\n\nb", logprobs=listed(("b", -0.5)), tokens=2), owner="llamacpp")
    step = write(fake, tmp_path, PREFILL, steps=("a",))
    assert (step.text, step.logprobs, step.stop) == ("b", (-0.5,), "separator")
    # Nothing but the prefill: the end of the text, whose token is listed.
    ended = Fake(lambda path, body: chat("a\n\n", logprobs=listed(("", -0.1)), tokens=1), owner="llamacpp")
    assert write(ended, tmp_path, PREFILL, steps=("a",)).stop == "end"


@pytest.mark.parametrize(
    ("reply", "stop"),
    [
        (completion("b", stop_reason="\n\n"), "separator"),
        (completion("b", stop_reason=None), "end"),
        (completion("b", stop_reason=151643), "end"),
        (completion("b", stop_reason="stop_sequence"), "separator"),
        (completion("b", matched_stop="\n\n"), "separator"),
        (completion("b", matched_stop=2), "end"),
        (completion("b\n\n"), "separator"),
        (completion("b", "length"), "length"),
        (completion("b\n\nc", "length"), "separator"),
        (completion("b"), "separator"),  # nobody tells
    ],
)
def test_how_a_step_ended(tmp_path: Path, reply: dict[str, Any], stop: str) -> None:
    step = write(Fake(lambda path, body: reply), tmp_path, COMPLETIONS)
    assert (step.text, step.stop) == ("b", stop)


def test_llama_cpp_tells_the_end_by_the_tokens_that_it_lists(tmp_path: Path) -> None:
    for tokens, stop in (((("b", -0.5),), "separator"), ((("b", -0.5), ("", -0.1)), "end")):
        fake = Fake(lambda path, body, tokens=tokens: completion("b", tokens=2, logprobs=listed(*tokens)))
        fake.models = {"data": [{"id": "m", "owned_by": "llamacpp"}]}
        step = write(fake, tmp_path, COMPLETIONS)
        assert (step.stop, len(step.logprobs)) == (stop, len(tokens))
        assert (fake.asked[0]["top_k"], fake.asked[0]["min_p"]) == (0, 0.0), "no tail is cut"


def test_where_nobody_tells_nothing_is_the_end_only_without_a_stop_string(tmp_path: Path) -> None:
    def answer(path: str, body: dict[str, Any]) -> dict[str, Any]:
        return completion("", tokens=1) if "stop" in body else completion(text, tokens=9)

    text = ""
    fake = Fake(answer)
    assert write(fake, tmp_path, COMPLETIONS, steps=("a",)) == GeneratedStep("", (), "end", Usage(22, 0, 10))
    assert ["stop" in body for body in fake.asked] == [True, False]
    # A server that cut the separator off the prefill: the model writes it anew.
    text = "\n\nb = 1\n\nc = 2"
    fake = Fake(answer)
    assert write(fake, tmp_path, COMPLETIONS, steps=("a",)) == GeneratedStep("b = 1", (), "separator", Usage(22, 0, 10))


def test_an_open_block_goes_on(tmp_path: Path) -> None:
    replies = (completion("```\nx", stop_reason="\n\n"), completion("y\n```", stop_reason="\n\n", tokens=7))
    fake = Fake(in_turn(*replies))
    step = write(fake, tmp_path, COMPLETIONS, steps=("a",))
    assert step == GeneratedStep("```\nx\n\ny\n```", (), "separator", Usage(22, 0, 12))
    assert fake.asked[1]["prompt"] == "3 + 4 - 2?\na\n\n```\nx\n\n"
    assert fake.asked[1]["max_tokens"] == 45
    assert fake.asked[0]["seed"] != fake.asked[1]["seed"]


def test_thinking_as_one_step_stops_where_it_ends(tmp_path: Path) -> None:
    replies = (("<think>\nHm", "\n\n"), ("So.\n", "</think>"), ("", "\n\n"))
    fake = Fake(in_turn(*(completion(text, stop_reason=stop) for text, stop in replies)))
    step = write(fake, tmp_path, COMPLETIONS, form=StepFormat(thinking="one-step"))
    assert (step.text, step.stop) == ("<think>\nHm\n\nSo.\n</think>", "separator")
    assert [body["stop"] for body in fake.asked] == ["\n\n", "</think>", "\n\n"]


def test_log_probabilities_are_those_of_the_step_alone(tmp_path: Path) -> None:
    tokens = (("b", -0.1), (" =", -0.2), (" 1\n", -0.3), ("\nc", -0.4), (" 2", -0.5))
    fake = Fake(lambda path, body: completion("b = 1\n\nc 2", logprobs=listed(*tokens)))
    step = write(fake, tmp_path, COMPLETIONS)
    assert step == GeneratedStep("b = 1", (-0.1, -0.2, -0.3, -0.4), "separator", Usage(11, 0, 5))
    legacy = {"tokens": ["b", "\n\n"], "token_logprobs": [-0.1, -0.2], "top_logprobs": None, "text_offset": [0, 1]}
    fake = Fake(lambda path, body: completion("b", logprobs=legacy, stop_reason="\n\n"))
    assert write(fake, tmp_path, COMPLETIONS).logprobs == (-0.1, -0.2)


def test_one_step_is_asked_for_in_words(tmp_path: Path) -> None:
    tokens = (("Next", -9.0), (" step:\n\n", -9.0), ("7 - 2", -0.1), (" = 5", -0.2), ("\n\nDone.", -9.0))
    fake = Fake(lambda path, body: chat("Next step:\n\n7 - 2 = 5\n\nDone.", logprobs=listed(*tokens)))
    step = write(fake, tmp_path, "", steps=("3 + 4 = 7",))
    assert step == GeneratedStep("7 - 2 = 5", (-0.1, -0.2), "separator", Usage(11, 0, 5))
    (body,) = fake.asked
    assert "stop" not in body
    system, user = body["messages"]
    assert system == {"role": "system", "content": SYSTEM_PROMPT}
    assert user["content"].startswith("3 + 4 - 2?\n\nThe solution so far:\n\n3 + 4 = 7\n\nWrite only the next step")
    for reply, stop in ((chat(""), "end"), (chat("7 -", "length"), "length"), (chat("7 - 2 = 5"), "separator")):
        assert write(Fake(lambda path, body, reply=reply: reply), tmp_path).stop == stop


def test_what_a_server_does_not_take_is_left_out_from_then_on(tmp_path: Path) -> None:
    refusals = {
        "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "seed": "Unrecognized request argument supplied: seed",
        "logprobs": "You are not allowed to request logprobs from this model",
        "stop": "Unsupported parameter: 'stop' is not supported with this model.",
        "top_p": "Unsupported value: 'top_p' does not support 1.0 with this model.",
    }

    def answer(path: str, body: dict[str, Any]) -> Any:
        for name, message in refusals.items():
            if name in body:
                return refusal(message)
        return completion("b\n\nc", tokens=3)

    fake = Fake(answer)
    step = write(fake, tmp_path, COMPLETIONS, times=2)
    assert step == GeneratedStep("b", (), "separator", Usage(11, 0, 3))
    assert len(fake.asked) == len(refusals) + 2
    assert set(fake.asked[-1]) == {"model", "prompt", "temperature", "max_completion_tokens"}
    assert fake.asked[-1]["max_completion_tokens"] == 50


def test_what_was_not_to_blame_stays(tmp_path: Path) -> None:
    fake = Fake(in_turn(refusal("Invalid prompt; seed and stop look odd"), refusal("Invalid prompt"), chat("b")))
    with pytest.raises(ServerError, match=r"HTTP 400 \(Invalid prompt\)"):
        write(fake, tmp_path, PREFILL)
    assert [{"seed", "stop"} <= set(body) for body in fake.asked] == [True, False]

    async def ask() -> None:
        async with fake.served() as url:
            model = await asyncio.to_thread(table(tmp_path, PREFILL, url).load, "weak", Place(tmp_path, "t"))
            fake.answer = in_turn(refusal("Unknown field: seed"), refusal("Invalid prompt"), chat("b\n\n"))
            request = StepRequest(PROBLEM, (), 0, 9)
            with pytest.raises(ServerError, match="Invalid prompt"):
                await model.generate(request)
            await model.generate(request)
            await model.close()

    asyncio.run(ask())
    assert "seed" in fake.asked[-1], "leaving it out did not help"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal("This model's maximum context length is 512 tokens."), "HTTP 400 (This model's maximum context"),
        (refusal("Unsupported value: 'temperature' does not support 0.7 with this model."), "'temperature' does not"),
        (refusal("Incorrect API key provided.", 401), "is the key right that api_key_env names?"),
        (chat({"role": "assistant", "content": None, "refusal": "I can't help."}), "the model refused: I can't help"),
        (chat({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "tool_calls"), "called a tool"),
        (chat("b", "content_filter"), "content filter"),
        (chat({"role": "assistant", "content": None}), "a message without content"),
        (chat("", "length", tokens=50), "all 50 tokens went into reasoning"),
        ({"choices": []}, "a reply without choices"),
        ({"error": "busy"}, "a reply without choices"),
        ([], "a reply without choices"),
        ({"choices": [{"message": {"content": "b"}, "logprobs": {"content": [{"token": "b"}]}}]}, "no known layout"),
        (chat("b", logprobs=listed(("b", float("nan")))), "no known layout"),
    ],
)
def test_replies_that_are_no_step(tmp_path: Path, reply: Any, words: str) -> None:
    with pytest.raises(ServerError) as caught:
        write(Fake(lambda path, body: reply), tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reply_that_is_none_is_asked_for_again(tmp_path: Path) -> None:
    assert write(Fake(in_turn({"choices": []}, chat("b"))), tmp_path).text == "b"


def test_usage_counts_what_was_cached_and_reasoning(tmp_path: Path) -> None:
    def counted(**usage: Any) -> Usage | None:
        reply = {**chat("b"), "usage": usage}
        return write(Fake(lambda path, body: reply), tmp_path).usage

    cached = {"prompt_tokens_details": {"cached_tokens": 8}}
    assert counted(prompt_tokens=10, completion_tokens=3, total_tokens=13, **cached) == Usage(10, 8, 3)
    assert counted(prompt_tokens=10, completion_tokens=3, prompt_cache_hit_tokens=6) == Usage(10, 6, 3)
    # Reasoning within the completion (OpenAI), or in the total alone (xAI).
    reasoning = {"completion_tokens_details": {"reasoning_tokens": 20}}
    assert counted(prompt_tokens=10, completion_tokens=23, total_tokens=33, **reasoning) == Usage(10, 0, 23)
    assert counted(prompt_tokens=10, completion_tokens=3, total_tokens=33, **reasoning) == Usage(10, 0, 23)
    without = chat("b")
    del without["usage"]
    step = write(Fake(lambda path, body: without), tmp_path)
    assert (step.usage, step.tokens) == (None, 0)
    parts = chat([{"type": "text", "text": "b "}, {"type": "text", "text": "= 1"}])
    assert write(Fake(lambda path, body: parts), tmp_path).text == "b = 1"


def test_seeds_belong_to_what_they_are_for(tmp_path: Path) -> None:
    def seed(**options: Any) -> Any:
        fake = Fake(lambda path, body: chat("b"))
        write(fake, tmp_path, options.pop("keys", ""), **options)
        return fake.asked[0].get("seed")

    other = Problem("q", PROBLEM.prompt)
    seeds = [seed(), seed(seed=1), seed(role="strong"), seed(steps=("a",)), seed(problem=other)]
    assert len(set(seeds)) == 5
    assert all(0 <= value < 2**31 for value in seeds)
    assert seed() == seeds[0]
    assert seed(keys="temperature = 0\n") is None, "nothing is drawn"


async def nobody(*_: Any) -> str:
    """Ask no server what it is."""
    return "other"


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = 'api_key_env = "TRIM_TEST_KEY"\n'
    monkeypatch.delenv("TRIM_TEST_KEY", raising=False)
    with pytest.raises(InputError, match="TRIM_TEST_KEY"):
        table(tmp_path, keys).load("weak", Place(tmp_path, "t"))
    monkeypatch.setenv("TRIM_TEST_KEY", "sk-very-secret")
    fake = Fake(lambda path, body: chat("b"))
    write(fake, tmp_path, keys)
    assert fake.headers[0]["Authorization"] == "Bearer sk-very-secret"
    with pytest.raises(ServerError) as caught:
        write(Fake(lambda path, body: refusal("no", 401)), tmp_path, keys)
    loaded = table(tmp_path, keys)
    monkeypatch.setattr("trim_pomdp.runtime.backends.openai_server._kind", nobody)
    model = loaded.load("weak", Place(tmp_path, "t"))
    for shown in (str(caught.value), repr(model), repr(model.server), json.dumps(loaded.config(tmp_path))):
        assert "sk-very-secret" not in shown


def test_a_run_is_defined_by_what_is_asked_not_by_where(tmp_path: Path) -> None:
    config = table(tmp_path, PREFILL).config(tmp_path)
    elsewhere = table(tmp_path, PREFILL + 'prefill = "plain"\ntimeout_s = 9\n', "https://api.example.com/v1")
    assert elsewhere.config(tmp_path) == config
    for keys in ("", PREFILL + "temperature = 1\n", PREFILL + 'extra_body = {reasoning_effort = "low"}\n'):
        assert table(tmp_path, keys).config(tmp_path) != config


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
        ("/v1beta/openai/", "/v1beta/openai/chat/completions"),
    ],
)
def test_where_the_interface_is(tmp_path: Path, url: str, path: str) -> None:
    fake = Fake(lambda path, body: chat("b"))

    async def ask() -> None:
        async with fake.served() as address:
            model = await asyncio.to_thread(table(tmp_path, "", address + url).load, "weak", Place(tmp_path, "t"))
            await model.generate(StepRequest(PROBLEM, (), 0, 9))
            await model.close()

    asyncio.run(ask())
    assert fake.paths == [path]


def test_more_keys_go_with_every_request(tmp_path: Path) -> None:
    keys = 'extra_body = {reasoning_effort = "low", chat_template_kwargs = {enable_thinking = false}, top_k = 5}\n'
    fake = Fake(lambda path, body: chat("b"), owner="vllm")
    write(fake, tmp_path, keys)
    (body,) = fake.asked
    assert body["reasoning_effort"] == "low"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('api = "completion"', "weak.api"),
        ('api = "completions"\ncontinuation = "instruct"', "is for api = 'chat'"),
        ('prefill = "plain"', "goes with api = 'chat' and continuation = 'prefill'"),
        ('template = "{prompt}"', "are for api = 'completions'"),
        ('api = "completions"\ntemplate = "Solve this:"', "has no {prompt} in it"),
        ("extra_body = {stream = true}", "'stream' is not for the models file to say"),
        ('base_url = ["http://a/v1", "http://b/openai"]', "are they the same kind of server?"),
        ('base_url = "localhost:8000"', "no URL"),
        ("base_url = []", "weak.base_url"),
        ('api_key = "sk-1"', "unknown key 'weak.api_key'; did you mean 'api_key_env'?"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, keys: str, words: str) -> None:
    path = tmp_path / "models.toml"
    lines = ['[weak]\nbackend = "openai"\nmodel = "m"', keys]
    if "base_url" not in keys:
        lines.append('base_url = "http://127.0.0.1:9"')
    path.write_text("\n".join(lines))
    with pytest.raises(InputError) as caught:
        read_models_file(path)
    assert words in str(caught.value)


def test_vllm_renders_prompts_itself(tmp_path: Path) -> None:
    def answer(path: str, body: dict[str, Any]) -> Any:
        if path == "/tokenize":
            assert body.get("prompt", "<u>3 + 4 - 2?<a>") == "<u>3 + 4 - 2?<a>"
            return {"tokens": [7, 8, 9]}
        return {"prompt": "<u>3 + 4 - 2?<a>"} if path == "/detokenize" else completion("b", stop_reason="\n\n")

    fake = Fake(answer, owner="vllm")
    write(fake, tmp_path, 'api = "completions"\n', steps=("a",), times=2)
    assert fake.paths == ["/tokenize", "/detokenize", "/tokenize", "/v1/completions", "/v1/completions"]
    assert fake.asked[0]["messages"][-1] == {"role": "user", "content": "3 + 4 - 2?"}
    assert (fake.asked[-1]["prompt"], fake.asked[-1]["add_special_tokens"]) == ("<u>3 + 4 - 2?<a>a\n\n", False)


def test_a_server_that_renders_no_prompts(tmp_path: Path) -> None:
    fake = Fake(lambda path, body: completion("b"))
    write(fake, tmp_path, 'api = "completions"\n', steps=("a",))
    assert fake.asked[0]["prompt"] == f"{SYSTEM_PROMPT}\n\n3 + 4 - 2?\n\na\n\n"
    plain = OpenAIServer(Service("t", ["http://127.0.0.1:9"]), "m", "completions")
    assert plain.facts == {"prompts": "without a chat template"}
    assert replace(plain, kind="vllm").facts == replace(plain, api="chat").facts == {}


def test_a_server_that_is_not_there_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience(timeout_s=5.0, deadline_s=0.2, tries=1)
    monkeypatch.setattr("trim_pomdp.runtime.backends.openai_server.FIRST_PATIENCE", patience)
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9"):
        table(tmp_path).load("weak", Place(tmp_path, "t"))
    locked = Fake(lambda path, body: chat("b"), models=refusal("Incorrect API key provided.", 401))
    with pytest.raises(InputError, match="is the key right that api_key_env names"):
        write(locked, tmp_path)
    # Any answer shows that there is a server; what matters is asked later.
    for models in (["m"], {"data": ["m"]}, (501, "Unsupported method ('GET')"), (403, {}), (500, {})):
        odd = Fake(lambda path, body: chat("b"), models=models)
        assert write(odd, tmp_path).text == "b"
    with pytest.raises(InputError, match="HTTP 503"):
        write(Fake(lambda path, body: chat("b"), models=(503, {"message": "loading"})), tmp_path)
