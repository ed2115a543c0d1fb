"""What can be done with a weak step: an action is one file, with its table, its price, and what the engine does."""

from trim_pomdp.model.actions.base import (
    AGAIN,
    KEEP,
    NEXT,
    OVER,
    REGENERATE,
    Action,
    Author,
    StepLaw,
    action_named,
    action_of,
    actions_of,
    catalogue,
    intervention,
    names_of,
)

__all__ = [
    "AGAIN",
    "KEEP",
    "NEXT",
    "OVER",
    "REGENERATE",
    "Action",
    "Author",
    "StepLaw",
    "action_named",
    "action_of",
    "actions_of",
    "catalogue",
    "intervention",
    "names_of",
]
