"""Routers for whole problems: from outcomes of both models on fitting problems to rules, and thresholds for budgets."""
