import torch
from tiny import draw

from prunekit.prompts.adept import AdeptPrompt
from prunekit.support.seeding import generator


def made() -> AdeptPrompt:
    """P = 5, H = 8, hidden width 3."""
    return AdeptPrompt(draw(5, 8), draw(8, 3), draw(3), draw(3, 8), draw(8))


def test_the_prompt_is_free_and_every_input_token_is_moved_by_a_network_of_itself():
    prompt, embedded = made(), draw(2, 6, 8)
    assert torch.equal(prompt(), prompt.values)
    found = prompt.embed_input(embedded, torch.ones(2, 6, dtype=torch.bool))
    for row in range(2):
        for place in range(6):
            token = embedded[row, place]
            inner = (prompt.left.T @ token + prompt.left_bias).clamp(min=0)
            by_hand = token + prompt.right.T @ inner + prompt.right_bias  # and no scaling
            assert torch.allclose(found[row, place], by_hand, rtol=0, atol=1e-10)


def test_the_start_is_the_published_one():
    values = torch.randn(60, 768, generator=generator("values"))
    prompt = AdeptPrompt.start(values, generator("start"))
    assert torch.equal(prompt.values, values)
    bound = 19**-0.5  # Kaiming-uniform with a = sqrt 5 as torch computes it of a [768, 19] tensor
    assert 0.99 * bound < prompt.left.abs().max() <= bound
    for part in (prompt.left_bias, prompt.right, prompt.right_bias):
        assert part.abs().max() == 0


def test_the_network_has_the_published_rate_whatever_the_size_of_the_embeddings():
    assert AdeptPrompt.offset_rate.beside(0.3) == AdeptPrompt.offset_rate.beside(0.011) == 1e-4
