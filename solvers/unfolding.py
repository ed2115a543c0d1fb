r"""Epoch models as ordinary POMDPs, exactly, and small.

An epoch opens with a signal k that is seen before acting (`solvers.epochs`); a POMDP shows what it shows *after* an
action. So the signal of an epoch becomes part of what the action before it shows, and a first action, *look*, which
does the same whatever it is, shows the first one. What comes next depends on the signal too, not on the hidden state
alone: the state of the POMDP must say which. Written out, node × signal × hidden state would do, thousands of them.

It takes fewer. With V[k] what signal k in hidden state s leads to (the probabilities of observation, child and next
hidden state, and the rewards, under every action), these points often lie in a simplex whose corners are among them,

.. math::
    V[k] = \sum_c W[c, k]\, V[k_c], \qquad W \ge 0,\quad \sum_c W[c, k] = 1,

because what a signal tells is a share of a few kinds that are hidden (a right step, a first error). Then a *kind* c can
be drawn with P(c | s) = Σ_k P(k | s) W[c, k] before the signal, which is seen with P(k | s) W[c, k] / P(c | s), and
what follows depends on s and c alone: joint distribution, and so every value, are the same. Corners are found by
taking the longest point, projecting all onto what is orthogonal to it, and so on (the successive projection algorithm;
Araújo et al. 2001, Chemometrics and Intelligent Laboratory Systems 57), which is right wherever such corners exist; the
weights are checked, and where none do, each signal that differs is its own kind. Thirty steps of routing with 262
signals become 178 states.
"""
# ruff: noqa: E741 (O is the number of observations)

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.checks import check_beliefs
from solvers.epochs import EpochModel
from solvers.errors import ModelError
from solvers.pomdp import POMDP
from solvers.reward_rules import RewardRules

if TYPE_CHECKING:
    from solvers.epoch_solver import EpochSolution

_EXACT = 1e-11  # to which kinds must give back what signals lead to


class Place(NamedTuple):
    """What a state of an unfolded model stands for.

    Attributes
    ----------
    node : int
        Of the epoch model; -1 before the first signal.
    seen : int
        Observation that led here; -1 at node 0.
    hidden : int
        Hidden state.
    kind : int
        Of what the signal will be, and lead to: a number in its node and hidden state.
    """

    node: int
    seen: int
    hidden: int
    kind: int


class Sight(NamedTuple):
    """What an observation of an unfolded model stands for.

    Attributes
    ----------
    seen : int
        Observation at the end of the epoch; at the first look, whatever does not end the process.
    signal : int
        Of the epoch that opens; -1 where none does.
    """

    seen: int
    signal: int


class _Kinds(NamedTuple):
    """What signals lead to in one table and hidden state, told by a few kinds of them."""

    probability: NDArray[np.float64]  # (c,)
    signal: NDArray[np.float64]  # (c, K): P(signal | kind)
    outcome: NDArray[np.float64]  # (c, A, O, C, S): P(observation, child, next hidden state | kind, action)
    reward: NDArray[np.float64]  # (c, A, D)


