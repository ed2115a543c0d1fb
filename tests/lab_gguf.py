"""The lab's models as files of llama.cpp (GGUF), and llama.cpp's server over them, out of the wheel ``xllamacpp``.

A second implementation of the OpenAI interface beside vLLM, on a CPU, with models whose texts are known.
``python tests/lab_gguf.py MODEL.gguf n_ctx=4096`` serves a file until its standard input is closed, and prints where.
"""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONTEXT, SLOTS = 512, 16
_START_S = 60.0


def write_gguf(folder: Path, path: Path) -> Path:
    """Write a generator of the lab (a folder of transformers) as GGUF; returns the path.

    All words are "user defined" tokens, which llama.cpp cuts out of a text before its own tokenizer sees it, the
    longest first; what is left is nothing, so that a text has the tokens that the lab's tokenizer gives it.
    """
    import json

    import gguf
    from safetensors.numpy import load_file

    from trim_pomdp.lab.tokenizer import CHAT_TEMPLATE, END, PAD, SCORE, VOCABULARY

    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name(f"lab-{folder.name}")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    kinds = {PAD: gguf.TokenType.CONTROL, END: gguf.TokenType.CONTROL, SCORE: gguf.TokenType.CONTROL}
    kinds["<unk>"] = gguf.TokenType.UNKNOWN
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(VOCABULARY))
    writer.add_token_scores([0.0] * len(VOCABULARY))
    writer.add_token_types([kinds.get(word, gguf.TokenType.USER_DEFINED) for word in VOCABULARY])
    writer.add_eos_token_id(VOCABULARY.index(END))
    writer.add_pad_token_id(VOCABULARY.index(PAD))
    writer.add_unk_token_id(VOCABULARY.index("<unk>"))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert known is not None, name
        writer.add_tensor(known, tensor.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@contextmanager
def llama_server(model: Path, log: Path, **options: int) -> Iterator[str]:
    """llama.cpp's server in a child process; yields its address, without ``/v1``.

    Options are those of xllamacpp's ``CommonParams``. The child ends with its standard input, so with this process.
    """
    arguments = [f"{name}={value}" for name, value in options.items()]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(model), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            cwd=ROOT,
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            assert address, log.read_text(errors="replace")[-2000:]
            _await_health(address, process, log)
            yield address
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2) as reply:
            if reply.status == 200:
                return
        time.sleep(0.05)
    raise TimeoutError(f"{address}: not up after {_START_S:g} s")


def _serve(model: str, options: dict[str, int]) -> None:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = CONTEXT * SLOTS
    parameters.n_parallel = SLOTS
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # All in float32, as in transformers here.
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.port = 0
    for name, value in options.items():
        setattr(parameters, name, value)
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)  # noqa: T201
    sys.stdin.read()
    os._exit(0)  # its threads are not waited for


if __name__ == "__main__":
    _serve(sys.argv[1], {name: int(value) for name, value in (item.split("=") for item in sys.argv[2:])})
