"""What all strategies are made from: models that were fitted, problems to fit on, and budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from trim_pomdp.bench.running import Kept, Runner, Trial
from trim_pomdp.errors import InputError
from trim_pomdp.model.evidence import EvidenceKind
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning.tuning import Tuned, tune
from trim_pomdp.policies import StrategyRule
from trim_pomdp.policies.base import Rule
from trim_pomdp.runtime.records import SolutionRecord

WEAK, STRONG = StrategyRule(strategy="weak"), StrategyRule(strategy="strong")


class LeftOutError(InputError):
    """A strategy cannot take part."""


@contextmanager
def leaves_out() -> Iterator[None]:
    """Take what is wrong with the input of a fit for a reason to leave out what is fitted."""
    try:
        yield
    except InputError as error:
        raise LeftOutError(str(error)) from None


@dataclass(frozen=True)
class Contest:
    """Conditions that are the same for all.

    Attributes
    ----------
    runner : Runner
    fitting : Trial
        Problems that strategies are made on; none of them is tested.
    models : mapping of EvidenceKind to RoutingModel
        What was fitted of the pair, by what it sees of a step.
    default : EvidenceKind
        That of plans, where nothing else is said.
    budgets : tuple of float
        Shares of strong-only's tokens.
    seed : int
        Of training.
    """

    runner: Runner
    fitting: Trial
    models: Mapping[EvidenceKind, RoutingModel]
    default: EvidenceKind
    budgets: tuple[float, ...]
    seed: int = 0

    def model(self, kind: EvidenceKind | None = None) -> RoutingModel:
        """The fitted model that sees evidence of a kind; None: the default.

        Raises
        ------
        LeftOutError
            If nothing was fitted on it.
        """
        kind = kind or self.default
        if kind not in self.models:
            raise LeftOutError(f"no model was fitted on the evidence {kind} (there are {', '.join(self.models)})")
        return self.models[kind]

    def fitted_on(self, rule: Rule, *, trial: Trial | None = None, kept: Kept = "ends") -> list[SolutionRecord]:
        """How the fitting problems ended under a rule; `trial`: under another seed."""
        trial = trial or self.fitting
        self.runner.make(rule, trial, kept=kept)
        return self.runner.records(rule, trial, kept=kept)

    def tuned(self, rules: Sequence[Rule]) -> Tuned:
        """A family of rules, measured on the fitting problems; weak-only and strong-only bound it.

        Costs are shares of strong-only's tokens on the same problems. A rule that fails on every problem is none.

        Raises
        ------
        LeftOutError
            If all rules fail on every problem.
        InputError
            If one of the models does, or the strong one writes nothing.
        """
        found = {rule.policy_hash: self.fitted_on(rule) for rule in (WEAK, *rules, STRONG)}
        for rule in (WEAK, STRONG):
            if (error := _failure(found[rule.policy_hash])) is not None:
                raise InputError(f"all fitting problems fail with {rule.strategy}-only: {error}")
        family = [WEAK, *(rule for rule in rules if _failure(found[rule.policy_hash]) is None), STRONG]
        if len(family) == 2:
            raise LeftOutError(f"all fitting problems fail: {_failure(found[rules[0].policy_hash])}")
        outcomes = [found[rule.policy_hash] for rule in family]
        right = [np.mean([bool(item.terminal.correct) for item in records]) for records in outcomes]
        tokens = np.array([np.mean([item.terminal.tokens.strong for item in records]) for records in outcomes])
        if not tokens[-1] > 0.0:
            raise InputError("strong-only has written no token of the fitting problems, so budgets have no unit")
        return tune(family, tokens / tokens[-1], right)


def _failure(records: Sequence[SolutionRecord]) -> str | None:
    """The first error, if every solution ended by one."""
    errors = [item.terminal.error for item in records]
    return None if None in errors else errors[0]
