"""Solutions as text: where the answer is and whether it is right, what the steps are. Knows no model and no run."""
