"""A fifth of the strong model's tokens: what is it worth, and how far may one trust the number?"""

import trim_pomdp as tp
from trim_pomdp.planning.frontier import hull_at

preset = tp.load_preset("qwen2.5-1.5b-7b-math")
model = preset.routing_model()

# Every budget at once; each point is a policy that exists, certified to be within 1e-5 of the best there is.
frontier = tp.solve_frontier(model, tradeoffs=50)
print("budget   planned   best threshold")
thresholds = tp.threshold_curve(model)
for budget in (0.05, 0.1, 0.2, 0.4):
    (best,) = hull_at(thresholds, [budget])  # neighbours mixed by a draw, as planned policies are; weak-only included
    print(f"{budget:6.2f}   {frontier.accuracy_at([budget])[0]:7.3f}   {best:14.3f}")

# One of them, as a file that an engine, or a loop of your own, executes.
policy = frontier.policy_for_budget(0.2)
policy.save("policy.json")
planned = policy.planned
print(f"\n{planned.accuracy:.3f} right, {planned.strong_tokens:.0f} strong tokens a problem, both exact for this model")

# The same policy among problems drawn from the model: it does what was computed.
drawn = tp.simulate(policy, model, 20_000, rng=0)
print(f"{drawn.accuracy:.3f} ± {drawn.accuracy_se:.3f} in 20,000 simulated problems")

# What it rests on: each fitted parameter at both ends of its interval. The arithmetic is exact, the model is not.
for item in tp.sensitivity(policy, model).moved[:4]:
    low, high = item.accuracies
    print(f"{low:.3f} to {high:.3f} as {item.parameter} is {item.interval.low:.3f} to {item.interval.high:.3f}")
