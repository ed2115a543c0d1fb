"""A run, looked into: a row a problem, a row a decision, and the problems that are worth a look.

All of it is read from the run's folder, as it was recorded, also while the run goes on. `RecordedRun.inspect` leads
the run's policy, or another one, along one of its solutions (`trim_pomdp.inspection.solutions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from trim_pomdp.artifacts import read_json, validate
from trim_pomdp.data.features import LOGPROBS
from trim_pomdp.data.problems import read_problems
from trim_pomdp.data.solutions import read_solution_texts
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import discarded_drafts, score_of
from trim_pomdp.inspection.frames import frame
from trim_pomdp.inspection.solutions import Inspection, inspect_solution
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.model.prices import Prices, Role
from trim_pomdp.policies import PolicyArtifact, Rule
from trim_pomdp.runtime.live import CLASS_TABLE_FILE, POLICY_FILE, plan_from_file
from trim_pomdp.runtime.money import PRICES_FILE, read_stored, spent
from trim_pomdp.runtime.records import ENDED, DecisionRecord, SolutionRecord, TerminalRecord
from trim_pomdp.runtime.rollouts import PROBLEMS_FILE
from trim_pomdp.runtime.solutions import SOLUTIONS_FILE
from trim_pomdp.runtime.summary import RunSummary, summarise
from trim_pomdp.runtime.traces import RunArtifact, read_run_artifact, read_traces, require_run_folder
from trim_pomdp.text.format import StepFormat

if TYPE_CHECKING:
    from trim_pomdp.inspection.frames import Frame

_BELIEVED, _LOST = 0.5, 0.5
_EXPENSIVE = 0.1


class RunFrames(NamedTuple):
    """The frames of a run: a row a problem, and a row a decision."""

    problems: Frame
    decisions: Frame


@dataclass(frozen=True, repr=False)
class RecordedRun(Shown):
    """A run as its folder holds it.

    Attributes
    ----------
    folder : Path
    artifact : RunArtifact
        What defines it.
    solutions : tuple of SolutionRecord
        Those that have ended, in the order of the problems where the folder tells it (of a routed run once it has
        ended), else as they ended; narrowed by `where`.
    policy : PolicyArtifact or None
        What routed it; None of rollouts.
    prompts : mapping of str to str
        What was asked, by problem; of a routed run empty until it has ended.
    prices : Prices or None
        Its own; where one is missing of a model that was asked (`unpriced`), no money is told.
    class_table : ClassTable or None
        For policies that look at (min, current).
    """

    folder: Path
    artifact: RunArtifact
    solutions: tuple[SolutionRecord, ...]
    policy: PolicyArtifact | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    prices: Prices | None = None
    class_table: ClassTable | None = None

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        summary = self.summary
        return {
            "folder": self.folder.name,
            "problems": summary.problems,
            "accuracy": summary.accuracy,
            "strong tokens": summary.strong_tokens,
            "budget": summary.budget,
            "failed": summary.failed,
            "policy": None if self.policy is None else self.policy.policy.form,
            "no price of": ", ".join(self.unpriced) or None,
        }

    @property
    def config(self) -> Mapping[str, Any]:
        """Everything that defines it."""
        return self.artifact.config

    @property
    def seed(self) -> int:
        """Of all draws."""
        return int(self.config.get("seed", 0))

    @cached_property
    def summary(self) -> RunSummary:
        """Totals of the solutions that are here."""
        unit = None if self.policy is None else plan_from_file(self.policy, None).strong_only_tokens
        ends = sorted((item.terminal for item in self.solutions), key=lambda end: (end.session, end.elapsed_s))
        return summarise(ends, unit)  # as they ended, so that the first error is the one that the run told

    @cached_property
    def unpriced(self) -> tuple[Role, ...]:
        """Models that were asked and have no price, where the run has prices."""
        asked = frozenset[Role]().union(*(item.terminal.tokens.roles for item in self.solutions))
        return () if self.prices is None else self.prices.absent(asked)

    @property
    def known_prices(self) -> Prices | None:
        """Its own, of all models that were asked; None where one is missing."""
        return None if self.unpriced else self.prices

    def solution(self, problem: str) -> SolutionRecord:
        """The solution of a problem.

        Raises
        ------
        InputError
            If there is none.
        """
        found = self._by_id.get(problem)
        if found is None:
            some = ", ".join(list(self._by_id)[:3])
            raise InputError(f"{self.folder}: no ended problem {problem!r} (there are {len(self._by_id)}: {some}, …)")
        return found

    @cached_property
    def _by_id(self) -> Mapping[str, SolutionRecord]:
        return {item.terminal.problem: item for item in self.solutions}

    def inspect(
        self, problem: str, policy: Rule | PolicyArtifact | None = None, *, class_table: ClassTable | None = None
    ) -> Inspection:
        """A solution under the run's policy, or another one.

        Parameters
        ----------
        problem : str
        policy : rule or PolicyArtifact, optional
        class_table : ClassTable or None
            For a policy that looks at (min, current), where the run's own did not (`ObservationModel.class_table`).

        Raises
        ------
        InputError
            If there is no such problem, or no policy; or a step lacks what the policy looks at.
        """
        record, chosen = self.solution(problem), policy or self.policy
        if chosen is None:
            raise InputError(f"{self.folder}: was not routed, so there is no policy to look at it with; name one")
        return inspect_solution(
            record,
            chosen,
            prompt=self.prompts.get(problem),
            seed=self.seed,
            class_table=class_table or self.class_table,
            step_format=StepFormat(**self.config.get("steps", {})),
        )

    def where(self, which: str | Callable[[SolutionRecord], bool]) -> RecordedRun:
        """The run with some of its problems alone: by the name of a filter (`FILTERS`), or by a test of one's own.

        Raises
        ------
        InputError
            If there is no filter of the name.
        """
        if callable(which):
            return replace(self, solutions=tuple(item for item in self.solutions if which(item)))
        if which not in FILTERS:
            raise InputError(f"no filter {which!r}; there are {', '.join(map(repr, FILTERS))}")
        return replace(self, solutions=tuple(FILTERS[which](self)))

    @property
    def frames(self) -> RunFrames:
        """`problems` and `decisions`."""
        return RunFrames(self.problems, self.decisions)

    @cached_property
    def problems(self) -> Frame:
        """A row a problem, with how it ended, what it took, what the policy believed of it (``q``)."""
        return _framed(PROBLEM_COLUMNS, [_problem_row(item, self) for item in self.solutions])

    @cached_property
    def decisions(self) -> Frame:
        """A row a step, with what was seen, believed and done, and what came of it. ``step`` counts from 0.

        ``drafts`` are tuples of `DiscardedDraft`: drafts of the step beside the one that the row is of.
        """
        rows = [
            _decision_row(item, score, record)
            for record in self.solutions
            for item, score in zip(record.decisions, record.own_scores, strict=True)
        ]
        return _framed(DECISION_COLUMNS, rows)


def read_run(folder: str | Path) -> RecordedRun:
    """Read a run, also while it goes on.

    Parameters
    ----------
    folder : path
        Of the run, or a rollout of one mode; or ``run.json`` or ``traces.jsonl`` in it.

    Raises
    ------
    InputError
        If it holds no run (the message names runs inside of it), or a file of it is not right.
    """
    folder = require_run_folder(folder)
    artifact = read_run_artifact(folder)
    solutions = list(read_traces(folder))
    prompts = _prompts(folder)
    place = {problem: index for index, problem in enumerate(prompts)}
    solutions.sort(key=lambda item: place.get(item.terminal.problem, len(place)))
    table, prices = folder / CLASS_TABLE_FILE, folder / PRICES_FILE
    return RecordedRun(
        folder=folder,
        artifact=artifact,
        solutions=tuple(solutions),
        policy=PolicyArtifact.read(folder / POLICY_FILE) if (folder / POLICY_FILE).is_file() else None,
        prompts=prompts,
        prices=read_stored(prices) if prices.is_file() else None,
        class_table=validate(ClassTable, read_json(table), source=str(table)) if table.is_file() else None,
    )


def _prompts(folder: Path) -> dict[str, str]:
    """What was asked, in the order of the problems; a routed run tells it once it has ended, a rollout always."""
    if (path := folder / SOLUTIONS_FILE).is_file():
        return {item.id: item.prompt for item in read_solution_texts(path)}
    if (path := folder / PROBLEMS_FILE).is_file():
        return {item.id: item.prompt for item in read_problems(path)}
    return {}


def inspect_run(folder: str | Path, which: str | Callable[[SolutionRecord], bool] | None = None) -> RunFrames:
    """The frames of a run, narrowed to some of its problems by a filter (`RecordedRun.where`).

    Raises
    ------
    InputError
        As `read_run` and `RecordedRun.where`.
    """
    run = read_run(folder)
    return (run if which is None else run.where(which)).frames


# Filters --------------------------------------------------------------------------------------------------------


def _believed_right(run: RecordedRun) -> Iterable[SolutionRecord]:
    return (
        item for item in run.solutions if item.terminal.correct is False and believed_at_end(item, 0.0) >= _BELIEVED
    )


def _lost_causes(run: RecordedRun) -> Iterable[SolutionRecord]:
    return (item for item in run.solutions if any(map(is_lost_cause, item.decisions)))


def _missed_errors(run: RecordedRun) -> Iterable[SolutionRecord]:
    return (item for item in run.solutions if any(map(is_missed_error, item.decisions)))


def _most_expensive(run: RecordedRun) -> Iterable[SolutionRecord]:
    cost = {id(item): expense(item, run.known_prices) for item in run.solutions}
    costly = sorted(cost, key=cost.__getitem__, reverse=True)
    dear = {item for item in costly[: max(round(_EXPENSIVE * len(costly)), 1)] if cost[item] > 0.0}
    return (item for item in run.solutions if id(item) in dear)


def _capped(run: RecordedRun) -> Iterable[SolutionRecord]:
    return (item for item in run.solutions if any(step.capped for step in item.decisions))


def _failed(run: RecordedRun) -> Iterable[SolutionRecord]:
    return (item for item in run.solutions if item.terminal.reason == "error")


FILTERS: Mapping[str, Callable[[RecordedRun], Iterable[SolutionRecord]]] = {
    "wrong though believed right": _believed_right,
    "spent on lost causes": _lost_causes,
    "missed errors": _missed_errors,
    "most expensive": _most_expensive,
    "capped": _capped,
    "failed": _failed,
}
"""Problems worth a look, by name; `trim_pomdp.inspection.glossary.FILTER_MEANINGS` says what each looks for."""


Outcome = Literal["right", "wrong", "failed", "not known"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def outcome_of(end: TerminalRecord) -> Outcome:
    """How a problem ended: by an error, or else right, wrong, or so that nobody knows."""
    if end.reason == "error":
        return "failed"
    return "not known" if end.correct is None else "right" if end.correct else "wrong"


def believed_at_end(item: SolutionRecord, unknown: float) -> float:
    """P(the solution is right) as the policy believed; `unknown` where it did not, or a limit or an error ended it."""
    end = item.terminal
    return end.q if end.q is not None and end.reason in ENDED else unknown


def _has_truth(item: DecisionRecord) -> bool:
    return item.weak is not None and item.weak.true_class is not None


def _is_judged(item: DecisionRecord) -> bool:
    return _has_truth(item) or item.belief is not None


def is_lost_cause(item: DecisionRecord) -> bool:
    """Whether the strong model wrote a step of a solution that was derailed before, in truth or else in the belief."""
    if item.author != "strong" or item.weak is None:
        return False
    if item.weak.true_class is not None:
        return item.weak.true_class == 1
    return item.belief is not None and item.belief[1] >= _LOST


def is_missed_error(item: DecisionRecord) -> bool:
    """Whether the policy let a first error stand; False where truth is not known, or it had no choice."""
    free = item.author == "weak" and not item.capped and not item.fallback
    weak = item.standing.weak
    return free and weak is not None and weak.true_class == 2


def expense(item: SolutionRecord, prices: Prices | None) -> float:
    """What a solution cost: money where prices are known, else strong tokens."""
    return float(item.terminal.tokens.strong) if prices is None else spent(item.terminal.tokens, prices).total


# Rows -----------------------------------------------------------------------------------------------------------

PROBLEM_COLUMNS = (
    "problem",
    "correct",
    "reason",
    "answer",
    "reference",
    "q",
    "steps",
    "regenerations",
    "redrafts",
    "strong_tokens",
    "weak_tokens",
    "scored_tokens",
    "money",
    "missed_errors",
    "lost_causes",
    "capped",
    "alone",
    "error",
    "prompt",
    "policy_hash",
)
_SELDOM = ("redrafts",)  # columns that are left out where there are none
DECISION_COLUMNS = (
    "problem",
    "step",
    "action",
    "author",
    "text",
    "draft",
    "drafts",
    "score",
    "strong_score",
    "evidence",
    "q",
    "belief_S0",
    "belief_S1",
    "belief_S2",
    "gain",
    "price",
    *LOGPROBS,
    "minimum",
    "ended",
    "true_class",
    "strong_class",
    "weak_tokens",
    "strong_tokens",
    "scored_tokens",
    "capped",
    "fallback",
    "flaw",
)


def _framed(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Frame:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    found = dict(zip(names, columns, strict=True))
    return frame({name: column for name, column in found.items() if name not in _SELDOM or any(column)})


def _problem_row(record: SolutionRecord, run: RecordedRun) -> tuple[Any, ...]:
    end = record.terminal
    tokens = end.tokens
    return (
        end.problem,
        end.correct,
        end.reason,
        end.answer,
        end.reference,
        end.q,
        end.steps,
        end.regenerations,
        end.redrafts,
        tokens.strong,
        tokens.weak_kept + tokens.weak_discarded,
        tokens.scored,
        None if run.known_prices is None else spent(tokens, run.known_prices).total,
        sum(map(is_missed_error, record.decisions)) if any(map(_has_truth, record.decisions)) else None,
        sum(map(is_lost_cause, record.decisions)) if any(map(_is_judged, record.decisions)) else None,
        any(item.capped for item in record.decisions),
        None if end.fallback is None else end.fallback.author,
        end.error,
        run.prompts.get(end.problem),
        end.policy_hash,
    )


def _decision_row(item: DecisionRecord, own_score: float | None, record: SolutionRecord) -> tuple[Any, ...]:
    """Of the weak step that stands, or was replaced; what was thought is of the draft that was decided on last."""
    shown, strong, accepted = item.standing, item.strong, item.accepted
    weak, score, redone = shown.weak, score_of(shown), item.author == "strong"
    return (
        record.terminal.problem,
        item.step,
        item.action,
        item.author,
        None if accepted is None else accepted.text,
        weak.text if redone and weak is not None else None,
        discarded_drafts(item),
        score if score is not None or redone else own_score,
        own_score if redone else None,
        shown.evidence,
        item.q,
        *(item.belief or (None, None, None)),
        item.gain,
        item.price,
        *(shown.features.get(name) for name in (*LOGPROBS, "minimum")),
        shown.ended,
        None if weak is None else weak.true_class,
        None if strong is None else strong.true_class,
        None if weak is None else weak.tokens,
        None if strong is None else strong.tokens,
        item.tokens.scored,
        item.capped,
        item.fallback,
        None if accepted is None else accepted.flaw,
    )
