"""Errors raised by this package; all are `ValueError`, with a one-line message."""


class SolverError(ValueError):
    """Base of every error of this package."""


class ModelError(SolverError):
    """A model, a belief or a weight that is not what it should be."""


class PomdpFormatError(SolverError):
    """A model file that cannot be read; the message names file, line and what is wrong."""
