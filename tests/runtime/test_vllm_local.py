"""vLLM in this process: the texts of the models in this process, and scores that read only what is new.

The quick tests put a scripted engine in the place of vLLM; the slow one runs where vLLM is installed beside this
package.
"""

import random
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from trim_pomdp.data.problems import Problem  # noqa: E402
from trim_pomdp.errors import InputError  # noqa: E402
from trim_pomdp.lab.models import FORMAT, MAX_STEP_TOKENS, shipped_folder  # noqa: E402
from trim_pomdp.lab.problems import draw  # noqa: E402
from trim_pomdp.randomness import key_state  # noqa: E402
from trim_pomdp.runtime.backends.base import Place, table_class  # noqa: E402
from trim_pomdp.runtime.backends.vllm_models import VllmLocalGenerator, VllmLocalScorer  # noqa: E402
from trim_pomdp.runtime.protocols import ScoreRequest, StepRequest  # noqa: E402
from trim_pomdp.text.format import StepFormat  # noqa: E402

END, SCORE = 0, 1
OPENING = "Q: "


class Letters:
    """A tokenizer whose tokens are characters; 0 ends a text, 1 is where a reward model scores."""

    eos_token_id = END
    is_fast = True

    def __len__(self):
        return 127

    def __call__(self, texts, add_special_tokens=True, return_offsets_mapping=False):
        if isinstance(texts, str):
            ids = self._ids(texts)
            return {"input_ids": ids, "offset_mapping": [(i, i + 1) for i in range(len(ids))]}
        return {"input_ids": [self._ids(text) for text in texts]}

    def _ids(self, text):
        return [ord(letter) for letter in text.replace("<extra_0>", chr(SCORE))]

    def encode(self, text, add_special_tokens=True):
        return self._ids(text)

    def decode(self, ids, skip_special_tokens=False):
        return "".join(map(chr, ids))

    def batch_decode(self, sequences):
        return [self.decode(ids) for ids in sequences]

    def apply_chat_template(self, messages, tokenize, add_generation_prompt):
        return OPENING + messages[-1]["content"] + "\n"


@pytest.fixture(autouse=True)
def vllm_types(request, monkeypatch):
    """Requests of vLLM as plain objects, where the tests do not need vLLM itself."""
    if "slow" not in request.keywords:
        types = SimpleNamespace(SamplingParams=SimpleNamespace, PoolingParams=SimpleNamespace, TokensPrompt=dict)
        monkeypatch.setitem(sys.modules, "vllm", types)


