import math

import pytest
import tiny
import torch
from tiny import draw

from prunekit.prompts.ept import EptPrompt
from prunekit.prompts.mask import Mask
from prunekit.prompts.methods import build
from prunekit.prompts.options import Options
from prunekit.support.errors import ArtifactError
from prunekit.support.seeding import generator

FUSION = {"attention": (3, 8, 2), "out": (2, 8)}
SPACES = {"down": (4, 8, 2), "up": (4, 2, 8), "gate": (4, 8)}
EVERYWHERE = torch.ones(2, 6, dtype=torch.bool)


def made(*modules) -> EptPrompt:
    """P = 5, H = 8, a pair of rank 3 for inputs of up to 7 tokens, inner width 2, 4 spaces."""
    parts = {name: draw(*shape) for module in modules for name, shape in module.items()}
    return EptPrompt(draw(5, 8), draw(7, 3), draw(3, 8), **parts)


def fused(prompt):
    """P + softmax(P W_q (A B W_k)^T / sqrt d) (A B) W_v W_o, token by token."""
    pair = prompt.left @ prompt.right
    rows = []
    for token in prompt.values:
        logits = torch.stack(
            [(token @ prompt.attention[0]) @ (line @ prompt.attention[1]) / math.sqrt(2) for line in pair]
        )
        weight = logits.exp() / logits.exp().sum()
        rows.append(
            token + sum(w * (line @ prompt.attention[2]) @ prompt.out for w, line in zip(weight, pair, strict=True))
        )
    return torch.stack(rows)


def projected(prompt, values):
    """sum of g_j P (I + D_j U_j), g = softmax(G mean(P))."""
    logits = prompt.gate @ (sum(values) / len(values))
    share = logits.exp() / logits.exp().sum()
    spaces = [values @ (torch.eye(8, dtype=torch.float64) + prompt.down[j] @ prompt.up[j]) for j in range(4)]
    return sum(share[j] * spaces[j] for j in range(4))


def test_the_prompt_is_fused_and_then_projected():
    prompt = made(FUSION, SPACES)
    assert torch.allclose(prompt(), projected(prompt, fused(prompt)), rtol=0, atol=1e-10)


def test_either_module_can_be_left_out():
    assert torch.allclose(made(FUSION)(), fused(made(FUSION)), rtol=0, atol=1e-10)
    alone = made(SPACES)
    assert torch.allclose(alone(), projected(alone, alone.values), rtol=0, atol=1e-10)
    assert torch.equal(made()(), made().values)
    options = Options(fusion=False, projection=False)
    bare = EptPrompt.start(draw(5, 8), generator("bare"), options)
    assert [name for name, _ in bare.named_parameters()] == ["values", "left", "right"]
    assert bare.sizes == {"rank": 45, "input_tokens": 256, "fusion": 0, "spaces": 0}


@pytest.mark.parametrize("lost", ["attention", "out", "down", "up", "gate"])
def test_half_a_module_is_no_prompt(lost):
    state = {name: part for name, part in made(FUSION, SPACES).state_dict().items() if name != lost}
    with pytest.raises(ArtifactError, match='not those of a prompt of method "ept"'):
        build("ept", state)


def test_the_pair_moves_the_input_by_position():
    prompt, embedded = made(), draw(2, 6, 8)
    found = prompt.embed_input(embedded, EVERYWHERE)
    for place in range(6):
        by_hand = embedded[:, place] + prompt.left[place] @ prompt.right
        assert torch.allclose(found[:, place], by_hand, rtol=0, atol=1e-10)


def test_it_starts_as_plain_prompt_tuning_bit_for_bit():
    values, embedded = draw(5, 8).float(), draw(2, 6, 8).float()
    prompt = EptPrompt.start(values, generator("start"))
    assert torch.equal(prompt(), values)
    assert torch.equal(prompt.embed_input(embedded, EVERYWHERE), embedded)
    assert prompt.sizes == {"rank": 45, "input_tokens": 256, "fusion": 1, "spaces": 4}


def test_the_first_update_can_reach_the_pair_and_the_spaces():
    prompt = EptPrompt.start(draw(5, 8), generator("start"))
    (prompt() * draw(5, 8)).sum().backward()
    for part in (prompt.values, prompt.right, prompt.up):
        assert part.grad.abs().max() > 0


def test_what_is_trained_after_pruning():
    mask = tiny.masked([True, False, True, False, False], drop=[(0, 1)])
    pair, fusion, spaces = 7 * 3 + 3 * 8, 3 * 8 * 2 + 2 * 8, 4 * (2 * 8 * 2 + 8)
    assert made().trainable(mask) == 7 * 2 + pair
    assert made(FUSION).trainable(mask) == 2 * 8 + pair + fusion  # a query reads whole tokens
    assert made(FUSION, SPACES).trainable(mask) == 5 * 8 + pair + fusion + spaces  # the gate reads all of them
    assert made(SPACES).trainable(Mask.full(5, 4)) == 5 * 8 + pair + spaces
