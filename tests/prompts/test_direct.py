import pytest
import tiny
import torch

from prunekit.prompts.direct import DirectPrompt
from prunekit.prompts.mask import Mask
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

VALUES = torch.randn(3, 8, generator=generator("direct"))


def test_the_values_are_the_prompt():
    prompt = DirectPrompt(VALUES)
    assert torch.equal(prompt(), VALUES)
    assert list(prompt.state_dict()) == ["values"]
    assert prompt.values.requires_grad


def test_the_given_values_are_copied():
    given = VALUES.clone()
    prompt = DirectPrompt(given)
    given.zero_()
    assert torch.equal(prompt(), VALUES)


def test_trainable_numbers_are_kept_cells_times_their_width():
    prompt = DirectPrompt(VALUES)
    assert prompt.trainable(Mask.full(3, 4)) == 24
    assert prompt.trainable(tiny.masked([True, False, True], pieces=4, drop=[(0, 1)])) == 7 * 2
    with pytest.raises(ConfigError, match="pieces = 3"):
        prompt.trainable(Mask.full(3, 3))
