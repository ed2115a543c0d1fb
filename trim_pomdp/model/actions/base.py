r"""What an action is, and the catalogue of those there are.

An *epoch* is a weak draft of step t, with its class c (S0, S1, S2) and whether it ends the solution, e. An action
leaves it by one of three exits x, in a hidden state h:

* `NEXT`: the solution goes on with step t + 1; the prefix is right (h = 0) or derailed (1);
* `OVER`: the solution is over; it is right (0) or wrong (1);
* `AGAIN`: the weak model drafts step t once more; the prefix is right and so was the last draft (0), the prefix is
  derailed (1), or the prefix is right and the last draft was wrong (2).

Its table P(x, h | t, e, c) says what follows, and `Action.strong_steps` how many steps the strong model writes for it.
Planner, evaluation, simulation and engine read these and know no action by name: a further action is one module here
(or an imported subclass anywhere) with the next free code.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError

FloatArray = NDArray[np.float64]
Author = Literal["weak", "strong"]
"""A model that writes."""

NEXT, OVER, AGAIN = 0, 1, 2
N_EXITS, N_HIDDEN = 3, 3
KEEP, REGENERATE = 0, 1
"""Codes of the two actions that every rule of the package is a choice between, if not of more."""


@dataclass(frozen=True, eq=False)
class StepLaw:
    """What the two models do at steps 1 … T, as arrays.

    Attributes
    ----------
    weak_success : ndarray of shape (T,)
        p_w.
    strong_success, repair : float
        p_s and p_r.
    recovery : ndarray of shape (T,)
        ρ.
    end : ndarray of shape (T, 3)
        P(a weak step ends the solution | class S0, S1, S2).
    strong_success_here, repair_here : float or None
        p_s and p_r of the step in hand, where they are others than those of the steps that follow.
    """

    weak_success: FloatArray
    strong_success: float
    repair: float
    recovery: FloatArray
    end: FloatArray
    strong_success_here: float | None = None
    repair_here: float | None = None

    @property
    def here(self) -> tuple[float, float]:
        """p_s and p_r of the step in hand."""
        return (
            self.strong_success if self.strong_success_here is None else self.strong_success_here,
            self.repair if self.repair_here is None else self.repair_here,
        )

    @property
    def afterwards(self) -> StepLaw:
        """The law of the steps that follow."""
        return replace(self, strong_success_here=None, repair_here=None)

    @property
    def steps(self) -> int:
        """Step cap T."""
        return len(self.end)

    @property
    def class_given_prefix(self) -> FloatArray:
        """P(S0, S1, S2 | prefix right, derailed) of the first draft of a step, shape (T, 2, 3)."""
        out = np.zeros((self.steps, 2, 3))
        out[:, 0, 0], out[:, 0, 2] = self.weak_success, 1.0 - self.weak_success
        out[:, 1, 1] = 1.0
        return out


class Action:
    """One thing that can be done with a weak step.

    Attributes
    ----------
    name : str
        As in policies, traces and on the command line.
    code : int
        Its place in tables and in `trim_pomdp.policies.Decision.action`; never changed once traces hold it.
    verb, does, done : str
        For people: what to do, what a policy does, and what became of the step ("keep", "keeps", "kept").
    asks : {"weak", "strong"} or None
        The model that the engine asks.
    writes : {"nothing", "step", "rest"}
        What that model writes in place of the draft: nothing, this step, or all that is left of the solution.
    is_judged_again : bool
        Whether what was written is scored and decided on like a first draft.
    is_of_former : bool
        Whether it is about the draft before the one in hand, which stands instead; end and class in its tables are of
        that one.
    needs : tuple of str
        Fields of `trim_pomdp.model.dynamics.StepDynamics` that planning with it needs, beside those it always does.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    verb: ClassVar[str]
    does: ClassVar[str]
    done: ClassVar[str]
    asks: ClassVar[Author | None]
    writes: ClassVar[Literal["nothing", "step", "rest"]]
    is_judged_again: ClassVar[bool] = False
    is_of_former: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()

    @property
    def keeps_draft(self) -> bool:
        """Whether a draft becomes a part of the solution."""
        return self.asks is None

    def outcomes(self, law: StepLaw) -> FloatArray:
        """P(exit, hidden state | step, whether the draft ends the solution, class), shape (T, 2, 3, 3, 3).

        The exits are `NEXT`, `OVER`, `AGAIN`; hidden states as in this module's head.
        """
        raise NotImplementedError

    def strong_steps(self, law: StepLaw) -> FloatArray:
        """Expected steps that the strong model writes, by step, end and class of the draft, shape (T, 2, 3, 3).

        The last axis is the class that the weak step has, or would have, in whose place they stand: that decides how
        long they are.
        """
        return np.zeros((law.steps, 2, 3, 3))

    def further_requests(self, law: StepLaw) -> FloatArray:
        """Requests to the strong model after the first, by step, end and class of the draft, shape (T, 2, 3, 2).

        First their expected number, then the expected sum of how many steps each comes after the decision.
        """
        return np.zeros((law.steps, 2, 3, 2))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def no_outcomes(law: StepLaw) -> FloatArray:
    """A table to fill in, shape (T, 2, 3, exits, hidden states)."""
    return np.zeros((law.steps, 2, 3, N_EXITS, N_HIDDEN))


