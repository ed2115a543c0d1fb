"""Routers that are learned by trial: the environment, a PPO trainer, and policies for budgets out of its networks."""
