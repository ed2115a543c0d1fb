"""Networks as data: numpy against torch, files, and what does not fit together."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pydantic import ValidationError  # noqa: E402

from trim_pomdp.data.problems import Problem  # noqa: E402
from trim_pomdp.errors import InputError  # noqa: E402
from trim_pomdp.learning.networks import Mlp, Transformer, arrays_of  # noqa: E402
from trim_pomdp.loading import load  # noqa: E402
from trim_pomdp.policies import PolicyArtifact, StepObservation, TrimAggRule, TrimSeqRule  # noqa: E402
from trim_pomdp.policies.networks import RouterNetwork, chosen  # noqa: E402
from trim_pomdp.presets.store import load_preset  # noqa: E402

PROBLEM = Problem("p", "1 + 1", "2")


def randomised(module):
    """All parameters drawn, norms and biases too, which begin as ones and zeros."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def network(module, form, **changes):
    given = {
        "architecture": form,
        "features": ("score", "tokens"),
        "centres": (0.0,) * 3,
        "scales": (1.0,) * 3,
        "prices": (1e-4, 1e-1),
        "weights": RouterNetwork.encoded(arrays_of(module)),
    }
    return RouterNetwork.model_validate(given | changes)


@pytest.mark.parametrize("outputs", [1, 2])
def test_mlp_in_numpy_is_that_in_torch(outputs):
    torch.manual_seed(0)
    module = randomised(Mlp(3, outputs, width=16))
    rows = torch.randn(50, 3)
    mine, memory = network(module, "mlp").logits(rows.numpy())
    assert memory == ()
    np.testing.assert_allclose(mine, module(rows)[:, 0].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_transformer_step_by_step_in_numpy_is_that_on_whole_sequences_in_torch(heads):
    torch.manual_seed(heads)
    module = randomised(Transformer(3, 1, width=16, heads=heads, steps=9))
    rows = torch.randn(7, 9, 3)
    whole = module(rows)[..., 0].detach().numpy()
    item, memory, kept = network(module, "transformer", heads=heads), None, np.arange(7)
    for t in range(9):
        mine, memory = item.logits(rows[kept, t].numpy(), memory)
        np.testing.assert_allclose(mine, whole[kept, t], atol=1e-5)
        if t == 4:  # some problems are over
            going_on = np.array([True, False, True, True, False, True, True])
            memory, kept = chosen(memory, going_on), kept[going_on]


def test_later_steps_are_not_seen():
    torch.manual_seed(0)
    module = randomised(Transformer(3, 1, width=16, steps=6))
    rows = torch.randn(2, 6, 3)
    changed = rows.clone()
    changed[:, 4:] += 1.0
    same, other = module(rows)[..., 0], module(changed)[..., 0]
    torch.testing.assert_close(same[:, :4], other[:, :4])
    assert not torch.allclose(same[:, 4:], other[:, 4:])


def test_what_never_varied_is_not_looked_at(agg):
    """Tokens are one number in the simulator: live, other ones must not move an untrained weight."""
    item = agg.network
    tokens = item.features.index("tokens")
    assert item.scales[tokens] == 0.0
    columns = {name: np.array([0.3, 0.3]) for name in ("score", "minimum", "step")}
    rows = item.rows({**columns, "tokens": np.array([3.0, 300.0])}, np.array([0.01, 0.01]))
    assert np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize("which", ["agg", "seq"])
def test_a_policy_is_one_file(which, request, tmp_path):
    trained = request.getfixturevalue(which)
    trained.save(tmp_path / "router.json")
    assert load(tmp_path / "router.json") == trained
    kind = {"agg": TrimAggRule, "seq": TrimSeqRule}[which]
    rule = kind(network=trained.network, tradeoff=0.5)
    PolicyArtifact(model="m", policy=rule).save(tmp_path / "policy.json")
    again = PolicyArtifact.read(tmp_path / "policy.json").policy
    assert again == rule
    assert again.policy_hash == rule.policy_hash
    routers = [item.router(PROBLEM) for item in (rule, again)]
    seen = [StepObservation(t, False, {"score": s, "minimum": m, "tokens": 10.0}) for t, (s, m) in enumerate(STEPS)]
    assert [routers[0].decide(s).action for s in seen] == [routers[1].decide(s).action for s in seen]
    assert routers[0].logit == routers[1].logit


STEPS = [(0.9, 1.0), (0.02, 0.9), (0.6, 0.02), (0.999, 0.02)]


@pytest.mark.parametrize("which", ["agg", "seq"])
def test_routers_decide_as_the_simulation_does(which, request, model):
    """The same columns, one problem at a time and by thousands."""
    from trim_pomdp.model.episodes import Episodes
    from trim_pomdp.policies.learned import walk

    trained = request.getfixturevalue(which)
    kind = {"agg": TrimAggRule, "seq": TrimSeqRule}[which]
    rule = kind(network=trained.network, tradeoff=0.5)
    episodes, live = Episodes(model, 40, np.random.default_rng(4)), {}
    routers = {i: rule.router(PROBLEM) for i in range(40)}
    shown = {}

    class Watched:
        """Episodes that note what they show."""

        def __getattr__(self, name):
            return getattr(episodes, name)

        def columns(self, regenerated):
            found = episodes.columns(regenerated)
            shown.update({i: {k: v[a] for k, v in found.items()} for a, i in enumerate(episodes.alive)})
            return found

    for t, seen in enumerate(walk(trained.network, Watched(), np.full(40, 0.5 / 100.0))):
        for a, i in enumerate(seen.problems):
            features = {name: float(shown[i][name]) for name in ("score", "minimum", "tokens")}
            live[i] = routers[i].decide(StepObservation(t, bool(seen.ended[a]), features))
            assert routers[i].logit == pytest.approx(seen.logits[a], abs=1e-5)
            assert live[i].action == seen.regenerate[a]


def test_a_copy_of_a_router_goes_its_own_way(seq):
    import copy

    router = TrimSeqRule(network=seq.network, tradeoff=0.5).router(PROBLEM)
    router.decide(StepObservation(0, False, {"score": 0.9, "minimum": 1.0, "tokens": 9.0}))
    twin = copy.deepcopy(router)
    assert twin._rule is router._rule
    router.decide(StepObservation(1, False, {"score": 0.01, "minimum": 0.9, "tokens": 9.0}))
    last = StepObservation(1, False, {"score": 0.9, "minimum": 0.9, "tokens": 9.0})
    alone = TrimSeqRule(network=seq.network, tradeoff=0.5).router(PROBLEM)
    alone.decide(StepObservation(0, False, {"score": 0.9, "minimum": 1.0, "tokens": 9.0}))
    twin.decide(last), alone.decide(last)
    assert twin.logit == alone.logit != router.logit


def test_sampled_actions_belong_to_problem_and_step(agg):
    rule = TrimAggRule(network=agg.network, tradeoff=0.5, sampled=True)
    seen = StepObservation(0, False, {"score": 0.4, "minimum": 1.0, "tokens": 10.0})
    problems = [Problem(f"p{i}", "1", "1") for i in range(400)]
    drawn = [rule.router(p, seed=1).decide(seen).action for p in problems]
    assert drawn == [rule.router(p, seed=1).decide(seen).action for p in problems]
    router = rule.router(PROBLEM)
    router.decide(seen)
    p = 1 / (1 + np.exp(-router.logit))
    assert abs(np.mean(drawn) - p) < 4 * np.sqrt(p * (1 - p) / 400)


def test_evidence_minimum_is_over_kept_steps():
    from trim_pomdp.policies.learned import StepView

    evidence = load_preset("lab-chain.prm+logprob").observations.evidence
    view = StepView(evidence, sees_score=True)

    def seen(t, score):
        features = {"score": score, "logprob_min": -0.5, "logprob_mean": -0.1, "minimum": 0.123, "tokens": 9.0}
        return StepObservation(t, False, features)

    first = view.columns(seen(0, 0.2))
    assert first["minimum"] == 1.0
    view.note(True)  # the strong model's step has no such evidence
    second = view.columns(seen(1, 0.9))
    assert second["minimum"] == 1.0
    assert second["regenerated"] == 1.0
    view.note(False)
    assert view.columns(seen(2, 0.9))["minimum"] == second["score"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ("score", "score")}, "name one twice"),
        ({"centres": (0.0,)}, "centres are 1"),
        ({"prices": (0.1, 0.1)}, "lowest < highest"),
        ({"weights": "AAAA"}, "no safetensors"),
        ({"features": ("score",), "centres": (0.0, 0.0), "scales": (1.0, 1.0)}, "rows of 1 features"),
        ({"architecture": "transformer"}, "embed.weight"),
    ],
)
def test_networks_that_do_not_fit_together(changes, message):
    torch.manual_seed(0)
    with pytest.raises(ValidationError, match=message):
        network(Mlp(3, 1, width=8), "mlp", **changes)


