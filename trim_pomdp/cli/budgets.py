"""The option ``--budget``: a share, with a hint for those who write it in another way."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from trim_pomdp.errors import InputError

_NUMBER = r"(\d+(?:[.,]\d*)?|[.,]\d+)"
_EXPECTED = "expected a share of strong-only's tokens, from 0 to 1"


def parse_budget(text: str | float) -> float:
    """A budget as it was typed.

    Raises
    ------
    typer.BadParameter
        If it is no share from 0 to 1; percentages, decimal commas and fractions are told how to write them.
    """
    try:
        budget = float(text)
    except ValueError:
        meant = _meant(str(text))
        hint = f"did you mean {meant:g}?" if meant is not None else "such as 0.2"
        raise typer.BadParameter(f"{text!r} is no number; {_EXPECTED}{', ' if meant is None else '; '}{hint}") from None
    from trim_pomdp.planning.frontier import check_budget

    try:
        check_budget(budget)
    except InputError as error:  # which typer would take for any ValueError, and tell nothing of it
        raise typer.BadParameter(str(error)) from None
    return budget


def _meant(text: str) -> float | None:
    """The share that was meant by what is no number: 20%, 0,2, 1/5, 0.2x."""
    text = text.strip()
    if found := re.fullmatch(rf"{_NUMBER}\s*(?:%|percent|pct)", text, re.IGNORECASE):
        share = _float(found[1]) / 100.0
    elif found := re.fullmatch(rf"{_NUMBER}\s*/\s*{_NUMBER}", text):
        below = _float(found[2])
        share = _float(found[1]) / below if below else 2.0
    else:
        # a slip of the finger: a letter O, or one character too many
        found = re.fullmatch(rf"\w?\s*{_NUMBER}\s*[^\d-]?", re.sub("o(?=[.,])", "0", text, flags=re.IGNORECASE))
        if found is None:
            return None
        share = _float(found[1])
        share = share / 100.0 if share > 1.0 else share
    return share if 0.0 <= share <= 1.0 else None


def _float(text: str) -> float:
    return float(text.replace(",", "."))


BudgetOption = Annotated[
    float | None,
    typer.Option("--budget", parser=parse_budget, metavar="SHARE", help="Share of strong-only's tokens, 0 to 1."),
]
