"""Training of the lab's models, from nothing to files, on one core: ``trim-pomdp lab train``.

1. *base*: a Qwen2 of three layers learns to write right solutions, short lists first (of sums, then products too), then
   long ones, then quotients, and steps in words.
2. *strong*: the base with most neurons of its MLPs cut away, trained on until it writes fluently again; *weak*: the
   same once more, from the strong model. So what is hard for the strong model is hard for the weak one too. How much
   a cut takes away differs from base to base, so both are cut until they solve few enough training problems.
3. *prm*: the weak model, frozen, with two new layers on top and a head of two logits, trained on solutions of both
   models and on made-up errors, labelled by the exact checker. Its labels are "right on its own terms". It learns to
   judge every token of a step, which is what a step's verdict follows from. It knows no more arithmetic than the weak
   model, so it is wrong at times; on the base it would hardly ever be. It never sees steps in words, as a PRM has
   not seen the style of every model that it is to judge.

Every batch is drawn from (seed, stage, step), so an interrupted training goes on from its last checkpoint to the very
weights that an uninterrupted one reaches. Problems come from the training space only.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from trim_pomdp.errors import InputError
from trim_pomdp.lab.models import LabModels, load_generator, load_generators
from trim_pomdp.lab.problems import (
    DIGITS,
    FACTORS,
    LOOP,
    MAX_STEPS,
    MODULUS,
    PLAIN,
    Arithmetic,
    Operation,
    check,
    draw,
    in_words,
    opening_words,
    sample_list,
    sample_loop,
    step_parts,
    step_result,
)
from trim_pomdp.lab.solving import solve, texts
from trim_pomdp.lab.tokenizer import BOX_END, END, PAD, SCORE, SEPARATOR, VOCABULARY, build_tokenizer
from trim_pomdp.policies.base import Author
from trim_pomdp.runtime.backends.prm import Qwen2ForProcessRewardModel
from trim_pomdp.runtime.backends.torch_models import load_model, save_model
from trim_pomdp.runtime.files import fingerprint

ID = {token: index for index, token in enumerate(VOCABULARY)}
HEAD, HEADS, LAYERS, NEURONS = 64, 2, 3, 320
HIDDEN = HEAD * HEADS
# The PRM's residual stream is wider by one head: room for the token itself.
NEW_LAYERS, PRM_HEADS = 2, HEADS + 1
LONGEST_LIST = 12
SUMS = ((0.0, 0.0),)
PRODUCTS = ((0.0, 0.0), (0.4, 0.0), (0.9, 0.0), (0.9, 0.0))
QUOTIENTS = ((0.0, 0.0), (0.4, 0.1), (0.5, 0.3), (0.3, 0.6))
IGNORED = -100
# Tokens of a step: label, two digits, operation and its two digits, "=", two digits of the result, and what ends it.
_OPERATION, _RESULT = 3, 7
# The size, root mean square, at which the PRM's new layers find the residual stream of its body.
_STREAM = 2.0
# The size of the token itself beside its embedding, small enough for the body's norms not to notice.
_TOKEN = 0.05
_CHECKPOINT_EVERY = 500
# Problems a family by which a cut is judged: a standard error of .013 over all three.
_MEASURED = 500
Progress = Callable[[str, int, int, float], None]
"""Told now and then: stage, step, of how many, mean loss since the last time."""


@dataclass(frozen=True)
class Phase:
    """At most so many steps on solutions of `shortest` to `longest` steps, a share of them loops.

    `mixes` are shares of multiplications and divisions in lists; each list follows one of them. The phase is over once
    its loss is below `goal`: when arithmetic is learned differs from seed to seed. `words` is the share of batches of
    lists whose steps are in words.
    """

    steps: int
    shortest: int
    longest: int
    loops: float
    mixes: tuple[tuple[float, float], ...]
    goal: float = 0.0
    words: float = 0.0

    @property
    def divide(self) -> float:
        """Mean share of divisions among products and quotients."""
        return sum(divide for _, divide in self.mixes) / sum(map(sum, self.mixes))


@dataclass(frozen=True)
class Pruning:
    """A model cut down, then trained on for so many steps on solutions, a share of them loops; `mixes` as of a `Phase`.

    Attributes
    ----------
    neurons : tuple of int
        How many stay in each MLP: sizes to choose from, the largest first.
    most : float
        The largest size that solves no larger a share of training problems is taken, found by bisection, or else the
        last. 1 takes the first unseen.
    """

    neurons: tuple[int, ...]
    steps: int
    loops: float
    mixes: tuple[tuple[float, float], ...]
    most: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a training beside the seed.

    Attributes
    ----------
    phases : tuple of Phase
        Curriculum of the base, each phase from where the last one ended. The learning rate falls in the last one.
    rate : float
        Highest learning rate of the base. At twice as much, tens digits of sums are not learned with every seed.
    tokens : int
        Tokens of a batch.
    strong, weak : Pruning
        Of the base, and of the strong model. They see hardly any division then, so it comes back by half in the strong
        model and less in the weak one.
    prm_solutions : int
        Solutions a family and source that the PRM learns from.
    prm_rate : float
        Highest learning rate of the PRM.
    prm_made_up_steps, prm_steps : int
        Steps of its training: first so many on made-up errors, half of all steps wrong, then mostly on solutions.
    """

    phases: tuple[Phase, ...] = (
        # Sums first: beside products, tens digits of neither are learned in 10,000 steps; alone they take 5,000. In
        # lists of several lengths: single steps teach to read operands at their place in the prompt, wrong in lists.
        Phase(10000, 1, 5, loops=0.0, mixes=SUMS, goal=0.015),
        Phase(10000, 1, 5, loops=0.1, mixes=PRODUCTS, goal=0.012),
        Phase(8000, 3, 12, loops=0.3, mixes=PRODUCTS, goal=0.012),
        Phase(6000, 3, 16, loops=0.3, mixes=QUOTIENTS, words=0.35),
    )
    rate: float = 7e-4
    tokens: int = 1500
    strong: Pruning = Pruning(
        tuple(range(192, 79, -8)), 600, loops=0.5, mixes=((0.0, 0.0), (0.5, 0.015), (0.87, 0.03)), most=0.785
    )
    weak: Pruning = Pruning(
        tuple(range(122, 41, -8)), 400, loops=0.5, mixes=((0.0, 0.0), (0.5, 0.005), (0.89, 0.01)), most=0.48
    )
    prm_solutions: int = 1200
    prm_rate: float = 1.5e-3
    prm_made_up_steps: int = 700
    prm_steps: int = 1500


