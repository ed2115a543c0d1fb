"""With vLLM itself, in an environment of its own: servers of the lab's models, and the sampler inside of them."""

import json
import os
import signal
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("torch")

from trim_pomdp.lab.models import shipped_folder
from trim_pomdp.servers import plans
from trim_pomdp.servers.plans import make_plan, read_served, ready_files

ROOT = Path(__file__).parents[2]
PROBLEMS = 60

pytestmark = pytest.mark.slow


def inside(environment, folder, program, *arguments):
    """Run a program in vLLM's environment, with a folder on its path that holds only this package."""
    path = plans._package_folder(folder)
    done = subprocess.run(
        [str(environment.python), "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_options_of_ready_files_are_vllms(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "_from_hub", lambda *_: shipped_folder() / "prm" / "tokenizer.json")
    commands = []
    for name in ready_files():
        (tmp_path / name).mkdir()
        commands += [server.arguments for server in make_plan(read_served(name), environment, tmp_path / name).servers]
    program = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for command in json.loads(sys.argv[1]):
    parser.parse_args(command)
"""
    inside(environment, tmp_path, program, json.dumps(commands))


def test_both_samplers_on_vllms_own_interfaces(environment, tmp_path):
    program = """
import types
import numpy as np, pytest, torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdateBuilder, LogitsProcessors, MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext
from trim_pomdp.randomness import key_state, keyed_uniforms
from trim_pomdp.runtime.sampling import draw_tokens
from trim_pomdp.servers.draws import key_of
from trim_pomdp.servers.keyed import KeyedSampler, KeyedSamplerV2

generator = torch.Generator().manual_seed(0)
logits = torch.randn(4, 30, generator=generator) * 2
asked = [("a", 0, 0.7, 1.0), ("b", 5, 1.5, 0.8), (None, 0, 1.0, 1.0), ("c", 0, 0.7, 1.0)]
written = [0, 2, 1, 7]
params = [
    SamplingParams(temperature=t, top_p=p, extra_args=name and {"trim_key": key_of(key_state(0, name), offset)})
    for name, offset, t, p in asked
]
def wanted(row):
    name, offset, temperature, top_p = asked[row]
    uniform = torch.from_numpy(keyed_uniforms(20, 0, name)[[offset + written[row]]])
    return draw_tokens(logits[[row]], uniform, temperature=temperature, top_p=top_p)[0].item()
def check(out, rows):
    for place, row in enumerate(rows):
        if asked[row][0] is None:
            continue
        assert torch.isfinite(out[place]).sum() == 1 and out[place].argmax() == wanted(row), (place, row)

# The first runner: added in one order, then two swapped.
first = KeyedSampler(None, torch.device("cpu"), False)
assert list(LogitsProcessors([first]).argmax_invariant) == [first]
builder = BatchUpdateBuilder()
for row, item in enumerate(params):
    builder.added.append((row, item, None, [9] * written[row]))
first.update_state(builder.get_and_reset(4))
temperatures = torch.tensor([[t] for _, _, t, _ in asked])
out = first.apply(logits / temperatures)
check(out, [0, 1, 2, 3])
assert torch.equal(out[2], logits[2])
builder.moved.append((0, 1, MoveDirectionality.SWAP))
first.update_state(builder.get_and_reset(4))
order = [1, 0, 2, 3]
check(first.apply((logits / temperatures)[order]), order)
first.update_state(None)

# The second: slots of its own, lengths of prompts and sequences on the host.
slots, prompts = [3, 0, 5, 1], np.array([7, 1, 0, 4, 0, 2])
second = KeyedSamplerV2(
    types.SimpleNamespace(speculative_config=None), types.SimpleNamespace(prompt_len=types.SimpleNamespace(np=prompts))
)
assert [second.add_request(slot, item) for slot, item in zip(slots, params)] == [True, True, False, True]
context = LogitsContext(
    expanded_idx_mapping=torch.tensor(slots), idx_mapping=torch.tensor(slots), idx_mapping_np=np.array(slots),
    expanded_local_pos=torch.zeros(4), input_ids=torch.zeros(4), pos=torch.tensor(prompts[slots] + written) - 1,
    # Rows of a captured graph may be padded beyond the requests.
    seq_lens_upper_bound_np=np.append(prompts[slots] + written, [0, 0]),
)
out = second.apply(logits.clone(), context)
check(out, [0, 1, 2, 3])
assert torch.equal(out[2], logits[2])
# A slot that is used again without a key is let alone.
assert not second.add_request(3, params[2])
assert torch.equal(second.apply(logits.clone(), context)[0], logits[0])
for sampler in (KeyedSampler, KeyedSamplerV2):
    sampler.validate_params(params[0])
    with pytest.raises(ValueError, match="expected 16 hexadecimal digits"):
        sampler.validate_params(SamplingParams(extra_args={"trim_key": "x"}))
try:
    KeyedSamplerV2(types.SimpleNamespace(speculative_config=object()), None)
except ValueError:
    pass
else:
    raise AssertionError
print("checked")
""".replace("import numpy as np, pytest, torch", "import numpy as np, torch").replace(
        """    with pytest.raises(ValueError, match="expected 16 hexadecimal digits"):
        sampler.validate_params(SamplingParams(extra_args={"trim_key": "x"}))
""",
        """    try:
        sampler.validate_params(SamplingParams(extra_args={"trim_key": "x"}))
    except ValueError as error:
        assert "expected 16 hexadecimal digits" in str(error)
    else:
        raise AssertionError
""",
    )
    assert inside(environment, tmp_path, program).endswith("checked\n")


def run(run_cli, tmp_path, models, *problems):
    out = tmp_path / "run"
    code, _, errors = run_cli("run", "--models", models, *problems, "--threshold", 0.5, "--out", out, "--json")
    assert code == 0, errors
    return [json.loads(line) for line in (out / "solutions.jsonl").read_text().splitlines()]


def texts(rows):
    return sorted((row["id"], tuple(row["steps"])) for row in rows)


def test_texts_are_those_of_the_models_in_this_process(served, run_cli, tmp_path, problems):
    file, _, _ = served
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    over_http = run(run_cli, tmp_path / "a", file, "--problems", problems)
    in_process = run(run_cli, tmp_path / "b", "lab", "--problems", PROBLEMS)
    assert len(over_http) == PROBLEMS
    assert texts(over_http) == texts(in_process)


def test_malformed_keys_are_refused_by_the_server(served):
    file, _, _ = served
    table = tomllib.loads(file.read_text())["weak"]
    body = {"model": table["model"], "prompt": "a", "max_tokens": 1, "vllm_xargs": {"trim_key": "0:0"}}
    request = urllib.request.Request(
        table["base_url"] + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    assert caught.value.code == 400
    assert "expected 16 hexadecimal digits" in caught.value.read().decode()


def test_a_server_that_is_killed_comes_back(served, run_cli, tmp_path, problems):
    file, servers, errors = served
    os.kill(servers["weak"]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 180
    while "weak is ready again" not in errors.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert len(run(run_cli, tmp_path, file, "--problems", problems)) == PROBLEMS
