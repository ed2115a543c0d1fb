"""Routing as a problem of pomdp-py: its tree search, which plans at every step, against a plan made before."""

import random

import numpy as np
import pomdp_py

import trim_pomdp as tp
from solvers import solve_epochs
from solvers.bridges import to_pomdp_py

model, price = tp.load_preset("lab-loop").routing_model(), 0.3
plan = solve_epochs(model.epoch_model, model.weights(price))
print(f"planned: {plan.lower:.2f} a problem, and no policy has more than {plan.upper:.2f}")

pomdp = tp.routing_pomdp(model, price)
twin = to_pomdp_py(pomdp)
agent, env, start = twin.agent, twin.env, twin.env.state
print(f"in pomdp-py: {pomdp}")
agent.add_attr("tree", None)
search = pomdp_py.POUCT(
    max_depth=8, num_sims=50, discount_factor=1.0, exploration_const=30.0, rollout_policy=agent.policy_model
)
random.seed(0)
rewards = np.zeros(300)
for problem in range(rewards.size):
    env.apply_transition(start)
    agent.set_belief(twin.histogram(pomdp.start))
    agent.tree = None
    while not pomdp.terminal[env.state.index]:
        action = search.plan(agent)
        rewards[problem] += env.state_transition(action, execute=True)
        observation = env.provide_observation(agent.observation_model, action)
        agent.update_history(action, observation)
        search.update(agent, action, observation)
        agent.set_belief(twin.update(agent.belief, action, observation))  # Bayes, by sparse matrices
print(f"searched: {rewards.mean():.1f} ± {rewards.std() / rewards.size**0.5:.1f}, in {rewards.size} problems")
