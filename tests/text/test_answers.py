"""Answers: cases, real rollouts, rewrites of references, what may never be accepted, what may never stop a run."""

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim_pomdp.errors import InputError
from trim_pomdp.text import mathematics
from trim_pomdp.text.answers import checker, exact_answer, same_answer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from study_answers import CORRUPTIONS, REWRITES, answers, rollout_pairs

CASES = [
    json.loads(line) for line in (Path(__file__).parents[1] / "cases" / "answers.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["kind"])
def test_cases(case):
    assert same_answer(case["given"], case["reference"]) is case["equal"]
    assert same_answer(case["reference"], case["given"]) is case["equal"]


EQUAL = [
    # numbers
    ("007", "7"), ("7.50", "7.5"), (".5", r"\frac12"), ("+2", "2"), ("-1./3", r"-\frac{1}{3}"), ("½", "0.5"),
    ("10^6", "1,000,000"), (r"1.5\times 10^{-3}", "0.0015"), ("1.5e-3", "0.0015"), ("10 080", r"10,\!080"),
    (r"3\,600", "3600"), (r"0.\overline{3}", r"\frac13"), (r"0.1\overline{6}", "1/6"), (r"-3\frac{1}{4}", "-13/4"),
    ("3½", "3.5"), ("1 1/2", "1.5"), (r"2\cdot 3^2", "18"), ("2×3", "6"),
    # units and what is like them
    ("5 apples", "5"), (r"12\text{ square units}", "12"), (r"12\text{ cm}^2", r"12 \text{ cm}^{2}"), ("3 hours", "3"),
    (r"10\,\mathrm{m/s}", r"10 \text{ m/s}"), ("3 hours", r"3\text{ hours}"), (r"72^\circ", "72 degrees"),
    (r"\frac{270}{7}", r"\frac{270}7\text{ degrees}"), (r"180^\circ - 2x", "180-2x"), (r"\$5.40", "5.40 dollars"),
    (r"5.4\text{ cents}", "5.4"), (r"5\text{ million}", "5000000"), ("25 percent", r"25\%"), (r"10 \%", "10%"),
    (r"35\%", "0.35"), (r"50\%", r"\frac12"), (r"\frac34\text{ of the pie}", "3/4"), (r"41_{\text{six}}", "41_6"),
    (r"\text{7 cm}", "7"), ("7 m/s", "7"), ("5 USD", r"\$5"), ("5€", "5"), (r"7^{\text{th}}", "7"), ("25°C", "25"),
    # choices, words
    ("(B)", "B"), ("B.", "B"), ("B)", "(B)"), (r"\text{b}", "B"), (r"\textbf{(B) } 7", "B"), (r"\textbf{(B) } 7", "7"),
    ("Option B", "B"), ("(B) 7", r"\text{(B)}"), ("B: 7", "7"),
    ("True", r"\text{true}"), ("No", r"\text{no}"), ("yes", "Yes."), (r"\text{no solution}", "No solution"),
    ("A, C", r"\text{C, A}"),
    # lists, sets, plus-minus
    (r"\{1,1,2\}", r"\{2,1\}"), (r"\{1,2\}", "2,1"), ("100,200", "200, 100"), (r"x=\pm 3", r"x=3 \text{ or } x=-3"),
    (r"3 \pm 2\sqrt{2}", r"3-2\sqrt2, 3+2\sqrt2"), (r"\{1\pm\sqrt{5},-2\}", r"\{-2, 1+\sqrt{5}, 1-\sqrt{5}\}"),
    (r"(2,3) \text{ and } (1,4)", "(1,4),(2,3)"), (r"\{\}", r"\emptyset"), ("∅", r"\varnothing"), ("x=1,x=2", "2,1"),
    ("x=2,y=3", "y=3,x=2"), ("x=2,y=3", "2,3"), ("x=2, y=3", "(2,3)"), ("(x,y)=(2,3)", "(2,3)"),
    # intervals, inequalities
    (r"x \ge 4", r"[4,\infty)"), ("4 ≤ x", r"x \geq 4"), (r"0<x\le 1", "(0,1]"), (r"1 \ge x > 0", "(0,1]"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty) \cup (-\infty,2)"), (r"(-\infty,\infty)", r"\mathbb{R}"),
    (r"x<2 \text{ or } x>3", r"(-\infty,2)\cup(3,\infty)"), (r"\{x \mid x > 2\}", r"(2,\infty)"),
    (r"\left[\frac12,2\right)", "[0.5,2)"),
    # matrices, vectors
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\ 2\end{bmatrix}"),
    (r"\begin{pmatrix}-1/3\\2/3\end{pmatrix}", r"\begin{pmatrix}-\frac13\\\frac23\end{pmatrix}"),
    (r"\frac{1}{5}\begin{pmatrix}1\\-18\end{pmatrix}", r"\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix}"),
    (r"\left(\begin{array}{c}1\\2\end{array}\right)", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"\langle 1,2\rangle", "(1,2)"),
    # expressions
    ("(x+1)(x-1)", "x^2-1"), (r"\sin^2 x+\cos^2 x", "1"), (r"2\sqrt{3}", r"\sqrt{12}"), ("6-5i", "-5i+6"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"), ("(1+i)^2", "2i"), ("5!", "120"), (r"\log_2 8", "3"),
    (r"\lfloor n/2\rfloor", r"\left\lfloor \frac{n}{2} \right\rfloor"), (r"\tan^{-1}(2)", r"\arctan 2"), ("x²", "x^2"),
    ("2√3", r"2\sqrt3"), (r"\frac12 x+3", r"\frac{x}{2}+3"), (r"0.1\pi", r"\frac{\pi}{10}"),
    ("sqrt(3)/2", r"\frac{\sqrt3}{2}"),
    (r"\tan 45^\circ", "1"), (r"\sin(30^\circ)", r"\frac12"), (r"\textcolor{red}{7}", "7"),
    (r"\frac23 \approx 0.667", r"\frac{2}{3}"), (r"x = \frac23 \approx 0.667", "2/3"), (r"x \approx 3.14", "3.14"),
    # equations, left sides
    ("f(x)=2x", "2x"), (r"\text{Area} = 5", "5"), ("y=2x+3", "2x+3=y"), ("x^2+y^2=1", "y^2+x^2=1"),
    ("10x - 14y + 8 = 0", "5x - 7y + 4 = 0"), (r"\boxed{5}", "5"), (r"\angle ABC = 30^\circ", "30"),
]  # fmt: skip

DIFFERENT = [
    ("0.333", r"\frac13"), ("1.414", r"\sqrt{2}"), ("3.14159265", r"\pi"), ("2.5", "2,5"), ("2,3", "23"), ("5", "-5"),
    ("35", "0.35"), (r"3500\%", "0.35"), (r"10\%", "0.01"), (r"5\text{ million}", "5"), ("(1,234)", "1234"),
    (r"5\text{ cm}", r"5\text{ m}"), (r"10\text{ cm}", r"10\text{ cm}^2"), (r"5 \text{ AM}", r"5 \text{ PM}"),
    (r"\$5", "€5"), (r"5.4\text{ cents}", r"\$5.4"), ("41_6", "41_7"), ("25", "41_6"), ("416", "41_6"),
    ("40_0", "40_9"),
    ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"), ("(1,2]", "[1,2)"), ("(1,2)", r"\{1,2\}"), ("(1,2)", "1,2"),
    ("-2,-2", "-2"),
    (r"\{1,2\}", r"\{1,2,3\}"), ("5", "5, 6"), ("5 or 6", "5"), (r"5\text{ or more}", "5"),
    (r"5 \text{ apples and } 3", "5"),
    (r"3 \pm 2\sqrt{2}", r"3+2\sqrt2"), ("x=2,y=3", "3,2"), ("x=5", "y=5"), ("x > 4", r"[4,\infty)"), ("x=5", "x=5,6"),
    (r"(-\infty,2)\cup(3,\infty)", r"(-\infty,2]\cup(3,\infty)"), (r"\emptyset", "0"), (r"\{0\}", r"\emptyset"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"), ("A", "B"), ("b", "B"), ("x", "X"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"), (r"\textbf{(B)} 7", "C"),
    ("east", "seat"), (r"\text{east}", r"\text{seat}"), ("even", "odd"), (r"-\text{east}", r"\text{east}"),
    ("x_1", "x_2"), (r"a_{1}+b", r"a_{2}+b"), ("C+c", "2c"), ("y'+y", "2y"), ("p-q", "q-p"), ("6-5i", "6+5i"),
    (r"e^{-50}", r"e^{-60}"), (r"e^{-50}", "0"), (r"10^{-20}\pi", r"10^{-21}\pi"), (r"10^{-20}x", r"10^{-21}x"),
    (r"2\frac{x}{3}", r"2+\frac{x}{3}"), (r"\sin 30^\circ", r"\sin 30"), (r"\infty", r"-\infty"), (r"\infty", "5"),
    (r"\frac10", r"\infty"), ("0/0", "1"), (r"0.\overline{3}", "0.3"), ("1:2", "2:1"), (r"5\pi", "15.707963"),
    ("", "5"), ("5", ""), (",", ";"), ("x^2+y^2=1", "x^2+y^2=2"), ("f(x)=2x", "f(x)=3x"), (r"\text{None}", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal(a, b):
    assert same_answer(a, b)
    assert same_answer(b, a)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different(a, b):
    assert not same_answer(a, b)
    assert not same_answer(b, a)


# Real answers ------------------------------------------------------------------------------------------------


def test_grades_of_real_rollouts(shared):
    """All 1,000 verdicts are those of the file."""
    pairs = list(rollout_pairs(shared / "data" / "math500_rollouts_dev.jsonl.gz"))
    judged = [given is not None and same_answer(given, reference) for given, reference, _ in pairs]
    assert len(pairs) == 1000
    assert [pair for pair, ours in zip(pairs, judged, strict=True) if ours != pair[2]] == []


def references(shared: Path, share: int) -> list[str]:
    """Different references of all sets; one in 20 of the plain numbers, which are most, one in `share` else."""
    found = dict.fromkeys(item for path in sorted((shared / "data" / "problems").iterdir()) for item in answers(path))
    numbers = [item for item in found if item.isdigit()]
    return [item for item in found if not item.isdigit()][::share] + numbers[::20]


def test_rewritten_references_are_equal(shared):
    tried, missed = 0, []
    for reference in references(shared, 3):
        for kind, rewrite in REWRITES.items():
            changed = rewrite(reference)
            if changed != reference:
                tried += 1
                missed += [] if same_answer(changed, reference) else [(kind, changed, reference)]
    assert tried > 2000
    assert len(missed) <= 0.002 * tried, missed


def test_corrupted_references_are_not(shared):
    corrupted = [
        (kind, changed, reference)
        for reference in references(shared, 12)
        for kind, corrupt in CORRUPTIONS.items()
        if (changed := corrupt(reference)) != reference
    ]
    assert len(corrupted) > 150
    assert [item for item in corrupted if same_answer(*item[1:])] == []


# What may never stop a run -----------------------------------------------------------------------------------

HOPELESS = [
    "9^{9^{9^9}}", "2^{2^{2^{2^{2^2}}}}", "10^{10^{10}}", "1e999999999", "(10^9)!", r"\binom{10^9}{10^8}", "100000000!",
    r"\sum_{n=1}^{10^{10}} n^2", r"\prod_{i=1}^{10^8} i", "e^{e^{e^{e^{e}}}}", "x^{10^{10}}", "(x+y+z)^{300}",
    r"\frac{1}{" * 1000 + "2" + "}" * 1000, r"\frac{1}{x+" * 200 + "2" + "}" * 200, "(" * 5000 + "1" + ")" * 5000,
    "{" * 5000 + "1" + "}" * 5000, "x" + "^x" * 900, r"\sqrt" * 400 + "2", "1" * 1_000_000, "1" * 1900 + "x",
    r"\begin{pmatrix}" + r"\\".join(["1&2&3&4"] * 100) + r"\end{pmatrix}", r"\text{" * 200 + "}" * 200, "$" * 5000,
    "a\x00b", "\ud800", "x\ud800", "\\" * 1999, "{}", "^", "_", r"\frac", r"\frac{1}", r"\sqrt", "}{", r"\left(", "|",
    r"\end{pmatrix}", r"\begin{pmatrix}", r"\begin", r"\text{", "%", "°", "=", "=5", "x=", r"\in", r"\{", "-", "1/",
    ",".join(f"x+{i}" for i in range(200)), r"\pm" * 50, "\n", "x" * 1999, r"\cup" * 30, "(,)", "[,", r"\$", r"\%",
]  # fmt: skip


@pytest.mark.parametrize("text", HOPELESS, ids=lambda text: ascii(text[:20]))
def test_hopeless_answers_are_unequal_soon(text):
    mathematics.same_expression("x", "x")  # loads math-verify
    start = time.perf_counter()
    assert not same_answer(text, "3y")
    assert time.perf_counter() - start < 15  # half a second, on the busiest machine
    assert same_answer(text, text)


def test_the_process_goes_on_after_a_hopeless_answer():
    assert not same_answer(r"\binom{10^9}{10^8}", "3")
    assert same_answer("(x+1)^2", "x^2+2x+1")


def test_memory_is_bounded():
    assert not mathematics.same_expression("x", "+".join(["(x+y+z)^{60}"] * 30))
    assert mathematics.same_expression("x+x", "2x")


def test_a_budget_is_for_all_questions():
    budget = mathematics.Budget(0.0)
    assert not mathematics.same_expression("x+x", "2x", budget)
    budget = mathematics.Budget()
    assert mathematics.same_expression("x+x", "2x", budget)
    assert not mathematics.same_expression(r"\binom{10^9}{10^8}", "3", budget)
    assert budget.seconds == 0
    assert not mathematics.same_expression("x+x", "2x", budget)


def test_a_process_that_died_is_started_again():
    assert same_answer("x+x", "2x")
    worker = mathematics._worker(os.getpid())
    os.killpg(worker.process.pid, 9)
    first = worker.process
    first.wait()
    assert same_answer("x+x+x", "3x")
    assert worker.process is not first


def test_threads_share_it():
    pairs = [(f"x+{i}+x", f"2x+{i + i % 2}") for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda pair: same_answer(*pair), pairs))
    assert verdicts == [i % 2 == 0 for i in range(40)]
    assert threading.active_count() < 20


def test_event_loops():
    async def main() -> list[bool]:
        return [same_answer("x+x", "2x"), await asyncio.to_thread(same_answer, r"\sqrt{8}", r"2\sqrt2")]

    assert asyncio.run(main()) == [True, True]


def _child(pipe) -> None:
    pipe.send([same_answer("x+x+y", "2x+y"), same_answer("x+x+y", "3x+y")])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_processes_have_their_own():
    assert same_answer("x+x", "2x")
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(theirs,))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == [True, False]
    child.join()
    assert same_answer("x+y+x", "2x+y")


PROGRAM = """
import os, sys
from trim_pomdp.text.answers import same_answer
from trim_pomdp.text import mathematics
print(same_answer("(x+1)^2", "x^2+2x+1"), same_answer("x+1", "x+2"), "sympy" in sys.modules)
print(mathematics._worker(os.getpid()).process.pid)
"""


def test_nothing_is_left_when_a_program_ends():
    """From standard input: there is no main module that another process could import."""
    done = subprocess.run(
        [sys.executable, "-"], input=PROGRAM, capture_output=True, text=True, timeout=120, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    verdicts, worker = done.stdout.splitlines()
    assert (verdicts, done.stderr) == ("True False False", "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(worker), 0)


def test_exact_pairs_start_nothing():
    program = "import sys; from trim_pomdp.text.answers import same_answer; from trim_pomdp.text import mathematics; "
    program += (
        "print(same_answer('1/2','0.5'), mathematics._worker.cache_info().currsize, 'math_verify' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "True 0 False\n"


def test_without_math_verify_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(mathematics, "find_spec", lambda name: None)
    with pytest.raises(mathematics.CheckerError, match="pip install math-verify"):
        mathematics._Worker().ask("{}")


_PIECES = st.sampled_from(
    [*r"0123456789xyi+-*/^_=<>(){}[]|,.;:!?%$&~# ", "\\", r"\frac", r"\sqrt", r"\{", r"\}", r"\text{", r"\pm", r"\le",
     r"\cup", r"\infty", "cm", "°", "−", r"\\", r"\begin{pmatrix}", r"\end{pmatrix}", r"\left", "or", "12", "1,000"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=12).map("".join), st.lists(_PIECES, max_size=12).map("".join))
def test_nothing_raises_and_the_order_does_not_matter(a, b):
    assert same_answer(a, b) is same_answer(b, a)
    assert same_answer(a, a)


# Checkers by name --------------------------------------------------------------------------------------------


def test_checkers_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_checker.py").write_text(
        "def agrees(given, reference):\n    return given[0] == reference[0]\nnumber = 3\n"
    )
    (tmp_path / "broken_checker.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert checker("math") is same_answer
    assert checker("exact") is exact_answer
    assert checker("my_checker:agrees")("apple", "ape")
    for name, words in {
        "maths": "expected 'math', 'exact' or",
        "my_checker:": "expected 'math', 'exact' or",
        "my_checker:absent": "no attribute 'absent'",
        "absent_checker:agrees": "No module named 'absent_checker'",
        "broken_checker:agrees": "ZeroDivisionError",
        "my_checker:number": "is a int; expected a function",
    }.items():
        with pytest.raises(InputError, match=words) as error:
            checker(name)
        assert "\n" not in str(error.value)


def test_exact():
    assert exact_answer(" B ", "B")
    assert not exact_answer("(B)", "B")
