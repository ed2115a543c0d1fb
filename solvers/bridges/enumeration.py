r"""Probabilities of models that answer questions and draw, such as those of pomdp-py, as sparse matrices.

Asking P(s' | s, a) for every pair of states takes \|S\|²\|A\| calls, hours for ten thousand states. Here a row is
*drawn*: an outcome that comes up is asked for its probability once, and when the probabilities of those found sum to
one, the row is complete, which proves it; a deterministic row takes one draw. Only where draws do not get there are all
outcomes asked. The result does not depend on the draws, only the time does.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.errors import ModelError
from solvers.reward_rules import RewardRules

Report = Callable[[str], None]

_SUM = 1e-6  # how far from 1 a row may be, once what is negligible is left out
_PATIENCE = 10  # draws in a row that find nothing new, where all outcomes can be asked instead
_DRAWS = 2000  # the same, where they cannot
_ALIKE = 1e-9  # rewards that differ by no more are one
_BELIEF = 1e-6  # how far from 1 a belief of pomdp-py may sum: its updates divide by floats


@dataclass(frozen=True)
class Asked:
    """A transition or observation model, and how its rows are found.

    Parameters
    ----------
    model : object
        With ``probability(outcome, *given)``, and as far as it has them ``get_distribution``, ``argmax`` and
        ``sample``, called as ``sample(*given)``; what is not there raises `NotImplementedError` or is absent.
    known : sequence, optional
        All outcomes.
    negligible : float
        Outcomes that are no likelier are left out: models in pomdp-py give impossible ones 1e-9 or so.
    """

    model: Any
    known: Sequence[Any] | None
    negligible: float

    def row(self, what: Callable[[], str], *given: Any) -> dict[Any, float]:
        """Outcomes with their probabilities, which sum to one.

        Parameters
        ----------
        what : callable
            Says of which row an error speaks.

        Raises
        ------
        ModelError
            If the outcomes cannot be found, or their probabilities do not sum to one.
        """
        found = self._distribution(given)
        if found is None:
            found = self._drawn(given)
        total = sum(found.values())
        if total < 1.0 - self.negligible and self.known is not None:
            found = {outcome: float(self.model.probability(outcome, *given)) for outcome in self.known}
        found = {outcome: p for outcome, p in found.items() if abs(p) > self.negligible}
        total = sum(found.values())
        if min(found.values(), default=0.0) < 0.0:
            raise ModelError(f"{what()} has a negative probability")
        if abs(total - 1.0) > _SUM:
            advice = "" if self.known is not None else f" over the {len(found)} outcomes that could be drawn"
            raise ModelError(f"{what()} sums to {total:.9g}{advice}; it must sum to 1")
        return {outcome: p / total for outcome, p in found.items()}

    def _distribution(self, given: tuple[Any, ...]) -> dict[Any, float] | None:
        """What the model gives as a distribution with a histogram, if it does."""
        distribution = _asked(self.model, "get_distribution", given)
        histogram = None if distribution is None else _asked(distribution, "get_histogram", ())
        if not isinstance(histogram, dict):
            return None
        return {outcome: float(p) for outcome, p in histogram.items()}

    def _drawn(self, given: tuple[Any, ...]) -> dict[Any, float]:
        found: dict[Any, float] = {}
        total, idle = 0.0, 0
        patience = _DRAWS if self.known is None else _PATIENCE
        outcome = _asked(self.model, "argmax", given)
        while idle < patience and total < 1.0 - self.negligible:
            if outcome is None:
                outcome = _asked(self.model, "sample", given)
            if outcome is None:
                break
            if outcome in found:
                idle += 1
            else:
                found[outcome] = float(self.model.probability(outcome, *given))
                total += found[outcome]
                idle = 0
            outcome = None
        return found


def _asked(thing: Any, method: str, given: tuple[Any, ...]) -> Any:
    """What a method says, or None where there is none."""
    function = getattr(thing, method, None)
    if function is None:
        return None
    try:
        return function(*given)
    except NotImplementedError:
        return None


def listed(thing: Any, method: str) -> list[Any] | None:
    """What a method lists, each once, or None where it does not.

    In the order of their names: lists of pomdp-py are often made of sets, whose order changes from run to run.
    """
    found = _asked(thing, method, ())
    return None if found is None else sorted(dict.fromkeys(found), key=str)


def names(things: Sequence[Any]) -> tuple[str, ...]:
    """Their names as texts; numbered where several have the same."""
    texts = [str(thing) for thing in things]
    if len(set(texts)) < len(texts):
        texts = [repr(thing) for thing in things]
    if len(set(texts)) < len(texts):
        texts = [f"{text} {i}" for i, text in enumerate(texts)]
    return tuple(texts)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that models draw from, which are global, and give them back as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@dataclass
class Tables:
    """Rows by action and state, as they are found; states and observations that are not listed are numbered then."""

    agent: Any
    actions: list[Any]
    told: Sequence[Any] | None
    seen: Sequence[Any] | None
    negligible: float
    report: Report | None
    states: list[Any] = field(default_factory=list)
    number: dict[Any, int] = field(default_factory=dict)
    observations: list[Any] = field(default_factory=list)
    moves: list[list[dict[int, float]]] = field(default_factory=list)  # by action, then state
    _told_at: float = field(default_factory=time.monotonic)

    def move(self) -> None:
        """Find states, and what every action does in each of them."""
        asked = Asked(self.agent.transition_model, self.told, self.negligible)
        for state in histogram(self.agent.belief) if self.told is None else self.told:
            self._place(state)
        self.moves = [[] for _ in self.actions]
        for state in self.states:  # grows as it goes, unless all were told
            for action, rows in zip(self.actions, self.moves, strict=True):
                row = asked.row(lambda: f"transition of action {action}, state {state}", state, action)  # noqa: B023
                rows.append({self._place(after): p for after, p in sorted(row.items(), key=lambda item: str(item[0]))})
            self._tell("moves", len(self.moves[0]))

    def _place(self, state: Any) -> int:
        if state not in self.number:
            if self.moves and self.told is not None:
                raise ModelError(f"{state} is reached, but is not among the {len(self.states)} states that are listed")
            self.number[state] = len(self.states)
            self.states.append(state)
        return self.number[state]

    def rewards(self) -> tuple[NDArray[np.float64], list[tuple[int, int, int, float]]]:
        """Expected rewards, shape (A, S), and those of (action, state, end state) if ends make a difference."""
        model = self.agent.reward_model
        expected = np.zeros((len(self.actions), len(self.states)))
        outcomes: list[tuple[int, int, int, float]] = []
        varies = False
        for a, action in enumerate(self.actions):
            for s, (state, row) in enumerate(zip(self.states, self.moves[a], strict=True)):
                paid = {after: _reward(model, state, action, self.states[after]) for after in row}
                expected[a, s] = sum(p * paid[after] for after, p in row.items())
                varies |= max(paid.values()) - min(paid.values()) > _ALIKE
                outcomes.extend((a, s, after, r) for after, r in paid.items())
                self._tell("rewards", a * len(self.states) + s)
        return expected, outcomes if varies else []

    def rules(self, outcomes: list[tuple[int, int, int, float]]) -> RewardRules | None:
        """Rewards of outcomes, if there are any."""
        rules = RewardRules((len(self.actions), len(self.states), len(self.states), len(self.observations)))
        for a, s, after, reward in outcomes:
            rules.add((a, s, after, None), reward)
        return rules if outcomes else None

    def over(self, reward: NDArray[np.float64]) -> NDArray[np.bool_]:
        """States that are never left and bring nothing."""
        stays = [[row.get(s, 0.0) == 1.0 for s, row in enumerate(rows)] for rows in self.moves]
        return np.asarray(np.all(stays, axis=0) & ~reward.any(axis=0))

    def show(self, over: NDArray[np.bool_]) -> list[list[dict[int, float]]]:
        """Find what is seen on reaching each state.

        What is seen of a state after an action that never leads there, or while all is over, makes no difference, and
        is not asked: there anything may be seen.
        """
        asked = Asked(self.agent.observation_model, self.seen, self.negligible)
        number: dict[Any, int] = {sight: i for i, sight in enumerate(self.seen or ())}
        shows: list[list[dict[int, float]]] = []
        for a, action in enumerate(self.actions):
            reached = {after for s, row in enumerate(self.moves[a]) if not over[s] for after in row}
            rows: list[dict[int, float]] = [{} for _ in self.states]
            for s in sorted(reached):
                state = self.states[s]
                row = asked.row(lambda: f"observation of action {action}, state {state}", state, action)  # noqa: B023
                for sight, p in sorted(row.items(), key=lambda item: str(item[0])):
                    if self.seen is not None and sight not in number:
                        raise ModelError(
                            f"{sight} is seen, but is not among the {len(number)} observations that are listed"
                        )
                    rows[s][number.setdefault(sight, len(number))] = p
                self._tell("observations", a * len(self.states) + s)
            shows.append(rows)
        self.observations = list(number) or [None]  # where all is over from the start, nothing is ever seen
        anything = dict.fromkeys(range(len(self.observations)), 1.0 / len(self.observations))
        return [[row or anything for row in rows] for rows in shows]

    def matrices(self, tables: list[list[dict[int, float]]], columns: int) -> list[Any]:
        """Rows as sparse matrices, an action each."""
        from scipy.sparse import csr_array

        found = []
        for rows in tables:
            ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
            places = np.array([place for row in rows for place in row], np.int64)
            values = np.array([p for row in rows for p in row.values()])
            found.append(csr_array((values, places, ends), shape=(len(rows), columns)))
        return found

    def _tell(self, what: str, done: int) -> None:
        if self.report is not None and time.monotonic() > self._told_at + 1.0:
            self._told_at = time.monotonic()
            self.report(f"{what}: {done} done, {len(self.states)} states so far")


def histogram(distribution: Any) -> dict[Any, float]:
    """Probabilities of a belief of pomdp-py."""
    try:
        found = distribution.get_histogram()
    except (AttributeError, NotImplementedError):
        raise ModelError(
            f"the agent's belief must be a histogram or particles, not {type(distribution).__name__}"
        ) from None
    return {state: float(p) for state, p in found.items()}


def belief_of(distribution: Any, number: dict[Any, int]) -> NDArray[np.float64]:
    """Belief, shape (S,), of one of pomdp-py."""
    belief = np.zeros(len(number))
    for state, p in histogram(distribution).items():
        if state not in number:
            raise ModelError(f"the belief has {state}, which is no state of the POMDP")
        belief[number[state]] = p
    total = belief.sum()
    if belief.min() < 0.0 or not abs(total - 1.0) < _BELIEF:
        raise ModelError(f"the belief sums to {total:.9g}, least {belief.min():.3g}; it must be a distribution")
    return np.asarray(belief / total)


def _reward(model: Any, state: Any, action: Any, after: Any) -> float:
    """Reward of a transition; that of pomdp-py is drawn, so it is drawn twice."""
    reward = float(model.sample(state, action, after))
    if float(model.sample(state, action, after)) != reward:
        raise ModelError(
            f"reward of action {action}, state {state}, next state {after} is drawn by chance; it must be a number"
        )
    return reward
