"""Prompt tuning (Lester et al. 2021, section 2): the P x H prompt values are themselves the parameters."""

from __future__ import annotations

from torch import Tensor, nn

from prunekit.masks import Mask, piece_width
from prunekit.prompts.base import Prompt


class DirectPrompt(Prompt):
    """P free vectors.

    values: [P, H] starting values, copied.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values.detach().clone())

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.values

    def trainable(self, mask: Mask) -> int:
        """Kept cells x (H / K)."""
        return mask.cells * piece_width(self.values.shape[1], mask.piece.shape[1])
