"""Rules for whole problems on recorded runs: what a live cascade does is a function of weak-only and strong-only runs.

Draws are keyed by seed, problem, step and model, so a live router that gives a problem to one model, at once or after
it has looked at the weak model's finished solution, has the texts of a run of that model alone on the same seed. Only
what is paid for is its own: `cascade` puts it together, problem by problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import QueryOutcome, WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.policies.query import QueryRule
from trim_pomdp.runtime.records import SolutionRecord, TerminalRecord, TokenCounts
from trim_pomdp.runtime.rollouts import accepted

Run = Iterable[SolutionRecord]


def weak_solution(record: SolutionRecord, further: Sequence[SolutionRecord] = ()) -> WeakSolution:
    """What can be seen of a recorded solution, beside answers of further samples of the same problem."""
    steps = accepted(record)
    scores = tuple(score for score in record.own_scores if score is not None)
    has_logprobs = all(item.logprobs or not item.tokens for item in steps)
    return WeakSolution(
        tokens=tuple(item.tokens for item in steps),
        answer=record.terminal.answer,
        texts=tuple(item.text for item in steps),
        scores=scores if len(scores) == len(steps) else None,
        logprobs=tuple(float(np.mean(item.logprobs)) if item.logprobs else 0.0 for item in steps)
        if has_logprobs
        else None,
        further=tuple(item.terminal.answer for item in further),
    )


def query_outcomes(problems: Sequence[Problem], weak: Sequence[Run], strong: Sequence[Run]) -> list[QueryOutcome]:
    """How both models fared on problems, by runs of each alone, in the order of the problems.

    Parameters
    ----------
    problems : sequence of Problem
    weak, strong : sequence of runs
        One or more samples of each model: records as `trim_pomdp.runtime.traces.read_traces` gives them.

    Returns
    -------
    list of QueryOutcome
        Of the problems that every run solved or failed to solve, without an error, and whose answers are known.

    Raises
    ------
    InputError
        If there is no run of a model, or no such problem.
    """
    if not weak or not strong:
        raise InputError("outcomes need at least one run of the weak model and one of the strong one")
    weak_runs, strong_runs = [_judged(run) for run in weak], [_judged(run) for run in strong]
    found = []
    for problem in problems:
        samples = [[run.get(problem.id) for run in runs] for runs in (weak_runs, strong_runs)]
        ours, theirs = ([item for item in row if item is not None] for row in samples)
        if len(ours) < len(weak_runs) or len(theirs) < len(strong_runs):
            continue
        found.append(
            QueryOutcome(
                problem,
                weak_right=_share_right(ours),
                strong_right=_share_right(theirs),
                strong_tokens=float(np.mean([item.terminal.tokens.strong for item in theirs])),
                weak=weak_solution(ours[0], ours[1:]),
                strong_answer=theirs[0].terminal.answer,
            )
        )
    if not found:
        raise InputError("no problem with a known answer was ended in every run without an error")
    return found


def cascade(
    rule: QueryRule, problems: Sequence[Problem], weak: Run, strong: Run, further: Sequence[Run] = (), *, seed: int = 0
) -> list[TerminalRecord]:
    """What routing whole problems by a rule would have done and cost.

    Parameters
    ----------
    rule : QueryRule
    problems : sequence of Problem
    weak, strong : runs
        Of either model alone, on one seed; of the weak one with every step scored (``record_scores``) for rules that
        look at scores.
    further : sequence of runs
        More samples of the weak model, on other seeds, for rules that look at them (`QueryRule.further_samples`); the
        first ones are taken.
    seed : int
        Of the rule's draws.

    Returns
    -------
    list of TerminalRecord
        One a problem, in order, as the engine ends them. Of a rule that looks at the prompt alone these are what the
        engine records, times apart. Of one that looks at the weak solution, that solution, further samples and its
        scores are paid for in any case: the weak tokens of what does not stand are discarded ones. A problem on which
        the weak model failed stays failed if its solution was to be looked at.

    Raises
    ------
    InputError
        If a problem is absent from a run, further samples are too few, or a solution lacks what the rule looks at.
    """
    if len(further) < rule.further_samples:
        raise InputError(
            f"{rule.form} asks {rule.further_samples} further weak samples; got {len(further)} runs of such"
        )
    weak_of, strong_of = _by_problem(weak), _by_problem(strong)
    others = [_by_problem(run) for run in further[: rule.further_samples]]
    if not rule.needs_solution:
        chosen = rule.escalations(problems, seed=seed)
        return [
            _alone(rule, _found(strong_of if up else weak_of, problem, "strong" if up else "weak").terminal)
            for problem, up in zip(problems, chosen, strict=True)
        ]
    looked = [[_found(run, problem, "weak") for run in (weak_of, *others)] for problem in problems]
    whole = [all(item.terminal.error is None for item in row) for row in looked]
    asked = [index for index, fine in enumerate(whole) if fine]
    chosen = rule.escalations(
        [problems[index] for index in asked],
        [weak_solution(looked[index][0], looked[index][1:]) for index in asked],
        seed=seed,
    )
    escalated = {index for index, up in zip(asked, chosen, strict=True) if up}
    return [
        _looked(rule, row, _found(strong_of, problem, "strong") if index in escalated else None)
        for index, (problem, row) in enumerate(zip(problems, looked, strict=True))
    ]


def _alone(rule: QueryRule, end: TerminalRecord) -> TerminalRecord:
    """One model's solution, without scores that the rule does not look at."""
    tokens = end.tokens.model_copy(update={"scored": 0, "scored_cached": 0})
    return _ended(rule, end, tokens)


