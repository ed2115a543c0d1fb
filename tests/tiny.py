"""Tiny models with random weights in the lab's architecture, written to a folder, and the files that go with them."""

import json
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from trim_pomdp.lab.tokenizer import END, PAD, SCORE, SEPARATOR, VOCABULARY, build_tokenizer
from trim_pomdp.runtime.backends.prm import Qwen2ForProcessRewardModel

ID = {token: index for index, token in enumerate(VOCABULARY)}
# Log-odds of tokens beside the others: short steps, some of them with an answer, no special token.
LIKELY = {SEPARATOR: 2.0, " \\boxed{": 2.5, "}": 2.5, END: 0.5, PAD: -99.0, SCORE: -99.0, "<unk>": -99.0}


def _config() -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        tie_word_embeddings=False,
        pad_token_id=ID[PAD],
        eos_token_id=ID[END],
    )


def write_models(folder: Path) -> Path:
    """Folders weak, strong and prm, and a models file; returns its path."""
    for seed, role in enumerate(("weak", "strong", "prm")):
        torch.manual_seed(seed)
        model = Qwen2ForProcessRewardModel(_config()) if role == "prm" else Qwen2ForCausalLM(_config())
        with torch.no_grad():
            if role == "prm":
                model.score[2].weight.mul_(60)
            else:
                _make_likely(model)
        model.save_pretrained(folder / role)
        build_tokenizer().save_pretrained(folder / role)
    path = folder / "models.toml"
    path.write_text(
        "".join(f'[{role}]\nbackend = "transformers"\nmodel = "{role}"\nsystem_prompt = false\n' for role in ROLES)
        + "[limits]\nmax_steps = 6\nmax_step_tokens = 12\n"
    )
    return path


ROLES = ("weak", "strong", "prm")


def _make_likely(model: Qwen2ForCausalLM) -> None:
    """One dimension of the hidden state is the same everywhere, and carries a bias of every token."""
    model.model.embed_tokens.weight[:, 0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    hidden = model.model(torch.tensor([[ID["="]]])).last_hidden_state[0, -1, 0]
    model.lm_head.weight[:, 0] = 0.0
    for token, odds in LIKELY.items():
        model.lm_head.weight[ID[token], 0] = odds / hidden


def write_problems(path: Path, n: int = 12, *, answers: bool = True) -> Path:
    rows = [{"id": f"p{i}", "problem": f"Start 1{i % 10}; a) +11", "answer": f"{i % 10}"} for i in range(n)]
    if not answers:
        rows = [{"id": row["id"], "prompt": row["problem"]} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
