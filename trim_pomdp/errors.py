"""The errors that users meet: one line each, saying what was wrong, where, and what would be right."""

from __future__ import annotations


class TrimError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(TrimError, ValueError):
    """A file, a record or an argument is not what it should be."""


class UnsetParameterError(TrimError, ValueError):
    """A computation needs a parameter of the dynamics that no data have set."""
