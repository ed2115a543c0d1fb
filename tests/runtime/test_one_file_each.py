"""A further policy is one file, and so is a further backend; the dummies and replays are reachable from a file."""

from pathlib import Path
from typing import Literal

import pytest
from scripted import DYNAMICS, MODEL, OBSERVATIONS

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.solutions import read_solution_texts
from trim_pomdp.errors import InputError
from trim_pomdp.lab.source import model_source
from trim_pomdp.planning.evaluation import evaluate
from trim_pomdp.planning.simulation import simulate
from trim_pomdp.policies import MixedRule, PolicyArtifact, Rule, StrategyRule, ThresholdRule
from trim_pomdp.policies.base import Author, RuleRouter
from trim_pomdp.runtime.live import plan_for_rule, plan_from_file, run_live
from trim_pomdp.runtime.traces import read_traces

DUMMIES = """
[weak]
backend = "dummy"
observations = "obs.json"
dynamics = "dyn.json"
[strong]
backend = "dummy"
observations = "obs.json"
dynamics = "dyn.json"
[prm]
backend = "dummy"
observations = "obs.json"
dynamics = "dyn.json"
[limits]
max_steps = 6
"""


class LongPromptRule(Rule):
    """A query-level policy: the strong model alone solves problems with long prompts."""

    form: Literal["long_prompt"] = "long_prompt"
    characters: int

    def router(self, problem: Problem, *, seed: int = 0, class_table: object = None) -> "LongPromptRouter":
        return LongPromptRouter(self, problem)


class LongPromptRouter(RuleRouter):
    def __init__(self, rule: LongPromptRule, problem: Problem) -> None:
        super().__init__(rule)
        self._writer: Author = "strong" if len(problem.prompt) > rule.characters else "weak"

    def writer(self, step: int) -> Author:
        return self._writer


@pytest.fixture
def models(tmp_path: Path) -> Path:
    OBSERVATIONS.save(tmp_path / "obs.json")
    DYNAMICS.save(tmp_path / "dyn.json")
    path = tmp_path / "models.toml"
    path.write_text(DUMMIES)
    return path


PROBLEMS = [Problem(f"p{i}", "?" * (1 + i % 3), "5") for i in range(60)]


def test_a_query_level_policy_of_ones_own(tmp_path: Path, models: Path) -> None:
    rule = LongPromptRule(characters=2)
    artifact = PolicyArtifact(model="none", policy=rule)
    artifact.save(tmp_path / "policy.json")
    again = PolicyArtifact.read(tmp_path / "policy.json")
    assert again == artifact
    assert isinstance(again.policy, LongPromptRule)

    run_live(plan_from_file(again, None), PROBLEMS, model_source(str(models)), tmp_path / "run", seed=1)
    for record in read_traces(tmp_path / "run"):
        long = int(record.terminal.problem[1:]) % 3 == 2
        assert {item.action for item in record.decisions} == {"regenerate" if long else "keep"}
        assert record.terminal.tokens.scored == 0
        assert record.terminal.policy_hash == rule.policy_hash
    for attempt in (lambda: evaluate(rule, MODEL), lambda: simulate(rule, MODEL, 10)):
        with pytest.raises(InputError, match=r"'long_prompt' has no .* in a routing model; run it live"):
            attempt()


def test_a_policy_that_nobody_knows_does_not_fall_through() -> None:
    document = {"kind": "policy", "schema_version": 1, "model": "m", "policy": {"form": "guess"}}
    # (Other tests may have defined forms of their own.)
    with pytest.raises(
        InputError, match=r"no policy of the form 'guess' \(there are 'alpha_vectors', .*'threshold'.*\)"
    ):
        PolicyArtifact.from_mapping(document, source="f")
    with pytest.raises(InputError, match="missing 'form'"):
        PolicyArtifact.from_mapping({**document, "policy": {"threshold": 1}}, source="f")
    mixed = MixedRule(first=ThresholdRule(threshold=0), second=ThresholdRule(threshold=1), probability=0.5)
    twice = {**mixed.model_dump(), "first": mixed.model_dump()}
    with pytest.raises(InputError, match="no mixtures themselves"):
        PolicyArtifact.from_mapping({**document, "policy": twice}, source="f")


def test_a_mixture_of_rules_of_ones_own_reads_back() -> None:
    mixed = MixedRule(first=LongPromptRule(characters=3), second=StrategyRule(strategy="strong"), probability=0.5)
    assert MixedRule.model_validate_json(mixed.model_dump_json()) == mixed


