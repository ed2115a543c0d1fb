r"""How well `same_answer` judges: real rollouts, mechanical rewrites of references, other problems' answers, time.

    python benchmarks/study_answers.py --data ../shared/data [--pairs 4000]

1. Agreement with `correct` on the MATH-500 rollouts; every difference is listed.
2. Every reference of every problem set, rewritten as others would write it (`REWRITES`): must be equal.
3. Every reference made wrong (`CORRUPTIONS`), and answers of other problems of the same set: must not be equal. The
   listed ones are for a person to judge (``6`` is right for every problem whose answer is 6).
4. Time of a pair that ends exactly, of one that math-verify compares, of the first call, of hopeless ones.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

from report import data_folder, heading, table

from trim_pomdp.data.records import iter_records
from trim_pomdp.text import answers as answers_module
from trim_pomdp.text.answers import same_answer

Rewrite = Callable[[str], str]

ROLLOUTS = "math500_rollouts_dev.jsonl.gz"
EXPRESSIONS = (
    (r"\sqrt{6}/4", r"\frac{\sqrt{6}}{4}"),
    ("x^2+2x+1", "(x+1)^2"),
    (r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"),
)
HOPELESS = (
    ("9^{9^{9^9}}", "3"),
    (r"\frac{1}{" * 1000 + "2" + "}" * 1000, "3"),
    (r"\binom{10^9}{10^8}", "3"),
    (r"(10^9)!", "3"),
    (r"2^{2^{x^{2^{2^2}}}}", "x"),
    (r"\sum_{n=1}^{10^{12}} \sin n", "3"),
)


# Right rewrites ----------------------------------------------------------------------------------------------


def _sub(pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> Rewrite:
    return lambda answer: re.sub(pattern, replacement, answer)


def _undelimited(answer: str) -> str:
    """Without the dollars that delimit mathematics."""
    return re.sub(r"(?<!\\)\$", "", answer)


def _commas(comma: str) -> Rewrite:
    return lambda answer: re.sub(
        r"(?<![\d.,_^{\\])\d{4,12}(?![\d.,}])", lambda match: f"{int(match[0]):,}".replace(",", comma), answer
    )


def _scientific(answer: str) -> str:
    """Numbers with an exponent, round ones and small ones, as LaTeX writes powers of ten."""
    if match := re.fullmatch(r"(-?[\d.]+)[eE](-?\d+)", answer):
        return rf"{match[1]} \times 10^{{{match[2]}}}"
    if match := re.fullmatch(r"(-?[1-9]\d*?)(0{2,})", answer):
        return rf"{match[1]} \times 10^{{{len(match[2])}}}"
    if match := re.fullmatch(r"0?\.(0+)([1-9]\d*)", answer):
        return rf"{match[2][0]}.{match[2][1:] or 0} \times 10^{{-{len(match[1]) + 1}}}"
    return answer


def _word(answer: str) -> str:
    plain = re.sub(r"\\text\{([^{}]*)\}", r"\1", answer)
    return plain if plain != answer and re.fullmatch(r"\(?[A-Za-z ]+\)?", plain) else answer


def _wrapped(answer: str) -> str:
    return rf"\text{{{answer}}}" if re.fullmatch(r"\(?[A-Z]\)?|[A-Za-z]{3,}|-?\d+", answer) else answer


def _reversed_list(answer: str) -> str:
    parts = re.split(r"\s*,\s*", answer.strip("$"))
    bracketed = re.search(r"[()\[\]{}=]|\\!", answer) or any(re.fullmatch(r"\d{3}", part) for part in parts[1:])
    return answer if bracketed or len(parts) < 2 else ", ".join(parts[::-1])


def _reversed_tuples(answer: str) -> str:
    """A list of tuples in the other order."""
    parts = re.findall(r"\([^()]*\)", answer)
    plain = re.sub(r"[\s$]", "", answer) == ",".join(re.sub(r"[\s$]", "", part) for part in parts)
    return ", ".join(parts[::-1]) if plain and len(parts) > 1 else answer


def _plain_number(answer: str, change: str) -> str:
    return change.format(answer) if re.fullmatch(r"-?\d+", answer) else answer


REWRITES: dict[str, Rewrite] = {
    r"\dfrac": _sub(r"\\frac", r"\\dfrac"),
    r"\tfrac": _sub(r"\\d?frac", r"\\tfrac"),
    r"\frac12 without braces": _sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2"),
    r"\frac 1 2 with spaces": _sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac \1 \2"),
    r"slash for \frac": _sub(r"(?<!\d)\\d?frac\{(\d+)\}\{(\d+)\}$", r"\1/\2"),
    r"\sqrt2 without braces": _sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1"),
    r"\sqrt 2 with a space": _sub(r"\\sqrt\{(\w)\}", r"\\sqrt \1"),
    "x^{2} with braces": _sub(r"\^(\w)", r"^{\1}"),
    "x^2 without braces": _sub(r"\^\{(\w)\}", r"^\1"),
    "thousands {,}": _commas("{,}"),
    r"thousands ,\!": _commas(r",\!"),
    r"thousands \,": _commas(r"\,"),
    "thousands ,": _commas(","),
    r"^\circ dropped": _sub(r"\^(\\circ|\{\\circ\})", ""),
    r"^{\circ} with braces": _sub(r"\^\\circ", r"^{\\circ}"),
    "degree sign": _sub(r"\^(\\circ|\{\\circ\})", "°"),
    r"\times 10^n": _scientific,
    "row break and space": _sub(r"\\\\ *", r"\\\\ "),
    "row break without space": _sub(r" *\\\\ *", r"\\\\"),
    "bmatrix": _sub("pmatrix", "bmatrix"),
    r"\( \)": lambda answer: rf"\({_undelimited(answer)}\)",
    "$ $": lambda answer: f"${_undelimited(answer)}$" if r"\$" not in answer else answer,
    r"\[ \]": lambda answer: rf"\[ {_undelimited(answer)} \]" if r"\$" not in answer else answer,
    r"\left and \right dropped": _sub(r"\\(left|right)(?![a-z])", ""),
    r"\left and \right added": lambda answer: (
        answer
        if "\\left" in answer
        else re.sub(r"([(\[])", r"\\left\1", re.sub(r"([)\]])", r"\\right\1", answer))
        if answer.count("(") == answer.count(")") and r"\sqrt[" not in answer
        else answer
    ),
    "extra braces": lambda answer: f"{{{_undelimited(answer)}}}",
    "thin spaces": _sub(r"(?<=\d)(?=\\(?:pi|sqrt))|(?<=,)(?=\d{1,2}(?!\d))", r"\\,"),
    "spaces round + - =": _sub(r"(?<!\de)(?<=[\w})])\s*([+=-])\s*(?=[\w\\(])(?!.*e-\d)", r" \1 "),
    "no space at all": _sub(r"(?<![A-Za-z]) +| +(?![A-Za-z])", ""),
    r"word without \text": _word,
    r"\text around": _wrapped,
    "unit dropped": _sub(r"\s*\\(?:text|mbox)\{ [^{}]*\}(\^2)?$", ""),
    "currency dropped": _sub(r"^\\\$", ""),
    "percent dropped": _sub(r"\s*\\?%\$?$", ""),
    "unit added": lambda answer: _plain_number(answer, r"{}\text{{ cm}}"),
    "degrees added": lambda answer: _plain_number(answer, r"{}^\circ"),
    "currency added": lambda answer: _plain_number(answer, r"\${}"),
    "percent added": lambda answer: _plain_number(answer, r"{}\%"),
    "left side added": lambda answer: _plain_number(answer, "x = {}"),
    "left side dropped": _sub(r"^\$?[a-z] ?= ?(?=-?\d)", ""),
    "membership dropped": _sub(r"^x \\in ", ""),
    "decimals added": lambda answer: _plain_number(answer, "{}.00"),
    "zero added before the point": _sub(r"(?<![\d])\.(?=\d)", "0."),
    "minus sign U+2212": _sub(r"(?<![e^{])-(?=\d)", "−"),
    "π and √": lambda answer: re.sub(r"\\sqrt\{(\d+)\}", r"√\1", answer.replace(r"\pi", "π")),
    r"+\infty": _sub(r"(?<!-)\\infty", r"+\\infty"),
    "list the other way": _reversed_list,
    "tuples the other way": _reversed_tuples,
    "full stop": lambda answer: f"{answer}.",
    r"\displaystyle": lambda answer: rf"\displaystyle {answer}",
    r"\boxed": lambda answer: rf"\boxed{{{_undelimited(answer)}}}",
    "letters by \\mathrm": _sub(r"^\\text\{(\w+)\}$", r"\\mathrm{\1}"),
}


# Wrong ones --------------------------------------------------------------------------------------------------


def _digit(answer: str) -> str:
    """The last digit that is no subscript's one more."""
    places = [match.start() for match in re.finditer(r"\d", answer)]
    if not places or not re.search(r"[1-9]", answer):
        return answer
    place = places[-1]
    return answer[:place] + str((int(answer[place]) + 1) % 10) + answer[place + 1 :]


