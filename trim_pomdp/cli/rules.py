"""Which policy a verb runs: a policy file, a threshold, a fixed strategy, or the paper's posterior rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.policies import PolicyArtifact, Rule, StrategyRule

PolicyOption = Annotated[Path | None, typer.Option("--policy", help="Policy file.")]
ThresholdOption = Annotated[float | None, typer.Option(help="Regenerate iff the PRM score is below it.")]
StrategyOption = Annotated[str | None, typer.Option(help="weak, strong, oracle or random:P.")]
BeliefOption = Annotated[str, typer.Option(help="filter, or posterior for the paper's rule.")]
ClosenessOption = Annotated[float | None, typer.Option(help="Closeness c of the paper's rule.")]


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
) -> Rule | PolicyArtifact | None:
    """The policy file or rule that is given.

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


def _strategy(text: str) -> StrategyRule:
    from trim_pomdp.artifacts import validate
    from trim_pomdp.policies import StrategyRule

    name, _, probability = text.partition(":")
    document: dict[str, Any] = {"strategy": name}
    if probability:
        document["probability"] = probability
    return validate(StrategyRule, document, source=f"--strategy {text}")