@dataclass(frozen=True, eq=False)
class Unfolded:
    """An epoch model as the tables of a POMDP, with its reward components still apart.

    Attributes
    ----------
    model : EpochModel
    places : tuple of Place
        What each state is.
    sights : tuple of Sight
        What each observation is.
    shown : tuple of tuples of Sight
        What may be seen on reaching each state.
    components : array, shape (D, A, S)
        Expected reward components.
    horizon : int
        Actions after which the process is over at the latest, the first look included.
    """

    model: EpochModel
    places: tuple[Place, ...]
    sights: tuple[Sight, ...]
    shown: tuple[tuple[Sight, ...], ...]
    components: NDArray[np.float64]
    horizon: int
    _moves: "list[_Rows]" = field(repr=False)
    _seen: "_Rows" = field(repr=False)
    _start: NDArray[np.float64] = field(repr=False)
    _observed: NDArray[np.int64] = field(repr=False)
    _ends: NDArray[np.bool_] = field(repr=False)
    _scale: float = field(repr=False)

    def pomdp(
        self,
        weights: ArrayLike | None = None,
        *,
        observed: bool = True,
        states: Sequence[str] = (),
        observations: Sequence[str] = (),
    ) -> POMDP:
        """Return the POMDP in which the reward components have these weights, shape (D,).

        Its value at the start is that of the epoch model. It needs no horizon: every way leads to a terminal state, in
        `horizon` actions at most. Rewards that fall due there are in those of outcomes.

        Parameters
        ----------
        weights : array, shape (D,), optional
            May be omitted for a single component.
        observed : bool
            Whether node and last observation, and the kind of the signal as far as it tells that, are given as a fully
            observed factor. Observations tell it all the same, to whoever counts epochs: a belief knows it without.
        states, observations : sequence of str, optional
            Names; made from `places` and `sights` if omitted.

        Raises
        ------
        ModelError
            If the weights are not D finite numbers.
        """
        w = self.model.weigh(weights)
        reward = np.tensordot(w, self.components, 1)
        size = len(self.places)
        shown = self._seen.matrix(size, len(self.sights))
        return POMDP(
            transition=[rows.matrix(size, size) for rows in self._moves],
            observation=[shown] * self.model.n_actions,
            reward=reward,
            rewards=self._outcome_rewards(reward, w),
            start=self._start,
            discount=self.model.discount,
            states=states or tuple(map(_place_name, self.places)),
            actions=self.model.actions,
            observations=observations or tuple(map(_sight_name, self.sights)),
            observed=self._observed if observed else None,
            terminal=self._ends,
        )

    def policy(self, solution: "EpochSolution") -> "UnfoldedPolicy":
        """Return the policy of a solution of the epoch model, for beliefs over states of the POMDP.

        Raises
        ------
        ModelError
            If the solution is one of another model.
        """
        if solution.model is not self.model:
            raise ModelError("the solution is one of another epoch model")
        return UnfoldedPolicy(self, solution)

    def _outcome_rewards(self, reward: NDArray[np.float64], w: NDArray[np.float64]) -> RewardRules | None:
        """Rewards by (action, state, end state): those at the end depend on where it ends."""
        model, size = self.model, len(self.places)
        due = np.zeros(size)
        for state in np.flatnonzero(self._ends):
            place = self.places[state]
            due[state] = model.discount * self._scale * (model.terminal[place.node, place.hidden] @ w)
        if not due.any():
            return None
        rules = RewardRules((model.n_actions, size, size, len(self.sights)))
        for a, rows in enumerate(self._moves):
            at_once = reward[a] - rows.matrix(size, size) @ due
            for s in np.flatnonzero(~self._ends).tolist():
                rules.add((a, s, None, None), at_once[s])
            for s, after in zip(rows.row, rows.column, strict=True):
                if due[after]:
                    rules.add((a, s, after, None), at_once[s] + due[after])
        return rules


class UnfoldedPolicy:
    """One step of lookahead in the unfolded POMDP, with the alpha-vectors of an epoch solution for what follows.

    Worth the solution's lower bound at least. Like any policy it has `action`, and so acts wherever those do: in
    `solvers.simulate`, and as a planner of pomdp-py (`solvers.bridges`). Made by `Unfolded.policy`.
    """

    def __init__(self, unfolded: Unfolded, solution: "EpochSolution") -> None:
        self.pomdp = unfolded.pomdp(solution.weights)
        groups: dict[tuple[int, int], list[int]] = {}
        for state, place in enumerate(unfolded.places):
            if place.kind >= 0:
                groups.setdefault((place.node, place.seen), []).append(state)
        scale = self.pomdp.discount * unfolded._scale
        self._following = [  # states of a node, and what its plans are worth in each of them
            (np.array(states), scale * solution.vectors(node)[:, [unfolded.places[s].hidden for s in states]].T)
            for (node, _), states in groups.items()
        ]

    def action(self, belief: ArrayLike) -> Any:
        """Best action at a belief (S,), an int, or at beliefs (B, S), an int array (B,); of equal ones the first.

        Raises
        ------
        ModelError
            If a belief is no distribution over the states.
        """
        beliefs = check_beliefs("belief", belief, self.pomdp.n_states)
        values = beliefs @ self.pomdp.reward.T
        for a, moves in enumerate(self.pomdp.transition):
            after = beliefs @ moves
            for states, plans in self._following:
                values[:, a] += (after[:, states] @ plans).max(axis=1)
        tie = 1e-12 * max(1.0, np.abs(values).max())
        best = (values >= values.max(axis=1, keepdims=True) - tie).argmax(axis=1)
        return best if np.ndim(belief) == 2 else int(best[0])


def unfold(model: EpochModel) -> Unfolded:
    """Return an epoch model as the tables of a POMDP; `EpochModel.as_pomdp` makes the POMDP of them at once.

    Examples
    --------
    A coin is shown before one bets on it, at a stake of 1:

    >>> import numpy as np
    >>> from solvers import EpochModel
    >>> bet = np.zeros((1, 2, 2, 1, 1))
    >>> bet[0, :, 1, 0, 0] = [0.5, -0.5]
    >>> coin = EpochModel(joint=np.full((1, 2, 2, 1, 1, 1), 0.5), reward=bet, children=[[1], [1]], table_of=[0, -1],
    ...                   start=[1.0], actions=["pass", "bet"])
    >>> unfold(coin).pomdp().states
    ('before_0', 'node-0_0_kind-0', 'node-0_0_kind-1', 'node-1_0_after-0')
    """
    kinds = [[_kinds_of(model, t, s) for s in range(model.n_states)] for t in range(len(model.joint))]
    walk = _Walk(model, kinds)
    start = walk.go()
    places = tuple(walk.index)
    sights, shown, seen = _sights(model, kinds, places)
    return Unfolded(
        model=model,
        places=places,
        sights=sights,
        shown=shown,
        components=np.stack(walk.components).transpose(2, 1, 0) * walk.scale,
        horizon=_longest(model) + walk.looks,
        _moves=walk.moves,
        _seen=seen,
        _start=np.pad(start, (0, len(places) - start.size)),
        _observed=_factor(model, kinds, places),
        _ends=np.array([_is_end(model, place) for place in places]),
        _scale=walk.scale,
    )