def train(
    out: Path,
    *,
    recipe: Recipe | None = None,
    base: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = lambda *_: None,
) -> None:
    """Train strong, weak and prm into folders of these names, and what they come from into others.

    Parameters
    ----------
    out : Path
        Folder of the training.
    recipe : Recipe or None
        None: as the package has it.
    base : Path or None
        Folder of a base to begin with; None trains one.
    seed : int
        Of weights and data.
    resume : bool
        Go on with the training in the folder.
    progress : callable
        Told now and then.

    Raises
    ------
    InputError
        If the folder is there and `resume` is False, or it was begun with another recipe, seed or base; if there is no
        base in its folder.
    """
    recipe = recipe or Recipe()
    given = None if base is None else _read_base(base, recipe)
    _claim(out, {"recipe": repr(recipe), "seed": seed, "base": None if base is None else fingerprint(base)}, resume)
    start = given or _train_base(out, recipe, seed, progress)

    strong = _cut_down(start, "strong", out, recipe, seed, progress)
    weak = _cut_down(strong, "weak", out, recipe, seed, progress)
    _stage(
        out / "prm", lambda folder: _train_prm(folder, weak, out, recipe, seed, progress), Qwen2ForProcessRewardModel
    )


def _read_base(folder: Path, recipe: Recipe) -> Qwen2ForCausalLM:
    model: Qwen2ForCausalLM = load_model(Qwen2ForCausalLM, folder, "float32", "cpu")
    config, least = model.config, max(recipe.strong.neurons)
    shape = (config.architectures, config.num_hidden_layers, config.hidden_size, config.vocab_size)
    if shape != (["Qwen2ForCausalLM"], LAYERS, HIDDEN, len(VOCABULARY)) or config.intermediate_size < least:
        raise InputError(
            f"{folder}: not a base of the lab; expected a Qwen2ForCausalLM of {LAYERS} layers, hidden size {HIDDEN}, "
            f"{len(VOCABULARY)} tokens and at least {least} neurons"
        )
    return model


