"""The lab's generators served by llama.cpp are those of transformers: same tokens, same texts, same probabilities."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gguf", reason="llama.cpp's server needs the packages gguf and xllamacpp (extra dev)")
pytest.importorskip("xllamacpp", reason="llama.cpp's server needs the packages gguf and xllamacpp (extra dev)")

from lab_gguf import llama_server, write_gguf

from trim_pomdp.lab.models import FORMAT, shipped_folder
from trim_pomdp.lab.problems import draw
from trim_pomdp.runtime.backends.torch_models import TransformersGenerator
from trim_pomdp.runtime.protocols import StepRequest

PROMPTS = [*draw("loop", "fit", 0, 20), *draw("chain", "fit", 0, 20), *draw("mixed", "fit", 0, 20)]


@pytest.fixture(scope="module", autouse=True)
def _one_core() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["weak", "strong"])
def served(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, TransformersGenerator]]:
    folder = tmp_path_factory.mktemp("gguf")
    model = write_gguf(shipped_folder() / request.param, folder / f"{request.param}.gguf")
    here = TransformersGenerator.load(
        shipped_folder() / request.param,
        role=request.param,
        temperature=0.0,
        system_prompt=None,
        dtype="float32",
        device="cpu",
    )
    with llama_server(model, folder / "log") as address:
        yield address, here


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
