"""The report: what became of runs, beside what was planned, in one file that opens in any browser without a network.

`report_document` gathers the numbers as plain data; `write_report` renders them (`trim_pomdp.inspection.report_page`)
with the annotated solutions (`trim_pomdp.inspection.report_details`). Nothing is computed in the page.
"""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim_pomdp.artifacts import package_version, require_writable, write_bytes
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.assessment import CLASS_NAMES, Calibration, calibration, spending_by_class
from trim_pomdp.inspection.comparison import Asked, Difference, compare_runs
from trim_pomdp.inspection.figures import counted
from trim_pomdp.inspection.glossary import DIFFERS, FILTER_MEANINGS, WRONG, glossary
from trim_pomdp.inspection.packing import compact, packed
from trim_pomdp.inspection.report_details import SliderPolicy, points_per_curve, solution_detail
from trim_pomdp.inspection.report_numbers import (
    Judged,
    cost_tables,
    ends_in_words,
    intervals,
    money_document,
    outcome_rows,
    pace_in_words,
    policy_in_short,
    policy_in_words,
    policy_label,
    readable_per,
    step_rows,
    token_rows,
    tokens_by_outcome,
    undecided_in_words,
    unit_in_words,
    verdicts,
    warnings,
)
from trim_pomdp.inspection.runs import FILTERS, RecordedRun, outcome_of, read_run
from trim_pomdp.model.prices import Prices
from trim_pomdp.policies import AlphaVectorRule, PolicyArtifact
from trim_pomdp.policies.alpha_vectors import check_bins
from trim_pomdp.runtime.live import NO_MODEL, LivePlan, plan_from_file, result_document
from trim_pomdp.runtime.money import money_of_solutions
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.shards import Shard

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel

Tell = Callable[[str], None]
AnyRun = RecordedRun | str | Path
BUDGETS = (0.05, 0.1, 0.2, 0.3, 0.5)
_CHUNK = 20  # problems that are unpacked together
_EXCERPT = 300  # characters of a prompt that the list shows and searches
_MOST_RUNS = len(string.ascii_uppercase)


