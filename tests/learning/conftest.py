"""Small trained networks, once for all tests."""

from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")

from trim_pomdp.learning.budgets import price_range  # noqa: E402
from trim_pomdp.learning.ppo import Settings, train_router  # noqa: E402
from trim_pomdp.learning.rollouts import SimulatedProblems  # noqa: E402
from trim_pomdp.model.process import RoutingModel  # noqa: E402
from trim_pomdp.policies.networks import TrainedRouter  # noqa: E402
from trim_pomdp.presets.store import load_preset  # noqa: E402

SMALL = {
    "mlp": Settings(updates=3, episodes=128, width=16),
    "transformer": Settings(architecture="transformer", updates=2, episodes=64, width=16),
}


@pytest.fixture(scope="session", autouse=True)
def _one_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model() -> RoutingModel:
    return load_preset("lab-loop.prm").routing_model()


Train = Callable[..., TrainedRouter]


@pytest.fixture(scope="session")
def train() -> Train:
    """Trains in seconds, for the small tests."""

    def trained(model: RoutingModel, architecture: str, seed: int = 0) -> TrainedRouter:
        evidence = model.observations.evidence
        return train_router(
            SimulatedProblems(model), price_range(model), SMALL[architecture], seed=seed, evidence=evidence
        )

    return trained


@pytest.fixture(scope="session")
def agg(model: RoutingModel, train: Train) -> TrainedRouter:
    return train(model, "mlp")


@pytest.fixture(scope="session")
def seq(model: RoutingModel, train: Train) -> TrainedRouter:
    return train(model, "transformer")
