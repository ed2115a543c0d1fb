"""The lab's generators behind llama.cpp's server: same tokens, texts and probabilities as in process, and same runs."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from math import exp
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gguf", reason="llama.cpp's server needs the packages gguf and xllamacpp (extra dev)")
pytest.importorskip("xllamacpp", reason="llama.cpp's server needs the packages gguf and xllamacpp (extra dev)")

from lab_gguf import llama_server, write_gguf

from trim_pomdp.data.problems import Problem, problems_text
from trim_pomdp.lab.models import FORMAT, shipped_folder
from trim_pomdp.lab.problems import draw
from trim_pomdp.runtime.backends.base import Place
from trim_pomdp.runtime.backends.torch_models import TransformersGenerator
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.http import ServerError
from trim_pomdp.runtime.protocols import GeneratedStep, ScoreRequest, StepRequest
from trim_pomdp.runtime.traces import read_traces

PROMPTS = [*draw("loop", "fit", 0, 20), *draw("chain", "fit", 0, 20), *draw("mixed", "fit", 0, 20)]
LAB_MODEL = {"system_prompt": None, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def _one_core() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of the servers, by role."""
    folder = tmp_path_factory.mktemp("gguf")
    with ExitStack() as stack:
        found = {}
        for role in ("weak", "strong"):
            model = write_gguf(shipped_folder() / role, folder / f"{role}.gguf")
            found[role] = stack.enter_context(llama_server(model, folder / f"{role}.log"))
        yield found


@pytest.fixture(scope="module", params=["weak", "strong"])
def served(request: Any, addresses: dict[str, str]) -> tuple[str, TransformersGenerator]:
    """A server, and the same model in process."""
    role = request.param
    return addresses[role], TransformersGenerator.load(shipped_folder() / role, role=role, temperature=0.0, **LAB_MODEL)


