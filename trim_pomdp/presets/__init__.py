"""Fitted parameters of model pairs, shipped as JSON, and how they are rebuilt."""