def write_report(
    runs: AnyRun | Sequence[AnyRun],
    path: str | Path,
    *,
    prices: Prices | None = None,
    policies: Sequence[PolicyArtifact] = (),
    model: RoutingModel | None = None,
    budgets: Sequence[float] = BUDGETS,
    title: str | None = None,
    command: str | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Write one self-contained page about one run, or several side by side.

    Parameters
    ----------
    runs : RecordedRun or path, or sequence of them
        Runs or their folders; the others are compared with the first.
    path : path
        The page, HTML. An interrupted write leaves no half a file behind.
    prices : Prices or None
        In place of the runs' own.
    policies : sequence of PolicyArtifact
        Further policies for the slider of every solution; those of the other runs are among them anyhow.
    model : RoutingModel or None
        Plans policies for `budgets`, which join the slider; and tells what runs that were planned in it, or in none,
        were expected to cost.
    budgets : sequence of float
    title, command : str or None
        What the page is called, and how it was made.
    tell : callable or None
        Told what is being done.

    Returns
    -------
    dict
        What the page says, as `report_document` has it.

    Raises
    ------
    InputError
        If a folder holds no run, no problem of it has ended, it was not routed by a policy (rollouts), the model does
        not fit its policy, a model that was asked has no price, or the page cannot be written.
    """
    path = Path(path)
    require_writable(path)
    say = tell or (lambda message: None)
    read = _read(runs, prices, say)
    _require_fit(read, model)
    sliders = _sliders(read, policies, _planned(model, budgets, say))
    document = report_document(read, model=model, title=title, command=command)
    document["slider"] = _slider_in_words(policies, model, budgets, len(read))
    write_bytes(path, _page(document, read, sliders, say).encode("utf-8", errors="replace"))
    return document


def report_document(
    runs: AnyRun | Sequence[AnyRun],
    *,
    prices: Prices | None = None,
    model: RoutingModel | None = None,
    title: str | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """What a report says, as JSON values: `runs`, each with its ``result`` and intervals, and their `comparison`.

    Parameters
    ----------
    runs, prices, model, title, command
        As in `write_report`.

    Raises
    ------
    InputError
        As `write_report`.
    """
    from trim_pomdp.inspection.intervals import LEVEL

    read = _read(runs, prices, lambda message: None)
    names = _names([run.folder for run in read])
    documents = [
        run_document(run, model, letter=letter, name=name)
        for run, letter, name in zip(read, string.ascii_uppercase, names, strict=False)
    ]
    choices = {name for run in read if run.policy is not None for name in run.policy.policy.choices}
    return {
        "title": title or ("Report of " + (names[0] if len(names) == 1 else f"{len(names)} runs")),
        "package_version": package_version(),
        "level": LEVEL,
        "command": command,
        "slider": None,
        "runs": documents,
        "picture": _picture([point for item in documents for point in item["points"]]),
        "cost": cost_tables(documents),
        "comparison": [_pair(read, second) for second in range(1, len(read))],
        "glossary": [*glossary(choices).items(), *FILTER_MEANINGS.items()],
        "has_money": any(item["has_money"] for item in documents),
    }


def _read(runs: AnyRun | Sequence[AnyRun], prices: Prices | None, say: Tell) -> list[RecordedRun]:
    """The runs; at other prices than their own where some are given."""
    runs = [runs] if isinstance(runs, (RecordedRun, str, Path)) else runs
    if not runs:
        raise InputError("no run is given; name the folder of one at least")
    if len(runs) > _MOST_RUNS:
        raise InputError(f"{len(runs)} runs do not fit side by side; give {_MOST_RUNS} at most")
    read = [_checked(item if isinstance(item, RecordedRun) else _read_one(item, say)) for item in runs]
    return read if prices is None else [_priced(run, prices) for run in read]


def _require_fit(runs: Sequence[RecordedRun], model: RoutingModel | None) -> None:
    """Refuse a model whose policies would say nothing of a run: made for other scores, or another step cap."""
    if model is None:
        return
    for run in runs:
        assert run.policy is not None  # it was checked
        for part in run.policy.policy.parts:
            if isinstance(part, AlphaVectorRule):
                try:
                    check_bins(part, model)
                except InputError as error:
                    raise InputError(f"the model {model.name!r} does not fit {run.folder}: {error}") from None
        steps, cap = model.dynamics.max_steps, run.config.get("caps", {}).get("max_steps", model.dynamics.max_steps)
        planned = run.policy.policy.horizon
        if steps > cap or planned not in (None, steps):
            raise InputError(
                f"the model {model.name!r} does not fit {run.folder}: it is of solutions of up to {steps} steps, "
                f"the run's policy or its limit of up to {planned or cap}"
            )


def _priced(run: RecordedRun, prices: Prices) -> RecordedRun:
    priced = replace(run, prices=prices)
    prices.require(priced.unpriced)
    return priced


def _read_one(folder: str | Path, say: Tell) -> RecordedRun:
    say(f"reading {folder}")
    return read_run(folder)


def _checked(run: RecordedRun) -> RecordedRun:
    if run.policy is None:
        mode = run.config.get("mode", "unknown")
        raise InputError(
            f"{run.folder}: was not routed by a policy (mode {mode}), so there is nothing to report; "
            "trim-pomdp inspect shows what it holds"
        )
    if not run.solutions:
        raise InputError(f"{run.folder}: no problem has ended yet")
    return run


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of folders, with as many of those above as tell them apart; no whole paths, which are private."""
    parts = [folder.resolve().parts[1:] for folder in folders]
    most = max(map(len, parts))
    for depth in range(1, most + 1):
        names = ["/".join(item[-depth:]) for item in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{item[-1]} ({index})" for index, item in enumerate(parts, start=1)]


# A run ----------------------------------------------------------------------------------------------------------


def run_document(
    run: RecordedRun, model: RoutingModel | None = None, *, letter: str = "A", name: str = ""
) -> dict[str, Any]:
    """What a report says of one run that was routed by a policy, as JSON values; `model` as in `write_report`."""
    assert run.policy is not None
    plan = plan_from_file(run.policy, None)
    summary = run.summary
    known = run.known_prices
    money = None if known is None else money_of_solutions(run.solutions, known)
    judged = Judged.of(run.solutions)
    ends = intervals(summary, plan, judged)
    count, shard = _count(run)
    steps = step_rows(run)
    calibrated = _calibrations(run)
    return {
        "letter": letter,
        "name": name or run.folder.resolve().name,
        "result": result_document(summary, plan, None if money is None else money.document),
        "ended": summary.problems,
        "count": count,
        "right": judged.right,
        "judged": judged.known,
        "intervals": ends,
        "outcome": outcome_rows(summary, plan, ends),
        "verdicts": verdicts(plan, summary, judged),
        "warnings": warnings(summary, count, plan, shard),
        "policy": _policy(plan),
        "unit": unit_in_words(plan),
        "ends": ends_in_words(summary),
        "pace": pace_in_words(summary),
        "tokens": token_rows(summary),
        "money": money_document(money, plan.artifact, _of_plan(model, plan.artifact)),
        "unpriced": list(run.unpriced),
        "by_step": steps,
        "has_capped": any(row["capped"] for row in steps),
        "has_alone": any(row["alone"] for row in steps),
        "has_failed": any(row["failed"] for row in steps),
        "undecided": undecided_in_words(run),
        "has_money": money is not None,
        "spending": _spending(run),
        "by_outcome": tokens_by_outcome(run.solutions),
        "calibration": calibrated,
        "no_calibration": _why_not_calibrated(run),
        "points": _points(run, plan, ends),
        "made": list(_made(run).items()),
        "provenance": [item.model_dump() for item in run.policy.provenance],
    }


def _of_plan(model: RoutingModel | None, artifact: PolicyArtifact) -> RoutingModel | None:
    """The model, if the policy was planned in it, or in none."""
    return model if model is not None and artifact.model in (model.name, NO_MODEL) else None


def _count(run: RecordedRun) -> tuple[int, str | None]:
    """How many problems the run has, and which part of a job it is."""
    count = int(run.config.get("problems", {}).get("count", len(run.solutions)))
    shard = Shard.of_config(run.config)
    return (count, None) if shard is None else (shard.size(count), str(shard))


def _policy(plan: LivePlan) -> dict[str, Any]:
    artifact = plan.artifact
    return {
        "words": policy_in_words(artifact),
        "short": policy_in_short(artifact),
        "form": artifact.policy.form,
        "hash": artifact.policy.policy_hash,
        "model": artifact.model,
        "asked_budget": artifact.asked_budget,
        "asked_tradeoff": artifact.asked_tradeoff,
        "asked_max_cost": artifact.asked_max_cost,
        "notes": list(artifact.notes),
    }


def _spending(run: RecordedRun) -> dict[str, Any] | None:
    spending = spending_by_class(run)
    if not any(item.steps for item in spending.classes):
        return None
    rows: list[dict[str, Any]] = [
        {"class": index, "name": name, **asdict(item), "regenerated": item.regenerations}
        for index, (name, item) in enumerate(zip(CLASS_NAMES, spending.classes, strict=True))
    ]
    if spending.undecided_tokens:
        tokens, money = spending.undecided_tokens, spending.undecided_money
        unknown = dict.fromkeys(("class", "steps", "regenerated"))
        rows.append({**unknown, "name": "no decision", "strong_tokens": tokens, "money": money})
    total = sum(row["strong_tokens"] for row in rows)
    note = "On right steps it is needless, on derailed ones in vain, on first errors it can help."
    if spending.undecided_tokens:
        note += " No decision: nothing is known of a weak step, since the strong model went on alone or wrote at once."
    return {
        "by": spending.by,
        "caption": "Strong tokens by the true class of the weak step"
        if spending.by == "truth"
        else "Strong tokens by what was believed of the weak step (truth is not known)",
        "rows": [{**row, "share": row["strong_tokens"] / total if total else None} for row in rows],
        "has_money": spending.undecided_money is not None,
        "currency": None if run.prices is None else run.prices.currency,
        "undecided_tokens": spending.undecided_tokens,
        "note": note,
    }


_CALIBRATED = {
    "answers": (
        "P(the solution is right) after its last step, against outcomes, of those that ended by their own text",
        "share that is right",
    ),
    "steps": ("P(S0) of a weak step once it was seen, against its true class", "share that is S0"),
}


def _calibrations(run: RecordedRun) -> list[dict[str, Any]]:
    found = []
    for of, (what, axis) in _CALIBRATED.items():
        try:
            known: Calibration = calibration(run, of)  # type: ignore[arg-type]
        except InputError:  # the policy believes nothing, or no truth is known
            continue
        found.append(
            {
                **asdict(known),
                "caption": f"{what}: {known.count} cases, Brier score {known.brier:.3f}, calibration error "
                f"{known.error:.3f}. Intervals at 95 %; bars below: how many cases.",
                "axis": axis,
                "bins": [{**asdict(item), "true": item.share} for item in known.bins],
            }
        )
    return found


def _why_not_calibrated(run: RecordedRun) -> str:
    believes = any(item.terminal.q is not None for item in run.solutions)
    return (
        "Neither right answers nor true classes are known, so that the belief cannot be compared with anything."
        if believes
        else "This policy has no belief that could be compared with what came out."
    )


def _points(run: RecordedRun, plan: LivePlan, ends: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Places in the picture of accuracy against budget (against strong tokens where the unit is not known)."""
    summary, artifact = run.summary, plan.artifact
    unit = plan.strong_only_tokens
    share = unit is not None and unit > 0
    per = unit if share and unit is not None else 1.0
    planned = (
        ("weak-only", "end", plan.weak_only),
        ("strong-only", "end", plan.strong_only),
        ("planned", "planned", artifact.planned),
    )
    points = [
        {"name": name, "kind": kind, "share": share, "x": point.strong_tokens / per, "y": point.accuracy}
        for name, kind, point in planned
        if point is not None
    ]
    tokens, accuracy = ends["strong_tokens"] or (None, None), ends["accuracy"] or (None, None)
    points.append(
        {
            "name": "measured",
            "kind": "measured",
            "share": share,
            "x": summary.strong_tokens / per,
            "y": summary.accuracy,
            "low": accuracy[0],
            "high": accuracy[1],
            "xLow": None if tokens[0] is None else tokens[0] / per,
            "xHigh": None if tokens[1] is None else tokens[1] / per,
        }
    )
    return points


def _picture(points: Sequence[Mapping[str, Any]]) -> str:
    """What the picture of these points shows."""
    kinds = {point["kind"] for point in points}
    across = "Share of strong-only’s tokens" if any(point["share"] for point in points) else "Strong tokens per problem"
    said = [f"{across} against accuracy."]
    if "planned" in kinds:
        said.append("Hollow: planned.")
    said.append("Filled, with 95 % intervals: measured.")
    if "end" in kinds:
        said.append("Squares: weak-only and strong-only, as planned.")
    return " ".join(said)


def _made(run: RecordedRun) -> dict[str, str]:
    """Versions, hashes and commands."""
    assert run.policy is not None
    config, artifact, folder = run.config, run.artifact, run.folder.resolve().name
    problems = config.get("problems", {})
    caps = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in config.get("caps", {}).items() if value)
    known = {
        "Written by": f"trim-pomdp {artifact.package_version}, run schema {artifact.schema_version}",
        "Seed": config.get("seed"),
        "Problems": None if not problems else f"{problems.get('count')}, SHA-256 {problems.get('sha256')}",
        "Policy": f"{run.policy.policy.form}, planned by trim-pomdp {run.policy.package_version} in {run.policy.model}",
        "Policy hash": run.policy.policy.policy_hash,
        "Configuration hash": artifact.config_hash,
        "Models": _compact_text(config.get("models")),
        "Limits": caps or None,
        "Answers judged by": config.get("checker"),
        "Again: look": f"trim-pomdp inspect {shlex.quote(folder)}",
        "Again: route": f"trim-pomdp run --policy {shlex.quote(folder)}/policy.json --seed {config.get('seed', 0)} "
        + ("--models lab --family FAMILY" if "lab" in (config.get("models") or {}) else "--models MODELS.toml")
        + " --problems PROBLEMS --out NEW",
    }
    return {key: str(value) for key, value in known.items() if value not in (None, "")}


def _compact_text(value: object) -> str | None:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else None


# Several runs ---------------------------------------------------------------------------------------------------

_COMPARED = {
    "accuracy": ("accuracy", 3),
    "strong_tokens": ("strong tokens", 1),
    "regenerations": ("steps regenerated", 2),
    "redrafts": ("redrafts", 2),
    "steps": ("steps", 2),
    "money": ("money", 2),
}


def _pair(runs: Sequence[RecordedRun], second: int) -> dict[str, Any]:
    """A run beside the first one; money where both have the same prices."""
    before, after = runs[0], runs[second]
    found = compare_runs(
        (item.terminal for item in before.solutions),
        (item.terminal for item in after.solutions),
        prices=before.known_prices if before.known_prices == after.known_prices else None,
        prompts=(before.prompts, after.prompts),
    )
    return {"first": 0, "second": second, **found.document, "rows": list(starmap(_row, found.differences.items()))}


def _row(name: str, item: Difference) -> dict[str, Any]:
    """A row of the table of differences; money of so many problems that it is no tiny fraction."""
    label, digits = _COMPARED[name]
    per = readable_per(max(item.first, item.second)) if name == "money" else 1
    low, high = item.interval or (None, None)
    return {
        "name": label if per == 1 else f"{label} of {counted(per, 'problem')}",
        "digits": digits,
        "first": item.first * per,
        "second": item.second * per,
        "value": item.value * per,
        "interval": None if low is None or high is None else (low * per, high * per),
    }


# Policies of the slider -----------------------------------------------------------------------------------------


def _planned(model: RoutingModel | None, budgets: Sequence[float], say: Tell) -> list[PolicyArtifact]:
    if model is None:
        return []
    from trim_pomdp.planning.frontier import policy_for_budget

    found = []
    for budget in budgets:
        say(f"planning for a budget of {budget:g}")
        found.append(policy_for_budget(model, budget))
    return found


def _sliders(
    runs: Sequence[RecordedRun], further: Sequence[PolicyArtifact], planned: Sequence[PolicyArtifact]
) -> list[list[SliderPolicy]]:
    """For every run the policies that its solutions are looked at with, by budget, each rule once."""
    own = [run.policy for run in runs if run.policy is not None]
    known = {item.policy.policy_hash: item for item in (*planned, *further, *own)}
    labels = {name: _slider_label(item) for name, item in known.items()}
    if len(own) > 1:
        for name in {item.policy.policy_hash for item in own}:
            theirs = [
                x for x, item in zip(string.ascii_uppercase, own, strict=False) if item.policy.policy_hash == name
            ]
            labels[name] += f" ({', '.join(theirs)})"
    ordered = [item.policy.policy_hash for item in sorted(known.values(), key=_by_budget)]
    return [
        [SliderPolicy(labels[name], known[name], own=name == mine.policy.policy_hash) for name in ordered]
        for mine in own
    ]


def _by_budget(artifact: PolicyArtifact) -> float:
    return float("inf") if artifact.planned is None else artifact.planned.budget


def _slider_label(artifact: PolicyArtifact) -> str:
    if artifact.asked_budget is not None:
        return f"{artifact.asked_budget:g}"
    label = policy_label(artifact.policy)
    return label if artifact.planned is None else f"{artifact.planned.budget:.3g} ({label})"


def _slider_in_words(
    policies: Sequence[PolicyArtifact], model: RoutingModel | None, budgets: Sequence[float], runs: int
) -> str:
    parts = ["the run’s own policy" if runs == 1 else "the policies of these runs"]
    if policies:
        parts.append(f"{len(policies)} further polic{'y' if len(policies) == 1 else 'ies'}")
    if model is not None:
        parts.append(
            f"policies planned for budgets of {', '.join(f'{budget:g}' for budget in budgets)} in {model.name}"
        )
    return "goes over " + ", ".join(parts)


# The page -------------------------------------------------------------------------------------------------------


def _page(
    document: Mapping[str, Any], runs: Sequence[RecordedRun], sliders: Sequence[Sequence[SliderPolicy]], say: Tell
) -> str:
    from trim_pomdp.inspection.report_page import render_page

    problems = _problems(runs)
    differ = [_differs(item) for item in problems]
    filters = [WRONG, *FILTERS, DIFFERS]
    data = {
        "title": document["title"],
        "filters": [{"name": name, "meaning": FILTER_MEANINGS[name]} for name in filters],
        "ids": [item.asked.problem for item in problems],
        "prompts": [(item.asked.prompt or "")[:_EXCERPT] for item in problems],
        "rows": [_rows(run, [item.records[place] for item in problems], differ) for place, run in enumerate(runs)],
        "chunk": _CHUNK,
        "runs": [
            {
                **{key: run[key] for key in ("letter", "name", "points", "by_step", "calibration")},
                "policy": run["policy"]["short"],
                "policies": [{"label": item.label} for item in policies],
            }
            for run, policies in zip(document["runs"], sliders, strict=True)
        ],
    }
    steps = sum(len(item.decisions) for run in runs for item in run.solutions)
    points = points_per_curve(steps, max(map(len, sliders)))
    chunks = []
    for start in range(0, len(problems), _CHUNK):
        say(f"solutions {start} of {len(problems)}")
        details = [
            [
                None if record is None else solution_detail(run, record, policies, points)
                for run, record, policies in zip(runs, item.records, sliders, strict=True)
            ]
            for item in problems[start : start + _CHUNK]
        ]
        chunks.append(packed(details))
    return render_page(document, compact(data), chunks)


@dataclass
class _Problem:
    """A problem of the list, and its solution in each run that has it."""

    asked: Asked
    records: list[SolutionRecord | None]


def _problems(runs: Sequence[RecordedRun]) -> list[_Problem]:
    """Problems of all runs; those that have an id in common but are not the same (`Asked.may_be`) stand apart."""
    found: dict[str, list[_Problem]] = {}
    for place, run in enumerate(runs):
        for name, record in {item.terminal.problem: item for item in run.solutions}.items():
            asked = Asked.of(record.terminal, run.prompts)
            same = next((item for item in found.get(name, ()) if item.asked.may_be(asked)), None)
            if same is None:
                same = _Problem(asked, [None] * len(runs))
                found.setdefault(name, []).append(same)
            same.asked = same.asked.joined(asked)
            same.records[place] = record
    return [item for group in found.values() for item in group]


def _differs(problem: _Problem) -> bool:
    """Whether some runs solved it and others did not."""
    return len({item.terminal.correct for item in problem.records if item is not None} - {None}) > 1


def _rows(run: RecordedRun, records: Sequence[SolutionRecord | None], differ: Sequence[bool]) -> list[list[Any] | None]:
    """Rows of the list of problems, see ``ROW`` in ``static/report.js``; None where the run has not the problem."""
    found = [{item.terminal.problem for item in run.where(name).solutions} for name in FILTERS]

    def row(record: SolutionRecord, differs: bool) -> list[Any]:
        end, outcome = record.terminal, outcome_of(record.terminal)
        marks = [outcome == "wrong", *(end.problem in names for names in found), differs]
        return [
            outcome,
            end.reason,
            end.answer,
            end.reference,
            end.steps,
            end.regenerations,
            end.tokens.strong,
            end.q,
            end.error,
            sum(1 << bit for bit, marked in enumerate(marks) if marked),
        ]

    return [None if record is None else row(record, differs) for record, differs in zip(records, differ, strict=True)]