@cache
def _import_all() -> None:
    """Import the modules of this package, once: to list them takes longer than all else of a routing model."""
    package = importlib.import_module("trim_pomdp.model.actions")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def catalogue() -> tuple[Action, ...]:
    """Every action there is, by code: one of each module of this package, and imported subclasses.

    Raises
    ------
    InputError
        If codes are not 0, 1, 2, … without a gap, or a name stands twice.
    """
    _import_all()
    found = sorted((kind() for kind in Action.__subclasses__()), key=lambda action: action.code)
    told = ", ".join(f"{action.name} {action.code}" for action in found)
    if [action.code for action in found] != list(range(len(found))) or len(set(names_of(found))) < len(found):
        raise InputError(f"the actions are {told}; expected names of their own, and codes 0, 1, 2, … without a gap")
    return tuple(found)


def action_named(name: str) -> Action:
    """The action of a name.

    Raises
    ------
    InputError
        If there is none; the message names those there are.
    """
    known = {action.name: action for action in catalogue()}
    if name not in known:
        raise InputError(f"no action {name!r} (there are {', '.join(known)})")
    return known[name]


def action_of(code: int) -> Action:
    """The action of a code, as `trim_pomdp.policies.Decision.action` has it.

    Raises
    ------
    InputError
        If there is none.
    """
    known = catalogue()
    if not 0 <= code < len(known):
        raise InputError(f"no action of code {code} (there are 0 to {len(known) - 1})")
    return known[code]


def actions_of(names: Iterable[str]) -> tuple[Action, ...]:
    """Actions of some names, by code; keeping is always among them.

    Raises
    ------
    InputError
        If a name is unknown or stands twice, keeping is left out, or nothing else is there.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    actions = sorted((action_named(name) for name in wanted), key=lambda action: action.code)
    if len({action.code for action in actions}) < len(actions):
        raise InputError(f"actions {', '.join(wanted)} name one twice")
    if not actions or actions[0].code != KEEP or len(actions) < 2:
        raise InputError(f"actions are {', '.join(wanted) or 'none'}; expected keep, and at least one more")
    if any(action.is_of_former for action in actions) and not any(action.is_judged_again for action in actions):
        raise InputError(f"actions are {', '.join(wanted)}; without redraft there is no draft before to go back to")
    return tuple(actions)


def intervention(names: Iterable[str]) -> tuple[str, str]:
    """In words, what is done with a step that is not kept: `verb` and `does`, of the action if there is one alone.

    Examples
    --------
    >>> intervention(("keep", "regenerate")), intervention(("keep", "regenerate", "redraft"))
    (('regenerate', 'regenerates'), ('intervene', 'intervenes'))
    """
    others = [action for action in map(action_named, names) if action.code != KEEP]
    return (others[0].verb, others[0].does) if len(others) == 1 else ("intervene", "intervenes")


def names_of(actions: Iterable[Action]) -> tuple[str, ...]:
    """Their names."""
    return tuple(action.name for action in actions)
