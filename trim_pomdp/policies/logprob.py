"""Triggers without a PRM: regenerate iff the weak model was not sure of its own step.

In the spirit of two published routers, which both ask nobody but the weak model:

* STEER (Lee et al., arXiv 2511.06190) routes steps by a confidence from the weak model's logits, and learns a cut of it
  without labels (two Gaussians). Here the confidence is the mean, or smallest, log-probability of the step's tokens,
  and the cut is a threshold that is tuned like any other (`trim_pomdp.planning.tuning`).
* GlimpRouter (Zeng et al., arXiv 2601.05110) has the weak model write the first token of a step and looks at the
  *entropy* H of its distribution: where that is high, the strong model writes the step. Backends tell the
  log-probability of the token that was drawn, not the distribution, so −log p of the first token stands for H: at
  temperature 1 its mean is H, but a step's is a single draw of it. And the whole step is drafted before it is judged,
  which costs weak tokens that GlimpRouter saves.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trim_pomdp.data.features import LogprobName
from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.model.actions.base import KEEP, REGENERATE
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.policies.base import Decision, Rule, RuleRouter, StepObservation


class LogprobRule(Rule):
    """Regenerate iff a log-probability of the weak step's tokens is below a threshold; no PRM is asked.

    What it is worth is measured live: routing models know scores by class, not log-probabilities as they are. (As
    evidence they are a `ThresholdRule`'s, which models can evaluate.)

    Attributes
    ----------
    feature : {"logprob_mean", "logprob_min", "logprob_first"}
        The mean of the step's tokens, the smallest, or that of its first token.
    threshold : float
        In nats, at most 0; 0 regenerates every step (even at a log-probability of 0).
    """

    form: Literal["logprob"] = "logprob"
    feature: LogprobName = "logprob_mean"
    threshold: Annotated[float, Field(le=0.0, allow_inf_nan=False)]

    def act(self, logprob: float) -> int:
        """Action (`KEEP` or `REGENERATE`) for a log-probability in nats."""
        return REGENERATE if self.threshold >= 0.0 or logprob < self.threshold else KEEP

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`; no score changes its decision."""
        return (0.0,)

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> LogprobRouter:
        """See `Rule`."""
        return LogprobRouter(self)


class LogprobRouter(RuleRouter):
    """A log-probability's threshold on one problem (a `Router`)."""

    def __init__(self, rule: LogprobRule) -> None:
        super().__init__(rule)
        self._rule = rule

    def decide(self, seen: StepObservation) -> Decision:
        """See `Router`; raises `InputError` where the weak model tells no log-probabilities."""
        feature = self._rule.feature
        if feature not in seen.features:
            raise InputError(
                f"the policy decides on {feature!r} of each step, and the weak model tells no such thing; given are "
                f"{', '.join(seen.features) or 'none'}"
            )
        return Decision(self._rule.act(seen.features[feature]))
