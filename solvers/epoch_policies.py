"""Policies as data: alpha-vectors that are looked up at a belief, and policy graphs that need no belief."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers._epoch_arrays import Bounds, Model, room_for
from solvers.checks import check_belief, check_beliefs
from solvers.epochs import EpochModel
from solvers.errors import ModelError

_MOST_STATES_WITH_CELLS = 6  # more have a sawtooth upper bound


def _lookup(n_states: int) -> tuple[int, ...]:
    if n_states == 2:
        return (0, 0)
    return (0, 0, 0) if 2 < n_states <= _MOST_STATES_WITH_CELLS else ()


def kernel_model(model: EpochModel, weights: NDArray[np.float64]) -> Model:
    """Model as the kernels take it, its components weighted into one value."""
    reward = (model.reward.reshape(-1, weights.size) @ weights).reshape(model.reward.shape[:-1])
    terminal = model.terminal @ weights
    return Model(
        joint=model.joint,
        reward=reward,
        successor=model.successor,
        children=model.children,
        table_of=model.table_of,
        terminal=terminal,
        discount=model.discount,
        tie=1e-13 * max(float(np.abs(reward).max()), float(np.abs(terminal).max())),
        fixed=_lookup(model.n_states),
    )


@dataclass(frozen=True, eq=False)
class PolicyGraph:
    """Finite-state controller: V plans, each of one node of the model, for K signals and O observations.

    It starts with the first plan of node 0, takes action[v, k] after signal k, and goes on with plan
    successor[v, k, o] of the child node that observation o leads to.

    Parameters
    ----------
    offset : int array, shape (N + 1,)
        Node n owns the plans offset[n]:offset[n + 1]; only plans that the start can lead to are kept.
    action : int array, shape (V, K)
        Action after each signal. Meaningless for plans of terminal nodes.
    successor : int array, shape (V, K, O)
        Index of the next plan *within* the child node.
    """

    offset: NDArray[np.int64] = field(repr=False)
    action: NDArray[np.int16] = field(repr=False)
    successor: NDArray[np.int32] = field(repr=False)
    _optimal: Callable[[ArrayLike], Any] | None = field(default=None, repr=False)

    def value(self, belief: ArrayLike) -> Any:
        """Optimal value at the start of the horizon, at any belief: the largest of all alpha-vectors there.

        As `EpochSolution.value` of the solution that this graph is of. The graph itself is made for one start belief,
        and what following it is worth from another one is less: see `own_value`.

        Raises
        ------
        ModelError
            If the belief is no distribution over the hidden states, or the graph does not come from a solution.
        """
        if self._optimal is None:
            raise ModelError(
                "only the graph of a solution knows the optimal value; own_value(model, belief) is its own"
            )
        return self._optimal(belief)

    def own_value(self, model: EpochModel, belief: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Weighted value of following this very graph from a belief (S,): a lower bound on what could be had there."""
        b = check_belief("belief", belief, model.n_states)
        return float(b @ self.values(model)[0] @ model.weigh(weights))

    def values(self, model: EpochModel) -> NDArray[np.float64]:
        """Exact expected reward components of every plan in every hidden state, shape (V, S, D).

        These are of this graph alone: at beliefs other than those it was made for, other plans may be worth more.
        The model may be another than the one planned with: what matters is that nodes, signals, actions and
        observations mean the same.

        Raises
        ------
        ModelError
            If the model has other nodes, signals, actions or observations, or leads to a node with no plan.
        """
        from solvers import _epoch_evaluation as _evaluation

        self._check(model)
        out = np.empty((self.action.shape[0], model.n_states, model.n_components))
        _evaluation.evaluate(
            kernel_model(model, np.ones(model.n_components)),
            model.reward,
            model.terminal,
            self.offset,
            np.diff(self.offset),
            self.action,
            self.successor,
            out,
        )
        return out

    def evaluate(self, model: EpochModel) -> NDArray[np.float64]:
        """Exact expected reward components from the model's start, shape (D,).

        As `values` has them, but only plans are looked at that the start leads to in this model.

        Raises
        ------
        ModelError
            If the model has other nodes, signals, actions or observations, or leads to a node with no plan.
        """
        from solvers import _epoch_evaluation as _evaluation

        self._check_shape(model)
        out = np.zeros(model.n_components)
        mass = np.zeros((self.action.shape[0], model.n_states))
        mass[0] = model.start
        node = _evaluation.follow_start(
            kernel_model(model, np.ones(model.n_components)),
            model.reward,
            model.terminal,
            self.offset,
            self.action,
            self.successor,
            mass,
            np.empty((model.n_signals, model.n_actions, model.n_states)),
            out,
        )
        if node >= 0:
            self._check(model)  # says in full what is wrong
            raise ModelError(f"the model leads from node {node} to a node that the graph has no plan for")
        return out

    def components_by_node(self, model: EpochModel) -> NDArray[np.float64]:
        """Expected reward components that fall at each node, from the model's start, shape (N, D).

        They sum to `evaluate`: the same expectation, by where it falls. The chance to be at a node is carried forwards
        through the graph, plan by plan.

        Raises
        ------
        ModelError
            As `values`.
        """
        self._check(model)
        out = np.zeros((model.n_nodes, model.n_components))
        mass = np.zeros((self.action.shape[0], model.n_states))
        mass[0] = model.start
        for node in range(model.n_nodes):
            plans = slice(self.offset[node], self.offset[node + 1])
            here, table = mass[plans], model.table_of[node]
            if table < 0:
                out[node] = here.sum(axis=0) @ model.terminal[node]
            elif len(here):
                action, joint = self.action[plans], model.joint[table]
                flow = np.zeros((*self.successor[plans].shape, model.n_states))
                for a in range(model.n_actions):
                    chosen = action == a
                    out[node] += np.einsum("ks,ksd->d", chosen.T.astype(np.float64) @ here, model.reward[table][:, a])
                    moved = here @ np.moveaxis(joint[:, a], 2, 0).reshape(model.n_states, -1)
                    flow[chosen] = moved.reshape(flow.shape)[chosen]
                flow *= model.discount
                child, possible = _children(model, node, action)
                below = (self.offset[child] + self.successor[plans])[possible]
                for state in range(model.n_states):
                    mass[:, state] += np.bincount(below, flow[..., state][possible], minlength=len(mass))
        return out

    def _check_shape(self, model: EpochModel) -> None:
        here = (self.offset.size - 1, *self.successor.shape[1:])
        there = (model.n_nodes, model.n_signals, model.n_observations)
        if here != there:
            raise ModelError(f"graph and model differ in (nodes, signals, observations): {here} and {there}")

    def _check(self, model: EpochModel) -> None:
        self._check_shape(model)
        count = np.diff(self.offset)
        for node in np.flatnonzero((model.table_of >= 0) & (count > 0)):
            plans = slice(self.offset[node], self.offset[node + 1])
            child, possible = _children(model, int(node), self.action[plans])
            if (possible & (self.successor[plans] >= count[child])).any():
                raise ModelError(f"the model leads from node {node} to a node that the graph has no plan for")