def post(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        document: dict[str, Any] = json.load(reply)
    return document


def test_tokens_are_those_of_the_lab(served: tuple[str, TransformersGenerator]) -> None:
    from trim_pomdp.lab.tokenizer import END, build_tokenizer

    address, _ = served
    tokenizer = build_tokenizer()
    texts = [problem.prompt + "\n\n" for problem in PROMPTS]
    texts += ["a) 59-89=70\n\nb) 70*13=10\n\n", "g) 89-89=00 \\boxed{07}" + END, "\n\n\n\n", "x) }=", "until "]
    for text in texts:
        tokens = post(address, "/tokenize", {"content": text, "parse_special": True})["tokens"]
        assert tokens == tokenizer.encode(text, add_special_tokens=False)
        assert post(address, "/detokenize", {"tokens": tokens})["content"].removesuffix(END) == text.removesuffix(END)


def test_texts_and_probabilities_are_those_of_transformers(served: tuple[str, TransformersGenerator]) -> None:
    address, here = served
    # One token after another of whole solutions, in process a step at a time.
    solutions: list[tuple[str, ...]] = [() for _ in PROMPTS]
    logprobs: list[list[float]] = [[] for _ in PROMPTS]
    going = list(range(len(PROMPTS)))
    while going:
        steps = here.generate_batch([StepRequest(PROMPTS[i], solutions[i], 0, 24, FORMAT) for i in going])
        for i, step in zip(going, steps, strict=True):
            solutions[i] += (step.text,)
            logprobs[i].extend(step.logprobs)
        going = [i for i, step in zip(going, steps, strict=True) if step.stop == "separator" and len(solutions[i]) < 16]
    for problem, steps, expected in zip(PROMPTS, solutions, logprobs, strict=True):
        body = {"prompt": problem.prompt + "\n\n", "temperature": 0, "max_tokens": len(expected), "logprobs": 1}
        reply = post(address, "/v1/completions", body)
        choice = reply["choices"][0]
        assert choice["text"].rstrip("\n") == "\n\n".join(steps)
        assert reply["usage"]["completion_tokens"] == len(expected)
        found = [item["logprob"] for item in choice["logprobs"]["content"]]
        assert found == pytest.approx(expected, abs=1e-4), "raw, the stop token's included"


# Through the backends --------------------------------------------------------------------------------------------


def table(address: str, keys: str, role: str = "weak", backend: str = "openai") -> str:
    return f'[{role}]\nbackend = "{backend}"\nbase_url = "{address}/v1"\nmodel = "lab"\nsystem_prompt = false\n{keys}\n'


def steps_of(tmp_path: Path, text: str, *requests: StepRequest) -> list[GeneratedStep]:
    path = tmp_path / "models.toml"
    path.write_text(text)
    found = read_models_file(path).weak
    assert found is not None
    model = found.load("weak", Place(tmp_path, "t"))

    async def ask() -> list[GeneratedStep]:
        try:
            return list(await asyncio.gather(*(model.generate(request) for request in requests)))  # type: ignore[union-attr]
        finally:
            await model.close()  # type: ignore[union-attr]

    return asyncio.run(ask())


ROLES = ("weak", "strong", "prm")
HOW = {"completions": 'api = "completions"', "prefill": 'continuation = "prefill"'}


@pytest.mark.slow
def test_runs_are_those_of_the_models_in_process(addresses: dict[str, str], cli_json: Any, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text(problems_text(draw("mixed", "test", 0, 24)))
    here = {role: f'[{role}]\nbackend = "transformers"\nmodel = "{shipped_folder() / role}"\n' for role in ROLES}
    here = {role: text + 'system_prompt = false\ndtype = "float32"\n' for role, text in here.items()}
    limits = "[limits]\nmax_steps = 16\nmax_step_tokens = 24\n[steps]\nkeep_blocks = false\n"
    files = {"local": f"{here['weak']}temperature = 0\n{here['strong']}temperature = 0\n"}
    for how, keys in HOW.items():
        files[how] = "".join(table(addresses[role], keys + "\ntemperature = 0", role) for role in ("weak", "strong"))
    results, traces = {}, {}
    for name, models in files.items():
        (tmp_path / f"{name}.toml").write_text(models + here["prm"] + limits)
        options = ("--problems", tmp_path / "problems.jsonl", "--threshold", 0.9, "--threads", 1)
        results[name] = cli_json("run", "--models", tmp_path / f"{name}.toml", *options, "--out", tmp_path / name)
        traces[name] = {item.terminal.problem: item.decisions for item in read_traces(tmp_path / name)}
    local = results["local"]
    assert local["regenerations"] > 0
    for how in HOW:
        served = results[how]
        assert served["failed"] == 0
        for problem, decisions in traces["local"].items():
            for old, new in zip(decisions, traces[how][problem], strict=True):
                assert (new.action, new.weak.text, new.weak.stop) == (old.action, old.weak.text, old.weak.stop)
        for name in ("accuracy", "strong_tokens", "regenerations"):
            assert served[name] == local[name]
        assert {**served["tokens"], "weak_cached": 0, "strong_cached": 0} == local["tokens"]
        assert served["tokens"]["weak_cached"] > served["tokens"]["weak_read"] / 2


def test_prompts_may_be_rendered_here(addresses: dict[str, str], tmp_path: Path) -> None:
    local = f'{HOW["completions"]}\ntokenizer = "{shipped_folder() / "weak"}"\ntemperature = 0'
    request = StepRequest(PROMPTS[0], ("a) 1+1=02",), 0, 24, FORMAT)
    (here,) = steps_of(tmp_path, table(addresses["weak"], local), request)
    (there,) = steps_of(tmp_path, table(addresses["weak"], HOW["completions"] + "\ntemperature = 0"), request)
    assert (here.text, here.usage and here.usage.prompt) == (there.text, there.usage and there.usage.prompt)


@pytest.mark.parametrize("how", HOW)
def test_log_probabilities_are_raw_and_draws_keyed(addresses: dict[str, str], tmp_path: Path, how: str) -> None:
    requests = [StepRequest(PROMPTS[0], (), seed, 24, FORMAT) for seed in range(40)]
    hot = steps_of(tmp_path, table(addresses["weak"], HOW[how] + "\ntemperature = 4"), *requests)
    # llama.cpp's own defaults (top_k 40, min_p .05) would leave one text.
    assert len({step.text for step in hot}) > 20
    again = steps_of(tmp_path, table(addresses["weak"], HOW[how] + "\ntemperature = 4"), *requests)
    assert [step.text for step in again] == [step.text for step in hot]
    model = TransformersGenerator.load(shipped_folder() / "weak", role="weak", **LAB_MODEL)
    compared = 0
    for step in (step for step in hot if step.stop == "separator"):
        # The stop string's token is counted, but its log-probability is not told.
        assert step.tokens == len(step.logprobs) + 1
        ((expected,),) = model.step_logprobs([ScoreRequest(PROMPTS[0], (step.text,), FORMAT)])
        if len(expected) == len(step.logprobs):  # special tokens leave no text
            assert step.logprobs == pytest.approx(expected, abs=1e-3)
            compared += 1
    assert compared > 5
    assert {step.stop for step in hot} >= {"separator", "length"}


def test_failures_are_told(addresses: dict[str, str], tmp_path: Path) -> None:
    long = StepRequest(Problem("p", "1" * 600), (), 0, 24, FORMAT)
    with pytest.raises(ServerError, match=r"HTTP 400 \(request \(601 tokens\) exceeds the available context size"):
        steps_of(tmp_path, table(addresses["weak"], HOW["completions"]), long)
    with pytest.raises(ServerError, match="HTTP 400"):
        steps_of(tmp_path, table(addresses["weak"], ""), StepRequest(PROMPTS[0], (), 0, 24, FORMAT))


def test_a_judge_tells_what_the_weights_say(addresses: dict[str, str], tmp_path: Path) -> None:
    """Asked in the lab's words, of which the labels of the next step are the answers."""
    import torch

    steps = ("a) 59-89=70", "b) 70*13=10", "c) 10/97=30")
    problem = Problem("p", "Start 59; a) -89; b) *13; c) /97; until 00")
    keys = 'question = "{prompt}\\n\\n{steps}"\nyes = "b"\nno = ["c", "d"]\n'
    path = tmp_path / "models.toml"
    path.write_text(table(addresses["weak"], keys, "prm", "judge"))
    found = read_models_file(path).prm
    assert found is not None
    judge: Any = found.load(Place(tmp_path, "t"))

    async def ask() -> Any:
        try:
            return await judge.score(ScoreRequest(problem, steps, FORMAT))
        finally:
            await judge.close()

    scores = asyncio.run(ask())
    model = TransformersGenerator.load(shipped_folder() / "weak", role="weak", **LAB_MODEL)
    expected = []
    for count in range(1, 4):
        text = problem.prompt + "\n\n" + "\n\n".join(steps[:count]) + "\n\n"
        ids = model._tokenizer.encode(text, add_special_tokens=False)
        with torch.inference_mode():
            logits = model._model(torch.tensor([ids])).logits[0, -1]
        yes, *no = (exp(float(logits[model._tokenizer.convert_tokens_to_ids(f"{label}) ")])) for label in "bcd")
        expected.append(yes / (yes + sum(no)))
    assert scores.scores == pytest.approx(expected, abs=1e-4)
    assert expected[0] > 0.9 > 0.1 > expected[1]
    assert scores.tokens > 3 * 20
