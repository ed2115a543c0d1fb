"""Served models: what is asked of them, and that a run survives whatever goes wrong with them."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import KINDS, SEED, FakeVllm, problems
from scripted import WORLD, dummy_models

from trim_pomdp.data.problems import problems_text
from trim_pomdp.errors import InputError
from trim_pomdp.policies import ThresholdRule
from trim_pomdp.randomness import key_state, uniforms_at
from trim_pomdp.runtime.backends.vllm import CANARY_STATE, VllmGenerator, _Written
from trim_pomdp.runtime.config import read_models_file
from trim_pomdp.runtime.http import BadReplyError, Patience, RefusedError, ServerError, Service
from trim_pomdp.runtime.live import run_live
from trim_pomdp.runtime.protocols import StepRequest, Usage
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.run import Routing, run
from trim_pomdp.runtime.sources import FileSource
from trim_pomdp.runtime.summary import RunSummary, disobedience
from trim_pomdp.runtime.traces import read_run_artifact, read_traces
from trim_pomdp.text.format import StepFormat

Servers = dict[str, FakeVllm]
RULE = ThresholdRule(threshold=0.5)


@pytest.fixture
def servers() -> Iterator[Servers]:
    weak, strong, prm = FakeVllm(WORLD, "weak"), FakeVllm(WORLD, "strong"), FakeVllm(WORLD, None)
    with weak.running(), strong.running(), prm.running():
        yield {"weak": weak, "strong": strong, "prm": prm}


def models_file(folder: Path, servers: Servers, more: str = "", limits: str = "") -> Path:
    """A models file for servers; `more` goes into every table."""
    text = "".join(
        f'[{role}]\nbackend = "{"vllm-prm" if role == "prm" else "vllm"}"\nmodel = "{role}"\n'
        f'base_url = "{server.url}/v1"\nsystem_prompt = false\n{more}\n'
        for role, server in servers.items()
    )
    path = folder / "models.toml"
    path.write_text(text + f"[limits]\nmax_steps = 6\n{limits}")
    return path


def source(path: Path) -> FileSource:
    return FileSource(path, read_models_file(path))


def in_process(n: int, folder: Path) -> RunSummary:
    """The same run with the same world in this process."""
    routing = Routing(RULE, seed=SEED, caps=source_caps())
    return run(problems(n), routing.start, dummy_models(), folder, config=routing.config)


def source_caps() -> Any:
    from trim_pomdp.runtime.attempt import Caps

    return Caps(max_steps=6)


def texts(folder: Path) -> dict[str, list[Any]]:
    def of(record: SolutionRecord) -> list[Any]:
        rows = [(item.action, item.accepted and item.accepted.text, item.score) for item in record.decisions]
        return [*rows, record.terminal.correct]

    return {record.terminal.problem: of(record) for record in read_traces(folder)}


def test_a_run_over_http_is_the_run_in_process(tmp_path: Path, servers: Servers) -> None:
    here = in_process(100, tmp_path / "here")
    out = run_live(RULE, problems(100), source(models_file(tmp_path, servers)), tmp_path / "run", seed=SEED)
    assert texts(tmp_path / "run") == texts(tmp_path / "here")
    assert (out.accuracy, out.strong_tokens, out.failed) == (here.accuracy, here.strong_tokens, 0)
    generated = out.tokens["weak_kept"] + out.tokens["weak_discarded"]
    assert generated == servers["weak"].counts["generated"]
    assert out.tokens["strong"] == servers["strong"].counts["generated"]
    assert out.tokens["weak_read"] == servers["weak"].counts["read"] > out.tokens["weak_cached"] > 0
    assert out.tokens["scored"] == servers["prm"].counts["read"]
    assert read_run_artifact(tmp_path / "run").config["found"] == {
        "weak": {"sampler": "keyed"},
        "strong": {"sampler": "keyed"},
    }
    assert not out.faults


def test_a_server_that_tells_less(tmp_path: Path, servers: Servers) -> None:
    """No texts of tokens, no tokens of texts: prompts are tokens then, and the run is the same."""
    for server in servers.values():
        server.detokenizes = server.tells_tokens = False
    run_live(RULE, problems(20), source(models_file(tmp_path, servers)), tmp_path / "run", seed=SEED)
    in_process(20, tmp_path / "here")
    assert texts(tmp_path / "run") == texts(tmp_path / "here")
    assert isinstance(servers["weak"].bodies[-1]["prompt"], list)
    assert isinstance(servers["prm"].bodies[-1]["input"], list)


def test_what_is_sent(tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    path = models_file(tmp_path, servers, 'api_key_env = "SOME_KEY"')
    run_live(RULE, problems(3), source(path), tmp_path / "run", seed=SEED)
    body = servers["weak"].bodies[-1]
    assert body["vllm_xargs"]["trim_key"].endswith(":0")
    assert body | {"stop": ["\n\n"], "include_stop_str_in_output": True, "add_special_tokens": False} | body == body
    first = next(item for item in servers["weak"].bodies if item["prompt"] == "problem-1\n\n")
    assert first["vllm_xargs"]["trim_key"] == f"{key_state(SEED, 'problem-1', 0, 'weak'):016x}:0"
    assert servers["prm"].bodies[-1]["input"].endswith("<extra_0>")
    assert all(item["Authorization"] == "Bearer sk-very-secret" for item in servers["weak"].headers)
    for file in (tmp_path / "run").rglob("*"):
        assert "very-secret" not in file.read_text(errors="replace")


def test_without_the_keyed_sampler_requests_have_seeds(tmp_path: Path, servers: Servers) -> None:
    servers["weak"].keyed = False
    path = models_file(tmp_path, servers)
    run_live(RULE, problems(3), source(path), tmp_path / "run", seed=SEED)
    assert read_run_artifact(tmp_path / "run").config["found"]["weak"] == {"sampler": "seed"}
    assert "vllm_xargs" not in servers["weak"].bodies[-1]
    assert 0 <= servers["weak"].bodies[-1]["seed"] < 1 << 31
    path.write_text(path.read_text().replace('model = "weak"', 'model = "weak"\nsampler = "keyed"'))
    with pytest.raises(InputError, match=r"\[weak\]: the server does not draw by keyed uniforms; start it with"):
        source(path).load({"weak"})


def test_the_canary_draws_a_uniform_of_zero() -> None:
    import numpy as np

    assert uniforms_at(np.uint64(CANARY_STATE), np.array([0])) == 0.0


def test_scores_from_a_plain_server(tmp_path: Path, servers: Servers) -> None:
    path = models_file(tmp_path, {role: servers[role] for role in ("weak", "strong")})
    path.write_text(path.read_text() + f'[prm]\nbackend = "scores-http"\nurl = "{servers["prm"].url}/scores"\n')
    run_live(RULE, problems(20), source(path), tmp_path / "run", seed=SEED)
    in_process(20, tmp_path / "here")
    assert texts(tmp_path / "run") == texts(tmp_path / "here")


IMPATIENT = "timeout_s = 0.8\ntries = 12\ndeadline_s = 60"


@pytest.mark.parametrize("n", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_fault_is_survived(tmp_path: Path, servers: Servers, n: int) -> None:
    for server in servers.values():
        server.faulty = 0.1
    path = models_file(tmp_path, servers, IMPATIENT)
    out = run_live(RULE, problems(n), source(path), tmp_path / "run", seed=SEED, in_flight=256)
    in_process(n, tmp_path / "here")
    assert texts(tmp_path / "run") == texts(tmp_path / "here")
    assert out.failed == 0
    assert sum(sum(kinds.values()) for kinds in out.faults.values()) > n / 4
    if n == 1000:
        met = set().union(*(server.counts for server in servers.values()))
        assert met >= set(KINDS)


@pytest.mark.parametrize(
    ("ends", "role", "goes_on"), [("fail", "prm", None), ("weak", "prm", "weak"), ("strong", "weak", "strong")]
)
def test_what_is_given_up_ends_as_declared(
    tmp_path: Path, servers: Servers, ends: str, role: str, goes_on: str | None
) -> None:
    hopeless = frozenset(f"problem-{i}" for i in range(0, 60, 7))
    servers[role].hopeless = hopeless
    for server in servers.values():
        server.faulty = 0.03
    path = models_file(tmp_path, servers, "timeout_s = 1.5\ntries = 5\ndeadline_s = 60", f'on_failure = "{ends}"\n')
    out = run_live(RULE, problems(60), source(path), tmp_path / "run", seed=SEED)
    records = {record.terminal.problem: record.terminal for record in read_traces(tmp_path / "run")}
    assert len(records) == out.problems == 60
    for name in hopeless:
        fallback = records[name].fallback
        assert (fallback and fallback.author) == goes_on
        assert (records[name].reason == "error") == (goes_on is None)
        told = records[name].error if fallback is None else fallback.error
        assert told is not None
        assert "HTTP 500 (this one never works)" in told
    assert out.failed == (len(hopeless) if goes_on is None else 0)


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back(tmp_path: Path, servers: Servers) -> None:
    servers["strong"].delay_s = 0.01
    path = models_file(tmp_path, servers)

    def disturb() -> None:
        for name in ("strong", "weak", "prm"):
            time.sleep(0.3)
            servers[name].die()
            time.sleep(0.3)
            servers[name].come()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    out = run_live(RULE, problems(400), source(path), tmp_path / "run", seed=SEED, in_flight=16)
    disturber.join()
    in_process(400, tmp_path / "here")
    assert out.failed == 0
    assert texts(tmp_path / "run") == texts(tmp_path / "here")


@pytest.mark.slow
def test_a_thousand_in_flight(tmp_path: Path, servers: Servers) -> None:
    path = models_file(tmp_path, servers, "max_in_flight = 32")
    out = run_live(RULE, problems(1200), source(path), tmp_path / "run", seed=SEED, in_flight=1000)
    assert (out.problems, out.failed) == (1200, 0)


# The client alone -----------------------------------------------------------------------------------------------


def ask(service: Service, *, times: int = 1, path: str = "/scores") -> list[Any]:
    """Replies, or what was raised."""

    async def main() -> list[Any]:
        body = {"prompt": "problem-1", "steps": ["a"]}
        jobs = [service.post(path, body, lambda reply: reply["scores"][0]) for _ in range(times)]
        try:
            return await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            await service.close()

    return asyncio.run(main())


@pytest.fixture
def two() -> Iterator[tuple[FakeVllm, FakeVllm]]:
    first, second = FakeVllm(WORLD, None, delay_s=0.02), FakeVllm(WORLD, None, delay_s=0.02)
    with first.running(), second.running():
        yield first, second


def test_the_least_busy_url_is_asked_and_none_beyond_its_limit(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    service = Service("prm", [first.url, second.url], Patience(max_in_flight=4))
    most = [0, 0]

    async def watch() -> None:
        while True:
            for index, endpoint in enumerate(service._endpoints):
                most[index] = max(most[index], endpoint.busy)
            await asyncio.sleep(0.001)

    async def main() -> None:
        watcher = asyncio.create_task(watch())
        await asyncio.gather(*(service.post("/scores", {"prompt": "p", "steps": ["a"]}, str) for _ in range(60)))
        watcher.cancel()
        await service.close()

    asyncio.run(main())
    assert most == [4, 4]
    assert abs(first.counts["/scores"] - second.counts["/scores"]) <= 8


def test_a_dead_url_is_left_out_and_tried_again(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    first.die()
    service = Service("prm", [first.url, second.url], Patience(deadline_s=20.0))
    assert all(isinstance(reply, float) for reply in ask(service, times=40))
    assert second.counts["/scores"] == 40
    assert 1 <= service.faults["cannot connect"] <= 20  # those that were sent before the first one failed
    first.come()
    time.sleep(0.3)
    ask(service)  # one request finds out that it is back
    assert all(isinstance(reply, float) for reply in ask(service, times=40))
    assert first.counts["/scores"] > 5
    assert service.faults["cannot connect"] <= 21


def test_nobody_there_is_told_after_the_deadline(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, _ = two
    first.die()
    began = time.monotonic()
    service = Service("models.toml, [prm]", [first.url], Patience(deadline_s=0.5, max_in_flight=8))
    replies = ask(service, times=30)
    assert 0.4 < time.monotonic() - began < 5.0
    assert all(isinstance(reply, ServerError) for reply in replies)
    assert {str(reply)[:18] for reply in replies} == {"models.toml, [prm]"}
    assert any("cannot connect" in str(reply) for reply in replies)


@pytest.mark.parametrize("status", ["429", "503"])
def test_retry_after_is_obeyed(two: tuple[FakeVllm, FakeVllm], status: str) -> None:
    first, _ = two
    first.fault = lambda number: status if number < 3 else None
    began = time.monotonic()
    (reply,) = ask(Service("prm", [first.url], Patience(tries=1)))
    assert isinstance(reply, float)
    assert time.monotonic() - began > (0.15 if status == "429" else 0.1)
    assert first.counts["/scores"] == 4


def test_a_request_that_is_wrong_is_not_sent_again(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, _ = two
    (reply,) = ask(Service("prm", [first.url]), path="/nowhere")
    assert isinstance(reply, RefusedError)
    assert reply.status == 404
    assert "/nowhere: HTTP 404" in str(reply)


def test_a_bad_reply_is_told_when_given_up(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, _ = two
    first.fault = lambda _: "no json"
    (reply,) = ask(Service("prm", [first.url], Patience(tries=2)))
    assert isinstance(reply, ServerError)
    assert not isinstance(reply, BadReplyError)
    assert "given up after 2 tries; the last: bad reply (no JSON: '<html>Bad gateway</html>')" in str(reply)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('backend = "vllm"\nmodel = "m"\nbase_url = "localhost:8000"', "is no URL"),
        ('backend = "vllm"\nmodel = "m"\nbase_url = "http://me:secret@host/v1"', "a URL holds no key"),
        ('backend = "vllm"\nmodel = "m"\nbase_url = "http://host/v1?key=secret"', "a URL holds no key"),
        ('backend = "vllm"\nmodel = "m"\nbase_url = "http://host/v1"\nsampler = "seeds"', "sampler"),
        ('backend = "vllm"\nmodel = "m"\nbase_url = "http://host/v1"\napi_key_env = "sk-123"', "api_key_env"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(f"[weak]\n{table}\n")
    with pytest.raises(InputError, match=message) as raised:
        read_models_file(path)
    assert "secret" not in str(raised.value)


def test_what_is_missing_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    table = '[weak]\nbackend = "vllm"\nmodel = "m"\n'
    for more, message in (
        ("", "base_url is missing"),
        ('base_url = "http://127.0.0.1:1"\napi_key_env = "NO_SUCH_KEY"', "NO_SUCH_KEY .* is not set"),
    ):
        path = tmp_path / "models.toml"
        path.write_text(table + more)
        with pytest.raises(InputError, match=message):
            source(path).load({"weak"})


def test_run_as_the_issue_has_it(tmp_path: Path, servers: Servers, run_cli: Any) -> None:
    path = models_file(tmp_path, servers)
    file = tmp_path / "problems.jsonl"
    file.write_text(problems_text(problems(10)))
    code, out, err = run_cli(
        "run", "--models", path, "--problems", file, "--threshold", "0.5", "--out", tmp_path / "run", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["problems"] == 10


# Ahead of time ------------------------------------------------------------------------------------------------------


def test_overlap_and_reading_ahead_over_http(tmp_path: Path, servers: Servers) -> None:
    """Nothing is broken off where the PRM is the slowest, so that the servers' counters say what was spent."""
    servers["prm"].delay_s = 0.4
    path = models_file(tmp_path, servers)
    out = run_live(
        RULE, problems(40), source(path), tmp_path / "run", seed=SEED, overlap=True, warm_strong=True, in_flight=40
    )
    in_process(40, tmp_path / "here")
    assert texts(tmp_path / "run") == texts(tmp_path / "here")
    assert (out.failed, out.faults) == (0, {})
    tokens = out.tokens
    assert tokens["weak_ahead"] > 0
    generated = tokens["weak_kept"] + tokens["weak_discarded"] + tokens["weak_ahead"]
    assert generated == servers["weak"].counts["generated"]
    assert tokens["weak_read"] + tokens["weak_ahead_read"] == servers["weak"].counts["read"]
    assert tokens["strong"] + tokens["strong_ahead"] == servers["strong"].counts["generated"]
    assert tokens["strong_read"] + tokens["strong_ahead_read"] == servers["strong"].counts["read"]
    warmed = [body for body in servers["strong"].bodies if body["max_tokens"] == 1 and body["prompt"] != "1"]
    assert len(warmed) == tokens["strong_ahead"] == servers["prm"].counts["/pooling"]
    assert not any("vllm_xargs" in body for body in warmed), "nothing is drawn"


