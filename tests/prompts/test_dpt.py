import pytest
import torch
from tiny import draw

from prunekit.prompts.dpt import DptPrompt
from prunekit.prompts.options import Options
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator


def test_the_prompt_is_the_product_of_its_factors():
    left, right = draw(5, 3), draw(3, 8)
    found = DptPrompt(left, right)()
    for token in range(5):
        for place in range(8):
            by_hand = sum(left[token, r] * right[r, place] for r in range(3))
            assert abs(found[token, place] - by_hand) < 1e-10


def test_both_factors_start_uniform_between_minus_and_plus_a_half():
    values = torch.full((100, 512), 7.0)  # whose numbers play no part
    prompt = DptPrompt.start(values, generator("uniform"))
    for factor in (prompt.left, prompt.right):
        assert -0.5 <= factor.min() < -0.49
        assert 0.49 < factor.max() <= 0.5
        assert abs(factor.mean()) < 0.03
    assert abs(prompt().std() - 10**0.5 / 12) < 0.02  # sqrt(b) / 12, METHODS 2


def test_balanced_factors_give_the_nearest_prompt_of_that_rank():
    values = draw(6, 8)
    prompt = DptPrompt.start(values, generator("svd"), Options(rank=2, factors="svd"))
    left, size, right = torch.linalg.svd(values, full_matrices=False)
    nearest = sum(size[r] * torch.outer(left[:, r], right[r]) for r in range(2))
    assert torch.allclose(prompt(), nearest, rtol=0, atol=1e-10)
    assert torch.allclose(prompt.left.norm(dim=0), prompt.right.norm(dim=1))  # balanced
    assert torch.allclose(prompt.left.norm(dim=0), size[:2].sqrt())


def test_at_full_rank_the_balanced_start_is_the_given_prompt():
    values = draw(4, 8)
    prompt = DptPrompt.start(values, generator("svd"), Options(rank=4, factors="svd"))
    assert torch.allclose(prompt(), values, rtol=0, atol=1e-10)


def test_a_rank_beyond_the_prompts_own_is_refused_with_the_largest_that_fits():
    with pytest.raises(ConfigError, match=r"rank = 10 \(the published default\) .* set rank to 4 or less"):
        DptPrompt.start(torch.zeros(4, 8), generator("x"))
    with pytest.raises(ConfigError, match=r"rank = 5 \(as asked\)"):
        DptPrompt.start(torch.zeros(4, 8), generator("x"), Options(rank=5))
