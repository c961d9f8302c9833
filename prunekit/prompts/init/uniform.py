"""Start at uniform random numbers (Lester et al. 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from prunekit.prompts.init.source import Initialiser, Source


def start(source: Source) -> Initialiser:
    """`uniform`, between the published bounds."""
    return uniform()


def uniform(low: float = -0.5, high: float = 0.5) -> Initialiser:
    """Independent U(low, high) entries (Lester et al. 2021: -0.5 to 0.5)."""

    def draw(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    return draw