class Writer:
    """Writes on a fixed text after every prompt, up to what vLLM would stop at; remembers what it was asked."""

    def __init__(self, text, room=1000):
        self.text = text
        self.model_config = SimpleNamespace(max_model_len=room)
        self.asked = []

    def generate(self, prompts, parameters, use_tqdm):
        return [self._one(*pair) for pair in zip(prompts, parameters, strict=True)]

    def _one(self, prompt, asked):
        self.asked.append(asked)
        before = "".join(map(chr, prompt["prompt_token_ids"]))
        written = len(before) - before.index("\n") - 1
        text, reason = "", "length"
        for letter in self.text[written : written + asked.max_tokens]:
            text += letter
            if ord(letter) in asked.stop_token_ids or any(text.endswith(stop) for stop in asked.stop):
                reason = "stop"
                break
        ids = list(map(ord, text))
        output = SimpleNamespace(
            token_ids=ids,
            logprobs=[{token: SimpleNamespace(logprob=-token / 100)} for token in ids],
            finish_reason=reason,
        )
        return SimpleNamespace(outputs=[output], num_cached_tokens=len(before) // 2)


def written(text, *, separator="blank-line", max_tokens=100, room=1000):
    llm = Writer(text, room)
    generator = VllmLocalGenerator(llm, Letters(), None, role="weak", temperature=0.7, top_p=0.9, system_prompt=None)
    request = StepRequest(Problem("p", "?"), (), 3, max_tokens, StepFormat(separator))
    return generator.generate_batch([request, request])[1], llm.asked


def test_a_step_is_one_request_with_its_key():
    step, asked = written("4+4=8\n\nmore")
    assert (step.text, step.stop) == ("4+4=8", "separator")
    assert step.logprobs == tuple(-ord(letter) / 100 for letter in "4+4=8\n\n")
    assert (step.usage.prompt, step.usage.cached, step.usage.output) == (5, 2, 7)
    assert len(asked) == 2
    assert asked[0].extra_args == {"trim_key": f"{key_state(3, 'p', 0, 'weak'):016x}:0"}
    assert (asked[0].temperature, asked[0].top_p, asked[0].stop_token_ids) == (0.7, 0.9, [END])


def test_an_open_block_is_written_on_from_the_next_uniform():
    text = "\\[\\boxed{\n\n9\n\n}\\]\n\nmore"
    step, asked = written(text)
    assert (step.text, step.stop) == ("\\[\\boxed{\n\n9\n\n}\\]", "separator")
    offsets = [int(item.extra_args["trim_key"].split(":")[1]) for item in asked[1::2]]
    assert offsets == [0, len("\\[\\boxed{\n\n"), len("\\[\\boxed{\n\n9\n\n")]
    assert asked[-1].max_tokens == 100 - offsets[-1]
    assert step.usage.output == len(step.logprobs)


def test_the_end_of_the_text_and_the_limits():
    step, _ = written("so it is 8\0")
    assert (step.text, step.stop, step.usage.output) == ("so it is 8", "end", 11)
    step, _ = written("so it is 8", max_tokens=5)
    assert (step.text, step.stop, step.tokens) == ("so it", "length", 5)
    # The model holds 5 tokens of prompt and 3 more.
    step, _ = written("so it is 8", room=8)
    assert (step.text, step.stop) == ("so ", "length")
    # The block is open when the room ends.
    step, _ = written("\\[\n\n9", room=9)
    assert (step.text, step.stop) == ("\\[", "length")


def test_what_was_written_behind_the_end_of_a_step_is_counted_and_thrown_away():
    step, _ = written("## Step 1\n4\n## Step 2: more\n", separator=r"#+ Step")
    assert (step.text, step.stop) == ("## Step 1\n4", "separator")
    assert len(step.logprobs) == len("## Step 1\n4\n## Step")
    assert step.usage.output == len("## Step 1\n4\n## Step 2: more\n")


def test_a_prompt_that_does_not_fit_fails_alone():
    with pytest.raises(InputError, match="problem p: 5 tokens; the model reads at most 3"):
        written("x", room=4)


def test_log_probabilities_of_given_steps():
    class Given(Writer):
        def generate(self, prompts, parameters, use_tqdm):
            assert parameters.prompt_logprobs == 0
            rows = [
                [None, *({t: SimpleNamespace(logprob=-float(t))} for t in p["prompt_token_ids"][1:])] for p in prompts
            ]
            return [SimpleNamespace(prompt_logprobs=row) for row in rows]

    generator = VllmLocalGenerator(
        Given(""), Letters(), None, role="weak", temperature=0.7, top_p=1.0, system_prompt=None
    )
    steps = ("4+4=8", "so \\boxed{8}")
    (values,) = generator.step_logprobs([ScoreRequest(Problem("p", "?"), steps)])
    assert values == [tuple(-float(ord(c)) for c in "4+4=8\n\n"), tuple(-float(ord(c)) for c in "so \\boxed{8}\0")]


class Reader:
    """Scores every place by the text up to it; a prefix cache of blocks that is now and then emptied."""

    def __init__(self, chance):
        self.model_config = SimpleNamespace(max_model_len=1000)
        self._chance = chance
        self._cache = set()
        self.read = 0
        self.from_the_start = 0

    def encode(self, prompts, parameters, pooling_task, use_tqdm):
        assert pooling_task == parameters.task == "token_classify"
        return [self._one(prompt["prompt_token_ids"], parameters) for prompt in prompts]

    def _one(self, ids, parameters):
        if self._chance.random() < 0.1:
            self._cache.clear()
        cached = 0
        if parameters.skip_reading_prefix_cache:
            self.from_the_start += 1
        else:
            while cached + 4 < len(ids) and tuple(ids[: cached + 4]) in self._cache:
                cached += 4
        self._cache |= {tuple(ids[:end]) for end in range(4, len(ids) + 1, 4)}
        self.read += len(ids) - cached
        rows = [[0.0, score(ids[: i + 1])] for i in range(cached, len(ids))]
        return SimpleNamespace(
            outputs=SimpleNamespace(data=torch.tensor(rows, dtype=torch.float64)), num_cached_tokens=cached
        )


def score(ids):
    return random.Random(str(ids)).random()


def wanted(request):
    text = [ord(letter) for letter in OPENING + "?" + "\n"]
    out = []
    for step in request.steps:
        text += [*map(ord, step), SCORE]
        out.append(score(text))
    return tuple(out)


@pytest.mark.parametrize("seed", range(5))
def test_incremental_scores_are_those_of_reading_all(seed):
    chance = random.Random(seed)
    reader = Reader(chance)
    scorer = VllmLocalScorer(reader, Letters(), system_prompt=None, incremental=True)
    solutions = [[] for _ in range(6)]
    total = 0
    for _ in range(12):
        for steps in solutions:
            if chance.random() < 0.2 and steps:
                steps.pop()  # regenerated
            steps.append("".join(chance.choice("abc") for _ in range(chance.choice([1, 5, 9]))))
        requests = [ScoreRequest(Problem("p", "?"), tuple(steps)) for steps in solutions]
        replies = scorer.score_batch(requests)
        assert [reply.scores for reply in replies] == [wanted(request) for request in requests]
        total += sum(reply.tokens for reply in replies)
        assert all(0 <= reply.cached < reply.tokens for reply in replies)
    assert reader.read < 0.8 * total


def test_a_score_that_nobody_remembers_is_read_from_the_start():
    reader = Reader(SimpleNamespace(random=lambda: 1.0))
    request = ScoreRequest(Problem("p", "?"), ("abcdefgh", "ij"))
    first = VllmLocalScorer(reader, Letters(), system_prompt=None, incremental=True)
    first.score_batch([request])
    # Another one finds the cache filled, and has no scores of its own.
    second = VllmLocalScorer(reader, Letters(), system_prompt=None, incremental=True)
    (reply,) = second.score_batch([request])
    assert reply.scores == wanted(request)
    assert (reply.cached, reader.from_the_start) == (0, 1)


def test_steps_that_hold_the_score_token_are_refused():
    scorer = VllmLocalScorer(Reader(random.Random(0)), Letters(), system_prompt=None)
    with pytest.raises(InputError, match="problem p: 2 scores for 1 steps; a step contains <extra_0>"):
        scorer.score_batch([ScoreRequest(Problem("p", "?"), ("a<extra_0>b",))])


def test_without_vllm_the_table_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("trim_pomdp.runtime.backends.vllm_local.find_spec", lambda name: None)
    table = table_class("vllm-local", "weak")(backend="vllm-local", model="somebody/model")
    with pytest.raises(InputError, match=r"models: backend 'vllm-local' needs vLLM .*or start servers"):
        table.load("weak", Place(tmp_path, "models"))
    table = table_class("vllm-local", "prm")(backend="vllm-local", model="./nowhere")
    with pytest.raises(InputError, match=r"no folder .*nowhere"):
        table.load(Place(tmp_path, "models"))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vllm") is None, reason="needs an environment that has vLLM beside this package")
def test_texts_and_scores_are_those_of_transformers():
    from trim_pomdp.runtime.backends.torch_models import TransformersGenerator, TransformersScorer

    options = {"max_model_len": 512, "kv_cache_memory_bytes": 64 << 20}
    folder = shipped_folder()
    problems = draw("loop", "test", 3, 60)
    common = {"role": "weak", "system_prompt": None, "dtype": "float32", "temperature": 1.2, "top_p": 0.95}
    plain = TransformersGenerator.load(folder / "weak", device="cpu", **common)
    ours = VllmLocalGenerator.load(folder / "weak", options=options, **common)
    solutions = dict.fromkeys(problems, ())
    for _ in range(4):
        requests = [StepRequest(problem, steps, 5, MAX_STEP_TOKENS, FORMAT) for problem, steps in solutions.items()]
        pairs = list(zip(ours.generate_batch(requests), plain.generate_batch(requests), strict=True))
        for mine, theirs in pairs:
            assert (mine.text, mine.stop, mine.tokens) == (theirs.text, theirs.stop, theirs.tokens)
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
        solutions = {r.problem: (*r.steps, mine.text) for r, (mine, _) in zip(requests, pairs, strict=True)}
    given = [ScoreRequest(problem, steps, FORMAT) for problem, steps in solutions.items()]
    for mine, theirs in zip(ours.step_logprobs(given), plain.step_logprobs(given), strict=True):
        assert [len(step) for step in mine] == [len(step) for step in theirs]
        assert sum(mine, ()) == pytest.approx(sum(theirs, ()), abs=1e-4)
    wanted = TransformersScorer.load(folder / "prm", system_prompt=None, dtype="float32", device="cpu")
    for incremental in (False, True):
        scorer = VllmLocalScorer.load(
            folder / "prm",
            system_prompt=None,
            dtype="float32",
            incremental=incremental,
            options={**options, "max_num_batched_tokens": 32768},
        )
        for t in range(1, 5):
            requests = [ScoreRequest(problem, steps[:t], FORMAT) for problem, steps in solutions.items()]
            for mine, theirs in zip(scorer.score_batch(requests), wanted.score_batch(requests), strict=True):
                assert mine.scores == pytest.approx(theirs.scores, abs=1e-4)
                assert mine.tokens == theirs.tokens
