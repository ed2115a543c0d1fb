"""What a model promises: evaluation, simulation, thresholds, the frontier, and pictures of them."""
