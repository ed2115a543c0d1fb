"""The sampler inside of servers draws what the models in this process draw, whatever happens to the rows."""

import os
import random
import subprocess
import sys
from enum import Enum, auto
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.randomness import key_state, keyed_uniforms, uniforms_at

torch = pytest.importorskip("torch")

from trim_pomdp.runtime.sampling import draw_tokens  # noqa: E402
from trim_pomdp.servers.draws import Draw, Rows, force, key_of  # noqa: E402

ROOT = Path(__file__).parents[2]
VOCABULARY = 40


class Direction(Enum):
    """As vLLM's ``MoveDirectionality``."""

    UNIDIRECTIONAL = auto()
    SWAP = auto()


def sampling(key=None, temperature=0.7, top_p=1.0, **more):
    extra = {"trim_key": key} if key is not None else None
    return SimpleNamespace(
        **{"temperature": temperature, "top_p": top_p, "extra_args": extra, "n": 1, "top_k": 0, "min_p": 0.0, **more}
    )


def update(removed=(), added=(), moved=()):
    return SimpleNamespace(removed=removed, added=added, moved=moved)


@given(st.integers(0, 2**31), st.text(max_size=5), st.integers(0, 1000), st.integers(1, 30))
def test_a_stream_can_be_entered_anywhere(seed, problem, start, n):
    whole = keyed_uniforms(start + n, seed, problem, "weak")
    part = uniforms_at(np.uint64(key_state(seed, problem, "weak")), np.arange(start, start + n))
    assert part.tolist() == whole[start:].tolist()


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**9 - 1))
def test_keys_are_read_as_they_are_written(state, offset):
    assert Draw.of(sampling(key_of(state, offset))) == Draw(state, offset, 0.7, 1.0)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (sampling("12"), "trim_key is '12'; expected 16 hexadecimal digits, a colon and an offset"),
        (sampling("0123456789ABCDEF:0"), "16 hexadecimal digits"),
        (sampling("0123456789abcdef:-1"), "16 hexadecimal digits"),
        (sampling("0123456789abcdef:1\n"), "16 hexadecimal digits"),
        (sampling(7), "trim_key is 7"),
        (sampling(key_of(1), n=3), "all 3 texts the same; expected n = 1"),
        (sampling(key_of(1), top_k=20), "expected top_k = 0"),
        (sampling(key_of(1), min_p=0.1), "expected min_p = 0"),
    ],
)
def test_what_keys_do_not_know_is_refused(asked, complaint):
    with pytest.raises(ValueError, match=complaint):
        Draw.of(asked)


def test_requests_without_a_key_and_at_temperature_0_are_left_alone():
    assert Draw.of(sampling()) is None
    assert Draw.of(sampling(key_of(1), temperature=0.0)) is None
    assert Draw.of(sampling(top_k=5, n=2)) is None


class FakeServer:
    """A batch of requests, driven as vLLM's input batch is: free rows are filled, gaps are closed from the end."""

    def __init__(self, processor):
        self.rows = []
        self.processor = processor

    def step(self, ending, arriving, swaps, logits_of):
        removed = sorted((row for row, item in enumerate(self.rows) if item in ending), reverse=True)
        for row in removed:
            self.rows[row] = None
        added, moved = [], []
        for item in arriving:
            row = removed.pop() if removed else len(self.rows)
            self.rows[row : row + 1] = [item]
            added.append((row, item.sampling, None, item.output))
        # Gaps that remain are closed from the end; the rows that were at the end are still told of as removed.
        while self.rows and None in self.rows:
            if self.rows[-1] is None:
                self.rows.pop()
                continue
            gap = removed.pop()
            assert self.rows[gap] is None
            moved.append((len(self.rows) - 1, gap, Direction.UNIDIRECTIONAL))
            self.rows[gap] = self.rows.pop()
        for first, second in swaps:
            if max(first, second) < len(self.rows):
                self.rows[first], self.rows[second] = self.rows[second], self.rows[first]
                moved.append((first, second, Direction.SWAP))
        self.processor.update(update(removed, added, moved) if removed or added or moved else None)
        if not self.rows:
            return
        tempered = torch.stack([logits_of(item) / item.sampling.temperature for item in self.rows])
        untouched = tempered.clone()
        self.processor.force(tempered)
        for item, row, before in zip(self.rows, tempered, untouched, strict=True):
            if item.sampling.extra_args is None:
                assert torch.equal(row, before)
            else:
                assert int(torch.isfinite(row).sum()) == 1
            # Now and then vLLM is still reading a prompt, and keeps nothing.
            if item.reading:
                item.reading -= 1
            else:
                item.output.append(int(row.argmax()))


