"""From a models file to the vLLM servers that it describes, and to the models file that runs use once they serve."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trim_pomdp.artifacts import validate
from trim_pomdp.errors import InputError
from trim_pomdp.files import read_text
from trim_pomdp.lab.models import shipped_folder
from trim_pomdp.runtime.backends.served import KEYED_SAMPLER, KEYED_SAMPLER_V2, ServerTable
from trim_pomdp.runtime.backends.tokens import SCORE_TOKEN
from trim_pomdp.runtime.config import ROLES, read_models_file
from trim_pomdp.servers.environment import Environment
from trim_pomdp.servers.launch import HOST, Server, Servers, free_ports

MODULE = "vllm.entrypoints.openai.api_server"
_BACKENDS = ("vllm", "vllm-prm")
_LAB = "lab:"
_V2 = "VLLM_USE_V2_MODEL_RUNNER"


@dataclass(frozen=True)
class ServedFile:
    """A models file some of whose servers are to be started.

    Attributes
    ----------
    document : dict
        The parsed file.
    folder : Path
        Paths in it are seen from there.
    source : str
        In errors.
    """

    document: dict[str, Any]
    folder: Path
    source: str

    @property
    def keys(self) -> set[str]:
        """Environment variables that hold keys."""
        tables = [table for table in self.document.values() if isinstance(table, dict)]
        return {table["api_key_env"] for table in tables if isinstance(table.get("api_key_env"), str)}

    def tables(self) -> dict[str, ServerTable]:
        """The servers to start, by role: those of tables with a ``server`` and no ``base_url``.

        Raises
        ------
        InputError
            If a ``server`` is malformed, stands in a table of another backend, or there is none at all.
        """
        found: dict[str, ServerTable] = {}
        for role in ROLES:
            table = self.document.get(role)
            if not isinstance(table, dict) or "server" not in table or "base_url" in table:
                continue
            if table.get("backend") not in _BACKENDS:
                raise InputError(
                    f"{self.source}: {role}.server: {table.get('backend')!r} is not started here; expected one of the "
                    f"backends {', '.join(_BACKENDS)}"
                )
            if not isinstance(table.get("model"), str):
                raise InputError(f"{self.source}: missing '{role}.model'")
            found[role] = validate(ServerTable, table["server"], source=f"{self.source}: {role}.server")
        if not found:
            raise InputError(
                f"{self.source}: describes no server; expected a table [weak.server], [strong.server] or [prm.server]"
            )
        return found

    def model(self, role: str) -> str:
        """Model of a table: one of the lab's, a folder as an absolute path, or a name on the hub."""
        name: str = self.document[role]["model"]
        if name.startswith(_LAB):
            folder = shipped_folder() / name.removeprefix(_LAB)
            if not folder.is_dir():
                raise InputError(f"{self.source}: {role}.model: the lab has no model {name!r}")
            return str(folder)
        folder = self.folder / name
        return str(folder.resolve()) if folder.is_dir() else name

    def served(self, urls: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The document with the addresses of its servers, which is what runs read."""
        out: dict[str, Any] = {}
        for key, value in self.document.items():
            if key in ROLES and isinstance(value, dict):
                value = {name: item for name, item in value.items() if name != "server"}
                value |= {name: self._absolute(value[name]) for name in _paths(value) if name in value}
            if key in urls:
                addresses = list(urls[key])
                value |= {"model": self.model(key), "base_url": addresses if addresses[1:] else addresses[0]}
            out[key] = value
        return out

    def _absolute(self, value: object) -> object:
        """A relative path that exists, as an absolute one: the file that runs read may stand elsewhere."""
        if not isinstance(value, str) or not (path := self.folder / value).exists():
            return value
        return str(path.resolve())


def _paths(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of a table that may be paths; the model of a server that is elsewhere is a name."""
    here = ("model",) if table.get("backend") in ("transformers", "vllm-local") else ()
    return (*here, "tokenizer", "run", "observations", "dynamics")


@dataclass(frozen=True)
class Plan:
    """What is started, and how.

    Attributes
    ----------
    servers : tuple of Server
    text : str
        The models file that runs use, in TOML.
    environment : dict of str
        Of all servers.
    fork : bool
        Whether vLLM is imported once.
    in_turn : bool
        Whether each waits until the one before it is ready.
    """

    servers: tuple[Server, ...]
    text: str
    environment: dict[str, str]
    fork: bool
    in_turn: bool

    def servers_in(self, environment: Environment, logs: Path) -> Servers:
        """Its servers, not started yet, in an environment that has vLLM; they write to the folder of logs."""
        return Servers(
            self.servers,
            module=MODULE,
            python=environment.python,
            fork=self.fork,
            environment=self.environment,
            log=logs / "start.log",
        )


def ready_files() -> tuple[str, ...]:
    """Names of the models files that come with the package."""
    names = (item.name for item in _files().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def read_served(name: str) -> ServedFile:
    """A models file by its path, or one that comes with the package by its name.

    Raises
    ------
    InputError
        If there is none, or it is not TOML.
    """
    path = Path(name)
    if not path.exists() and path.suffix != ".toml" and path.name == name:
        known = ready_files()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"--models: no file and no ready file {name!r}{hint} (there are {', '.join(known)})")
        path = Path(str(_files() / f"{name}.toml"))
    try:
        document = tomllib.loads(read_text(path, "TOML in UTF-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not TOML in UTF-8 ({error})") from None
    return ServedFile(document, path.parent, str(path))


def make_plan(file: ServedFile, environment: Environment, logs: Path) -> Plan:
    """Plan the servers of a models file.

    Parameters
    ----------
    file : ServedFile
    environment : Environment
        With vLLM.
    logs : Path
        Folder for what servers write.

    Raises
    ------
    InputError
        If the file is not one that runs could use, or a model is not what its server needs.
    """
    tables = file.tables()
    count = sum(table.count for table in tables.values())
    ports = iter(free_ports(count))
    servers: list[Server] = []
    urls: dict[str, list[str]] = {}
    for role, table in tables.items():
        mine = list(_servers(role, table, file, environment, ports, logs))
        servers += mine
        urls[role] = [server.url for server in mine]
    if twice := [server for i, server in enumerate(servers) if server.port in {s.port for s in servers[:i]}]:
        raise InputError(f"{file.source}: port {twice[0].port} is for two servers, {twice[0].name} among them")
    text = to_toml(file.served(urls))
    _check(text, file)
    fork = environment.cpu and all(server.environment == servers[0].environment for server in servers)
    everyone = _environment(environment, count, all(Path(file.model(role)).is_dir() for role in tables), logs)
    for name in file.keys:
        everyone.pop(name, None)  # a server needs no key of another one
    if fork:
        # Threads are counted when torch is imported, so before the fork.
        everyone |= servers[0].environment
    return Plan(tuple(servers), text, everyone, fork, in_turn=not environment.cpu and _share(tables))


def _servers(
    role: str, table: ServerTable, file: ServedFile, environment: Environment, ports: Iterator[int], logs: Path
) -> Iterator[Server]:
    model = file.model(role)
    v2 = {**os.environ, **table.environment}.get(_V2, "0") == "1"
    own = _scorer_arguments(model, table, file, environment) if role == "prm" else _generator_arguments(v2)
    if environment.cpu:
        own += ("--enforce-eager", "--distributed-executor-backend", "uni")
    for i in range(table.count):
        free = next(ports)
        port = free if table.port is None else table.port + i
        name = f"{role}-{i}" if table.count > 1 else role
        place = ("--model", model, "--host", HOST, "--port", str(port))
        yield Server(
            name,
            ("--disable-uvicorn-access-log", *own, *table.arguments, *place),
            port,
            logs / f"{name}.log",
            {**table.environment, **({"CUDA_VISIBLE_DEVICES": table.devices[i]} if table.devices else {})},
            table.start_s,
        )


def _generator_arguments(v2: bool) -> tuple[str, ...]:
    # Without the first, sampling defaults of the model's files (top_k, penalties) would enter every request.
    sampler = KEYED_SAMPLER_V2 if v2 else KEYED_SAMPLER
    return ("--generation-config", "vllm", "--enable-prompt-tokens-details", "--logits-processors", sampler)


def _scorer_arguments(model: str, table: ServerTable, file: ServedFile, environment: Environment) -> tuple[str, ...]:
    if "--pooler-config" in table.arguments:
        return ("--runner", "pooling")
    token = _token_id(model, f"{file.source}: prm.model", environment)
    pooler = json.dumps({"pooling_type": "STEP", "step_tag_id": token}, separators=(",", ":"))
    return ("--runner", "pooling", "--pooler-config", pooler)


def _token_id(model: str, where: str, environment: Environment) -> int:
    """The token of a process reward model at which scores are read."""
    path = Path(model) / "tokenizer.json" if Path(model).is_dir() else _from_hub(model, where, environment)
    try:
        tokenizer = json.loads(read_text(path))
        found = [token["id"] for token in tokenizer["added_tokens"] if token["content"] == SCORE_TOKEN]
        found += [index for text, index in _vocabulary(tokenizer) if text == SCORE_TOKEN]
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{where}: {path} is no tokenizer") from None
    if not found:
        raise InputError(
            f"{where}: {path} has no token {SCORE_TOKEN}, at which a reward model scores a step; say in "
            "prm.server.arguments how it pools (--pooler-config)"
        )
    return int(found[0])


def _vocabulary(tokenizer: dict[str, Any]) -> Iterator[tuple[str, int]]:
    vocabulary = tokenizer["model"].get("vocab", {})
    return iter(vocabulary.items()) if isinstance(vocabulary, dict) else iter(())


def _from_hub(model: str, where: str, environment: Environment) -> Path:
    program = (
        "import sys; from huggingface_hub import hf_hub_download; print(hf_hub_download(sys.argv[1], sys.argv[2]))"
    )
    command = [str(environment.python), "-c", program, model, "tokenizer.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"{where}: no folder, and tokenizer.json of {model!r} cannot be had from the hub ({reason})")
    return Path(done.stdout.strip())


def _environment(environment: Environment, count: int, local: bool, logs: Path) -> dict[str, str]:
    """Environment variables of all servers; those that are set already stay."""
    ours = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600", _V2: "0"}
    if local:
        ours["HF_HUB_OFFLINE"] = "1"
    if environment.cpu:
        # A process less for every server, no cores that workers are pinned to, and the cores shared out.
        threads = max(1, (os.cpu_count() or 1) // count)
        ours |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        ours["OMP_NUM_THREADS"] = str(threads)
    paths = [str(_package_folder(logs)), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**ours, **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _package_folder(logs: Path) -> Path:
    """A folder that holds this package and nothing else, so that vLLM's environment sees no other of ours."""
    folder = logs / "path"
    folder.mkdir(exist_ok=True)
    link = folder / "trim_pomdp"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(str(resources.files("trim_pomdp"))), target_is_directory=True)
    return folder.resolve()


def _share(tables: Mapping[str, ServerTable]) -> bool:
    """Whether two servers use one GPU; without devices each may use all."""
    used = [device for table in tables.values() for group in table.devices for device in group.split(",")]
    anywhere = sum(table.count for table in tables.values() if not table.devices)
    return len(set(used)) < len(used) or (anywhere > 0 and anywhere + len(used) > 1)


def _check(text: str, file: ServedFile) -> None:
    """Read the file that runs will read, before minutes are spent on servers for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.toml"
        path.write_text(text, encoding="utf-8")
        try:
            read_models_file(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), file.source, 1)) from None


def _files() -> Any:
    return resources.files("trim_pomdp.servers") / "files"


def to_toml(document: Mapping[str, Any]) -> str:
    """A document of texts, numbers, truth values, lists and tables as TOML."""
    return "\n".join(_table_lines(document, ())).lstrip("\n") + "\n"


def _table_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in table.items() if key not in inner}
    if path and (plain or not inner):
        yield f"\n[{'.'.join(path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _table_lines(value, (*path, _key(key)))


def _key(key: str) -> str:
    return key if key.replace("_", "a").replace("-", "a").isalnum() and key.isascii() else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, (bool, str)):
        # JSON's escapes are TOML's, as long as no character is split into two.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    return str(value)
