"""Seeing what a policy believed and did: solutions step by step, runs problem by problem, reports."""
