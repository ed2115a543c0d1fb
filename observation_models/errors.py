"""What can go wrong when a density is fitted or evaluated, and what merely deserves a warning."""


class ObservationModelError(ValueError):
    """Data or parameters from which no density can be fitted or evaluated."""


class ObservationModelWarning(UserWarning):
    """A fit that works but deserves less trust: few samples in a class, folds that ignore groups."""
