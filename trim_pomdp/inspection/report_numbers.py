"""What a report says of one run, as plain JSON values: what was planned and measured, what it cost and where it went.

Totals are those of `trim_pomdp.runtime.live.result_document`, to the bit; here they get intervals, names and words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trim_pomdp.inspection.assessment import decisions_by_step
from trim_pomdp.inspection.figures import brief, counted, fixed, whole
from trim_pomdp.inspection.intervals import Interval, mean_interval, share_interval
from trim_pomdp.inspection.planned_money import planned_money
from trim_pomdp.inspection.runs import OUTCOMES, RecordedRun, outcome_of
from trim_pomdp.model.prices import Money
from trim_pomdp.policies import PolicyArtifact, Rule
from trim_pomdp.runtime.live import LivePlan, has_redrafts
from trim_pomdp.runtime.money import RunMoney
from trim_pomdp.runtime.records import SolutionRecord
from trim_pomdp.runtime.summary import RunSummary, disobedience

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel

# Token counts by model and purpose; what is seldom (reading by a cache, ahead in vain) is told where there is any.
_TOKENS = {
    "weak_kept": ("weak", "steps kept"),
    "weak_discarded": ("weak", "steps discarded"),
    "weak_read": ("weak", "read"),
    "weak_cached": ("weak", "of that from a cache"),
    "strong": ("strong", "steps"),
    "strong_read": ("strong", "read"),
    "strong_cached": ("strong", "of that from a cache"),
    "scored": ("PRM", "read"),
    "scored_cached": ("PRM", "of that from a cache"),
    "weak_ahead": ("weak", "ahead, in vain"),
    "weak_ahead_read": ("weak", "read ahead, in vain"),
    "weak_ahead_cached": ("weak", "of that from a cache"),
    "strong_ahead": ("strong", "ahead, in vain"),
    "strong_ahead_read": ("strong", "read ahead, in vain"),
    "strong_ahead_cached": ("strong", "of that from a cache"),
}
_ALWAYS = ("weak_kept", "weak_discarded", "strong", "scored")
# Of fewer problems intervals of skewed spendings are not to be trusted.
_FEW = 10
_VISIBLE = 5e-4
_MEASURED = {"accuracy": ("accuracy", 3), "budget": ("budget", 3)}
_COUNTS = {"strong_tokens": ("strong tokens", 1), "regenerations": ("steps regenerated", 2)}
_REDRAFTS = {"redrafts": ("redrafts", 2)}


@dataclass(frozen=True)
class Judged:
    """How many of the problems with a known outcome were solved."""

    right: int
    known: int

    @classmethod
    def of(cls, solutions: Iterable[SolutionRecord]) -> Judged:
        """Counted over ended problems."""
        outcomes = [item.terminal.correct for item in solutions if item.terminal.correct is not None]
        return cls(sum(outcomes), len(outcomes))


def intervals(summary: RunSummary, plan: LivePlan, judged: Judged) -> dict[str, Interval | None]:
    """Intervals of what was measured, at 95 %: Wilson's of the accuracy, Student's of means over problems."""
    means = ("strong_tokens", "regenerations", "budget", *(_REDRAFTS if has_redrafts(summary, plan) else ()))
    return {
        "accuracy": share_interval(judged.right, judged.known),
        **{
            name: mean_interval(getattr(summary, name), getattr(summary, f"{name}_se"), summary.problems, least=0.0)
            for name in means
        },
    }


def outcome_rows(summary: RunSummary, plan: LivePlan, ends: Mapping[str, Interval | None]) -> list[dict[str, Any]]:
    """Rows of the table of what was planned and measured; the budget only where its unit is known.

    Redrafts only where there were any, or may have been.
    """
    points = {"planned": plan.artifact.planned, "weak_only": plan.weak_only, "strong_only": plan.strong_only}
    return [
        {
            "name": label,
            "quantity": name,
            "digits": digits,
            "measured": getattr(summary, name),
            "interval": ends[name],
            **{point: None if at is None else getattr(at, name) for point, at in points.items()},
        }
        for name, (label, digits) in (_MEASURED | _COUNTS | _REDRAFTS).items()
        if name in ends and (name != "budget" or summary.budget is not None)
    ]


def verdicts(plan: LivePlan, summary: RunSummary, judged: Judged) -> list[str]:
    """Whether what was planned agrees with what was measured, a sentence each."""
    planned, asked = plan.artifact.planned, plan.artifact.asked_budget
    ends = intervals(summary, plan, judged)
    said = []
    if planned is not None and judged.known:
        said.append(_verdict("The accuracy", planned.accuracy, ends["accuracy"], judged.known))
    wanted = asked if asked is not None else None if planned is None else planned.budget
    if wanted is not None and summary.budget is not None:
        word = "planned" if asked is None else "asked"
        said.append(_verdict("The budget", wanted, ends["budget"], summary.problems, word))
    return said


def _verdict(what: str, value: float, ends: Interval | None, problems: int, word: str = "planned") -> str:
    if problems < _FEW:
        return f"{what}: too few problems to tell whether it is as {word}."
    if ends is None:
        return f"{what}: the same in all problems, which is too little to tell whether it is as {word}."
    low, high = ends
    if low <= value <= high:
        return f"{what} is as {word}, as far as chance can tell."
    return f"{what} lies {'above' if low > value else 'below'} what was {word}, by more than chance."


def warnings(summary: RunSummary, count: int, plan: LivePlan, shard: str | None) -> list[str]:
    """What the reader must know before believing a number, a sentence each."""
    said = []
    if shard is not None:
        said.append(f"This is shard {shard} of a job.")
    if summary.problems < count:
        missing = count - summary.problems
        said.append(f"{missing} of {count} problems have not ended yet: the run goes on, or was stopped.")
    if summary.failed:
        said.append(f"{summary.failed} of {summary.problems} problems failed, the first by {summary.error}.")
    if summary.alone:
        said.append(
            f"{summary.alone} of {summary.problems} problems were finished by one model alone, since another one had "
            f"been given up, the first by {summary.given_up}."
        )
    if plan.artifact.planned is None:
        said.append("Nothing was planned for this policy, so there is nothing to compare with.")
    return [*said, *(f"{line[:1].upper()}{line[1:]}." for line in disobedience(summary))]


def ends_in_words(summary: RunSummary) -> str:
    """How solutions ended."""
    ends = ", ".join(f"{reason} {count}" for reason, count in summary.reasons.items())
    return f"Solutions ended by: {ends}; {summary.steps:.1f} steps each."


def pace_in_words(summary: RunSummary) -> str:
    """How long it took."""
    if summary.wall_s <= 0:
        return "Nobody took the time."
    pace = 60 * summary.problems / summary.wall_s
    share = 100 * summary.overhead_share
    return f"{fixed(summary.wall_s, 1)} s, {whole(pace)} problems a minute, {share:.1f} % of it outside the models."


def token_rows(summary: RunSummary) -> list[dict[str, Any]]:
    """Tokens by model and purpose, per problem and in total."""
    return [
        {"model": model, "purpose": purpose, "per_problem": total / summary.problems, "total": total}
        for name, (model, purpose) in _TOKENS.items()
        if (total := summary.tokens[name]) or name in _ALWAYS
    ]


def money_document(
    measured: RunMoney | None, artifact: PolicyArtifact, model: RoutingModel | None = None
) -> dict[str, Any] | None:
    """Money per problem by model and purpose, beside what was planned at the same prices; None without prices.

    Parameters
    ----------
    measured : RunMoney or None
    artifact : PolicyArtifact
        What was run.
    model : RoutingModel or None
        In which it was planned; without it planned money is known only where the policy was planned over money.
    """
    if measured is None:
        return None
    expected = planned_money(artifact, measured, model)
    named = {
        "planned": expected.planned,
        "weak-only, planned": expected.weak_only,
        "strong-only, planned": expected.strong_only,
    }
    known = [(name, money) for name, money in named.items() if money is not None]
    columns: list[tuple[str, Money]] = [("measured", measured.money), *known]
    rows: list[dict[str, Any]] = [
        {"model": role, "purpose": purpose, "values": amounts}
        for role, purpose, amounts in Money.told(money for _, money in columns)
    ]
    rows.append({"model": "", "purpose": "all", "values": [money.total for _, money in columns]})
    per = readable_per(measured.money.total)
    return {
        **measured.document,
        "per": per,
        "per_words": _problems(per),
        "digits": 3 if measured.money.total * per < 10 else 2,
        "columns": [{"name": name} for name, _ in columns],
        "rows": rows,
        "assumed": f"What is planned reads {expected.assumed}."
        if known
        else _why_not_planned(artifact, model, measured),
        "interval": mean_interval(measured.money.total, measured.total_se, measured.problems, least=0.0),
    }


def _why_not_planned(artifact: PolicyArtifact, model: RoutingModel | None, measured: RunMoney) -> str:
    """Why there is no planned money, a sentence; empty where nothing was planned anyhow."""
    if artifact.planned is None:
        return ""
    if model is None:
        return f"What was planned in money takes the model of the plan, {artifact.model}: name it (--preset)."
    if measured.tariff is None:
        return "What was planned in money takes the lengths of prompts, which nobody counted here."
    return ""


def readable_per(total: float) -> int:
    """Of how many problems money is told, so that it is no tiny fraction."""
    return next((per for per in (1, 1_000) if total * per >= 0.1), 1_000_000)


def cost_tables(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tokens of runs side by side, and their money where all were given prices in the same currency.

    Parameters
    ----------
    runs : sequence of mapping
        What a report says of each, with ``tokens`` (`token_rows`) and ``money`` (`money_document`).
    """
    tokens = {(row["model"], row["purpose"]): None for run in runs for row in run["tokens"]}
    known = [{(row["model"], row["purpose"]): row["per_problem"] for row in run["tokens"]} for run in runs]
    rows = [
        {"model": model, "purpose": purpose, "values": [item.get((model, purpose), 0.0) for item in known]}
        for model, purpose in tokens
    ]
    tables: list[dict[str, Any]] = [
        {"caption": "Tokens per problem", "rows": rows, "planned": [], "digits": 1, "low": None, "high": None}
    ]
    money = [run["money"] for run in runs if run["money"] is not None]
    if len(money) < len(runs) or len({item["currency"] for item in money}) > 1:
        return tables
    per = max(item["per"] for item in money)
    spent = [{(row["model"], row["purpose"]): per * row["values"][0] for row in item["rows"]} for item in money]
    ends = [[None if item["interval"] is None else per * item["interval"][end] for item in money] for end in (0, 1)]
    purposes = {key: None for item in spent for key in item if key[1] != "all"}
    currency = money[0]["currency"]
    planned = [
        {column["name"]: per * value for column, value in zip(item["columns"], item["rows"][-1]["values"], strict=True)}
        for item in money
    ]
    names = list(dict.fromkeys(name for item in planned for name in item if name != "measured"))
    tables.append(
        {
            "caption": f"Money per {_problems(per)}{f', {currency}' if currency else ''}, measured",
            "rows": [
                {"model": model, "purpose": purpose, "values": [item.get((model, purpose), 0.0) for item in spent]}
                for model, purpose in (*purposes, ("", "all"))
            ],
            "planned": [{"name": name, "values": [item.get(name) for item in planned]} for name in names],
            "digits": max(item["digits"] for item in money),
            "low": ends[0],
            "high": ends[1],
        }
    )
    return tables


