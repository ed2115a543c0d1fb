"""Models files: what is read, and what is refused, by name of file, table and key."""

import importlib
from pathlib import Path

import pytest

from trim_pomdp.errors import InputError
from trim_pomdp.lab.source import LabSource, model_source
from trim_pomdp.model.prices import Price
from trim_pomdp.policies import MixedRule, StrategyRule, ThresholdRule
from trim_pomdp.runtime.attempt import Caps
from trim_pomdp.runtime.backends import BACKENDS
from trim_pomdp.runtime.backends.base import ModelTable
from trim_pomdp.runtime.config import Limits, Steps, read_models_file
from trim_pomdp.runtime.files import fingerprint
from trim_pomdp.runtime.sources import FileSource, roles_asked
from trim_pomdp.runtime.stepping import SYSTEM_PROMPT

WEAK = '[weak]\nbackend = "transformers"\nmodel = "m"\n'


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return path


PAGE = Path(__file__).parents[2] / "docs" / "howto" / "models-file.md"


def test_the_models_file_of_the_page_reads(tmp_path: Path) -> None:
    """Those of all pages: tests/test_docs.py."""
    text = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    file = read_models_file(written(tmp_path, text))
    assert file.weak is not None
    assert file.weak.model == "Qwen/Qwen2.5-1.5B-Instruct"
    assert file.prm is not None


def test_defaults_and_what_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, WEAK + "temperature = 0\ntop_p = 0.9\nsystem_prompt = false\n[limits]\nmax_steps = 7\n")
    file = read_models_file(path)
    assert file.weak is not None
    assert (file.weak.temperature, file.weak.top_p, file.weak.dtype) == (0, 0.9, "auto")
    assert file.strong is None
    assert file.limits.caps == Caps(max_steps=7)
    assert file.weak.options["system_prompt"] is None
    for line, expected in (
        ("", SYSTEM_PROMPT),
        ('system_prompt = ""', None),
        ('system_prompt = "Be brief."', "Be brief."),
    ):
        table = read_models_file(written(tmp_path, WEAK + line)).weak
        assert table is not None
        assert table.options["system_prompt"] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WEAK + "temprature = 1", "unknown key 'weak.temprature'; did you mean 'temperature'?"),
        (WEAK.replace("weak", "week"), "unknown key 'week'; did you mean 'weak'?"),
        (WEAK + "[limits]\nmax_step = 3", "unknown key 'limits.max_step'; did you mean 'max_steps'?"),
        ('[prm]\nbackend = "transformers"\nmodel = "m"\ntop_p = 1.0', "unknown key 'prm.top_p'; known are backend"),
        (WEAK.replace("transformers", "vlm"), "weak.backend"),
        ('[weak]\nmodel = "m"', "missing 'weak.backend'"),
        (WEAK + "temperature = -1", "weak.temperature"),
        (WEAK + 'temperature = "warm"', "weak.temperature"),
        (WEAK + "top_p = 0", "weak.top_p"),
        (WEAK + 'device = "gpu"', "weak.device"),
        (WEAK + "system_prompt = true", "weak.system_prompt"),
        (WEAK + "[limits]\nmax_steps = 0", "limits.max_steps"),
        (WEAK + '[limits]\non_failure = "prm"', "limits.on_failure"),
        ("weak = 3", "weak"),
        ("[weak", "not TOML"),
        ("weak = nan\nweak = 1", "not TOML"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        model_source(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        model_source(str(tmp_path / "absent.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\x80\xfe")
    with pytest.raises(InputError, match="not TOML in UTF-8"):
        model_source(str(tmp_path / "binary.toml"))


def test_models_that_are_not_there(tmp_path: Path) -> None:
    source = model_source(str(written(tmp_path, WEAK.replace('"m"', '"./m"'))))
    assert isinstance(source, FileSource)
    with pytest.raises(InputError, match=r"models.toml: no table \[prm\]"):
        source.require({"weak", "prm"})
    with pytest.raises(InputError, match=r"\[weak\]: no folder .*m; model is a folder"):
        source.load({"weak"})
    (tmp_path / "m").mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        source.load({"weak"})
    device = model_source(str(written(tmp_path, WEAK + 'device = "cuda:99"')))
    with pytest.raises(InputError, match="no device 'cuda:99'"):
        device.load({"weak"})
    with pytest.raises(InputError, match="no model 'weak' of the lab"):
        LabSource(tmp_path).require({"weak"})


def test_a_run_is_defined_by_what_models_hold_not_by_where_they_run(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    source = model_source(str(written(tmp_path, WEAK)))
    before = source.config({"weak", "strong"})
    assert set(before) == {"weak"}
    assert before["weak"]["files"] == fingerprint(tmp_path / "m")
    assert model_source(str(written(tmp_path, WEAK + 'device = "cuda"\nmax_batch = 2'))).config({"weak"}) == before
    (tmp_path / "m" / "config.json").write_text("{ }")
    assert source.config({"weak"}) != before


def test_only_models_that_a_rule_can_ask_are_needed() -> None:
    weak, strong = StrategyRule(strategy="weak"), StrategyRule(strategy="strong")
    capped = Caps(max_strong_tokens=10)
    assert roles_asked(weak, Caps()) == {"weak"}
    assert roles_asked(weak, Caps(), record_scores=True) == {"weak", "prm"}
    assert roles_asked(strong, Caps()) == {"strong"}
    assert roles_asked(strong, capped) == {"weak", "strong"}, "the weak model goes on when the strong one is spent"
    goes_on = Caps(on_failure="strong")
    assert roles_asked(weak, goes_on) == {"weak", "strong"}, "the strong model goes on when the weak one is given up"
    assert roles_asked(strong, goes_on) == {"strong"}
    assert roles_asked(strong, Caps(on_failure="weak"), record_scores=True) == {"weak", "strong", "prm"}
    assert roles_asked(StrategyRule(strategy="oracle"), Caps()) == {"weak", "strong"}
    assert roles_asked(ThresholdRule(threshold=1), Caps()) == {"weak", "strong"}
    assert roles_asked(ThresholdRule(threshold=0.5), Caps()) == {"weak", "strong", "prm"}
    mixed = MixedRule(first=weak, second=ThresholdRule(threshold=0.5), probability=0.5)
    assert roles_asked(mixed, Caps()) == {"weak", "strong", "prm"}


def tables_of(backend: str) -> list[type[ModelTable]]:
    module = importlib.import_module(BACKENDS[backend])
    return [table for table in (module.GENERATOR, module.PRM) if table is not None]


def test_help_and_the_page_name_every_key(run_cli) -> None:  # type: ignore[no-untyped-def]
    """Of every table of the backends that come with the package."""
    tables = [table for name in BACKENDS for table in tables_of(name)]
    keys = {key for table in (*tables, Limits, Steps, Price) for key in table.model_fields}
    keys |= {"checker", "currency"}
    for verb in ("run", "rollout", "score"):
        told = " ".join(run_cli(verb, "--help")[1].split())
        for key in keys:
            assert key in told, f"{verb} --help does not name {key}"
    page = PAGE.read_text()
    for key in {key for table in tables_of("transformers") for key in table.model_fields} | set(Limits.model_fields):
        assert key in page, f"{PAGE.name} does not name {key}"
