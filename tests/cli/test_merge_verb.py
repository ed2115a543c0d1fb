"""``--shard i/n`` and ``merge``: joined shards are what one run would have written, byte by byte but for its times."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from trim_pomdp.data.processbench import LabelledSolution
from trim_pomdp.runtime.backends.dummy import dummy_problems
from trim_pomdp.runtime.traces import read_run_artifact, read_traces

TIMES = {"seconds", "session", "elapsed_s", "models_s"}
N, SHARDS = 23, 3


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    roles = ("weak", "strong", "prm")
    # The weak model fails now and then, so that some problems are in no file of a rollout.
    path.write_text(
        "".join(f'[{role}]\nbackend = "dummy"\npreset = "qwen2.5-1.5b-7b-math"\n' for role in roles).replace(
            "\n[strong]", "\nfault_probability = 0.02\n[strong]"
        )
    )
    return path


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    order = sorted(dummy_problems(N), key=lambda item: item.id[::-1])  # neither by name nor by number
    path.write_text("".join(json.dumps({"id": p.id, "prompt": p.prompt, "answer": p.answer}) + "\n" for p in order))
    return path


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def content(folder: Path) -> dict[str, Any]:
    """All files of a folder, traces without their times (and errors without the dummies' count of calls)."""
    files = [path for path in folder.iterdir() if path.name != ".lock"]
    out: dict[str, Any] = {path.name: re.sub(rb"call \d+", b"call", path.read_bytes()) for path in files}
    out["traces.jsonl"] = [without_times(json.loads(line)) for line in out["traces.jsonl"].splitlines()]
    return out


def shards_of(cli_json: Any, verb: tuple[object, ...], folder: Path) -> list[Path]:
    parts = [folder / f"part-{i}" for i in range(1, SHARDS + 1)]
    for i, part in enumerate(parts, start=1):
        cli_json(*verb, "--shard", f"{i}/{SHARDS}", "--out", part)
    return parts


def run_verb(models: Path, problems: Path, *rule: object) -> tuple[object, ...]:
    chosen = rule or ("--threshold", 0.4)
    return ("run", "--models", models, "--problems", problems, "--in-flight", 1, "--seed", 5, *chosen)


def test_runs(cli_json: Any, run_cli: Any, models: Path, problems: Path, tmp_path: Path) -> None:
    verb = run_verb(models, problems, "--strategy", "random:0.3")
    single = cli_json(*verb, "--out", tmp_path / "single")
    assert single["failed"] > 0
    parts = shards_of(cli_json, verb, tmp_path)
    assert [len(list(read_traces(part))) for part in parts] == [8, 8, 7]
    # One shard in two sessions, and the shards in any order.
    trace = parts[1] / "traces.jsonl"
    trace.write_bytes(trace.read_bytes()[:3000])
    cli_json(*verb, "--shard", "2/3", "--out", parts[1], "--resume")
    joined = cli_json("merge", tmp_path / "joined", *reversed(parts))
    assert content(tmp_path / "joined") == content(tmp_path / "single")
    assert read_run_artifact(tmp_path / "joined").config_hash == read_run_artifact(tmp_path / "single").config_hash
    assert joined == cli_json("inspect", tmp_path / "joined")
    whole = cli_json("inspect", tmp_path / "single")
    for key in set(whole) - {"wall_s", "overhead_share", "error", "folder"}:
        assert joined[key] == whole[key], key
    spent = [cli_json("inspect", part)["wall_s"] for part in parts]
    assert joined["wall_s"] == pytest.approx(sum(spent)), "of all clients together"
    assert cli_json(*verb, "--out", tmp_path / "joined", "--resume")["wall_s"] == joined["wall_s"], "nothing is left"
    assert (tmp_path / "joined").stat().st_mode == (tmp_path / "single").stat().st_mode
    code, out, _ = run_cli("merge", tmp_path / "again", *parts)
    assert code == 0
    assert out.startswith(f"joined 3 shards into {tmp_path / 'again'}/\n")
    assert "mode run, seed 5, 23 of 23 problems ended" in out
    assert "mode run, seed 5, shard 2/3 of 23 problems, 8 of 8 problems ended" in run_cli("inspect", parts[1])[1]


@pytest.mark.parametrize("labels", [(), ("--labels",)])
def test_rollouts(cli_json: Any, cli_refused: Any, models: Path, problems: Path, tmp_path: Path, labels: Any) -> None:
    common = ("rollout", "--models", models, "--in-flight", 1, *labels)
    for mode in ("weak", "strong"):
        verb = (*common, "--mode", mode, "--problems", problems)
        cli_json(*verb, "--out", tmp_path / mode)
        (tmp_path / f"{mode}-parts").mkdir()
        parts = shards_of(cli_json, verb, tmp_path / f"{mode}-parts")
        cli_json("merge", tmp_path / f"{mode}-joined", *parts)
        assert content(tmp_path / f"{mode}-joined") == content(tmp_path / mode)
    assert (tmp_path / "weak-joined" / "labelled.jsonl").exists() == bool(labels)
    assert (tmp_path / "weak" / "weak.jsonl").read_bytes().count(b"\n") < N, "some have failed"
    repair = (*common, "--mode", "repair", "--repairs", 30, "--from")
    cli_json(*repair, tmp_path / "weak", "--out", tmp_path / "repair")
    (tmp_path / "repair-parts").mkdir()
    # Repairs of the joined rollout are those of the single one.
    parts = shards_of(cli_json, (*repair, tmp_path / "weak-joined"), tmp_path / "repair-parts")
    cli_json("merge", tmp_path / "repair-joined", *parts)
    assert content(tmp_path / "repair-joined") == content(tmp_path / "repair")
    cli_refused(
        *repair, tmp_path / "weak-parts" / "part-1", "--out", tmp_path / "x",
        words=("is shard 1/3 of a rollout", "trim-pomdp merge"),
    )  # fmt: skip


def test_rollouts_with_and_without_labels_are_not_joined(
    cli_json: Any, cli_refused: Any, models: Path, problems: Path, tmp_path: Path
) -> None:
    for mode in ("strong", "weak"):
        verb = ("rollout", "--models", models, "--mode", mode, "--problems", problems)
        parts = [tmp_path / f"{mode}-{i}" for i in (1, 2)]
        cli_json(*verb, "--shard", "1/2", "--out", parts[0])
        cli_json(*verb, "--shard", "2/2", "--out", parts[1], "--labels")
        cli_refused("merge", tmp_path / "joined", *parts, words=(f"{mode}.jsonl", "--labels"))
    cli_json(*verb, "--shard", "1/2", "--out", parts[0], "--labels", "--resume")
    (parts[1] / "scores.jsonl").unlink()
    cli_refused("merge", tmp_path / "joined", *parts, words=("weak-2: holds no scores.jsonl, but other shards do",))


def test_scores(cli_json: Any, run_cli: Any, cli_refused: Any, models: Path, tmp_path: Path) -> None:
    solutions = tmp_path / "solutions.jsonl"
    rows = [
        LabelledSolution(
            id=f"s{i * 7 % N}", generator="g", problem="?", steps=("0 weak right 0.5", f"1 weak right 0.{i}1"),
            label=-1, final_answer_correct=True,
        )
        for i in range(N)
    ]  # fmt: skip
    solutions.write_text("".join(row.model_dump_json() + "\n" for row in rows))
    verb = ("score", "--models", models, "--solutions", solutions, "--out")
    cli_json(*verb, tmp_path / "single.jsonl")
    parts = [tmp_path / f"part-{i}.jsonl" for i in (1, 2, 3)]
    for i, part in enumerate(parts, start=1):
        assert cli_json(*verb, part, "--shard", f"{i}/3")["solutions"] == (8, 8, 7)[i - 1]
    merge = ("merge", tmp_path / "joined.jsonl")
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[:200])
    cli_refused(*merge, *parts, words=("part-2.jsonl",))
    parts[1].write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    cli_refused(*merge, *parts, words=("part-2.jsonl: is not finished (3 of 8 solutions)", "--resume"))
    cli_refused(*verb, parts[1], "--resume", words=("is another scoring", "its shard.count is 3, now 'unset'"))
    cli_refused(*verb, parts[1], "--resume", "--shard", "1/3", words=("its shard.index is 2, now 1",))
    single = tmp_path / "single.jsonl"
    cli_refused(*verb, single, "--resume", "--shard", "1/3", words=("its shard.count is 'unset', now 3",))
    cli_json(*verb, parts[1], "--shard", "2/3", "--resume")
    assert cli_json(*merge, *reversed(parts)) == {"out": str(merge[1]), "shards": 3, "solutions": N}
    assert (tmp_path / "joined.jsonl").read_bytes() == single.read_bytes()
    cli_refused(*merge, *parts, words=("joined.jsonl: exists",))
    code, out, _ = run_cli("merge", tmp_path / "again.jsonl", *parts)
    assert (code, out) == (0, f"joined 3 shards into {tmp_path / 'again.jsonl'}: scores of {N} solutions\n")
    other = tmp_path / "other.jsonl"
    cli_json(*verb, other, "--shard", "2/3", "--prm", "mine")
    cli_refused(
        "merge", tmp_path / "x", parts[0], other, parts[2], words=("other.jsonl: is a shard of another run", "prm")
    )
    cli_refused("merge", tmp_path / "x", single, *parts, words=("single.jsonl: is no shard of a scoring",))
    cli_refused("merge", tmp_path / "x", parts[0], parts[1], words=("2 of 3 shards are given; absent: 3",))
    cli_refused("merge", tmp_path / "x", parts[0], tmp_path, words=("some of the shards are folders",))


