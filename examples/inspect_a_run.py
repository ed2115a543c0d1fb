"""Where did a run spend, what did it believe, and what would have changed its mind?

python inspect_a_run.py FOLDER      (such as the one that route_the_lab.py writes)
"""

import sys

import trim_pomdp as tp

if len(sys.argv) != 2:
    sys.exit("give the folder of a run: python inspect_a_run.py FOLDER")
run = tp.read_run(sys.argv[1])
print(f"{run.summary.accuracy:.3f} right, {run.summary.strong_tokens:.1f} strong tokens a problem")

# Does q = .9 mean that nine of ten are right?
for item in tp.calibration(run).bins:
    print(f"believed {item.believed:.2f}, right {item.share:.2f} of {item.count}")

# How many strong tokens went to right steps, to lost causes, to first errors?
for name, item in zip(("right", "derailed", "first errors"), tp.spending_by_class(run).classes, strict=True):
    spent = f"{item.regenerations:4.0f} regenerated, {item.strong_tokens:5.0f} strong tokens"
    print(f"{name:12s} {item.steps:5.0f} steps, {spent}")

# The dearest solution, step by step: what was seen, what was believed, what it did.
dearest = run.where("most expensive").solutions[0].terminal.problem
seen = run.inspect(dearest)
for step in seen.steps:
    flip = "never" if step.flip_evidence is None else f"at evidence {step.flip_evidence:.3f}"
    thought = f"q {step.q:.3f}  gain {step.gain:6.2f}  price {step.price:.2f}"
    print(f"{step.step:2d} {step.action:10s} {thought}  flips {flip}")

# Had its first regenerated step looked right, what would the router have done from there on?
first = next(step.step for step in seen.steps if step.action == "regenerate")
other = tp.edit(seen, first, evidence=0.999)
print([step.action for step in seen.steps], "became", [step.action for step in other.steps])
