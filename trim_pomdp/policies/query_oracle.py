"""The idealised oracle for whole problems, which knows how both models fare on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import WeakSolution
from trim_pomdp.errors import InputError
from trim_pomdp.policies.base import FloatArray
from trim_pomdp.policies.query import QueryRule


class QueryOracleRule(QueryRule):
    """Escalates problems by what that gains per strong token; no router that does not know the outcomes is better.

    Attributes
    ----------
    worth : dict of str to float
        By id of the problem: (P(strong right) − P(weak right)) ÷ strong tokens.
    """

    form: Literal["query-oracle"] = "query-oracle"
    worth: dict[str, float]

    worthless = 0.0

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {**super().facts(), "problems": len(self.worth)}

    def points(
        self, problems: Sequence[Problem], solutions: Sequence[WeakSolution] | None = None, *, seed: int = 0
    ) -> FloatArray:
        """See `QueryRule`.

        Raises
        ------
        InputError
            If a problem is none of those whose outcomes are known.
        """
        for problem in problems:
            if problem.id not in self.worth:
                raise InputError(f"query-oracle does not know the outcomes of problem {problem.id!r}")
        return np.array([self.worth[problem.id] for problem in problems])