def test_a_run_leaves_its_solutions(tmp_path: Path, models: Path) -> None:
    run_live(ThresholdRule(threshold=0.5), PROBLEMS, model_source(str(models)), tmp_path / "run")
    solutions = read_solution_texts(tmp_path / "run" / "solutions.jsonl")
    assert [item.id for item in solutions] == [problem.id for problem in PROBLEMS]
    ended = {record.terminal.problem: record for record in read_traces(tmp_path / "run")}
    for item, problem in zip(solutions, PROBLEMS, strict=True):
        record = ended[item.id]
        assert item.prompt == problem.prompt
        assert item.authors == tuple({"keep": "weak", "regenerate": "strong"}[d.action or ""] for d in record.decisions)
        assert all(author in text for author, text in zip(item.authors, item.steps, strict=True))
        assert (item.answer, item.correct) == (record.terminal.answer, record.terminal.correct)
    assert {author for item in solutions for author in item.authors} == {"weak", "strong"}


def test_dummies_from_a_models_file_know_the_truth(tmp_path: Path, models: Path) -> None:
    source = model_source(str(models))
    assert source.oracle is not None
    summary = run_live(plan_for_rule(StrategyRule(strategy="oracle"), MODEL), PROBLEMS, source, tmp_path / "run")
    weak = run_live(plan_for_rule(StrategyRule(strategy="weak"), MODEL), PROBLEMS, source, tmp_path / "weak")
    assert summary.failed == weak.failed == 0
    assert summary.accuracy is not None
    assert weak.accuracy is not None
    assert summary.accuracy > weak.accuracy > 0


def test_a_replay_from_a_models_file_gives_the_same_totals(tmp_path: Path, models: Path) -> None:
    rule = ThresholdRule(threshold=0.5)
    before = run_live(plan_for_rule(rule, None), PROBLEMS, model_source(str(models)), tmp_path / "run")
    again = tmp_path / "replay.toml"
    tables = "".join(f'[{role}]\nbackend = "replay"\nrun = "run"\n' for role in ("weak", "strong", "prm"))
    again.write_text(tables + "[limits]\nmax_steps = 6\n")
    after = run_live(plan_for_rule(rule, None), PROBLEMS, model_source(str(again)), tmp_path / "again")
    assert (after.accuracy, after.tokens, after.reasons) == (before.accuracy, before.tokens, before.reasons)
    again.write_text(tables.replace('"run"', '"absent"'))
    with pytest.raises(InputError, match="absent"):
        run_live(plan_for_rule(rule, None), PROBLEMS, model_source(str(again)), tmp_path / "third")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[weak]\nbackend = "dummy"\n', "a dummy needs a preset, or observations and dynamics"),
        ('[weak]\nbackend = "dummy"\nobservations = "x"\n', "a dummy needs a preset"),
        ('[weak]\nbackend = "dummi"\n', "weak.backend: unknown backend 'dummi'; there are dummy, "),
        ('[weak]\nbackend = "json"\n', "unknown backend 'json'"),
        ('[weak]\nbackend = "no.such"\n', "unknown backend 'no.such'"),
        ('[prm]\nbackend = "one_backend.only"\n', "the backend 'one_backend.only' has no process reward model"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    own_backend(tmp_path, monkeypatch)
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        model_source(str(path))
    assert words in str(caught.value)


def own_backend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "one_backend"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "only.py").write_text(
        "from typing import Literal\n"
        "from trim_pomdp.runtime.backends.base import GeneratorTable\n"
        "from trim_pomdp.runtime.protocols import GeneratedStep\n"
        "class Echo:\n"
        "    def __init__(self, word):\n"
        "        self.word = word\n"
        "    async def generate(self, request):\n"
        "        return GeneratedStep(f'\\\\boxed{{{self.word}}}', (-0.1,), 'answer')\n"
        "class EchoTable(GeneratorTable):\n"
        "    backend: Literal['one_backend.only']\n"
        "    word: str\n"
        "    def load(self, role, place):\n"
        "        return Echo(self.word)\n"
        "GENERATOR = EchoTable\n"
    )
    monkeypatch.syspath_prepend(str(folder))


def test_a_backend_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_backend(tmp_path, monkeypatch)
    path = tmp_path / "models.toml"
    path.write_text('[weak]\nbackend = "one_backend.only"\nword = "5"\n')
    plan = plan_for_rule(StrategyRule(strategy="weak"), None)
    summary = run_live(plan, PROBLEMS, model_source(str(path)), tmp_path / "run")
    assert summary.accuracy == 1.0
    path.write_text('[weak]\nbackend = "one_backend.only"\nwrod = "5"\n')
    with pytest.raises(InputError, match=r"unknown key 'weak\.wrod'; did you mean 'word'"):
        model_source(str(path))