def _first_swapped(answer: str) -> str:
    match = re.search(r"\(([^(),]+),([^(),]+)", answer)
    if not match or match[1].strip() == match[2].strip() or r"\{" in answer:
        return answer
    return f"{answer[: match.start(1)]}{match[2].strip()},{match[1].strip()}{answer[match.end(2) :]}"


CORRUPTIONS: dict[str, Rewrite] = {
    "last digit": _digit,
    "sign": lambda answer: answer if re.fullmatch(r"\$?0?\$?", answer) else (
        _sub(r"^\$?-", "")(answer) if re.match(r"\$?-", answer) else "-" + answer
    ) if re.fullmatch(r"\$?-?[\d.\\{}a-z]+\$?", answer) else answer,
    "fraction upside down": _sub(r"\\frac\{(\d+)\}\{(?!\1\})(\d+)\}", r"\\frac{\2}{\1}"),
    "tuple swapped": _first_swapped,
    "( for [": _sub(r"(?<!\\left)\[(?=.*,)", "("),
    "] for )": lambda answer: re.sub(r"\)$", "]", answer) if re.match(r"\([^()]*,[^()]*\)$", answer) else answer,
    "power of ten": lambda answer: _plain_number(answer, "{}0") if answer != "0" else answer,
    "comma lost": lambda answer: answer.replace(",", "") if re.match(r"\(.*\)$", answer) else answer,
    "square root lost": _sub(r"\\sqrt(?!\{?1\b)", ""),
    "π lost": _sub(r"\\pi", ""),
    "imaginary unit lost": _sub(r"(?<=\d)i$", ""),
    "numerator loses its grouping": _sub(r"\\frac\{([^{}]+[+-])([^{}]+)\}\{([^{}]+)\}", r"\1\\frac{\2}{\3}"),
    "one item less": lambda answer: re.sub(r",[^,()]*$", "", answer) if not re.search(r"[()]", answer) else answer,
}  # fmt: skip
"""The base of ``41_6`` may be left out, not be wrong."""