def test_rules_that_do_not_fit_their_network(agg, seq):
    with pytest.raises(ValidationError, match="trained for"):
        TrimAggRule(network=agg.network, tradeoff=1e6)
    with pytest.raises(ValidationError, match="'mlp'"):
        TrimAggRule(network=seq.network, tradeoff=0.5)
    with pytest.raises(ValidationError, match="'transformer'"):
        TrimSeqRule(network=agg.network, tradeoff=0.5)


def test_other_evidence_and_exact_evaluation_are_refused(agg, seq, model):
    rule = TrimAggRule(network=agg.network, tradeoff=0.5)
    other = load_preset("lab-loop.prm+logprob").routing_model()
    with pytest.raises(InputError, match="expected the same"):
        rule.simulated(other, 2, np.random.default_rng(0))
    with pytest.raises(InputError, match="expected the same"):
        rule.course(other)
    with pytest.raises(InputError, match="no exact evaluation"):
        TrimSeqRule(network=seq.network, tradeoff=0.5).course(model)
    assert rule.has_course
    assert not TrimSeqRule(network=seq.network, tradeoff=0.5).has_course


@pytest.mark.parametrize("preset", ["lab-loop.prm", "lab-chain.prm+logprob"])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("tradeoff", [0.05, 0.5])
def test_exact_evaluation_against_simulation(agg, preset, sampled, tradeoff):
    from trim_pomdp.planning.evaluation import evaluate
    from trim_pomdp.planning.simulation import simulate

    model = load_preset(preset).routing_model()
    # Ends and a steep, crooked function of the minimum, so that all that it remembers matters.
    torch.manual_seed(1)
    module = randomised(Mlp(5, 1, width=16))
    features, ones = ("score", "minimum", "step", "ended"), (0.3, 0.3, 0.3, 1.0, 0.3)
    item = network(
        module, "mlp", features=features, centres=(0.0,) * 5, scales=ones, evidence=model.observations.evidence
    )
    rule = TrimAggRule(network=item, tradeoff=tradeoff, sampled=sampled)
    exact = evaluate(rule, model)
    assert 0.02 < exact.budget < 0.99
    z = simulate(rule, model, 20_000, 5).z_scores(exact)
    assert max(abs(value) for value in z.values()) < 4.5, z
