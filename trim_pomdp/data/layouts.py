"""Layouts that other people's files have, and how each becomes the form that this package reads.

Three kinds of records are read in more than one layout: labelled solutions (`SOLUTIONS`), scored sequences
(`SEQUENCES`) and problems (`PROBLEMS`). A `Layout` says which keys give it away, what stands in a record (a pydantic
model, so that errors name the field), and what becomes of it: mappings in the package's own form, which the reader
validates. Adding a layout is a record, a function and a line in a table. Which layout a file has, its first record
says, by its keys alone, or ``--layout``.

Sources: READMEs, data or code of openai/prm800k, ssmisya/PRMBench, WHGTyen/BIG-Bench-Mistake, huggingface/trl and
huggingface/search-and-learn; the dataset card of peiyi9979/Math-Shepherd.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveInt

from trim_pomdp.artifacts import Model, validate
from trim_pomdp.data.records import EXPECTED, Answer, Id, OpenRecord, RawRecord, check_not_wrapped, is_near
from trim_pomdp.data.solutions import SolutionText
from trim_pomdp.errors import InputError
from trim_pomdp.text.answers import same_answer
from trim_pomdp.text.boxes import boxed_answer

Tell = Callable[[str], None]
Form = Mapping[str, Any]


class LeftOut(Exception):  # noqa: N818 - no error: the record is fine, but of no use
    """A record that its own data set does not vouch for, or that holds no label; it is left out and counted."""


def _any(_: Form) -> bool:
    return True


@dataclass(frozen=True)
class Layout:
    """A way in which files hold records of a kind.

    Attributes
    ----------
    name : str
        For ``--layout``.
    marks : tuple of str
        Keys that give it away, all of them; ``a|b`` is either.
    convert : callable
        From a record, validated as `record`, and its number in the file to mappings in the package's own form. Raises
        `LeftOut` for what is of no use, and `ValueError` for what contradicts itself.
    record : pydantic model or None
        What stands in the file; None takes a mapping as it is.
    looks : callable
        What a record with these keys must look like to give the layout away.
    named_only : bool
        Never recognised: it has the keys of another one.
    """

    name: str
    marks: tuple[str, ...]
    convert: Callable[[Any, int], Iterable[Form]]
    record: type[BaseModel] | None = None
    looks: Callable[[Form], bool] = _any
    named_only: bool = False

    def lacks(self, value: Form) -> list[list[str]]:
        """Keys, each with its alternatives, that a record would need to give this layout away."""
        keys = [mark.split("|") for mark in self.marks]
        return [either for either in keys if not any(key in value for key in either)]

    def fits(self, value: Form) -> bool:
        """Whether a record gives the layout away."""
        return not self.named_only and not self.lacks(value) and self.looks(value)


def own_layout(name: str, *marks: str) -> Layout:
    """The package's own form."""
    return Layout(name, marks, lambda value, _: [value])


def read_in_layout(
    raws: Iterable[RawRecord],
    source: str,
    own: type[Model],
    table: Sequence[Layout],
    *,
    layout: str | None = None,
    tell: Tell | None = None,
    noun: str = "record",
) -> Iterator[tuple[RawRecord, Model]]:
    """Records in the package's own form, each with where it stood; read as they are asked for.

    Parameters
    ----------
    raws : iterable of RawRecord
        The file's.
    source : str
        Its name, for errors.
    own : pydantic model
        The package's own form.
    table : sequence of Layout
        What is read, the own form first.
    layout : str or None
        Which one it is; None lets the first record tell.
    tell : callable or None
        Told what is left out, and why; None warns.
    noun : str
        What a record is.

    Raises
    ------
    InputError
        Naming file, place, field and reason; if there is no such layout, or the keys of the first record fit none (what
        was found, which layout is nearest, and what it lacks); if there is no record, or all are left out.
    """
    chosen = None if layout is None else _named(table, layout)
    kept = 0
    left_out: Counter[str] = Counter()
    for raw in raws:
        chosen = chosen or _recognised(table, raw)
        try:
            forms = _forms(chosen, raw)
        except LeftOut as reason:
            left_out[str(reason)] += 1
            continue
        kept += bool(forms)
        for form in forms:
            yield raw, validate(own, form, source=raw.where)
    _report(source, noun, kept, left_out, tell)