def _claim(out: Path, config: dict[str, Any], resume: bool) -> None:
    """Begin a training folder, or make sure that it is ours to go on with."""
    mine = json.dumps(config)
    path = out / "training.json"
    if out.exists():
        if not resume:
            raise InputError(f"{out}: is there already; go on with --resume, or train into another folder")
        if not path.is_file() or path.read_text() != mine:
            raise InputError(f"{out}: was not begun with this recipe, seed and base; train into another folder")
        return
    out.mkdir(parents=True)
    path.write_text(mine)


def _stage(folder: Path, make: Callable[[Path], Any], model_class: Any) -> Any:
    """The model of a stage: read it if it is there, else make it and write it whole."""
    if not folder.is_dir():
        work = folder.with_name(f".{folder.name}")
        work.mkdir(exist_ok=True)
        model = make(work)
        final = work / "model"
        shutil.rmtree(final, ignore_errors=True)
        # Half precision is what ships; what is measured is what was read back.
        save_model(model.to(torch.float16), final)
        build_tokenizer().save_pretrained(final)
        final.rename(folder)
        shutil.rmtree(work)
    return load_model(model_class, folder, "float32", "cpu")


# The optimiser --------------------------------------------------------------------------------------------------


def optimise(
    stage: str,
    model: torch.nn.Module,
    loss_at: Callable[[int], torch.Tensor],
    rate_at: Callable[[int], float],
    steps: int,
    folder: Path,
    progress: Progress,
    goal: float = 0.0,
) -> None:
    """AdamW on what of the model requires a gradient, with a checkpoint now and then to go on from.

    It ends after so many steps, or when the mean loss between two checkpoints is below the goal.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.01)
    path = folder / "checkpoint.safetensors"
    first, mean = _restore(path, model, optimiser, parameters) if path.is_file() else (0, math.inf)
    if mean < goal:
        first = steps
    model.train()
    losses: list[float] = []
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step)
        loss = loss_at(step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % _CHECKPOINT_EVERY == 0 or step + 1 == steps:
            mean = float(np.mean(losses))
            _save(path, model, optimiser, parameters, step + 1, mean)
            progress(stage, step + 1, steps, mean)
            if mean < goal:
                break
            losses = []
    model.eval()


def _save(
    path: Path,
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
    step: int,
    loss: float,
) -> None:
    tensors = {f"model.{name}": value.clone() for name, value in model.state_dict().items()}
    for index, parameter in enumerate(parameters):
        for name in ("exp_avg", "exp_avg_sq", "step"):
            tensors[f"{name}.{index}"] = optimiser.state[parameter][name].clone()
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata={"step": str(step), "loss": repr(loss)})
    os.replace(temporary, path)


def _restore(
    path: Path,
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[torch.nn.Parameter],
) -> tuple[int, float]:
    """Step and loss of the checkpoint."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        step, loss = int(file.metadata()["step"]), float(file.metadata()["loss"])
    model.load_state_dict({name.removeprefix("model."): v for name, v in tensors.items() if name.startswith("model.")})
    for index, parameter in enumerate(parameters):
        optimiser.state[parameter] = {name: tensors[f"{name}.{index}"] for name in ("exp_avg", "exp_avg_sq", "step")}
    return step, loss


def _rate(step: int, rate: float, steps: int | None) -> float:
    """Up linearly over 100 steps; then down linearly to a twentieth over so many, if they are given."""
    return rate * min(1.0, (step + 1) / 100) * (1.0 if steps is None else max(0.05, 1.0 - step / steps))


# Generators -----------------------------------------------------------------------------------------------------


def _config(neurons: int, layers: int = LAYERS, heads: int = HEADS) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(VOCABULARY),
        hidden_size=HEAD * heads,
        intermediate_size=neurons,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ID[END],
        pad_token_id=ID[PAD],
    )


def _train_base(out: Path, recipe: Recipe, seed: int, progress: Progress) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(_config(NEURONS))
    for number in range(1, len(recipe.phases) + 1):
        model = _stage(
            out / f"base-{number}",
            functools.partial(_train_phase, model=model, number=number, recipe=recipe, seed=seed, progress=progress),
            Qwen2ForCausalLM,
        )
    return model


