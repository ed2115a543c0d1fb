"""What is true of a model pair and its PRM: observations, evidence, belief, dynamics, the routing POMDP."""
