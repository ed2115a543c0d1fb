"""Mutated files: every reader gives a result or an error of one line that names file and line, quickly and in little
memory.
"""

import random
import re
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pomdp_samples as samples
import pytest

from solvers import SolverError
from solvers.formats import read_alpha, read_appl_policy, read_policy_graph, read_pomdp, read_pomdpx

FORMATS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "pomdp": (read_pomdp, [samples.TIGER, samples.WALK, samples.MDP]),
    "pomdpx": (read_pomdpx, [samples.ROVER, samples.ROVER_DIAGRAMS]),
    "alpha": (read_alpha, [samples.ALPHA]),
    "pg": (read_policy_graph, [samples.GRAPH]),
    "policy": (read_appl_policy, [samples.APPL]),
}
NUMBERS = [
    *[
        "1e308",
        "-1e308",
        "1e-400",
        "nan",
        "inf",
        "-1",
        "-0",
        "+1",
        "--1",
        "1e",
        "0x10",
        "1_000",
        "٣",
        ".5",
        "5.",
        "1e5",
    ],
    *["0", "1", "2", "3", "0.5", "0.30000001", "4096", "32768", "65536", "1000000", "1000001", "999999999", "9" * 5000],
]
BOMB = """<!DOCTYPE bomb [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">
<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;">]>"""
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PIECES = [
    *[
        BOMB,
        OUTSIDE,
        "&a;",
        "&f;",
        "&#0;",
        "&#xD800;",
        "<![CDATA[",
        "]]>",
        "<?x?>",
        "<!-- ",
        "-->",
        "\0",
        "\x0b",
        "\ufeff",
    ],
    *[
        "\u2028",
        "é",
        "\U0001f42f",
        ":",
        "*",
        "-",
        "+",
        "#",
        "/*",
        "T:",
        "O:",
        "R:",
        "start:",
        "start exclude:",
        "discount:",
    ],
    *[
        "states:",
        "identity",
        "uniform",
        "reset",
        "include",
        "T: * uniform",
        "T: * identity",
        "T: * : * : * 1.0",
        "T: 0",
    ],
    *[
        "O: * uniform",
        "O: * : 0",
        "R: * : * 1",
        "R: * : * : *",
        "X",
        "null",
        "<Entry>",
        "</Entry>",
        "<Node var='move'>",
    ],
    *[
        "<Edge val='west'>",
        "<SubDAG type='template' idref='stay'/>",
        "<Terminal>1</Terminal>",
        "<NumValues>99</NumValues>",
    ],
    *['encoding="utf-7"', 'encoding="nonsense"', "<Instance>* * *</Instance>", "<ProbTable>identity</ProbTable>"],
]
TOKEN = re.compile(r"[^\s<>\"=]+")
NUMBER = re.compile(r"\d+(\.\d+)?")


def a_match(rng: random.Random, pattern: re.Pattern[str], text: str) -> tuple[int, int]:
    spans = [match.span() for match in pattern.finditer(text)]
    return rng.choice(spans) if spans else (0, 0)


def mutate(rng: random.Random, text: str) -> str:
    """One mutation of a text."""
    kind = rng.choice([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8, 8, 9, 9, 10, 11])
    first, last = a_match(rng, NUMBER if kind < 2 else TOKEN, text)
    token = text[first:last]
    if kind < 2:  # another number
        return text[:first] + rng.choice(NUMBERS) + text[last:]
    if kind == 2:  # another word of the file
        other, end = a_match(rng, TOKEN, text)
        return text[:first] + text[other:end] + text[last:]
    if kind == 3:  # a word lost
        return text[:first] + text[last:]
    if kind == 4:  # a word twice, or very often
        return text[:last] + (" " + token) * rng.choice([1, 1, 2, 3000]) + text[last:]
    if kind == 5:  # two words swapped
        other, end = a_match(rng, TOKEN, text)
        if other < first:
            (first, last), (other, end) = (other, end), (first, last)
        if last <= other:
            return text[:first] + text[other:end] + text[last:other] + text[first:last] + text[end:]
        return text
    if kind == 6:  # cut off
        return text[: rng.randrange(len(text) + 1)]
    if kind == 7:  # a piece lost
        at = rng.randrange(len(text) + 1)
        return text[:at] + text[at + rng.randrange(40) :]
    if kind == 8:  # lines lost, doubled or elsewhere
        lines = text.split("\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[i:i] = [lines[j]] * rng.choice([1, 1, 2, 50])
        if rng.random() < 0.5:
            del lines[j]
        return "\n".join(lines)
    if kind == 9:  # something that does not belong there
        at = rng.choice([first, last, rng.randrange(len(text) + 1), 0, len(text)])
        return text[:at] + rng.choice(["", " "]) + rng.choice(PIECES) + rng.choice(["", " "]) + text[at:]
    if kind == 10:  # much too deep, or much too long
        opened = rng.choice(["<Node var='move'><Edge val='west'>", "<a>", "(", "T : ", "1 ", "- "])
        return text[:first] + opened * rng.choice([600, 5000]) + text[first:]
    return text[:first] + token * 2000 + text[last:]  # a very long word


def mutated(rng: random.Random, text: str) -> bytes:
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        text = mutate(rng, text)
    data = bytearray(text.encode("utf-8", errors="surrogatepass"))
    if rng.random() < 0.1 and data:  # bits flipped
        for _ in range(rng.choice([1, 3, 20])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def throw(kind: str, path: Path, seed: int, cases: int) -> tuple[int, int]:
    """Read so many mutated files; returns how many were read, and how many refused."""
    reader, texts = FORMATS[kind]
    rng = random.Random(f"{kind} {seed}")
    read, most = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in range(cases):
        data = mutated(rng, rng.choice(texts))
        path.write_bytes(data)
        begin = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                reader(path)
            read += 1
        except SolverError as error:
            message = str(error)
            assert message.startswith(str(path)), (case, message)
            assert re.search(r", line \d+: ", message), (case, message)
            assert len(message) < 400 + len(str(path)), (case, message)
            assert "\n" not in message, (case, message)
        except Exception as error:
            path.with_suffix(".failed").write_bytes(data)
            raise AssertionError(f"case {case} of {kind}: {error!r}, kept as {path}.failed") from error
        assert time.process_time() - begin < 20, case
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most
    assert grown * 1024 < 1.5e9  # in kilobytes, on Linux
    return read, cases - read


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_files(tmp_path: Path, kind: str) -> None:
    read, refused = throw(kind, tmp_path / f"case.{kind}", 0, 300)
    assert read > 0  # some mutations change a number, and nothing else
    assert refused > 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_ten_thousand_mutated_files(tmp_path: Path, kind: str) -> None:
    read, refused = throw(kind, tmp_path / f"case.{kind}", 1, 10_000)
    assert read > 100
    assert refused > 3_000