def _forms(layout: Layout, raw: RawRecord) -> list[Form]:
    record = raw.value if layout.record is None else validate(layout.record, raw.value, source=raw.where)
    try:
        return list(layout.convert(record, raw.number))
    except ValueError as error:
        raise InputError(f"{raw.where}: {error}") from None


def _report(source: str, noun: str, kept: int, left_out: Counter[str], tell: Tell | None) -> None:
    total = left_out.total()
    reasons = "; ".join(f"{reason}: {count}" for reason, count in left_out.most_common())
    if not kept and total:
        raise InputError(f"{source}: none of its {total} {noun}s is of use ({reasons})")
    if not kept:
        raise InputError(f"{source}: holds no {noun}; expected {EXPECTED}")
    if total:
        message = f"{source}: left out {total} of {total + kept} {noun}s ({reasons})"
        if tell is None:
            warnings.warn(message, stacklevel=4)
        else:
            tell(message)


def _named(table: Sequence[Layout], name: str) -> Layout:
    for item in table:
        if _bare(item.name) == _bare(name):
            return item
    near = next((item.name for item in table if is_near(name, item.name)), None)
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(f"no layout {name!r} here{hint} (there are {', '.join(item.name for item in table)})")


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _recognised(table: Sequence[Layout], raw: RawRecord) -> Layout:
    """The layout that a first record gives away."""
    value = raw.value
    if not isinstance(value, Mapping):
        return table[0]  # says what it expects
    for item in table:
        if item.fits(value):
            return item
    check_not_wrapped(raw, {key for item in table for mark in item.marks for key in mark.split("|")})
    nearest = max((item for item in table if not item.named_only), key=lambda item: _likeness(item, value))
    found = f"(keys found: {', '.join(map(str, value)) or 'none'}; layouts: {', '.join(item.name for item in table)})"
    lacks = nearest.lacks(value)
    if not lacks:  # the keys, but not the values
        try:
            _forms(nearest, raw)
        except InputError as error:
            raise InputError(f"{error}, for the nearest layout, {nearest.name} {found}") from None
        return nearest
    slips = [(key, name) for key in value for either in lacks for name in either if is_near(str(key), name)]
    if slips and _likeness(nearest, value) > 0.5:
        raise InputError(f"{raw.where}: unknown key {slips[0][0]!r}; did you mean {slips[0][1]!r}?")
    missing = ", ".join(repr(either[0]) for either in lacks)
    raise InputError(f"{raw.where}: missing {missing} for the nearest layout, {nearest.name} {found}")


def _likeness(layout: Layout, value: Form) -> float:
    """Share of a layout's keys that a record has, give or take a slip; less if it has them all, with other values."""
    lacks = layout.lacks(value)
    if not lacks:
        return 0.6
    slips = sum(any(is_near(str(key), name) for key in value for name in either) for either in lacks)
    return 1 - (len(lacks) - slips) / len(layout.marks)


def _first(wrong: Iterable[bool]) -> int:
    """Index of the first wrong step, -1 if there is none."""
    return next((i for i, item in enumerate(wrong) if item), -1)


def _same(given: str | None, reference: str | None) -> bool | None:
    """Whether two answers agree; None where one is not known."""
    return None if given is None or reference is None else same_answer(given, reference)


def _labelled(name: str, number: int, problem: str, steps: Sequence[str], label: int, correct: bool | None) -> Form:
    """A labelled solution in ProcessBench's form; data sets that name no writer and no ids get the layout's name."""
    return {
        "id": f"{name}/{number}",
        "generator": name,
        "problem": problem,
        "steps": steps,
        "label": label,
        "final_answer_correct": correct,
    }


# Labelled solutions -----------------------------------------------------------------------------------------


def _null_is_right(value: Any, _: int) -> Iterator[Form]:
    """ProcessBench's form, in which null says that every step is right."""
    yield {**value, "label": -1} if _label_of(value) is None else value


def _counted_from_one(value: Any, _: int) -> Iterator[Form]:
    """ProcessBench's form, but the first step is 1, and 0, -1 or null say that every step is right."""
    label = _label_of(value)
    if label is None or (type(label) is int and label >= -1):
        yield {**value, "label": max(label or 0, 0) - 1}
    else:
        yield value  # refused for what it is


