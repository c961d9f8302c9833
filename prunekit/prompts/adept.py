"""ADePT (Tang et al., ICLR 2025): [P ; X + ReLU(X A + a) B + b], a short prompt and an offset made of the input.

As in the authors' code (HungerPWAY/ADePT, peft/tuners/prompt_tuning_lorax.py): one FFN for all tokens, no scaling, A as
torch starts a Linear, B and both biases 0; the prompt at 0.3 or 0.4, the FFN at 1e-4, with no weight decay. Padding
gets no offset.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from prunekit.prompts.base import OffsetRate, Prompt, parameter
from prunekit.prompts.factors import kaiming
from prunekit.prompts.mask import Mask, piece_width
from prunekit.prompts.offsets import added
from prunekit.prompts.options import NOTHING, PUBLISHED, Context, Options

RANK = 19


class AdeptPrompt(Prompt):
    """P free vectors, and an offset on every input embedding that a small shared network makes of that embedding.

    Attributes:
        values: [P, H].
        left: A [H, R], left_bias a [R].
        right: B [R, H], right_bias b [H].
    """

    method: ClassVar[str] = "adept"
    moves_input = True
    published_rate: ClassVar[float | None] = 0.3
    offset_parameters: ClassVar[tuple[str, ...]] = ("left", "left_bias", "right", "right_bias")
    # A and B map embeddings to embeddings: their product has no unit, on small embeddings as on large ones
    offset_rate: ClassVar[OffsetRate | None] = OffsetRate(1e-4, 0.3, in_units=False)

    def __init__(self, values: Tensor, left: Tensor, left_bias: Tensor, right: Tensor, right_bias: Tensor) -> None:
        super().__init__()
        self.values = parameter(values)
        self.left, self.left_bias = parameter(left), parameter(left_bias)
        self.right, self.right_bias = parameter(right), parameter(right_bias)

    @classmethod
    def start(
        cls, values: Tensor, generator: torch.Generator, options: Options = PUBLISHED, context: Context = NOTHING
    ) -> Self:
        """A fresh prompt that is plain prompt tuning from values [P, H], since B = b = 0."""
        width = values.shape[1]
        rank = options.rank_or(RANK)
        left = kaiming(generator, (width, rank), values)
        return cls(values, left, values.new_zeros(rank), values.new_zeros(rank, width), values.new_zeros(width))

    def forward(self) -> Tensor:
        """[P, H] prompt vectors."""
        return self.values

    def embed_input(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """[B, T, H] -> [B, T, H]: each token moved by what the network makes of it, where mask Bool[B, T] is True."""
        inner = F.relu(embedded.to(self.left.dtype) @ self.left + self.left_bias)
        return added(embedded, inner @ self.right + self.right_bias, mask)

    def trainable(self, mask: Mask) -> int:
        """Kept cells x (H / K), and the network, which is never pruned."""
        network = sum(part.numel() for part in self.parameters()) - self.values.numel()
        return mask.cells * piece_width(self.values.shape[1], mask.piece.shape[1]) + network

    @property
    def sizes(self) -> dict[str, int]:
        """The network's hidden width."""
        return {"rank": self.left.shape[1]}
