r"""The epoch form: what the solver takes, and what every POMDP here is turned into.

An *epoch* opens with a signal k that is seen before acting (one trivial signal in an ordinary POMDP), then
comes an action a, then an observation o (one trivial observation if nothing is seen after acting), and the
hidden state moves from s to s'. Epochs are the nodes of an acyclic graph, which is the fully observed part of
the state: steps to go, a position, a time. With b an unnormalised belief over the hidden states,

    V_n(b) = Σ_k max_a [ b·r[k, a]·w + γ Σ_o V_{n'(k, a, o)}( b M[k, a, o] ),

where M[k, a, o, s, s'] is the joint probability of signal, observation and next hidden state given s and a,
r[k, a, s, :] are expected reward components, already multiplied by the probability of the signal, and w
turns components into one value.
"""
# ruff: noqa: E741 (O is the number of observations)

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from solvers.checks import check_array, check_belief, check_indices, check_names, check_shape
from solvers.errors import ModelError

if TYPE_CHECKING:
    from solvers.pomdp import POMDP

_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochModel:
    """Finite-horizon POMDP as an acyclic graph of epochs, with N nodes, T tables and S hidden states.

    Nodes that differ in nothing but their position share a table, so ten steps of an ordinary POMDP store one.
    A fully observed factor (say, a position y) is a part of the node: one node for each (steps to go, y), one
    table for each y, the next y as part of the observation, and `successor` sends it to its child. Beliefs and
    alpha-vectors then live on the hidden part alone; `POMDP.finite_horizon` does this on request.

    Parameters
    ----------
    joint : array, shape (T, K, A, O, S, S)
        P(signal k, observation o, next state s' | state s, action a). For each table, state and action it sums
        to one, and the probability of a signal does not depend on the action.
    reward : array, shape (T, K, A, S, D)
        Expected reward components, times the probability of the signal: Σ_k reward[t, k, a_k, s] is what is
        expected in an epoch.
    successor : int array, shape (T, K, A, O)
        Which child follows: a column of `children`. Omitted: always the first.
    children : int array, shape (N, C)
        Nodes that may follow each node; larger than the node itself, so that time cannot run in circles. The
        rows of terminal nodes are ignored.
    table_of : int array, shape (N,)
        Table of each node; -1 marks a terminal node. Node 0 is where the process starts.
    terminal : array, shape (N, S, D), optional
        Reward components on reaching a terminal node; rows of other nodes are ignored. Omitted: zero.
    start : array, shape (S,)
        Belief at node 0, before the first signal.
    discount : float
        Factor per epoch, in (0, 1].
    component_names, actions : sequence of str, optional
        Names of the D reward components and the A actions, for people.

    Raises
    ------
    ModelError
        If any of this does not hold, to within 1e-9 for probabilities.

    Examples
    --------
    One epoch: a state that is 1 with probability 0.3, a bet on it that wins 2 or loses 1, or no bet.

    >>> import numpy as np
    >>> bet = np.zeros((1, 1, 2, 1, 2, 1))
    >>> bet[0, 0, 1, 0, :, 0] = [-1, 2]
    >>> model = EpochModel(
    ...     joint=np.tile(np.eye(2), (1, 1, 2, 1, 1, 1)), reward=bet[:, :, :, 0], children=[[1], [1]],
    ...     table_of=[0, -1], start=[0.7, 0.3], actions=["pass", "bet"])
    >>> model.n_nodes, model.n_states, model.n_signals, model.n_actions, model.n_observations
    (2, 2, 1, 2, 1)
    """

    joint: NDArray[np.float64]
    reward: NDArray[np.float64]
    children: NDArray[np.int64]
    table_of: NDArray[np.int64]
    start: NDArray[np.float64]
    successor: NDArray[np.int64] = None  # type: ignore[assignment]
    terminal: NDArray[np.float64] = None  # type: ignore[assignment]
    discount: float = 1.0
    component_names: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        joint = check_array("joint", self.joint, 6)
        reward = check_array("reward", self.reward, 5)
        T, K, A, O, S = joint.shape[:5]
        D = reward.shape[4]
        check_shape("joint", joint.shape, (T, K, A, O, S, S))
        check_shape("reward", reward.shape, (T, K, A, S, D))
        if min(joint.shape) == 0 or D == 0:
            raise ModelError(f"every dimension needs at least one entry: joint {joint.shape}, reward {reward.shape}")
        if np.iinfo(np.int16).max < A:
            raise ModelError(f"at most {np.iinfo(np.int16).max} actions, got {A}")
        table_of = check_indices("table_of", self.table_of, 1, -1, T)
        children = check_indices("children", self.children, 2, None, None)
        N = table_of.size
        check_shape("children", children.shape, (N, children.shape[1]))
        successor = np.zeros((T, K, A, O), np.int64) if self.successor is None else self.successor
        successor = check_indices("successor", successor, 4, 0, children.shape[1])
        check_shape("successor", successor.shape, (T, K, A, O))
        terminal = check_array("terminal", np.zeros((N, S, D)) if self.terminal is None else self.terminal, 3)
        check_shape("terminal", terminal.shape, (N, S, D))
        start = check_belief("start", self.start, S)
        _check_graph(table_of, children)
        _check_probabilities(joint)
        discount = checks.discount(self.discount)
        names = check_names("component_names", self.component_names, "component", D)
        actions = check_names("actions", self.actions, "action", A)
        for name, value in (
            ("joint", joint),
            ("reward", reward),
            ("children", children),
            ("table_of", table_of),
            ("successor", successor),
            ("terminal", terminal),
            ("start", start),
        ):
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        object.__setattr__(self, "discount", discount)
        object.__setattr__(self, "component_names", names)
        object.__setattr__(self, "actions", actions)

    def __repr__(self) -> str:
        return (
            f"EpochModel({self.n_nodes} nodes, {len(self.joint)} tables, {self.n_signals} signals, "
            f"{self.n_actions} actions, {self.n_observations} observations, {self.n_states} hidden states, "
            f"components {', '.join(self.component_names)})"
        )

    @property
    def n_nodes(self) -> int:
        """Number of nodes N, terminal ones included."""
        return int(self.table_of.size)

    @property
    def n_signals(self) -> int:
        """Number of signals K."""
        return int(self.joint.shape[1])

    @property
    def n_actions(self) -> int:
        """Number of actions A."""
        return int(self.joint.shape[2])

    @property
    def n_observations(self) -> int:
        """Number of observations O."""
        return int(self.joint.shape[3])

    @property
    def n_states(self) -> int:
        """Number of hidden states S."""
        return int(self.joint.shape[4])

    @property
    def n_components(self) -> int:
        """Number of reward components D."""
        return int(self.reward.shape[4])

    def child(self, node: int, signal: int, action: int, observation: int = 0) -> int:
        """Node that follows."""
        table = self.table_of[node]
        if table < 0:
            raise ModelError(f"node {node} is terminal: nothing follows")
        return int(self.children[node, self.successor[table, signal, action, observation]])

    def update(
        self, node: int, belief: ArrayLike, signal: int, action: int, observation: int = 0
    ) -> tuple[NDArray[np.float64], float]:
        """Bayes filter over one epoch.

        Returns
        -------
        belief : array, shape (S,)
            Belief after the epoch.
        probability : float
            Probability of signal and observation, given the action.

        Raises
        ------
        ModelError
            If signal and observation cannot occur.
        """
        table = self.table_of[node]
        if table < 0:
            raise ModelError(f"node {node} is terminal: nothing follows")
        b = check_belief("belief", belief, self.n_states)
        after = b @ self.joint[table, signal, action, observation]
        probability = float(after.sum())
        if probability <= 0.0:
            raise ModelError(
                f"node {node}: signal {signal} and observation {observation} cannot occur with action {action}"
            )
        return after / probability, probability

    def as_pomdp(self, weights: ArrayLike | None = None) -> "POMDP":
        """Return an ordinary POMDP of the same value at the start, in which all ways lead to terminal states.

        Signals become what the action before them shows; with more than one, a first action that does nothing shows
        the first. The node is a fully observed factor. See `solvers.unfolding`, which has the reward components and
        what each state stands for.

        Parameters
        ----------
        weights : array, shape (D,), optional
            Value of each reward component; may be omitted if there is one.

        Raises
        ------
        ModelError
            If the weights are not D finite numbers.
        """
        from solvers.unfolding import unfold

        return unfold(self).pomdp(weights)

    def weigh(self, weights: ArrayLike | None) -> NDArray[np.float64]:
        """Return weights, checked, shape (D,); None means one for a single component.

        Raises
        ------
        ModelError
            If they are not D finite numbers, or are omitted where there are several components.
        """
        if weights is None:
            if self.n_components > 1:
                raise ModelError(f"weights are needed for the components {', '.join(self.component_names)}")
            return np.ones(1)
        w = check_array("weights", weights, 1)
        check_shape("weights", w.shape, (self.n_components,))
        return w