def _problems(per: int) -> str:
    return "problem" if per == 1 else counted(per, "problem")


def step_rows(run: RecordedRun) -> list[dict[str, Any]]:
    """What was done at every step (`decisions_by_step`); steps count from 1."""
    return [
        {"step": item.step + 1, "reached": item.reached, **item.counts, "strong_tokens": item.strong_tokens}
        for item in decisions_by_step(run)
    ]


def undecided_in_words(run: RecordedRun) -> str:
    """What of the strong model's steps the decisions do not tell, a sentence; empty where they tell all.

    A strong model that goes on alone writes steps without a decision, which totals of regenerated steps contain.
    """
    written = sum(item.terminal.regenerations for item in run.solutions)
    decided = sum(item.counts["regenerated"] for item in decisions_by_step(run))
    if written == decided:
        return ""
    return (
        f"Of {counted(written, 'step')} that the strong model wrote, {whole(written - decided)} are among those "
        "without a decision: a model had been given up, and it went on alone."
    )


def tokens_by_outcome(solutions: Sequence[SolutionRecord]) -> list[dict[str, Any]]:
    """Strong tokens of problems that ended right, wrong, by an error, or with an outcome that nobody knows."""
    groups: dict[str, list[int]] = {name: [] for name in OUTCOMES}
    for end in (item.terminal for item in solutions):
        groups[outcome_of(end)].append(end.tokens.strong)
    total = sum(map(sum, groups.values()))
    return [
        {
            "name": name,
            "problems": len(tokens),
            "per_problem": sum(tokens) / len(tokens),
            "share": sum(tokens) / total if total else None,
        }
        for name, tokens in groups.items()
        if tokens
    ]