def _kinds_of(model: EpochModel, table: int, state: int) -> _Kinds:
    """Split the signals of a table and hidden state into kinds."""
    joint = model.joint[table, :, :, :, state]  # (K, A, O, S)
    K, A, O, S = joint.shape
    C, D = model.children.shape[1], model.n_components
    chance = joint.sum(axis=(2, 3)).mean(axis=1)  # (K,)
    there = np.flatnonzero(chance > 0)
    outcome = np.zeros((there.size, A, O, C, S))
    k, a, o = np.indices((there.size, A, O), sparse=True)
    outcome[k, a, o, model.successor[table][there]] = joint[there] / chance[there, None, None, None]
    reward = model.reward[table, there, :, state] / chance[there, None, None]  # (k, A, D)
    size = np.abs(reward).max(axis=(0, 1))
    scaled = reward / np.where(size > 0, size, 1.0)
    points = np.concatenate([outcome.reshape(there.size, -1), scaled.reshape(there.size, -1)], axis=1).T
    corners, share = _corners(points)
    mass = np.zeros((corners.size, K))
    mass[:, there] = share * chance[there]
    probability = mass.sum(axis=1)
    return _Kinds(
        probability / probability.sum(),
        mass / probability[:, None],
        outcome[corners],
        reward[corners].reshape(corners.size, A, D),
    )


