"""Hugging Face models in this process, against plain computations one token and one request at a time."""

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny import write_models  # noqa: E402

from trim_pomdp.errors import InputError  # noqa: E402
from trim_pomdp.lab.problems import draw  # noqa: E402
from trim_pomdp.lab.tokenizer import build_tokenizer  # noqa: E402
from trim_pomdp.randomness import keyed_uniforms  # noqa: E402
from trim_pomdp.runtime.backends.torch_models import TransformersGenerator, TransformersScorer  # noqa: E402
from trim_pomdp.runtime.protocols import ScoreRequest, StepRequest  # noqa: E402
from trim_pomdp.runtime.sampling import draw_tokens  # noqa: E402
from trim_pomdp.text.steps import split_steps  # noqa: E402

STEPS = ("a) 12+34=46", "b) 46*03=38")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models")).parent


@pytest.fixture(scope="module")
def weak(folder):
    return TransformersGenerator.load(folder / "weak", role="weak", system_prompt=None)


@pytest.fixture(scope="module")
def prm(folder):
    return TransformersScorer.load(folder / "prm", system_prompt=None)


def requests(n, seed=3):
    problems = (*draw("chain", "train", 8, n), *draw("loop", "train", 8, n))
    return [StepRequest(p, STEPS[: i % 3], seed, 12) for i, p in enumerate(problems)]


def written_slowly(generator, request):
    """One token at a time, the whole text anew each time, no cache and no padding."""
    tokenizer = build_tokenizer()
    text = request.problem.prompt + "\n\n" + "".join(step + "\n\n" for step in request.steps)
    ids = tokenizer(text)["input_ids"]
    uniforms = keyed_uniforms(request.max_tokens, request.seed, request.problem.id, len(request.steps), "weak")
    written, logprobs = [], []
    for uniform in uniforms:
        with torch.no_grad():
            logits = generator._model(torch.tensor([ids + written])).logits[:, -1]
        token, logprob = draw_tokens(logits, torch.tensor([uniform]), temperature=0.7)
        logprobs.append(logprob.item())
        if token.item() == tokenizer.eos_token_id:
            return tokenizer.decode(written).strip("\n"), logprobs, "end"
        written.append(token.item())
        steps = split_steps(tokenizer.decode(written) + "a")  # a second step if the first is over
        if len(steps) > 1:
            return steps[0], logprobs, "separator"
    return tokenizer.decode(written).strip("\n"), logprobs, "length"


def test_steps_are_those_of_plain_decoding(weak):
    asked = requests(15)
    stops = set()
    for request, step in zip(asked, weak.generate_batch(asked), strict=True):
        text, logprobs, stop = written_slowly(weak, request)
        assert (step.text, step.stop) == (text, stop)
        assert step.logprobs == pytest.approx(logprobs, abs=1e-4)
        stops.add(stop)
    assert stops >= {"separator", "length"}


def test_what_is_drawn_does_not_depend_on_the_batch(weak):
    asked = requests(100)
    together = weak.generate_batch(asked)
    alone = [weak.generate_batch([request])[0] for request in asked]
    backwards = weak.generate_batch(asked[::-1])[::-1]
    # Rounding depends on the batch, and may flip a token once in a long while.
    for other in (alone, backwards):
        same = [a.text == b.text for a, b in zip(together, other, strict=True)]
        assert np.mean(same) >= 0.99


def test_other_seeds_and_roles_draw_others(weak, folder):
    strong = TransformersGenerator.load(folder / "weak", role="strong", system_prompt=None)
    here = [step.text for step in weak.generate_batch(requests(20))]
    assert here != [step.text for step in weak.generate_batch(requests(20, seed=4))]
    assert here != [step.text for step in strong.generate_batch(requests(20))]


def test_scores_are_those_of_a_plain_forward_pass(prm, folder):
    tokenizer = build_tokenizer()
    problem = draw("chain", "train", 0, 1)[0]
    ids = tokenizer(problem.prompt + "\n\n" + "".join(step + "<extra_0>" for step in STEPS))["input_ids"]
    with torch.no_grad():
        logits = prm._model(torch.tensor([ids]))[0]
    expected = [torch.softmax(logits[i], -1)[1].item() for i, token in enumerate(ids) if token == 2]
    longer = ScoreRequest(draw("loop", "train", 0, 1)[0], STEPS * 3)  # makes padding
    reply = prm.score_batch([ScoreRequest(problem, STEPS), longer])[0]
    assert reply.scores == pytest.approx(expected, abs=1e-5)
    assert reply.tokens == len(ids)


def test_the_prm_has_the_layout_of_qwen_math_prm(folder):
    names = set(load_file(folder / "prm" / "model.safetensors"))
    assert {"score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias", "model.norm.weight"} <= names
    config = json.loads((folder / "prm" / "config.json").read_text())
    assert config["architectures"] == ["Qwen2ForProcessRewardModel"]
    assert config["model_type"] == "qwen2"


def test_a_step_with_the_score_token_in_it_is_refused(prm):
    problem = draw("chain", "train", 0, 1)[0]
    with pytest.raises(InputError, match="a step contains <extra_0>"):
        prm.score_batch([ScoreRequest(problem, ("a) 12<extra_0>",))])


def test_an_absent_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="no model here"):
        TransformersGenerator.load(tmp_path, role="weak")


def test_a_generator_is_not_a_prm(folder, capfd):
    with pytest.raises(
        InputError, match=r"weak: not a Qwen2ForProcessRewardModel; it lacks the weights score\.0\.bias"
    ):
        TransformersScorer.load(folder / "weak")
    assert capfd.readouterr() == ("", "")


def test_a_prm_is_not_a_generator(folder, capfd):
    with pytest.raises(InputError, match=r"prm: a reward model \(it has the weights score\.0\.bias\), no Auto"):
        TransformersGenerator.load(folder / "prm", role="weak")
    assert capfd.readouterr() == ("", "")


def without_a_norm(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def of_another_size(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 64', '"hidden_size": 128'))


def without_a_template(folder):
    (folder / "chat_template.jinja").unlink()


def without_tokens(folder):
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_a_norm, "it lacks the weights model.norm.weight"),
        (cut_short, "cannot be loaded"),
        (of_another_size, "cannot be loaded"),
        (without_a_template, "no chat template"),
        (without_tokens, "knows no tokens"),
    ],
)
def test_spoiled_models_are_refused_in_one_line(folder, tmp_path, spoil, words, capfd):
    shutil.copytree(folder / "weak", tmp_path / "weak")
    spoil(tmp_path / "weak")
    with pytest.raises(InputError, match=words) as refused:
        TransformersGenerator.load(tmp_path / "weak", role="weak")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.bfloat16)],
)
def test_models_run_in_the_type_of_their_files(folder, tmp_path, saved, wanted):
    """A 7B model in bfloat16 is not blown up to float32; a CPU has no arithmetic in float16."""
    from transformers import AutoModelForCausalLM

    from trim_pomdp.runtime.backends.torch_models import load_model, save_model

    save_model(load_model(AutoModelForCausalLM, folder / "weak", "float32", "cpu").to(saved), tmp_path / "model")
    loaded = load_model(AutoModelForCausalLM, tmp_path / "model", "auto", "cpu")
    assert (loaded.dtype, loaded.device.type) == (wanted, "cpu")
