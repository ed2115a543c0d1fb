"""Strategies by name: where each comes from, and how it is made ready for every budget.

A maker takes what is the same for all (`Contest`) and settles one rule for each asked budget. There are three ways to
do so: a plan in the fitted model; a family of rules, measured on fitting problems and mixed to the budget; a router
that was trained. What a strategy does is in `trim_pomdp.policies`, a file each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from trim_pomdp.bench import queries
from trim_pomdp.bench.contest import STRONG, WEAK, Contest, LeftOutError
from trim_pomdp.bench.entries import Entry, Settled
from trim_pomdp.bench.learned import trained
from trim_pomdp.bench.running import Runner, Trial
from trim_pomdp.data.features import LogprobName
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.evidence import EvidenceKind
from trim_pomdp.model.process import DEFAULT_ACTIONS, RoutingModel
from trim_pomdp.planning.frontier import policy_for_budget
from trim_pomdp.policies import (
    LogprobRule,
    PosteriorRule,
    RedraftRule,
    ScheduleRule,
    StrategyRule,
    TakeoverRule,
    ThresholdRule,
)
from trim_pomdp.policies.base import Rule

Maker = Callable[[Contest], list[Settled]]
Hindsight = Callable[[Sequence[Trial], Runner, Sequence[float]], list[Settled]]
Level = Literal["step", "query"]
# Scores of right steps crowd near 1, those of wrong ones near 0: both ends want settings.
THRESHOLDS = (0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.997)
CLOSENESS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
LOGPROBS = (-6.0, -4.0, -3.0, -2.0, -1.5, -1.0, -0.7, -0.4, -0.2, -0.1, -0.03)
SHARES = (0.03, 0.1, 0.2, 0.3, 0.5, 0.7)
DRAFTS = (2, 4)
MOST_DRAFTS = max(DRAFTS)
SPLITS, MOST_STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 14), 200
REDRAFT_BELOW = (0.3, 0.7, 0.95)
REGENERATE_BELOW = (0.0, 0.03, 0.1, 0.3, 0.7, 0.95)


@dataclass(frozen=True)
class Strategy:
    """A strategy of the bench.

    Attributes
    ----------
    name : str
    about : str
        What it does, and whose it is, in a few words.
    level : {"step", "query"}
        Whether it decides on steps or on whole problems.
    make : callable
        Settles its rules.
    hindsight : callable or None
        Settles them after both models were run alone on the test problems, for what only an oracle could know.
    """

    name: str
    about: str
    make: Maker
    level: Level = "step"
    hindsight: Hindsight | None = None

    def entries(self, contest: Contest) -> list[Entry]:
        """Its points.

        Raises
        ------
        LeftOutError
            If it cannot take part.
        """
        return self._named(self.make(contest))

    def afterwards(self, trials: Sequence[Trial], runner: Runner, budgets: Sequence[float]) -> list[Entry]:
        """Its points in hindsight; none of strategies that need no such thing."""
        return [] if self.hindsight is None else self._named(self.hindsight(trials, runner, budgets))

    def __reduce__(self) -> tuple[Callable[[str], Strategy], tuple[str]]:
        """Other processes are told its name, since its makers can be closures."""
        return _by_name, (self.name,)

    def _named(self, settled: Sequence[Settled]) -> list[Entry]:
        return [
            Entry.model_construct(
                strategy=self.name, asked_budget=item.asked_budget, rule=item.rule, planned=item.planned
            )
            for item in settled
        ]


def strategies() -> dict[str, Strategy]:
    """All strategies by name, in the order of tables."""
    return {item.name: item for item in _ALL}


def chosen(names: str) -> list[Strategy]:
    """Strategies by their names with commas between them; ``all`` is every one.

    Raises
    ------
    InputError
        If a name is unknown.
    """
    known = strategies()
    if names == "all":
        return list(known.values())
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise InputError(f"no strategy {name!r}; there are all, {', '.join(known)}")
    if not wanted:
        raise InputError(f"no strategy in {names!r}; there are all, {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)]


def _by_name(name: str) -> Strategy:
    return strategies()[name]


# Makers -----------------------------------------------------------------------------------------------------------


def _alone(rule: Rule) -> Maker:
    """One rule, whatever the budget."""

    def make(contest: Contest) -> list[Settled]:
        if rule.needs_truth and contest.runner.source.oracle is None:
            raise LeftOutError("true classes of steps are not known")
        return [Settled(None, rule)]

    return make


def _planned(kind: EvidenceKind | None = None) -> Maker:
    """Plans in the fitted model, for every budget."""

    def make(contest: Contest) -> list[Settled]:
        return _plans(contest, contest.model(kind))

    return make


def _redrafts(contest: Contest) -> list[Settled]:
    return _plans(contest, _with_actions(contest.model(), "redraft"))


def _recalls(contest: Contest) -> list[Settled]:
    """As many drafts as best-of-m may have; a gap of 1e-3, since plans take a minute at that."""
    return _plans(contest, replace(_with_actions(contest.model(), "redraft", "recall"), max_drafts=MOST_DRAFTS), 1e-3)


def _with_actions(model: RoutingModel, *more: str) -> RoutingModel:
    try:
        return replace(model, actions=(*DEFAULT_ACTIONS, *more))
    except UnsetParameterError as error:
        raise LeftOutError(str(error)) from None


def _plans(contest: Contest, model: RoutingModel, gap: float | None = None) -> list[Settled]:
    plans = [policy_for_budget(model, budget, gap=gap) for budget in contest.budgets]
    return [Settled(b, plan.policy, plan.planned) for b, plan in zip(contest.budgets, plans, strict=True)]


def _tuned(family: Callable[[Contest], Sequence[Rule]]) -> Maker:
    """A family of rules, mixed to every budget by what the fitting problems say."""

    def make(contest: Contest) -> list[Settled]:
        tuned = contest.tuned(family(contest))
        return [Settled(budget, tuned.rule_for(budget)) for budget in contest.budgets]

    return make


def _nothing(contest: Contest) -> list[Settled]:
    return []


def _thresholds(contest: Contest) -> Sequence[Rule]:
    return [ThresholdRule(threshold=k) for k in THRESHOLDS]


def _evidence_thresholds(contest: Contest) -> Sequence[Rule]:
    evidence = contest.model().observations.evidence
    return [ThresholdRule(threshold=k, evidence=evidence) for k in THRESHOLDS]


def _takeovers(contest: Contest) -> Sequence[Rule]:
    return [TakeoverRule(threshold=k) for k in THRESHOLDS]


def _evidence_takeovers(contest: Contest) -> Sequence[Rule]:
    evidence = contest.model().observations.evidence
    return [TakeoverRule(threshold=k, evidence=evidence) for k in THRESHOLDS]


def _best_of_m(contest: Contest) -> Sequence[Rule]:
    evidence = contest.model().observations.evidence
    return [
        RedraftRule(redraft_below=again, regenerate_below=strong, max_drafts=drafts, evidence=evidence)
        for drafts in DRAFTS
        for again in REDRAFT_BELOW
        for strong in REGENERATE_BELOW
        if strong <= again
    ]


def _logprobs(contest: Contest) -> Sequence[Rule]:
    names: tuple[LogprobName, ...] = get_args(LogprobName)
    return [LogprobRule(feature=name, threshold=threshold) for name in names for threshold in LOGPROBS]


def _closeness(contest: Contest) -> Sequence[Rule]:
    if contest.runner.class_table is None:
        raise LeftOutError("no densities of (min, current) were fitted on PRM scores alone")
    return [PosteriorRule(closeness=closeness) for closeness in CLOSENESS]


def _splits(contest: Contest) -> Sequence[Rule]:
    """The strong model writes the first steps, or all from one on."""
    first = [ScheduleRule(strong_steps=frozenset(range(k))) for k in SPLITS]
    return [*first, *(ScheduleRule(strong_steps=frozenset(range(k, MOST_STEPS))) for k in SPLITS)]


def _at_random(contest: Contest) -> Sequence[Rule]:
    return [StrategyRule(strategy="random", probability=share) for share in SHARES]


_ALL: tuple[Strategy, ...] = (
    Strategy("weak", "the weak model alone", _alone(WEAK)),
    Strategy("strong", "the strong model alone", _alone(STRONG)),
    Strategy("oracle", "regenerates first errors alone, by the truth", _alone(StrategyRule(strategy="oracle"))),
    Strategy("random", "regenerates steps at random", _tuned(_at_random)),
    Strategy("split", "a fixed split of the steps: the strong model first, or last", _tuned(_splits)),
    Strategy("logprob", "threshold on log-probabilities of the draft (STEER, GlimpRouter)", _tuned(_logprobs)),
    Strategy("threshold", "TRIM-Thr: threshold on the PRM score", _tuned(_thresholds)),
    Strategy("evidence-threshold", "threshold on the evidence that plans see", _tuned(_evidence_thresholds)),
    Strategy("takeover", "the strong model takes over at the first low score", _tuned(_takeovers)),
    Strategy("evidence-takeover", "the same on the evidence", _tuned(_evidence_takeovers)),
    Strategy("best-of-m", "the best of some drafts by evidence, or the strong model", _tuned(_best_of_m)),
    Strategy("paper-pomdp", "TRIM-POMDP's memoryless rule on (min, current)", _tuned(_closeness)),
    Strategy("trim-agg", "TRIM-Agg: PPO on (score, least before, tokens, index)", trained("mlp")),
    Strategy("trim-seq", "TRIM-Seq: PPO with a causal transformer on (score, tokens)", trained("transformer")),
    Strategy("evidence-agg", "TRIM-Agg on the evidence that plans see", trained("mlp", None)),
    Strategy("pomdp", "ours, on the default evidence", _planned()),
    Strategy("pomdp-prm", "ours, on the PRM score alone", _planned("prm")),
    Strategy("pomdp-logprob", "ours, without a PRM", _planned("logprob")),
    Strategy("pomdp-redraft", "ours, which may draft a step again", _redrafts),
    Strategy("pomdp-recall", "ours, of up to four drafts of a step, any of which may stand", _recalls),
    Strategy("query-random", "draws one of the models for each problem", queries.at_random, "query"),
    Strategy("routellm-mf", "RouteLLM: matrix factorisation on the prompt", queries.mf, "query"),
    Strategy("routellm-bert", "RouteLLM: a classifier on the prompt", queries.bert, "query"),
    Strategy("routellm-sw", "RouteLLM: similarity-weighted ranking on the prompt", queries.sw, "query"),
    Strategy("smoothie", "Smoothie: agreement on similar problems", queries.smoothie, "query"),
    Strategy("automix", "AutoMix: does the weak model agree with itself? its one-step POMDP", queries.automix, "query"),
    Strategy("automix-prm", "AutoMix-PRM: scores of the finished weak solution", queries.automix_prm, "query"),
    Strategy("query-oracle", "knows which problems only strong solves", _nothing, "query", queries.oracle),
)