# Study -------------------------------------------------------------------------------------------------------


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--pairs", type=int, default=4000, help="pairs of different problems, a set")
    parsed = parser.parse_args()
    times()
    references = {path.name.split(".")[0]: answers(path) for path in sorted((parsed.data / "problems").iterdir())}
    agreement(parsed.data / ROLLOUTS)
    rewrites(references)
    wrong(references)
    shuffled(references, parsed.pairs)


def answers(path: Path) -> list[str]:
    """References of a problem set."""
    return [raw.value["answer"] for raw in iter_records(path)]


def rollout_pairs(path: Path) -> Iterator[tuple[str | None, str, bool]]:
    """Answer, reference and grade of every rollout."""
    for raw in iter_records(path):
        for rollout in raw.value["rollouts"]:
            yield rollout["final_answer"], raw.value["answer"], rollout["correct"]


def agreement(path: Path) -> None:
    """Table 1."""
    pairs = list(rollout_pairs(path))
    start = time.process_time(), time.perf_counter()
    with mock.patch.object(answers_module, "same_expression", wraps=answers_module.same_expression) as asked:
        judged = [given is not None and same_answer(given, reference) for given, reference, _ in pairs]
    spent = time.process_time() - start[0], time.perf_counter() - start[1]
    differing = [(*pair, ours) for pair, ours in zip(pairs, judged, strict=True) if ours != pair[2]]
    heading("Agreement with the grades of 1,000 rollouts")
    columns = ("rollouts", "right by the file", "right by same_answer", "agreement", "accepted, wrong by the file")
    row = (len(pairs), sum(pair[2] for pair in pairs), sum(judged), 1 - len(differing) / len(pairs))
    accepted = sum(ours for *_, ours in differing)
    more = ("asked of math-verify", "CPU ms a pair here", "ms a pair by the clock")
    milliseconds = [1000 * seconds / len(pairs) for seconds in spent]
    table([*columns, *more], [[*row, accepted, asked.call_count, *milliseconds]])
    table(["given", "reference", "file", "same_answer"], [[_code(a), _code(b), c, d] for a, b, c, d in differing])


