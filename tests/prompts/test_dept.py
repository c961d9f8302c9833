import pytest
import torch
from tiny import draw

from prunekit.prompts.dept import DeptPrompt
from prunekit.prompts.options import Options
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator


def made() -> DeptPrompt:
    """P = 5, H = 8, an offset of rank 3 for inputs of up to 7 tokens."""
    return DeptPrompt(draw(5, 8), draw(7, 3), draw(3, 8), torch.tensor(1.7, dtype=torch.float64))


def test_the_prompt_is_free_and_the_input_gets_a_scaled_low_rank_offset_by_position():
    prompt, embedded = made(), draw(2, 6, 8)
    assert torch.equal(prompt(), prompt.values)
    found = prompt.embed_input(embedded, torch.ones(2, 6, dtype=torch.bool))
    for row in range(2):
        for place in range(6):
            by_hand = embedded[row, place] + 1.7 * prompt.left[place] @ prompt.right
            assert torch.allclose(found[row, place], by_hand, rtol=0, atol=1e-10)


def test_the_start_is_the_published_one():
    values = torch.randn(40, 64, generator=generator("values"))
    prompt = DeptPrompt.start(values, generator("start"))
    assert torch.equal(prompt.values, values)
    assert prompt.left.shape == (256, 45)
    bound = 45**-0.5  # Kaiming-uniform with a = sqrt 5 as torch computes it of a [256, 45] tensor
    assert 0.99 * bound < prompt.left.abs().max() <= bound
    assert prompt.right.abs().max() == 0
    assert float(prompt.scale) == pytest.approx(8 / 45**0.5)  # alpha / sqrt(r), not alpha / r
    assert float(prompt.scale) == pytest.approx(1.19, abs=0.01)


def test_kaiming_uniform_is_torchs_own():
    torch_made = torch.nn.init.kaiming_uniform_(torch.empty(5000, 45), a=5**0.5, generator=generator("torch"))
    ours = DeptPrompt.start(torch.zeros(1, 4), generator("ours"), Options(input_tokens=5000)).left.detach()
    assert float(ours.abs().max()) == pytest.approx(float(torch_made.abs().max()), rel=1e-3)
    assert float(ours.std()) == pytest.approx(float(torch_made.std()), rel=1e-2)


def test_each_row_counts_its_own_positions():
    prompt, embedded = made(), draw(2, 4, 8)
    mask = torch.tensor([[False, True, True, False], [True, True, True, True]])
    moved = prompt.embed_input(embedded, mask) - embedded
    offsets = prompt.scale * prompt.left @ prompt.right
    assert torch.allclose(moved[0, 1:3], offsets[:2])
    assert torch.allclose(moved[1], offsets[:4])


def test_padding_may_be_longer_than_the_offsets_but_no_text():
    prompt, embedded = made(), draw(1, 9, 8)
    mask = torch.arange(9)[None] < 7
    assert torch.equal(prompt.embed_input(embedded, mask)[0, 7:], embedded[0, 7:])
    with pytest.raises(ConfigError, match="8 tokens is longer than the 7 positions"):
        prompt.embed_input(embedded, torch.arange(9)[None] < 8)


def test_the_offset_has_the_type_of_the_input():
    prompt = DeptPrompt.start(torch.zeros(2, 8), generator("start"), Options(rank=2))
    prompt.right.data.fill_(0.3)
    embedded = draw(1, 4, 8).bfloat16()
    found = prompt.embed_input(embedded, torch.ones(1, 4, dtype=torch.bool))
    assert found.dtype == torch.bfloat16
    assert not torch.equal(found, embedded)


def test_the_pair_has_a_rate_of_its_own_in_units_of_the_prompts():
    rate = DeptPrompt.offset_rate
    assert rate.beside(0.3) == pytest.approx(5e-3)  # as published
    assert rate.beside(0.03) == pytest.approx(5e-4)  # on embeddings a tenth as large