def _label_of(value: Any) -> Any:
    return value.get("label", "") if isinstance(value, Mapping) else ""


class _RatedStep(OpenRecord):
    text: str
    rating: Literal[-1, 0, 1] | None = None


class _StepChoice(OpenRecord):
    completions: tuple[_RatedStep, ...] = ()
    chosen_completion: Annotated[int, Field(ge=0)] | None = None
    human_completion: _RatedStep | str | None = None


class _Prm800kLabel(OpenRecord):
    steps: tuple[_StepChoice, ...]
    finish_reason: str


class _Prm800kQuestion(OpenRecord):
    problem: str
    ground_truth_answer: Answer | None = None
    pre_generated_steps: tuple[str, ...] | None = None
    pre_generated_answer: Answer | None = None


class Prm800kRecord(OpenRecord):
    """A line of PRM800K: a solution as labellers walked through it, with alternatives to each step."""

    question: _Prm800kQuestion
    label: _Prm800kLabel


def _prm800k(record: Prm800kRecord, number: int) -> Iterator[Form]:
    question, reason = record.question, record.label.finish_reason
    if reason not in ("solution", "found_error"):
        raise LeftOut(f"finish_reason {reason!r}")
    written = question.pre_generated_steps or ()
    walked = [_walked(step, written[i] if i < len(written) else None) for i, step in enumerate(record.label.steps)]
    label = _first(item.rating == -1 for item in walked)
    if any(item.rating is None for item in (walked if label < 0 else walked[:label])):
        raise LeftOut("a step without a rating")
    if not walked or (reason == "found_error" and label < 0):
        raise LeftOut(f"finish_reason {reason!r} without such a step")
    steps = tuple(item.text for item in walked)
    if label >= 0 and written[: len(steps)] == steps:
        steps = written  # labelling stopped at the error; the solution went on
    right = True if reason == "solution" else _same(question.pre_generated_answer, question.ground_truth_answer)
    yield _labelled("prm800k", number, question.problem, steps, label, right)


def _walked(step: _StepChoice, written: str | None) -> _RatedStep:
    """The step that the solution has: the chosen one, a person's, or, where labelling stopped, the model's own."""
    if step.chosen_completion is not None:
        if step.chosen_completion >= len(step.completions):
            raise ValueError(f"chosen_completion {step.chosen_completion} of {len(step.completions)} completions")
        return step.completions[step.chosen_completion]
    if step.human_completion is not None:
        text = step.human_completion if isinstance(step.human_completion, str) else step.human_completion.text
        return _RatedStep(text=text, rating=1)
    own = next((item for item in step.completions if item.text == written), None)
    if own is None:
        own = next(iter(step.completions), None)
    if own is None:
        raise LeftOut("a step without a completion")
    return own


class PrmBenchRecord(OpenRecord):
    """A line of PRMBench: a right solution, and what became of it when errors were put in."""

    modified_process: Annotated[tuple[str, ...], Field(min_length=1)]
    error_steps: tuple[PositiveInt, ...]
    modified_question: str | None = None
    question: str | None = None
    idx: Id | None = None
    classification: str | None = None


def _prmbench(record: PrmBenchRecord, number: int) -> Iterator[Form]:
    problem = record.modified_question or record.question
    if problem is None:
        raise ValueError("missing 'modified_question'")
    if record.error_steps and max(record.error_steps) > len(record.modified_process):
        raise ValueError(f"error_steps has {max(record.error_steps)}; there are {len(record.modified_process)} steps")
    label = min(record.error_steps, default=0) - 1
    form = _labelled("prmbench", number, problem, record.modified_process, label, None)
    name = "/".join(item for item in (record.classification, record.idx) if item)
    yield {**form, "id": f"prmbench/{name}"} if record.idx else form


class BigBenchMistakeRecord(OpenRecord):
    """A line of BIG-Bench-Mistake; ``mistake_index`` counts from 0, and null says that there is no mistake."""

    input: str
    steps: Annotated[tuple[str, ...], Field(min_length=1)]
    mistake_index: Annotated[int, Field(ge=0)] | None
    answer: Answer | None = None
    target: Answer | None = None