def test_requests_that_are_broken_off_do_no_harm(tmp_path: Path, servers: Servers) -> None:
    servers["weak"].delay_s = 0.03
    path = models_file(tmp_path, servers, "max_in_flight = 8")
    out = run_live(RULE, problems(40), source(path), tmp_path / "run", seed=SEED, overlap=True)
    in_process(40, tmp_path / "here")
    assert texts(tmp_path / "run") == texts(tmp_path / "here")
    assert (out.failed, out.faults) == (0, {})
    assert out.tokens["weak_ahead"] < servers["weak"].counts["generated"] - out.tokens["weak_kept"]


def test_scores_that_are_all_the_same_are_noticed(tmp_path: Path, servers: Servers) -> None:
    servers["prm"].constant = 0.9
    path = models_file(tmp_path, servers)
    out = run_live(RULE, problems(12), source(path), tmp_path / "run", seed=SEED)
    assert out.constant_score == 0.9
    assert any("every step has the score 0.9" in line for line in disobedience(out))
    servers["prm"].constant = None
    assert run_live(RULE, problems(12), source(path), tmp_path / "other", seed=SEED).constant_score is None


def together(service: Service, clients: int, seconds: float) -> list[Any]:
    """What many clients meet that ask again and again for so long."""

    async def client(until: float) -> list[Any]:
        out: list[Any] = []
        while asyncio.get_running_loop().time() < until:
            body = {"prompt": "problem-1", "steps": ["a"]}
            try:
                out.append(await service.post("/scores", body, lambda reply: reply["scores"][0]))
            except ServerError as error:
                out.append(error)
        return out

    async def main() -> list[Any]:
        until = asyncio.get_running_loop().time() + seconds
        try:
            found = await asyncio.gather(*(client(until) for _ in range(clients)))
        finally:
            await service.close()
        return [item for items in found for item in items]

    return asyncio.run(main())