def _corners(points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Columns of `points` (M, n) of which all are convex mixtures, and the shares, shape (c, n)."""
    rest = points.copy()
    found: list[int] = []
    length = np.linalg.norm(rest, axis=0)
    least = _EXACT * length.max()
    while length.max() > least and len(found) < len(points):
        found.append(int(length.argmax()))
        along = rest[:, found[-1]] / length[found[-1]]
        rest -= np.outer(along, along @ rest)
        length = np.linalg.norm(rest, axis=0)
    corners = np.sort(found)
    share = np.linalg.pinv(points[:, corners]) @ points
    share[np.abs(share) <= _EXACT] = 0.0
    if share.min() < 0.0 or np.abs(points[:, corners] @ share - points).max() > _EXACT:
        _, corners, inverse = np.unique(points.round(12), axis=1, return_index=True, return_inverse=True)
        share = np.eye(corners.size)[:, inverse.reshape(-1)]
    return corners, share / share.sum(axis=0)


@dataclass
class _Rows:
    """Entries of a sparse matrix, as they come."""

    row: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def add(self, row: int, entries: Iterable[tuple[int, float]]) -> None:
        for column, value in entries:
            self.row.append(row)
            self.column.append(column)
            self.value.append(value)

    def matrix(self, rows: int, columns: int):  # type: ignore[no-untyped-def]  # scipy.sparse.coo_array
        from scipy.sparse import coo_array

        return coo_array((self.value, (self.row, self.column)), shape=(rows, columns))


class _Walk:
    """States in the order in which they are reached from the start, and the moves between them."""

    def __init__(self, model: EpochModel, kinds: list[list[_Kinds]]) -> None:
        self.model = model
        self.kinds = kinds
        self.looks = model.n_signals > 1
        self.scale = 1.0 / model.discount if self.looks else 1.0  # for the action that the first look takes
        self.index: dict[Place, int] = {}
        self.moves = [_Rows() for _ in range(model.n_actions)]
        self.components: list[NDArray[np.float64]] = []  # (A, D) each

    def go(self) -> NDArray[np.float64]:
        """Walk; return the probabilities of the first states."""
        start: list[float] = []
        for s in np.flatnonzero(self.model.start).tolist():
            first = [(Place(-1, -1, s, -1), 1.0)] if self.looks else self._openings(0, -1, s)
            for place, share in first:
                self._number(place)
                start.append(share * self.model.start[s])
        places = list(self.index)
        for place in places:  # grows as it goes
            self._leave(place)
            places.extend(list(self.index)[len(places) :])
        return np.array(start)

    def _leave(self, place: Place) -> None:
        """Moves and rewards of a state."""
        model, here = self.model, self.index[place]
        components = np.zeros((model.n_actions, model.n_components))
        self.components.append(components)
        if place.node < 0:
            for rows in self.moves:
                self._move(rows, here, 0, -1, place.hidden, 1.0)
        elif not _is_end(model, place):
            kind = self.kinds[model.table_of[place.node]][place.hidden]
            components += kind.reward[place.kind]
            for a, o, c, s in np.argwhere(kind.outcome[place.kind] > 0).tolist():
                chance = float(kind.outcome[place.kind, a, o, c, s])
                child = int(model.children[place.node, c])
                self._move(self.moves[a], here, child, o, s, chance)
                if model.table_of[child] < 0:
                    components[a] += model.discount * chance * model.terminal[child, s]

    def _move(self, rows: _Rows, here: int, node: int, seen: int, hidden: int, chance: float) -> None:
        rows.add(here, ((self._number(place), chance * share) for place, share in self._openings(node, seen, hidden)))

    def _openings(self, node: int, seen: int, hidden: int) -> list[tuple[Place, float]]:
        """States in which a node opens, or the one in which all is over."""
        table = self.model.table_of[node]
        if table < 0:
            return [(Place(node, seen, hidden, -1), 1.0)]
        shares = self.kinds[table][hidden].probability.tolist()
        return [(Place(node, seen, hidden, c), share) for c, share in enumerate(shares)]

    def _number(self, place: Place) -> int:
        return self.index.setdefault(place, len(self.index))


def _is_end(model: EpochModel, place: Place) -> bool:
    return place.node >= 0 and bool(model.table_of[place.node] < 0)


def _sights(
    model: EpochModel, kinds: list[list[_Kinds]], places: tuple[Place, ...]
) -> tuple[tuple[Sight, ...], tuple[tuple[Sight, ...], ...], _Rows]:
    """Observations, and with what probability each state shows them."""
    going_on = [p.seen for p in places if p.seen >= 0 and not _is_end(model, p)]
    first = min(going_on, default=0)  # what the first look shows beside the signal tells nothing: it needs no name
    shows: list[dict[Sight, float]] = []
    for place in places:
        seen = place.seen if place.seen >= 0 else first
        if place.node < 0:
            shows.append({})
        elif _is_end(model, place):
            shows.append({Sight(seen, -1): 1.0})
        else:
            signal = kinds[model.table_of[place.node]][place.hidden].signal[place.kind]
            shows.append({Sight(seen, k): float(signal[k]) for k in np.flatnonzero(signal).tolist()})
    sights = tuple(sorted({sight for shown in shows for sight in shown}))
    number = {sight: i for i, sight in enumerate(sights)}
    rows = _Rows()
    for i, shown in enumerate(shows):  # no action leads to where nothing is shown: anything will do
        rows.add(i, ((number[sight], chance) for sight, chance in (shown or {sights[0]: 1.0}).items()))
    return sights, tuple(map(tuple, shows)), rows


def _factor(model: EpochModel, kinds: list[list[_Kinds]], places: tuple[Place, ...]) -> NDArray[np.int64]:
    """Value of what is always known: node, last observation, and which kinds any signal can be of together."""
    from scipy.sparse.csgraph import connected_components

    group: dict[tuple[int, int], NDArray[np.int64]] = {}
    for t, of_table in enumerate(kinds):
        signal = np.concatenate([kind.signal for kind in of_table]) > 0  # (all kinds, K)
        _, label = connected_components(signal.astype(float) @ signal.T)
        ends = np.cumsum([len(kind.probability) for kind in of_table])
        group.update({(t, s): part for s, part in enumerate(np.split(label, ends[:-1]))})
    values: dict[tuple[int, int, int], int] = {}
    out = []
    for p in places:
        known = -1 if p.kind < 0 else int(group[int(model.table_of[p.node]), p.hidden][p.kind])
        out.append(values.setdefault((p.node, p.seen, known), len(values)))
    return np.array(out)


def _longest(model: EpochModel) -> int:
    """Epochs on the longest way from the start."""
    length = np.zeros(model.n_nodes, np.int64)
    for node in range(model.n_nodes - 1, -1, -1):
        if model.table_of[node] >= 0:
            length[node] = 1 + length[model.children[node]].max()
    return int(length[0])


def _place_name(place: Place) -> str:
    if place.node < 0:
        return f"before_{place.hidden}"
    known = f"node-{place.node}_{place.hidden}"
    if place.kind < 0:
        return f"{known}_after-{place.seen}"
    return f"{known}_kind-{place.kind}" + ("" if place.seen < 1 else f"_after-{place.seen}")


def _sight_name(sight: Sight) -> str:
    return f"seen-{sight.seen}" + ("" if sight.signal < 0 else f"_signal-{sight.signal}")
