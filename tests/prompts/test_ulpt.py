import torch
from tiny import draw

from prunekit.prompts.ulpt import UlptPrompt
from prunekit.support.seeding import generator


def test_the_prompt_is_a_projected_code_scaled_and_shifted():
    code, scale, shift, projection = draw(5, 2), draw(8), draw(1, 8)[0], draw(2, 8)
    found = UlptPrompt(code, scale, shift, projection)()
    for token in range(5):
        by_hand = (code[token, 0] * projection[0] + code[token, 1] * projection[1]) * scale + shift
        assert torch.allclose(found[token], by_hand, rtol=0, atol=1e-10)


def test_the_start_is_the_published_one_and_the_projection_frozen():
    prompt = UlptPrompt.start(torch.zeros(100, 768), generator("start"))
    assert abs(prompt.code.std() - 1) < 0.15
    bound = (6 / (2 + 768)) ** 0.5  # Xavier-uniform
    assert 0.99 * bound < prompt.projection.abs().max() <= bound
    assert torch.equal(prompt.scale, torch.ones(768))
    assert torch.equal(prompt.shift, torch.zeros(768))
    assert [name for name, _ in prompt.named_buffers()] == ["projection"]
