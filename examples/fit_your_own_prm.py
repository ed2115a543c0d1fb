"""What are the scores of a PRM worth? Learned from solutions whose first wrong step is known.

python fit_your_own_prm.py [scores.jsonl]      (from: trim-pomdp score; by default scores of the lab, which ship)
{"id": "p1", "label": 2, "n_scored": 4, "scores": {"my-prm": [0.99, 0.97, 0.31, 0.95]}}   label: first wrong
"""

import sys

import numpy as np

import observation_models as om
import trim_pomdp as tp
from trim_pomdp.data.processbench import class_features, labelled_scores
from trim_pomdp.inspection.examples import SCORES

records = tp.read_step_scores(sys.argv[1] if len(sys.argv) > 1 else SCORES)
prm = next(iter(records[0].scores))
steps = labelled_scores(records, prm)  # steps after a first error have no label, and are left out
print(f"{prm}: {steps.right.sum()} right steps and {(~steps.right).sum()} first errors in {len(records)} solutions")
print(f"AUC {om.auc(steps.scores, steps.right):.3f}: how often a right step scores higher than a wrong one")

# Which density fits best is decided on held-out solutions, not on the steps that it was fitted to.
estimators = {"likelihood ratio": om.LikelihoodRatio(), "histogram": om.SmoothedHistogram()}
for row in om.compare(estimators, {"score": steps.scores}, steps.right, groups=steps.groups).rows:
    print(f"{row.name:16s} held-out log loss {row.log_loss.value:.4f} ± {row.log_loss.standard_error:.4f}")

observations = tp.fit_observations("my-prm", class_features(records, prm))
observations.save("observations.json")

# What a score says, whatever was believed before: the factor on the odds that the step is right.
emission = observations.step_emission
ratio = np.array(emission.right) / np.array(emission.wrong)
for score in (0.1, 0.5, 0.9, 0.99):
    factor = ratio[np.searchsorted(emission.score_edges, score) - 1]
    print(f"a score of {score:4.2f} multiplies the odds by {factor:8.3f}")

# And over a solution, with the dynamics of some pair: the probability that it is right so far. One bad score is kept.
dynamics = tp.load_preset("qwen2.5-1.5b-7b-math").dynamics
print(np.round(tp.filter_scores(observations, dynamics, [0.99, 0.2, 0.98, 0.99]), 3))
