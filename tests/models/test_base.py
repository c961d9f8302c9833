"""What every parameterisation of a prompt offers (prompts/base.py)."""

import pytest
import tiny
import torch

from prunekit.prompts.base import MaskedPrompt, Prompt
from prunekit.prompts.direct import DirectPrompt
from prunekit.prompts.mask import Mask
from prunekit.support.seeding import generator

VALUES = torch.randn(3, 8, generator=generator("base"))
MASK = tiny.masked([True, False, True], pieces=4, drop=[(0, 1), (2, 3)])


def test_a_prompt_leaves_the_input_alone_unless_its_method_moves_it():
    prompt = Prompt()
    embedded = torch.randn(2, 5, 8, generator=generator("x"))
    assert prompt.embed_input(embedded, torch.ones(2, 5, dtype=torch.bool)) is embedded
    assert not prompt.moves_input


def test_the_base_class_says_what_a_method_must_bring():
    with pytest.raises(NotImplementedError):
        Prompt()()
    with pytest.raises(NotImplementedError):
        Prompt().trainable(Mask.full(1, 1))


@pytest.mark.parametrize(
    ("dropped_as", "present"), [("remove", [1, 0, 1]), ("hide", [1, 0, 1]), ("zero", [1, 1, 1])]
)  # fmt: skip
def test_values_are_mask_times_values_and_present_follows_absent(dropped_as, present):
    values, there = MaskedPrompt(DirectPrompt(VALUES), MASK, dropped_as)()
    assert values.shape == (3, 8)
    assert torch.equal(values, VALUES * MASK.expand(8))
    assert values[0, 2:4].tolist() == values[2, 6:].tolist() == [0.0, 0.0]  # a dropped piece is always zeros
    assert there.int().tolist() == present


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -1.0])
def test_a_dropped_cell_is_an_exact_zero_whatever_it_holds(strange):
    given = VALUES.clone()
    given[1] = strange
    values, _ = MaskedPrompt(DirectPrompt(given), MASK, "zero")()
    assert values[1].tolist() == [0.0] * 8
    assert torch.equal(torch.signbit(values[1]), torch.zeros(8, dtype=torch.bool))


def test_values_and_mask_stay_apart():
    prompt = DirectPrompt(VALUES)
    MaskedPrompt(prompt, MASK, "remove")()
    assert torch.equal(prompt.values, VALUES)


def test_dropped_cells_get_no_gradient():
    prompt = DirectPrompt(VALUES)
    values, _ = MaskedPrompt(prompt, MASK, "zero")()
    values.sum().backward()
    assert torch.equal(prompt.values.grad, MASK.expand(8).float())


def test_the_parameters_are_the_prompt_alone():
    assert [name for name, _ in MaskedPrompt(DirectPrompt(VALUES), MASK, "hide").named_parameters()] == [
        "prompt.values"
    ]
