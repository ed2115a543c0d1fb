"""What solving a POMDP returns, whatever the method."""

import math
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP


class Bounds(NamedTuple):
    """Where matters stood after so many seconds; infinite where there was no bound yet."""

    elapsed_s: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """Bounds on the optimal value at the start, a policy, and how far to trust both.

    Attributes
    ----------
    pomdp : POMDP
    method : str
        What found it.
    lower, upper : float
        Bounds on the optimal value at the start belief; -inf or inf where the method has none.
    policy : AlphaVectorPolicy or FiniteHorizonPolicy
    guarantee : str
        What is certain, in a sentence.
    ended_by : str
        Why the method stopped: "precision", "time limit", "interrupted", "converged", "horizon", …
    horizon : int or None
        Number of actions that the bounds are for; None: no end.
    elapsed_s : float
        Wall time of solving, without compilation.
    compile_s : float
        Wall time that Numba took to compile, or to load, kernels.
    history : tuple of Bounds
        How the bounds closed.
    upper_bound : object or None
        Upper bound at other beliefs, by its method ``value(belief)``; None where only that at the start is kept.
    """

    pomdp: POMDP
    method: str
    lower: float
    upper: float
    policy: AlphaVectorPolicy | FiniteHorizonPolicy
    guarantee: str
    ended_by: str
    horizon: int | None
    elapsed_s: float
    compile_s: float = 0.0
    history: tuple[Bounds, ...] = field(default=())
    upper_bound: Any = None

    @property
    def gap(self) -> float:
        """Upper - lower."""
        return self.upper - self.lower

    @property
    def n_vectors(self) -> int:
        """Number of alpha-vectors of the policy, with all steps to go."""
        return self.policy.n_vectors

    def value(self, belief: Any) -> Any:
        """What the policy promises at a belief (S,), or at beliefs (B, S): a lower bound on the optimum there.

        For methods without a lower bound, such as QMDP, it is what the method believes, and certain from above only.
        """
        return self.policy.value(belief)

    def action(self, belief: Any) -> Any:
        """First action of the policy at a belief, or at beliefs."""
        return self.policy.action(belief)

    def summary(self) -> dict[str, Any]:
        """Numbers as JSON has them; null for a bound that there is not."""
        return {
            "lower": _finite(self.lower),
            "upper": _finite(self.upper),
            "vectors": self.n_vectors,
            "elapsed_s": self.elapsed_s,
            "ended_by": self.ended_by,
            "method": self.method,
            "horizon": self.horizon,
            "compile_s": self.compile_s,
            "guarantee": self.guarantee,
        }

    def _facts(self) -> dict[str, str]:
        return {
            "value": shown(self.lower, self.upper),
            "method": self.method + ("" if self.horizon is None else f", {self.horizon} steps"),
            "ended by": f"{self.ended_by} after {self.elapsed_s:.3g} s"
            + (f", and {self.compile_s:.3g} s of compiling" if self.compile_s >= 0.5 else ""),
            "vectors": str(self.n_vectors),
            "guarantee": self.guarantee,
        }

    def __str__(self) -> str:
        width = max(map(len, self._facts()))
        return "\n".join(f"{name.ljust(width)}  {text}" for name, text in self._facts().items())

    def __repr__(self) -> str:
        return f"Solution({'; '.join(f'{name} {text}' for name, text in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self._facts().items())
        return f"<table><caption>Solution</caption>{''.join(rows)}</table>"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def shown(lower: float, upper: float) -> str:
    """Bounds in words, also where one is missing."""
    if math.isfinite(lower) and math.isfinite(upper):
        return f"{lower:.6g} to {upper:.6g} (gap {upper - lower:.3g})"
    if math.isfinite(upper):
        return f"at most {upper:.6g}"
    return f"at least {lower:.6g}" if math.isfinite(lower) else "unknown"
