"""Policies of POMDPs as alpha-vectors: look one up at a belief, and do what it says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.checks import check_array, check_beliefs, check_indices, check_shape
from solvers.errors import ModelError
from solvers.pomdp import POMDP
from solvers.pruning import first_best, prune

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TIE = 1e-12
"""Vectors that differ at a belief by less than this share of their largest entry are equal there."""


@dataclass(frozen=True, eq=False, repr=False)
class AlphaVectorPolicy:
    """The vector that is largest at a belief says what to do, and what that is worth.

    Parameters
    ----------
    pomdp : POMDP
    vectors : array or scipy.sparse matrix, shape (V, S)
        What following each vector's plan is worth in each state. Sparse ones are kept sparse.
    actions : int array, shape (V,)
        First action of each plan.
    observed : int array, shape (V,), optional
        Value of the fully observed factor (`POMDP.observed`) that each vector is for; its entries in states of other
        values are ignored. Omitted: each vector is for all states.

    Raises
    ------
    ModelError
        If shapes do not agree, numbers are not finite, or actions or values do not exist.
    """

    pomdp: POMDP
    vectors: "NDArray[np.float64] | csr_array"
    actions: NDArray[np.int64]
    observed: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        p = self.pomdp
        vectors = _vectors(self.vectors)
        V = vectors.shape[0]
        check_shape("vectors", vectors.shape, (max(V, 1), p.n_states))
        actions = check_indices("actions", self.actions, 1, 0, p.n_actions)
        check_shape("actions", actions.shape, (V,))
        observed = self.observed
        if observed is not None:
            if p.observed is None:
                raise ModelError("vectors are for values of an observed factor, but the POMDP has none")
            observed = check_indices("observed", observed, 1, 0, int(p.observed.max()) + 1)
            check_shape("observed", observed.shape, (V,))
        for name, value in (("vectors", vectors), ("actions", actions), ("observed", observed)):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @property
    def n_vectors(self) -> int:
        """Number of vectors V."""
        return int(self.actions.size)

    def value(self, belief: Any) -> Any:
        """What the policy promises at a belief (S,), or at beliefs (B, S), which may be sparse: a float, or (B,).

        A belief over several values of an observed factor that vectors are for gets the mean over these values, as they
        are seen before the action.

        Raises
        ------
        ModelError
            If a belief is no distribution over the states, or no vector is for the value that it holds for certain.
        """
        values = self._look_up(self._beliefs(belief)).value
        return values if _many(belief) else float(values[0])

    def best_vector(self, belief: Any) -> Any:
        """Index of the best vector at a belief, or (B,) at beliefs; see `action` for ties and errors."""
        found = self._look_up(self._beliefs(belief))
        if (found.values > 1).any():
            row = int(np.flatnonzero(found.values > 1)[0])
            raise ModelError(f"belief {row} leaves the value of the observed factor open, which is seen before acting")
        return found.vector if _many(belief) else int(found.vector[0])

    def action(self, belief: Any) -> Any:
        """Action at a belief (S,), an int; or at beliefs (B, S), an int array (B,).

        Among vectors that differ by less than 1e-12 of the largest entry of any, that with the lowest action, and of
        these the first.

        Raises
        ------
        ModelError
            As `value`, and if a belief leaves open the value of the observed factor that vectors are for.
        """
        actions = self.actions[self.best_vector(belief)]
        return actions if _many(belief) else int(actions)

    def update(
        self, belief: ArrayLike, action: int, observation: int, *, value: int | None = None
    ) -> tuple[NDArray[np.float64], float]:
        """Belief after an action and what was seen, and the probability to see it; see `POMDP.update`.

        Parameters
        ----------
        value : int, optional
            What was seen of the observed factor, beside the observation.
        """
        after, probability = self.pomdp.update(belief, action, observation)
        if value is None:
            return after, probability
        if self.pomdp.observed is None:
            raise ModelError("the POMDP has no observed factor")
        after = np.where(self.pomdp.observed == value, after, 0.0)
        share = float(after.sum())
        if share <= 0.0:
            raise ModelError(f"the value {value} of the observed factor cannot follow")
        return after / share, probability * share

    def pruned(self, tolerance: float = 1e-9) -> "AlphaVectorPolicy":
        """Policy of the vectors that are best somewhere, nowhere worth less by more than the tolerance; see `prune`."""
        kept = [block.vectors[prune(_dense(block.columns).T, tolerance)] for block in self._blocks]
        rows = np.sort(np.concatenate(kept))
        observed = None if self.observed is None else self.observed[rows]
        return AlphaVectorPolicy(self.pomdp, self.vectors[rows], self.actions[rows], observed)

    def _facts(self) -> dict[str, str]:
        used = np.unique(self.actions)
        return {
            "vectors": f"{self.n_vectors} over {self.pomdp.n_states} states",
            "actions": ", ".join(self.pomdp.actions[a] for a in used[:8]) + (", …" if used.size > 8 else ""),
            "value at the start": f"{self.value(self.pomdp.start):.6g}",
        }

    def __repr__(self) -> str:
        return f"AlphaVectorPolicy({'; '.join(f'{name} {value}' for name, value in self._facts().items())})"

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self._facts().items())
        return f"<table><caption>AlphaVectorPolicy</caption>{''.join(rows)}</table>"

    def _beliefs(self, belief: Any) -> Any:
        """Beliefs as rows, dense or sparse."""
        from scipy.sparse import issparse

        if not issparse(belief):
            return check_beliefs("belief", belief, self.pomdp.n_states)
        rows = belief.tocsr()
        check_shape("belief", rows.shape, (rows.shape[0], self.pomdp.n_states))
        if (rows.data < 0).any() or (np.abs(rows.sum(axis=1) - 1.0) > 1e-9).any():
            raise ModelError("belief must have no negative entry, and sum to 1")
        return rows

    @cached_property
    def _blocks(self) -> tuple["_Block", ...]:
        """Vectors with the states they are for, in the order in which ties are broken."""
        order = np.argsort(self.actions, kind="stable")
        if self.observed is None:
            return (_Block(0, order, None, _columns(self.vectors[order])),)
        factor = self.pomdp.observed
        assert factor is not None
        blocks = []
        for y in np.unique(self.observed).tolist():
            states, mine = np.flatnonzero(factor == y), order[self.observed[order] == y]
            blocks.append(_Block(y, mine, states, _columns(self.vectors[mine][:, states])))
        return tuple(blocks)

    @cached_property
    def _values(self) -> "csr_array":
        """Which value of the observed factor each state has, or all the same one, shape (S, Y)."""
        from scipy.sparse import csr_array

        S = self.pomdp.n_states
        value = np.zeros(S, np.int64) if self.observed is None else self.pomdp.observed
        return csr_array((np.ones(S), (np.arange(S), value)))

    @cached_property
    def _tie(self) -> float:
        return TIE * max(float(abs(block.columns).max()) for block in self._blocks)

    def _look_up(self, beliefs: Any) -> "_Found":
        """Best vector of each row; takes rows as they are."""
        B = beliefs.shape[0]
        value, vector, values, covered = np.zeros(B), np.full(B, -1), np.zeros(B, np.int64), np.zeros(B)
        mass = _dense(beliefs @ self._values)
        for block in self._blocks:
            rows = np.flatnonzero(mass[:, block.value] > 0.0)
            if rows.size:
                here = beliefs if rows.size == B else beliefs[rows]
                best, most = first_best(
                    block.columns, here if block.states is None else here[:, block.states], self._tie
                )
                value[rows] += most
                vector[rows] = block.vectors[best]
                values[rows] += 1
                covered[rows] += mass[rows, block.value]
        if (covered < 1.0 - 1e-9).any():
            row = int(np.flatnonzero(covered < 1.0 - 1e-9)[0])
            raise ModelError(f"belief {row} is on a value of the observed factor that no vector is for")
        return _Found(value, vector, values)


class _Block(NamedTuple):
    """Vectors for one value of the observed factor, or all."""

    value: int
    vectors: NDArray[np.int64]  # their indices
    states: NDArray[np.int64] | None  # None: all
    columns: Any  # (states, vectors), dense or sparse


class _Found(NamedTuple):
    value: NDArray[np.float64]
    vector: NDArray[np.int64]
    values: NDArray[np.int64]  # of the observed factor, that the belief holds possible


@dataclass(frozen=True, eq=False, repr=False)
class FiniteHorizonPolicy:
    """A policy for each number of steps to go.

    Parameters
    ----------
    by_steps_to_go : tuple of AlphaVectorPolicy
        With one step to go, with two, …
    successors : tuple of int array (V, O) or (V, O·Y), optional
        For each of them the vector, of the policy for one step less, whose plan goes on after each observation; -1
        where that cannot occur. With vectors for the Y values of an observed factor, column o·Y + y is for observation
        o together with the value y. Meaningless with one step to go.
    """

    by_steps_to_go: tuple[AlphaVectorPolicy, ...] = field(repr=False)
    successors: tuple[NDArray[np.int64], ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.by_steps_to_go or len(self.successors or self.by_steps_to_go) != len(self.by_steps_to_go):
            raise ModelError("a policy, and successors, for each of at least one step are needed")

    @property
    def pomdp(self) -> POMDP:
        """The POMDP."""
        return self.by_steps_to_go[0].pomdp

    @property
    def horizon(self) -> int:
        """Most steps to go."""
        return len(self.by_steps_to_go)

    @property
    def n_vectors(self) -> int:
        """Number of vectors with all steps to go."""
        return self.by_steps_to_go[-1].n_vectors

    def with_steps_to_go(self, steps: int | None = None) -> AlphaVectorPolicy:
        """Policy of the step with so many to go, that one included; by default the first step of all.

        Raises
        ------
        ModelError
            If the policy was made for fewer.
        """
        h = self.horizon if steps is None else steps
        if not 1 <= h <= self.horizon:
            raise ModelError(f"the policy is for 1 … {self.horizon} steps to go, not {h}")
        return self.by_steps_to_go[h - 1]

    def value(self, belief: Any, steps_to_go: int | None = None) -> Any:
        """What the policy is worth at a belief, or at beliefs; see `AlphaVectorPolicy.value`."""
        return self.with_steps_to_go(steps_to_go).value(belief)

    def action(self, belief: Any, steps_to_go: int | None = None) -> Any:
        """Action at a belief, or at beliefs; see `AlphaVectorPolicy.action`."""
        return self.with_steps_to_go(steps_to_go).action(belief)

    def __iter__(self) -> Iterator[AlphaVectorPolicy]:
        return iter(self.by_steps_to_go)

    def __repr__(self) -> str:
        return f"FiniteHorizonPolicy(horizon {self.horizon}; at the start {self.by_steps_to_go[-1]!r})"


def _vectors(value: Any) -> Any:
    from scipy.sparse import csr_array, issparse

    if not issparse(value):
        return check_array("vectors", value, 2)
    rows = csr_array(value, dtype=np.float64)
    if not np.isfinite(rows.data).all():
        raise ModelError("vectors has an entry that is not finite")
    return rows


def _columns(rows: Any) -> Any:
    return np.ascontiguousarray(rows.T) if isinstance(rows, np.ndarray) else rows.T.tocsr()


def _many(belief: Any) -> bool:
    return bool(getattr(belief, "ndim", None) == 2 or np.ndim(belief) == 2)


def _dense(value: Any) -> NDArray[np.float64]:
    return value if isinstance(value, np.ndarray) else np.asarray(value.toarray())