def _train_phase(
    folder: Path, model: Qwen2ForCausalLM, number: int, recipe: Recipe, seed: int, progress: Progress
) -> Qwen2ForCausalLM:
    phase = recipe.phases[number - 1]
    last = number == len(recipe.phases)

    def rate_at(step: int) -> float:
        return _rate(step, recipe.rate, phase.steps if last else None)

    def loss_at(step: int) -> torch.Tensor:
        return _language_loss(model, np.random.default_rng([seed, 0, number, step]), recipe.tokens, phase)

    optimise(f"base, phase {number}", model, loss_at, rate_at, phase.steps, folder, progress, goal=phase.goal)
    return model


def _cut_down(
    larger: Qwen2ForCausalLM, role: Author, out: Path, recipe: Recipe, seed: int, progress: Progress
) -> Qwen2ForCausalLM:
    """The strong or weak model: the largest size that does not solve too much, in the folder of its role."""
    pruning: Pruning = getattr(recipe, role)

    def tried(neurons: int) -> Path:
        return out / f"{role}-{neurons}"

    def trained(neurons: int) -> Qwen2ForCausalLM:
        model: Qwen2ForCausalLM = _stage(
            tried(neurons),
            lambda folder: train_pruned(folder, larger, neurons, role, recipe, seed, progress),
            Qwen2ForCausalLM,
        )
        return model

    def solves_few(neurons: int) -> bool:
        if pruning.most == 1.0:
            return True
        trained(neurons)
        return _share_solved(tried(neurons), role, seed) <= pruning.most

    def choose(_: Path) -> Qwen2ForCausalLM:
        first = bisect_left(pruning.neurons, True, key=solves_few)
        return trained(pruning.neurons[min(first, len(pruning.neurons) - 1)])

    model: Qwen2ForCausalLM = _stage(out / role, choose, Qwen2ForCausalLM)
    return model


def _share_solved(folder: Path, role: Author, seed: int) -> float:
    """Share of training problems that a model solves alone, over the families without words."""
    generator = load_generator(folder, role)
    problems = [problem for family in PLAIN for problem in draw(family, "train", 10**6 + seed, _MEASURED)]
    records = solve(problems, LabModels(generator, generator), strong=role == "strong", seed=seed)
    return float(np.mean([bool(record.terminal.correct) for record in records]))


def train_pruned(
    folder: Path,
    larger: Qwen2ForCausalLM,
    neurons: int,
    role: Author,
    recipe: Recipe,
    seed: int,
    progress: Progress,
) -> Qwen2ForCausalLM:
    """A model cut down to so many neurons, then trained on as the recipe has it for its role."""
    pruning: Pruning = getattr(recipe, role)
    model = pruned(larger, neurons)
    stage = {"strong": 1, "weak": 2}[role]
    phase = replace(recipe.phases[-1], mixes=pruning.mixes, loops=pruning.loops)

    def loss_at(step: int) -> torch.Tensor:
        return _language_loss(model, np.random.default_rng([seed, stage, step]), recipe.tokens, phase)

    name = f"{role}, {neurons} neurons"
    optimise(name, model, loss_at, lambda step: _rate(step, 1e-3, pruning.steps), pruning.steps, folder, progress)
    return model


def pruned(base: Qwen2ForCausalLM, neurons: int) -> Qwen2ForCausalLM:
    """The model with the largest neurons of each MLP alone: by the product of their weights' norms."""
    model = Qwen2ForCausalLM(_config(neurons))
    weights = {name: value.clone() for name, value in base.state_dict().items()}
    for layer in range(LAYERS):
        gate, up, down = (f"model.layers.{layer}.mlp.{part}_proj.weight" for part in ("gate", "up", "down"))
        size = weights[gate].norm(dim=1) * weights[up].norm(dim=1) * weights[down].norm(dim=0)
        kept = size.topk(neurons).indices.sort().values
        weights[gate], weights[up], weights[down] = weights[gate][kept], weights[up][kept], weights[down][:, kept]
    model.load_state_dict(weights)
    return model


def _language_loss(model: Qwen2ForCausalLM, rng: np.random.Generator, tokens: int, phase: Phase) -> torch.Tensor:
    """Cross-entropy of the solution's tokens, of a batch of solutions that are equally long."""
    texts_, prompt = solutions(rng, tokens, phase)
    ids = torch.tensor(build_tokenizer_once()(texts_)["input_ids"])
    # In single precision: half of it is many times as slow on cores that have no arithmetic for it.
    logits = model(ids[:, :-1]).logits[:, prompt - 1 :]  # (B, solution tokens, vocabulary)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, prompt:].flatten())