def _children(model: EpochModel, node: int, action: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Child node of each plan, signal and observation, and whether it can be reached; shapes (V, K, O)."""
    if action.min() < 0 or action.max() >= model.n_actions:
        raise ModelError(f"node {node}: actions must lie in 0 … {model.n_actions - 1}")
    table = model.table_of[node]
    k = np.arange(model.n_signals)
    child = model.children[node][model.successor[table, k, action]]
    possible = model.joint[table].any(axis=(3, 4))[k, action]
    return child, possible


def restrict_to_reachable(
    model: EpochModel,
    offset: NDArray[np.int64],
    action: NDArray[np.int16],
    follow: NDArray[np.int32],
    start: int,
) -> PolicyGraph:
    """Policy graph of what plan `start` of node 0 can lead to, from all plans; renumbers."""
    wanted = [np.zeros(0, np.int64) for _ in range(model.n_nodes)]
    wanted[0] = np.array([start])
    marked = np.zeros(action.shape[0], bool)
    new = np.zeros(action.shape[0], np.int32)
    marked[offset[0] + start] = True
    for node in range(model.n_nodes):
        wanted[node] = np.flatnonzero(marked[offset[node] : offset[node + 1]])
        rows = offset[node] + wanted[node]
        new[rows] = np.arange(rows.size)
        if model.table_of[node] >= 0 and rows.size:
            child, _ = _children(model, node, action[rows])
            marked[offset[child] + follow[rows]] = True
    counts = np.array([w.size for w in wanted])
    kept = np.concatenate([offset[n] + w for n, w in enumerate(wanted)])
    new_action = action[kept]
    new_follow = follow[kept]
    new_offset = np.concatenate([[0], np.cumsum(counts)])
    for node in range(model.n_nodes):
        plans = slice(new_offset[node], new_offset[node + 1])
        if model.table_of[node] >= 0 and counts[node]:
            child, _ = _children(model, node, new_action[plans])
            new_follow[plans] = new[offset[child] + new_follow[plans]]
        else:
            new_action[plans] = 0
            new_follow[plans] = 0
    return PolicyGraph(new_offset, new_action, new_follow)


@dataclass(frozen=True, eq=False)
class EpochPolicy:
    """Acts by one step of lookahead in the model, with alpha-vectors for what follows.

    Parameters
    ----------
    model : EpochModel
    weights : array, shape (D,)
    vectors : list of array, shape (V_n, S)
        Alpha-vectors of each node.
    components : list of array, shape (V_n, S, D)
        Their reward components: `vectors[n] == components[n] @ weights`.
    """

    model: EpochModel
    weights: NDArray[np.float64]
    vectors: list[NDArray[np.float64]] = field(repr=False)
    components: list[NDArray[np.float64]] = field(repr=False)
    _bounds: Bounds = field(repr=False)

    @cached_property
    def _kernel_model(self) -> Model:
        m = kernel_model(self.model, self.weights)
        # A solver may look at few vectors near a belief; acting, all of a node are compared, so that what is done is
        # never worth less than the best of them.
        return m if self.model.n_states == 2 else m._replace(fixed=())

    def value(self, node: int, belief: ArrayLike) -> NDArray[np.float64]:
        """Value of the lookahead at a belief (S,) or beliefs (B, S), which the policy attains; shape () or (B,).

        At least the largest alpha-vector there. Where the start does not lead, more may be possible: see
        `EpochSolution.value`.

        Raises
        ------
        ModelError
            If a belief is no distribution over the hidden states.
        """
        beliefs = self._beliefs(belief)
        best = (beliefs @ self.vectors[node].T).max(axis=-1)
        if self.model.table_of[node] >= 0:
            signals = range(self.model.n_signals)
            best = np.maximum(best, sum(self.action_values(node, beliefs, k).max(axis=-1) for k in signals))
        return np.asarray(best if np.ndim(belief) == 2 else best[0])

    def action_values(self, node: int, belief: ArrayLike, signal: ArrayLike = 0) -> NDArray[np.float64]:
        """Weighted value of each action after a signal, from now on and summed over the signal's probability.

        Parameters
        ----------
        node : int
        belief : array, shape (S,) or (B, S)
            Before the signal. Divide the result by the probability of the signal to have the value given it.
        signal : int or int array, shape (B,)

        Returns
        -------
        array, shape (A,) or (B, A)
        """
        from solvers import _epoch_kernels as _kernels

        model = self.model
        if not 0 <= node < model.n_nodes or model.table_of[node] < 0:
            raise ModelError(f"node {node} is terminal or unknown: there is nothing to decide")
        beliefs = self._beliefs(belief)
        signals = np.ascontiguousarray(np.broadcast_to(np.asarray(signal, dtype=np.int64), beliefs.shape[:1]))
        if signals.size and (signals.min() < 0 or signals.max() >= model.n_signals):
            raise ModelError(f"signal must lie in 0 … {model.n_signals - 1}")
        out = np.empty((beliefs.shape[0], model.n_actions))
        m = self._kernel_model
        _kernels.action_values(m.fixed, m, self._bounds, *room_for(m), node, beliefs, signals, out)
        return out if np.ndim(belief) == 2 else out[0]

    def action(self, node: int, belief: ArrayLike, signal: ArrayLike = 0) -> Any:
        """Best action after a signal: an int, or an int array (B,) for beliefs (B, S).

        Among actions that differ by no more than rounding, the one with the lowest index.
        """
        values = self.action_values(node, belief, signal)
        good = values >= values.max(axis=-1, keepdims=True) - self._kernel_model.tie
        best = good.argmax(axis=-1)
        return best if np.ndim(belief) == 2 else int(best)

    def _beliefs(self, value: ArrayLike) -> NDArray[np.float64]:
        """Beliefs as an array (B, S) of our own."""
        return check_beliefs("belief", value, self.model.n_states)