# What a policy may have been planned for, as the lead line says it, and short enough for a chip.
_ASKED = {
    "asked_budget": ("a policy planned for a budget of {}", "budget {}"),
    "asked_max_cost": ("a policy planned for a cost of {} a problem at most", "cost {}"),
    "asked_tradeoff": ("a policy planned for a price of {} a strong token", "λ {}"),
}


def policy_in_words(artifact: PolicyArtifact) -> str:
    """Which policy ran, as the lead line has it: what it was planned for, or the rule itself."""
    return _asked_for(artifact)[0] or policy_label(artifact.policy)


def policy_in_short(artifact: PolicyArtifact) -> str:
    """The same, short enough for a chip."""
    mixed = len(artifact.policy.parts) > 1
    return _asked_for(artifact)[1] or ("planned, mixed" if mixed else policy_label(artifact.policy))


def _asked_for(artifact: PolicyArtifact) -> tuple[str, str]:
    """What a policy was planned for, at length and in short; empty where it was planned for nothing of that."""
    for name, (words, short) in _ASKED.items():
        if (value := getattr(artifact, name)) is not None:
            return words.format(brief(value)), short.format(brief(value))
    return "", ""


def unit_in_words(plan: LivePlan) -> str:
    """Why the plan's strong-only may not stand at a budget of 1, a sentence; empty where it does."""
    if plan.strong_only is None or abs(plan.strong_only.budget - 1.0) < _VISIBLE:
        return ""
    return (
        f"Strong-only stands at {fixed(plan.strong_only.budget)}, not at 1: the unit of the budget is what strong-only "
        "was measured, or fitted, to spend; the strong-only shown is the model’s."
    )


def policy_label(rule: Rule) -> str:
    """A policy in a few words.

    Examples
    --------
    >>> from trim_pomdp.policies import StrategyRule, ThresholdRule
    >>> policy_label(ThresholdRule(threshold=0.5)), policy_label(StrategyRule(strategy="strong"))
    ('threshold 0.5', 'strategy strong')
    """
    if len(rule.parts) > 1:
        return "a draw between " + " and ".join(policy_label(part) for part in rule.parts)
    if rule.planned_tradeoff is not None:
        return f"planned at λ {rule.planned_tradeoff:.4g}"
    form = rule.form.replace("_", " ")
    told = [f"{key} {value}" for key, value in rule.facts().items() if isinstance(value, (str, int, float))]
    return ", ".join(told if form in rule.facts() else [form, *told])