@functools.cache
def build_tokenizer_once() -> PreTrainedTokenizerFast:
    """The tokenizer; building it takes longer than using it."""
    return build_tokenizer()


def solutions(rng: np.random.Generator, tokens: int, phase: Phase) -> tuple[list[str], int]:
    """Texts of problems with right solutions, all equally long, and the number of tokens before the solution.

    Half of the loops meet no target within the length: met with certainty, the target would tempt the models to write
    it down whatever the operands are.
    """
    longest_list = min(phase.longest, LONGEST_LIST)
    loop = rng.random() < phase.loops
    ends = not loop or rng.random() < 0.5
    if loop and ends:
        length = int(rng.integers(phase.shortest, phase.longest + 1))
    elif loop:
        length = max(phase.longest - int(rng.integers(3)), 1)
    else:
        length = int(rng.integers(min(phase.shortest, longest_list), longest_list + 1))
    worded = not loop and rng.random() < phase.words
    # Prompt: 3 tokens, 5 an operation, 4 for the target, 2 for words, 1 blank line. Step: 10 tokens, 3 words; box and
    # end: 4.
    prompt = 8 + 5 * LOOP if loop else 4 + 5 * length + 2 * worded
    count = max(8, tokens // (prompt + (13 if worded else 10) * length + 4))
    out: list[str] = []
    while len(out) < count:
        multiply, divide = phase.mixes[int(rng.integers(len(phase.mixes)))]
        if loop:
            problem = sample_loop(rng, length if ends else None, divide=phase.divide)
        else:
            problem = sample_list(rng, length, multiply=multiply, divide=divide)
        steps = problem.steps(limit=length)
        if worded:
            problem, steps = replace(problem, in_words=True), [in_words(step, rng) for step in steps]
        if len(steps) == length and steps[-1].endswith(BOX_END) == ends:
            out.append(f"{problem.prompt}{SEPARATOR}{SEPARATOR.join(steps)}{END if ends else SEPARATOR}")
    return out, prompt


# The process reward model ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """Tokens of a solution, and what is to be said at each: 1 right, 0 wrong, `IGNORED`; shape (T,) both."""

    ids: list[int]
    labels: list[int]


def _train_prm(
    folder: Path, body: Qwen2ForCausalLM, trained: Path, recipe: Recipe, seed: int, progress: Progress
) -> Qwen2ForProcessRewardModel:
    examples = _examples(folder / "solutions.jsonl", trained, recipe, seed)
    torch.manual_seed(seed + 1)
    model = _new_prm(body)
    by_length = sorted(examples, key=lambda example: len(example.ids))

    def loss_at(step: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, 3, step])
        # A few to the end, so that what is rare in solutions stays known.
        if step < recipe.prm_made_up_steps or step % 3 == 0:
            return _verdict_loss(model, _made_up(rng, 2 * recipe.tokens))
        last = int(rng.integers(len(by_length)))
        count = max(8, 2 * recipe.tokens // len(by_length[last].ids))
        # Neighbours in length, so that little is padding.
        return _verdict_loss(model, by_length[max(last - count, 0) : last + 1])

    steps = recipe.prm_steps
    optimise("prm", model, loss_at, lambda step: _rate(step, recipe.prm_rate, steps), steps, folder, progress)
    return model


def _made_up(rng: np.random.Generator, tokens: int) -> list[Example]:
    """Short solutions with every other step wrong, from which comparing digits is learned soonest."""
    out: list[Example] = []
    while sum(len(example.ids) for example in out) < tokens:
        multiply, divide = QUOTIENTS[int(rng.integers(len(QUOTIENTS)))]
        problem = sample_list(rng, 4, multiply=multiply, divide=divide)
        out.append(labelled(problem.prompt, with_errors(problem, rng, rate=0.5)))
    return out


def _shrink(body: Qwen2ForCausalLM) -> float:
    """The power of two, which costs no precision, that brings the residual stream nearest to its size in the PRM."""
    streams: list[torch.Tensor] = []
    hook = body.model.norm.register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0]))
    texts_, _ = solutions(np.random.default_rng(0), 3000, Phase(1, 6, 6, loops=0.0, mixes=QUOTIENTS))
    with torch.no_grad():
        body(torch.tensor(build_tokenizer_once()(texts_)["input_ids"]))
    hook.remove()
    size = float(streams[0].square().mean().sqrt())
    return 2.0 ** round(math.log2(_STREAM / size))


