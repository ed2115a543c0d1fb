"""Routing as a problem of pomdp-py: the plan acts in its loop, and so does a tree search that plans at every step."""

import random

import numpy as np
import pomdp_py

import trim_pomdp as tp
from solvers import solve_epochs
from solvers.bridges import to_pomdp_py
from solvers.unfolding import unfold

model, price = tp.load_preset("lab-loop").routing_model(), 0.3
plan = solve_epochs(model.epoch_model, model.weights(price))
pomdp = tp.routing_pomdp(model, price)
print(f"{pomdp}: worth {plan.lower:.2f}, and no policy more than {plan.upper:.2f}")

twin = to_pomdp_py(pomdp)
agent, env, start = twin.agent, twin.env, twin.env.state
planned = twin.planner(unfold(model.epoch_model).policy(plan))
searched = pomdp_py.POUCT(
    max_depth=8, num_sims=50, discount_factor=1.0, exploration_const=30.0, rollout_policy=agent.policy_model
)
random.seed(0)
agent.add_attr("tree", None)
for name, planner, rewards in (("planned", planned, np.zeros(500)), ("searched", searched, np.zeros(100))):
    for problem in range(rewards.size):
        env.apply_transition(start)
        agent.set_belief(twin.histogram(pomdp.start))
        agent.tree = None
        while not pomdp.terminal[env.state.index]:
            action = planner.plan(agent)
            rewards[problem] += env.state_transition(action, execute=True)
            observation = env.provide_observation(agent.observation_model, action)
            agent.update_history(action, observation)
            planner.update(agent, action, observation)
            agent.set_belief(twin.update(agent.belief, action, observation))  # Bayes, by sparse matrices
    print(f"{name}: {rewards.mean():.1f} ± {rewards.std() / rewards.size**0.5:.1f}")