def rewrites(references: dict[str, list[str]]) -> None:
    """Table 2."""
    heading("References, rewritten")
    missed: list[list[object]] = []
    counts: dict[str, list[Counter[str]]] = {}
    for name, listed in references.items():
        for reference in listed:
            for kind, rewrite in REWRITES.items():
                changed = rewrite(reference)
                if changed == reference:
                    continue
                tried, found = counts.setdefault(kind, [Counter(), Counter()])
                tried[name] += 1
                if same_answer(changed, reference):
                    found[name] += 1
                else:
                    missed.append([kind, name, _code(changed), _code(reference)])
    sets = list(references)
    rows = [_row(kind, *counts[kind], sets) for kind in REWRITES if kind in counts]
    all_tried, all_found = (sum((pair[i] for pair in counts.values()), Counter()) for i in (0, 1))
    table(["rewrite", "all", "share", *sets], [*rows, _row("all", all_tried, all_found, sets)])
    table(["missed", "set", "rewritten", "reference"], missed)


def _row(kind: str, tried: Counter[str], found: Counter[str], sets: Sequence[str]) -> list[object]:
    cells = [f"{found[name]}/{tried[name]}" if tried[name] else "–" for name in sets]
    return [kind.replace("|", "\\|"), f"{found.total()}/{tried.total()}", found.total() / tried.total(), *cells]


def wrong(references: dict[str, list[str]]) -> None:
    """Table 3, first part."""
    heading("References, made wrong")
    tried: Counter[str] = Counter()
    accepted: list[list[object]] = []
    for name, listed in references.items():
        for reference in listed:
            for kind, corrupt in CORRUPTIONS.items():
                changed = corrupt(reference)
                if changed != reference:
                    tried[kind] += 1
                    if same_answer(changed, reference):
                        accepted.append([kind, name, _code(changed), _code(reference)])
    counts = Counter(str(row[0]) for row in accepted)
    table(["corruption", "pairs", "accepted"], [[kind, n, counts[kind]] for kind, n in tried.items()])
    table(["accepted", "set", "made wrong", "reference"], accepted)


def shuffled(references: dict[str, list[str]], pairs: int) -> None:
    """Table 3, second part."""
    heading("Answers of other problems of the set")
    rows, accepted = [], []
    for name, listed in references.items():
        rng = random.Random(name)
        drawn = [(rng.choice(listed), rng.choice(listed)) for _ in range(pairs)]
        differing = [(a, b) for a, b in drawn if _plain(a) != _plain(b)]
        found = [(a, b) for a, b in differing if same_answer(a, b)]
        rows.append([name, len(differing), len(found)])
        accepted += [[name, _code(a), _code(b)] for a, b in dict.fromkeys(found)]
    table(["set", "pairs of different strings", "accepted"], rows)
    table(["accepted", "answer", "reference"], accepted)


def _plain(answer: str) -> str:
    return answer.strip("$ ").replace(" ", "")


def times() -> None:
    """Table 4."""
    heading("Time")
    rows: list[list[object]] = []
    rows.append(["first pair of expressions (starts math-verify)", *_timed("(x+1)^2", "x^2+2x+1", 1)])
    for a, b in (("72", "72"), ("072", "72"), ("71", "72"), (r"\dfrac{3}{4}", "0.75"), (r"6\sqrt5", r"6\sqrt{5}")):
        rows.append([f"{_code(a)}, {_code(b)}", *_timed(a, b, 2000)])
    for a, b in EXPRESSIONS:
        rows.append([f"{_code(a)}, {_code(b)}", *_timed(a, b, 20)])
    for a, b in HOPELESS:
        rows.append([f"{_code(a[:40])}, {_code(b)}", *_timed(a, b, 1)])
    table(["pair", "equal", "CPU ms here", "ms by the clock"], rows)


def _timed(a: str, b: str, times: int) -> tuple[bool, float, float]:
    """Verdict, processor time of this process, and time by the clock, of one call; readings are forgotten between."""
    cpu, clock = time.process_time(), time.perf_counter()
    for _ in range(times):
        answers_module._readings.cache_clear()
        equal = same_answer(a, b)
    return equal, 1000 * (time.process_time() - cpu) / times, 1000 * (time.perf_counter() - clock) / times


def _code(text: str | None) -> str | None:
    return text if text is None else f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    main()
