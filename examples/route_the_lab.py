"""Tiny models that really generate and really score, routed for a tenth of the strong one's tokens.

It writes the folder lab-run; to run it again, delete that or choose another name.
"""

import trim_pomdp as tp
from trim_pomdp.lab.problems import draw
from trim_pomdp.runtime.live import plan_for_budget

model = tp.load_preset("lab-loop").routing_model()
source = tp.model_source("lab")  # or the path of a models file: servers, or models of your own
problems = draw("loop", "test", seed=0, n=60)  # or tp.read_problems("problems.jsonl")

plan = plan_for_budget(model, 0.1)
summary = tp.run_live(plan, problems, source, "lab-run", seed=0)  # writes every decision to lab-run/

planned = plan.artifact.planned
print("               planned   measured")
print(f"accuracy      {planned.accuracy:8.3f}   {summary.accuracy:8.3f} ± {summary.accuracy_se:.3f}")
print(f"budget        {planned.budget:8.3f}   {summary.budget:8.3f} ± {summary.budget_se:.3f}")