def _big_bench_mistake(record: BigBenchMistakeRecord, number: int) -> Iterator[Form]:
    label = -1 if record.mistake_index is None else record.mistake_index
    # Sorted words and brackets are compared letter by letter: no mathematics.
    known = record.answer is not None and record.target is not None
    right = _bare_text(record.answer) == _bare_text(record.target) if known else None
    yield _labelled("big-bench-mistake", number, record.input, record.steps, label, right)


def _bare_text(text: str | None) -> str:
    return " ".join((text or "").split()).rstrip(".")


class MathShepherdRecord(OpenRecord):
    """A line of Math-Shepherd: ``input`` with a tag after each step, ``label`` with a sign in its place."""

    input: str
    label: str


STEP_TAG = "ки"


def _math_shepherd(record: MathShepherdRecord, number: int) -> Iterator[Form]:
    *pieces, rest = record.input.split(STEP_TAG)
    if not pieces:
        raise ValueError(f"input has no step tag {STEP_TAG}, which math-shepherd has after each step")
    signs, at = [], 0
    for piece in pieces:
        at += len(piece)
        signs.append(record.label[at : at + 1])
        if record.label[at - len(piece) : at] != piece or signs[-1] not in ("+", "-"):
            raise ValueError(f"label does not follow input: no + or - in place of tag {len(signs)}")
        at += 1
    if rest.strip() or record.label[at:].strip():
        raise ValueError(f"something follows the last {STEP_TAG}")
    problem, first = _problem_and_step(pieces[0])
    steps = [item.strip() for item in (first, *pieces[1:])]
    if not steps[0]:  # a tag after the problem itself
        steps, signs = steps[1:], signs[1:]
    if not problem or not steps:
        raise LeftOut("no telling where the problem ends and the first step begins")
    label = _first(sign == "-" for sign in signs)
    # The last step's sign tells whether the solution's own answer is right.
    yield _labelled("math-shepherd", number, problem, steps, label, signs[-1] == "+")


def _problem_and_step(text: str) -> tuple[str, str]:
    """A problem and the first step, which begins with its number, or after the question mark."""
    begun = re.search(r"\bstep 1\s*:", text, re.IGNORECASE)
    if begun:
        return text[: begun.start()].strip(), text[begun.start() :]
    problem, mark, step = text.rpartition("?")
    return (problem + mark).strip(), step


class StepwiseRecord(OpenRecord):
    """A row of TRL's *stepwise supervision*: a problem, its steps, and whether each is right."""

    prompt: str
    completions: Annotated[tuple[str, ...], Field(min_length=1)]
    labels: tuple[bool, ...]


def _stepwise(record: StepwiseRecord, number: int) -> Iterator[Form]:
    if len(record.labels) != len(record.completions):
        raise ValueError(f"labels has {len(record.labels)} values; there are {len(record.completions)} completions")
    label = _first(not right for right in record.labels)
    yield _labelled("trl-stepwise", number, record.prompt, record.completions, label, None)


def _has_tags(value: Form) -> bool:
    return isinstance(value["input"], str) and STEP_TAG in value["input"]


def _has_choices(value: Form) -> bool:
    return isinstance(value["question"], Mapping) and isinstance(value["label"], Mapping)


SOLUTIONS = (
    own_layout("processbench", "id", "generator", "problem", "steps", "label"),
    Layout("processbench-null", ("problem", "steps", "label"), _null_is_right, named_only=True),
    Layout("processbench-from-1", ("problem", "steps", "label"), _counted_from_one, named_only=True),
    Layout("prm800k", ("question", "label"), _prm800k, Prm800kRecord, _has_choices),
    Layout("prmbench", ("modified_process", "error_steps"), _prmbench, PrmBenchRecord),
    Layout("big-bench-mistake", ("input", "steps", "mistake_index"), _big_bench_mistake, BigBenchMistakeRecord),
    Layout("math-shepherd", ("input", "label"), _math_shepherd, MathShepherdRecord, _has_tags),
    Layout("trl-stepwise", ("prompt", "completions", "labels"), _stepwise, StepwiseRecord),
)


