"""What calls of a model with tickets attached share, whether the tickets are input vectors or keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prunekit.models import FrozenModel
from prunekit.models.load import borrowed
from prunekit.models.trial import find_traits
from prunekit.support.errors import ConfigError


def check_numbers(indices: Sequence[int], tickets: int) -> None:
    """Raises: ConfigError where an index is that of none of so many tickets."""
    if not all(0 <= index < tickets for index in indices):
        raise ConfigError(f"tickets: there are {tickets}, numbered from 0")


def try_together(model: FrozenModel, module: Any, longest: int, tried: int) -> int:
    """Try how a model takes rows of so many slots beside each other, once they are longer than those tried before.

    Args:
        module: the user's own, which is left in the mode that it is in.

    Returns:
        the length that is tried now.
    """
    if longest <= tried:
        return tried
    with borrowed(module):
        module.eval()
        find_traits(model, longest)
    return longest


def as_new_tokens(options: dict[str, Any], input_ids: Tensor) -> None:
    """Put `max_new_tokens` into the place of `max_length`, which counts the given tokens Int[B, T] and no prompt."""
    if "max_length" in options:
        options["max_new_tokens"] = max(1, options.pop("max_length") - input_ids.shape[1])


def behind_given(input_ids: Tensor, output: Any) -> Any:
    """What `generate` gave, its sequences behind the given tokens; several answers to a row each repeat them."""
    if isinstance(output, Tensor):
        given = input_ids.repeat_interleave(len(output) // len(input_ids), dim=0)
        return torch.cat([given, output], dim=1)
    output.sequences = behind_given(input_ids, output.sequences)
    return output
