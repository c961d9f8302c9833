import torch
from tiny import draw
from torch import nn

from prunekit.prompts.options import Options
from prunekit.prompts.residual import ResidualPrompt
from prunekit.support.seeding import generator


def made() -> ResidualPrompt:
    """P = 5, H = 8, bottleneck 6, nothing at its default."""
    return ResidualPrompt(
        draw(5, 8),
        draw(6, 8),
        draw(6),
        draw(8, 6),
        draw(1, 8)[0],
        draw(1, 1, 8)[0, 0],
        draw(8),
    )


def test_the_prompt_is_itself_and_a_normalised_mlp_of_itself():
    prompt = made()
    found, state = prompt(), prompt.state_dict()
    for token in range(5):
        row = state["values"][token]
        inner = (state["down"] @ row + state["down_bias"]).clamp(min=0)
        outer = state["up"] @ inner + state["up_bias"]
        centred = outer - outer.mean()
        normal = centred / (centred.square().mean() + 1e-5).sqrt()
        by_hand = row + normal * state["norm"] + state["norm_bias"]
        assert torch.allclose(found[token], by_hand, rtol=0, atol=1e-10)


def test_it_is_what_torchs_own_layers_make():
    prompt = made()
    down, up, norm = nn.Linear(8, 6).double(), nn.Linear(6, 8).double(), nn.LayerNorm(8).double()
    for layer, weight, bias in (
        (down, prompt.down, prompt.down_bias), (up, prompt.up, prompt.up_bias), (norm, prompt.norm, prompt.norm_bias),
    ):  # fmt: skip
        layer.weight, layer.bias = weight, bias
    by_hand = prompt.values + norm(up(torch.relu(down(prompt.values))))
    assert torch.allclose(prompt(), by_hand, rtol=0, atol=1e-10)


def test_the_mlp_starts_as_torch_starts_its_layers():
    values = torch.randn(20, 64, generator=generator("values"))
    prompt = ResidualPrompt.start(values, generator("start"), Options(bottleneck=100))
    assert torch.equal(prompt.values, values)
    for part, inputs in ((prompt.down, 64), (prompt.down_bias, 64), (prompt.up, 100), (prompt.up_bias, 100)):
        bound = inputs**-0.5
        assert 0.9 * bound < part.abs().max() <= bound
        assert abs(part.mean()) < 0.2 * bound
    assert torch.equal(prompt.norm, torch.ones(64))
    assert torch.equal(prompt.norm_bias, torch.zeros(64))


def test_the_start_is_not_near_the_given_values():
    values = torch.randn(20, 64, generator=generator("values")) * 0.05
    gap = (ResidualPrompt.start(values, generator("start"))() - values).norm(dim=1)
    assert torch.allclose(gap, torch.full((20,), 8.0), rtol=1e-2)  # sqrt(H) in every row
