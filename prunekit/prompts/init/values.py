"""Start at values that are there already, such as those of a finished ticket (`--from`, `--init-from`)."""

from __future__ import annotations

import torch
from torch import Tensor

from prunekit.prompts.init.source import Initialiser
from prunekit.support.errors import ConfigError


def from_array(values: Tensor) -> Initialiser:
    """The given values [P, H] themselves."""

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        if tuple(values.shape) != shape:
            raise ConfigError(f"the given prompt has shape {[*values.shape]}, wanted {list(shape)}")
        return values.clone()

    return draw


def from_rows(values: Tensor, keep: Tensor, others: Initialiser) -> Initialiser:
    """The given rows of values [P, H] where keep Bool[P] is True, the other rows from `others`."""

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        return torch.where(keep[:, None], values, others(generator, shape))

    return draw
