import pytest
import tiny
import torch
from tiny import draw
from torch import nn

from prunekit.prompts.intrinsic import IntrinsicPrompt, RandomSubspacePrompt
from prunekit.prompts.options import Context, Decoder, Options
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

MASK = tiny.masked([True, False, True, False, False], drop=[(0, 1)])


def decoder() -> Decoder:
    """Of codes of 3 numbers, hidden width 6, to prompts of 5 x 8 that lie in a space of 4 dimensions."""
    return Decoder(draw(6, 3), draw(6), draw(4, 6), draw(4, 5, 8), draw(5, 8))


def test_the_prompt_is_what_the_decoder_makes_of_the_code():
    parts = decoder()
    prompt = IntrinsicPrompt.start(draw(5, 8), generator("start"), context=Context(decoder=parts))
    first, second = nn.Linear(3, 6).double(), nn.Linear(6, 40).double()
    first.weight.data, first.bias.data = parts.inner, parts.inner_bias
    second.weight.data, second.bias.data = parts.basis.flatten(1).T @ parts.outer, parts.base.flatten()
    by_hand = second(torch.tanh(first(prompt.code))).view(5, 8)
    assert torch.allclose(prompt(), by_hand, rtol=0, atol=1e-10)


def test_only_the_code_is_trained():
    prompt = IntrinsicPrompt.start(draw(5, 8), generator("start"), context=Context(decoder=decoder()))
    assert [name for name, _ in prompt.named_parameters()] == ["code"]
    assert [name for name, _ in prompt.named_buffers()] == ["inner", "inner_bias", "outer", "basis", "base"]
    assert prompt.trainable(MASK) == 3


def test_the_code_starts_small():
    wide = Decoder(draw(6, 500), draw(6), draw(4, 6), draw(4, 5, 8), draw(5, 8))
    code = IntrinsicPrompt.start(draw(5, 8), generator("start"), context=Context(decoder=wide)).code
    assert abs(code.std() - 0.02) < 0.002


def test_it_says_what_it_lacks():
    with pytest.raises(ConfigError, match="needs the decoder"):
        IntrinsicPrompt.start(draw(5, 8), generator("x"))
    with pytest.raises(ConfigError, match="makes prompts of 5 tokens x 8, this one has 4 tokens x 8"):
        IntrinsicPrompt.start(draw(4, 8), generator("x"), context=Context(decoder=decoder()))


def test_a_random_subspace_is_its_base_and_a_frozen_map_of_the_code():
    code, base, basis = draw(3), draw(5, 8), draw(3, 5, 8)
    by_hand = base + (basis.reshape(3, 40).T @ code).reshape(5, 8)
    prompt = RandomSubspacePrompt(code, base, basis)
    assert torch.allclose(prompt(), by_hand, rtol=0, atol=1e-10)
    assert [name for name, _ in prompt.named_parameters()] == ["code"]
    assert prompt.trainable(MASK) == 3


def test_a_random_subspace_starts_at_the_given_values_exactly():
    values = draw(5, 8).float()
    prompt = IntrinsicPrompt.start(values, generator("start"), Options(subspace="random"))
    assert isinstance(prompt, RandomSubspacePrompt)
    assert torch.equal(prompt(), values)
    assert prompt.sizes == {"dimension": 250}


def test_a_step_of_the_code_moves_every_coordinate_by_about_as_much():
    prompt = RandomSubspacePrompt.start(draw(20, 32), generator("start"), Options(dimension=100))
    prompt.code.data = 0.3 * draw(100).sign()
    moved = (prompt() - prompt.base).square().mean().sqrt()
    assert abs(moved - 0.3) < 0.03
