"""Step dynamics: everything that the two models do, apart from scores, and how it is estimated."""