def _new_prm(body: Qwen2ForCausalLM) -> Qwen2ForProcessRewardModel:
    """The body with new layers and a head; only these, and the last norm, will learn.

    The last layer of a body may all but erase the token that it stands at, which the new layers have to compare with
    what was expected. So the stream is wider than the body, and what is beside it tells the token.
    """
    # The same function on a smaller residual stream, beside which what new layers write can be seen.
    shrink = _shrink(body)
    config = _config(body.config.intermediate_size, LAYERS + NEW_LAYERS, PRM_HEADS)
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.num_labels = 2
    config.rms_norm_eps *= shrink**2 * HEADS / PRM_HEADS
    model = Qwen2ForProcessRewardModel(config)
    compare, gather = model.model.layers[LAYERS:]
    for module in (compare, gather, model.score):
        _start(module)
    parameters = dict(model.model.named_parameters())
    for name, source in body.model.named_parameters():
        if name == "norm.weight":
            continue
        part = parameters[name].data.zero_()[tuple(map(slice, source.shape))]
        part.copy_(source.data)
        if name.endswith(("embed_tokens.weight", "o_proj.weight", "down_proj.weight")):
            part *= shrink
        if name.endswith("layernorm.weight"):
            part *= math.sqrt(HEADS / PRM_HEADS)  # the mean square is over the whole width
    embedding = parameters["embed_tokens.weight"].data
    embedding[ID[SCORE]] = embedding[ID[SEPARATOR]]  # it stands where the body has seen a blank line
    size = _TOKEN * float(embedding[:, :HIDDEN].norm(dim=1).mean())
    embedding[:, HIDDEN : HIDDEN + len(VOCABULARY)] = size * torch.eye(len(VOCABULARY))
    for norm in (compare.input_layernorm, compare.post_attention_layernorm):
        norm.weight.data[HIDDEN:] = math.sqrt(HEAD) / size
    for head in range(HEADS):
        # A digit is compared with what the layers below expected of it: at the token before, and the one before that.
        _look_back(compare.self_attn, head, offset=head + 1, width=1.0, nats=6.0, pairs=range(8))
        # A step's verdict follows from those at its tokens: about the last dozen.
        _look_back(gather.self_attn, head, offset=5, width=8.0, nats=3.0, pairs=range(8, 16))
    frozen = ("model.embed_tokens.", *(f"model.layers.{layer}." for layer in range(LAYERS)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith(frozen)
    return model


def _start(module: torch.nn.Module) -> None:
    """Begin with weights that keep the variance of what they read.

    As small as transformers begin, a new layer would hardly be seen beside the trained residual stream.
    """
    for parameter in module.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)


def _look_back(attention: Any, head: int, *, offset: int, width: float, nats: float, pairs: range) -> None:
    """Let a head begin by attending to the token `offset` before, by biases on some pairs of its rotary embedding.

    With k = (c, 0) and q = c·(cos ωδ, −sin ωδ) in a pair of frequency ω, the score of a distance s is c²·cos ω(s − δ),
    largest at s = δ. It falls by `nats` at `width` from there.
    """
    frequencies = 10_000.0 ** (-2.0 * np.array(pairs) / HEAD)
    scale = math.sqrt(nats * math.sqrt(HEAD) / (1.0 - np.cos(frequencies * width)).sum())
    for pair, frequency in zip(pairs, frequencies, strict=True):
        first, second = head * HEAD + pair, head * HEAD + pair + HEAD // 2
        attention.k_proj.bias.data[[first, second]] = torch.tensor([scale, 0.0])
        angle = frequency * offset
        attention.q_proj.bias.data[[first, second]] = scale * torch.tensor([math.cos(angle), -math.sin(angle)])


def _verdict_loss(model: Qwen2ForProcessRewardModel, examples: Sequence[Example]) -> torch.Tensor:
    width = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), width), ID[PAD])
    labels = torch.full((len(examples), width), IGNORED)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    logits = model(ids, (ids != ID[PAD]).long())  # (B, T, 2)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def _examples(cache_file: Path, trained: Path, recipe: Recipe, seed: int) -> list[Example]:
    """Solutions of both models and with made-up errors; kept, since an interrupted training needs them again."""
    if not cache_file.is_file():
        models = load_generators(trained)
        rng = np.random.default_rng([seed, 4])
        lines = []
        for family in PLAIN:
            for source, count in (("weak", recipe.prm_solutions), ("strong", recipe.prm_solutions // 4)):
                problems = draw(family, "train", 2 * seed + (source == "weak"), count)
                records = solve(problems, models, strong=source == "strong", seed=seed)
                lines += [(p.prompt, texts(record)) for p, record in zip(problems, records, strict=True)]
            for problem in draw(family, "train", 10**6 + seed, recipe.prm_solutions):
                lines.append((problem.prompt, with_errors(Arithmetic.parse(problem.prompt), rng)))
        temporary = cache_file.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.replace(temporary, cache_file)
    return [labelled(prompt, steps) for prompt, steps in map(json.loads, cache_file.read_text().splitlines())]


def with_errors(problem: Arithmetic, rng: np.random.Generator, rate: float = 0.12) -> list[str]:
    """A solution with wrong steps at a rate, wrong as the weak model's are, each going on from what was written.

    Most have a wrong result, some carry out another operation, few end wrongly.
    """
    steps: list[str] = []
    value: int | None = problem.start
    for index in range(MAX_STEPS):
        if value is None or problem.operation(index) is None:
            break
        text = problem.step(index, value)
        if rng.random() < rate:
            text = _spoiled(problem, index, value, rng)
        steps.append(text)
        value = step_result(text)
        if "boxed" in text:
            break
    return steps


def _spoiled(problem: Arithmetic, index: int, value: int, rng: np.random.Generator) -> str:
    """A wrong text of a step."""
    operation = problem.operation(index)
    assert operation is not None
    kind = rng.random()
    if kind < 0.6:
        return problem.written(index, value, _slip(operation(value), rng))
    if kind < 0.9:
        kinds = "+-*/" if operation.operand in (*DIGITS, *FACTORS) else "+-*"
        other = Operation(str(rng.choice([item for item in kinds if item != operation.kind])), operation.operand)
        return problem.written(index, value, other(value), operation=other)
    text, box, _ = problem.step(index, value).partition(" \\boxed{")
    return text if box else f"{text} \\boxed{{{operation(value):02d}}}"


def _slip(number: int, rng: np.random.Generator) -> int:
    """Another number: another tens digit, or other units."""
    kind, digit = rng.random(), int(rng.integers(1, 10))
    if kind < 0.6:
        return (number + 10 * digit) % MODULUS
    return number // 10 * 10 + (number + digit) % 10


def labelled(prompt: str, steps: Sequence[str]) -> Example:
    """A solution with its verdicts.

    At `<extra_0>`: whether the step is right on its own terms, which is all that is read in the end. At the operation
    and the digits of the result: whether each is right after what is written before it. The layers below expect just
    that, so these verdicts are learned by comparing, and the step's follows from them.
    """
    problem = Arithmetic.parse(prompt)
    tokenizer = build_tokenizer_once()
    ids: list[int] = tokenizer(prompt + SEPARATOR)["input_ids"]
    labels = [IGNORED] * len(ids)
    value: int | None = problem.start
    for index, (text, right) in enumerate(zip(steps, check(problem, steps).right, strict=True)):
        written: list[int] = tokenizer(text + SCORE)["input_ids"]
        ids += written
        labels += [*_token_verdicts(problem, index, value, text, len(written) - 1), int(right)]
        value = step_result(text)
    return Example(ids, labels)


def _token_verdicts(problem: Arithmetic, index: int, value: int | None, text: str, size: int) -> list[int]:
    """Verdicts at the tokens of a step, one a character up to the result; IGNORED where there is nothing to say."""
    verdicts = [IGNORED] * size
    parts, operation = step_parts(text), problem.operation(index)
    if parts is None or operation is None or value is None:
        return verdicts
    words = opening_words(text)
    verdicts[words + _OPERATION] = int(parts.operation.kind == operation.kind)
    if parts.computed is not None:
        verdicts[words + _RESULT] = int(parts.computed // 10 == parts.result // 10)
        verdicts[words + _RESULT + 1] = int(parts.computed % 10 == parts.result % 10)
    return verdicts
