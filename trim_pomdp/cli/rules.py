"""Which policy a verb runs: a policy file, a threshold, a strategy by its name, or the paper's posterior rule.

Strategies are written ``NAME`` or ``NAME:NUMBERS``:

* ``weak``, ``strong``, ``oracle``, ``random:P`` (probability of regenerating a step);
* ``evidence-threshold:K`` regenerates iff the evidence score is below K;
* ``takeover:K``, ``evidence-takeover:K`` has the strong model write that step and all that follow;
* ``best-of-m:M,R`` or ``best-of-m:M,R,D`` (and ``evidence-best-of-m``) keeps the best of up to M drafts, or regenerates
  where that scores below R; a draft that scores D or more is the last one (default 1: all M are drawn);
* ``logprob:T`` (and ``logprob-min``, ``logprob-first``) regenerates iff the mean (smallest, first) log-probability of
  the step's tokens is below T nats.

Evidence is what the fitted model's observations bin; without such a model those names are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.model.evidence import EvidenceMap
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies import PolicyArtifact, Rule

PolicyOption = Annotated[Path | None, typer.Option("--policy", help="Policy file.")]
ThresholdOption = Annotated[float | None, typer.Option(help="Regenerate iff the PRM score is below it.")]
STRATEGIES = (
    "weak, strong, oracle, random:P, evidence-threshold:K, [evidence-]takeover:K, [evidence-]best-of-m:M,R[,D], "
    "logprob[-min|-first]:T"
)
StrategyOption = Annotated[str | None, typer.Option(help=f"{STRATEGIES}.")]
BeliefOption = Annotated[str, typer.Option(help="filter, or posterior for the paper's rule.")]
ClosenessOption = Annotated[float | None, typer.Option(help="Closeness c of the paper's rule.")]


@dataclass(frozen=True)
class EvidenceStrategy:
    """A strategy that decides on the evidence of a fitted model, and so is a rule only beside one.

    Attributes
    ----------
    text : str
        As the user wrote it.
    of : callable
        The rule, from what makes evidence scores; None: the PRM's score is it.
    """

    text: str
    of: Callable[[EvidenceMap | None], Rule]

    def in_model(self, model: RoutingModel | None) -> Rule:
        """The rule on a model's evidence; raises `InputError` where there is no model."""
        if model is None:
            raise InputError(
                f"--strategy {self.text} needs a fitted model, whose evidence it decides on: --preset NAME, or "
                "--observations FILE and --dynamics FILE"
            )
        return self.of(model.observations.evidence)


def require_one(options: Mapping[str, object]) -> None:
    """Raise `InputError` unless exactly one of the options, named as users write them, is given."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        *others, last = options
        got = f" (got {' and '.join(name.split()[0] for name in given)})" if given else ""
        raise InputError(f"give one of {', '.join(others)}, or {last}{got}")


def read_rule(
    policy: Path | None,
    threshold: float | None,
    strategy: str | None,
    belief: str,
    closeness: float | None,
    *,
    more: Mapping[str, object] | None = None,
) -> Rule | EvidenceStrategy | PolicyArtifact | None:
    """The policy file or rule that is given; of a strategy on evidence what its rule is made by.

    Parameters
    ----------
    more : mapping
        Further options that stand in place of these; if one of them is given, the answer is None.

    Raises
    ------
    InputError
        Unless exactly one is given, and it is right.
    """
    from trim_pomdp.artifacts import validate
    from trim_pomdp.policies import PolicyArtifact, PosteriorRule, ThresholdRule

    if belief not in ("filter", "posterior"):
        raise InputError(f"unknown belief {belief!r}; there are filter and posterior")
    if (belief == "posterior") != (closeness is not None):
        raise InputError("--belief posterior and --closeness C go together")
    require_one(
        {
            **(more or {}),
            "--policy FILE": policy,
            "--threshold K": threshold,
            "--strategy NAME": strategy,
            "--belief posterior with --closeness C": closeness,
        }
    )
    if policy is not None:
        return PolicyArtifact.read(policy)
    if threshold is not None:
        return validate(ThresholdRule, {"threshold": threshold}, source="--threshold")
    if strategy is not None:
        return _strategy(strategy)
    if closeness is not None:
        return validate(PosteriorRule, {"closeness": closeness}, source="--closeness")
    return None


def _strategy(text: str) -> Rule | EvidenceStrategy:
    from trim_pomdp.policies import StrategyRule, TakeoverRule, ThresholdRule

    name, _, numbers = text.partition(":")
    on_evidence, bare = name.startswith("evidence-"), name.removeprefix("evidence-")

    def of(evidence: EvidenceMap | None) -> Rule:
        seen = {} if evidence is None else {"evidence": evidence}
        if bare == "threshold":
            return _made(ThresholdRule, text, {"threshold": numbers, **seen})
        if bare == "takeover":
            return _made(TakeoverRule, text, {"threshold": numbers, **seen})
        return _best_of(text, numbers, seen)

    if bare in ("takeover", "best-of-m") or name == "evidence-threshold":
        rule = of(None)  # what is wrong with the numbers is said before any model is read
        return EvidenceStrategy(text, of) if on_evidence else rule
    if name in _LOGPROBS:
        from trim_pomdp.policies import LogprobRule

        return _made(LogprobRule, text, {"feature": _LOGPROBS[name], "threshold": numbers})
    if name not in ("weak", "strong", "random", "oracle"):
        raise InputError(f"--strategy {text}: no strategy {name!r}; there are {STRATEGIES}")
    return _made(StrategyRule, text, {"strategy": name, **({"probability": numbers} if numbers else {})})


_LOGPROBS = {"logprob": "logprob_mean", "logprob-min": "logprob_min", "logprob-first": "logprob_first"}


def _best_of(text: str, numbers: str, seen: Mapping[str, object]) -> Rule:
    from trim_pomdp.policies import RedraftRule

    drafts, *below = numbers.split(",")
    if len(below) not in (1, 2):
        raise InputError(f"--strategy {text}: expected M,R or M,R,D: drafts, regenerate below, draft again below")
    names = zip(("regenerate_below", "redraft_below"), (*below, "1")[:2], strict=True)
    return _made(RedraftRule, text, {"max_drafts": drafts, **dict(names), **seen})


def _made(rule: type[Rule], text: str, document: dict[str, Any]) -> Rule:
    from trim_pomdp.artifacts import validate

    return validate(rule, document, source=f"--strategy {text}")