def test_shards_that_are_not_all_of_one_run_are_refused(
    cli_json: Any, cli_refused: Any, models: Path, problems: Path, tmp_path: Path
) -> None:
    verb = run_verb(models, problems)
    a, b, c = shards_of(cli_json, verb, tmp_path)
    out = tmp_path / "joined"
    cli_json(*verb, "--out", tmp_path / "single")
    cli_json(*verb[:-1], 0.5, "--shard", "3/3", "--out", tmp_path / "dear")
    cli_json(*verb, "--shard", "1/2", "--out", tmp_path / "half")
    cli_json("rollout", *verb[1:5], "--mode", "weak", "--shard", "3/3", "--out", tmp_path / "weak")
    (tmp_path / "few.jsonl").write_text("".join(problems.read_text().splitlines(keepends=True)[:20]))
    cli_json(*run_verb(models, tmp_path / "few.jsonl"), "--shard", "3/3", "--out", tmp_path / "few")

    def spoiled(name: str, file: str, text: str) -> Path:
        folder = shutil.copytree(c, tmp_path / name)
        if text:
            (folder / file).write_text(text)
        else:
            (folder / file).unlink()
        return folder

    torn = (c / "traces.jsonl").read_text()[:-500]
    solved = (c / "solutions.jsonl").read_text()
    short = "".join(solved.splitlines(keepends=True)[:-1])
    changed = solved.replace("dummy-", "smart-")
    policy = (c / "policy.json").read_text().replace(" ", "  ", 1)
    for folders, words in (
        ((a, b), ("2 of 3 shards are given; absent: 3",)),
        ((a, b, b), (f"{b}: is shard 2/3, and so is {b}",)),
        ((a, b, c, c), ("is shard 3/3, and so is",)),
        ((a, b, tmp_path / "half"), ("half: is shard 1/2, but", "is shard 1/3")),
        ((a, b, tmp_path / "single"), ("single: is no shard; it was made without --shard",)),
        ((a, b, tmp_path / "dear"), ("dear: is a shard of another run", "its policy is")),
        ((a, b, tmp_path / "weak"), ("weak: is a shard of another run",)),
        ((a, b, tmp_path / "few"), ("few: is a shard of another run", "its problems.count is 23, now 20")),
        ((a, b, tmp_path), ("run.json: cannot be read",)),
        ((a, b, tmp_path / "absent"), ("absent: there is no such shard",)),
        ((a, b, spoiled("torn", "traces.jsonl", torn)), ("torn: is not finished (6 of 7 problems)", "--resume")),
        ((a, b, spoiled("short", "solutions.jsonl", short)), ("short: is not finished (6 of 7 problems)",)),
        ((a, b, spoiled("none", "solutions.jsonl", "")), ("none: holds no solutions.jsonl, so it is not finished",)),
        ((a, b, spoiled("other", "solutions.jsonl", changed)), ("solutions.jsonl", "other problems")),
        ((a, b, spoiled("plan", "policy.json", policy)), ("plan", "policy.json: differs from")),
    ):
        cli_refused("merge", out, *folders, words=words)
    out.mkdir()
    cli_refused("merge", out, a, b, c, words=("joined: exists",))
    cli_refused("merge", tmp_path / "no" / "x", a, b, c, words=("no folder",))