def test_a_url_that_asks_for_rest_gets_it_however_many_ask(two: tuple[FakeVllm, FakeVllm]) -> None:
    """Older requests that succeed meanwhile do not end the rest."""
    first, _ = two
    first.retry_after = "0.5"
    first.fault = lambda number: "429" if number % 20 == 10 else None
    found = together(Service("prm", [first.url], Patience(max_in_flight=8)), clients=8, seconds=2.0)
    assert all(isinstance(item, float) for item in found)
    assert 2 <= first.counts["429"] <= 8
    assert first.counts["/scores"] < 20 * 9


def test_a_url_that_hangs_is_left_out(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, second = two
    first.fault = lambda _: "silent"
    service = Service("prm", [first.url, second.url], Patience(timeout_s=0.3, tries=4, max_in_flight=16))
    found = together(service, clients=16, seconds=2.0)
    assert all(isinstance(item, float) for item in found)
    assert len(found) > 100
    assert first.counts["/scores"] < 40


def test_a_deadline_is_one_whatever_a_request_waits_for(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, _ = two
    first.fault = lambda _: "lost"
    began = time.monotonic()
    replies = ask(Service("prm", [first.url], Patience(deadline_s=1.0)), times=20)
    assert all(isinstance(reply, ServerError) for reply in replies)
    assert time.monotonic() - began < 3.0


def test_a_key_that_the_server_repeats_is_not_told(two: tuple[FakeVllm, FakeVllm]) -> None:
    first, _ = two
    first.fault = lambda _: "echo"
    (reply,) = ask(Service("prm", [first.url], api_key="sk-very-secret"))
    assert isinstance(reply, RefusedError)
    assert "Bearer …" in str(reply)
    assert "secret" not in str(reply)


def test_all_servers_of_a_model_are_asked_how_they_draw(tmp_path: Path, servers: Servers) -> None:
    with FakeVllm(WORLD, "weak", keyed=False).running() as other:
        path = models_file(tmp_path, servers)
        url = f"{servers['weak'].url}/v1"
        path.write_text(path.read_text().replace(f'"{url}"', f'["{url}", "{other.url}"]'))
        weak = source(path).load({"weak"}).weak
    assert isinstance(weak, VllmGenerator)
    assert weak.facts == {"sampler": "seed"}


@pytest.mark.parametrize("kind", ["negative", "half a character"])
def test_what_cannot_be_written_down_is_tried_again(tmp_path: Path, servers: Servers, kind: str) -> None:
    servers["weak"].fault = lambda number: kind if 5 <= number < 9 else None
    out = run_live(RULE, problems(10), source(models_file(tmp_path, servers)), tmp_path / "run", seed=SEED)
    assert (out.failed, out.faults["weak"]) == (0, {"bad reply": 4})


def test_servers_of_scores_that_are_not_there_are_told_before_the_run(
    tmp_path: Path, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(deadline_s=0.5)
    monkeypatch.setattr("trim_pomdp.runtime.backends.remote.FIRST_PATIENCE", patience)
    for table in ('backend = "vllm-prm"\nmodel = "prm"\nbase_url', 'backend = "scores-http"\nurl'):
        path = tmp_path / "models.toml"
        path.write_text(f'[prm]\n{table} = "{servers["prm"].url}/v1"\n')
        source(path).load({"prm"})
    servers["prm"].die()
    with pytest.raises(InputError, match=r"\[prm\].*cannot connect"):
        source(path).load({"prm"})
    servers["prm"].come()


def test_tokens_behind_a_steps_end_are_no_evidence() -> None:
    """A server's stop strings know no patterns: what it writes of the next line is paid for, and not the step's."""
    request = StepRequest(problems(1)[0], (), 0, 99, StepFormat(r"\d+\. "))
    pieces = ("1", ". ", "a", "\n", "2", ". ", "b", "\n")
    written = _Written("".join(pieces), tuple(range(8)), pieces, Usage(1, 0, 8))
    written.drop_behind(request)
    assert written.logprobs == tuple(range(6))
    plain = _Written("a\n\n", (0.0, 1.0), ("a", "\n\n"), Usage(1, 0, 2))
    plain.drop_behind(StepRequest(problems(1)[0], (), 0, 99))
    assert plain.logprobs == (0.0, 1.0)