@pytest.mark.parametrize("seed", range(8))
def test_rows_that_come_go_and_move_draw_what_they_would_alone(seed):
    chance = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    tables = {}

    def logits_of(item):
        key = (item.name, len(item.output))
        if key not in tables:
            tables[key] = torch.randn(VOCABULARY, generator=generator) * 2
        return tables[key]

    def request(name):
        offset = chance.choice([0, 3])
        return SimpleNamespace(
            name=name,
            offset=offset,
            output=[],
            reading=chance.choice([0, 0, 2]),
            sampling=sampling(
                key_of(key_state(seed, name), offset) if chance.random() < 0.8 else None,
                chance.choice([0.7, 1.5]),
                chance.choice([1.0, 0.8]),
            ),
        )

    rows = Rows()
    server = FakeServer(rows)
    everyone = []
    for step in range(60):
        ending = {id(item) for item in server.rows if chance.random() < 0.2}
        ending = [item for item in server.rows if id(item) in ending]
        arriving = [request(f"{step}-{i}") for i in range(chance.choice([0, 0, 1, 3]))]
        everyone += arriving
        swaps = [(chance.randrange(6), chance.randrange(6)) for _ in range(chance.choice([0, 0, 1]))]
        server.step(ending, arriving, [pair for pair in swaps if pair[0] != pair[1]], logits_of)
    keyed = [item for item in everyone if item.sampling.extra_args and item.output]
    assert len(keyed) > 20
    for item in keyed:
        uniforms = keyed_uniforms(item.offset + len(item.output), seed, item.name)[item.offset :]
        logits = torch.stack([tables[item.name, n] for n in range(len(item.output))])
        wanted, _ = draw_tokens(
            logits, torch.from_numpy(uniforms), temperature=item.sampling.temperature, top_p=item.sampling.top_p
        )
        assert item.output == wanted.tolist()


def test_before_the_temperature_the_same_token_is_left():
    logits = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(0))
    draws = [Draw(key_state(0, name), 2, temperature, 0.9) for name, temperature in (("a", 0.7), ("b", 1.5))]
    forced = logits.clone()
    force(forced, [0, 2], draws, [4, 0], tempered=False)
    assert torch.equal(forced[1], logits[1])
    for row, draw, written in ((0, draws[0], 4), (2, draws[1], 0)):
        uniform = torch.from_numpy(uniforms_at(np.uint64(draw.state), np.array([draw.offset + written])))
        token, _ = draw_tokens(logits[[row]], uniform, temperature=draw.temperature, top_p=0.9)
        assert forced[row].argmax() == token
        assert int(torch.isfinite(forced[row]).sum()) == 1


FAKE_VLLM = """
import sys, types
for blocked in ("pydantic", "scipy", "typer", "rich", "numba", "sklearn", "transformers", "matplotlib"):
    sys.modules[blocked] = None  # importing it fails
first, second = (types.ModuleType(name) for name in (
    "vllm.v1.sample.logits_processor.interface", "vllm.v1.worker.gpu.sample.logits_processor"
))
first.LogitsProcessor, first.BatchUpdate = type("LogitsProcessor", (), {}), object
second.LogitsProcessor = type("LogitsProcessor", (), {})
second.LogitsContext = second.LogitsProcRequestState = object
for module in (first, second):
    parts = module.__name__.split(".")
    for end in range(1, len(parts)):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    sys.modules[module.__name__] = module
import trim_pomdp.servers.keyed as keyed
"""


def test_the_sampler_needs_nothing_that_vllm_does_not_bring(tmp_path):
    (tmp_path / "trim_pomdp").symlink_to(ROOT / "trim_pomdp")
    program = FAKE_VLLM + "assert keyed.__file__.startswith(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-P", "-c", program, str(tmp_path)], check=True, env=environment, cwd=tmp_path)