def test_shards_that_are_none_are_refused(
    cli_refused: Any, cli_json: Any, models: Path, problems: Path, tmp_path: Path
) -> None:
    verb = (*run_verb(models, problems), "--out", tmp_path / "out")
    for text, words in (
        ("0/3", "--shard: shard 0/3: expected i/n"),
        ("3", "--shard: shard '3': expected i/n"),
        ("1/24", "shard 1/24: there are only 23 items"),
    ):
        cli_refused(*verb, "--shard", text, words=(words,))
    cli_json(*verb, "--shard", "1/3")
    cli_refused(*verb, "--shard", "2/3", "--resume", words=("is another run; its shard.index is 1, now 2",))
    cli_refused(*verb, "--resume", words=("its shard.count is 3, now 'unset'",))


def test_prices_stay_with_a_run_but_define_none(cli_json: Any, models: Path, problems: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[weak.price]\ninput = 1\noutput = 2\n[strong.price]\ninput = 3\noutput = 4\n")
    verb = (*run_verb(models, problems, "--strategy", "random:0.3"), "--prices", prices)
    money = cli_json(*verb, "--out", tmp_path / "single", quiet=False)["money"]
    assert money["measured"]["total"] > 0
    parts = shards_of(cli_json, verb, tmp_path)
    assert cli_json("merge", tmp_path / "joined", *parts)["money"]["measured"] == pytest.approx(money["measured"])
    text = (parts[0] / "prices.json").read_text()
    (parts[0] / "prices.json").write_text(text.replace("4.0", "5.0"))
    assert cli_json("merge", tmp_path / "again", *parts)["money"] is None, "shards at other prices: none is the run's"
