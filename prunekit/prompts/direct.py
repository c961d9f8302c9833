"""Prompt tuning (Lester et al. 2021, section 2): the P x H prompt values are themselves the parameters."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from prunekit.prompts.base import Prompt, parameter
from prunekit.prompts.mask import Mask, piece_width
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options


class DirectPrompt(Prompt):
    """P free vectors.

    Attributes:
        values: [P, H] starting values, copied.
    """

    method: ClassVar[str] = "direct"
    published_rate: ClassVar[float | None] = 0.3

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = parameter(values)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt at values [P, H]; nothing is drawn."""
        return cls(values)

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.values

    def trainable(self, mask: Mask) -> int:
        """Kept cells x (H / K)."""
        return mask.cells * piece_width(self.values.shape[1], mask.piece.shape[1])
