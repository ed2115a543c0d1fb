"""The idealised oracle's table of outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from trim_pomdp.data.queries import QueryOutcome
from trim_pomdp.errors import InputError
from trim_pomdp.policies.query_oracle import QueryOracleRule


def query_oracle(outcomes: Sequence[QueryOutcome]) -> QueryOracleRule:
    """The oracle of problems with known outcomes.

    With one sample of either model: problems that weak fails and strong solves, cheapest first in strong tokens, the
    last one in part (by chance): the fractional knapsack, which no routing of whole problems beats at any budget. With
    several samples it goes by what is expected, and knows no draw before it happens.

    Raises
    ------
    InputError
        If a strong solution took no tokens.
    """
    for item in outcomes:
        if item.strong_tokens <= 0:
            raise InputError(f"problem {item.problem.id!r}: {item.strong_tokens} strong tokens; expected more than 0")
    return QueryOracleRule(worth={item.problem.id: item.gain / item.strong_tokens for item in outcomes})