def _check_graph(table_of: NDArray[np.int64], children: NDArray[np.int64]) -> None:
    if table_of.size == 0 or table_of[0] < 0:
        raise ModelError("node 0, where the process starts, must not be terminal")
    for node in np.flatnonzero(table_of >= 0):
        row = children[node]
        if row.size == 0 or row.min() <= node or row.max() >= table_of.size:
            raise ModelError(
                f"children of node {node} must lie in {node + 1} … {table_of.size - 1}, got {row.tolist()}"
            )


def _check_probabilities(joint: NDArray[np.float64]) -> None:
    if (joint < 0).any():
        raise ModelError(f"joint has a negative probability: {joint.min()}")
    signal = joint.sum(axis=(3, 5))  # (T, K, A, S)
    total = signal.sum(axis=1)  # (T, A, S)
    worst = np.unravel_index(np.abs(total - 1.0).argmax(), total.shape)
    if abs(total[worst] - 1.0) > _TOLERANCE:
        t, a, s = map(int, worst)
        raise ModelError(f"joint must sum to 1: table {t}, action {a}, state {s} sums to {total[worst]:.12g}")
    spread = np.ptp(signal, axis=2)  # (T, K, S)
    worst = np.unravel_index(spread.argmax(), spread.shape)
    if spread[worst] > _TOLERANCE:
        t, k, s = map(int, worst)
        raise ModelError(
            f"a signal is seen before acting, but its probability depends on the action: table {t}, signal {k}, "
            f"state {s} (by {spread[worst]:.3g})"
        )
