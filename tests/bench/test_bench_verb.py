"""``trim-pomdp bench``: its document, its files, and what it refuses."""

import csv
import json
from html.parser import HTMLParser

import pytest

import trim_pomdp as tp
from trim_pomdp.cli.app import main
from trim_pomdp.metrics.standings import BenchResult

PRESET = "qwen2.5-1.5b-7b-math"
MODELS = "".join(f'[{role}]\nbackend = "dummy"\npreset = "{PRESET}"\n' for role in ("weak", "strong", "prm"))


def write_problems(path, kind, n):
    path.write_text(
        "".join(json.dumps({"id": f"{kind}{i}", "problem": f"{kind} {i}", "answer": "7"}) + "\n" for i in range(n))
    )


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    place = tmp_path_factory.mktemp("verb")
    (place / "models.toml").write_text(MODELS)
    write_problems(place / "test.jsonl", "test", 20)
    write_problems(place / "fit.jsonl", "fit", 20)
    return (
        "bench", "--models", place / "models.toml", "--problems", place / "test.jsonl", "--fitting",
        place / "fit.jsonl", "--preset", PRESET, "--budgets", "0.1,0.3",
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(common, tmp_path_factory):
    """What makes a bench that has run, to be gone on with."""
    whole = (
        *common, "--strategies", "weak,strong,threshold,pomdp,pomdp-logprob", "--out",
        tmp_path_factory.mktemp("done") / "out",
    )  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main([*map(str, whole), "--json"])
    assert stop.value.code == 0
    return (*whole, "--resume")


def test_the_document_has_the_stable_form_and_the_files_agree(cli_json, done):
    out = done[-2]
    found = cli_json(*done)
    assert set(found) >= {"strategies", "problems", "failed"}
    assert found["problems"] == 20
    assert found["failed"] == 0
    for standing in found["strategies"].values():
        assert set(standing) >= {"points", "cpt", "apgr", "delta_ibc"}
        assert set(standing["cpt"]) == {"50", "80", "95"}
        for point in standing["points"]:
            assert set(point) >= {"asked_budget", "budget", "accuracy", "accuracy_se", "strong_tokens"}
    read = tp.load(out / "result.json")
    assert isinstance(read, BenchResult)
    assert read.document == found
    rows = list(csv.DictReader((out / "points.csv").open()))
    assert [row["strategy"] for row in rows] == ["weak", "strong", "threshold", "threshold", "pomdp", "pomdp"]
    assert float(rows[-1]["accuracy"]) == found["strategies"]["pomdp"]["points"][-1]["accuracy"]
    table = (out / "table.md").read_text()
    assert table.count("| pomdp |") == 2
    assert (out / "frontier.png").stat().st_size > 10_000


def test_people_see_tables(run_cli, done):
    code, told, said = run_cli(*done)
    assert code == 0
    assert "CPT" in told
    assert "accuracy less that of pomdp" in told
    assert "pomdp-logprob: left out" in said
    code, again, _ = run_cli("inspect", done[-2] / "result.json")
    assert code == 0
    assert told.startswith(again.split("\n", 1)[1][:2000])


def test_a_shard_measures_nothing(run_cli, common, tmp_path):
    for index in (1, 2):
        code, told, _ = run_cli(
            *common, "--strategies", "threshold", "--out", tmp_path / "out", "--resume", "--shard", f"{index}/2"
        )
        assert code == 0
        assert f"shard {index}/2 is done" in told
    assert not (tmp_path / "out" / "result.json").exists()


def test_strategies_are_listed(run_cli):
    code, told, _ = run_cli("bench", "--list")
    assert code == 0
    assert "evidence-threshold" in told
    code, told, _ = run_cli("bench", "--list", "--json", "--strategies", "pomdp,weak")
    assert code == 0
    assert [item["name"] for item in json.loads(told)["strategies"]] == ["pomdp", "weak"]


def test_what_is_refused(cli_refused, common, tmp_path):
    out = ("--out", tmp_path / "new")
    cli_refused(*common, words=("--out FOLDER is needed",))
    cli_refused(*common, *out, "--strategies", "trim", words=("no strategy 'trim'", "threshold"))
    cli_refused(*common, *out, "--seeds", "x", words=("--seeds is 'x'",))
    cli_refused(*common, *out, "--budgets", "0.1,1", words=("lie between 0 and 1",))
    for option in (("--family", "loop"), ("--fit-family", "loop"), ("--jobs", "2")):
        cli_refused(*common, *out, *option, words=("are of the lab",))
    cli_refused("bench", "--preset", PRESET, *out, words=("the lab has presets",))
    cli_refused("bench", "--family", "ring", *out, words=("no family 'ring'",))
    cli_refused("bench", "--problems", "1", *out, words=("--problems is '1'", "at least 2"))
    cli_refused(*common[:3], *out, words=("--problems FILE", "--fitting FILE"))
    (tmp_path / "there").mkdir()
    cli_refused(*common, "--out", tmp_path / "there", words=("exists", "--resume"))


class Cells(HTMLParser):
    """Texts of table cells and headings of a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.sources += [value for name, value in attributes if name == "src"]

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_report_reads_benches_one_or_several(run_cli, cli_json, cli_refused, done, tmp_path):
    result = tp.load(done[-2] / "result.json")
    found = result.document
    for name in ("one", "two"):
        (tmp_path / "both" / name).mkdir(parents=True)
    result.save(tmp_path / "both" / "one" / "result.json")
    hostile = result.model_copy(update={"name": "<script>alert(1)</script>"})
    hostile.save(tmp_path / "both" / "two" / "result.json")
    page = tmp_path / "page.html"
    told = cli_json("report", tmp_path / "both", "--out", page)
    assert told["benches"]["test"] == found
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    cells = Cells()
    cells.feed(text)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in cells.sources)
    assert len(cells.sources) == 2
    point = found["strategies"]["pomdp"]["points"][0]
    shown = f"{point['accuracy']:.3f} ± {point['accuracy_se']:.3f} ({point['budget']:.3f})"
    assert [row[1] for row in cells.rows if row and row[0] == "pomdp"].count(shown) == 2
    for name in ("weak", "strong", "threshold", "pomdp"):
        assert f"<dt>{name}</dt>" in text
    # The same page from files, and from the folder of one.
    again = tmp_path / "again.html"
    code, _, _ = run_cli("report", tmp_path / "both" / "one" / "result.json", "--out", again, "--title", "Mine")
    assert code == 0
    assert "<title>Mine</title>" in again.read_text()
    cli_refused("report", tmp_path / "both", tmp_path, "--out", tmp_path / "no.html", words=("do not go into one",))
    cli_refused("report", tmp_path / "both", "--preset", PRESET, "--out", tmp_path / "no.html", words=("as they are",))
    assert not (tmp_path / "no.html").exists()