def _looked(rule: QueryRule, looked: Sequence[SolutionRecord], strong: SolutionRecord | None) -> TerminalRecord:
    """What was looked at, all of it paid for, and what stands: the first solution looked at, or the strong one."""
    first, *others = (record.terminal for record in looked)
    scored = {} if rule.needs_score else {"scored": 0, "scored_cached": 0}
    paid = first.tokens.model_copy(update=scored)
    extra = [_discarded(item.tokens.model_copy(update={"scored": 0, "scored_cached": 0})) for item in others]
    if strong is None:
        return _ended(rule, first, TokenCounts.total([paid, *extra]))
    own = strong.terminal.tokens.model_copy(update={"scored": 0, "scored_cached": 0})
    return _ended(rule, strong.terminal, TokenCounts.total([_discarded(paid), *extra, own]))


def _discarded(tokens: TokenCounts) -> TokenCounts:
    return tokens.model_copy(update={"weak_kept": 0, "weak_discarded": tokens.weak_kept + tokens.weak_discarded})


def _ended(rule: QueryRule, end: TerminalRecord, tokens: TokenCounts) -> TerminalRecord:
    changes = {"tokens": tokens, "policy_hash": rule.policy_hash, "q": None, "scoring": None}
    return end.model_copy(update={**changes, "session": 0, "elapsed_s": 0.0, "models_s": 0.0})


def _by_problem(run: Run) -> Mapping[str, SolutionRecord]:
    return {record.terminal.problem: record for record in run}


def _judged(run: Run) -> Mapping[str, SolutionRecord]:
    """Solutions that tell of the model: no error ended them, and somebody knows whether they are right."""
    return {
        name: record
        for name, record in _by_problem(run).items()
        if record.terminal.error is None and record.terminal.correct is not None
    }


def _share_right(records: Sequence[SolutionRecord]) -> float:
    return float(np.mean([bool(record.terminal.correct) for record in records]))


def _found(run: Mapping[str, SolutionRecord], problem: Problem, author: str) -> SolutionRecord:
    if problem.id not in run:
        raise InputError(f"a run of the {author} model has no solution of problem {problem.id!r}")
    return run[problem.id]
