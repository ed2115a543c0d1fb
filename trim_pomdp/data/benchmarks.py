"""Problem sets of the papers by name: where each is on the hub, and what its fields are called there."""

from __future__ import annotations

from dataclasses import dataclass

from trim_pomdp.data.hub import hub_rows
from trim_pomdp.data.layouts import final_answer
from trim_pomdp.errors import InputError


@dataclass(frozen=True)
class Benchmark:
    """A problem set on the hub.

    Attributes
    ----------
    dataset, config, split : str, str or None, str
        Where it is.
    prompt, answer : str
        Fields of the problem and of its answer; of a list of answers the first one counts.
    id : str or None
        Field of the id; None numbers them from 0.
    """

    dataset: str
    split: str
    prompt: str
    answer: str
    id: str | None = None
    config: str | None = None


BENCHMARKS = {
    "math-500": Benchmark("HuggingFaceH4/MATH-500", "test", "problem", "answer", "unique_id"),
    "aime": Benchmark("di-zhang-fire/AIME_1983_2024", "train", "Question", "Answer", "ID"),
    "aime24": Benchmark("HuggingFaceH4/aime_2024", "train", "problem", "answer", "id"),
    "aime25": Benchmark("yentinglin/aime_2025", "train", "problem", "answer", "id"),
    "amc23": Benchmark("math-ai/amc23", "test", "question", "answer", "id"),
    "gsm8k": Benchmark("openai/gsm8k", "test", "question", "answer", config="main"),
    "minerva-math": Benchmark("math-ai/minervamath", "test", "question", "answer"),
    "olympiadbench": Benchmark(
        "Hothan/OlympiadBench", "train", "question", "final_answer", "id", config="OE_TO_maths_en_COMP"
    ),
}
"""The sets of TRIM's Tables 1 and 2, and others of their kind."""


def benchmark_rows(name: str) -> list[tuple[str, str, str]]:
    """Id, prompt and answer of every problem of a set.

    Raises
    ------
    InputError
        If ``datasets`` is not installed or finds nothing, or a row lacks a field.
    """
    known = BENCHMARKS[name]
    found = []
    for number, row in enumerate(hub_rows(known.dataset, known.split, known.config)):
        missing = [field for field in (known.prompt, known.answer, known.id) if field and field not in row.value]
        if missing:
            raise InputError(f"{row.where}: has no {missing[0]!r}; the data set is another one than {name} was")
        answer = row.value[known.answer]
        first = answer[0] if isinstance(answer, list | tuple) else answer
        key = number if known.id is None else row.value[known.id]
        found.append((f"{name}-{key}", str(row.value[known.prompt]), final_answer(str(first))))
    return found
