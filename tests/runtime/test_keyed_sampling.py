"""Uniforms keyed by what they are for, and tokens drawn from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim_pomdp.randomness import keyed_uniform, keyed_uniforms

torch = pytest.importorskip("torch")

from trim_pomdp.runtime.sampling import draw_tokens  # noqa: E402


@given(st.integers(0, 2**31), st.text(max_size=8), st.integers(0, 99), st.integers(1, 40))
def test_a_stream_depends_on_its_key_and_not_on_its_length(seed, problem, step, n):
    stream = keyed_uniforms(n, seed, problem, step)
    assert stream.tolist() == keyed_uniforms(n + 7, seed, problem, step)[:n].tolist()
    assert stream[0] == keyed_uniform(seed, problem, step)
    assert ((stream >= 0) & (stream < 1)).all()


def test_parts_of_a_key_are_kept_apart():
    assert keyed_uniform(0, "a", "bc") != keyed_uniform(0, "ab", "c")
    assert keyed_uniform(1, "a") != keyed_uniform(0, "a")


def test_the_stream_does_not_change_from_release_to_release():
    # Runs that are resumed with another version of the package go on with the same draws.
    assert [round(float(u), 6) for u in keyed_uniforms(3, 7, "problem", 2, "weak")] == EXPECTED


EXPECTED = [0.384516, 0.322962, 0.782808]


def test_uniforms_are_uniform_and_independent():
    from scipy.stats import kstest

    across = np.array([keyed_uniform(0, f"p{i}", 1, "weak") for i in range(4000)])
    along = keyed_uniforms(4000, 0, "p", 1, "weak").astype(float)
    for values in (across, along):
        assert kstest(values, "uniform").pvalue > 0.001
        assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.06


def test_inverse_cdf_by_hand():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).repeat(4, 1)
    uniforms = torch.tensor([0.1, 0.25, 0.69, 0.71])
    tokens, logprobs = draw_tokens(logits, uniforms, temperature=1.0)
    assert tokens.tolist() == [0, 1, 1, 2]
    assert logprobs.exp().tolist() == pytest.approx([0.2, 0.5, 0.5, 0.3])


def test_log_probabilities_are_those_of_the_model_whatever_the_temperature():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    _, cold = draw_tokens(logits, torch.tensor([0.5]), temperature=0.0)
    token, hot = draw_tokens(logits, torch.tensor([0.5]), temperature=0.3)
    assert cold.exp().item() == pytest.approx(0.5)
    assert hot.exp().item() == pytest.approx([0.2, 0.5, 0.3][token.item()])


def test_nucleus_leaves_out_the_tail():
    logits = torch.log(torch.tensor([[0.05, 0.5, 0.3, 0.15]])).repeat(200, 1)
    uniforms = torch.from_numpy(keyed_uniforms(200, 0, "x"))
    tokens, _ = draw_tokens(logits, uniforms, temperature=1.0, top_p=0.75)
    assert set(tokens.tolist()) == {1, 2}


def test_tokens_without_probability_are_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf]]).repeat(3, 1)
    tokens, _ = draw_tokens(logits, torch.tensor([0.0, 0.5, 1 - 2**-24]), temperature=0.7)
    assert tokens.tolist() == [1, 1, 1]


def test_frequencies_are_the_tempered_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).repeat(20_000, 1)
    tokens, _ = draw_tokens(logits, torch.from_numpy(keyed_uniforms(20_000, 3, "y")), temperature=0.7)
    expected = torch.softmax(logits[0] / 0.7, -1).numpy()
    assert np.bincount(tokens.numpy(), minlength=3) / 20_000 == pytest.approx(expected, abs=0.01)
