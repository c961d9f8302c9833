import pytest
import torch
from tiny import draw

from prunekit.prompts.options import Options
from prunekit.prompts.singular import SingularPrompt
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator


def test_the_prompt_is_the_sum_of_its_living_directions():
    left, right = draw(5, 3), draw(3, 8)
    prompt = SingularPrompt(left, torch.tensor([2.0, -1.0, 0.5]).double(), right)
    by_hand = 2.0 * torch.outer(left[:, 0], right[0]) + 0.5 * torch.outer(left[:, 2], right[2])
    assert torch.allclose(prompt(), by_hand, rtol=0, atol=1e-10)
    assert prompt.positive == 2


@pytest.mark.parametrize("shape", [(5, 8), (8, 5)])
def test_it_starts_at_the_given_values(shape):
    values = draw(*shape)
    prompt = SingularPrompt.start(values, generator("start"))
    assert torch.allclose(prompt(), values, rtol=0, atol=1e-10)
    assert prompt.sigma.shape == (5,)
    assert prompt.positive == 5
    assert torch.allclose(prompt.sigma, torch.linalg.svdvals(values))
    for factor in (prompt.left.T @ prompt.left, prompt.right @ prompt.right.T):
        assert torch.allclose(factor, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-10)


def test_a_smaller_rank_starts_at_the_nearest_prompt():
    values = draw(5, 8)
    prompt = SingularPrompt.start(values, generator("start"), Options(rank=2))
    error = torch.linalg.matrix_norm(prompt() - values, ord=2)
    assert torch.allclose(error, torch.linalg.svdvals(values)[2])  # Eckart and Young
    with pytest.raises(ConfigError, match="set rank to 5 or less"):
        SingularPrompt.start(values, generator("start"), Options(rank=6))


def test_a_value_below_zero_stays_dead():
    prompt = SingularPrompt(draw(5, 3), torch.tensor([2.0, -0.1, 0.0]).double(), draw(3, 8))
    prompt().square().sum().backward()
    for grad in (prompt.sigma.grad, prompt.left.grad.T, prompt.right.grad):
        assert grad[0].abs().max() > 0
        assert grad[1:].abs().max() == 0
    assert prompt.positive == 1  # a value of exactly 0 is as dead
