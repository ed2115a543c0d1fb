"""Servers of models: how they are started, and the keyed sampler that works inside of them."""