# Solutions that nobody has labelled ---------------------------------------------------------------------------


def _weak_text(text: SolutionText, _: int) -> Iterator[Form]:
    """A solution of ``solutions.jsonl``, if the weak model wrote all of it."""
    if set(text.authors) != {"weak"}:
        raise LeftOut("not by the weak model alone")
    yield {
        "id": text.id,
        "generator": "weak",
        "problem": text.prompt,
        "steps": text.steps,
        "final_answer_correct": text.correct,
    }


def _without_label(value: Any, _: int) -> Iterator[Form]:
    """ProcessBench's form; a label that is there is left to those who label anew."""
    yield {key: item for key, item in value.items() if key != "label"} if isinstance(value, Mapping) else value


TEXTS = (
    Layout("solutions", ("id", "prompt", "steps", "authors"), _weak_text, SolutionText),
    Layout("processbench", ("id", "problem", "steps"), _without_label),
)


# Scored sequences -------------------------------------------------------------------------------------------


class SearchAndLearnRecord(OpenRecord):
    """A row of search-and-learn: a problem with several solutions and the PRM scores of their steps.

    Steps end at blank lines there, so the scores are what counts them.
    """

    unique_id: Id | None = None
    id: Id | None = None
    answer: Answer
    completions: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    completion_tokens: tuple[int, ...] | int | None = None


def _search_and_learn(record: SearchAndLearnRecord, number: int) -> Iterator[Form]:
    if len(record.scores) != len(record.completions):
        raise ValueError(f"scores has {len(record.scores)} lists; there are {len(record.completions)} completions")
    problem = record.unique_id or record.id or f"search-and-learn/{number}"
    tokens = record.completion_tokens if isinstance(record.completion_tokens, tuple) else ()
    if tokens and len(tokens) != len(record.completions):
        raise ValueError(f"completion_tokens has {len(tokens)} values; there are {len(record.completions)} completions")
    for i, (text, scores) in enumerate(zip(record.completions, record.scores, strict=True)):
        form = {
            "id": f"{problem}#{i}",
            "problem_id": problem,
            "scores": scores,
            "correct": bool(_same(boxed_answer(text), record.answer)),
        }
        # Searches that count no tokens write 0.
        yield {**form, "completion_tokens": tokens[i]} if tokens and tokens[i] > 0 else form


SEQUENCES = (
    own_layout("sequences", "id", "correct"),
    Layout("search-and-learn", ("answer", "completions", "scores"), _search_and_learn, SearchAndLearnRecord),
)


# Problems ---------------------------------------------------------------------------------------------------


class Math500Record(OpenRecord):
    """A row of MATH-500."""

    unique_id: Id
    problem: str
    answer: Answer | None = None


def _math500(record: Math500Record, _: int) -> Iterator[Form]:
    yield {"id": record.unique_id, "prompt": record.problem, "answer": record.answer}


class Gsm8kRecord(OpenRecord):
    """A row of GSM8K: the answer is a worked solution, whose last line holds the number after ``####``."""

    question: str
    answer: str


def final_answer(text: str) -> str:
    """What follows ``####`` in the last line, without thousands commas; a text without it is the answer itself.

    Examples
    --------
    >>> final_answer("1000 + 500 = 1500 #### 1,500"), final_answer("7")
    ('1500', '7')
    """
    _, mark, answer = text.rpartition("####")
    answer = answer.strip()
    if not mark or not answer or "\n" in answer:
        return text
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", answer)


def _gsm8k(record: Gsm8kRecord, number: int) -> Iterator[Form]:
    answer = final_answer(record.answer)
    if answer is record.answer:
        raise ValueError("answer has no last line with ####; expected GSM8K's form")
    yield {"id": f"gsm8k/{number}", "prompt": record.question, "answer": answer}


def _has_mark(value: Form) -> bool:
    return isinstance(value["answer"], str) and "####" in value["answer"]


PROBLEMS = (
    own_layout("problems", "id", "prompt|problem|question"),
    Layout("math-500", ("unique_id", "problem"), _math500, Math500Record),
    Layout("gsm8k", ("question", "answer"), _gsm8k, Gsm8kRecord, _has_mark),
)
