"""The tables of all actions together, as planner, evaluation and simulation read them: by code, without a name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.equality import ByContent
from trim_pomdp.model.actions.base import FloatArray, StepLaw, catalogue


@dataclass(frozen=True, eq=False)
class ActionTables(ByContent):
    """What every action of the catalogue does under one law; the axis A is its code.

    Attributes
    ----------
    outcomes : ndarray of shape (T, 2, A, 3, 3, 3)
        P(exit, hidden state | step, whether the draft ends the solution, action, class): `Action.outcomes`.
    strong_steps : ndarray of shape (A, T, 2, 3, 3)
        `Action.strong_steps`.
    further_requests : ndarray of shape (A, T, 2, 3, 2)
        `Action.further_requests`.
    keeps, asks_strong, again, former : ndarray of bool, shape (A,)
        Whether a draft stands; whether the strong model is asked; whether another draft of the step may come;
        whether the action is about the draft before, so that end and class are that one's.
    """

    outcomes: FloatArray
    strong_steps: FloatArray
    further_requests: FloatArray
    keeps: NDArray[np.bool_]
    asks_strong: NDArray[np.bool_]
    again: NDArray[np.bool_]
    former: NDArray[np.bool_]

    @classmethod
    def of(cls, law: StepLaw) -> ActionTables:
        """Tables of the catalogue."""
        actions = catalogue()
        outcomes = np.stack([action.outcomes(law) for action in actions], axis=2)
        return cls(
            outcomes=outcomes,
            strong_steps=np.stack([action.strong_steps(law) for action in actions]),
            further_requests=np.stack([action.further_requests(law) for action in actions]),
            keeps=np.array([action.keeps_draft for action in actions]),
            asks_strong=np.array([action.asks == "strong" for action in actions]),
            again=np.array([action.is_judged_again for action in actions]),
            former=np.array([action.is_of_former for action in actions]),
        )

    def strong(self, of_class: FloatArray) -> FloatArray:
        """Expected sum over the strong model's steps of what each comes to by class (3,); shape (A, T, 2, 3)."""
        return np.asarray(self.strong_steps @ of_class)

    def added(self, weak: FloatArray, strong: FloatArray) -> FloatArray:
        """Mean tokens that an action adds to a solution that goes on, by class of the draft, shape (A, 3).

        Parameters
        ----------
        weak, strong : ndarray of shape (3,)
            Mean tokens of a step by class of the draft, by who writes it.
        """
        return np.where(self.keeps[:, None], weak, np.where(self.asks_strong[:, None], strong, 0.0))
