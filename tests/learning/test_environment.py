"""``TrimRouting-v0``: Gymnasium's checker, against the simulator, and live behind attempts."""

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from trim_pomdp.data.problems import Problem  # noqa: E402
from trim_pomdp.errors import InputError, TrimError  # noqa: E402
from trim_pomdp.learning.courses import LiveCourse, SimulatedCourse  # noqa: E402
from trim_pomdp.learning.environment import TrimRoutingEnv  # noqa: E402
from trim_pomdp.learning.live import LiveProblems, attempt  # noqa: E402
from trim_pomdp.planning.evaluation import evaluate  # noqa: E402
from trim_pomdp.policies import StrategyRule, ThresholdRule  # noqa: E402
from trim_pomdp.policies.networks import STEP_FEATURES  # noqa: E402
from trim_pomdp.presets.store import load_preset  # noqa: E402
from trim_pomdp.runtime.config import read_models_file  # noqa: E402
from trim_pomdp.runtime.loops import run_to_end  # noqa: E402
from trim_pomdp.runtime.sources import FileSource  # noqa: E402

PROBLEMS = [Problem(f"p{i}", f"{i} + 1", str(i + 1)) for i in range(6)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "models.toml"
    path.write_text(
        "".join(f'[{role}]\nbackend = "dummy"\npreset = "qwen2.5-1.5b-7b-math"\n' for role in ("weak", "strong", "prm"))
    )
    return FileSource(path, read_models_file(path))


@pytest.fixture(scope="module")
def backends(source):
    return source.load(("weak", "strong", "prm"))


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("features", [("score", "minimum", "tokens", "step"), STEP_FEATURES])
def test_the_checker_is_content(features):
    check_env(gymnasium.make("TrimRouting-v0", preset="lab-loop.prm", features=features).unwrapped)


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_checker_is_content_live(source, backends):
    check_env(TrimRoutingEnv(LiveCourse(PROBLEMS, source, backends), prices=(0.01, 4.0)), skip_render_check=True)


def test_rewards_are_those_of_the_model():
    """Always regenerating for a fixed price, against the exact evaluation."""
    model = load_preset("lab-loop.prm").routing_model()
    environment = TrimRoutingEnv(preset="lab-loop.prm")
    exact = evaluate(StrategyRule(strategy="strong"), model)
    returns = []
    for seed in range(1500):
        observation, info = environment.reset(seed=seed, options={"tradeoff": 0.2})
        assert info["tradeoff"] == pytest.approx(0.2)
        assert observation[-1] == pytest.approx(np.log(0.2 / model.reward), rel=1e-5)
        total, over = 0.0, False
        while not over:
            observation, reward, over, truncated, info = environment.step(1)
            total += reward
            assert not truncated
        returns.append(total)
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - (exact.accuracy - 0.002 * exact.strong_tokens)) < 4 * error


@pytest.mark.parametrize("actions", [(0,), (1,), (0, 1)])
def test_live_episodes_are_what_an_attempt_does(source, backends, actions):
    """The same problem, seed and decisions through one attempt from end to end."""
    course = LiveCourse(PROBLEMS, source, backends)
    for trial in range(4):
        moment, seen, taken = course.begin(np.random.default_rng(trial)), [], 0
        tokens = 0.0
        while moment.columns is not None:
            seen.append({name: float(value[0]) for name, value in moment.columns.items()})
            moment = course.act(bool(actions[taken % len(actions)]))
            tokens, taken = tokens + moment.strong_tokens, taken + 1
        wholly = _attempted(course._problem, source, backends, course._seed, actions)
        terminal = wholly.record.terminal
        assert moment.right == terminal.correct
        assert tokens == terminal.tokens.strong
        assert [item["score"] for item in seen] == [d.scoring.scores[-1] for d in wholly.record.decisions]
        assert [item["minimum"] for item in seen] == [d.features["minimum"] for d in wholly.record.decisions]


def _attempted(problem, source, backends, seed, actions):
    from trim_pomdp.learning.courses import _ask, _ToldRouter

    going = attempt(problem, _ToldRouter([actions[i % len(actions)] for i in range(99)], True), source, seed)
    while (call := going.pending) is not None:
        going.receive(run_to_end(_ask(backends.models, call)))
    return going


def test_live_rollouts_are_the_recorded_solutions(source, backends):
    """A network's rollout over the dummy backend: costs and outcomes about those of the model behind it."""
    pytest.importorskip("torch")
    from trim_pomdp.learning.budgets import price_range
    from trim_pomdp.learning.ppo import Settings, train_router

    model = load_preset("lab-loop.prm").routing_model()
    problems = LiveProblems(PROBLEMS, source, backends)
    trained = train_router(problems, price_range(model), Settings(updates=1, episodes=48, width=8))
    prices = np.full(300, trained.network.prices[0])
    rollout = problems.rollout(trained.network, prices, np.random.default_rng(0))
    assert ((rollout.strong_tokens > 0.0) == (rollout.actions == 1.0)).all()
    assert rollout.mask[:, 0].all()
    assert 0.2 < rollout.right.mean() < 0.95
    again = problems.rollout(trained.network, prices, np.random.default_rng(0))
    assert np.array_equal(rollout.rows, again.rows)
    assert np.array_equal(rollout.right, again.right)
    p = 1.0 / (1.0 + np.exp(-rollout.logits[rollout.mask]))
    error = np.sqrt((p * (1 - p)).sum())
    assert abs(rollout.actions.sum() - p.sum()) < 4 * error


def test_evidence_without_a_prm_asks_none(source):
    """Log-probabilities alone: the PRM need not even be loaded."""
    evidence = load_preset("lab-loop.logprob").observations.evidence
    course = LiveCourse(PROBLEMS, source, source.load(("weak", "strong")), evidence=evidence)
    environment = TrimRoutingEnv(course, prices=(0.01, 4.0))
    environment.reset(seed=0)
    over = False
    while not over:
        observation, _, over, _, _ = environment.step(0)
        assert environment.observation_space.contains(observation)


def test_wrong_use():
    with pytest.raises(InputError, match="one of the two"):
        TrimRoutingEnv()
    with pytest.raises(InputError, match="lowest < highest"):
        TrimRoutingEnv(SimulatedCourse(load_preset("lab-loop.prm").routing_model()))
    with pytest.raises(InputError, match="there are score"):
        TrimRoutingEnv(preset="lab-loop.prm", features=("scores",))
    environment = TrimRoutingEnv(preset="lab-loop.prm", render_mode="ansi")
    with pytest.raises(InputError, match="reset"):
        environment.step(0)
    with pytest.raises(InputError, match="tradeoff is 99"):
        environment.reset(options={"tradeoff": 99.0})
    environment.reset(seed=0)
    with pytest.raises(InputError, match="expected 0"):
        environment.step(2)
    environment.step(1)
    assert environment.render().startswith("regenerated, reward -")


def test_problems_that_fail_are_told(source, backends):
    class Lost:
        async def generate(self, request):
            raise RuntimeError("no server")

    from dataclasses import replace

    course = LiveCourse(PROBLEMS, source, replace(backends, weak=Lost()))
    with pytest.raises((TrimError, RuntimeError), match="no server"):
        course.begin(np.random.default_rng(0))
    with pytest.raises(InputError, match="no problem"):
        LiveCourse([], source, backends)
    with pytest.raises(InputError, match="has no answer"):
        LiveProblems([Problem("p", "1", None)], source, backends)
    assert ThresholdRule(threshold=0.5).has_course
