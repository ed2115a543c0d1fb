"""The lab's tokenizer: one token a digit, label, operation or piece of fixed text, so that texts decode exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trim_pomdp.lab.problems import CLOSING, LABELS, OPENING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END, SCORE, SEPARATOR, BOX_END = "<pad>", "<eos>", "<extra_0>", "\n\n", "}"
VOCABULARY = (
    PAD, END, SCORE, SEPARATOR, "Start ", "; ", "until ", " \\boxed{", BOX_END, "=", "+", "-", "*", "/", *"0123456789",
    *(f"{label}) " for label in LABELS), "<unk>", "in words",
    *(f"{word} " for word in OPENING), *(f" {word}" for word in CLOSING),
)  # fmt: skip
# A message is its own text, and a blank line parts problem and solution; there is no system prompt.
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% if m.role == 'user' %}{{ '\\n\\n' }}"
    "{% endif %}{% endif %}{% endfor %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the lab's three models."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words = rf"(?:{'|'.join(OPENING)}) | (?:{'|'.join(CLOSING)})(?![a-z])"
    pieces = rf"\n\n|Start |; |until |in words| \\boxed\{{|[a-x]\) |{words}|."
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), "isolated")
    tokenizer.decoder = decoders.Fuse()
    built = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token="<unk>",
        additional_special_tokens=[SCORE],
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
    )
    # For Qwen2 `AutoTokenizer`, and with it vLLM, rebuilds the tokenizer around these and drops the pre-tokenizer.
    built.add_tokens([AddedToken(token, normalized=False) for token in VOCABULARY if not token.startswith("<")])
    return built
