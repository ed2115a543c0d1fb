"""Training of the lab's models: data, labels, and resumption, on a recipe of a few steps."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from trim_pomdp.errors import InputError  # noqa: E402
from trim_pomdp.lab import training  # noqa: E402
from trim_pomdp.lab.models import load_models, shipped_folder  # noqa: E402
from trim_pomdp.lab.problems import Arithmetic, check, draw, in_words  # noqa: E402
from trim_pomdp.lab.tokenizer import SCORE, SEPARATOR, VOCABULARY, build_tokenizer  # noqa: E402
from trim_pomdp.lab.training import IGNORED, Phase, Pruning, Recipe, labelled, pruned, solutions, with_errors  # noqa: E402

PHASE = Phase(4, 1, 4, loops=0.3, mixes=training.QUOTIENTS)
SMALL = Recipe(
    phases=(PHASE, PHASE),
    tokens=200,
    strong=Pruning((64,), 4, loops=0.3, mixes=training.PRODUCTS),
    weak=Pruning((32, 16), 4, loops=0.3, mixes=training.PRODUCTS),
    prm_solutions=4,
    prm_made_up_steps=2,
    prm_steps=4,
)


class KilledError(Exception):
    """Stands for kill -9 after a checkpoint."""


def test_texts_decode_exactly():
    tokenizer, rng = build_tokenizer(), np.random.default_rng(0)
    for problem in (*draw("chain", "train", 5, 20), *draw("loop", "train", 5, 20)):
        steps = Arithmetic.parse(problem.prompt).steps()
        for written in (steps, [in_words(step, rng) for step in steps]):
            text = f"{problem.prompt}; in words" + SEPARATOR + SEPARATOR.join(written)
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.decode(ids) == text
            assert VOCABULARY.index("<unk>") not in ids


@pytest.mark.parametrize("seed", range(30))
def test_batches_are_right_solutions_of_equal_length(seed):
    phase = Phase(1, 1, 12, loops=0.5, mixes=training.QUOTIENTS, words=0.5)
    texts, prompt = solutions(np.random.default_rng(seed), 400, phase)
    ids = build_tokenizer()(texts)["input_ids"]
    assert len({len(item) for item in ids}) == 1
    for text, tokens in zip(texts, ids, strict=True):
        assert tokens[prompt - 1] == VOCABULARY.index(SEPARATOR)
        problem, *steps = text.removesuffix("<eos>").removesuffix(SEPARATOR).split(SEPARATOR)
        assert check(Arithmetic.parse(problem), steps).first_error == -1
        assert ("boxed" in steps[-1]) == text.endswith("<eos>")


def test_verdicts_of_the_prm():
    example = labelled("Start 75; a) -87; b) *19", ["a) 75-87=78", "b) 78*19=83 \\boxed{83}"])
    tokens = [VOCABULARY[i] for i in example.ids]
    seen = [(token, label) for token, label in zip(tokens, example.labels, strict=True) if label != IGNORED]
    # 75-87 is 88: the tens are wrong; 78*19 is 82: the units are wrong.
    first = [("-", 1), ("7", 0), ("8", 1), (SCORE, 0)]
    second = [("*", 1), ("8", 1), ("3", 0), (SCORE, 0)]
    assert seen == first + second


def test_verdicts_of_the_prm_stand_where_they_stand_without_words():
    plain_steps = ["a) 75-87=78", "b) 78*19=83 \\boxed{83}"]
    rng = np.random.default_rng(0)
    worded = labelled("Start 75; a) -87; b) *19; in words", [in_words(step, rng) for step in plain_steps])
    bare = labelled("Start 75; a) -87; b) *19", plain_steps)

    def verdicts(example):
        return [
            (VOCABULARY[i], label) for i, label in zip(example.ids, example.labels, strict=True) if label != IGNORED
        ]

    assert verdicts(worded) == verdicts(bare)


def test_the_prm_has_room_for_every_token_beside_its_body():
    assert len(VOCABULARY) <= training.HEAD * (training.PRM_HEADS - training.HEADS)


def test_made_up_errors_are_wrong_at_their_rate():
    rng = np.random.default_rng(0)
    wrong = total = 0
    for problem in draw("chain", "train", 1, 200):
        arithmetic = Arithmetic.parse(problem.prompt)
        right = check(arithmetic, with_errors(arithmetic, rng)).right
        wrong, total = wrong + right.count(False), total + len(right)
    assert wrong / total == pytest.approx(0.12, abs=0.03)


def test_pruning_keeps_the_largest_neurons():
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(0)
    base = Qwen2ForCausalLM(training._config(8)).eval()
    with torch.no_grad():
        for layer in base.model.layers:
            layer.mlp.down_proj.weight[:, 4:] = 0.0  # these do nothing
    ids = torch.randint(4, 40, (2, 9))
    with torch.no_grad():
        assert torch.allclose(pruned(base, 4).eval()(ids).logits, base(ids).logits, atol=1e-5)
        assert not torch.allclose(pruned(base, 2).eval()(ids).logits, base(ids).logits, atol=1e-5)


@pytest.mark.parametrize(("shares", "taken"), [((0.6, 0.4, 0.3), 16), ((0.6, 0.6, 0.6), 8), ((0.1, 0.1, 0.1), 32)])
def test_a_model_is_cut_until_it_solves_few_enough(tmp_path, monkeypatch, shares, taken):
    sizes = (32, 16, 8)
    recipe = replace(SMALL, weak=Pruning(sizes, 2, loops=0.3, mixes=training.PRODUCTS, most=0.5))
    solved = {f"weak-{size}": share for size, share in zip(sizes, shares, strict=True)}
    monkeypatch.setattr(training, "_share_solved", lambda folder, role, seed: solved[folder.name])
    torch.manual_seed(0)
    larger = training.Qwen2ForCausalLM(training._config(64))
    for _ in range(2):  # the second time it is there
        model = training._cut_down(larger, "weak", tmp_path, recipe, 0, lambda *_: None)
        assert model.config.intermediate_size == taken


@pytest.mark.slow
def test_the_share_solved_is_that_of_the_checker(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_MEASURED", 20)
    # .85 and .45 on 1,500 problems; here 60.
    assert training._share_solved(shipped_folder() / "base", "strong", 0) > 0.7
    assert 0.2 < training._share_solved(shipped_folder() / "weak", "weak", 0) < 0.7


def weights(folder):
    return {role: load_file(folder / role / "model.safetensors") for role in ("strong", "weak", "prm")}


@pytest.mark.slow
def test_an_interrupted_training_reaches_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    seen = []
    training.train(whole, recipe=SMALL, progress=lambda *told: seen.append(told))
    for stop in range(2, len(seen), 3):
        count = 0

        def kill(*_, stop=stop):
            nonlocal count
            count += 1
            if count == min(stop, 3):
                raise KilledError

        with pytest.raises(KilledError):
            training.train(broken, recipe=SMALL, resume=True, progress=kill)
    training.train(broken, recipe=SMALL, resume=True)
    for role, expected in weights(whole).items():
        for name, tensor in weights(broken)[role].items():
            assert torch.equal(tensor, expected[name]), (role, name)


def test_what_was_trained_loads_and_writes(tmp_path):
    training.train(tmp_path / "lab", recipe=SMALL)
    models = load_models(tmp_path / "lab")
    assert models.prm is not None
    assert models.weak is not None


@pytest.mark.slow
def test_a_base_that_is_there_is_not_trained_again(tmp_path):
    training.train(tmp_path / "first", recipe=SMALL)
    seen = []
    training.train(
        tmp_path / "second", recipe=SMALL, base=tmp_path / "first" / "base-2", progress=lambda *told: seen.append(told)
    )
    assert {stage.split(",")[0] for stage, *_ in seen} == {"strong", "weak", "prm"}
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert torch.equal(first["weak"]["model.norm.weight"], second["weak"]["model.norm.weight"])


def test_a_base_that_is_not_there_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="no model here"):
        training.train(tmp_path / "lab", recipe=SMALL, base=tmp_path / "nowhere")
    assert not (tmp_path / "lab").exists()


@pytest.mark.parametrize(("role", "words"), [("prm", "a reward model"), ("weak", "not a base of the lab")])
def test_a_base_of_another_kind_is_refused(tmp_path, role, words):
    with pytest.raises(InputError, match=words):
        training.train(tmp_path / "lab", base=shipped_folder() / role)
    assert not (tmp_path / "lab").exists()


@pytest.mark.slow
def test_another_base_of_the_same_name_is_refused(tmp_path):
    for seed in (0, 1):
        training.train(tmp_path / str(seed), recipe=SMALL, seed=seed)
    training.train(tmp_path / "lab", recipe=SMALL, base=tmp_path / "0" / "base-2")
    with pytest.raises(InputError, match="another folder"):
        training.train(tmp_path / "lab", recipe=SMALL, base=tmp_path / "1" / "base-2", resume=True)


def test_training_writes_nothing_but_its_progress(tmp_path, capfd):
    training.train(tmp_path / "lab", recipe=SMALL)
    assert capfd.readouterr() == ("", "")


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "lab").mkdir()
    with pytest.raises(InputError, match="is there already"):
        training.train(tmp_path / "lab", recipe=SMALL)
    with pytest.raises(InputError, match="another folder"):
        training.train(tmp_path / "lab", recipe=SMALL, resume=True)


def test_a_phase_ends_when_its_goal_is_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 2)
    seen = []
    model = torch.nn.Linear(1, 1)
    losses = [5.0, 5.0, 1.0, 1.0, 0.5, 0.5]
    training.optimise(
        "x", model, lambda step: model(torch.ones(1)).sum() * 0.0 + losses[step], lambda _: 0.1, 6, tmp_path,
        lambda *told: seen.append(told), goal=2.0,
    )  # fmt: skip
    assert [step for _, step, _, _ in seen] == [2, 4]
    # Taken up again it does not go on.
    training.optimise(
        "x", model, lambda step: model(torch.ones(1)).sum() * 0.0 + losses[step], lambda _: 0.1, 6, tmp_path,
        lambda *told: seen.append(told), goal=2.0,
    )  # fmt: skip
    assert len(seen) == 2


@pytest.mark.parametrize("scale", [0.25, 1.0, 8.0])
def test_new_layers_of_a_prm_find_a_stream_of_one_size(scale):
    """Bases differ by a factor of six in that; where the stream was an eighth as large, hardly anything was learned."""
    base = training.load_model(training.Qwen2ForCausalLM, shipped_folder() / "base", "float32")
    with torch.no_grad():
        base.model.embed_tokens.weight.mul_(scale)
        for layer in base.model.layers:
            layer.self_attn.o_proj.weight.mul_(scale)
            layer.mlp.down_proj.weight.mul_(scale)
    found = []
    prm = training._new_prm(base)
    prm.model.layers[training.LAYERS].register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    texts, _ = solutions(np.random.default_rng(1), 1000, Phase(1, 4, 8, loops=0.0, mixes=training.PRODUCTS))
    with torch.no_grad():
        prm(torch.tensor(build_tokenizer()(texts)["input_ids"]))
    assert 1 < found[0].square().mean().sqrt() < 4


def test_a_prm_sees_what_its_body_says_and_the_token_itself():
    """Some all but erase the token that they stand at; then tens of a result were never compared."""
    base = training.load_model(training.Qwen2ForCausalLM, shipped_folder() / "base", "float32")
    found = []
    prm = training._new_prm(base)
    compare = prm.model.layers[training.LAYERS]
    compare.input_layernorm.register_forward_hook(lambda _, inputs, out: found.append((inputs[0], out)))
    texts, _ = solutions(np.random.default_rng(1), 3000, Phase(1, 6, 6, loops=0.0, mixes=training.QUOTIENTS))
    ids = torch.tensor(build_tokenizer()(texts)["input_ids"])
    with torch.no_grad():
        prm(ids)
        expected = base.model(ids).last_hidden_state
    stream, seen = found[0]
    inner = stream[..., : training.HIDDEN]
    said = inner / inner.square().mean(-1, keepdim=True).sqrt() * base.model.norm.weight
    assert (said - expected).norm() < 0.02 * expected.norm()
    assert (seen[..., training.HIDDEN :].argmax(-1) == ids).all()
    assert 0.2 < seen[..., training.HIDDEN :].square().mean() / seen[..., : training.HIDDEN].square().mean() < 5


@pytest.mark.slow
def test_learning_from_nothing_begins(tmp_path, monkeypatch):
    """The first 120 steps (1.7 to 1.8 with seeds 0 and 1); benchmarks/lab_from_nothing.py goes on until .1."""
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY", 20)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    first, *later = Recipe().phases
    recipe = replace(Recipe(), phases=(replace(first, steps=120, goal=0.1), *later))
    model = training.Qwen2ForCausalLM(training._config(training.NEURONS))
    losses = []
    training._train_phase(tmp_path, model, 1, recipe, 0, lambda _stage, _step, _steps, loss: losses.append(loss))
    assert losses[0] > 3.5, "nothing is known at first: 46 tokens"
    assert losses[-1] < 2.0


@pytest.mark.parametrize(("offset", "width", "nats", "pairs"), [(1, 1.0, 6.0, range(8)), (5, 8.0, 3.0, range(8, 16))])
def test_heads_begin_by_looking_back(offset, width, nats, pairs):
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding, apply_rotary_pos_emb

    config = training._config(32)
    attention = training.Qwen2ForCausalLM(config).model.layers[0].self_attn
    for projection in (attention.q_proj, attention.k_proj):
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    training._look_back(attention, 1, offset=offset, width=width, nats=nats, pairs=pairs)
    T, size = 30, training.HIDDEN // training.HEADS
    shape = (1, T, training.HEADS, size)
    q, k = (
        p(torch.zeros(1, T, training.HIDDEN)).view(shape).transpose(1, 2) for p in (attention.q_proj, attention.k_proj)
    )
    cos, sin = Qwen2RotaryEmbedding(config)(q, torch.arange(T)[None])
    q, k = apply_rotary_pos_emb(q, k, cos, sin)
    scores = (q @ k.transpose(-1, -2))[0, 1, -1] / size**0.5  # of the last token, by the one attended to
    assert scores.argmax().item() == T - 1 - offset
    assert (scores.max() - scores[T - 1 - offset - int(width)]).item() == pytest.approx(nats, rel=1e-4)
