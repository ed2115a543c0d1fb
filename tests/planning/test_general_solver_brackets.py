"""The general solver's bounds bracket the planner's value: two programs that share no backup, on the same routing."""

import pytest

import trim_pomdp as tp
from solvers import solve, solve_epochs
from trim_pomdp.planning.frontier import even_tradeoffs

TRADEOFFS = 10


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["qwen2.5-1.5b-7b-math", "qwen2.5-1.5b-7b-math-paper"])
def test_both_solvers_bracket_the_same_value(preset: str) -> None:
    model = tp.load_preset(preset).routing_model()
    for price in even_tradeoffs(model, TRADEOFFS + 2)[1:-1]:
        planned = solve_epochs(model.epoch_model, model.weights(float(price)), gap=1e-6 * model.reward)
        found = solve(tp.routing_pomdp(model, float(price)), precision=1e-3 * model.reward, time_limit=4.0)
        assert found.lower <= planned.upper + 1e-9
        assert planned.lower <= found.upper + 1e-9
        assert found.gap < 0.1 * model.reward, "bounds so far apart would bracket anything"
